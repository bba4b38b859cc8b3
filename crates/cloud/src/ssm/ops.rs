//! Writing and reading parameters.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use store::{Snapshot, Tx};

use super::filter::{self, Call, Filter, Listed};
use super::model::{DEFAULT_KEY_ID, Kind, MAX_VERSIONS, Parameter, Tier, Version};
use super::name::{self, Reference, Selector};
use super::{Error, Result, public};
use crate::tag::{self, Invalid, Tags};
use crate::{Context, ec2, page};

const MAX_LABELS_PER_VERSION: usize = 10;

/// A request to write a version.
#[derive(Clone, Debug, Default)]
pub struct Put {
    pub name: String,
    pub value: String,
    pub kind: Option<Kind>,
    pub description: Option<String>,
    pub allowed_pattern: Option<String>,
    pub key_id: Option<String>,
    pub overwrite: bool,
    /// `Intelligent-Tiering` among them.
    pub tier: Option<String>,
    pub data_type: Option<String>,
    pub tags: Tags,
}

/// The number and the tier of the version it made.
pub fn put(tx: &mut Tx, cx: &Context, put: &Put) -> Result<(i64, Tier)> {
    name::check(cx, &put.name)?;
    if put.value.is_empty() {
        return Err(Error::validation(
            "1 validation error detected: Value '' at 'value' failed to satisfy constraint: Member \
             must have length greater than or equal to 1.",
        ));
    }
    if put.value.contains("{{") {
        return Err(Error::validation(format!(
            "Parameter value: {} can't nest another parameter. Do not use \"{{{{}}}}\" in the value.",
            put.value
        )));
    }
    if put.overwrite && !put.tags.is_empty() {
        return Err(Error::validation(
            "Invalid request: tags and overwrite can't be used together. To create a parameter with \
             tags, please remove overwrite flag. To update tags for an existing parameter, please \
             use AddTagsToResource or RemoveTagsFromResource.",
        ));
    }
    check_tags(&put.tags)?;
    let existing = tx.get::<Parameter>(&cx.key(&put.name));
    if existing.is_some() && !put.overwrite {
        return Err(Error::ParameterAlreadyExists);
    }
    let before = existing.as_ref().and_then(|p| version(tx, cx, &p.name, p.version));
    let kind = match (put.kind, &before) {
        (Some(kind), Some(before)) if kind != before.kind => {
            return Err(Error::HierarchyTypeMismatch);
        }
        (Some(kind), _) => kind,
        (None, Some(before)) => before.kind,
        (None, None) => {
            return Err(Error::validation(
                "A parameter type is required when you create a parameter.",
            ));
        }
    };
    check_key(put, kind)?;
    check_pattern(put)?;
    let tier = tier(put, before.as_deref())?;
    let data_type = data_type(tx, cx, put, kind, before.as_deref())?;

    let mut parameter = match &existing {
        Some(parameter) => (**parameter).clone(),
        None => Parameter {
            account: cx.account.clone(),
            region: cx.region.clone(),
            name: put.name.clone(),
            version: 0,
            labels: Default::default(),
            tags: put.tags.clone(),
        },
    };
    drop_oldest(tx, cx, &parameter)?;
    parameter.version += 1;
    let value = match kind {
        Kind::SecureString => {
            let owner = name::arn(cx, &put.name);
            STANDARD.encode(cx.env.seal.seal(&cx.env.rng, &owner, put.value.as_bytes()))
        }
        Kind::String | Kind::StringList => put.value.clone(),
    };
    tx.put(Version {
        account: cx.account.clone(),
        region: cx.region.clone(),
        name: put.name.clone(),
        version: parameter.version,
        kind,
        value,
        description: put
            .description
            .clone()
            .or_else(|| before.as_ref().and_then(|before| before.description.clone())),
        allowed_pattern: put.allowed_pattern.clone().filter(|pattern| !pattern.is_empty()),
        tier,
        data_type,
        modified_at: cx.now,
        modified_by: cx.caller.clone(),
    });
    let number = parameter.version;
    tx.put(parameter);
    Ok((number, tier))
}

fn check_key(put: &Put, kind: Kind) -> Result<()> {
    match put.key_id.as_deref() {
        None => Ok(()),
        Some(_) if kind != Kind::SecureString => {
            Err(Error::validation("KeyId is required for SecureString type parameter only."))
        }
        Some(DEFAULT_KEY_ID) => Ok(()),
        Some(other) => Err(Error::InvalidKeyId(other.to_owned())),
    }
}

