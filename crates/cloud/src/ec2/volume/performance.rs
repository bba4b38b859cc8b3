//! Volume types: how large, how fast, and which figures can be asked for. Source: Amazon EBS User Guide,
//! "Amazon EBS volume types".
//!
//! Burst credits are not counted: a type that can burst is as fast as its burst.

use serde::{Deserialize, Serialize};

use crate::ec2::{Error, Result};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    Gp2,
    Gp3,
    Io1,
    Io2,
    St1,
    Sc1,
    Standard,
}

/// What a volume can do at its best.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Performance {
    pub kind: Kind,
    /// Provisioned, or what follows from the size. None: the type does not speak of it.
    pub iops: Option<u32>,
    /// MiB per second; provisioned.
    pub throughput: Option<u32>,
}

/// What was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    pub kind: Option<String>,
    pub iops: Option<i32>,
    pub throughput: Option<i32>,
}

impl Kind {
    pub const ALL: [Kind; 7] =
        [Kind::Gp2, Kind::Gp3, Kind::Io1, Kind::Io2, Kind::St1, Kind::Sc1, Kind::Standard];

    pub fn name(self) -> &'static str {
        match self {
            Kind::Gp2 => "gp2",
            Kind::Gp3 => "gp3",
            Kind::Io1 => "io1",
            Kind::Io2 => "io2",
            Kind::St1 => "st1",
            Kind::Sc1 => "sc1",
            Kind::Standard => "standard",
        }
    }

    pub fn parse(text: &str) -> Result<Kind> {
        let found = Kind::ALL.into_iter().find(|kind| kind.name() == text);
        found.ok_or_else(|| {
            let names = Kind::ALL.map(Kind::name).join(", ");
            Error::value(format!(
                "Value ({text}) for parameter volumeType is invalid. Valid values: {names}."
            ))
        })
    }

    /// GiB
    fn sizes(self) -> std::ops::RangeInclusive<u32> {
        match self {
            Kind::Gp2 => 1..=16_384,
            Kind::Gp3 => 1..=65_536,
            Kind::Io1 => 4..=16_384,
            Kind::Io2 => 4..=65_536,
            Kind::St1 | Kind::Sc1 => 125..=16_384,
            Kind::Standard => 1..=1024,
        }
    }

    /// The IOPS that can be provisioned, and how many for each GiB.
    fn provisioned(self) -> Option<(std::ops::RangeInclusive<u32>, u32)> {
        match self {
            Kind::Gp3 => Some((3000..=80_000, 500)),
            Kind::Io1 => Some((100..=64_000, 50)),
            Kind::Io2 => Some((100..=256_000, 1000)),
            _ => None,
        }
    }

    /// Whether a machine can boot from it.
    pub fn boots(self) -> bool {
        !matches!(self, Kind::St1 | Kind::Sc1)
    }
}

pub fn check_size(kind: Kind, size_gib: i64) -> Result<u32> {
    let (name, sizes) = (kind.name(), kind.sizes());
    if size_gib < i64::from(*sizes.start()) {
        return Err(Error::value(format!(
            "Volume of {size_gib}GiB is too small for volume type {name}; minimum is {}GiB.",
            sizes.start()
        )));
    }
    match u32::try_from(size_gib) {
        Ok(size) if size <= *sizes.end() => Ok(size),
        _ => Err(Error::value(format!(
            "Volume of {size_gib}GiB is too large for volume type {name}; maximum is {}GiB.",
            sizes.end()
        ))),
    }
}

