//! The calls by table, and the controller with simulated balancers, fabric and time.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::controller::LoadBalancers;
use super::model::{LoadBalancer, Node, Reason, Target, TargetGroup, TargetState};
use super::ops::{self, listener, load_balancer, rule, target_group};
use super::rule::{ActionRequest, ConditionRequest, FixedResponseRequest};
use super::{Error, metrics, plan};
use crate::controller::Controller;
use crate::ec2::instance::model::{Goal, Instance, Phase};
use crate::ec2::{instance, vpc};
use crate::fake_balancers::FakeBalancers;
use crate::tag::Tags;
use crate::{Context, testing, zone};

/// A cloud whose balancers find the targets of `up` healthy.
struct World {
    cx: Context,
    balancers: Arc<FakeBalancers>,
    up: Arc<Mutex<BTreeSet<String>>>,
    controller: LoadBalancers,
}

impl World {
    fn new() -> World {
        let up = Arc::new(Mutex::new(BTreeSet::new()));
        let seen = Arc::clone(&up);
        let balancers =
            Arc::new(FakeBalancers::new(move |target| seen.lock().unwrap().contains(&target.id)));
        let cx = testing::with_balancers(&testing::context(), balancers.clone());
        World { cx, balancers, up, controller: LoadBalancers::default() }
    }

    /// Rounds until one changes nothing, as the runner makes them.
    async fn settle(&self) {
        let mut changes = self.cx.env.store.changes();
        for _ in 0..20 {
            changes.mark_unchanged();
            self.controller.reconcile(&self.cx.env).await.unwrap();
            if !changes.has_changed().unwrap() {
                return;
            }
        }
        panic!("the controller does not settle");
    }

    fn pass(&mut self, d: Duration) {
        let clock = &self.cx.env.clock;
        clock.advance(clock.now().plus(d));
        self.cx.now = clock.now();
    }

    async fn write<T>(
        &self,
        mut act: impl FnMut(&mut store::Tx, &Context) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.cx.write(|tx| act(tx, &self.cx)).await
    }

    fn subnets(&self) -> Vec<String> {
        vpc::ops::subnets(&self.cx.read(), &self.cx).into_iter().map(|s| s.id).collect()
    }

    fn balancer_request(&self, name: &str) -> load_balancer::Create {
        load_balancer::Create {
            name: name.to_owned(),
            subnets: self.subnets(),
            ..load_balancer::Create::default()
        }
    }

    fn group_request(&self, name: &str) -> target_group::Create {
        target_group::Create {
            name: name.to_owned(),
            protocol: Some("HTTP".to_owned()),
            port: Some(80),
            vpc_id: Some(vpc::ops::first_id(&self.cx)),
            ..target_group::Create::default()
        }
    }

    async fn balancer(&self, name: &str) -> Arc<LoadBalancer> {
        let request = self.balancer_request(name);
        self.write(|tx, cx| load_balancer::create(tx, cx, &request)).await.unwrap()
    }

    async fn group(&self, name: &str) -> Arc<TargetGroup> {
        let request = self.group_request(name);
        self.write(|tx, cx| target_group::create(tx, cx, &request)).await.unwrap()
    }

    async fn listen(&self, owner: &str, action: ActionRequest) -> Result<String, Error> {
        let request = listener::Create {
            load_balancer: owner.to_owned(),
            protocol: Some("HTTP".to_owned()),
            port: Some(80),
            actions: vec![action],
            ..listener::Create::default()
        };
        let made = self.write(|tx, cx| listener::create(tx, cx, &request)).await?;
        Ok(made.arn.clone())
    }

    /// A running instance in the zone with this letter.
    async fn instance(&self, n: u8, letter: char) -> String {
        let id = format!("i-0000000000000000{n}");
        let vpc_id = vpc::ops::first_id(&self.cx);
        let mut made = instance::testing::instance();
        made.id = id.clone();
        made.vpc_id = vpc_id;
        made.zone = format!("us-east-1{letter}");
        made.private_ip = [172, 31, 0, 100 + n].into();
        made.observed.boot = made.desired.boot;
        made.observed.phase = Phase::Up;
        self.put(made).await;
        id
    }

