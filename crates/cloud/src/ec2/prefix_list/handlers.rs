//! Prefix lists on the wire.

use store::Snapshot;
use wire::ec2 as w;

use super::model::{Entry, PrefixList};
use super::ops::{self, Change, New};
use crate::Context;
use crate::ec2::handlers::{listing, tags_of_type, tags_out};
use crate::ec2::instance::handlers::launch::refuse_some;
use crate::ec2::listing::{self, dry_run};
use crate::ec2::vpc::Cidr;
use crate::ec2::{Error, Kind, Result, client_token, tag};
use crate::services::{Entry as Served, serve};

pub fn operations() -> Vec<Served> {
    vec![
        serve::<w::CreateManagedPrefixList, _, _, _>(create),
        serve::<w::ModifyManagedPrefixList, _, _, _>(modify),
        serve::<w::RestoreManagedPrefixListVersion, _, _, _>(restore),
        serve::<w::DeleteManagedPrefixList, _, _, _>(delete),
        serve::<w::DescribeManagedPrefixLists, _, _, _>(describe_managed),
        serve::<w::DescribePrefixLists, _, _, _>(describe_aws),
        serve::<w::GetManagedPrefixListEntries, _, _, _>(entries),
        serve::<w::GetManagedPrefixListAssociations, _, _, _>(associations),
    ]
}

fn block(text: &str) -> Result<Cidr> {
    text.parse().map_err(|()| Error::value(format!("The CIDR '{text}' is invalid")))
}

fn entries_in(entries: Option<Vec<w::AddPrefixListEntry>>) -> Result<Vec<Entry>> {
    let entry = |entry: w::AddPrefixListEntry| {
        Ok(Entry { block: block(&entry.cidr)?, description: entry.description })
    };
    entries.unwrap_or_default().into_iter().map(entry).collect()
}

async fn create(
    cx: Context,
    input: w::CreateManagedPrefixListRequest,
) -> Result<w::CreateManagedPrefixListResult> {
    match input.address_family.as_str() {
        "IPv4" => {}
        "IPv6" => return Err(Error::unsupported("AddressFamily IPv6")),
        other => return Err(Error::value(format!("Invalid value '{other}' for AddressFamily."))),
    }
    let new = New {
        name: input.prefix_list_name,
        max_entries: input.max_entries,
        entries: entries_in(input.entries)?,
    };
    let tags = tags_of_type(input.tag_specifications, "prefix-list")?;
    let token = client_token::of(input.client_token.as_deref(), &(&new, &tags))?;
    let made = cx
        .write(|tx| {
            let prefix = cx.prefix();
            let known = tx.scan::<PrefixList>(&prefix);
            if let Some(made) = client_token::made(&token, known, |list| &list.client_token)? {
                return Ok((*made).clone());
            }
            let made = ops::create(tx, &cx, &new, &tags, token.clone())?;
            dry_run(input.dry_run)?;
            Ok::<_, Error>(made)
        })
        .await?;
    Ok(w::CreateManagedPrefixListResult { prefix_list: Some(list_out(&cx.read(), &cx, &made)) })
}

fn list_out(snapshot: &Snapshot, cx: &Context, list: &PrefixList) -> w::ManagedPrefixList {
    let account = if list.is_aws_managed() { "aws" } else { &list.account };
    let own = !list.is_aws_managed();
    w::ManagedPrefixList {
        address_family: Some("IPv4".to_owned()),
        max_entries: own.then_some(list.max_entries as i32),
        owner_id: Some(list.account.clone()),
        prefix_list_arn: Some(crate::arn::arn(
            "ec2",
            &list.region,
            account,
            &format!("prefix-list/{}", list.id),
        )),
        prefix_list_id: Some(list.id.clone()),
        prefix_list_name: Some(list.name.clone()),
        state: Some(list.state().to_owned()),
        tags: tags_out(tag::ops::tags_of(snapshot, cx, &list.id)),
        version: own.then_some(list.version()),
        ..Default::default()
    }
}

async fn modify(
    cx: Context,
    input: w::ModifyManagedPrefixListRequest,
) -> Result<w::ModifyManagedPrefixListResult> {
    refuse_some(
        &input.ipam_prefix_list_resolver_sync_enabled,
        "IpamPrefixListResolverSyncEnabled",
    )?;
    let remove = input.remove_entries.unwrap_or_default();
    let change = Change {
        name: input.prefix_list_name,
        max_entries: input.max_entries,
        current_version: input.current_version,
        add: entries_in(input.add_entries)?,
        remove: remove.iter().map(|entry| block(&entry.cidr)).collect::<Result<_>>()?,
    };
    let changed = cx
        .write(|tx| {
            let changed = ops::modify(tx, &cx, &input.prefix_list_id, &change)?;
            dry_run(input.dry_run)?;
            Ok::<_, Error>(changed)
        })
        .await?;
    let prefix_list = Some(list_out(&cx.read(), &cx, &changed));
    Ok(w::ModifyManagedPrefixListResult { prefix_list })
}

async fn restore(
    cx: Context,
    input: w::RestoreManagedPrefixListVersionRequest,
) -> Result<w::RestoreManagedPrefixListVersionResult> {
    let (previous, current) = (input.previous_version, input.current_version);
    let restored = cx
        .write(|tx| {
            let restored = ops::restore(tx, &cx, &input.prefix_list_id, previous, current)?;
            dry_run(input.dry_run)?;
            Ok::<_, Error>(restored)
        })
        .await?;
    let prefix_list = Some(list_out(&cx.read(), &cx, &restored));
    Ok(w::RestoreManagedPrefixListVersionResult { prefix_list })
}

