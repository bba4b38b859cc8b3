//! The facts about every EC2 instance type, from the table that `cargo xtask catalog` makes.
//!
//! Every type is offered in every zone of every region: what a zone can run is limited by this host,
//! not by the type.

mod describe;
pub mod handlers;
mod parse;
pub mod prices;
pub mod select;

use std::sync::LazyLock;

pub use describe::{LocationType, Offering, describe, offerings};
pub use select::{Requirements, select};

static TYPES: LazyLock<Vec<InstanceType>> =
    LazyLock::new(|| parse::table(include_str!("types.tsv")));

/// Sorted by name.
pub fn all() -> &'static [InstanceType] {
    &TYPES
}

pub fn instance_type(name: &str) -> Option<&'static InstanceType> {
    let at = TYPES.binary_search_by(|t| t.name.cmp(name)).ok()?;
    Some(&TYPES[at])
}

/// Texts are AWS's own words for the members of DescribeInstanceTypes.
#[derive(Clone, Debug, PartialEq)]
pub struct InstanceType {
    pub name: &'static str,
    pub purpose: Purpose,
    pub current_generation: bool,
    pub free_tier: bool,
    pub bare_metal: bool,
    pub burstable: bool,
    pub hibernation: bool,
    pub dedicated_hosts: bool,
    pub auto_recovery: bool,
    pub nitro_enclaves: bool,
    pub nitro_tpm: bool,
    /// A PTP hardware clock.
    pub phc: bool,
    pub reboot_migration: bool,
    /// `nitro` or `xen`; none on bare metal.
    pub hypervisor: Option<&'static str>,
    pub architectures: Vec<&'static str>,
    pub manufacturer: &'static str,
    pub clock_ghz: Option<f64>,
    pub processor_features: Vec<&'static str>,
    pub vcpus: u32,
    pub cores: u32,
    pub threads_per_core: u32,
    /// Empty where they cannot be chosen.
    pub valid_cores: Vec<u32>,
    pub valid_threads_per_core: Vec<u32>,
    pub memory_mib: u64,
    pub usage_classes: Vec<&'static str>,
    pub boot_modes: Vec<&'static str>,
    pub root_device_types: Vec<&'static str>,
    pub virtualization_types: Vec<&'static str>,
    pub placement_strategies: Vec<&'static str>,
    pub ebs: Ebs,
    pub network: Network,
    pub disks: Option<Disks>,
    pub gpus: Option<Gpus>,
    pub fpgas: Option<Devices>,
    pub inference: Option<Devices>,
    pub media: Option<Devices>,
    pub neuron: Option<Neuron>,
}

impl InstanceType {
    /// `m5` of `m5.large`.
    pub fn family(&self) -> &'static str {
        self.name.split_once('.').map_or(self.name, |(family, _)| family)
    }

    /// `large` of `m5.large`.
    pub fn size(&self) -> &'static str {
        self.name.split_once('.').map_or("", |(_, size)| size)
    }
}

/// What AWS sells a family for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    General,
    Compute,
    Memory,
    Storage,
    Accelerated,
    Hpc,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Ebs {
    /// `default`, `supported` or `unsupported`.
    pub optimized: &'static str,
    pub nvme: &'static str,
    pub max_attachments: u32,
    /// `shared` with network interfaces, or `dedicated`.
    pub limit_type: &'static str,
    pub speed: Option<EbsSpeed>,
    /// How many cards, each with the same speed.
    pub cards: Option<(u32, EbsSpeed)>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EbsSpeed {
    pub baseline_mbps: u32,
    pub baseline_mb_per_s: f64,
    pub baseline_iops: u32,
    pub max_mbps: u32,
    pub max_mb_per_s: f64,
    pub max_iops: u32,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    /// `Up to 10 Gigabit`
    pub performance: &'static str,
    pub max_interfaces: u32,
    pub ipv4_per_interface: u32,
    pub ipv6_per_interface: u32,
    pub ipv6: bool,
    /// `required`, `supported` or `unsupported`.
    pub ena: &'static str,
    pub ena_srd: bool,
    /// The most EFA interfaces.
    pub efa: Option<u32>,
    pub encryption_in_transit: bool,
    pub flexible_ena_queues: bool,
    pub bandwidth_weightings: bool,
    pub tcp_established_timeout_s: u32,
    /// At least one.
    pub cards: Vec<NetworkCard>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NetworkCard {
    pub max_interfaces: u32,
    pub baseline_gbps: f64,
    pub peak_gbps: f64,
    pub default_ena_queues: u32,
    pub max_ena_queues: Option<u32>,
    pub max_ena_queues_per_interface: Option<u32>,
    pub additional_flexible_interfaces: Option<u32>,
    pub efa: bool,
    pub performance: &'static str,
}

/// Disks of the host, all of one kind.
#[derive(Clone, Debug, PartialEq)]
pub struct Disks {
    pub count: u32,
    pub size_gb: u64,
    /// `ssd` or `hdd`.
    pub kind: &'static str,
    pub nvme: &'static str,
    pub encryption: &'static str,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Gpus {
    /// Zero where the type has a part of one.
    pub count: u32,
    pub name: &'static str,
    pub manufacturer: &'static str,
    pub memory_mib: u32,
    pub logical_count: u32,
    /// The part of a GPU that a logical one is.
    pub partition: f64,
    pub workloads: Vec<&'static str>,
}

/// FPGAs, inference or media accelerators.
#[derive(Clone, Debug, PartialEq)]
pub struct Devices {
    pub count: u32,
    pub name: &'static str,
    pub manufacturer: &'static str,
    pub memory_mib: u32,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Neuron {
    pub count: u32,
    pub name: &'static str,
    pub memory_mib: u32,
    pub cores: u32,
    pub version: u32,
}
