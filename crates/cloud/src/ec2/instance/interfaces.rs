//! The network interfaces of a launch: what the request says, of the instance as a whole or of each
//! interface, checked and made into what each shall be. Reads only.

use std::collections::BTreeMap;
use std::sync::Arc;

use store::Snapshot;

use super::launch::{Interface, Launch};
use super::place::Needs;
use crate::ec2::network_interface::NetworkInterface;
use crate::ec2::network_interface::ops::{self, New};
use crate::ec2::vpc::model::Subnet;
use crate::ec2::{Error, Result, security_group, vpc};
use crate::{Context, zone};

/// By device index: the first is the primary one.
pub type Interfaces = Vec<Wanted>;

pub struct Wanted {
    pub device_index: u32,
    pub delete_on_termination: bool,
    pub source: Source,
}

pub enum Source {
    New(New),
    Existing(Arc<NetworkInterface>),
}

impl Wanted {
    fn zone_and_vpc<'a>(&'a self, subnets: &'a BTreeMap<String, Subnet>) -> (&'a str, &'a str) {
        match &self.source {
            Source::Existing(interface) => (&interface.zone, &interface.vpc_id),
            Source::New(new) => {
                let subnet = &subnets[&new.subnet_id];
                (&subnet.zone, &subnet.vpc_id)
            }
        }
    }
}

/// The subnet of the primary interface, and all interfaces.
pub fn resolve(
    snapshot: &Snapshot,
    cx: &Context,
    launch: &Launch,
    instance_type: &str,
    needs: &Needs,
) -> Result<(Subnet, Interfaces)> {
    check(launch)?;
    let mut specs: Vec<&Interface> = launch.interfaces.iter().collect();
    specs.sort_by_key(|spec| spec.device_index);
    let subnet = subnet(snapshot, cx, launch, needs, specs.first().copied())?;
    if specs.is_empty() {
        return Ok((subnet.clone(), vec![plain(snapshot, cx, launch, &subnet)?]));
    }
    let mut subnets = BTreeMap::from([(subnet.id.clone(), subnet.clone())]);
    let mut all = Vec::new();
    for spec in specs.iter().copied() {
        let source = match &spec.network_interface_id {
            Some(id) => Source::Existing(existing(snapshot, cx, launch, spec, id)?),
            None => {
                let in_subnet = spec.subnet_id.as_ref().unwrap_or(&subnet.id);
                let mut new = New {
                    address: spec.private_ip,
                    secondary: spec.secondary.clone(),
                    secondary_count: spec.secondary_count,
                    description: spec.description.clone().unwrap_or_default(),
                    ..New::in_subnet(in_subnet, spec.groups.clone())
                };
                let own = ops::check_new(snapshot, cx, &mut new)?;
                new.auto_public = specs.len() == 1
                    && spec.associate_public_ip_address.unwrap_or(own.map_public_ip);
                subnets.insert(own.id.clone(), own);
                Source::New(new)
            }
        };
        all.push(Wanted {
            device_index: spec.device_index as u32,
            delete_on_termination: spec
                .delete_on_termination
                .unwrap_or(matches!(source, Source::New(_))),
            source,
        });
    }
    let place = (subnet.zone.as_str(), subnet.vpc_id.as_str());
    if all.iter().any(|wanted| wanted.zone_and_vpc(&subnets) != place) {
        return Err(Error::combination(
            "All network interfaces of an instance must be in the same availability zone and VPC.",
        ));
    }
    for wanted in &all {
        let addresses = match &wanted.source {
            Source::New(new) => new.size(),
            Source::Existing(interface) => interface.addresses.len(),
        };
        ops::check_limits(instance_type, all.len(), addresses)?;
    }
    Ok((subnet, all))
}

/// The one interface of a launch that does not speak of interfaces.
fn plain(snapshot: &Snapshot, cx: &Context, launch: &Launch, subnet: &Subnet) -> Result<Wanted> {
    let names = &launch.security_group_names;
    if !names.is_empty() && launch.subnet_id.is_some() {
        return Err(Error::combination(
            "The parameter groupName cannot be used with the parameter subnet",
        ));
    }
    let ids = &launch.security_group_ids;
    let groups = security_group::ops::for_interface(snapshot, cx, &subnet.vpc_id, ids, names)?;
    let new = New {
        address: launch.private_ip,
        auto_public: subnet.map_public_ip,
        ..New::in_subnet(&subnet.id, groups)
    };
    Ok(Wanted { device_index: 0, delete_on_termination: true, source: Source::New(new) })
}

