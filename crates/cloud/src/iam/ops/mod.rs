//! IAM's operations on records, one file a kind of thing.

pub mod account;
pub mod attachment;
pub mod identity;
pub mod key;
pub mod policy;
pub mod profile;
pub mod service_linked;

use std::collections::BTreeSet;

use super::{Error, Result};
use crate::page;
use crate::tag::{self, Tags};

/// Entries of a page that says no size.
const PAGE: i32 = 100;

/// `Marker` and `MaxItems`.
#[derive(Clone, Debug, Default)]
pub struct Page {
    pub marker: Option<String>,
    pub max_items: Option<i32>,
}

impl Page {
    /// The page of `items`, which are sorted by `key`, and the next marker.
    pub fn of<T>(
        &self,
        items: impl IntoIterator<Item = T>,
        key: impl Fn(&T) -> String,
    ) -> Result<(Vec<T>, Option<String>)> {
        let limit = self.max_items.unwrap_or(PAGE).max(1) as usize;
        Ok(page::page(items, key, limit, self.marker.as_deref())?)
    }
}

/// Adds to `all`, which stays within what IAM allows.
pub fn add_tags(all: &mut Tags, added: Tags) -> Result<()> {
    all.extend(added);
    Ok(tag::check(all)?)
}

pub fn remove_tags(all: &mut Tags, keys: &[String]) {
    all.retain(|key, _| !keys.contains(key));
}

/// One map of what a request lists. Keys that differ in case only are one key.
pub fn unique_tags(pairs: impl IntoIterator<Item = (String, String)>) -> Result<Tags> {
    let (mut tags, mut seen) = (Tags::new(), BTreeSet::new());
    for (key, value) in pairs {
        if !seen.insert(key.to_lowercase()) {
            return Err(Error::InvalidInput(
                "Duplicate tag keys found. Please note that Tag keys are case insensitive."
                    .to_owned(),
            ));
        }
        tags.insert(key, value);
    }
    tag::check(&tags)?;
    Ok(tags)
}