    async fn put(&self, instance: Instance) {
        self.write(|tx, _| {
            tx.put(instance.clone());
            Ok(())
        })
        .await
        .unwrap();
    }

    async fn register(&self, group: &str, ids: &[&str]) -> Result<(), Error> {
        let targets: Vec<_> = ids.iter().map(|id| (id.to_string(), None)).collect();
        self.write(|tx, cx| ops::register(tx, cx, group, &targets)).await
    }

    fn targets(&self, group: &str) -> Vec<Arc<Target>> {
        ops::targets(&self.cx.read(), &self.cx, group)
    }

    fn states(&self, group: &str) -> Vec<TargetState> {
        self.targets(group).iter().map(|target| target.state).collect()
    }

    fn live_zones(&self) -> Vec<String> {
        self.cx.env.balancers.zones()
    }

    fn answers(&self, id: &str, healthy: bool) {
        let name = format!("{id}:80");
        let mut up = self.up.lock().unwrap();
        if healthy {
            up.insert(name)
        } else {
            up.remove(&name)
        };
    }
}

fn forward(arn: &str) -> ActionRequest {
    ActionRequest {
        kind: "forward".to_owned(),
        target_group_arn: Some(arn.to_owned()),
        ..ActionRequest::default()
    }
}

fn fixed() -> ActionRequest {
    let status = "200".to_owned();
    ActionRequest {
        kind: "fixed-response".to_owned(),
        fixed_response: Some(FixedResponseRequest { status, ..Default::default() }),
        ..ActionRequest::default()
    }
}

fn path(pattern: &str) -> ConditionRequest {
    ConditionRequest {
        field: Some("path-pattern".to_owned()),
        values: vec![pattern.to_owned()],
        ..ConditionRequest::default()
    }
}

fn code<T>(result: Result<T, Error>) -> Option<&'static str> {
    result.err().map(|error| error.code())
}

#[tokio::test]
async fn load_balancers_by_table() {
    let world = World::new();
    let first = world.balancer("web").await;
    assert_eq!(world.balancer("web").await.arn, first.arn);
    assert!(first.dns_name.starts_with("web-"), "{}", first.dns_name);
    assert!(first.dns_name.ends_with(".us-east-1.elb.localhost"));
    let good = world.balancer_request("other");
    let cases: [(&str, load_balancer::Create, Option<&str>); 9] = [
        (
            "the same name with other settings",
            load_balancer::Create {
                scheme: Some("internal".into()),
                ..world.balancer_request("web")
            },
            Some("DuplicateLoadBalancerName"),
        ),
        (
            "one subnet",
            load_balancer::Create { subnets: good.subnets[..1].to_vec(), ..good.clone() },
            Some("ValidationError"),
        ),
        (
            "one zone twice",
            load_balancer::Create { subnets: vec![good.subnets[0].clone(); 2], ..good.clone() },
            Some("InvalidConfigurationRequest"),
        ),
        (
            "an unknown subnet",
            load_balancer::Create { subnets: vec!["subnet-0".into()], ..good.clone() },
            Some("SubnetNotFound"),
        ),
        (
            "an unknown security group",
            load_balancer::Create {
                security_groups: vec!["sg-00000000000000009".into()],
                ..good.clone()
            },
            Some("InvalidSecurityGroup"),
        ),
        (
            "a network load balancer",
            load_balancer::Create { kind: Some("network".into()), ..good.clone() },
            Some("InvalidConfigurationRequest"),
        ),
        (
            "dualstack",
            load_balancer::Create { ip_address_type: Some("dualstack".into()), ..good.clone() },
            Some("InvalidConfigurationRequest"),
        ),
        ("a reserved name", world.balancer_request("internal-web"), Some("ValidationError")),
        ("a good one", good.clone(), None),
    ];
    for (what, request, expected) in cases {
        let got = world.write(|tx, cx| load_balancer::create(tx, cx, &request)).await;
        assert_eq!(code(got), expected, "{what}");
    }
    let snapshot = world.cx.read();
    let nodes = ops::nodes(&snapshot, &world.cx, &first.arn);
    assert_eq!(nodes.len(), 3);
    let public: BTreeSet<_> = snapshot.scan::<Node>("").filter_map(|n| n.public_ip).collect();
    assert_eq!(public.len(), 6, "every node has an address of its own");
}

