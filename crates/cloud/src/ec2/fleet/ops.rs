//! What users ask of fleets, and the steps the controller takes with them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use store::{Snapshot, Tx};

use super::check;
use super::model::{
    Event, Failure, Fleet, Kind, Lifecycle, Member, Place, State, Target, Units, Wanted,
};
use super::plan::{self, Pool};
use super::pools;
use crate::clock::Timestamp;
use crate::ec2::client_token::{self, ClientToken};
use crate::ec2::instance;
use crate::ec2::instance::launch::Launch;
use crate::ec2::instance::model::Instance;
use crate::ec2::instance::state::{InstanceState, Status};
use crate::ec2::listing::{self, Listing};
use crate::ec2::spot::model::Market;
use crate::ec2::{Error, Kind as Named, Result, tag};
use crate::tag::Tags;
use crate::{Context, id};

/// How soon what gave nothing is asked again.
const RETRY: Duration = Duration::from_secs(60);
/// How long a deleted fleet can be described.
const REMEMBERED: Duration = Duration::from_secs(3600);
/// The newest events of a fleet are kept.
const EVENTS: usize = 500;

pub fn create(
    tx: &mut Tx,
    cx: &Context,
    wanted: &Wanted,
    tags: &BTreeMap<String, Tags>,
    token: &Option<ClientToken>,
) -> Result<Fleet> {
    let prefix = cx.prefix();
    if let Some(made) = client_token::made(token, tx.scan::<Fleet>(&prefix), |f| &f.client_token)? {
        return Ok(Fleet::clone(&made));
    }
    check::check(cx, wanted)?;
    for (kind, tags) in tags {
        let known = matches!(kind.as_str(), "fleet" | "instance" | "volume" | "network-interface");
        if !known {
            return Err(Error::value(format!(
                "'{kind}' is not a valid taggable resource type for this operation."
            )));
        }
        if kind != "fleet" && wanted.kind != Kind::Instant {
            return Err(Error::combination(format!(
                "Tags for the resource type '{kind}' can be specified for fleets of type instant only. \
                 Specify them in the launch template."
            )));
        }
        tag::ops::check(tags)?;
    }
    // What is wrong for every pool is wrong with the request.
    let pools = pools::pools(tx, cx, wanted)?;
    if pools.is_empty() {
        return Err(Error::value("The fleet has nothing that it could launch."));
    }
    let mut fleet = Fleet {
        account: cx.account.clone(),
        region: cx.region.clone(),
        id: format!("fleet-{}", id::uuid(&cx.env.rng)),
        created_at: cx.now,
        wanted: wanted.clone(),
        client_token: token.clone(),
        state: State::Submitted,
        members: vec![],
        launched: Units::default(),
        errors: vec![],
        ended_at: None,
    };
    if let Some(tags) = tags.get("fleet") {
        tag::ops::set(tx, cx, &fleet.id, tags)?;
    }
    record(tx, cx, &fleet, "fleetRequestChange", "submitted", String::new(), None);
    if fleet.wanted.kind == Kind::Instant {
        fill(tx, cx, &mut fleet, tags);
        become_(tx, cx, &mut fleet, State::Active);
    }
    tx.put(fleet.clone());
    Ok(fleet)
}

/// Launches what is short, of each kind, as far as there are pools that give it.
fn fill(tx: &mut Tx, cx: &Context, fleet: &mut Fleet, tags: &BTreeMap<String, Tags>) {
    let target = fleet.wanted.target.units();
    let had = match fleet.wanted.kind {
        Kind::Maintain => fulfilled(fleet),
        Kind::Instant | Kind::Request => fleet.launched,
    };
    fleet.errors.clear();
    for lifecycle in [Lifecycle::OnDemand, Lifecycle::Spot] {
        let mut short = target.of(lifecycle) - had.of(lifecycle);
        if short <= 0.0 {
            continue;
        }
        let sources = match pools::pools(tx, cx, &fleet.wanted) {
            Ok(sources) => sources,
            Err(error) => {
                let place = Place { config: 0, over: None };
                fail(tx, cx, fleet, place, lifecycle, &error);
                return;
            }
        };
        let (mut pools, launches): (Vec<Pool>, Vec<Launch>) =
            sources.into_iter().map(|source| (source.pool, source.launch)).unzip();
        for pool in &mut pools {
            pools::weigh(tx, cx, fleet, lifecycle, pool);
        }
        let options = match lifecycle {
            Lifecycle::OnDemand => fleet.wanted.on_demand,
            Lifecycle::Spot => fleet.wanted.spot,
        };
        while short > 0.0 {
            let Some(at) = plan::choose(&options, &pools) else { break };
            let pool = &mut pools[at];
            match launch(tx, cx, fleet, lifecycle, pool, &launches[at], tags) {
                Ok(()) => {
                    pool.units += pool.weight;
                    short -= pool.weight;
                }
                Err(error) => {
                    pool.failed = true;
                    let place = pool.place;
                    fail(tx, cx, fleet, place, lifecycle, &error);
                }
            }
        }
        if short > 0.0 && fleet.errors.is_empty() {
            let place = Place { config: 0, over: None };
            let error = Error::value("No launch template and override can be launched.");
            fail(tx, cx, fleet, place, lifecycle, &error);
        }
    }
}

