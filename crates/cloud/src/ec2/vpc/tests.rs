//! VPCs and subnets over an ephemeral store.

use std::collections::BTreeSet;

use super::ops::*;
use super::{describe, subnet};
use crate::Context;
use crate::ec2::Error;
use crate::ec2::listing::Listing;
use crate::filter::Filter;
use crate::testing::{self, call, ok, refused, text};

#[test]
fn every_region_has_its_own_default_network() {
    let cx = testing::context();
    let mut other = cx.clone();
    other.region = "eu-west-1".to_owned();
    assert_ne!(first_id(&cx), first_id(&other));
    let subnets = subnets(&cx.read(), &cx);
    let cidrs: Vec<String> = subnets.iter().map(|s| s.cidr.to_string()).collect();
    assert_eq!(cidrs, ["172.31.0.0/20", "172.31.16.0/20", "172.31.32.0/20"]);
    let zone_b = subnet_for_zone(&cx.read(), &cx, "us-east-1b").unwrap();
    assert_eq!((zone_b.zone_id.as_str(), zone_b.usable_count()), ("use1-az2", 4091));
    assert_eq!(zone_b.gateway().to_string(), "172.31.16.1");
    assert_eq!(subnet_for_zone(&cx.read(), &cx, "us-east-1d"), None);
}

#[tokio::test]
async fn addresses_are_held_once_until_none_is_left() {
    let cx = testing::context();
    let subnet = subnets(&cx.read(), &cx).remove(0);
    let all = cx
        .write(|tx| {
            let mut all = BTreeSet::new();
            for n in 0..4091 {
                all.insert(allocate(tx, &cx, &subnet.id, &format!("i-{n}"))?);
            }
            Ok::<_, Error>(all)
        })
        .await
        .unwrap();
    assert_eq!(all.len(), 4091);
    assert_eq!(all.first().unwrap().to_string(), "172.31.0.4");
    assert_eq!(all.last().unwrap().to_string(), "172.31.15.254");
    assert_eq!(available(&cx.read(), &cx, &subnet), 0);
    let address = *all.first().unwrap();
    let full = cx.write(|tx| allocate(tx, &cx, &subnet.id, "i-x")).await.unwrap_err();
    assert_eq!(full.code(), "InsufficientFreeAddressesInSubnet");
    let again = cx
        .write(|tx| {
            assert!(release(tx, &cx, &subnet.id, address));
            assert!(!release(tx, &cx, &subnet.id, address));
            allocate(tx, &cx, &subnet.id, "i-x")
        })
        .await
        .unwrap();
    assert_eq!(again, address);
}

#[tokio::test]
async fn claims() {
    let cx = testing::context();
    let subnet = subnets(&cx.read(), &cx).remove(0);
    for (address, code) in [
        ("172.31.0.10", None),
        ("172.31.0.10", Some("InvalidIPAddress.InUse")),
        ("172.31.0.3", Some("InvalidParameterValue")),
        ("172.31.16.4", Some("InvalidParameterValue")),
    ] {
        let address = address.parse().unwrap();
        let claimed = cx.write(|tx| claim(tx, &cx, &subnet.id, address, "i-1")).await;
        assert_eq!(claimed.err().map(|e| e.code()).as_deref(), code);
    }
}

#[test]
fn describing() {
    let cx = testing::context();
    let snapshot = cx.read();
    let filtered = |name: &str, value: &str| {
        let values = vec![value.to_owned()];
        Listing::filtered(vec![Filter { name: name.to_owned(), values }])
    };
    for (name, value, expected) in [
        ("availability-zone", "us-east-1b", 1),
        ("vpc-id", "vpc-*", 3),
        ("default-for-az", "false", 0),
        ("map-public-ip-on-launch", "true", 3),
        ("available-ip-address-count", "4091", 3),
    ] {
        let listing = filtered(name, value);
        let (found, _) = subnet::describe::subnets(&snapshot, &cx, &[], &listing).unwrap();
        assert_eq!(found.len(), expected, "{name}={value}");
    }
    let listing = filtered("isDefault", "true");
    let (vpcs, _) = describe::vpcs(&snapshot, &cx, &[], &listing).unwrap();
    assert_eq!(vpcs, [default_vpc(&snapshot, &cx).unwrap()]);
    let unknown = ["subnet-0123456789abcdef0".to_owned()];
    let error = subnet::describe::subnets(&snapshot, &cx, &unknown, &Listing::default());
    assert_eq!(error.unwrap_err().code(), "InvalidSubnetID.NotFound");
}

