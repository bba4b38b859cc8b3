//! Pools through RunInstances and StartInstances.

use super::*;
use crate::Context;
use crate::ec2::Error;
use crate::testing::{call, context, ok, refused, text};

async fn set(cx: &Context, zone: &str, limit: u32) {
    let pool = Pool { zone: zone.into(), instance_type: "t3.micro".into(), limit };
    ops::check(&pool, cx.env.config.zones).unwrap();
    cx.write(|tx| {
        tx.put(pool.clone());
        Ok::<_, Error>(())
    })
    .await
    .unwrap();
}

/// RunInstances of t3.micro: how many came of it, or what is wrong.
async fn run(cx: &Context, zone: Option<&str>, least: u32, most: u32) -> Result<usize, String> {
    let image = &crate::ec2::image::ops::images(&cx.read(), cx)[0].id;
    let zone = zone.map(|zone| format!("&Placement.AvailabilityZone={zone}")).unwrap_or_default();
    let form =
        format!("ImageId={image}&InstanceType=t3.micro&MinCount={least}&MaxCount={most}{zone}");
    let (status, body) = call(cx, "RunInstances", &form).await;
    if status == 200 { Ok(body.matches("<instanceId>i-").count()) } else { Err(body) }
}

#[tokio::test]
async fn a_zone_gives_what_it_has() {
    let cx = context();
    set(&cx, "us-east-1a", 3).await;
    set(&cx, "us-east-1c", 0).await;
    let a = Some("us-east-1a");
    assert_eq!(run(&cx, a, 1, 2).await, Ok(2));
    // More than there is: as many as there are, if that is enough.
    assert_eq!(
        run(&cx, a, 2, 5).await.unwrap_err(),
        "InsufficientInstanceCapacity: We currently do not have sufficient t3.micro capacity in the \
         Availability Zone you requested (us-east-1a). Our system will be working on provisioning \
         additional capacity. You can currently get t3.micro capacity by not specifying an \
         Availability Zone in your request or choosing us-east-1b."
    );
    assert_eq!(run(&cx, a, 1, 5).await, Ok(1));
    assert_eq!(ops::room(&cx.read(), "us-east-1a", "t3.micro"), Some(0));
    assert_eq!(ops::room(&cx.read(), "us-east-1a", "t3.nano"), None);
    // Without a zone the one that has room is chosen.
    for _ in 0..5 {
        assert_eq!(run(&cx, None, 2, 2).await, Ok(2));
    }
    set(&cx, "us-east-1b", 10).await;
    let nowhere = run(&cx, None, 1, 1).await.unwrap_err();
    assert!(nowhere.starts_with("InsufficientInstanceCapacity"), "{nowhere}");
    assert!(nowhere.ends_with("provisioning additional capacity."), "{nowhere}");
    let shown = ops::usages(&cx.read());
    let shown: Vec<_> = shown.iter().map(|u| (&*u.pool.zone, u.used, u.free())).collect();
    assert_eq!(shown, [("us-east-1a", 3, 0), ("us-east-1b", 10, 0), ("us-east-1c", 0, 0)]);
    let cleared = cx.write(|tx| Ok::<_, Error>(ops::clear(tx, Some("us-east-1b"), None))).await;
    assert_eq!(cleared.unwrap(), 1);
    assert_eq!(run(&cx, None, 1, 1).await, Ok(1));
}

#[tokio::test]
async fn a_stopped_instance_must_find_room_again() {
    let cx = context();
    set(&cx, "us-east-1a", 1).await;
    let image = crate::ec2::image::ops::images(&cx.read(), &cx)[0].id.clone();
    let form = format!(
        "ImageId={image}&InstanceType=t3.micro&MinCount=1&MaxCount=1\
         &Placement.AvailabilityZone=us-east-1a"
    );
    let id = text(&ok(&cx, "RunInstances", &form).await, "instanceId");
    let mut stopped = crate::ec2::instance::model::Instance::clone(
        &crate::ec2::instance::ops::instance(&cx.read(), &cx, &id).unwrap(),
    );
    stopped.desired.goal = crate::ec2::instance::model::Goal::Stop;
    stopped.observed.phase = crate::ec2::instance::model::Phase::Down;
    cx.write(|tx| {
        tx.put(stopped.clone());
        Ok::<_, Error>(())
    })
    .await
    .unwrap();
    assert_eq!(run(&cx, Some("us-east-1a"), 1, 1).await, Ok(1));
    let start = format!("InstanceId.1={id}");
    assert_eq!(refused(&cx, "StartInstances", &start).await, "InsufficientInstanceCapacity");
    set(&cx, "us-east-1a", 2).await;
    ok(&cx, "StartInstances", &start).await;
    assert_eq!(ops::room(&cx.read(), "us-east-1a", "t3.micro"), Some(0));
}
