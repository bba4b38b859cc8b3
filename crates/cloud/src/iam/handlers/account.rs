//! The account on the wire: alias, summary, and everything of IAM in one answer.

use std::sync::Arc;

use store::Snapshot;
use wire::iam as w;

use super::super::document::Document;
use super::super::model::{Identity, Kind};
use super::super::ops::policy::Found;
use super::super::ops::{account, attachment, identity, policy};
use super::super::{Error, Result};
use super::{at, boundary_out, document_out, page, policies, profile, role, tags_out};
use crate::Context;
use crate::services::{Entry, serve};

pub fn operations() -> Vec<Entry> {
    vec![
        serve::<w::GetAccountSummary, _, _, _>(summary),
        serve::<w::GetAccountAuthorizationDetails, _, _, _>(details),
        serve::<w::ListAccountAliases, _, _, _>(aliases),
        serve::<w::CreateAccountAlias, _, _, _>(create_alias),
        serve::<w::DeleteAccountAlias, _, _, _>(delete_alias),
    ]
}

async fn summary(
    cx: Context,
    _: w::GetAccountSummaryInput,
) -> Result<w::GetAccountSummaryResponse> {
    let summary_map = Some(account::summary(&cx.read(), &cx));
    Ok(w::GetAccountSummaryResponse { summary_map })
}

async fn aliases(
    cx: Context,
    _: w::ListAccountAliasesRequest,
) -> Result<w::ListAccountAliasesResponse> {
    Ok(w::ListAccountAliasesResponse {
        account_aliases: account::alias(&cx.read(), &cx).into_iter().collect(),
        is_truncated: Some(false),
        marker: None,
    })
}

async fn create_alias(
    cx: Context,
    input: w::CreateAccountAliasRequest,
) -> Result<w::CreateAccountAliasOutput> {
    cx.write(|tx| {
        account::set_alias(tx, &cx, &input.account_alias);
        Ok::<_, Error>(())
    })
    .await?;
    Ok(w::CreateAccountAliasOutput {})
}

async fn delete_alias(
    cx: Context,
    input: w::DeleteAccountAliasRequest,
) -> Result<w::DeleteAccountAliasOutput> {
    cx.write(|tx| account::delete_alias(tx, &cx, &input.account_alias)).await?;
    Ok(w::DeleteAccountAliasOutput {})
}

/// One thing of a page of everything.
enum Detail {
    Identity(Arc<Identity>),
    Policy(Found),
}

impl Detail {
    fn key(&self) -> String {
        match self {
            Detail::Identity(identity) => store::Record::key(&**identity),
            Detail::Policy(found) => format!("~{}", found.arn()),
        }
    }
}

async fn details(
    cx: Context,
    input: w::GetAccountAuthorizationDetailsRequest,
) -> Result<w::GetAccountAuthorizationDetailsResponse> {
    let snapshot = cx.read();
    let filter = input.filter.unwrap_or_default();
    let wanted = |word: &str| filter.is_empty() || filter.iter().any(|filter| filter == word);
    let mut all = Vec::new();
    for kind in [Kind::Group, Kind::Role, Kind::User] {
        if wanted(kind.title()) {
            let found = identity::list(&snapshot, &cx, kind, None);
            all.extend(found.into_iter().map(Detail::Identity));
        }
    }
    all.extend(policies_of(&snapshot, &cx, &wanted).into_iter().map(Detail::Policy));
    all.sort_by_key(Detail::key);
    let (found, marker) = page(input.marker, input.max_items).of(all, Detail::key)?;
    let mut answer = w::GetAccountAuthorizationDetailsResponse {
        group_detail_list: Some(vec![]),
        is_truncated: Some(marker.is_some()),
        marker,
        policies: Some(vec![]),
        role_detail_list: Some(vec![]),
        user_detail_list: Some(vec![]),
    };
    for detail in found {
        match detail {
            Detail::Policy(found) => {
                let detail = super::policy::detail(&snapshot, &cx, &found);
                answer.policies.get_or_insert_default().push(detail);
            }
            Detail::Identity(one) => match one.kind {
                Kind::User => {
                    answer.user_detail_list.get_or_insert_default().push(user(&snapshot, &cx, &one))
                }
                Kind::Group => {
                    let list = answer.group_detail_list.get_or_insert_default();
                    list.push(group(&snapshot, &cx, &one));
                }
                Kind::Role => {
                    let list = answer.role_detail_list.get_or_insert_default();
                    list.push(role_detail(&snapshot, &cx, &one));
                }
            },
        }
    }
    Ok(answer)
}

