//! What users and services ask of Spot requests, and the steps the controller takes with them.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use store::{Snapshot, Tx};

use super::event;
use super::market::{self, short};
use super::model::{Behavior, Cause, Interruption, Market, SpotRequest, State, Status};
use super::state::{self, NOTICE, Step, View};
use crate::clock::Timestamp;
use crate::ec2::capacity;
use crate::ec2::catalog::prices;
use crate::ec2::client_token::ClientToken;
use crate::ec2::instance::launch::Launch;
use crate::ec2::instance::model::Instance;
use crate::ec2::instance::state::{self as instance_state, InstanceState};
use crate::ec2::instance::{self, resolve};
use crate::ec2::listing;
use crate::ec2::{Error, Kind, Result, tag};
use crate::tag::Tags;
use crate::{Context, zone};

/// AWS has a quota in vCPUs instead; this keeps one call from making a flood.
const MAX_REQUESTS: u32 = 1000;

/// What RequestSpotInstances asks for.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Asked {
    pub count: u32,
    pub launch: Launch,
    pub market: Market,
    pub valid_from: Option<Timestamp>,
    pub tags: Tags,
    #[serde(skip)]
    pub client_token: Option<ClientToken>,
}

/// Refuses terms that cannot be.
pub fn check(cx: &Context, market: &Market) -> Result<()> {
    if let Some(text) = &market.max_price
        && !text.parse::<f64>().is_ok_and(|price| price.is_finite() && price > 0.0)
    {
        return Err(Error::value(format!("Invalid value '{text}' for spotPrice.")));
    }
    if market.behavior == Behavior::Stop && !market.persistent {
        return Err(Error::combination(
            "The instance interruption behavior 'stop' is supported for persistent Spot requests only.",
        ));
    }
    if market.valid_until.is_some_and(|until| until <= cx.now) {
        return Err(Error::value("The validUntil date must be in the future."));
    }
    Ok(())
}

/// The most that is paid for an hour.
pub fn max_price(market: &Market, instance_type: &str) -> f64 {
    let said = market.max_price.as_ref().and_then(|text| text.parse().ok());
    said.or_else(|| prices::on_demand(instance_type)).unwrap_or_default()
}

/// The launch of a Spot Instance, put into the zone that takes it for the least where it names none.
pub fn placed<'a>(
    snapshot: &Snapshot,
    cx: &Context,
    launch: Cow<'a, Launch>,
) -> Result<Cow<'a, Launch>> {
    let Some(market) = &launch.market else { return Ok(launch) };
    check(cx, market)?;
    let named = launch.subnet_id.is_some()
        || launch.zone.is_some()
        || launch.zone_id.is_some()
        || launch.interfaces.iter().any(|interface| {
            interface.subnet_id.is_some() || interface.network_interface_id.is_some()
        });
    let Some(instance_type) = launch.instance_type.clone().filter(|_| !named) else {
        return Ok(launch);
    };
    let mut zones: Vec<(f64, String)> = zone::zones(&cx.region, cx.env.config.zones)
        .into_iter()
        .filter_map(|zone| {
            let series = market::series(snapshot, &cx.env, &instance_type, &zone.name)?;
            Some((series.price(cx.now), zone.name))
        })
        .collect();
    zones.sort_by(|a, b| a.partial_cmp(b).expect("prices are numbers"));
    for (_, zone) in zones {
        let there = Launch { zone: Some(zone), ..Launch::clone(&launch) };
        if judge(snapshot, cx, &there).is_ok() {
            return Ok(Cow::Owned(there));
        }
    }
    // Where it would go by itself: what is wrong is said there.
    Ok(launch)
}

/// Whether it could be launched now, in the place it names.
pub fn judge(snapshot: &Snapshot, cx: &Context, launch: &Launch) -> Result<()> {
    let resolved = resolve::resolve(snapshot, cx, launch)?;
    match &launch.market {
        Some(market) => admit(snapshot, cx, market, &resolved.instance_type, &resolved.zone),
        None => Ok(()),
    }
}

