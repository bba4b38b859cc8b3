//! Lists of keys by prefix, with what has a delimiter after it rolled up.

use std::ops::ControlFlow;

use store::{Keyspace, Range};

use super::Result;

/// What is listed.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    pub prefix: String,
    /// Not empty when given.
    pub delimiter: Option<String>,
    /// Only what comes after this key or rolled-up prefix.
    pub after: Option<String>,
    pub limit: usize,
}

/// Keys and rolled-up prefixes together are at most the limit.
#[derive(Debug)]
pub struct Listed<T> {
    pub entries: Vec<(String, T)>,
    pub prefixes: Vec<String>,
    /// The last of what is here, when there is more.
    pub next: Option<String>,
}

enum Stop {
    /// All of this prefix is one entry: go on behind it.
    Skip(String),
    Full,
}

/// Of the keys that begin with `root`; `parse` gets what follows it and the value.
pub fn list<T>(
    index: &Keyspace,
    root: &[u8],
    wanted: &Listing,
    parse: impl Fn(&str, &[u8]) -> Result<T>,
) -> Result<Listed<T>> {
    let mut listed = Listed { entries: Vec::new(), prefixes: Vec::new(), next: None };
    if wanted.limit == 0 {
        return Ok(listed);
    }
    let under = |text: &str| [root, text.as_bytes()].concat();
    let all = Range::prefix(&under(&wanted.prefix));
    let mut range = match &wanted.after {
        Some(after) => all.clone().after(&under(after)),
        None => all.clone(),
    };
    let mut last = String::new();
    loop {
        let mut stop = None;
        index.scan(&range, |key, value| {
            let name = String::from_utf8_lossy(&key[root.len()..]).into_owned();
            let full = listed.entries.len() + listed.prefixes.len() == wanted.limit;
            if let Some(group) = group(&name, wanted) {
                let seen = wanted.after.as_ref().is_some_and(|after| group <= *after);
                if !seen && full {
                    stop = Some(Stop::Full);
                    return Ok(ControlFlow::Break(()));
                }
                if !seen {
                    last.clone_from(&group);
                    listed.prefixes.push(group.clone());
                }
                stop = Some(Stop::Skip(group));
                return Ok(ControlFlow::Break(()));
            }
            if full {
                stop = Some(Stop::Full);
                return Ok(ControlFlow::Break(()));
            }
            let value = parse(&name, &value)?;
            last.clone_from(&name);
            listed.entries.push((name, value));
            Ok::<_, super::Error>(ControlFlow::Continue(()))
        })?;
        match stop {
            None => return Ok(listed),
            Some(Stop::Skip(group)) => range = all.clone().after_prefix(&under(&group)),
            Some(Stop::Full) => {
                listed.next = Some(last);
                return Ok(listed);
            }
        }
    }
}

/// The prefix that a key is rolled up to.
fn group(name: &str, wanted: &Listing) -> Option<String> {
    let delimiter = wanted.delimiter.as_ref()?;
    let rest = name.get(wanted.prefix.len()..)?;
    let end = wanted.prefix.len() + rest.find(delimiter)? + delimiter.len();
    Some(name[..end].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn keyspace(keys: &[&str]) -> Keyspace {
        let index = store::Store::ephemeral().keyspace("s3.objects");
        for key in keys {
            index.put([b"root", key.as_bytes()].concat(), *b"").await.unwrap();
        }
        index.put(*b"rooz", *b"").await.unwrap();
        index
    }

    fn pages(index: &Keyspace, wanted: &Listing) -> Vec<String> {
        let mut pages = Vec::new();
        let mut wanted = wanted.clone();
        loop {
            let listed = list(index, b"root", &wanted, |_, _| Ok(())).unwrap();
            let keys = listed.entries.iter().map(|(key, ())| key.clone());
            pages.push(keys.chain(listed.prefixes).collect::<Vec<_>>().join(" "));
            match listed.next {
                Some(next) => wanted.after = Some(next),
                None => return pages,
            }
        }
    }

    #[tokio::test]
    async fn prefixes_delimiters_and_pages() {
        let index = keyspace(&["a", "b/1", "b/2", "b/c/3", "b0", "c/", "c/x", "d"]).await;
        for (prefix, delimiter, after, limit, expected) in [
            ("", "", "", 100, &["a b/1 b/2 b/c/3 b0 c/ c/x d"][..]),
            ("", "", "", 3, &["a b/1 b/2", "b/c/3 b0 c/", "c/x d"]),
            ("", "/", "", 100, &["a b0 d b/ c/"]),
            ("", "/", "", 1, &["a", "b/", "b0", "c/", "d"]),
            ("", "/", "", 2, &["a b/", "b0 c/", "d"]),
            ("b/", "/", "", 100, &["b/1 b/2 b/c/"]),
            ("c/", "/", "", 100, &["c/ c/x"]),
            ("", "", "b/2", 100, &["b/c/3 b0 c/ c/x d"]),
            ("x", "/", "", 100, &[""]),
        ] {
            let wanted = Listing {
                prefix: prefix.to_owned(),
                delimiter: (!delimiter.is_empty()).then(|| delimiter.to_owned()),
                after: (!after.is_empty()).then(|| after.to_owned()),
                limit,
            };
            assert_eq!(pages(&index, &wanted), expected, "{wanted:?}");
        }
    }
}
