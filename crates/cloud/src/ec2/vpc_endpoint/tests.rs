//! Gateway endpoints and their routes, interface endpoints and their interfaces, names and policies.

use std::net::Ipv4Addr;

use super::controller::Endpoints;
use super::ops::{self, Change, New, Way};
use crate::Context;
use crate::controller::Controller;
use crate::dns;
use crate::ec2::{Error, route_table, vpc};
use crate::tag::Tags;
use crate::testing::{self, ok, refused, text};

async fn create(cx: &Context, service_name: &str, tables: &[String]) -> Result<String, Error> {
    cx.write(|tx| {
        let vpc = vpc::ops::default_vpc(tx, cx)?;
        let new = New {
            vpc_id: &vpc.id,
            service_name,
            way: Way::Gateway(tables),
            policy: None,
            tags: &Tags::new(),
            client_token: None,
        };
        ops::create(tx, cx, &new)
    })
    .await
    .map(|endpoint| endpoint.id)
}

#[tokio::test]
async fn an_endpoint_brings_its_routes_and_takes_them_along() {
    let cx = testing::context();
    let vpc = vpc::ops::default_vpc(&cx.read(), &cx).unwrap();
    let main = route_table::ops::main_of(&cx.read(), &cx, &vpc.id).unwrap().id.clone();
    let (s3, tables) = ("com.amazonaws.us-east-1.s3", [main.clone()]);
    let before = route_table::ops::table(&cx.read(), &cx, &main).unwrap().routes.len();
    let routes = || route_table::ops::table(&cx.read(), &cx, &main).unwrap().routes.len() - before;
    let id = create(&cx, s3, &tables).await.unwrap();
    assert_eq!(routes(), 1);
    let twice = create(&cx, s3, &tables).await.unwrap_err();
    assert_eq!(twice.code(), "RouteAlreadyExists");
    create(&cx, "com.amazonaws.us-east-1.dynamodb", &tables).await.unwrap();
    assert_eq!(routes(), 2);
    for unknown in ["com.amazonaws.us-east-1.sns", "com.amazonaws.eu-west-1.s3", "s3"] {
        assert_eq!(create(&cx, unknown, &[]).await.unwrap_err().code(), "InvalidServiceName");
    }
    let remove = Change { remove_tables: tables.to_vec(), ..Change::default() };
    cx.write(|tx| ops::modify(tx, &cx, &id, &remove)).await.unwrap();
    assert_eq!(routes(), 1);
    let add = Change { add_tables: tables.to_vec(), ..Change::default() };
    cx.write(|tx| ops::modify(tx, &cx, &id, &add)).await.unwrap();
    let endpoint = ops::by_id(&cx.read(), &cx, &id).unwrap();
    assert_eq!(ops::route_tables(&cx.read(), &cx, &endpoint), tables);
    cx.write(|tx| ops::delete(tx, &cx, &id)).await.unwrap();
    assert_eq!(routes(), 1);
    let gone = cx.write(|tx| ops::delete(tx, &cx, &id)).await.unwrap_err();
    assert_eq!(gone.code(), "InvalidVpcEndpointId.NotFound");
}

#[tokio::test]
async fn as_clients_see_them() {
    let cx = testing::context();
    let vpc = vpc::ops::first_id(&cx);
    let main = route_table::ops::main_of(&cx.read(), &cx, &vpc).unwrap().id.clone();
    let create =
        format!("VpcId={vpc}&ServiceName=com.amazonaws.us-east-1.s3&RouteTableId.1={main}");
    let interface = format!("{create}&VpcEndpointType=Interface");
    assert_eq!(refused(&cx, "CreateVpcEndpoint", &interface).await, "InvalidParameter");
    let made = ok(&cx, "CreateVpcEndpoint", &create).await;
    assert_eq!(
        (text(&made, "state"), text(&made, "vpcEndpointType")),
        ("available".into(), "Gateway".into())
    );
    let id = text(&made, "vpcEndpointId");
    let routes = ok(&cx, "DescribeRouteTables", &format!("RouteTableId.1={main}")).await;
    assert!(routes.contains("<destinationPrefixListId>pl-") && routes.contains(&id), "{routes}");
    let found =
        ok(&cx, "DescribeVpcEndpoints", "Filter.1.Name=service-name&Filter.1.Value.1=*s3").await;
    assert!(found.contains(&main), "{found}");
    let services = ok(&cx, "DescribeVpcEndpointServices", "").await;
    assert!(services.contains("com.amazonaws.us-east-1.dynamodb"), "{services}");
    let unknown = "VpcEndpointId.1=vpce-12345678";
    let partly = ok(&cx, "DeleteVpcEndpoints", &format!("{unknown}&VpcEndpointId.2={id}")).await;
    assert_eq!(text(&partly, "code"), "InvalidVpcEndpointId.NotFound");
    let routes = ok(&cx, "DescribeRouteTables", &format!("RouteTableId.1={main}")).await;
    assert!(!routes.contains("<destinationPrefixListId>pl-"), "{routes}");
}

