//! A workload in words: which families are made for it, and the cheapest of their types that fit. Pure.
//!
//! | words | families |
//! |---|---|
//! | training, deep learning | P, Trn |
//! | inference, GPU, graphics | G, Inf |
//! | in-memory cache or database | R, X |
//! | NoSQL, search, many small reads on SSD | I |
//! | data warehouse, HDFS, logs on disks | D, H |
//! | batch, encoding, simulation, games | C |
//! | low or spiky load, development | T |
//! | web API, application, all else | M, T |

use crate::ec2::catalog::{self, InstanceType, prices};

/// A month as AWS's calculators count it.
pub const MONTH_HOURS: f64 = 730.0;

#[derive(Clone, Debug, PartialEq)]
pub struct Advice {
    pub kind: &'static str,
    /// `r`, `x`, …: what the names of the families begin with.
    pub families: &'static [&'static str],
    pub why: &'static str,
    pub needs: Needs,
    /// The cheapest first.
    pub options: Vec<Fit>,
}

/// What the words say, or the kind of workload takes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Needs {
    pub vcpus: u32,
    pub memory_gib: f64,
    pub disk_gib: f64,
    pub accelerators: u32,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Fit {
    pub instance_type: &'static str,
    pub vcpus: u32,
    pub memory_gib: f64,
    pub disk_gb: u64,
    pub architecture: &'static str,
    pub usd_per_hour: f64,
}

struct Kind {
    name: &'static str,
    words: &'static [&'static str],
    families: &'static [&'static str],
    why: &'static str,
}

/// The first whose word is there.
const KINDS: &[Kind] = &[
    Kind {
        name: "training",
        words: &["train", "deep learning", "fine-tun", "finetun"],
        families: &["p", "trn"],
        why: "training needs many fast accelerators that talk to each other: P has GPUs, Trn has Trainium",
    },
    Kind {
        name: "inference",
        words: &["inference", "gpu", "graphics", "render", "llm"],
        families: &["g", "inf"],
        why: "inference and graphics need an accelerator, but not the largest: G has GPUs, Inf has Inferentia",
    },
    Kind {
        name: "in-memory",
        words: &["cache", "redis", "memcached", "valkey", "in-memory", "in memory", "hana"],
        families: &["r", "x"],
        why: "all of it is held in memory: R has eight GiB for a vCPU, X sixteen and more",
    },
    Kind {
        name: "NoSQL on SSD",
        words: &[
            "nosql",
            "cassandra",
            "scylla",
            "mongo",
            "elasticsearch",
            "opensearch",
            "aerospike",
            "ssd",
            "iops",
        ],
        families: &["i"],
        why: "many small reads and writes: I has local NVMe disks with the most of them for the money",
    },
    Kind {
        name: "dense storage",
        words: &["warehouse", "hadoop", "hdfs", "hdd", "log storage"],
        families: &["d", "h"],
        why: "much is read in order: D and H have local disks with the most bytes for the money",
    },
    Kind {
        name: "low average load",
        words: &["burst", "spiky", "idle", "occasional", "low average", "low load", "dev", "blog"],
        families: &["t"],
        why: "it is idle most of the time: T earns credits then, and spends them when there is work",
    },
    Kind {
        name: "CPU batch",
        words: &[
            "batch",
            "encod",
            "transcod",
            "video",
            "cpu",
            "compute",
            "simulation",
            "scientific",
            "hpc",
            "game",
            "build",
        ],
        families: &["c"],
        why: "it is bound by the processor: C has the most of it for the money, with two GiB for a vCPU",
    },
    Kind {
        name: "web API",
        words: &["web", "api", "http", "server", "service", "app", "backend"],
        families: &["m", "t"],
        why: "processor and memory are used alike: M has four GiB for a vCPU; T is cheaper while the average is low",
    },
];

const GENERAL: Kind = Kind {
    name: "general",
    words: &[],
    families: &["m", "t"],
    why: "nothing says what it is bound by: M has four GiB for a vCPU; T is cheaper while the average is low",
};

const OPTIONS: usize = 6;
/// What a system and its copies take of memory besides what is held in it.
const MEMORY_USED: f64 = 0.8;

pub fn advise(text: &str) -> Advice {
    let text = text.to_lowercase();
    let kind = KINDS.iter().find(|kind| kind.words.iter().any(|word| has(&text, word)));
    let kind = kind.unwrap_or(&GENERAL);
    let mut needs = figures(&text, kind);
    if kind.name == "in-memory" {
        needs.memory_gib /= MEMORY_USED;
    }
    Advice {
        kind: kind.name,
        families: kind.families,
        why: kind.why,
        needs,
        options: fits(kind.families, &needs),
    }
}

/// At the beginning of one of its words.
fn has(text: &str, word: &str) -> bool {
    text.match_indices(word)
        .any(|(at, _)| !text[..at].chars().next_back().is_some_and(char::is_alphanumeric))
}

