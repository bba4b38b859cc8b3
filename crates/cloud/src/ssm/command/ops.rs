//! What users ask of commands, and what the controller writes of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use store::{Record, Snapshot, Tx};

use super::model::{Amount, Command, Invocation, Output, Target};
use super::state::{State, Summary, summary};
use crate::ec2::tag;
use crate::ssm::node::ops as nodes;
use crate::ssm::{Error, Result, document};
use crate::{Context, Timestamp, id, page, s3};

/// AWS keeps them that long.
pub const KEPT: Duration = Duration::from_secs(30 * 24 * 3600);
/// Of the parameters together.
const MOST_BYTES: usize = 64 * 1024;
const MOST_EXECUTION_SECONDS: u64 = 172_800;

/// A SendCommand request.
#[derive(Clone, Debug, Default)]
pub struct Send {
    pub document: String,
    pub document_version: Option<String>,
    /// SHA-256, hexadecimal.
    pub document_hash: Option<String>,
    pub parameters: BTreeMap<String, Vec<String>>,
    pub instance_ids: Vec<String>,
    pub targets: Vec<Target>,
    pub comment: Option<String>,
    pub timeout_seconds: Option<i32>,
    pub max_concurrency: Option<String>,
    pub max_errors: Option<String>,
    pub output: Option<Output>,
}

pub fn send(tx: &mut Tx, cx: &Context, send: &Send) -> Result<Command> {
    let document = document::find(&send.document, send.document_version.as_deref())?;
    if send.document_hash.as_ref().is_some_and(|hash| !hash.eq_ignore_ascii_case(&document::hash()))
    {
        return Err(Error::InvalidDocument(format!(
            "The hash of {document} is not the one in the request."
        )));
    }
    check_parameters(&send.parameters)?;
    check_nodes(tx, cx, send)?;
    if let Some(output) = &send.output
        && s3::bucket(tx, &output.bucket).is_err()
    {
        return Err(Error::InvalidOutputFolder);
    }
    let command = Command {
        account: cx.account.clone(),
        region: cx.region.clone(),
        id: id::uuid(&cx.env.rng),
        comment: send.comment.clone().unwrap_or_default(),
        document: document.to_owned(),
        document_version: send.document_version.clone().unwrap_or_else(|| "$DEFAULT".to_owned()),
        parameters: send.parameters.clone(),
        instance_ids: send.instance_ids.clone(),
        targets: send.targets.clone(),
        requested_at: cx.now,
        timeout_seconds: send.timeout_seconds.unwrap_or(3600),
        max_concurrency: Amount(send.max_concurrency.clone().unwrap_or_else(|| "50".to_owned())),
        max_errors: Amount(send.max_errors.clone().unwrap_or_else(|| "0".to_owned())),
        output: send.output.clone(),
        expanded: false,
        cancelled: false,
    };
    tx.put(command.clone());
    Ok(command)
}

fn check_parameters(parameters: &BTreeMap<String, Vec<String>>) -> Result<()> {
    let invalid = |why: String| Err(Error::InvalidParameters(why));
    for (name, values) in parameters {
        let Some(known) = document::PARAMETERS.iter().find(|known| known.name == name) else {
            return invalid(format!("The document has no parameter {name}."));
        };
        if known.ty == "String" && values.len() != 1 {
            return invalid(format!("Parameter {name} takes one value."));
        }
        if values.iter().any(|value| value.contains("{{")) {
            return invalid(format!(
                "Parameter {name} has a reference in double braces, which this cloud does not \
                 resolve."
            ));
        }
    }
    if parameters.get("commands").is_none_or(Vec::is_empty) {
        return invalid("Parameter commands is required.".to_owned());
    }
    if let Some(timeout) = parameters.get("executionTimeout").and_then(|values| values.first()) {
        let seconds = timeout.parse::<u64>().ok().filter(|_| !timeout.starts_with(['+', '0']));
        if !seconds.is_some_and(|seconds| (1..=MOST_EXECUTION_SECONDS).contains(&seconds)) {
            return invalid(format!(
                "Parameter executionTimeout is 1 to {MOST_EXECUTION_SECONDS} seconds, not {timeout}."
            ));
        }
    }
    let bytes: usize = parameters.values().flatten().map(String::len).sum();
    if bytes > MOST_BYTES {
        return Err(Error::MaxDocumentSizeExceeded);
    }
    Ok(())
}