/// A VPC with private names and a subnet in each of two zones.
struct World {
    cx: Context,
    vpc: String,
    subnets: [String; 2],
}

impl World {
    async fn new() -> World {
        let cx = testing::context();
        let vpc = text(&ok(&cx, "CreateVpc", "CidrBlock=10.0.0.0/16").await, "vpcId");
        let hostnames = format!("VpcId={vpc}&EnableDnsHostnames.Value=true");
        ok(&cx, "ModifyVpcAttribute", &hostnames).await;
        let (one, other) = (subnet(&cx, &vpc, 1, 'a').await, subnet(&cx, &vpc, 2, 'b').await);
        World { cx, vpc, subnets: [one, other] }
    }

    fn members(&self, service: &str) -> String {
        format!(
            "VpcId={}&VpcEndpointType=Interface&ServiceName=com.amazonaws.us-east-1.{service}",
            self.vpc
        )
    }

    fn resolve(&self, name: &str) -> Vec<String> {
        match dns::ops::inside(&self.cx.read(), &self.cx, &self.vpc, name) {
            dns::Answer::Addresses { addresses, .. } => {
                addresses.iter().map(Ipv4Addr::to_string).collect()
            }
            other => vec![format!("{other:?}")],
        }
    }

    async fn interfaces(&self, filter: &str) -> String {
        let filter = format!("Filter.1.Name=interface-type&Filter.1.Value.1=vpc_endpoint&{filter}");
        ok(&self.cx, "DescribeNetworkInterfaces", &filter).await
    }
}

async fn subnet(cx: &Context, vpc: &str, n: u8, zone: char) -> String {
    let members = format!("VpcId={vpc}&CidrBlock=10.0.{n}.0/24&AvailabilityZone=us-east-1{zone}");
    text(&ok(cx, "CreateSubnet", &members).await, "subnetId")
}

#[tokio::test]
async fn an_interface_endpoint_has_interfaces_and_names() {
    let world = World::new().await;
    let World { cx, vpc, subnets: [one, other] } = &world;
    let service = "198.19.255.7";
    assert_eq!(world.resolve("sts.us-east-1.amazonaws.com"), [service]);
    let create = format!(
        "{}&SubnetConfiguration.1.SubnetId={one}&SubnetConfiguration.1.Ipv4=10.0.1.77&ClientToken=t",
        world.members("sts")
    );
    let made = ok(cx, "CreateVpcEndpoint", &create).await;
    assert_eq!(
        (text(&made, "state"), text(&made, "vpcEndpointType"), text(&made, "privateDnsEnabled")),
        ("pending".into(), "Interface".into(), "true".into())
    );
    let id = text(&made, "vpcEndpointId");
    let again = ok(cx, "CreateVpcEndpoint", &create).await;
    assert_eq!(text(&again, "vpcEndpointId"), id);
    // Not before the network answers there.
    assert_eq!(world.resolve("sts.us-east-1.amazonaws.com"), [service]);
    Endpoints.reconcile(&cx.env).await.unwrap();
    let shown = ok(cx, "DescribeVpcEndpoints", &format!("VpcEndpointId.1={id}")).await;
    assert_eq!(text(&shown, "state"), "available");

    let interfaces =
        world.interfaces(&format!("Filter.2.Name=subnet-id&Filter.2.Value.1={one}")).await;
    assert_eq!(text(&interfaces, "privateIpAddress"), "10.0.1.77");
    assert_eq!(text(&interfaces, "description"), format!("VPC Endpoint Interface {id}"));
    assert_eq!(text(&interfaces, "requesterManaged"), "true");
    let interface = text(&interfaces, "networkInterfaceId");
    let delete = format!("NetworkInterfaceId={interface}");
    assert_eq!(refused(cx, "DeleteNetworkInterface", &delete).await, "OperationNotPermitted");
    for (call, members) in
        [("DeleteSubnet", format!("SubnetId={one}")), ("DeleteVpc", format!("VpcId={vpc}"))]
    {
        assert_eq!(refused(cx, call, &members).await, "DependencyViolation");
    }

    let zone_b = format!("VpcEndpointId={id}&AddSubnetId.1={other}");
    ok(cx, "ModifyVpcEndpoint", &zone_b).await;
    let names = ok(cx, "DescribeVpcEndpoints", &format!("VpcEndpointId.1={id}")).await;
    let names: Vec<&str> = names.split("<dnsName>").skip(1).collect();
    let names: Vec<&str> = names.iter().filter_map(|rest| rest.split('<').next()).collect();
    let [all, in_a, in_b, private] = names.as_slice() else { panic!("{names:?}") };
    assert_eq!(*private, "sts.us-east-1.amazonaws.com");
    assert!(in_a.contains("-us-east-1a.sts.us-east-1.vpce.amazonaws.com"), "{in_a}");
    assert_eq!(world.resolve(in_a), ["10.0.1.77"]);
    let [of_b] = world.resolve(in_b).try_into().unwrap();
    assert!(of_b.starts_with("10.0.2."), "{of_b}");
    for name in [all, private] {
        let mut found = world.resolve(name);
        found.sort();
        assert_eq!(found, ["10.0.1.77", &of_b], "{name}");
    }
    // The name of no region is not the region's.
    assert_eq!(world.resolve("sts.amazonaws.com"), [service]);

    let public = format!("VpcEndpointId={id}&PrivateDnsEnabled=false&RemoveSubnetId.1={one}");
    ok(cx, "ModifyVpcEndpoint", &public).await;
    assert_eq!(world.resolve(private), [service]);
    assert_eq!(world.resolve(all), [of_b.as_str()]);
    ok(cx, "DeleteSubnet", &format!("SubnetId={one}")).await;
    ok(cx, "DeleteVpcEndpoints", &format!("VpcEndpointId.1={id}")).await;
    assert_eq!(world.resolve(all), ["NoSuchName"]);
    ok(cx, "DeleteSubnet", &format!("SubnetId={other}")).await;
    ok(cx, "DeleteVpc", &format!("VpcId={vpc}")).await;
}

