//! A policy document: the text its owner wrote, and its compiled form. Stored is the text; it is
//! compiled once, when it is written or the store is opened, never at a decision.

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Error, Result};

/// Where a document stands, which says what it may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Place {
    /// Of a user, group or role, also as a boundary.
    Identity,
    /// Who may assume a role.
    Trust,
    /// Of a bucket.
    Resource,
    /// Given with a session.
    Session,
}

#[derive(Clone, Debug)]
pub struct Document {
    pub text: String,
    place: Place,
    pub compiled: Arc<policy::Document>,
}

impl Document {
    pub fn parse(text: &str, place: Place) -> Result<Document> {
        let compiled = compile(text, place)?;
        Ok(Document { text: text.to_owned(), place, compiled: Arc::new(compiled) })
    }

    /// Its size as quotas count it: without white space.
    pub fn size(&self) -> usize {
        self.text.chars().filter(|c| !c.is_whitespace()).count()
    }
}

fn compile(text: &str, place: Place) -> Result<policy::Document> {
    let kind = match place {
        Place::Identity => policy::Kind::Identity,
        Place::Trust => policy::Kind::Trust,
        Place::Resource => policy::Kind::Resource,
        Place::Session => policy::Kind::Session,
    };
    policy::Document::parse(text, kind).map_err(|error| Error::Malformed(error.to_string()))
}

impl PartialEq for Document {
    fn eq(&self, other: &Document) -> bool {
        (&self.text, self.place) == (&other.text, other.place)
    }
}

impl Eq for Document {}

impl Serialize for Document {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.place, &self.text).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Document, D::Error> {
        let (place, text) = <(Place, String)>::deserialize(deserializer)?;
        Document::parse(&text, place).map_err(serde::de::Error::custom)
    }
}
