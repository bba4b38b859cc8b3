//! DHCP options through their operations.

use super::ops;
use crate::ec2::vpc;
use crate::testing::{self, ok, refused, text};

#[tokio::test]
async fn options_are_checked() {
    let cx = testing::context();
    for (key, value, code) in [
        ("domain-name", "corp.example", None),
        ("domain-name", "a b", Some("InvalidParameterValue")),
        ("domain-name-servers", "AmazonProvidedDNS", None),
        ("domain-name-servers", "10.0.0.5", None),
        ("domain-name-servers", "resolver.example", Some("InvalidParameterValue")),
        ("ntp-servers", "10.0.0.5", Some("UnsupportedOperation")),
        ("netbios-node-type", "2", Some("UnsupportedOperation")),
        ("odd", "1", Some("InvalidParameterValue")),
    ] {
        let members = format!("DhcpConfiguration.1.Key={key}&DhcpConfiguration.1.Value.1={value}");
        match code {
            None => drop(ok(&cx, "CreateDhcpOptions", &members).await),
            Some(code) => {
                assert_eq!(refused(&cx, "CreateDhcpOptions", &members).await, code, "{key} {value}")
            }
        }
    }
}

#[tokio::test]
async fn instances_ask_the_servers_of_their_vpc() {
    let cx = testing::context();
    let vpc_id = vpc::ops::first_id(&cx);
    let servers = || {
        let vpc = vpc::ops::vpc(&cx.read(), &cx, &vpc_id).unwrap();
        ops::name_servers(&cx.read(), &cx, &vpc).iter().map(|ip| ip.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(servers(), ["172.31.0.2"]);
    let members = "DhcpConfiguration.1.Key=domain-name-servers\
                   &DhcpConfiguration.1.Value.1=172.31.0.53\
                   &DhcpConfiguration.1.Value.2=AmazonProvidedDNS";
    let id = text(&ok(&cx, "CreateDhcpOptions", members).await, "dhcpOptionsId");
    ok(&cx, "AssociateDhcpOptions", &format!("DhcpOptionsId={id}&VpcId={vpc_id}")).await;
    assert_eq!(servers(), ["172.31.0.53", "172.31.0.2"]);
}

#[tokio::test]
async fn a_vpc_has_one_set_or_none() {
    let cx = testing::context();
    let members = "DhcpConfiguration.1.Key=domain-name&DhcpConfiguration.1.Value.1=corp.example\
                   &TagSpecification.1.ResourceType=dhcp-options\
                   &TagSpecification.1.Tag.1.Key=Name&TagSpecification.1.Tag.1.Value=corp";
    let id = text(&ok(&cx, "CreateDhcpOptions", members).await, "dhcpOptionsId");
    let vpc_id = vpc::ops::first_id(&cx);
    let domain = || {
        let vpc = vpc::ops::vpc(&cx.read(), &cx, &vpc_id).unwrap();
        ops::domain_name(&cx.read(), &cx, &vpc)
    };
    assert_eq!(domain().as_deref(), Some("ec2.internal"));
    let associate = |id: &str| format!("DhcpOptionsId={id}&VpcId={vpc_id}");
    ok(&cx, "AssociateDhcpOptions", &associate(&id)).await;
    assert_eq!(domain().as_deref(), Some("corp.example"));
    let delete = format!("DhcpOptionsId={id}");
    assert_eq!(refused(&cx, "DeleteDhcpOptions", &delete).await, "DependencyViolation");
    ok(&cx, "AssociateDhcpOptions", &associate("default")).await;
    assert_eq!(domain(), None);
    let filter = "Filter.1.Name=value&Filter.1.Value.1=corp.*";
    assert_eq!(text(&ok(&cx, "DescribeDhcpOptions", filter).await, "dhcpOptionsId"), id);
    ok(&cx, "DeleteDhcpOptions", &delete).await;
    let gone = refused(&cx, "AssociateDhcpOptions", &associate(&id)).await;
    assert_eq!(gone, "InvalidDhcpOptionID.NotFound");
    ok(&cx, "AssociateDhcpOptions", &associate(&ops::first_id(&cx))).await;
}
