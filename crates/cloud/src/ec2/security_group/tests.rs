//! Groups and rules over an ephemeral store.

use std::sync::Arc;

use super::model::{Direction, SecurityGroup};
use super::permission::{Described, GroupPair, Permission, PrefixListRef};
use super::{describe, ops};
use crate::Context;
use crate::ec2::listing::Listing;
use crate::ec2::{Error, tag, vpc};
use crate::filter::Filter;
use crate::tag::Tags;
use crate::testing;

fn tcp(port: i32, cidr: &str) -> Permission {
    Permission {
        protocol: Some("tcp".to_owned()),
        from_port: Some(port),
        to_port: Some(port),
        ipv4: vec![Described { cidr: cidr.to_owned(), description: None }],
        ..Permission::default()
    }
}

async fn made(cx: &Context, name: &str) -> Arc<SecurityGroup> {
    cx.write(|tx| ops::create(tx, cx, name, "of a test", None, &Tags::new())).await.unwrap()
}

async fn authorize(
    cx: &Context,
    id: &str,
    permission: Permission,
) -> Result<Vec<super::Rule>, Error> {
    let permissions = [permission];
    cx.write(|tx| {
        let group = ops::group(tx, cx, id)?;
        ops::authorize(tx, cx, &group, Direction::Ingress, &permissions, &Tags::new())
    })
    .await
}

#[tokio::test]
async fn the_default_group_is_there_and_keeps_its_changes() {
    let cx = testing::context();
    let id = ops::default_id(&cx, &vpc::ops::first_id(&cx));
    let group = ops::by_name(&cx.read(), &cx, "default").unwrap();
    assert_eq!((group.id.as_str(), group.rules.len()), (id.as_str(), 2));
    let ingress = group.rules_of(Direction::Ingress).next().unwrap().id.clone();
    let ids = [ingress];
    let revoked = cx
        .write(|tx| {
            let group = ops::group(tx, &cx, &id)?;
            ops::revoke_ids(tx, &cx, &group, Direction::Ingress, &ids)
        })
        .await
        .unwrap();
    assert_eq!(revoked.rules.len(), 1);
    let group = ops::group(&cx.read(), &cx, &id).unwrap();
    assert_eq!(group.rules_of(Direction::Ingress).count(), 0);
    assert_eq!(ops::groups(&cx.read(), &cx).len(), 1);
    let error = cx.write(|tx| ops::delete(tx, &cx, &group)).await.unwrap_err();
    assert_eq!(error.code(), "CannotDelete");
}

#[tokio::test]
async fn names_and_descriptions_are_checked() {
    let cx = testing::context();
    made(&cx, "web").await;
    for (name, description, code) in [
        ("web", "x", "InvalidGroup.Duplicate"),
        ("default", "x", "InvalidGroup.Reserved"),
        ("sg-web", "x", "InvalidParameterValue"),
        ("wéb", "x", "InvalidParameterValue"),
        ("db", "über", "InvalidParameterValue"),
        ("db", "", "MissingParameter"),
    ] {
        let error =
            cx.write(|tx| ops::create(tx, &cx, name, description, None, &Tags::new())).await;
        assert_eq!(error.unwrap_err().code(), code, "{name} {description}");
    }
}

#[tokio::test]
async fn rules_come_once_and_go() {
    let cx = testing::context();
    let id = made(&cx, "web").await.id.clone();
    let rules = authorize(&cx, &id, tcp(80, "10.1.2.3/8")).await.unwrap();
    let again = authorize(&cx, &id, tcp(80, "10.0.0.0/8")).await.unwrap_err();
    assert_eq!(again.code(), "InvalidPermission.Duplicate");
    assert_eq!(
        again.to_string(),
        "the specified rule \"peer: 10.0.0.0/8, TCP, from port: 80, to port: 80, ALLOW\" already exists"
    );
    let permissions = [tcp(80, "10.0.0.0/8"), tcp(81, "10.0.0.0/8")];
    let revoked = cx
        .write(|tx| {
            let group = ops::group(tx, &cx, &id)?;
            ops::revoke(tx, &cx, &group, Direction::Ingress, &permissions)
        })
        .await
        .unwrap();
    assert_eq!((revoked.rules, revoked.unknown.len()), (rules, 1));
    let unknown = ["sgr-0123456789abcdef0".to_owned()];
    let error = cx
        .write(|tx| {
            let group = ops::group(tx, &cx, &id)?;
            ops::revoke_ids(tx, &cx, &group, Direction::Ingress, &unknown)
        })
        .await;
    assert_eq!(error.unwrap_err().code(), "InvalidSecurityGroupRuleId.NotFound");
}

#[tokio::test]
async fn permissions_are_checked() {
    let cx = testing::context();
    let id = made(&cx, "web").await.id.clone();
    let no_peer = Permission { ipv4: vec![], ..tcp(80, "") };
    let unknown = PrefixListRef { id: "pl-12345678".into(), description: None };
    let list = Permission { prefix_lists: vec![unknown], ..tcp(80, "10.0.0.0/8") };
    let group = |group: &str| Permission {
        ipv4: vec![],
        groups: vec![GroupPair { id: Some(group.to_owned()), ..GroupPair::default() }],
        ..tcp(80, "")
    };
    let described = Described { cidr: "10.0.0.0/8".into(), description: Some("ü".into()) };
    for (permission, code) in [
        (no_peer, "MissingParameter"),
        (list, "InvalidPrefixListID.NotFound"),
        (group("sg-0123456789abcdef0"), "InvalidGroup.NotFound"),
        (group("web"), "InvalidGroupId.Malformed"),
        (tcp(80, "10.0.0.0"), "InvalidParameterValue"),
        (Permission { ipv4: vec![described], ..tcp(80, "") }, "InvalidParameterValue"),
    ] {
        let error = authorize(&cx, &id, permission.clone()).await.unwrap_err();
        assert_eq!(error.code(), code, "{permission:?}");
    }
    let twice = Permission {
        ipv4: vec![tcp(1, "10.0.0.0/8").ipv4.remove(0), tcp(1, "10.0.0.1/8").ipv4.remove(0)],
        ..tcp(80, "")
    };
    assert_eq!(authorize(&cx, &id, twice).await.unwrap_err().code(), "InvalidParameterValue");
    let many = |n: usize| Permission {
        ipv4: (0..n)
            .map(|n| Described { cidr: format!("10.0.{n}.0/24"), description: None })
            .collect(),
        ..tcp(80, "")
    };
    let error = authorize(&cx, &id, many(61)).await.unwrap_err();
    assert_eq!(error.code(), "RulesPerSecurityGroupLimitExceeded");
    authorize(&cx, &id, many(60)).await.unwrap();
}

