//! Interfaces made, launched with, changed and left behind.

use std::net::Ipv4Addr;

use super::attribute::{self, Asked, Change};
use super::model::{NetworkInterface, Progress};
use super::ops::{self, New};
use crate::Context;
use crate::ec2::instance::launch::{Interface, Launch};
use crate::ec2::instance::model::Instance;
use crate::ec2::instance::state::Event;
use crate::ec2::{Error, image, instance, security_group, vpc};
use crate::tag::Tags;
use crate::testing::{self, ok, refused, text};

fn subnet(cx: &Context, n: usize) -> String {
    vpc::ops::subnets(&cx.read(), cx)[n].id.clone()
}

async fn create(cx: &Context, new: New) -> Result<NetworkInterface, Error> {
    cx.write(|tx| {
        let mut new = new.clone();
        ops::check_new(tx, cx, &mut new)?;
        ops::create(tx, cx, &new, None, None)
    })
    .await
}

async fn made(cx: &Context) -> NetworkInterface {
    create(cx, New::in_subnet(&subnet(cx, 0), vec![])).await.unwrap()
}

async fn run(cx: &Context, interfaces: Vec<Interface>) -> Result<Instance, Error> {
    let launch = Launch {
        image_id: Some(image::ops::built_in_id()),
        instance_type: Some("t3.micro".into()),
        min_count: 1,
        max_count: 1,
        interfaces,
        ..Launch::default()
    };
    let mut made = cx.write(|tx| instance::ops::run(tx, cx, &launch)).await?;
    Ok(made.instances.remove(0))
}

async fn see(cx: &Context, id: &str, events: &[Event]) {
    cx.write(|tx| {
        events.iter().for_each(|event| instance::ops::observe(tx, cx, id, *event));
        Ok::<_, Error>(())
    })
    .await
    .unwrap();
}

async fn running(cx: &Context) -> Instance {
    let instance = run(cx, vec![]).await.unwrap();
    see(cx, &instance.id, &[Event::Up { boot: 1 }]).await;
    instance
}

async fn end(cx: &Context, id: &str) {
    let ids = [id.to_owned()];
    cx.write(|tx| instance::ops::terminate(tx, cx, &ids, false)).await.unwrap();
    see(cx, id, &[Event::Gone]).await;
}

fn present(cx: &Context, id: &str) -> Option<NetworkInterface> {
    cx.read().get::<NetworkInterface>(&cx.key(id)).map(|i| (*i).clone())
}

fn held(cx: &Context) -> usize {
    let subnets = vpc::ops::subnets(&cx.read(), cx);
    subnets.iter().map(|s| vpc::ops::addresses(&cx.read(), cx, &s.id).len()).sum()
}

#[tokio::test]
async fn made_and_deleted() {
    let cx = testing::context();
    let address = Ipv4Addr::new(172, 31, 0, 100);
    let new = New {
        address: Some(address),
        secondary: vec![Ipv4Addr::new(172, 31, 0, 101)],
        ..New::in_subnet(&subnet(&cx, 0), vec![])
    };
    let first = create(&cx, new.clone()).await.unwrap();
    assert_eq!((first.primary(), first.addresses.len()), (address, 2));
    assert_eq!(first.groups, [security_group::ops::default_id(&cx, &first.vpc_id)]);
    assert_eq!(create(&cx, new).await.unwrap_err().code(), "InvalidIPAddress.InUse");
    cx.write(|tx| ops::delete(tx, &cx, &first.id)).await.unwrap();
    assert_eq!(held(&cx), 0);
    let gone = cx.write(|tx| ops::delete(tx, &cx, &first.id)).await.unwrap_err();
    assert_eq!(gone.code(), "InvalidNetworkInterfaceID.NotFound");
    let both = New {
        secondary: vec![address],
        secondary_count: 1,
        ..New::in_subnet(&subnet(&cx, 0), vec![])
    };
    assert_eq!(create(&cx, both).await.unwrap_err().code(), "InvalidParameterCombination");
}

