//! The plan by table, and in random worlds.

use proptest::prelude::*;

use super::super::model::tests::{group, member};
use super::super::model::{Backoff, Place, TerminationPolicy};
use super::*;

const NOW: Timestamp = Timestamp(10_000_000);

fn in_service(id: &str, zone: &str) -> Seen {
    let mut member = member(id, zone);
    member.lifecycle = Lifecycle::InService;
    member.in_service_since = Some(Timestamp(0));
    Seen { member, instance: Instance::Running, impaired: false, targets: BTreeMap::new() }
}

/// Three in service, one in each of three zones.
fn view() -> View {
    View {
        now: NOW,
        group: group(),
        members: vec![
            in_service("i-a", "us-east-1a"),
            in_service("i-b", "us-east-1b"),
            in_service("i-c", "us-east-1c"),
        ],
        failed_zones: BTreeSet::new(),
        target_groups: BTreeSet::new(),
    }
}

fn zones(actions: &[Action]) -> Vec<&str> {
    actions
        .iter()
        .map(|action| match action {
            Action::Launch { zone, .. } => zone.rsplit('-').next().unwrap(),
            other => panic!("not a launch: {other:?}"),
        })
        .collect()
}

fn taken_out(actions: &[Action]) -> Vec<&str> {
    actions
        .iter()
        .map(|action| match action {
            Action::TakeOut { instance_id, .. } => instance_id.as_str(),
            other => panic!("not taken out: {other:?}"),
        })
        .collect()
}

#[test]
fn nothing_to_do() {
    assert_eq!(plan(&view()), []);
    assert_eq!(wake(&view()), None);
}

#[test]
fn launches_spread_over_working_zones() {
    let mut v = view();
    v.members.clear();
    v.group.desired = 4;
    assert_eq!(zones(&plan(&v)), ["1a", "1b", "1c", "1a"]);
    v.failed_zones.insert("us-east-1a".into());
    assert_eq!(zones(&plan(&v)), ["1b", "1c", "1b", "1c"]);
    v.group
        .backoff
        .insert("us-east-1b".into(), Backoff { failures: 1, until: Timestamp(NOW.0 + 5) });
    assert_eq!(zones(&plan(&v)), ["1c", "1c", "1c", "1c"]);
    assert_eq!(wake(&v), Some(Duration::from_millis(5)));
    v.failed_zones.insert("us-east-1c".into());
    assert_eq!(plan(&v), [], "the only working zone rests");
    v.failed_zones.insert("us-east-1b".into());
    assert_eq!(zones(&plan(&v)), ["1a", "1c", "1a", "1c"], "no zone works: let it fail visibly");
    v.group.suspended.insert(Process::Launch, String::new());
    assert_eq!(plan(&v), []);
}

#[test]
fn unhealthy_are_marked_taken_out_and_replaced_without_waiting() {
    let mut v = view();
    v.members[1].instance = Instance::Ending;
    let why = Unhealthy::NotRunning;
    assert_eq!(plan(&v), [Action::MarkUnhealthy { instance_id: "i-b".into(), why }]);
    v.members[1].member.unhealthy = Some(why);
    let out = WhyOut::Unhealthy(why);
    assert_eq!(plan(&v), [Action::TakeOut { instance_id: "i-b".into(), why: out }]);
    v.members[1].member.lifecycle = Lifecycle::Terminating;
    assert_eq!(plan(&v), [Action::Terminate { instance_id: "i-b".into() }]);
    v.members[1].member.terminated = true;
    let launch = Action::Launch { zone: "us-east-1b".into(), why: WhyLaunch::Replacement };
    assert_eq!(plan(&v), [launch]);
    v.members[1].instance = Instance::Gone;
    assert_eq!(plan(&v), [Action::Forget { instance_id: "i-b".into() }]);
}