/// What a volume of this size can do, given what was asked for; `before` is what it could do so far,
/// for a volume that is modified.
pub fn resolve(
    asked: &Asked,
    size_gib: u32,
    default: Kind,
    before: Option<&Performance>,
) -> Result<Performance> {
    let kind = asked.kind.as_deref().map_or(Ok(default), Kind::parse)?;
    let before = before.filter(|before| before.kind == kind);
    check_size(kind, i64::from(size_gib))?;
    let iops = match kind.provisioned() {
        None => {
            if asked.iops.is_some() {
                return Err(Error::combination(format!(
                    "The parameter iops is not supported for {} volumes.",
                    kind.name()
                )));
            }
            (kind == Kind::Gp2).then(|| (size_gib * 3).clamp(100, 16_000))
        }
        Some((range, per_gib)) => {
            let known = asked.iops.or(before.and_then(|before| before.iops).map(|n| n as i32));
            let default = (kind == Kind::Gp3).then_some(3000);
            let iops = known.or(default).ok_or_else(|| {
                Error::combination(format!(
                    "The parameter iops must be specified for {} volumes.",
                    kind.name()
                ))
            })?;
            Some(check_iops(kind, iops, range, per_gib, size_gib)?)
        }
    };
    let throughput = match (kind, asked.throughput) {
        (Kind::Gp3, asked) => {
            let known = before.and_then(|before| before.throughput).map(|n| n as i32);
            let iops = iops.unwrap_or(3000);
            Some(check_throughput(asked.or(known).unwrap_or(125), iops)?)
        }
        (_, None) => None,
        (kind, Some(_)) => {
            return Err(Error::combination(format!(
                "The parameter throughput is not supported for {} volumes.",
                kind.name()
            )));
        }
    };
    Ok(Performance { kind, iops, throughput })
}

fn check_iops(
    kind: Kind,
    iops: i32,
    range: std::ops::RangeInclusive<u32>,
    per_gib: u32,
    size_gib: u32,
) -> Result<u32> {
    let bound = |word: &str, limit: u32| {
        Error::value(format!(
            "Volume iops of {iops} is too {word}; {} is {limit} for {} volumes.",
            if word == "low" { "minimum" } else { "maximum" },
            kind.name()
        ))
    };
    let asked = u32::try_from(iops).unwrap_or(0);
    if asked < *range.start() {
        return Err(bound("low", *range.start()));
    }
    if asked > *range.end() {
        return Err(bound("high", *range.end()));
    }
    // Those that every gp3 volume has are not counted by its size.
    let free = kind == Kind::Gp3 && asked <= 3000;
    if !free && asked > per_gib * size_gib {
        return Err(Error::value(format!(
            "Iops to volume size ratio of {:.6} is too high; maximum is {per_gib}",
            f64::from(asked) / f64::from(size_gib)
        )));
    }
    Ok(asked)
}

fn check_throughput(throughput: i32, iops: u32) -> Result<u32> {
    let asked = u32::try_from(throughput).unwrap_or(0);
    if !(125..=2000).contains(&asked) {
        return Err(Error::value(format!(
            "Volume throughput of {throughput} MiB/s is out of range; it must be between 125 and 2000 \
             MiB/s for gp3 volumes."
        )));
    }
    // Every gp3 volume has 125 of them.
    if asked > 125 && asked * 4 > iops {
        return Err(Error::value(format!(
            "Throughput (MiBps) to iops ratio of {:.6} is too high; maximum is 0.250000 MiBps per iops",
            f64::from(asked) / f64::from(iops)
        )));
    }
    Ok(asked)
}

