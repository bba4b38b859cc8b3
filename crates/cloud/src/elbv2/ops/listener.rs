//! Listeners and their default rules.

use std::sync::Arc;

use store::{Record, Snapshot, Tx};

use super::{Page, SERVICE, listener, listeners, load_balancer, rule, rules, tag};
use crate::elbv2::attribute::{self, LISTENER};
use crate::elbv2::error::Quota;
use crate::elbv2::model::{Listener, Rule};
use crate::elbv2::rule::{ActionRequest, action};
use crate::elbv2::{Error, Result, quota};
use crate::tag::Tags;
use crate::{Context, id};

#[derive(Clone, Debug, Default)]
pub struct Create {
    pub load_balancer: String,
    pub protocol: Option<String>,
    pub port: Option<i32>,
    pub actions: Vec<ActionRequest>,
    pub tags: Tags,
}

/// The same request again gets the listener that is there.
pub fn create(tx: &mut Tx, cx: &Context, request: &Create) -> Result<Arc<Listener>> {
    let owner = load_balancer(tx, cx, &request.load_balancer)?;
    let protocol = request.protocol.as_deref();
    check_protocol(
        protocol.ok_or_else(|| Error::validation("A listener protocol must be specified"))?,
    )?;
    let port =
        request.port.ok_or_else(|| Error::validation("A listener port must be specified"))?;
    let port = check_port(port)?;
    let (action, order) = action(&request.actions)?;
    rule::check_target_groups(tx, cx, &owner.arn, &action)?;
    tag::check(&request.tags)?;

    let all = listeners(tx, cx, &owner.arn);
    if let Some(present) = all.iter().find(|present| present.port == port) {
        let same =
            default_rule(tx, cx, &present.arn)?.action == action && present.tags == request.tags;
        return if same {
            Ok(Arc::clone(present))
        } else {
            Err(Error::DuplicateListener(owner.arn.clone()))
        };
    }
    if all.len() >= quota::LISTENERS {
        let message = "The maximum number of listeners on the load balancer has been reached";
        return Err(Error::TooMany(Quota::Listeners, message.to_owned()));
    }
    let id = format!("{}/{}", owner.id, id::hex16(&cx.env.rng));
    let fresh = Listener {
        account: cx.account.clone(),
        region: cx.region.clone(),
        arn: cx.arn(SERVICE, &format!("listener/{id}")),
        id,
        load_balancer: owner.arn.clone(),
        port,
        attributes: attribute::Set::new(),
        tags: request.tags.clone(),
    };
    rule::add(tx, cx, &fresh, None, vec![], action, order, Tags::new());
    tx.put(fresh.clone());
    rule::check_quotas(tx, cx, &owner.arn)?;
    Ok(Arc::new(fresh))
}

fn check_protocol(protocol: &str) -> Result<()> {
    match protocol {
        "HTTP" => Ok(()),
        "HTTPS" => Err(Error::UnsupportedProtocol(
            "Listener protocol 'HTTPS' is not supported by this cloud: it has no certificates"
                .to_owned(),
        )),
        other => Err(Error::validation(format!("Protocol '{other}' must be one of 'HTTP, HTTPS'"))),
    }
}

fn check_port(port: i32) -> Result<u16> {
    let fits = u16::try_from(port).ok().filter(|port| *port > 0);
    fits.ok_or_else(|| Error::validation(format!("Port '{port}' must be between 1 and 65535")))
}

/// Every listener has one.
pub fn default_rule(snapshot: &Snapshot, cx: &Context, arn: &str) -> Result<Arc<Rule>> {
    let last = rules(snapshot, cx, arn).pop();
    last.filter(|rule| rule.priority.is_none()).ok_or(Error::ListenerNotFound)
}

/// By load balancer, or by ARNs.
pub fn describe(
    snapshot: &Snapshot,
    cx: &Context,
    load_balancer_arn: Option<&str>,
    arns: &[String],
    page: &Page,
) -> Result<(Vec<Arc<Listener>>, Option<String>)> {
    let found = match (load_balancer_arn, arns) {
        (Some(arn), []) => {
            load_balancer(snapshot, cx, arn)?;
            listeners(snapshot, cx, arn)
        }
        (None, [_, ..]) => {
            let mut found =
                arns.iter().map(|arn| listener(snapshot, cx, arn)).collect::<Result<Vec<_>>>()?;
            found.sort_by(|a, b| a.id.cmp(&b.id));
            found
        }
        _ => {
            return Err(Error::validation(
                "You must specify either listener ARNs or a load balancer ARN",
            ));
        }
    };
    page.of(found, |found| found.id.clone())
}

#[derive(Clone, Debug, Default)]
pub struct Modify {
    pub arn: String,
    pub protocol: Option<String>,
    pub port: Option<i32>,
    /// Empty: as they are.
    pub actions: Vec<ActionRequest>,
}

pub fn modify(tx: &mut Tx, cx: &Context, request: &Modify) -> Result<Arc<Listener>> {
    let mut found = Listener::clone(&*listener(tx, cx, &request.arn)?);
    if let Some(protocol) = &request.protocol {
        check_protocol(protocol)?;
    }
    if let Some(port) = request.port {
        let port = check_port(port)?;
        let others = listeners(tx, cx, &found.load_balancer);
        if others.iter().any(|other| other.port == port && other.arn != found.arn) {
            return Err(Error::DuplicateListener(found.load_balancer));
        }
        found.port = port;
    }
    if !request.actions.is_empty() {
        let (action, order) = action(&request.actions)?;
        rule::check_target_groups(tx, cx, &found.load_balancer, &action)?;
        let default = default_rule(tx, cx, &found.arn)?;
        tx.put(Rule { action, order, ..Rule::clone(&default) });
        rule::check_quotas(tx, cx, &found.load_balancer)?;
    }
    tx.put(found.clone());
    Ok(Arc::new(found))
}

/// With its rules.
pub fn delete(tx: &mut Tx, cx: &Context, arn: &str) -> Result<()> {
    let found = listener(tx, cx, arn)?;
    for rule in rules(tx, cx, arn) {
        tx.delete::<Rule>(&rule.key());
    }
    tx.delete::<Listener>(&found.key());
    Ok(())
}

pub fn modify_attributes(
    tx: &mut Tx,
    cx: &Context,
    arn: &str,
    request: &[(String, String)],
) -> Result<Arc<Listener>> {
    let mut found = Listener::clone(&*listener(tx, cx, arn)?);
    found.attributes = attribute::set(LISTENER, "Listener", &found.attributes, request)?;
    tx.put(found.clone());
    Ok(Arc::new(found))
}
