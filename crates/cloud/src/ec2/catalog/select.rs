//! Types by what they have instead of by name: attribute-based selection. Pure.
//!
//! Source: EC2 API Reference, `InstanceRequirementsRequest`, defaults included. Prices are no facts of
//! this table: whoever knows them applies `Requirements::prices` to what is selected.

use serde::{Deserialize, Serialize};

use super::{InstanceType, all};
use crate::filter;

/// What a type must have. `None` and empty mean: anything.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Requirements {
    /// `x86_64`
    pub architectures: Vec<String>,
    /// `hvm`
    pub virtualization_types: Vec<String>,
    pub vcpus: Between,
    pub memory_mib: Between,
    pub memory_gib_per_vcpu: Between,
    /// `intel`, `amd`, `amazon-web-services`, `apple`
    pub cpu_manufacturers: Vec<String>,
    /// Patterns: `m5.*`
    pub allowed: Vec<String>,
    pub excluded: Vec<String>,
    /// `current`, `previous`
    pub generations: Vec<String>,
    /// Bare metal and burstable types are left out unless asked for, local disks are not.
    pub bare_metal: Option<Presence>,
    pub burstable: Option<Presence>,
    pub local_storage: Option<Presence>,
    /// `hdd`, `ssd`
    pub local_storage_types: Vec<String>,
    pub local_storage_gb: Between,
    pub hibernation: bool,
    pub encryption_in_transit: bool,
    pub interfaces: Between,
    pub network_gbps: Between,
    pub baseline_ebs_mbps: Between,
    /// `gpu`, `fpga`, `inference`, `media`
    pub accelerator_types: Vec<String>,
    pub accelerator_count: Between,
    /// `nvidia`, `amazon-web-services`, …
    pub accelerator_manufacturers: Vec<String>,
    /// `a100`, `inferentia2`, …
    pub accelerator_names: Vec<String>,
    pub accelerator_memory_mib: Between,
    pub prices: Prices,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Between {
    pub min: Option<f64>,
    pub max: Option<f64>,
}

impl Between {
    fn has(self, n: f64) -> bool {
        self.min.is_none_or(|min| n >= min) && self.max.is_none_or(|max| n <= max)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Presence {
    Included,
    Required,
    Excluded,
}

impl Presence {
    fn allows(self, has: bool) -> bool {
        match self {
            Presence::Included => true,
            Presence::Required => has,
            Presence::Excluded => !has,
        }
    }

    pub fn word(self) -> &'static str {
        match self {
            Presence::Included => "included",
            Presence::Required => "required",
            Presence::Excluded => "excluded",
        }
    }
}

/// The protection against types that cost much more than others that would do, in percent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Prices {
    /// `OnDemandMaxPricePercentageOverLowestPrice`
    pub on_demand_over_lowest: Option<u32>,
    /// `SpotMaxPricePercentageOverLowestPrice`
    pub spot_over_lowest: Option<u32>,
    /// `MaxSpotPriceAsPercentageOfOptimalOnDemandPrice`
    pub spot_of_on_demand: Option<u32>,
}

impl Prices {
    pub fn is_empty(&self) -> bool {
        *self == Prices::default()
    }
}

/// All that satisfy the requirements, by name.
pub fn select(wanted: &Requirements) -> Vec<&'static InstanceType> {
    all().iter().filter(|t| satisfies(t, wanted)).collect()
}

