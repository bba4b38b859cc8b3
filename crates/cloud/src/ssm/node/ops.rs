//! Who is a managed node, and what it may do.

use std::sync::Arc;

use store::{Snapshot, Tx};

use super::Node;
use crate::Context;
use crate::ec2::instance::{Instance, InstanceState, Status};
use crate::ec2::instance_profile::credentials;
use crate::iam::Demand;
use crate::iam::authorize::Judge;

/// Whether the role that the instance has lets it do `action` on `resource`.
pub fn may(cx: &Context, instance: &Instance, action: &str, resource: &str) -> bool {
    let Some(caller) = credentials::caller(&cx.read(), cx, instance) else { return false };
    let caller_arn = caller.arn(&cx.read(), &cx.account);
    let its = Context { caller: caller_arn, from: Arc::new(caller), ..cx.clone() };
    Judge::of(&its).decide(&Demand::new(action, resource)).is_ok()
}

/// Whether its agent could register: `ssm:UpdateInstanceInformation` on itself.
pub fn may_register(cx: &Context, instance: &Instance) -> bool {
    let itself = cx.arn("ec2", &format!("instance/{}", instance.id));
    may(cx, instance, "ssm:UpdateInstanceInformation", &itself)
}

/// It runs, and its present boot is up.
pub fn is_up(instance: &Instance) -> bool {
    instance.state() == InstanceState::Running && instance.status() == Status::Ok
}

/// Registered in this boot, running, and still allowed.
pub fn is_online(cx: &Context, node: &Node, instance: &Instance) -> bool {
    is_up(instance) && node.boot == instance.observed.boot && may_register(cx, instance)
}

/// All registered ones whose instances are not ended, by id.
pub fn nodes(snapshot: &Snapshot, cx: &Context) -> Vec<(Arc<Node>, Arc<Instance>)> {
    let prefix = cx.prefix();
    let nodes = snapshot.scan::<Node>(&prefix);
    nodes.filter_map(|node| with_instance(snapshot, cx, node)).collect()
}

pub fn node(snapshot: &Snapshot, cx: &Context, id: &str) -> Option<(Arc<Node>, Arc<Instance>)> {
    with_instance(snapshot, cx, snapshot.get::<Node>(&cx.key(id))?)
}

fn with_instance(
    snapshot: &Snapshot,
    cx: &Context,
    node: Arc<Node>,
) -> Option<(Arc<Node>, Arc<Instance>)> {
    let instance = snapshot.get::<Instance>(&cx.key(&node.instance_id))?;
    let ended = matches!(instance.state(), InstanceState::ShuttingDown | InstanceState::Terminated);
    (!ended).then_some((node, instance))
}

/// What was found inside of an instance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    pub platform_name: Option<String>,
    pub platform_version: Option<String>,
    pub computer_name: Option<String>,
}

/// Registers it, or notes that it is there again. Nothing when that boot is over.
pub fn register(tx: &mut Tx, cx: &Context, id: &str, boot: u64, found: &Found) {
    let Some(instance) = tx.get::<Instance>(&cx.key(id)) else { return };
    if !is_up(&instance) || instance.observed.boot != boot {
        return;
    }
    let before = tx.get::<Node>(&cx.key(id));
    tx.put(Node {
        account: cx.account.clone(),
        region: cx.region.clone(),
        instance_id: id.to_owned(),
        boot,
        registered_at: before.map_or(cx.now, |before| before.registered_at),
        seen_at: cx.now,
        online: true,
        platform_name: found.platform_name.clone(),
        platform_version: found.platform_version.clone(),
        computer_name: found.computer_name.clone(),
    });
}

/// It came or went; its role lost or got the right.
pub fn set_online(tx: &mut Tx, cx: &Context, id: &str, online: bool) {
    let Some(node) = tx.get::<Node>(&cx.key(id)).filter(|node| node.online != online) else {
        return;
    };
    tx.put(Node { online, seen_at: cx.now, ..Node::clone(&node) });
}

/// See os-release(5); then the name of the machine, on a line that begins with `computer `.
pub fn parse(output: &str) -> Found {
    let mut found = Found::default();
    for line in output.lines() {
        if let Some(name) = line.strip_prefix("computer ") {
            found.computer_name = Some(name.trim().to_owned()).filter(|name| !name.is_empty());
        }
        let Some((key, value)) = line.split_once('=') else { continue };
        let quoted = |quote| value.strip_prefix(quote)?.strip_suffix(quote);
        let value = quoted('"').or_else(|| quoted('\'')).unwrap_or(value).to_owned();
        match key {
            "NAME" => found.platform_name = Some(value),
            "VERSION_ID" => found.platform_version = Some(value),
            _ => {}
        }
    }
    found
}
