//! Managed policies on the wire.

use store::Snapshot;
use wire::iam as w;

use super::super::model::{Identity, Kind};
use super::super::ops::policy::{self, Found};
use super::super::ops::{self, identity};
use super::super::{Error, Result};
use super::{at, document_out, page, tags_in, tags_out, tags_page};
use crate::Context;
use crate::services::{Entry, serve};
use crate::tag::Tags;

pub fn operations() -> Vec<Entry> {
    vec![
        serve::<w::CreatePolicy, _, _, _>(create),
        serve::<w::GetPolicy, _, _, _>(get),
        serve::<w::DeletePolicy, _, _, _>(delete),
        serve::<w::ListPolicies, _, _, _>(list),
        serve::<w::CreatePolicyVersion, _, _, _>(create_version),
        serve::<w::GetPolicyVersion, _, _, _>(get_version),
        serve::<w::DeletePolicyVersion, _, _, _>(delete_version),
        serve::<w::ListPolicyVersions, _, _, _>(list_versions),
        serve::<w::SetDefaultPolicyVersion, _, _, _>(set_default),
        serve::<w::TagPolicy, _, _, _>(tag),
        serve::<w::UntagPolicy, _, _, _>(untag),
        serve::<w::ListPolicyTags, _, _, _>(list_tags),
        serve::<w::ListEntitiesForPolicy, _, _, _>(entities),
    ]
}

fn out(snapshot: &Snapshot, cx: &Context, found: &Found) -> w::Policy {
    let arn = found.arn();
    let (attached, bounded) = policy::usage(snapshot, cx, &arn);
    let (created_at, updated_at) = found.times();
    w::Policy {
        arn: Some(arn),
        attachment_count: Some(attached as i32),
        create_date: Some(at(created_at)),
        default_version_id: Some(format!("v{}", found.default_version())),
        description: None,
        is_attachable: Some(true),
        path: Some(found.path().to_owned()),
        permissions_boundary_usage_count: Some(bounded as i32),
        policy_id: Some(found.id()),
        policy_name: Some(found.name().to_owned()),
        tags: None,
        update_date: Some(at(updated_at)),
    }
}

/// Lists show neither description nor tags.
fn whole(snapshot: &Snapshot, cx: &Context, found: &Found) -> w::Policy {
    let (description, tags) = match found {
        Found::Customer(policy) => (policy.description.clone(), policy.tags.clone()),
        Found::Aws(_) => (None, Tags::new()),
    };
    w::Policy { description, tags: tags_out(&tags), ..out(snapshot, cx, found) }
}

pub fn versions_out(found: &Found) -> Vec<w::PolicyVersion> {
    let default = found.default_version();
    let mut versions: Vec<w::PolicyVersion> = found
        .versions()
        .into_iter()
        .map(|(number, text, created_at)| w::PolicyVersion {
            create_date: Some(at(created_at)),
            document: Some(document_out(text)),
            is_default_version: Some(number == default),
            version_id: Some(format!("v{number}")),
        })
        .collect();
    versions.reverse();
    versions
}

/// As GetAccountAuthorizationDetails shows it.
pub fn detail(snapshot: &Snapshot, cx: &Context, found: &Found) -> w::ManagedPolicyDetail {
    let policy = whole(snapshot, cx, found);
    w::ManagedPolicyDetail {
        arn: policy.arn,
        attachment_count: policy.attachment_count,
        create_date: policy.create_date,
        default_version_id: policy.default_version_id,
        description: policy.description,
        is_attachable: policy.is_attachable,
        path: policy.path,
        permissions_boundary_usage_count: policy.permissions_boundary_usage_count,
        policy_id: policy.policy_id,
        policy_name: policy.policy_name,
        policy_version_list: Some(versions_out(found)),
        update_date: policy.update_date,
    }
}

async fn create(cx: Context, input: w::CreatePolicyRequest) -> Result<w::CreatePolicyResponse> {
    let tags = tags_in(input.tags)?;
    let (name, path) = (&input.policy_name, input.path.as_deref());
    let (description, text) = (input.description.as_deref(), &input.policy_document);
    let made =
        cx.write(|tx| policy::create(tx, &cx, name, path, description, text, tags.clone())).await?;
    let policy = whole(&cx.read(), &cx, &Found::Customer(made));
    Ok(w::CreatePolicyResponse { policy: Some(policy) })
}