#[tokio::test]
async fn target_groups_by_table() {
    let world = World::new();
    let first = world.group("web").await;
    assert_eq!(world.group("web").await.arn, first.arn);
    let good = world.group_request("other");
    let check = |request: target_group::HealthCheckRequest| target_group::Create {
        health_check: request,
        ..good.clone()
    };
    let default = target_group::HealthCheckRequest::default;
    for (request, expected) in [
        (
            target_group::Create { port: Some(81), ..world.group_request("web") },
            Some("DuplicateTargetGroupName"),
        ),
        (target_group::Create { protocol: None, ..good.clone() }, Some("ValidationError")),
        (target_group::Create { vpc_id: None, ..good.clone() }, Some("ValidationError")),
        (
            target_group::Create { vpc_id: Some("vpc-1".into()), ..good.clone() },
            Some("ValidationError"),
        ),
        (
            target_group::Create { protocol: Some("HTTPS".into()), ..good.clone() },
            Some("InvalidConfigurationRequest"),
        ),
        (
            target_group::Create { target_type: Some("lambda".into()), ..good.clone() },
            Some("InvalidConfigurationRequest"),
        ),
        (target_group::Create { name: "-x".into(), ..good.clone() }, Some("ValidationError")),
        (
            check(target_group::HealthCheckRequest { timeout_seconds: Some(30), ..default() }),
            Some("ValidationError"),
        ),
        (
            check(target_group::HealthCheckRequest {
                matcher: Some("200-199".into()),
                ..default()
            }),
            Some("ValidationError"),
        ),
        (
            check(target_group::HealthCheckRequest { path: Some("x".into()), ..default() }),
            Some("ValidationError"),
        ),
        (
            check(target_group::HealthCheckRequest {
                interval_seconds: Some(10),
                matcher: Some("200-299,301".into()),
                port: Some("8080".into()),
                ..default()
            }),
            None,
        ),
    ] {
        let got = world.write(|tx, cx| target_group::create(tx, cx, &request)).await;
        assert_eq!(code(got), expected, "{request:?}");
    }
    let ranges = target_group::parse_matcher("200-299,301").unwrap();
    assert_eq!(ranges, [(200, 299), (301, 301)]);
}

