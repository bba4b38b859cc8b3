//! The part of a network that the VPC's own resources make: ACLs, tables of routes, gateways, peerings,
//! and who reaches AWS's services. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use fabric::network::{
    Acl, Block, Entry, Nat, Network, Peer, Service, Subnet, Table, Target, Traffic,
};
use store::Snapshot;

use super::compile::{block, name};
use crate::Context;
use crate::ec2::instance::spec::interface_name;
use crate::ec2::nat_gateway::model::State;
use crate::ec2::network_acl::model::Entry as AclEntry;
use crate::ec2::network_acl::{self, NetworkAcl};
use crate::ec2::route_table::model::{Destination, Target as Wanted};
use crate::ec2::vpc::{Vpc, services, subnet};
use crate::ec2::{internet_gateway, nat_gateway, prefix_list, route_table, vpc_peering};

/// Fills in a network whose ports are there.
pub fn fill(snapshot: &Snapshot, cx: &Context, vpc: &Vpc, network: &mut Network) {
    network.internet = internet_gateway::ops::of_vpc(snapshot, cx, &vpc.id).is_some();
    for peering in vpc_peering::ops::active_of_vpc(snapshot, cx, &vpc.id) {
        if let Some(other) = peering.other(&vpc.id) {
            network.peerings.insert(peering.id.clone(), name(&other.vpc_id).to_owned());
        }
    }
    let mut tables = BTreeMap::new();
    let mut endpoints = BTreeMap::new();
    for subnet in subnet::ops::of_vpc(snapshot, cx, &vpc.id) {
        let Ok(table) = route_table::ops::for_subnet(snapshot, cx, &subnet) else { continue };
        let acl = network_acl::ops::for_subnet(snapshot, cx, &subnet).ok();
        if let Some(acl) = &acl {
            network.acls.entry(acl.id.clone()).or_insert_with(|| entries(acl));
        }
        let made = Subnet {
            block: block(subnet.cidr),
            acl: acl.map(|acl| acl.id.clone()),
            table: table.id.clone(),
        };
        network.subnets.insert(subnet.id, made);
        let (routes, of_endpoints) = routes(snapshot, cx, &table.routes);
        tables.insert(table.id.clone(), Table { routes });
        endpoints.insert(table.id, of_endpoints);
    }
    network.tables = tables;
    for gateway in nat_gateway::ops::of_vpc(snapshot, cx, &vpc.id) {
        let leads_out = || match network.subnets.get(&gateway.subnet_id) {
            Some(subnet) => {
                leads(&network.tables[&subnet.table], PUBLIC) == Some(&Target::Internet)
            }
            None => false,
        };
        let public = gateway.elastic.as_ref().map(|elastic| elastic.public_ip);
        let has_way = public.is_none() || network.internet && leads_out();
        if gateway.state == State::Available && has_way {
            let nat = Nat {
                addresses: vec![public.unwrap_or(gateway.private_ip)],
                draining: vec![],
                public: public.is_some(),
                subnet: gateway.subnet_id.clone(),
            };
            network.nats.insert(gateway.id.clone(), nat);
        }
    }
    serve(network, &endpoints);
}

/// Stands for all that is on the internet.
const PUBLIC: Ipv4Addr = Ipv4Addr::new(1, 1, 1, 1);

/// What routes lead to, and the blocks that are led to endpoints.
fn routes(
    snapshot: &Snapshot,
    cx: &Context,
    resolved: &[route_table::ops::Resolved],
) -> (BTreeMap<Block, Target>, BTreeSet<Block>) {
    let (mut routes, mut endpoints) = (BTreeMap::new(), BTreeSet::new());
    for route in resolved {
        let blocks: Vec<Block> = match &route.destination {
            Destination::Cidr(cidr) => vec![block(*cidr)],
            Destination::PrefixList(id) => {
                prefix_list::ops::blocks(snapshot, cx, id).into_iter().map(block).collect()
            }
        };
        let target = match &route.target {
            Wanted::Endpoint(_) => {
                endpoints.extend(blocks);
                continue;
            }
            _ if !route.active => Target::Blackhole,
            Wanted::InternetGateway(_) => Target::Internet,
            Wanted::NatGateway(id) => Target::Nat(id.clone()),
            Wanted::NetworkInterface(id) => Target::Port(interface_name(id)),
            Wanted::Peering(id) => Target::Peering(id.clone()),
        };
        routes.extend(blocks.into_iter().map(|block| (block, target.clone())));
    }
    (routes, endpoints)
}