/// Whether the market gives it for what is paid at most.
pub fn admit(
    snapshot: &Snapshot,
    cx: &Context,
    market: &Market,
    instance_type: &str,
    zone: &str,
) -> Result<()> {
    let Some(series) = market::series(snapshot, &cx.env, instance_type, zone) else {
        return Err(market::no_market(instance_type));
    };
    let (price, most) = (series.price(cx.now), max_price(market, instance_type));
    if price > most {
        return Err(Error::SpotMaxPriceTooLow { most: short(most), price: short(price) });
    }
    Ok(())
}

/// A Spot Instance is launched: ties it to its request, which is made where there is none.
pub fn launched(tx: &mut Tx, cx: &Context, launch: &Launch, instance: &mut Instance) -> Result<()> {
    let Some(market) = &launch.market else { return Ok(()) };
    let known = market.request_id.as_ref().and_then(|id| tx.get::<SpotRequest>(&cx.key(id)));
    let mut request = match known {
        Some(known) => SpotRequest::clone(&known),
        None => {
            let id = new_id(cx);
            if let Some(tags) = launch.tags.get("spot-instances-request") {
                tag::ops::set(tx, cx, &id, tags)?;
            }
            let one = Launch { min_count: 1, max_count: 1, client_token: None, ..launch.clone() };
            new(cx, id, one, market.clone())
        }
    };
    instance.spot_request_id = Some(request.id.clone());
    request.instance_type = instance.instance_type.clone();
    request.instance_id = Some(instance.id.clone());
    request.zone = Some(instance.zone.clone());
    request.interruption = None;
    request.rebalance = None;
    set(&mut request, cx, State::Active, "fulfilled");
    let detail = json!({
        "spot-instance-request-id": request.id,
        "instance-id": instance.id,
    });
    event::record(tx, cx, event::FULFILLED, &instance.id, detail);
    tx.put(request);
    Ok(())
}

/// As AWS makes them: eight small letters and digits.
fn new_id(cx: &Context) -> String {
    const LETTERS: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let letter = || char::from(LETTERS[cx.env.rng.below(LETTERS.len() as u64) as usize]);
    format!("sir-{}", (0..8).map(|_| letter()).collect::<String>())
}

fn new(cx: &Context, id: String, launch: Launch, market: Market) -> SpotRequest {
    SpotRequest {
        account: cx.account.clone(),
        region: cx.region.clone(),
        id,
        created_at: cx.now,
        valid_from: None,
        instance_type: launch.instance_type.clone().unwrap_or_default(),
        launch: Launch { market: None, ..launch },
        market: Market { request_id: None, ..market },
        client_token: None,
        state: State::Open,
        status: Status {
            code: "pending-evaluation".to_owned(),
            message: state::message("pending-evaluation").to_owned(),
            at: cx.now,
        },
        instance_id: None,
        zone: None,
        interruption: None,
        rebalance: None,
        ended_at: None,
    }
}

fn set(request: &mut SpotRequest, cx: &Context, state: State, code: &str) {
    request.state = state;
    request.status =
        Status { code: code.to_owned(), message: state::message(code).to_owned(), at: cx.now };
}

