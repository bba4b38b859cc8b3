//! IPv4 blocks.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An IPv4 block whose address has no bits outside its prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Cidr {
    pub base: Ipv4Addr,
    pub prefix: u8,
}

impl Cidr {
    pub const ANY: Cidr = Cidr::new(Ipv4Addr::UNSPECIFIED, 0);

    pub const fn new(base: Ipv4Addr, prefix: u8) -> Cidr {
        Cidr { base, prefix }
    }

    /// As requests give it: EC2 takes `100.68.0.18/18` for `100.68.0.0/18`.
    pub fn canonical(text: &str) -> Option<Cidr> {
        let (base, prefix) = text.split_once('/')?;
        let (base, prefix) = (base.parse::<Ipv4Addr>().ok()?, prefix.parse::<u8>().ok()?);
        if prefix > 32 {
            return None;
        }
        let host_bits = (Cidr { base, prefix }.size() - 1) as u32;
        Some(Cidr { base: Ipv4Addr::from(u32::from(base) & !host_bits), prefix })
    }

    /// How many addresses it spans.
    pub fn size(self) -> u64 {
        1 << (32 - u32::from(self.prefix))
    }

    pub fn first(self) -> u32 {
        u32::from(self.base)
    }

    pub fn last(self) -> u32 {
        (u64::from(self.first()) + self.size() - 1) as u32
    }

    pub fn contains(self, address: Ipv4Addr) -> bool {
        (self.first()..=self.last()).contains(&u32::from(address))
    }

    /// Whether all of `other` is in it.
    pub fn covers(self, other: Cidr) -> bool {
        self.prefix <= other.prefix && self.contains(other.base)
    }

    /// Of two blocks, one covers the other or they are apart.
    pub fn overlaps(self, other: Cidr) -> bool {
        self.covers(other) || other.covers(self)
    }

    /// The `n`th address, counted from the base.
    pub fn nth(self, n: u32) -> Ipv4Addr {
        Ipv4Addr::from(self.first() + n)
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.prefix)
    }
}

impl FromStr for Cidr {
    type Err = ();

    /// Strict: `10.0.0.1/16` is not one.
    fn from_str(text: &str) -> Result<Cidr, ()> {
        let cidr = Cidr::canonical(text).ok_or(())?;
        let (base, _) = text.split_once('/').ok_or(())?;
        if base.parse() == Ok(cidr.base) { Ok(cidr) } else { Err(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cidrs() {
        for (text, expected) in [
            ("172.31.16.0/20", Some((4096, "172.31.31.255"))),
            ("0.0.0.0/0", Some((1 << 32, "255.255.255.255"))),
            ("10.0.0.1/32", Some((1, "10.0.0.1"))),
            ("10.0.0.1/16", None),
            ("10.0.0.0/33", None),
            ("10.0.0.0", None),
            ("x/8", None),
        ] {
            let cidr = text.parse::<Cidr>().ok();
            let got = cidr.map(|c| (c.size(), Ipv4Addr::from(c.last()).to_string()));
            assert_eq!(got, expected.map(|(n, last)| (n, last.to_owned())), "{text}");
            if let Some(cidr) = cidr {
                assert_eq!(cidr.to_string(), text);
            }
        }
        let canonical = Cidr::canonical("100.68.0.18/18").map(|cidr| cidr.to_string());
        assert_eq!(canonical.as_deref(), Some("100.68.0.0/18"));
    }

    #[test]
    fn blocks_cover_or_are_apart() {
        for (a, b, covers, overlaps) in [
            ("10.0.0.0/16", "10.0.1.0/24", true, true),
            ("10.0.1.0/24", "10.0.0.0/16", false, true),
            ("10.0.0.0/24", "10.0.1.0/24", false, false),
            ("0.0.0.0/0", "255.255.255.255/32", true, true),
        ] {
            let (x, y): (Cidr, Cidr) = (a.parse().unwrap(), b.parse().unwrap());
            assert_eq!((x.covers(y), x.overlaps(y)), (covers, overlaps), "{a} {b}");
        }
    }
}
