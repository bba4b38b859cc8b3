//! Groups through their operations and their controller, with the rest of the cloud played by hand.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::controller::AutoScaling;
use super::describe::{self, Page};
use super::model::{Activity, Group, Lifecycle, Member, Policy, Process, Tag};
use super::ops::{self, Settings};
use super::policies::{self, TargetTracking};
use super::{Error, observe, tags};
use crate::clock::Timestamp;
use crate::cloudwatch::alarm::{Alarm, State};
use crate::controller::Controller;
use crate::ec2::instance::launch::{Launch, Template};
use crate::ec2::instance::model::Instance;
use crate::ec2::instance::state::{Event, InstanceState};
use crate::ec2::launch_template::ops::NewVersion;
use crate::ec2::{self, launch_template, vpc};
use crate::elbv2::model::{Target, TargetState};
use crate::filter::Filter;
use crate::tag::Tags;
use crate::{Context, elbv2, id, testing, zone};

mod capacity;

/// A cloud with a launch template, moved on by hand.
pub(super) struct Cloud {
    pub(super) cx: Context,
    pub(super) template: Template,
}

impl Cloud {
    pub(super) async fn new() -> Cloud {
        let cx = testing::context();
        let launch = Launch {
            image_id: Some(id::stable("ami", &["drover-host"])),
            instance_type: Some("t3.micro".into()),
            ..Launch::default()
        };
        let new = NewVersion { launch, ..NewVersion::default() };
        let made = cx
            .write(|tx| launch_template::ops::create(tx, &cx, "web", &new, &Tags::new()))
            .await
            .unwrap();
        let template = Template { id: Some(made.id), name: None, version: None };
        Cloud { cx, template }
    }

    fn settings(&self, min: i32, desired: i32, max: i32) -> Settings {
        Settings {
            min: Some(min),
            max: Some(max),
            desired: Some(desired),
            zones: Some(["a", "b", "c"].map(|z| format!("us-east-1{z}")).to_vec()),
            template: Some(self.template.clone()),
            ..Settings::default()
        }
    }

    async fn create(&self, settings: &Settings) -> Result<(), Error> {
        self.create_with(settings, vec![]).await
    }

    async fn create_with(&self, settings: &Settings, groups: Vec<String>) -> Result<(), Error> {
        let tag = |propagate| Tag { value: "v".into(), propagate_at_launch: propagate };
        let tags: BTreeMap<String, Tag> =
            [("own".to_owned(), tag(false)), ("given".to_owned(), tag(true))].into();
        self.cx
            .write(|tx| ops::create(tx, &self.cx, "web", settings, groups.clone(), tags.clone()))
            .await
    }

    async fn update(&self, settings: &Settings) -> Result<(), Error> {
        self.cx.write(|tx| ops::update(tx, &self.cx, "web", settings)).await
    }

    fn pass(&mut self, time: Duration) {
        self.cx.now = self.cx.now.plus(time);
        self.cx.env.clock.advance(self.cx.now);
    }

    /// One round of the controller alone.
    async fn tend(&self) {
        AutoScaling.reconcile(&self.cx.env).await.unwrap();
    }

    /// Everything begun comes to its end: boots, health checks, drains, terminations.
    pub(super) async fn settle(&self) {
        let cx = &self.cx;
        for _ in 0..10 {
            self.tend().await;
            let instances: Vec<Arc<Instance>> = cx.read().scan::<Instance>("").collect();
            let targets: Vec<Arc<Target>> = cx.read().scan::<Target>("").collect();
            cx.write(|tx| {
                for instance in &instances {
                    let event = match instance.state() {
                        InstanceState::Pending => Event::Up { boot: instance.desired.boot },
                        InstanceState::ShuttingDown => Event::Gone,
                        _ => continue,
                    };
                    ec2::instance::ops::observe(tx, cx, &instance.id, event);
                }
                for target in &targets {
                    if target.state == TargetState::Draining {
                        tx.delete::<Target>(&store::Record::key(&**target));
                    }
                }
                Ok::<_, store::Error>(())
            })
            .await
            .unwrap();
        }
    }

