//! Policies of users, groups and roles on the wire: attached and in line. The three have the same
//! operations by other names; what each does stands once, below the table.

use wire::iam as w;

use super::super::Result;
use super::super::model::Kind;
use super::super::ops::{Page, attachment, identity};
use super::{document_out, page};
use crate::Context;
use crate::services::{Entry, serve};

/// The seven operations of one kind of identity.
macro_rules! operations_of {
    ($kind:expr, $name:ident, $attach:ident -> $attached:ident, $detach:ident -> $detached:ident,
     $list_attached:ident -> $listed_attached:ident, $put:ident -> $put_out:ident,
     $get:ident -> $got:ident, $delete:ident -> $deleted:ident, $list:ident -> $listed:ident) => {
        [
            serve::<w::$attach, _, _, _>(|cx: Context, i: Input<w::$attach>| async move {
                attach(cx, $kind, i.$name, i.policy_arn).await.map(|()| w::$attached {})
            }),
            serve::<w::$detach, _, _, _>(|cx: Context, i: Input<w::$detach>| async move {
                detach(cx, $kind, i.$name, i.policy_arn).await.map(|()| w::$detached {})
            }),
            serve::<w::$list_attached, _, _, _>(
                |cx: Context, i: Input<w::$list_attached>| async move {
                    let page = page(i.marker, i.max_items);
                    let listed = list_attached(&cx, $kind, &i.$name, i.path_prefix, &page)?;
                    let (policies, marker) = listed;
                    Ok::<_, super::Error>(w::$listed_attached {
                        attached_policies: Some(policies),
                        is_truncated: Some(marker.is_some()),
                        marker,
                    })
                },
            ),
            serve::<w::$put, _, _, _>(|cx: Context, i: Input<w::$put>| async move {
                put(cx, $kind, i.$name, i.policy_name, i.policy_document)
                    .await
                    .map(|()| w::$put_out {})
            }),
            serve::<w::$get, _, _, _>(|cx: Context, i: Input<w::$get>| async move {
                let text = get(&cx, $kind, &i.$name, &i.policy_name)?;
                Ok::<_, super::Error>(w::$got {
                    policy_document: text,
                    policy_name: i.policy_name,
                    $name: i.$name,
                })
            }),
            serve::<w::$delete, _, _, _>(|cx: Context, i: Input<w::$delete>| async move {
                delete(cx, $kind, i.$name, i.policy_name).await.map(|()| w::$deleted {})
            }),
            serve::<w::$list, _, _, _>(|cx: Context, i: Input<w::$list>| async move {
                let page = page(i.marker, i.max_items);
                let (policy_names, marker) = list(&cx, $kind, &i.$name, &page)?;
                let is_truncated = Some(marker.is_some());
                Ok::<_, super::Error>(w::$listed { is_truncated, marker, policy_names })
            }),
        ]
    };
}

type Input<O> = <O as wire::Operation>::Input;

pub fn operations() -> Vec<Entry> {
    let users = operations_of!(
        Kind::User, user_name,
        AttachUserPolicy -> AttachUserPolicyOutput,
        DetachUserPolicy -> DetachUserPolicyOutput,
        ListAttachedUserPolicies -> ListAttachedUserPoliciesResponse,
        PutUserPolicy -> PutUserPolicyOutput,
        GetUserPolicy -> GetUserPolicyResponse,
        DeleteUserPolicy -> DeleteUserPolicyOutput,
        ListUserPolicies -> ListUserPoliciesResponse
    );
    let groups = operations_of!(
        Kind::Group, group_name,
        AttachGroupPolicy -> AttachGroupPolicyOutput,
        DetachGroupPolicy -> DetachGroupPolicyOutput,
        ListAttachedGroupPolicies -> ListAttachedGroupPoliciesResponse,
        PutGroupPolicy -> PutGroupPolicyOutput,
        GetGroupPolicy -> GetGroupPolicyResponse,
        DeleteGroupPolicy -> DeleteGroupPolicyOutput,
        ListGroupPolicies -> ListGroupPoliciesResponse
    );
    let roles = operations_of!(
        Kind::Role, role_name,
        AttachRolePolicy -> AttachRolePolicyOutput,
        DetachRolePolicy -> DetachRolePolicyOutput,
        ListAttachedRolePolicies -> ListAttachedRolePoliciesResponse,
        PutRolePolicy -> PutRolePolicyOutput,
        GetRolePolicy -> GetRolePolicyResponse,
        DeleteRolePolicy -> DeleteRolePolicyOutput,
        ListRolePolicies -> ListRolePoliciesResponse
    );
    [users, groups, roles].into_iter().flatten().collect()
}

async fn attach(cx: Context, kind: Kind, name: String, arn: String) -> Result<()> {
    cx.write(|tx| attachment::attach(tx, &cx, kind, &name, &arn)).await
}

async fn detach(cx: Context, kind: Kind, name: String, arn: String) -> Result<()> {
    cx.write(|tx| attachment::detach(tx, &cx, kind, &name, &arn)).await
}

fn list_attached(
    cx: &Context,
    kind: Kind,
    name: &str,
    path_prefix: Option<String>,
    page: &Page,
) -> Result<(Vec<w::AttachedPolicy>, Option<String>)> {
    let snapshot = cx.read();
    let identity = identity::get(&snapshot, cx, kind, name)?;
    let attached = attachment::attached(&snapshot, cx, &identity, path_prefix.as_deref());
    let (attached, marker) = page.of(attached, |(name, arn)| format!("{name} {arn}"))?;
    Ok((attached.into_iter().map(attached_out).collect(), marker))
}

pub fn attached_out((name, arn): (String, String)) -> w::AttachedPolicy {
    w::AttachedPolicy { policy_arn: Some(arn), policy_name: Some(name) }
}

async fn put(cx: Context, kind: Kind, name: String, policy: String, text: String) -> Result<()> {
    cx.write(|tx| attachment::put(tx, &cx, kind, &name, &policy, &text)).await
}

fn get(cx: &Context, kind: Kind, name: &str, policy: &str) -> Result<String> {
    let text = attachment::get(&cx.read(), cx, kind, name, policy)?;
    Ok(document_out(&text))
}

async fn delete(cx: Context, kind: Kind, name: String, policy: String) -> Result<()> {
    cx.write(|tx| attachment::delete(tx, &cx, kind, &name, &policy)).await
}

fn list(
    cx: &Context,
    kind: Kind,
    name: &str,
    page: &Page,
) -> Result<(Vec<String>, Option<String>)> {
    let identity = identity::get(&cx.read(), cx, kind, name)?;
    page.of(identity.inline.keys().cloned(), String::clone)
}
