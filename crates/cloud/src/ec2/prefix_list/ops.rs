//! Making and changing prefix lists, and finding what they stand for and who uses them.

use std::collections::BTreeMap;
use std::sync::Arc;

use store::{Snapshot, Tx};

use super::model::{AWS, Act, Entry, PrefixList};
use crate::ec2::client_token::ClientToken;
use crate::ec2::route_table::RouteTable;
use crate::ec2::route_table::model::{Destination, Route};
use crate::ec2::security_group::model::Peer;
use crate::ec2::vpc::Cidr;
use crate::ec2::vpc::services;
use crate::ec2::{Error, Kind, Result, resource, security_group, tag};
use crate::tag::Tags;
use crate::{Context, id};

/// AWS's quota.
const MAX_ENTRIES: i32 = 1000;

const MAX_NAME: usize = 255;

/// Those that a gateway endpoint leads to.
pub const GATEWAY_SERVICES: [&str; 2] = ["s3", "dynamodb"];

/// One of the customer's or of AWS's.
pub fn by_id(snapshot: &Snapshot, cx: &Context, id: &str) -> Result<Arc<PrefixList>> {
    if !Kind::PrefixList.is_id(id) {
        return Err(Error::malformed(Kind::PrefixList, id));
    }
    snapshot
        .get(&cx.key(id))
        .or_else(|| aws_managed(cx).into_iter().find(|list| list.id == id))
        .ok_or_else(|| Error::not_found(Kind::PrefixList, id))
}

/// The blocks it stands for now; none, when there is no such list.
pub fn blocks(snapshot: &Snapshot, cx: &Context, id: &str) -> Vec<Cidr> {
    let list = by_id(snapshot, cx, id);
    list.map_or(vec![], |list| list.entries().iter().map(|entry| entry.block).collect())
}

/// All, in order of their ids.
pub fn all(snapshot: &Snapshot, cx: &Context) -> Vec<Arc<PrefixList>> {
    let prefix = cx.prefix();
    let mut all: Vec<Arc<PrefixList>> = snapshot.scan(&prefix).collect();
    all.extend(aws_managed(cx));
    all.sort_by(|a, b| a.id.cmp(&b.id));
    all
}

/// The id of AWS's own list of a service: `s3`.
pub fn aws_managed_id(cx: &Context, service: &str) -> String {
    id::stable("pl", &[&cx.region, service])
}

/// Of every service that a gateway endpoint leads to.
pub fn aws_managed(cx: &Context) -> Vec<Arc<PrefixList>> {
    let list = |name: &&str| {
        let service = services::named(name)?;
        let block = Cidr::new(service.address, 32);
        Some(Arc::new(PrefixList {
            account: AWS.to_owned(),
            region: cx.region.clone(),
            id: aws_managed_id(cx, name),
            name: format!("com.amazonaws.{}.{name}", cx.region),
            max_entries: 1,
            versions: BTreeMap::from([(1, vec![Entry { block, description: None }])]),
            last_act: Act::Create,
            client_token: None,
        }))
    };
    GATEWAY_SERVICES.iter().filter_map(list).collect()
}

/// What a list shall be made of.
#[derive(Clone, Debug, serde::Serialize)]
pub struct New {
    pub name: String,
    pub max_entries: i32,
    pub entries: Vec<Entry>,
}

pub fn create(
    tx: &mut Tx,
    cx: &Context,
    new: &New,
    tags: &Tags,
    client_token: Option<ClientToken>,
) -> Result<PrefixList> {
    check_name(&new.name)?;
    tag::ops::check(tags)?;
    let max_entries = check_max_entries(new.max_entries)?;
    let made = PrefixList {
        account: cx.account.clone(),
        region: cx.region.clone(),
        id: id::resource(&cx.env.rng, "pl"),
        name: new.name.clone(),
        max_entries,
        versions: BTreeMap::from([(1, checked(new.entries.clone(), max_entries)?)]),
        last_act: Act::Create,
        client_token,
    };
    tag::ops::set(tx, cx, &made.id, tags)?;
    tx.put(made.clone());
    Ok(made)
}

fn check_name(name: &str) -> Result<()> {
    if name.is_empty() || name.chars().count() > MAX_NAME || name.starts_with("com.amazonaws") {
        return Err(Error::value(format!(
            "Invalid prefix list name '{name}': up to {MAX_NAME} characters that do not begin with \
             com.amazonaws"
        )));
    }
    Ok(())
}

fn check_max_entries(wanted: i32) -> Result<usize> {
    match wanted {
        1..=MAX_ENTRIES => Ok(wanted as usize),
        _ => Err(Error::value(format!(
            "Value ({wanted}) for parameter maxEntries is invalid. It must be between 1 and \
             {MAX_ENTRIES}."
        ))),
    }
}

/// Sorted, each block once, and no more than there is room for.
fn checked(mut entries: Vec<Entry>, max_entries: usize) -> Result<Vec<Entry>> {
    entries.sort_by_key(|entry| (entry.block.first(), entry.block.prefix));
    if let Some(pair) = entries.windows(2).find(|pair| pair[0].block == pair[1].block) {
        let block = pair[0].block;
        return Err(Error::value(format!("The CIDR {block} is in the prefix list more than once")));
    }
    if entries.len() > max_entries {
        return Err(Error::PrefixListMaxEntriesExceeded { entries: entries.len(), max_entries });
    }
    Ok(entries)
}

