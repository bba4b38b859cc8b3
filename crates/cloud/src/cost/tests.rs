//! The meter over a life of things, and Cost Explorer's view of the bill.

use std::sync::Arc;
use std::time::Duration;

use compute::fake::Fake;
use serde_json::{Value, json};

use super::bill;
use super::meter::Meter;
use crate::controller::Controller;
use crate::ec2::capacity_reservation::controller::CapacityReservations;
use crate::ec2::image;
use crate::ec2::instance::controller::Instances;
use crate::ec2::spot::controller::SpotRequests;
use crate::ec2::spot::market;
use crate::testing::{self, NOW, ok, text};
use crate::{Context, Timestamp};

struct World {
    cx: Context,
    driver: Arc<Fake>,
    instances: Instances,
}

impl World {
    fn new() -> World {
        let (cx, driver) = testing::world(|_| None);
        World { cx, driver, instances: Instances::default() }
    }

    async fn settle(&self) {
        testing::settle(
            &self.cx.env,
            &self.driver,
            &[&self.instances, &SpotRequests, &Meter::default()],
        )
        .await;
    }

    async fn pass(&mut self, seconds: u64) {
        testing::pass(&mut self.cx, &self.driver, seconds);
        self.settle().await;
    }

    /// Launches one and lets it boot, which takes a second.
    async fn run(&mut self, more: &str) -> String {
        let image = image::ops::built_in_id();
        let members = format!("ImageId={image}&MinCount=1&MaxCount=1&{more}");
        let body = ok(&self.cx, "RunInstances", &members).await;
        self.settle().await;
        self.pass(1).await;
        text(&body, "instanceId")
    }

    async fn ce(&self, operation: &str, input: Value) -> Result<Value, String> {
        let mut table = crate::services::table().into_iter();
        let entry = table.find(|e| e.service == "ce" && e.operation == operation).unwrap();
        let request = wire::Request {
            service: "ce",
            operation: operation.to_owned(),
            protocol: wire::Protocol::Json11,
            method: http::Method::POST,
            uri: http::Uri::from_static("/"),
            headers: http::HeaderMap::new(),
            body: input.to_string().into(),
        };
        match (entry.call)(self.cx.clone(), Arc::new(request)).await {
            Ok(response) => Ok(serde_json::from_slice(&response.body).unwrap()),
            Err(error) => Err(error.code),
        }
    }

    /// Cost by the keys of one group.
    async fn by(&self, group: Value) -> Vec<(String, f64)> {
        let input = json!({
            "TimePeriod": {"Start": "2026-01-01", "End": "2026-02-01"},
            "Granularity": "MONTHLY",
            "Metrics": ["UnblendedCost", "UsageQuantity"],
            "GroupBy": [group],
        });
        let answer = self.ce("GetCostAndUsage", input).await.unwrap();
        let groups = answer["ResultsByTime"][0]["Groups"].as_array().unwrap().clone();
        let one = |group: Value| {
            let amount = group["Metrics"]["UnblendedCost"]["Amount"].as_str().unwrap();
            let key = group["Keys"][0].as_str().unwrap().to_owned();
            (key, amount.parse().unwrap())
        };
        groups.into_iter().map(one).collect()
    }

    fn total(&self) -> f64 {
        let end = Timestamp(i64::MAX);
        let cx = &self.cx;
        let charges = bill::charges(&cx.read(), &cx.env, &cx.account, Timestamp(0), end);
        charges.iter().filter_map(|charge| charge.usd).sum()
    }
}

fn near(a: f64, b: f64) -> bool {
    (a - b).abs() < 1e-6
}

#[tokio::test]
async fn what_ran_is_billed_by_the_second_and_stays_in_the_bill() {
    let mut world = World::new();
    let tag = "TagSpecification.1.ResourceType=instance&TagSpecification.1.Tag.1.Key=team\
               &TagSpecification.1.Tag.1.Value=web";
    let first = world.run(&format!("InstanceType=m5.large&{tag}")).await;
    world.pass(3600).await;
    ok(&world.cx, "StopInstances", &format!("InstanceId.1={first}")).await;
    world.settle().await;
    world.pass(3600).await;
    // Stopped, it costs its volume alone: an hour of running, two and a bit of 8 GiB.
    let by = world.by(json!({"Type": "DIMENSION", "Key": "SERVICE"})).await;
    assert_eq!(by[0].0, "Amazon Elastic Compute Cloud - Compute");
    assert!(near(by[0].1, 0.096), "{by:?}");
    assert_eq!(by[1].0, "Amazon Virtual Private Cloud");
    let volume = 0.08 * 8.0 * (7201.0 / 3600.0) / 720.0;
    assert_eq!(by[2].0, "EC2 - Other");
    assert!(near(by[2].1, volume), "{by:?} {volume}");

    ok(&world.cx, "TerminateInstances", &format!("InstanceId.1={first}")).await;
    world.settle().await;
    let ended = world.total();
    world.pass(7200).await;
    assert!(near(world.total(), ended), "what is gone costs no more");
    let by = world.by(json!({"Type": "TAG", "Key": "team"})).await;
    assert_eq!(by.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(), ["team$", "team$web"]);
    assert!(near(by[1].1, 0.096), "{by:?}");
}

