//! RunInstances' request. Every member is named here: what has an effect goes into the launch, what
//! asks for nothing that is not so anyway passes, all else is refused.

use std::net::Ipv4Addr;

use wire::ec2 as w;

use super::super::launch::{BlockDevice, InstanceProfile, Interface, Launch, Metadata, Template};
use super::super::model::ShutdownBehavior;
use crate::Timestamp;
use crate::ec2::capacity_reservation::handlers::specification;
use crate::ec2::handlers::tags_by_type;
use crate::ec2::placement_group::Named;
use crate::ec2::spot::model::{Behavior, Market};
use crate::ec2::{Error, Result, credits};

pub fn launch(input: w::RunInstancesRequest) -> Result<Launch> {
    let w::RunInstancesRequest {
        additional_info,
        block_device_mappings,
        capacity_reservation_specification,
        client_token,
        cpu_options,
        credit_specification,
        disable_api_stop,
        disable_api_termination,
        dry_run: _,
        ebs_optimized,
        elastic_gpu_specification,
        elastic_inference_accelerators,
        enable_primary_ipv6,
        enclave_options,
        hibernation_options,
        iam_instance_profile,
        image_id,
        instance_initiated_shutdown_behavior,
        instance_market_options,
        instance_type,
        ipv6_address_count,
        ipv6_addresses,
        kernel_id,
        key_name,
        launch_template,
        license_specifications,
        maintenance_options,
        max_count,
        metadata_options,
        min_count,
        monitoring,
        network_interfaces,
        network_performance_options,
        operator,
        placement,
        private_dns_name_options,
        private_ip_address,
        ramdisk_id,
        secondary_interfaces,
        security_group_ids,
        security_groups,
        subnet_id,
        tag_specifications,
        user_data,
    } = input;
    refuse_some(&additional_info, "AdditionalInfo")?;
    refuse_some(&cpu_options, "CpuOptions")?;
    refuse_list(&elastic_gpu_specification, "ElasticGpuSpecification")?;
    refuse_list(&elastic_inference_accelerators, "ElasticInferenceAccelerators")?;
    refuse_true(enable_primary_ipv6, "EnablePrimaryIpv6")?;
    refuse_true(ebs_optimized, "EbsOptimized")?;
    refuse_true(enclave_options.and_then(|o| o.enabled), "EnclaveOptions")?;
    if hibernation_options.and_then(|o| o.configured) == Some(true) {
        return Err(no_hibernation());
    }
    refuse_some(&ipv6_address_count.filter(|n| *n != 0), "Ipv6AddressCount")?;
    refuse_list(&ipv6_addresses, "Ipv6Addresses")?;
    refuse_some(&kernel_id, "KernelId")?;
    refuse_some(&ramdisk_id, "RamdiskId")?;
    refuse_list(&license_specifications, "LicenseSpecifications")?;
    refuse_some(&operator, "Operator")?;
    refuse_list(&secondary_interfaces, "SecondaryInterfaces")?;
    let capacity_reservation =
        capacity_reservation_specification.map(specification).transpose()?.flatten();
    let cpu_credits = credit_specification.map(|asked| credits::ops::mode(&asked.cpu_credits));
    only(&maintenance_options.and_then(|o| o.auto_recovery), "default", "AutoRecovery")?;
    let weighting = network_performance_options.and_then(|o| o.bandwidth_weighting);
    only(&weighting, "default", "BandwidthWeighting")?;
    if let Some(options) = private_dns_name_options {
        only(&options.hostname_type, "ip-name", "PrivateDnsNameOptions.HostnameType")?;
        refuse_true(options.enable_resource_name_dns_a_record, "EnableResourceNameDnsARecord")?;
        refuse_true(
            options.enable_resource_name_dns_aaaa_record,
            "EnableResourceNameDnsAAAARecord",
        )?;
    }
    let (monitoring, categories) = monitoring.map(|m| (m.enabled, m.metric_category_ids)).unzip();
    refuse_some(&categories.flatten(), "Monitoring.MetricCategoryIds")?;
    let mut launch = Launch {
        image_id,
        instance_type,
        min_count: min_count.try_into().unwrap_or(0),
        max_count: max_count.try_into().unwrap_or(0),
        capacity_reservation,
        subnet_id,
        private_ip: private_ip_address.map(address).transpose()?,
        security_group_ids: security_group_ids.unwrap_or_default(),
        security_group_names: security_groups.unwrap_or_default(),
        iam_instance_profile: iam_instance_profile.map(profile),
        key_name,
        user_data,
        metadata: metadata_options.map(metadata).transpose()?.unwrap_or_default(),
        shutdown_behavior: instance_initiated_shutdown_behavior
            .map(|text| shutdown_behavior(&text))
            .transpose()?,
        disable_api_termination,
        disable_api_stop,
        monitoring,
        cpu_credits: cpu_credits.transpose()?,
        tags: tags_by_type(tag_specifications)?,
        client_token: client_token.filter(|token| !token.is_empty()),
        market: instance_market_options.map(market).transpose()?.flatten(),
        template: launch_template.map(|template| Template {
            id: template.launch_template_id,
            name: template.launch_template_name,
            version: template.version,
        }),
        ..Launch::default()
    };
    if let Some(placement) = placement {
        place(&mut launch, placement)?;
    }
    for spec in network_interfaces.unwrap_or_default() {
        launch.interfaces.push(interface(spec)?);
    }
    for mapping in block_device_mappings.unwrap_or_default() {
        launch.block_devices.push(block_device(mapping)?);
    }
    Ok(launch)
}

