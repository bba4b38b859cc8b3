//! Peerings through their operations.

use std::time::Duration;

use super::controller::Peerings;
use super::ops;
use crate::Context;
use crate::controller::Controller;
use crate::ec2::route_table;
use crate::testing::{self, NOW, call, ok, refused, text};

async fn vpc(cx: &Context, cidr: &str) -> String {
    text(&ok(cx, "CreateVpc", &format!("CidrBlock={cidr}")).await, "vpcId")
}

fn of(body: &str) -> String {
    format!("VpcPeeringConnectionId={}", text(body, "vpcPeeringConnectionId"))
}

async fn state(cx: &Context, id: &str) -> String {
    let members = id.replace("Id=", "Id.1=");
    text(&ok(cx, "DescribeVpcPeeringConnections", &members).await, "code")
}

#[tokio::test]
async fn two_vpcs_are_joined_until_one_leaves() {
    let cx = testing::context();
    let (a, b) = (vpc(&cx, "10.0.0.0/16").await, vpc(&cx, "10.1.0.0/16").await);
    let create = format!("VpcId={a}&PeerVpcId={b}");
    let body = ok(&cx, "CreateVpcPeeringConnection", &create).await;
    let id = of(&body);
    assert_eq!(of(&ok(&cx, "CreateVpcPeeringConnection", &create).await), id);
    assert_eq!(state(&cx, &id).await, "pending-acceptance");

    let main = route_table::ops::main_of(&cx.read(), &cx, &a).unwrap().id.clone();
    let route = format!("RouteTableId={main}&DestinationCidrBlock=10.1.0.0/16&{id}");
    ok(&cx, "CreateRoute", &route).await;
    let shown = || async {
        text(&ok(&cx, "DescribeRouteTables", &format!("RouteTableId.1={main}")).await, "routeSet")
    };
    assert!(shown().await.contains("blackhole"));
    ok(&cx, "AcceptVpcPeeringConnection", &id).await;
    assert!(!shown().await.contains("blackhole"));
    for id in [&a, &b] {
        assert_eq!(ops::active_of_vpc(&cx.read(), &cx, id).len(), 1);
        assert_eq!(refused(&cx, "DeleteVpc", &format!("VpcId={id}")).await, "DependencyViolation");
    }
    let again = refused(&cx, "AcceptVpcPeeringConnection", &id).await;
    assert_eq!(again, "InvalidStateTransition");
    let overlapping = format!("VpcId={b}&CidrBlock=10.0.128.0/20");
    assert_eq!(refused(&cx, "AssociateVpcCidrBlock", &overlapping).await, "InvalidVpc.Range");
    ok(&cx, "DeleteVpcPeeringConnection", &id).await;
    assert_eq!(state(&cx, &id).await, "deleted");
    assert!(shown().await.contains("blackhole"));
    ok(&cx, "DeleteVpc", &format!("VpcId={b}")).await;
}

#[tokio::test]
async fn what_overlaps_is_not_joined() {
    let cx = testing::context();
    let (a, b) = (vpc(&cx, "10.0.0.0/16").await, vpc(&cx, "10.0.128.0/20").await);
    let create = format!("VpcId={a}&PeerVpcId={b}");
    let body = ok(&cx, "CreateVpcPeeringConnection", &create).await;
    assert_eq!(text(&body, "code"), "failed");
    let failed = refused(&cx, "DeleteVpcPeeringConnection", &of(&body)).await;
    assert_eq!(failed, "InvalidStateTransition");
    for (members, code) in [
        (format!("VpcId={a}"), "MissingParameter"),
        (format!("VpcId={a}&PeerVpcId=vpc-01234567"), "InvalidVpcID.NotFound"),
        (format!("VpcId={a}&PeerVpcId={b}&PeerOwnerId=1"), "UnsupportedOperation"),
        (format!("VpcId={a}&PeerVpcId={b}&PeerRegion=moon-1"), "InvalidParameterValue"),
    ] {
        let got = refused(&cx, "CreateVpcPeeringConnection", &members).await;
        assert_eq!(got, code, "{members}");
    }
}

#[tokio::test]
async fn the_other_region_answers() {
    let cx = testing::context();
    let there = Context { region: "eu-west-1".to_owned(), ..cx.clone() };
    let (a, b) = (vpc(&cx, "10.0.0.0/16").await, vpc(&there, "10.1.0.0/16").await);
    let create = format!("VpcId={a}&PeerVpcId={b}&PeerRegion=eu-west-1");
    let id = of(&ok(&cx, "CreateVpcPeeringConnection", &create).await);
    let (_, error) = call(&cx, "AcceptVpcPeeringConnection", &id).await;
    assert!(error.contains("must be accepted in region eu-west-1"), "{error}");
    ok(&there, "AcceptVpcPeeringConnection", &id).await;
    assert_eq!(ops::active_of_vpc(&cx.read(), &cx, &a)[0].other(&a).unwrap().vpc_id, b);
    assert_eq!(state(&cx, &id).await, "active");
    let elsewhere = Context { region: "eu-central-1".to_owned(), ..cx.clone() };
    let hidden = refused(&elsewhere, "DeleteVpcPeeringConnection", &id).await;
    assert_eq!(hidden, "InvalidVpcPeeringConnectionID.NotFound");
}

#[tokio::test]
async fn requests_expire_and_are_forgotten() {
    let cx = testing::context();
    let (a, b) = (vpc(&cx, "10.0.0.0/16").await, vpc(&cx, "10.1.0.0/16").await);
    let create = format!("VpcId={a}&PeerVpcId={b}");
    let id = of(&ok(&cx, "CreateVpcPeeringConnection", &create).await);
    let day = Duration::from_secs(24 * 3600);
    assert_eq!(Peerings.reconcile(&cx.env).await.unwrap(), Some(7 * day));
    cx.env.clock.advance(NOW.plus(7 * day));
    Peerings.reconcile(&cx.env).await.unwrap();
    assert_eq!(state(&cx, &id).await, "expired");
    assert_eq!(Peerings.reconcile(&cx.env).await.unwrap(), Some(2 * day));
    cx.env.clock.advance(NOW.plus(9 * day));
    Peerings.reconcile(&cx.env).await.unwrap();
    Peerings.reconcile(&cx.env).await.unwrap();
    assert!(ops::peerings(&cx.read(), &cx).is_empty());
}
