//! Roles on the wire, service-linked ones among them.

use store::Snapshot;
use wire::iam as w;

use super::super::document::{Document, Place};
use super::super::model::{Identity, Kind, Role};
use super::super::ops::{self, identity, key, service_linked};
use super::super::{Error, Result, trust};
use super::{at, boundary_out, document_out, page, tags_in, tags_out, tags_page};
use crate::services::{Entry, serve};
use crate::{Context, id};

/// In seconds.
const USUAL_SESSION: i32 = 3600;
const TRUST_QUOTA: usize = 2048;

pub fn operations() -> Vec<Entry> {
    vec![
        serve::<w::CreateRole, _, _, _>(create),
        serve::<w::GetRole, _, _, _>(get),
        serve::<w::UpdateRole, _, _, _>(update),
        serve::<w::UpdateRoleDescription, _, _, _>(update_description),
        serve::<w::UpdateAssumeRolePolicy, _, _, _>(update_trust),
        serve::<w::DeleteRole, _, _, _>(delete),
        serve::<w::ListRoles, _, _, _>(list),
        serve::<w::TagRole, _, _, _>(tag),
        serve::<w::UntagRole, _, _, _>(untag),
        serve::<w::ListRoleTags, _, _, _>(list_tags),
        serve::<w::PutRolePermissionsBoundary, _, _, _>(put_boundary),
        serve::<w::DeleteRolePermissionsBoundary, _, _, _>(delete_boundary),
        serve::<w::CreateServiceLinkedRole, _, _, _>(create_linked),
        serve::<w::DeleteServiceLinkedRole, _, _, _>(delete_linked),
        serve::<w::GetServiceLinkedRoleDeletionStatus, _, _, _>(deletion_status),
    ]
}

/// Lists show no tags, no boundary and no last use; a look at one role does.
pub fn short(identity: &Identity) -> w::Role {
    let role = identity.role.as_ref();
    w::Role {
        arn: identity.arn(),
        assume_role_policy_document: role.map(|role| document_out(&role.trust.text)),
        create_date: at(identity.created_at),
        description: role.and_then(|role| role.description.clone()),
        max_session_duration: role.map(|role| role.max_session_seconds),
        path: identity.path.clone(),
        role_id: identity.id.clone(),
        role_name: identity.name.clone(),
        ..Default::default()
    }
}

fn whole(snapshot: &Snapshot, role: &Identity) -> w::Role {
    w::Role {
        permissions_boundary: boundary_out(&role.boundary),
        role_last_used: Some(last_used(snapshot, role)),
        tags: tags_out(&role.tags),
        ..short(role)
    }
}

pub fn last_used(snapshot: &Snapshot, role: &Identity) -> w::RoleLastUsed {
    let used = key::last_used(snapshot, &role.id);
    w::RoleLastUsed {
        last_used_date: used.as_ref().map(|used| at(used.at)),
        region: used.map(|used| used.region.clone()),
    }
}

fn trust_in(snapshot: &Snapshot, cx: &Context, text: &str) -> Result<Document> {
    let document = Document::parse(text, Place::Trust)?;
    if document.size() > TRUST_QUOTA {
        return Err(Error::Quota("ACLSizePerRole", TRUST_QUOTA));
    }
    trust::check_principals(snapshot, cx, &document)?;
    Ok(document)
}

async fn create(cx: Context, input: w::CreateRoleRequest) -> Result<w::CreateRoleResponse> {
    let tags = tags_in(input.tags)?;
    let role = cx
        .write(|tx| {
            let trust = trust_in(tx, &cx, &input.assume_role_policy_document)?;
            let new = identity::New {
                kind: Kind::Role,
                name: input.role_name.clone(),
                path: input.path.clone(),
                tags: tags.clone(),
                boundary: input.permissions_boundary.clone(),
                role: Some(Role {
                    trust,
                    description: input.description.clone(),
                    max_session_seconds: input.max_session_duration.unwrap_or(USUAL_SESSION),
                    service: None,
                }),
            };
            identity::create(tx, &cx, new)
        })
        .await?;
    let answer = whole(&cx.read(), &role);
    Ok(w::CreateRoleResponse { role: w::Role { role_last_used: None, ..answer } })
}

async fn get(cx: Context, input: w::GetRoleRequest) -> Result<w::GetRoleResponse> {
    let snapshot = cx.read();
    let role = identity::get(&snapshot, &cx, Kind::Role, &input.role_name)?;
    Ok(w::GetRoleResponse { role: whole(&snapshot, &role) })
}

async fn change(cx: &Context, name: &str, change: impl Fn(&mut Role) + Send) -> Result<Identity> {
    cx.write(|tx| {
        identity::update(tx, cx, Kind::Role, name, |identity| {
            identity.role.iter_mut().for_each(&change);
            Ok(identity.clone())
        })
    })
    .await
}

async fn update(cx: Context, input: w::UpdateRoleRequest) -> Result<w::UpdateRoleResponse> {
    change(&cx, &input.role_name, |role| {
        role.description = input.description.clone().or(role.description.take());
        role.max_session_seconds = input.max_session_duration.unwrap_or(role.max_session_seconds);
    })
    .await?;
    Ok(w::UpdateRoleResponse {})
}

async fn update_description(
    cx: Context,
    input: w::UpdateRoleDescriptionRequest,
) -> Result<w::UpdateRoleDescriptionResponse> {
    let describe = |role: &mut Role| role.description = Some(input.description.clone());
    let role = change(&cx, &input.role_name, describe).await?;
    Ok(w::UpdateRoleDescriptionResponse { role: Some(whole(&cx.read(), &role)) })
}

