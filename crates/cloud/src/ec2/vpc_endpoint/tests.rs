//! Gateway endpoints and their routes.

use super::ops::{self, New};
use crate::Context;
use crate::ec2::{Error, route_table, vpc};
use crate::tag::Tags;
use crate::testing::{self, ok, refused, text};

async fn create(cx: &Context, service_name: &str, tables: &[String]) -> Result<String, Error> {
    cx.write(|tx| {
        let vpc = vpc::ops::default_vpc(tx, cx)?;
        let new = New {
            vpc_id: &vpc.id,
            service_name,
            route_tables: tables,
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
    for unknown in ["com.amazonaws.us-east-1.sqs", "com.amazonaws.eu-west-1.s3", "s3"] {
        assert_eq!(create(&cx, unknown, &[]).await.unwrap_err().code(), "InvalidServiceName");
    }
    cx.write(|tx| ops::modify(tx, &cx, &id, &[], &tables)).await.unwrap();
    assert_eq!(routes(), 1);
    cx.write(|tx| ops::modify(tx, &cx, &id, &tables, &[])).await.unwrap();
    let endpoint = ops::by_id(&cx.read(), &cx, &id).unwrap();
    assert_eq!(ops::route_tables(&cx.read(), &cx, &endpoint), tables);
    cx.write(|tx| ops::delete(tx, &cx, &id)).await.unwrap();
    assert_eq!(routes(), 1);
    let gone = cx.write(|tx| ops::delete(tx, &cx, &id)).await.unwrap_err();
    assert_eq!(gone.code(), "InvalidVpcEndpointId.NotFound");
}

#[test]
fn only_full_access_is_a_policy() {
    let full = ops::full_access().to_string();
    for (policy, code) in [
        (full.as_str(), None),
        (
            r#"{"Statement": {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": ["*"],
                "Resource": "*"}}"#,
            None,
        ),
        (
            r#"{"Statement": {"Effect": "Allow", "Principal": "*", "Action": "s3:*",
                "Resource": "*"}}"#,
            Some("UnsupportedOperation"),
        ),
        (
            r#"{"Statement": {"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*",
                "Condition": {"Bool": {"aws:SecureTransport": "true"}}}}"#,
            Some("UnsupportedOperation"),
        ),
        (r#"{"Statement": []}"#, Some("UnsupportedOperation")),
        ("{", Some("InvalidParameterValue")),
    ] {
        let got = ops::check_policy(policy).err().map(|error| error.code());
        assert_eq!(got.as_deref(), code, "{policy}");
    }
}

#[tokio::test]
async fn as_clients_see_them() {
    let cx = testing::context();
    let vpc = vpc::ops::first_id(&cx);
    let main = route_table::ops::main_of(&cx.read(), &cx, &vpc).unwrap().id.clone();
    let create =
        format!("VpcId={vpc}&ServiceName=com.amazonaws.us-east-1.s3&RouteTableId.1={main}");
    let interface = format!("{create}&VpcEndpointType=Interface");
    assert_eq!(refused(&cx, "CreateVpcEndpoint", &interface).await, "UnsupportedOperation");
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
