//! The table: one line per instance type, one column per fact. `cloud::ec2::catalog` reads it.
//!
//! In a column `-` is nothing, `,` separates a list, `;` separates groups whose parts are separated by
//! `:`. What follows from other columns (totals, "supported" of what is listed) is checked here and
//! left out.

use anyhow::{Context, Result, bail, ensure};

use super::source::{Card, Device, Type};

const HEADER: &str = "\
# Made by `cargo xtask catalog`; do not edit.
# flags: b burstable, c current generation, d dedicated hosts, e Nitro Enclaves, f free tier,
#   h hibernation, m bare metal, p PTP hardware clock, q flexible ENA queues, r auto recovery,
#   s ENA SRD, t NitroTPM 2.0, w bandwidth weightings, x encryption in transit, y reboot migration,
#   6 IPv6
# valid_cores: FIRST-LAST/STEP; ebs: optimized support, NVMe support, attachments, limit type
# ebs_speed: baseline Mbps, MB/s, IOPS, maximum Mbps, MB/s, IOPS; ebs_cards: COUNT x the same
# cards: COUNT x interfaces, baseline Gbps, peak Gbps, ENA queues per interface: default, most on the
#   card, most; additional flexible interfaces, efa or -, performance
# disks: COUNT x GB, kind, NVMe support, encryption support
# accelerators: gpu:COUNT:NAME:MAKER:MIB:LOGICAL:PARTITION:WORKLOADS, fpga|inference|media:COUNT:NAME:
#   MAKER:MIB, neuron:COUNT:NAME:MIB:CORES:VERSION
";

const COLUMNS: &[&str] = &[
    "name",
    "purpose",
    "flags",
    "hypervisor",
    "architectures",
    "manufacturer",
    "clock_ghz",
    "features",
    "vcpus",
    "cores",
    "threads",
    "valid_cores",
    "valid_threads",
    "memory_mib",
    "usage",
    "boot",
    "root",
    "virtualization",
    "placement",
    "ebs",
    "ebs_speed",
    "ebs_cards",
    "network",
    "interfaces",
    "ipv4",
    "ipv6",
    "ena",
    "efa",
    "tcp_timeout",
    "cards",
    "disks",
    "accelerators",
];

pub fn write<'a>(types: impl Iterator<Item = &'a Type>) -> Result<String> {
    let mut table = format!("{HEADER}#{}\n", COLUMNS.join("\t"));
    for t in types {
        let line = line(t).with_context(|| t.InstanceType.clone())?;
        ensure!(line.len() == COLUMNS.len(), "columns");
        ensure!(line.iter().all(|column| !column.contains(['\t', '\n'])), "a column with a tab");
        table.push_str(&line.join("\t"));
        table.push('\n');
    }
    Ok(table)
}

fn line(t: &Type) -> Result<Vec<String>> {
    let cpu = &t.VCpuInfo;
    let net = &t.NetworkInfo;
    check(t)?;
    Ok(vec![
        t.InstanceType.clone(),
        purpose(&t.InstanceType)?.to_owned(),
        flags(t)?,
        t.Hypervisor.clone().unwrap_or_else(|| "-".to_owned()),
        t.ProcessorInfo.SupportedArchitectures.join(","),
        t.ProcessorInfo.Manufacturer.clone(),
        or_dash(t.ProcessorInfo.SustainedClockSpeedInGhz),
        list(t.ProcessorInfo.SupportedFeatures.as_deref().unwrap_or_default()),
        cpu.DefaultVCpus.to_string(),
        cpu.DefaultCores.to_string(),
        cpu.DefaultThreadsPerCore.to_string(),
        steps(cpu.ValidCores.as_deref().unwrap_or_default()),
        list(cpu.ValidThreadsPerCore.as_deref().unwrap_or_default()),
        t.MemoryInfo.SizeInMiB.to_string(),
        list(&t.SupportedUsageClasses),
        list(&t.SupportedBootModes),
        list(&t.SupportedRootDeviceTypes),
        list(&t.SupportedVirtualizationTypes),
        list(&t.PlacementGroupInfo.SupportedStrategies),
        format!(
            "{}:{}:{}:{}",
            t.EbsInfo.EbsOptimizedSupport,
            t.EbsInfo.NvmeSupport,
            t.EbsInfo.MaximumEbsAttachments,
            t.EbsInfo.AttachmentLimitType
        ),
        t.EbsInfo.EbsOptimizedInfo.as_ref().map_or("-".to_owned(), |e| {
            format!(
                "{}:{}:{}:{}:{}:{}",
                e.BaselineBandwidthInMbps,
                e.BaselineThroughputInMBps,
                e.BaselineIops,
                e.MaximumBandwidthInMbps,
                e.MaximumThroughputInMBps,
                e.MaximumIops
            )
        }),
        ebs_cards(t)?,
        net.NetworkPerformance.clone(),
        net.MaximumNetworkInterfaces.to_string(),
        net.Ipv4AddressesPerInterface.to_string(),
        net.Ipv6AddressesPerInterface.to_string(),
        net.EnaSupport.clone(),
        or_dash(net.EfaInfo.as_ref().map(|efa| efa.MaximumEfaInterfaces)),
        net.ConnectionTrackingConfiguration.DefaultTcpEstablishedTimeout.to_string(),
        cards(&net.NetworkCards)?,
        disks(t)?,
        accelerators(t)?,
    ])
}

