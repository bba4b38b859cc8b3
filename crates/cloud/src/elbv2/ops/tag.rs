//! Tags of load balancers, target groups, listeners and rules, named by ARN.

use store::{Snapshot, Tx};

use super::{listener, load_balancer, rule, target_group};
use crate::elbv2::error::Quota;
use crate::elbv2::model::{Listener, LoadBalancer, Rule, TargetGroup};
use crate::elbv2::{Error, Result};
use crate::tag::{self, Invalid, Tags};
use crate::{Context, arn};

pub fn check(tags: &Tags) -> Result<()> {
    tag::check(tags).map_err(|invalid| match invalid {
        Invalid::Key(key) => Error::validation(format!("Tag key '{key}' is not valid")),
        Invalid::Value(value) => Error::validation(format!("Tag value '{value}' is not valid")),
        Invalid::Reserved(_) => {
            Error::validation("aws: prefixed tag key names are not allowed for external use.")
        }
        Invalid::TooMany => {
            let message = "The maximum number of tags on the resource has been reached".to_owned();
            Error::TooMany(Quota::Tags, message)
        }
    })
}

/// A map of what came as a list.
pub fn unique(pairs: impl IntoIterator<Item = (String, String)>) -> Result<Tags> {
    let mut tags = Tags::new();
    for (key, value) in pairs {
        if tags.insert(key.clone(), value).is_some() {
            return Err(Error::DuplicateTagKeys(key));
        }
    }
    Ok(tags)
}

pub fn add(tx: &mut Tx, cx: &Context, arns: &[String], tags: &Tags) -> Result<()> {
    for arn in arns {
        change(tx, cx, arn, |present| present.extend(tags.clone()))?;
    }
    Ok(())
}

pub fn remove(tx: &mut Tx, cx: &Context, arns: &[String], keys: &[String]) -> Result<()> {
    for arn in arns {
        change(tx, cx, arn, |present| present.retain(|key, _| !keys.contains(key)))?;
    }
    Ok(())
}

/// In the order asked for.
pub fn describe(snapshot: &Snapshot, cx: &Context, arns: &[String]) -> Result<Vec<(String, Tags)>> {
    if arns.is_empty() {
        return Err(Error::validation("At least one resource ARN must be specified"));
    }
    let tags = |arn: &String| -> Result<(String, Tags)> {
        let tags = match kind(arn)? {
            Kind::LoadBalancer => load_balancer(snapshot, cx, arn)?.tags.clone(),
            Kind::TargetGroup => target_group(snapshot, cx, arn)?.tags.clone(),
            Kind::Listener => listener(snapshot, cx, arn)?.tags.clone(),
            Kind::Rule => rule(snapshot, cx, arn)?.tags.clone(),
        };
        Ok((arn.clone(), tags))
    };
    arns.iter().map(tags).collect()
}

enum Kind {
    LoadBalancer,
    TargetGroup,
    Listener,
    Rule,
}

fn kind(text: &str) -> Result<Kind> {
    let resource = arn::parse(text).and_then(|parts| parts.resource.split('/').next());
    match resource {
        Some("loadbalancer") => Ok(Kind::LoadBalancer),
        Some("targetgroup") => Ok(Kind::TargetGroup),
        Some("listener") => Ok(Kind::Listener),
        Some("listener-rule") => Ok(Kind::Rule),
        _ => Err(Error::validation(format!("'{text}' is not a valid ARN"))),
    }
}

fn change(tx: &mut Tx, cx: &Context, arn: &str, act: impl FnOnce(&mut Tags)) -> Result<()> {
    let changed = |mut tags: Tags| {
        act(&mut tags);
        check(&tags).map(|()| tags)
    };
    match kind(arn)? {
        Kind::LoadBalancer => {
            let found = LoadBalancer::clone(&*load_balancer(tx, cx, arn)?);
            tx.put(LoadBalancer { tags: changed(found.tags)?, ..found });
        }
        Kind::TargetGroup => {
            let found = TargetGroup::clone(&*target_group(tx, cx, arn)?);
            tx.put(TargetGroup { tags: changed(found.tags)?, ..found });
        }
        Kind::Listener => {
            let found = Listener::clone(&*listener(tx, cx, arn)?);
            tx.put(Listener { tags: changed(found.tags)?, ..found });
        }
        Kind::Rule => {
            let found = Rule::clone(&*rule(tx, cx, arn)?);
            tx.put(Rule { tags: changed(found.tags)?, ..found });
        }
    }
    Ok(())
}
