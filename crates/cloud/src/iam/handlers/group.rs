//! Groups on the wire.

use wire::iam as w;

use super::super::Result;
use super::super::model::{Identity, Kind};
use super::super::ops::identity;
use super::{at, page, user};
use crate::Context;
use crate::services::{Entry, serve};
use crate::tag::Tags;

pub fn operations() -> Vec<Entry> {
    vec![
        serve::<w::CreateGroup, _, _, _>(create),
        serve::<w::GetGroup, _, _, _>(get),
        serve::<w::UpdateGroup, _, _, _>(update),
        serve::<w::DeleteGroup, _, _, _>(delete),
        serve::<w::ListGroups, _, _, _>(list),
        serve::<w::AddUserToGroup, _, _, _>(add_user),
        serve::<w::RemoveUserFromGroup, _, _, _>(remove_user),
    ]
}

pub fn out(group: &Identity) -> w::Group {
    w::Group {
        arn: group.arn(),
        create_date: at(group.created_at),
        group_id: group.id.clone(),
        group_name: group.name.clone(),
        path: group.path.clone(),
    }
}

async fn create(cx: Context, input: w::CreateGroupRequest) -> Result<w::CreateGroupResponse> {
    let group = cx
        .write(|tx| {
            let new = identity::New {
                kind: Kind::Group,
                name: input.group_name.clone(),
                path: input.path.clone(),
                tags: Tags::new(),
                boundary: None,
                role: None,
            };
            identity::create(tx, &cx, new)
        })
        .await?;
    Ok(w::CreateGroupResponse { group: out(&group) })
}

async fn get(cx: Context, input: w::GetGroupRequest) -> Result<w::GetGroupResponse> {
    let snapshot = cx.read();
    let group = identity::get(&snapshot, &cx, Kind::Group, &input.group_name)?;
    let users = identity::members(&snapshot, &cx, &group.name);
    let page = page(input.marker, input.max_items);
    let (users, marker) = page.of(users, |user| user.name.to_lowercase())?;
    Ok(w::GetGroupResponse {
        group: out(&group),
        is_truncated: Some(marker.is_some()),
        marker,
        users: users.iter().map(|one| user::short(one)).collect(),
    })
}

async fn update(cx: Context, input: w::UpdateGroupRequest) -> Result<w::UpdateGroupOutput> {
    let (name, path) = (input.new_group_name.as_deref(), input.new_path.as_deref());
    cx.write(|tx| identity::rename(tx, &cx, Kind::Group, &input.group_name, name, path)).await?;
    Ok(w::UpdateGroupOutput {})
}

async fn delete(cx: Context, input: w::DeleteGroupRequest) -> Result<w::DeleteGroupOutput> {
    cx.write(|tx| identity::delete(tx, &cx, Kind::Group, &input.group_name)).await?;
    Ok(w::DeleteGroupOutput {})
}

async fn list(cx: Context, input: w::ListGroupsRequest) -> Result<w::ListGroupsResponse> {
    let groups = identity::list(&cx.read(), &cx, Kind::Group, input.path_prefix.as_deref());
    let page = page(input.marker, input.max_items);
    let (groups, marker) = page.of(groups, |group| group.name.to_lowercase())?;
    Ok(w::ListGroupsResponse {
        groups: groups.iter().map(|group| out(group)).collect(),
        is_truncated: Some(marker.is_some()),
        marker,
    })
}

async fn add_user(cx: Context, input: w::AddUserToGroupRequest) -> Result<w::AddUserToGroupOutput> {
    cx.write(|tx| identity::join(tx, &cx, &input.group_name, &input.user_name)).await?;
    Ok(w::AddUserToGroupOutput {})
}

async fn remove_user(
    cx: Context,
    input: w::RemoveUserFromGroupRequest,
) -> Result<w::RemoveUserFromGroupOutput> {
    cx.write(|tx| identity::leave(tx, &cx, &input.group_name, &input.user_name)).await?;
    Ok(w::RemoveUserFromGroupOutput {})
}
