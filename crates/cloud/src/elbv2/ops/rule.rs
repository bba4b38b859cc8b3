//! Rules of listeners, their priorities, and what they forward to.

use std::collections::BTreeSet;
use std::sync::Arc;

use store::{Record, Snapshot, Tx};

use super::{
    Page, SERVICE, attached_load_balancers, listener, load_balancer, rule, rules,
    rules_of_load_balancer, tag, target_group,
};
use crate::elbv2::error::Quota;
use crate::elbv2::model::{Action, Condition, Listener, Rule};
use crate::elbv2::rule::{ActionRequest, ConditionRequest, action, conditions};
use crate::elbv2::{Error, Result, quota};
use crate::tag::Tags;
use crate::{Context, id};

const MAX_PRIORITY: i32 = 50_000;

#[derive(Clone, Debug, Default)]
pub struct Create {
    pub listener: String,
    pub priority: i32,
    pub conditions: Vec<ConditionRequest>,
    pub actions: Vec<ActionRequest>,
    pub tags: Tags,
}

pub fn create(tx: &mut Tx, cx: &Context, request: &Create) -> Result<Arc<Rule>> {
    let listener = listener(tx, cx, &request.listener)?;
    let priority = check_priority(request.priority)?;
    let conditions = conditions(&request.conditions)?;
    let (action, order) = action(&request.actions)?;
    check_target_groups(tx, cx, &listener.load_balancer, &action)?;
    tag::check(&request.tags)?;
    if rules(tx, cx, &listener.arn).iter().any(|rule| rule.priority == Some(priority)) {
        return Err(Error::PriorityInUse(priority));
    }
    let tags = request.tags.clone();
    let fresh = add(tx, cx, &listener, Some(priority), conditions, action, order, tags);
    check_quotas(tx, cx, &listener.load_balancer)?;
    Ok(fresh)
}

fn check_priority(priority: i32) -> Result<u32> {
    if (1..=MAX_PRIORITY).contains(&priority) {
        return Ok(priority as u32);
    }
    let message = format!("Priority '{priority}' must be between 1 and {MAX_PRIORITY}");
    Err(Error::validation(message))
}

/// Writes a rule; everything was checked.
pub(super) fn add(
    tx: &mut Tx,
    cx: &Context,
    listener: &Listener,
    priority: Option<u32>,
    conditions: Vec<Condition>,
    action: Action,
    order: Option<i32>,
    tags: Tags,
) -> Arc<Rule> {
    let id = format!("{}/{}", listener.id, id::hex16(&cx.env.rng));
    let fresh = Rule {
        account: cx.account.clone(),
        region: cx.region.clone(),
        arn: cx.arn(SERVICE, &format!("listener-rule/{id}")),
        id,
        listener: listener.arn.clone(),
        priority,
        conditions,
        action,
        order,
        tags,
    };
    tx.put(fresh.clone());
    Arc::new(fresh)
}

/// The groups must exist, in the load balancer's network, and be no other load balancer's.
pub(super) fn check_target_groups(
    snapshot: &Snapshot,
    cx: &Context,
    load_balancer_arn: &str,
    action: &Action,
) -> Result<()> {
    let owner = load_balancer(snapshot, cx, load_balancer_arn)?;
    for arn in action.target_groups() {
        let group = target_group(snapshot, cx, arn)?;
        if group.vpc_id != owner.vpc_id {
            return Err(Error::configuration(format!(
                "The target group '{arn}' is not in the VPC '{}' of the load balancer",
                owner.vpc_id
            )));
        }
        let holders = attached_load_balancers(snapshot, cx, arn);
        if holders.iter().any(|holder| *holder != owner.arn) {
            return Err(Error::TargetGroupAssociationLimit(arn.to_owned()));
        }
    }
    Ok(())
}