/// RequestSpotInstances: open requests, which the controller fulfils when it can.
pub fn request(tx: &mut Tx, cx: &Context, asked: &Asked) -> Result<Vec<SpotRequest>> {
    if let Some(token) = &asked.client_token {
        let prefix = cx.prefix();
        let all = || tx.scan::<SpotRequest>(&prefix);
        let made = crate::ec2::client_token::made(&asked.client_token, all(), |r| &r.client_token)?;
        if made.is_some() {
            let same = all().filter(|r| r.client_token.as_ref() == Some(token));
            return Ok(same.map(|r| SpotRequest::clone(&r)).collect());
        }
    }
    if asked.count == 0 || asked.count > MAX_REQUESTS {
        return Err(Error::value(format!(
            "Value ({}) for parameter instanceCount is invalid. Expecting a value between 1 and {MAX_REQUESTS}.",
            asked.count
        )));
    }
    check(cx, &asked.market)?;
    if asked.valid_from.zip(asked.market.valid_until).is_some_and(|(from, until)| from >= until) {
        return Err(Error::value("The validFrom date must be before the validUntil date."));
    }
    tag::ops::check(&asked.tags)?;
    let launch = Launch {
        min_count: 1,
        max_count: 1,
        market: Some(asked.market.clone()),
        ..asked.launch.clone()
    };
    let instance_type = launch.instance_type.clone().unwrap_or_default();
    match judge(tx, cx, placed(tx, cx, Cow::Borrowed(&launch))?.as_ref()) {
        Err(error) if waits(&error).is_none() => return Err(error),
        _ => {}
    }
    let mut made = Vec::new();
    for _ in 0..asked.count {
        let request = SpotRequest {
            valid_from: asked.valid_from,
            client_token: asked.client_token.clone(),
            instance_type: instance_type.clone(),
            ..new(cx, new_id(cx), launch.clone(), asked.market.clone())
        };
        tag::ops::set(tx, cx, &request.id, &asked.tags)?;
        tx.put(request.clone());
        made.push(request);
    }
    made.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(made)
}

/// The status of a request that is not fulfilled for what may pass; `None`: it never can be.
fn waits(error: &Error) -> Option<&'static str> {
    match error {
        Error::SpotMaxPriceTooLow { .. } => Some("price-too-low"),
        Error::InsufficientInstanceCapacity { .. } => Some("capacity-not-available"),
        Error::SpreadLimitExceeded { .. } | Error::PlacementGroupInUseElsewhere { .. } => {
            Some("placement-group-constraint")
        }
        Error::InsufficientFreeAddressesInSubnet(_) => Some("constraint-not-fulfillable"),
        _ => None,
    }
}

/// The terms of an instance that is a Spot Instance.
pub fn market_of(snapshot: &Snapshot, cx: &Context, instance: &Instance) -> Option<Market> {
    let id = instance.spot_request_id.as_ref()?;
    snapshot.get::<SpotRequest>(&cx.key(id)).map(|request| request.market.clone())
}

/// The requests of these ids, each once.
pub fn named(snapshot: &Snapshot, cx: &Context, ids: &[String]) -> Result<Vec<Arc<SpotRequest>>> {
    let mut all: Vec<Arc<SpotRequest>> = snapshot.scan(&cx.prefix()).collect();
    listing::named(&mut all, ids, |r| &r.id, Kind::SpotRequest)?;
    Ok(all)
}

pub fn cancel(tx: &mut Tx, cx: &Context, ids: &[String]) -> Result<Vec<SpotRequest>> {
    if ids.is_empty() {
        return Err(Error::MissingParameter("spotInstanceRequestId"));
    }
    let mut cancelled = Vec::new();
    for request in named(tx, cx, ids)? {
        let mut next = SpotRequest::clone(&request);
        match request.state {
            State::Open => {
                set(&mut next, cx, State::Cancelled, "canceled-before-fulfillment");
                next.ended_at = Some(cx.now);
            }
            State::Active => {
                set(&mut next, cx, State::Cancelled, "request-canceled-and-instance-running");
            }
            State::Disabled => {
                set(&mut next, cx, State::Cancelled, "instance-terminated-by-user");
                take(tx, cx, &next, Behavior::Terminate);
            }
            State::Closed | State::Cancelled | State::Failed => {}
        }
        if next != *request {
            tx.put(next.clone());
        }
        cancelled.push(next);
    }
    Ok(cancelled)
}

