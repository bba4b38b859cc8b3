//! Load balancers and their nodes.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Arc;

use store::{Record, Snapshot, Tx};

use super::{Page, SERVICE, check_name, listeners, load_balancer, load_balancers, nodes, rules};
use crate::ec2::security_group;
use crate::ec2::vpc::{self, Subnet};
use crate::elbv2::attribute::{self, LOAD_BALANCER};
use crate::elbv2::error::Quota;
use crate::elbv2::model::{Listener, LoadBalancer, Node, Rule, Scheme};
use crate::elbv2::ops::tag;
use crate::elbv2::{Error, Result, quota};
use crate::tag::Tags;
use crate::{Context, Env, id};

#[derive(Clone, Debug, Default)]
pub struct Create {
    pub name: String,
    pub subnets: Vec<String>,
    pub security_groups: Vec<String>,
    pub scheme: Option<String>,
    pub kind: Option<String>,
    pub ip_address_type: Option<String>,
    pub tags: Tags,
}

/// The same request again gets the load balancer that is there.
pub fn create(tx: &mut Tx, cx: &Context, request: &Create) -> Result<Arc<LoadBalancer>> {
    check_name("Load balancer", &request.name)?;
    if request.name.starts_with("internal-") {
        let message =
            format!("Load balancer name '{}' cannot begin with 'internal-'", request.name);
        return Err(Error::validation(message));
    }
    match request.kind.as_deref() {
        None | Some("application") => {}
        Some(other) => return Err(Error::unsupported(format!("Load balancer type '{other}'"))),
    }
    check_ip_address_type(request.ip_address_type.as_deref())?;
    let scheme = match request.scheme.as_deref() {
        None | Some("internet-facing") => Scheme::InternetFacing,
        Some("internal") => Scheme::Internal,
        Some(other) => {
            return Err(Error::InvalidScheme(format!("The scheme '{other}' is not valid")));
        }
    };
    let subnets = check_subnets(tx, cx, &request.subnets)?;
    let vpc_id = subnets[0].vpc_id.clone();
    let security_groups = check_security_groups(tx, cx, &vpc_id, &request.security_groups)?;
    tag::check(&request.tags)?;

    let all = load_balancers(tx, cx);
    if let Some(present) = all.iter().find(|present| present.name == request.name) {
        let zones = nodes(tx, cx, &present.arn);
        let same = present.scheme == scheme
            && present.security_groups == security_groups
            && present.tags == request.tags
            && subnet_ids(&zones) == subnets.iter().map(|subnet| subnet.id.as_str()).collect();
        return if same {
            Ok(Arc::clone(present))
        } else {
            Err(Error::DuplicateLoadBalancerName(request.name.clone()))
        };
    }
    if all.len() >= quota::LOAD_BALANCERS {
        let message = "The maximum number of load balancers has been reached";
        return Err(Error::TooMany(Quota::LoadBalancers, message.to_owned()));
    }

    let id = format!("app/{}/{}", request.name, id::hex16(&cx.env.rng));
    let fresh = LoadBalancer {
        account: cx.account.clone(),
        region: cx.region.clone(),
        arn: cx.arn(SERVICE, &format!("loadbalancer/{id}")),
        id,
        name: request.name.clone(),
        dns_name: dns_name(cx, &request.name, scheme),
        scheme,
        vpc_id,
        security_groups,
        created_at: cx.now,
        active: false,
        attributes: attribute::Set::new(),
        tags: request.tags.clone(),
    };
    for subnet in &subnets {
        add_node(tx, cx, &fresh, subnet)?;
    }
    tx.put(fresh.clone());
    Ok(Arc::new(fresh))
}

/// `web-1234567890.us-east-1.elb.localhost`; the number is not the one of the ARN, as in AWS.
fn dns_name(cx: &Context, name: &str, scheme: Scheme) -> String {
    let number = 1_000_000_000 + cx.env.rng.below(9_000_000_000);
    let prefix = if scheme == Scheme::Internal { "internal-" } else { "" };
    format!("{prefix}{name}-{number}.{}.elb.localhost", cx.region)
}

