//! Template data to and from the wire. On the way in it becomes a RunInstances request, so that what a
//! template can say and what a call can say are judged by the same code.

use wire::ec2 as w;

use crate::ec2::Result;
use crate::ec2::capacity_reservation::handlers::specification_out;
use crate::ec2::handlers::tags_out;
use crate::ec2::instance::handlers::launch::{self as run, refuse_some};
use crate::ec2::instance::launch::{BlockDevice, Interface, Launch, Metadata};
use crate::ec2::spot::model::Market;

pub fn launch_in(data: w::RequestLaunchTemplateData) -> Result<Launch> {
    let w::RequestLaunchTemplateData {
        block_device_mappings,
        capacity_reservation_specification,
        cpu_options,
        credit_specification,
        disable_api_stop,
        disable_api_termination,
        ebs_optimized,
        elastic_gpu_specifications,
        elastic_inference_accelerators,
        enclave_options,
        hibernation_options,
        iam_instance_profile,
        image_id,
        instance_initiated_shutdown_behavior,
        instance_market_options,
        instance_requirements,
        instance_type,
        kernel_id,
        key_name,
        license_specifications,
        maintenance_options,
        metadata_options,
        monitoring,
        network_interfaces,
        network_performance_options,
        operator,
        placement,
        private_dns_name_options,
        ram_disk_id,
        secondary_interfaces,
        security_group_ids,
        security_groups,
        tag_specifications,
        user_data,
    } = data;
    refuse_some(&cpu_options, "CpuOptions")?;
    refuse_some(&elastic_inference_accelerators, "ElasticInferenceAccelerators")?;
    refuse_some(&instance_requirements, "InstanceRequirements")?;
    refuse_some(&license_specifications, "LicenseSpecifications")?;
    refuse_some(&secondary_interfaces, "SecondaryInterfaces")?;
    let tag_specification = |spec: w::LaunchTemplateTagSpecificationRequest| w::TagSpecification {
        resource_type: spec.resource_type,
        tags: spec.tags,
    };
    run::launch(w::RunInstancesRequest {
        block_device_mappings: each(block_device_mappings, mapping_in),
        capacity_reservation_specification: capacity_reservation_specification.map(|asked| {
            w::CapacityReservationSpecification {
                capacity_reservation_preference: asked.capacity_reservation_preference,
                capacity_reservation_target: asked.capacity_reservation_target,
            }
        }),
        credit_specification,
        disable_api_stop,
        disable_api_termination,
        ebs_optimized,
        elastic_gpu_specification: elastic_gpu_specifications,
        enclave_options: enclave_options
            .map(|asked| w::EnclaveOptionsRequest { enabled: asked.enabled }),
        hibernation_options: hibernation_options
            .map(|asked| w::HibernationOptionsRequest { configured: asked.configured }),
        iam_instance_profile: iam_instance_profile
            .map(|asked| w::IamInstanceProfileSpecification { arn: asked.arn, name: asked.name }),
        image_id,
        instance_initiated_shutdown_behavior,
        instance_market_options: instance_market_options.map(market_in),
        instance_type,
        kernel_id,
        key_name,
        maintenance_options: maintenance_options.map(|asked| {
            w::InstanceMaintenanceOptionsRequest { auto_recovery: asked.auto_recovery }
        }),
        metadata_options: metadata_options.map(|asked| w::InstanceMetadataOptionsRequest {
            http_endpoint: asked.http_endpoint,
            http_protocol_ipv6: asked.http_protocol_ipv6,
            http_put_response_hop_limit: asked.http_put_response_hop_limit,
            http_tokens: asked.http_tokens,
            instance_metadata_tags: asked.instance_metadata_tags,
        }),
        monitoring: monitoring.map(|asked| w::RunInstancesMonitoringEnabled {
            enabled: asked.enabled.unwrap_or(false),
            metric_category_ids: asked.metric_category_ids,
        }),
        network_interfaces: each(network_interfaces, interface_in),
        network_performance_options: network_performance_options.map(|asked| {
            w::InstanceNetworkPerformanceOptionsRequest {
                bandwidth_weighting: asked.bandwidth_weighting,
            }
        }),
        operator,
        placement: placement.map(placement_in),
        private_dns_name_options: private_dns_name_options.map(|asked| {
            w::PrivateDnsNameOptionsRequest {
                enable_resource_name_dns_aaaa_record: asked.enable_resource_name_dns_aaaa_record,
                enable_resource_name_dns_a_record: asked.enable_resource_name_dns_a_record,
                hostname_type: asked.hostname_type,
            }
        }),
        ramdisk_id: ram_disk_id,
        security_group_ids,
        security_groups,
        tag_specifications: each(tag_specifications, tag_specification),
        user_data,
        ..Default::default()
    })
}

