//! What users and services ask of instances: each checks, then writes intent. Nothing here waits for
//! anything to become true; the controller does that.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use compute::Layer;
use sha2::Digest;
use store::{Snapshot, Tx};

use super::interfaces::Source;
use super::launch::Launch;
use super::model::{ClientToken, Console, Instance, Reservation, ShutdownBehavior};
use super::place::Needs;
use super::resolve::{self, Resolved};
use super::state::{self, Denied, Event, InstanceState, Request};
use crate::ec2::capacity_reservation::usage;
use crate::ec2::image::model::{ROOT_DEVICE, RootDevice};
use crate::ec2::network_interface::{self, Attachment};
use crate::ec2::placement_group::membership;
use crate::ec2::{
    Error, Kind, Result, credits, elastic_ip, instance_profile, launch_template, spot, tag, volume,
};
use crate::{Context, id};

/// RunInstances: "Constraints: Maximum 64 ASCII characters".
const MAX_TOKEN: usize = 64;

pub fn instance(snapshot: &Snapshot, cx: &Context, id: &str) -> Result<Arc<Instance>> {
    check_ids(std::slice::from_ref(&id.to_owned()))?;
    snapshot.get(&cx.key(id)).ok_or_else(|| Error::not_found(Kind::Instance, id))
}

/// All of this account and region, in order of their ids, terminated ones included.
pub fn instances(snapshot: &Snapshot, cx: &Context) -> Vec<Arc<Instance>> {
    snapshot.scan(&cx.prefix()).collect()
}

/// Launches between `min_count` and `max_count` instances, as many as there is room for.
pub fn run(tx: &mut Tx, cx: &Context, launch: &Launch) -> Result<Reservation> {
    let fingerprint = fingerprint(launch);
    if let Some(token) = &launch.client_token {
        if token.len() > MAX_TOKEN || !token.is_ascii() {
            return Err(Error::value("Client token must be at most 64 ASCII characters."));
        }
        if let Some(used) = tx.get::<ClientToken>(&cx.key(token)) {
            if used.fingerprint != fingerprint {
                return Err(Error::token_mismatch(token));
            }
            return reservation(tx, cx, &used.reservation_id);
        }
    }
    let launch = spot::ops::placed(tx, cx, with_template(tx, cx, launch)?)?;
    let launch = launch.as_ref();
    let resolved = resolve::resolve(tx, cx, launch)?;
    if let Some(market) = &launch.market {
        spot::ops::admit(tx, cx, market, &resolved.instance_type, &resolved.zone)?;
    }

    let reservation_id = id::resource(&cx.env.rng, "r");
    if let Some(token) = &launch.client_token {
        tx.put(ClientToken {
            account: cx.account.clone(),
            region: cx.region.clone(),
            token: token.clone(),
            reservation_id: reservation_id.clone(),
            fingerprint,
        });
    }
    let mut instances = Vec::new();
    for index in 0..resolved.count {
        let mut instance = create(tx, cx, launch, &resolved, &reservation_id, index)?;
        spot::ops::launched(tx, cx, launch, &mut instance)?;
        usage::enter(tx, cx, &mut instance);
        tx.put(instance.clone());
        credits::ops::open(tx, cx, &instance, launch.cpu_credits);
        if let Some(profile) = &resolved.profile {
            instance_profile::ops::associate(tx, cx, &instance.id, profile);
        }
        instances.push(instance);
    }
    Ok(Reservation {
        id: reservation_id,
        account: cx.account.clone(),
        requester: service(cx),
        instances,
    })
}

/// Why a launch would be refused now.
pub fn refusal(snapshot: &Snapshot, cx: &Context, launch: &Launch) -> Option<Error> {
    let whole = with_template(snapshot, cx, launch);
    whole.and_then(|launch| resolve::resolve(snapshot, cx, &launch)).err()
}

/// The service that launches for a user, if it is one.
fn service(cx: &Context) -> Option<String> {
    resolve::is_service(cx).then(|| cx.caller.clone())
}

fn fingerprint(launch: &Launch) -> String {
    let text = serde_json::to_vec(launch).expect("a launch has only string keys");
    id::hex(&sha2::Sha256::digest(text))
}