#[test]
fn health_by_source_and_grace() {
    let tg = || "tg".to_owned();
    for (impaired, elb, target, grace, expected) in [
        (true, false, Some(Target::Serving), 0, Some(Unhealthy::Impaired)),
        (true, false, Some(Target::Serving), 100_000, None),
        (false, true, Some(Target::Unhealthy), 0, Some(Unhealthy::Elb)),
        (false, true, Some(Target::Unhealthy), 100_000, None),
        (false, false, Some(Target::Unhealthy), 0, None),
        (false, true, Some(Target::Draining), 0, Some(Unhealthy::Elb)),
        (false, true, None, 0, Some(Unhealthy::Elb)),
        (false, true, Some(Target::Initial), 0, None),
        (false, true, Some(Target::Serving), 0, None),
    ] {
        let mut v = view();
        v.group.elb_health = elb;
        v.group.grace_seconds = grace;
        v.group.target_groups = vec![tg()];
        v.target_groups.insert(tg());
        for seen in &mut v.members {
            seen.member.registered.insert(tg());
            seen.targets.insert(tg(), Target::Serving);
        }
        v.members[0].impaired = impaired;
        v.members[0].targets = target.into_iter().map(|t| (tg(), t)).collect();
        let mark = |why| Action::MarkUnhealthy { instance_id: "i-a".into(), why };
        let expected: Vec<Action> = expected.into_iter().map(mark).collect();
        assert_eq!(plan(&v), expected, "{impaired} {elb} {target:?} {grace}");
        v.group.suspended.insert(Process::HealthCheck, String::new());
        assert_eq!(plan(&v), []);
    }
}

#[test]
fn a_running_instance_is_registered_and_enters_service() {
    let mut v = view();
    v.group.target_groups = vec!["tg".into()];
    v.target_groups.insert("tg".into());
    for seen in &mut v.members[1..] {
        seen.member.registered.insert("tg".into());
    }
    v.members[0].member.lifecycle = Lifecycle::Pending;
    v.members[0].instance = Instance::Pending;
    assert_eq!(plan(&v), []);
    v.members[0].instance = Instance::Running;
    let instance_id = || "i-a".to_owned();
    let register =
        Action::Register { instance_id: instance_id(), target_groups: vec!["tg".into()] };
    let enter = Action::EnterService { instance_id: instance_id() };
    assert_eq!(plan(&v), [register.clone(), enter.clone()]);
    v.members[0].member.lifecycle = Lifecycle::InService;
    assert_eq!(plan(&v), [register], "a target group attached later");
    v.members[0].member.lifecycle = Lifecycle::Pending;
    v.group.suspended.insert(Process::AddToLoadBalancer, String::new());
    assert_eq!(plan(&v), [enter]);
}

#[test]
fn a_detached_target_group_is_left() {
    let mut v = view();
    v.members[0].member.registered.insert("tg".into());
    let leave = Action::Deregister { instance_id: "i-a".into(), target_groups: vec!["tg".into()] };
    assert_eq!(plan(&v), [leave]);
}

#[test]
fn drains_before_it_terminates() {
    let mut v = view();
    v.group.desired = 2;
    let out = plan(&v);
    assert_eq!(taken_out(&out), ["i-a"]);
    v.members[0].member.lifecycle = Lifecycle::Terminating;
    v.members[0].targets.insert("tg".into(), Target::Draining);
    assert_eq!(plan(&v), []);
    v.members[0].targets.clear();
    assert_eq!(plan(&v), [Action::Terminate { instance_id: "i-a".into() }]);
    v.members[0].targets.insert("tg".into(), Target::Draining);
    v.members[0].instance = Instance::Ending;
    assert_eq!(plan(&v), [Action::Terminate { instance_id: "i-a".into() }], "no use in waiting");
}

#[test]
fn scale_in_takes_from_the_fullest_zone_by_policy() {
    let mut v = view();
    v.members.push(in_service("i-b2", "us-east-1b"));
    v.members[1].member.launched = Timestamp(1);
    v.members[3].member.launched = Timestamp(2);
    v.members[3].member.template_version = 2;
    for (policy, expected) in [
        (TerminationPolicy::Default, "i-b"),
        (TerminationPolicy::OldestInstance, "i-b"),
        (TerminationPolicy::NewestInstance, "i-b2"),
        (TerminationPolicy::OldestLaunchTemplate, "i-b"),
        (TerminationPolicy::ClosestToNextInstanceHour, "i-b"),
    ] {
        v.group.termination_policies = vec![policy];
        assert_eq!(taken_out(&plan(&v)), [expected], "{policy:?}");
    }
    v.group.termination_policies = vec![TerminationPolicy::Default];
    v.members[3].member.template.id = "lt-old".into();
    assert_eq!(taken_out(&plan(&v)), ["i-b2"], "not of the group's template");
    v.members[3].member.protected = true;
    assert_eq!(taken_out(&plan(&v)), ["i-b"]);
    v.members[1].member.protected = true;
    assert_eq!(taken_out(&plan(&v)), ["i-a"], "all in the fullest zone are protected");
    v.members[3].member.protected = false;
    v.group.desired = 2;
    assert_eq!(taken_out(&plan(&v)), ["i-b2", "i-a"]);
    v.group.suspended.insert(Process::Terminate, String::new());
    assert_eq!(plan(&v), []);
}

