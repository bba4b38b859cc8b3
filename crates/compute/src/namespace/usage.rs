//! What went through an instance's interfaces.

use std::fs;

use crate::Usage;

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
}