/// The launch over its template, and tagged with where it came from.
fn with_template<'a>(
    snapshot: &Snapshot,
    cx: &Context,
    launch: &'a Launch,
) -> Result<Cow<'a, Launch>> {
    let Some(template) = &launch.template else {
        resolve::check_tags(cx, launch)?;
        return Ok(Cow::Borrowed(launch));
    };
    let origin = launch_template::ops::resolve(snapshot, cx, template)?;
    let mut merged = launch.clone().over(origin.launch);
    resolve::check_tags(cx, &merged)?;
    merged.tags.entry("instance".to_owned()).or_default().extend([
        ("aws:ec2launchtemplate:id".to_owned(), origin.template_id),
        ("aws:ec2launchtemplate:version".to_owned(), origin.version_number.to_string()),
    ]);
    Ok(Cow::Owned(merged))
}

fn create(
    tx: &mut Tx,
    cx: &Context,
    launch: &Launch,
    resolved: &Resolved,
    reservation_id: &str,
    index: u32,
) -> Result<Instance> {
    let rng = &cx.env.rng;
    let id = id::resource(rng, "i");
    let tags = |tx: &mut Tx, kind, id: &str| match launch.tags.get(kind) {
        Some(tags) => tag::ops::set(tx, cx, id, tags),
        None => Ok(()),
    };
    tags(tx, "instance", &id)?;
    let mut interfaces = Vec::new();
    for wanted in &resolved.interfaces {
        let attachment = Attachment {
            delete_on_termination: wanted.delete_on_termination,
            ..network_interface::ops::attachment(
                cx,
                &id,
                &resolved.instance_type,
                wanted.device_index,
            )
        };
        interfaces.push(match &wanted.source {
            Source::Existing(interface) => network_interface::ops::take(tx, interface, attachment),
            Source::New(new) => {
                let made = network_interface::ops::create(tx, cx, new, Some(attachment), None)?;
                tags(tx, "network-interface", &made.id)?;
                made
            }
        });
    }
    let primary = interfaces.remove(0);
    let mut volumes = Vec::new();
    for new in &resolved.devices.volumes {
        let made = volume::ops::launched(tx, cx, &primary.zone, &id, new);
        tags(tx, "volume", &made.id)?;
        volumes.push(made.id);
    }
    elastic_ip::ops::lend(tx, cx, &primary.id)?;
    let (desired, observed, reason) = state::launched();
    Ok(Instance {
        account: cx.account.clone(),
        region: cx.region.clone(),
        id,
        reservation_id: reservation_id.to_owned(),
        launch_index: index,
        requester: service(cx),
        client_token: launch.client_token.clone(),
        spot_request_id: None,
        placement_group: resolved
            .placement
            .as_ref()
            .map(|place| membership::join(tx, cx, place, &primary.zone)),
        capacity_reservation: launch.capacity_reservation.clone().unwrap_or_default(),
        capacity_reservation_id: None,
        private_ip: primary.primary(),
        zone: primary.zone,
        vpc_id: primary.vpc_id,
        subnet_id: primary.subnet_id,
        interface_id: primary.id,
        secondary_interfaces: interfaces.into_iter().map(|interface| interface.id).collect(),
        image_id: resolved.image_id.clone(),
        layers: resolved.layers.clone(),
        init: resolved.init,
        architecture: resolved.architecture.clone(),
        root_device: resolved.root_device,
        frozen: match resolved.root_device {
            RootDevice::Ebs => Vec::new(),
            RootDevice::InstanceStore => resolved.frozen.clone(),
        },
        volumes,
        ephemeral: resolved.devices.ephemeral.clone(),
        instance_type: resolved.instance_type.clone(),
        key_name: launch.key_name.clone(),
        public_key: resolved.public_key.clone(),
        user_data: resolved.user_data.clone(),
        metadata: resolved.metadata.clone(),
        shutdown_behavior: match resolved.root_device {
            RootDevice::Ebs => launch.shutdown_behavior.unwrap_or_default(),
            RootDevice::InstanceStore => ShutdownBehavior::Terminate,
        },
        disable_api_termination: launch.disable_api_termination.unwrap_or(false),
        disable_api_stop: launch.disable_api_stop.unwrap_or(false),
        monitoring: launch.monitoring.unwrap_or(false),
        launch_time: cx.now,
        created_at: cx.now,
        desired,
        observed,
        reason,
        transition_reason: String::new(),
    })
}

fn reservation(snapshot: &Snapshot, cx: &Context, id: &str) -> Result<Reservation> {
    let mut instances: Vec<Instance> = snapshot
        .scan::<Instance>(&cx.prefix())
        .filter(|instance| instance.reservation_id == id)
        .map(|instance| Instance::clone(&instance))
        .collect();
    instances.sort_by_key(|instance| instance.launch_index);
    Ok(Reservation {
        id: id.to_owned(),
        account: cx.account.clone(),
        requester: instances.first().and_then(|first| first.requester.clone()),
        instances,
    })
}

