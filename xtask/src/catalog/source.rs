//! The source's structures, which are those of DescribeInstanceTypes.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;

pub fn read(path: &Path) -> Result<BTreeMap<String, Type>> {
    let file = File::open(path).with_context(|| path.display().to_string())?;
    let reader = BufReader::new(flate2::read::GzDecoder::new(file));
    serde_json::from_reader(reader).with_context(|| path.display().to_string())
}

/// Declares structures whose members are named as AWS names them; `?` marks those that may be absent.
macro_rules! shapes {
    ($($name:ident { $($member:ident: $type:ty,)* ? $($optional:ident: $maybe:ty,)* })*) => {$(
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        #[allow(non_snake_case)] // AWS's names, as the source has them
        pub struct $name {
            $(pub $member: $type,)*
            $(#[serde(default)] pub $optional: Option<$maybe>,)*
        }
    )*};
}

shapes! {
    Type {
        AutoRecoverySupported: bool,
        BareMetal: bool,
        BurstablePerformanceSupported: bool,
        CurrentGeneration: bool,
        DedicatedHostsSupported: bool,
        EbsInfo: Ebs,
        FreeTierEligible: bool,
        HibernationSupported: bool,
        InstanceStorageSupported: bool,
        InstanceType: String,
        MemoryInfo: Memory,
        NetworkInfo: Network,
        NitroEnclavesSupport: String,
        NitroTpmSupport: String,
        PhcSupport: String,
        PlacementGroupInfo: Placement,
        ProcessorInfo: Processor,
        RebootMigrationSupport: String,
        SupportedBootModes: Vec<String>,
        SupportedInRegion: bool,
        SupportedRootDeviceTypes: Vec<String>,
        SupportedUsageClasses: Vec<String>,
        SupportedVirtualizationTypes: Vec<String>,
        VCpuInfo: VCpu,
        ?
        FpgaInfo: Fpgas,
        GpuInfo: Gpus,
        Hypervisor: String,
        InferenceAcceleratorInfo: Inference,
        InstanceStorageInfo: Storage,
        MediaAcceleratorInfo: Media,
        NeuronInfo: Neuron,
        NitroTpmInfo: NitroTpm,
    }
    Memory { SizeInMiB: u64, ? }
    NitroTpm { SupportedVersions: Vec<String>, ? }
    Placement { SupportedStrategies: Vec<String>, ? }
    Processor {
        Manufacturer: String,
        SupportedArchitectures: Vec<String>,
        ?
        SupportedFeatures: Vec<String>,
        SustainedClockSpeedInGhz: f64,
    }
    VCpu {
        DefaultCores: u32,
        DefaultThreadsPerCore: u32,
        DefaultVCpus: u32,
        ?
        ValidCores: Vec<u32>,
        ValidThreadsPerCore: Vec<u32>,
    }
    Ebs {
        AttachmentLimitType: String,
        EbsOptimizedSupport: String,
        EncryptionSupport: String,
        MaximumEbsAttachments: u32,
        NvmeSupport: String,
        ?
        EbsCards: Vec<EbsCard>,
        EbsOptimizedInfo: EbsOptimized,
        MaximumEbsCards: u32,
    }
    EbsOptimized {
        BaselineBandwidthInMbps: u32,
        BaselineIops: u32,
        BaselineThroughputInMBps: f64,
        MaximumBandwidthInMbps: u32,
        MaximumIops: u32,
        MaximumThroughputInMBps: f64,
        ?
    }
    EbsCard {
        EbsCardIndex: u32,
        BaselineBandwidthInMbps: u32,
        BaselineIops: u32,
        BaselineThroughputInMBps: f64,
        MaximumBandwidthInMbps: u32,
        MaximumIops: u32,
        MaximumThroughputInMBps: f64,
        ?
    }
    Storage {
        Disks: Vec<Disk>,
        EncryptionSupport: String,
        NvmeSupport: String,
        TotalSizeInGB: u64,
        ?
    }
    Disk { Count: u32, SizeInGB: u64, Type: String, ? }
    Network {
        ConnectionTrackingConfiguration: Tracking,
        DefaultNetworkCardIndex: u32,
        EfaSupported: bool,
        EnaSrdSupported: bool,
        EnaSupport: String,
        EncryptionInTransitSupported: bool,
        FlexibleEnaQueuesSupport: String,
        Ipv4AddressesPerInterface: u32,
        Ipv6AddressesPerInterface: u32,
        Ipv6Supported: bool,
        MaximumNetworkCards: u32,
        MaximumNetworkInterfaces: u32,
        NetworkCards: Vec<Card>,
        NetworkPerformance: String,
        SecondaryNetworkSupported: bool,
        ?
        BandwidthWeightings: Vec<String>,
        EfaInfo: Efa,
        Ipv4AddressesPerSecondaryInterface: u32,
    }
    Efa { MaximumEfaInterfaces: u32, ? }
    Tracking {
        DefaultTcpEstablishedTimeout: u32,
        DefaultUdpStreamTimeout: u32,
        DefaultUdpTimeout: u32,
        ?
    }
    Card {
        BaselineBandwidthInGbps: f64,
        DefaultEnaQueueCountPerInterface: u32,
        InterfaceTypes: Vec<String>,
        MaximumNetworkInterfaces: u32,
        NetworkCardIndex: u32,
        NetworkPerformance: String,
        PeakBandwidthInGbps: f64,
        ?
        AdditionalFlexibleNetworkInterfaces: u32,
        MaximumEnaQueueCount: u32,
        MaximumEnaQueueCountPerInterface: u32,
    }
    Gpus { Gpus: Vec<Gpu>, TotalGpuMemoryInMiB: u64, ? }
    Gpu {
        Count: u64,
        GpuPartitionSize: f64,
        LogicalGpuCount: u32,
        Manufacturer: String,
        MemoryInfo: Memory,
        Name: String,
        Workloads: Vec<String>,
        ?
    }
    Fpgas { Fpgas: Vec<Device>, TotalFpgaMemoryInMiB: u64, ? }
    Inference { Accelerators: Vec<Device>, TotalInferenceMemoryInMiB: u64, ? }
    Media { Accelerators: Vec<Device>, TotalMediaMemoryInMiB: u64, ? }
    Device { Count: u64, Manufacturer: String, MemoryInfo: Memory, Name: String, ? }
    Neuron { NeuronDevices: Vec<NeuronDevice>, TotalNeuronDeviceMemoryInMiB: u64, ? }
    NeuronDevice { CoreInfo: NeuronCore, Count: u64, MemoryInfo: Memory, Name: String, ? }
    NeuronCore { Count: u32, Version: u32, ? }
}
