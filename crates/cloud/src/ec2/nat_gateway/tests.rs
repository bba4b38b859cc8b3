//! NAT gateways through their operations.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::controller::NatGateways;
use super::ops;
use crate::Context;
use crate::controller::Controller;
use crate::ec2::{elastic_ip, network, vpc};
use crate::testing::{self, NOW, ok, refused, text};

struct World {
    cx: Context,
    vpc: String,
    subnet: String,
    allocation: String,
}

impl World {
    async fn new() -> World {
        let cx = testing::context();
        let vpc = text(&ok(&cx, "CreateVpc", "CidrBlock=10.0.0.0/16").await, "vpcId");
        let members = format!("VpcId={vpc}&CidrBlock=10.0.1.0/24");
        let subnet = text(&ok(&cx, "CreateSubnet", &members).await, "subnetId");
        let allocation = text(&ok(&cx, "AllocateAddress", "").await, "allocationId");
        World { cx, vpc, subnet, allocation }
    }

    async fn internet(&self) -> String {
        let gateway = text(&ok(&self.cx, "CreateInternetGateway", "").await, "internetGatewayId");
        let attachment = format!("InternetGatewayId={gateway}&VpcId={}", self.vpc);
        ok(&self.cx, "AttachInternetGateway", &attachment).await;
        attachment
    }

    fn members(&self) -> String {
        format!("SubnetId={}&AllocationId={}", self.subnet, self.allocation)
    }

    async fn create(&self) -> String {
        text(&ok(&self.cx, "CreateNatGateway", &self.members()).await, "natGatewayId")
    }

    async fn round(&self) -> Option<Duration> {
        NatGateways.reconcile(&self.cx.env).await.unwrap()
    }

    async fn state(&self, id: &str) -> String {
        let body = ok(&self.cx, "DescribeNatGateways", &format!("NatGatewayId.1={id}")).await;
        text(&body, "state")
    }

    fn is_free(&self) -> bool {
        let snapshot = self.cx.read();
        let held = vpc::ops::addresses(&snapshot, &self.cx, &self.subnet);
        let address = elastic_ip::ops::by_allocation(&snapshot, &self.cx, &self.allocation);
        held.is_empty() && address.unwrap().association.is_none()
    }
}

#[tokio::test]
async fn a_gateway_holds_its_addresses_until_it_is_deleted() {
    let world = World::new().await;
    let cx = &world.cx;
    let attachment = world.internet().await;
    let id = world.create().await;
    assert_eq!((world.state(&id).await.as_str(), world.is_free()), ("pending", false));
    let taken = refused(cx, "CreateNatGateway", &world.members()).await;
    assert_eq!(taken, "Resource.AlreadyAssociated");
    assert_eq!(world.round().await, None);
    assert_eq!(world.state(&id).await, "available");
    assert_eq!(ops::of_vpc(&cx.read(), cx, &world.vpc).len(), 1);
    let in_use = refused(cx, "DeleteSubnet", &format!("SubnetId={}", world.subnet)).await;
    assert_eq!(in_use, "DependencyViolation");
    let mapped = refused(cx, "DetachInternetGateway", &attachment).await;
    assert_eq!(mapped, "DependencyViolation");

    let table =
        text(&ok(cx, "CreateRouteTable", &format!("VpcId={}", world.vpc)).await, "routeTableId");
    let route = format!("RouteTableId={table}&DestinationCidrBlock=0.0.0.0/0&NatGatewayId={id}");
    ok(cx, "CreateRoute", &route).await;
    let shown =
        || async { ok(cx, "DescribeRouteTables", &format!("RouteTableId.1={table}")).await };
    assert!(!shown().await.contains("blackhole"));

    ok(cx, "DeleteNatGateway", &format!("NatGatewayId={id}")).await;
    assert_eq!(world.state(&id).await, "deleting");
    world.round().await;
    assert_eq!((world.state(&id).await.as_str(), world.is_free()), ("deleted", true));
    assert!(shown().await.contains("blackhole"));
    let hour = Duration::from_secs(3600);
    assert_eq!(world.round().await, Some(hour));
    cx.env.clock.advance(NOW.plus(hour));
    world.round().await;
    world.round().await;
    let gone = refused(cx, "DescribeNatGateways", &format!("NatGatewayId.1={id}")).await;
    assert_eq!(gone, "NatGatewayNotFound");
}

