//! Capacity reservations, and who gets what they hold.

use super::controller::CapacityReservations;
use crate::Context;
use crate::controller::Controller;
use crate::ec2::Error;
use crate::ec2::capacity::{self, Pool};
use crate::ec2::image::ops::built_in_id;
use crate::testing::{Machines, call, ok, refused, text};

const ZONE: &str = "us-east-1a";

async fn pool(cx: &Context, limit: u32) {
    let pool = Pool { zone: ZONE.into(), instance_type: "t3.micro".into(), limit };
    cx.write(|tx| {
        tx.put(pool.clone());
        Ok::<_, Error>(())
    })
    .await
    .unwrap();
}

/// Used, reserved and free of the pool.
fn usage(cx: &Context) -> (u32, u32, u32) {
    let usage = capacity::ops::usages(&cx.read()).remove(0);
    (usage.used, usage.reserved, usage.free())
}

fn reserve(count: u32, more: &str) -> String {
    format!(
        "InstanceType=t3.micro&InstancePlatform=Linux/UNIX&AvailabilityZone={ZONE}\
         &InstanceCount={count}&{more}"
    )
}

async fn reservation(cx: &Context, count: u32, more: &str) -> String {
    let made = ok(cx, "CreateCapacityReservation", &reserve(count, more)).await;
    text(&made, "capacityReservationId")
}

fn launch(more: &str) -> String {
    format!(
        "ImageId={}&InstanceType=t3.micro&MinCount=1&MaxCount=1\
         &Placement.AvailabilityZone={ZONE}&{more}",
        built_in_id()
    )
}

async fn run(cx: &Context, more: &str) -> String {
    text(&ok(cx, "RunInstances", &launch(more)).await, "instanceId")
}

fn target(id: &str) -> String {
    format!("CapacityReservationSpecification.CapacityReservationTarget.CapacityReservationId={id}")
}

fn prefer(preference: &str) -> String {
    format!("CapacityReservationSpecification.CapacityReservationPreference={preference}")
}

async fn available(cx: &Context, id: &str) -> String {
    let members = format!("CapacityReservationId={id}&MaxResults=1");
    let usage = ok(cx, "GetCapacityReservationUsage", &members).await;
    let words = ["state", "totalInstanceCount", "usedInstanceCount", "availableInstanceCount"];
    words.map(|word| text(&usage, word)).join(" ")
}