/// What the table leaves out must follow from what it has.
fn check(t: &Type) -> Result<()> {
    let net = &t.NetworkInfo;
    let tracking = &net.ConnectionTrackingConfiguration;
    ensure!(t.SupportedInRegion, "not supported in the source's region");
    ensure!(t.EbsInfo.EncryptionSupport == "supported", "EBS encryption");
    ensure!(t.InstanceStorageSupported == t.InstanceStorageInfo.is_some(), "instance storage");
    ensure!(t.BareMetal == t.Hypervisor.is_none(), "hypervisor");
    ensure!(net.DefaultNetworkCardIndex == 0, "default network card");
    ensure!(net.MaximumNetworkCards as usize == net.NetworkCards.len(), "network cards");
    ensure!(net.EfaSupported == net.EfaInfo.is_some(), "EFA");
    ensure!(!net.SecondaryNetworkSupported, "secondary networks");
    ensure!(net.Ipv4AddressesPerSecondaryInterface.unwrap_or(0) == 0, "secondary networks");
    ensure!(tracking.DefaultUdpTimeout == 30, "UDP timeout");
    ensure!(tracking.DefaultUdpStreamTimeout == 180, "UDP stream timeout");
    if let Some(weightings) = &net.BandwidthWeightings {
        ensure!(*weightings == ["default", "ebs-1", "vpc-1"], "bandwidth weightings");
    }
    let tpm = t.NitroTpmInfo.as_ref().map(|tpm| tpm.SupportedVersions.join(","));
    ensure!(matches!(tpm.as_deref(), None | Some("2.0")), "NitroTPM versions");
    ensure!(supported(&t.NitroTpmSupport)? == tpm.is_some(), "NitroTPM");
    Ok(())
}

/// What AWS sells a family for ("Amazon EC2 instance types": general purpose, compute optimized, …),
/// by the letters its name begins with.
fn purpose(name: &str) -> Result<&'static str> {
    let letters: String = name.chars().take_while(char::is_ascii_lowercase).collect();
    Ok(match letters.as_str() {
        "a" | "m" | "mac" | "t" => "general",
        "c" => "compute",
        "r" | "u" | "x" | "z" => "memory",
        "d" | "h" | "i" | "im" | "is" => "storage",
        "dl" | "f" | "g" | "gr" | "inf" | "p" | "trn" | "vt" => "accelerated",
        "hpc" => "hpc",
        _ => bail!("a family of unknown purpose"),
    })
}

fn supported(word: &str) -> Result<bool> {
    match word {
        "supported" => Ok(true),
        "unsupported" => Ok(false),
        _ => bail!("support is neither supported nor unsupported: {word}"),
    }
}

fn flags(t: &Type) -> Result<String> {
    let net = &t.NetworkInfo;
    let flags = [
        ('b', t.BurstablePerformanceSupported),
        ('c', t.CurrentGeneration),
        ('d', t.DedicatedHostsSupported),
        ('e', supported(&t.NitroEnclavesSupport)?),
        ('f', t.FreeTierEligible),
        ('h', t.HibernationSupported),
        ('m', t.BareMetal),
        ('p', supported(&t.PhcSupport)?),
        ('q', supported(&net.FlexibleEnaQueuesSupport)?),
        ('r', t.AutoRecoverySupported),
        ('s', net.EnaSrdSupported),
        ('t', t.NitroTpmInfo.is_some()),
        ('w', net.BandwidthWeightings.is_some()),
        ('x', net.EncryptionInTransitSupported),
        ('y', supported(&t.RebootMigrationSupport)?),
        ('6', net.Ipv6Supported),
    ];
    let set: String = flags.iter().filter(|(_, on)| *on).map(|(letter, _)| letter).collect();
    Ok(if set.is_empty() { "-".to_owned() } else { set })
}

fn ebs_cards(t: &Type) -> Result<String> {
    let cards = t.EbsInfo.EbsCards.as_deref().unwrap_or_default();
    ensure!(cards.len() == t.EbsInfo.MaximumEbsCards.unwrap_or(0) as usize, "EBS cards");
    let mut text = Vec::new();
    for (n, card) in cards.iter().enumerate() {
        ensure!(card.EbsCardIndex as usize == n, "EBS card index");
        text.push(format!(
            "{}:{}:{}:{}:{}:{}",
            card.BaselineBandwidthInMbps,
            card.BaselineThroughputInMBps,
            card.BaselineIops,
            card.MaximumBandwidthInMbps,
            card.MaximumThroughputInMBps,
            card.MaximumIops
        ));
    }
    ensure!(text.windows(2).all(|pair| pair[0] == pair[1]), "EBS cards that differ");
    Ok(text.first().map_or("-".to_owned(), |card| format!("{}x{card}", text.len())))
}

