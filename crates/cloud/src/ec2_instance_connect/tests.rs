//! Keys that come and go, against instances that have files of keys.

use std::time::Duration;

use super::controller::ExpiredKeys;
use super::ops::{self, Send};
use super::{Key, Result};
use crate::controller::Controller;
use crate::testing::Machines;

const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGr3OyPnrOxW9wKSmVQPxfSIHyYSPTdP7y1tUXFzy0X2 me";

fn code(result: Result<()>) -> String {
    result.map_or_else(|error| wire::Error::from(error).code, |()| "ok".to_owned())
}

#[tokio::test]
async fn a_key_is_good_for_a_minute() {
    let machines = Machines::default();
    let cx = &machines.cx;
    machines.driver.keep_keys();
    let id = machines.launch(None).await;
    let send =
        Send { instance_id: id.clone(), user: "root".into(), public_key: KEY.into(), zone: None };
    assert_eq!(code(ops::send(cx, &send).await), "EC2InstanceStateInvalidException");
    machines.settle().await;
    let wrong = Send { zone: Some("us-east-1z".into()), ..send.clone() };
    assert_eq!(code(ops::send(cx, &wrong).await), "InvalidArgsException");
    let none = Send { instance_id: "i-00000000000000000".into(), ..send.clone() };
    assert_eq!(code(ops::send(cx, &none).await), "EC2InstanceNotFoundException");

    ops::send(cx, &send).await.unwrap();
    cx.env.clock.advance(cx.env.clock.now().plus(Duration::from_secs(30)));
    // The same key again is another minute.
    ops::send(cx, &send).await.unwrap();
    assert_eq!(machines.driver.keys(&id, "root").lines().count(), 2);
    assert_eq!(ops::active(&cx.read(), cx, &id).len(), 2);
    cx.env.clock.advance(cx.env.clock.now().plus(Duration::from_secs(31)));
    for _ in 0..2 {
        let wake = ExpiredKeys.reconcile(&cx.env).await.unwrap();
        assert_eq!(wake, Some(Duration::from_secs(29)));
        assert_eq!(machines.driver.keys(&id, "root").lines().count(), 1);
    }
    cx.env.clock.advance(cx.env.clock.now().plus(Duration::from_secs(29)));
    ExpiredKeys.reconcile(&cx.env).await.unwrap();
    assert_eq!(machines.driver.keys(&id, "root"), "");
    assert_eq!(cx.read().scan::<Key>("").count(), 0);
}

#[tokio::test]
async fn a_key_outlives_no_stop() {
    let machines = Machines::default();
    let cx = &machines.cx;
    machines.driver.keep_keys();
    let id = machines.launch(None).await;
    machines.settle().await;
    let send =
        Send { instance_id: id.clone(), user: "admin".into(), public_key: KEY.into(), zone: None };
    ops::send(cx, &send).await.unwrap();
    machines.stop(&id).await;
    cx.env.clock.advance(cx.env.clock.now().plus(ops::GOOD));
    ExpiredKeys.reconcile(&cx.env).await.unwrap();
    // Nobody can get at the file now: it stays owed.
    assert_eq!(cx.read().scan::<Key>("").count(), 1);
    assert_eq!(ops::active(&cx.read(), cx, &id).len(), 0);
    machines.start(&id).await;
    ExpiredKeys.reconcile(&cx.env).await.unwrap();
    assert_eq!(machines.driver.keys(&id, "admin"), "");
    assert_eq!(cx.read().scan::<Key>("").count(), 0);
}

#[tokio::test]
async fn nothing_is_kept_of_what_was_refused() {
    let machines = Machines::default();
    let id = machines.launch(None).await;
    machines.settle().await;
    let send = Send { instance_id: id, user: "root".into(), public_key: KEY.into(), zone: None };
    // Simulated: there are no files.
    let answer = ops::send(&machines.cx, &send).await;
    assert_eq!(code(answer), "EC2InstanceUnavailableException");
    assert_eq!(machines.cx.read().scan::<Key>("").count(), 0);
}
