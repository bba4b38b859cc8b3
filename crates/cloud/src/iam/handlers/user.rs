//! Users on the wire.

use wire::iam as w;

use super::super::model::{Identity, Kind};
use super::super::ops::{self, identity};
use super::super::{Error, Result};
use super::{at, boundary_out, page, tags_in, tags_out, tags_page, user_or_caller};
use crate::services::{Entry, serve};
use crate::{Context, Timestamp};

pub fn operations() -> Vec<Entry> {
    vec![
        serve::<w::CreateUser, _, _, _>(create),
        serve::<w::GetUser, _, _, _>(get),
        serve::<w::UpdateUser, _, _, _>(update),
        serve::<w::DeleteUser, _, _, _>(delete),
        serve::<w::ListUsers, _, _, _>(list),
        serve::<w::TagUser, _, _, _>(tag),
        serve::<w::UntagUser, _, _, _>(untag),
        serve::<w::ListUserTags, _, _, _>(list_tags),
        serve::<w::PutUserPermissionsBoundary, _, _, _>(put_boundary),
        serve::<w::DeleteUserPermissionsBoundary, _, _, _>(delete_boundary),
        serve::<w::ListGroupsForUser, _, _, _>(groups),
    ]
}

/// Lists show no tags and no boundary; a look at one user does.
pub fn short(user: &Identity) -> w::User {
    w::User {
        arn: user.arn(),
        create_date: at(user.created_at),
        path: user.path.clone(),
        user_id: user.id.clone(),
        user_name: user.name.clone(),
        ..Default::default()
    }
}

fn whole(user: &Identity) -> w::User {
    w::User {
        permissions_boundary: boundary_out(&user.boundary),
        tags: tags_out(&user.tags),
        ..short(user)
    }
}

async fn create(cx: Context, input: w::CreateUserRequest) -> Result<w::CreateUserResponse> {
    let tags = tags_in(input.tags)?;
    let user = cx
        .write(|tx| {
            let new = identity::New {
                kind: Kind::User,
                name: input.user_name.clone(),
                path: input.path.clone(),
                tags: tags.clone(),
                boundary: input.permissions_boundary.clone(),
                role: None,
            };
            identity::create(tx, &cx, new)
        })
        .await?;
    Ok(w::CreateUserResponse { user: Some(whole(&user)) })
}

async fn get(cx: Context, input: w::GetUserRequest) -> Result<w::GetUserResponse> {
    if input.user_name.is_none() && cx.caller.ends_with(":root") {
        return Ok(w::GetUserResponse { user: root(&cx) });
    }
    let name = user_or_caller(&cx, input.user_name)?;
    let user = identity::get(&cx.read(), &cx, Kind::User, &name)?;
    Ok(w::GetUserResponse { user: whole(&user) })
}

fn root(cx: &Context) -> w::User {
    w::User {
        arn: cx.caller.clone(),
        create_date: at(Timestamp::default()),
        path: "/".to_owned(),
        user_id: cx.account.clone(),
        user_name: "root".to_owned(),
        ..Default::default()
    }
}

async fn update(cx: Context, input: w::UpdateUserRequest) -> Result<w::UpdateUserOutput> {
    let (name, path) = (input.new_user_name.as_deref(), input.new_path.as_deref());
    cx.write(|tx| identity::rename(tx, &cx, Kind::User, &input.user_name, name, path)).await?;
    Ok(w::UpdateUserOutput {})
}

async fn delete(cx: Context, input: w::DeleteUserRequest) -> Result<w::DeleteUserOutput> {
    cx.write(|tx| identity::delete(tx, &cx, Kind::User, &input.user_name)).await?;
    Ok(w::DeleteUserOutput {})
}

async fn list(cx: Context, input: w::ListUsersRequest) -> Result<w::ListUsersResponse> {
    let users = identity::list(&cx.read(), &cx, Kind::User, input.path_prefix.as_deref());
    let page = page(input.marker, input.max_items);
    let (users, marker) = page.of(users, |user| user.name.to_lowercase())?;
    Ok(w::ListUsersResponse {
        is_truncated: Some(marker.is_some()),
        marker,
        users: users.iter().map(|user| short(user)).collect(),
    })
}

async fn tag(cx: Context, input: w::TagUserRequest) -> Result<w::TagUserOutput> {
    let tags = tags_in(Some(input.tags))?;
    cx.write(|tx| {
        identity::update(tx, &cx, Kind::User, &input.user_name, |user| {
            ops::add_tags(&mut user.tags, tags.clone())
        })
    })
    .await?;
    Ok(w::TagUserOutput {})
}

async fn untag(cx: Context, input: w::UntagUserRequest) -> Result<w::UntagUserOutput> {
    cx.write(|tx| {
        identity::update(tx, &cx, Kind::User, &input.user_name, |user| {
            ops::remove_tags(&mut user.tags, &input.tag_keys);
            Ok::<_, Error>(())
        })
    })
    .await?;
    Ok(w::UntagUserOutput {})
}

async fn list_tags(cx: Context, input: w::ListUserTagsRequest) -> Result<w::ListUserTagsResponse> {
    let user = identity::get(&cx.read(), &cx, Kind::User, &input.user_name)?;
    let (tags, marker) = tags_page(&user.tags, &page(input.marker, input.max_items))?;
    Ok(w::ListUserTagsResponse { is_truncated: Some(marker.is_some()), marker, tags })
}

async fn put_boundary(
    cx: Context,
    input: w::PutUserPermissionsBoundaryRequest,
) -> Result<w::PutUserPermissionsBoundaryOutput> {
    let arn = Some(input.permissions_boundary.as_str());
    cx.write(|tx| identity::set_boundary(tx, &cx, Kind::User, &input.user_name, arn)).await?;
    Ok(w::PutUserPermissionsBoundaryOutput {})
}

async fn delete_boundary(
    cx: Context,
    input: w::DeleteUserPermissionsBoundaryRequest,
) -> Result<w::DeleteUserPermissionsBoundaryOutput> {
    cx.write(|tx| identity::set_boundary(tx, &cx, Kind::User, &input.user_name, None)).await?;
    Ok(w::DeleteUserPermissionsBoundaryOutput {})
}

async fn groups(
    cx: Context,
    input: w::ListGroupsForUserRequest,
) -> Result<w::ListGroupsForUserResponse> {
    let snapshot = cx.read();
    let user = identity::get(&snapshot, &cx, Kind::User, &input.user_name)?;
    let page = page(input.marker, input.max_items);
    let (names, marker) = page.of(user.groups.iter(), |name| name.to_string())?;
    let group = |name: &String| identity::get(&snapshot, &cx, Kind::Group, name);
    let groups: Vec<_> = names.into_iter().map(group).collect::<Result<_>>()?;
    Ok(w::ListGroupsForUserResponse {
        groups: groups.iter().map(|group| super::group::out(group)).collect(),
        is_truncated: Some(marker.is_some()),
        marker,
    })
}
