//! Instances and their status, as the wire shows them.

use std::net::Ipv4Addr;

use store::Snapshot;
use wire::ec2 as w;

use super::super::model::{Instance, MetadataOptions, Reservation};
use super::super::spec::{private_dns_name, public_host};
use super::super::{describe, state};
use crate::Context;
use crate::clock::Timestamp;
use crate::ec2::capacity_reservation::handlers::specification_out;
use crate::ec2::handlers::{listing, tags_out};
use crate::ec2::image::model::ROOT_DEVICE;
use crate::ec2::listing::dry_run;
use crate::ec2::network_interface::handlers::groups;
use crate::ec2::network_interface::{self, NetworkInterface};
use crate::ec2::{Result, capacity_reservation, catalog, instance_profile, tag, volume};

pub async fn instances(
    cx: Context,
    input: w::DescribeInstancesRequest,
) -> Result<w::DescribeInstancesResult> {
    let snapshot = cx.read();
    let ids = input.instance_ids.unwrap_or_default();
    let listing = listing(input.filters, input.max_results, input.next_token);
    let (found, next_token) = describe::instances(&snapshot, &cx, &ids, &listing)?;
    dry_run(input.dry_run)?;
    let mut reservations: Vec<w::Reservation> = Vec::new();
    for i in &found {
        let shown = instance(&snapshot, &cx, i);
        match reservations.last_mut() {
            Some(last) if last.reservation_id.as_ref() == Some(&i.reservation_id) => {
                last.instances.get_or_insert_default().push(shown);
            }
            _ => reservations.push(empty_reservation(
                &i.reservation_id,
                &i.account,
                i.requester.as_ref(),
                vec![shown],
            )),
        }
    }
    Ok(w::DescribeInstancesResult { reservations: Some(reservations), next_token })
}

pub fn reservation(snapshot: &Snapshot, cx: &Context, reservation: &Reservation) -> w::Reservation {
    let instances = reservation.instances.iter().map(|i| instance(snapshot, cx, i)).collect();
    let Reservation { id, account, requester, .. } = reservation;
    empty_reservation(id, account, requester.as_ref(), instances)
}

/// Groups are EC2-Classic's: in a VPC there are none.
fn empty_reservation(
    id: &str,
    account: &str,
    requester: Option<&String>,
    instances: Vec<w::Instance>,
) -> w::Reservation {
    w::Reservation {
        reservation_id: Some(id.to_owned()),
        owner_id: Some(account.to_owned()),
        requester_id: requester.cloned(),
        groups: Some(vec![]),
        instances: Some(instances),
    }
}