fn each<A, B>(items: Option<Vec<A>>, f: impl Fn(A) -> B) -> Option<Vec<B>> {
    items.map(|items| items.into_iter().map(f).collect())
}

fn market_in(
    asked: w::LaunchTemplateInstanceMarketOptionsRequest,
) -> w::InstanceMarketOptionsRequest {
    w::InstanceMarketOptionsRequest {
        market_type: asked.market_type,
        spot_options: asked.spot_options.map(|options| w::SpotMarketOptions {
            block_duration_minutes: options.block_duration_minutes,
            instance_interruption_behavior: options.instance_interruption_behavior,
            max_price: options.max_price,
            spot_instance_type: options.spot_instance_type,
            valid_until: options.valid_until,
        }),
    }
}

fn market_out(market: &Market) -> w::LaunchTemplateInstanceMarketOptions {
    let kind = if market.persistent { "persistent" } else { "one-time" };
    w::LaunchTemplateInstanceMarketOptions {
        market_type: Some("spot".to_owned()),
        spot_options: Some(w::LaunchTemplateSpotMarketOptions {
            instance_interruption_behavior: Some(market.behavior.name().to_owned()),
            max_price: market.max_price.clone(),
            spot_instance_type: Some(kind.to_owned()),
            valid_until: market.valid_until.map(|at| wire::Timestamp(at.0)),
            ..Default::default()
        }),
    }
}

fn placement_in(asked: w::LaunchTemplatePlacementRequest) -> w::Placement {
    w::Placement {
        affinity: asked.affinity,
        availability_zone: asked.availability_zone,
        availability_zone_id: asked.availability_zone_id,
        group_id: asked.group_id,
        group_name: asked.group_name,
        host_id: asked.host_id,
        host_resource_group_arn: asked.host_resource_group_arn,
        partition_number: asked.partition_number,
        spread_domain: asked.spread_domain,
        tenancy: asked.tenancy,
    }
}

fn mapping_in(asked: w::LaunchTemplateBlockDeviceMappingRequest) -> w::BlockDeviceMapping {
    w::BlockDeviceMapping {
        device_name: asked.device_name,
        ebs: asked.ebs.map(|ebs| w::EbsBlockDevice {
            delete_on_termination: ebs.delete_on_termination,
            ebs_card_index: ebs.ebs_card_index,
            encrypted: ebs.encrypted,
            iops: ebs.iops,
            kms_key_id: ebs.kms_key_id,
            snapshot_id: ebs.snapshot_id,
            throughput: ebs.throughput,
            volume_initialization_rate: ebs.volume_initialization_rate,
            volume_size: ebs.volume_size,
            volume_type: ebs.volume_type,
            ..Default::default()
        }),
        no_device: asked.no_device,
        virtual_name: asked.virtual_name,
    }
}

fn interface_in(
    asked: w::LaunchTemplateInstanceNetworkInterfaceSpecificationRequest,
) -> w::InstanceNetworkInterfaceSpecification {
    let ipv6 = |address: w::InstanceIpv6AddressRequest| w::InstanceIpv6Address {
        ipv6_address: address.ipv6_address,
        ..Default::default()
    };
    w::InstanceNetworkInterfaceSpecification {
        associate_carrier_ip_address: asked.associate_carrier_ip_address,
        associate_public_ip_address: asked.associate_public_ip_address,
        connection_tracking_specification: asked.connection_tracking_specification,
        delete_on_termination: asked.delete_on_termination,
        description: asked.description,
        device_index: asked.device_index,
        ena_queue_count: asked.ena_queue_count,
        ena_srd_specification: asked.ena_srd_specification,
        groups: asked.groups,
        interface_type: asked.interface_type,
        ipv4_prefix_count: asked.ipv4_prefix_count,
        ipv4_prefixes: asked.ipv4_prefixes,
        ipv6_address_count: asked.ipv6_address_count,
        ipv6_addresses: each(asked.ipv6_addresses, ipv6),
        ipv6_prefix_count: asked.ipv6_prefix_count,
        ipv6_prefixes: asked.ipv6_prefixes,
        network_card_index: asked.network_card_index,
        network_interface_id: asked.network_interface_id,
        primary_ipv6: asked.primary_ipv6,
        private_ip_address: asked.private_ip_address,
        private_ip_addresses: asked.private_ip_addresses,
        secondary_private_ip_address_count: asked.secondary_private_ip_address_count,
        subnet_id: asked.subnet_id,
    }
}