pub fn check_ip_address_type(wanted: Option<&str>) -> Result<()> {
    match wanted {
        None | Some("ipv4") => Ok(()),
        Some(other) => Err(Error::unsupported(format!("IP address type '{other}'"))),
    }
}

/// One in each of at least two zones of one VPC.
fn check_subnets(snapshot: &Snapshot, cx: &Context, ids: &[String]) -> Result<Vec<Subnet>> {
    let mut subnets = Vec::new();
    for id in ids {
        let subnet = vpc::ops::subnet(snapshot, cx, id);
        subnets.push(subnet.map_err(|_| Error::SubnetNotFound(id.clone()))?);
    }
    let zones: BTreeSet<&str> = subnets.iter().map(|subnet| subnet.zone.as_str()).collect();
    if zones.len() < subnets.len() {
        return Err(Error::configuration(
            "A load balancer cannot be attached to multiple subnets in the same Availability Zone",
        ));
    }
    if zones.len() < 2 {
        return Err(Error::validation(
            "At least two subnets in two different Availability Zones must be specified",
        ));
    }
    if subnets.iter().any(|subnet| subnet.vpc_id != subnets[0].vpc_id) {
        let message = "All subnets must belong to the same VPC".to_owned();
        return Err(Error::InvalidSubnet(message));
    }
    Ok(subnets)
}

fn subnet_ids(nodes: &[Arc<Node>]) -> BTreeSet<&str> {
    nodes.iter().map(|node| node.subnet_id.as_str()).collect()
}

fn add_node(
    tx: &mut Tx,
    cx: &Context,
    load_balancer: &LoadBalancer,
    subnet: &Subnet,
) -> Result<()> {
    let private_ip = vpc::ops::allocate(tx, cx, &subnet.id, &load_balancer.arn)
        .map_err(|error| Error::InvalidSubnet(error.to_string()))?;
    let public_ip = match load_balancer.scheme {
        Scheme::InternetFacing => Some(free_public_ip(tx, cx)?),
        Scheme::Internal => None,
    };
    tx.put(Node {
        account: cx.account.clone(),
        region: cx.region.clone(),
        load_balancer: load_balancer.arn.clone(),
        zone: subnet.zone.clone(),
        subnet_id: subnet.id.clone(),
        vpc_id: subnet.vpc_id.clone(),
        private_ip,
        public_ip,
        leaving: false,
    });
    Ok(())
}

/// The first free `127.OCTET.x.y`, over all accounts and regions: the host has one loopback range.
fn free_public_ip(snapshot: &Snapshot, cx: &Context) -> Result<Ipv4Addr> {
    let held: BTreeSet<Ipv4Addr> =
        snapshot.scan::<Node>("").filter_map(|node| node.public_ip).collect();
    let octet = cx.env.config.loopback_octet;
    (1..=u16::MAX - 1)
        .map(|n| Ipv4Addr::new(127, octet, (n >> 8) as u8, n as u8))
        .find(|address| !held.contains(address))
        .ok_or_else(|| Error::InvalidSubnet("No public address is left".to_owned()))
}

/// The nodes of live zones of the load balancer called so, in an order that changes from call to call.
/// `None`: none is called so.
pub fn live_nodes(snapshot: &Snapshot, env: &Env, dns_name: &str) -> Option<Vec<Arc<Node>>> {
    let owner = snapshot.scan::<LoadBalancer>("").find(|owner| owner.dns_name == dns_name)?;
    let live = env.balancers.zones();
    let mut nodes: Vec<Arc<Node>> = snapshot
        .scan::<Node>("")
        .filter(|node| node.load_balancer == owner.arn && !node.leaving)
        .filter(|node| live.contains(&node.zone))
        .collect();
    let turn = env.rng.below(nodes.len().max(1) as u64) as usize;
    nodes.rotate_left(turn);
    Some(nodes)
}

/// Marks a node as leaving; the controller takes its addresses away.
fn retire(tx: &mut Tx, node: &Node) {
    tx.put(Node { leaving: true, ..node.clone() });
}