/// Numbers with their units: GiB and TiB are memory, but where a disk is spoken of.
fn figures(text: &str, kind: &Kind) -> Needs {
    let mut needs = Needs::default();
    let on_disk = kind.families == ["i"] || kind.families == ["d", "h"];
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c.is_ascii_digit()) {
        let digits = rest[at..].find(|c: char| !c.is_ascii_digit() && c != '.');
        let end = digits.map_or(rest.len(), |digits| at + digits);
        let Ok(number) = rest[at..end].trim_end_matches('.').parse::<f64>() else { break };
        let after = rest[end..].trim_start_matches([' ', '-']);
        let (unit, said) =
            after.split_at(after.find(|c: char| !c.is_alphanumeric()).unwrap_or(after.len()));
        let disk = ["disk", "ssd", "nvme", "storage", "data", "of data", "of disk", "of ssd"];
        let said = said.trim_start();
        let is_disk = match said.starts_with("ram") || said.starts_with("memory") {
            true => false,
            false => on_disk || disk.iter().any(|word| said.starts_with(word)),
        };
        let mut size = |gib: f64| match is_disk {
            true => needs.disk_gib = needs.disk_gib.max(gib),
            false => needs.memory_gib = needs.memory_gib.max(gib),
        };
        match unit {
            "gib" | "gb" | "g" => size(number),
            "tib" | "tb" | "t" => size(number * 1024.0),
            "vcpu" | "vcpus" | "cpu" | "cpus" | "core" | "cores" => {
                needs.vcpus = needs.vcpus.max(number.ceil() as u32);
            }
            "gpu" | "gpus" | "accelerator" | "accelerators" => {
                needs.accelerators = needs.accelerators.max(number.ceil() as u32);
            }
            _ => {}
        }
        rest = &rest[end..];
    }
    needs
}

/// `r` of `r6i`, `trn` of `trn1`.
pub fn series(family: &str) -> &str {
    family.split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or(family)
}

fn accelerators(t: &InstanceType) -> u32 {
    let gpus = t.gpus.as_ref().map_or(0, |gpus| gpus.count.max(1));
    let inference = t.inference.as_ref().map_or(0, |devices| devices.count);
    let neuron = t.neuron.as_ref().map_or(0, |neuron| neuron.count);
    gpus.max(inference).max(neuron)
}

fn disk_gb(t: &InstanceType) -> u64 {
    t.disks.as_ref().map_or(0, |disks| u64::from(disks.count) * disks.size_gb)
}

pub fn fit(t: &'static InstanceType) -> Option<Fit> {
    Some(Fit {
        instance_type: t.name,
        vcpus: t.vcpus,
        memory_gib: t.memory_mib as f64 / 1024.0,
        disk_gb: disk_gb(t),
        architecture: t.architectures.last().copied()?,
        usd_per_hour: prices::on_demand(t.name)?,
    })
}

/// The cheapest types of these families that have what is needed.
fn fits(families: &[&str], needs: &Needs) -> Vec<Fit> {
    let enough = |t: &&'static InstanceType| {
        t.current_generation
            && !t.bare_metal
            && families.contains(&series(t.family()))
            && t.vcpus >= needs.vcpus
            && t.memory_mib as f64 / 1024.0 >= needs.memory_gib
            && disk_gb(t) as f64 / 1.074 >= needs.disk_gib
            && accelerators(t) >= needs.accelerators
    };
    let mut fits: Vec<Fit> = catalog::all().iter().filter(enough).filter_map(fit).collect();
    fits.sort_by(|a, b| {
        a.usd_per_hour.total_cmp(&b.usd_per_hour).then(a.instance_type.cmp(b.instance_type))
    });
    fits.truncate(OPTIONS);
    fits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_find_their_families() {
        for (text, kind, families) in [
            ("in-memory cache, 50 GiB", "in-memory", "r x"),
            ("web API", "web API", "m t"),
            ("CPU batch", "CPU batch", "c"),
            ("video encoding on 16 cores", "CPU batch", "c"),
            ("NoSQL on SSD, 2 TB", "NoSQL on SSD", "i"),
            ("training a model on 8 GPUs", "training", "p trn"),
            ("LLM inference", "inference", "g inf"),
            ("a development box", "low average load", "t"),
            ("data warehouse", "dense storage", "d h"),
            ("something", "general", "m t"),
            // Not within words.
            ("a laptop", "general", "m t"),
        ] {
            let advice = advise(text);
            assert_eq!(
                (advice.kind, advice.families.join(" ").as_str()),
                (kind, families),
                "{text}"
            );
        }
    }

    #[test]
    fn figures_are_needs() {
        for (text, vcpus, memory, disk, accelerators) in [
            ("in-memory cache, 50 GiB", 0, 62.5, 0.0, 0),
            ("batch, 16 vCPU and 64GB", 16, 64.0, 0.0, 0),
            ("nosql, 2 TB, 64 GiB RAM", 0, 64.0, 2048.0, 0),
            ("web api with 100 GiB disk", 0, 0.0, 100.0, 0),
            ("training on 8 gpus", 0, 0.0, 0.0, 8),
            ("api for 3.5 users.", 0, 0.0, 0.0, 0),
        ] {
            let needs = advise(text).needs;
            assert_eq!(
                (needs.vcpus, needs.memory_gib, needs.disk_gib, needs.accelerators),
                (vcpus, memory, disk, accelerators),
                "{text}"
            );
        }
    }

    #[test]
    fn options_fit_and_are_the_cheapest() {
        let advice = advise("in-memory cache, 50 GiB");
        assert_eq!(advice.options.len(), OPTIONS);
        for option in &advice.options {
            assert!(option.memory_gib >= 62.5 && option.usd_per_hour > 0.0, "{option:?}");
            assert!(option.instance_type.starts_with('r') || option.instance_type.starts_with('x'));
        }
        assert!(advice.options.is_sorted_by(|a, b| a.usd_per_hour <= b.usd_per_hour));
        assert!(
            advise("training on 8 gpus").options.iter().all(|o| !o.instance_type.starts_with('g'))
        );
        assert_eq!(advise("cache, 900 TiB").options, []);
    }
}
