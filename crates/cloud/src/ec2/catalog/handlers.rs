//! Instance types on the wire.

pub mod requirements;

use wire::ec2 as w;

use super::{
    Devices, Disks, Ebs, EbsSpeed, Gpus, InstanceType, LocationType, Network, NetworkCard, Neuron,
    Offering,
};
use crate::Context;
use crate::ec2::Result;
use crate::ec2::handlers::listing;
use crate::ec2::listing::dry_run;
use crate::services::{Entry, serve};

pub fn operations() -> Vec<Entry> {
    vec![
        serve::<w::DescribeInstanceTypes, _, _, _>(describe_instance_types),
        serve::<w::DescribeInstanceTypeOfferings, _, _, _>(describe_offerings),
        serve::<w::GetInstanceTypesFromInstanceRequirements, _, _, _>(requirements::get),
    ]
}

/// Every type is supported in every region, so to include those that are not changes nothing.
async fn describe_instance_types(
    _: Context,
    input: w::DescribeInstanceTypesRequest,
) -> Result<w::DescribeInstanceTypesResult> {
    let names = input.instance_types.unwrap_or_default();
    let listing = listing(input.filters, input.max_results, input.next_token);
    let (found, next_token) = super::describe(&names, &listing)?;
    dry_run(input.dry_run)?;
    let instance_types = Some(found.into_iter().map(type_out).collect());
    Ok(w::DescribeInstanceTypesResult { instance_types, next_token })
}

async fn describe_offerings(
    cx: Context,
    input: w::DescribeInstanceTypeOfferingsRequest,
) -> Result<w::DescribeInstanceTypeOfferingsResult> {
    let location_type = LocationType::parse(input.location_type.as_deref())?;
    let listing = listing(input.filters, input.max_results, input.next_token);
    let (found, next_token) = super::offerings(&cx, location_type, &listing)?;
    dry_run(input.dry_run)?;
    let offering = |offering: Offering| w::InstanceTypeOffering {
        instance_type: text(offering.instance_type),
        location: Some(offering.location),
        location_type: text(location_type.word()),
    };
    let instance_type_offerings = Some(found.into_iter().map(offering).collect());
    Ok(w::DescribeInstanceTypeOfferingsResult { instance_type_offerings, next_token })
}

fn type_out(t: &InstanceType) -> w::InstanceTypeInfo {
    w::InstanceTypeInfo {
        auto_recovery_supported: Some(t.auto_recovery),
        bare_metal: Some(t.bare_metal),
        burstable_performance_supported: Some(t.burstable),
        current_generation: Some(t.current_generation),
        dedicated_hosts_supported: Some(t.dedicated_hosts),
        ebs_info: Some(ebs_out(&t.ebs)),
        fpga_info: t.fpgas.as_ref().map(|devices| w::FpgaInfo {
            fpgas: Some(vec![w::FpgaDeviceInfo {
                count: int(devices.count),
                manufacturer: text(devices.manufacturer),
                memory_info: Some(w::FpgaDeviceMemoryInfo {
                    size_in_mi_b: int(devices.memory_mib),
                }),
                name: text(devices.name),
            }]),
            total_fpga_memory_in_mi_b: total(devices),
        }),
        free_tier_eligible: Some(t.free_tier),
        gpu_info: t.gpus.as_ref().map(gpus_out),
        hibernation_supported: Some(t.hibernation),
        hypervisor: t.hypervisor.map(str::to_owned),
        inference_accelerator_info: t.inference.as_ref().map(|devices| {
            w::InferenceAcceleratorInfo {
                accelerators: Some(vec![w::InferenceDeviceInfo {
                    count: int(devices.count),
                    manufacturer: text(devices.manufacturer),
                    memory_info: Some(w::InferenceDeviceMemoryInfo {
                        size_in_mi_b: int(devices.memory_mib),
                    }),
                    name: text(devices.name),
                }]),
                total_inference_memory_in_mi_b: total(devices),
            }
        }),
        instance_storage_info: t.disks.as_ref().map(disks_out),
        instance_storage_supported: Some(t.disks.is_some()),
        instance_type: text(t.name),
        media_accelerator_info: t.media.as_ref().map(|devices| w::MediaAcceleratorInfo {
            accelerators: Some(vec![w::MediaDeviceInfo {
                count: int(devices.count),
                manufacturer: text(devices.manufacturer),
                memory_info: Some(w::MediaDeviceMemoryInfo {
                    size_in_mi_b: int(devices.memory_mib),
                }),
                name: text(devices.name),
            }]),
            total_media_memory_in_mi_b: total(devices),
        }),
        memory_info: Some(w::MemoryInfo { size_in_mi_b: i64::try_from(t.memory_mib).ok() }),
        network_info: Some(network_out(&t.network)),
        neuron_info: t.neuron.as_ref().map(neuron_out),
        nitro_enclaves_support: support(t.nitro_enclaves),
        nitro_tpm_info: t
            .nitro_tpm
            .then(|| w::NitroTpmInfo { supported_versions: Some(vec!["2.0".to_owned()]) }),
        nitro_tpm_support: support(t.nitro_tpm),
        phc_support: support(t.phc),
        placement_group_info: Some(w::PlacementGroupInfo {
            supported_strategies: texts(&t.placement_strategies),
        }),
        processor_info: Some(w::ProcessorInfo {
            manufacturer: text(t.manufacturer),
            supported_architectures: texts(&t.architectures),
            supported_features: texts(&t.processor_features).filter(|list| !list.is_empty()),
            sustained_clock_speed_in_ghz: t.clock_ghz,
        }),
        reboot_migration_support: support(t.reboot_migration),
        supported_boot_modes: texts(&t.boot_modes),
        supported_in_region: Some(true),
        supported_root_device_types: texts(&t.root_device_types),
        supported_usage_classes: texts(&t.usage_classes),
        supported_virtualization_types: texts(&t.virtualization_types),
        v_cpu_info: Some(w::VCpuInfo {
            default_cores: int(t.cores),
            default_threads_per_core: int(t.threads_per_core),
            default_v_cpus: int(t.vcpus),
            valid_cores: ints(&t.valid_cores),
            valid_threads_per_core: ints(&t.valid_threads_per_core),
        }),
    }
}

