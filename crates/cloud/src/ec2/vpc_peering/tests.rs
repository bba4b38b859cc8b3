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

/// Two peered VPCs with names of their own, the peering as a member, and a group of each.
async fn joined(cx: &Context) -> ([String; 2], String, [String; 2]) {
    let vpcs = [vpc(cx, "10.0.0.0/16").await, vpc(cx, "10.1.0.0/16").await];
    let create = format!("VpcId={}&PeerVpcId={}", vpcs[0], vpcs[1]);
    let id = of(&ok(cx, "CreateVpcPeeringConnection", &create).await);
    let mut groups = Vec::new();
    for vpc in &vpcs {
        let hostnames = format!("VpcId={vpc}&EnableDnsHostnames.Value=true");
        ok(cx, "ModifyVpcAttribute", &hostnames).await;
        let group = format!("VpcId={vpc}&GroupName=g&GroupDescription=g");
        groups.push(text(&ok(cx, "CreateSecurityGroup", &group).await, "groupId"));
    }
    (vpcs, id, groups.try_into().unwrap())
}

#[tokio::test]
async fn rules_name_groups_of_peered_vpcs() {
    let cx = testing::context();
    let ([a, b], id, [mine, theirs]) = joined(&cx).await;
    let rule = format!(
        "GroupId={mine}&IpPermissions.1.IpProtocol=tcp&IpPermissions.1.FromPort=80\
         &IpPermissions.1.ToPort=80&IpPermissions.1.Groups.1.GroupId={theirs}"
    );
    let authorize = "AuthorizeSecurityGroupIngress";
    assert_eq!(refused(&cx, authorize, &rule).await, "InvalidGroup.NotFound");
    ok(&cx, "AcceptVpcPeeringConnection", &id).await;
    let other = "pcx-01234567";
    let by_other = format!("{rule}&IpPermissions.1.Groups.1.VpcPeeringConnectionId={other}");
    assert_eq!(refused(&cx, authorize, &by_other).await, "InvalidGroup.NotFound");
    let peering = id.trim_start_matches("VpcPeeringConnectionId=");
    ok(&cx, authorize, &by_other.replace(other, peering)).await;
    let shown = || async { ok(&cx, "DescribeSecurityGroups", &format!("GroupId.1={mine}")).await };
    assert_eq!(text(&shown().await, "peeringStatus"), "active");
    assert_eq!(text(&shown().await, "vpcPeeringConnectionId"), peering);
    let references = || async {
        ok(&cx, "DescribeSecurityGroupReferences", &format!("GroupId.1={theirs}")).await
    };
    assert_eq!(text(&references().await, "referencingVpcId"), a);
    let stale = || async { ok(&cx, "DescribeStaleSecurityGroups", &format!("VpcId={a}")).await };
    assert!(!stale().await.contains(&mine));

    // The filter is told of the members.
    for (vpc, block, group) in [(&a, "10.0.1.0/24", &mine), (&b, "10.1.1.0/24", &theirs)] {
        let subnet = format!("VpcId={vpc}&CidrBlock={block}");
        let subnet = text(&ok(&cx, "CreateSubnet", &subnet).await, "subnetId");
        let endpoint = format!(
            "VpcId={vpc}&VpcEndpointType=Interface&ServiceName=com.amazonaws.us-east-1.sts\
             &SubnetId.1={subnet}&SecurityGroupId.1={group}"
        );
        ok(&cx, "CreateVpcEndpoint", &endpoint).await;
    }
    let members = || {
        let networks = crate::ec2::network::compile(&cx.read(), &cx.env, &Default::default());
        let group = networks[a.as_str()].groups.get(&theirs);
        group.map(|group| group.members_elsewhere.clone()).unwrap_or_default()
    };
    assert_eq!(members().len(), 1);

    ok(&cx, "DeleteVpcPeeringConnection", &id).await;
    assert!(members().is_empty() && !references().await.contains(&a));
    assert_eq!(text(&stale().await, "groupId"), mine);
    assert_eq!(text(&stale().await, "peeringStatus"), "deleted");
    // What is stale can be revoked, but not be made again.
    let second = rule.replace("=80", "=81");
    assert_eq!(refused(&cx, authorize, &second).await, "InvalidGroup.NotFound");
    ok(&cx, "RevokeSecurityGroupIngress", &rule).await;
    assert!(!stale().await.contains(&mine));
}

#[tokio::test]
async fn a_side_lets_the_other_resolve_its_public_names() {
    let cx = testing::context();
    let ([_, b], id, _) = joined(&cx).await;
    let options = format!("{id}&AccepterPeeringConnectionOptions.AllowDnsResolutionFromRemoteVpc=");
    let modify = "ModifyVpcPeeringConnectionOptions";
    let on = format!("{options}true");
    assert_eq!(refused(&cx, modify, &on).await, "OperationNotPermitted");
    ok(&cx, "AcceptVpcPeeringConnection", &id).await;
    assert_eq!(refused(&cx, modify, &id).await, "InvalidParameterCombination");
    let body = ok(&cx, modify, &on).await;
    assert_eq!(text(&body, "allowDnsResolutionFromRemoteVpc"), "true");
    assert!(!body.contains("requesterPeering"), "{body}");
    let found = ops::active_of_vpc(&cx.read(), &cx, &b).remove(0);
    assert_eq!((found.requester.allow_dns, found.accepter.allow_dns), (false, true));
    let link = on.replace("AllowDnsResolutionFromRemoteVpc", "AllowMultipathResilience");
    assert_eq!(refused(&cx, modify, &link).await, "UnsupportedOperation");
    let hostnames = format!("VpcId={b}&EnableDnsHostnames.Value=false");
    ok(&cx, "ModifyVpcAttribute", &hostnames).await;
    assert_eq!(refused(&cx, modify, &on).await, "OperationNotPermitted");
    ok(&cx, modify, &format!("{options}false")).await;
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