/// What shall change; entries, or the room for them, not both.
#[derive(Clone, Debug, Default)]
pub struct Change {
    pub name: Option<String>,
    pub max_entries: Option<i32>,
    pub current_version: Option<i64>,
    pub add: Vec<Entry>,
    pub remove: Vec<Cidr>,
}

pub fn modify(tx: &mut Tx, cx: &Context, id: &str, change: &Change) -> Result<PrefixList> {
    let mut next = own(tx, cx, id)?;
    if let Some(name) = &change.name {
        check_name(name)?;
        next.name = name.clone();
    }
    let entries_change = !change.add.is_empty() || !change.remove.is_empty();
    if let Some(wanted) = change.max_entries {
        if entries_change {
            return Err(Error::combination(
                "You cannot modify the entries of a prefix list and modify the size of a prefix list \
                 at the same time.",
            ));
        }
        next.max_entries = check_max_entries(wanted)?;
        checked(next.entries().to_vec(), next.max_entries)?;
        check_users(tx, cx, &next)?;
    }
    if entries_change {
        let current = change.current_version.ok_or(Error::MissingParameter("CurrentVersion"))?;
        check_version(&next, current)?;
        let entries = changed(&next, change)?;
        next.versions.insert(current + 1, entries);
    }
    next.last_act = Act::Modify;
    tx.put(next.clone());
    Ok(next)
}

/// An entry that is there already gets the new description.
fn changed(list: &PrefixList, change: &Change) -> Result<Vec<Entry>> {
    let mut entries = list.entries().to_vec();
    for block in &change.remove {
        let at = entries.iter().position(|entry| entry.block == *block).ok_or_else(|| {
            Error::value(format!("The prefix list '{}' has no entry {block}", list.id))
        })?;
        entries.remove(at);
    }
    for added in &change.add {
        entries.retain(|entry| entry.block != added.block);
    }
    entries.extend(change.add.iter().cloned());
    checked(entries, list.max_entries)
}

fn check_version(list: &PrefixList, said: i64) -> Result<()> {
    if list.version() == said {
        return Ok(());
    }
    Err(Error::PrefixListVersionMismatch { id: list.id.clone(), version: list.version() })
}

/// One of the customer's own, to change.
fn own(snapshot: &Snapshot, cx: &Context, id: &str) -> Result<PrefixList> {
    let list = by_id(snapshot, cx, id)?;
    if list.is_aws_managed() {
        return Err(Error::OperationNotPermitted(format!(
            "The prefix list '{id}' is managed by AWS and cannot be changed."
        )));
    }
    Ok((*list).clone())
}

/// The entries of an earlier version come back as the next.
pub fn restore(
    tx: &mut Tx,
    cx: &Context,
    id: &str,
    previous: i64,
    current: i64,
) -> Result<PrefixList> {
    let mut next = own(tx, cx, id)?;
    check_version(&next, current)?;
    let entries = checked(of_version(&next, previous)?.to_vec(), next.max_entries)?;
    next.versions.insert(current + 1, entries);
    next.last_act = Act::Restore;
    tx.put(next.clone());
    Ok(next)
}

pub fn of_version(list: &PrefixList, version: i64) -> Result<&[Entry]> {
    let found = list.versions.get(&version).map(Vec::as_slice);
    found.ok_or_else(|| {
        Error::value(format!("The prefix list '{}' has no version {version}", list.id))
    })
}

pub fn delete(tx: &mut Tx, cx: &Context, id: &str) -> Result<PrefixList> {
    let list = own(tx, cx, id)?;
    if !users(tx, cx, id).is_empty() {
        return Err(Error::DependencyViolation(format!(
            "The prefix list '{id}' is in use and cannot be deleted."
        )));
    }
    tag::ops::forget(tx, cx, id);
    tx.delete::<PrefixList>(&cx.key(id));
    Ok(list)
}

/// Ids of the resources that refer to it, sorted.
pub fn users(snapshot: &Snapshot, cx: &Context, id: &str) -> Vec<String> {
    let refers = |peer: &Peer| matches!(peer, Peer::PrefixList(list) if list == id);
    let groups = security_group::ops::groups(snapshot, cx).into_iter();
    let groups = groups
        .filter(|group| group.rules.iter().any(|rule| refers(&rule.peer)))
        .map(|group| group.id.clone());
    let leads = |route: &Route| route.destination == Destination::PrefixList(id.to_owned());
    let tables = resource::all::<RouteTable>(snapshot, cx).into_iter();
    let tables =
        tables.filter(|table| table.routes.iter().any(leads)).map(|table| table.id.clone());
    // Route tables sort first: `rtb-…` before `sg-…`.
    tables.chain(groups).collect()
}

/// A list counts as many rules as it has room for entries, in every group that refers to it.
fn check_users(tx: &mut Tx, cx: &Context, list: &PrefixList) -> Result<()> {
    tx.put(list.clone());
    for id in users(tx, cx, &list.id).iter().filter(|id| Kind::SecurityGroup.is_id(id)) {
        let group = security_group::ops::group(tx, cx, id)?;
        security_group::ops::check_limit(tx, cx, &group)?;
    }
    Ok(())
}