/// After a rule was written.
pub(super) fn check_quotas(
    snapshot: &Snapshot,
    cx: &Context,
    load_balancer_arn: &str,
) -> Result<()> {
    let all = rules_of_load_balancer(snapshot, cx, load_balancer_arn);
    if all.iter().filter(|rule| rule.priority.is_some()).count() > quota::RULES {
        let message = "The maximum number of rules on the load balancer has been reached";
        return Err(Error::TooMany(Quota::Rules, message.to_owned()));
    }
    let groups: BTreeSet<&str> = all.iter().flat_map(|rule| rule.action.target_groups()).collect();
    if groups.len() > quota::GROUPS_PER_LOAD_BALANCER {
        let message = "The maximum number of target groups of the load balancer has been reached";
        return Err(Error::TooMany(Quota::TargetGroups, message.to_owned()));
    }
    Ok(())
}

/// Of a listener, in order of priority with the default rule last; or by ARNs.
pub fn describe(
    snapshot: &Snapshot,
    cx: &Context,
    listener_arn: Option<&str>,
    arns: &[String],
    page: &Page,
) -> Result<(Vec<Arc<Rule>>, Option<String>)> {
    let found = match (listener_arn, arns) {
        (Some(arn), []) => {
            listener(snapshot, cx, arn)?;
            rules(snapshot, cx, arn)
        }
        (None, [_, ..]) => {
            let found = arns.iter().map(|arn| rule(snapshot, cx, arn));
            let mut found = found.collect::<Result<Vec<_>>>()?;
            found.sort_by_key(|rule| place(rule));
            found
        }
        _ => {
            return Err(Error::validation(
                "You must specify either listener rule ARNs or a listener ARN",
            ));
        }
    };
    page.of(found, |rule| place(rule))
}

/// Sorts by priority, default rules last.
fn place(rule: &Rule) -> String {
    format!("{:05} {}", rule.priority.unwrap_or(99_999), rule.id)
}

#[derive(Clone, Debug, Default)]
pub struct Modify {
    pub arn: String,
    /// Empty: as they are. So for the actions.
    pub conditions: Vec<ConditionRequest>,
    pub actions: Vec<ActionRequest>,
}

pub fn modify(tx: &mut Tx, cx: &Context, request: &Modify) -> Result<Arc<Rule>> {
    let mut found = Rule::clone(&*rule(tx, cx, &request.arn)?);
    not_default(&found, "modified")?;
    if !request.conditions.is_empty() {
        found.conditions = conditions(&request.conditions)?;
    }
    if !request.actions.is_empty() {
        let owner = listener(tx, cx, &found.listener)?;
        (found.action, found.order) = action(&request.actions)?;
        check_target_groups(tx, cx, &owner.load_balancer, &found.action)?;
        tx.put(found.clone());
        check_quotas(tx, cx, &owner.load_balancer)?;
    }
    tx.put(found.clone());
    Ok(Arc::new(found))
}

fn not_default(rule: &Rule, done: &str) -> Result<()> {
    if rule.priority.is_some() {
        return Ok(());
    }
    let message = format!("Default rule '{}' cannot be {done}", rule.arn);
    Err(Error::OperationNotPermitted(message))
}

pub fn delete(tx: &mut Tx, cx: &Context, arn: &str) -> Result<()> {
    let found = rule(tx, cx, arn)?;
    not_default(&found, "deleted")?;
    tx.delete::<Rule>(&found.key());
    Ok(())
}

/// All at once, so that two rules can change places.
pub fn set_priorities(
    tx: &mut Tx,
    cx: &Context,
    wanted: &[(String, i32)],
) -> Result<Vec<Arc<Rule>>> {
    if wanted.is_empty() {
        return Err(Error::validation("At least one rule priority must be specified"));
    }
    let mut changed = Vec::new();
    for (arn, priority) in wanted {
        let found = rule(tx, cx, arn)?;
        not_default(&found, "given a priority")?;
        changed.push(Rule { priority: Some(check_priority(*priority)?), ..Rule::clone(&found) });
    }
    for rule in &changed {
        tx.put(rule.clone());
    }
    let listeners: BTreeSet<&str> = changed.iter().map(|rule| rule.listener.as_str()).collect();
    for arn in listeners {
        let mut seen = BTreeSet::new();
        for rule in rules(tx, cx, arn) {
            if let Some(priority) = rule.priority
                && !seen.insert(priority)
            {
                return Err(Error::PriorityInUse(priority));
            }
        }
    }
    Ok(changed.into_iter().map(Arc::new).collect())
}