/// `None`: on demand, as without any options.
fn market(options: w::InstanceMarketOptionsRequest) -> Result<Option<Market>> {
    let w::InstanceMarketOptionsRequest { market_type, spot_options } = options;
    match market_type.as_deref() {
        Some("spot") => {}
        Some("capacity-block") => return Err(Error::unsupported("MarketType 'capacity-block'")),
        Some(other) => {
            return Err(Error::value(format!(
                "Invalid value '{other}' for MarketType. Valid values: spot."
            )));
        }
        None if spot_options.is_some() => return Err(Error::MissingParameter("MarketType")),
        None => return Ok(None),
    }
    let w::SpotMarketOptions {
        block_duration_minutes,
        instance_interruption_behavior,
        max_price,
        spot_instance_type,
        valid_until,
    } = spot_options.unwrap_or_default();
    refuse_some(&block_duration_minutes, "BlockDurationMinutes")?;
    let persistent = spot_type(spot_instance_type)?;
    if valid_until.is_some() && !persistent {
        return Err(Error::combination(
            "ValidUntil is supported for persistent Spot requests only.",
        ));
    }
    Ok(Some(Market {
        max_price: max_price.filter(|price| !price.is_empty()),
        persistent,
        behavior: interruption_behavior(instance_interruption_behavior)?,
        valid_until: valid_until.map(|at| Timestamp(at.0)),
        ..Market::default()
    }))
}

/// Whether a Spot request is persistent.
pub fn spot_type(text: Option<String>) -> Result<bool> {
    match text.as_deref() {
        None | Some("one-time") => Ok(false),
        Some("persistent") => Ok(true),
        Some(other) => Err(Error::value(format!(
            "Invalid value '{other}' for SpotInstanceType. Valid values: one-time, persistent."
        ))),
    }
}

pub fn interruption_behavior(text: Option<String>) -> Result<Behavior> {
    match text.as_deref() {
        None | Some("terminate") => Ok(Behavior::Terminate),
        Some("stop") => Ok(Behavior::Stop),
        Some("hibernate") => Err(Error::unsupported("InstanceInterruptionBehavior 'hibernate'")),
        Some(other) => Err(Error::value(format!(
            "Invalid value '{other}' for InstanceInterruptionBehavior. Valid values: hibernate, stop, \
             terminate."
        ))),
    }
}

pub fn profile(spec: w::IamInstanceProfileSpecification) -> InstanceProfile {
    InstanceProfile { arn: spec.arn, name: spec.name }
}

/// `Placement`, which is for a launch as it is for an override.
pub fn place(launch: &mut Launch, placement: w::Placement) -> Result<()> {
    let w::Placement {
        affinity,
        availability_zone,
        availability_zone_id,
        group_id,
        group_name,
        host_id,
        host_resource_group_arn,
        partition_number,
        spread_domain,
        tenancy,
    } = placement;
    shared(tenancy, affinity, host_id, host_resource_group_arn)?;
    refuse_some(&spread_domain, "Placement.SpreadDomain")?;
    launch.zone = availability_zone;
    launch.zone_id = availability_zone_id;
    launch.placement_group = placement_group(group_id, group_name);
    launch.partition = partition_number;
    Ok(())
}