/// What the controller knows of one request.
struct Known {
    instance: Option<Arc<Instance>>,
    market: Option<state::Market>,
}

fn known(snapshot: &Snapshot, cx: &Context, request: &SpotRequest) -> Known {
    let id = request.instance_id.as_ref();
    let instance = id.and_then(|id| snapshot.get::<Instance>(&cx.key(id)));
    let market = instance.as_ref().and_then(|i| {
        let series = market::series(snapshot, &cx.env, &i.instance_type, &i.zone)?;
        let next_at = series.next(cx.now);
        Some(state::Market { price: series.price(cx.now), next_at, next: series.price(next_at) })
    });
    Known { instance, market }
}

fn next_step(
    snapshot: &Snapshot,
    cx: &Context,
    request: &SpotRequest,
) -> (Option<Step>, Option<Timestamp>) {
    let Known { instance, market } = known(snapshot, cx, request);
    let room = instance.as_ref().is_none_or(|instance| capacity::ops::has_spot(snapshot, instance));
    state::next(&View {
        request,
        instance: instance.as_deref(),
        market,
        max_price: max_price(&request.market, &request.instance_type),
        room,
        now: cx.now,
    })
}

/// Whether `step` would write something, and when to look again if not.
pub fn due(snapshot: &Snapshot, cx: &Context, request: &SpotRequest) -> (bool, Option<Timestamp>) {
    match next_step(snapshot, cx, request) {
        (Some(Step::Try), wake) => {
            let error = fits(snapshot, cx, request).err();
            let same = error.is_some_and(|error| {
                let status = &request.status;
                waits(&error) == Some(&*status.code) && error.to_string() == status.message
            });
            let zones = zone::zones(&cx.region, cx.env.config.zones);
            let changes = zones.iter().filter_map(|zone| {
                let kind = &request.instance_type;
                Some(market::series(snapshot, &cx.env, kind, &zone.name)?.next(cx.now))
            });
            (!same, changes.chain(wake).min())
        }
        (Some(Step::Act(Behavior::Stop)), _) => {
            // It must be up to be stopped.
            let state = known(snapshot, cx, request).instance.map(|i| i.state());
            (state != Some(InstanceState::Pending), None)
        }
        (step, wake) => (step.is_some(), wake),
    }
}

fn fits(snapshot: &Snapshot, cx: &Context, request: &SpotRequest) -> Result<()> {
    let launch = launch_of(request);
    judge(snapshot, cx, placed(snapshot, cx, Cow::Borrowed(&launch))?.as_ref())
}

fn launch_of(request: &SpotRequest) -> Launch {
    let market = Market { request_id: Some(request.id.clone()), ..request.market.clone() };
    Launch { market: Some(market), ..request.launch.clone() }
}

/// Takes the steps that are due.
pub fn step(tx: &mut Tx, cx: &Context, id: &str) {
    // Each leads to a state with fewer to come: reopened, tried, fulfilled.
    for _ in 0..8 {
        let Some(request) = tx.get::<SpotRequest>(&cx.key(id)) else { return };
        let (Some(step), _) = next_step(tx, cx, &request) else { return };
        let mut next = SpotRequest::clone(&request);
        match step {
            Step::Forget => {
                tx.delete::<SpotRequest>(&cx.key(id));
                return tag::ops::forget(tx, cx, id);
            }
            Step::Try => return attempt(tx, cx, next),
            Step::Become(to, code) => {
                set(&mut next, cx, to, code);
                match to {
                    State::Open if code != "not-scheduled-yet" => {
                        next.instance_id = None;
                        next.zone = None;
                        next.interruption = None;
                        next.rebalance = None;
                    }
                    State::Active => {
                        next.interruption = None;
                        next.rebalance = None;
                    }
                    State::Closed | State::Cancelled => next.ended_at = Some(cx.now),
                    _ => {}
                }
            }
            Step::Recommend => recommend(tx, cx, &mut next),
            Step::Interrupt(interruption) => {
                if next.rebalance.is_none() {
                    recommend(tx, cx, &mut next);
                }
                next.interruption = Some(interruption);
            }
            Step::Notice => notice(tx, cx, &mut next),
            Step::Act(behavior) => {
                if !take(tx, cx, &next, behavior) {
                    return;
                }
                next.interruption.iter_mut().for_each(|i| i.done = true);
            }
            Step::Restart => {
                let ids: Vec<String> = next.instance_id.iter().cloned().collect();
                if instance::ops::start(tx, cx, &ids).is_err() {
                    return;
                }
                next.interruption = None;
                next.rebalance = None;
                set(&mut next, cx, State::Active, "fulfilled");
            }
            Step::Expire => {
                set(&mut next, cx, State::Cancelled, "schedule-expired");
                take(tx, cx, &next, Behavior::Terminate);
            }
        }
        tx.put(next);
    }
}

