//! Plugging an interface into an instance's network namespace, at its boot or while it runs.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;

use fabric::Fabric;

use crate::Nic;

/// Of a process of the instance.
pub fn namespace(pid: i32) -> io::Result<File> {
    File::open(format!("/proc/{pid}/ns/net"))
}

/// Unless the link is `present`, makes it; then gives it its other addresses.
pub fn plug(fabric: &dyn Fabric, nic: &Nic, namespace: &File, present: bool) -> fabric::Result<()> {
    let interface = fabric::Interface {
        name: nic.interface.clone(),
        inner: format!("eth{}", nic.device),
        mac: nic.mac,
        address: nic.address,
        prefix: nic.prefix,
        gateway: nic.gateway,
        default_route: nic.device == 0,
    };
    if !present {
        fabric.attach(&nic.network, &interface, namespace.as_fd())?;
    }
    if present || !nic.secondary.is_empty() {
        fabric.assign(&interface, &nic.secondary, namespace.as_fd())?;
    }
    Ok(())
}