fn cards(cards: &[Card]) -> Result<String> {
    let mut groups: Vec<(usize, String)> = Vec::new();
    for (n, card) in cards.iter().enumerate() {
        ensure!(card.NetworkCardIndex as usize == n, "network card index");
        let types: Vec<&str> = card.InterfaceTypes.iter().map(String::as_str).collect();
        let efa = match types[..] {
            ["interface"] => "-",
            ["interface", "efa", "efa-only"] => "efa",
            _ => bail!("interface types {types:?}"),
        };
        let text = format!(
            "{}:{}:{}:{}:{}:{}:{}:{efa}:{}",
            card.MaximumNetworkInterfaces,
            card.BaselineBandwidthInGbps,
            card.PeakBandwidthInGbps,
            card.DefaultEnaQueueCountPerInterface,
            or_dash(card.MaximumEnaQueueCount),
            or_dash(card.MaximumEnaQueueCountPerInterface),
            or_dash(card.AdditionalFlexibleNetworkInterfaces),
            card.NetworkPerformance
        );
        match groups.last_mut() {
            Some((count, last)) if *last == text => *count += 1,
            _ => groups.push((1, text)),
        }
    }
    let groups: Vec<String> = groups.iter().map(|(n, text)| format!("{n}x{text}")).collect();
    Ok(groups.join(";"))
}

fn disks(t: &Type) -> Result<String> {
    let Some(storage) = &t.InstanceStorageInfo else { return Ok("-".to_owned()) };
    let [disk] = &storage.Disks[..] else { bail!("disks of several kinds") };
    ensure!(storage.TotalSizeInGB == disk.SizeInGB * u64::from(disk.Count), "size of all disks");
    Ok(format!(
        "{}x{}:{}:{}:{}",
        disk.Count, disk.SizeInGB, disk.Type, storage.NvmeSupport, storage.EncryptionSupport
    ))
}

fn accelerators(t: &Type) -> Result<String> {
    let mut all = Vec::new();
    if let Some(info) = &t.GpuInfo {
        let [gpu] = &info.Gpus[..] else { bail!("GPUs of several kinds") };
        // A part of a GPU counts as none and has the memory of the part.
        let memory = gpu.MemoryInfo.SizeInMiB;
        ensure!(info.TotalGpuMemoryInMiB == memory * gpu.Count.max(1), "GPU memory");
        all.push(format!(
            "gpu:{}:{}:{}:{memory}:{}:{}:{}",
            gpu.Count,
            gpu.Name,
            gpu.Manufacturer,
            gpu.LogicalGpuCount,
            gpu.GpuPartitionSize,
            gpu.Workloads.join(",")
        ));
    }
    if let Some(info) = &t.FpgaInfo {
        all.push(device("fpga", &info.Fpgas, info.TotalFpgaMemoryInMiB)?);
    }
    if let Some(info) = &t.InferenceAcceleratorInfo {
        all.push(device("inference", &info.Accelerators, info.TotalInferenceMemoryInMiB)?);
    }
    if let Some(info) = &t.MediaAcceleratorInfo {
        all.push(device("media", &info.Accelerators, info.TotalMediaMemoryInMiB)?);
    }
    if let Some(info) = &t.NeuronInfo {
        let [neuron] = &info.NeuronDevices[..] else { bail!("Neuron devices of several kinds") };
        let memory = neuron.MemoryInfo.SizeInMiB;
        ensure!(info.TotalNeuronDeviceMemoryInMiB == memory * neuron.Count, "Neuron memory");
        all.push(format!(
            "neuron:{}:{}:{memory}:{}:{}",
            neuron.Count, neuron.Name, neuron.CoreInfo.Count, neuron.CoreInfo.Version
        ));
    }
    Ok(if all.is_empty() { "-".to_owned() } else { all.join(";") })
}

fn device(kind: &str, devices: &[Device], total: u64) -> Result<String> {
    let [device] = devices else { bail!("{kind} devices of several kinds") };
    let memory = device.MemoryInfo.SizeInMiB;
    ensure!(total == memory * device.Count, "{kind} memory");
    Ok(format!("{kind}:{}:{}:{}:{memory}", device.Count, device.Name, device.Manufacturer))
}

fn or_dash<T: ToString>(value: Option<T>) -> String {
    value.map_or("-".to_owned(), |value| value.to_string())
}

fn list<T: ToString>(values: &[T]) -> String {
    if values.is_empty() {
        return "-".to_owned();
    }
    values.iter().map(T::to_string).collect::<Vec<_>>().join(",")
}

/// `2-8/2` for 2, 4, 6, 8; a list where the steps are not even.
fn steps(values: &[u32]) -> String {
    if values.len() < 3 {
        return list(values);
    }
    let step = values[1] - values[0];
    if values.windows(2).any(|pair| pair[1] - pair[0] != step) {
        return list(values);
    }
    let last = values[values.len() - 1];
    if step == 1 { format!("{}-{last}", values[0]) } else { format!("{}-{last}/{step}", values[0]) }
}