#[tokio::test]
async fn the_groups_of_an_endpoint_are_those_of_its_interfaces() {
    let world = World::new().await;
    let World { cx, vpc, subnets: [one, _] } = &world;
    let group = format!("GroupName=https&GroupDescription=https&VpcId={vpc}");
    let group = text(&ok(cx, "CreateSecurityGroup", &group).await, "groupId");
    let create = format!("{}&SubnetId.1={one}", world.members("ec2"));
    let id = text(&ok(cx, "CreateVpcEndpoint", &create).await, "vpcEndpointId");
    let default = text(&world.interfaces("").await, "groupId");
    assert_ne!(default, group);
    let swap = format!(
        "VpcEndpointId={id}&AddSecurityGroupId.1={group}&RemoveSecurityGroupId.1={default}"
    );
    ok(cx, "ModifyVpcEndpoint", &swap).await;
    assert_eq!(text(&world.interfaces("").await, "groupId"), group);
    let networks = crate::ec2::network::compile(&cx.read(), &cx.env, &Default::default());
    let [(address, node)] = networks[vpc.as_str()].nodes.iter().collect::<Vec<_>>()[..] else {
        panic!("one node: {:?}", networks[vpc.as_str()].nodes)
    };
    assert_eq!((node.endpoint, node.groups.iter().collect::<Vec<_>>()), (true, vec![&group]));
    let at = |address| ops::at(&cx.read(), cx, vpc, address).map(|endpoint| endpoint.id.clone());
    assert_eq!(at(*address), Some(id.clone()));
    assert_eq!(at(Ipv4Addr::new(10, 0, 1, 2)), None);
    let last = format!("VpcEndpointId={id}&RemoveSecurityGroupId.1={group}");
    assert_eq!(refused(cx, "ModifyVpcEndpoint", &last).await, "InvalidParameter");
    let delete = format!("GroupId={group}");
    assert_eq!(refused(cx, "DeleteSecurityGroup", &delete).await, "DependencyViolation");
}