/// Launches, or says why not.
fn attempt(tx: &mut Tx, cx: &Context, mut request: SpotRequest) {
    // Looked at first: a launch that fails half way would leave its half in the transaction.
    let done = fits(tx, cx, &request)
        .and_then(|()| instance::ops::run(tx, cx, &launch_of(&request)).map(drop));
    let Err(error) = done else { return };
    match waits(&error) {
        Some(code) => set(&mut request, cx, State::Open, code),
        None => {
            set(&mut request, cx, State::Failed, "bad-parameters");
            request.ended_at = Some(cx.now);
        }
    }
    request.status.message = error.to_string();
    tx.put(request);
}

fn recommend(tx: &mut Tx, cx: &Context, request: &mut SpotRequest) {
    request.rebalance = Some(cx.now);
    let Some(id) = &request.instance_id else { return };
    event::record(tx, cx, event::REBALANCE, id, json!({"instance-id": id}));
}

fn notice(tx: &mut Tx, cx: &Context, request: &mut SpotRequest) {
    let action = action(request);
    request.interruption.iter_mut().for_each(|i| i.noticed = true);
    if request.state == State::Active {
        let cause = request.interruption.as_ref().map(|i| i.cause);
        let code = match (action, cause) {
            (Behavior::Terminate, _) => "marked-for-termination",
            (Behavior::Stop, Some(Cause::Asked)) => "marked-for-stop-by-experiment",
            (Behavior::Stop, _) => "marked-for-stop",
        };
        set(request, cx, State::Active, code);
    }
    let Some(id) = &request.instance_id else { return };
    let detail = json!({"instance-id": id, "instance-action": action.name()});
    event::record(tx, cx, event::WARNING, id, detail);
}

/// What an interruption does to the instance.
fn action(request: &SpotRequest) -> Behavior {
    match request.state {
        State::Cancelled => Behavior::Terminate,
        _ => request.market.behavior,
    }
}

/// Tells the instance to end. Whether it could be told.
fn take(tx: &mut Tx, cx: &Context, request: &SpotRequest, behavior: Behavior) -> bool {
    let id = request.instance_id.as_ref();
    let Some(found) = id.and_then(|id| tx.get::<Instance>(&cx.key(id))) else { return true };
    let mut next = Instance::clone(&found);
    let stop = behavior == Behavior::Stop;
    match instance_state::interrupt(&mut next, stop, cx.now) {
        Ok(true) => tx.put(next),
        Ok(false) => {}
        Err(_) => return false,
    }
    true
}

