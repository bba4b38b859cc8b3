//! Lists in versions, and who uses them.

use super::model::Entry;
use super::ops::{self, Change, New};
use crate::Context;
use crate::ec2::Error;
use crate::ec2::listing::Listing;
use crate::ec2::security_group::model::Direction;
use crate::ec2::security_group::permission::{Permission, PrefixListRef};
use crate::ec2::security_group::{self, describe};
use crate::filter::Filter;
use crate::tag::Tags;
use crate::testing::{self, ok, refused, text};

fn entry(block: &str) -> Entry {
    Entry { block: block.parse().unwrap(), description: None }
}

fn new(max_entries: i32, blocks: &[&str]) -> New {
    New {
        name: "offices".to_owned(),
        max_entries,
        entries: blocks.iter().map(|block| entry(block)).collect(),
    }
}

async fn create(cx: &Context, new: New) -> Result<String, Error> {
    cx.write(|tx| ops::create(tx, cx, &new, &Tags::new(), None)).await.map(|list| list.id)
}

async fn modify(cx: &Context, id: &str, change: Change) -> Result<i64, Error> {
    cx.write(|tx| ops::modify(tx, cx, id, &change)).await.map(|list| list.version())
}

fn blocks(cx: &Context, id: &str) -> Vec<String> {
    ops::blocks(&cx.read(), cx, id).iter().map(ToString::to_string).collect()
}