fn check_pattern(put: &Put) -> Result<()> {
    let Some(pattern) = put.allowed_pattern.as_deref().filter(|pattern| !pattern.is_empty()) else {
        return Ok(());
    };
    let compiled =
        regex::Regex::new(pattern).map_err(|_| Error::InvalidAllowedPattern(pattern.to_owned()))?;
    if !compiled.is_match(&put.value) {
        return Err(Error::ParameterPatternMismatch(pattern.to_owned()));
    }
    Ok(())
}

fn tier(put: &Put, before: Option<&Version>) -> Result<Tier> {
    let fits_standard = put.value.len() <= Tier::Standard.max_bytes();
    let was_advanced = before.is_some_and(|before| before.tier == Tier::Advanced);
    let tier = match put.tier.as_deref() {
        Some("Advanced") => Tier::Advanced,
        Some("Standard") if was_advanced => {
            return Err(Error::validation(
                "This parameter uses the advanced-parameter tier. You can't downgrade a parameter \
                 from the advanced-parameter tier to the standard-parameter tier. If necessary, you \
                 can delete the advanced parameter and recreate it as a standard parameter.",
            ));
        }
        Some("Intelligent-Tiering") if !fits_standard => Tier::Advanced,
        _ if was_advanced => Tier::Advanced,
        _ => Tier::Standard,
    };
    let (max, name) = (tier.max_bytes(), tier.as_str());
    if put.value.len() <= max {
        return Ok(tier);
    }
    let advice = match tier {
        Tier::Standard => {
            " To create a larger parameter value, upgrade the parameter to use the \
             advanced-parameter tier."
        }
        Tier::Advanced => "",
    };
    Err(Error::validation(format!(
        "{name} tier parameters support a maximum parameter value of {max} characters.{advice}"
    )))
}

fn data_type(
    snapshot: &Snapshot,
    cx: &Context,
    put: &Put,
    kind: Kind,
    before: Option<&Version>,
) -> Result<String> {
    let kept = before.map(|before| before.data_type.as_str());
    let data_type = put.data_type.as_deref().filter(|ty| !ty.is_empty()).or(kept);
    match data_type.unwrap_or("text") {
        "text" => Ok("text".to_owned()),
        "aws:ec2:image" if kind == Kind::String => {
            // AWS checks this after it has answered, and then drops the change without a word.
            ec2::image::ops::image(snapshot, cx, &put.value).map_err(|error| {
                Error::validation(format!("The value is no AMI of this account: {error}"))
            })?;
            Ok("aws:ec2:image".to_owned())
        }
        "aws:ec2:image" => Err(Error::validation(
            "The aws:ec2:image data type is supported for parameters of type String only.",
        )),
        other => Err(Error::validation(format!(
            "The following data type is not supported: {other} (Data type names are all lowercase.)"
        ))),
    }
}

/// Makes room for one more version.
fn drop_oldest(tx: &mut Tx, cx: &Context, parameter: &Parameter) -> Result<()> {
    let versions = versions(tx, cx, &parameter.name);
    let Some(oldest) = versions.first().filter(|_| versions.len() >= MAX_VERSIONS) else {
        return Ok(());
    };
    if parameter.labels.values().any(|version| *version == oldest.version) {
        return Err(Error::ParameterMaxVersionLimitExceeded {
            name: parameter.name.clone(),
            version: oldest.version,
        });
    }
    tx.delete::<Version>(&store::Record::key(&**oldest));
    Ok(())
}

/// All versions, oldest first.
pub fn versions(snapshot: &Snapshot, cx: &Context, name: &str) -> Vec<Arc<Version>> {
    snapshot.scan::<Version>(&Version::prefix(&cx.key(name))).collect()
}

fn version(snapshot: &Snapshot, cx: &Context, name: &str, number: i64) -> Option<Arc<Version>> {
    snapshot.get::<Version>(&format!("{}{number:019}", Version::prefix(&cx.key(name))))
}

/// The parameter that a name, an ARN, or either with a selector points at.
fn find(snapshot: &Snapshot, cx: &Context, text: &str) -> Result<(Arc<Parameter>, Selector)> {
    let not_found = || Error::ParameterNotFound(text.to_owned());
    let reference = Reference::parse(cx, text).ok_or_else(not_found)?;
    let mut found = reference.names.iter().map(|name| snapshot.get::<Parameter>(&cx.key(name)));
    Ok((found.find_map(|parameter| parameter).ok_or_else(not_found)?, reference.selector))
}