#[tokio::test]
async fn made_described_changed_and_cancelled() {
    let cloud = Machines::default();
    let cx = &cloud.cx;
    let more = "EndDateType=limited&EndDate=2026-01-02T00:00:00Z&InstanceMatchCriteria=targeted\
                &ClientToken=one&TagSpecifications.1.ResourceType=capacity-reservation\
                &TagSpecifications.1.Tag.1.Key=team&TagSpecifications.1.Tag.1.Value=db";
    let dry = format!("{}&DryRun=true", reserve(2, more));
    assert_eq!(refused(cx, "CreateCapacityReservation", &dry).await, "DryRunOperation");
    let made = ok(cx, "CreateCapacityReservation", &reserve(2, more)).await;
    let id = text(&made, "capacityReservationId");
    for (name, value) in [
        (
            "capacityReservationArn",
            &*format!("arn:aws:ec2:us-east-1:123456789012:capacity-reservation/{id}"),
        ),
        ("availabilityZone", ZONE),
        ("availabilityZoneId", "use1-az1"),
        ("instanceType", "t3.micro"),
        ("instancePlatform", "Linux/UNIX"),
        ("instanceMatchCriteria", "targeted"),
        ("totalInstanceCount", "2"),
        ("availableInstanceCount", "2"),
        ("state", "active"),
        ("tenancy", "default"),
        ("endDateType", "limited"),
        ("endDate", "2026-01-02T00:00:00.000Z"),
        ("ownerId", "123456789012"),
        ("key", "team"),
    ] {
        assert_eq!(text(&made, name), value, "{name}");
    }
    // The same request once more makes nothing; another with its token is refused.
    let again = ok(cx, "CreateCapacityReservation", &reserve(2, more)).await;
    assert_eq!(text(&again, "capacityReservationId"), id);
    assert_eq!(
        refused(cx, "CreateCapacityReservation", &reserve(3, more)).await,
        "IdempotentParameterMismatch"
    );
    let other = reservation(cx, 1, "").await;
    for (name, value, expected) in [
        ("instance-match-criteria", "open", &other),
        ("end-date-type", "limited", &id),
        ("tag:team", "db", &id),
        ("end-date", "2026-01-02T00:00:00Z", &id),
    ] {
        let filter = format!("Filter.1.Name={name}&Filter.1.Value.1={value}");
        let found = ok(cx, "DescribeCapacityReservations", &filter).await;
        assert_eq!(&text(&found, "capacityReservationId"), expected, "{name}");
        assert_eq!(found.matches("<capacityReservationId>").count(), 1, "{name}");
    }
    let page = ok(cx, "DescribeCapacityReservations", "MaxResults=1").await;
    let next = format!("MaxResults=1&NextToken={}", text(&page, "nextToken"));
    let last = ok(cx, "DescribeCapacityReservations", &next).await;
    assert_ne!(text(&page, "capacityReservationId"), text(&last, "capacityReservationId"));
    assert!(!last.contains("<nextToken>"), "{last}");

    let of = |members: &str| format!("CapacityReservationId={id}&{members}");
    ok(cx, "ModifyCapacityReservation", &of("InstanceCount=5&EndDateType=unlimited")).await;
    assert_eq!(available(cx, &id).await, "active 5 0 5");
    let named = format!("CapacityReservationId.1={id}");
    let shown = ok(cx, "DescribeCapacityReservations", &named).await;
    assert!(shown.contains("<endDateType>unlimited</endDateType>"));
    for (members, code) in [
        (of("InstanceCount=0"), "InvalidParameterValue"),
        (of("EndDateType=limited"), "MissingParameter"),
        (of("EndDate=2027-01-01T00:00:00Z"), "InvalidParameterCombination"),
        (of("EndDateType=limited&EndDate=2025-01-01T00:00:00Z"), "InvalidParameterValue"),
        ("CapacityReservationId=cr-12345678".to_owned(), "InvalidCapacityReservationId.NotFound"),
        ("CapacityReservationId=x".to_owned(), "InvalidCapacityReservationId.Malformed"),
    ] {
        assert_eq!(refused(cx, "ModifyCapacityReservation", &members).await, code, "{members}");
    }
    for (members, code) in [
        (reserve(0, ""), "InvalidParameterValue"),
        (reserve(1001, ""), "InvalidParameterValue"),
        (reserve(1, "Tenancy=dedicated"), "Unsupported"),
        (reserve(1, "StartDate=2026-03-01T00:00:00Z"), "UnsupportedOperation"),
        (reserve(1, "EbsOptimized=true"), "UnsupportedOperation"),
        (reserve(1, "EndDate=2026-03-01T00:00:00Z"), "InvalidParameterCombination"),
        (reserve(1, "").replace("Linux/UNIX", "Windows"), "UnsupportedOperation"),
        (reserve(1, "").replace("t3.micro", "t3.mini"), "InvalidParameterValue"),
        (reserve(1, "").replace("us-east-1a", "us-east-1x"), "InvalidParameterValue"),
        (reserve(1, "AvailabilityZoneId=use1-az1"), "InvalidParameterCombination"),
    ] {
        assert_eq!(refused(cx, "CreateCapacityReservation", &members).await, code, "{members}");
    }
    let cancel = of("");
    ok(cx, "CancelCapacityReservation", &cancel).await;
    assert_eq!(available(cx, &id).await, "cancelled 5 0 0");
    assert_eq!(refused(cx, "CancelCapacityReservation", &cancel).await, "IncorrectState");
    assert_eq!(refused(cx, "ModifyCapacityReservation", &cancel).await, "IncorrectState");
    // It can be seen for an hour.
    CapacityReservations.reconcile(&cx.env).await.unwrap();
    assert_eq!(available(cx, &id).await, "cancelled 5 0 0");
    cx.env.clock.advance(cx.now.plus(std::time::Duration::from_secs(3600)));
    CapacityReservations.reconcile(&cx.env).await.unwrap();
    assert_eq!(
        refused(cx, "GetCapacityReservationUsage", &cancel).await,
        "InvalidCapacityReservationId.NotFound"
    );
    let left =
        ok(cx, "DescribeTags", "Filter.1.Name=resource-type&Filter.1.Value.1=capacity-reservation");
    assert!(!left.await.contains("<key>"));
}

