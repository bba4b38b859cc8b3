//! Access keys on the wire.

use wire::iam as w;

use super::super::Result;
use super::super::model::{AccessKey, Kind};
use super::super::ops::{identity, key};
use super::{at, page, user_or_caller};
use crate::Context;
use crate::services::{Entry, serve};

pub fn operations() -> Vec<Entry> {
    vec![
        serve::<w::CreateAccessKey, _, _, _>(create),
        serve::<w::DeleteAccessKey, _, _, _>(delete),
        serve::<w::ListAccessKeys, _, _, _>(list),
        serve::<w::UpdateAccessKey, _, _, _>(update),
        serve::<w::GetAccessKeyLastUsed, _, _, _>(last_used),
    ]
}

fn status(key: &AccessKey) -> String {
    if key.active { "Active" } else { "Inactive" }.to_owned()
}

async fn create(
    cx: Context,
    input: w::CreateAccessKeyRequest,
) -> Result<w::CreateAccessKeyResponse> {
    let user = user_or_caller(&cx, input.user_name)?;
    let (key, secret) = cx.write(|tx| key::create(tx, &cx, &user)).await?;
    let access_key = w::AccessKey {
        access_key_id: key.id.clone(),
        create_date: Some(at(key.created_at)),
        secret_access_key: secret,
        status: status(&key),
        user_name: key.user,
    };
    Ok(w::CreateAccessKeyResponse { access_key })
}

async fn delete(cx: Context, input: w::DeleteAccessKeyRequest) -> Result<w::DeleteAccessKeyOutput> {
    let user = user_or_caller(&cx, input.user_name)?;
    cx.write(|tx| key::delete(tx, &cx, &user, &input.access_key_id)).await?;
    Ok(w::DeleteAccessKeyOutput {})
}

async fn list(cx: Context, input: w::ListAccessKeysRequest) -> Result<w::ListAccessKeysResponse> {
    let user = user_or_caller(&cx, input.user_name)?;
    let snapshot = cx.read();
    identity::get(&snapshot, &cx, Kind::User, &user)?;
    let keys = key::of(&snapshot, &cx, &user);
    let (keys, marker) = page(input.marker, input.max_items).of(keys, |key| key.id.clone())?;
    let out = |key: &AccessKey| w::AccessKeyMetadata {
        access_key_id: Some(key.id.clone()),
        create_date: Some(at(key.created_at)),
        status: Some(status(key)),
        user_name: Some(key.user.clone()),
    };
    Ok(w::ListAccessKeysResponse {
        access_key_metadata: keys.iter().map(|key| out(key)).collect(),
        is_truncated: Some(marker.is_some()),
        marker,
    })
}

async fn update(cx: Context, input: w::UpdateAccessKeyRequest) -> Result<w::UpdateAccessKeyOutput> {
    let user = user_or_caller(&cx, input.user_name)?;
    let active = input.status == "Active";
    cx.write(|tx| key::set_active(tx, &cx, &user, &input.access_key_id, active)).await?;
    Ok(w::UpdateAccessKeyOutput {})
}

async fn last_used(
    cx: Context,
    input: w::GetAccessKeyLastUsedRequest,
) -> Result<w::GetAccessKeyLastUsedResponse> {
    let snapshot = cx.read();
    let found = key::get(&snapshot, &cx, &input.access_key_id)?;
    let used = key::last_used(&snapshot, &found.id);
    let said = |text: Option<&String>| text.map_or("N/A".to_owned(), String::clone);
    Ok(w::GetAccessKeyLastUsedResponse {
        access_key_last_used: Some(w::AccessKeyLastUsed {
            last_used_date: used.as_ref().map(|used| at(used.at)),
            region: said(used.as_ref().map(|used| &used.region)),
            service_name: said(used.as_ref().map(|used| &used.service)),
        }),
        user_name: Some(found.user.clone()),
    })
}
