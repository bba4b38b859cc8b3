//! Groups in zones that have not enough for them.

use super::super::model::{Preference, Reservations};
use super::*;
use crate::ec2::capacity::{Pool, ops as pools};

async fn set(cloud: &Cloud, zone: &str, limit: u32) {
    let pool = Pool { zone: zone.into(), instance_type: "t3.micro".into(), limit };
    cloud
        .cx
        .write(|tx| {
            tx.put(pool.clone());
            Ok::<_, store::Error>(())
        })
        .await
        .unwrap();
}

#[tokio::test]
async fn a_group_goes_where_there_is_room_and_says_where_there_was_none() {
    let mut cloud = Cloud::new().await;
    set(&cloud, "us-east-1a", 1).await;
    set(&cloud, "us-east-1c", 0).await;
    cloud.create(&cloud.settings(1, 6, 6)).await.unwrap();
    cloud.settle().await;
    // What there is of a zone is taken, the rest goes to the others.
    assert_eq!(cloud.zones(), ['a', 'b', 'b', 'b', 'b', 'b']);
    let activities = cloud.activities();
    let failed: Vec<_> = activities.iter().filter(|a| a.status.name() == "Failed").collect();
    assert_eq!(failed.len(), 2, "one for each zone that was full");
    for activity in &failed {
        let message = activity.status_message.as_deref().unwrap();
        assert!(
            message.starts_with("We currently do not have sufficient t3.micro capacity"),
            "{message}"
        );
        assert!(
            activity.description.ends_with("Launching EC2 instance failed."),
            "{}",
            activity.description
        );
    }
    // There is room again: the group balances itself once it tries the zone again.
    set(&cloud, "us-east-1c", 9).await;
    cloud.pass(minutes(6));
    cloud.settle().await;
    assert!(cloud.zones().contains(&'c'), "{:?}", cloud.zones());
    let room = pools::room(&cloud.cx.read(), "us-east-1a", "t3.micro");
    assert_eq!(room, Some(0));
}

#[tokio::test]
async fn a_group_that_finds_no_room_anywhere_waits_and_tries_again() {
    let mut cloud = Cloud::new().await;
    for zone in ["us-east-1a", "us-east-1b", "us-east-1c"] {
        set(&cloud, zone, 0).await;
    }
    cloud.create(&cloud.settings(1, 2, 2)).await.unwrap();
    cloud.settle().await;
    assert!(cloud.zones().is_empty());
    let before = cloud.activities().len();
    assert!(before > 0 && cloud.activities().iter().all(|a| a.status.name() == "Failed"));
    cloud.settle().await;
    assert_eq!(cloud.activities().len(), before, "it does not try again at once");
    set(&cloud, "us-east-1b", 2).await;
    cloud.pass(minutes(6));
    cloud.settle().await;
    assert_eq!(cloud.zones(), ['b', 'b']);
}

#[tokio::test]
async fn a_group_lives_with_what_a_spread_placement_group_takes() {
    let mut cloud = Cloud::new().await;
    let cx = cloud.cx.clone();
    testing::ok(&cx, "CreatePlacementGroup", "GroupName=spread&Strategy=spread").await;
    let unknown = Settings { placement_group: Some("none".into()), ..cloud.settings(1, 1, 1) };
    assert!(matches!(cloud.create(&unknown).await, Err(Error::Validation(_))));
    let settings = Settings { placement_group: Some("spread".into()), ..cloud.settings(1, 23, 30) };
    cloud.create(&settings).await.unwrap();
    cloud.settle().await;
    // Seven in each of three zones, and no more.
    assert_eq!(cloud.zones().iter().collect::<String>(), "aaaaaaabbbbbbbccccccc");
    let failed = |cloud: &Cloud| {
        let all = cloud.activities().into_iter();
        all.filter(|activity| activity.status.name() == "Failed").collect::<Vec<_>>()
    };
    let why = failed(&cloud)[0].status_message.clone().unwrap();
    assert!(why.starts_with("The spread placement group 'spread' has seven"), "{why}");
    // It tries again, ever less often, and begins nothing else meanwhile.
    let before = failed(&cloud).len();
    cloud.pass(minutes(6));
    cloud.settle().await;
    assert_eq!(cloud.zones().len(), 21);
    assert!(failed(&cloud).len() > before);
    // One that is lost is replaced in the place that it leaves.
    let lost = cloud.members()[0].instance_id.clone();
    cloud
        .cx
        .write(|tx| ec2::instance::ops::terminate(tx, &cx, std::slice::from_ref(&lost), true))
        .await
        .unwrap();
    cloud.settle().await;
    cloud.pass(minutes(6));
    cloud.settle().await;
    assert_eq!(cloud.zones().iter().collect::<String>(), "aaaaaaabbbbbbbccccccc");
    // Without the group there is room for all.
    cloud
        .update(&Settings { placement_group: Some(String::new()), ..Settings::default() })
        .await
        .unwrap();
    cloud.settle().await;
    assert_eq!(cloud.zones().len(), 23);
}

