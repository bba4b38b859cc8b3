//! Accounts through the API and their controller, with the fake driver.

use std::sync::Arc;
use std::time::Duration;

use compute::Driver;
use compute::fake::Fake;

use super::controller::CpuCredits;
use crate::Context;
use crate::cloudwatch::{MetricId, Statistic};
use crate::controller::Controller;
use crate::ec2::instance::controller::Instances;
use crate::testing::{ok, refused, text, world};

struct World {
    cx: Context,
    driver: Arc<Fake>,
    instances: Instances,
    credits: CpuCredits,
}

impl World {
    fn new() -> World {
        let (cx, driver) = world(|_| None);
        World { cx, driver, instances: Instances::default(), credits: CpuCredits::default() }
    }

    fn image(&self) -> String {
        crate::ec2::image::ops::images(&self.cx.read(), &self.cx)[0].id.clone()
    }

    async fn run(&mut self, members: &str) -> String {
        let image = self.image();
        let form = format!("ImageId={image}&MinCount=1&MaxCount=1&{members}");
        let id = text(&ok(&self.cx, "RunInstances", &form).await, "instanceId");
        self.instances.reconcile(&self.cx.env).await.unwrap();
        self.pass(2).await;
        id
    }

    /// Lets seconds go by, a minute at a time.
    async fn pass(&mut self, seconds: u64) {
        let mut left = seconds;
        while left > 0 {
            let step = left.min(60);
            left -= step;
            self.cx.now = self.cx.now.plus(Duration::from_secs(step));
            self.cx.env.clock.advance(self.cx.now);
            self.driver.tick();
            self.instances.reconcile(&self.cx.env).await.unwrap();
            self.credits.reconcile(&self.cx.env).await.unwrap();
        }
    }

    fn credits(&self, id: &str) -> super::Credits {
        super::Credits::clone(&self.cx.read().get(&self.cx.key(id)).unwrap())
    }

    fn cpu(&self, id: &str) -> f64 {
        self.driver.usage(id).unwrap().cpu.as_secs_f64()
    }
}

#[tokio::test]
async fn a_standard_instance_is_held_when_its_credits_are_gone() {
    let mut world = World::new();
    let id = world.run("InstanceType=t3.nano&CreditSpecification.CpuCredits=standard").await;
    world.pass(3600).await;
    let saved = world.credits(&id).balance;
    assert!((saved - 6.0).abs() < 0.2, "{saved}");
    world.driver.set_load(&id, 2.0);
    world.pass(600).await;
    assert!(world.credits(&id).balance < 0.01, "{:?}", world.credits(&id));
    let before = world.cpu(&id);
    world.pass(600).await;
    let used = world.cpu(&id) - before;
    // Five percent of two vCPUs.
    assert!((used - 60.0).abs() < 3.0, "{used}");
    // It rests, earns, and may do more again.
    world.driver.set_load(&id, 0.0);
    world.pass(3600).await;
    world.driver.set_load(&id, 2.0);
    let before = world.cpu(&id);
    world.pass(120).await;
    assert!(world.cpu(&id) - before > 200.0, "{}", world.cpu(&id) - before);
}

#[tokio::test]
async fn an_unlimited_one_is_not_and_metrics_tell() {
    let mut world = World::new();
    let id = world.run("InstanceType=t3.nano").await;
    world.driver.set_load(&id, 2.0);
    let before = world.cpu(&id);
    world.pass(1200).await;
    assert!((world.cpu(&id) - before - 2400.0).abs() < 1.0);
    let surplus = world.credits(&id).surplus;
    assert!((surplus - 38.0).abs() < 1.0, "{surplus}");
    let cx = world.cx.clone();
    let shown = |name: &str| {
        let metric = MetricId::new("AWS/EC2", name, &[("InstanceId", &id)]);
        let five = Duration::from_secs(300);
        let periods = cx.env.metrics.periods(&cx.account, &cx.region, &metric, five, 3, cx.now);
        periods[1].unwrap().get(Statistic::Sum)
    };
    assert!((shown("CPUCreditUsage") - 10.0).abs() < 0.5, "{}", shown("CPUCreditUsage"));
    assert_eq!(shown("CPUCreditBalance"), 0.0);
    assert!(shown("CPUSurplusCreditBalance") > 10.0);
    // Standard from now on: the surplus is charged, the baseline holds.
    let form = format!(
        "InstanceCreditSpecification.1.InstanceId={id}\
         &InstanceCreditSpecification.1.CpuCredits=standard\
         &InstanceCreditSpecification.2.InstanceId=i-0123456789abcdef0\
         &InstanceCreditSpecification.2.CpuCredits=standard"
    );
    let answer = ok(&cx, "ModifyInstanceCreditSpecification", &form).await;
    assert!(answer.contains("InvalidInstanceID.NotFound") && answer.contains(&id), "{answer}");
    assert_eq!(world.credits(&id).surplus, 0.0);
    world.pass(120).await;
    let before = world.cpu(&id);
    world.pass(600).await;
    assert!(world.cpu(&id) - before < 70.0, "{}", world.cpu(&id) - before);
}

