//! Making, attaching and removing interfaces, and finding them: by id, by instance, by network.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use serde::Serialize;
use store::{Snapshot, Tx};

use super::model::{Attachment, Kind, NetworkInterface, Progress};
use crate::ec2::client_token::ClientToken;
use crate::ec2::instance::model::Instance;
use crate::ec2::instance::state::InstanceState;
use crate::ec2::instance::{self, resolve};
use crate::ec2::vpc::model::Subnet;
use crate::ec2::{Error, Kind as What, Result, catalog, elastic_ip, security_group, tag, vpc};
use crate::elbv2::{LoadBalancer, Node};
use crate::{Context, id};

/// An interface by its id, those of load balancers' nodes included.
pub fn by_id(snapshot: &Snapshot, cx: &Context, id: &str) -> Result<Arc<NetworkInterface>> {
    if !What::NetworkInterface.is_id(id) {
        return Err(Error::malformed(What::NetworkInterface, id));
    }
    let found = snapshot.get(&cx.key(id));
    found
        .or_else(|| of_nodes(snapshot, cx).into_iter().find(|interface| interface.id == id))
        .ok_or_else(|| Error::not_found(What::NetworkInterface, id))
}

/// All of the region, in order of their ids, those of load balancers' nodes included.
pub fn all(snapshot: &Snapshot, cx: &Context) -> Vec<Arc<NetworkInterface>> {
    let prefix = cx.prefix();
    let mut all: Vec<_> = snapshot.scan(&prefix).collect();
    let nodes = of_nodes(snapshot, cx);
    if !nodes.is_empty() {
        all.extend(nodes);
        all.sort_by(|a: &Arc<NetworkInterface>, b| a.id.cmp(&b.id));
    }
    all
}

/// The records of a VPC's interfaces; not those of load balancers' nodes, which are records of their own.
pub fn of_vpc(snapshot: &Snapshot, cx: &Context, vpc_id: &str) -> Vec<Arc<NetworkInterface>> {
    let prefix = cx.prefix();
    snapshot.scan(&prefix).filter(|i: &Arc<NetworkInterface>| i.vpc_id == vpc_id).collect()
}

/// By device index: the primary one first. Empty when the instance is no more.
pub fn of_instance(
    snapshot: &Snapshot,
    cx: &Context,
    instance: &Instance,
) -> Vec<Arc<NetworkInterface>> {
    instance
        .interface_ids()
        .filter_map(|id| snapshot.get::<NetworkInterface>(&cx.key(id)))
        .filter(|interface| interface.is_attached_to(&instance.id))
        .collect()
}

/// The primary interface of an instance that is not terminated.
pub fn primary_of(
    snapshot: &Snapshot,
    cx: &Context,
    instance: &Instance,
) -> Result<Arc<NetworkInterface>> {
    of_instance(snapshot, cx, instance)
        .into_iter()
        .next()
        .ok_or_else(|| Error::not_found(What::NetworkInterface, &instance.interface_id))
}

/// Of the load balancers' nodes: as a service shows what it made for itself.
fn of_nodes(snapshot: &Snapshot, cx: &Context) -> Vec<Arc<NetworkInterface>> {
    let prefix = cx.prefix();
    let balancers: BTreeMap<String, Arc<LoadBalancer>> =
        snapshot.scan::<LoadBalancer>(&prefix).map(|lb| (lb.arn.clone(), lb)).collect();
    let nodes = snapshot.scan::<Node>(&prefix).filter(|node| !node.leaving);
    let shown = |node: Arc<Node>| {
        let balancer = balancers.get(&node.load_balancer)?;
        Some(Arc::new(of_node(cx, &node, balancer)))
    };
    nodes.filter_map(shown).collect()
}

fn of_node(cx: &Context, node: &Node, balancer: &LoadBalancer) -> NetworkInterface {
    let address = node.private_ip.to_string();
    let id = id::stable("eni", &[&node.load_balancer, &address]);
    let digits = u64::from_str_radix(&id[id.len() - 10..], 16).unwrap_or_default().to_be_bytes();
    NetworkInterface {
        account: cx.account.clone(),
        region: cx.region.clone(),
        id,
        kind: Kind::LoadBalancer,
        vpc_id: node.vpc_id.clone(),
        subnet_id: node.subnet_id.clone(),
        zone: node.zone.clone(),
        mac: [0x0a, digits[3], digits[4], digits[5], digits[6], digits[7]],
        addresses: vec![node.private_ip],
        public: BTreeMap::new(),
        groups: balancer.security_groups.clone(),
        description: format!("ELB {}", balancer.id),
        source_dest_check: true,
        auto_public: false,
        attachment: None,
        requester: Some("amazon-elb".to_owned()),
        client_token: None,
    }
}