fn launch(
    tx: &mut Tx,
    cx: &Context,
    fleet: &mut Fleet,
    lifecycle: Lifecycle,
    pool: &Pool,
    launch: &Launch,
    tags: &BTreeMap<String, Tags>,
) -> Result<()> {
    let over = pool
        .place
        .over
        .and_then(|over| fleet.wanted.configs[pool.place.config].overrides.get(over));
    let market = (lifecycle == Lifecycle::Spot).then(|| Market {
        max_price: over.and_then(|over| over.max_price.clone()),
        behavior: fleet.wanted.behavior,
        // A fleet's instances that are stopped come back; it is the fleet that replaces others.
        persistent: fleet.wanted.behavior == crate::ec2::spot::model::Behavior::Stop,
        fleet_id: Some(fleet.id.clone()),
        ..Market::default()
    });
    let mut tags = tags.clone();
    tags.remove("fleet");
    let own = ("aws:ec2:fleet-id".to_owned(), fleet.id.clone());
    tags.entry("instance".to_owned()).or_default().extend([own]);
    let as_fleet = Context::service(&cx.env, &cx.account, &cx.region, "ec2fleet.amazonaws.com");
    let launch = Launch { market, tags, ..launch.clone() };
    let made = instance::ops::run(tx, &as_fleet, &launch)?;
    for made in made.instances {
        let text = format!("{}, {}, {}", made.instance_type, made.image_id, made.zone);
        record(tx, cx, fleet, "instanceChange", "launched", text, Some(&made.id));
        fleet.members.push(Member {
            instance_id: made.id,
            instance_type: made.instance_type,
            zone: made.zone,
            subnet_id: made.subnet_id,
            lifecycle,
            weight: pool.weight,
            place: pool.place,
        });
        fleet.launched.add(lifecycle, pool.weight);
    }
    Ok(())
}

fn fail(
    tx: &mut Tx,
    cx: &Context,
    fleet: &mut Fleet,
    place: Place,
    lifecycle: Lifecycle,
    error: &Error,
) {
    let failure = Failure { place, lifecycle, code: error.code(), message: error.to_string() };
    if fleet.errors.contains(&failure) {
        return;
    }
    record(tx, cx, fleet, "error", &failure.code, failure.message.clone(), None);
    fleet.errors.push(failure);
}

/// Units of the members there are.
pub fn fulfilled(fleet: &Fleet) -> Units {
    let mut units = Units::default();
    for member in &fleet.members {
        units.add(member.lifecycle, member.weight);
    }
    units
}

fn become_(tx: &mut Tx, cx: &Context, fleet: &mut Fleet, state: State) {
    fleet.state = state;
    record(tx, cx, fleet, "fleetRequestChange", state.name(), String::new(), None);
}

fn record(
    tx: &mut Tx,
    cx: &Context,
    fleet: &Fleet,
    kind: &str,
    sub_type: &str,
    description: String,
    instance_id: Option<&str>,
) {
    let known = events(tx, cx, &fleet.id);
    let number = known.last().map_or(0, |last| last.number + 1);
    tx.put(Event {
        account: cx.account.clone(),
        region: cx.region.clone(),
        fleet_id: fleet.id.clone(),
        at: cx.now,
        number,
        kind: kind.to_owned(),
        sub_type: sub_type.to_owned(),
        description,
        instance_id: instance_id.map(str::to_owned),
    });
    for old in known.iter().take((known.len() + 1).saturating_sub(EVENTS)) {
        tx.delete::<Event>(&store::Record::key(&**old));
    }
}

