//! Groups in zones that have not enough for them.

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
