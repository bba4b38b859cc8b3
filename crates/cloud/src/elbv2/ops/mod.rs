//! What the calls do, over a transaction; one file for each kind of resource. Here: finding them.

pub mod listener;
pub mod load_balancer;
pub mod rule;
pub mod tag;
pub mod target;
pub mod target_group;

use std::collections::BTreeSet;
use std::sync::Arc;

use store::Snapshot;

pub use target::{deregister, register, targets};

use super::model::{Listener, LoadBalancer, Node, Rule, TargetGroup, id_of};
use super::{Error, Result};
use crate::Context;

/// AWS's service name in ARNs and tags.
pub const SERVICE: &str = "elasticloadbalancing";

pub fn load_balancer(snapshot: &Snapshot, cx: &Context, arn: &str) -> Result<Arc<LoadBalancer>> {
    let id = well_formed(cx, "loadbalancer", arn, "load balancer")?;
    let found = snapshot.get(&cx.key(id));
    found.ok_or_else(|| Error::LoadBalancerNotFound(arn.to_owned()))
}

pub fn target_group(snapshot: &Snapshot, cx: &Context, arn: &str) -> Result<Arc<TargetGroup>> {
    let id = well_formed(cx, "targetgroup", arn, "target group")?;
    snapshot.get(&cx.key(id)).ok_or_else(|| Error::TargetGroupNotFound(arn.to_owned()))
}

pub fn listener(snapshot: &Snapshot, cx: &Context, arn: &str) -> Result<Arc<Listener>> {
    let id = well_formed(cx, "listener", arn, "listener")?;
    snapshot.get(&cx.key(id)).ok_or(Error::ListenerNotFound)
}

pub fn rule(snapshot: &Snapshot, cx: &Context, arn: &str) -> Result<Arc<Rule>> {
    let id = well_formed(cx, "listener-rule", arn, "rule")?;
    snapshot.get(&cx.key(id)).ok_or(Error::RuleNotFound)
}

/// AWS tells what cannot be an ARN of the kind from what is none of yours.
fn well_formed<'a>(cx: &Context, kind: &str, arn: &'a str, words: &str) -> Result<&'a str> {
    let resource = crate::arn::parse(arn).map(|parts| parts.resource);
    match resource.and_then(|resource| resource.split_once('/')) {
        // A key that nothing has, when it is another account's or region's.
        Some((found, _)) if found == kind => Ok(id_of(cx, kind, arn).unwrap_or_default()),
        _ => Err(Error::validation(format!("'{arn}' is not a valid {words} ARN"))),
    }
}

pub(super) fn group_id<'a>(cx: &Context, arn: &'a str) -> Option<&'a str> {
    id_of(cx, "targetgroup", arn)
}

pub fn load_balancers(snapshot: &Snapshot, cx: &Context) -> Vec<Arc<LoadBalancer>> {
    snapshot.scan(&cx.prefix()).collect()
}

pub fn target_groups(snapshot: &Snapshot, cx: &Context) -> Vec<Arc<TargetGroup>> {
    snapshot.scan(&cx.prefix()).collect()
}

/// In order of their zones.
pub fn nodes(snapshot: &Snapshot, cx: &Context, load_balancer_arn: &str) -> Vec<Arc<Node>> {
    let Some(id) = id_of(cx, "loadbalancer", load_balancer_arn) else { return vec![] };
    let prefix = format!("{}{id}/", cx.prefix());
    let mut nodes: Vec<Arc<Node>> =
        snapshot.scan::<Node>(&prefix).filter(|node| !node.leaving).collect();
    nodes.sort_by(|a, b| a.zone.cmp(&b.zone));
    nodes
}

pub fn listeners(snapshot: &Snapshot, cx: &Context, load_balancer_arn: &str) -> Vec<Arc<Listener>> {
    match id_of(cx, "loadbalancer", load_balancer_arn) {
        Some(id) => snapshot.scan(&format!("{}{id}/", cx.prefix())).collect(),
        None => vec![],
    }
}

/// In order of priority, the default rule last.
pub fn rules(snapshot: &Snapshot, cx: &Context, listener_arn: &str) -> Vec<Arc<Rule>> {
    let Some(id) = id_of(cx, "listener", listener_arn) else { return vec![] };
    let mut rules: Vec<Arc<Rule>> = snapshot.scan(&format!("{}{id}/", cx.prefix())).collect();
    rules.sort_by_key(|rule| rule.priority.unwrap_or(u32::MAX));
    rules
}

/// Every rule of a load balancer's listeners, default ones included.
fn rules_of_load_balancer(snapshot: &Snapshot, cx: &Context, arn: &str) -> Vec<Arc<Rule>> {
    match id_of(cx, "loadbalancer", arn) {
        Some(id) => snapshot.scan(&format!("{}{id}/", cx.prefix())).collect(),
        None => vec![],
    }
}

/// ARNs of the load balancers that forward to a target group; AWS allows one.
pub fn attached_load_balancers(
    snapshot: &Snapshot,
    cx: &Context,
    target_group_arn: &str,
) -> Vec<String> {
    let prefix = cx.prefix();
    let rules = snapshot.scan::<Rule>(&prefix);
    let forwarding =
        rules.filter(|rule| rule.action.target_groups().any(|a| a == target_group_arn));
    let found: BTreeSet<String> = forwarding.map(|rule| load_balancer_arn(&rule.id, cx)).collect();
    found.into_iter().collect()
}

/// `app/NAME/LB` is what the id of a listener or a rule begins with.
fn load_balancer_arn(id: &str, cx: &Context) -> String {
    let id: Vec<&str> = id.splitn(4, '/').take(3).collect();
    cx.arn(SERVICE, &format!("loadbalancer/{}", id.join("/")))
}

/// A page as this service asks for it.
#[derive(Clone, Debug, Default)]
pub struct Page {
    pub size: Option<i32>,
    pub marker: Option<String>,
}

impl Page {
    /// Of `items`, which must be sorted by `key`.
    pub fn of<T>(
        &self,
        items: Vec<T>,
        key: impl Fn(&T) -> String,
    ) -> Result<(Vec<T>, Option<String>)> {
        let size = self.size.unwrap_or(400).clamp(1, 400) as usize;
        Ok(crate::page::page(items, key, size, self.marker.as_deref())?)
    }
}

/// Names of load balancers and target groups. `kind` is for the message.
fn check_name(kind: &str, name: &str) -> Result<()> {
    let wrong = if name.len() > 32 {
        "cannot be longer than '32' characters"
    } else if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
        "can only contain characters that are alphanumeric characters and hyphens(-)"
    } else if name.starts_with('-') || name.ends_with('-') {
        "cannot begin or end with '-'"
    } else {
        return Ok(());
    };
    Err(Error::validation(format!("{kind} name '{name}' {wrong}")))
}
