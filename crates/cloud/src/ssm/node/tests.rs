//! Who is a managed node.

use compute::fake::Played;

use super::Node;
use super::controller::Nodes;
use super::describe::{self, Filter};
use super::ops::{self, Found};
use crate::controller::Controller;
use crate::testing::{self, Machines};

const MAY: &str = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow",
    "Action":"ssm:UpdateInstanceInformation","Resource":"*"}}"#;
const MAY_NOT: &str = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow",
    "Action":"s3:*","Resource":"*"}}"#;

fn shown(machines: &Machines, filters: &[(&str, &str)]) -> Vec<(String, &'static str)> {
    let filters: Vec<Filter> = filters
        .iter()
        .map(|(key, value)| Filter { key: (*key).into(), values: vec![(*value).into()] })
        .collect();
    let (shown, _) =
        describe::describe(&machines.cx.read(), &machines.cx, &filters, 50, None).unwrap();
    shown.iter().map(|one| (one.instance.id.clone(), one.ping_status())).collect()
}

#[tokio::test]
async fn instances_register_when_their_role_lets_them() {
    let machines = Machines::default();
    let cx = &machines.cx;
    machines.driver.play(|_, _| {
        Ok(Played::ended("NAME=\"Debian GNU/Linux\"\nVERSION_ID='12'\n\ncomputer box\n", "", 0))
    });
    testing::profile(cx, "may", MAY).await;
    testing::profile(cx, "may-not", MAY_NOT).await;
    let nodes = Nodes::default();
    let managed = machines.launch(Some("may")).await;
    let other = machines.launch(Some("may-not")).await;
    machines.launch(None).await;
    nodes.reconcile(&cx.env).await.unwrap();
    assert_eq!(shown(&machines, &[]), [], "nothing is up yet");
    machines.settle().await;
    for _ in 0..2 {
        nodes.reconcile(&cx.env).await.unwrap();
        assert_eq!(shown(&machines, &[]), [(managed.clone(), "Online")]);
    }
    let node = cx.read().get::<Node>(&cx.key(&managed)).unwrap();
    assert_eq!(node.platform_name.as_deref(), Some("Debian GNU/Linux"));
    assert_eq!(node.platform_version.as_deref(), Some("12"));
    assert_eq!(node.computer_name.as_deref(), Some("box"));
    for (filter, found) in [
        (("InstanceIds", managed.as_str()), 1),
        (("InstanceIds", other.as_str()), 0),
        (("PingStatus", "Online"), 1),
        (("PlatformTypes", "Windows"), 0),
        (("IamRole", "may"), 1),
        (("tag:k", "v"), 0),
    ] {
        assert_eq!(shown(&machines, &[filter]).len(), found, "{filter:?}");
    }

    machines.stop(&managed).await;
    nodes.reconcile(&cx.env).await.unwrap();
    assert_eq!(shown(&machines, &[]), [(managed.clone(), "ConnectionLost")]);
    machines.start(&managed).await;
    nodes.reconcile(&cx.env).await.unwrap();
    assert_eq!(shown(&machines, &[]), [(managed.clone(), "Online")]);
    // A right that is taken away ends it, at once.
    testing::ask(cx, "iam", "DeleteRolePolicy", "RoleName=may&PolicyName=p").await.unwrap();
    assert_eq!(shown(&machines, &[]), [(managed.clone(), "ConnectionLost")]);
    machines.terminate(&managed).await;
    assert_eq!(shown(&machines, &[]), []);
    nodes.reconcile(&cx.env).await.unwrap();
    assert_eq!(cx.read().scan::<Node>("").count(), 0);
}

#[test]
fn reads_what_an_instance_says() {
    assert_eq!(ops::parse(""), Found::default());
    let found = ops::parse("PRETTY_NAME=\"x\"\nNAME=Alpine\nVERSION_ID=3.20.1\n\ncomputer ip-1\n");
    assert_eq!(found.platform_name.as_deref(), Some("Alpine"));
    assert_eq!(found.platform_version.as_deref(), Some("3.20.1"));
    assert_eq!(found.computer_name.as_deref(), Some("ip-1"));
}
