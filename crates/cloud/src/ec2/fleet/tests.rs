//! Fleets through EC2's operations, with their controller and those below.

mod spot_fleet;

use std::sync::Arc;
use std::time::Duration;

use compute::fake::{Fake, Fault, Point};

use super::controller::Fleets;
use crate::Context;
use crate::ec2::image;
use crate::ec2::instance::controller::Instances;
use crate::ec2::spot::controller::SpotRequests;
use crate::ec2::spot::market;
use crate::testing::{self, ok, refused, text};

struct World {
    cx: Context,
    driver: Arc<Fake>,
    instances: Instances,
}

const OF: &str = "LaunchTemplateConfigs.1";
const TARGET: &str = "TargetCapacitySpecification";

impl World {
    async fn new() -> World {
        World::with_faults(|_| None).await
    }

    async fn with_faults(
        faults: impl Fn(Point<'_>) -> Option<Fault> + Send + Sync + 'static,
    ) -> World {
        let (cx, driver) = testing::world(faults);
        let data = "LaunchTemplateData";
        let image = image::ops::built_in_id();
        let members =
            format!("LaunchTemplateName=web&{data}.ImageId={image}&{data}.InstanceType=t3.micro");
        ok(&cx, "CreateLaunchTemplate", &members).await;
        World { cx, driver, instances: Instances::default() }
    }

    async fn price(&self, instance_type: &str, zone: &str, price: f64) {
        let env = &self.cx.env;
        let set = |tx: &mut store::Tx| market::set(tx, env, instance_type, zone, Some(price));
        self.cx.write(set).await.unwrap();
    }

    async fn settle(&self) {
        testing::settle(&self.cx.env, &self.driver, &[&self.instances, &SpotRequests, &Fleets])
            .await;
    }

    async fn pass(&mut self, seconds: u64) {
        testing::pass(&mut self.cx, &self.driver, seconds);
        self.settle().await;
    }

    /// A request's members: the template, these overrides, and `more`.
    fn fleet(&self, overrides: &[&str], more: &str) -> String {
        let mut members = format!("{OF}.LaunchTemplateSpecification.LaunchTemplateName=web");
        members += &format!("&{OF}.LaunchTemplateSpecification.Version=1&{more}");
        for (at, over) in overrides.iter().enumerate() {
            for pair in over.split('&') {
                members += &format!("&{OF}.Overrides.{}.{pair}", at + 1);
            }
        }
        members
    }

    /// Ids of the fleet's instances.
    async fn active(&self, fleet: &str) -> Vec<String> {
        let body = ok(&self.cx, "DescribeFleetInstances", &format!("FleetId={fleet}")).await;
        body.split("<instanceId>").skip(1).map(|rest| rest[..19].to_owned()).collect()
    }

    async fn described(&self, fleet: &str) -> String {
        ok(&self.cx, "DescribeFleets", &format!("FleetId.1={fleet}")).await
    }
}

#[tokio::test]
async fn an_instant_fleet_answers_what_it_launched_and_what_it_could_not() {
    let world = World::new().await;
    world.price("t3.micro", "us-east-1a", 0.009).await;
    world.price("m5.large", "us-east-1a", 0.05).await;
    // One unit on demand, the rest as Spot: two instances of weight 2 make up for three units.
    let members = world.fleet(
        &[
            "InstanceType=m5.large&AvailabilityZone=us-east-1a&WeightedCapacity=2&MaxPrice=0.02",
            "InstanceType=t3.micro&AvailabilityZone=us-east-1a&WeightedCapacity=2",
        ],
        &format!(
            "Type=instant&{TARGET}.TotalTargetCapacity=4&{TARGET}.OnDemandTargetCapacity=1\
             &{TARGET}.DefaultTargetCapacityType=spot&ClientToken=t\
             &SpotOptions.AllocationStrategy=diversified\
             &TagSpecification.1.ResourceType=instance&TagSpecification.1.Tag.1.Key=a\
             &TagSpecification.1.Tag.1.Value=b"
        ),
    );
    let body = ok(&world.cx, "CreateFleet", &members).await;
    let again = ok(&world.cx, "CreateFleet", &members).await;
    assert_eq!(text(&again, "fleetId"), text(&body, "fleetId"));
    assert_eq!(body.matches("<lifecycle>on-demand<").count(), 1, "{body}");
    assert_eq!(text(&body, "errorCode"), "SpotMaxPriceTooLow");
    let spot = "Filter.1.Name=instance-lifecycle&Filter.1.Value.1=spot";
    let shown = ok(&world.cx, "DescribeInstances", spot).await;
    assert_eq!(shown.matches("<instanceId>").count(), 2, "{shown}");
    let tagged = "Filter.1.Name=tag:a&Filter.1.Value.1=b";
    let shown = ok(&world.cx, "DescribeInstances", tagged).await;
    assert_eq!(shown.matches("aws:ec2:fleet-id").count(), 3);
    let fleet = text(&body, "fleetId");
    let shown = world.described(&fleet).await;
    assert_eq!(text(&shown, "fulfilledCapacity"), "6");
    assert_eq!(text(&shown, "fulfilledOnDemandCapacity"), "2");
    // By its id only.
    assert!(!ok(&world.cx, "DescribeFleets", "").await.contains(&fleet));
    let members = format!("FleetId.1={fleet}&TerminateInstances=false");
    let body = ok(&world.cx, "DeleteFleets", &members).await;
    assert!(body.contains("unexpectedError"), "{body}");
    let id = format!("FleetId={fleet}");
    assert_eq!(refused(&world.cx, "DescribeFleetInstances", &id).await, "UnsupportedOperation");
}

#[tokio::test]
async fn a_maintained_fleet_replaces_what_it_loses_and_follows_its_target() {
    let mut world = World::new().await;
    for zone in ["us-east-1a", "us-east-1b", "us-east-1c"] {
        world.price("t3.micro", zone, if zone.ends_with('b') { 0.003 } else { 0.006 }).await;
    }
    let members = world.fleet(
        &[],
        &format!("{TARGET}.TotalTargetCapacity=3&{TARGET}.DefaultTargetCapacityType=spot"),
    );
    let body = ok(&world.cx, "CreateFleet", &members).await;
    let fleet = text(&body, "fleetId");
    assert!(!body.contains("<instanceIds>"), "{body}");
    world.settle().await;
    world.pass(1).await;
    let first = world.active(&fleet).await;
    assert_eq!(first.len(), 3);
    let shown = world.described(&fleet).await;
    assert_eq!(
        (text(&shown, "fleetState"), text(&shown, "activityStatus")),
        ("active".to_owned(), "fulfilled".to_owned())
    );
    let shown = ok(&world.cx, "DescribeInstances", "").await;
    assert_eq!(shown.matches("<availabilityZone>us-east-1b<").count(), 3, "{shown}");

    // Terminated by a user, and taken away: both come back, from where it is cheap now.
    ok(&world.cx, "TerminateInstances", &format!("InstanceId.1={}", first[0])).await;
    world.price("t3.micro", "us-east-1b", 0.0104).await;
    world.settle().await;
    world.pass(5).await;
    let second = world.active(&fleet).await;
    assert_eq!(second.len(), 3);
    assert!(!second.contains(&first[0]));
    let id = second.iter().find(|id| first.contains(id)).unwrap().clone();
    let cx = world.cx.clone();
    let after = Duration::from_secs(120);
    let interrupt = |tx: &mut store::Tx| crate::ec2::spot::ops::interrupt(tx, &cx, &id, after);
    world.cx.write(interrupt).await.unwrap();
    world.pass(120).await;
    world.pass(5).await;
    let third = world.active(&fleet).await;
    assert_eq!(third.len(), 3);
    assert!(!third.contains(&id));
    let history = format!("FleetId={fleet}&StartTime=2026-01-01T00:00:00Z");
    let body = ok(&world.cx, "DescribeFleetHistory", &history).await;
    assert_eq!(body.matches("<eventSubType>launched<").count(), 5, "{body}");
    assert_eq!(body.matches("<eventSubType>terminated<").count(), 2);

    // Less, then more, then the end.
    for (target, count) in [(1, 1), (2, 2)] {
        let members = format!(
            "FleetId={fleet}&{TARGET}.TotalTargetCapacity={target}&{TARGET}.DefaultTargetCapacityType=spot"
        );
        ok(&world.cx, "ModifyFleet", &members).await;
        world.settle().await;
        assert_eq!(world.active(&fleet).await.len(), count);
    }
    let members = format!("FleetId.1={fleet}&TerminateInstances=true");
    let body = ok(&world.cx, "DeleteFleets", &members).await;
    assert_eq!(text(&body, "currentFleetState"), "deleted_terminating");
    world.settle().await;
    world.pass(5).await;
    assert_eq!(text(&world.described(&fleet).await, "fleetState"), "deleted");
    let live =
        "Filter.1.Name=instance-state-name&Filter.1.Value.1=running&Filter.1.Value.2=pending";
    let shown = ok(&world.cx, "DescribeInstances", live).await;
    assert_eq!(shown.matches("<instanceId>").count(), 0, "{shown}");
    let body = ok(&world.cx, "DeleteFleets", &members).await;
    assert!(body.contains("fleetNotInDeletableState"), "{body}");
    world.pass(3600).await;
    let id = format!("FleetId.1={fleet}");
    assert_eq!(refused(&world.cx, "DescribeFleets", &id).await, "InvalidFleetId.NotFound");
}

#[tokio::test]
async fn a_request_is_fulfilled_once_and_waits_for_what_it_cannot_have() {
    let mut world = World::new().await;
    world.price("t3.micro", "us-east-1a", 0.009).await;
    let members = world.fleet(
        &["AvailabilityZone=us-east-1a&MaxPrice=0.005"],
        &format!(
            "Type=request&{TARGET}.TotalTargetCapacity=1&{TARGET}.DefaultTargetCapacityType=spot"
        ),
    );
    let fleet = text(&ok(&world.cx, "CreateFleet", &members).await, "fleetId");
    world.settle().await;
    assert_eq!(text(&world.described(&fleet).await, "activityStatus"), "error");
    world.price("t3.micro", "us-east-1a", 0.004).await;
    world.pass(60).await;
    assert_eq!(text(&world.described(&fleet).await, "activityStatus"), "fulfilled");
    let active = world.active(&fleet).await;
    ok(&world.cx, "TerminateInstances", &format!("InstanceId.1={}", active[0])).await;
    world.settle().await;
    world.pass(120).await;
    assert_eq!(world.active(&fleet).await.len(), 0);
    let members = format!("FleetId={fleet}&{TARGET}.TotalTargetCapacity=2");
    assert_eq!(refused(&world.cx, "ModifyFleet", &members).await, "UnsupportedOperation");
}

#[tokio::test]
async fn capacity_optimized_fleets_go_where_there_is_room() {
    let world = World::new().await;
    for zone in ["us-east-1a", "us-east-1b", "us-east-1c"] {
        world.price("t3.micro", zone, if zone.ends_with('a') { 0.001 } else { 0.002 }).await;
    }
    // The cheapest zone has room for four, of which the second half is less to spare than others have.
    let pool = crate::ec2::capacity::Pool {
        zone: "us-east-1a".to_owned(),
        instance_type: "t3.micro".to_owned(),
        limit: 4,
    };
    let put = |tx: &mut store::Tx| {
        tx.put(pool.clone());
        Ok::<_, store::Error>(())
    };
    world.cx.env.store.write(put).await.unwrap();
    let members = world.fleet(
        &[],
        &format!(
            "Type=instant&{TARGET}.TotalTargetCapacity=6&{TARGET}.DefaultTargetCapacityType=spot\
             &SpotOptions.AllocationStrategy=capacity-optimized"
        ),
    );
    let body = ok(&world.cx, "CreateFleet", &members).await;
    let ids = |zone: &str| {
        let group = format!("<item><availabilityZone>{zone}<");
        let rest = body.split_once(&group).map_or("", |(_, rest)| rest);
        rest.split("</instanceIds>").next().unwrap_or_default().matches("<item>i-").count()
    };
    assert_eq!(text(&body, "lifecycle"), "spot");
    assert!((1..4).contains(&ids("us-east-1a")), "{body}");
    assert!(ids("us-east-1b") + ids("us-east-1c") >= 3, "{body}");
}

#[tokio::test]
async fn types_are_found_by_what_they_have_and_cost() {
    let world = World::new().await;
    let needs = "InstanceRequirements.VCpuCount.Min=2&InstanceRequirements.VCpuCount.Max=4\
                 &InstanceRequirements.MemoryMiB.Min=8192&InstanceRequirements.MemoryMiB.Max=16384";
    let total = format!("Type=instant&{TARGET}.TotalTargetCapacity=3");
    for (lifecycle, strategy) in [
        ("on-demand", "OnDemandOptions.AllocationStrategy=lowest-price"),
        ("spot", "SpotOptions.AllocationStrategy=price-capacity-optimized"),
    ] {
        let more = format!("{total}&{TARGET}.DefaultTargetCapacityType={lifecycle}&{strategy}");
        let body = ok(&world.cx, "CreateFleet", &world.fleet(&[needs], &more)).await;
        assert!(body.contains("<errorSet></errorSet>"), "{body}");
        assert_eq!(body.matches("<item>i-").count(), 3, "{body}");
        let name = text(&body, "instanceType");
        let t = crate::ec2::catalog::instance_type(&name).unwrap();
        assert!((2..=4).contains(&t.vcpus) && (8192..=16384).contains(&t.memory_mib), "{name}");
        assert!(t.architectures.contains(&"x86_64") && !t.burstable, "{name}");
        let shown = world.described(&text(&body, "fleetId")).await;
        assert!(shown.contains("<vCpuCount>") && shown.contains(">16384<"), "{shown}");
    }
    let none = "InstanceRequirements.VCpuCount.Min=5000&InstanceRequirements.MemoryMiB.Min=1";
    let found = refused(&world.cx, "CreateFleet", &world.fleet(&[none], &total)).await;
    assert_eq!(found, "InvalidParameterValue");
    let both = format!("InstanceType=m5.large&{needs}");
    let found = refused(&world.cx, "CreateFleet", &world.fleet(&[&both], &total)).await;
    assert_eq!(found, "InvalidParameterCombination");
}

#[tokio::test]
async fn refusals() {
    let world = World::new().await;
    let total = format!("{TARGET}.TotalTargetCapacity=1");
    for (overrides, more, code) in [
        ("InstanceType=none", "", "InvalidParameterValue"),
        ("InstanceType=t3.micro&AvailabilityZone=mars", "", "InvalidParameterValue"),
        ("InstanceType=t3.micro&WeightedCapacity=0", "", "InvalidParameterValue"),
        ("InstanceType=t3.micro&KeyName=k", "", "UnsupportedOperation"),
        ("InstanceType=t3.micro", "SpotOptions.MaxTotalPrice=1", "UnsupportedOperation"),
        (
            "InstanceType=t3.micro",
            "SpotOptions.AllocationStrategy=prioritized",
            "InvalidParameterValue",
        ),
        (
            "InstanceType=t3.micro",
            "OnDemandOptions.SingleInstanceType=true",
            "InvalidParameterCombination",
        ),
        ("InstanceType=t3.micro", "Type=sometimes", "InvalidParameterValue"),
        (
            "InstanceType=t3.micro",
            "TargetCapacitySpecification.SpotTargetCapacity=2",
            "InvalidParameterValue",
        ),
        ("InstanceType=t3.micro", "DryRun=true", "DryRunOperation"),
    ] {
        let members = world.fleet(&[overrides], &format!("{total}&{more}"));
        let found = refused(&world.cx, "CreateFleet", &members).await;
        assert_eq!(found, code, "{overrides} {more}");
    }
    let missing = "FleetId.1=fleet-00000000-0000-4000-8000-000000000000&TerminateInstances=true";
    let body = ok(&world.cx, "DeleteFleets", missing).await;
    assert!(body.contains("fleetIdDoesNotExist"), "{body}");
    assert_eq!(
        refused(&world.cx, "DescribeFleets", "FleetId.1=x").await,
        "InvalidFleetId.Malformed"
    );
}
