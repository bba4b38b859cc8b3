//! The closed loop with every controller of the cloud, a fake driver and fake balancers: load makes a
//! metric, the metric an alarm, the alarm a policy's decision, that instances, and those targets.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use compute::fake::{Fake, Fault, Point};
use compute::{Driver, Exit, Phase};

use super::model::{Activity, ActivityStatus, Group, Lifecycle, Member, Tag};
use super::ops::{self, Settings};
use super::policies::{self, TargetTracking};
use super::{handlers, observe};
use crate::cloudwatch::alarm::{Alarm, State};
use crate::controller::{self, Controller};
use crate::ec2::instance::launch::{Launch, Template};
use crate::ec2::launch_template::ops::NewVersion;
use crate::ec2::{launch_template, vpc};
use crate::elbv2::model::TargetState;
use crate::elbv2::ops::{listener, load_balancer, target_group};
use crate::elbv2::rule::ActionRequest;
use crate::fake_balancers::FakeBalancers;
use crate::tag::Tags;
use crate::{Context, elbv2, id, testing, zone};

const STEP: Duration = Duration::from_secs(5);

struct Tier {
    cx: Context,
    driver: Arc<Fake>,
    balancers: Arc<FakeBalancers>,
    controllers: Vec<Box<dyn Controller>>,
    load_balancer: String,
    target_group: String,
}

impl Tier {
    /// A group of 3 to 9 over three zones behind a load balancer.
    async fn new() -> Tier {
        Tier::with_faults(|_| None).await
    }

