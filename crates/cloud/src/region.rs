//! The regions AWS has, by name: which there are, and which an account must opt in to.
//!
//! Here every region is open to every account; each has its own resources. Source: AWS General
//! Reference, "Amazon EC2 endpoints and quotas".

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    pub name: &'static str,
    /// Regions launched after March 2019 must be opted in to at AWS.
    pub opt_in: bool,
}

impl Region {
    pub fn endpoint(&self) -> String {
        format!("ec2.{}.amazonaws.com", self.name)
    }

    /// As DescribeRegions says it. Every region that needs it is opted in here.
    pub fn opt_in_status(&self) -> &'static str {
        if self.opt_in { "opted-in" } else { "opt-in-not-required" }
    }
}

const fn always(name: &'static str) -> Region {
    Region { name, opt_in: false }
}

const fn opt_in(name: &'static str) -> Region {
    Region { name, opt_in: true }
}

/// Sorted by name.
pub const ALL: &[Region] = &[
    opt_in("af-south-1"),
    opt_in("ap-east-1"),
    opt_in("ap-east-2"),
    always("ap-northeast-1"),
    always("ap-northeast-2"),
    always("ap-northeast-3"),
    always("ap-south-1"),
    opt_in("ap-south-2"),
    always("ap-southeast-1"),
    always("ap-southeast-2"),
    opt_in("ap-southeast-3"),
    opt_in("ap-southeast-4"),
    opt_in("ap-southeast-5"),
    opt_in("ap-southeast-6"),
    opt_in("ap-southeast-7"),
    always("ca-central-1"),
    opt_in("ca-west-1"),
    always("eu-central-1"),
    opt_in("eu-central-2"),
    always("eu-north-1"),
    opt_in("eu-south-1"),
    opt_in("eu-south-2"),
    always("eu-west-1"),
    always("eu-west-2"),
    always("eu-west-3"),
    opt_in("il-central-1"),
    opt_in("me-central-1"),
    opt_in("me-south-1"),
    opt_in("mx-central-1"),
    always("sa-east-1"),
    always("us-east-1"),
    always("us-east-2"),
    always("us-west-1"),
    always("us-west-2"),
];

pub fn find(name: &str) -> Option<&'static Region> {
    let at = ALL.binary_search_by(|region| region.name.cmp(name)).ok()?;
    Some(&ALL[at])
}

/// `use1` for `us-east-1`: what zone ids of the region begin with.
pub fn abbreviation(region: &str) -> String {
    let mut short = String::new();
    for (n, part) in region.split('-').enumerate() {
        match (n, part) {
            (0, area) => short.push_str(area),
            (_, "northeast") => short.push_str("ne"),
            (_, "southeast") => short.push_str("se"),
            (_, "northwest") => short.push_str("nw"),
            (_, "southwest") => short.push_str("sw"),
            (_, part) if part.bytes().all(|b| b.is_ascii_digit()) => short.push_str(part),
            (_, part) => short.extend(part.chars().next()),
        }
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_regions_are_found() {
        assert!(ALL.is_sorted_by_key(|region| region.name));
        assert_eq!(find("us-east-1").map(|r| r.opt_in_status()), Some("opt-in-not-required"));
        assert_eq!(find("me-south-1").map(|r| r.opt_in_status()), Some("opted-in"));
        assert_eq!(find("moon-east-1"), None);
    }

    #[test]
    fn abbreviations_are_those_of_aws() {
        for (region, expected) in [
            ("us-east-1", "use1"),
            ("ap-northeast-3", "apne3"),
            ("ap-southeast-2", "apse2"),
            ("ap-south-1", "aps1"),
            ("ca-central-1", "cac1"),
            ("us-gov-west-1", "usgw1"),
        ] {
            assert_eq!(abbreviation(region), expected);
        }
    }
}