impl Performance {
    /// The most operations and bytes in a second.
    pub fn limits(&self, size_gib: u32) -> (u64, u64) {
        let provisioned = u64::from(self.iops.unwrap_or(0));
        let tib = f64::from(size_gib) / 1024.0;
        let per_tib = |burst: f64| (tib * burst).min(500.0);
        let (iops, mib) = match self.kind {
            Kind::Gp2 if size_gib <= 170 => (provisioned.max(3000), 128.0),
            Kind::Gp2 => (provisioned.max(3000), 250.0),
            Kind::Gp3 => (provisioned, f64::from(self.throughput.unwrap_or(125))),
            Kind::Io1 => (provisioned, (provisioned as f64 / 4.0).clamp(16.0, 1000.0)),
            Kind::Io2 => (provisioned, (provisioned as f64 / 4.0).clamp(16.0, 4000.0)),
            Kind::St1 => (500, per_tib(250.0)),
            Kind::Sc1 => (250, per_tib(80.0).min(250.0)),
            Kind::Standard => (200, 90.0),
        };
        (iops, (mib * 1024.0 * 1024.0) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(kind: &str, iops: Option<i32>, throughput: Option<i32>) -> Asked {
        Asked { kind: Some(kind.to_owned()), iops, throughput }
    }

    #[test]
    fn figures_follow_from_type_and_size() {
        for (asked, size, expected) in [
            (Asked::default(), 8, (Kind::Gp2, Some(100), None)),
            (asked("gp2", None, None), 1000, (Kind::Gp2, Some(3000), None)),
            (asked("gp2", None, None), 16_384, (Kind::Gp2, Some(16_000), None)),
            (asked("gp3", None, None), 8, (Kind::Gp3, Some(3000), Some(125))),
            (asked("gp3", Some(4000), Some(1000)), 8, (Kind::Gp3, Some(4000), Some(1000))),
            (asked("io1", Some(400), None), 8, (Kind::Io1, Some(400), None)),
            (asked("io2", Some(8000), None), 8, (Kind::Io2, Some(8000), None)),
            (asked("st1", None, None), 125, (Kind::St1, None, None)),
            (asked("standard", None, None), 1, (Kind::Standard, None, None)),
        ] {
            let made = resolve(&asked, size, Kind::Gp2, None).unwrap();
            assert_eq!((made.kind, made.iops, made.throughput), expected, "{asked:?}");
        }
    }

    #[test]
    fn what_a_type_has_not_is_refused() {
        for (asked, size, code) in [
            (asked("gp4", None, None), 8, "InvalidParameterValue"),
            (asked("gp2", Some(500), None), 8, "InvalidParameterCombination"),
            (asked("gp2", None, Some(125)), 8, "InvalidParameterCombination"),
            (asked("io1", None, None), 8, "InvalidParameterCombination"),
            (asked("io1", Some(401), None), 8, "InvalidParameterValue"),
            (asked("io1", Some(99), None), 8, "InvalidParameterValue"),
            (asked("gp3", Some(2999), None), 8, "InvalidParameterValue"),
            (asked("gp3", Some(4001), None), 8, "InvalidParameterValue"),
            (asked("gp3", None, Some(751)), 8, "InvalidParameterValue"),
            (asked("gp3", None, Some(124)), 8, "InvalidParameterValue"),
            (asked("io1", Some(100), None), 3, "InvalidParameterValue"),
            (asked("st1", None, None), 124, "InvalidParameterValue"),
            (asked("standard", None, None), 1025, "InvalidParameterValue"),
            (asked("gp3", None, None), 65_537, "InvalidParameterValue"),
        ] {
            let error = resolve(&asked, size, Kind::Gp2, None).unwrap_err();
            assert_eq!(error.code(), code, "{asked:?} {size}");
        }
    }

    #[test]
    fn a_modified_volume_keeps_what_is_not_said() {
        let before = Performance { kind: Kind::Gp3, iops: Some(4000), throughput: Some(500) };
        let same = resolve(&Asked::default(), 16, Kind::Gp3, Some(&before)).unwrap();
        assert_eq!(same, before);
        let other = resolve(&asked("gp2", None, None), 16, Kind::Gp3, Some(&before)).unwrap();
        assert_eq!((other.iops, other.throughput), (Some(100), None));
    }

    #[test]
    fn limits() {
        let mib = 1 << 20;
        for (kind, iops, throughput, size, expected) in [
            (Kind::Gp2, Some(100), None, 8, (3000, 128 * mib)),
            (Kind::Gp2, Some(16_000), None, 6000, (16_000, 250 * mib)),
            (Kind::Gp3, Some(3000), Some(125), 8, (3000, 125 * mib)),
            (Kind::Io1, Some(1000), None, 20, (1000, 250 * mib)),
            (Kind::St1, None, None, 1024, (500, 250 * mib)),
            (Kind::St1, None, None, 16_384, (500, 500 * mib)),
            (Kind::Standard, None, None, 1, (200, 90 * mib)),
        ] {
            let performance = Performance { kind, iops, throughput };
            assert_eq!(performance.limits(size), expected, "{kind:?} {size}");
        }
    }
}