#[tokio::test]
async fn listeners_and_rules() {
    let world = World::new();
    let (web, other) = (world.balancer("web").await, world.balancer("other").await);
    let (one, two) = (world.group("one").await, world.group("two").await);
    let listener = world.listen(&web.arn, forward(&one.arn)).await.unwrap();
    assert_eq!(world.listen(&web.arn, forward(&one.arn)).await.unwrap(), listener);
    assert_eq!(code(world.listen(&web.arn, fixed()).await), Some("DuplicateListener"));
    let taken = world.listen(&other.arn, forward(&one.arn)).await;
    assert_eq!(code(taken), Some("TargetGroupAssociationLimit"));
    let absent = format!("{}0", one.arn);
    assert_eq!(code(world.listen(&other.arn, forward(&absent)).await), Some("TargetGroupNotFound"));
    let in_use = world.write(|tx, cx| target_group::delete(tx, cx, &one.arn)).await;
    assert_eq!(code(in_use), Some("ResourceInUse"));

    let request = |priority, group: &str| rule::Create {
        listener: listener.clone(),
        priority,
        conditions: vec![path("/a/*")],
        actions: vec![forward(group)],
        tags: Tags::new(),
    };
    let first = request(10, &two.arn);
    let first = world.write(|tx, cx| rule::create(tx, cx, &first)).await.unwrap();
    let second = request(20, &one.arn);
    let second = world.write(|tx, cx| rule::create(tx, cx, &second)).await.unwrap();
    let again = request(10, &two.arn);
    let again = world.write(|tx, cx| rule::create(tx, cx, &again)).await;
    assert_eq!(code(again), Some("PriorityInUse"));

    let swap = [(first.arn.clone(), 20), (second.arn.clone(), 10)];
    world.write(|tx, cx| rule::set_priorities(tx, cx, &swap)).await.unwrap();
    let clash = [(first.arn.clone(), 10)];
    let clash = world.write(|tx, cx| rule::set_priorities(tx, cx, &clash)).await;
    assert_eq!(code(clash), Some("PriorityInUse"));
    let page = ops::Page { size: Some(2), marker: None };
    let (rules, marker) =
        rule::describe(&world.cx.read(), &world.cx, Some(&listener), &[], &page).unwrap();
    let arns: Vec<_> = rules.iter().map(|rule| &rule.arn).collect();
    assert_eq!(arns, [&second.arn, &first.arn]);
    let page = ops::Page { size: Some(2), marker };
    let (rest, end) =
        rule::describe(&world.cx.read(), &world.cx, Some(&listener), &[], &page).unwrap();
    assert_eq!((rest.len(), rest[0].priority, end), (1, None, None));
    let default = world.write(|tx, cx| rule::delete(tx, cx, &rest[0].arn)).await;
    assert_eq!(code(default), Some("OperationNotPermitted"));

    world.write(|tx, cx| load_balancer::delete(tx, cx, &web.arn)).await.unwrap();
    let gone = rule::describe(&world.cx.read(), &world.cx, Some(&listener), &[], &page);
    assert_eq!(code(gone), Some("ListenerNotFound"));
    world.write(|tx, cx| target_group::delete(tx, cx, &one.arn)).await.unwrap();
}

#[tokio::test]
async fn a_failed_call_changes_nothing_and_protection_holds() {
    let world = World::new();
    let web = world.balancer("web").await;
    let protect = [("deletion_protection.enabled".to_owned(), "true".to_owned())];
    world
        .write(|tx, cx| load_balancer::modify_attributes(tx, cx, &web.arn, &protect))
        .await
        .unwrap();
    let refused = world.write(|tx, cx| load_balancer::delete(tx, cx, &web.arn)).await;
    assert_eq!(code(refused), Some("OperationNotPermitted"));
    assert!(ops::load_balancer(&world.cx.read(), &world.cx, &web.arn).is_ok());
    let unknown = web.arn.replace("123456789012", "210987654321");
    let unknown = ops::load_balancer(&world.cx.read(), &world.cx, &unknown);
    assert_eq!(code(unknown), Some("LoadBalancerNotFound"));
    let malformed = ops::load_balancer(&world.cx.read(), &world.cx, "web");
    assert_eq!(code(malformed), Some("ValidationError"));
}

