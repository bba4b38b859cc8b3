//! Requests as clients send them, through the table of operations.

use std::sync::Arc;

use super::tests::Cloud;
use crate::Context;

/// The answer's body, or the error's code and message.
async fn call(cx: &Context, operation: &str, parameters: &str) -> String {
    let table = crate::services::table();
    let entry = table
        .iter()
        .find(|entry| entry.service == "autoscaling" && entry.operation == operation)
        .unwrap();
    let body = format!("Action={operation}&Version=2011-01-01&{parameters}");
    let request = wire::Request {
        service: "autoscaling",
        operation: operation.to_owned(),
        protocol: wire::Protocol::Query,
        method: http::Method::POST,
        uri: "/".parse().unwrap(),
        headers: http::HeaderMap::new(),
        body: body.into(),
    };
    match (entry.call)(cx.clone(), Arc::new(request)).await {
        Ok(response) => String::from_utf8(response.body.to_vec()).unwrap(),
        Err(error) => format!("{}: {}", error.code, error.message),
    }
}

#[tokio::test]
async fn on_the_wire() {
    let cloud = Cloud::new().await;
    let cx = &cloud.cx;
    let group = "AutoScalingGroupName=web";
    let create = format!(
        "{group}&MinSize=1&MaxSize=3&LaunchTemplate.LaunchTemplateId={}&LaunchTemplate.Version=\
         %24Latest&AvailabilityZones.member.1=us-east-1a&Tags.member.1.Key=a&Tags.member.1.Value=b&\
         Tags.member.1.PropagateAtLaunch=true",
        cloud.template.id.as_ref().unwrap()
    );
    let refused = format!("{create}&CapacityRebalance=true");
    assert_eq!(
        call(cx, "CreateAutoScalingGroup", &refused).await,
        "ValidationError: CapacityRebalance true is not supported by this cloud."
    );
    let unfit = "CapacityReservationSpecification.CapacityReservationTarget.CapacityReservationIds\
                 .member.1=cr-12345678";
    let unfit = call(cx, "CreateAutoScalingGroup", &format!("{create}&{unfit}")).await;
    assert!(unfit.starts_with("ValidationError: CapacityReservationTarget can be"), "{unfit}");
    let spread = "GroupName=racks&Strategy=spread";
    crate::testing::ok(cx, "CreatePlacementGroup", spread).await;
    let create = format!(
        "{create}&PlacementGroup=racks&CapacityReservationSpecification\
         .CapacityReservationPreference=capacity-reservations-first"
    );
    call(cx, "CreateAutoScalingGroup", &create).await;
    cloud.settle().await;
    let instances = crate::testing::ok(cx, "DescribeInstances", "").await;
    assert!(instances.contains("<groupName>racks</groupName>"), "{instances}");
    let policy = "PolicyName=p&PolicyType=TargetTrackingScaling&TargetTrackingConfiguration.\
                  TargetValue=50&TargetTrackingConfiguration.PredefinedMetricSpecification.\
                  PredefinedMetricType=ASGAverageCPUUtilization";
    let put = call(cx, "PutScalingPolicy", &format!("{group}&{policy}")).await;
    assert!(put.contains("<AlarmName>TargetTracking-web-AlarmHigh-"), "{put}");
    for (operation, parameters, expected) in [
        ("DescribeAutoScalingGroups", "", "<LifecycleState>InService</LifecycleState>"),
        ("DescribeAutoScalingGroups", "", "<Version>$Latest</Version>"),
        ("DescribeAutoScalingGroups", "", "<CreatedTime>2026-01-01T00:00:00.000Z</CreatedTime>"),
        ("DescribeAutoScalingGroups", "", "<PlacementGroup>racks</PlacementGroup>"),
        ("DescribeAutoScalingGroups", "", ">capacity-reservations-first</"),
        ("DescribeAutoScalingInstances", "", "<HealthStatus>HEALTHY</HealthStatus>"),
        ("DescribeScalingActivities", group, "<StatusCode>Successful</StatusCode>"),
        ("DescribePolicies", group, "<TargetValue>50</TargetValue>"),
        ("DescribeTags", "", "<ResourceType>auto-scaling-group</ResourceType>"),
        ("DescribeTerminationPolicyTypes", "", "<member>OldestInstance</member>"),
        ("DescribeScalingProcessTypes", "", "<ProcessName>AZRebalance</ProcessName>"),
        (
            "DescribeAutoScalingGroups",
            "AutoScalingGroupNames.member.1=x",
            "<AutoScalingGroups></AutoScalingGroups>",
        ),
        ("SetDesiredCapacity", "AutoScalingGroupName=x&DesiredCapacity=1", "ValidationError: Auto"),
        ("DeleteAutoScalingGroup", group, "ResourceInUse: You cannot delete an AutoScalingGroup"),
    ] {
        let answer = call(cx, operation, parameters).await;
        assert!(answer.contains(expected), "{operation}: {answer}");
    }
}
