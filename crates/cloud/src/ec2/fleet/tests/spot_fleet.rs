//! Spot Fleets: their own words, their role, and what they have that EC2 Fleets have not.

use super::*;
use crate::testing::{ask, role};

const C: &str = "SpotFleetRequestConfig";
/// As AmazonEC2SpotFleetTaggingRole allows.
const MAY: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Resource":"*",
    "Action":["ec2:RunInstances","ec2:RequestSpotInstances","ec2:TerminateInstances","ec2:CreateTags"]}]}"#;

impl World {
    /// Its role's ARN as a member.
    async fn with_role(&self) -> String {
        let arn = role(&self.cx, "spot", "spotfleet.amazonaws.com", MAY).await;
        format!("{C}.IamFleetRole={arn}")
    }

    async fn shown(&self, request: &str) -> String {
        let members = format!("SpotFleetRequestId.1={request}");
        ok(&self.cx, "DescribeSpotFleetRequests", &members).await
    }

    /// State and activity status.
    async fn said(&self, request: &str) -> String {
        let body = self.shown(request).await;
        let state = text(&body, "spotFleetRequestState");
        match body.contains("<activityStatus>") {
            true => format!("{state} {}", text(&body, "activityStatus")),
            false => state,
        }
    }

    async fn of_request(&self, request: &str) -> Vec<String> {
        let members = format!("SpotFleetRequestId={request}");
        let body = ok(&self.cx, "DescribeSpotFleetInstances", &members).await;
        body.split("<instanceId>").skip(1).map(|rest| rest[..19].to_owned()).collect()
    }

    /// What its history has of a kind, in order.
    async fn history(&self, request: &str, kind: &str) -> Vec<String> {
        let members =
            format!("SpotFleetRequestId={request}&StartTime=2026-01-01T00:00:00Z&EventType={kind}");
        let body = ok(&self.cx, "DescribeSpotFleetRequestHistory", &members).await;
        let what = body.split("<eventSubType>").skip(1);
        what.map(|rest| rest.split('<').next().unwrap().to_owned()).collect()
    }

    async fn request(&self, members: &str) -> String {
        let body = ok(&self.cx, "RequestSpotFleet", members).await;
        text(&body, "spotFleetRequestId")
    }
}

fn specification(at: usize, more: &str) -> String {
    let of = format!("{C}.LaunchSpecifications.{at}");
    let image = image::ops::built_in_id();
    let more: Vec<String> = more.split('&').map(|pair| format!("{of}.{pair}")).collect();
    format!("{of}.ImageId={image}&{}", more.join("&"))
}