#[tokio::test]
async fn targets_come_and_go() {
    let mut world = World::new();
    let (web, group) = (world.balancer("web").await, world.group("web").await);
    let (a, b) = (world.instance(1, 'a').await, world.instance(2, 'b').await);
    assert_eq!(code(world.register(&group.arn, &["i-9"]).await), Some("InvalidTarget"));
    world.register(&group.arn, &[&a]).await.unwrap();
    assert_eq!(world.states(&group.arn), [TargetState::Unused]);
    world.settle().await;
    let found = ops::load_balancer(&world.cx.read(), &world.cx, &web.arn).unwrap();
    assert!(found.active, "every zone has it in force");

    world.listen(&web.arn, forward(&group.arn)).await.unwrap();
    world.register(&group.arn, &[&b]).await.unwrap();
    world.answers(&b, true);
    world.settle().await;
    assert_eq!(world.states(&group.arn), [TargetState::Unhealthy, TargetState::Healthy]);
    world.answers(&a, true);
    world.settle().await;
    assert_eq!(world.states(&group.arn), [TargetState::Healthy; 2]);

    let snapshot = world.balancers.snapshot("us-east-1c").unwrap();
    assert_eq!(snapshot.listeners.len(), 1);
    let binds = &snapshot.listeners[0].binds;
    assert_eq!(binds.len(), 2);
    assert_eq!(*binds[0].address.ip(), snapshot.target_groups[&group.arn].source);
    assert_eq!(snapshot.target_groups[&group.arn].targets.len(), 2);

    // Nothing in flight: gone at once, and registered anew like any other.
    let out = [(a.clone(), None)];
    world.write(|tx, cx| ops::deregister(tx, cx, &group.arn, &out)).await.unwrap();
    assert_eq!(world.states(&group.arn), [TargetState::Draining, TargetState::Healthy]);
    world.settle().await;
    assert_eq!(world.states(&group.arn), [TargetState::Healthy]);

    // A stopped instance is not used; a terminated one is forgotten.
    let mut stopped = Instance::clone(&*world.cx.read().get(&world.cx.key(&b)).unwrap());
    stopped.desired.goal = Goal::Stop;
    stopped.observed.phase = Phase::Down;
    world.put(stopped.clone()).await;
    world.settle().await;
    let reason = Some(Reason::InvalidState("stopped".into()));
    assert_eq!(world.targets(&group.arn)[0].reason, reason);
    stopped.desired.goal = Goal::Terminate;
    stopped.observed.phase = Phase::Gone;
    world.put(stopped).await;
    world.settle().await;
    assert_eq!(world.states(&group.arn), []);

    world.pass(Duration::from_secs(1));
    world.write(|tx, cx| load_balancer::delete(tx, cx, &web.arn)).await.unwrap();
    world.settle().await;
    let snapshot = world.cx.read();
    assert_eq!(snapshot.scan::<Node>("").count(), 0);
    assert_eq!(snapshot.scan::<vpc::model::Address>("").count(), 0);
    assert!(world.cx.env.fabric.addresses(&web.vpc_id).unwrap().is_empty());
    assert!(world.live_zones().is_empty(), "no balancer without work");
}

#[tokio::test]
async fn a_zone_fails_and_comes_back() {
    let world = World::new();
    let (web, group) = (world.balancer("web").await, world.group("web").await);
    world.listen(&web.arn, forward(&group.arn)).await.unwrap();
    let (a, b) = (world.instance(1, 'a').await, world.instance(2, 'b').await);
    world.answers(&a, true);
    world.answers(&b, true);
    world.register(&group.arn, &[&a, &b]).await.unwrap();
    world.settle().await;
    world.balancers.add_requests("us-east-1a", &group.arn, 7);
    world.balancers.add_requests("us-east-1b", &group.arn, 5);
    let requests = || -> Vec<(String, u64)> {
        let samples = metrics::samples(&world.cx.env);
        samples.into_iter().map(|s| (s.zone, s.counters.requests)).collect()
    };
    assert_eq!(requests(), [("us-east-1a".into(), 7), ("us-east-1b".into(), 5)]);

    let fail = |tx: &mut store::Tx, cx: &Context| Ok(zone::fail(tx, "us-east-1a", cx.now));
    world.write(fail).await.unwrap();
    world.answers(&a, false);
    world.settle().await;
    assert_eq!(world.live_zones(), ["us-east-1b", "us-east-1c"]);
    assert_eq!(world.states(&group.arn), [TargetState::Unhealthy, TargetState::Healthy]);
    assert_eq!(requests(), [("us-east-1b".into(), 5)]);

    world.write(|tx, _| Ok(zone::heal(tx, "us-east-1a"))).await.unwrap();
    world.answers(&a, true);
    world.settle().await;
    assert_eq!(world.live_zones().len(), 3);
    assert_eq!(world.states(&group.arn), [TargetState::Healthy; 2]);
}

