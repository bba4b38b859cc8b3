//! Reads the embedded table, whose first lines say what its columns hold. It was checked when it was
//! made, so what does not parse is a fault of this program.

use super::{
    Devices, Disks, Ebs, EbsSpeed, Gpus, InstanceType, Network, NetworkCard, Neuron, Purpose,
};

pub fn table(text: &'static str) -> Vec<InstanceType> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let mut types: Vec<InstanceType> = lines.map(line).collect();
    types.sort_by_key(|t| t.name);
    types
}

/// The parts of a line or a group, taken one after the other.
struct Parts(std::str::Split<'static, char>);

impl Parts {
    fn text(&mut self) -> &'static str {
        self.0.next().expect("the table has all its columns")
    }

    fn optional(&mut self) -> Option<&'static str> {
        Some(self.text()).filter(|text| *text != "-")
    }

    fn number<T: std::str::FromStr>(&mut self) -> T {
        number(self.text())
    }

    fn maybe<T: std::str::FromStr>(&mut self) -> Option<T> {
        self.optional().map(number)
    }

    fn list(&mut self) -> Vec<&'static str> {
        self.optional().map(|text| text.split(',').collect()).unwrap_or_default()
    }
}

fn parts(text: &'static str, separator: char) -> Parts {
    Parts(text.split(separator))
}

fn number<T: std::str::FromStr>(text: &str) -> T {
    text.parse().unwrap_or_else(|_| panic!("the table has a number where it has {text}"))
}

/// `8x3800:…`: how many, and of what.
fn counted(text: &'static str) -> (u32, &'static str) {
    let (count, rest) = text.split_once('x').expect("the table counts groups");
    (number(count), rest)
}

fn line(line: &'static str) -> InstanceType {
    let mut c = parts(line, '\t');
    let name = c.text();
    let purpose = purpose(c.text());
    let flags = c.text();
    let has = |letter: char| flags.contains(letter);
    let mut t = InstanceType {
        name,
        purpose,
        burstable: has('b'),
        current_generation: has('c'),
        dedicated_hosts: has('d'),
        nitro_enclaves: has('e'),
        free_tier: has('f'),
        hibernation: has('h'),
        bare_metal: has('m'),
        phc: has('p'),
        auto_recovery: has('r'),
        nitro_tpm: has('t'),
        reboot_migration: has('y'),
        hypervisor: c.optional(),
        architectures: c.list(),
        manufacturer: c.text(),
        clock_ghz: c.maybe(),
        processor_features: c.list(),
        vcpus: c.number(),
        cores: c.number(),
        threads_per_core: c.number(),
        valid_cores: steps(c.optional()),
        valid_threads_per_core: steps(c.optional()),
        memory_mib: c.number(),
        usage_classes: c.list(),
        boot_modes: c.list(),
        root_device_types: c.list(),
        virtualization_types: c.list(),
        placement_strategies: c.list(),
        ebs: ebs(c.text(), c.optional(), c.optional()),
        network: Network {
            performance: c.text(),
            max_interfaces: c.number(),
            ipv4_per_interface: c.number(),
            ipv6_per_interface: c.number(),
            ipv6: has('6'),
            ena: c.text(),
            ena_srd: has('s'),
            efa: c.maybe(),
            encryption_in_transit: has('x'),
            flexible_ena_queues: has('q'),
            bandwidth_weightings: has('w'),
            tcp_established_timeout_s: c.number(),
            cards: c.text().split(';').flat_map(cards).collect(),
        },
        disks: c.optional().map(disks),
        gpus: None,
        fpgas: None,
        inference: None,
        media: None,
        neuron: None,
    };
    for group in c.optional().into_iter().flat_map(|groups| groups.split(';')) {
        accelerator(&mut t, group);
    }
    t
}

fn purpose(word: &str) -> Purpose {
    match word {
        "general" => Purpose::General,
        "compute" => Purpose::Compute,
        "memory" => Purpose::Memory,
        "storage" => Purpose::Storage,
        "accelerated" => Purpose::Accelerated,
        "hpc" => Purpose::Hpc,
        other => panic!("the table has an unknown purpose {other}"),
    }
}

/// `1,2,4` or `2-8/2`.
fn steps(text: Option<&'static str>) -> Vec<u32> {
    let Some(text) = text else { return vec![] };
    let Some((first, rest)) = text.split_once('-') else {
        return text.split(',').map(number).collect();
    };
    let (last, step) = rest.split_once('/').unwrap_or((rest, "1"));
    (number(first)..=number(last)).step_by(number(step)).collect()
}