#[tokio::test]
async fn without_an_internet_gateway_it_fails() {
    let world = World::new().await;
    let id = world.create().await;
    world.round().await;
    let body = ok(&world.cx, "DescribeNatGateways", &format!("NatGatewayId.1={id}")).await;
    let why = (text(&body, "state"), text(&body, "failureCode"));
    assert_eq!(why, ("failed".to_owned(), "Gateway.NotAttached".to_owned()));
    assert!(world.is_free());
}

#[tokio::test]
async fn a_private_gateway_needs_no_internet_and_leads_to_peers() {
    let world = World::new().await;
    let (cx, vpc, subnet) = (&world.cx, &world.vpc, &world.subnet);
    let members = format!("SubnetId={subnet}&ConnectivityType=private&PrivateIpAddress=10.0.1.77");
    let made = ok(cx, "CreateNatGateway", &members).await;
    assert_eq!(text(&made, "connectivityType"), "private");
    assert!(!made.contains("publicIp") && !made.contains("allocationId"), "{made}");
    let id = text(&made, "natGatewayId");
    world.round().await;
    assert_eq!(world.state(&id).await, "available");
    let inner = format!("VpcId={vpc}&CidrBlock=10.0.2.0/24");
    let inner = text(&ok(cx, "CreateSubnet", &inner).await, "subnetId");
    ok(cx, "CreateNetworkInterface", &format!("SubnetId={inner}")).await;
    let networks = network::compile(&cx.read(), &cx.env, &Default::default());
    // A network is there with its first member; an interface that nobody has is one.
    let nat = &networks[vpc.as_str()].nats[&id];
    assert_eq!(nat.addresses, [Ipv4Addr::new(10, 0, 1, 77)]);
    assert_eq!((nat.public, &nat.subnet), (false, subnet));
    ok(cx, "DeleteNatGateway", &format!("NatGatewayId={id}")).await;
    world.round().await;
    assert!(vpc::ops::addresses(&cx.read(), cx, subnet).is_empty());
}

#[tokio::test]
async fn requests_are_checked() {
    let world = World::new().await;
    let cx = &world.cx;
    world.internet().await;
    let (members, subnet) = (world.members(), &world.subnet);
    for (members, code) in [
        (format!("SubnetId={subnet}"), "MissingParameter"),
        (
            format!("SubnetId={subnet}&AllocationId=eipalloc-01234567"),
            "InvalidAllocationID.NotFound",
        ),
        (format!("{members}&ConnectivityType=private"), "InvalidParameterCombination"),
        (format!("{members}&ConnectivityType=odd"), "InvalidParameterValue"),
        (format!("{members}&SecondaryPrivateIpAddressCount=1"), "UnsupportedOperation"),
        (format!("{members}&PrivateIpAddress=10.0.2.5"), "InvalidParameterValue"),
        (format!("{members}&DryRun=true"), "DryRunOperation"),
    ] {
        assert_eq!(refused(cx, "CreateNatGateway", &members).await, code, "{members}");
    }
    assert!(world.is_free());
    let wanted = format!("{members}&PrivateIpAddress=10.0.1.77&ClientToken=t");
    let body = ok(cx, "CreateNatGateway", &wanted).await;
    assert_eq!(text(&body, "privateIp"), "10.0.1.77");
    let again = ok(cx, "CreateNatGateway", &wanted).await;
    assert_eq!(text(&again, "natGatewayId"), text(&body, "natGatewayId"));
    let other = format!("{members}&ClientToken=t");
    let mismatch = refused(cx, "CreateNatGateway", &other).await;
    assert_eq!(mismatch, "IdempotentParameterMismatch");
}