pub fn launch_out(launch: &Launch) -> w::ResponseLaunchTemplateData {
    let group = launch.placement_group.clone().unwrap_or_default();
    let specification =
        |(kind, tags): (&String, &crate::tag::Tags)| w::LaunchTemplateTagSpecification {
            resource_type: Some(kind.clone()),
            tags: tags_out(tags.clone()),
        };
    w::ResponseLaunchTemplateData {
        block_device_mappings: list(launch.block_devices.iter().map(mapping_out)),
        capacity_reservation_specification: launch.capacity_reservation.as_ref().map(|wanted| {
            let (capacity_reservation_preference, capacity_reservation_target) =
                specification_out(wanted);
            w::LaunchTemplateCapacityReservationSpecificationResponse {
                capacity_reservation_preference,
                capacity_reservation_target,
            }
        }),
        credit_specification: launch
            .cpu_credits
            .map(|mode| w::CreditSpecification { cpu_credits: Some(mode.word().to_owned()) }),
        disable_api_stop: launch.disable_api_stop,
        disable_api_termination: launch.disable_api_termination,
        iam_instance_profile: launch.iam_instance_profile.as_ref().map(|profile| {
            w::LaunchTemplateIamInstanceProfileSpecification {
                arn: profile.arn.clone(),
                name: profile.name.clone(),
            }
        }),
        image_id: launch.image_id.clone(),
        instance_initiated_shutdown_behavior: launch
            .shutdown_behavior
            .map(|behavior| behavior.name().to_owned()),
        instance_market_options: launch.market.as_ref().map(market_out),
        instance_type: launch.instance_type.clone(),
        key_name: launch.key_name.clone(),
        metadata_options: metadata_out(&launch.metadata),
        monitoring: launch.monitoring.map(|enabled| w::LaunchTemplatesMonitoring {
            enabled: Some(enabled),
            ..Default::default()
        }),
        network_interfaces: list(launch.interfaces.iter().map(interface_out)),
        placement: launch.says_placement().then(|| w::LaunchTemplatePlacement {
            availability_zone: launch.zone.clone(),
            availability_zone_id: launch.zone_id.clone(),
            group_id: group.id,
            group_name: group.name,
            partition_number: launch.partition,
            ..Default::default()
        }),
        security_group_ids: list(launch.security_group_ids.iter().cloned()),
        security_groups: list(launch.security_group_names.iter().cloned()),
        tag_specifications: list(launch.tags.iter().map(specification)),
        user_data: launch.user_data.clone(),
        ..Default::default()
    }
}

/// Absent when there is none.
fn list<T>(items: impl Iterator<Item = T>) -> Option<Vec<T>> {
    let items: Vec<T> = items.collect();
    (!items.is_empty()).then_some(items)
}

fn mapping_out(device: &BlockDevice) -> w::LaunchTemplateBlockDeviceMapping {
    w::LaunchTemplateBlockDeviceMapping {
        device_name: Some(device.device_name.clone()),
        no_device: device.no_device.then(String::new),
        virtual_name: device.virtual_name.clone(),
        ebs: device.says_ebs().then(|| w::LaunchTemplateEbsBlockDevice {
            delete_on_termination: device.delete_on_termination,
            encrypted: device.encrypted,
            iops: device.iops,
            kms_key_id: device.kms_key_id.clone(),
            throughput: device.throughput,
            snapshot_id: device.snapshot_id.clone(),
            volume_size: device.volume_size_gib,
            volume_type: device.volume_type.clone(),
            ..Default::default()
        }),
    }
}

fn interface_out(interface: &Interface) -> w::LaunchTemplateInstanceNetworkInterfaceSpecification {
    w::LaunchTemplateInstanceNetworkInterfaceSpecification {
        associate_public_ip_address: interface.associate_public_ip_address,
        delete_on_termination: interface.delete_on_termination,
        description: interface.description.clone(),
        device_index: Some(interface.device_index),
        groups: list(interface.groups.iter().cloned()),
        network_interface_id: interface.network_interface_id.clone(),
        private_ip_address: interface.private_ip.map(|address| address.to_string()),
        private_ip_addresses: list(interface.secondary.iter().map(|address| {
            w::PrivateIpAddressSpecification {
                primary: Some(false),
                private_ip_address: Some(address.to_string()),
            }
        })),
        secondary_private_ip_address_count: (interface.secondary_count > 0)
            .then_some(interface.secondary_count as i32),
        subnet_id: interface.subnet_id.clone(),
        ..Default::default()
    }
}

fn metadata_out(metadata: &Metadata) -> Option<w::LaunchTemplateInstanceMetadataOptions> {
    let said = *metadata != Metadata::default();
    said.then(|| w::LaunchTemplateInstanceMetadataOptions {
        http_endpoint: metadata.http_endpoint.clone(),
        http_put_response_hop_limit: metadata.http_put_response_hop_limit,
        http_tokens: metadata.http_tokens.clone(),
        instance_metadata_tags: metadata.instance_metadata_tags.clone(),
        ..Default::default()
    })
}
