//! What went through an instance's interfaces and block devices.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::Usage;

/// How long it is known which devices there are.
const KNOWN: Duration = Duration::from_secs(1);

/// Loop devices by what they are of: `roots/ID`, `volumes/NAME`, plain or seen through a view.
#[derive(Default)]
pub struct Devices(Mutex<Option<(Instant, HashMap<String, String>)>>);

impl Devices {
    /// Adds what went through the devices of these disks, those that are there.
    pub fn add(&self, state_dir: &Path, disks: impl IntoIterator<Item = String>, to: &mut Usage) {
        let mut known = self.0.lock().expect("not poisoned");
        if known.as_ref().is_none_or(|(at, _)| at.elapsed() > KNOWN) {
            *known = Some((Instant::now(), devices(state_dir)));
        }
        let devices = known.as_ref().map(|(_, devices)| devices);
        for device in disks.into_iter().filter_map(|disk| devices?.get(&disk)) {
            let stat = fs::read_to_string(Path::new("/sys/block").join(device).join("stat"));
            parse_stat(&stat.unwrap_or_default(), to);
        }
    }
}

fn devices(state_dir: &Path) -> HashMap<String, String> {
    let mut found = HashMap::new();
    for entry in fs::read_dir("/sys/block").into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let backing = entry.path().join("loop/backing_file");
        if !name.starts_with("loop") {
            continue;
        }
        let Ok(backing) = fs::read_to_string(backing) else { continue };
        if let Some(disk) = disk_of(Path::new(backing.trim_end()), state_dir) {
            found.insert(disk, name);
        }
    }
    found
}

/// `STATE/pool/KIND/NAME` and `STATE/views/KIND.NAME/plain` are both `KIND/NAME`.
fn disk_of(backing: &Path, state_dir: &Path) -> Option<String> {
    let inner = backing.strip_prefix(state_dir).ok()?.to_str()?;
    match inner.strip_prefix("views/") {
        Some(view) => Some(view.strip_suffix("/plain")?.replacen('.', "/", 1)),
        None => inner.strip_prefix("pool/").map(str::to_owned),
    }
}

/// See Documentation/block/stat.rst: reads, merged, sectors, ticks; the same of writes.
fn parse_stat(line: &str, to: &mut Usage) {
    const SECTOR: u64 = 512;
    let n: Vec<u64> = line.split_whitespace().filter_map(|n| n.parse().ok()).collect();
    let [reads, _, sectors_read, _, writes, _, sectors_written, ..] = n[..] else { return };
    to.volume_reads += reads;
    to.volume_read_bytes += sectors_read * SECTOR;
    to.volume_writes += writes;
    to.volume_write_bytes += sectors_written * SECTOR;
}

/// Of the network namespace that this process is in.
pub fn of_network(pid: i32) -> Option<Usage> {
    Some(parse_net_dev(&fs::read_to_string(format!("/proc/{pid}/net/dev")).ok()?))
}

/// See proc_pid_net(5): after the name eight columns received, eight transmitted.
fn parse_net_dev(table: &str) -> Usage {
    let mut usage = Usage::default();
    for line in table.lines() {
        let Some((name, columns)) = line.split_once(':') else { continue };
        if name.trim() == "lo" {
            continue;
        }
        let n: Vec<u64> = columns.split_whitespace().filter_map(|n| n.parse().ok()).collect();
        let [in_bytes, in_packets, _, _, _, _, _, _, out_bytes, out_packets, ..] = n[..] else {
            continue;
        };
        usage.network_in_bytes += in_bytes;
        usage.network_in_packets += in_packets;
        usage.network_out_bytes += out_bytes;
        usage.network_out_packets += out_packets;
    }
    usage
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adds_interfaces_up() {
        let table = "Inter-|   Receive  |  Transmit\n face |bytes packets errs\n\
            \x20   lo: 9 9 0 0 0 0 0 0 9 9 0 0 0 0 0 0\n\
            \x20 eth0: 100 2 0 0 0 0 0 0 300 4 0 0 0 0 0 0\n\
            \x20 eth1: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n";
        let usage = parse_net_dev(table);
        assert_eq!((usage.network_in_bytes, usage.network_in_packets), (101, 3));
        assert_eq!((usage.network_out_bytes, usage.network_out_packets), (301, 5));
    }

    #[test]
    fn devices_are_known_by_their_disks() {
        let state = Path::new("/data/compute");
        for (backing, disk) in [
            ("/data/compute/pool/roots/i-1", Some("roots/i-1")),
            ("/data/compute/views/volumes.vol-1/plain", Some("volumes/vol-1")),
            ("/data/compute/pool.img", None),
            ("/elsewhere/pool/roots/i-1", None),
        ] {
            assert_eq!(disk_of(Path::new(backing), state).as_deref(), disk, "{backing}");
        }
        let mut usage = Usage::default();
        parse_stat("  3 0 16 1  5 0 80 2  0 3 3 0 0 0 0 0 0\n", &mut usage);
        parse_stat("", &mut usage);
        assert_eq!((usage.volume_reads, usage.volume_read_bytes), (3, 8192));
        assert_eq!((usage.volume_writes, usage.volume_write_bytes), (5, 40960));
    }
}