/// Of the VPC, sorted; none named means its default group.
fn check_security_groups(
    snapshot: &Snapshot,
    cx: &Context,
    vpc_id: &str,
    ids: &[String],
) -> Result<Vec<String>> {
    security_group::ops::for_interface(snapshot, cx, vpc_id, ids, &[])
        .map_err(|error| Error::InvalidSecurityGroup(error.to_string()))
}

/// By ARNs, or names, or all.
pub fn describe(
    snapshot: &Snapshot,
    cx: &Context,
    arns: &[String],
    names: &[String],
    page: &Page,
) -> Result<(Vec<Arc<LoadBalancer>>, Option<String>)> {
    let mut all = load_balancers(snapshot, cx);
    for arn in arns {
        load_balancer(snapshot, cx, arn)?;
    }
    for name in names {
        if !all.iter().any(|found| found.name == *name) {
            return Err(Error::LoadBalancerNotFound(name.clone()));
        }
    }
    if !arns.is_empty() || !names.is_empty() {
        all.retain(|found| arns.contains(&found.arn) || names.contains(&found.name));
    }
    page.of(all, |found| found.id.clone())
}

/// With its listeners and rules. One that does not exist is no error, as in AWS.
pub fn delete(tx: &mut Tx, cx: &Context, arn: &str) -> Result<()> {
    let found = match load_balancer(tx, cx, arn) {
        Err(Error::LoadBalancerNotFound(_)) => return Ok(()),
        found => found?,
    };
    if attribute::enabled(LOAD_BALANCER, &found.attributes, attribute::DELETION_PROTECTION) {
        return Err(Error::OperationNotPermitted(format!(
            "Load balancer '{arn}' cannot be deleted because deletion protection is enabled"
        )));
    }
    for listener in listeners(tx, cx, arn) {
        for rule in rules(tx, cx, &listener.arn) {
            tx.delete::<Rule>(&rule.key());
        }
        tx.delete::<Listener>(&listener.key());
    }
    for node in nodes(tx, cx, arn) {
        retire(tx, &node);
    }
    tx.delete::<LoadBalancer>(&found.key());
    Ok(())
}

pub fn modify_attributes(
    tx: &mut Tx,
    cx: &Context,
    arn: &str,
    request: &[(String, String)],
) -> Result<Arc<LoadBalancer>> {
    let mut found = LoadBalancer::clone(&*load_balancer(tx, cx, arn)?);
    found.attributes = attribute::set(LOAD_BALANCER, "Load balancer", &found.attributes, request)?;
    tx.put(found.clone());
    Ok(Arc::new(found))
}

pub fn set_security_groups(
    tx: &mut Tx,
    cx: &Context,
    arn: &str,
    ids: &[String],
) -> Result<Vec<String>> {
    let mut found = LoadBalancer::clone(&*load_balancer(tx, cx, arn)?);
    if ids.is_empty() {
        return Err(Error::validation("At least one security group must be specified"));
    }
    found.security_groups = check_security_groups(tx, cx, &found.vpc_id, ids)?;
    let groups = found.security_groups.clone();
    tx.put(found);
    Ok(groups)
}

/// Nodes in zones that stay keep their addresses.
pub fn set_subnets(tx: &mut Tx, cx: &Context, arn: &str, ids: &[String]) -> Result<()> {
    let found = load_balancer(tx, cx, arn)?;
    let subnets = check_subnets(tx, cx, ids)?;
    if subnets[0].vpc_id != found.vpc_id {
        let message = "The subnets must belong to the VPC of the load balancer".to_owned();
        return Err(Error::InvalidSubnet(message));
    }
    let present = nodes(tx, cx, arn);
    for node in &present {
        if !subnets.iter().any(|subnet| subnet.id == node.subnet_id) {
            retire(tx, node);
        }
    }
    for subnet in &subnets {
        if !present.iter().any(|node| node.subnet_id == subnet.id) {
            add_node(tx, cx, &found, subnet)?;
        }
    }
    Ok(())
}