fn ebs_out(ebs: &Ebs) -> w::EbsInfo {
    let card = |speed: &EbsSpeed, n: u32| w::EbsCardInfo {
        baseline_bandwidth_in_mbps: int(speed.baseline_mbps),
        baseline_iops: int(speed.baseline_iops),
        baseline_throughput_in_m_bps: Some(speed.baseline_mb_per_s),
        ebs_card_index: int(n),
        maximum_bandwidth_in_mbps: int(speed.max_mbps),
        maximum_iops: int(speed.max_iops),
        maximum_throughput_in_m_bps: Some(speed.max_mb_per_s),
    };
    w::EbsInfo {
        attachment_limit_type: text(ebs.limit_type),
        ebs_cards: ebs
            .cards
            .as_ref()
            .map(|(count, speed)| (0..*count).map(|n| card(speed, n)).collect()),
        ebs_optimized_info: ebs.speed.map(|speed| w::EbsOptimizedInfo {
            baseline_bandwidth_in_mbps: int(speed.baseline_mbps),
            baseline_iops: int(speed.baseline_iops),
            baseline_throughput_in_m_bps: Some(speed.baseline_mb_per_s),
            maximum_bandwidth_in_mbps: int(speed.max_mbps),
            maximum_iops: int(speed.max_iops),
            maximum_throughput_in_m_bps: Some(speed.max_mb_per_s),
        }),
        ebs_optimized_support: text(ebs.optimized),
        encryption_support: text("supported"),
        maximum_ebs_attachments: int(ebs.max_attachments),
        maximum_ebs_cards: ebs.cards.and_then(|(count, _)| int(count)),
        nvme_support: text(ebs.nvme),
    }
}