fn existing(
    snapshot: &Snapshot,
    cx: &Context,
    launch: &Launch,
    spec: &Interface,
    id: &str,
) -> Result<Arc<NetworkInterface>> {
    let said = spec.subnet_id.is_some()
        || spec.private_ip.is_some()
        || spec.description.is_some()
        || !spec.groups.is_empty()
        || !spec.secondary.is_empty()
        || spec.secondary_count > 0
        || spec.associate_public_ip_address.is_some()
        || spec.delete_on_termination == Some(true);
    if said {
        return Err(Error::combination(
            "A network interface may not specify both a network interface ID and what a new one \
             would be like",
        ));
    }
    if launch.max_count > 1 {
        return Err(Error::combination(
            "A network interface ID can be given for a single instance only.",
        ));
    }
    let interface = ops::changeable(snapshot, cx, id)?;
    if interface.attachment.is_some() {
        return Err(Error::InterfaceInUse(id.to_owned()));
    }
    Ok(interface)
}

/// What can be seen without looking anything up.
pub fn check(launch: &Launch) -> Result<()> {
    let specs = &launch.interfaces;
    if specs.is_empty() {
        return Ok(());
    }
    let said = |what: &str| {
        Err(Error::combination(format!(
            "Network interfaces and an instance-level {what} may not be specified on the same request"
        )))
    };
    if launch.subnet_id.is_some() {
        return said("subnet ID");
    }
    if !launch.security_group_ids.is_empty() || !launch.security_group_names.is_empty() {
        return said("security groups");
    }
    if launch.private_ip.is_some() {
        return said("private address");
    }
    let mut indexes: Vec<i32> = specs.iter().map(|spec| spec.device_index).collect();
    indexes.sort_unstable();
    if indexes[0] != 0 {
        return Err(Error::value(
            "Each network interface requires a device index; the primary one has 0.",
        ));
    }
    if indexes.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(Error::value("Each network interface requires a device index of its own."));
    }
    let public = specs.iter().any(|spec| spec.associate_public_ip_address.is_some());
    if public && specs.len() > 1 {
        return Err(Error::combination(
            "The associatePublicIPAddress parameter cannot be specified when launching with multiple \
             network interfaces.",
        ));
    }
    Ok(())
}

fn subnet(
    snapshot: &Snapshot,
    cx: &Context,
    launch: &Launch,
    needs: &Needs,
    primary: Option<&Interface>,
) -> Result<Subnet> {
    let zone = zone_name(cx, launch.zone.as_ref(), launch.zone_id.as_ref())?;
    let zone = zone.as_deref();
    let of_existing = match primary.and_then(|spec| spec.network_interface_id.as_ref()) {
        Some(id) => Some(ops::by_id(snapshot, cx, id)?.subnet_id.clone()),
        None => None,
    };
    let subnet_id = of_existing
        .as_ref()
        .or(primary.and_then(|spec| spec.subnet_id.as_ref()))
        .or(launch.subnet_id.as_ref());
    if let Some(subnet_id) = subnet_id {
        let subnet = vpc::ops::subnet(snapshot, cx, subnet_id)?;
        if zone.is_some_and(|zone| zone != subnet.zone) {
            return Err(Error::value(format!(
                "The availability zone '{}' is not that of the subnet '{subnet_id}'",
                zone.unwrap_or_default()
            )));
        }
        return Ok(subnet);
    }
    if let Some(zone) = zone {
        let known = zone::zones(&cx.region, cx.env.config.zones).iter().any(|z| z.name == zone);
        if !known {
            return Err(Error::value(format!("Invalid availability zone: [{zone}]")));
        }
        let vpc = vpc::ops::default_vpc(snapshot, cx)?;
        return vpc::ops::subnet_for_zone(snapshot, cx, zone)
            .ok_or(Error::MissingDefaultSubnet(vpc.id));
    }
    let vpc = vpc::ops::default_vpc(snapshot, cx)?;
    let mut defaults: Vec<Subnet> =
        vpc::ops::subnets(snapshot, cx).into_iter().filter(|s| s.default_for_zone).collect();
    let least = launch.min_count;
    let has_room = |s: &&Subnet| needs.take(snapshot, cx, &s.zone, least, least).is_ok();
    let whole: Vec<Subnet> = defaults.iter().filter(has_room).cloned().collect();
    if !whole.is_empty() {
        defaults = whole;
    }
    if defaults.is_empty() {
        return Err(Error::MissingDefaultSubnet(vpc.id));
    }
    let chosen = cx.env.rng.below(defaults.len() as u64) as usize;
    Ok(defaults.swap_remove(chosen))
}

/// The zone that is named, by its name or its id.
pub fn zone_name(
    cx: &Context,
    zone: Option<&String>,
    zone_id: Option<&String>,
) -> Result<Option<String>> {
    let Some(zone_id) = zone_id else { return Ok(zone.cloned()) };
    if zone.is_some() {
        return Err(Error::combination(
            "AvailabilityZone and AvailabilityZoneId may not be specified on the same request.",
        ));
    }
    let zones = zone::zones(&cx.region, cx.env.config.zones);
    let found = zones.into_iter().find(|zone| zone.id == *zone_id);
    found
        .map(|zone| Some(zone.name))
        .ok_or_else(|| Error::value(format!("Invalid availability zone id: [{zone_id}]")))
}
