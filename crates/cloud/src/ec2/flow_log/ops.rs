//! Making, ending and finding flow logs.

use std::sync::Arc;

use store::{Snapshot, Tx};

use super::line::{self, Field};
use super::model::{FlowLog, Traffic};
use crate::ec2::listing::{self, Listing};
use crate::ec2::{Error, Kind, Result, tag};
use crate::tag::Tags;
use crate::{Context, id};

/// One for each of `resources`.
pub struct Create {
    pub resources: Vec<String>,
    pub traffic: Traffic,
    pub destination: String,
    pub fields: Vec<Field>,
    pub interval_seconds: u32,
    pub client_token: Option<String>,
    pub tags: Tags,
}

pub fn flow_logs(snapshot: &Snapshot, cx: &Context) -> Vec<Arc<FlowLog>> {
    snapshot.scan(&cx.prefix()).collect()
}

/// Ids of the new ones; the same again for a token that was used.
pub fn create(tx: &mut Tx, cx: &Context, create: &Create) -> Result<Vec<String>> {
    if let Some(token) = &create.client_token {
        let mut before = flow_logs(tx, cx);
        before.retain(|log| log.client_token.as_ref() == Some(token));
        if !before.is_empty() {
            let same = |log: &FlowLog| {
                create.resources.contains(&log.resource_id)
                    && (log.traffic, &log.destination) == (create.traffic, &create.destination)
            };
            if before.len() != create.resources.len() || !before.iter().all(|log| same(log)) {
                return Err(Error::IdempotentParameterMismatch(format!(
                    "The client token {token} was used with other parameters."
                )));
            }
            return Ok(before.iter().map(|log| log.id.clone()).collect());
        }
    }
    tag::ops::check(&create.tags)?;
    let mut ids = Vec::new();
    for resource in &create.resources {
        let twin = |log: &Arc<FlowLog>| {
            log.resource_id == *resource
                && (log.traffic, &log.destination) == (create.traffic, &create.destination)
        };
        if flow_logs(tx, cx).iter().any(twin) {
            return Err(Error::FlowLogAlreadyExists);
        }
        let log = FlowLog {
            account: cx.account.clone(),
            region: cx.region.clone(),
            id: id::resource(&cx.env.rng, "fl"),
            resource_id: resource.clone(),
            traffic: create.traffic,
            destination: create.destination.clone(),
            fields: create.fields.clone(),
            interval_seconds: create.interval_seconds,
            created_at: cx.now,
            client_token: create.client_token.clone(),
            failure: None,
        };
        tag::ops::set(tx, cx, &log.id, &create.tags)?;
        ids.push(log.id.clone());
        tx.put(log);
    }
    Ok(ids)
}

pub fn delete(tx: &mut Tx, cx: &Context, ids: &[String]) -> Result<()> {
    let mut named = flow_logs(tx, cx);
    listing::only(&mut named, ids, |log| &log.id, Kind::FlowLog)?;
    for log in named {
        tx.delete::<FlowLog>(&cx.key(&log.id));
        tag::ops::forget(tx, cx, &log.id);
    }
    Ok(())
}

/// Notes how the last delivery went, if it went otherwise than the one before.
pub fn delivered(tx: &mut Tx, log: &FlowLog, failure: Option<String>) {
    let key = store::Record::key(log);
    if let Some(current) = tx.get::<FlowLog>(&key)
        && current.failure != failure
    {
        tx.put(FlowLog { failure, ..(*current).clone() });
    }
}

const FILTERS: &[&str] = &[
    "deliver-log-status",
    "flow-log-id",
    "log-destination-type",
    "log-group-name",
    "resource-id",
    "traffic-type",
];

pub fn describe(
    snapshot: &Snapshot,
    cx: &Context,
    ids: &[String],
    listing: &Listing,
) -> Result<(Vec<Arc<FlowLog>>, Option<String>)> {
    let mut all = flow_logs(snapshot, cx);
    listing::only(&mut all, ids, |log| &log.id, Kind::FlowLog)?;
    listing.check(FILTERS, true)?;
    all.retain(|log| {
        let tags = || tag::ops::tags_of(snapshot, cx, &log.id);
        listing.keeps(tags, |name| match name {
            "deliver-log-status" => vec![status(log).to_owned()],
            "flow-log-id" => vec![log.id.clone()],
            "log-destination-type" => vec!["s3".to_owned()],
            "resource-id" => vec![log.resource_id.clone()],
            "traffic-type" => vec![log.traffic.word().to_owned()],
            _ => vec![],
        })
    });
    listing.page(all, |log| log.id.clone())
}

pub fn status(log: &FlowLog) -> &'static str {
    if log.failure.is_some() { "FAILED" } else { "SUCCESS" }
}

/// The format that a request asks for.
pub fn fields(format: Option<&str>) -> Result<Vec<Field>> {
    let Some(text) = format else { return Ok(line::default_format()) };
    let fields = line::parse_format(text).map_err(|word| {
        Error::value(format!("Unknown or unsupported field in the log format: {word}"))
    })?;
    if fields.is_empty() { Err(Error::value("The log format is empty.")) } else { Ok(fields) }
}