#[tokio::test]
async fn a_daemon_that_begins_anew_finds_its_balancers() {
    let mut world = World::new();
    let (web, group) = (world.balancer("web").await, world.group("web").await);
    world.listen(&web.arn, forward(&group.arn)).await.unwrap();
    world.settle().await;
    let before = world.balancers.snapshot("us-east-1a").unwrap().version;
    world.controller = LoadBalancers::default();
    world.settle().await;
    let after = world.balancers.snapshot("us-east-1a").unwrap().version;
    assert!(after > before, "{before} {after}");
    let changes = world.balancers.snapshot("us-east-1a").unwrap().version;
    world.settle().await;
    assert_eq!(world.balancers.snapshot("us-east-1a").unwrap().version, changes);
}

#[tokio::test]
async fn moving_to_other_subnets_keeps_what_stays() {
    let world = World::new();
    let web = world.balancer("web").await;
    world.settle().await;
    let addresses = |world: &World| -> Vec<_> {
        let nodes = ops::nodes(&world.cx.read(), &world.cx, &web.arn);
        nodes.iter().map(|node| (node.zone.clone(), node.private_ip)).collect()
    };
    let before = addresses(&world);
    let two = world.subnets()[1..].to_vec();
    world.write(|tx, cx| load_balancer::set_subnets(tx, cx, &web.arn, &two)).await.unwrap();
    world.settle().await;
    assert_eq!(addresses(&world), before[1..]);
    assert_eq!(world.cx.env.fabric.addresses(&web.vpc_id).unwrap().len(), 2);
    assert_eq!(world.live_zones(), ["us-east-1b", "us-east-1c"]);
}

#[tokio::test]
async fn settings_reach_the_plan() {
    let world = World::new();
    let (web, group) = (world.balancer("web").await, world.group("web").await);
    world.listen(&web.arn, forward(&group.arn)).await.unwrap();
    let (a, b) = (world.instance(1, 'a').await, world.instance(2, 'b').await);
    world.register(&group.arn, &[&a, &b]).await.unwrap();
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let of_group = [
        pair("load_balancing.cross_zone.enabled", "false"),
        pair("slow_start.duration_seconds", "60"),
        pair("stickiness.enabled", "true"),
    ];
    let of_balancer = [
        pair("idle_timeout.timeout_seconds", "7"),
        pair("routing.http.xff_header_processing.mode", "preserve"),
    ];
    let set = |tx: &mut store::Tx, cx: &Context| {
        target_group::modify_attributes(tx, cx, &group.arn, &of_group)?;
        load_balancer::modify_attributes(tx, cx, &web.arn, &of_balancer)
    };
    world.write(set).await.unwrap();

    let zones = plan::plan(&plan::View::of(&world.cx.read()), &|d| d / 60);
    let planned = &zones["us-east-1a"];
    let listener = &planned.listeners[0];
    assert_eq!(listener.idle_timeout_ms, 7000);
    assert_eq!(listener.forwarded_for, balancer::snapshot::ForwardedFor::Preserve);
    let planned = &planned.target_groups[&group.arn];
    let check = planned.health_check.as_ref().unwrap();
    assert_eq!((check.interval_ms, check.timeout_ms), (500, 5000));
    assert_eq!((planned.slow_start_ms, planned.stickiness_seconds), (1000, Some(86_400)));
    let eligible: Vec<bool> = planned.targets.iter().map(|target| target.eligible).collect();
    assert_eq!(eligible, [true, false]);
    let elsewhere = &zones["us-east-1c"].target_groups[&group.arn];
    assert!(elsewhere.targets.iter().all(|target| !target.eligible));
}
