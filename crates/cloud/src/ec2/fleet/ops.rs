//! What users ask of fleets, and the steps the controller takes with them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use store::{Snapshot, Tx};

use super::check;
use super::model::{Event, Failure, Fleet, Kind, Lifecycle, Member, Place, State, Units, Wanted};
use super::plan::{self, Pool};
use super::{pools, role};
use crate::clock::Timestamp;
use crate::ec2::client_token::{self, ClientToken};
use crate::ec2::instance;
use crate::ec2::instance::launch::Launch;
use crate::ec2::instance::model::Instance;
use crate::ec2::instance::state::{InstanceState, Status};
use crate::ec2::listing;
use crate::ec2::spot::market;
use crate::ec2::spot::model::Market;
use crate::ec2::{Error, Kind as Named, Result, launch_template, spot, tag};
use crate::tag::Tags;
use crate::{Context, id};

/// How soon what gave nothing is asked again.
const RETRY: Duration = Duration::from_secs(60);
/// How long a launch waits after one that never came up, and at most, as that goes on.
const BACKOFF: Duration = Duration::from_secs(15);
const MAX_BACKOFF: Duration = Duration::from_secs(900);
/// How long a deleted fleet can be described.
const REMEMBERED: Duration = Duration::from_secs(3600);
/// "Spot Fleet requests are deleted 48 hours after they are canceled and their instances are terminated."
const SPOT_FLEET_REMEMBERED: Duration = Duration::from_secs(48 * 3600);
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
    let own = if wanted.spot_fleet.is_some() { "spot-fleet-request" } else { "fleet" };
    for (kind, tags) in tags {
        let launched = matches!(kind.as_str(), "instance" | "volume" | "network-interface");
        if kind != own && (!launched || wanted.spot_fleet.is_some()) {
            return Err(Error::value(format!(
                "'{kind}' is not a valid taggable resource type for this operation."
            )));
        }
        if kind != own && wanted.kind != Kind::Instant {
            return Err(Error::combination(format!(
                "Tags for the resource type '{kind}' can be specified for fleets of type instant only. \
                 Specify them in the launch template."
            )));
        }
        tag::ops::check(tags)?;
    }
    // What is wrong for every pool is wrong with the request.
    let pools = pools::pools(tx, cx, wanted, wanted.target.default)?;
    if pools.is_empty() {
        return Err(Error::value("The fleet has nothing that it could launch."));
    }
    let mut fleet = Fleet {
        account: cx.account.clone(),
        region: cx.region.clone(),
        id: format!(
            "{}-{}",
            if wanted.spot_fleet.is_some() { "sfr" } else { "fleet" },
            id::uuid(&cx.env.rng)
        ),
        created_at: cx.now,
        wanted: wanted.clone(),
        client_token: token.clone(),
        state: State::Submitted,
        members: vec![],
        launched: Units::default(),
        errors: vec![],
        failed_boots: 0,
        not_before: None,
        ended_at: None,
    };
    if let Some(tags) = tags.get(own) {
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
        let sources = match pools::pools(tx, cx, &fleet.wanted, lifecycle) {
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
                    pools::weigh(tx, cx, fleet, lifecycle, pool);
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
    let of_fleet = || fleet.wanted.spot_fleet.as_ref()?.max_price.clone();
    let per_unit = over.and_then(|over| over.max_price.clone()).or_else(of_fleet);
    let market = (lifecycle == Lifecycle::Spot).then(|| Market {
        max_price: per_unit
            .and_then(|price| price.parse::<f64>().ok())
            .map(|price| market::short(price * pool.weight)),
        behavior: fleet.wanted.behavior,
        // A fleet's instances that are stopped come back; it is the fleet that replaces others.
        persistent: fleet.wanted.behavior == crate::ec2::spot::model::Behavior::Stop,
        fleet_id: Some(fleet.id.clone()),
        ..Market::default()
    });
    let mut tags = tags.clone();
    tags.remove("fleet");
    tags.remove("spot-fleet-request");
    for (kind, said) in &launch.tags {
        tags.entry(kind.clone()).or_default().extend(said.clone());
    }
    let key =
        if fleet.is_spot_fleet() { "aws:ec2spot:fleet-request-id" } else { "aws:ec2:fleet-id" };
    tags.entry("instance".to_owned()).or_default().extend([(key.to_owned(), fleet.id.clone())]);
    let as_fleet = as_service(cx, fleet);
    let launch = Launch { market, tags, ..launch.clone() };
    fits(tx, &as_fleet, &launch)?;
    role::may_launch(tx, cx, fleet, &launch)?;
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
            ending: false,
            notified: false,
        });
        fleet.launched.add(lifecycle, pool.weight);
    }
    Ok(())
}