    fn group(&self) -> Arc<Group> {
        ops::group(&self.cx.read(), &self.cx, "web").unwrap()
    }

    fn members(&self) -> Vec<Arc<Member>> {
        observe::members_of(&self.cx.read(), &self.cx, "web")
    }

    fn zones(&self) -> Vec<char> {
        let mut zones: Vec<char> = self
            .members()
            .iter()
            .filter(|member| member.is_active())
            .map(|member| member.zone.chars().last().unwrap())
            .collect();
        zones.sort();
        zones
    }

    /// Newest first.
    fn activities(&self) -> Vec<Arc<Activity>> {
        let page = Page { size: None, token: None, default: 100, maximum: 100 };
        let found = describe::activities(&self.cx.read(), &self.cx, Some("web"), &[], true, &page);
        found.unwrap().0
    }
}

fn minutes(n: u64) -> Duration {
    Duration::from_secs(60 * n)
}

#[tokio::test]
async fn a_group_fills_itself_evenly_and_tells_why() {
    let cloud = Cloud::new().await;
    cloud.create(&cloud.settings(1, 4, 6)).await.unwrap();
    cloud.tend().await;
    assert_eq!(cloud.zones(), ['a', 'a', 'b', 'c']);
    assert!(cloud.members().iter().all(|m| m.lifecycle == Lifecycle::Pending));
    let activity = &cloud.activities()[0];
    assert_eq!(activity.status.name(), "PreInService");
    assert_eq!(
        activity.cause,
        "At 2026-01-01T00:00:00Z a user request created an AutoScalingGroup changing the desired \
         capacity from 0 to 4.  At 2026-01-01T00:00:00Z an instance was started in response to a \
         difference between desired and actual capacity, increasing the capacity from 0 to 4."
    );
    cloud.settle().await;
    assert!(cloud.members().iter().all(|m| m.lifecycle == Lifecycle::InService));
    assert!(cloud.activities().iter().all(|a| a.status.name() == "Successful"));
    let id = &cloud.members()[0].instance_id;
    let tags = ec2::tag::ops::tags_of(&cloud.cx.read(), &cloud.cx, id);
    assert_eq!(tags.get("aws:autoscaling:groupName").map(String::as_str), Some("web"));
    assert!(tags.contains_key("given") && !tags.contains_key("own"));
    let changes = cloud.cx.env.store.changes();
    cloud.tend().await;
    assert!(!changes.has_changed().unwrap(), "nothing to do, nothing written");
}

#[tokio::test]
async fn sizes_follow_requests() {
    let mut cloud = Cloud::new().await;
    cloud.create(&cloud.settings(1, 3, 6)).await.unwrap();
    cloud.settle().await;
    cloud.pass(minutes(1));
    let cx = cloud.cx.clone();
    cx.write(|tx| ops::set_desired_capacity(tx, &cx, "web", 5, false)).await.unwrap();
    cloud.settle().await;
    assert_eq!(cloud.zones(), ['a', 'a', 'b', 'b', 'c']);
    assert!(cloud.activities()[0].cause.starts_with(
        "At 2026-01-01T00:01:00Z a user request explicitly set group desired capacity changing the \
         desired capacity from 3 to 5.  At 2026-01-01T00:01:00Z an instance was started"
    ));
    let again = cx.write(|tx| ops::set_desired_capacity(tx, &cx, "web", 4, true)).await;
    assert_eq!(again.unwrap_err().code(), "ScalingActivityInProgress");

    cloud.pass(minutes(1));
    let shrink = Settings { max: Some(2), ..Settings::default() };
    cloud.update(&shrink).await.unwrap();
    assert_eq!(cloud.group().desired, 2, "desired follows its bounds");
    cloud.settle().await;
    assert_eq!(cloud.zones().len(), 2);
    let activity = &cloud.activities()[0];
    assert!(activity.description.starts_with("Terminating EC2 instance: i-"));
    let cause = &activity.cause;
    assert!(cause.contains("constraints to min: 1, max: 2, desired: 2 changing"), "{cause}");
    assert!(cause.contains("shrinking the capacity from 5 to 2.  At"), "{cause}");
    assert!(cause.ends_with("was selected for termination."), "{cause}");
}