#[test]
fn pages_cover_all_subnets() {
    let cx = testing::context();
    let mut listing = Listing { max_results: Some(2), ..Listing::default() };
    let page =
        |listing: &Listing| subnet::describe::subnets(&cx.read(), &cx, &[], listing).unwrap();
    let (first, token) = page(&listing);
    listing.next_token = token;
    let (second, end) = page(&listing);
    assert_eq!((first.len(), second.len(), end), (2, 1, None));
}

async fn made(cx: &Context, cidr: &str) -> String {
    text(&ok(cx, "CreateVpc", &format!("CidrBlock={cidr}")).await, "vpcId")
}

async fn subnet_in(cx: &Context, vpc: &str, cidr: &str) -> String {
    let members = format!("VpcId={vpc}&CidrBlock={cidr}&AvailabilityZone=us-east-1a");
    text(&ok(cx, "CreateSubnet", &members).await, "subnetId")
}

#[tokio::test]
async fn vpcs_have_blocks_within_limits() {
    let cx = testing::context();
    for (members, code) in [
        ("CidrBlock=10.0.0.0/15", "InvalidVpc.Range"),
        ("CidrBlock=10.0.0.0/29", "InvalidVpc.Range"),
        ("CidrBlock=127.0.0.0/16", "InvalidVpc.Range"),
        ("CidrBlock=198.18.0.0/16", "UnsupportedOperation"),
        ("CidrBlock=10.0.0.0", "InvalidParameterValue"),
        ("", "MissingParameter"),
        ("CidrBlock=10.0.0.0/16&InstanceTenancy=dedicated", "Unsupported"),
        ("CidrBlock=10.0.0.0/16&InstanceTenancy=odd", "InvalidParameterValue"),
        ("CidrBlock=10.0.0.0/16&AmazonProvidedIpv6CidrBlock=true", "UnsupportedOperation"),
        ("CidrBlock=10.0.0.0/16&DryRun=true", "DryRunOperation"),
    ] {
        assert_eq!(refused(&cx, "CreateVpc", members).await, code, "{members}");
    }
    let tagged = "CidrBlock=10.0.9.9/16&TagSpecification.1.ResourceType=vpc\
                  &TagSpecification.1.Tag.1.Key=Name&TagSpecification.1.Tag.1.Value=a";
    let body = ok(&cx, "CreateVpc", tagged).await;
    assert_eq!(text(&body, "cidrBlock"), "10.0.0.0/16");
    assert_eq!(text(&body, "key"), "Name");
    assert_eq!(vpcs(&cx.read(), &cx).len(), 2);
}

#[tokio::test]
async fn a_vpc_goes_when_nothing_is_in_it() {
    let cx = testing::context();
    let vpc = made(&cx, "10.0.0.0/16").await;
    let subnet = subnet_in(&cx, &vpc, "10.0.0.0/24").await;
    let delete = format!("VpcId={vpc}");
    assert_eq!(refused(&cx, "DeleteVpc", &delete).await, "DependencyViolation");
    cx.write(|tx| allocate(tx, &cx, &subnet, "i-1")).await.unwrap();
    let in_use = refused(&cx, "DeleteSubnet", &format!("SubnetId={subnet}")).await;
    assert_eq!(in_use, "DependencyViolation");
    cx.write(|tx| {
        let held: Vec<_> = addresses(tx, &cx, &subnet);
        Ok::<_, Error>(release(tx, &cx, &subnet, held[0].address))
    })
    .await
    .unwrap();
    ok(&cx, "DeleteSubnet", &format!("SubnetId={subnet}")).await;
    let group = format!("GroupName=web&GroupDescription=x&VpcId={vpc}");
    let group = text(&ok(&cx, "CreateSecurityGroup", &group).await, "groupId");
    assert_eq!(refused(&cx, "DeleteVpc", &delete).await, "DependencyViolation");
    ok(&cx, "DeleteSecurityGroup", &format!("GroupId={group}")).await;
    ok(&cx, "DeleteVpc", &delete).await;
    assert_eq!(refused(&cx, "DeleteVpc", &delete).await, "InvalidVpcID.NotFound");
    for operation in ["DescribeRouteTables", "DescribeSecurityGroups"] {
        assert!(!ok(&cx, operation, "").await.contains(&vpc), "{operation}");
    }
}

