//! Filters of DescribeParameters and GetParametersByPath.

use std::sync::Arc;

use super::model::{Parameter, Version};
use super::{Error, Result, name};

/// As the request has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    pub key: String,
    pub option: Option<String>,
    pub values: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    DescribeParameters,
    GetParametersByPath,
}

const DESCRIBE_KEYS: &[&str] = &["Name", "Type", "KeyId", "Path", "Tier", "DataType"];
const BY_PATH_KEYS: &[&str] = &["Type", "KeyId", "Label"];

/// Whether every filter is one that the call takes.
pub fn check(filters: &[Filter], call: Call) -> Result<()> {
    let keys = match call {
        Call::DescribeParameters => DESCRIBE_KEYS,
        Call::GetParametersByPath => BY_PATH_KEYS,
    };
    for (i, filter) in filters.iter().enumerate() {
        let key = filter.key.as_str();
        let is_tag = key.starts_with("tag:") && call == Call::DescribeParameters;
        if !is_tag && !keys.contains(&key) {
            return Err(Error::InvalidFilterKey(format!(
                "The following filter key is not valid: {key}. Valid filter keys include: [{}].",
                keys.join(", ")
            )));
        }
        if filters[..i].iter().any(|earlier| earlier.key == key) {
            return Err(Error::InvalidFilterKey(format!(
                "The following filter is duplicated in the request: {key}. A request can contain \
                 only one occurrence of a specific filter."
            )));
        }
        let options: &[&str] = match key {
            "Path" => &["OneLevel", "Recursive"],
            "Name" => &["BeginsWith", "Equals", "Contains"],
            "Label" => &["Equals"],
            _ => &["BeginsWith", "Equals"],
        };
        if let Some(option) = filter.option.as_deref().filter(|option| !options.contains(option)) {
            return Err(Error::InvalidFilterOption(format!(
                "The following filter option is not valid: {option}. Valid options include: [{}].",
                options.join(", ")
            )));
        }
        // A tag filter without values asks for the key alone.
        if filter.values.is_empty() && !is_tag {
            return Err(Error::InvalidFilterValue(format!(
                "The following filter values are missing : null for filter key {key}"
            )));
        }
        if filter.values.len() > 50 {
            return Err(Error::InvalidFilterValue(
                "A filter can have a maximum of 50 values.".to_owned(),
            ));
        }
        if key == "Path" {
            for value in &filter.values {
                name::path(value)?;
            }
        }
    }
    Ok(())
}

/// Whether a parameter, seen at its newest version, passes all filters but `Label`'s.
pub fn passes(filters: &[Filter], parameter: &Parameter, version: &Version) -> bool {
    filters.iter().all(|filter| {
        let option = filter.option.as_deref();
        let matches = |text: &str| {
            filter.values.iter().any(|value| match option {
                Some("BeginsWith") => text.starts_with(value.as_str()),
                Some("Contains") => text.contains(value.as_str()),
                _ => text == value,
            })
        };
        match filter.key.as_str() {
            "Name" => matches(&parameter.name),
            "Type" => matches(version.kind.as_str()),
            "Tier" => matches(version.tier.as_str()),
            "DataType" => matches(&version.data_type),
            "KeyId" => version.key_id().is_some_and(matches),
            "Path" => filter.values.iter().any(|value| {
                let path = value.strip_suffix('/').unwrap_or(value);
                name::is_below(&parameter.name, path, option == Some("Recursive"))
            }),
            key => match key.strip_prefix("tag:").map(|tag| parameter.tags.get(tag)) {
                Some(Some(value)) => filter.values.is_empty() || matches(value),
                Some(None) => false,
                None => true,
            },
        }
    })
}

/// The version that a `Label` filter selects, or the newest; `None` when there is no such label.
pub fn select(filters: &[Filter], parameter: &Parameter) -> Option<(i64, Option<String>)> {
    match filters.iter().find(|filter| filter.key == "Label") {
        None => Some((parameter.version, None)),
        Some(filter) => filter.values.iter().find_map(|label| {
            parameter.labels.get(label).map(|version| (*version, Some(label.clone())))
        }),
    }
}

/// What both calls list: a parameter with one of its versions.
pub struct Listed {
    pub parameter: Arc<Parameter>,
    pub version: Arc<Version>,
    /// The label by which the version was selected.
    pub label: Option<String>,
}
