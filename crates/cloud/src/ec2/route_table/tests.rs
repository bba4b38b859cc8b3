//! Route tables through their operations.

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

    async fn table(&self) -> String {
        let members = format!("VpcId={}", self.vpc);
        text(&ok(&self.cx, "CreateRouteTable", &members).await, "routeTableId")
    }

    async fn gateway(&self) -> String {
        let body = ok(&self.cx, "CreateInternetGateway", "").await;
        let id = text(&body, "internetGatewayId");
        let members = format!("InternetGatewayId={id}&VpcId={}", self.vpc);
        ok(&self.cx, "AttachInternetGateway", &members).await;
        id
    }

    /// The id of the table that decides for the subnet.
    fn decides(&self) -> String {
        let snapshot = self.cx.read();
        let subnet = vpc::ops::subnet(&snapshot, &self.cx, &self.subnet).unwrap();
        ops::for_subnet(&snapshot, &self.cx, &subnet).unwrap().id
    }

    async fn states(&self, table: &str) -> Vec<(String, bool)> {
        let snapshot = self.cx.read();
        let table = ops::table(&snapshot, &self.cx, table).unwrap();
        let routes = ops::resolved(&snapshot, &self.cx, &table).into_iter();
        routes.map(|route| (route.destination.to_string(), route.active)).collect()
    }
}

#[tokio::test]
async fn a_subnet_uses_the_main_table_unless_told() {
    let world = World::new().await;
    let cx = &world.cx;
    let main = world.decides();
    let own = world.table().await;
    let members = format!("RouteTableId={own}&SubnetId={}", world.subnet);
    let association = text(&ok(cx, "AssociateRouteTable", &members).await, "associationId");
    assert_eq!(world.decides(), own);
    let other = world.table().await;
    let second = format!("RouteTableId={other}&SubnetId={}", world.subnet);
    let taken = refused(cx, "AssociateRouteTable", &second).await;
    assert_eq!(taken, "Resource.AlreadyAssociated");
    let delete = refused(cx, "DeleteRouteTable", &format!("RouteTableId={own}")).await;
    assert_eq!(delete, "DependencyViolation");
    let replace = format!("AssociationId={association}&RouteTableId={other}");
    let body = ok(cx, "ReplaceRouteTableAssociation", &replace).await;
    assert_eq!(world.decides(), other);
    ok(cx, "DeleteRouteTable", &format!("RouteTableId={own}")).await;
    let gone = refused(cx, "DisassociateRouteTable", &format!("AssociationId={association}")).await;
    assert_eq!(gone, "InvalidAssociationID.NotFound");
    let association = text(&body, "newAssociationId");
    ok(cx, "DisassociateRouteTable", &format!("AssociationId={association}")).await;
    assert_eq!(world.decides(), main);
}

#[tokio::test]
async fn another_table_becomes_the_main_one() {
    let world = World::new().await;
    let cx = &world.cx;
    let first = ops::main_of(&cx.read(), cx, &world.vpc).unwrap();
    let association = first.main.clone().unwrap();
    let main = format!("AssociationId={association}");
    let kept = refused(cx, "DisassociateRouteTable", &main).await;
    assert_eq!(kept, "InvalidParameterValue");
    let own = world.table().await;
    ok(cx, "ReplaceRouteTableAssociation", &format!("{main}&RouteTableId={own}")).await;
    assert_eq!(world.decides(), own);
    let filters = format!(
        "Filter.1.Name=association.main&Filter.1.Value.1=true\
         &Filter.2.Name=vpc-id&Filter.2.Value.1={}",
        world.vpc
    );
    let body = ok(cx, "DescribeRouteTables", &filters).await;
    assert_eq!(text(&body, "routeTableId"), own);
    ok(cx, "DeleteRouteTable", &format!("RouteTableId={}", first.id)).await;
    let gone = refused(cx, "DeleteRouteTable", &format!("RouteTableId={}", first.id)).await;
    assert_eq!(gone, "InvalidRouteTableID.NotFound");
    let in_use = refused(cx, "DeleteRouteTable", &format!("RouteTableId={own}")).await;
    assert_eq!(in_use, "DependencyViolation");
}