/// Whether it can be launched now. Looked at before: a launch that fails half way would leave its half in
/// the transaction, which goes on to the next pool.
fn fits(snapshot: &Snapshot, cx: &Context, launch: &Launch) -> Result<()> {
    let merged = match &launch.template {
        Some(template) => {
            let template = launch_template::ops::resolve(snapshot, cx, template)?;
            Cow::Owned(launch.clone().over(template.launch))
        }
        None => Cow::Borrowed(launch),
    };
    spot::ops::judge(snapshot, cx, &*spot::ops::placed(snapshot, cx, merged)?)
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
    // An event for the fleet's own words, where it has some.
    let (kind, what) = match error {
        Error::FleetRole(_) => ("error", "iamFleetRoleInvalid"),
        Error::SpotMaxPriceTooLow { .. } => ("information", "launchSpecUnusable"),
        _ => ("error", failure.code.as_str()),
    };
    record(tx, cx, fleet, kind, what, failure.message.clone(), None);
    fleet.errors.push(failure);
}

fn as_service(cx: &Context, fleet: &Fleet) -> Context {
    Context::service(&cx.env, &cx.account, &cx.region, fleet.service())
}

/// Units of the members there are.
pub fn fulfilled(fleet: &Fleet) -> Units {
    let mut units = Units::default();
    for member in fleet.active() {
        units.add(member.lifecycle, member.weight);
    }
    units
}

pub fn become_(tx: &mut Tx, cx: &Context, fleet: &mut Fleet, state: State) {
    fleet.state = state;
    record(tx, cx, fleet, "fleetRequestChange", fleet.state_name(), String::new(), None);
}

pub fn record(
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

/// A member that is there still: not one that ends by itself, until the end one that was told to.
fn lives(snapshot: &Snapshot, cx: &Context, member: &Member) -> bool {
    let found = snapshot.get::<Instance>(&cx.key(&member.instance_id));
    found.is_some_and(|i| match i.state() {
        InstanceState::ShuttingDown => member.ending,
        state => state != InstanceState::Terminated,
    })
}

/// What a launch that never came up is known by.
fn never_came_up(snapshot: &Snapshot, cx: &Context, member: &Member) -> bool {
    let found = snapshot.get::<Instance>(&cx.key(&member.instance_id));
    found.is_some_and(|i| {
        let code = i.reason.as_ref().map_or("", |reason| reason.code.as_str());
        i.observed.boot == 0 && code.starts_with("Server.")
    })
}

/// Whether the interruption notice of a member is out.
fn is_noticed(snapshot: &Snapshot, cx: &Context, member: &Member) -> bool {
    let found = snapshot.get::<Instance>(&cx.key(&member.instance_id));
    let request = found.and_then(|i| spot::ops::of(snapshot, cx, &i));
    request.is_some_and(|r| r.interruption.as_ref().is_some_and(|i| i.noticed))
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
        let remembered = if fleet.is_spot_fleet() { SPOT_FLEET_REMEMBERED } else { REMEMBERED };
        let until = ended.plus(remembered);
        return (until <= cx.now, Some(until));
    }
    let wanted = &fleet.wanted;
    let changed = |member: &Member| {
        !lives(snapshot, cx, member) || (!member.notified && is_noticed(snapshot, cx, member))
    };
    if fleet.members.iter().any(changed) || (fleet.state.is_over() && fleet.members.is_empty()) {
        return (true, None);
    }
    // What its role does not let it do is tried again after a while.
    let barred = again(snapshot, cx, fleet).filter(|_| {
        let no_role = Error::FleetRole(String::new()).code();
        fleet.errors.iter().any(|error| error.code == no_role)
    });
    if fleet.state.is_over() {
        let ends = fleet.state == State::DeletedTerminating && fleet.active().next().is_some();
        return (ends && barred.is_none(), barred.filter(|_| ends));
    }
    if fleet.wanted.kind == Kind::Instant {
        return (false, None);
    }
    if let Some(from) = wanted.valid_from.filter(|from| *from > cx.now) {
        return (false, Some(from));
    }
    let expired = wanted.valid_until.is_some_and(|until| until <= cx.now);
    if expired || matches!(fleet.state, State::Submitted | State::Modifying) {
        return (true, None);
    }
    if let Some(barred) = barred {
        return (false, Some(barred));
    }
    let unhealthy =
        wanted.replace_unhealthy && fleet.active().any(|m| is_unhealthy(snapshot, cx, m));
    if unhealthy || excess(fleet).is_some() {
        return (true, None);
    }
    match (is_short(fleet), again(snapshot, cx, fleet)) {
        (true, None) => (true, None),
        (true, Some(again)) => (false, Some(again)),
        (false, _) => (false, wanted.valid_until),
    }
}

/// When launches may be tried again; at once where nothing failed.
fn again(snapshot: &Snapshot, cx: &Context, fleet: &Fleet) -> Option<Timestamp> {
    let last = events(snapshot, cx, &fleet.id).last().map(|last| last.at);
    let refused = last.filter(|_| !fleet.errors.is_empty()).map(|last| last.plus(RETRY));
    refused.max(fleet.not_before).filter(|again| *again > cx.now)
}