#[tokio::test]
async fn subnets_lie_in_their_vpc_and_apart() {
    let cx = testing::context();
    let vpc = made(&cx, "10.0.0.0/16").await;
    subnet_in(&cx, &vpc, "10.0.1.0/24").await;
    for (members, code) in [
        ("CidrBlock=10.0.1.128/25", "InvalidSubnet.Conflict"),
        ("CidrBlock=10.0.0.0/16", "InvalidSubnet.Conflict"),
        ("CidrBlock=10.1.0.0/24", "InvalidSubnet.Range"),
        ("CidrBlock=10.0.2.0/29", "InvalidSubnet.Range"),
        ("CidrBlock=x", "InvalidParameterValue"),
        ("CidrBlock=10.0.2.0/24&AvailabilityZone=us-east-1z", "InvalidParameterValue"),
        ("CidrBlock=10.0.2.0/24&Ipv6CidrBlock=::/64", "UnsupportedOperation"),
    ] {
        let members = format!("VpcId={vpc}&{members}");
        assert_eq!(refused(&cx, "CreateSubnet", &members).await, code, "{members}");
    }
    let members = format!("VpcId={vpc}&CidrBlock=10.0.2.0/28&AvailabilityZoneId=use1-az2");
    let body = ok(&cx, "CreateSubnet", &members).await;
    assert_eq!(text(&body, "availabilityZone"), "us-east-1b");
    assert_eq!(text(&body, "availableIpAddressCount"), "11");
    assert_eq!(text(&body, "mapPublicIpOnLaunch"), "false");
    let subnet = text(&body, "subnetId");
    let set = format!("SubnetId={subnet}&MapPublicIpOnLaunch.Value=true");
    ok(&cx, "ModifySubnetAttribute", &set).await;
    let body = ok(&cx, "DescribeSubnets", &format!("SubnetId.1={subnet}")).await;
    assert_eq!(text(&body, "mapPublicIpOnLaunch"), "true");
    for (members, code) in [
        ("MapPublicIpOnLaunch.Value=true&EnableDns64.Value=false", "InvalidParameterCombination"),
        ("EnableDns64.Value=true", "UnsupportedOperation"),
        ("PrivateDnsHostnameTypeOnLaunch=resource-name", "UnsupportedOperation"),
        ("", "MissingParameter"),
    ] {
        let members = format!("SubnetId={subnet}&{members}");
        assert_eq!(refused(&cx, "ModifySubnetAttribute", &members).await, code, "{members}");
    }
}

#[tokio::test]
async fn a_vpc_gets_more_blocks() {
    let cx = testing::context();
    let vpc = made(&cx, "10.2.0.0/16").await;
    for (block, code) in [
        ("10.2.1.0/24", "InvalidVpc.Range"),
        ("192.168.0.0/16", "InvalidVpc.Range"),
        ("10.3.0.0/8", "InvalidVpc.Range"),
    ] {
        let members = format!("VpcId={vpc}&CidrBlock={block}");
        assert_eq!(refused(&cx, "AssociateVpcCidrBlock", &members).await, code, "{block}");
    }
    let members = format!("VpcId={vpc}&CidrBlock=10.3.0.0/16");
    let added = text(&ok(&cx, "AssociateVpcCidrBlock", &members).await, "associationId");
    let subnet = subnet_in(&cx, &vpc, "10.3.1.0/24").await;
    let of_vpc = format!("Filter.1.Name=vpc-id&Filter.1.Value.1={vpc}");
    let body = ok(&cx, "DescribeRouteTables", &of_vpc).await;
    assert_eq!(body.matches("<gatewayId>local</gatewayId>").count(), 2);
    let remove = format!("AssociationId={added}");
    let used = refused(&cx, "DisassociateVpcCidrBlock", &remove).await;
    assert_eq!(used, "DependencyViolation");
    ok(&cx, "DeleteSubnet", &format!("SubnetId={subnet}")).await;
    ok(&cx, "DisassociateVpcCidrBlock", &remove).await;
    let gone = refused(&cx, "DisassociateVpcCidrBlock", &remove).await;
    assert_eq!(gone, "InvalidVpcCidrBlockAssociationID.NotFound");
    let primary = super::ops::vpc(&cx.read(), &cx, &vpc).unwrap().cidr_association_id;
    let primary = format!("AssociationId={primary}");
    let kept = refused(&cx, "DisassociateVpcCidrBlock", &primary).await;
    assert_eq!(kept, "OperationNotPermitted");
}

#[tokio::test]
async fn attributes_change_one_at_a_time() {
    let cx = testing::context();
    let vpc = made(&cx, "10.0.0.0/16").await;
    let shown = |name: &'static str| {
        let (cx, members) = (cx.clone(), format!("VpcId={vpc}&Attribute={name}"));
        async move { text(&ok(&cx, "DescribeVpcAttribute", &members).await, "value") }
    };
    assert_eq!(shown("enableDnsSupport").await, "true");
    assert_eq!(shown("enableDnsHostnames").await, "false");
    let set = format!("VpcId={vpc}&EnableDnsHostnames.Value=true");
    ok(&cx, "ModifyVpcAttribute", &set).await;
    assert_eq!(shown("enableDnsHostnames").await, "true");
    let both = format!("{set}&EnableDnsSupport.Value=true");
    let both = refused(&cx, "ModifyVpcAttribute", &both).await;
    assert_eq!(both, "InvalidParameterCombination");
    let metrics = format!("VpcId={vpc}&EnableNetworkAddressUsageMetrics.Value=true");
    assert_eq!(refused(&cx, "ModifyVpcAttribute", &metrics).await, "UnsupportedOperation");
}

