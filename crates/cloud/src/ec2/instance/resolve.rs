//! A launch, checked against everything it names. Reads only; the first thing wrong is the error.

use std::collections::BTreeMap;

use compute::Layer;
use store::Snapshot;

use super::interfaces::{self, Interfaces, Source, Wanted};
use super::launch::{Launch, Metadata};
use super::model::{Instance, MetadataOptions, ShutdownBehavior};
use super::place::Needs;
use super::user_data;
use crate::Context;
use crate::ec2::image::model::RootDevice;
use crate::ec2::network_interface::ops::New;
use crate::ec2::placement_group::membership;
use crate::ec2::spot::model::Behavior;
use crate::ec2::volume::{self, mapping};
use crate::ec2::{
    Error, Result, catalog, credits, image, instance_profile, key_pair, security_group, tag, vpc,
};

/// The type of a launch that says none, as RunInstances documents.
const DEFAULT_TYPE: &str = "m1.small";

/// What is launched, `count` times.
pub struct Resolved {
    pub count: u32,
    pub placement: Option<membership::Place>,
    pub instance_type: String,
    pub zone: String,
    pub image_id: String,
    pub layers: Vec<Layer>,
    pub init: compute::Init,
    pub architecture: String,
    pub root_device: RootDevice,
    pub frozen: Vec<String>,
    pub devices: mapping::Mapped,
    /// The first is the primary one.
    pub interfaces: Interfaces,
    pub profile: Option<instance_profile::Found>,
    pub public_key: Option<String>,
    pub user_data: Vec<u8>,
    pub metadata: MetadataOptions,
}

/// Whether a service of this cloud acts for a user, not a user himself.
pub fn is_service(cx: &Context) -> bool {
    cx.caller.ends_with(".amazonaws.com")
}

/// `launch` has its template merged in already.
pub fn resolve(snapshot: &Snapshot, cx: &Context, launch: &Launch) -> Result<Resolved> {
    check_counts(launch)?;
    let named = launch.image_id.as_ref().ok_or(Error::MissingParameter("ImageId"))?;
    let image_id = image::ops::resolve_id(snapshot, cx, named)?;
    let image = image::ops::launchable(snapshot, cx, &image_id)?;
    let instance_type = launch.instance_type.clone().unwrap_or_else(|| DEFAULT_TYPE.to_owned());
    check_type(&instance_type, &image.architecture)?;
    check_root_device(launch, &instance_type, image.root_device)?;
    let needs = Needs::of_launch(snapshot, cx, launch, &instance_type)?;
    let (subnet, interfaces) = interfaces::resolve(snapshot, cx, launch, &instance_type, &needs)?;
    let devices = mapping::resolve(snapshot, cx, &image, &launch.block_devices)?;
    volume::ops::check_limit(&instance_type, devices.volumes.len(), interfaces.len())?;
    credits::ops::check(&instance_type, launch.cpu_credits)?;
    let user_data = match &launch.user_data {
        Some(text) => user_data::decode(text)?,
        None => Vec::new(),
    };
    let public_key = match &launch.key_name {
        Some(name) => Some(key_pair::ops::key_pair(snapshot, cx, name)?.public_key),
        None => None,
    };
    let profile = match &launch.iam_instance_profile {
        Some(named) => Some(instance_profile::ops::find(snapshot, cx, named)?),
        None => None,
    };
    let count = count(snapshot, cx, launch, &interfaces)?;
    let count = needs.take(snapshot, cx, &subnet.zone, launch.min_count, count)?;
    Ok(Resolved {
        count,
        placement: needs.group,
        instance_type,
        zone: subnet.zone,
        image_id,
        layers: image.layers,
        init: image.init,
        architecture: image.architecture,
        root_device: image.root_device,
        frozen: image.frozen,
        devices,
        interfaces,
        profile,
        public_key,
        user_data,
        metadata: metadata_options(None, &launch.metadata)?,
    })
}

fn check_counts(launch: &Launch) -> Result<()> {
    for (name, count) in [("minCount", launch.min_count), ("maxCount", launch.max_count)] {
        if count == 0 {
            return Err(Error::value(format!(
                "Value (0) for parameter {name} is invalid. Expected a value greater than 0."
            )));
        }
    }
    if launch.min_count > launch.max_count {
        return Err(Error::value(format!(
            "Value ({}) for parameter minCount is invalid. It must not exceed maxCount ({}).",
            launch.min_count, launch.max_count
        )));
    }
    Ok(())
}

/// Of what the user says, before services add their own.
pub fn check_tags(cx: &Context, launch: &Launch) -> Result<()> {
    for (kind, tags) in &launch.tags {
        let known = match kind.as_str() {
            "instance" | "volume" | "network-interface" => true,
            "spot-instances-request" => launch.market.is_some(),
            _ => false,
        };
        if !known {
            return Err(Error::value(format!(
                "'{kind}' is not a valid taggable resource type for this operation."
            )));
        }
        if !is_service(cx) {
            tag::ops::check(tags)?;
        }
    }
    Ok(())
}