#[tokio::test]
async fn a_dead_instance_is_replaced() {
    let cloud = Cloud::new().await;
    cloud.create(&cloud.settings(1, 3, 6)).await.unwrap();
    cloud.settle().await;
    let victim = cloud.members()[0].instance_id.clone();
    let cx = &cloud.cx;
    cx.write(|tx| ec2::instance::ops::terminate(tx, cx, std::slice::from_ref(&victim), false))
        .await
        .unwrap();
    cloud.settle().await;
    assert_eq!(cloud.zones(), ['a', 'b', 'c']);
    assert!(cloud.members().iter().all(|m| m.instance_id != victim));
    let causes: Vec<String> = cloud.activities().iter().map(|a| a.cause.clone()).collect();
    let told = |text: &str| causes.iter().any(|cause| cause.ends_with(text));
    assert!(told(
        "an instance was taken out of service in response to an EC2 health check indicating it has \
         been terminated or stopped."
    ));
    assert!(told(
        "an instance was launched in response to an unhealthy instance needing to be replaced."
    ));
}

#[tokio::test]
async fn a_zone_fails_and_returns() {
    let mut cloud = Cloud::new().await;
    cloud.create(&cloud.settings(1, 6, 9)).await.unwrap();
    cloud.settle().await;
    let cx = cloud.cx.clone();
    let instances: Vec<Arc<Instance>> = cx.read().scan::<Instance>("").collect();
    cx.write(|tx| {
        zone::fail(tx, "us-east-1b", cx.now);
        for instance in instances.iter().filter(|i| i.zone == "us-east-1b") {
            ec2::instance::ops::observe(tx, &cx, &instance.id, Event::ZoneFailed);
        }
        Ok::<_, store::Error>(())
    })
    .await
    .unwrap();
    cloud.settle().await;
    assert_eq!(cloud.zones(), ['a', 'a', 'a', 'c', 'c', 'c']);
    let heal = cx.write(|tx| Ok::<_, store::Error>(zone::heal(tx, "us-east-1b"))).await;
    assert!(heal.unwrap());
    cloud.pass(minutes(10));
    cloud.settle().await;
    assert_eq!(cloud.zones(), ['a', 'a', 'b', 'b', 'c', 'c']);
    let causes: Vec<String> = cloud.activities().iter().map(|a| a.cause.clone()).collect();
    assert!(causes.iter().any(|cause| cause.ends_with(
        "availability zones us-east-1a us-east-1b us-east-1c had 3 0 3 instances respectively. An \
         instance was launched to aid in balancing the group's zones."
    )));
}

#[tokio::test]
async fn refused_launches_are_told_and_tried_again_later() {
    let mut cloud = Cloud::new().await;
    let cx = cloud.cx.clone();
    let fail_all = |tx: &mut store::Tx| {
        for name in ["us-east-1a", "us-east-1b", "us-east-1c"] {
            zone::fail(tx, name, cx.now);
        }
        Ok::<_, store::Error>(())
    };
    cx.write(fail_all).await.unwrap();
    cloud.create(&cloud.settings(1, 1, 6)).await.unwrap();
    cloud.tend().await;
    cloud.tend().await;
    assert_eq!(cloud.members().len(), 0);
    assert_eq!(cx.read().scan::<Instance>("").count(), 0, "no orphan");
    let activities = cloud.activities();
    assert_eq!(activities.len(), 3, "one for each zone, then a rest");
    assert_eq!(activities[0].status.name(), "Failed");
    let description = &activities[0].description;
    assert!(description.contains("We currently do not have sufficient t3.micro capacity"));
    assert!(description.ends_with("Launching EC2 instance failed."), "{description}");
    cx.write(|tx| Ok::<_, store::Error>(zone::heal(tx, "us-east-1c"))).await.unwrap();
    let wake = AutoScaling.reconcile(&cx.env).await.unwrap();
    assert_eq!(wake, Some(Duration::from_secs(10)));
    cloud.pass(Duration::from_secs(10));
    cloud.settle().await;
    assert_eq!(cloud.zones(), ['c']);
}