pub fn is_short(fleet: &Fleet) -> bool {
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
    fleet.members.iter().rposition(|member| {
        !member.ending && had.of(member.lifecycle) - member.weight >= target.of(member.lifecycle)
    })
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
    look(tx, cx, &mut fleet);
    let expired = fleet.wanted.valid_until.is_some_and(|until| until <= cx.now);
    if expired && !fleet.state.is_over() {
        record(tx, cx, &fleet, "fleetRequestChange", "expired", String::new(), None);
        let state = match fleet.wanted.terminate_at_end {
            true => State::DeletedTerminating,
            false => State::DeletedRunning,
        };
        become_(tx, cx, &mut fleet, state);
    }
    if fleet.state.is_over() {
        if fleet.state == State::DeletedTerminating {
            fleet.errors.clear();
            (0..fleet.members.len()).for_each(|at| terminate(tx, cx, &mut fleet, at, ""));
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
        for at in 0..fleet.members.len() {
            if is_unhealthy(tx, cx, &fleet.members[at]) {
                terminate(tx, cx, &mut fleet, at, "replaced: unhealthy");
            }
        }
    }
    while let Some(at) = excess(&fleet) {
        terminate(tx, cx, &mut fleet, at, "more than the target capacity");
        if !fleet.members[at].ending {
            break;
        }
    }
    if is_short(&fleet) && again(tx, cx, &fleet).is_none() {
        fill(tx, cx, &mut fleet, &BTreeMap::new());
    }
    if fleet.state == State::Modifying {
        fleet.state = State::Active;
        record(tx, cx, &fleet, "fleetRequestChange", "modify_succeeded", String::new(), None);
    }
    tx.put(fleet);
}

/// What became of the members: those that are gone, that never came up, and that will be taken.
fn look(tx: &mut Tx, cx: &Context, fleet: &mut Fleet) {
    let members = std::mem::take(&mut fleet.members);
    for mut member in members {
        let (lives, failed) = (lives(tx, cx, &member), never_came_up(tx, cx, &member));
        let noticed = !member.notified && is_noticed(tx, cx, &member);
        member.notified |= noticed;
        let mut note = |what: &str| {
            let id = Some(member.instance_id.as_str());
            record(tx, cx, fleet, "instanceChange", what, String::new(), id);
        };
        if noticed {
            note("termination_notified");
        }
        if !lives && !member.ending {
            note("terminated");
        }
        if lives {
            fleet.members.push(member);
        } else if failed {
            let wait = BACKOFF * 2u32.saturating_pow(fleet.failed_boots.min(8));
            fleet.failed_boots += 1;
            fleet.not_before = Some(cx.now.plus(wait.min(MAX_BACKOFF)));
        }
    }
    let up = |member: &Member| {
        let found = tx.get::<Instance>(&cx.key(&member.instance_id));
        found.is_some_and(|i| i.observed.boot > 0)
    };
    if fleet.failed_boots > 0 && fleet.active().last().is_some_and(up) {
        fleet.failed_boots = 0;
    }
}

/// Tells a member to end, if the fleet may, and if it was not told yet.
fn terminate(tx: &mut Tx, cx: &Context, fleet: &mut Fleet, at: usize, why: &str) {
    let member = fleet.members[at].clone();
    if member.ending {
        return;
    }
    let id = member.instance_id;
    if let Err(error) = role::may_terminate(tx, cx, fleet, &id) {
        return fail(tx, cx, fleet, member.place, member.lifecycle, &error);
    }
    let as_fleet = as_service(cx, fleet);
    // One that is no more needs no ending.
    let _ = instance::ops::terminate(tx, &as_fleet, std::slice::from_ref(&id), false);
    let found = tx.get::<Instance>(&cx.key(&id));
    let request = found.and_then(|i| i.spot_request_id.clone());
    if let Some(request) = request {
        let _ = spot::ops::cancel(tx, &as_fleet, &[request]);
    }
    fleet.members[at].ending = true;
    record(tx, cx, fleet, "instanceChange", "terminated", why.to_owned(), Some(&id));
}

/// An EC2 Fleet.
pub fn fleet(snapshot: &Snapshot, cx: &Context, id: &str) -> Result<Arc<Fleet>> {
    find(snapshot, cx, Named::Fleet, id)
}

/// Of one of the two kinds.
pub fn find(snapshot: &Snapshot, cx: &Context, kind: Named, id: &str) -> Result<Arc<Fleet>> {
    if !is_id(kind, id) {
        return Err(Error::malformed(kind, id));
    }
    snapshot.get(&cx.key(id)).ok_or_else(|| Error::not_found(kind, id))
}

/// `fleet-` or `sfr-`, and a UUID.
pub fn is_id(kind: Named, id: &str) -> bool {
    id.strip_prefix(kind.prefix()).is_some_and(|rest| {
        rest.len() == 36 && rest.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-')
    })
}

/// Fleets of one kind, those of these ids or all.
pub fn named(
    snapshot: &Snapshot,
    cx: &Context,
    kind: Named,
    ids: &[String],
) -> Result<Vec<Arc<Fleet>>> {
    let malformed: Vec<String> = ids.iter().filter(|id| !is_id(kind, id)).cloned().collect();
    if !malformed.is_empty() {
        return Err(Error::Malformed { kind, ids: malformed });
    }
    let mut all: Vec<Arc<Fleet>> = snapshot.scan(&cx.key(kind.prefix())).collect();
    listing::named(&mut all, ids, |fleet| &fleet.id, kind)?;
    Ok(all)
}