/// A group with a rule for the list.
async fn group_with(cx: &Context, id: &str) -> Result<(), Error> {
    let permission = Permission {
        protocol: Some("tcp".to_owned()),
        from_port: Some(443),
        to_port: Some(443),
        prefix_lists: vec![PrefixListRef { id: id.to_owned(), description: None }],
        ..Permission::default()
    };
    cx.write(|tx| {
        let group = match security_group::ops::by_name(tx, cx, "web") {
            Ok(group) => group,
            Err(_) => security_group::ops::create(tx, cx, "web", "x", None, &Tags::new())?,
        };
        let (direction, permissions) = (Direction::Ingress, [permission.clone()]);
        security_group::ops::authorize(tx, cx, &group, direction, &permissions, &Tags::new())?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn every_change_makes_a_version() {
    let cx = testing::context();
    let id = create(&cx, new(2, &["10.0.0.0/8"])).await.unwrap();
    let add = |version, block: &str| Change {
        current_version: version,
        add: vec![entry(block)],
        ..Change::default()
    };
    assert_eq!(modify(&cx, &id, add(Some(1), "192.168.0.0/16")).await.unwrap(), 2);
    for (change, code) in [
        (add(None, "1.0.0.0/8"), "MissingParameter"),
        (add(Some(1), "1.0.0.0/8"), "PrefixListVersionMismatch"),
        (add(Some(2), "1.0.0.0/8"), "PrefixListMaxEntriesExceeded"),
        (
            Change { max_entries: Some(5), ..add(Some(2), "1.0.0.0/8") },
            "InvalidParameterCombination",
        ),
        (Change { max_entries: Some(1), ..Change::default() }, "PrefixListMaxEntriesExceeded"),
        (Change { max_entries: Some(0), ..Change::default() }, "InvalidParameterValue"),
    ] {
        let error = modify(&cx, &id, change.clone()).await.unwrap_err();
        assert_eq!(error.code(), code, "{change:?}");
    }
    let remove = Change {
        current_version: Some(2),
        remove: vec!["10.0.0.0/8".parse().unwrap()],
        ..Change::default()
    };
    assert_eq!(modify(&cx, &id, remove.clone()).await.unwrap(), 3);
    assert_eq!(blocks(&cx, &id), ["192.168.0.0/16"]);
    let again = Change { current_version: Some(3), ..remove };
    assert_eq!(modify(&cx, &id, again).await.unwrap_err().code(), "InvalidParameterValue");
    let restored = cx.write(|tx| ops::restore(tx, &cx, &id, 1, 3)).await.unwrap();
    assert_eq!((restored.version(), restored.state()), (4, "restore-complete"));
    assert_eq!(blocks(&cx, &id), ["10.0.0.0/8"]);
    let twice = create(&cx, new(2, &["10.0.0.0/8", "10.0.0.0/8"])).await.unwrap_err();
    assert_eq!(twice.code(), "InvalidParameterValue");
}

#[tokio::test]
async fn rules_use_lists_and_count_their_size() {
    let cx = testing::context();
    let id = create(&cx, new(40, &["10.0.0.0/8"])).await.unwrap();
    group_with(&cx, &id).await.unwrap();
    let group = security_group::ops::by_name(&cx.read(), &cx, "web").unwrap();
    assert_eq!(ops::users(&cx.read(), &cx, &id), std::slice::from_ref(&group.id));
    let again = group_with(&cx, &id).await.unwrap_err();
    assert_eq!(again.code(), "InvalidPermission.Duplicate");
    let in_use = cx.write(|tx| ops::delete(tx, &cx, &id)).await.unwrap_err();
    assert_eq!(in_use.code(), "DependencyViolation");
    let second = create(&cx, New { name: "homes".into(), ..new(30, &[]) }).await.unwrap();
    let full = group_with(&cx, &second).await.unwrap_err();
    assert_eq!(full.code(), "RulesPerSecurityGroupLimitExceeded");
    let grow = Change { max_entries: Some(61), ..Change::default() };
    let full = modify(&cx, &id, grow).await.unwrap_err();
    assert_eq!(full.code(), "RulesPerSecurityGroupLimitExceeded");
    let unknown = group_with(&cx, "pl-12345678").await.unwrap_err();
    assert_eq!(unknown.code(), "InvalidPrefixListID.NotFound");
    let values = vec![id.clone()];
    let filter = Filter { name: "ip-permission.prefix-list-id".to_owned(), values };
    let listing = Listing::filtered(vec![filter]);
    let (found, _) = describe::groups(&cx.read(), &cx, &[], &[], &listing).unwrap();
    assert_eq!(found.len(), 1);
    cx.write(|tx| security_group::ops::delete(tx, &cx, &group)).await.unwrap();
    cx.write(|tx| ops::delete(tx, &cx, &id)).await.unwrap();
}

#[tokio::test]
async fn aws_has_lists_of_its_own() {
    let cx = testing::context();
    let names: Vec<String> = ops::aws_managed(&cx).iter().map(|list| list.name.clone()).collect();
    assert_eq!(names, ["com.amazonaws.us-east-1.s3", "com.amazonaws.us-east-1.dynamodb"]);
    let s3 = ops::aws_managed_id(&cx, "s3");
    assert_eq!(blocks(&cx, &s3).len(), 1);
    let refused = modify(&cx, &s3, Change::default()).await.unwrap_err();
    assert_eq!(refused.code(), "OperationNotPermitted");
    group_with(&cx, &s3).await.unwrap();
}

#[tokio::test]
async fn as_clients_see_them() {
    let cx = testing::context();
    let create = "PrefixListName=offices&MaxEntries=5&AddressFamily=IPv4&Entry.1.Cidr=10.0.0.0/8\
                  &Entry.1.Description=one&Entry.2.Cidr=192.168.0.0/16&ClientToken=once";
    let id = text(&ok(&cx, "CreateManagedPrefixList", create).await, "prefixListId");
    let again = ok(&cx, "CreateManagedPrefixList", create).await;
    assert_eq!(text(&again, "prefixListId"), id);
    let ipv6 = create.replace("IPv4", "IPv6");
    assert_eq!(refused(&cx, "CreateManagedPrefixList", &ipv6).await, "UnsupportedOperation");
    let by_id = format!("PrefixListId={id}");
    let entries = ok(&cx, "GetManagedPrefixListEntries", &format!("{by_id}&MaxResults=1")).await;
    assert_eq!(
        (text(&entries, "cidr"), text(&entries, "description")),
        ("10.0.0.0/8".into(), "one".into())
    );
    let next = format!("{by_id}&NextToken={}", text(&entries, "nextToken"));
    let entries = ok(&cx, "GetManagedPrefixListEntries", &next).await;
    assert_eq!(text(&entries, "cidr"), "192.168.0.0/16");
    let group = ok(&cx, "CreateSecurityGroup", "GroupName=web&GroupDescription=x").await;
    let rule = format!(
        "GroupId={}&IpPermissions.1.IpProtocol=tcp&IpPermissions.1.FromPort=443\
         &IpPermissions.1.ToPort=443&IpPermissions.1.PrefixListIds.1.PrefixListId={id}",
        text(&group, "groupId")
    );
    let added = ok(&cx, "AuthorizeSecurityGroupIngress", &rule).await;
    assert_eq!(text(&added, "prefixListId"), id);
    let users = ok(&cx, "GetManagedPrefixListAssociations", &by_id).await;
    assert_eq!(text(&users, "resourceId"), text(&group, "groupId"));
    assert_eq!(refused(&cx, "DeleteManagedPrefixList", &by_id).await, "DependencyViolation");
    let groups = ok(&cx, "DescribeSecurityGroups", "GroupName.1=web").await;
    assert_eq!(text(&groups, "prefixListId"), id);
    ok(&cx, "RevokeSecurityGroupIngress", &rule).await;
    ok(&cx, "DeleteManagedPrefixList", &by_id).await;
    let aws = ok(&cx, "DescribePrefixLists", "").await;
    assert_eq!(aws.matches("<prefixListName>").count(), 2);
    let owned = "Filter.1.Name=owner-id&Filter.1.Value.1=AWS";
    let aws = ok(&cx, "DescribeManagedPrefixLists", owned).await;
    assert!(aws.contains("arn:aws:ec2:us-east-1:aws:prefix-list/"), "{aws}");
    let vpc = crate::ec2::vpc::ops::first_id(&cx);
    let groups = ok(&cx, "GetSecurityGroupsForVpc", &format!("VpcId={vpc}")).await;
    assert_eq!(groups.matches("<groupId>").count(), 2);
}