async fn target_group(cx: &Context) -> String {
    let request = elbv2::ops::target_group::Create {
        name: "web".into(),
        protocol: Some("HTTP".into()),
        port: Some(80),
        vpc_id: Some(vpc::ops::first_id(cx)),
        ..Default::default()
    };
    let group = cx.write(|tx| elbv2::ops::target_group::create(tx, cx, &request)).await;
    group.unwrap().arn.clone()
}

async fn set_target(cx: &Context, id: &str, state: TargetState) {
    let target = cx.read().scan::<Target>("").find(|target| target.id == id).unwrap();
    cx.write(|tx| {
        tx.put(Target { state, ..Target::clone(&target) });
        Ok::<_, store::Error>(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_target_group_judges_and_drains() {
    let mut cloud = Cloud::new().await;
    let cx = cloud.cx.clone();
    let arn = target_group(&cx).await;
    let settings = Settings {
        health_check_type: Some("ELB".into()),
        grace: Some(30),
        ..cloud.settings(1, 2, 6)
    };
    cloud.create_with(&settings, vec![arn.clone()]).await.unwrap();
    cloud.settle().await;
    assert_eq!(elbv2::ops::targets(&cx.read(), &cx, &arn).len(), 2);
    let sick = cloud.members()[0].instance_id.clone();
    set_target(&cx, &sick, TargetState::Unhealthy).await;
    cloud.tend().await;
    assert!(cloud.members().iter().all(|m| m.is_active()), "in its grace period");
    cloud.pass(Duration::from_secs(31));
    cloud.tend().await;
    let member = cloud.members().into_iter().find(|m| m.instance_id == sick).unwrap();
    assert_eq!(member.lifecycle, Lifecycle::Terminating);
    assert_eq!(cloud.members().len(), 3, "the replacement does not wait for the drain");
    let activity = cx.read().get::<Activity>(member.activity.as_ref().unwrap()).unwrap();
    assert!(activity.cause.ends_with("in response to an ELB system health check failure."));

    // A target group nobody uses has nothing to drain; one in use does.
    cloud.settle().await;
    let healthy = cloud.members()[0].instance_id.clone();
    set_target(&cx, &healthy, TargetState::Healthy).await;
    let ended = cx.write(|tx| ops::terminate_instance(tx, &cx, &healthy, true)).await.unwrap();
    assert_eq!(ended.status.name(), "WaitingForELBConnectionDraining");
    cloud.tend().await;
    let running = cx.read().get::<Instance>(&cx.key(&healthy)).unwrap();
    assert_eq!(running.state(), InstanceState::Running, "it drains");
    assert_eq!(cloud.group().desired, 1);
    cloud.settle().await;
    assert_eq!(cloud.members().len(), 1);
    cx.write(|tx| ops::detach_target_groups(tx, &cx, "web", std::slice::from_ref(&arn)))
        .await
        .unwrap();
    cloud.settle().await;
    assert_eq!(elbv2::ops::targets(&cx.read(), &cx, &arn).len(), 0);
}

#[tokio::test]
async fn deletion() {
    let cloud = Cloud::new().await;
    let cx = &cloud.cx;
    cloud.create(&cloud.settings(0, 2, 6)).await.unwrap();
    cloud.settle().await;
    let delete = async |force| cx.write(|tx| ops::delete(tx, cx, "web", force)).await;
    assert_eq!(delete(false).await.unwrap_err().code(), "ResourceInUse");
    cx.write(|tx| ops::set_desired_capacity(tx, cx, "web", 0, false)).await.unwrap();
    cloud.tend().await;
    assert_eq!(delete(false).await.unwrap_err().code(), "ScalingActivityInProgress");
    cloud.settle().await;
    delete(false).await.unwrap();
    assert_eq!(
        delete(false).await.unwrap_err().to_string(),
        "AutoScalingGroup name not found - null"
    );

    cloud.create(&cloud.settings(0, 2, 6)).await.unwrap();
    cloud.settle().await;
    delete(true).await.unwrap();
    assert!(cloud.group().deleting.is_some());
    cloud.settle().await;
    assert_eq!(cx.read().scan::<Group>("").count(), 0);
    assert_eq!(cx.read().scan::<Member>("").count(), 0);
    assert!(cx.read().scan::<Instance>("").all(|i| i.state() == InstanceState::Terminated));
    assert!(!cloud.activities().is_empty(), "what happened stays told");
}

#[tokio::test]
async fn load_moves_the_group() {
    let mut cloud = Cloud::new().await;
    let cx = cloud.cx.clone();
    cloud.create(&cloud.settings(1, 2, 6)).await.unwrap();
    cloud.settle().await;
    let policy = put_policy(&cx, "ASGAverageCPUUtilization", None).await.unwrap();
    assert_eq!(policies::alarms_of(&policy).len(), 2);
    cloud.pass(minutes(10));
    let (metric, _) = policies::metric_of(&policy);
    let measure = |from: u64, to: u64, value: f64| {
        for minute in from..to {
            let at = testing::NOW.plus(minutes(minute));
            cx.env.metrics.put(&cx.account, &cx.region, &metric, at, value);
        }
    };
    measure(5, 10, 80.0);
    set_alarm(&cx, &policy.alarm_high, State::Alarm).await;
    cloud.tend().await;
    assert_eq!(cloud.group().desired, 4);
    cloud.settle().await;
    assert_eq!(cloud.members().len(), 4);
    assert!(cloud.activities()[0].cause.contains(&format!(
        "a monitor alarm {} in state ALARM triggered policy cpu changing the desired capacity from 2 \
         to 4.",
        policy.alarm_high
    )));
    set_alarm(&cx, &policy.alarm_high, State::Ok).await;
    set_alarm(&cx, policy.alarm_low.as_ref().unwrap(), State::Alarm).await;
    measure(10, 40, 10.0);
    cloud.pass(minutes(2));
    cloud.tend().await;
    assert_eq!(cloud.group().desired, 4, "warming up");
    cloud.pass(minutes(28));
    cloud.settle().await;
    assert_eq!(cloud.group().desired, 1);
    cx.write(|tx| policies::delete(tx, &cx, Some("web"), "cpu")).await.unwrap();
    assert_eq!(cx.read().scan::<Alarm>("").count(), 0);
}

async fn put_policy(cx: &Context, metric: &str, label: Option<&str>) -> Result<Policy, Error> {
    let wanted = TargetTracking {
        group: "web".into(),
        name: "cpu".into(),
        enabled: true,
        warmup_seconds: Some(300),
        metric: metric.into(),
        resource_label: label.map(str::to_owned),
        target: 50.0,
        disable_scale_in: false,
    };
    cx.write(|tx| policies::put(tx, cx, &wanted)).await
}

async fn set_alarm(cx: &Context, name: &str, state: State) {
    let alarm = cx.read().get::<Alarm>(&cx.key(name)).unwrap();
    cx.write(|tx| {
        tx.put(Alarm { state, ..Alarm::clone(&alarm) });
        Ok::<_, store::Error>(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn refusals() {
    let cloud = Cloud::new().await;
    let good = cloud.settings(1, 2, 3);
    let with = |change: &dyn Fn(&mut Settings)| {
        let mut settings = good.clone();
        change(&mut settings);
        settings
    };
    for (settings, words) in [
        (with(&|s| s.min = Some(4)), "Max bound, 3, must be greater than or equal to min bound, 4"),
        (with(&|s| s.desired = Some(9)), "Desired capacity:9 must be between the specified min"),
        (with(&|s| s.min = Some(-1)), "MinSize must be at least 0"),
        (with(&|s| s.template = None), "Valid requests must contain either LaunchTemplate"),
        (with(&|s| s.template = Some(Template::default())), "launchTemplateId or"),
        (with(&|s| s.zones = None), "At least one Availability Zone or VPC Subnet is required."),
        (with(&|s| s.zones = Some(vec!["us-east-1z".into()])), "Invalid availability zones"),
        (with(&|s| s.subnets = Some("subnet-0123456789abcdef0".into())), "does not exist"),
        (with(&|s| s.health_check_type = Some("EBS".into())), "Invalid HealthCheckType"),
        (with(&|s| s.grace = Some(-1)), "HealthCheckGracePeriod must be at least 0"),
        (with(&|s| s.max_instance_lifetime = Some(5)), "MaxInstanceLifetime must be 0 or"),
        (
            with(&|s| s.termination_policies = Some(vec!["AllocationStrategy".into()])),
            "TerminationPolicy AllocationStrategy is not supported.",
        ),
    ] {
        let error = cloud.create(&settings).await.unwrap_err();
        assert_eq!(error.code(), "ValidationError");
        assert!(error.to_string().contains(words), "{error}");
    }
    let error = cloud.create_with(&good, vec!["arn:nope".into()]).await.unwrap_err();
    assert!(error.to_string().starts_with("Provided Target Groups may not be valid."));
    assert_eq!(cloud.cx.read().scan::<Group>("").count(), 0, "nothing was written");

    cloud.create(&good).await.unwrap();
    assert_eq!(cloud.create(&good).await.unwrap_err().code(), "AlreadyExists");
    let cx = &cloud.cx;
    for (metric, label, words) in [
        ("ASGAverageNetworkIn", None, "is not supported by this cloud"),
        ("ALBRequestCountPerTarget", None, "ResourceLabel must be given"),
        ("ALBRequestCountPerTarget", Some("app/web/0123"), "it must be app/"),
        (
            "ALBRequestCountPerTarget",
            Some("app/web/0123/targetgroup/web/4567"),
            "is not attached to the Auto Scaling group",
        ),
        ("ASGAverageCPUUtilization", Some("x"), "must not be given"),
    ] {
        let error = put_policy(cx, metric, label).await.unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
    }
    let above = cx.write(|tx| ops::set_desired_capacity(tx, cx, "web", 4, false)).await;
    assert!(above.unwrap_err().to_string().contains("is above max value 3"));
    let nobody = cx.write(|tx| ops::terminate_instance(tx, cx, "i-0", false)).await;
    assert!(nobody.unwrap_err().to_string().starts_with("Instance Id not found"));
}

#[tokio::test]
async fn the_last_of_the_minimum_stays() {
    let cloud = Cloud::new().await;
    let cx = &cloud.cx;
    cloud.create(&cloud.settings(1, 1, 3)).await.unwrap();
    cloud.settle().await;
    let id = cloud.members()[0].instance_id.clone();
    let error = cx.write(|tx| ops::terminate_instance(tx, cx, &id, true)).await.unwrap_err();
    assert!(error.to_string().starts_with("Currently, desiredSize equals minSize (1)."));
    cx.write(|tx| ops::terminate_instance(tx, cx, &id, false)).await.unwrap();
    cloud.settle().await;
    assert_eq!(cloud.members().len(), 1);
    assert_ne!(cloud.members()[0].instance_id, id);
}

#[tokio::test]
async fn health_protection_and_suspension_by_the_user() {
    let cloud = Cloud::new().await;
    let cx = &cloud.cx;
    let settings = Settings { grace: Some(600), ..cloud.settings(0, 2, 3) };
    cloud.create(&settings).await.unwrap();
    cloud.settle().await;
    let ids: Vec<String> = cloud.members().iter().map(|m| m.instance_id.clone()).collect();
    let health = async |respect| {
        cx.write(|tx| ops::set_instance_health(tx, cx, &ids[0], "Unhealthy", respect)).await
    };
    health(true).await.unwrap();
    assert_eq!(cloud.members().iter().filter(|m| m.unhealthy.is_some()).count(), 0);
    let suspend = ["ReplaceUnhealthy".to_owned()];
    cx.write(|tx| ops::suspend_processes(tx, cx, "web", &suspend)).await.unwrap();
    health(false).await.unwrap();
    cloud.settle().await;
    assert!(cloud.members().iter().any(|m| m.instance_id == ids[0]));
    cx.write(|tx| ops::resume_processes(tx, cx, "web", &[])).await.unwrap();
    cloud.settle().await;
    assert!(cloud.members().iter().all(|m| m.instance_id != ids[0]));
    assert!(cloud.group().runs(Process::ReplaceUnhealthy));

    let all: Vec<String> = cloud.members().iter().map(|m| m.instance_id.clone()).collect();
    cx.write(|tx| ops::set_instance_protection(tx, cx, "web", &all, true)).await.unwrap();
    cx.write(|tx| ops::set_desired_capacity(tx, cx, "web", 0, false)).await.unwrap();
    cloud.settle().await;
    assert_eq!(cloud.members().len(), 2);
}

#[tokio::test]
async fn tags_and_pages() {
    let cloud = Cloud::new().await;
    let cx = &cloud.cx;
    cloud.create(&cloud.settings(0, 0, 3)).await.unwrap();
    let line = |key: &str, value: &str| tags::Line {
        group: "web".into(),
        key: key.into(),
        value: value.into(),
        propagate_at_launch: true,
    };
    let lines = [line("own", "new"), line("third", "3")];
    cx.write(|tx| tags::create_or_update(tx, cx, &lines)).await.unwrap();
    let page = |size, token| Page { size, token, default: 50, maximum: 100 };
    let (first, token) = describe::tags(&cx.read(), cx, &[], &page(Some(2), None)).unwrap();
    let (rest, end) = describe::tags(&cx.read(), cx, &[], &page(Some(2), token)).unwrap();
    let keys: Vec<&str> = first.iter().chain(&rest).map(|l| l.key.as_str()).collect();
    assert_eq!((keys, end), (vec!["given", "own", "third"], None));
    let filter = |name: &str, value: &str| Filter { name: name.into(), values: vec![value.into()] };
    for (name, value, expected) in
        [("key", "own", 1), ("value", "v", 1), ("auto-scaling-group", "other", 0)]
    {
        let found = describe::tags(&cx.read(), cx, &[filter(name, value)], &page(None, None));
        assert_eq!(found.unwrap().0.len(), expected, "{name}");
    }
    for (name, value, expected) in
        [("tag:own", "new", 1), ("tag-key", "third", 1), ("tag-value", "none", 0)]
    {
        let found =
            describe::groups(&cx.read(), cx, &[], &[filter(name, value)], &page(None, None));
        assert_eq!(found.unwrap().0.len(), expected, "{name}");
    }
    let wrong = describe::groups(&cx.read(), cx, &[], &[filter("x", "")], &page(None, None));
    assert_eq!(wrong.unwrap_err().code(), "ValidationError");
    let bad = describe::tags(&cx.read(), cx, &[], &page(None, Some("?".into())));
    assert_eq!(bad.unwrap_err().code(), "InvalidNextToken");
    let reserved = [line("aws:x", "")];
    assert!(cx.write(|tx| tags::create_or_update(tx, cx, &reserved)).await.is_err());
    let gone = [("web".to_owned(), "own".to_owned(), Some("other".to_owned()))];
    cx.write(|tx| tags::delete(tx, cx, &gone)).await.unwrap();
    assert!(cloud.group().tags.contains_key("own"));
    let gone = [("web".to_owned(), "own".to_owned(), None)];
    cx.write(|tx| tags::delete(tx, cx, &gone)).await.unwrap();
    assert!(!cloud.group().tags.contains_key("own"));
    assert_eq!(cloud.group().created, Timestamp(testing::NOW.0));
}