#[tokio::test]
async fn what_is_counted_survives_a_new_daemon() {
    let mut world = World::new();
    let id = world.run("InstanceType=t2.micro").await;
    assert_eq!(world.credits(&id).launch, 30.0);
    world.driver.set_load(&id, 1.0);
    world.pass(300).await;
    let before = world.credits(&id);
    assert!((before.launch - 25.0).abs() < 0.2, "{before:?}");
    world.credits = CpuCredits::default();
    world.instances = Instances::default();
    world.cx.env.metrics.clear();
    world.pass(300).await;
    let after = world.credits(&id);
    assert!((after.launch - 20.0).abs() < 0.2, "{after:?}");
}

#[tokio::test]
async fn specifications_and_defaults() {
    let mut world = World::new();
    let cx = world.cx.clone();
    let form = format!(
        "ImageId={}&MinCount=1&MaxCount=1&InstanceType=m5.large\
         &CreditSpecification.CpuCredits=standard",
        world.image()
    );
    assert_eq!(refused(&cx, "RunInstances", &form).await, "InvalidParameterCombination");
    let wrong = form.replace("=standard", "=endless");
    assert_eq!(refused(&cx, "RunInstances", &wrong).await, "InvalidParameterValue");

    for (name, mode) in [("t2", "standard"), ("t3", "unlimited"), ("t4g", "unlimited")] {
        let family = format!("InstanceFamily={name}");
        let answer = ok(&cx, "GetDefaultCreditSpecification", &family).await;
        assert_eq!(text(&answer, "cpuCredits"), mode);
    }
    let set = "InstanceFamily=t3&CpuCredits=standard";
    ok(&cx, "ModifyDefaultCreditSpecification", set).await;
    let standard = world.run("InstanceType=t3.micro").await;
    let unlimited = world.run("InstanceType=t3a.micro").await;
    let plain = world.run("InstanceType=m5.large").await;
    let all = ok(&cx, "DescribeInstanceCreditSpecifications", "").await;
    assert!(all.contains(&unlimited) && !all.contains(&standard), "{all}");
    let named = format!("InstanceId.1={standard}");
    let one = ok(&cx, "DescribeInstanceCreditSpecifications", &named).await;
    assert_eq!(text(&one, "cpuCredits"), "standard");
    let named = format!("InstanceId.1={plain}");
    assert_eq!(
        refused(&cx, "DescribeInstanceCreditSpecifications", &named).await,
        "InstanceCreditSpecification.NotSupported"
    );
    // A template says it for all that come of it.
    let made = ok(
        &cx,
        "CreateLaunchTemplate",
        "LaunchTemplateName=web&LaunchTemplateData.InstanceType=t3a.nano\
         &LaunchTemplateData.CreditSpecification.CpuCredits=standard",
    )
    .await;
    let template = text(&made, "launchTemplateId");
    let named = format!("LaunchTemplateId={template}");
    let versions = ok(&cx, "DescribeLaunchTemplateVersions", &named).await;
    assert_eq!(text(&versions, "cpuCredits"), "standard");
    let id = world.run(&format!("LaunchTemplate.LaunchTemplateId={template}")).await;
    assert_eq!(world.credits(&id).mode, super::Mode::Standard);
}