fn check_nodes(snapshot: &Snapshot, cx: &Context, send: &Send) -> Result<()> {
    match (send.instance_ids.is_empty(), send.targets.is_empty()) {
        (false, false) => {
            return Err(Error::validation("InstanceIds and Targets cannot be used together."));
        }
        (true, true) => {
            return Err(Error::validation("Either InstanceIds or Targets must name nodes."));
        }
        _ => {}
    }
    let mut seen = BTreeSet::new();
    if let Some(twice) = send.instance_ids.iter().find(|id| !seen.insert(id.as_str())) {
        return Err(Error::DuplicateInstanceId(twice.clone()));
    }
    for target in &send.targets {
        let tag = target.key.strip_prefix("tag:").is_some_and(|key| !key.is_empty());
        if target.values.is_empty() {
            return Err(Error::InvalidTarget(format!("Target {} has no values.", target.key)));
        }
        if !tag && target.key != "tag-key" && !by_ids(target) {
            return Err(Error::InvalidTarget(format!(
                "Target {} is not supported by this cloud: use tag:NAME, tag-key or InstanceIds.",
                target.key
            )));
        }
    }
    let named = send.targets.iter().filter(|target| by_ids(target));
    let named = named.flat_map(|target| &target.values).chain(&send.instance_ids);
    let unknown: Vec<String> =
        named.filter(|id| nodes::node(snapshot, cx, id).is_none()).cloned().collect();
    if !unknown.is_empty() {
        return Err(Error::InvalidInstanceId { ids: unknown, account: cx.account.clone() });
    }
    Ok(())
}

fn by_ids(target: &Target) -> bool {
    target.key.eq_ignore_ascii_case("InstanceIds")
}

/// The nodes that all targets are about.
pub fn targeted(snapshot: &Snapshot, cx: &Context, targets: &[Target]) -> Vec<String> {
    let has = |target: &Target, value: &str| target.values.iter().any(|wanted| wanted == value);
    let wanted = |id: &str| {
        let tags = tag::ops::tags_of(snapshot, cx, id);
        targets.iter().all(|target| match target.key.strip_prefix("tag:") {
            Some(key) => tags.get(key).is_some_and(|value| has(target, value)),
            None if by_ids(target) => has(target, id),
            None => tags.keys().any(|key| has(target, key)),
        })
    };
    let all = nodes::nodes(snapshot, cx).into_iter().map(|(node, _)| node.instance_id.clone());
    all.filter(|id| wanted(id)).collect()
}

/// Makes the invocations of a command, for good.
pub fn expand(tx: &mut Tx, cx: &Context, id: &str) {
    let Some(command) = tx.get::<Command>(&cx.key(id)).filter(|command| !command.expanded) else {
        return;
    };
    let ids = match command.targets.is_empty() {
        true => command.instance_ids.clone(),
        false => targeted(tx, cx, &command.targets),
    };
    for id in ids {
        let tags = tag::ops::tags_of(tx, cx, &id);
        tx.put(Invocation {
            account: command.account.clone(),
            region: command.region.clone(),
            command_id: command.id.clone(),
            instance_id: id,
            instance_name: tags.get("Name").cloned().unwrap_or_default(),
            requested_at: command.requested_at,
            state: State::Pending,
            started_at: None,
            ended_at: None,
            response_code: -1,
            stdout: String::new(),
            stderr: String::new(),
        });
    }
    tx.put(Command { expanded: true, ..Command::clone(&command) });
}