#[tokio::test]
async fn it_is_active_modified_cancelled_and_gone() {
    let mut world = World::new().await;
    for zone in ["us-east-1a", "us-east-1b"] {
        world.price("t3.micro", zone, 0.004).await;
        world.price("m5.large", zone, 0.004).await;
    }
    let role = world.with_role().await;
    let members = format!(
        "{role}&{C}.TargetCapacity=4&{C}.OnDemandTargetCapacity=1&{C}.AllocationStrategy=diversified\
         &{C}.ClientToken=t&{C}.TagSpecification.1.ResourceType=spot-fleet-request\
         &{C}.TagSpecification.1.Tag.1.Key=a&{C}.TagSpecification.1.Tag.1.Value=b&{}&{}",
        specification(
            1,
            "InstanceType=t3.micro&Placement.AvailabilityZone=us-east-1a, us-east-1b\
             &TagSpecificationSet.1.ResourceType=instance&TagSpecificationSet.1.Tag.1.Key=team\
             &TagSpecificationSet.1.Tag.1.Value=web"
        ),
        specification(2, "InstanceType=m5.large&WeightedCapacity=2&SpotPrice=0.001"),
    );
    let request = world.request(&members).await;
    assert!(request.starts_with("sfr-"), "{request}");
    assert_eq!(world.request(&members).await, request);
    assert_eq!(world.said(&request).await, "submitted pending_fulfillment");
    world.settle().await;
    world.pass(1).await;
    assert_eq!(world.said(&request).await, "active fulfilled");
    let body = world.shown(&request).await;
    assert_eq!(text(&body, "allocationStrategy"), "diversified");
    assert_eq!(text(&body, "fulfilledCapacity"), "4");
    assert_eq!(text(&body, "onDemandFulfilledCapacity"), "1");
    assert_eq!(body.matches("<weightedCapacity>2<").count(), 1);
    assert_eq!(text(&body, "availabilityZone"), "us-east-1a, us-east-1b");
    // A unit of m5.large costs 0.002: too much. Its price is for a unit, not for an instance.
    let first = world.of_request(&request).await;
    assert_eq!(first.len(), 4);
    let tagged = "Filter.1.Name=tag:team&Filter.1.Value.1=web";
    let shown = ok(&world.cx, "DescribeInstances", tagged).await;
    assert_eq!(shown.matches("aws:ec2spot:fleet-request-id").count(), 4);
    assert_eq!(shown.matches("<instanceLifecycle>spot<").count(), 3);
    assert!(shown.contains("us-east-1a") && shown.contains("us-east-1b"));
    assert!(world.history(&request, "information").await.contains(&"launchSpecUnusable".into()));
    // It is no EC2 Fleet.
    assert!(!ok(&world.cx, "DescribeFleets", "").await.contains(&request));
    let tags = ok(&world.cx, "DescribeTags", "Filter.1.Name=key&Filter.1.Value.1=a").await;
    assert_eq!(text(&tags, "resourceType"), "spot-fleet-request");

    let members = format!("SpotFleetRequestId={request}&TargetCapacity=2");
    ok(&world.cx, "ModifySpotFleetRequest", &members).await;
    assert_eq!(world.said(&request).await.split(' ').next(), Some("modifying"));
    let again = refused(&world.cx, "ModifySpotFleetRequest", &members).await;
    assert_eq!(again, "FleetNotInModifiableState");
    world.cx.env.clock.advance(world.cx.now.plus(Duration::from_millis(1)));
    crate::controller::Controller::reconcile(&Fleets, &world.cx.env).await.unwrap();
    assert_eq!(world.said(&request).await, "active pending_termination");
    assert_eq!(world.of_request(&request).await.len(), 2);
    world.settle().await;
    world.pass(5).await;
    assert_eq!(world.said(&request).await, "active fulfilled");

    let members = format!("SpotFleetRequestId.1={request}&TerminateInstances=true");
    let body = ok(&world.cx, "CancelSpotFleetRequests", &members).await;
    assert_eq!(text(&body, "currentSpotFleetRequestState"), "cancelled_terminating");
    assert_eq!(text(&body, "previousSpotFleetRequestState"), "active");
    world.settle().await;
    assert_eq!(world.said(&request).await, "cancelled_terminating pending_termination");
    world.pass(5).await;
    assert_eq!(world.said(&request).await, "cancelled fulfilled");
    let body = ok(&world.cx, "CancelSpotFleetRequests", &members).await;
    assert!(body.contains("fleetRequestNotInCancellableState"), "{body}");
    assert_eq!(
        world.history(&request, "fleetRequestChange").await,
        [
            "submitted",
            "active",
            "modify_in_progress",
            "modify_succeeded",
            "cancelled_terminating",
            "cancelled"
        ]
    );
    world.pass(3600).await;
    world.shown(&request).await;
    world.pass(47 * 3600).await;
    world.pass(0).await;
    let id = format!("SpotFleetRequestId.1={request}");
    let code = refused(&world.cx, "DescribeSpotFleetRequests", &id).await;
    assert_eq!(code, "InvalidSpotFleetRequestId.NotFound");
}