async fn delete(
    cx: Context,
    input: w::DeleteManagedPrefixListRequest,
) -> Result<w::DeleteManagedPrefixListResult> {
    let gone = cx
        .write(|tx| {
            let gone = ops::delete(tx, &cx, &input.prefix_list_id)?;
            dry_run(input.dry_run)?;
            Ok::<_, Error>(gone)
        })
        .await?;
    let shown = w::ManagedPrefixList {
        state: Some("delete-complete".to_owned()),
        ..list_out(&cx.read(), &cx, &gone)
    };
    Ok(w::DeleteManagedPrefixListResult { prefix_list: Some(shown) })
}

async fn describe_managed(
    cx: Context,
    input: w::DescribeManagedPrefixListsRequest,
) -> Result<w::DescribeManagedPrefixListsResult> {
    let snapshot = cx.read();
    let ids = input.prefix_list_ids.unwrap_or_default();
    let listing = listing(input.filters, input.max_results, input.next_token);
    listing.check_max_results(1..=100)?;
    listing.check(&["owner-id", "prefix-list-id", "prefix-list-name"], true)?;
    let mut all = ops::all(&snapshot, &cx);
    listing::only(&mut all, &ids, |list| &list.id, Kind::PrefixList)?;
    all.retain(|list| {
        let tags = || tag::ops::tags_of(&snapshot, &cx, &list.id);
        listing.keeps(tags, |name| values(list, name))
    });
    let (found, next_token) = listing.page(all, |list| list.id.clone())?;
    dry_run(input.dry_run)?;
    let prefix_lists = found.iter().map(|list| list_out(&snapshot, &cx, list)).collect();
    Ok(w::DescribeManagedPrefixListsResult { next_token, prefix_lists: Some(prefix_lists) })
}

fn values(list: &PrefixList, name: &str) -> Vec<String> {
    vec![match name {
        "owner-id" => list.account.clone(),
        "prefix-list-id" => list.id.clone(),
        "prefix-list-name" => list.name.clone(),
        _ => return vec![],
    }]
}

async fn describe_aws(
    cx: Context,
    input: w::DescribePrefixListsRequest,
) -> Result<w::DescribePrefixListsResult> {
    let ids = input.prefix_list_ids.unwrap_or_default();
    let listing = listing(input.filters, input.max_results, input.next_token);
    listing.check(&["prefix-list-id", "prefix-list-name"], false)?;
    let mut all = ops::aws_managed(&cx);
    all.sort_by(|a, b| a.id.cmp(&b.id));
    listing::only(&mut all, &ids, |list| &list.id, Kind::PrefixList)?;
    all.retain(|list| listing.keeps(Default::default, |name| values(list, name)));
    let (found, next_token) = listing.page(all, |list| list.id.clone())?;
    dry_run(input.dry_run)?;
    let shown = |list: &std::sync::Arc<PrefixList>| w::PrefixList {
        cidrs: Some(list.entries().iter().map(|entry| entry.block.to_string()).collect()),
        prefix_list_id: Some(list.id.clone()),
        prefix_list_name: Some(list.name.clone()),
    };
    let prefix_lists = Some(found.iter().map(shown).collect());
    Ok(w::DescribePrefixListsResult { next_token, prefix_lists })
}

async fn entries(
    cx: Context,
    input: w::GetManagedPrefixListEntriesRequest,
) -> Result<w::GetManagedPrefixListEntriesResult> {
    let listing = listing(None, input.max_results, input.next_token);
    listing.check_max_results(1..=100)?;
    let list = ops::by_id(&cx.read(), &cx, &input.prefix_list_id)?;
    let version = input.target_version.unwrap_or(list.version());
    let entries = ops::of_version(&list, version)?.to_vec();
    let key = |entry: &Entry| format!("{:08x}/{:02}", entry.block.first(), entry.block.prefix);
    let (found, next_token) = listing.page(entries, key)?;
    dry_run(input.dry_run)?;
    let shown = |entry: Entry| w::PrefixListEntry {
        cidr: Some(entry.block.to_string()),
        description: entry.description,
    };
    let entries = Some(found.into_iter().map(shown).collect());
    Ok(w::GetManagedPrefixListEntriesResult { entries, next_token })
}

async fn associations(
    cx: Context,
    input: w::GetManagedPrefixListAssociationsRequest,
) -> Result<w::GetManagedPrefixListAssociationsResult> {
    let listing = listing(None, input.max_results, input.next_token);
    listing.check_max_results(5..=255)?;
    let snapshot = cx.read();
    let list = ops::by_id(&snapshot, &cx, &input.prefix_list_id)?;
    let users = ops::users(&snapshot, &cx, &list.id);
    let (found, next_token) = listing.page(users, String::clone)?;
    dry_run(input.dry_run)?;
    let shown = |id: String| w::PrefixListAssociation {
        resource_id: Some(id),
        resource_owner: Some(cx.account.clone()),
    };
    let prefix_list_associations = Some(found.into_iter().map(shown).collect());
    Ok(w::GetManagedPrefixListAssociationsResult { next_token, prefix_list_associations })
}