#[test]
fn what_does_not_serve_yet_goes_first() {
    let mut v = view();
    let mut new = in_service("i-a2", "us-east-1a");
    new.member.lifecycle = Lifecycle::Pending;
    new.member.launched = NOW;
    new.instance = Instance::Pending;
    v.members.push(new);
    assert_eq!(taken_out(&plan(&v)), ["i-a2"]);
}

#[test]
fn rebalances_when_a_zone_returns() {
    let mut v = view();
    v.members[2].member.zone = "us-east-1a".into();
    v.failed_zones.insert("us-east-1c".into());
    assert_eq!(plan(&v), []);
    v.failed_zones.clear();
    let launches = plan(&v);
    assert_eq!(zones(&launches), ["1c"]);
    let mut newcomer = in_service("i-new", "us-east-1c");
    newcomer.member.newcomer = true;
    newcomer.targets.insert("tg".into(), Target::Initial);
    v.members.push(newcomer);
    assert_eq!(plan(&v), [], "it does not serve yet");
    v.members[3].targets.insert("tg".into(), Target::Serving);
    assert_eq!(plan(&v), [Action::Settle { instance_id: "i-new".into() }]);
    v.members[3].member.newcomer = false;
    assert_eq!(taken_out(&plan(&v)), ["i-a"]);
    v.members.remove(0);
    assert_eq!(plan(&v), []);
}

#[test]
fn rebalancing_keeps_near_the_maximum_and_off_the_protected() {
    let mut v = view();
    v.members.clear();
    for n in 0..9 {
        let zone = if n < 5 { "us-east-1a" } else { "us-east-1b" };
        v.members.push(in_service(&format!("i-{n}"), zone));
    }
    v.group.desired = 9;
    v.group.max = 9;
    assert_eq!(zones(&plan(&v)), ["1c"], "one above the maximum at most");
    v.group.max = 12;
    assert_eq!(zones(&plan(&v)), ["1c", "1c", "1c"]);
    for seen in &mut v.members {
        seen.member.protected = true;
    }
    assert_eq!(plan(&v), []);
    v.members[8].member.protected = false;
    assert_eq!(zones(&plan(&v)), ["1c"]);
    v.members.truncate(8);
    v.group.desired = 8;
    v.group.places.remove(0);
    for seen in &mut v.members {
        seen.member.protected = false;
    }
    let left_zone = plan(&v);
    assert_eq!(zones(&left_zone), ["1c", "1c", "1c", "1b", "1c"], "the group left zone a");
}

#[test]
fn the_old_retire_one_at_a_time() {
    let mut v = view();
    v.group.max_instance_lifetime_seconds = Some(5_000);
    for (n, seen) in v.members.iter_mut().enumerate() {
        seen.member.launched = Timestamp(n as i64);
    }
    assert_eq!(plan(&v), [Action::TakeOut { instance_id: "i-a".into(), why: WhyOut::Age }]);
    v.members[1].instance = Instance::Pending;
    assert_eq!(plan(&v), []);
    v.group.max_instance_lifetime_seconds = Some(86_400);
    assert_eq!(wake(&v), Some(Duration::from_millis(86_400_000 - NOW.0 as u64)));
}

#[test]
fn deletion_waits_for_no_drain() {
    let mut v = view();
    v.group.deleting = Some(NOW);
    assert_eq!(taken_out(&plan(&v)), ["i-a", "i-b", "i-c"]);
    v.members.truncate(1);
    v.members[0].member.lifecycle = Lifecycle::Terminating;
    v.members[0].targets.insert("tg".into(), Target::Draining);
    assert_eq!(plan(&v), [Action::Terminate { instance_id: "i-a".into() }]);
    v.members[0].member.terminated = true;
    assert_eq!(plan(&v), []);
    v.members.clear();
    assert_eq!(plan(&v), [Action::DeleteGroup]);
}

/// A world that does what it is told, at its own pace.
struct World {
    view: View,
    launched: usize,
    /// What a launch found: the zone, and whether another zone worked.
    into_failed: Vec<(String, bool)>,
    least_active: usize,
}

