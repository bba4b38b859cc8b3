//! A cloud for tests of `ops`: an ephemeral store, a simulated clock, seeded randomness and fakes of all
//! that is outside.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use compute::fake::{Fake, Fault, Point, Timing};

#[cfg(test)]
pub use crate::ec2::handlers::testing::{ask, call, ok, profile, refused, role, text};
use crate::ec2::vpc::Cidr;
use crate::env::{Config, Env, Parts, Rng};
use crate::fake_balancers::FakeBalancers;
use crate::{Clock, Context, Timestamp};

/// 2026-01-01T00:00:00Z
pub const NOW: Timestamp = Timestamp(1_767_225_600_000);

pub fn context() -> Context {
    world(|_| None).0
}

/// With the driver's book and a place to inject its faults.
pub fn world(
    faults: impl Fn(Point<'_>) -> Option<Fault> + Send + Sync + 'static,
) -> (Context, Arc<Fake>) {
    let config = Config {
        account: "123456789012".to_owned(),
        default_region: "us-east-1".to_owned(),
        zones: 3,
        loopback_octet: 77,
        public_pool: Cidr::new(Ipv4Addr::new(198, 18, 0, 0), 19),
        spot_seed: 1,
        gateway_port: 4566,
        capacity: vec![],
        fake_compute: true,
    };
    let clock = Clock::simulated(NOW);
    let timing = Timing { boot: Duration::from_secs(1), stop: Duration::from_secs(1) };
    let driver_clock = clock.clone();
    let driver_now = move || driver_clock.now().since(NOW);
    let driver = Arc::new(Fake::with_faults(timing, driver_now, faults));
    let env = Env::new(Parts {
        config,
        clock,
        rng: Rng::seeded(1),
        store: store::Store::ephemeral(),
        driver: driver.clone(),
        storage: driver.clone(),
        fabric: Arc::new(fabric::fake::Fake::new()),
        balancers: Arc::new(FakeBalancers::new(|_| true)),
        metrics: crate::cloudwatch::Metrics::default(),
        trail: crate::iam::Trail::default(),
        seal: crate::seal::Seal::new([7; 32]),
        sqs: crate::sqs::Lines::default(),
        network_gate: Arc::default(),
    });
    let context = Context {
        env,
        account: "123456789012".to_owned(),
        region: "us-east-1".to_owned(),
        caller: "arn:aws:iam::123456789012:root".to_owned(),
        from: Arc::default(),
        request_id: "00000000-0000-4000-8000-000000000000".to_owned(),
        now: NOW,
    };
    (context, driver)
}

/// The same cloud with other balancers.
pub fn with_balancers(cx: &Context, balancers: Arc<FakeBalancers>) -> Context {
    let parts: &Parts = &cx.env;
    let env = Env::new(Parts { balancers, ..parts.clone() });
    Context { env, ..cx.clone() }
}

/// Rounds of these controllers until nothing changes any more; time stands.
#[cfg(test)]
pub async fn settle(env: &Env, driver: &Fake, controllers: &[&dyn crate::controller::Controller]) {
    use compute::Driver as _;
    for _ in 0..40 {
        let (store, seen) = (env.store.changes(), driver.changes());
        for controller in controllers {
            controller.reconcile(env).await.unwrap();
        }
        if !store.has_changed().unwrap() && !seen.has_changed().unwrap() {
            return;
        }
    }
    panic!("does not settle");
}

/// Lets time go by, for the context and for what the driver runs.
#[cfg(test)]
pub fn pass(cx: &mut Context, driver: &Fake, seconds: u64) {
    cx.env.clock.advance(cx.now.plus(Duration::from_secs(seconds)));
    cx.now = cx.env.clock.now();
    driver.tick();
}

/// The controllers of EC2's instances and disks, for tests of what comes of a call.
#[cfg(test)]
pub struct Disks {
    controllers: Vec<Box<dyn crate::controller::Controller>>,
}

#[cfg(test)]
impl Default for Disks {
    fn default() -> Disks {
        Disks {
            controllers: vec![
                Box::new(crate::ec2::instance::controller::Instances::default()),
                Box::new(crate::ec2::volume::controller::Volumes::default()),
                Box::new(crate::ec2::snapshot::controller::Snapshots),
                Box::new(crate::ec2::image::controller::Images),
                Box::new(crate::ec2::volume::sweep::Sweeper::default()),
            ],
        }
    }
}

#[cfg(test)]
impl Disks {
    /// Rounds, a second apart, until nothing changes.
    pub async fn settle(&self, cx: &mut Context, driver: &Fake) {
        use compute::Driver as _;
        for _ in 0..60 {
            let (store, seen) = (cx.env.store.changes(), driver.changes());
            for controller in &self.controllers {
                controller.reconcile(&cx.env).await.unwrap();
            }
            let next = cx.env.clock.now().plus(Duration::from_secs(1));
            cx.env.clock.advance(next);
            cx.now = next;
            driver.tick();
            let changed = store.has_changed().unwrap() || seen.has_changed().unwrap();
            if !changed && driver.next_due().is_none() {
                return;
            }
        }
        panic!("does not settle");
    }
}

/// Instances that a controller makes be, one second a boot.
#[cfg(test)]
pub struct Machines {
    pub cx: Context,
    pub driver: Arc<Fake>,
    disks: Disks,
}

#[cfg(test)]
impl Default for Machines {
    fn default() -> Machines {
        let (cx, driver) = world(|_| None);
        Machines { cx, driver, disks: Disks::default() }
    }
}

#[cfg(test)]
impl Machines {
    /// The id of one that is asked for, with this instance profile.
    pub async fn launch(&self, profile: Option<&str>) -> String {
        use crate::ec2::instance::launch::{InstanceProfile, Launch};
        let launch = Launch {
            image_id: Some(crate::ec2::image::ops::built_in_id()),
            instance_type: Some("t3.micro".into()),
            min_count: 1,
            max_count: 1,
            iam_instance_profile: profile
                .map(|name| InstanceProfile { name: Some(name.to_owned()), arn: None }),
            ..Launch::default()
        };
        let launched =
            self.cx.write(|tx| crate::ec2::instance::ops::run(tx, &self.cx, &launch)).await;
        launched.unwrap().instances.remove(0).id
    }

    /// Lets boots and stops that are under way come to their end.
    pub async fn settle(&self) {
        use compute::Driver;
        for _ in 0..60 {
            let (store, driver) = (self.cx.env.store.changes(), self.driver.changes());
            for controller in &self.disks.controllers {
                controller.reconcile(&self.cx.env).await.unwrap();
            }
            if self.driver.next_due().is_some() {
                let clock = &self.cx.env.clock;
                clock.advance(clock.now().plus(Duration::from_secs(1)));
                self.driver.tick();
                continue;
            }
            if !store.has_changed().unwrap() && !driver.has_changed().unwrap() {
                return;
            }
        }
        panic!("does not settle");
    }

    pub async fn stop(&self, id: &str) {
        let ids = [id.to_owned()];
        let stop = |tx: &mut store::Tx| crate::ec2::instance::ops::stop(tx, &self.cx, &ids, false);
        self.cx.write(stop).await.unwrap();
        self.settle().await;
    }

    pub async fn start(&self, id: &str) {
        let ids = [id.to_owned()];
        let start = |tx: &mut store::Tx| crate::ec2::instance::ops::start(tx, &self.cx, &ids);
        self.cx.write(start).await.unwrap();
        self.settle().await;
    }

    pub async fn terminate(&self, id: &str) {
        let ids = [id.to_owned()];
        let end =
            |tx: &mut store::Tx| crate::ec2::instance::ops::terminate(tx, &self.cx, &ids, true);
        self.cx.write(end).await.unwrap();
        self.settle().await;
    }
}
