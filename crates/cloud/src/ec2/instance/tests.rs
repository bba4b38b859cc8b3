//! Instances from launch to oblivion: ops, controller and fake driver together, in virtual time.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use compute::fake::{Fake, Fault, Point};
use compute::{Driver, Exit};

use super::controller::Instances;
use super::launch::{BlockDevice, Interface, Launch, Template};
use super::model::ShutdownBehavior;
use super::ops;
use super::state::{InstanceState, RECOVERY, REMEMBERED, Status};
use crate::controller::Controller;
use crate::ec2::{Error, image};
use crate::ec2::{network, vpc};
use crate::testing::{self, NOW};
use crate::{Context, zone};

struct World {
    cx: Context,
    driver: Arc<Fake>,
    controller: Instances,
}

impl World {
    fn new() -> World {
        World::with_faults(|_| None)
    }

    fn with_faults(faults: impl Fn(Point<'_>) -> Option<Fault> + Send + Sync + 'static) -> World {
        let (cx, driver) = testing::world(faults);
        World { cx, driver, controller: Instances::default() }
    }

    async fn run(&self, launch: Launch) -> Result<Vec<String>, Error> {
        let reservation = self.cx.write(|tx| ops::run(tx, &self.cx, &launch)).await?;
        Ok(reservation.instances.into_iter().map(|i| i.id).collect())
    }

    async fn one(&self) -> String {
        self.run(launch()).await.unwrap().remove(0)
    }

    /// Rounds until nothing changes.
    async fn settle(&self) {
        for _ in 0..20 {
            let (store, driver) = (self.cx.env.store.changes(), self.driver.changes());
            self.controller.reconcile(&self.cx.env).await.unwrap();
            if !store.has_changed().unwrap() && !driver.has_changed().unwrap() {
                return;
            }
        }
        panic!("does not settle");
    }

    async fn pass(&mut self, time: Duration) {
        self.cx.env.clock.advance(self.cx.now.plus(time));
        self.cx.now = self.cx.env.clock.now();
        self.driver.tick();
        self.settle().await;
    }

    async fn boot(&mut self) {
        self.settle().await;
        self.pass(Duration::from_secs(1)).await;
    }

    fn state(&self, id: &str) -> InstanceState {
        ops::instance(&self.cx.read(), &self.cx, id).unwrap().state()
    }

    fn status(&self, id: &str) -> Status {
        ops::instance(&self.cx.read(), &self.cx, id).unwrap().status()
    }

    fn reason(&self, id: &str) -> Option<String> {
        let instance = ops::instance(&self.cx.read(), &self.cx, id).unwrap();
        instance.reason.as_ref().map(|reason| reason.code.clone())
    }
}

fn launch() -> Launch {
    Launch {
        image_id: Some(image::ops::built_in_id()),
        instance_type: Some("t3.micro".into()),
        min_count: 1,
        max_count: 1,
        ..Launch::default()
    }
}

fn ids(id: &str) -> Vec<String> {
    vec![id.to_owned()]
}

#[tokio::test]
async fn launch_stop_start_terminate() {
    let mut world = World::new();
    let cx = world.cx.clone();
    let id = world.one().await;
    assert_eq!(world.state(&id), InstanceState::Pending);
    world.boot().await;
    assert_eq!((world.state(&id), world.status(&id)), (InstanceState::Running, Status::Ok));
    let vpc_id = vpc::ops::first_id(&cx);
    assert!(cx.env.fabric.addresses(&vpc_id).unwrap().contains(&network::METADATA));
    let spec = world.driver.spec(&id).unwrap();
    assert_eq!((spec.vcpus, spec.memory_mib, spec.nics[0].prefix), (2, 1024, 20));
    assert!(spec.nics[0].interface.len() <= 15);

    let changes = cx.write(|tx| ops::stop(tx, &cx, &ids(&id), false)).await.unwrap();
    assert_eq!(
        (changes[0].previous, changes[0].current),
        (InstanceState::Running, InstanceState::Stopping)
    );
    world.boot().await;
    assert_eq!(world.state(&id), InstanceState::Stopped);
    cx.write(|tx| ops::start(tx, &cx, &ids(&id))).await.unwrap();
    world.boot().await;
    assert_eq!(world.state(&id), InstanceState::Running);
    assert_eq!(world.driver.spec(&id).unwrap().boot, 2);

    cx.write(|tx| ops::reboot(tx, &cx, &ids(&id))).await.unwrap();
    world.boot().await;
    assert_eq!(
        (world.state(&id), world.status(&id)),
        (InstanceState::Running, Status::Initializing)
    );
    world.boot().await;
    assert_eq!(world.status(&id), Status::Ok);

    cx.write(|tx| ops::terminate(tx, &cx, &ids(&id), false)).await.unwrap();
    world.settle().await;
    assert_eq!(world.state(&id), InstanceState::ShuttingDown);
    world.boot().await;
    assert_eq!(world.state(&id), InstanceState::Terminated);
    assert!(world.driver.list().is_empty());
    let subnet = ops::instance(&cx.read(), &cx, &id).unwrap().subnet_id.clone();
    assert!(vpc::ops::addresses(&cx.read(), &cx, &subnet).is_empty());
    world.pass(REMEMBERED).await;
    let forgotten = ops::instance(&cx.read(), &cx, &id).unwrap_err();
    assert_eq!(forgotten.code(), "InvalidInstanceID.NotFound");
}

#[tokio::test]
async fn interfaces_come_and_go_while_it_runs() {
    use crate::ec2::network_interface::attribute::{self, Asked};
    use crate::ec2::network_interface::ops::{self as interfaces, New};
    let fails = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let once = Arc::clone(&fails);
    let mut world = World::with_faults(move |point| match point {
        Point::Attach(_) if once.swap(false, std::sync::atomic::Ordering::Relaxed) => {
            Some(Fault::AnswerLost)
        }
        _ => None,
    });
    let cx = world.cx.clone();
    let id = world.one().await;
    world.boot().await;
    let instance = ops::instance(&cx.read(), &cx, &id).unwrap();
    let new = New::in_subnet(&instance.subnet_id, vec![]);
    let attachment = cx
        .write(|tx| {
            let made = interfaces::create(tx, &cx, &new, None, None)?;
            interfaces::attach(tx, &cx, &made.id, &id, 1)
        })
        .await
        .unwrap();
    world.settle().await;
    world.boot().await;
    let nics = |world: &World| world.driver.spec(&id).unwrap().nics;
    assert_eq!(nics(&world).iter().map(|nic| nic.device).collect::<Vec<_>>(), [0, 1]);
    let status = |id: &str| {
        let snapshot = cx.read();
        let interface = interfaces::by_id(&snapshot, &cx, id).unwrap();
        interface.attachment.as_ref().map(|attachment| attachment.progress.name())
    };
    let own = &ops::instance(&cx.read(), &cx, &id).unwrap().secondary_interfaces[0];
    assert_eq!(status(own), Some("attached"));
    cx.write(|tx| attribute::assign(tx, &cx, own, &Asked::Count(1), false)).await.unwrap();
    world.settle().await;
    assert_eq!(nics(&world)[1].secondary.len(), 1);
    cx.write(|tx| interfaces::detach(tx, &cx, &attachment.id)).await.unwrap();
    assert_eq!(status(own), Some("detaching"));
    world.settle().await;
    assert_eq!((nics(&world).len(), status(own)), (1, None));
}

#[tokio::test]
async fn guests_end_themselves() {
    let mut world = World::new();
    let stops = world.one().await;
    let terminates = world
        .run(Launch { shutdown_behavior: Some(ShutdownBehavior::Terminate), ..launch() })
        .await
        .unwrap()
        .remove(0);
    world.boot().await;
    world.driver.end(&stops, Exit::PoweredOff);
    world.driver.end(&terminates, Exit::PoweredOff);
    world.settle().await;
    assert_eq!(world.state(&stops), InstanceState::Stopped);
    assert_eq!(world.state(&terminates), InstanceState::Terminated);
    assert_eq!(world.reason(&stops).as_deref(), Some("Client.InstanceInitiatedShutdown"));
}

#[tokio::test]
async fn a_lost_instance_is_impaired_and_boots_again() {
    let mut world = World::new();
    let id = world.one().await;
    world.boot().await;
    world.driver.end(&id, Exit::Lost);
    world.settle().await;
    assert_eq!((world.state(&id), world.status(&id)), (InstanceState::Running, Status::Impaired));
    world.pass(RECOVERY - Duration::from_secs(1)).await;
    assert_eq!(world.status(&id), Status::Impaired);
    world.boot().await;
    world.boot().await;
    assert_eq!(world.status(&id), Status::Ok);
}

#[tokio::test]
async fn a_zone_fails_and_heals() {
    let mut world = World::new();
    let cx = world.cx.clone();
    let in_zone = |zone: &str| Launch { zone: Some(zone.into()), ..launch() };
    let a = world.run(in_zone("us-east-1a")).await.unwrap().remove(0);
    let b = world.run(in_zone("us-east-1b")).await.unwrap().remove(0);
    let stopped = world.run(in_zone("us-east-1a")).await.unwrap().remove(0);
    world.boot().await;
    let pending = world.run(in_zone("us-east-1a")).await.unwrap().remove(0);
    world.settle().await;
    cx.write(|tx| {
        zone::fail(tx, "us-east-1a", NOW);
        Ok::<_, Error>(())
    })
    .await
    .unwrap();
    world.settle().await;
    assert_eq!((world.state(&a), world.status(&a)), (InstanceState::Running, Status::Impaired));
    assert_eq!(world.status(&b), Status::Ok);
    assert_eq!(world.state(&pending), InstanceState::Terminated);
    assert_eq!(world.reason(&pending).as_deref(), Some("Server.InternalError"));
    let refused = world.run(in_zone("us-east-1a")).await.unwrap_err();
    assert_eq!(refused.code(), "InsufficientInstanceCapacity");
    for _ in 0..10 {
        let id = world.one().await;
        assert_ne!(ops::instance(&cx.read(), &cx, &id).unwrap().zone, "us-east-1a");
    }
    cx.write(|tx| ops::stop(tx, &cx, &ids(&stopped), false)).await.unwrap();
    world.settle().await;
    assert_eq!(world.state(&stopped), InstanceState::Stopped);
    let refused = cx.write(|tx| ops::start(tx, &cx, &ids(&stopped))).await.unwrap_err();
    assert_eq!(refused.code(), "InsufficientInstanceCapacity");
    cx.write(|tx| Ok::<_, Error>(zone::heal(tx, "us-east-1a"))).await.unwrap();
    world.boot().await;
    assert_eq!((world.state(&a), world.status(&a)), (InstanceState::Running, Status::Ok));
}

#[tokio::test]
async fn launches_that_fail() {
    for (fault, reason) in [
        (Fault::NoCapacity, "Server.InsufficientInstanceCapacity"),
        (Fault::Fails, "Server.InternalError"),
        (Fault::BootFails, "Server.InternalError"),
    ] {
        let mut world =
            World::with_faults(move |p| matches!(p, Point::Ensure(_)).then(|| fault.clone()));
        let id = world.one().await;
        for _ in 0..4 {
            world.boot().await;
        }
        assert_eq!(world.state(&id), InstanceState::Terminated);
        assert_eq!(world.reason(&id).as_deref(), Some(reason));
        assert!(world.driver.list().is_empty());
    }
}

#[tokio::test]
async fn what_is_refused() {
    let world = World::new();
    let cases: Vec<(&str, Launch)> = vec![
        ("MissingParameter", Launch { image_id: None, ..launch() }),
        ("InvalidAMIID.Malformed", Launch { image_id: Some("x".into()), ..launch() }),
        ("InvalidAMIID.NotFound", Launch { image_id: Some("ami-12345678".into()), ..launch() }),
        ("InvalidParameterValue", Launch { instance_type: Some("t9.huge".into()), ..launch() }),
        ("InvalidParameterValue", Launch { min_count: 0, ..launch() }),
        ("InvalidParameterValue", Launch { min_count: 2, ..launch() }),
        (
            "InsufficientFreeAddressesInSubnet",
            Launch { min_count: 5000, max_count: 5000, ..launch() },
        ),
        ("InvalidParameterValue", Launch { zone: Some("us-east-1z".into()), ..launch() }),
        (
            "InvalidSubnetID.NotFound",
            Launch { subnet_id: Some("subnet-12345678".into()), ..launch() },
        ),
        (
            "InvalidParameterCombination",
            Launch {
                subnet_id: Some("subnet-12345678".into()),
                interfaces: vec![Interface::default()],
                ..launch()
            },
        ),
        (
            "InvalidBlockDeviceMapping",
            Launch {
                block_devices: vec![BlockDevice {
                    device_name: "/dev/xvda".into(),
                    volume_size_gib: Some(7),
                    ..BlockDevice::default()
                }],
                ..launch()
            },
        ),
        (
            "InvalidParameterValue",
            Launch {
                tags: [("instance".into(), [("aws:x".into(), "y".into())].into())].into(),
                ..launch()
            },
        ),
    ];
    for (code, launch) in cases {
        let error = world.run(launch.clone()).await.unwrap_err();
        assert_eq!(error.code(), code, "{launch:?}: {error}");
    }
    assert!(ops::instances(&world.cx.read(), &world.cx).is_empty());
}

#[tokio::test]
async fn a_client_token_launches_once() {
    let world = World::new();
    let tokened = Launch { client_token: Some("once".into()), ..launch() };
    let first = world.run(tokened.clone()).await.unwrap();
    assert_eq!(world.run(tokened.clone()).await.unwrap(), first);
    let other = Launch { instance_type: Some("t3.small".into()), ..tokened };
    assert_eq!(world.run(other).await.unwrap_err().code(), "IdempotentParameterMismatch");
}

#[tokio::test]
async fn as_many_as_there_is_room_for() {
    let world = World::new();
    let zone = Some("us-east-1a".to_owned());
    let many = Launch { max_count: 4090, zone: zone.clone(), ..launch() };
    assert_eq!(world.run(many).await.unwrap().len(), 4090);
    let two = Launch { max_count: 2, zone, ..launch() };
    assert_eq!(world.run(two).await.unwrap().len(), 1);
}

#[tokio::test]
async fn protection() {
    let world = World::new();
    let cx = &world.cx;
    let id = world
        .run(Launch { disable_api_termination: Some(true), ..launch() })
        .await
        .unwrap()
        .remove(0);
    let refused = cx.write(|tx| ops::terminate(tx, cx, &ids(&id), false)).await.unwrap_err();
    assert_eq!(refused.code(), "OperationNotPermitted");
    let asg = Context::service(&cx.env, &cx.account, &cx.region, "autoscaling.amazonaws.com");
    cx.write(|tx| ops::terminate(tx, &asg, &ids(&id), false)).await.unwrap();
    let unknown = vec!["i-12345678".to_owned(), id, "i-87654321".to_owned()];
    let error = cx.write(|tx| ops::start(tx, cx, &unknown)).await.unwrap_err();
    assert_eq!(error.to_string(), "The instance IDs 'i-12345678, i-87654321' do not exist");
}

/// Random histories of requests, faults, zone failures and daemon crashes; in the end every asked for
/// state is reached, nothing leaks, and no address is held by the dead.
#[tokio::test]
async fn any_history_settles() {
    for seed in 0..300 {
        history(seed).await;
    }
}

async fn history(seed: u64) {
    let rng = crate::env::Rng::seeded(seed);
    let quiet = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let (faults, is_quiet) = (rng.clone(), Arc::clone(&quiet));
    let mut world = World::with_faults(move |_| {
        if is_quiet.load(std::sync::atomic::Ordering::Relaxed) {
            return None;
        }
        match faults.below(20) {
            0 => Some(Fault::NoCapacity),
            1 => Some(Fault::Fails),
            2 => Some(Fault::AnswerLost),
            3 => Some(Fault::BootFails),
            4 => Some(Fault::Slow(Duration::from_secs(5))),
            _ => None,
        }
    });
    let cx = world.cx.clone();
    let mut all: Vec<String> = Vec::new();
    let mut ended = BTreeSet::new();
    for _ in 0..60 {
        let chosen = all.get(rng.below(all.len().max(1) as u64) as usize).cloned();
        let at = Context { now: world.cx.now, ..cx.clone() };
        match (rng.below(12), chosen) {
            (0 | 1, _) => all.extend(world.run(launch()).await.unwrap_or_default()),
            (2, Some(id)) => drop(cx.write(|tx| ops::stop(tx, &at, &ids(&id), false)).await),
            (3, Some(id)) => drop(cx.write(|tx| ops::start(tx, &at, &ids(&id))).await),
            (4, Some(id)) => drop(cx.write(|tx| ops::reboot(tx, &at, &ids(&id))).await),
            (5, Some(id)) => drop(cx.write(|tx| ops::terminate(tx, &at, &ids(&id), false)).await),
            (6, Some(id)) => {
                let exits = [Exit::PoweredOff, Exit::Rebooted, Exit::Lost];
                world.driver.end(&id, exits[rng.below(3) as usize]);
            }
            (7, _) => {
                let zone = ["us-east-1a", "us-east-1b"][rng.below(2) as usize];
                let fails = rng.below(2) == 0;
                let write = cx.write(|tx| {
                    let _ = if fails { zone::fail(tx, zone, NOW) } else { zone::heal(tx, zone) };
                    Ok::<_, Error>(())
                });
                write.await.unwrap();
            }
            (8, _) => world.controller = Instances::default(),
            (9, _) => {
                world.cx.env.clock.advance(world.cx.now.plus(Duration::from_secs(2)));
                world.cx.now = world.cx.env.clock.now();
                world.driver.tick();
            }
            _ => drop(world.controller.reconcile(&cx.env).await),
        }
        for id in &all {
            let is_terminated = world.state(id) == InstanceState::Terminated;
            assert!(is_terminated || !ended.contains(id), "seed {seed}: {id} came back");
            if is_terminated {
                ended.insert(id.clone());
            }
        }
    }
    quiet.store(true, std::sync::atomic::Ordering::Relaxed);
    cx.write(|tx| {
        zone::heal(tx, "us-east-1a");
        zone::heal(tx, "us-east-1b");
        Ok::<_, Error>(())
    })
    .await
    .unwrap();
    for _ in 0..40 {
        world.pass(Duration::from_secs(10)).await;
    }
    let snapshot = cx.read();
    let mut held = BTreeSet::new();
    for id in &all {
        let instance = ops::instance(&snapshot, &cx, id).unwrap();
        let runs = instance.state() == InstanceState::Running;
        let settled =
            matches!(instance.state(), InstanceState::Stopped | InstanceState::Terminated);
        assert!(settled || runs && instance.status() == Status::Ok, "seed {seed}: {instance:?}");
        if instance.is_alive() {
            held.insert(instance.private_ip);
        }
    }
    let addresses: BTreeSet<_> = vpc::ops::subnets(&snapshot, &cx)
        .iter()
        .flat_map(|s| vpc::ops::addresses(&snapshot, &cx, &s.id))
        .map(|a| a.address)
        .collect();
    assert_eq!(addresses, held, "seed {seed}");
    for seen in world.driver.list() {
        let instance = ops::instance(&snapshot, &cx, &seen.id).unwrap();
        let up = seen.phase == compute::Phase::Up;
        assert_eq!(up, instance.state() == InstanceState::Running, "seed {seed}: {seen:?}");
    }
}

#[tokio::test]
async fn a_template_and_a_key() {
    use crate::ec2::{key_pair, launch_template, tag};
    let world = World::new();
    let cx = &world.cx;
    let no_key = world.run(Launch { key_name: Some("k".into()), ..launch() }).await.unwrap_err();
    assert_eq!(no_key.code(), "InvalidKeyPair.NotFound");
    let line = "ssh-ed25519 \
                AAAAC3NzaC1lZDI1NTE5AAAAIJ4HsMkTs4b0TlZcQrVKvJfVbpu2ZbIKPwUO1oqLZbZ9";
    let template = cx
        .write(|tx| {
            key_pair::ops::import(tx, cx, "k", line.as_bytes(), &Default::default())?;
            let data =
                Launch { key_name: Some("k".into()), min_count: 0, max_count: 0, ..launch() };
            let new = launch_template::ops::NewVersion { launch: data, ..Default::default() };
            launch_template::ops::create(tx, cx, "web", &new, &Default::default())
        })
        .await
        .unwrap();
    let by_template = Launch {
        min_count: 1,
        max_count: 1,
        template: Some(Template { name: Some("web".into()), ..Template::default() }),
        ..Launch::default()
    };
    let id = world.run(by_template).await.unwrap().remove(0);
    let instance = ops::instance(&cx.read(), cx, &id).unwrap();
    assert!(instance.public_key.as_ref().unwrap().starts_with("ssh-ed25519 "));
    let tags = tag::ops::tags_of(&cx.read(), cx, &id);
    assert_eq!(tags["aws:ec2launchtemplate:version"], "1");
    assert_eq!(tags["aws:ec2launchtemplate:id"], template.id);
}