/// What an interface shall be, everything it names found already.
#[derive(Clone, Debug, Serialize)]
pub struct New {
    pub kind: Kind,
    pub subnet_id: String,
    /// Primary; `None`: any.
    pub address: Option<Ipv4Addr>,
    pub secondary: Vec<Ipv4Addr>,
    /// How many more, any.
    pub secondary_count: usize,
    /// Ids, sorted.
    pub groups: Vec<String>,
    pub description: String,
    pub auto_public: bool,
    pub requester: Option<String>,
}

impl New {
    pub fn in_subnet(subnet_id: &str, groups: Vec<String>) -> New {
        New {
            kind: Kind::Interface,
            subnet_id: subnet_id.to_owned(),
            address: None,
            secondary: vec![],
            secondary_count: 0,
            groups,
            description: String::new(),
            auto_public: false,
            requester: None,
        }
    }

    /// How many addresses of its subnet it takes.
    pub fn size(&self) -> usize {
        1 + self.secondary.len() + self.secondary_count
    }
}

/// Groups by id, the VPC's default one if there is none; and that addresses are not said twice over.
pub fn check_new(snapshot: &Snapshot, cx: &Context, new: &mut New) -> Result<Subnet> {
    let subnet = vpc::ops::subnet(snapshot, cx, &new.subnet_id)?;
    new.groups =
        security_group::ops::for_interface(snapshot, cx, &subnet.vpc_id, &new.groups, &[])?;
    if !new.secondary.is_empty() && new.secondary_count > 0 {
        return Err(Error::combination(
            "The secondary private addresses are given by their number or each by itself, not both.",
        ));
    }
    Ok(subnet)
}

/// Takes its addresses and writes its record.
pub fn create(
    tx: &mut Tx,
    cx: &Context,
    new: &New,
    attachment: Option<Attachment>,
    client_token: Option<ClientToken>,
) -> Result<NetworkInterface> {
    let subnet = vpc::ops::subnet(tx, cx, &new.subnet_id)?;
    let id = id::resource(&cx.env.rng, "eni");
    let mut addresses = Vec::new();
    match new.address {
        Some(address) => addresses.push(claim(tx, cx, &subnet.id, address, &id)?),
        None => addresses.push(vpc::ops::allocate(tx, cx, &subnet.id, &id)?),
    }
    for address in &new.secondary {
        addresses.push(claim(tx, cx, &subnet.id, *address, &id)?);
    }
    for _ in 0..new.secondary_count {
        addresses.push(vpc::ops::allocate(tx, cx, &subnet.id, &id)?);
    }
    // Locally administered, as AWS's are.
    let mut mac = [0; 6];
    cx.env.rng.fill(&mut mac[1..]);
    mac[0] = 0x0a;
    let interface = NetworkInterface {
        account: cx.account.clone(),
        region: cx.region.clone(),
        id,
        kind: new.kind,
        vpc_id: subnet.vpc_id,
        subnet_id: subnet.id,
        zone: subnet.zone,
        mac,
        addresses,
        public: BTreeMap::new(),
        groups: new.groups.clone(),
        description: new.description.clone(),
        source_dest_check: true,
        auto_public: new.auto_public,
        attachment,
        requester: new.requester.clone(),
        client_token,
    };
    tx.put(interface.clone());
    Ok(interface)
}

fn claim(
    tx: &mut Tx,
    cx: &Context,
    subnet_id: &str,
    address: Ipv4Addr,
    holder: &str,
) -> Result<Ipv4Addr> {
    vpc::ops::claim(tx, cx, subnet_id, address, holder).map(|()| address)
}

