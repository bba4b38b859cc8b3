//! What must hold: at every moment, and when everything has settled. Checkers read; they share nothing
//! with the code they judge but its records.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use cloud::autoscaling::model::{Activity, Group, Lifecycle, Member, Policy};
use cloud::autoscaling::policies;
use cloud::cloudwatch::alarm::Alarm;
use cloud::ec2::instance::{Instance, InstanceState, Status};
use cloud::ec2::network_interface::NetworkInterface;
use cloud::ec2::vpc::model::Address;
use cloud::ec2::vpc::services;
use cloud::elbv2::model::TargetState;
use cloud::elbv2::{LoadBalancer, Node, Target, TargetGroup};
use cloud::env::Balancers as _;
use cloud::zone;
use compute::storage::Stored;
use compute::{Observed, Phase, Spec};
use fabric::Fabric as _;
use store::Snapshot;

use crate::disks::Disks;
use crate::host::Balancers;
use crate::world::key;

/// Everything there is to see.
pub struct Sight<'a> {
    pub snapshot: &'a Snapshot,
    pub machines: BTreeMap<String, Observed>,
    /// Of the present boot of each.
    pub specs: BTreeMap<String, Spec>,
    pub stored: Vec<Stored>,
    pub failed: BTreeSet<String>,
    pub network: &'a fabric::fake::Fake,
    pub balancers: &'a Balancers,
}

impl Sight<'_> {
    fn instances(&self) -> impl Iterator<Item = Arc<Instance>> {
        self.snapshot.scan("")
    }

    pub fn runs(&self, id: &str) -> bool {
        self.machines.get(id).is_some_and(|seen| !matches!(seen.phase, Phase::Exited(_)))
    }
}

pub trait Checker {
    fn name(&self) -> &'static str;

    /// At every moment.
    fn look(&mut self, sight: &Sight<'_>) -> Result<(), String>;

    /// When nothing happens any more but the passing of time.
    fn settled(&self, sight: &Sight<'_>) -> Result<(), String>;
}

pub fn all() -> Vec<Box<dyn Checker>> {
    vec![
        Box::new(States::default()),
        Box::new(Machines),
        Box::new(Addresses),
        Box::new(Groups),
        Box::new(Drains::default()),
        Box::new(Balancing),
        Box::new(Disks::default()),
    ]
}

/// States of instances move as EC2's do; terminated stays terminated; boots count up; nothing comes
/// to be in a failed zone.
#[derive(Default)]
pub struct States {
    known: BTreeMap<String, (InstanceState, u64)>,
}

fn may_follow(before: InstanceState, after: InstanceState) -> bool {
    use InstanceState::*;
    match before {
        // A failed start stops again; a guest may power itself off before anybody saw it run.
        Pending => matches!(after, Running | ShuttingDown | Stopping | Stopped),
        Running => matches!(after, Stopping | Stopped | ShuttingDown),
        Stopping => matches!(after, Stopped | ShuttingDown),
        Stopped => matches!(after, Pending | ShuttingDown),
        ShuttingDown => after == Terminated,
        Terminated => false,
    }
}

impl Checker for States {
    fn name(&self) -> &'static str {
        "states"
    }

    fn look(&mut self, sight: &Sight<'_>) -> Result<(), String> {
        let mut present = BTreeMap::new();
        for instance in sight.instances() {
            let (id, state, boot) = (&instance.id, instance.state(), instance.desired.boot);
            match self.known.get(id) {
                None if state != InstanceState::Pending => {
                    return Err(format!("{id} began as {state:?}"));
                }
                None if sight.failed.contains(&instance.zone) => {
                    return Err(format!("{id} was launched into the failed {}", instance.zone));
                }
                Some((before, _)) if *before != state && !may_follow(*before, state) => {
                    return Err(format!("{id} went from {before:?} to {state:?}"));
                }
                Some((_, before)) if *before > boot => {
                    return Err(format!("{id} went from boot {before} to {boot}"));
                }
                _ => {}
            }
            present.insert(id.clone(), (state, boot));
        }
        let lost = |(id, (state, _)): &(&String, &(InstanceState, u64))| {
            !present.contains_key(*id) && *state != InstanceState::Terminated
        };
        if let Some((id, (state, _))) = self.known.iter().find(lost) {
            return Err(format!("{id} was {state:?} and is lost"));
        }
        // Ids of those forgotten stay known, so that none comes back.
        self.known.append(&mut present);
        Ok(())
    }

    fn settled(&self, sight: &Sight<'_>) -> Result<(), String> {
        for instance in sight.instances() {
            let (id, state) = (&instance.id, instance.state());
            let status = match state {
                InstanceState::Running if sight.failed.contains(&instance.zone) => Status::Impaired,
                InstanceState::Running => Status::Ok,
                InstanceState::Stopped | InstanceState::Terminated => Status::NotApplicable,
                _ => return Err(format!("{id} is still {state:?}")),
            };
            if instance.status() != status {
                return Err(format!("{id} is {state:?}, but {:?}", instance.status()));
            }
        }
        Ok(())
    }
}

/// The host runs what the records say, and nothing else.
pub struct Machines;

impl Checker for Machines {
    fn name(&self) -> &'static str {
        "machines"
    }