/// What a request did to the state of one instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateChange {
    pub id: String,
    pub previous: InstanceState,
    pub current: InstanceState,
}

pub fn start(tx: &mut Tx, cx: &Context, ids: &[String]) -> Result<Vec<StateChange>> {
    let instances = named(tx, cx, ids)?;
    for instance in &instances {
        if instance.state() != InstanceState::Stopped {
            continue;
        }
        if volume::ops::root_of(tx, cx, instance).is_none_or(|root| root.is_leaving()) {
            return Err(Error::value(format!(
                "Invalid value '{}' for instanceId. Instance does not have a volume attached at root \
                 ({ROOT_DEVICE})",
                instance.id
            )));
        }
    }
    for instance in instances.iter().filter(|_| !resolve::is_service(cx)) {
        if instance.state() == InstanceState::Stopped {
            spot::ops::check_start(tx, cx, instance)?;
        }
    }
    // One by one: each that starts takes from what the next finds.
    let mut changes = Vec::new();
    for instance in &instances {
        let starts = instance.state() == InstanceState::Stopped;
        let mut instance = Cow::Borrowed(instance);
        if starts {
            let needs = Needs::of_instance(tx, cx, &instance);
            needs.take(tx, cx, &instance.zone, 1, 1)?;
            let mut entered = Instance::clone(&instance);
            usage::enter(tx, cx, &mut entered);
            instance = Cow::Owned(Arc::new(entered));
        }
        changes.extend(request(
            tx,
            cx,
            std::slice::from_ref(&*instance),
            Request::Start,
            "started",
        )?);
        if starts {
            elastic_ip::ops::lend(tx, cx, &instance.interface_id)?;
        }
    }
    Ok(changes)
}

pub fn stop(tx: &mut Tx, cx: &Context, ids: &[String], force: bool) -> Result<Vec<StateChange>> {
    let instances = named(tx, cx, ids)?;
    protected(cx, &instances, |i| i.disable_api_stop, "stopped", "disableApiStop")?;
    instances.iter().try_for_each(|instance| resolve::check_stoppable(instance))?;
    for instance in instances.iter().filter(|_| !resolve::is_service(cx)) {
        spot::ops::check_stop(tx, cx, instance)?;
    }
    request(tx, cx, &instances, Request::Stop { force }, "stopped")
}

pub fn reboot(tx: &mut Tx, cx: &Context, ids: &[String]) -> Result<()> {
    let instances = named(tx, cx, ids)?;
    request(tx, cx, &instances, Request::Reboot, "rebooted").map(drop)
}

pub fn terminate(
    tx: &mut Tx,
    cx: &Context,
    ids: &[String],
    force: bool,
) -> Result<Vec<StateChange>> {
    let instances = named(tx, cx, ids)?;
    protected(
        cx,
        &instances,
        |i| i.disable_api_termination && i.is_alive(),
        "terminated",
        "disableApiTermination",
    )?;
    request(tx, cx, &instances, Request::Terminate { force }, "terminated")
}

/// Protection is against users; a service that was told to manage the instance may end it.
fn protected(
    cx: &Context,
    instances: &[Arc<Instance>],
    is_protected: fn(&Instance) -> bool,
    participle: &str,
    attribute: &str,
) -> Result<()> {
    let found = instances.iter().find(|i| is_protected(i) && !resolve::is_service(cx));
    found.map_or(Ok(()), |instance| {
        Err(Error::OperationNotPermitted(format!(
            "The instance '{}' may not be {participle}. Modify its '{attribute}' instance attribute \
             and try again.",
            instance.id
        )))
    })
}

/// All or none.
fn request(
    tx: &mut Tx,
    cx: &Context,
    instances: &[Arc<Instance>],
    request: Request,
    participle: &str,
) -> Result<Vec<StateChange>> {
    let mut changes = Vec::new();
    for instance in instances {
        let mut next = Instance::clone(instance);
        let changed = state::request(&mut next, request, cx.now).map_err(|Denied(_)| {
            Error::IncorrectInstanceState(format!(
                "The instance '{}' is not in a state from which it can be {participle}.",
                instance.id
            ))
        })?;
        changes.push(StateChange {
            id: next.id.clone(),
            previous: instance.state(),
            current: next.state(),
        });
        if changed {
            tx.put(next);
        }
    }
    Ok(changes)
}

