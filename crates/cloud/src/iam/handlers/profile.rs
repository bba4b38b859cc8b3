//! Instance profiles on the wire.

use store::Snapshot;
use wire::iam as w;

use super::super::model::{InstanceProfile, Kind};
use super::super::ops::{self, identity, profile};
use super::super::{Error, Result};
use super::{at, page, role, tags_in, tags_out, tags_page};
use crate::Context;
use crate::services::{Entry, serve};

pub fn operations() -> Vec<Entry> {
    vec![
        serve::<w::CreateInstanceProfile, _, _, _>(create),
        serve::<w::GetInstanceProfile, _, _, _>(get),
        serve::<w::DeleteInstanceProfile, _, _, _>(delete),
        serve::<w::ListInstanceProfiles, _, _, _>(list),
        serve::<w::ListInstanceProfilesForRole, _, _, _>(list_for_role),
        serve::<w::AddRoleToInstanceProfile, _, _, _>(add_role),
        serve::<w::RemoveRoleFromInstanceProfile, _, _, _>(remove_role),
        serve::<w::TagInstanceProfile, _, _, _>(tag),
        serve::<w::UntagInstanceProfile, _, _, _>(untag),
        serve::<w::ListInstanceProfileTags, _, _, _>(list_tags),
    ]
}

pub fn out(snapshot: &Snapshot, cx: &Context, found: &InstanceProfile) -> w::InstanceProfile {
    let held = profile::role(snapshot, cx, found);
    w::InstanceProfile {
        arn: found.arn(),
        create_date: at(found.created_at),
        instance_profile_id: found.id.clone(),
        instance_profile_name: found.name.clone(),
        path: found.path.clone(),
        roles: held.iter().map(|held| role::short(held)).collect(),
        tags: tags_out(&found.tags),
    }
}

async fn create(
    cx: Context,
    input: w::CreateInstanceProfileRequest,
) -> Result<w::CreateInstanceProfileResponse> {
    let tags = tags_in(input.tags)?;
    let (name, path) = (&input.instance_profile_name, input.path.as_deref());
    let made = cx.write(|tx| profile::create(tx, &cx, name, path, tags.clone())).await?;
    Ok(w::CreateInstanceProfileResponse { instance_profile: out(&cx.read(), &cx, &made) })
}

async fn get(
    cx: Context,
    input: w::GetInstanceProfileRequest,
) -> Result<w::GetInstanceProfileResponse> {
    let snapshot = cx.read();
    let found = profile::get(&snapshot, &cx, &input.instance_profile_name)?;
    Ok(w::GetInstanceProfileResponse { instance_profile: out(&snapshot, &cx, &found) })
}

async fn delete(
    cx: Context,
    input: w::DeleteInstanceProfileRequest,
) -> Result<w::DeleteInstanceProfileOutput> {
    cx.write(|tx| profile::delete(tx, &cx, &input.instance_profile_name)).await?;
    Ok(w::DeleteInstanceProfileOutput {})
}

async fn list(
    cx: Context,
    input: w::ListInstanceProfilesRequest,
) -> Result<w::ListInstanceProfilesResponse> {
    let snapshot = cx.read();
    let found = profile::list(&snapshot, &cx, input.path_prefix.as_deref());
    let page = page(input.marker, input.max_items);
    let (found, marker) = page.of(found, |profile| profile.name.to_lowercase())?;
    Ok(w::ListInstanceProfilesResponse {
        instance_profiles: found.iter().map(|found| out(&snapshot, &cx, found)).collect(),
        is_truncated: Some(marker.is_some()),
        marker,
    })
}

async fn list_for_role(
    cx: Context,
    input: w::ListInstanceProfilesForRoleRequest,
) -> Result<w::ListInstanceProfilesForRoleResponse> {
    let snapshot = cx.read();
    identity::get(&snapshot, &cx, Kind::Role, &input.role_name)?;
    let found = identity::profiles_of(&snapshot, &cx, &input.role_name);
    let page = page(input.marker, input.max_items);
    let (found, marker) = page.of(found, |profile| profile.name.to_lowercase())?;
    Ok(w::ListInstanceProfilesForRoleResponse {
        instance_profiles: found.iter().map(|found| out(&snapshot, &cx, found)).collect(),
        is_truncated: Some(marker.is_some()),
        marker,
    })
}

async fn add_role(
    cx: Context,
    input: w::AddRoleToInstanceProfileRequest,
) -> Result<w::AddRoleToInstanceProfileOutput> {
    let name = &input.instance_profile_name;
    cx.write(|tx| profile::add_role(tx, &cx, name, &input.role_name)).await?;
    Ok(w::AddRoleToInstanceProfileOutput {})
}

async fn remove_role(
    cx: Context,
    input: w::RemoveRoleFromInstanceProfileRequest,
) -> Result<w::RemoveRoleFromInstanceProfileOutput> {
    let name = &input.instance_profile_name;
    cx.write(|tx| profile::remove_role(tx, &cx, name, &input.role_name)).await?;
    Ok(w::RemoveRoleFromInstanceProfileOutput {})
}

async fn tag(
    cx: Context,
    input: w::TagInstanceProfileRequest,
) -> Result<w::TagInstanceProfileOutput> {
    let tags = tags_in(Some(input.tags))?;
    cx.write(|tx| {
        profile::update(tx, &cx, &input.instance_profile_name, |profile| {
            ops::add_tags(&mut profile.tags, tags.clone())
        })
    })
    .await?;
    Ok(w::TagInstanceProfileOutput {})
}

async fn untag(
    cx: Context,
    input: w::UntagInstanceProfileRequest,
) -> Result<w::UntagInstanceProfileOutput> {
    cx.write(|tx| {
        profile::update(tx, &cx, &input.instance_profile_name, |profile| {
            ops::remove_tags(&mut profile.tags, &input.tag_keys);
            Ok::<_, Error>(())
        })
    })
    .await?;
    Ok(w::UntagInstanceProfileOutput {})
}

async fn list_tags(
    cx: Context,
    input: w::ListInstanceProfileTagsRequest,
) -> Result<w::ListInstanceProfileTagsResponse> {
    let found = profile::get(&cx.read(), &cx, &input.instance_profile_name)?;
    let (tags, marker) = tags_page(&found.tags, &page(input.marker, input.max_items))?;
    Ok(w::ListInstanceProfileTagsResponse { is_truncated: Some(marker.is_some()), marker, tags })
}
