//! What happened to a group and why, in AWS's words.

use store::Tx;

use super::model::{Activity, ActivityStatus, Group, Member, Unhealthy};
use super::plan::{WhyLaunch, WhyOut};
use crate::clock::Timestamp;
use crate::{Context, id};

/// The newest activities of a group that are kept (AWS keeps those of six weeks).
const KEPT: usize = 1000;

/// `At 2026-01-01T00:00:00Z a user request …`
pub fn at(now: Timestamp, what: &str) -> String {
    format!("At {} {what}", now.iso8601())
}

pub fn cause_of_launch(group: &Group, why: &WhyLaunch, now: Timestamp) -> String {
    match why {
        WhyLaunch::Capacity { from, to } => {
            let difference = at(
                now,
                &format!(
                    "an instance was started in response to a difference between desired and actual \
                     capacity, increasing the capacity from {from} to {to}."
                ),
            );
            after_change(group, &difference)
        }
        WhyLaunch::Replacement => at(
            now,
            "an instance was launched in response to an unhealthy instance needing to be replaced.",
        ),
        WhyLaunch::Rebalance { counts } => {
            let zones: Vec<&str> = counts.iter().map(|(zone, _)| zone.as_str()).collect();
            let numbers: Vec<String> = counts.iter().map(|(_, n)| n.to_string()).collect();
            at(
                now,
                &format!(
                    "availability zones {} had {} instances respectively. An instance was launched to \
                     aid in balancing the group's zones.",
                    zones.join(" "),
                    numbers.join(" "),
                ),
            )
        }
    }
}

pub fn cause_of_end(group: &Group, instance_id: &str, why: WhyOut, now: Timestamp) -> String {
    match why {
        WhyOut::Capacity { from, to } => {
            let difference = at(
                now,
                &format!(
                    "an instance was taken out of service in response to a difference between desired \
                     and actual capacity, shrinking the capacity from {from} to {to}."
                ),
            );
            let selected =
                at(now, &format!("instance {instance_id} was selected for termination."));
            format!("{}  {selected}", after_change(group, &difference))
        }
        WhyOut::Unhealthy(unhealthy) => {
            let check = match unhealthy {
                Unhealthy::NotRunning => {
                    "an EC2 health check indicating it has been terminated or stopped."
                }
                Unhealthy::Impaired => "an EC2 instance status checks failure.",
                Unhealthy::Elb => "an ELB system health check failure.",
                Unhealthy::User => "a user health-check.",
            };
            at(now, &format!("an instance was taken out of service in response to {check}"))
        }
        WhyOut::Age => at(
            now,
            "an instance was taken out of service in response to the instance exceeding the maximum \
             instance lifetime.",
        ),
    }
}

fn after_change(group: &Group, difference: &str) -> String {
    match &group.change {
        Some(change) => format!("{change}  {difference}"),
        None => difference.to_owned(),
    }
}

/// Begins the launch of a member's instance; its key.
pub fn begin_launch(
    tx: &mut Tx,
    cx: &Context,
    group: &Group,
    member: &Member,
    subnet_id: &str,
    cause: String,
) -> String {
    let description = format!("Launching a new EC2 instance: {}", member.instance_id);
    let activity = Activity {
        status: ActivityStatus::PreInService,
        progress: 30,
        details: details(subnet_id, &member.zone),
        ..new(cx, group, description, cause)
    };
    put(tx, activity)
}

/// Begins the end of a member's instance.
pub fn begin_end(
    tx: &mut Tx,
    cx: &Context,
    group: &Group,
    member: &Member,
    cause: String,
    drains: bool,
) -> Activity {
    let status = if drains {
        ActivityStatus::WaitingForELBConnectionDraining
    } else {
        ActivityStatus::InProgress
    };
    let place = group.places.iter().find(|place| place.zone == member.zone);
    let description = format!("Terminating EC2 instance: {}", member.instance_id);
    let activity = Activity {
        status,
        progress: 50,
        details: details(place.map_or("", |place| &place.subnet_id), &member.zone),
        ..new(cx, group, description, cause)
    };
    put(tx, activity.clone());
    activity
}

/// A launch that EC2 refused.
pub fn failed_launch(
    tx: &mut Tx,
    cx: &Context,
    group: &Group,
    zone: &str,
    subnet_id: &str,
    cause: String,
    refusal: &str,
) {
    let message = format!("{refusal} Launching EC2 instance failed.");
    let description = format!("Launching a new EC2 instance.  Status Reason: {message}");
    let activity = Activity {
        status: ActivityStatus::Failed,
        status_message: Some(shortened(&message)),
        end: Some(cx.now),
        progress: 100,
        details: details(subnet_id, zone),
        ..new(cx, group, description, cause)
    };
    put(tx, activity);
}

/// Ends an activity, if it has not ended.
pub fn end(tx: &mut Tx, cx: &Context, key: &str, status: ActivityStatus, message: Option<String>) {
    let Some(activity) = tx.get::<Activity>(key).filter(|activity| activity.end.is_none()) else {
        return;
    };
    tx.put(Activity {
        status,
        status_message: message,
        progress: 100,
        end: Some(cx.now),
        ..Activity::clone(&activity)
    });
}

/// Drained: what is left is EC2's part.
pub fn drained(tx: &mut Tx, key: &str) {
    if let Some(activity) = tx.get::<Activity>(key)
        && activity.status == ActivityStatus::WaitingForELBConnectionDraining
    {
        let status = ActivityStatus::InProgress;
        tx.put(Activity { status, ..Activity::clone(&activity) });
    }
}

fn new(cx: &Context, group: &Group, description: String, cause: String) -> Activity {
    Activity {
        account: group.account.clone(),
        region: group.region.clone(),
        id: id::uuid(&cx.env.rng),
        group: group.name.clone(),
        group_uuid: group.uuid.clone(),
        description,
        cause,
        start: cx.now,
        end: None,
        status: ActivityStatus::InProgress,
        status_message: None,
        progress: 0,
        details: String::new(),
    }
}

fn put(tx: &mut Tx, activity: Activity) -> String {
    let prefix = Activity::prefix(&activity.account, &activity.region, &activity.group_uuid);
    let ended: Vec<String> = tx
        .scan::<Activity>(&prefix)
        .filter(|activity| activity.end.is_some())
        .map(|activity| store::Record::key(&*activity))
        .collect();
    for key in ended.iter().take(ended.len().saturating_sub(KEPT - 1)) {
        tx.delete::<Activity>(key);
    }
    let key = store::Record::key(&activity);
    tx.put(activity);
    key
}

fn details(subnet_id: &str, zone: &str) -> String {
    format!(r#"{{"Subnet ID":"{subnet_id}","Availability Zone":"{zone}"}}"#)
}

/// `StatusMessage` has at most 255 characters.
fn shortened(message: &str) -> String {
    message.chars().take(255).collect()
}