#[tokio::test]
async fn what_is_interrupted_is_replaced_and_told() {
    let mut world = World::new().await;
    let role = world.with_role().await;
    let of = format!("{C}.LaunchTemplateConfigs.1");
    let members = format!(
        "{role}&{C}.TargetCapacity=1&{C}.AllocationStrategy=priceCapacityOptimized\
         &{of}.LaunchTemplateSpecification.LaunchTemplateName=web\
         &{of}.LaunchTemplateSpecification.Version=1&{of}.Overrides.1.InstanceType=t3.small"
    );
    let request = world.request(&members).await;
    world.settle().await;
    world.pass(1).await;
    let first = world.of_request(&request).await;
    let (cx, id) = (world.cx.clone(), first[0].clone());
    cx.write(|tx| crate::ec2::spot::ops::interrupt(tx, &cx, &id, Duration::ZERO)).await.unwrap();
    world.settle().await;
    world.pass(120).await;
    world.pass(5).await;
    assert_ne!(world.of_request(&request).await, first);
    assert_eq!(
        world.history(&request, "instanceChange").await,
        ["launched", "termination_notified", "terminated", "launched"]
    );
    // Cancelled, it leaves what it has running until that ends by itself.
    let members = format!("SpotFleetRequestId.1={request}&TerminateInstances=false");
    ok(&world.cx, "CancelSpotFleetRequests", &members).await;
    world.settle().await;
    assert_eq!(world.said(&request).await, "cancelled_running fulfilled");
    let left = world.of_request(&request).await;
    assert_eq!(left.len(), 1);
    ok(&world.cx, "TerminateInstances", &format!("InstanceId.1={}", left[0])).await;
    world.settle().await;
    assert_eq!(world.said(&request).await, "cancelled fulfilled");
}

#[tokio::test]
async fn its_time_ends_it() {
    let mut world = World::new().await;
    let role = world.with_role().await;
    let members = format!(
        "{role}&{C}.Type=request&{C}.TargetCapacity=1&{C}.ValidUntil=2026-01-01T01:00:00Z\
         &{C}.TerminateInstancesWithExpiration=true&{}",
        specification(1, "InstanceType=t3.micro")
    );
    let request = world.request(&members).await;
    world.settle().await;
    world.pass(1).await;
    let [id] = &world.of_request(&request).await[..] else { panic!() };
    world.pass(3600).await;
    world.pass(5).await;
    assert_eq!(world.said(&request).await, "cancelled fulfilled");
    let shown = ok(&world.cx, "DescribeInstances", &format!("InstanceId.1={id}")).await;
    assert!(shown.contains("<name>terminated<"), "{shown}");
    let history = world.history(&request, "fleetRequestChange").await;
    assert_eq!(history[2..], ["expired", "cancelled_terminating", "cancelled"]);
}

#[tokio::test]
async fn it_may_do_what_its_role_may() {
    let mut world = World::new().await;
    let role = world.with_role().await;
    let members =
        format!("{role}&{C}.TargetCapacity=1&{}", specification(1, "InstanceType=t3.micro"));
    let deny = |action: &str| {
        let policy = format!(
            r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Deny","Action":"ec2:{action}","Resource":"*"}}]}}"#
        );
        let policy = wire::query::params::percent_encode(policy.as_bytes(), false);
        format!("RoleName=spot&PolicyName=denied&PolicyDocument={policy}")
    };
    ask(&world.cx, "iam", "PutRolePolicy", &deny("RunInstances")).await.unwrap();
    let request = world.request(&members).await;
    world.settle().await;
    assert_eq!(world.said(&request).await, "active error");
    assert_eq!(world.history(&request, "error").await, ["iamFleetRoleInvalid"]);
    ask(&world.cx, "iam", "PutRolePolicy", &deny("TerminateInstances")).await.unwrap();
    world.pass(60).await;
    assert_eq!(world.said(&request).await, "active fulfilled");
    let members = format!("SpotFleetRequestId.1={request}&TerminateInstances=true");
    ok(&world.cx, "CancelSpotFleetRequests", &members).await;
    world.settle().await;
    assert_eq!(world.of_request(&request).await.len(), 1);
    ask(&world.cx, "iam", "DeleteRolePolicy", "RoleName=spot&PolicyName=denied").await.unwrap();
    world.pass(60).await;
    world.pass(5).await;
    assert_eq!(world.said(&request).await, "cancelled fulfilled");
}