/// Of a fleet, the oldest first.
pub fn events(snapshot: &Snapshot, cx: &Context, fleet_id: &str) -> Vec<Arc<Event>> {
    snapshot.scan(&format!("{}{fleet_id}/", cx.prefix())).collect()
}

/// A member that is there still; not one that ends, or stays stopped.
fn lives(snapshot: &Snapshot, cx: &Context, member: &Member) -> bool {
    let found = snapshot.get::<Instance>(&cx.key(&member.instance_id));
    found.is_some_and(|i| {
        !matches!(i.state(), InstanceState::ShuttingDown | InstanceState::Terminated)
    })
}

fn is_unhealthy(snapshot: &Snapshot, cx: &Context, member: &Member) -> bool {
    let found = snapshot.get::<Instance>(&cx.key(&member.instance_id));
    found.is_some_and(|i| i.status() == Status::Impaired)
}

/// `InstanceHealth`
pub fn health(snapshot: &Snapshot, cx: &Context, member: &Member) -> &'static str {
    if is_unhealthy(snapshot, cx, member) { "unhealthy" } else { "healthy" }
}

/// Whether `step` would change something, and when to look again if not.
pub fn due(snapshot: &Snapshot, cx: &Context, fleet: &Fleet) -> (bool, Option<Timestamp>) {
    if let Some(ended) = fleet.ended_at {
        let until = ended.plus(REMEMBERED);
        return (until <= cx.now, Some(until));
    }
    let wanted = &fleet.wanted;
    let gone = fleet.members.iter().any(|member| !lives(snapshot, cx, member));
    if gone || (fleet.state.is_over() && fleet.members.is_empty()) {
        return (true, None);
    }
    if fleet.state.is_over() {
        let terminates = fleet.state == State::DeletedTerminating;
        return (terminates && !fleet.members.is_empty(), None);
    }
    if fleet.wanted.kind == Kind::Instant {
        return (false, None);
    }
    if let Some(from) = wanted.valid_from.filter(|from| *from > cx.now) {
        return (false, Some(from));
    }
    if wanted.valid_until.is_some_and(|until| until <= cx.now) {
        return (true, None);
    }
    if fleet.state == State::Submitted {
        return (true, None);
    }
    let unhealthy = wanted.replace_unhealthy
        && fleet.members.iter().any(|member| is_unhealthy(snapshot, cx, member));
    if unhealthy || excess(fleet).is_some() {
        return (true, None);
    }
    if !is_short(fleet) {
        return (false, wanted.valid_until);
    }
    // Asked again after a while, or at once where nothing was asked yet.
    let last = events(snapshot, cx, &fleet.id).last().map(|last| last.at);
    let again = last.filter(|_| !fleet.errors.is_empty()).map(|last| last.plus(RETRY));
    match again {
        Some(again) if again > cx.now => (false, Some(again)),
        _ => (true, None),
    }
}

fn is_short(fleet: &Fleet) -> bool {
    let (target, had) = match fleet.wanted.kind {
        Kind::Maintain => (fleet.wanted.target.units(), fulfilled(fleet)),
        Kind::Instant | Kind::Request => (fleet.wanted.target.units(), fleet.launched),
    };
    had.on_demand < target.on_demand || had.spot < target.spot
}

/// A member that is more than there shall be: the newest whose units can all be spared.
fn excess(fleet: &Fleet) -> Option<usize> {
    if fleet.wanted.kind != Kind::Maintain || !fleet.wanted.terminate_excess {
        return None;
    }
    let (target, had) = (fleet.wanted.target.units(), fulfilled(fleet));
    fleet
        .members
        .iter()
        .rposition(|member| had.of(member.lifecycle) - member.weight >= target.of(member.lifecycle))
}