/// Refuses hosts and tenancies that are not shared with others.
pub fn shared(
    tenancy: Option<String>,
    affinity: Option<String>,
    host_id: Option<String>,
    host_resource_group_arn: Option<String>,
) -> Result<()> {
    if let Some(tenancy) = tenancy.filter(|tenancy| tenancy != "default") {
        return Err(Error::tenancy(format_args!("The tenancy '{tenancy}'")));
    }
    let host = host_id.is_some() || host_resource_group_arn.is_some();
    if host || affinity.is_some_and(|affinity| affinity != "default") {
        return Err(Error::tenancy("A Dedicated Host"));
    }
    Ok(())
}

/// An empty name stands for none.
pub fn placement_group(id: Option<String>, name: Option<String>) -> Option<Named> {
    let name = name.filter(|name| !name.is_empty());
    (id.is_some() || name.is_some()).then_some(Named { id, name })
}

pub fn no_hibernation() -> Error {
    Error::UnsupportedHibernationConfiguration(
        "Hibernation is not supported by this cloud: stop instances instead.".to_owned(),
    )
}

fn interface(spec: w::InstanceNetworkInterfaceSpecification) -> Result<Interface> {
    let w::InstanceNetworkInterfaceSpecification {
        associate_carrier_ip_address,
        associate_public_ip_address,
        connection_tracking_specification,
        delete_on_termination,
        description,
        device_index,
        ena_queue_count,
        ena_srd_specification,
        groups,
        interface_type,
        ipv4_prefix_count,
        ipv4_prefixes,
        ipv6_address_count,
        ipv6_addresses,
        ipv6_prefix_count,
        ipv6_prefixes,
        network_card_index,
        network_interface_id,
        primary_ipv6,
        private_ip_address,
        private_ip_addresses,
        secondary_private_ip_address_count,
        subnet_id,
    } = spec;
    refuse_true(associate_carrier_ip_address, "AssociateCarrierIpAddress")?;
    refuse_some(&connection_tracking_specification, "ConnectionTrackingSpecification")?;
    refuse_some(&ena_queue_count, "EnaQueueCount")?;
    refuse_some(&ena_srd_specification, "EnaSrdSpecification")?;
    only(&interface_type, "interface", "InterfaceType")?;
    refuse_some(&ipv4_prefix_count.filter(|n| *n != 0), "Ipv4PrefixCount")?;
    refuse_list(&ipv4_prefixes, "Ipv4Prefixes")?;
    refuse_some(&ipv6_address_count.filter(|n| *n != 0), "Ipv6AddressCount")?;
    refuse_list(&ipv6_addresses, "Ipv6Addresses")?;
    refuse_some(&ipv6_prefix_count.filter(|n| *n != 0), "Ipv6PrefixCount")?;
    refuse_list(&ipv6_prefixes, "Ipv6Prefixes")?;
    refuse_some(&network_card_index.filter(|n| *n != 0), "NetworkCardIndex")?;
    refuse_true(primary_ipv6, "PrimaryIpv6")?;
    let addresses = private_addresses(
        private_ip_address,
        private_ip_addresses,
        secondary_private_ip_address_count,
    )?;
    Ok(Interface {
        device_index: device_index.ok_or(Error::MissingParameter("DeviceIndex"))?,
        subnet_id,
        groups: groups.unwrap_or_default(),
        network_interface_id,
        private_ip: addresses.primary,
        secondary: addresses.secondary,
        secondary_count: addresses.secondary_count,
        description,
        delete_on_termination,
        associate_public_ip_address,
    })
}

/// The private addresses that an interface shall have.
pub struct PrivateAddresses {
    pub primary: Option<Ipv4Addr>,
    pub secondary: Vec<Ipv4Addr>,
    pub secondary_count: usize,
}