#[tokio::test]
async fn a_group_lives_with_a_pool_that_a_reservation_holds() {
    let mut cloud = Cloud::new().await;
    let cx = cloud.cx.clone();
    set(&cloud, "us-east-1a", 2).await;
    let reserve = "InstanceType=t3.micro&InstancePlatform=Linux/UNIX&AvailabilityZone=us-east-1a\
                   &InstanceCount=2&InstanceMatchCriteria=targeted";
    let made = testing::ok(&cx, "CreateCapacityReservation", reserve).await;
    cloud.create(&cloud.settings(1, 6, 6)).await.unwrap();
    cloud.settle().await;
    assert_eq!(cloud.zones().iter().collect::<String>(), "bbbccc");
    let id = testing::text(&made, "capacityReservationId");
    testing::ok(&cx, "CancelCapacityReservation", &format!("CapacityReservationId={id}")).await;
    cloud.pass(minutes(6));
    cloud.settle().await;
    assert_eq!(cloud.zones().iter().collect::<String>(), "aabbcc");
}

#[tokio::test]
async fn a_group_launches_into_reservations_as_it_is_told() {
    let cloud = Cloud::new().await;
    let cx = cloud.cx.clone();
    let mut ids = Vec::new();
    for (zone, count) in [("a", 1), ("a", 1), ("b", 2)] {
        let reserve = format!(
            "InstanceType=t3.micro&InstancePlatform=Linux/UNIX&AvailabilityZone=us-east-1{zone}\
             &InstanceCount={count}&InstanceMatchCriteria=targeted"
        );
        let made = testing::ok(&cx, "CreateCapacityReservation", &reserve).await;
        ids.push(testing::text(&made, "capacityReservationId"));
    }
    let wanted = |preference, targets: &[String]| {
        Some(Some(Reservations { preference, targets: targets.to_vec() }))
    };
    let unknown = wanted(Preference::Only, &["cr-12345678".to_owned()]);
    let unknown = Settings { reservations: unknown, ..cloud.settings(1, 6, 6) };
    assert!(matches!(cloud.create(&unknown).await, Err(Error::Validation(_))));
    let reservations = wanted(Preference::Only, &ids);
    cloud.create(&Settings { reservations, ..cloud.settings(1, 6, 6) }).await.unwrap();
    cloud.settle().await;
    let inside = || {
        let all = cx.read().scan::<Instance>("").collect::<Vec<_>>();
        let mut inside: Vec<_> =
            all.into_iter().filter_map(|i| i.capacity_reservation_id.clone()).collect();
        inside.sort();
        inside
    };
    // What is reserved, and nothing else.
    assert_eq!(cloud.zones().iter().collect::<String>(), "aabb");
    let mut expected = vec![&ids[0], &ids[1], &ids[2], &ids[2]];
    expected.sort();
    assert_eq!(inside().iter().collect::<Vec<_>>(), expected);
    let activities = cloud.activities();
    let failed = activities.iter().find(|a| a.status.name() == "Failed").unwrap();
    let why = failed.status_message.as_deref().unwrap();
    assert!(why.starts_with("The requested reservation does not have"), "{why}");
    // First, not only: the rest is on demand.
    let reservations = wanted(Preference::First, &ids);
    cloud.update(&Settings { reservations, ..Settings::default() }).await.unwrap();
    cloud.settle().await;
    assert_eq!(cloud.zones().len(), 6);
    assert_eq!(inside().len(), 4);
    // None: not even one that is open to all.
    let open = "InstanceType=t3.micro&InstancePlatform=Linux/UNIX&AvailabilityZone=us-east-1c\
                &InstanceCount=9";
    testing::ok(&cx, "CreateCapacityReservation", open).await;
    let before = inside().len();
    let (max, desired) = (Some(9), Some(9));
    let reservations = wanted(Preference::None, &[]);
    let settings = Settings { reservations, max, desired, ..Settings::default() };
    cloud.update(&settings).await.unwrap();
    cloud.settle().await;
    assert_eq!((cloud.zones().len(), inside().len()), (9, before));
}