impl World {
    /// Acts on plans until there is nothing to do.
    fn act(&mut self) {
        for _ in 0..100 {
            let actions = plan(&self.view);
            if actions.is_empty() {
                return;
            }
            for action in actions {
                self.apply(action);
            }
        }
        panic!("no end of plans: {:?}", plan(&self.view));
    }

    fn member(&mut self, id: &str) -> &mut Seen {
        self.view.members.iter_mut().find(|seen| seen.member.instance_id == id).unwrap()
    }

    fn apply(&mut self, action: Action) {
        let now = self.view.now;
        match action {
            Action::Launch { zone, why } => {
                if self.view.failed_zones.contains(&zone) {
                    let other = self
                        .view
                        .group
                        .places
                        .iter()
                        .any(|place| !self.view.failed_zones.contains(&place.zone));
                    self.into_failed.push((zone.clone(), other));
                    let until = Timestamp(now.0 + 10_000);
                    self.view.group.backoff.insert(zone, Backoff { failures: 1, until });
                    return;
                }
                self.launched += 1;
                let mut seen = in_service(&format!("i-{:04}", self.launched), &zone);
                seen.member.lifecycle = Lifecycle::Pending;
                seen.member.in_service_since = None;
                seen.member.launched = now;
                seen.member.newcomer = matches!(why, WhyLaunch::Rebalance { .. });
                seen.instance = Instance::Pending;
                self.view.members.push(seen);
            }
            Action::Register { instance_id, target_groups } => {
                let seen = self.member(&instance_id);
                for tg in target_groups {
                    seen.member.registered.insert(tg.clone());
                    seen.targets.insert(tg, Target::Initial);
                }
            }
            Action::Deregister { instance_id, target_groups } => {
                let seen = self.member(&instance_id);
                for tg in target_groups {
                    seen.member.registered.remove(&tg);
                    seen.targets.remove(&tg);
                }
            }
            Action::EnterService { instance_id } => {
                let seen = self.member(&instance_id);
                assert!(seen.is_running());
                seen.member.lifecycle = Lifecycle::InService;
                seen.member.in_service_since = Some(now);
            }
            Action::Settle { instance_id } => self.member(&instance_id).member.newcomer = false,
            Action::MarkUnhealthy { instance_id, why } => {
                self.member(&instance_id).member.unhealthy = Some(why);
            }
            Action::TakeOut { instance_id, why } => {
                let seen = self.member(&instance_id);
                if let WhyOut::Capacity { .. } = why {
                    assert!(!seen.member.protected, "protected from scale-in");
                }
                seen.member.lifecycle = Lifecycle::Terminating;
                for target in seen.targets.values_mut() {
                    *target = Target::Draining;
                }
                let active = self.view.active().count();
                if let WhyOut::Capacity { .. } = why {
                    self.least_active = self.least_active.min(active);
                }
            }
            Action::Terminate { instance_id } => {
                let seen = self.member(&instance_id);
                let drains = seen.targets.values().any(|target| *target == Target::Draining);
                assert!(!seen.is_running() || !drains, "terminated before it was drained");
                seen.member.terminated = true;
                seen.instance = Instance::Ending;
            }
            Action::Forget { instance_id } => {
                assert_eq!(self.member(&instance_id).instance, Instance::Gone);
                self.view.members.retain(|seen| seen.member.instance_id != instance_id);
            }
            Action::DeleteGroup => panic!("nobody deletes it"),
        }
    }

    /// Everything that was begun takes its next step.
    fn pass(&mut self) {
        self.view.now = Timestamp(self.view.now.0 + 30_000);
        let failed = self.view.failed_zones.clone();
        for seen in &mut self.view.members {
            let dark = failed.contains(&seen.member.zone);
            seen.instance = match seen.instance {
                Instance::Pending | Instance::Running if dark => Instance::Gone,
                Instance::Pending => Instance::Running,
                Instance::Ending => Instance::Gone,
                other => other,
            };
            seen.targets.retain(|_, target| *target != Target::Draining);
            for target in seen.targets.values_mut() {
                if *target == Target::Initial {
                    *target = Target::Serving;
                }
            }
        }
    }

