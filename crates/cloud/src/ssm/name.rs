//! Names of parameters: what they may be, and how requests point at a version of one.
//!
//! ```text
//!  name            /prod/db/password        levels between slashes, 15 at most
//!  with selector   /prod/db/password:3      a version
//!                  /prod/db/password:live   a label
//!  ARN             arn:aws:ssm:REGION:ACCOUNT:parameter/prod/db/password[:selector]
//! ```

use super::{Error, Result};
use crate::{Context, arn};

/// Of a whole name, the ARN's own characters included.
const MAX_LENGTH: usize = 1011;
const MAX_LEVELS: usize = 15;
const MAX_LABEL: usize = 100;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selector {
    Newest,
    Version(i64),
    Label(String),
}

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// Names to try in turn: an ARN does not tell `/a` from `a`.
    pub names: Vec<String>,
    pub selector: Selector,
}

impl Reference {
    /// `None` when it is an ARN of another region, account or service.
    pub fn parse(cx: &Context, text: &str) -> Option<Reference> {
        let text = text.trim_matches(' ');
        let (names, rest) = if text.starts_with("arn:") {
            let parts = arn::parse(text)?;
            let path = parts.resource.strip_prefix("parameter")?;
            let ours =
                parts.service == "ssm" && parts.region == cx.region && parts.account == cx.account;
            if !ours || !path.starts_with('/') {
                return None;
            }
            let (path, rest) = split(path);
            (vec![path.to_owned(), path[1..].to_owned()], rest)
        } else {
            let (name, rest) = split(text);
            (vec![name.to_owned()], rest)
        };
        let selector = match rest {
            None => Selector::Newest,
            Some(selector) => match selector.parse() {
                Ok(version) => Selector::Version(version),
                Err(_) => Selector::Label(selector.to_owned()),
            },
        };
        Some(Reference { names, selector })
    }
}

fn split(text: &str) -> (&str, Option<&str>) {
    text.split_once(':').map_or((text, None), |(name, selector)| (name, Some(selector)))
}

/// `arn:aws:ssm:us-east-1:123456789012:parameter/a/b`.
pub fn arn(cx: &Context, name: &str) -> String {
    // A public one is nobody's.
    if name.starts_with("/aws/service/") {
        return format!("arn:aws:ssm:{}::parameter{name}", cx.region);
    }
    let slash = if name.starts_with('/') { "" } else { "/" };
    cx.arn("ssm", &format!("parameter{slash}{name}"))
}

/// Whether a parameter may be created under this name.
pub fn check(cx: &Context, name: &str) -> Result<()> {
    if name.contains('/') && !name.starts_with('/') {
        return Err(Error::validation("Parameter name must be a fully qualified name."));
    }
    let mut levels = name.strip_prefix('/').unwrap_or(name).split('/');
    let first = levels.clone().next().unwrap_or_default().to_ascii_lowercase();
    if first.starts_with("aws") {
        return Err(Error::AccessDenied(name.to_owned()));
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if first.starts_with("ssm")
        || !levels.all(|level| !level.is_empty() && level.chars().all(plain))
    {
        return Err(Error::validation(
            "Parameter name: can't be prefixed with \"ssm\" (case-insensitive). If formed as a path, \
             it can consist of sub-paths divided by slash symbol; each sub-path can be formed as a \
             mix of letters, numbers and the following 3 symbols .-_",
        ));
    }
    if name.matches('/').count() > MAX_LEVELS {
        return Err(Error::HierarchyLevelLimitExceeded);
    }
    if arn(cx, name).len() > MAX_LENGTH {
        return Err(Error::validation(format!(
            "Parameter name is too long: with its ARN it can have {MAX_LENGTH} characters."
        )));
    }
    Ok(())
}

/// A path to search below, without its last slash. `/` is all there is.
pub fn path(text: &str) -> Result<String> {
    let text = text.trim_matches(' ');
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '/');
    if !text.starts_with('/') || !text.chars().all(plain) || text.contains("//") {
        return Err(Error::validation(
            "The parameter doesn't meet the parameter name requirements. The parameter name must \
             begin with a forward slash \"/\". It can't be prefixed with \"aws\" or \"ssm\" \
             (case-insensitive). It must use only letters, numbers, or the following symbols: . \
             (period), - (hyphen), _ (underscore). Special characters are not allowed. All sub-paths, \
             if specified, must use the forward slash symbol \"/\". Valid example: \
             /get/parameters2-/by1./path0_.",
        ));
    }
    if text.matches('/').count() > MAX_LEVELS {
        return Err(Error::HierarchyLevelLimitExceeded);
    }
    Ok(text.strip_suffix('/').unwrap_or(text).to_owned())
}

/// Whether `name` is below `path`: directly, or at any depth where `recursive`.
pub fn is_below(name: &str, path: &str, recursive: bool) -> bool {
    // Names of one level need no slash, and are at the root all the same.
    let below = match name.strip_prefix(path) {
        Some(rest) if path.is_empty() => Some(rest.strip_prefix('/').unwrap_or(rest)),
        Some(rest) => rest.strip_prefix('/'),
        None => None,
    };
    below.is_some_and(|rest| recursive || !rest.contains('/'))
}

/// Letters, digits, `.-_`; not beginning with a digit, `aws` or `ssm`.
pub fn is_label(label: &str) -> bool {
    let lower = label.to_ascii_lowercase();
    !label.is_empty()
        && label.len() <= MAX_LABEL
        && label.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'))
        && !label.starts_with(|c: char| c.is_ascii_digit())
        && !lower.starts_with("aws")
        && !lower.starts_with("ssm")
}
