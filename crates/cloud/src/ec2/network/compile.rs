//! Records in, networks out. Pure.
//!
//! A VPC is compiled when something in it has an address: before, there is nothing to filter or route.
//! Once it was, it is as long as there is the VPC.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use fabric::network::{Bandwidth, Block, Group, Network, Node, Peer, Port, Rule, Traffic};
use store::Snapshot;

use super::routing;
use crate::ec2::instance::spec::interface_name;
use crate::ec2::network_interface::model::{Kind, NetworkInterface};
use crate::ec2::security_group::model::{self as group, Direction, SecurityGroup};
use crate::ec2::vpc::{Cidr, Vpc};
use crate::ec2::{catalog, flow_log, prefix_list, security_group, vpc};
use crate::env::Env;
use crate::{Context, dns, elbv2, zone};

/// Where metadata and the API are served in every network.
pub const METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);

/// Account and region.
pub type Home = (String, String);

/// Networks that stay though nobody may be in them.
#[derive(Default)]
pub struct Kept {
    pub names: BTreeSet<String>,
    /// Where their VPCs are.
    pub homes: BTreeSet<Home>,
}

/// By name, every network that has somebody in it, and those that are kept whose VPC there still is.
pub fn compile(snapshot: &Snapshot, env: &Env, kept: &Kept) -> BTreeMap<String, Network> {
    let mut homes = inhabited(snapshot);
    homes.extend(kept.homes.iter().cloned());
    let mut networks = BTreeMap::new();
    for (account, region) in homes {
        let cx = Context::service(env, &account, &region, "ec2.amazonaws.com");
        networks.extend(of_region(snapshot, &cx, &kept.names));
    }
    routing::introduce(&mut networks);
    networks
}

/// What the fabric calls a VPC's network.
pub fn name(vpc_id: &str) -> &str {
    vpc_id
}

/// Accounts and regions in which somebody holds an address.
pub fn inhabited(snapshot: &Snapshot) -> BTreeSet<Home> {
    let interfaces = snapshot.scan::<NetworkInterface>("");
    let interfaces = interfaces.map(|i| (i.account.clone(), i.region.clone()));
    let nodes = snapshot.scan::<elbv2::Node>("").map(|n| (n.account.clone(), n.region.clone()));
    interfaces.chain(nodes).collect()
}

fn of_region(
    snapshot: &Snapshot,
    cx: &Context,
    kept: &BTreeSet<String>,
) -> BTreeMap<String, Network> {
    let vpcs = vpc::ops::vpcs(snapshot, cx);
    let stays = |vpc: &&Vpc| kept.contains(name(&vpc.id));
    let mut networks: BTreeMap<String, Network> = vpcs
        .iter()
        .filter(stays)
        .map(|vpc| (name(&vpc.id).to_owned(), Network::default()))
        .collect();
    for interface in snapshot.scan::<NetworkInterface>(&cx.prefix()) {
        let network = networks.entry(name(&interface.vpc_id).to_owned()).or_default();
        let groups: BTreeSet<String> = interface.groups.iter().cloned().collect();
        if interface.attachment.is_some() {
            network.ports.insert(interface_name(&interface.id), port(&interface, groups));
        } else if interface.kind == Kind::VpcEndpoint && !zone::is_failed(snapshot, &interface.zone)
        {
            network.nodes.insert(interface.primary(), Node { groups, endpoint: true });
        }
    }
    let balancers: BTreeMap<String, Arc<elbv2::LoadBalancer>> = snapshot
        .scan::<elbv2::LoadBalancer>(&cx.prefix())
        .map(|balancer| (balancer.arn.clone(), balancer))
        .collect();
    for node in snapshot.scan::<elbv2::Node>(&cx.prefix()) {
        let groups = balancers.get(&node.load_balancer).map(|b| b.security_groups.as_slice());
        let groups = groups.unwrap_or_default().iter().cloned().collect();
        let network = networks.entry(name(&node.vpc_id).to_owned()).or_default();
        network.nodes.insert(node.private_ip, Node { groups, endpoint: false });
    }
    if networks.is_empty() {
        return networks;
    }
    for group in security_group::ops::groups(snapshot, cx) {
        if let Some(network) = networks.get_mut(name(&group.vpc_id)) {
            network.groups.insert(group.id.clone(), rules(snapshot, cx, &group));
        }
    }
    for log in flow_log::ops::flow_logs(snapshot, cx) {
        if log.traffic.wants(false) {
            // Which of them it is does not matter: what is not asked for is not written.
            networks.values_mut().for_each(|network| network.log = true);
        }
    }
    for vpc in vpcs {
        if let Some(network) = networks.get_mut(name(&vpc.id)) {
            network.blocks = vpc.blocks().map(block).collect();
            network.open = [METADATA, dns::ops::RESOLVER, dns::ops::server(&vpc)].into();
            routing::fill(snapshot, cx, &vpc, network);
        }
    }
    networks
}