    fn settle(&mut self) {
        for _ in 0..200 {
            self.act();
            let before: Vec<_> = self.view.members.iter().map(|s| format!("{s:?}")).collect();
            self.pass();
            self.act();
            let after: Vec<_> = self.view.members.iter().map(|s| format!("{s:?}")).collect();
            if before == after {
                return;
            }
        }
        panic!("does not settle: {:#?}", self.view.members);
    }
}

#[derive(Clone, Debug)]
enum Event {
    Desired(u32),
    FailZone(usize),
    HealZone(usize),
    Kill(usize),
    Sicken(usize),
    Protect(usize),
    LeaveZone,
    Pass,
    Act,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        (0u32..12).prop_map(Event::Desired),
        (0usize..4).prop_map(Event::FailZone),
        (0usize..4).prop_map(Event::HealZone),
        (0usize..12).prop_map(Event::Kill),
        (0usize..12).prop_map(Event::Sicken),
        (0usize..12).prop_map(Event::Protect),
        Just(Event::LeaveZone),
        Just(Event::Pass),
        Just(Event::Pass),
        Just(Event::Act),
        Just(Event::Act),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever happened, in the end a group has its size, is even over the zones that work, and
    /// nothing was launched where nothing could run while there was another place.
    #[test]
    fn any_world_settles(
        zone_count in 1usize..5,
        elb in any::<bool>(),
        max in 6u32..12,
        events in prop::collection::vec(event(), 0..60),
    ) {
        let mut view = view();
        view.members.clear();
        view.group.places = (0..zone_count)
            .map(|n| Place { zone: format!("zone-{n}"), subnet_id: String::new() })
            .collect();
        view.group.max = max as i32;
        if elb {
            view.group.elb_health = true;
            view.group.target_groups = vec!["tg".into()];
            view.target_groups.insert("tg".into());
        }
        let mut world =
            World { view, launched: 0, into_failed: vec![], least_active: usize::MAX };
        let mut least_desired = world.view.group.desired;
        for event in events {
            let view = &mut world.view;
            let pick = |n: usize| n % view.members.len().max(1);
            match event {
                Event::Desired(n) => {
                    view.group.desired = n.min(max) as i32;
                    least_desired = least_desired.min(view.group.desired);
                }
                Event::FailZone(n) => {
                    view.failed_zones.insert(format!("zone-{n}"));
                }
                Event::HealZone(n) => {
                    view.failed_zones.remove(&format!("zone-{n}"));
                }
                Event::Kill(n) => {
                    let n = pick(n);
                    if let Some(seen) = view.members.get_mut(n) {
                        seen.instance = Instance::Ending;
                    }
                }
                Event::Sicken(n) => {
                    let n = pick(n);
                    if let Some(seen) = view.members.get_mut(n) {
                        for target in seen.targets.values_mut() {
                            if *target != Target::Draining {
                                *target = Target::Unhealthy;
                            }
                        }
                    }
                }
                Event::Protect(n) => {
                    let n = pick(n);
                    if let Some(seen) = view.members.get_mut(n) {
                        seen.member.protected = true;
                    }
                }
                Event::LeaveZone => {
                    if view.group.places.len() > 1 {
                        view.group.places.pop();
                    }
                }
                Event::Pass => world.pass(),
                Event::Act => world.act(),
            }
            let ceiling = max as usize + 1;
            prop_assert!(world.view.active().count() <= ceiling);
        }
        prop_assert!(world.into_failed.iter().all(|(_, another_worked)| !another_worked));
        if world.least_active != usize::MAX {
            prop_assert!(world.least_active >= least_desired as usize);
        }

        for seen in &mut world.view.members {
            seen.member.protected = false;
        }
        let zones: Vec<String> =
            world.view.group.places.iter().map(|place| place.zone.clone()).collect();
        if zones.iter().all(|zone| world.view.failed_zones.contains(zone)) {
            world.view.failed_zones.remove(&zones[0]);
        }
        world.settle();
        prop_assert_eq!(world.view.members.len(), world.view.group.desired as usize);
        let counts: Vec<usize> = zones
            .iter()
            .filter(|zone| !world.view.failed_zones.contains(*zone))
            .map(|zone| world.view.members.iter().filter(|s| s.member.zone == *zone).count())
            .collect();
        let spread = counts.iter().max().unwrap() - counts.iter().min().unwrap();
        prop_assert!(spread <= 1, "{counts:?}");
        prop_assert!(world.view.members.iter().all(Seen::serves));
    }
}
