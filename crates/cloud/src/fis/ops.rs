//! What users ask of templates and experiments.

use std::collections::BTreeMap;
use std::sync::Arc;

use store::{Snapshot, Tx};

use super::model::{Design, Experiment, Run, Status, Template};
use super::{Error, Result, action, run, target};
use crate::ec2::client_token::{self, ClientToken};
use crate::tag::Tags;
use crate::{Context, arn, iam};

const MAX_TAGS: usize = 50;

/// `EXT` or `EXP` and what tells it apart.
fn new_id(cx: &Context, prefix: &str) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let letter = || char::from(LETTERS[cx.env.rng.below(LETTERS.len() as u64) as usize]);
    format!("{prefix}{}", (0..15).map(|_| letter()).collect::<String>())
}

fn check_tags(tags: &Tags) -> Result<()> {
    if tags.len() > MAX_TAGS {
        return Err(Error::invalid("A resource can have at most 50 tags."));
    }
    match tags.keys().find(|key| key.starts_with("aws:")) {
        Some(key) => Err(Error::invalid(format!("The tag key {key} is reserved."))),
        None => Ok(()),
    }
}

pub fn create(
    tx: &mut Tx,
    cx: &Context,
    description: &str,
    design: &Design,
    tags: &Tags,
    token: &Option<ClientToken>,
) -> Result<Template> {
    let prefix = cx.prefix();
    let all = tx.scan::<Template>(&prefix);
    if let Some(made) = client_token::made(token, all, |template| &template.client_token)? {
        return Ok(Template::clone(&made));
    }
    check_tags(tags)?;
    for (name, one) in &design.targets {
        target::check(cx, name, one)?;
    }
    action::check(design)?;
    for alarm in &design.stop_alarms {
        if run::alarm(tx, cx, alarm).is_none() {
            return Err(Error::invalid(format!("There is no alarm {alarm}.")));
        }
    }
    let template = Template {
        account: cx.account.clone(),
        region: cx.region.clone(),
        id: new_id(cx, "EXT"),
        description: description.to_owned(),
        design: design.clone(),
        created_at: cx.now,
        tags: tags.clone(),
        client_token: token.clone(),
    };
    if run::acting(tx, cx, &design.role_arn, &template.arn()).is_none() {
        return Err(Error::invalid(format!(
            "The role {} must be one of this account whose trust policy allows {} to call \
             sts:AssumeRole.",
            design.role_arn,
            run::SERVICE
        )));
    }
    tx.put(template.clone());
    Ok(template)
}

pub fn template(snapshot: &Snapshot, cx: &Context, id: &str) -> Result<Arc<Template>> {
    let found = snapshot.get(&cx.key(id));
    found.ok_or_else(|| Error::NotFound(format!("Experiment template {id} does not exist.")))
}

/// Experiments that were made of it go on.
pub fn delete(tx: &mut Tx, cx: &Context, id: &str) -> Result<Arc<Template>> {
    let found = template(tx, cx, id)?;
    tx.delete::<Template>(&cx.key(id));
    Ok(found)
}

pub fn start(
    tx: &mut Tx,
    cx: &Context,
    template_id: &str,
    preview: bool,
    tags: &Tags,
    token: &Option<ClientToken>,
) -> Result<Experiment> {
    let prefix = cx.prefix();
    let all = tx.scan::<Experiment>(&prefix);
    if let Some(made) = client_token::made(token, all, |experiment| &experiment.client_token)? {
        return Ok(Experiment::clone(&made));
    }
    check_tags(tags)?;
    let template = template(tx, cx, template_id)?;
    let run = |name: &String| {
        let run = Run {
            status: Status::Pending,
            reason: "Initial state".to_owned(),
            started_at: None,
            ended_at: None,
            restarted: false,
        };
        (name.clone(), run)
    };
    let experiment = Experiment {
        account: cx.account.clone(),
        region: cx.region.clone(),
        id: new_id(cx, "EXP"),
        template_id: template.id.clone(),
        runs: template.design.actions.keys().map(run).collect(),
        design: template.design.clone(),
        preview,
        status: Status::Initiating,
        reason: "Experiment is initiating.".to_owned(),
        created_at: cx.now,
        started_at: None,
        ended_at: None,
        resolved: BTreeMap::new(),
        tags: tags.clone(),
        client_token: token.clone(),
    };
    tx.put(experiment.clone());
    Ok(experiment)
}

pub fn experiment(snapshot: &Snapshot, cx: &Context, id: &str) -> Result<Arc<Experiment>> {
    let found = snapshot.get(&cx.key(id));
    found.ok_or_else(|| Error::NotFound(format!("Experiment {id} does not exist.")))
}

pub fn stop(tx: &mut Tx, cx: &Context, id: &str) -> Result<Experiment> {
    let mut next = Experiment::clone(&*experiment(tx, cx, id)?);
    if !matches!(next.status, Status::Pending | Status::Initiating | Status::Running) {
        return Err(Error::invalid(format!(
            "Experiment {id} is {} and cannot be stopped.",
            next.status.name()
        )));
    }
    next.status = Status::Stopping;
    next.reason = "Experiment halted by user.".to_owned();
    tx.put(next.clone());
    Ok(next)
}

/// Changes the tags of what an ARN names.
pub fn retag(
    tx: &mut Tx,
    cx: &Context,
    resource: &str,
    change: impl FnOnce(&mut Tags),
) -> Result<()> {
    match named(tx, cx, resource)? {
        Named::Template(found) => {
            let mut next = Template::clone(&found);
            change(&mut next.tags);
            check_tags(&next.tags)?;
            tx.put(next);
        }
        Named::Experiment(found) => {
            let mut next = Experiment::clone(&found);
            change(&mut next.tags);
            check_tags(&next.tags)?;
            tx.put(next);
        }
    }
    Ok(())
}

pub fn tags(snapshot: &Snapshot, cx: &Context, resource: &str) -> Result<Tags> {
    Ok(match named(snapshot, cx, resource)? {
        Named::Template(found) => found.tags.clone(),
        Named::Experiment(found) => found.tags.clone(),
    })
}

enum Named {
    Template(Arc<Template>),
    Experiment(Arc<Experiment>),
}

fn named(snapshot: &Snapshot, cx: &Context, resource: &str) -> Result<Named> {
    let unknown = || Error::NotFound(format!("Resource {resource} does not exist."));
    let own = |parts: &arn::Parts<'_>| {
        (parts.service, parts.region, parts.account) == ("fis", &*cx.region, &*cx.account)
    };
    let parts = arn::parse(resource).filter(own).ok_or_else(unknown)?;
    match parts.resource.split_once('/') {
        Some(("experiment-template", id)) => Ok(Named::Template(template(snapshot, cx, id)?)),
        Some(("experiment", id)) => Ok(Named::Experiment(experiment(snapshot, cx, id)?)),
        _ => Err(unknown()),
    }
}

/// What the role that an experiment acts in may do.
pub fn may(
    snapshot: &Snapshot,
    acting: &Context,
    operation: &str,
    ids: &[String],
) -> Result<(), String> {
    let input = match ids {
        [] => serde_json::json!({}),
        ids => serde_json::json!({"InstanceIds": ids}),
    };
    let call = iam::Call { service: "ec2", operation, input: &input };
    iam::acting::may(snapshot, acting, &call).map(drop).map_err(|denied| denied.message)
}