#[tokio::test]
async fn targeted_capacity_is_for_those_who_name_it() {
    let cloud = Machines::default();
    let cx = &cloud.cx;
    pool(cx, 2).await;
    let too_much = refused(cx, "CreateCapacityReservation", &reserve(3, "")).await;
    assert_eq!(too_much, "InsufficientInstanceCapacity");
    let id = reservation(cx, 1, "InstanceMatchCriteria=targeted").await;
    assert_eq!(usage(cx), (0, 1, 1));
    run(cx, "").await;
    assert_eq!(usage(cx), (1, 1, 0));
    for more in [String::new(), prefer("open"), prefer("none")] {
        let refused = refused(cx, "RunInstances", &launch(&more)).await;
        assert_eq!(refused, "InsufficientInstanceCapacity", "{more}");
    }
    let only = launch(&prefer("capacity-reservations-only"));
    assert_eq!(refused(cx, "RunInstances", &only).await, "ReservationCapacityExceeded");
    let inside = run(cx, &target(&id)).await;
    assert_eq!(usage(cx), (2, 0, 0));
    assert_eq!(available(cx, &id).await, "active 1 1 0");
    let filter = format!("Filter.1.Name=capacity-reservation-id&Filter.1.Value.1={id}");
    let shown = ok(cx, "DescribeInstances", &filter).await;
    assert_eq!(text(&shown, "instanceId"), inside);
    let asked = text(&shown, "capacityReservationSpecification");
    assert_eq!(text(&asked, "capacityReservationId"), id);
    assert!(!asked.contains("Preference"), "{asked}");
    let (status, body) = call(cx, "RunInstances", &launch(&target(&id))).await;
    assert_eq!(status, 400);
    assert_eq!(
        body,
        "ReservationCapacityExceeded: The requested reservation does not have sufficient compatible \
         and available capacity for this request."
    );
    let smaller = format!("CapacityReservationId={id}&InstanceMatchCriteria=open");
    assert_eq!(refused(cx, "ModifyCapacityReservation", &smaller).await, "IncorrectState");
    for (more, code) in [
        (target("cr-12345678"), "InvalidCapacityReservationId.NotFound"),
        (target("x"), "InvalidCapacityReservationId.Malformed"),
        (format!("{}&{}", target(&id), prefer("open")), "InvalidParameterCombination"),
        (
            format!("{}&InstanceMarketOptions.MarketType=spot", target(&id)),
            "InvalidParameterCombination",
        ),
        (
            "CapacityReservationSpecification.CapacityReservationTarget\
             .CapacityReservationResourceGroupArn=arn:aws:x"
                .to_owned(),
            "UnsupportedOperation",
        ),
    ] {
        assert_eq!(refused(cx, "RunInstances", &launch(&more)).await, code, "{more}");
    }
    // Of another type or zone it is not.
    let elsewhere = launch(&target(&id)).replace("us-east-1a", "us-east-1b");
    assert_eq!(refused(cx, "RunInstances", &elsewhere).await, "ReservationCapacityExceeded");
    // Without a zone the reservation's is taken.
    cloud.settle().await;
    cloud.terminate(&inside).await;
    assert_eq!(usage(cx), (1, 1, 0));
    let anywhere = launch(&target(&id)).replace("&Placement.AvailabilityZone=us-east-1a", "");
    let found = ok(cx, "RunInstances", &anywhere).await;
    assert_eq!(text(&found, "availabilityZone"), ZONE);
    // Whoever is in it runs on when it is cancelled.
    ok(cx, "CancelCapacityReservation", &format!("CapacityReservationId={id}")).await;
    assert_eq!(usage(cx), (2, 0, 0));
    let shown = ok(cx, "DescribeInstances", &filter).await;
    assert!(!shown.contains("<instanceId>"), "{shown}");
}

