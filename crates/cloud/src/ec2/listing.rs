//! What all Describe calls share: named ids, filters, pages.

use crate::ec2::{Error, Kind, Result};
use crate::filter::{self, Filter};
use crate::page;
use crate::tag::Tags;

/// AWS: "The maximum number of filter values specified on a single call is 200".
const MAX_FILTER_VALUES: usize = 200;

/// The part of a Describe request that says which of all resources, and how many at once.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    pub filters: Vec<Filter>,
    pub max_results: Option<i32>,
    pub next_token: Option<String>,
}

impl Listing {
    pub fn filtered(filters: Vec<Filter>) -> Listing {
        Listing { filters, ..Listing::default() }
    }

    /// Whether every filter is one of `names` (or, for what is `tagged`, of the tag filters).
    pub fn check(&self, names: &[&str], tagged: bool) -> Result<()> {
        for filter in &self.filters {
            let name = filter.name.as_str();
            let of_tags = name.starts_with("tag:") || matches!(name, "tag-key" | "tag-value");
            let known = names.contains(&name) || (tagged && of_tags);
            if !known {
                return Err(Error::InvalidFilter(filter.name.clone()));
            }
        }
        let values: usize = self.filters.iter().map(|filter| filter.values.len()).sum();
        if values > MAX_FILTER_VALUES {
            return Err(Error::FilterLimitExceeded);
        }
        Ok(())
    }

    /// Refuses a `MaxResults` outside of what the call allows.
    pub fn check_max_results(&self, allowed: std::ops::RangeInclusive<i32>) -> Result<()> {
        match self.max_results {
            Some(n) if !allowed.contains(&n) => Err(Error::value(format!(
                "Value ( {n} ) for parameter maxResults is invalid. Expecting a value between {} and {}.",
                allowed.start(),
                allowed.end()
            ))),
            _ => Ok(()),
        }
    }

    /// Whether a resource passes every filter; `values` says what it has for a filter's name.
    pub fn keeps(&self, tags: impl Fn() -> Tags, values: impl Fn(&str) -> Vec<String>) -> bool {
        self.filters.iter().all(|filter| {
            let name = filter.name.as_str();
            if name.starts_with("tag:") || matches!(name, "tag-key" | "tag-value") {
                return filter::tags(filter, &tags()).unwrap_or(false);
            }
            filter::any(filter, values(name))
        })
    }

    /// The asked for page of `items`, which must be sorted by `key`.
    pub fn page<T>(
        &self,
        items: Vec<T>,
        key: impl Fn(&T) -> String,
    ) -> Result<(Vec<T>, Option<String>)> {
        let limit = self.max_results.map_or(usize::MAX, |n| n.max(1) as usize);
        page::page(items, key, limit, self.next_token.as_deref())
            .map_err(|_| Error::InvalidNextToken(self.next_token.clone().unwrap_or_default()))
    }
}

/// Keeps the items named by `ids` (all, if none is); refuses ids that are malformed or name nothing.
pub fn only<T>(items: &mut Vec<T>, ids: &[String], id: fn(&T) -> &str, kind: Kind) -> Result<()> {
    if ids.is_empty() {
        return Ok(());
    }
    let malformed: Vec<String> = ids.iter().filter(|id| !kind.is_id(id)).cloned().collect();
    if !kind.prefix().is_empty() && !malformed.is_empty() {
        return Err(Error::Malformed { kind, ids: malformed });
    }
    named(items, ids, id, kind)
}

/// Like `only`, for names: they can be anything.
pub fn named<T>(items: &mut Vec<T>, ids: &[String], id: fn(&T) -> &str, kind: Kind) -> Result<()> {
    if ids.is_empty() {
        return Ok(());
    }
    let known = |wanted: &&String| items.iter().any(|item| id(item) == wanted.as_str());
    let unknown: Vec<String> = ids.iter().filter(|id| !known(id)).cloned().collect();
    if !unknown.is_empty() {
        return Err(Error::NotFound { kind, ids: unknown });
    }
    items.retain(|item| ids.iter().any(|wanted| wanted == id(item)));
    Ok(())
}

/// For a request whose `DryRun` is set: call it when everything else was found right.
pub fn dry_run(asked: Option<bool>) -> Result<()> {
    if asked == Some(true) { Err(Error::DryRun) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(name: &str, values: &[&str]) -> Listing {
        let values = values.iter().map(|v| v.to_string()).collect();
        Listing::filtered(vec![Filter { name: name.to_owned(), values }])
    }

    #[test]
    fn filters_are_checked_by_name() {
        let code = |l: &Listing| l.check(&["state"], true).err().map(|e| e.code());
        assert_eq!(code(&listing("state", &["x"])), None);
        assert_eq!(code(&listing("tag:Name", &["x"])), None);
        assert_eq!(code(&listing("nope", &["x"])), Some("InvalidParameterValue".to_owned()));
        assert!(listing("tag-key", &["x"]).check(&["state"], false).is_err());
        let many = vec!["x"; 201];
        assert_eq!(code(&listing("state", &many)), Some("FilterLimitExceeded".to_owned()));
    }

    #[test]
    fn filters_join_by_and() {
        let mut both = listing("state", &["av*", "pending"]);
        both.filters.extend(listing("tag:Name", &["web"]).filters);
        let tags = |name: &str| Tags::from([("Name".to_owned(), name.to_owned())]);
        let values = |_: &str| vec!["available".to_owned()];
        assert!(both.keeps(|| tags("web"), values));
        assert!(!both.keeps(|| tags("db"), values));
        assert!(!both.keeps(|| tags("web"), |_| vec![]));
    }

    #[test]
    fn ids_are_checked_before_they_are_sought() {
        let mut items = vec!["vpc-0123456789abcdef0".to_owned(), "vpc-01234567".to_owned()];
        let code = |items: &mut Vec<String>, id: &str| {
            only(items, &[id.to_owned()], |i| i, Kind::Vpc).err().map(|e| e.code())
        };
        assert_eq!(code(&mut items, "nope"), Some("InvalidVpcID.Malformed".to_owned()));
        assert_eq!(code(&mut items, "vpc-12345678"), Some("InvalidVpcID.NotFound".to_owned()));
        assert_eq!(code(&mut items, "vpc-01234567"), None);
        assert_eq!(items, ["vpc-01234567"]);
    }
}