pub fn private_addresses(
    primary: Option<String>,
    all: Option<Vec<w::PrivateIpAddressSpecification>>,
    secondary_count: Option<i32>,
) -> Result<PrivateAddresses> {
    let mut primary = primary.map(address).transpose()?;
    let mut secondary = Vec::new();
    for listed in all.unwrap_or_default() {
        let text = listed.private_ip_address.ok_or(Error::MissingParameter("PrivateIpAddress"))?;
        match (listed.primary, primary) {
            (Some(true), None) => primary = Some(address(text)?),
            (Some(true), Some(_)) => {
                return Err(Error::combination(
                    "Only one primary private IP address can be specified.",
                ));
            }
            _ => secondary.push(address(text)?),
        }
    }
    let count = secondary_count.unwrap_or(0);
    let secondary_count = usize::try_from(count).map_err(|_| {
        Error::value(format!(
            "Value ({count}) for parameter secondaryPrivateIpAddressCount is invalid."
        ))
    })?;
    Ok(PrivateAddresses { primary, secondary, secondary_count })
}

pub fn block_device(mapping: w::BlockDeviceMapping) -> Result<BlockDevice> {
    let w::BlockDeviceMapping { device_name, ebs, no_device, virtual_name } = mapping;
    if ebs.is_none() && no_device.is_none() && virtual_name.is_none() {
        return Err(Error::MissingParameter("ebs"));
    }
    let w::EbsBlockDevice {
        availability_zone,
        availability_zone_id,
        delete_on_termination,
        ebs_card_index,
        encrypted,
        iops,
        kms_key_id,
        outpost_arn,
        snapshot_id,
        throughput,
        volume_initialization_rate,
        volume_size,
        volume_type,
    } = ebs.unwrap_or_default();
    refuse_some(&availability_zone, "Ebs.AvailabilityZone")?;
    refuse_some(&availability_zone_id, "Ebs.AvailabilityZoneId")?;
    refuse_some(&ebs_card_index.filter(|n| *n != 0), "Ebs.EbsCardIndex")?;
    refuse_some(&outpost_arn, "Ebs.OutpostArn")?;
    refuse_some(&volume_initialization_rate, "Ebs.VolumeInitializationRate")?;
    Ok(BlockDevice {
        device_name: device_name.ok_or(Error::MissingParameter("DeviceName"))?,
        delete_on_termination,
        volume_size_gib: volume_size,
        volume_type,
        iops,
        throughput,
        snapshot_id,
        encrypted,
        kms_key_id,
        no_device: no_device.is_some(),
        virtual_name,
    })
}

pub fn metadata(options: w::InstanceMetadataOptionsRequest) -> Result<Metadata> {
    only(&options.http_protocol_ipv6, "disabled", "HttpProtocolIpv6")?;
    Ok(Metadata {
        http_tokens: options.http_tokens,
        http_put_response_hop_limit: options.http_put_response_hop_limit,
        http_endpoint: options.http_endpoint,
        instance_metadata_tags: options.instance_metadata_tags,
    })
}

pub fn shutdown_behavior(text: &str) -> Result<ShutdownBehavior> {
    match text {
        "stop" => Ok(ShutdownBehavior::Stop),
        "terminate" => Ok(ShutdownBehavior::Terminate),
        other => Err(Error::value(format!(
            "Invalid value '{other}' for InstanceInitiatedShutdownBehavior. Valid values: stop, \
             terminate."
        ))),
    }
}

pub fn address(text: String) -> Result<Ipv4Addr> {
    text.parse().map_err(|_| Error::value(format!("Invalid IPv4 address: {text}")))
}

pub fn refuse_some<T>(member: &Option<T>, name: &str) -> Result<()> {
    member.as_ref().map_or(Ok(()), |_| Err(Error::unsupported(name)))
}

pub fn refuse_list<T>(member: &Option<Vec<T>>, name: &str) -> Result<()> {
    refuse_some(&member.as_ref().filter(|list| !list.is_empty()), name)
}

pub fn refuse_true(member: Option<bool>, name: &str) -> Result<()> {
    refuse_some(&member.filter(|on| *on), name)
}

/// For what has one value here.
pub fn only(member: &Option<String>, value: &str, name: &str) -> Result<()> {
    match member {
        Some(text) if text != value => {
            Err(Error::unsupported(format_args!("{name} other than '{value}'")))
        }
        _ => Ok(()),
    }
}