/// Whether it may begin: it waited until now. To be durable before anything runs.
pub fn begin(tx: &mut Tx, cx: &Context, key: &str) -> bool {
    change(tx, key, |invocation| {
        let begins = invocation.state.waits();
        if begins {
            invocation.state = State::InProgress;
            invocation.started_at = Some(cx.now);
        }
        begins
    })
}

/// How an invocation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    pub state: State,
    pub response_code: i32,
    pub stdout: String,
    pub stderr: String,
}

/// Of one that runs, or that will never begin.
pub fn end(tx: &mut Tx, now: Timestamp, key: &str, ended: &Ended) -> bool {
    change(tx, key, |invocation| {
        if invocation.state.is_over() {
            return false;
        }
        invocation.state = ended.state;
        invocation.response_code = ended.response_code;
        invocation.stdout.clone_from(&ended.stdout);
        invocation.stderr.clone_from(&ended.stderr);
        invocation.ended_at = Some(now);
        true
    })
}

pub fn wait(tx: &mut Tx, key: &str, state: State) -> bool {
    change(tx, key, |invocation| {
        let waits = invocation.state.waits();
        if waits {
            invocation.state = state;
        }
        waits
    })
}

fn change(tx: &mut Tx, key: &str, change: impl FnOnce(&mut Invocation) -> bool) -> bool {
    let Some(invocation) = tx.get::<Invocation>(key) else { return false };
    let mut next = Invocation::clone(&invocation);
    let changed = change(&mut next);
    if changed {
        tx.put(next);
    }
    changed
}

/// Of these nodes, or of all.
pub fn cancel(tx: &mut Tx, cx: &Context, id: &str, nodes: &[String]) -> Result<()> {
    let found = command(tx, cx, id)?;
    let invocations = invocations(tx, &found);
    for node in nodes {
        let known = invocations.iter().any(|invocation| invocation.instance_id == *node);
        let meant = !found.expanded && found.instance_ids.contains(node);
        if !known && !meant {
            return Err(Error::InvalidInstanceId {
                ids: vec![node.clone()],
                account: cx.account.clone(),
            });
        }
    }
    let all = nodes.is_empty() || invocations.iter().all(|one| nodes.contains(&one.instance_id));
    if all {
        tx.put(Command { cancelled: true, ..Command::clone(&found) });
    }
    for invocation in invocations {
        if !nodes.is_empty() && !nodes.contains(&invocation.instance_id) {
            continue;
        }
        let mut next = Invocation::clone(&invocation);
        next.state = match invocation.state {
            State::Pending | State::Delayed => {
                next.ended_at = Some(cx.now);
                State::Cancelled
            }
            State::InProgress => State::Cancelling,
            other => other,
        };
        tx.put(next);
    }
    Ok(())
}

pub fn command(snapshot: &Snapshot, cx: &Context, id: &str) -> Result<Arc<Command>> {
    snapshot.get::<Command>(&cx.key(id)).ok_or(Error::InvalidCommandId)
}

pub fn invocations(snapshot: &Snapshot, command: &Command) -> Vec<Arc<Invocation>> {
    snapshot.scan::<Invocation>(&format!("{}/", command.key())).collect()
}

pub fn summary_of(snapshot: &Snapshot, command: &Command) -> Summary {
    let states: Vec<State> =
        invocations(snapshot, command).iter().map(|invocation| invocation.state).collect();
    summary(command, &states)
}

pub fn invocation(
    snapshot: &Snapshot,
    cx: &Context,
    command_id: &str,
    instance_id: &str,
) -> Result<(Arc<Command>, Arc<Invocation>)> {
    let command = command(snapshot, cx, command_id).map_err(|_| Error::InvocationDoesNotExist)?;
    let found = snapshot.get::<Invocation>(&Invocation::key_of(&command, instance_id));
    Ok((command, found.ok_or(Error::InvocationDoesNotExist)?))
}