#[tokio::test]
async fn requests_are_checked() {
    let world = World::new().await;
    let World { cx, vpc, subnets: [one, other] } = &world;
    let same_zone = subnet(cx, vpc, 3, 'a').await;
    let elsewhere = vpc::ops::subnets(&cx.read(), cx).into_iter();
    let elsewhere = elsewhere.map(|s| s.id).find(|id| ![one, other, &same_zone].contains(&id));
    let elsewhere = elsewhere.unwrap();
    let sts = world.members("sts");
    let table = route_table::ops::main_of(&cx.read(), cx, vpc).unwrap().id.clone();
    for (members, code) in [
        (world.members("sns"), "InvalidServiceName"),
        (world.members("iam"), "InvalidServiceName"),
        (format!("{sts}&SubnetId.1={elsewhere}"), "InvalidParameter"),
        (format!("{sts}&SubnetId.1={one}&SubnetId.2={same_zone}"), "DuplicateSubnetsInSameZone"),
        (format!("{sts}&RouteTableId.1={table}"), "InvalidParameter"),
        (format!("{sts}&IpAddressType=dualstack"), "UnsupportedOperation"),
        (
            format!("{sts}&SubnetConfiguration.1.SubnetId={one}&SubnetConfiguration.1.Ipv6=::1"),
            "UnsupportedOperation",
        ),
        (format!("{sts}&DnsOptions.DnsRecordIpType=dualstack"), "UnsupportedOperation"),
        (format!("{sts}&PolicyDocument=%7B"), "InvalidPolicyDocument"),
        (format!("{}&PrivateDnsEnabled=true", world.members("dynamodb")), "InvalidParameter"),
        (format!("{}&PrivateDnsEnabled=true", world.members("s3")), "UnsupportedOperation"),
        (sts.replace("Type=Interface", "Type=Gateway"), "InvalidParameter"),
        (sts.replace("Type=Interface", "Type=GatewayLoadBalancer"), "UnsupportedOperation"),
        (sts.replace("Type=Interface", "Type=Tunnel"), "InvalidParameterValue"),
        (format!("{sts}&DryRun=true"), "DryRunOperation"),
    ] {
        assert_eq!(refused(cx, "CreateVpcEndpoint", &members).await, code, "{members}");
    }
    assert!(ops::of_vpc(&cx.read(), cx, vpc).is_empty());
    ok(cx, "CreateVpcEndpoint", &sts).await;
    assert_eq!(refused(cx, "CreateVpcEndpoint", &sts).await, "InvalidParameter");
    let second = format!("{sts}&PrivateDnsEnabled=false");
    let second = text(&ok(cx, "CreateVpcEndpoint", &second).await, "vpcEndpointId");
    let conflict = format!("VpcEndpointId={second}&PrivateDnsEnabled=true");
    assert_eq!(refused(cx, "ModifyVpcEndpoint", &conflict).await, "InvalidParameter");
    let off = format!("VpcId={vpc}&EnableDnsHostnames.Value=false");
    ok(cx, "ModifyVpcAttribute", &off).await;
    let ec2 = world.members("ec2");
    assert_eq!(refused(cx, "CreateVpcEndpoint", &ec2).await, "InvalidParameter");
    // S3's names lead there as soon as its endpoint says so for all of the VPC.
    ok(cx, "ModifyVpcAttribute", &off.replace("false", "true")).await;
    let s3 = format!(
        "{}&SubnetId.1={one}&PrivateDnsEnabled=true\
         &DnsOptions.PrivateDnsOnlyForInboundResolverEndpoint=false",
        world.members("s3")
    );
    let made = ok(cx, "CreateVpcEndpoint", &s3).await;
    Endpoints.reconcile(&cx.env).await.unwrap();
    let own = text(&made, "dnsName").replace("*.", "pictures.bucket.");
    let address = world.resolve(&own);
    assert!(address[0].starts_with("10.0.1."), "{own}: {address:?}");
    assert_eq!(world.resolve("pictures.s3.us-east-1.amazonaws.com"), address);
    assert_eq!(world.resolve("s3.us-east-1.amazonaws.com"), address);
    assert_eq!(world.resolve("s3.eu-west-1.amazonaws.com"), ["198.19.255.1"]);
}

#[tokio::test]
async fn a_policy_is_kept_until_it_is_reset() {
    let world = World::new().await;
    let cx = &world.cx;
    let id = text(&ok(cx, "CreateVpcEndpoint", &world.members("sts")).await, "vpcEndpointId");
    let shown = || async {
        text(
            &ok(cx, "DescribeVpcEndpoints", &format!("VpcEndpointId.1={id}")).await,
            "policyDocument",
        )
    };
    let full = shown().await;
    assert!(full.contains("2008-10-17"), "{full}");
    let own = "%7B%22Statement%22%3A%7B%22Effect%22%3A%22Allow%22%2C%22Principal%22%3A%22%2A%22%2C%22Action%22%3A%22sts%3AAssumeRole%22%2C%22Resource%22%3A%22%2A%22%7D%7D";
    ok(cx, "ModifyVpcEndpoint", &format!("VpcEndpointId={id}&PolicyDocument={own}")).await;
    assert!(shown().await.contains("sts:AssumeRole"));
    ok(cx, "ModifyVpcEndpoint", &format!("VpcEndpointId={id}&ResetPolicy=true")).await;
    assert_eq!(shown().await, full);
}
