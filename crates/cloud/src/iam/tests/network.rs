//! Where calls come from, as policies see it.

use std::net::IpAddr;

use serde_json::{Value, json};

use super::super::{Inside, Source};
use super::*;
use crate::controller::Controller;
use crate::ec2::nat_gateway::controller::NatGateways;

/// Whether a call from `source` may be made under a condition.
async fn may(cloud: &Cloud, condition: &Value, source: &Source) -> bool {
    let policy = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow",
        "Action": "iam:ListUsers", "Resource": "*", "Condition": condition}]});
    cloud.put_policy("ann", &policy.to_string()).await;
    let who = Who::User { name: "ann".to_owned(), id: "AIDA".to_owned() };
    let ann = Caller { who, source: source.clone(), ..Caller::default() };
    cloud.call(&cloud.as_caller(ann), "iam", "ListUsers", &[]).await.is_ok()
}

#[tokio::test]
async fn conditions_on_the_way_that_a_call_took() {
    let cloud = Cloud::new();
    cloud.user("ann", &allow("sts:*", "*")).await;
    let vpcs = cloud.ok("ec2", "DescribeVpcs", &[]).await;
    let vpc = element(&vpcs, "vpcId");
    let new = [("VpcId", vpc), ("ServiceName", "com.amazonaws.us-east-1.s3")];
    let made = cloud.ok("ec2", "CreateVpcEndpoint", &new).await;
    let id = element(&made, "vpcEndpointId");
    let endpoint = crate::ec2::vpc_endpoint::ops::by_id(&cloud.cx.read(), &cloud.cx, id).unwrap();
    let host: Option<IpAddr> = Some("127.0.0.1".parse().unwrap());
    let inside: Option<IpAddr> = Some("172.31.0.9".parse().unwrap());
    let plain = Source { ip: host, ..Source::default() };
    let secure = Source { ip: host, secure: true, ..Source::default() };
    let by_endpoint = Source { ip: inside, secure: true, endpoint: Some(endpoint) };
    for (condition, expected) in [
        (json!({"Bool": {"aws:SecureTransport": "true"}}), [false, true, true]),
        (json!({"Bool": {"aws:SecureTransport": "false"}}), [true, false, false]),
        (json!({"IpAddress": {"aws:SourceIp": "127.0.0.0/8"}}), [true, true, false]),
        (json!({"NotIpAddress": {"aws:SourceIp": "127.0.0.0/8"}}), [false, false, true]),
        (json!({"IpAddress": {"aws:VpcSourceIp": "172.31.0.0/16"}}), [false, false, true]),
        (json!({"StringEquals": {"aws:SourceVpc": vpc}}), [false, false, true]),
        (json!({"StringEquals": {"aws:SourceVpc": "vpc-0"}}), [false, false, false]),
        (json!({"StringEquals": {"aws:sourceVpce": id}}), [false, false, true]),
        (json!({"StringNotEquals": {"aws:SourceVpce": id}}), [true, true, false]),
        (json!({"Null": {"aws:SourceVpce": "true"}}), [true, true, false]),
    ] {
        let sources = [&plain, &secure, &by_endpoint];
        for (source, expected) in sources.into_iter().zip(expected) {
            assert_eq!(may(&cloud, &condition, source).await, expected, "{condition} {source:?}");
        }
    }
}

#[tokio::test]
async fn calls_from_a_vpc_leave_it_by_the_routes_of_their_subnet() {
    let cloud = Cloud::new();
    let vpcs = cloud.ok("ec2", "DescribeVpcs", &[]).await;
    let vpc = element(&vpcs, "vpcId");
    let subnets = cloud.ok("ec2", "DescribeSubnets", &[]).await;
    let subnet = ("SubnetId", element(&subnets, "subnetId"));
    let interface = cloud.ok("ec2", "CreateNetworkInterface", &[subnet]).await;
    let private = element(&interface, "privateIpAddress");
    let address = async || {
        let made = cloud.ok("ec2", "AllocateAddress", &[]).await;
        ["allocationId", "publicIp"].map(|name| element(&made, name).to_owned())
    };
    let [own, public] = address().await;
    let door =
        |endpoint| Inside { region: "us-east-1".to_owned(), vpc_id: vpc.to_owned(), endpoint };
    let inside = door(None);
    let seen = |service: &str| {
        let source = inside.source(&cloud.cx.env, private.parse().unwrap(), service, true);
        let endpoint = source.endpoint.map(|endpoint| endpoint.id.clone());
        (source.ip.unwrap().to_string(), endpoint)
    };
    // It has no public address: the gateway is no way for it.
    assert_eq!(seen("sts"), (private.to_owned(), None));
    let interface = ("NetworkInterfaceId", element(&interface, "networkInterfaceId"));
    cloud.ok("ec2", "AssociateAddress", &[interface, ("AllocationId", &own)]).await;
    assert_eq!(seen("sts"), (public.clone(), None));
    let tables = cloud.ok("ec2", "DescribeRouteTables", &[]).await;
    let table = element(&tables, "routeTableId");
    let service = ("ServiceName", "com.amazonaws.us-east-1.s3");
    let new = [("VpcId", vpc), service, ("RouteTableId.1", table)];
    let made = cloud.ok("ec2", "CreateVpcEndpoint", &new).await;
    let endpoint = element(&made, "vpcEndpointId").to_owned();
    assert_eq!(seen("s3"), (private.to_owned(), Some(endpoint)));
    assert_eq!(seen("sts"), (public, None));
    // By an interface endpoint, whatever the routes say.
    let service = ("ServiceName", "com.amazonaws.us-east-1.sts");
    let new = [("VpcId", vpc), service, ("VpcEndpointType", "Interface"), ("SubnetId.1", subnet.1)];
    let made = cloud.ok("ec2", "CreateVpcEndpoint", &new).await;
    let endpoint = element(&made, "vpcEndpointId").to_owned();
    let filter = [("Filter.1.Name", "interface-type"), ("Filter.1.Value.1", "vpc_endpoint")];
    let interfaces = cloud.ok("ec2", "DescribeNetworkInterfaces", &filter).await;
    let at = element(&interfaces, "privateIpAddress").parse().unwrap();
    let from = private.parse().unwrap();
    let source = door(Some(at)).source(&cloud.cx.env, from, "sts", true);
    let by = source.endpoint.map(|found| found.id.clone());
    assert_eq!((source.ip, by), (Some(from), Some(endpoint)));
    // By a NAT gateway, once it translates.
    let [allocation, nat_address] = address().await;
    let made = cloud.ok("ec2", "CreateNatGateway", &[subnet, ("AllocationId", &allocation)]).await;
    NatGateways.reconcile(&cloud.cx.env).await.unwrap();
    let route = [
        ("RouteTableId", table),
        ("DestinationCidrBlock", "0.0.0.0/0"),
        ("NatGatewayId", element(&made, "natGatewayId")),
    ];
    cloud.ok("ec2", "ReplaceRoute", &route).await;
    assert_eq!(seen("sts"), (nat_address, None));
}