#[tokio::test]
async fn an_instance_takes_its_interfaces_along_or_leaves_them() {
    let cx = testing::context();
    let own = made(&cx).await;
    let existing = |index| Interface {
        device_index: index,
        network_interface_id: Some(own.id.clone()),
        ..Interface::default()
    };
    let new = |index| Interface {
        device_index: index,
        secondary_count: 1,
        subnet_id: Some(own.subnet_id.clone()),
        ..Interface::default()
    };
    let instance = run(&cx, vec![new(1), existing(0)]).await.unwrap();
    assert_eq!((&instance.interface_id, instance.private_ip), (&own.id, own.primary()));
    let all = ops::of_instance(&cx.read(), &cx, &instance);
    let indexes: Vec<u32> =
        all.iter().map(|i| i.attachment.as_ref().unwrap().device_index).collect();
    assert_eq!((indexes, all[1].addresses.len()), (vec![0, 1], 2));
    for (interfaces, code) in [
        (vec![existing(0)], "InvalidNetworkInterface.InUse"),
        (vec![new(0), new(1), new(2)], "AttachmentLimitExceeded"),
        (vec![Interface { secondary_count: 2, ..new(0) }], "PrivateIpAddressLimitExceeded"),
        (vec![new(1)], "InvalidParameterValue"),
        (vec![new(0), new(0)], "InvalidParameterValue"),
        (
            vec![new(0), Interface { subnet_id: Some(subnet(&cx, 1)), ..new(1) }],
            "InvalidParameterCombination",
        ),
        (
            vec![Interface { description: Some("x".into()), ..existing(0) }],
            "InvalidParameterCombination",
        ),
    ] {
        let refused = run(&cx, interfaces.clone()).await.unwrap_err();
        assert_eq!(refused.code(), code, "{interfaces:?}");
    }
    let used = cx.write(|tx| ops::delete(tx, &cx, &own.id)).await.unwrap_err();
    assert_eq!(used.code(), "InvalidParameterValue");
    end(&cx, &instance.id).await;
    assert_eq!(present(&cx, &own.id), Some(own));
    assert_eq!((present(&cx, &all[1].id), held(&cx)), (None, 1));
}

#[tokio::test]
async fn attached_to_what_runs_and_detached() {
    let cx = testing::context();
    let instance = running(&cx).await;
    let beside = || New::in_subnet(&instance.subnet_id, vec![]);
    let own = create(&cx, beside()).await.unwrap();
    let attach =
        async |id: &str, index| cx.write(|tx| ops::attach(tx, &cx, id, &instance.id, index)).await;
    assert_eq!(attach(&own.id, 0).await.unwrap_err().code(), "InvalidParameterValue");
    let attachment = attach(&own.id, 1).await.unwrap();
    assert_eq!(attachment.progress, Progress::Attaching);
    let again = attach(&own.id, 2).await.unwrap_err();
    assert_eq!(again.code(), "InvalidNetworkInterface.InUse");
    let third = create(&cx, beside()).await.unwrap();
    let many = attach(&third.id, 2).await.unwrap_err();
    assert_eq!(many.to_string(), "Interface count 3 exceeds the limit for t3.micro");

    let seen = present(&cx, &own.id).unwrap();
    let settle = async |seen: &NetworkInterface| {
        cx.write(|tx| {
            ops::settle(tx, &cx, seen);
            Ok::<_, Error>(())
        })
        .await
        .unwrap();
    };
    settle(&seen).await;
    let attached = present(&cx, &own.id).unwrap();
    assert!(!attached.is_unsettled());
    // An older sighting says nothing.
    settle(&seen).await;
    assert_eq!(present(&cx, &own.id), Some(attached));

    let detach = async |id: &str| cx.write(|tx| ops::detach(tx, &cx, id)).await;
    let primary = ops::primary_of(&cx.read(), &cx, &instance).unwrap();
    let refused = detach(&primary.attachment.clone().unwrap().id).await.unwrap_err();
    assert_eq!(refused.code(), "OperationNotPermitted");
    detach(&attachment.id).await.unwrap();
    let leaving = present(&cx, &own.id).unwrap();
    assert_eq!(leaving.attachment.as_ref().unwrap().progress, Progress::Detaching);
    settle(&leaving).await;
    assert_eq!(present(&cx, &own.id), Some(own));
    let now = instance::ops::instance(&cx.read(), &cx, &instance.id).unwrap();
    assert!(now.secondary_interfaces.is_empty());
    let unknown = detach(&attachment.id).await.unwrap_err();
    assert_eq!(unknown.code(), "InvalidAttachmentID.NotFound");
}

