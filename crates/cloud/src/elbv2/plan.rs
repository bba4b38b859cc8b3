//! What every zone's balancer shall do, from the records alone; and what is known of every target, from
//! the records and the balancers' reports. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use balancer::snapshot as wanted;
use store::{Record, Snapshot};

use super::attribute::{self, LISTENER, LOAD_BALANCER, TARGET_GROUP};
use super::model::{
    Action, Condition, Listener, LoadBalancer, Node, Rule, Target, TargetGroup, TargetState,
    TargetType,
};
use super::ops::target_group::parse_matcher;
use super::state::{self, Backing, NodeView};
use crate::ec2::instance::model::Instance;
use crate::ec2::instance::state::InstanceState;
use crate::ec2::security_group::model::{Direction, SecurityGroup};
use crate::zone;

/// All that matters here, of all accounts and regions.
pub struct View {
    load_balancers: Vec<Arc<LoadBalancer>>,
    /// By load balancer.
    nodes: BTreeMap<String, Vec<Arc<Node>>>,
    leaving: Vec<Arc<Node>>,
    /// By load balancer.
    listeners: BTreeMap<String, Vec<Arc<Listener>>>,
    /// By listener, in order of priority, the default rule last.
    rules: BTreeMap<String, Vec<Arc<Rule>>>,
    groups: BTreeMap<String, Arc<TargetGroup>>,
    /// By target group.
    targets: BTreeMap<String, Vec<Arc<Target>>>,
    /// By key.
    instances: BTreeMap<String, Arc<Instance>>,
    failed: BTreeSet<String>,
    /// Load balancer of each target group that is forwarded to.
    owners: BTreeMap<String, String>,
    /// By key.
    security_groups: BTreeMap<String, Arc<SecurityGroup>>,
}

impl View {
    pub fn of(snapshot: &Snapshot) -> View {
        let mut view = View {
            load_balancers: snapshot.scan("").collect(),
            nodes: BTreeMap::new(),
            leaving: vec![],
            listeners: BTreeMap::new(),
            rules: BTreeMap::new(),
            groups: snapshot.scan::<TargetGroup>("").map(|g| (g.arn.clone(), g)).collect(),
            targets: BTreeMap::new(),
            instances: BTreeMap::new(),
            failed: zone::failures(snapshot).iter().map(|f| f.zone.clone()).collect(),
            owners: BTreeMap::new(),
            security_groups: snapshot.scan("").map(|g: Arc<SecurityGroup>| (g.key(), g)).collect(),
        };
        for node in snapshot.scan::<Node>("") {
            if node.leaving {
                view.leaving.push(node);
            } else {
                view.nodes.entry(node.load_balancer.clone()).or_default().push(node);
            }
        }
        for rule in snapshot.scan::<Rule>("") {
            view.rules.entry(rule.listener.clone()).or_default().push(rule);
        }
        for rules in view.rules.values_mut() {
            rules.sort_by_key(|rule| rule.priority.unwrap_or(u32::MAX));
        }
        for listener in snapshot.scan::<Listener>("") {
            for rule in view.rules.get(&listener.arn).into_iter().flatten() {
                for group in rule.action.target_groups() {
                    view.owners.insert(group.to_owned(), listener.load_balancer.clone());
                }
            }
            view.listeners.entry(listener.load_balancer.clone()).or_default().push(listener);
        }
        for target in snapshot.scan::<Target>("") {
            let instance = instance_key(&target);
            if let Some(found) = snapshot.get::<Instance>(&instance) {
                view.instances.insert(instance, found);
            }
            view.targets.entry(target.target_group_arn.clone()).or_default().push(target);
        }
        view
    }