#[tokio::test]
async fn routes_come_change_and_go() {
    let world = World::new().await;
    let cx = &world.cx;
    let (table, gateway) = (world.table().await, world.gateway().await);
    let default = crate::ec2::internet_gateway::ops::first_id(cx);
    for (members, code) in [
        ("DestinationCidrBlock=0.0.0.0/0", "MissingParameter"),
        ("GatewayId=igw-1", "MissingParameter"),
        ("DestinationCidrBlock=0.0.0.0/0&GatewayId=igw-01234567", "InvalidGatewayID.NotFound"),
        (&format!("DestinationCidrBlock=0.0.0.0/0&GatewayId={default}"), "InvalidParameterValue"),
        (&format!("DestinationCidrBlock=10.0.0.0/16&GatewayId={gateway}"), "RouteAlreadyExists"),
        (&format!("DestinationCidrBlock=10.0.1.0/24&GatewayId={gateway}"), "UnsupportedOperation"),
        (
            &format!("DestinationCidrBlock=169.254.169.254/32&GatewayId={gateway}"),
            "InvalidParameterValue",
        ),
        (&format!("DestinationIpv6CidrBlock=::/0&GatewayId={gateway}"), "UnsupportedOperation"),
        ("DestinationCidrBlock=0.0.0.0/0&NatGatewayId=nat-01234567", "NatGatewayNotFound"),
        (
            "DestinationCidrBlock=0.0.0.0/0&NetworkInterfaceId=eni-01234567",
            "InvalidNetworkInterfaceID.NotFound",
        ),
        ("DestinationCidrBlock=0.0.0.0/0&InstanceId=i-01234567", "InvalidInstanceID.NotFound"),
        ("DestinationCidrBlock=0.0.0.0/0&TransitGatewayId=tgw-1", "UnsupportedOperation"),
    ] {
        let members = format!("RouteTableId={table}&{members}");
        assert_eq!(refused(cx, "CreateRoute", &members).await, code, "{members}");
    }
    let to = |destination: &str, target: &str| {
        format!("RouteTableId={table}&DestinationCidrBlock={destination}&{target}")
    };
    let out = format!("GatewayId={gateway}");
    ok(cx, "CreateRoute", &to("0.0.0.0/0", &out)).await;
    // Wider than what is reserved.
    ok(cx, "CreateRoute", &to("169.254.0.0/16", &out)).await;
    ok(cx, "DeleteRoute", &to("169.254.0.0/16", "")).await;
    ok(cx, "CreateRoute", &to("0.0.0.0/0", &out)).await;
    assert_eq!(world.states(&table).await, [("0.0.0.0/0".to_owned(), true)]);

    let image = crate::ec2::image::ops::built_in_id();
    let run = format!(
        "ImageId={image}&InstanceType=t3.micro&MinCount=1&MaxCount=1&SubnetId={}",
        world.subnet
    );
    let body = ok(cx, "RunInstances", &run).await;
    let instance = format!("InstanceId={}", text(&body, "instanceId"));
    let other = refused(cx, "CreateRoute", &to("0.0.0.0/0", &instance)).await;
    assert_eq!(other, "RouteAlreadyExists");
    let none = refused(cx, "ReplaceRoute", &to("8.8.8.8/32", &instance)).await;
    assert_eq!(none, "InvalidParameterValue");
    ok(cx, "ReplaceRoute", &to("0.0.0.0/0", &instance)).await;
    let body = ok(cx, "DescribeRouteTables", &format!("RouteTableId.1={table}")).await;
    assert!(body.contains("<networkInterfaceId>eni-"), "{body}");
    assert!(body.contains("<instanceId>i-"), "{body}");
    ok(cx, "ReplaceRoute", &to("10.0.0.0/16", "LocalTarget=true")).await;

    let list = "PrefixListName=l&MaxEntries=1&AddressFamily=IPv4&Entry.1.Cidr=192.168.0.0/24";
    let list = text(&ok(cx, "CreateManagedPrefixList", list).await, "prefixListId");
    let members = format!("RouteTableId={table}&DestinationPrefixListId={list}");
    ok(cx, "CreateRoute", &format!("{members}&{out}")).await;
    assert_eq!(world.states(&table).await[1], (list.clone(), true));
    let delete = format!("PrefixListId={list}");
    let used = refused(cx, "DeleteManagedPrefixList", &delete).await;
    assert_eq!(used, "DependencyViolation");
    ok(cx, "DeleteRoute", &members).await;
    ok(cx, "DeleteManagedPrefixList", &delete).await;

    let local = refused(cx, "DeleteRoute", &to("10.0.0.0/16", "")).await;
    assert_eq!(local, "InvalidParameterValue");
    ok(cx, "DeleteRoute", &to("0.0.0.0/0", "")).await;
    assert_eq!(refused(cx, "DeleteRoute", &to("0.0.0.0/0", "")).await, "InvalidRoute.NotFound");
}

#[tokio::test]
async fn a_route_to_what_is_gone_is_a_blackhole() {
    let world = World::new().await;
    let cx = &world.cx;
    let (table, gateway) = (world.table().await, world.gateway().await);
    let members =
        format!("RouteTableId={table}&DestinationCidrBlock=0.0.0.0/0&GatewayId={gateway}");
    ok(cx, "CreateRoute", &members).await;
    let attachment = format!("InternetGatewayId={gateway}&VpcId={}", world.vpc);
    ok(cx, "DetachInternetGateway", &attachment).await;
    assert_eq!(world.states(&table).await, [("0.0.0.0/0".to_owned(), false)]);
    let filters = "Filter.1.Name=route.state&Filter.1.Value.1=blackhole";
    let body = ok(cx, "DescribeRouteTables", filters).await;
    assert_eq!(text(&body, "routeTableId"), table);
}

#[tokio::test]
async fn a_token_makes_one_table() {
    let world = World::new().await;
    let cx = &world.cx;
    let members = format!("VpcId={}&ClientToken=t", world.vpc);
    let made = text(&ok(cx, "CreateRouteTable", &members).await, "routeTableId");
    let again = text(&ok(cx, "CreateRouteTable", &members).await, "routeTableId");
    assert_eq!(made, again);
    let other = format!("VpcId={}&ClientToken=t", vpc::ops::first_id(cx));
    let mismatch = refused(cx, "CreateRouteTable", &other).await;
    assert_eq!(mismatch, "IdempotentParameterMismatch");
}