fn satisfies(t: &InstanceType, wanted: &Requirements) -> bool {
    let gib_per_vcpu = t.memory_mib as f64 / 1024.0 / f64::from(t.vcpus);
    let disk_gb = t.disks.as_ref().map_or(0, |disks| disks.size_gb * u64::from(disks.count));
    let gbps: f64 = t.network.cards.iter().map(|card| card.peak_gbps).sum();
    let ebs_mbps = t.ebs.speed.map_or(0, |speed| speed.baseline_mbps);
    let generation = if t.current_generation { "current" } else { "previous" };
    let matches = |patterns: &[String]| patterns.iter().any(|p| filter::matches(p, t.name));
    one_of(&wanted.architectures, &t.architectures)
        && one_of(&wanted.virtualization_types, &t.virtualization_types)
        && wanted.vcpus.has(t.vcpus.into())
        && wanted.memory_mib.has(t.memory_mib as f64)
        && wanted.memory_gib_per_vcpu.has(gib_per_vcpu)
        && one_of(&wanted.cpu_manufacturers, &[maker(t.manufacturer).as_str()])
        && (wanted.allowed.is_empty() || matches(&wanted.allowed))
        && !matches(&wanted.excluded)
        && one_of(&wanted.generations, &[generation])
        && wanted.bare_metal.unwrap_or(Presence::Excluded).allows(t.bare_metal)
        && wanted.burstable.unwrap_or(Presence::Excluded).allows(t.burstable)
        && wanted.local_storage.unwrap_or(Presence::Included).allows(t.disks.is_some())
        && one_of(&wanted.local_storage_types, t.disks.as_ref().map(|d| d.kind).as_slice())
        && wanted.local_storage_gb.has(disk_gb as f64)
        && (!wanted.hibernation || t.hibernation)
        && (!wanted.encryption_in_transit || t.network.encryption_in_transit)
        && wanted.interfaces.has(t.network.max_interfaces.into())
        && wanted.network_gbps.has(gbps)
        && wanted.baseline_ebs_mbps.has(ebs_mbps.into())
        && accelerators(t, wanted)
}

fn accelerators(t: &InstanceType, wanted: &Requirements) -> bool {
    let all = of(t);
    let count: u32 = all.iter().map(|one| one.count).sum();
    let memory: u32 = all.iter().map(|one| one.memory_mib).sum();
    let asked = |words: &[String], word: fn(&Accelerator) -> String| {
        let has: Vec<String> = all.iter().map(word).collect();
        let has: Vec<&str> = has.iter().map(String::as_str).collect();
        one_of(words, &has)
    };
    wanted.accelerator_count.has(count.into())
        && wanted.accelerator_memory_mib.has(memory.into())
        && asked(&wanted.accelerator_types, |one| one.kind.to_owned())
        && asked(&wanted.accelerator_manufacturers, |one| maker(one.manufacturer))
        && asked(&wanted.accelerator_names, |one| word(one.name))
}

struct Accelerator {
    kind: &'static str,
    name: &'static str,
    manufacturer: &'static str,
    count: u32,
    /// Of all.
    memory_mib: u32,
}

/// Inferentia stands in the table as an inference accelerator and as a Neuron device; Trainium only as
/// the latter.
fn of(t: &InstanceType) -> Vec<Accelerator> {
    let devices = [("fpga", &t.fpgas), ("inference", &t.inference), ("media", &t.media)];
    let mut all: Vec<Accelerator> = devices
        .into_iter()
        .filter_map(|(kind, devices)| {
            let devices = devices.as_ref()?;
            Some(Accelerator {
                kind,
                name: devices.name,
                manufacturer: devices.manufacturer,
                count: devices.count,
                memory_mib: devices.memory_mib * devices.count,
            })
        })
        .collect();
    all.extend(t.gpus.as_ref().map(|gpus| Accelerator {
        kind: "gpu",
        name: gpus.name,
        manufacturer: gpus.manufacturer,
        count: gpus.count.max(1),
        memory_mib: gpus.memory_mib * gpus.count.max(1),
    }));
    if let (Some(neuron), None) = (&t.neuron, &t.inference) {
        all.push(Accelerator {
            kind: "inference",
            name: neuron.name,
            manufacturer: "AWS",
            count: neuron.count,
            memory_mib: neuron.memory_mib * neuron.count,
        });
    }
    all
}

fn one_of(wanted: &[String], has: &[&str]) -> bool {
    wanted.is_empty() || has.iter().any(|has| wanted.iter().any(|wanted| wanted == has))
}

/// The table's name of a maker as requirements spell it.
fn maker(name: &str) -> String {
    if name == "AWS" { "amazon-web-services".to_owned() } else { word(name) }
}