fn instance(snapshot: &Snapshot, cx: &Context, i: &Instance) -> w::Instance {
    let alive = i.is_alive();
    let private_dns = private_dns_name(&i.region, i.private_ip);
    let size = catalog::instance_type(&i.instance_type);
    let group = i.placement_group.as_ref();
    let (preference, target) = specification_out(&describe::reservation_preference(i));
    let interfaces = network_interface::ops::of_instance(snapshot, cx, i);
    let primary = interfaces.first();
    let public = primary.and_then(|primary| primary.public.get(&i.private_ip).copied());
    w::Instance {
        ami_launch_index: Some(i.launch_index as i32),
        architecture: Some(i.architecture.clone()),
        block_device_mappings: Some(block_devices(snapshot, cx, i)),
        capacity_reservation_id: capacity_reservation::usage::of(i).cloned(),
        capacity_reservation_specification: Some(w::CapacityReservationSpecificationResponse {
            capacity_reservation_preference: preference,
            capacity_reservation_target: target,
        }),
        client_token: Some(i.client_token.clone().unwrap_or_default()),
        cpu_options: size.map(|size| w::CpuOptions {
            core_count: Some(size.cores as i32),
            threads_per_core: Some(size.threads_per_core as i32),
            ..Default::default()
        }),
        ebs_optimized: Some(false),
        ena_support: Some(describe::has_ena(&i.instance_type)),
        enclave_options: Some(w::EnclaveOptions { enabled: Some(false) }),
        hibernation_options: Some(w::HibernationOptions { configured: Some(false) }),
        // AWS says xen for Nitro too.
        hypervisor: Some("xen".to_owned()),
        iam_instance_profile: instance_profile::ops::of(snapshot, cx, i)
            .map(|found| instance_profile::handlers::profile_out(&found.profile)),
        image_id: Some(i.image_id.clone()),
        instance_id: Some(i.id.clone()),
        instance_lifecycle: i.spot_request_id.as_ref().map(|_| "spot".to_owned()),
        spot_instance_request_id: i.spot_request_id.clone(),
        instance_type: Some(i.instance_type.clone()),
        key_name: i.key_name.clone(),
        launch_time: Some(time(i.launch_time)),
        maintenance_options: Some(w::InstanceMaintenanceOptions {
            auto_recovery: Some("default".to_owned()),
            ..Default::default()
        }),
        metadata_options: Some(metadata_options(&i.metadata)),
        monitoring: Some(monitoring(i.monitoring)),
        network_interfaces: Some(interfaces.iter().map(|i| interface(snapshot, cx, i)).collect()),
        network_performance_options: Some(w::InstanceNetworkPerformanceOptions {
            bandwidth_weighting: Some("default".to_owned()),
        }),
        operator: Some(w::OperatorResponse { managed: Some(false), ..Default::default() }),
        placement: Some(w::Placement {
            availability_zone: Some(i.zone.clone()),
            availability_zone_id: describe::zone_id(cx, &i.zone),
            group_id: group.map(|member| member.group_id.clone()),
            group_name: Some(group.map_or_else(String::new, |member| member.group_name.clone())),
            partition_number: group.and_then(|member| member.partition).map(|n| n as i32),
            tenancy: Some("default".to_owned()),
            ..Default::default()
        }),
        platform_details: Some("Linux/UNIX".to_owned()),
        private_dns_name: Some(if alive { private_dns } else { String::new() }),
        private_dns_name_options: alive.then(|| w::PrivateDnsNameOptionsResponse {
            hostname_type: Some("ip-name".to_owned()),
            enable_resource_name_dns_a_record: Some(false),
            enable_resource_name_dns_aaaa_record: Some(false),
        }),
        private_ip_address: alive.then(|| i.private_ip.to_string()),
        product_codes: Some(vec![]),
        public_dns_name: Some(
            public.map(|ip| public_host(snapshot, cx, &i.vpc_id, ip)).unwrap_or_default(),
        ),
        public_ip_address: public.map(|ip| ip.to_string()),
        root_device_name: Some(ROOT_DEVICE.to_owned()),
        root_device_type: Some(i.root_device.name().to_owned()),
        security_groups: Some(primary.map_or(vec![], |primary| groups(snapshot, cx, primary))),
        source_dest_check: primary.map(|primary| primary.source_dest_check),
        state: Some(super::state_out(i.state())),
        state_reason: i.reason.as_ref().map(|reason| w::StateReason {
            code: Some(reason.code.clone()),
            message: Some(reason.message.clone()),
        }),
        state_transition_reason: Some(i.transition_reason.clone()),
        subnet_id: alive.then(|| i.subnet_id.clone()),
        tags: tags_out(tag::ops::tags_of(snapshot, cx, &i.id)),
        usage_operation: Some("RunInstances".to_owned()),
        usage_operation_update_time: Some(time(i.created_at)),
        virtualization_type: Some("hvm".to_owned()),
        vpc_id: alive.then(|| i.vpc_id.clone()),
        ..Default::default()
    }
}

/// The root first.
pub fn block_devices(
    snapshot: &Snapshot,
    cx: &Context,
    i: &Instance,
) -> Vec<w::InstanceBlockDeviceMapping> {
    let mapping = |volume: std::sync::Arc<volume::Volume>| {
        let attachment = volume.attachment.as_ref()?;
        let status = volume::describe::attachment_status(snapshot, cx, attachment);
        Some(w::InstanceBlockDeviceMapping {
            device_name: Some(attachment.device.clone()),
            ebs: Some(w::EbsInstanceBlockDevice {
                attach_time: Some(time(attachment.at)),
                delete_on_termination: Some(attachment.delete_on_termination),
                status: Some(status.to_owned()),
                volume_id: Some(volume.id.clone()),
                ..Default::default()
            }),
        })
    };
    volume::ops::of_instance(snapshot, cx, i).into_iter().filter_map(mapping).collect()
}

