//! Spot through EC2's operations, with its controller, the instances' and the fake driver.

use std::sync::Arc;
use std::time::Duration;

use compute::fake::Fake;

use super::controller::SpotRequests;
use super::{event, market, ops};
use crate::Context;
use crate::ec2::capacity::Pool;
use crate::ec2::image;
use crate::ec2::instance::controller::Instances;
use crate::ec2::instance::metadata;
use crate::ec2::spot::price::STEP;
use crate::testing::{self, ok, refused, text};

struct World {
    cx: Context,
    driver: Arc<Fake>,
    instances: Instances,
    image: String,
}

const ZONE: &str = "us-east-1a";

impl World {
    async fn new() -> World {
        let (cx, driver) = testing::world(|_| None);
        let image = image::ops::built_in_id();
        World { cx, driver, instances: Instances::default(), image }
    }

    /// `None`: the model's price.
    async fn price(&self, price: Option<f64>) {
        let env = &self.cx.env;
        self.cx.write(|tx| market::set(tx, env, "t3.micro", ZONE, price)).await.unwrap();
        self.settle().await;
    }

    async fn settle(&self) {
        testing::settle(&self.cx.env, &self.driver, &[&self.instances, &SpotRequests]).await;
    }

    async fn pass(&mut self, seconds: u64) {
        testing::pass(&mut self.cx, &self.driver, seconds);
        self.settle().await;
    }

    /// What a launch says, with `more`.
    fn launch(&self, more: &str) -> String {
        format!(
            "ImageId={}&InstanceType=t3.micro&MinCount=1&MaxCount=1&Placement.AvailabilityZone={ZONE}\
             &InstanceMarketOptions.MarketType=spot&{more}",
            self.image
        )
    }

    fn request(&self, more: &str) -> String {
        let of = "LaunchSpecification";
        format!(
            "{of}.ImageId={}&{of}.InstanceType=t3.micro&{of}.Placement.AvailabilityZone={ZONE}&{more}",
            self.image
        )
    }

    async fn run(&self, more: &str) -> (String, String) {
        let body = ok(&self.cx, "RunInstances", &self.launch(more)).await;
        self.settle().await;
        (text(&body, "instanceId"), text(&body, "spotInstanceRequestId"))
    }

    /// State and status code of a request.
    async fn said(&self, request: &str) -> String {
        let members = format!("SpotInstanceRequestId.1={request}");
        let body = ok(&self.cx, "DescribeSpotInstanceRequests", &members).await;
        format!("{} {}", text(&body, "state"), text(&body, "code"))
    }

    async fn state(&self, instance: &str) -> String {
        let members = format!("InstanceId.1={instance}");
        let body = ok(&self.cx, "DescribeInstances", &members).await;
        text(&text(&body, "instanceState"), "name")
    }

    fn events(&self) -> Vec<String> {
        let kind = |event: serde_json::Value| {
            let action = event["detail"]["instance-action"].as_str().map(|a| format!(" {a}"));
            event["detail-type"].as_str().unwrap().to_owned() + &action.unwrap_or_default()
        };
        event::all(&self.cx.read(), &self.cx).into_iter().map(kind).collect()
    }

    fn imds(&self, instance: &str, path: &str) -> Option<String> {
        let snapshot = self.cx.read();
        let found = crate::ec2::instance::ops::instance(&snapshot, &self.cx, instance).unwrap();
        let service = metadata::Service::new(self.cx.env.clone(), [1; 32]);
        let uri = format!("/latest/meta-data/{path}");
        let asked = http::Request::get(uri).body(()).unwrap();
        let answer = service.answer(&found.vpc_id, found.private_ip, &asked);
        (answer.status() == 200).then(|| String::from_utf8(answer.into_body()).unwrap())
    }
}