fn word(name: &str) -> String {
    // `Virtex UltraScale+ (VU47P)` goes by its chip.
    let name = name.split_once('(').map_or(name, |(_, chip)| chip.trim_end_matches(')'));
    name.to_ascii_lowercase().replace(' ', "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(wanted: &Requirements) -> Vec<&'static str> {
        select(wanted).iter().map(|t| t.name).collect()
    }

    fn at_least(min: f64) -> Between {
        Between { min: Some(min), max: None }
    }

    fn exactly(n: f64) -> Between {
        Between { min: Some(n), max: Some(n) }
    }

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| word.to_string()).collect()
    }

    fn small() -> Requirements {
        Requirements {
            architectures: words(&["x86_64"]),
            vcpus: exactly(2.0),
            memory_mib: exactly(8192.0),
            allowed: words(&["m5*", "t3.*", "c5.*", "m4.*"]),
            ..Requirements::default()
        }
    }

    #[test]
    fn burstable_and_metal_only_where_asked() {
        let found = names(&small());
        assert!(found.contains(&"m5.large") && found.contains(&"m5d.large"), "{found:?}");
        assert!(found.contains(&"m4.large"));
        assert!(!found.contains(&"t3.large") && !found.contains(&"c5.large"), "{found:?}");
        let burstable = Requirements { burstable: Some(Presence::Required), ..small() };
        assert_eq!(names(&burstable), ["t3.large"]);
        let metal = Requirements {
            bare_metal: Some(Presence::Required),
            allowed: words(&["m5.*"]),
            ..Requirements::default()
        };
        assert_eq!(names(&metal), ["m5.metal"]);
    }

    #[test]
    fn every_member_narrows() {
        let with = |change: fn(&mut Requirements)| {
            let mut wanted = small();
            change(&mut wanted);
            names(&wanted)
        };
        assert!(with(|w| w.generations = words(&["previous"])).contains(&"m4.large"));
        assert!(!with(|w| w.generations = words(&["current"])).contains(&"m4.large"));
        assert!(with(|w| w.local_storage = Some(Presence::Required)).contains(&"m5d.large"));
        assert!(!with(|w| w.local_storage = Some(Presence::Required)).contains(&"m5.large"));
        assert!(!with(|w| w.local_storage = Some(Presence::Excluded)).contains(&"m5d.large"));
        assert!(with(|w| w.local_storage_types = words(&["hdd"])).is_empty());
        assert!(!with(|w| w.local_storage_gb = at_least(70.0)).contains(&"m5.large"));
        assert!(!with(|w| w.cpu_manufacturers = words(&["intel"])).contains(&"m5a.large"));
        assert!(!with(|w| w.excluded = words(&["m5.*"])).contains(&"m5.large"));
        assert!(with(|w| w.hibernation = true).contains(&"m5.large"));
        assert!(!with(|w| w.encryption_in_transit = true).contains(&"m5.large"));
        assert!(with(|w| w.encryption_in_transit = true).contains(&"m5n.large"));
        assert!(!with(|w| w.network_gbps = at_least(20.0)).contains(&"m5.large"));
        assert!(with(|w| w.interfaces = at_least(4.0)).is_empty());
        assert!(with(|w| w.baseline_ebs_mbps = at_least(651.0)).iter().all(|n| *n != "m5.large"));
        assert!(with(|w| w.memory_gib_per_vcpu = at_least(4.1)).is_empty());
        assert!(with(|w| w.architectures = words(&["arm64"])).is_empty());
        assert_eq!(with(|w| w.virtualization_types = words(&["paravirtual"])), Vec::<&str>::new());
    }

    #[test]
    fn accelerators_by_each_of_their_words() {
        let gpus = |change: fn(&mut Requirements)| {
            let mut wanted = Requirements { burstable: None, ..Requirements::default() };
            change(&mut wanted);
            names(&wanted)
        };
        let a100 = gpus(|w| w.accelerator_names = words(&["a100"]));
        assert_eq!(a100, ["p4d.24xlarge", "p4de.24xlarge"]);
        let trainium = gpus(|w| w.accelerator_names = words(&["trainium"]));
        assert!(trainium.contains(&"trn1.2xlarge") && !trainium.contains(&"p5.48xlarge"));
        let none = gpus(|w| {
            w.accelerator_count = exactly(0.0);
            w.allowed = words(&["g4dn.*", "m5.large"]);
        });
        assert_eq!(none, ["m5.large"]);
        let big = gpus(|w| w.accelerator_memory_mib = at_least(1_000_000.0));
        assert!(big.contains(&"p6-b200.48xlarge") && !big.contains(&"p4d.24xlarge"), "{big:?}");
        let amazon = gpus(|w| w.accelerator_manufacturers = words(&["amazon-web-services"]));
        assert!(amazon.contains(&"inf2.xlarge") && !amazon.contains(&"m5.large"));
        let fpga = gpus(|w| w.accelerator_types = words(&["fpga"]));
        assert!(!fpga.is_empty() && fpga.iter().all(|name| name.starts_with('f')), "{fpga:?}");
    }
}