fn network_out(net: &Network) -> w::NetworkInfo {
    let weightings = ["default", "vpc-1", "ebs-1"];
    w::NetworkInfo {
        bandwidth_weightings: net.bandwidth_weightings.then(|| texts(&weightings)).flatten(),
        connection_tracking_configuration: Some(w::DefaultConnectionTrackingConfiguration {
            default_tcp_established_timeout: int(net.tcp_established_timeout_s),
            default_udp_stream_timeout: Some(180),
            default_udp_timeout: Some(30),
        }),
        default_network_card_index: Some(0),
        efa_info: net.efa.map(|most| w::EfaInfo { maximum_efa_interfaces: int(most) }),
        efa_supported: Some(net.efa.is_some()),
        ena_srd_supported: Some(net.ena_srd),
        ena_support: text(net.ena),
        encryption_in_transit_supported: Some(net.encryption_in_transit),
        flexible_ena_queues_support: support(net.flexible_ena_queues),
        ipv4_addresses_per_interface: int(net.ipv4_per_interface),
        ipv6_addresses_per_interface: int(net.ipv6_per_interface),
        ipv6_supported: Some(net.ipv6),
        maximum_network_cards: i32::try_from(net.cards.len()).ok(),
        maximum_network_interfaces: int(net.max_interfaces),
        network_cards: Some((0..).zip(&net.cards).map(|(n, card)| card_out(n, card)).collect()),
        network_performance: text(net.performance),
        secondary_network_supported: Some(false),
        ..Default::default()
    }
}

fn card_out(index: i32, card: &NetworkCard) -> w::NetworkCardInfo {
    let types: &[&str] = if card.efa { &["interface", "efa", "efa-only"] } else { &["interface"] };
    w::NetworkCardInfo {
        additional_flexible_network_interfaces: card.additional_flexible_interfaces.and_then(int),
        baseline_bandwidth_in_gbps: Some(card.baseline_gbps),
        default_ena_queue_count_per_interface: int(card.default_ena_queues),
        interface_types: texts(types),
        maximum_ena_queue_count: card.max_ena_queues.and_then(int),
        maximum_ena_queue_count_per_interface: card.max_ena_queues_per_interface.and_then(int),
        maximum_network_interfaces: int(card.max_interfaces),
        network_card_index: Some(index),
        network_performance: text(card.performance),
        peak_bandwidth_in_gbps: Some(card.peak_gbps),
    }
}

fn disks_out(disks: &Disks) -> w::InstanceStorageInfo {
    w::InstanceStorageInfo {
        disks: Some(vec![w::DiskInfo {
            count: int(disks.count),
            size_in_gb: i64::try_from(disks.size_gb).ok(),
            r#type: text(disks.kind),
        }]),
        encryption_support: text(disks.encryption),
        nvme_support: text(disks.nvme),
        total_size_in_gb: i64::try_from(disks.size_gb * u64::from(disks.count)).ok(),
    }
}

fn gpus_out(gpus: &Gpus) -> w::GpuInfo {
    w::GpuInfo {
        gpus: Some(vec![w::GpuDeviceInfo {
            count: int(gpus.count),
            gpu_partition_size: Some(gpus.partition),
            logical_gpu_count: int(gpus.logical_count),
            manufacturer: text(gpus.manufacturer),
            memory_info: Some(w::GpuDeviceMemoryInfo { size_in_mi_b: int(gpus.memory_mib) }),
            name: text(gpus.name),
            workloads: texts(&gpus.workloads),
        }]),
        // A part of a GPU counts as none and has the memory of the part.
        total_gpu_memory_in_mi_b: int(gpus.memory_mib * gpus.count.max(1)),
    }
}

fn neuron_out(neuron: &Neuron) -> w::NeuronInfo {
    w::NeuronInfo {
        neuron_devices: Some(vec![w::NeuronDeviceInfo {
            core_info: Some(w::NeuronDeviceCoreInfo {
                count: int(neuron.cores),
                version: int(neuron.version),
            }),
            count: int(neuron.count),
            memory_info: Some(w::NeuronDeviceMemoryInfo { size_in_mi_b: int(neuron.memory_mib) }),
            name: text(neuron.name),
        }]),
        total_neuron_device_memory_in_mi_b: int(neuron.memory_mib * neuron.count),
    }
}

fn total(devices: &Devices) -> Option<i32> {
    int(devices.memory_mib * devices.count)
}

fn int(n: u32) -> Option<i32> {
    i32::try_from(n).ok()
}

/// Absent when there are none.
fn ints(numbers: &[u32]) -> Option<Vec<i32>> {
    let numbers: Vec<i32> = numbers.iter().copied().filter_map(int).collect();
    (!numbers.is_empty()).then_some(numbers)
}

fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn texts(texts: &[&str]) -> Option<Vec<String>> {
    Some(texts.iter().map(|text| (*text).to_owned()).collect())
}

fn support(yes: bool) -> Option<String> {
    text(if yes { "supported" } else { "unsupported" })
}