/// The parameter that a name or an ARN without a selector points at.
fn whole(snapshot: &Snapshot, cx: &Context, text: &str) -> Result<Arc<Parameter>> {
    match find(snapshot, cx, text)? {
        (parameter, Selector::Newest) => Ok(parameter),
        _ => Err(Error::ParameterNotFound(text.to_owned())),
    }
}

/// One version of a parameter, and the selector that chose it.
pub fn get(
    snapshot: &Snapshot,
    cx: &Context,
    text: &str,
) -> Result<(Arc<Version>, Option<String>)> {
    if let Some(public) = public::version(snapshot, cx, text) {
        return Ok((Arc::new(public?), None));
    }
    let (parameter, selector) = find(snapshot, cx, text)?;
    let name = &parameter.name;
    let (number, selector) = match selector {
        Selector::Newest => (parameter.version, None),
        Selector::Version(number) => (number, Some(format!(":{number}"))),
        Selector::Label(label) => {
            let number = parameter.labels.get(&label).ok_or_else(|| {
                Error::ParameterVersionNotFound(format!(
                    "Systems Manager could not find the label {label} for parameter {name}. Verify \
                     the label and try again."
                ))
            })?;
            (*number, Some(format!(":{label}")))
        }
    };
    Ok((existing_version(snapshot, cx, name, number)?, selector))
}

fn existing_version(
    snapshot: &Snapshot,
    cx: &Context,
    name: &str,
    number: i64,
) -> Result<Arc<Version>> {
    version(snapshot, cx, name, number).ok_or_else(|| {
        Error::ParameterVersionNotFound(format!(
            "Systems Manager could not find version {number} of {name}. Verify the version and try \
             again."
        ))
    })
}

/// The version's value; a SecureString's is its sealed text unless `decrypt`.
pub fn value(cx: &Context, version: &Version, decrypt: bool) -> Result<String> {
    if version.kind != Kind::SecureString || !decrypt {
        return Ok(version.value.clone());
    }
    let sealed = || Error::Sealed(version.name.clone());
    let bytes = STANDARD.decode(&version.value).map_err(|_| sealed())?;
    let owner = name::arn(cx, &version.name);
    let plain = cx.env.seal.open(&owner, &bytes).map_err(|_| sealed())?;
    String::from_utf8(plain).map_err(|_| sealed())
}

/// One page, and the token of the next.
pub type Page<T> = (Vec<T>, Option<String>);

pub fn by_path(
    snapshot: &Snapshot,
    cx: &Context,
    path: &str,
    recursive: bool,
    filters: &[Filter],
    limit: usize,
    token: Option<&str>,
) -> Result<Page<Listed>> {
    let path = name::path(path)?;
    filter::check(filters, Call::GetParametersByPath)?;
    let below = |parameter: &Parameter| name::is_below(&parameter.name, &path, recursive);
    list(snapshot, cx, below, filters, limit, token)
}

pub fn describe(
    snapshot: &Snapshot,
    cx: &Context,
    filters: &[Filter],
    limit: usize,
    token: Option<&str>,
) -> Result<Page<Listed>> {
    filter::check(filters, Call::DescribeParameters)?;
    list(snapshot, cx, |_| true, filters, limit, token)
}

fn list(
    snapshot: &Snapshot,
    cx: &Context,
    wanted: impl Fn(&Parameter) -> bool,
    filters: &[Filter],
    limit: usize,
    token: Option<&str>,
) -> Result<Page<Listed>> {
    let prefix = cx.prefix();
    let listed = snapshot.scan::<Parameter>(&prefix).filter_map(|parameter| {
        if !wanted(&parameter) {
            return None;
        }
        let newest = version(snapshot, cx, &parameter.name, parameter.version)?;
        if !filter::passes(filters, &parameter, &newest) {
            return None;
        }
        let (number, label) = filter::select(filters, &parameter)?;
        let version = version(snapshot, cx, &parameter.name, number)?;
        Some(Listed { parameter, version, label })
    });
    Ok(page::page(listed, |listed| listed.parameter.name.clone(), limit, token)?)
}

/// Versions oldest first.
pub fn history(
    snapshot: &Snapshot,
    cx: &Context,
    name: &str,
    limit: usize,
    token: Option<&str>,
) -> Result<(Arc<Parameter>, Page<Arc<Version>>)> {
    let parameter = whole(snapshot, cx, name)?;
    let versions = versions(snapshot, cx, &parameter.name);
    let page = page::page(versions, |v| format!("{:019}", v.version), limit, token)?;
    Ok((parameter, page))
}