/// Lets go of all it holds.
pub fn remove(tx: &mut Tx, cx: &Context, interface: &NetworkInterface) {
    for address in &interface.addresses {
        elastic_ip::ops::unbind(tx, cx, &interface.id, *address);
        vpc::ops::release(tx, cx, &interface.subnet_id, *address);
    }
    tag::ops::forget(tx, cx, &interface.id);
    tx.delete::<NetworkInterface>(&cx.key(&interface.id));
}

/// As a user deletes one.
pub fn delete(tx: &mut Tx, cx: &Context, id: &str) -> Result<()> {
    let interface = changeable(tx, cx, id)?;
    if interface.attachment.is_some() {
        return Err(Error::value(format!("Network interface '{id}' is currently in use.")));
    }
    remove(tx, cx, &interface);
    Ok(())
}

/// One that users may change: no service's own.
pub fn changeable(snapshot: &Snapshot, cx: &Context, id: &str) -> Result<Arc<NetworkInterface>> {
    let interface = by_id(snapshot, cx, id)?;
    if interface.is_requester_managed() && !resolve::is_service(cx) {
        return Err(Error::OperationNotPermitted(format!(
            "The network interface '{id}' is managed by a service and cannot be changed."
        )));
    }
    Ok(interface)
}

/// The record of an attachment to come.
pub fn attachment(
    cx: &Context,
    instance_id: &str,
    instance_type: &str,
    device_index: u32,
) -> Attachment {
    Attachment {
        id: id::resource(&cx.env.rng, "eni-attach"),
        instance_id: instance_id.to_owned(),
        instance_type: instance_type.to_owned(),
        device_index,
        delete_on_termination: false,
        at: cx.now,
        progress: Progress::Attached,
    }
}

/// Its interfaces carry as much as the instance's type says.
pub fn retype(tx: &mut Tx, cx: &Context, instance: &Instance) {
    for id in instance.interface_ids() {
        let Some(interface) = tx.get::<NetworkInterface>(&cx.key(id)) else { continue };
        let mut next = NetworkInterface::clone(&interface);
        if let Some(attachment) = &mut next.attachment {
            attachment.instance_type.clone_from(&instance.instance_type);
        }
        tx.put(next);
    }
}

/// Gives an interface to an instance that is launched with it.
pub fn take(tx: &mut Tx, interface: &NetworkInterface, attachment: Attachment) -> NetworkInterface {
    let taken = NetworkInterface { attachment: Some(attachment), ..interface.clone() };
    tx.put(taken.clone());
    taken
}

/// Gives an instance that runs or is stopped another interface.
pub fn attach(
    tx: &mut Tx,
    cx: &Context,
    id: &str,
    instance_id: &str,
    device_index: i32,
) -> Result<Attachment> {
    let interface = changeable(tx, cx, id)?;
    let instance = instance::ops::instance(tx, cx, instance_id)?;
    if interface.attachment.is_some() {
        return Err(Error::InterfaceInUse(id.to_owned()));
    }
    let stopped = is_stopped(&instance)?;
    if interface.zone != instance.zone || interface.vpc_id != instance.vpc_id {
        return Err(Error::combination(
            "You may not attach a network interface to an instance if they are not in the same \
             availability zone and VPC",
        ));
    }
    let present = of_instance(tx, cx, &instance);
    let index = u32::try_from(device_index)
        .map_err(|_| Error::value(format!("Invalid device index: {device_index}")))?;
    let at_index = |i: &Arc<NetworkInterface>| {
        i.attachment.as_ref().is_some_and(|attachment| attachment.device_index == index)
    };
    if present.iter().any(at_index) {
        return Err(Error::value(format!(
            "Instance '{instance_id}' already has an interface attached at device index '{index}'."
        )));
    }
    check_limits(&instance.instance_type, present.len() + 1, interface.addresses.len())?;
    let progress = if stopped { Progress::Attached } else { Progress::Attaching };
    let new = attachment(cx, instance_id, &instance.instance_type, index);
    let attachment = Attachment { progress, ..new };
    let mut instance = Instance::clone(&instance);
    instance.secondary_interfaces.push(id.to_owned());
    instance.secondary_interfaces.sort_by_key(|id| {
        let of = tx.get::<NetworkInterface>(&cx.key(id)).and_then(|i| i.attachment.clone());
        of.map_or(index, |attachment| attachment.device_index)
    });
    tx.put(instance);
    tx.put(NetworkInterface { attachment: Some(attachment.clone()), ..(*interface).clone() });
    Ok(attachment)
}