    /// Blocks from which the load balancer's groups admit clients to a port. A default group that nobody
    /// changed has no record, and admits no blocks.
    fn admits(&self, owner: &LoadBalancer, port: u16) -> Vec<(Ipv4Addr, u8)> {
        let key = |id: &String| format!("{}/{}/{id}", owner.account, owner.region);
        let groups =
            owner.security_groups.iter().filter_map(|id| self.security_groups.get(&key(id)));
        let rules = groups.flat_map(|group| group.rules_of(Direction::Ingress));
        let admitting = rules.filter(|rule| rule.traffic.admits_tcp(port));
        admitting.filter_map(|rule| rule.peer.block()).map(|b| (b.base, b.prefix)).collect()
    }

    pub fn load_balancers(&self) -> &[Arc<LoadBalancer>] {
        &self.load_balancers
    }

    /// Those of a load balancer whose zone works.
    pub fn working_nodes(&self, load_balancer: &str) -> impl Iterator<Item = &Arc<Node>> {
        let nodes = self.nodes.get(load_balancer).into_iter().flatten();
        nodes.filter(|node| !self.failed.contains(&node.zone))
    }

    /// Nodes whose addresses are to go.
    pub fn leaving(&self) -> &[Arc<Node>] {
        &self.leaving
    }

    /// Every node that stays.
    pub fn nodes(&self) -> impl Iterator<Item = &Arc<Node>> {
        self.nodes.values().flatten()
    }

    pub fn targets(&self) -> impl Iterator<Item = &Arc<Target>> {
        self.targets.values().flatten()
    }

    pub fn group(&self, arn: &str) -> Option<&Arc<TargetGroup>> {
        self.groups.get(arn)
    }

    /// The load balancer that forwards to a target group.
    pub fn owner(&self, target_group: &str) -> Option<&str> {
        self.owners.get(target_group).map(String::as_str)
    }

    fn backing(&self, target: &Target, group: &TargetGroup) -> Backing {
        if group.target_type == TargetType::Ip {
            return Backing::Running;
        }
        let Some(instance) = self.instances.get(&instance_key(target)) else {
            return Backing::Gone;
        };
        match instance.state() {
            InstanceState::Running => Backing::Running,
            InstanceState::ShuttingDown => Backing::Ending,
            InstanceState::Terminated => Backing::Gone,
            other => Backing::Other(other.name()),
        }
    }

    fn address(&self, target: &Target) -> Option<Ipv4Addr> {
        match self.instances.get(&instance_key(target)) {
            Some(instance) => Some(instance.private_ip),
            None => target.id.parse().ok(),
        }
    }
}

fn instance_key(target: &Target) -> String {
    format!("{}/{}/{}", target.account, target.region, target.id)
}

/// A snapshot for each zone that works and has a node; versions are for the controller to give.
/// `to_host` turns the cloud's durations into the host's.
pub fn plan(
    view: &View,
    to_host: &dyn Fn(Duration) -> Duration,
) -> BTreeMap<String, wanted::Snapshot> {
    let mut zones: BTreeMap<String, wanted::Snapshot> = BTreeMap::new();
    for owner in &view.load_balancers {
        for node in view.working_nodes(&owner.arn) {
            let snapshot = zones.entry(node.zone.clone()).or_default();
            for listener in view.listeners.get(&owner.arn).into_iter().flatten() {
                snapshot.listeners.push(plan_listener(view, owner, node, listener));
            }
        }
    }
    for (arn, owner) in &view.owners {
        let Some(group) = view.groups.get(arn) else { continue };
        for node in view.working_nodes(owner) {
            let planned = plan_group(view, group, node, to_host);
            let snapshot = zones.entry(node.zone.clone()).or_default();
            snapshot.target_groups.insert(arn.clone(), planned);
        }
    }
    zones
}