fn interface(
    snapshot: &Snapshot,
    cx: &Context,
    i: &NetworkInterface,
) -> w::InstanceNetworkInterface {
    let association = |address: &Ipv4Addr| {
        let association = network_interface::describe::association(snapshot, cx, i, *address)?;
        Some(w::InstanceNetworkInterfaceAssociation {
            ip_owner_id: Some(association.owner),
            public_dns_name: Some(association.dns_name),
            public_ip: Some(association.public_ip.to_string()),
            ..Default::default()
        })
    };
    let private = |address: &Ipv4Addr| w::InstancePrivateIpAddress {
        association: association(address),
        primary: Some(*address == i.primary()),
        private_dns_name: Some(private_dns_name(&i.region, *address)),
        private_ip_address: Some(address.to_string()),
    };
    w::InstanceNetworkInterface {
        association: association(&i.primary()),
        attachment: i.attachment.as_ref().map(|attachment| w::InstanceNetworkInterfaceAttachment {
            attach_time: Some(time(attachment.at)),
            attachment_id: Some(attachment.id.clone()),
            delete_on_termination: Some(attachment.delete_on_termination),
            device_index: Some(attachment.device_index as i32),
            network_card_index: Some(0),
            status: network_interface::describe::attachment_status(snapshot, cx, i)
                .map(str::to_owned),
            ..Default::default()
        }),
        description: Some(i.description.clone()),
        groups: Some(groups(snapshot, cx, i)),
        interface_type: Some(i.kind.name().to_owned()),
        ipv6_addresses: Some(vec![]),
        mac_address: Some(i.mac_text()),
        network_interface_id: Some(i.id.clone()),
        owner_id: Some(i.account.clone()),
        private_dns_name: Some(private_dns_name(&i.region, i.primary())),
        private_ip_address: Some(i.primary().to_string()),
        private_ip_addresses: Some(i.addresses.iter().map(private).collect()),
        source_dest_check: Some(i.source_dest_check),
        status: Some(i.status().to_owned()),
        subnet_id: Some(i.subnet_id.clone()),
        vpc_id: Some(i.vpc_id.clone()),
        ..Default::default()
    }
}

pub fn metadata_options(options: &MetadataOptions) -> w::InstanceMetadataOptionsResponse {
    let switch = |on: bool| Some(if on { "enabled" } else { "disabled" }.to_owned());
    w::InstanceMetadataOptionsResponse {
        http_endpoint: switch(options.endpoint_enabled),
        http_protocol_ipv6: switch(false),
        http_put_response_hop_limit: Some(i32::from(options.hop_limit)),
        http_tokens: Some(options.tokens().to_owned()),
        instance_metadata_tags: switch(options.tags_enabled),
        state: Some("applied".to_owned()),
    }
}

pub fn monitoring(on: bool) -> w::Monitoring {
    let state = if on { "enabled" } else { "disabled" };
    w::Monitoring { state: Some(state.to_owned()), ..Default::default() }
}

pub fn time(at: Timestamp) -> wire::Timestamp {
    wire::Timestamp(at.0)
}

pub async fn status(
    cx: Context,
    input: w::DescribeInstanceStatusRequest,
) -> Result<w::DescribeInstanceStatusResult> {
    let snapshot = cx.read();
    let ids = input.instance_ids.unwrap_or_default();
    let include_all = input.include_all_instances == Some(true);
    let listing = listing(input.filters, input.max_results, input.next_token);
    let (found, next_token) = describe::statuses(&snapshot, &cx, &ids, include_all, &listing)?;
    dry_run(input.dry_run)?;
    let status = |i: &std::sync::Arc<Instance>| w::InstanceStatus {
        availability_zone: Some(i.zone.clone()),
        availability_zone_id: describe::zone_id(&cx, &i.zone),
        events: Some(vec![]),
        instance_id: Some(i.id.clone()),
        instance_state: Some(super::state_out(i.state())),
        instance_status: Some(summary(i)),
        operator: Some(w::OperatorResponse { managed: Some(false), ..Default::default() }),
        system_status: Some(summary(i)),
        ..Default::default()
    };
    Ok(w::DescribeInstanceStatusResult {
        instance_statuses: Some(found.iter().map(status).collect()),
        next_token,
    })
}

/// What fails here, a host or a zone, fails both checks.
fn summary(i: &Instance) -> w::InstanceStatusSummary {
    let status = i.status();
    let detail = |reachability: &str| w::InstanceStatusDetails {
        name: Some("reachability".to_owned()),
        status: Some(reachability.to_owned()),
        impaired_since: i
            .observed
            .fault
            .as_ref()
            .filter(|_| status == state::Status::Impaired)
            .map(|fault| time(fault.since)),
    };
    w::InstanceStatusSummary {
        status: Some(status.name().to_owned()),
        details: describe::reachability(status).map(|text| vec![detail(text)]),
    }
}