    async fn with_faults(
        faults: impl Fn(Point<'_>) -> Option<Fault> + Send + Sync + 'static,
    ) -> Tier {
        let (cx, driver) = testing::world(faults);
        let book = Arc::clone(&driver);
        let balancers = Arc::new(FakeBalancers::new(move |target| {
            let instance = target.id.split(':').next().unwrap_or_default();
            book.list().iter().any(|o| o.id == instance && o.phase == Phase::Up)
        }));
        let cx = testing::with_balancers(&cx, Arc::clone(&balancers));
        let launch = Launch {
            image_id: Some(id::stable("ami", &["drover-host"])),
            instance_type: Some("t3.micro".into()),
            ..Launch::default()
        };
        let new = NewVersion { launch, ..NewVersion::default() };
        let template = cx
            .write(|tx| launch_template::ops::create(tx, &cx, "web", &new, &Tags::new()))
            .await
            .unwrap();
        let owner = load_balancer::Create {
            name: "web".into(),
            subnets: vpc::ops::subnets(&cx.read(), &cx).into_iter().map(|s| s.id).collect(),
            ..Default::default()
        };
        let owner = cx.write(|tx| load_balancer::create(tx, &cx, &owner)).await.unwrap();
        let group = target_group::Create {
            name: "web".into(),
            protocol: Some("HTTP".into()),
            port: Some(80),
            vpc_id: Some(vpc::ops::first_id(&cx)),
            ..Default::default()
        };
        let group = cx.write(|tx| target_group::create(tx, &cx, &group)).await.unwrap();
        let forward = ActionRequest {
            kind: "forward".into(),
            target_group_arn: Some(group.arn.clone()),
            ..Default::default()
        };
        let listen = listener::Create {
            load_balancer: owner.arn.clone(),
            protocol: Some("HTTP".into()),
            port: Some(80),
            actions: vec![forward],
            ..Default::default()
        };
        cx.write(|tx| listener::create(tx, &cx, &listen)).await.unwrap();
        let settings = Settings {
            min: Some(3),
            max: Some(9),
            desired: Some(3),
            zones: Some(["a", "b", "c"].map(|z| format!("us-east-1{z}")).to_vec()),
            template: Some(Template { id: Some(template.id), name: None, version: None }),
            health_check_type: Some("ELB".into()),
            grace: Some(30),
            default_warmup: Some(60),
            ..Settings::default()
        };
        let groups = vec![group.arn.clone()];
        let tags = || std::collections::BTreeMap::<String, Tag>::new();
        cx.write(|tx| ops::create(tx, &cx, "web", &settings, groups.clone(), tags()))
            .await
            .unwrap();
        let mut tier = Tier {
            cx,
            driver,
            balancers,
            controllers: controller::all(),
            load_balancer: owner.arn.clone(),
            target_group: group.arn.clone(),
        };
        tier.pass(Duration::from_secs(30), |_| {}).await;
        tier
    }

    /// Lets time go by in small steps; `load` is made before each.
    async fn pass(&mut self, time: Duration, load: impl Fn(&Tier)) {
        let end = self.cx.now.plus(time);
        while self.cx.now < end {
            load(self);
            self.cx.now = self.cx.now.plus(STEP);
            self.cx.env.clock.advance(self.cx.now);
            self.driver.tick();
            let mut changes = self.cx.env.store.changes();
            for _ in 0..20 {
                changes.mark_unchanged();
                for controller in &self.controllers {
                    controller.reconcile(&self.cx.env).await.unwrap();
                }
                if !self.driver.tick() && !changes.has_changed().unwrap() {
                    break;
                }
            }
        }
    }

    fn members(&self) -> Vec<Arc<Member>> {
        observe::members_of(&self.cx.read(), &self.cx, "web")
    }

    /// Members that serve, by zone.
    fn serving(&self) -> Vec<char> {
        let targets = elbv2::ops::targets(&self.cx.read(), &self.cx, &self.target_group);
        let healthy =
            |id: &str| targets.iter().any(|t| t.id == id && t.state == TargetState::Healthy);
        let mut zones: Vec<char> = self
            .members()
            .iter()
            .filter(|m| m.lifecycle == Lifecycle::InService && healthy(&m.instance_id))
            .map(|m| m.zone.chars().last().unwrap())
            .collect();
        zones.sort();
        zones
    }

    fn desired(&self) -> i32 {
        self.cx.read().get::<Group>(&self.cx.key("web")).unwrap().desired
    }

    /// Shares this many cores' work among the instances.
    fn burn(&self, cores: f64) {
        let members = self.members();
        for member in &members {
            self.driver.set_load(&member.instance_id, cores / members.len() as f64);
        }
    }

    fn request(&self, requests: u64) {
        for name in ["us-east-1a", "us-east-1b", "us-east-1c"] {
            self.balancers.add_requests(name, &self.target_group, requests / 3);
        }
    }

    async fn track(&self, metric: &str, label: Option<String>, target: f64) {
        let wanted = TargetTracking {
            group: "web".into(),
            name: "load".into(),
            enabled: true,
            warmup_seconds: None,
            metric: metric.into(),
            resource_label: label,
            target,
            disable_scale_in: false,
        };
        self.cx.write(|tx| policies::put(tx, &self.cx, &wanted)).await.unwrap();
    }

    fn causes(&self) -> Vec<String> {
        self.cx.read().scan::<Activity>("").map(|a| a.cause.clone()).collect()
    }
}

fn minutes(n: u64) -> Duration {
    Duration::from_secs(60 * n)
}

#[tokio::test]
async fn cpu_load_grows_and_shrinks_the_group() {
    let mut tier = Tier::new().await;
    assert_eq!(tier.serving(), ['a', 'b', 'c']);
    tier.track("ASGAverageCPUUtilization", None, 50.0).await;
    // t3.micro has 2 vCPUs: 5 cores on 3 instances are 83 percent of each, 5 instances have 50.
    tier.pass(minutes(8), |tier| tier.burn(5.0)).await;
    assert_eq!(tier.desired(), 5);
    assert_eq!(tier.serving().len(), 5);
    assert!(tier.causes().iter().any(|cause| {
        cause.contains("a monitor alarm TargetTracking-web-AlarmHigh-")
            && cause.contains("in state ALARM triggered policy load changing the desired capacity")
    }));
    tier.pass(minutes(30), |tier| tier.burn(0.5)).await;
    assert_eq!(tier.desired(), 3);
    assert_eq!(tier.serving(), ['a', 'b', 'c']);
    let states: Vec<State> = tier.cx.read().scan::<Alarm>("").map(|alarm| alarm.state).collect();
    assert_eq!(states, [State::Ok, State::Alarm], "high is over, low goes on at the minimum");
}

#[tokio::test]
async fn requests_grow_the_group() {
    let mut tier = Tier::new().await;
    let end = |arn: &str| arn.rsplit(':').next().unwrap().to_owned();
    let owner = end(&tier.load_balancer);
    let label =
        format!("{}/{}", owner.strip_prefix("loadbalancer/").unwrap(), end(&tier.target_group));
    tier.track("ALBRequestCountPerTarget", Some(label), 100.0).await;
    // 600 a minute in 12 steps.
    tier.pass(minutes(7), |tier| tier.request(51)).await;
    assert_eq!(tier.desired(), 7);
    assert_eq!(tier.serving().len(), 7);
    tier.pass(minutes(20), |_| {}).await;
    assert_eq!(tier.desired(), 3, "no requests are data too");
}

#[tokio::test]
async fn an_instance_dies_hard_and_is_replaced() {
    let mut tier = Tier::new().await;
    tier.pass(minutes(1), |_| {}).await;
    let victim = tier.members()[0].instance_id.clone();
    assert!(tier.driver.end(&victim, Exit::Lost));
    tier.pass(Duration::from_secs(20), |_| {}).await;
    assert_eq!(tier.serving(), ['a', 'b', 'c']);
    assert!(tier.members().iter().all(|m| m.instance_id != victim || !m.is_active()));
    tier.pass(minutes(6), |_| {}).await;
    assert_eq!(tier.members().len(), 3);
    assert!(tier.driver.list().iter().all(|o| o.id != victim));
}

#[tokio::test]
async fn a_zone_fails_and_the_group_comes_back_to_it() {
    let mut tier = Tier::new().await;
    let cx = tier.cx.clone();
    cx.write(|tx| ops::set_desired_capacity(tx, &cx, "web", 6, false)).await.unwrap();
    tier.pass(minutes(2), |_| {}).await;
    assert_eq!(tier.serving(), ['a', 'a', 'b', 'b', 'c', 'c']);
    let now = tier.cx.now;
    cx.write(|tx| Ok::<_, store::Error>(zone::fail(tx, "us-east-1b", now))).await.unwrap();
    tier.pass(minutes(1), |_| {}).await;
    assert_eq!(tier.serving(), ['a', 'a', 'a', 'c', 'c', 'c']);
    cx.write(|tx| Ok::<_, store::Error>(zone::heal(tx, "us-east-1b"))).await.unwrap();
    tier.pass(minutes(12), |tier| assert!(tier.serving().len() >= 6, "{:?}", tier.serving())).await;
    assert_eq!(tier.serving(), ['a', 'a', 'b', 'b', 'c', 'c']);
    assert_eq!(tier.members().len(), 6);
}

#[tokio::test]
async fn a_host_without_room_is_not_asked_all_the_time() {
    let full = Arc::new(AtomicBool::new(true));
    let is_full = Arc::clone(&full);
    let refuses = move |point: Point<'_>| {
        let boots = matches!(point, Point::Ensure(_)) && is_full.load(Ordering::Relaxed);
        boots.then_some(Fault::NoCapacity)
    };
    let mut tier = Tier::with_faults(refuses).await;
    tier.pass(minutes(10), |_| {}).await;
    let launches = tier.causes().iter().filter(|cause| cause.contains("was started")).count();
    assert!((6..30).contains(&launches), "{launches}");
    assert!(tier.cx.read().scan::<Activity>("").any(|a| a.status == ActivityStatus::Failed));
    full.store(false, Ordering::Relaxed);
    tier.pass(minutes(6), |_| {}).await;
    assert_eq!(tier.serving(), ['a', 'b', 'c']);
}

#[test]
fn every_operation_is_served_once() {
    let mut names: Vec<&str> = handlers::operations().iter().map(|entry| entry.operation).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!((names.len(), count), (25, 25));
}
