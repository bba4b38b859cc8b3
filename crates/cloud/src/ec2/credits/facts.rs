//! What each burstable type earns. Source: EC2 User Guide, "Credit table".

/// Of one type.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Facts {
    pub family: &'static str,
    pub per_hour: f64,
    /// The most that accrue: what is earned in 24 hours.
    pub most: f64,
    pub vcpus: f64,
}

impl Facts {
    /// Processors' worth of time that costs just what is earned: a credit is a processor's minute.
    pub fn baseline(&self) -> f64 {
        self.per_hour / 60.0
    }

    /// T2 begins with credits, and loses them when it stops.
    pub fn is_t2(&self) -> bool {
        self.family == "t2"
    }

    /// Of T2 in standard mode, at every launch and start: 30 for each vCPU.
    pub fn at_launch(&self) -> f64 {
        if self.is_t2() { 30.0 * self.vcpus } else { 0.0 }
    }
}

/// Families that users set defaults for, T2 alone beginning with `standard`.
pub const FAMILIES: &[&str] = &["t2", "t3", "t3a", "t4g"];

/// Size, credits an hour, the most, vCPUs.
const T2: &[(&str, f64, f64, f64)] = &[
    ("nano", 3.0, 72.0, 1.0),
    ("micro", 6.0, 144.0, 1.0),
    ("small", 12.0, 288.0, 1.0),
    ("medium", 24.0, 576.0, 2.0),
    ("large", 36.0, 864.0, 2.0),
    ("xlarge", 54.0, 1296.0, 4.0),
    ("2xlarge", 81.6, 1958.4, 8.0),
];

/// Of T3, T3a and T4g.
const T3: &[(&str, f64, f64, f64)] = &[
    ("nano", 6.0, 144.0, 2.0),
    ("micro", 12.0, 288.0, 2.0),
    ("small", 24.0, 576.0, 2.0),
    ("medium", 24.0, 576.0, 2.0),
    ("large", 36.0, 864.0, 2.0),
    ("xlarge", 96.0, 2304.0, 4.0),
    ("2xlarge", 192.0, 4608.0, 8.0),
];

/// `None`: not burstable.
pub fn of(instance_type: &str) -> Option<Facts> {
    let (family, size) = instance_type.split_once('.')?;
    let family = FAMILIES.iter().find(|known| **known == family)?;
    let table = if *family == "t2" { T2 } else { T3 };
    let &(_, per_hour, most, vcpus) = table.iter().find(|(known, ..)| *known == size)?;
    Some(Facts { family, per_hour, most, vcpus })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ec2::catalog;

    #[test]
    fn every_burstable_type_has_its_line() {
        for t in catalog::all() {
            let facts = of(t.name);
            // T1 bursts without credits that anybody sees.
            assert_eq!(facts.is_some(), t.burstable && t.family() != "t1", "{}", t.name);
            if let Some(facts) = facts {
                assert_eq!(facts.vcpus, f64::from(t.vcpus), "{}", t.name);
                assert!((facts.per_hour * 24.0 - facts.most).abs() < 1e-6, "{}", t.name);
            }
        }
        assert_eq!(of("t3.nano").unwrap().baseline(), 0.1, "5 percent of two");
    }
}