/// As many as there is room for, between the two counts.
fn count(snapshot: &Snapshot, cx: &Context, launch: &Launch, interfaces: &[Wanted]) -> Result<u32> {
    let new = || {
        interfaces.iter().filter_map(|wanted| match &wanted.source {
            Source::New(new) => Some(new),
            Source::Existing(_) => None,
        })
    };
    let named = |new: &New| new.address.is_some() || !new.secondary.is_empty();
    if launch.max_count > 1 && new().any(named) {
        return Err(Error::combination(
            "A private IP address can be given for a single instance only.",
        ));
    }
    let mut sizes: BTreeMap<&str, usize> = BTreeMap::new();
    for new in new() {
        *sizes.entry(&new.subnet_id).or_default() += new.size();
    }
    let mut count = launch.max_count;
    for (id, size) in sizes {
        let subnet = vpc::ops::subnet(snapshot, cx, id)?;
        let room = vpc::ops::available(snapshot, cx, &subnet) / size;
        count = count.min(u32::try_from(room).unwrap_or(u32::MAX));
        if count < launch.min_count {
            return Err(Error::InsufficientFreeAddressesInSubnet(subnet.id));
        }
    }
    Ok(count)
}

pub fn check_type(name: &str, architecture: &str) -> Result<()> {
    let Some(size) = catalog::instance_type(name) else {
        return Err(Error::value(format!("Invalid value '{name}' for InstanceType.")));
    };
    if size.architectures.contains(&architecture) {
        return Ok(());
    }
    Err(Error::value(format!(
        "The architecture '{}' of the specified instance type does not match the architecture \
         '{architecture}' of the specified AMI. Specify an instance type and an AMI that have matching architectures, and \
         try again.",
        size.architectures.join(",")
    )))
}

/// Its root must outlive a stop.
pub fn check_stoppable(instance: &Instance) -> Result<()> {
    match instance.root_device {
        RootDevice::Ebs => Ok(()),
        RootDevice::InstanceStore => Err(Error::UnsupportedOperation(format!(
            "The instance '{}' does not have an 'ebs' root device type and cannot be stopped.",
            instance.id
        ))),
    }
}

/// Nothing that would stop an instance whose root would not outlive it.
fn check_root_device(launch: &Launch, instance_type: &str, root: RootDevice) -> Result<()> {
    let supports = |size: &catalog::InstanceType| size.root_device_types.contains(&root.name());
    if !catalog::instance_type(instance_type).is_some_and(supports) {
        return Err(Error::combination(format!(
            "The instance type '{instance_type}' does not support the root device type '{}'.",
            root.name()
        )));
    }
    if root == RootDevice::Ebs {
        return Ok(());
    }
    let stops = launch.market.as_ref().is_some_and(|market| market.behavior == Behavior::Stop);
    if launch.shutdown_behavior == Some(ShutdownBehavior::Stop) || stops {
        return Err(Error::combination(
            "An instance whose root device is an instance store cannot be stopped, neither by its \
             shutdown behavior nor by a Spot interruption.",
        ));
    }
    Ok(())
}

/// `None` for a group that is no more.
pub fn group_name(snapshot: &Snapshot, cx: &Context, id: &str) -> Option<String> {
    security_group::ops::group(snapshot, cx, id).ok().map(|group| group.name.clone())
}

/// `asked` over what there was; EC2's defaults where there was nothing.
pub fn metadata_options(
    before: Option<&MetadataOptions>,
    asked: &Metadata,
) -> Result<MetadataOptions> {
    let mut options = before.cloned().unwrap_or(MetadataOptions {
        tokens_required: false,
        hop_limit: 1,
        endpoint_enabled: true,
        tags_enabled: false,
    });
    let one_of = |name: &str, value: &Option<String>, off: &str, on: &str, slot: &mut bool| {
        match value.as_deref() {
            None => {}
            Some(v) if v == on => *slot = true,
            Some(v) if v == off => *slot = false,
            Some(v) => {
                return Err(Error::value(format!(
                    "Value ({v}) for parameter {name} is invalid. Valid values: {off}, {on}."
                )));
            }
        }
        Ok(())
    };
    let enabled = ("disabled", "enabled");
    one_of("HttpTokens", &asked.http_tokens, "optional", "required", &mut options.tokens_required)?;
    one_of(
        "HttpEndpoint",
        &asked.http_endpoint,
        enabled.0,
        enabled.1,
        &mut options.endpoint_enabled,
    )?;
    one_of(
        "InstanceMetadataTags",
        &asked.instance_metadata_tags,
        enabled.0,
        enabled.1,
        &mut options.tags_enabled,
    )?;
    if let Some(limit) = asked.http_put_response_hop_limit {
        options.hop_limit =
            u8::try_from(limit).ok().filter(|n| (1..=64).contains(n)).ok_or_else(|| {
                Error::value(format!(
                    "Value ({limit}) for parameter HttpPutResponseHopLimit is invalid. It must be \
                     between 1 and 64."
                ))
            })?;
    }
    Ok(options)
}