#[tokio::test]
async fn a_spot_instance_is_interrupted_by_its_price_with_two_minutes_notice() {
    let mut world = World::new().await;
    world.price(Some(0.004)).await;
    let (instance, request) = world.run("InstanceMarketOptions.SpotOptions.MaxPrice=0.005").await;
    world.pass(1).await;
    assert_eq!(world.state(&instance).await, "running");
    assert_eq!(world.said(&request).await, "active fulfilled");
    assert_eq!(world.imds(&instance, "instance-life-cycle").unwrap(), "spot");
    assert_eq!(world.imds(&instance, "spot/instance-action"), None);
    let shown = ok(
        &world.cx,
        "DescribeInstances",
        "Filter.1.Name=instance-lifecycle&Filter.1.Value.1=spot",
    )
    .await;
    assert_eq!(text(&shown, "instanceLifecycle"), "spot");
    assert_eq!(text(&shown, "spotInstanceRequestId"), request);

    world.price(Some(0.006)).await;
    assert_eq!(world.said(&request).await, "active marked-for-termination");
    let action = world.imds(&instance, "spot/instance-action").unwrap();
    assert_eq!(action, r#"{"action":"terminate","time":"2026-01-01T00:02:01Z"}"#);
    assert_eq!(world.imds(&instance, "spot/termination-time").unwrap(), "2026-01-01T00:02:01Z");
    let rebalance = world.imds(&instance, "events/recommendations/rebalance").unwrap();
    assert_eq!(rebalance, r#"{"noticeTime":"2026-01-01T00:00:01Z"}"#);
    world.pass(119).await;
    assert_eq!(world.state(&instance).await, "running");
    // A price that falls takes the notice not back.
    world.price(Some(0.001)).await;
    world.pass(1).await;
    assert_eq!(world.said(&request).await, "closed instance-terminated-by-price");
    world.pass(5).await;
    assert_eq!(world.state(&instance).await, "terminated");
    let shown = ok(&world.cx, "DescribeInstances", &format!("InstanceId.1={instance}")).await;
    assert!(shown.contains("Server.SpotInstanceTermination"), "{shown}");
    assert_eq!(
        world.events(),
        [
            event::FULFILLED.to_owned(),
            event::REBALANCE.to_owned(),
            format!("{} terminate", event::WARNING)
        ]
    );
    world.pass(3600).await;
    let members = format!("SpotInstanceRequestId.1={request}");
    let code = refused(&world.cx, "DescribeSpotInstanceRequests", &members).await;
    assert_eq!(code, "InvalidSpotInstanceRequestID.NotFound");
}

#[tokio::test]
async fn a_persistent_request_stops_and_comes_back() {
    let mut world = World::new().await;
    world.price(Some(0.004)).await;
    let options = "InstanceMarketOptions.SpotOptions";
    let (instance, request) = world
        .run(&format!(
            "{options}.MaxPrice=0.005&{options}.SpotInstanceType=persistent\
             &{options}.InstanceInterruptionBehavior=stop"
        ))
        .await;
    world.pass(1).await;
    world.price(Some(0.006)).await;
    assert_eq!(world.said(&request).await, "active marked-for-stop");
    assert!(world.imds(&instance, "spot/instance-action").unwrap().contains("stop"));
    assert_eq!(world.imds(&instance, "spot/termination-time"), None);
    world.pass(120).await;
    world.pass(5).await;
    assert_eq!(world.said(&request).await, "disabled instance-stopped-by-price");
    assert_eq!(world.state(&instance).await, "stopped");
    let id = format!("InstanceId.1={instance}");
    assert_eq!(refused(&world.cx, "StartInstances", &id).await, "IncorrectSpotRequestState");

    world.price(Some(0.004)).await;
    world.pass(1).await;
    assert_eq!(world.said(&request).await, "active fulfilled");
    assert_eq!(world.state(&instance).await, "running");

    // By its user it is stopped until he starts it.
    ok(&world.cx, "StopInstances", &id).await;
    world.settle().await;
    world.pass(5).await;
    assert_eq!(world.said(&request).await, "disabled instance-stopped-by-user");
    ok(&world.cx, "StartInstances", &id).await;
    world.settle().await;
    world.pass(5).await;
    assert_eq!(world.said(&request).await, "active fulfilled");

    // Terminated, another takes its place; cancelled, none does.
    ok(&world.cx, "TerminateInstances", &id).await;
    world.settle().await;
    world.pass(5).await;
    let members = format!("SpotInstanceRequestId.1={request}");
    let body = ok(&world.cx, "DescribeSpotInstanceRequests", &members).await;
    assert_eq!(text(&body, "state"), "active");
    let second = text(&body, "instanceId");
    assert_ne!(second, instance);
    let body = ok(&world.cx, "CancelSpotInstanceRequests", &members).await;
    assert_eq!(text(&body, "state"), "cancelled");
    assert_eq!(world.said(&request).await, "cancelled request-canceled-and-instance-running");
    assert_eq!(world.state(&second).await, "running");
    ok(&world.cx, "TerminateInstances", &format!("InstanceId.1={second}")).await;
    world.settle().await;
    world.pass(5).await;
    assert_eq!(world.said(&request).await, "cancelled instance-terminated-by-user");
}

#[tokio::test]
async fn requests_wait_for_their_price_and_time() {
    let mut world = World::new().await;
    world.price(Some(0.006)).await;
    let members = world.request(
        "SpotPrice=0.005&InstanceCount=2&ClientToken=t\
         &TagSpecification.1.ResourceType=spot-instances-request\
         &TagSpecification.1.Tag.1.Key=a&TagSpecification.1.Tag.1.Value=b",
    );
    let body = ok(&world.cx, "RequestSpotInstances", &members).await;
    assert_eq!(body.matches("<spotInstanceRequestId>").count(), 2);
    assert_eq!(text(&body, "code"), "pending-evaluation");
    let again = ok(&world.cx, "RequestSpotInstances", &members).await;
    assert_eq!(text(&again, "spotInstanceRequestId"), text(&body, "spotInstanceRequestId"));
    world.settle().await;
    let tagged = "Filter.1.Name=tag:a&Filter.1.Value.1=b";
    let body = ok(&world.cx, "DescribeSpotInstanceRequests", tagged).await;
    assert_eq!(text(&body, "code"), "price-too-low");
    let message = "Your Spot request price of 0.005 is lower than the minimum required Spot request \
                   fulfillment price of 0.006.";
    assert_eq!(text(&body, "message"), message);
    assert_eq!(
        refused(
            &world.cx,
            "RunInstances",
            &world.launch("InstanceMarketOptions.SpotOptions.MaxPrice=0.005")
        )
        .await,
        "SpotMaxPriceTooLow"
    );
    world.price(Some(0.005)).await;
    let body = ok(&world.cx, "DescribeSpotInstanceRequests", tagged).await;
    assert_eq!(body.matches("<code>fulfilled</code>").count(), 2, "{body}");
    assert_eq!(text(&body, "launchedAvailabilityZone"), ZONE);

    // Scheduled ones are not looked at before their time, and not after it.
    let later = world
        .request("ValidFrom=2026-01-01T01:00:00Z&ValidUntil=2026-01-01T02:00:00Z&SpotPrice=0.005");
    let request =
        text(&ok(&world.cx, "RequestSpotInstances", &later).await, "spotInstanceRequestId");
    world.settle().await;
    assert_eq!(world.said(&request).await, "open not-scheduled-yet");
    world.price(Some(0.007)).await;
    world.pass(3600).await;
    assert_eq!(world.said(&request).await, "open price-too-low");
    world.pass(3600).await;
    assert_eq!(world.said(&request).await, "cancelled schedule-expired");

    // An open one is cancelled for good.
    let request = text(
        &ok(&world.cx, "RequestSpotInstances", &world.request("SpotPrice=0.005")).await,
        "spotInstanceRequestId",
    );
    ok(&world.cx, "CancelSpotInstanceRequests", &format!("SpotInstanceRequestId.1={request}"))
        .await;
    world.price(Some(0.001)).await;
    assert_eq!(world.said(&request).await, "cancelled canceled-before-fulfillment");
}

#[tokio::test]
async fn an_interruption_that_is_asked_for_gives_notice_two_minutes_before() {
    let mut world = World::new().await;
    let (instance, request) = world.run("").await;
    world.pass(1).await;
    let (cx, id) = (world.cx.clone(), instance.clone());
    let after = Duration::from_secs(300);
    cx.write(|tx| ops::interrupt(tx, &cx, &id, after)).await.unwrap();
    world.settle().await;
    assert!(world.imds(&instance, "events/recommendations/rebalance").is_some());
    assert_eq!(world.imds(&instance, "spot/instance-action"), None);
    let twice = cx.write(|tx| ops::interrupt(tx, &cx, &id, after)).await.unwrap_err();
    assert_eq!(twice.code(), "IncorrectSpotRequestState");
    world.pass(180).await;
    assert_eq!(world.said(&request).await, "active marked-for-termination");
    world.pass(120).await;
    assert_eq!(world.said(&request).await, "closed instance-terminated-by-experiment");

    let options = "InstanceMarketOptions.SpotOptions";
    let stops = format!(
        "{options}.SpotInstanceType=persistent&{options}.InstanceInterruptionBehavior=stop"
    );
    let (id, request) = world.run(&stops).await;
    world.pass(1).await;
    let cx = world.cx.clone();
    cx.write(|tx| ops::interrupt(tx, &cx, &id, Duration::ZERO)).await.unwrap();
    world.settle().await;
    assert_eq!(world.said(&request).await, "active marked-for-stop-by-experiment");
    world.pass(120).await;
    world.pass(5).await;
    assert_eq!(world.said(&request).await, "disabled instance-stopped-by-experiment");
    assert_eq!(world.state(&id).await, "stopped");
    world.pass(3600).await;
    assert_eq!(world.state(&id).await, "stopped");
    ok(&world.cx, "StartInstances", &format!("InstanceId.1={id}")).await;
    world.settle().await;
    world.pass(1).await;
    assert_eq!(world.said(&request).await, "active fulfilled");
}

#[tokio::test]
async fn the_cheapest_zone_is_taken_and_templates_can_say_spot() {
    let world = World::new().await;
    for zone in ["us-east-1a", "us-east-1b", "us-east-1c"] {
        let price = if zone == "us-east-1b" { 0.002 } else { 0.009 };
        let env = &world.cx.env;
        world.cx.write(|tx| market::set(tx, env, "t3.micro", zone, Some(price))).await.unwrap();
    }
    let data = "LaunchTemplateData";
    let members = format!(
        "LaunchTemplateName=spot&{data}.ImageId={}&{data}.InstanceType=t3.micro\
         &{data}.InstanceMarketOptions.MarketType=spot\
         &{data}.InstanceMarketOptions.SpotOptions.MaxPrice=0.003",
        world.image
    );
    ok(&world.cx, "CreateLaunchTemplate", &members).await;
    let body = ok(&world.cx, "DescribeLaunchTemplateVersions", "LaunchTemplateName=spot").await;
    assert_eq!(text(&body, "maxPrice"), "0.003");
    let members = "LaunchTemplate.LaunchTemplateName=spot&MinCount=2&MaxCount=2";
    let body = ok(&world.cx, "RunInstances", members).await;
    assert_eq!(body.matches("<availabilityZone>us-east-1b<").count(), 2);
    assert_eq!(text(&body, "instanceLifecycle"), "spot");
}

#[tokio::test]
async fn refusals() {
    let world = World::new().await;
    let options = "InstanceMarketOptions.SpotOptions";
    for (more, code) in [
        (format!("{options}.InstanceInterruptionBehavior=hibernate"), "UnsupportedOperation"),
        (format!("{options}.InstanceInterruptionBehavior=stop"), "InvalidParameterCombination"),
        (format!("{options}.BlockDurationMinutes=60"), "UnsupportedOperation"),
        (format!("{options}.MaxPrice=cheap"), "InvalidParameterValue"),
        (format!("{options}.SpotInstanceType=often"), "InvalidParameterValue"),
        (format!("{options}.ValidUntil=2026-02-01T00:00:00Z"), "InvalidParameterCombination"),
    ] {
        assert_eq!(refused(&world.cx, "RunInstances", &world.launch(&more)).await, code, "{more}");
    }
    for (more, code) in [
        ("LaunchGroup=g", "UnsupportedOperation"),
        ("InstanceCount=0", "InvalidParameterValue"),
        ("ValidUntil=2025-01-01T00:00:00Z", "InvalidParameterValue"),
        ("LaunchSpecification.KeyName=none", "InvalidKeyPair.NotFound"),
        ("LaunchSpecification.AddressingType=public", "UnsupportedOperation"),
    ] {
        let members = world.request(more);
        assert_eq!(refused(&world.cx, "RequestSpotInstances", &members).await, code, "{more}");
    }
    let not_sold = world.launch("").replace("t3.micro", "hpc6a.48xlarge");
    assert_eq!(refused(&world.cx, "RunInstances", &not_sold).await, "Unsupported");
    let (instance, _) = world.run("").await;
    let id = format!("InstanceId.1={instance}");
    assert_eq!(refused(&world.cx, "StopInstances", &id).await, "UnsupportedOperation");
    assert_eq!(
        refused(&world.cx, "CancelSpotInstanceRequests", "SpotInstanceRequestId.1=sir-none").await,
        "InvalidSpotInstanceRequestID.NotFound"
    );
}

#[tokio::test]
async fn history_is_paged_and_ends_with_the_price_in_force() {
    let mut world = World::new().await;
    world.pass(STEP.as_secs() * 30).await;
    let of = "InstanceType.1=m5.large&AvailabilityZone=us-east-1a";
    let all =
        ok(&world.cx, "DescribeSpotPriceHistory", &format!("{of}&StartTime=2026-01-01T00:00:00Z"))
            .await;
    let lines = all.matches("<spotPrice>").count();
    assert!(lines > 15, "{lines}");
    let times: Vec<&str> = all.split("<timestamp>").skip(1).map(|rest| &rest[..20]).collect();
    assert!(times.is_sorted_by(|a, b| a > b), "{times:?}");
    // All but the last are in the time asked for.
    assert!(times[..lines - 1].iter().all(|at| *at >= "2026-01-01T00:00:00"), "{times:?}");
    assert!(times[lines - 1] < "2026-01-01T00:00:00");

    let (mut token, mut seen) = (String::new(), Vec::new());
    loop {
        let members = format!("{of}&StartTime=2026-01-01T00:00:00Z&MaxResults=7&NextToken={token}");
        let page = ok(&world.cx, "DescribeSpotPriceHistory", &members).await;
        seen.extend(page.split("<timestamp>").skip(1).map(|rest| rest[..20].to_owned()));
        token = match page.contains("<nextToken>") {
            true => text(&page, "nextToken"),
            false => String::new(),
        };
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(seen, times);

    // Nothing but now: what holds, for each zone.
    let now = "StartTime=2026-01-06T00:00:00Z&EndTime=2026-01-06T00:00:00Z";
    let body =
        ok(&world.cx, "DescribeSpotPriceHistory", &format!("InstanceType.1=m5.large&{now}")).await;
    assert_eq!(body.matches("<spotPrice>").count(), 3);
    // A page of everything there is comes at once.
    let body = ok(&world.cx, "DescribeSpotPriceHistory", "").await;
    assert_eq!(body.matches("<spotPrice>").count(), 1000);
    let none = "ProductDescription.1=Windows";
    let body = ok(&world.cx, "DescribeSpotPriceHistory", none).await;
    assert_eq!(body.matches("<spotPrice>").count(), 0);
    for (members, code) in [
        ("InstanceType.1=none", "InvalidParameterValue"),
        ("AvailabilityZone=mars", "InvalidParameterValue"),
        ("Filter.1.Name=none&Filter.1.Value.1=x", "InvalidParameterValue"),
        ("NextToken=none", "InvalidNextToken"),
    ] {
        assert_eq!(refused(&world.cx, "DescribeSpotPriceHistory", members).await, code);
    }
}

#[tokio::test]
async fn the_newest_go_when_capacity_is_taken() {
    let mut world = World::new().await;
    world.price(Some(0.004)).await;
    let (first, _) = world.run("").await;
    world.pass(1).await;
    let (second, request) = world.run("").await;
    world.pass(1).await;
    let pool = Pool { zone: ZONE.to_owned(), instance_type: "t3.micro".to_owned(), limit: 1 };
    let put = |tx: &mut store::Tx| {
        tx.put(pool.clone());
        Ok::<_, store::Error>(())
    };
    world.cx.env.store.write(put).await.unwrap();
    world.settle().await;
    assert_eq!(world.said(&request).await, "active marked-for-termination");
    world.pass(120).await;
    world.pass(5).await;
    assert_eq!(world.said(&request).await, "closed instance-terminated-no-capacity");
    assert_eq!(world.state(&second).await, "terminated");
    assert_eq!(world.state(&first).await, "running");
}

#[tokio::test]
async fn scores_follow_prices_and_room() {
    let world = World::new().await;
    let score = async |more: &str| {
        let members = format!("TargetCapacity=4&{more}");
        let body = ok(&world.cx, "GetSpotPlacementScores", &members).await;
        let scores = body.split("<score>").skip(1);
        let scores: Vec<i32> =
            scores.map(|rest| rest.split('<').next().unwrap().parse().unwrap()).collect();
        (scores, body)
    };
    let here = "RegionName.1=us-east-1&SingleAvailabilityZone=true&InstanceType.1=t3.micro";
    for zone in ["us-east-1a", "us-east-1b", "us-east-1c"] {
        let price = if zone == ZONE { 0.001 } else { 0.0104 };
        let env = &world.cx.env;
        world.cx.write(|tx| market::set(tx, env, "t3.micro", zone, Some(price))).await.unwrap();
    }
    let (scores, body) = score(here).await;
    assert!(scores[0] > scores[1] && scores[1] == scores[2], "{scores:?}");
    assert_eq!(text(&body, "availabilityZoneId"), "use1-az1");
    // A zone without room is not to be had, at whatever price.
    let pool = Pool { zone: ZONE.to_owned(), instance_type: "t3.micro".to_owned(), limit: 0 };
    let put = |tx: &mut store::Tx| {
        tx.put(pool.clone());
        Ok::<_, store::Error>(())
    };
    world.cx.env.store.write(put).await.unwrap();
    let (scores, _) = score(here).await;
    assert_eq!(scores, [1, 1, 1]);
    // More types are a better chance; regions come as wholes.
    let of = "InstanceRequirementsWithMetadata";
    let many = format!(
        "{of}.ArchitectureType.1=x86_64&{of}.InstanceRequirements.VCpuCount.Min=2\
         &{of}.InstanceRequirements.MemoryMiB.Min=4096"
    );
    let (scores, body) = score(&many).await;
    assert_eq!(scores.len(), 10);
    assert!(scores[0] > 5 && !body.contains("availabilityZoneId"), "{body}");
    for (members, code) in [
        ("TargetCapacity=1", "InvalidParameterCombination"),
        ("TargetCapacity=0&InstanceType.1=t3.micro", "InvalidParameterValue"),
        ("TargetCapacity=1&InstanceType.1=none", "InvalidParameterValue"),
        ("TargetCapacity=1&InstanceType.1=t3.micro&RegionName.1=mars", "InvalidParameterValue"),
        ("TargetCapacity=1&InstanceType.1=t3.micro&MaxResults=1", "InvalidParameterValue"),
    ] {
        assert_eq!(refused(&world.cx, "GetSpotPlacementScores", members).await, code, "{members}");
    }
}