#[tokio::test]
async fn a_group_that_is_referred_to_stays() {
    let cx = testing::context();
    let (web, db) = (made(&cx, "web").await, made(&cx, "db").await);
    let from_web = Permission {
        ipv4: vec![],
        groups: vec![GroupPair { name: Some("web".to_owned()), ..GroupPair::default() }],
        ..tcp(5432, "")
    };
    authorize(&cx, &db.id, from_web).await.unwrap();
    let delete = |id: String| {
        let cx = cx.clone();
        async move {
            cx.write(|tx| {
                let group = ops::group(tx, &cx, &id)?;
                ops::delete(tx, &cx, &group)
            })
            .await
        }
    };
    let error = delete(web.id.clone()).await.unwrap_err();
    assert_eq!(error.code(), "DependencyViolation");
    delete(db.id.clone()).await.unwrap();
    delete(web.id.clone()).await.unwrap();
    let gone = ops::group(&cx.read(), &cx, &web.id).unwrap_err();
    assert_eq!(gone.code(), "InvalidGroup.NotFound");
}

#[tokio::test]
async fn rules_are_modified_in_place() {
    let cx = testing::context();
    let id = made(&cx, "web").await.id.clone();
    let first = authorize(&cx, &id, tcp(80, "10.0.0.0/8")).await.unwrap().remove(0);
    authorize(&cx, &id, tcp(443, "10.0.0.0/8")).await.unwrap();
    let modify = |permission: Permission| {
        let (cx, id, rule) = (cx.clone(), id.clone(), first.id.clone());
        async move {
            let changes = [(rule, permission)];
            cx.write(|tx| {
                let group = ops::group(tx, &cx, &id)?;
                ops::modify_rules(tx, &cx, &group, &changes)
            })
            .await
        }
    };
    modify(tcp(8080, "10.0.0.0/8")).await.unwrap();
    modify(tcp(8080, "10.0.0.0/8")).await.unwrap();
    let error = modify(tcp(443, "10.0.0.0/8")).await.unwrap_err();
    assert_eq!(error.code(), "InvalidPermission.Duplicate");
    let described = [(first.id.clone(), Some("the app".to_owned()))];
    cx.write(|tx| {
        let group = ops::group(tx, &cx, &id)?;
        ops::describe_rule_ids(tx, &group, Direction::Ingress, &described)
    })
    .await
    .unwrap();
    let ids = [first.id.clone()];
    let (found, _) = describe::rules(&cx.read(), &cx, &ids, &Listing::default()).unwrap();
    assert_eq!(found[0].1.traffic.ports, Some((8080, 8080)));
    assert_eq!(found[0].1.description.as_deref(), Some("the app"));
}

#[tokio::test]
async fn describing() {
    let cx = testing::context();
    let web = made(&cx, "web").await;
    authorize(&cx, &web.id, tcp(80, "10.0.0.0/8")).await.unwrap();
    let tags = Tags::from([("team".to_owned(), "a".to_owned())]);
    cx.write(|tx| tag::ops::create_tags(tx, &cx, std::slice::from_ref(&web.id), &tags))
        .await
        .unwrap();
    for (name, value, count) in [
        ("group-name", "*", 2),
        ("ip-permission.cidr", "10.0.0.0/8", 1),
        ("ip-permission.from-port", "80", 1),
        ("ip-permission.group-name", "default", 1),
        ("egress.ip-permission.cidr", "0.0.0.0/0", 2),
        ("tag:team", "a", 1),
        ("vpc-id", web.vpc_id.as_str(), 2),
    ] {
        let values = vec![value.to_owned()];
        let listing = Listing::filtered(vec![Filter { name: name.to_owned(), values }]);
        let (found, _) = describe::groups(&cx.read(), &cx, &[], &[], &listing).unwrap();
        assert_eq!(found.len(), count, "{name}");
    }
    let values = vec![web.id.clone()];
    let listing = Listing::filtered(vec![Filter { name: "group-id".to_owned(), values }]);
    let (rules, _) = describe::rules(&cx.read(), &cx, &[], &listing).unwrap();
    assert_eq!(rules.len(), 2);
}

#[test]
fn an_interface_has_the_default_group_unless_told() {
    let cx = testing::context();
    let vpc = vpc::ops::first_id(&cx);
    let found = ops::for_interface(&cx.read(), &cx, &vpc, &[], &[]).unwrap();
    assert_eq!(found, [ops::default_id(&cx, &vpc)]);
    let named = ["web".to_owned()];
    let error = ops::for_interface(&cx.read(), &cx, &vpc, &[], &named).unwrap_err();
    assert_eq!(error.code(), "InvalidGroup.NotFound");
}