/// Customers' policies, and those of AWS that something uses.
fn policies_of(snapshot: &Snapshot, cx: &Context, wanted: &dyn Fn(&str) -> bool) -> Vec<Found> {
    let mut found = Vec::new();
    if wanted("LocalManagedPolicy") {
        found.extend(policy::customers(snapshot, cx).into_iter().map(Found::Customer));
    }
    if wanted("AWSManagedPolicy") {
        let used = policy::managed()
            .iter()
            .map(Found::Aws)
            .filter(|found| policy::usage(snapshot, cx, &found.arn()) != (0, 0));
        found.extend(used);
    }
    found
}

fn attached(snapshot: &Snapshot, cx: &Context, one: &Identity) -> Option<Vec<w::AttachedPolicy>> {
    let attached = attachment::attached(snapshot, cx, one, None);
    Some(attached.into_iter().map(policies::attached_out).collect())
}

fn inline(one: &Identity) -> Option<Vec<w::PolicyDetail>> {
    let detail = |(name, document): (&String, &Document)| w::PolicyDetail {
        policy_document: Some(document_out(&document.text)),
        policy_name: Some(name.clone()),
    };
    Some(one.inline.iter().map(detail).collect())
}

fn user(snapshot: &Snapshot, cx: &Context, one: &Identity) -> w::UserDetail {
    w::UserDetail {
        arn: Some(one.arn()),
        attached_managed_policies: attached(snapshot, cx, one),
        create_date: Some(at(one.created_at)),
        group_list: Some(one.groups.iter().cloned().collect()),
        path: Some(one.path.clone()),
        permissions_boundary: boundary_out(&one.boundary),
        tags: tags_out(&one.tags),
        user_id: Some(one.id.clone()),
        user_name: Some(one.name.clone()),
        user_policy_list: inline(one),
    }
}

fn group(snapshot: &Snapshot, cx: &Context, one: &Identity) -> w::GroupDetail {
    w::GroupDetail {
        arn: Some(one.arn()),
        attached_managed_policies: attached(snapshot, cx, one),
        create_date: Some(at(one.created_at)),
        group_id: Some(one.id.clone()),
        group_name: Some(one.name.clone()),
        group_policy_list: inline(one),
        path: Some(one.path.clone()),
    }
}

fn role_detail(snapshot: &Snapshot, cx: &Context, one: &Identity) -> w::RoleDetail {
    let profiles = identity::profiles_of(snapshot, cx, &one.name);
    w::RoleDetail {
        arn: Some(one.arn()),
        assume_role_policy_document: one.role.as_ref().map(|role| document_out(&role.trust.text)),
        attached_managed_policies: attached(snapshot, cx, one),
        create_date: Some(at(one.created_at)),
        instance_profile_list: Some(
            profiles.iter().map(|found| profile::out(snapshot, cx, found)).collect(),
        ),
        path: Some(one.path.clone()),
        permissions_boundary: boundary_out(&one.boundary),
        role_id: Some(one.id.clone()),
        role_last_used: Some(role::last_used(snapshot, one)),
        role_name: Some(one.name.clone()),
        role_policy_list: inline(one),
        tags: tags_out(&one.tags),
    }
}