fn leads(table: &Table, to: Ipv4Addr) -> Option<&Target> {
    let matching = table.routes.iter().filter(|(block, _)| block.contains(to));
    matching.max_by_key(|(block, _)| block.prefix).map(|(_, target)| target)
}

/// AWS's services are outside of every VPC: by a public address, a NAT or an endpoint.
fn serve(network: &mut Network, endpoints: &BTreeMap<String, BTreeSet<Block>>) {
    for service in services::ALL {
        let mut sources = BTreeSet::new();
        for subnet in network.subnets.values() {
            let by_endpoint =
                endpoints[&subnet.table].iter().any(|block| block.contains(service.address));
            match leads(&network.tables[&subnet.table], service.address) {
                _ if by_endpoint => {
                    sources.insert(subnet.block);
                }
                Some(Target::Nat(id)) if network.nats.get(id).is_some_and(|nat| nat.public) => {
                    sources.insert(subnet.block);
                }
                Some(Target::Internet) if network.internet => {
                    let public = network.ports.values().flat_map(|port| port.public.keys());
                    let here = public.filter(|address| subnet.block.contains(**address));
                    sources.extend(here.map(|address| Block::from(*address)));
                }
                _ => {}
            }
        }
        network.services.insert(service.address, Service { sources });
    }
}

fn entries(acl: &NetworkAcl) -> Acl {
    let side = |egress| acl.entries_of(egress).map(entry).collect();
    Acl { ingress: side(false), egress: side(true) }
}

fn entry(of: &AclEntry) -> Entry {
    let ports = of.ports.unwrap_or((0, u16::MAX));
    let part = |n: i16| u8::try_from(n).ok();
    let traffic = match of.protocol {
        -1 => Traffic::All,
        6 => Traffic::Tcp(ports.0, ports.1),
        17 => Traffic::Udp(ports.0, ports.1),
        1 => {
            let (kind, code) = of.icmp.unwrap_or((-1, -1));
            Traffic::Icmp(part(kind), part(code))
        }
        other => Traffic::Protocol(other as u8),
    };
    Entry { allow: of.allow, traffic, block: block(of.cidr) }
}

/// Rules may name groups of peered networks: their members are told to those who ask for them.
pub fn introduce(networks: &mut BTreeMap<String, Network>) {
    let mut told = Vec::new();
    for (name, network) in networks.iter() {
        let rules =
            network.groups.values().flat_map(|group| group.ingress.iter().chain(&group.egress));
        let named = rules.filter_map(|rule| match &rule.peer {
            Peer::Group(id) if !network.groups.contains_key(id) => Some(id),
            _ => None,
        });
        for id in named.collect::<BTreeSet<_>>() {
            let peers = network.peerings.values().filter_map(|peer| networks.get(peer));
            let members: BTreeSet<Ipv4Addr> = peers.flat_map(|peer| members(peer, id)).collect();
            told.push((name.clone(), id.clone(), members));
        }
    }
    for (name, id, members) in told {
        if let Some(network) = networks.get_mut(&name) {
            network.groups.entry(id).or_default().members_elsewhere = members;
        }
    }
}

fn members(network: &Network, group: &str) -> Vec<Ipv4Addr> {
    let ports = network.ports.values().filter(|port| port.groups.contains(group));
    let nodes = network.nodes.iter().filter(|(_, node)| node.groups.contains(group));
    ports
        .flat_map(|port| &port.addresses)
        .chain(nodes.map(|(address, _)| address))
        .copied()
        .collect()
}