#[tokio::test]
async fn spot_costs_what_the_market_says_and_a_moment_costs_a_minute() {
    let mut world = World::new();
    let env = world.cx.env.clone();
    let zone = "us-east-1a";
    world.cx.write(|tx| market::set(tx, &env, "m5.large", zone, Some(0.03))).await.unwrap();
    let spot = "InstanceType=m5.large&Placement.AvailabilityZone=us-east-1a\
                &InstanceMarketOptions.MarketType=spot";
    let first = world.run(spot).await;
    world.pass(1800).await;
    // Dearer from now on: from the next instance-hour, that is.
    world.cx.write(|tx| market::set(tx, &env, "m5.large", zone, Some(0.06))).await.unwrap();
    world.pass(3600).await;
    ok(&world.cx, "TerminateInstances", &format!("InstanceId.1={first}")).await;
    world.settle().await;
    let second = world.run("InstanceType=m5.large").await;
    ok(&world.cx, "TerminateInstances", &format!("InstanceId.1={second}")).await;
    world.settle().await;
    world.pass(600).await;
    let by = world.by(json!({"Type": "DIMENSION", "Key": "PURCHASE_TYPE"})).await;
    let cost = |name: &str| by.iter().find(|(key, _)| key == name).unwrap().1;
    assert!(near(cost("Spot Instances"), 0.03 + 0.06 / 2.0), "{by:?}");
    assert!(near(cost("On Demand Instances"), 0.096 / 60.0), "{by:?}");
    let by = world.by(json!({"Type": "DIMENSION", "Key": "USAGE_TYPE"})).await;
    let names: Vec<&str> = by.iter().map(|(key, _)| key.as_str()).collect();
    assert!(names.contains(&"SpotUsage:m5.large") && names.contains(&"BoxUsage:m5.large"));

    // The same figures by days and hours, and filtered.
    let mut sums = Vec::new();
    for (granularity, end) in [("DAILY", "2026-01-03"), ("HOURLY", "2026-01-01T06:00:00Z")] {
        let input = json!({
            "TimePeriod": {"Start": "2026-01-01", "End": end},
            "Granularity": granularity,
            "Metrics": ["UnblendedCost"],
            "Filter": {"And": [
                {"Dimensions": {"Key": "REGION", "Values": ["us-east-1"]}},
                {"Not": {"Dimensions": {"Key": "PURCHASE_TYPE", "Values": ["NoPurchaseType"]}}},
            ]},
        });
        let answer = world.ce("GetCostAndUsage", input).await.unwrap();
        let periods = answer["ResultsByTime"].as_array().unwrap().clone();
        let amount = |period: &Value| -> f64 {
            period["Total"]["UnblendedCost"]["Amount"].as_str().unwrap().parse().unwrap()
        };
        sums.push(periods.iter().map(amount).sum::<f64>());
    }
    assert!(near(sums[0], 0.06 + 0.096 / 60.0) && near(sums[0], sums[1]), "{sums:?}");
}

#[tokio::test]
async fn the_meter_sees_all_kinds_once() {
    let mut world = World::new();
    ok(&world.cx, "AllocateAddress", "").await;
    world.settle().await;
    world.pass(3600).await;
    assert!(near(world.total(), 0.005), "{}", world.total());
    // A round more writes nothing.
    let store = world.cx.env.store.changes();
    Meter::default().reconcile(&world.cx.env).await.unwrap();
    assert!(!store.has_changed().unwrap());
    assert_eq!(world.cx.now, NOW.plus(Duration::from_secs(3600)));
}

