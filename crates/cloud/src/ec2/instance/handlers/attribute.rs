//! Attributes of one instance, read and changed.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use wire::ec2 as w;

use super::super::attribute::{self, Change};
use super::super::ops;
use super::describe::{block_devices, metadata_options};
use super::launch::{
    metadata, placement_group, refuse_some, refuse_true, shared, shutdown_behavior,
};
use crate::Context;
use crate::ec2::image::model::ROOT_DEVICE;
use crate::ec2::listing::dry_run;
use crate::ec2::network_interface::handlers::groups;
use crate::ec2::{Error, Result, network_interface};

pub async fn describe(
    cx: Context,
    input: w::DescribeInstanceAttributeRequest,
) -> Result<w::InstanceAttribute> {
    let snapshot = cx.read();
    let i = ops::instance(&snapshot, &cx, &input.instance_id)?;
    let text = |value: &str| Some(w::AttributeValue { value: Some(value.to_owned()) });
    let absent = Some(w::AttributeValue::default());
    let switch = |on: bool| Some(w::AttributeBooleanValue { value: Some(on) });
    let mut shown = w::InstanceAttribute { instance_id: Some(i.id.clone()), ..Default::default() };
    match input.attribute.as_str() {
        "instanceType" => shown.instance_type = text(&i.instance_type),
        "kernel" => shown.kernel_id = absent,
        "ramdisk" => shown.ramdisk_id = absent,
        "userData" if i.user_data.is_empty() => shown.user_data = absent,
        "userData" => shown.user_data = text(&STANDARD.encode(&i.user_data)),
        "disableApiTermination" => {
            shown.disable_api_termination = switch(i.disable_api_termination);
        }
        "disableApiStop" => shown.disable_api_stop = switch(i.disable_api_stop),
        "instanceInitiatedShutdownBehavior" => {
            shown.instance_initiated_shutdown_behavior = text(i.shutdown_behavior.name());
        }
        "rootDeviceName" => shown.root_device_name = text(ROOT_DEVICE),
        "blockDeviceMapping" => {
            shown.block_device_mappings = Some(block_devices(&snapshot, &cx, &i))
        }
        "productCodes" => shown.product_codes = Some(vec![]),
        "sourceDestCheck" => {
            let primary = network_interface::ops::primary_of(&snapshot, &cx, &i)?;
            shown.source_dest_check = switch(primary.source_dest_check);
        }
        "groupSet" => {
            let primary = network_interface::ops::primary_of(&snapshot, &cx, &i)?;
            shown.groups = Some(groups(&snapshot, &cx, &primary));
        }
        "ebsOptimized" => shown.ebs_optimized = switch(false),
        "sriovNetSupport" => shown.sriov_net_support = absent,
        "enaSupport" => {
            shown.ena_support = switch(super::super::describe::has_ena(&i.instance_type));
        }
        "enclaveOptions" => {
            shown.enclave_options = Some(w::EnclaveOptions { enabled: Some(false) });
        }
        other => return Err(unknown(other)),
    }
    dry_run(input.dry_run)?;
    Ok(shown)
}

fn unknown(attribute: &str) -> Error {
    Error::value(format!(
        "Value ({attribute}) for parameter attribute is invalid. Unknown attribute."
    ))
}

pub async fn modify(
    cx: Context,
    input: w::ModifyInstanceAttributeRequest,
) -> Result<w::ModifyInstanceAttributeOutput> {
    let (id, dry) = (input.instance_id.clone(), input.dry_run);
    let mut changes = changes(input)?;
    let change = changes.pop().ok_or_else(|| Error::combination("No attributes specified."))?;
    if !changes.is_empty() {
        return Err(Error::combination("Fields for multiple attribute types specified"));
    }
    cx.write(|tx| {
        attribute::modify(tx, &cx, &id, &change)?;
        dry_run(dry)
    })
    .await?;
    Ok(w::ModifyInstanceAttributeOutput::default())
}

fn changes(input: w::ModifyInstanceAttributeRequest) -> Result<Vec<Change>> {
    let w::ModifyInstanceAttributeRequest {
        attribute,
        block_device_mappings,
        disable_api_stop,
        disable_api_termination,
        dry_run: _,
        ebs_optimized,
        ena_support,
        enclave_options,
        groups,
        instance_id: _,
        instance_initiated_shutdown_behavior,
        instance_type,
        kernel,
        ramdisk,
        source_dest_check,
        sriov_net_support,
        user_data,
        value,
    } = input;
    refuse_true(ebs_optimized.and_then(|a| a.value), "EbsOptimized")?;
    refuse_some(&ena_support, "EnaSupport")?;
    refuse_some(&enclave_options, "EnclaveOptions")?;
    refuse_some(&kernel, "Kernel")?;
    refuse_some(&ramdisk, "Ramdisk")?;
    refuse_some(&sriov_net_support, "SriovNetSupport")?;
    let mut changes = Vec::new();
    if let Some(name) = attribute {
        changes.push(named(&name, value.ok_or(Error::MissingParameter("Value"))?)?);
    }
    changes.extend(disable_api_stop.and_then(|a| a.value).map(Change::DisableApiStop));
    changes
        .extend(disable_api_termination.and_then(|a| a.value).map(Change::DisableApiTermination));
    changes.extend(groups.map(Change::Groups));
    if let Some(mappings) = block_device_mappings.filter(|mappings| !mappings.is_empty()) {
        changes.push(Change::DeleteOnTermination(
            mappings.into_iter().map(delete_on_termination).collect::<Result<_>>()?,
        ));
    }
    if let Some(text) = instance_initiated_shutdown_behavior.and_then(|a| a.value) {
        changes.push(Change::ShutdownBehavior(shutdown_behavior(&text)?));
    }
    changes.extend(instance_type.and_then(|a| a.value).map(Change::InstanceType));
    changes.extend(source_dest_check.and_then(|a| a.value).map(Change::SourceDestCheck));
    if let Some(data) = user_data {
        changes.push(Change::UserData(data.value.unwrap_or_default().to_vec()));
    }
    Ok(changes)
}