#[tokio::test]
async fn launches_that_never_come_up_are_tried_again_later_and_later() {
    let fails = |point: Point<'_>| match point {
        Point::Ensure(_) => Some(Fault::Fails),
        _ => None,
    };
    let mut world = World::with_faults(fails).await;
    let members = world.fleet(
        &[],
        &format!("{TARGET}.TotalTargetCapacity=1&{TARGET}.DefaultTargetCapacityType=spot"),
    );
    let fleet = text(&ok(&world.cx, "CreateFleet", &members).await, "fleetId");
    let mut launches = Vec::new();
    for _ in 0..40 {
        world.settle().await;
        world.pass(15).await;
        let history = format!("FleetId={fleet}&StartTime=2026-01-01T00:00:00Z");
        let body = ok(&world.cx, "DescribeFleetHistory", &history).await;
        launches.push(body.matches("<eventSubType>launched<").count());
    }
    // Ten minutes: at 0, 15, 45, 105, 225 and 465 seconds or a little later.
    let count = *launches.last().unwrap();
    assert!((4..=6).contains(&count), "{launches:?}");
}

#[tokio::test]
async fn refusals_of_spot_fleets() {
    let world = World::new().await;
    let role = world.with_role().await;
    let one = specification(1, "InstanceType=t3.micro");
    let config = "InvalidSpotFleetRequestConfig";
    for (members, code) in [
        (format!("{C}.TargetCapacity=1&{one}"), "MissingParameter"),
        (
            format!("{C}.TargetCapacity=1&{C}.IamFleetRole=arn:aws:iam::123456789012:role/x&{one}"),
            config,
        ),
        (format!("{role}&{C}.TargetCapacity=1"), config),
        (format!("{role}&{C}.TargetCapacity=-1&{one}"), config),
        (format!("{role}&{C}.TargetCapacity=1&{C}.Type=instant&{one}"), config),
        (format!("{role}&{C}.TargetCapacity=1&{C}.OnDemandTargetCapacity=2&{one}"), config),
        (format!("{role}&{C}.TargetCapacity=1&{C}.SpotPrice=cheap&{one}"), config),
        (format!("{role}&{C}.TargetCapacity=1&{C}.ValidUntil=2025-01-01T00:00:00Z&{one}"), config),
        (
            format!("{role}&{C}.TargetCapacity=1&{C}.SpotMaxTotalPrice=1&{one}"),
            "UnsupportedOperation",
        ),
        (format!("{role}&{C}.TargetCapacity=1&{C}.Context=c&{one}"), "UnsupportedOperation"),
        (format!("{role}&{C}.TargetCapacity=1&{one}&DryRun=true"), "DryRunOperation"),
        (
            format!(
                "{role}&{C}.TargetCapacity=1&{}",
                specification(
                    1,
                    "InstanceType=t3.micro&SubnetId=s&Placement.AvailabilityZone=us-east-1a"
                )
            ),
            config,
        ),
        (format!("{role}&{C}.TargetCapacity=1&{}", specification(1, "InstanceType=none")), config),
    ] {
        assert_eq!(refused(&world.cx, "RequestSpotFleet", &members).await, code, "{members}");
    }
    let none = "sfr-00000000-0000-4000-8000-000000000000";
    let body = ok(
        &world.cx,
        "CancelSpotFleetRequests",
        &format!("SpotFleetRequestId.1={none}&SpotFleetRequestId.2=x&TerminateInstances=true"),
    )
    .await;
    assert!(
        body.contains("fleetRequestIdDoesNotExist") && body.contains("fleetRequestIdMalformed")
    );
    let id = format!("SpotFleetRequestId={none}&TargetCapacity=1");
    let code = refused(&world.cx, "ModifySpotFleetRequest", &id).await;
    assert_eq!(code, "InvalidSpotFleetRequestId.NotFound");
    let code = refused(&world.cx, "DescribeSpotFleetInstances", "SpotFleetRequestId=sfr-1").await;
    assert_eq!(code, "InvalidSpotFleetRequestId.Malformed");
}
