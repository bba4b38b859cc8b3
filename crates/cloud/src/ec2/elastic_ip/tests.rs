//! Elastic and lent addresses, from the pool and back.

use std::net::Ipv4Addr;

use super::model::PublicAddress;
use super::ops::{self, Target};
use crate::Context;
use crate::ec2::instance::launch::{Interface, Launch};
use crate::ec2::instance::model::Instance;
use crate::ec2::instance::state::Event;
use crate::ec2::network_interface::attribute::{self, Change};
use crate::ec2::network_interface::{self, NetworkInterface};
use crate::ec2::{Error, image, instance};
use crate::tag::Tags;
use crate::testing::{self, ok, refused, text};

async fn allocate(cx: &Context) -> Result<PublicAddress, Error> {
    cx.write(|tx| ops::allocate(tx, cx, &Tags::new())).await
}

async fn run(cx: &Context, public: bool) -> Instance {
    let interface = Interface { associate_public_ip_address: Some(public), ..Interface::default() };
    let launch = Launch {
        image_id: Some(image::ops::built_in_id()),
        instance_type: Some("t3.micro".into()),
        min_count: 1,
        max_count: 1,
        interfaces: vec![interface],
        ..Launch::default()
    };
    let made = cx.write(|tx| instance::ops::run(tx, cx, &launch)).await.unwrap();
    let instance = made.instances[0].clone();
    see(cx, &instance.id, Event::Up { boot: 1 }).await;
    instance
}

async fn see(cx: &Context, id: &str, event: Event) {
    cx.write(|tx| {
        instance::ops::observe(tx, cx, id, event);
        Ok::<_, Error>(())
    })
    .await
    .unwrap();
}

fn interface(cx: &Context, instance: &Instance) -> NetworkInterface {
    let found = network_interface::ops::primary_of(&cx.read(), cx, instance).unwrap();
    (*found).clone()
}

fn public_of(cx: &Context, instance: &Instance) -> Option<Ipv4Addr> {
    interface(cx, instance).public.get(&instance.private_ip).copied()
}

fn in_use(cx: &Context) -> Vec<Ipv4Addr> {
    cx.read().scan::<PublicAddress>("").map(|a| a.address).collect()
}

async fn associate(
    cx: &Context,
    address: &PublicAddress,
    instance: &Instance,
    reassociate: bool,
) -> Result<String, Error> {
    let target = Target { instance_id: Some(instance.id.clone()), ..Target::default() };
    let id = address.allocation_id.clone().unwrap();
    cx.write(|tx| {
        let address = ops::by_allocation(tx, cx, &id)?;
        ops::associate(tx, cx, &address, &target, reassociate).map(|association| association.id)
    })
    .await
}

#[tokio::test]
async fn an_account_has_five_of_the_pool() {
    let cx = testing::context();
    let pool = cx.env.config.public_pool;
    let mut all = Vec::new();
    for _ in 0..5 {
        all.push(allocate(&cx).await.unwrap());
    }
    assert!(all.iter().all(|a| pool.contains(a.address) && a.address.octets()[2] != 31));
    assert_eq!(in_use(&cx).len(), 5);
    assert_eq!(allocate(&cx).await.unwrap_err().code(), "AddressLimitExceeded");
    let elsewhere = Context { region: "eu-west-1".into(), ..cx.clone() };
    let other = allocate(&elsewhere).await.unwrap();
    assert!(all.iter().all(|a| a.address != other.address));
    let foreign = ops::by_allocation(&cx.read(), &cx, other.allocation_id.as_ref().unwrap());
    assert_eq!(foreign.unwrap_err().code(), "InvalidAllocationID.NotFound");
    cx.write(|tx| ops::release(tx, &cx, &all[0])).await.unwrap();
    allocate(&cx).await.unwrap();
}

#[tokio::test]
async fn an_address_stands_for_one_private_one() {
    let cx = testing::context();
    let (a, b) = (run(&cx, false).await, run(&cx, false).await);
    let (one, two) = (allocate(&cx).await.unwrap(), allocate(&cx).await.unwrap());
    let association = associate(&cx, &one, &a, true).await.unwrap();
    assert_eq!(associate(&cx, &one, &a, false).await.unwrap(), association);
    assert_eq!(public_of(&cx, &a), Some(one.address));
    for (address, instance) in [(&one, &b), (&two, &a)] {
        let refused = associate(&cx, address, instance, false).await.unwrap_err();
        assert_eq!(refused.code(), "Resource.AlreadyAssociated");
    }
    let bound = ops::by_address(&cx.read(), one.address).unwrap();
    let refused = cx.write(|tx| ops::release(tx, &cx, &bound)).await.unwrap_err();
    assert_eq!(refused.code(), "InvalidIPAddress.InUse");
    let moved = associate(&cx, &one, &b, true).await.unwrap();
    assert_eq!((public_of(&cx, &a), public_of(&cx, &b)), (None, Some(one.address)));
    associate(&cx, &two, &b, true).await.unwrap();
    assert_eq!(public_of(&cx, &b), Some(two.address));
    let gone = cx.write(|tx| ops::disassociate(tx, &cx, &moved)).await.unwrap_err();
    assert_eq!(gone.code(), "InvalidAssociationID.NotFound");
    let ids = [b.id.clone()];
    cx.write(|tx| instance::ops::terminate(tx, &cx, &ids, false)).await.unwrap();
    see(&cx, &b.id, Event::Gone).await;
    let kept = ops::by_address(&cx.read(), two.address).unwrap();
    assert_eq!((kept.is_elastic(), &kept.association), (true, &None));
}