/// Removes commands that were kept long enough, with their invocations.
pub fn forget(tx: &mut Tx, command: &Command) {
    for invocation in invocations(tx, command) {
        tx.delete::<Invocation>(&invocation.key());
    }
    tx.delete::<Command>(&command.key());
}

/// Which commands, or invocations, a listing wants.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    pub command_id: Option<String>,
    pub instance_id: Option<String>,
    pub filters: Vec<(String, String)>,
    pub limit: usize,
    pub token: Option<String>,
}

impl Listing {
    /// `status`: of the command or of the invocation.
    fn passes(&self, command: &Command, status: &str, over: bool) -> Result<bool> {
        let mut passes = self.command_id.as_ref().is_none_or(|id| *id == command.id);
        for (key, value) in &self.filters {
            let instant = || {
                // A fraction of a second says nothing here.
                let whole =
                    value.split_once('.').map_or(value.clone(), |(whole, _)| format!("{whole}Z"));
                let parsed = Timestamp::from_iso8601(&whole);
                parsed.ok_or_else(|| Error::validation(format!("{value} is not a timestamp.")))
            };
            passes &= match key.as_str() {
                "InvokedAfter" => command.requested_at > instant()?,
                "InvokedBefore" => command.requested_at < instant()?,
                "Status" => status == value,
                "ExecutionStage" => match value.as_str() {
                    "Executing" => !over,
                    "Complete" => over,
                    _ => {
                        let why = format!("{value} is not Executing or Complete.");
                        return Err(Error::validation(why));
                    }
                },
                "DocumentName" => command.document == *value,
                _ => return Err(Error::InvalidFilterKey(format!("{key} is not a filter key."))),
            };
        }
        Ok(passes)
    }
}

/// The newest first.
fn order(requested_at: Timestamp, id: &str) -> String {
    format!("{:020}/{id}", i64::MAX - requested_at.0)
}

pub type Listed<T> = (Vec<T>, Option<String>);

pub fn commands(
    snapshot: &Snapshot,
    cx: &Context,
    listing: &Listing,
) -> Result<Listed<(Arc<Command>, Summary)>> {
    if let Some(id) = &listing.command_id {
        command(snapshot, cx, id)?;
    }
    let mut found = Vec::new();
    for command in snapshot.scan::<Command>(&cx.prefix()) {
        let summary = summary_of(snapshot, &command);
        let over = !matches!(summary.status, "Pending" | "InProgress" | "Cancelling");
        let here = listing.instance_id.as_ref().is_none_or(|id| {
            command.instance_ids.contains(id)
                || snapshot.get::<Invocation>(&Invocation::key_of(&command, id)).is_some()
        });
        if listing.passes(&command, summary.status, over)? && here {
            found.push((order(command.requested_at, &command.id), (command, summary)));
        }
    }
    paged(found, listing)
}

pub fn listed_invocations(
    snapshot: &Snapshot,
    cx: &Context,
    listing: &Listing,
) -> Result<Listed<(Arc<Command>, Arc<Invocation>)>> {
    if let Some(id) = &listing.command_id {
        command(snapshot, cx, id)?;
    }
    let mut found = Vec::new();
    for command in snapshot.scan::<Command>(&cx.prefix()) {
        for invocation in invocations(snapshot, &command) {
            let state = invocation.state;
            let here = listing.instance_id.as_ref().is_none_or(|id| *id == invocation.instance_id);
            if listing.passes(&command, state.status(), state.is_over())? && here {
                let id = format!("{}/{}", command.id, invocation.instance_id);
                let key = order(command.requested_at, &id);
                found.push((key, (Arc::clone(&command), invocation)));
            }
        }
    }
    paged(found, listing)
}

fn paged<T>(mut found: Vec<(String, T)>, listing: &Listing) -> Result<Listed<T>> {
    found.sort_by(|one, other| one.0.cmp(&other.0));
    let token = listing.token.as_deref();
    let (page, next) = page::page(found, |(key, _)| key.clone(), listing.limit, token)?;
    Ok((page.into_iter().map(|(_, item)| item).collect(), next))
}