    fn look(&mut self, sight: &Sight<'_>) -> Result<(), String> {
        for (id, seen) in &sight.machines {
            match sight.snapshot.get::<Instance>(&key(id)) {
                None => return Err(format!("the host has {id}, of which there is no record")),
                Some(instance) if instance.state() == InstanceState::Terminated => {
                    return Err(format!("{id} is terminated, but the host has it"));
                }
                Some(instance) if instance.observed.boot > seen.boot => {
                    let (claimed, begun) = (instance.observed.boot, seen.boot);
                    return Err(format!("{id} claims boot {claimed}, but the host is at {begun}"));
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    fn settled(&self, sight: &Sight<'_>) -> Result<(), String> {
        for instance in sight.instances() {
            let id = &instance.id;
            let seen = sight.machines.get(id);
            let up = seen.filter(|seen| seen.phase == Phase::Up).map(|seen| seen.boot);
            let dark = sight.failed.contains(&instance.zone);
            let right = match instance.state() {
                InstanceState::Running if !dark => up == Some(instance.desired.boot),
                InstanceState::Terminated => seen.is_none(),
                _ => !sight.runs(id),
            };
            if !right {
                return Err(format!("{id} is {:?}, but the host has {seen:?}", instance.state()));
            }
        }
        Ok(())
    }
}

/// No address is held twice, none is lost, and the networks have those of the balancers' nodes.
pub struct Addresses;

/// Of the default VPC, the only one here.
const RESOLVER: Ipv4Addr = Ipv4Addr::new(172, 31, 0, 2);

impl Checker for Addresses {
    fn name(&self) -> &'static str {
        "addresses"
    }

    fn look(&mut self, sight: &Sight<'_>) -> Result<(), String> {
        let mut holders: BTreeMap<(String, Ipv4Addr), String> = BTreeMap::new();
        let mut hold = |subnet: &str, address: Ipv4Addr, holder: &str| match holders
            .insert((subnet.to_owned(), address), holder.to_owned())
        {
            Some(other) => Err(format!("{holder} and {other} both hold {address}")),
            None => Ok(()),
        };
        for interface in sight.snapshot.scan::<NetworkInterface>("") {
            for address in &interface.addresses {
                hold(&interface.subnet_id, *address, &interface.id)?;
            }
        }
        for instance in sight.instances().filter(|instance| instance.is_alive()) {
            let primary = sight.snapshot.get::<NetworkInterface>(&key(&instance.interface_id));
            if primary.is_none_or(|primary| primary.primary() != instance.private_ip) {
                return Err(format!("{} has not the address of its interface", instance.id));
            }
        }
        let mut public = BTreeSet::new();
        for node in sight.snapshot.scan::<Node>("") {
            hold(&node.subnet_id, node.private_ip, &node.load_balancer)?;
            if node.public_ip.is_some_and(|address| !public.insert(address)) {
                return Err(format!("{:?} is held twice", node.public_ip));
            }
        }
        for address in sight.snapshot.scan::<Address>("") {
            let holder = holders.remove(&(address.subnet_id.clone(), address.address));
            if holder.as_ref() != Some(&address.holder) {
                let (address, booked) = (address.address, &address.holder);
                return Err(format!("{address} is booked for {booked}, but used by {holder:?}"));
            }
        }
        match holders.first_key_value() {
            Some(((_, address), holder)) => Err(format!("{address} of {holder} is not booked")),
            None => Ok(()),
        }
    }

    fn settled(&self, sight: &Sight<'_>) -> Result<(), String> {
        let nodes: Vec<Arc<Node>> = sight.snapshot.scan("").collect();
        if let Some(node) = nodes.iter().find(|node| node.leaving) {
            return Err(format!("{} is still leaving {}", node.load_balancer, node.zone));
        }
        for network in sight.network.networks().map_err(|error| error.to_string())? {
            let present = sight.network.addresses(&network).map_err(|error| error.to_string())?;
            let of_service =
                |address: &Ipv4Addr| services::ALL.iter().any(|s| s.address == *address);
            let served = |address: &Ipv4Addr| {
                address.is_link_local() || *address == RESOLVER || of_service(address)
            };
            let present: BTreeSet<Ipv4Addr> =
                present.into_iter().filter(|address| !served(address)).collect();
            let wanted = nodes.iter().filter(|node| node.vpc_id == network);
            let wanted: BTreeSet<Ipv4Addr> = wanted.map(|node| node.private_ip).collect();
            if present != wanted {
                return Err(format!("{network} has {present:?}, but shall have {wanted:?}"));
            }
        }
        Ok(())
    }
}

/// Groups settle at their size, spread over the zones that work, registered and healthy.
pub struct Groups;

impl Groups {
    fn settled_group(sight: &Sight<'_>, group: &Group) -> Result<(), String> {
        if group.deleting.is_some() {
            return Err("is still being deleted".to_owned());
        }
        let works = |zone: &str| !sight.failed.contains(zone);
        let mut counts: BTreeMap<&str, usize> = group
            .places
            .iter()
            .map(|p| p.zone.as_str())
            .filter(|z| works(z))
            .map(|z| (z, 0))
            .collect();
        if counts.is_empty() {
            return Ok(());
        }
        let members: Vec<Arc<Member>> =
            sight.snapshot.scan::<Member>("").filter(|m| m.group == group.name).collect();
        if members.len() != group.desired as usize {
            return Err(format!("has {} members, but wants {}", members.len(), group.desired));
        }
        for member in &members {
            settled_member(sight, group, member)
                .map_err(|why| format!("{}: {why}", member.instance_id))?;
            let Some(count) = counts.get_mut(member.zone.as_str()) else {
                return Err(format!("has {} in {}", member.instance_id, member.zone));
            };
            *count += 1;
        }
        let (least, most) = (counts.values().min(), counts.values().max());
        if let (Some(least), Some(most)) = (least, most)
            && most - least > 1
        {
            return Err(format!("is not balanced: {counts:?}"));
        }
        Ok(())
    }
}

fn settled_member(sight: &Sight<'_>, group: &Group, member: &Member) -> Result<(), String> {
    if member.lifecycle != Lifecycle::InService || member.unhealthy.is_some() || member.newcomer {
        return Err(format!("{:?}, {:?}", member.lifecycle, member.unhealthy));
    }
    let instance = sight.snapshot.get::<Instance>(&key(&member.instance_id));
    if instance.is_none_or(|i| i.state() != InstanceState::Running || i.status() != Status::Ok) {
        return Err("does not run".to_owned());
    }
    let existing: BTreeSet<String> =
        sight.snapshot.scan::<TargetGroup>("").map(|g| g.arn.clone()).collect();
    let targets: Vec<Arc<Target>> = sight
        .snapshot
        .scan::<Target>("")
        .filter(|target| target.id == member.instance_id)
        .collect();
    for arn in group.target_groups.iter().filter(|arn| existing.contains(*arn)) {
        let Some(target) = targets.iter().find(|target| target.target_group_arn == *arn) else {
            // Users may take a target away; only a group that looks at its balancers minds.
            if group.elb_health || !member.registered.contains(arn) {
                return Err(format!("is not registered with {arn}"));
            }
            continue;
        };
        if !matches!(target.state, TargetState::Healthy | TargetState::Unused) {
            return Err(format!("is {:?} in {arn}", target.state));
        }
    }
    Ok(())
}

impl Checker for Groups {
    fn name(&self) -> &'static str {
        "groups"
    }

    fn look(&mut self, sight: &Sight<'_>) -> Result<(), String> {
        for member in sight.snapshot.scan::<Member>("") {
            let Some(group) = sight.snapshot.get::<Group>(&key(&member.group)) else {
                return Err(format!("{} is in no group", member.instance_id));
            };
            if !(group.min..=group.max).contains(&group.desired) {
                return Err(format!("group {} wants {}", group.name, group.desired));
            }
        }
        Ok(())
    }

    fn settled(&self, sight: &Sight<'_>) -> Result<(), String> {
        for group in sight.snapshot.scan::<Group>("") {
            Groups::settled_group(sight, &group)
                .map_err(|why| format!("group {} {why}", group.name))?;
        }
        if let Some(open) = sight.snapshot.scan::<Activity>("").find(|a| a.end.is_none()) {
            return Err(format!("still going on: {}", open.description));
        }
        let named: BTreeSet<String> = sight
            .snapshot
            .scan::<Policy>("")
            .flat_map(|policy| policies::alarms_of(&policy))
            .map(|(name, _)| name)
            .collect();
        let present: BTreeSet<String> =
            sight.snapshot.scan::<Alarm>("").map(|alarm| alarm.name.clone()).collect();
        if named != present {
            return Err(format!("alarms are {present:?}, but policies have {named:?}"));
        }
        Ok(())
    }
}

/// A group drains an instance that serves before it terminates it.
#[derive(Default)]
pub struct Drains {
    running: BTreeSet<String>,
}

impl Checker for Drains {
    fn name(&self) -> &'static str {
        "drains"
    }

    fn look(&mut self, sight: &Sight<'_>) -> Result<(), String> {
        for target in sight.snapshot.scan::<Target>("") {
            let id = &target.id;
            let Some(instance) = sight.snapshot.get::<Instance>(&key(id)) else { continue };
            let Some(member) = sight.snapshot.get::<Member>(&key(id)) else { continue };
            let group = sight.snapshot.get::<Group>(&key(&member.group));
            let ended = instance.state() == InstanceState::ShuttingDown
                && self.running.contains(id)
                && member.terminated
                && instance.observed.fault.is_none();
            let of_group = member.registered.contains(&target.target_group_arn);
            if ended
                && of_group
                && target.state == TargetState::Draining
                && group.is_some_and(|group| group.deleting.is_none())
            {
                return Err(format!("{id} was terminated while it drained"));
            }
        }
        let running = sight.instances().filter(|i| i.state() == InstanceState::Running);
        self.running = running.map(|instance| instance.id.clone()).collect();
        Ok(())
    }

    fn settled(&self, _: &Sight<'_>) -> Result<(), String> {
        Ok(())
    }
}

/// Targets are what is registered, and balancers know them and no others.
pub struct Balancing;

impl Checker for Balancing {
    fn name(&self) -> &'static str {
        "balancing"
    }

