//! Tags: key and value, and AWS's limits on them.

use std::collections::BTreeMap;

/// In key order, as AWS lists them.
pub type Tags = BTreeMap<String, String>;

pub const MAX_PER_RESOURCE: usize = 50;

#[derive(Debug, PartialEq, Eq)]
pub enum Invalid {
    /// Keys have 1 to 128 characters.
    Key(String),
    /// Values have at most 256 characters.
    Value(String),
    /// Keys that begin with `aws:` are AWS's own.
    Reserved(String),
    TooMany,
}

/// What a user may set.
pub fn check(tags: &Tags) -> Result<(), Invalid> {
    for (key, value) in tags {
        if key.is_empty() || key.chars().count() > 128 {
            return Err(Invalid::Key(key.clone()));
        }
        if key.to_ascii_lowercase().starts_with("aws:") {
            return Err(Invalid::Reserved(key.clone()));
        }
        if value.chars().count() > 256 {
            return Err(Invalid::Value(value.clone()));
        }
    }
    let own = tags.keys().filter(|key| !key.starts_with("aws:")).count();
    if own > MAX_PER_RESOURCE { Err(Invalid::TooMany) } else { Ok(()) }
}