async fn update_trust(
    cx: Context,
    input: w::UpdateAssumeRolePolicyRequest,
) -> Result<w::UpdateAssumeRolePolicyOutput> {
    let document = trust_in(&cx.read(), &cx, &input.policy_document)?;
    change(&cx, &input.role_name, |role| role.trust = document.clone()).await?;
    Ok(w::UpdateAssumeRolePolicyOutput {})
}

async fn delete(cx: Context, input: w::DeleteRoleRequest) -> Result<w::DeleteRoleOutput> {
    cx.write(|tx| identity::delete(tx, &cx, Kind::Role, &input.role_name)).await?;
    Ok(w::DeleteRoleOutput {})
}

async fn list(cx: Context, input: w::ListRolesRequest) -> Result<w::ListRolesResponse> {
    let roles = identity::list(&cx.read(), &cx, Kind::Role, input.path_prefix.as_deref());
    let page = page(input.marker, input.max_items);
    let (roles, marker) = page.of(roles, |role| role.name.to_lowercase())?;
    Ok(w::ListRolesResponse {
        is_truncated: Some(marker.is_some()),
        marker,
        roles: roles.iter().map(|role| short(role)).collect(),
    })
}

async fn tag(cx: Context, input: w::TagRoleRequest) -> Result<w::TagRoleOutput> {
    let tags = tags_in(Some(input.tags))?;
    cx.write(|tx| {
        identity::update(tx, &cx, Kind::Role, &input.role_name, |role| {
            ops::add_tags(&mut role.tags, tags.clone())
        })
    })
    .await?;
    Ok(w::TagRoleOutput {})
}

async fn untag(cx: Context, input: w::UntagRoleRequest) -> Result<w::UntagRoleOutput> {
    cx.write(|tx| {
        identity::update(tx, &cx, Kind::Role, &input.role_name, |role| {
            ops::remove_tags(&mut role.tags, &input.tag_keys);
            Ok::<_, Error>(())
        })
    })
    .await?;
    Ok(w::UntagRoleOutput {})
}

async fn list_tags(cx: Context, input: w::ListRoleTagsRequest) -> Result<w::ListRoleTagsResponse> {
    let role = identity::get(&cx.read(), &cx, Kind::Role, &input.role_name)?;
    let (tags, marker) = tags_page(&role.tags, &page(input.marker, input.max_items))?;
    Ok(w::ListRoleTagsResponse { is_truncated: Some(marker.is_some()), marker, tags })
}

async fn put_boundary(
    cx: Context,
    input: w::PutRolePermissionsBoundaryRequest,
) -> Result<w::PutRolePermissionsBoundaryOutput> {
    let arn = Some(input.permissions_boundary.as_str());
    cx.write(|tx| identity::set_boundary(tx, &cx, Kind::Role, &input.role_name, arn)).await?;
    Ok(w::PutRolePermissionsBoundaryOutput {})
}

async fn delete_boundary(
    cx: Context,
    input: w::DeleteRolePermissionsBoundaryRequest,
) -> Result<w::DeleteRolePermissionsBoundaryOutput> {
    cx.write(|tx| identity::set_boundary(tx, &cx, Kind::Role, &input.role_name, None)).await?;
    Ok(w::DeleteRolePermissionsBoundaryOutput {})
}

async fn create_linked(
    cx: Context,
    input: w::CreateServiceLinkedRoleRequest,
) -> Result<w::CreateServiceLinkedRoleResponse> {
    let (description, suffix) = (input.description.as_deref(), input.custom_suffix.as_deref());
    let role = cx
        .write(|tx| service_linked::create(tx, &cx, &input.aws_service_name, description, suffix))
        .await?;
    Ok(w::CreateServiceLinkedRoleResponse { role: Some(short(&role)) })
}

/// The task's id names the role: how the deletion went is seen by whether it is there.
async fn delete_linked(
    cx: Context,
    input: w::DeleteServiceLinkedRoleRequest,
) -> Result<w::DeleteServiceLinkedRoleResponse> {
    let path = cx
        .write(|tx| {
            let path = identity::get(tx, &cx, Kind::Role, &input.role_name)?.path.clone();
            service_linked::delete(tx, &cx, &input.role_name)?;
            Ok::<_, Error>(path)
        })
        .await?;
    let task = id::uuid(&cx.env.rng);
    Ok(w::DeleteServiceLinkedRoleResponse {
        deletion_task_id: format!("task{path}{}/{task}", input.role_name),
    })
}

async fn deletion_status(
    cx: Context,
    input: w::GetServiceLinkedRoleDeletionStatusRequest,
) -> Result<w::GetServiceLinkedRoleDeletionStatusResponse> {
    let mut steps = input.deletion_task_id.rsplit('/').skip(1);
    let name = steps.next().filter(|_| input.deletion_task_id.starts_with("task/"));
    let name = name.ok_or_else(|| {
        let task = &input.deletion_task_id;
        Error::NoSuchEntity(format!("Deletion task {task} cannot be found."))
    })?;
    let snapshot = cx.read();
    let Ok(role) = identity::get(&snapshot, &cx, Kind::Role, name) else {
        let status = "SUCCEEDED".to_owned();
        return Ok(w::GetServiceLinkedRoleDeletionStatusResponse { reason: None, status });
    };
    let resources = service_linked::in_use(&snapshot, &cx, &role);
    let reason = w::DeletionTaskFailureReasonType {
        reason: Some("A service-linked role is used by resources of its service.".to_owned()),
        role_usage_list: Some(vec![w::RoleUsageType {
            region: Some(cx.env.config.default_region.clone()),
            resources: Some(resources),
        }]),
    };
    let status = "FAILED".to_owned();
    Ok(w::GetServiceLinkedRoleDeletionStatusResponse { reason: Some(reason), status })
}