fn plan_listener(
    view: &View,
    owner: &LoadBalancer,
    node: &Node,
    listener: &Listener,
) -> wanted::Listener {
    let number = |key| u64::from(attribute::number(LOAD_BALANCER, &owner.attributes, key));
    let enabled = |key| attribute::enabled(LOAD_BALANCER, &owner.attributes, key);
    let get = |key| attribute::get(LOAD_BALANCER, &owner.attributes, key);
    let inside = wanted::Bind {
        network: Some(node.vpc_id.clone()),
        address: SocketAddrV4::new(node.private_ip, listener.port),
    };
    let outside = node
        .public_ip
        .map(|ip| wanted::Bind { network: None, address: SocketAddrV4::new(ip, listener.port) });
    wanted::Listener {
        id: listener.arn.clone(),
        binds: std::iter::once(inside).chain(outside).collect(),
        admits: view.admits(owner, listener.port),
        rules: view.rules.get(&listener.arn).into_iter().flatten().map(|r| plan_rule(r)).collect(),
        idle_timeout_ms: number(attribute::IDLE_TIMEOUT) * 1000,
        client_keep_alive_ms: number(attribute::CLIENT_KEEP_ALIVE) * 1000,
        forwarded_for: match get(attribute::XFF_MODE) {
            "preserve" => wanted::ForwardedFor::Preserve,
            "remove" => wanted::ForwardedFor::Remove,
            _ => wanted::ForwardedFor::Append,
        },
        forwarded_for_port: enabled(attribute::XFF_CLIENT_PORT),
        preserve_host_header: enabled(attribute::PRESERVE_HOST),
        drop_invalid_header_fields: enabled(attribute::DROP_INVALID_HEADERS),
        desync_mode: match get(attribute::DESYNC_MODE) {
            "monitor" => wanted::DesyncMode::Monitor,
            "strictest" => wanted::DesyncMode::Strictest,
            _ => wanted::DesyncMode::Defensive,
        },
        server_header: attribute::enabled(LISTENER, &listener.attributes, attribute::SERVER_HEADER),
    }
}

fn plan_rule(rule: &Rule) -> wanted::Rule {
    wanted::Rule {
        id: rule.arn.clone(),
        conditions: rule.conditions.iter().cloned().map(plan_condition).collect(),
        action: plan_action(rule.action.clone()),
    }
}

fn plan_condition(condition: Condition) -> wanted::Condition {
    match condition {
        Condition::HostHeader(values) => wanted::Condition::Host(values),
        Condition::PathPattern(values) => wanted::Condition::Path(values),
        Condition::HttpHeader { name, values } => wanted::Condition::Header { name, values },
        Condition::HttpRequestMethod(values) => wanted::Condition::Method(values),
        Condition::QueryString(pairs) => wanted::Condition::Query(pairs),
        Condition::SourceIp(blocks) => wanted::Condition::SourceIp(blocks),
    }
}

fn plan_action(action: Action) -> wanted::Action {
    match action {
        Action::Forward { groups, stickiness_seconds } => {
            wanted::Action::Forward { groups, stickiness_seconds }
        }
        Action::Redirect { status, protocol, host, port, path, query } => {
            wanted::Action::Redirect { status, protocol, host, port, path, query }
        }
        Action::FixedResponse { status, content_type, body } => {
            wanted::Action::FixedResponse { status, content_type, body: body.unwrap_or_default() }
        }
    }
}

fn plan_group(
    view: &View,
    group: &TargetGroup,
    node: &Node,
    to_host: &dyn Fn(Duration) -> Duration,
) -> wanted::TargetGroup {
    let number = |key| attribute::number(TARGET_GROUP, &group.attributes, key);
    let get = |key| attribute::get(TARGET_GROUP, &group.attributes, key);
    let host_ms = |seconds: u32| to_host(Duration::from_secs(seconds.into())).as_millis() as u64;
    // An Application Load Balancer's own setting is always on.
    let across = get(attribute::CROSS_ZONE) != "false";
    let targets = view.targets.get(&group.arn).into_iter().flatten();
    let target = |target: &Arc<Target>| {
        if target.state == TargetState::Unused {
            return None;
        }
        Some(wanted::Target {
            id: target.name(),
            address: SocketAddrV4::new(view.address(target)?, target.port),
            draining: target.state == TargetState::Draining,
            eligible: across || target.zone == node.zone,
        })
    };
    let sticky = attribute::enabled(TARGET_GROUP, &group.attributes, attribute::STICKINESS);
    let check = &group.health_check;
    wanted::TargetGroup {
        network: node.vpc_id.clone(),
        source: node.private_ip,
        algorithm: match get(attribute::ALGORITHM) {
            "least_outstanding_requests" => wanted::Algorithm::LeastOutstandingRequests,
            "weighted_random" => wanted::Algorithm::WeightedRandom,
            _ => wanted::Algorithm::RoundRobin,
        },
        targets: targets.filter_map(target).collect(),
        health_check: Some(wanted::HealthCheck {
            path: check.path.clone(),
            port: check.port,
            interval_ms: host_ms(check.interval_seconds).max(1),
            // Targets answer at the host's pace, however fast the cloud's clock runs.
            timeout_ms: u64::from(check.timeout_seconds) * 1000,
            healthy_threshold: check.healthy_threshold,
            unhealthy_threshold: check.unhealthy_threshold,
            matcher: parse_matcher(&check.matcher).expect("checked when it was set"),
        }),
        stickiness_seconds: sticky.then(|| number(attribute::STICKINESS_SECONDS)),
        slow_start_ms: host_ms(number(attribute::SLOW_START)),
    }
}