#[tokio::test]
async fn the_default_vpc_goes_and_another_comes() {
    let cx = testing::context();
    let vpc = first_id(&cx);
    assert_eq!(refused(&cx, "CreateDefaultVpc", "").await, "DefaultVpcAlreadyExists");
    let again = refused(&cx, "CreateDefaultSubnet", "AvailabilityZone=us-east-1a").await;
    assert_eq!(again, "DefaultSubnetAlreadyExistsInAvailabilityZone");
    for subnet in subnets(&cx.read(), &cx) {
        ok(&cx, "DeleteSubnet", &format!("SubnetId={}", subnet.id)).await;
    }
    assert_eq!(subnets(&cx.read(), &cx), []);
    let body = ok(&cx, "CreateDefaultSubnet", "AvailabilityZone=us-east-1c").await;
    assert_eq!(text(&body, "cidrBlock"), "172.31.0.0/20");
    let gateway = crate::ec2::internet_gateway::ops::first_id(&cx);
    let attachment = format!("InternetGatewayId={gateway}&VpcId={vpc}");
    let delete = format!("VpcId={vpc}");
    ok(&cx, "DeleteSubnet", &format!("SubnetId={}", text(&body, "subnetId"))).await;
    assert_eq!(refused(&cx, "DeleteVpc", &delete).await, "DependencyViolation");
    ok(&cx, "DetachInternetGateway", &attachment).await;
    ok(&cx, "DeleteInternetGateway", &format!("InternetGatewayId={gateway}")).await;
    ok(&cx, "DeleteVpc", &delete).await;
    for operation in [
        "DescribeVpcs",
        "DescribeSubnets",
        "DescribeRouteTables",
        "DescribeInternetGateways",
        "DescribeSecurityGroups",
        "DescribeNetworkAcls",
    ] {
        assert!(!ok(&cx, operation, "").await.contains("<item>"), "{operation}");
    }
    let image = crate::ec2::image::ops::built_in_id();
    let run = format!("ImageId={image}&InstanceType=t3.micro&MinCount=1&MaxCount=1");
    assert_eq!(refused(&cx, "RunInstances", &run).await, "VPCIdNotSpecified");

    let body = ok(&cx, "CreateDefaultVpc", "").await;
    assert_ne!(text(&body, "vpcId"), vpc);
    let routes = ok(&cx, "DescribeRouteTables", "").await;
    assert!(routes.contains("<destinationCidrBlock>0.0.0.0/0</destinationCidrBlock>"), "{routes}");
    assert!(!routes.contains("blackhole"), "{routes}");
    assert_eq!(subnets(&cx.read(), &cx).len(), 3);
    ok(&cx, "RunInstances", &run).await;
}

#[tokio::test]
async fn instances_run_in_a_vpc_of_ones_own() {
    let cx = testing::context();
    let vpc = made(&cx, "10.0.0.0/16").await;
    let subnet = subnet_in(&cx, &vpc, "10.0.7.0/24").await;
    let image = crate::ec2::image::ops::built_in_id();
    let run =
        format!("ImageId={image}&InstanceType=t3.micro&MinCount=1&MaxCount=1&SubnetId={subnet}");
    let body = ok(&cx, "RunInstances", &run).await;
    assert!(text(&body, "privateIpAddress").starts_with("10.0.7."), "{body}");
    assert_eq!(text(&body, "groupName"), "default");
    let default = crate::ec2::security_group::ops::default_id(&cx, &first_id(&cx));
    assert_ne!(text(&body, "groupId"), default);
    let (_, error) = call(&cx, "RunInstances", &format!("{run}&SecurityGroupId.1={default}")).await;
    assert!(error.contains("belong to different networks"), "{error}");
    let group = format!("GroupName=default-like&GroupDescription=x&VpcId={vpc}");
    let group = text(&ok(&cx, "CreateSecurityGroup", &group).await, "groupId");
    let body = ok(&cx, "RunInstances", &format!("{run}&SecurityGroupId.1={group}")).await;
    assert_eq!(text(&body, "groupId"), group);
    let in_use = refused(&cx, "DeleteSubnet", &format!("SubnetId={subnet}")).await;
    assert_eq!(in_use, "DependencyViolation");
}
