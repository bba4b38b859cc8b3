//! Links between networks: veth pairs with one end in each. Both ends have the same names, MACs and
//! neighbours every time, so that what a daemon finds after a restart needs no memory to be understood.
//!
//! ```text
//!   network A                    network B
//!  ┌─────────────────┐  veth    ┌─────────────────┐
//!  │ xpPEERING       ├──────────┤ xpPEERING       │   both reach the other as 169.254.0.1
//!  └─────────────────┘          └─────────────────┘
//!   network                      internet
//!  ┌─────────────────┐          ┌─────────────────┐
//!  │ xinternet       ├──────────┤ xiNETWORK       │
//!  └─────────────────┘          └─────────────────┘
//! ```

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;

use super::{Network, route};

/// A network's end of its link to the internet.
pub const INTERNET: &str = "xinternet";

/// Who is at the other end, as a next hop. No packet bears it.
pub const OTHER_END: Ipv4Addr = Ipv4Addr::new(169, 254, 0, 1);

/// Of both ends: there is nobody else on the wire to tell them from.
pub const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

/// Name of both ends of a peering.
pub fn peering(id: &str) -> String {
    format!("{PEERING}{}", short(id))
}

/// Name of the internet's end of its link to a network.
pub fn to_network(network: &str) -> String {
    format!("xi{}", short(network))
}

const PEERING: &str = "xp";

/// Whether a device of a network leads to another one.
pub fn is_join(device: &str) -> bool {
    device == INTERNET || is_peering(device)
}

pub fn is_peering(device: &str) -> bool {
    device.starts_with(PEERING)
}

/// What fits in a device's name of 15 bytes.
fn short(name: &str) -> String {
    format!("{:013x}", hash(name) & ((1 << 52) - 1))
}

/// FNV-1a: the same in every release.
pub fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// A network and the name of the device in it.
pub type End<'a> = (&'a Network, &'a str);

/// Makes the link unless it is there; whether it was made. Any source may come in by a near end that is
/// `open`.
pub fn ensure(near: End<'_>, far: End<'_>, open: bool) -> io::Result<bool> {
    let missing = !is_whole(near, far)?;
    if missing {
        for end in [near, far] {
            delete(end)?;
        }
        let far_netns = far.0.netns.as_fd();
        near.0.run(vec![route::new_veth(near.1, Some(&MAC), far.1, &MAC, far_netns)])?;
    }
    connect(near, open)?;
    connect(far, false)?;
    Ok(missing)
}

fn is_whole(near: End<'_>, far: End<'_>) -> io::Result<bool> {
    let ends = (find(near)?, find(far)?);
    Ok(matches!(ends, (Some(a), Some(b)) if a.peer == b.index && b.peer == a.index))
}

fn connect(end: End<'_>, open: bool) -> io::Result<()> {
    let link = find(end)?.ok_or(io::ErrorKind::NotFound)?;
    let mut batch =
        vec![route::set_link(link.index, true), route::neighbour(link.index, OTHER_END, &MAC)];
    if open {
        batch.push(route::check_source(link.index, false));
    }
    end.0.run(batch)
}

fn find((network, name): End<'_>) -> io::Result<Option<route::Link>> {
    route::link(&mut network.socket(), name)
}

/// Both ends go. Not there: nothing.
pub fn delete((network, name): End<'_>) -> io::Result<()> {
    network.run(vec![route::delete_link(name).accept(&[libc::ENODEV])])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_and_differ() {
        let names = [peering("pcx-0123456789abcdef0"), peering("pcx-0123456789abcdef1")];
        assert!(names.iter().all(|name| name.len() == 15 && is_join(name)), "{names:?}");
        assert_ne!(names[0], names[1]);
        assert_eq!(to_network("vpc-0123456789abcdef0").len(), 15);
        assert!(is_join(INTERNET) && !is_join("eni-0123"));
    }
}