/// The newest report of a zone, and the version it was told last.
pub struct Heard {
    pub report: Arc<wanted::Report>,
    pub told: u64,
}

impl Heard {
    pub fn in_force(&self) -> bool {
        self.report.version == self.told
    }
}

/// What there is to know about a target. `heard` is by zone.
pub fn view_of(view: &View, target: &Target, heard: &BTreeMap<String, Heard>) -> state::View {
    let Some(group) = view.groups.get(&target.target_group_arn) else {
        let backing = Backing::Gone;
        let delay = Duration::ZERO;
        return state::View { backing, in_use: false, zone_enabled: false, nodes: vec![], delay };
    };
    let owner = view.owners.get(&group.arn);
    let nodes = owner.and_then(|arn| view.nodes.get(arn)).map_or(&[][..], Vec::as_slice);
    let name = target.name();
    let said = |node: &Arc<Node>| {
        let heard = heard.get(&node.zone).filter(|_| !view.failed.contains(&node.zone))?;
        let health = heard.report.health.get(&group.arn).and_then(|group| group.get(&name));
        Some(NodeView {
            in_force: heard.in_force(),
            health: health.map(|health| (health.state, health.in_flight)),
        })
    };
    state::View {
        backing: view.backing(target, group),
        in_use: owner.is_some(),
        zone_enabled: nodes.iter().any(|node| node.zone == target.zone),
        nodes: nodes.iter().filter_map(said).collect(),
        delay: delay(group),
    }
}

/// How long a target of the group may drain, in the cloud's time.
pub fn delay(group: &TargetGroup) -> Duration {
    let seconds =
        attribute::number(TARGET_GROUP, &group.attributes, attribute::DEREGISTRATION_DELAY);
    Duration::from_secs(seconds.into())
}

/// Load balancers that every working zone of theirs has in force now, for the first time.
pub fn activated(view: &View, heard: &BTreeMap<String, Heard>) -> Vec<Arc<LoadBalancer>> {
    let serves = |node: &Node| {
        let Some(heard) = heard.get(&node.zone) else { return false };
        let own = |bind: &wanted::Bind| {
            *bind.address.ip() == node.private_ip || Some(*bind.address.ip()) == node.public_ip
        };
        heard.in_force() && !heard.report.bind_errors.iter().any(|(bind, _)| own(bind))
    };
    let ready = |owner: &&Arc<LoadBalancer>| {
        let mut nodes = view.working_nodes(&owner.arn).peekable();
        !owner.active && nodes.peek().is_some() && nodes.all(|node| serves(node))
    };
    view.load_balancers.iter().filter(ready).cloned().collect()
}

/// Whether two reads of a record are the same.
pub fn unchanged<R: Record + PartialEq>(snapshot: &Snapshot, seen: &R) -> bool {
    snapshot.get::<R>(&seen.key()).is_some_and(|now| *now == *seen)
}
