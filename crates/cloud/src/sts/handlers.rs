//! STS on the wire.

use wire::sts as w;

use super::ops::{self, Assume};
use crate::Context;
use crate::iam::model::AccessKey;
use crate::iam::ops::unique_tags;
use crate::iam::{Error, Result, Session, authorize};
use crate::services::{Entry, serve};

pub fn operations() -> Vec<Entry> {
    vec![
        serve::<w::GetCallerIdentity, _, _, _>(get_caller_identity),
        serve::<w::AssumeRole, _, _, _>(assume_role),
        serve::<w::GetSessionToken, _, _, _>(get_session_token),
        serve::<w::DecodeAuthorizationMessage, _, _, _>(decode_authorization_message),
        serve::<w::GetAccessKeyInfo, _, _, _>(get_access_key_info),
    ]
}

async fn get_caller_identity(
    cx: Context,
    _: w::GetCallerIdentityRequest,
) -> Result<w::GetCallerIdentityResponse> {
    let user_id = cx.from.user_id(&cx.account);
    Ok(w::GetCallerIdentityResponse {
        account: Some(cx.account),
        arn: Some(cx.caller),
        user_id: Some(user_id),
    })
}

async fn assume_role(cx: Context, input: w::AssumeRoleRequest) -> Result<w::AssumeRoleResponse> {
    for (given, name) in [
        (input.serial_number.is_some(), "SerialNumber"),
        (input.token_code.is_some(), "TokenCode"),
        (input.provided_contexts.is_some_and(|all| !all.is_empty()), "ProvidedContexts"),
        (input.transitive_tag_keys.is_some_and(|all| !all.is_empty()), "TransitiveTagKeys"),
        (input.minimum_session_token_size.is_some(), "MinimumSessionTokenSize"),
    ] {
        if given {
            return Err(Error::unsupported(name));
        }
    }
    let tags = input.tags.unwrap_or_default().into_iter().map(|tag| (tag.key, tag.value));
    let arns = input.policy_arns.unwrap_or_default().into_iter().filter_map(|policy| policy.arn);
    let asked = Assume {
        role_arn: input.role_arn,
        session_name: input.role_session_name,
        seconds: input.duration_seconds,
        external_id: input.external_id,
        policy: input.policy,
        policy_arns: arns.collect(),
        source_identity: input.source_identity,
        tags: unique_tags(tags)?,
    };
    let (session, role) = ops::assume(&cx.read(), &cx, &asked)?;
    let assumed = format!("assumed-role/{}/{}", role.name, asked.session_name);
    Ok(w::AssumeRoleResponse {
        assumed_role_user: Some(w::AssumedRoleUser {
            arn: crate::arn::arn("sts", "", &cx.account, &assumed),
            assumed_role_id: format!("{}:{}", role.id, asked.session_name),
        }),
        credentials: Some(credentials(&cx, &session)),
        packed_policy_size: ops::packed_percent(&asked),
        source_identity: session.source_identity,
        ..Default::default()
    })
}

fn credentials(cx: &Context, session: &Session) -> w::Credentials {
    let made = session.credentials(&cx.env);
    w::Credentials {
        access_key_id: made.access_key,
        expiration: wire::Timestamp(made.expires_at.0),
        secret_access_key: made.secret,
        session_token: made.token,
    }
}

async fn get_session_token(
    cx: Context,
    input: w::GetSessionTokenRequest,
) -> Result<w::GetSessionTokenResponse> {
    for (given, name) in [
        (input.serial_number.is_some(), "SerialNumber"),
        (input.token_code.is_some(), "TokenCode"),
        (input.minimum_session_token_size.is_some(), "MinimumSessionTokenSize"),
    ] {
        if given {
            return Err(Error::unsupported(name));
        }
    }
    let session = ops::session_of_caller(&cx, input.duration_seconds)?;
    let credentials = Some(credentials(&cx, &session));
    Ok(w::GetSessionTokenResponse { credentials, ..Default::default() })
}

async fn decode_authorization_message(
    cx: Context,
    input: w::DecodeAuthorizationMessageRequest,
) -> Result<w::DecodeAuthorizationMessageResponse> {
    let decoded = authorize::decode_message(&cx, &input.encoded_message);
    let decoded_message = Some(decoded.ok_or(Error::InvalidAuthorizationMessage)?);
    Ok(w::DecodeAuthorizationMessageResponse { decoded_message })
}

/// Only of long-term keys can be told that they are this account's: nothing is kept of others.
async fn get_access_key_info(
    cx: Context,
    input: w::GetAccessKeyInfoRequest,
) -> Result<w::GetAccessKeyInfoResponse> {
    let key = cx.read().get::<AccessKey>(&input.access_key_id);
    match key {
        Some(key) => Ok(w::GetAccessKeyInfoResponse { account: Some(key.account.clone()) }),
        None => Err(Error::validation(format!(
            "The access key {} is not known here.",
            input.access_key_id
        ))),
    }
}
