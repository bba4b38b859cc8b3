//! The request context: condition keys and their values.

use std::collections::BTreeMap;

/// Names of keys are case-insensitive. A key may have several values (`aws:TagKeys`), or none.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Context(BTreeMap<String, Vec<String>>);

impl Context {
    pub fn new() -> Context {
        Context::default()
    }

    /// The key's only value.
    pub fn set(&mut self, key: &str, value: impl Into<String>) {
        self.set_all(key, vec![value.into()]);
    }

    pub fn set_all(&mut self, key: &str, values: Vec<String>) {
        self.0.insert(key.to_ascii_lowercase(), values);
    }

    pub fn with(mut self, key: &str, value: impl Into<String>) -> Context {
        self.set(key, value);
        self
    }

    pub fn with_all(mut self, key: &str, values: Vec<String>) -> Context {
        self.set_all(key, values);
        self
    }

    /// `None` if the request has no such key.
    pub fn get(&self, key: &str) -> Option<&[String]> {
        self.of(&Key::new(key))
    }

    /// Keys, in lower case, and their values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[String])> {
        self.0.iter().map(|(key, values)| (key.as_str(), values.as_slice()))
    }

    pub(crate) fn of(&self, key: &Key) -> Option<&[String]> {
        self.0.get(&key.lowercase).map(Vec::as_slice)
    }
}

/// The name of a condition key, as a policy writes it.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    pub name: String,
    lowercase: String,
}

impl Key {
    pub fn new(name: &str) -> Key {
        Key { name: name.to_owned(), lowercase: name.to_ascii_lowercase() }
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Key) -> bool {
        self.lowercase == other.lowercase
    }
}
