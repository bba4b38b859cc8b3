//! Internet gateways through their operations.

use super::ops;
use crate::ec2::vpc;
use crate::testing::{self, ok, refused, text};

#[tokio::test]
async fn a_vpc_has_one_gateway_and_a_gateway_one_vpc() {
    let cx = testing::context();
    let vpc = text(&ok(&cx, "CreateVpc", "CidrBlock=10.0.0.0/16").await, "vpcId");
    let tags = "TagSpecification.1.ResourceType=internet-gateway\
                &TagSpecification.1.Tag.1.Key=Name&TagSpecification.1.Tag.1.Value=out";
    let body = ok(&cx, "CreateInternetGateway", tags).await;
    let (id, name) = (text(&body, "internetGatewayId"), text(&body, "value"));
    assert_eq!(name, "out");
    let of = |vpc: &str| format!("InternetGatewayId={id}&VpcId={vpc}");
    let attach = |vpc: &str| of(vpc);
    let detached = refused(&cx, "DetachInternetGateway", &of(&vpc)).await;
    assert_eq!(detached, "Gateway.NotAttached");
    let default = vpc::ops::first_id(&cx);
    let taken = refused(&cx, "AttachInternetGateway", &attach(&default)).await;
    assert_eq!(taken, "InvalidParameterValue");
    ok(&cx, "AttachInternetGateway", &attach(&vpc)).await;
    let twice = refused(&cx, "AttachInternetGateway", &attach(&vpc)).await;
    assert_eq!(twice, "Resource.AlreadyAssociated");
    let filter = format!("Filter.1.Name=attachment.vpc-id&Filter.1.Value.1={vpc}");
    let body = ok(&cx, "DescribeInternetGateways", &filter).await;
    assert_eq!(
        (text(&body, "internetGatewayId"), text(&body, "state")),
        (id.clone(), "available".to_owned())
    );
    let delete = format!("InternetGatewayId={id}");
    let in_use = refused(&cx, "DeleteInternetGateway", &delete).await;
    assert_eq!(in_use, "DependencyViolation");
    ok(&cx, "DetachInternetGateway", &of(&vpc)).await;
    assert_eq!(ops::of_vpc(&cx.read(), &cx, &vpc), None);
    ok(&cx, "DeleteInternetGateway", &delete).await;
    let gone = refused(&cx, "DeleteInternetGateway", &delete).await;
    assert_eq!(gone, "InvalidInternetGatewayID.NotFound");
}