/// Takes the steps that are due.
pub fn step(tx: &mut Tx, cx: &Context, id: &str) {
    let Some(known) = tx.get::<Fleet>(&cx.key(id)) else { return };
    if !due(tx, cx, &known).0 {
        return;
    }
    let mut fleet = Fleet::clone(&known);
    if fleet.ended_at.is_some() {
        for event in events(tx, cx, id) {
            tx.delete::<Event>(&store::Record::key(&*event));
        }
        tag::ops::forget(tx, cx, id);
        tx.delete::<Fleet>(&cx.key(id));
        return;
    }
    let members = std::mem::take(&mut fleet.members);
    for member in members {
        match lives(tx, cx, &member) {
            true => fleet.members.push(member),
            false => {
                let id = &member.instance_id;
                let text = String::new();
                record(tx, cx, &fleet, "instanceChange", "terminated", text, Some(id));
            }
        }
    }
    let expired = fleet.wanted.valid_until.is_some_and(|until| until <= cx.now);
    if expired && !fleet.state.is_over() {
        let state = match fleet.wanted.terminate_at_end {
            true => State::DeletedTerminating,
            false => State::DeletedRunning,
        };
        become_(tx, cx, &mut fleet, state);
    }
    if fleet.state.is_over() {
        if fleet.state == State::DeletedTerminating {
            let all: Vec<String> = fleet.members.iter().map(|m| m.instance_id.clone()).collect();
            all.iter().for_each(|id| terminate(tx, cx, id));
            fleet.members.clear();
        }
        if fleet.members.is_empty() {
            become_(tx, cx, &mut fleet, State::Deleted);
            fleet.ended_at = Some(cx.now);
        }
        tx.put(fleet);
        return;
    }
    if fleet.state == State::Submitted {
        become_(tx, cx, &mut fleet, State::Active);
    }
    if fleet.wanted.replace_unhealthy {
        let sick: Vec<String> = fleet
            .members
            .iter()
            .filter(|member| is_unhealthy(tx, cx, member))
            .map(|member| member.instance_id.clone())
            .collect();
        for id in sick {
            terminate(tx, cx, &id);
            fleet.members.retain(|member| member.instance_id != id);
            let text = "replaced: unhealthy".to_owned();
            record(tx, cx, &fleet, "instanceChange", "terminated", text, Some(&id));
        }
    }
    while let Some(at) = excess(&fleet) {
        let member = fleet.members.remove(at);
        terminate(tx, cx, &member.instance_id);
        let (id, text) = (&member.instance_id, "more than the target capacity".to_owned());
        record(tx, cx, &fleet, "instanceChange", "terminated", text, Some(id));
    }
    if is_short(&fleet) {
        fill(tx, cx, &mut fleet, &BTreeMap::new());
    }
    tx.put(fleet);
}

fn terminate(tx: &mut Tx, cx: &Context, id: &str) {
    let as_fleet = Context::service(&cx.env, &cx.account, &cx.region, "ec2fleet.amazonaws.com");
    // One that is no more needs no ending.
    let _ = instance::ops::terminate(tx, &as_fleet, &[id.to_owned()], false);
    let found = tx.get::<Instance>(&cx.key(id));
    let request = found.and_then(|i| i.spot_request_id.clone());
    if let Some(request) = request {
        let _ = crate::ec2::spot::ops::cancel(tx, &as_fleet, &[request]);
    }
}

pub fn fleet(snapshot: &Snapshot, cx: &Context, id: &str) -> Result<Arc<Fleet>> {
    if !is_id(id) {
        return Err(Error::malformed(Named::Fleet, id));
    }
    snapshot.get(&cx.key(id)).ok_or_else(|| Error::not_found(Named::Fleet, id))
}

/// `fleet-` and a UUID.
pub fn is_id(id: &str) -> bool {
    id.strip_prefix("fleet-").is_some_and(|rest| {
        rest.len() == 36 && rest.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-')
    })
}

/// What ModifyFleet changes.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    pub target: Option<Target>,
    pub terminate_excess: Option<bool>,
    pub configs: Vec<super::model::Config>,
}

