//! Network ACLs through their operations.

use super::ops;
use crate::Context;
use crate::ec2::vpc;
use crate::testing::{self, ok, refused, text};

struct World {
    cx: Context,
    vpc: String,
    subnet: String,
}

impl World {
    async fn new() -> World {
        let cx = testing::context();
        let vpc = text(&ok(&cx, "CreateVpc", "CidrBlock=10.0.0.0/16").await, "vpcId");
        let members = format!("VpcId={vpc}&CidrBlock=10.0.1.0/24");
        let subnet = text(&ok(&cx, "CreateSubnet", &members).await, "subnetId");
        World { cx, vpc, subnet }
    }

    async fn acl(&self) -> String {
        let members = format!("VpcId={}", self.vpc);
        text(&ok(&self.cx, "CreateNetworkAcl", &members).await, "networkAclId")
    }

    fn decides(&self) -> String {
        let snapshot = self.cx.read();
        let subnet = vpc::ops::subnet(&snapshot, &self.cx, &self.subnet).unwrap();
        ops::for_subnet(&snapshot, &self.cx, &subnet).unwrap().id.clone()
    }

    /// Id of the subnet's association.
    async fn association(&self) -> String {
        let filter =
            format!("Filter.1.Name=association.subnet-id&Filter.1.Value.1={}", self.subnet);
        let body = ok(&self.cx, "DescribeNetworkAcls", &filter).await;
        text(&body, "networkAclAssociationId")
    }
}

#[tokio::test]
async fn a_subnet_always_has_one() {
    let world = World::new().await;
    let cx = &world.cx;
    let default = ops::default_id(&world.vpc);
    assert_eq!(world.decides(), default);
    let (own, first) = (world.acl().await, world.association().await);
    let replace =
        |association: &str, acl: &str| format!("AssociationId={association}&NetworkAclId={acl}");
    let body = ok(cx, "ReplaceNetworkAclAssociation", &replace(&first, &own)).await;
    assert_eq!(world.decides(), own);
    let second = world.association().await;
    assert_eq!(text(&body, "newAssociationId"), second);
    let gone = refused(cx, "ReplaceNetworkAclAssociation", &replace(&first, &own)).await;
    assert_eq!(gone, "InvalidAssociationID.NotFound");
    let delete = format!("NetworkAclId={own}");
    assert_eq!(refused(cx, "DeleteNetworkAcl", &delete).await, "DependencyViolation");
    ok(cx, "ReplaceNetworkAclAssociation", &replace(&second, &default)).await;
    assert_eq!(world.decides(), default);
    ok(cx, "DeleteNetworkAcl", &delete).await;
    let kept = refused(cx, "DeleteNetworkAcl", &format!("NetworkAclId={default}")).await;
    assert_eq!(kept, "InvalidParameterValue");
    let foreign = ops::default_id(&vpc::ops::first_id(cx));
    let third = world.association().await;
    let other = refused(cx, "ReplaceNetworkAclAssociation", &replace(&third, &foreign)).await;
    assert_eq!(other, "InvalidParameterValue");
    ok(cx, "DeleteSubnet", &format!("SubnetId={}", world.subnet)).await;
    ok(cx, "DeleteVpc", &format!("VpcId={}", world.vpc)).await;
    let acls = ok(cx, "DescribeNetworkAcls", "").await;
    assert!(!acls.contains(&world.vpc), "{acls}");
}

#[tokio::test]
async fn entries_are_numbered() {
    let world = World::new().await;
    let cx = &world.cx;
    let acl = world.acl().await;
    let entry = |number: u32, port: u32| {
        format!(
            "NetworkAclId={acl}&RuleNumber={number}&Protocol=6&RuleAction=allow&Egress=false\
             &CidrBlock=0.0.0.0/0&PortRange.From={port}&PortRange.To={port}"
        )
    };
    ok(cx, "CreateNetworkAclEntry", &entry(200, 443)).await;
    ok(cx, "CreateNetworkAclEntry", &entry(100, 80)).await;
    let twice = refused(cx, "CreateNetworkAclEntry", &entry(100, 81)).await;
    assert_eq!(twice, "NetworkAclEntryAlreadyExists");
    ok(cx, "ReplaceNetworkAclEntry", &entry(100, 81)).await;
    let none = refused(cx, "ReplaceNetworkAclEntry", &entry(300, 81)).await;
    assert_eq!(none, "InvalidNetworkAclEntry.NotFound");
    let found = ops::acl(&cx.read(), cx, &acl).unwrap();
    let ports: Vec<_> = found.entries_of(false).map(|entry| entry.ports).collect();
    assert_eq!(ports, [Some((81, 81)), Some((443, 443))]);
    let filter = "Filter.1.Name=entry.port-range.from&Filter.1.Value.1=443";
    let body = ok(cx, "DescribeNetworkAcls", filter).await;
    assert_eq!(text(&body, "networkAclId"), acl);
    assert_eq!(body.matches("<ruleNumber>32767</ruleNumber>").count(), 2);
    let delete = format!("NetworkAclId={acl}&RuleNumber=100&Egress=false");
    ok(cx, "DeleteNetworkAclEntry", &delete).await;
    let gone = refused(cx, "DeleteNetworkAclEntry", &delete).await;
    assert_eq!(gone, "InvalidNetworkAclEntry.NotFound");
    for number in 1..=19 {
        ok(cx, "CreateNetworkAclEntry", &entry(number, 80)).await;
    }
    let full = refused(cx, "CreateNetworkAclEntry", &entry(20, 80)).await;
    assert_eq!(full, "NetworkAclEntryLimitExceeded");
}