/// The instances of these ids, each once, or the error that lists the wrong ones.
pub fn named(snapshot: &Snapshot, cx: &Context, ids: &[String]) -> Result<Vec<Arc<Instance>>> {
    if ids.is_empty() {
        return Err(Error::MissingParameter("InstanceId"));
    }
    check_ids(ids)?;
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    let mut missing = Vec::new();
    for id in ids.iter().filter(|id| seen.insert(id.as_str())) {
        match snapshot.get::<Instance>(&cx.key(id)) {
            Some(instance) => found.push(instance),
            None => missing.push(id.clone()),
        }
    }
    if missing.is_empty() {
        return Ok(found);
    }
    Err(Error::NotFound { kind: Kind::Instance, ids: missing })
}

fn check_ids(ids: &[String]) -> Result<()> {
    let bad: Vec<String> = ids.iter().filter(|id| !Kind::Instance.is_id(id)).cloned().collect();
    if bad.is_empty() {
        return Ok(());
    }
    Err(Error::Malformed { kind: Kind::Instance, ids: bad })
}

/// Feeds a sighting of the controller into the record.
pub fn observe(tx: &mut Tx, cx: &Context, id: &str, event: Event) {
    see(tx, cx, id, event, None);
}

/// Every trace of it was removed; `wrote` is what it left of a root volume that stays.
pub fn gone(tx: &mut Tx, cx: &Context, id: &str, wrote: Option<Layer>) {
    see(tx, cx, id, Event::Gone, wrote);
}

/// What a terminated instance held is let go.
fn see(tx: &mut Tx, cx: &Context, id: &str, event: Event, wrote: Option<Layer>) {
    let Some(instance) = tx.get::<Instance>(&cx.key(id)) else { return };
    let mut next = Instance::clone(&instance);
    if !state::observe(&mut next, event, cx.now) {
        return;
    }
    if next.state() == InstanceState::Stopped && instance.state() != InstanceState::Stopped {
        elastic_ip::ops::take_back(tx, cx, &next.interface_id);
        next.capacity_reservation_id = None;
    }
    if !next.is_alive() && instance.is_alive() {
        network_interface::ops::instance_gone(tx, cx, &next);
        volume::ops::instance_gone(tx, cx, &next, wrote);
        next.volumes.clear();
    }
    tx.put(next);
}

/// Keeps the console of an instance about to be destroyed.
pub fn keep_console(tx: &mut Tx, cx: &Context, id: &str, output: &[u8]) {
    if tx.get::<Instance>(&cx.key(id)).is_some() {
        tx.put(Console {
            account: cx.account.clone(),
            region: cx.region.clone(),
            instance_id: id.to_owned(),
            output: String::from_utf8_lossy(output).into_owned(),
        });
    }
}

/// The console of an instance, or of one that is no more.
pub fn console(snapshot: &Snapshot, cx: &Context, id: &str) -> Result<(Arc<Instance>, Vec<u8>)> {
    let instance = instance(snapshot, cx, id)?;
    let output = match snapshot.get::<Console>(&cx.key(id)) {
        Some(kept) => kept.output.clone().into_bytes(),
        None => cx.env.driver.console(id),
    };
    Ok((instance, output))
}

/// The console of one that runs, and so has a screen.
pub fn running_console(snapshot: &Snapshot, cx: &Context, id: &str) -> Result<Vec<u8>> {
    let (instance, output) = console(snapshot, cx, id)?;
    if instance.state() != InstanceState::Running {
        return Err(Error::IncorrectInstanceState(format!(
            "The instance '{id}' is not in the 'running' state."
        )));
    }
    Ok(output)
}

/// Removes every record of a terminated instance whose time is over.
pub fn forget(tx: &mut Tx, cx: &Context, id: &str) {
    let Some(instance) = tx.get::<Instance>(&cx.key(id)) else { return };
    tx.delete::<Instance>(&cx.key(id));
    tx.delete::<Console>(&cx.key(id));
    credits::ops::forget(tx, cx, id);
    tag::ops::forget(tx, cx, id);
    tx.delete::<instance_profile::Association>(&cx.key(id));
    let Some(token) = &instance.client_token else { return };
    let is_last = !tx
        .scan::<Instance>(&cx.prefix())
        .any(|other| other.reservation_id == instance.reservation_id);
    if is_last {
        tx.delete::<ClientToken>(&cx.key(token));
    }
}