pub fn modify(tx: &mut Tx, cx: &Context, id: &str, changes: &Changes) -> Result<()> {
    let known = fleet(tx, cx, id)?;
    if known.wanted.kind != Kind::Maintain {
        return Err(Error::UnsupportedOperation(format!(
            "Fleets of type {} cannot be modified.",
            known.wanted.kind.name()
        )));
    }
    if known.state.is_over() {
        return Err(Error::IncorrectState(format!(
            "The fleet '{id}' is in the state {} and cannot be modified.",
            known.state.name()
        )));
    }
    let mut next = Fleet::clone(&known);
    if let Some(target) = changes.target {
        next.wanted.target = target;
    }
    if let Some(terminate) = changes.terminate_excess {
        next.wanted.terminate_excess = terminate;
    }
    if !changes.configs.is_empty() {
        next.wanted.configs = changes.configs.clone();
        // Members of configurations that are no more keep their weight, and are of the first one.
        for member in &mut next.members {
            member.place = Place { config: 0, over: None };
        }
    }
    check::check(cx, &next.wanted)?;
    pools::pools(tx, cx, &next.wanted)?;
    next.errors.clear();
    record(tx, cx, &next, "fleetRequestChange", "modify_in_progress", String::new(), None);
    record(tx, cx, &next, "fleetRequestChange", "modify_successful", String::new(), None);
    tx.put(next);
    Ok(())
}

/// One fleet of DeleteFleets: its state before and after, or why not.
pub fn delete(
    tx: &mut Tx,
    cx: &Context,
    id: &str,
    terminates: bool,
) -> Result<(State, State), (&'static str, String)> {
    let known = match fleet(tx, cx, id) {
        Ok(known) => known,
        Err(Error::Malformed { .. }) => {
            return Err(("fleetIdMalformed", format!("The fleet ID '{id}' is malformed.")));
        }
        Err(error) => return Err(("fleetIdDoesNotExist", error.to_string())),
    };
    if known.state.is_over() {
        let message = format!("The fleet '{id}' is deleted already.");
        return Err(("fleetNotInDeletableState", message));
    }
    if known.wanted.kind == Kind::Instant && !terminates {
        let message = "A fleet of type instant is deleted with its instances only.".to_owned();
        return Err(("unexpectedError", message));
    }
    let mut next = Fleet::clone(&known);
    let state = match terminates {
        true => State::DeletedTerminating,
        false => State::DeletedRunning,
    };
    become_(tx, cx, &mut next, state);
    let before = known.state;
    tx.put(next);
    Ok((before, state))
}

/// `ActivityStatus`
pub fn activity(fleet: &Fleet) -> &'static str {
    match fleet.state {
        State::DeletedTerminating => "pending_termination",
        State::Deleted | State::DeletedRunning => "fulfilled",
        _ if !is_short(fleet) => "fulfilled",
        _ if !fleet.errors.is_empty() => "error",
        _ => "pending_fulfillment",
    }
}

const FILTERS: &[&str] = &[
    "activity-status",
    "excess-capacity-termination-policy",
    "fleet-state",
    "replace-unhealthy-instances",
    "type",
];

/// Fleets of type instant are described by their ids only.
pub fn describe(
    snapshot: &Snapshot,
    cx: &Context,
    ids: &[String],
    listing: &Listing,
) -> Result<(Vec<Arc<Fleet>>, Option<String>)> {
    listing.check(FILTERS, true)?;
    listing.check_max_results(1..=1000)?;
    let malformed: Vec<String> = ids.iter().filter(|id| !is_id(id)).cloned().collect();
    if !malformed.is_empty() {
        return Err(Error::Malformed { kind: Named::Fleet, ids: malformed });
    }
    let mut all: Vec<Arc<Fleet>> = snapshot.scan(&cx.prefix()).collect();
    listing::named(&mut all, ids, |fleet| &fleet.id, Named::Fleet)?;
    all.retain(|fleet| {
        let shown = !ids.is_empty() || fleet.wanted.kind != Kind::Instant;
        let tags = || tag::ops::tags_of(snapshot, cx, &fleet.id);
        shown
            && listing.keeps(tags, |name| {
                vec![match name {
                    "activity-status" => activity(fleet).to_owned(),
                    "excess-capacity-termination-policy" => {
                        excess_policy(fleet.wanted.terminate_excess).to_owned()
                    }
                    "fleet-state" => fleet.state.name().to_owned(),
                    "replace-unhealthy-instances" => fleet.wanted.replace_unhealthy.to_string(),
                    "type" => fleet.wanted.kind.name().to_owned(),
                    _ => return vec![],
                }]
            })
    });
    listing.page(all, |fleet| fleet.id.clone())
}

/// `ExcessCapacityTerminationPolicy`
pub fn excess_policy(terminate: bool) -> &'static str {
    if terminate { "termination" } else { "no-termination" }
}