#[tokio::test]
async fn secondary_addresses() {
    let cx = testing::context();
    let (one, two) = (made(&cx).await, made(&cx).await);
    let address = Ipv4Addr::new(172, 31, 0, 200);
    let named = Asked::Addresses(vec![address]);
    let assign = async |id: &str, asked: &Asked, reassign| {
        cx.write(|tx| attribute::assign(tx, &cx, id, asked, reassign)).await
    };
    assert_eq!(assign(&one.id, &named, false).await.unwrap(), [address]);
    let held_by_one = assign(&two.id, &named, false).await.unwrap_err();
    assert_eq!(held_by_one.code(), "InvalidIPAddress.InUse");
    assert_eq!(assign(&two.id, &named, true).await.unwrap(), [address]);
    assert_eq!(present(&cx, &one.id).unwrap().addresses, one.addresses);
    let primary = Asked::Addresses(vec![one.primary()]);
    assert_eq!(assign(&two.id, &primary, true).await.unwrap_err().code(), "InvalidIPAddress.InUse");

    let instance = running(&cx).await;
    let on_instance = &instance.interface_id;
    assert_eq!(assign(on_instance, &Asked::Count(1), false).await.unwrap().len(), 1);
    assert!(present(&cx, on_instance).unwrap().is_unsettled());
    let full = assign(on_instance, &Asked::Count(1), false).await.unwrap_err();
    assert_eq!(full.code(), "PrivateIpAddressLimitExceeded");
    let unassign =
        async |id: &str, address| cx.write(|tx| attribute::unassign(tx, &cx, id, &[address])).await;
    assert_eq!(unassign(&two.id, two.primary()).await.unwrap_err().code(), "InvalidParameterValue");
    unassign(&two.id, address).await.unwrap();
    assert!(unassign(&two.id, address).await.is_err());
    assert!(vpc::ops::holder_of(&cx.read(), &cx, &two.subnet_id, address).is_none());
}

#[tokio::test]
async fn groups_are_those_of_the_interface() {
    let cx = testing::context();
    let instance = running(&cx).await;
    let group = cx
        .write(|tx| security_group::ops::create(tx, &cx, "web", "x", None, &Tags::new()))
        .await
        .unwrap();
    let ids = vec![group.id.clone()];
    cx.write(|tx| {
        let change = instance::attribute::Change::Groups(ids.clone());
        instance::attribute::modify(tx, &cx, &instance.id, &change)
    })
    .await
    .unwrap();
    assert_eq!(present(&cx, &instance.interface_id).unwrap().groups, ids);
    let used = cx.write(|tx| security_group::ops::delete(tx, &cx, &group)).await.unwrap_err();
    assert_eq!(used.code(), "DependencyViolation");
    let own = made(&cx).await;
    for (change, code) in [
        (Change::Groups(vec![]), "InvalidParameterValue"),
        (Change::Groups(vec!["sg-12345678".into()]), "InvalidGroup.NotFound"),
        (Change::DeleteOnTermination { attachment_id: None, on: true }, "IncorrectState"),
        (Change::AssociatePublicIpAddress(true), "InvalidParameterCombination"),
    ] {
        let error = cx.write(|tx| attribute::modify(tx, &cx, &own.id, &change)).await.unwrap_err();
        assert_eq!(error.code(), code, "{change:?}");
    }
    end(&cx, &instance.id).await;
    cx.write(|tx| security_group::ops::delete(tx, &cx, &group)).await.unwrap();
}