#[tokio::test]
async fn open_capacity_is_for_all_that_match() {
    let cloud = Machines::default();
    let cx = &cloud.cx;
    pool(cx, 3).await;
    // One that runs already, one that wants none, and Spot.
    let first = run(cx, "").await;
    run(cx, &prefer("none")).await;
    run(cx, "InstanceMarketOptions.MarketType=spot").await;
    assert_eq!(usage(cx), (3, 0, 0));
    // The pool is full, but the first counts.
    let id = reservation(cx, 1, "").await;
    assert_eq!(available(cx, &id).await, "active 1 1 0");
    let more = format!("CapacityReservationId={id}&InstanceCount=2");
    assert_eq!(
        refused(cx, "ModifyCapacityReservation", &more).await,
        "InsufficientInstanceCapacity"
    );
    pool(cx, 4).await;
    ok(cx, "ModifyCapacityReservation", &more).await;
    assert_eq!(usage(cx), (3, 1, 0));
    assert_eq!(
        refused(cx, "RunInstances", &launch(&prefer("none"))).await,
        "InsufficientInstanceCapacity"
    );
    let second = run(cx, &prefer("capacity-reservations-only")).await;
    assert_eq!(available(cx, &id).await, "active 2 2 0");
    let less = format!("CapacityReservationId={id}&InstanceCount=1");
    assert_eq!(refused(cx, "ModifyCapacityReservation", &less).await, "InvalidParameterValue");

    // Stopped it has left; its place stays reserved, for itself or for others.
    cloud.settle().await;
    cloud.stop(&second).await;
    assert_eq!(usage(cx), (3, 1, 0));
    run(cx, "").await;
    let start = format!("InstanceId.1={second}");
    assert_eq!(refused(cx, "StartInstances", &start).await, "ReservationCapacityExceeded");
    let modify = |more: &str| format!("InstanceId={second}&{more}");
    ok(cx, "ModifyInstanceCapacityReservationAttributes", &modify(&prefer("open"))).await;
    assert_eq!(refused(cx, "StartInstances", &start).await, "InsufficientInstanceCapacity");
    cloud.settle().await;
    cloud.terminate(&first).await;
    cloud.start(&second).await;
    assert_eq!(available(cx, &id).await, "active 2 2 0");
    assert_eq!(usage(cx), (4, 0, 0));
    for (members, code) in [
        (modify(&prefer("none")), "IncorrectInstanceState"),
        (modify(""), "MissingParameter"),
        (format!("InstanceId=i-12345678&{}", prefer("none")), "InvalidInstanceID.NotFound"),
    ] {
        let found = refused(cx, "ModifyInstanceCapacityReservationAttributes", &members).await;
        assert_eq!(found, code, "{members}");
    }
}

#[tokio::test]
async fn what_expires_is_given_back() {
    let cloud = Machines::default();
    let cx = &cloud.cx;
    pool(cx, 2).await;
    let id = reservation(cx, 2, "EndDateType=limited&EndDate=2026-01-01T01:00:00Z").await;
    let inside = run(cx, "").await;
    cloud.settle().await;
    assert_eq!(usage(cx), (1, 1, 0));
    CapacityReservations.reconcile(&cx.env).await.unwrap();
    assert_eq!(available(cx, &id).await, "active 2 1 1");
    cx.env.clock.advance(crate::testing::NOW.plus(std::time::Duration::from_secs(3600)));
    CapacityReservations.reconcile(&cx.env).await.unwrap();
    assert_eq!(usage(cx), (1, 0, 1));
    let shown =
        ok(cx, "DescribeCapacityReservations", "Filter.1.Name=state&Filter.1.Value.1=expired");
    assert_eq!(text(&shown.await, "availableInstanceCount"), "0");
    let instance = ok(cx, "DescribeInstances", &format!("InstanceId.1={inside}")).await;
    assert!(!instance.contains("<capacityReservationId>"), "{instance}");
    assert!(instance.contains("<name>running</name>"), "{instance}");
}

#[tokio::test]
async fn templates_carry_what_is_wanted() {
    let cloud = Machines::default();
    let cx = &cloud.cx;
    pool(cx, 1).await;
    let id = reservation(cx, 1, "InstanceMatchCriteria=targeted").await;
    let of = "LaunchTemplateData";
    let data = format!(
        "LaunchTemplateName=held&{of}.ImageId={}&{of}.InstanceType=t3.micro&{of}.{}",
        built_in_id(),
        target(&id)
    );
    ok(cx, "CreateLaunchTemplate", &data).await;
    let versions = ok(cx, "DescribeLaunchTemplateVersions", "LaunchTemplateName=held").await;
    assert_eq!(text(&versions, "capacityReservationId"), id);
    let launch = "LaunchTemplate.LaunchTemplateName=held&MinCount=1&MaxCount=1";
    let (_, body) = call(cx, "RunInstances", &format!("{launch}&{}", prefer("none"))).await;
    assert!(!body.contains(&id), "{body}");
    let made = ok(cx, "RunInstances", launch).await;
    assert_eq!(text(&made, "capacityReservationId"), id);
    assert_eq!(usage(cx), (1, 0, 0));
}
