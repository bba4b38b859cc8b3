//! DescribeInstanceInformation: what is shown of nodes, and which.

use std::sync::Arc;
use std::time::Duration;

use store::Snapshot;

use super::{Node, ops};
use crate::ec2::instance::Instance;
use crate::ec2::{instance_profile, tag};
use crate::page;
use crate::ssm::{Error, Result};
use crate::{Context, Timestamp};

/// An agent pings that often.
const PING: Duration = Duration::from_secs(300);

/// A node as it is shown.
#[derive(Clone, Debug)]
pub struct Shown {
    pub node: Arc<Node>,
    pub instance: Arc<Instance>,
    pub online: bool,
    pub last_ping: Timestamp,
    pub role: Option<String>,
}

impl Shown {
    pub fn ping_status(&self) -> &'static str {
        if self.online { "Online" } else { "ConnectionLost" }
    }
}

/// One of either kind, by the names of the newer: `InstanceIds`, `tag:KEY`, `tag-key`, …
#[derive(Clone, Debug)]
pub struct Filter {
    pub key: String,
    pub values: Vec<String>,
}

const KEYS: [&str; 8] = [
    "InstanceIds",
    "AgentVersion",
    "PingStatus",
    "PlatformTypes",
    "ActivationIds",
    "IamRole",
    "ResourceType",
    "AssociationStatus",
];

pub fn describe(
    snapshot: &Snapshot,
    cx: &Context,
    filters: &[Filter],
    limit: usize,
    token: Option<&str>,
) -> Result<(Vec<Shown>, Option<String>)> {
    for filter in filters {
        let tags = filter.key.starts_with("tag:") || filter.key == "tag-key";
        if !tags && !KEYS.contains(&filter.key.as_str()) {
            return Err(Error::InvalidInstanceInformationFilterValue(format!(
                "{} is not a valid filter key.",
                filter.key
            )));
        }
        if filter.values.is_empty() {
            return Err(Error::InvalidInstanceInformationFilterValue(format!(
                "The filter {} has no values.",
                filter.key
            )));
        }
    }
    let nodes = ops::nodes(snapshot, cx).into_iter();
    let shown = nodes.map(|(node, instance)| show(snapshot, cx, node, instance));
    let wanted = shown.filter(|shown| filters.iter().all(|one| passes(snapshot, cx, one, shown)));
    Ok(page::page(wanted, |shown| shown.instance.id.clone(), limit, token)?)
}

fn show(snapshot: &Snapshot, cx: &Context, node: Arc<Node>, instance: Arc<Instance>) -> Shown {
    let online = ops::is_online(cx, &node, &instance);
    let last_ping = match online {
        true => {
            let past = cx.now.since(node.seen_at);
            let pings = u32::try_from(past.as_secs() / PING.as_secs()).unwrap_or(u32::MAX);
            node.seen_at.plus(PING * pings)
        }
        false => node.seen_at,
    };
    let role = instance_profile::credentials::role_name(snapshot, cx, &instance);
    Shown { node, instance, online, last_ping, role }
}

fn passes(snapshot: &Snapshot, cx: &Context, filter: &Filter, shown: &Shown) -> bool {
    let has = |value: &str| filter.values.iter().any(|wanted| wanted == value);
    match filter.key.as_str() {
        "InstanceIds" => has(&shown.instance.id),
        "AgentVersion" => has(env!("CARGO_PKG_VERSION")),
        "PingStatus" => has(shown.ping_status()),
        "PlatformTypes" => has("Linux"),
        "IamRole" => shown.role.as_deref().is_some_and(has),
        "ResourceType" => has("EC2Instance"),
        // Nothing was activated from elsewhere, and there are no associations.
        "ActivationIds" | "AssociationStatus" => false,
        "tag-key" => tag::ops::tags_of(snapshot, cx, &shown.instance.id).keys().any(|key| has(key)),
        key => {
            let tags = tag::ops::tags_of(snapshot, cx, &shown.instance.id);
            let key = key.strip_prefix("tag:").unwrap_or(key);
            tags.get(key).is_some_and(|value| has(value))
        }
    }
}