#[tokio::test]
async fn as_clients_see_them() {
    let cx = testing::context();
    let create = format!(
        "SubnetId={}&Description=mine&PrivateIpAddresses.1.PrivateIpAddress=172.31.0.50\
         &PrivateIpAddresses.1.Primary=true&SecondaryPrivateIpAddressCount=1&ClientToken=once\
         &TagSpecification.1.ResourceType=network-interface&TagSpecification.1.Tag.1.Key=Name\
         &TagSpecification.1.Tag.1.Value=eni",
        subnet(&cx, 0)
    );
    let made = ok(&cx, "CreateNetworkInterface", &create).await;
    let id = text(&made, "networkInterfaceId");
    let again = ok(&cx, "CreateNetworkInterface", &create).await;
    assert_eq!((text(&again, "networkInterfaceId"), held(&cx)), (id.clone(), 2));
    let other = create.replace("mine", "yours");
    let mismatch = refused(&cx, "CreateNetworkInterface", &other).await;
    assert_eq!(mismatch, "IdempotentParameterMismatch");
    for (members, code) in [
        ("Ipv6AddressCount=1", "UnsupportedOperation"),
        ("InterfaceType=efa", "UnsupportedOperation"),
        ("PrivateIpAddress=172.31.0.1", "InvalidParameterValue"),
        ("DryRun=true", "DryRunOperation"),
    ] {
        let asked = format!("SubnetId={}&{members}", subnet(&cx, 0));
        assert_eq!(refused(&cx, "CreateNetworkInterface", &asked).await, code, "{members}");
    }
    assert_eq!(held(&cx), 2);
    for (name, value, count) in [
        ("addresses.private-ip-address", "172.31.0.50", 1),
        ("status", "available", 1),
        ("attachment.instance-id", "*", 0),
        ("group-name", "default", 1),
        ("tag:Name", "e*", 1),
        ("association.public-ip", "*", 0),
    ] {
        let filter = format!("Filter.1.Name={name}&Filter.1.Value.1={value}");
        let found = ok(&cx, "DescribeNetworkInterfaces", &filter).await;
        assert_eq!(found.matches("<networkInterfaceId>").count(), count, "{name}");
    }
    let by_id = format!("NetworkInterfaceId={id}");
    let change = format!("{by_id}&SourceDestCheck.Value=false");
    ok(&cx, "ModifyNetworkInterfaceAttribute", &change).await;
    let shown = |attribute| {
        let members = format!("{by_id}&Attribute={attribute}");
        let cx = &cx;
        async move { ok(cx, "DescribeNetworkInterfaceAttribute", &members).await }
    };
    assert_eq!(text(&text(&shown("sourceDestCheck").await, "sourceDestCheck"), "value"), "false");
    ok(&cx, "ResetNetworkInterfaceAttribute", &format!("{by_id}&SourceDestCheck=")).await;
    assert_eq!(text(&text(&shown("sourceDestCheck").await, "sourceDestCheck"), "value"), "true");
    assert_eq!(text(&text(&shown("description").await, "description"), "value"), "mine");

    let instance = running(&cx).await;
    let attach = format!("{by_id}&InstanceId={}&DeviceIndex=0", instance.id);
    let code = refused(&cx, "AttachNetworkInterface", &attach).await;
    assert!(code.starts_with("InvalidParameter"), "{code}");
    let addresses = format!("{by_id}&PrivateIpAddress.1=172.31.0.60");
    ok(&cx, "AssignPrivateIpAddresses", &addresses).await;
    assert_eq!(present(&cx, &id).unwrap().addresses.len(), 3);
    ok(&cx, "UnassignPrivateIpAddresses", &addresses).await;
    assert_eq!(present(&cx, &id).unwrap().addresses.len(), 2);
    ok(&cx, "DeleteNetworkInterface", &by_id).await;
    assert_eq!(present(&cx, &id), None);
}