async fn get(cx: Context, input: w::GetPolicyRequest) -> Result<w::GetPolicyResponse> {
    let snapshot = cx.read();
    let found = policy::get(&snapshot, &cx, &input.policy_arn)?;
    Ok(w::GetPolicyResponse { policy: Some(whole(&snapshot, &cx, &found)) })
}

async fn delete(cx: Context, input: w::DeletePolicyRequest) -> Result<w::DeletePolicyOutput> {
    cx.write(|tx| policy::delete(tx, &cx, &input.policy_arn)).await?;
    Ok(w::DeletePolicyOutput {})
}

async fn list(cx: Context, input: w::ListPoliciesRequest) -> Result<w::ListPoliciesResponse> {
    let snapshot = cx.read();
    let scope = input.scope.as_deref().unwrap_or("All");
    let mut all: Vec<Found> = Vec::new();
    if scope != "Local" {
        all.extend(policy::managed().iter().map(Found::Aws));
    }
    if scope != "AWS" {
        all.extend(policy::customers(&snapshot, &cx).into_iter().map(Found::Customer));
    }
    let prefix = input.path_prefix.as_deref().unwrap_or("/");
    all.retain(|found| {
        let (attached, bounded) = policy::usage(&snapshot, &cx, &found.arn());
        let used = match input.policy_usage_filter.as_deref() {
            Some("PermissionsBoundary") => bounded,
            _ => attached,
        };
        let wanted = input.only_attached == Some(true)
            || input.policy_usage_filter.as_deref() == Some("PermissionsBoundary");
        found.path().starts_with(prefix) && (!wanted || used > 0)
    });
    all.sort_by_key(Found::arn);
    let (found, marker) = page(input.marker, input.max_items).of(all, Found::arn)?;
    Ok(w::ListPoliciesResponse {
        is_truncated: Some(marker.is_some()),
        marker,
        policies: Some(found.iter().map(|found| out(&snapshot, &cx, found)).collect()),
    })
}

async fn create_version(
    cx: Context,
    input: w::CreatePolicyVersionRequest,
) -> Result<w::CreatePolicyVersionResponse> {
    let (arn, text) = (&input.policy_arn, &input.policy_document);
    let as_default = input.set_as_default.unwrap_or(false);
    let number = cx.write(|tx| policy::create_version(tx, &cx, arn, text, as_default)).await?;
    Ok(w::CreatePolicyVersionResponse {
        policy_version: Some(w::PolicyVersion {
            create_date: Some(at(cx.now)),
            document: None,
            is_default_version: Some(as_default),
            version_id: Some(format!("v{number}")),
        }),
    })
}

async fn get_version(
    cx: Context,
    input: w::GetPolicyVersionRequest,
) -> Result<w::GetPolicyVersionResponse> {
    let found = policy::get(&cx.read(), &cx, &input.policy_arn)?;
    let mut versions = versions_out(&found).into_iter();
    let version = versions.find(|version| version.version_id.as_ref() == Some(&input.version_id));
    if version.is_none() {
        return Err(policy::no_version(&input.policy_arn, &input.version_id));
    }
    Ok(w::GetPolicyVersionResponse { policy_version: version })
}

async fn delete_version(
    cx: Context,
    input: w::DeletePolicyVersionRequest,
) -> Result<w::DeletePolicyVersionOutput> {
    cx.write(|tx| policy::delete_version(tx, &cx, &input.policy_arn, &input.version_id)).await?;
    Ok(w::DeletePolicyVersionOutput {})
}

async fn list_versions(
    cx: Context,
    input: w::ListPolicyVersionsRequest,
) -> Result<w::ListPolicyVersionsResponse> {
    let found = policy::get(&cx.read(), &cx, &input.policy_arn)?;
    let mut versions = versions_out(&found);
    // Lists show no documents.
    versions.iter_mut().for_each(|version| version.document = None);
    // Newest first: keys for pages count down.
    let key = |version: &w::PolicyVersion| {
        let number = version.version_id.as_deref().and_then(|id| id[1..].parse::<u32>().ok());
        format!("{:010}", u32::MAX - number.unwrap_or(0))
    };
    let (versions, marker) = page(input.marker, input.max_items).of(versions, key)?;
    Ok(w::ListPolicyVersionsResponse {
        is_truncated: Some(marker.is_some()),
        marker,
        versions: Some(versions),
    })
}