pub fn delete(tx: &mut Tx, cx: &Context, name: &str) -> Result<()> {
    let parameter = whole(tx, cx, name)?;
    for version in versions(tx, cx, &parameter.name) {
        tx.delete::<Version>(&store::Record::key(&*version));
    }
    tx.delete::<Parameter>(&store::Record::key(&*parameter));
    Ok(())
}

/// Deletes those that exist, and says which did and which did not.
pub fn delete_all(
    tx: &mut Tx,
    cx: &Context,
    names: &[String],
) -> Result<(Vec<String>, Vec<String>)> {
    let (mut deleted, mut invalid) = (Vec::new(), Vec::new());
    for name in names {
        match delete(tx, cx, name) {
            Ok(()) => deleted.push(name.clone()),
            Err(Error::ParameterNotFound(_)) if deleted.contains(name) => {}
            Err(Error::ParameterNotFound(_)) => invalid.push(name.clone()),
            Err(error) => return Err(error),
        }
    }
    Ok((deleted, invalid))
}

/// Labels a version (the newest unless said), taking the labels from others that have them. Returns the
/// labels that cannot be, and the version.
pub fn label(
    tx: &mut Tx,
    cx: &Context,
    name: &str,
    number: Option<i64>,
    labels: &[String],
) -> Result<(Vec<String>, i64)> {
    let parameter = whole(tx, cx, name)?;
    let number = number.unwrap_or(parameter.version);
    existing_version(tx, cx, &parameter.name, number)?;
    let (valid, invalid): (Vec<String>, Vec<String>) =
        labels.iter().cloned().partition(|label| name::is_label(label));
    let mut parameter = (*parameter).clone();
    parameter.labels.extend(valid.into_iter().map(|label| (label, number)));
    if parameter.labels.values().filter(|n| **n == number).count() > MAX_LABELS_PER_VERSION {
        return Err(Error::ParameterVersionLabelLimitExceeded);
    }
    tx.put(parameter);
    Ok((invalid, number))
}

/// Removes labels from a version. Returns those it had, and those it had not.
pub fn unlabel(
    tx: &mut Tx,
    cx: &Context,
    name: &str,
    number: i64,
    labels: &[String],
) -> Result<(Vec<String>, Vec<String>)> {
    let parameter = whole(tx, cx, name)?;
    existing_version(tx, cx, &parameter.name, number)?;
    let (removed, invalid): (Vec<String>, Vec<String>) =
        labels.iter().cloned().partition(|label| parameter.labels.get(label) == Some(&number));
    let mut parameter = (*parameter).clone();
    parameter.labels.retain(|label, _| !removed.contains(label));
    tx.put(parameter);
    Ok((removed, invalid))
}

/// The parameter of a tagging call.
fn tagged(snapshot: &Snapshot, cx: &Context, ty: &str, id: &str) -> Result<Arc<Parameter>> {
    if ty != "Parameter" {
        return Err(Error::InvalidResourceType(ty.to_owned()));
    }
    let parameter = snapshot.get::<Parameter>(&cx.key(id));
    parameter.ok_or_else(|| Error::InvalidResourceId(id.to_owned()))
}

pub fn add_tags(tx: &mut Tx, cx: &Context, ty: &str, id: &str, tags: &Tags) -> Result<()> {
    let mut parameter = (*tagged(tx, cx, ty, id)?).clone();
    check_tags(tags)?;
    parameter.tags.extend(tags.clone());
    check_tags(&parameter.tags)?;
    tx.put(parameter);
    Ok(())
}

pub fn remove_tags(tx: &mut Tx, cx: &Context, ty: &str, id: &str, keys: &[String]) -> Result<()> {
    let mut parameter = (*tagged(tx, cx, ty, id)?).clone();
    parameter.tags.retain(|key, _| !keys.contains(key));
    tx.put(parameter);
    Ok(())
}

pub fn tags(snapshot: &Snapshot, cx: &Context, ty: &str, id: &str) -> Result<Tags> {
    Ok(tagged(snapshot, cx, ty, id)?.tags.clone())
}

fn check_tags(tags: &Tags) -> Result<()> {
    tag::check(tags).map_err(|invalid| match invalid {
        Invalid::Key(key) | Invalid::Reserved(key) => {
            Error::validation(format!("The tag key \"{key}\" is not valid."))
        }
        Invalid::Value(value) => {
            Error::validation(format!("The tag value \"{value}\" is not valid."))
        }
        Invalid::TooMany => Error::TooManyTags,
    })
}