/// Of a device that the instance has, only what becomes of it at the end can be changed.
fn delete_on_termination(
    mapping: w::InstanceBlockDeviceMappingSpecification,
) -> Result<(String, bool)> {
    refuse_some(&mapping.no_device, "NoDevice")?;
    refuse_some(&mapping.virtual_name, "VirtualName")?;
    let name = mapping.device_name.ok_or(Error::MissingParameter("DeviceName"))?;
    let ebs = mapping.ebs.ok_or(Error::MissingParameter("Ebs"))?;
    refuse_some(&ebs.volume_id, "Ebs.VolumeId")?;
    let on = ebs.delete_on_termination.ok_or(Error::MissingParameter("DeleteOnTermination"))?;
    Ok((name, on))
}

/// The older form, by name and text.
fn named(attribute: &str, value: String) -> Result<Change> {
    let switch = |value: &str| match value.to_ascii_lowercase().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(Error::value(format!("Invalid boolean value '{value}'"))),
    };
    Ok(match attribute {
        "instanceType" => Change::InstanceType(value),
        "userData" => Change::UserData(super::super::user_data::decode(&value)?),
        "disableApiTermination" => Change::DisableApiTermination(switch(&value)?),
        "disableApiStop" => Change::DisableApiStop(switch(&value)?),
        "sourceDestCheck" => Change::SourceDestCheck(switch(&value)?),
        "instanceInitiatedShutdownBehavior" => Change::ShutdownBehavior(shutdown_behavior(&value)?),
        "kernel" | "ramdisk" | "rootDeviceName" | "blockDeviceMapping" | "productCodes"
        | "groupSet" | "ebsOptimized" | "sriovNetSupport" | "enaSupport" | "enclaveOptions" => {
            return Err(Error::unsupported(attribute));
        }
        other => return Err(unknown(other)),
    })
}

/// Of the three attributes that can be reset, one has a meaning here, and one value.
pub async fn reset(
    cx: Context,
    input: w::ResetInstanceAttributeRequest,
) -> Result<w::ResetInstanceAttributeOutput> {
    if input.attribute != "sourceDestCheck" {
        return Err(match input.attribute.as_str() {
            "kernel" | "ramdisk" => Error::unsupported(&input.attribute),
            other => unknown(other),
        });
    }
    cx.write(|tx| {
        attribute::modify(tx, &cx, &input.instance_id, &Change::SourceDestCheck(true))?;
        dry_run(input.dry_run)
    })
    .await?;
    Ok(w::ResetInstanceAttributeOutput::default())
}

pub async fn modify_placement(
    cx: Context,
    input: w::ModifyInstancePlacementRequest,
) -> Result<w::ModifyInstancePlacementResult> {
    let w::ModifyInstancePlacementRequest {
        affinity,
        group_id,
        group_name,
        host_id,
        host_resource_group_arn,
        instance_id,
        partition_number,
        tenancy,
    } = input;
    let says_group = group_id.is_some() || group_name.is_some() || partition_number.is_some();
    if !says_group && tenancy.is_none() && affinity.is_none() && host_id.is_none() {
        return Err(Error::combination(
            "At least one of affinity, host ID, tenancy, or placement group name must be specified.",
        ));
    }
    shared(tenancy, affinity, host_id, host_resource_group_arn)?;
    let out_of_it = group_name.as_ref().is_some_and(String::is_empty) && group_id.is_none();
    let group = placement_group(group_id, group_name);
    cx.write(|tx| match says_group {
        true => {
            attribute::place(tx, &cx, &instance_id, group.as_ref(), partition_number, out_of_it)
        }
        false => attribute::stopped_instance(tx, &cx, &instance_id).map(drop),
    })
    .await?;
    Ok(w::ModifyInstancePlacementResult { r#return: Some(true) })
}

pub async fn modify_metadata(
    cx: Context,
    input: w::ModifyInstanceMetadataOptionsRequest,
) -> Result<w::ModifyInstanceMetadataOptionsResult> {
    let asked = metadata(w::InstanceMetadataOptionsRequest {
        http_endpoint: input.http_endpoint,
        http_protocol_ipv6: input.http_protocol_ipv6,
        http_put_response_hop_limit: input.http_put_response_hop_limit,
        http_tokens: input.http_tokens,
        instance_metadata_tags: input.instance_metadata_tags,
    })?;
    let changed = cx
        .write(|tx| {
            let changed = attribute::modify_metadata(tx, &cx, &input.instance_id, &asked)?;
            dry_run(input.dry_run)?;
            Ok::<_, Error>(changed)
        })
        .await?;
    Ok(w::ModifyInstanceMetadataOptionsResult {
        instance_id: Some(changed.id),
        instance_metadata_options: Some(metadata_options(&changed.metadata)),
    })
}