/// Takes a Spot Instance away `after` that time, with the notice two minutes before.
pub fn interrupt(tx: &mut Tx, cx: &Context, instance_id: &str, after: Duration) -> Result<()> {
    let found = instance::ops::instance(tx, cx, instance_id)?;
    let id = found.spot_request_id.as_ref();
    let Some(request) = id.and_then(|id| tx.get::<SpotRequest>(&cx.key(id))) else {
        return Err(Error::value(format!("The instance '{instance_id}' is not a Spot Instance.")));
    };
    if found.state() != InstanceState::Running {
        return Err(Error::IncorrectInstanceState(format!(
            "The instance '{instance_id}' is not running."
        )));
    }
    if request.interruption.is_some() {
        return Err(Error::IncorrectSpotRequestState(format!(
            "The instance '{instance_id}' is being interrupted already."
        )));
    }
    let mut next = SpotRequest::clone(&request);
    if next.rebalance.is_none() {
        recommend(tx, cx, &mut next);
    }
    let at = cx.now.plus(after.max(NOTICE));
    next.interruption = Some(Interruption {
        cause: Cause::Asked,
        notice_at: Timestamp(at.0 - NOTICE.as_millis() as i64),
        at,
        noticed: false,
        done: false,
    });
    tx.put(next);
    step(tx, cx, &request.id);
    Ok(())
}

/// Takes back an interruption that was asked for, while its notice is not out.
pub fn withdraw(tx: &mut Tx, cx: &Context, instance_id: &str) {
    let Ok(found) = instance::ops::instance(tx, cx, instance_id) else { return };
    let Some(request) = of(tx, cx, &found) else { return };
    if request.interruption.as_ref().is_some_and(|i| i.cause == Cause::Asked && !i.noticed) {
        tx.put(SpotRequest { interruption: None, ..SpotRequest::clone(&request) });
    }
}

/// A user stops instances: those of one-time requests cannot be.
pub fn check_stop(snapshot: &Snapshot, cx: &Context, instance: &Instance) -> Result<()> {
    let Some(request) = of(snapshot, cx, instance) else { return Ok(()) };
    if request.market.persistent && request.state != State::Cancelled {
        return Ok(());
    }
    Err(Error::UnsupportedOperation(format!(
        "You can't stop the Spot Instance '{}' because it is associated with a one-time Spot Instance \
         request. You can only stop Spot Instances associated with persistent Spot Instance requests.",
        instance.id
    )))
}

/// A user starts instances: those that were interrupted come back by themselves.
pub fn check_start(snapshot: &Snapshot, cx: &Context, instance: &Instance) -> Result<()> {
    let Some(request) = of(snapshot, cx, instance) else { return Ok(()) };
    // What was taken by the market comes back by itself; what was taken because it was asked to, does not.
    let taken = request.interruption.as_ref().is_some_and(|i| i.cause != Cause::Asked || !i.done);
    if taken || request.state == State::Cancelled {
        return Err(Error::IncorrectSpotRequestState(format!(
            "You can't start the Spot Instance '{}' because the associated Spot Instance request is \
             not in an appropriate state to support start.",
            instance.id
        )));
    }
    admit(snapshot, cx, &request.market, &instance.instance_type, &instance.zone)
}

/// The request that launched it, as long as there is one.
pub fn of(snapshot: &Snapshot, cx: &Context, instance: &Instance) -> Option<Arc<SpotRequest>> {
    snapshot.get(&cx.key(instance.spot_request_id.as_ref()?))
}

/// What metadata says of an instance's interruption, below `meta-data/`.
pub fn metadata(snapshot: &Snapshot, cx: &Context, i: &Instance) -> Vec<(&'static str, String)> {
    let Some(request) = of(snapshot, cx, i) else { return vec![] };
    let mut values = Vec::new();
    if let Some(at) = request.rebalance {
        let body: Value = json!({"noticeTime": at.iso8601()});
        values.push(("events/recommendations/rebalance", body.to_string()));
    }
    if let Some(interruption) = request.interruption.as_ref().filter(|i| i.noticed) {
        let (action, at) = (action(&request), interruption.at.iso8601());
        let body = json!({"action": action.name(), "time": at});
        values.push(("spot/instance-action", body.to_string()));
        if action == Behavior::Terminate {
            values.push(("spot/termination-time", at));
        }
    }
    values
}