async fn set_default(
    cx: Context,
    input: w::SetDefaultPolicyVersionRequest,
) -> Result<w::SetDefaultPolicyVersionOutput> {
    cx.write(|tx| policy::set_default(tx, &cx, &input.policy_arn, &input.version_id)).await?;
    Ok(w::SetDefaultPolicyVersionOutput {})
}

async fn tag(cx: Context, input: w::TagPolicyRequest) -> Result<w::TagPolicyOutput> {
    let tags = tags_in(Some(input.tags))?;
    cx.write(|tx| {
        policy::update(tx, &cx, &input.policy_arn, |policy| {
            ops::add_tags(&mut policy.tags, tags.clone())
        })
    })
    .await?;
    Ok(w::TagPolicyOutput {})
}

async fn untag(cx: Context, input: w::UntagPolicyRequest) -> Result<w::UntagPolicyOutput> {
    cx.write(|tx| {
        policy::update(tx, &cx, &input.policy_arn, |policy| {
            ops::remove_tags(&mut policy.tags, &input.tag_keys);
            Ok::<_, Error>(())
        })
    })
    .await?;
    Ok(w::UntagPolicyOutput {})
}

async fn list_tags(
    cx: Context,
    input: w::ListPolicyTagsRequest,
) -> Result<w::ListPolicyTagsResponse> {
    let tags = match policy::get(&cx.read(), &cx, &input.policy_arn)? {
        Found::Customer(policy) => policy.tags.clone(),
        Found::Aws(_) => Tags::new(),
    };
    let (tags, marker) = tags_page(&tags, &page(input.marker, input.max_items))?;
    Ok(w::ListPolicyTagsResponse { is_truncated: Some(marker.is_some()), marker, tags })
}

async fn entities(
    cx: Context,
    input: w::ListEntitiesForPolicyRequest,
) -> Result<w::ListEntitiesForPolicyResponse> {
    let snapshot = cx.read();
    let arn = policy::get(&snapshot, &cx, &input.policy_arn)?.arn();
    let filter = input.entity_filter.as_deref();
    let usage = input.policy_usage_filter.as_deref();
    let uses = |identity: &Identity| {
        let attached = identity.attached.contains(&arn) && usage != Some("PermissionsBoundary");
        let bounded =
            identity.boundary.as_ref() == Some(&arn) && usage != Some("PermissionsPolicy");
        attached || bounded
    };
    let wanted = |kind: Kind| filter.is_none_or(|filter| filter == kind.title());
    let prefix = input.path_prefix.as_deref();
    let mut users = Vec::new();
    for kind in [Kind::Group, Kind::Role, Kind::User].into_iter().filter(|kind| wanted(*kind)) {
        users.extend(identity::list(&snapshot, &cx, kind, prefix));
    }
    users.retain(|identity| uses(identity));
    let key = |identity: &std::sync::Arc<Identity>| store::Record::key(&**identity);
    let (found, marker) = page(input.marker, input.max_items).of(users, key)?;
    let of = |kind| found.iter().filter(move |identity| identity.kind == kind);
    let named = |one: &Identity| (Some(one.id.clone()), Some(one.name.clone()));
    let group = |one: &std::sync::Arc<Identity>| {
        let (group_id, group_name) = named(one);
        w::PolicyGroup { group_id, group_name }
    };
    let role = |one: &std::sync::Arc<Identity>| {
        let (role_id, role_name) = named(one);
        w::PolicyRole { role_id, role_name }
    };
    let user = |one: &std::sync::Arc<Identity>| {
        let (user_id, user_name) = named(one);
        w::PolicyUser { user_id, user_name }
    };
    Ok(w::ListEntitiesForPolicyResponse {
        is_truncated: Some(marker.is_some()),
        marker,
        policy_groups: Some(of(Kind::Group).map(group).collect()),
        policy_roles: Some(of(Kind::Role).map(role).collect()),
        policy_users: Some(of(Kind::User).map(user).collect()),
    })
}