/// Whether it is stopped; else it must run.
fn is_stopped(instance: &Instance) -> Result<bool> {
    match instance.state() {
        InstanceState::Running => Ok(false),
        InstanceState::Stopped => Ok(true),
        _ => Err(Error::IncorrectState(format!(
            "Instance '{}' is not in the 'running' or the 'stopped' state.",
            instance.id
        ))),
    }
}

/// What an instance type can have; types that are not known have been refused elsewhere.
pub fn check_limits(instance_type: &str, interfaces: usize, addresses: usize) -> Result<()> {
    let Some(size) = catalog::instance_type(instance_type) else { return Ok(()) };
    if interfaces > size.network.max_interfaces as usize {
        return Err(Error::AttachmentLimitExceeded(format!(
            "Interface count {interfaces} exceeds the limit for {instance_type}"
        )));
    }
    if addresses > size.network.ipv4_per_interface as usize {
        return Err(Error::PrivateIpAddressLimitExceeded);
    }
    Ok(())
}

pub fn detach(tx: &mut Tx, cx: &Context, attachment_id: &str) -> Result<()> {
    if !What::Attachment.is_id(attachment_id) {
        return Err(Error::malformed(What::Attachment, attachment_id));
    }
    let prefix = cx.prefix();
    let has_it = |i: &Arc<NetworkInterface>| {
        i.attachment.as_ref().is_some_and(|attachment| attachment.id == attachment_id)
    };
    let found = tx.scan::<NetworkInterface>(&prefix).find(has_it);
    let interface = found.ok_or_else(|| Error::not_found(What::Attachment, attachment_id))?;
    let interface = changeable(tx, cx, &interface.id)?;
    let Some(attachment) = &interface.attachment else { return Ok(()) };
    if attachment.device_index == 0 {
        return Err(Error::OperationNotPermitted(
            "The network interface at device index 0 cannot be detached.".to_owned(),
        ));
    }
    let instance = instance::ops::instance(tx, cx, &attachment.instance_id)?;
    if is_stopped(&instance)? {
        let_go(tx, cx, &interface, &instance);
        return Ok(());
    }
    let attachment = Attachment { progress: Progress::Detaching, ..attachment.clone() };
    tx.put(NetworkInterface { attachment: Some(attachment), ..(*interface).clone() });
    Ok(())
}

fn let_go(tx: &mut Tx, cx: &Context, interface: &NetworkInterface, instance: &Instance) {
    tx.put(NetworkInterface { attachment: None, ..interface.clone() });
    let key = cx.key(&instance.id);
    if let Some(instance) = tx.get::<Instance>(&key) {
        let mut instance = Instance::clone(&instance);
        instance.secondary_interfaces.retain(|id| *id != interface.id);
        tx.put(instance);
    }
}

/// What runs has `interface` as this record says, or has it no more if it was to leave. Nothing, when
/// the record has changed since.
pub fn settle(tx: &mut Tx, cx: &Context, interface: &NetworkInterface) {
    let present = tx.get::<NetworkInterface>(&cx.key(&interface.id));
    if present.as_deref() != Some(interface) {
        return;
    }
    let Some(attachment) = &interface.attachment else { return };
    match tx.get::<Instance>(&cx.key(&attachment.instance_id)) {
        Some(instance) if attachment.progress == Progress::Detaching => {
            let_go(tx, cx, interface, &instance)
        }
        _ => {
            let attachment = Attachment { progress: Progress::Attached, ..attachment.clone() };
            tx.put(NetworkInterface { attachment: Some(attachment), ..interface.clone() });
        }
    }
}

/// Nothing of the instance is left: its interfaces go, or are free again.
pub fn instance_gone(tx: &mut Tx, cx: &Context, instance: &Instance) {
    for interface in of_instance(tx, cx, instance) {
        match &interface.attachment {
            Some(attachment) if attachment.delete_on_termination => remove(tx, cx, &interface),
            _ => {
                elastic_ip::ops::take_back(tx, cx, &interface.id);
                let Some(interface) = tx.get::<NetworkInterface>(&cx.key(&interface.id)) else {
                    continue;
                };
                tx.put(NetworkInterface { attachment: None, ..(*interface).clone() });
            }
        }
    }
}
