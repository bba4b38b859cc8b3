//! Listeners on the wire.

use store::Snapshot;
use wire::elbv2 as w;

use super::rule::{actions_in, actions_out};
use super::{attributes_out, page_in, pairs, refuse, tags_in};
use crate::Context;
use crate::elbv2::attribute::LISTENER;
use crate::elbv2::error::Result;
use crate::elbv2::model::Listener;
use crate::elbv2::ops::listener as ops;
use crate::elbv2::ops::listener;

pub async fn create(cx: Context, input: w::CreateListenerInput) -> Result<w::CreateListenerOutput> {
    refuse(&input.alpn_policy, "AlpnPolicy")?;
    refuse(&input.certificates, "Certificates")?;
    refuse(&input.mutual_authentication, "MutualAuthentication")?;
    refuse(&input.ssl_policy, "SslPolicy")?;
    let request = ops::Create {
        load_balancer: input.load_balancer_arn,
        protocol: input.protocol,
        port: input.port,
        actions: actions_in(input.default_actions)?,
        tags: tags_in(input.tags)?,
    };
    let made = cx.write(|tx| ops::create(tx, &cx, &request)).await?;
    let listeners = Some(vec![listener_out(&cx.read(), &cx, &made)?]);
    Ok(w::CreateListenerOutput { listeners })
}

fn listener_out(snapshot: &Snapshot, cx: &Context, found: &Listener) -> Result<w::Listener> {
    let default = ops::default_rule(snapshot, cx, &found.arn)?;
    Ok(w::Listener {
        default_actions: Some(actions_out(&default)),
        listener_arn: Some(found.arn.clone()),
        load_balancer_arn: Some(found.load_balancer.clone()),
        port: Some(found.port.into()),
        protocol: Some("HTTP".to_owned()),
        ..w::Listener::default()
    })
}

pub async fn describe(
    cx: Context,
    input: w::DescribeListenersInput,
) -> Result<w::DescribeListenersOutput> {
    let snapshot = cx.read();
    let owner = input.load_balancer_arn.as_deref();
    let arns = input.listener_arns.unwrap_or_default();
    let page = page_in(input.page_size, input.marker);
    let (found, next_marker) = ops::describe(&snapshot, &cx, owner, &arns, &page)?;
    let listeners = found.iter().map(|found| listener_out(&snapshot, &cx, found));
    let listeners = Some(listeners.collect::<Result<_>>()?);
    Ok(w::DescribeListenersOutput { listeners, next_marker })
}

pub async fn modify(cx: Context, input: w::ModifyListenerInput) -> Result<w::ModifyListenerOutput> {
    refuse(&input.alpn_policy, "AlpnPolicy")?;
    refuse(&input.certificates, "Certificates")?;
    refuse(&input.mutual_authentication, "MutualAuthentication")?;
    refuse(&input.ssl_policy, "SslPolicy")?;
    let request = ops::Modify {
        arn: input.listener_arn,
        protocol: input.protocol,
        port: input.port,
        actions: actions_in(input.default_actions.unwrap_or_default())?,
    };
    let found = cx.write(|tx| ops::modify(tx, &cx, &request)).await?;
    let listeners = Some(vec![listener_out(&cx.read(), &cx, &found)?]);
    Ok(w::ModifyListenerOutput { listeners })
}

pub async fn delete(cx: Context, input: w::DeleteListenerInput) -> Result<w::DeleteListenerOutput> {
    cx.write(|tx| ops::delete(tx, &cx, &input.listener_arn)).await?;
    Ok(w::DeleteListenerOutput {})
}

pub async fn attributes(
    cx: Context,
    input: w::DescribeListenerAttributesInput,
) -> Result<w::DescribeListenerAttributesOutput> {
    let found = listener(&cx.read(), &cx, &input.listener_arn)?;
    Ok(w::DescribeListenerAttributesOutput { attributes: listed(&found) })
}

pub async fn modify_attributes(
    cx: Context,
    input: w::ModifyListenerAttributesInput,
) -> Result<w::ModifyListenerAttributesOutput> {
    let request = pairs(input.attributes, |attribute| (attribute.key, attribute.value));
    let arn = input.listener_arn;
    let found = cx.write(|tx| ops::modify_attributes(tx, &cx, &arn, &request)).await?;
    Ok(w::ModifyListenerAttributesOutput { attributes: listed(&found) })
}

fn listed(found: &Listener) -> Option<Vec<w::ListenerAttribute>> {
    let shape = |key, value| w::ListenerAttribute { key, value };
    attributes_out(LISTENER, &found.attributes, shape)
}
