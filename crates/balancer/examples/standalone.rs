//! A balancer by itself, on the host's network, for tests and measurements:
//! `standalone process ZONE SOCKET` is told what to do over the socket;
//! `standalone relay WORKERS LISTEN TARGET…` forwards everything to the targets.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;

use balancer::HostNetwork;
use balancer::plane::Plane;
use balancer::serve::{self, Config};
use balancer::snapshot::*;

fn main() -> std::io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match &arguments[..] {
        ["process", zone, socket] => serve::run(
            Config { zone: zone.to_string(), socket: socket.into(), workers: Some(2) },
            Arc::new(HostNetwork),
        ),
        ["relay", workers, listen, targets @ ..] => {
            let address = |text: &str| text.parse::<SocketAddrV4>().expect("an address and port");
            let targets: Vec<SocketAddrV4> = targets.iter().map(|t| address(t)).collect();
            let workers = workers.parse().expect("a number of workers");
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(relay(workers, address(listen), &targets))
        }
        _ => Err(std::io::Error::other("process ZONE SOCKET | relay WORKERS LISTEN TARGET…")),
    }
}

async fn relay(
    workers: usize,
    listen: SocketAddrV4,
    targets: &[SocketAddrV4],
) -> std::io::Result<()> {
    let target = |&address: &SocketAddrV4| Target {
        id: address.to_string(),
        address,
        draining: false,
        eligible: true,
    };
    let group = TargetGroup {
        network: "host".into(),
        // Elsewhere than on loopback the kernel finds the address.
        source: match targets.iter().all(|t| t.ip().is_loopback()) {
            true => Ipv4Addr::LOCALHOST,
            false => Ipv4Addr::UNSPECIFIED,
        },
        algorithm: Algorithm::RoundRobin,
        targets: targets.iter().map(target).collect(),
        health_check: None,
        stickiness_seconds: None,
        slow_start_ms: 0,
    };
    let forward = Action::Forward { groups: vec![("group".into(), 1)], stickiness_seconds: None };
    let listener = Listener {
        id: "listener".into(),
        binds: vec![Bind { network: None, address: listen }],
        rules: vec![Rule { id: "default".into(), conditions: vec![], action: forward }],
        idle_timeout_ms: 60_000,
        client_keep_alive_ms: 3_600_000,
        forwarded_for: ForwardedFor::Append,
        forwarded_for_port: false,
        preserve_host_header: true,
        drop_invalid_header_fields: false,
        desync_mode: DesyncMode::Defensive,
        server_header: true,
        admits: vec![(std::net::Ipv4Addr::UNSPECIFIED, 0)],
    };
    let mut plane = Plane::start(workers, Arc::new(HostNetwork))?;
    let snapshot = Snapshot {
        version: 1,
        listeners: vec![listener],
        target_groups: [("group".to_string(), group)].into(),
    };
    plane.apply(&snapshot).await;
    match plane.report().bind_errors.first() {
        Some((bind, error)) => {
            Err(std::io::Error::other(format!("cannot listen on {}: {error}", bind.address)))
        }
        None => std::future::pending().await,
    }
}