#[tokio::test]
async fn a_lent_address_lasts_while_the_instance_runs() {
    let cx = testing::context();
    let i = run(&cx, true).await;
    let first = public_of(&cx, &i).unwrap();
    assert!(cx.env.config.public_pool.contains(first));
    assert!(ops::elastic(&cx.read(), &cx).is_empty());
    let ids = [i.id.clone()];
    cx.write(|tx| instance::ops::stop(tx, &cx, &ids, false)).await.unwrap();
    assert_eq!(public_of(&cx, &i), Some(first));
    see(&cx, &i.id, Event::Down).await;
    assert_eq!((public_of(&cx, &i), in_use(&cx)), (None, vec![]));
    cx.write(|tx| instance::ops::start(tx, &cx, &ids)).await.unwrap();
    see(&cx, &i.id, Event::Up { boot: 2 }).await;
    assert_eq!(in_use(&cx), [public_of(&cx, &i).unwrap()]);

    let elastic = allocate(&cx).await.unwrap();
    let association = associate(&cx, &elastic, &i, false).await.unwrap();
    assert_eq!(in_use(&cx), [elastic.address]);
    cx.write(|tx| instance::ops::stop(tx, &cx, &ids, false)).await.unwrap();
    see(&cx, &i.id, Event::Down).await;
    assert_eq!(public_of(&cx, &i), Some(elastic.address));
    cx.write(|tx| ops::disassociate(tx, &cx, &association)).await.unwrap();
    assert_eq!(public_of(&cx, &i), None);
    cx.write(|tx| instance::ops::start(tx, &cx, &ids)).await.unwrap();
    assert_eq!(in_use(&cx).len(), 2);
    for (on, count) in [(false, 1), (true, 2), (true, 2)] {
        let change = Change::AssociatePublicIpAddress(on);
        cx.write(|tx| attribute::modify(tx, &cx, &i.interface_id, &change)).await.unwrap();
        assert_eq!(in_use(&cx).len(), count, "{on}");
    }
    cx.write(|tx| instance::ops::terminate(tx, &cx, &ids, false)).await.unwrap();
    see(&cx, &i.id, Event::Gone).await;
    assert_eq!(in_use(&cx), [elastic.address]);
}

#[tokio::test]
async fn as_clients_see_them() {
    let cx = testing::context();
    let i = run(&cx, true).await;
    let shown = ok(&cx, "DescribeInstances", &format!("InstanceId.1={}", i.id)).await;
    let lent = text(&shown, "ipAddress");
    let name = format!("ec2-{}.compute-1.amazonaws.com", lent.replace('.', "-"));
    assert_eq!(text(&shown, "dnsName"), name);
    assert_eq!(text(&shown, "ipOwnerId"), "amazon");
    let made = ok(&cx, "AllocateAddress", "Domain=vpc").await;
    let (id, public) = (text(&made, "allocationId"), text(&made, "publicIp"));
    assert_eq!(refused(&cx, "AllocateAddress", "Domain=standard").await, "UnsupportedOperation");
    let to_instance = format!("AllocationId={id}&InstanceId={}", i.id);
    let dry = format!("{to_instance}&DryRun=true");
    assert_eq!(refused(&cx, "AssociateAddress", &dry).await, "DryRunOperation");
    let association = text(&ok(&cx, "AssociateAddress", &to_instance).await, "associationId");
    let by_instance = format!("Filter.1.Name=instance-id&Filter.1.Value.1={}", i.id);
    let found = ok(&cx, "DescribeAddresses", &by_instance).await;
    assert_eq!(text(&found, "publicIp"), public);
    assert_eq!(text(&found, "privateIpAddress"), i.private_ip.to_string());
    let by_ip = format!("Filter.1.Name=ip-address&Filter.1.Value.1={public}");
    let found = ok(&cx, "DescribeInstances", &by_ip).await;
    assert_eq!(text(&found, "instanceId"), i.id);
    let release = format!("AllocationId={id}");
    assert_eq!(refused(&cx, "ReleaseAddress", &release).await, "InvalidIPAddress.InUse");
    ok(&cx, "DisassociateAddress", &format!("AssociationId={association}")).await;
    ok(&cx, "ReleaseAddress", &release).await;
    let gone = refused(&cx, "DescribeAddresses", &format!("AllocationId.1={id}")).await;
    assert_eq!(gone, "InvalidAllocationID.NotFound");
    let apart = ok(&cx, "CreateVpc", "CidrBlock=10.0.0.0/16").await;
    let subnet = format!("VpcId={}&CidrBlock=10.0.0.0/24", text(&apart, "vpcId"));
    let subnet = text(&ok(&cx, "CreateSubnet", &subnet).await, "subnetId");
    let interface = ok(&cx, "CreateNetworkInterface", &format!("SubnetId={subnet}")).await;
    let made = ok(&cx, "AllocateAddress", "").await;
    let (id, interface) = (text(&made, "allocationId"), text(&interface, "networkInterfaceId"));
    let unreachable = format!("AllocationId={id}&NetworkInterfaceId={interface}");
    assert_eq!(refused(&cx, "AssociateAddress", &unreachable).await, "Gateway.NotAttached");
    let attributes = ok(&cx, "DescribeAccountAttributes", "").await;
    assert!(attributes.contains("vpc-max-elastic-ips"), "{attributes}");
}