fn port(interface: &NetworkInterface, groups: BTreeSet<String>) -> Port {
    Port {
        addresses: interface.addresses.clone(),
        groups,
        check: interface.source_dest_check,
        public: interface.public.clone(),
        bandwidth: interface.attachment.as_ref().and_then(|a| bandwidth(&a.instance_type)),
    }
}

/// What the first card of the type carries, in the table's gigabits. What a type may use beyond its
/// baseline AWS does not say but for "5 to 60 minutes"; here it is what the kernel can count.
fn bandwidth(instance_type: &str) -> Option<Bandwidth> {
    let card = catalog::instance_type(instance_type)?.network.cards.first()?;
    let bytes = |gbps: f64| (gbps * 1e9 / 8.0).round() as u64;
    let (baseline, peak) = (bytes(card.baseline_gbps), bytes(card.peak_gbps));
    // Some of the oldest types have no figure.
    (baseline > 0 && peak >= baseline).then_some(Bandwidth { baseline, peak, burst: u32::MAX })
}

fn rules(snapshot: &Snapshot, cx: &Context, group: &SecurityGroup) -> Group {
    let rule = |of: &group::Rule| rule(snapshot, cx, of);
    let side = |direction| group.rules_of(direction).filter_map(rule).collect();
    Group {
        ingress: side(Direction::Ingress),
        egress: side(Direction::Egress),
        members_elsewhere: BTreeSet::new(),
    }
}

/// `None` for IPv6, of which there is none here.
pub fn rule(snapshot: &Snapshot, cx: &Context, rule: &group::Rule) -> Option<Rule> {
    let peer = match &rule.peer {
        group::Peer::Ipv4(cidr) => Peer::Blocks([block(cidr.parse().ok()?)].into()),
        group::Peer::Ipv6(_) => return None,
        group::Peer::Group(id) => Peer::Group(id.clone()),
        group::Peer::PrefixList(id) => {
            let blocks = prefix_list::ops::blocks(snapshot, cx, id);
            Peer::Blocks(blocks.into_iter().map(block).collect())
        }
    };
    Some(Rule { traffic: traffic(&rule.traffic)?, peer })
}

/// As EC2 writes it; the numbers are IANA's.
pub fn traffic(of: &group::Traffic) -> Option<Traffic> {
    let ports = || match of.ports {
        None | Some((-1, _)) => (0, u16::MAX),
        Some((first, last)) => (first as u16, last as u16),
    };
    let part = |n: i32| u8::try_from(n).ok();
    Some(match of.protocol.as_str() {
        "-1" => Traffic::All,
        "tcp" | "6" => Traffic::Tcp(ports().0, ports().1),
        "udp" | "17" => Traffic::Udp(ports().0, ports().1),
        "icmp" | "1" => {
            let (kind, code) = of.ports.unwrap_or((-1, -1));
            Traffic::Icmp(part(kind), part(code))
        }
        "icmpv6" | "58" => return None,
        other => Traffic::Protocol(other.parse().ok()?),
    })
}

pub fn block(cidr: Cidr) -> Block {
    Block { base: cidr.base, prefix: cidr.prefix }
}
