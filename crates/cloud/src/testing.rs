//! A cloud for tests of `ops`: an ephemeral store, a simulated clock and seeded randomness. Nothing
//! outside is there, since `ops` touch nothing outside.

use std::net::Ipv4Addr;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use compute::driver::{BoxFuture, Observed, Result as Driven, Spec, Usage};
use fabric::{Interface, Result as Fabricated};
use tokio::sync::watch;

use crate::env::{Balancers, Config, Env, Parts, Rng};
use crate::{Clock, Context, Timestamp};

/// 2026-01-01T00:00:00Z
pub const NOW: Timestamp = Timestamp(1_767_225_600_000);

pub fn context() -> Context {
    let config = Config {
        account: "123456789012".to_owned(),
        default_region: "us-east-1".to_owned(),
        zones: 3,
        loopback_octet: 77,
        gateway_port: 4566,
        fake_compute: true,
    };
    let env = Env::new(Parts {
        config,
        clock: Clock::simulated(NOW),
        rng: Rng::seeded(1),
        store: store::Store::ephemeral(),
        driver: Arc::new(Absent),
        fabric: Arc::new(Absent),
        balancers: Arc::new(Absent),
        metrics: crate::cloudwatch::Metrics::default(),
    });
    Context {
        env,
        account: "123456789012".to_owned(),
        region: "us-east-1".to_owned(),
        caller: "arn:aws:iam::123456789012:root".to_owned(),
        request_id: "00000000-0000-4000-8000-000000000000".to_owned(),
        now: NOW,
    }
}

struct Absent;

impl compute::Driver for Absent {
    fn ensure<'a>(&'a self, _: &'a Spec) -> BoxFuture<'a, Driven<()>> {
        unreachable!("no driver here")
    }
    fn stop(&self, _: &str, _: Duration) -> Driven<()> {
        unreachable!("no driver here")
    }
    fn kill(&self, _: &str) -> Driven<()> {
        unreachable!("no driver here")
    }
    fn destroy<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Driven<()>> {
        unreachable!("no driver here")
    }
    fn list(&self) -> Vec<Observed> {
        unreachable!("no driver here")
    }
    fn changes(&self) -> watch::Receiver<u64> {
        unreachable!("no driver here")
    }
    fn usage(&self, _: &str) -> Option<Usage> {
        unreachable!("no driver here")
    }
    fn console(&self, _: &str) -> Vec<u8> {
        unreachable!("no driver here")
    }
}

impl fabric::Fabric for Absent {
    fn ensure_network(&self, _: &str) -> Fabricated<()> {
        unreachable!("no fabric here")
    }
    fn remove_network(&self, _: &str) -> Fabricated<()> {
        unreachable!("no fabric here")
    }
    fn networks(&self) -> Fabricated<Vec<String>> {
        unreachable!("no fabric here")
    }
    fn ensure_address(&self, _: &str, _: Ipv4Addr) -> Fabricated<()> {
        unreachable!("no fabric here")
    }
    fn remove_address(&self, _: &str, _: Ipv4Addr) -> Fabricated<()> {
        unreachable!("no fabric here")
    }
    fn addresses(&self, _: &str) -> Fabricated<Vec<Ipv4Addr>> {
        unreachable!("no fabric here")
    }
    fn set_link(&self, _: &str, _: &str, _: bool) -> Fabricated<()> {
        unreachable!("no fabric here")
    }
    fn attach(&self, _: &str, _: &Interface, _: BorrowedFd<'_>) -> Fabricated<()> {
        unreachable!("no fabric here")
    }
    fn namespace_path(&self, _: &str) -> Fabricated<PathBuf> {
        unreachable!("no fabric here")
    }
    fn tcp_socket(&self, _: &str) -> Fabricated<OwnedFd> {
        unreachable!("no fabric here")
    }
    fn counters(&self, _: &str, _: &str) -> Option<fabric::Counters> {
        unreachable!("no fabric here")
    }
}

impl Balancers for Absent {
    fn apply(&self, _: &str, _: balancer::snapshot::Snapshot) {
        unreachable!("no balancers here")
    }
    fn report(&self, _: &str) -> Option<Arc<balancer::snapshot::Report>> {
        unreachable!("no balancers here")
    }
    fn kill(&self, _: &str) {
        unreachable!("no balancers here")
    }
    fn zones(&self) -> Vec<String> {
        unreachable!("no balancers here")
    }
    fn changes(&self) -> watch::Receiver<u64> {
        unreachable!("no balancers here")
    }
}