    fn look(&mut self, sight: &Sight<'_>) -> Result<(), String> {
        let groups: BTreeSet<String> =
            sight.snapshot.scan::<TargetGroup>("").map(|group| group.arn.clone()).collect();
        for target in sight.snapshot.scan::<Target>("") {
            if !groups.contains(&target.target_group_arn) {
                return Err(format!("{} is a target of no group", target.id));
            }
        }
        Ok(())
    }

    fn settled(&self, sight: &Sight<'_>) -> Result<(), String> {
        let nodes: Vec<Arc<Node>> = sight.snapshot.scan("").collect();
        for balancer in sight.snapshot.scan::<LoadBalancer>("") {
            let mut own = nodes.iter().filter(|node| node.load_balancer == balancer.arn);
            if !balancer.active && own.any(|node| !sight.failed.contains(&node.zone)) {
                return Err(format!("{} is not active", balancer.name));
            }
        }
        let zones: BTreeSet<String> = nodes
            .iter()
            .map(|node| node.zone.clone())
            .filter(|zone| !sight.failed.contains(zone))
            .collect();
        let alive: BTreeSet<String> = sight.balancers.zones().into_iter().collect();
        if zones != alive {
            return Err(format!("balancers live in {alive:?}, but shall in {zones:?}"));
        }
        let targets: Vec<Arc<Target>> = sight.snapshot.scan("").collect();
        for target in &targets {
            let instance = sight.snapshot.get::<Instance>(&key(&target.id));
            if instance.is_none_or(|instance| !instance.is_alive()) {
                return Err(format!("{} is a target, but is no more", target.id));
            }
            if target.state == TargetState::Draining {
                return Err(format!("{} still drains", target.id));
            }
        }
        for zone in &alive {
            let Some(told) = sight.balancers.fake.snapshot(zone) else { continue };
            for (arn, group) in told.target_groups {
                let known: BTreeSet<String> = group.targets.into_iter().map(|t| t.id).collect();
                let used = |target: &&Arc<Target>| {
                    target.target_group_arn == arn && target.state != TargetState::Unused
                };
                let wanted: BTreeSet<String> =
                    targets.iter().filter(used).map(|target| target.name()).collect();
                if known != wanted {
                    return Err(format!("{zone} sends to {known:?}, but shall to {wanted:?}"));
                }
            }
        }
        Ok(())
    }
}

/// The failed zones.
pub fn failed(snapshot: &Snapshot) -> BTreeSet<String> {
    zone::failures(snapshot).iter().map(|failure| failure.zone.clone()).collect()
}