fn ebs(text: &'static str, speed: Option<&'static str>, cards: Option<&'static str>) -> Ebs {
    let mut p = parts(text, ':');
    Ebs {
        optimized: p.text(),
        nvme: p.text(),
        max_attachments: p.number(),
        limit_type: p.text(),
        speed: speed.map(ebs_speed),
        cards: cards.map(|text| {
            let (count, text) = counted(text);
            (count, ebs_speed(text))
        }),
    }
}

fn ebs_speed(text: &'static str) -> EbsSpeed {
    let mut p = parts(text, ':');
    EbsSpeed {
        baseline_mbps: p.number(),
        baseline_mb_per_s: p.number(),
        baseline_iops: p.number(),
        max_mbps: p.number(),
        max_mb_per_s: p.number(),
        max_iops: p.number(),
    }
}

fn cards(group: &'static str) -> Vec<NetworkCard> {
    let (count, text) = counted(group);
    let mut p = parts(text, ':');
    let card = NetworkCard {
        max_interfaces: p.number(),
        baseline_gbps: p.number(),
        peak_gbps: p.number(),
        default_ena_queues: p.number(),
        max_ena_queues: p.maybe(),
        max_ena_queues_per_interface: p.maybe(),
        additional_flexible_interfaces: p.maybe(),
        efa: p.optional().is_some(),
        performance: p.text(),
    };
    vec![card; count as usize]
}

fn disks(text: &'static str) -> Disks {
    let (count, text) = counted(text);
    let mut p = parts(text, ':');
    Disks { count, size_gb: p.number(), kind: p.text(), nvme: p.text(), encryption: p.text() }
}

fn accelerator(t: &mut InstanceType, group: &'static str) {
    let mut p = parts(group, ':');
    match p.text() {
        "gpu" => {
            t.gpus = Some(Gpus {
                count: p.number(),
                name: p.text(),
                manufacturer: p.text(),
                memory_mib: p.number(),
                logical_count: p.number(),
                partition: p.number(),
                workloads: p.list(),
            });
        }
        "fpga" => t.fpgas = Some(devices(p)),
        "inference" => t.inference = Some(devices(p)),
        "media" => t.media = Some(devices(p)),
        "neuron" => {
            t.neuron = Some(Neuron {
                count: p.number(),
                name: p.text(),
                memory_mib: p.number(),
                cores: p.number(),
                version: p.number(),
            });
        }
        other => panic!("the table has an unknown accelerator {other}"),
    }
}

fn devices(mut p: Parts) -> Devices {
    Devices { count: p.number(), name: p.text(), manufacturer: p.text(), memory_mib: p.number() }
}

#[cfg(test)]
mod tests {
    use crate::ec2::catalog::{Purpose, all, instance_type};

    #[test]
    fn every_type_is_read() {
        assert!(all().len() > 1000);
        assert!(all().is_sorted_by_key(|t| t.name));
        for t in all() {
            assert_eq!(t.cores * t.threads_per_core, t.vcpus, "{}", t.name);
            assert!(t.memory_mib > 0 && !t.network.cards.is_empty() && !t.size().is_empty());
        }
    }

    #[test]
    fn facts_of_some() {
        let t = instance_type("t4g.micro").unwrap();
        assert_eq!((t.vcpus, t.memory_mib, t.purpose), (2, 1024, Purpose::General));
        assert_eq!(t.architectures, ["arm64"]);
        assert!(t.burstable && t.free_tier && !t.bare_metal);
        assert_eq!((t.network.max_interfaces, t.network.ipv4_per_interface), (2, 2));

        let t = instance_type("m5d.large").unwrap();
        let disks = t.disks.as_ref().unwrap();
        assert_eq!((disks.count, disks.size_gb, disks.kind), (1, 75, "ssd"));
        assert_eq!(t.ebs.speed.unwrap().baseline_mb_per_s, 81.25);

        let t = instance_type("p5.48xlarge").unwrap();
        assert_eq!(t.gpus.as_ref().map(|gpus| (gpus.count, gpus.name)), Some((8, "H100")));
        assert_eq!(t.valid_cores, [12, 24, 36, 48, 60, 72, 84, 96]);
        assert_eq!((t.network.cards.len(), t.purpose), (32, Purpose::Accelerated));

        assert_eq!(instance_type("m5.nano"), None);
        assert_eq!(instance_type("hpc7g.16xlarge").unwrap().purpose, Purpose::Hpc);
    }
}