#[tokio::test]
async fn what_ran_between_two_looks_is_billed() {
    let mut world = World::new();
    let image = image::ops::built_in_id();
    let members = format!("ImageId={image}&MinCount=1&MaxCount=1&InstanceType=m5.large");
    let id = text(&ok(&world.cx, "RunInstances", &members).await, "instanceId");
    // The meter sleeps from before its boot until after its end.
    let instances = |cx: Context| async move { Instances::default().reconcile(&cx.env).await };
    instances(world.cx.clone()).await.unwrap();
    for step in 0..2 {
        world.cx.env.clock.advance(world.cx.now.plus(Duration::from_secs(1)));
        world.cx.now = world.cx.env.clock.now();
        world.driver.tick();
        instances(world.cx.clone()).await.unwrap();
        if step == 0 {
            ok(&world.cx, "TerminateInstances", &format!("InstanceId.1={id}&Force=true")).await;
        }
        instances(world.cx.clone()).await.unwrap();
        instances(world.cx.clone()).await.unwrap();
    }
    world.settle().await;
    world.settle().await;
    let by = world.by(json!({"Type": "DIMENSION", "Key": "PURCHASE_TYPE"})).await;
    assert!(near(by.iter().find(|(key, _)| key.starts_with("On")).unwrap().1, 0.096 / 60.0));
}

#[tokio::test]
async fn values_tags_and_refusals() {
    let mut world = World::new();
    let tags = "TagSpecification.1.ResourceType=instance&TagSpecification.1.Tag.1.Key=team\
                &TagSpecification.1.Tag.1.Value=web";
    world.run(&format!("InstanceType=t3.micro&{tags}")).await;
    world.pass(60).await;
    let period = json!({"Start": "2026-01-01", "End": "2026-01-02"});
    let answer = world
        .ce("GetDimensionValues", json!({"TimePeriod": period, "Dimension": "INSTANCE_TYPE"}))
        .await
        .unwrap();
    let values: Vec<&str> = answer["DimensionValues"]
        .as_array()
        .unwrap()
        .iter()
        .map(|value| value["Value"].as_str().unwrap())
        .collect();
    assert_eq!(values, ["NoInstanceType", "t3.micro"]);
    let answer = world.ce("GetTags", json!({"TimePeriod": period})).await.unwrap();
    assert_eq!(answer["Tags"], json!(["team"]));
    let asked = json!({"TimePeriod": period, "TagKey": "team", "SearchString": "w"});
    let answer = world.ce("GetTags", asked).await.unwrap();
    assert_eq!(answer["Tags"], json!(["web"]));

    let asked = |more: Value| {
        let mut input = json!({
            "TimePeriod": period, "Granularity": "DAILY", "Metrics": ["UnblendedCost"],
        });
        for (name, value) in more.as_object().unwrap() {
            input[name] = value.clone();
        }
        input
    };
    for more in [
        json!({"Metrics": ["NormalizedUsageAmount"]}),
        json!({"TimePeriod": {"Start": "2026-01-02", "End": "2026-01-02"}}),
        json!({"TimePeriod": {"Start": "2026-13-02", "End": "2027-01-02"}}),
        json!({"GroupBy": [{"Type": "DIMENSION", "Key": "TENANCY"}]}),
        json!({"GroupBy": [{"Type": "COST_CATEGORY", "Key": "x"}]}),
        json!({"Filter": {}}),
        json!({"Filter": {"CostCategories": {"Key": "x", "Values": ["y"]}}}),
    ] {
        let answer = world.ce("GetCostAndUsage", asked(more.clone())).await;
        assert_eq!(answer.unwrap_err(), "ValidationException", "{more}");
    }
    let token = world.ce("GetCostAndUsage", asked(json!({"NextPageToken": "none"}))).await;
    assert_eq!(token.unwrap_err(), "InvalidNextTokenException");
}

#[tokio::test]
async fn reserved_capacity_costs_while_nothing_runs_in_it() {
    let mut world = World::new();
    let reserve = "InstanceType=m5.large&InstancePlatform=Linux/UNIX&AvailabilityZone=us-east-1a\
                   &InstanceCount=2&EndDateType=limited&EndDate=2026-01-01T02:00:00Z";
    ok(&world.cx, "CreateCapacityReservation", reserve).await;
    world.settle().await;
    world.pass(3600).await;
    let unused = |by: Vec<(String, f64)>| {
        by.into_iter().find(|(key, _)| key == "UnusedBox:m5.large").map_or(0.0, |(_, usd)| usd)
    };
    let by_type = json!({"Type": "DIMENSION", "Key": "USAGE_TYPE"});
    assert!(near(unused(world.by(by_type.clone()).await), 0.192));
    // Whoever runs in it pays for itself, and the other place goes on costing, until it expires.
    world.run("InstanceType=m5.large&Placement.AvailabilityZone=us-east-1a").await;
    world.pass(3599).await;
    assert!(near(unused(world.by(by_type.clone()).await), 0.288));
    CapacityReservations.reconcile(&world.cx.env).await.unwrap();
    world.settle().await;
    world.pass(3600).await;
    let by = world.by(by_type).await;
    assert!(near(unused(by.clone()), 0.288), "{by:?}");
    assert!(by.iter().any(|(key, usd)| key == "BoxUsage:m5.large" && *usd > 0.18), "{by:?}");
}
