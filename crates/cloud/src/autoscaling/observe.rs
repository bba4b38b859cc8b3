//! What a plan sees of a group: its records and how the rest of the cloud sees its instances. Reads only.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use store::Snapshot;

use super::model::{Group, Member};
use super::plan::{self, Seen, View};
use crate::Context;
use crate::ec2::instance::model::Instance;
use crate::ec2::instance::state::{InstanceState, Status};
use crate::elbv2::model::{Target, TargetState};
use crate::{elbv2, zone};

/// Members of every group of an account and region, by group.
pub fn members(snapshot: &Snapshot, cx: &Context) -> HashMap<String, Vec<Arc<Member>>> {
    let mut members: HashMap<String, Vec<Arc<Member>>> = HashMap::new();
    for member in snapshot.scan::<Member>(&cx.prefix()) {
        members.entry(member.group.clone()).or_default().push(member);
    }
    members
}

pub fn members_of(snapshot: &Snapshot, cx: &Context, group: &str) -> Vec<Arc<Member>> {
    snapshot.scan::<Member>(&cx.prefix()).filter(|member| member.group == group).collect()
}

pub fn view(snapshot: &Snapshot, cx: &Context, group: &Group, members: &[Arc<Member>]) -> View {
    let existing: BTreeSet<String> = group
        .target_groups
        .iter()
        .filter(|arn| elbv2::ops::target_group(snapshot, cx, arn).is_ok())
        .cloned()
        .collect();
    let registered = members.iter().flat_map(|member| &member.registered);
    let watched: BTreeSet<&String> = existing.iter().chain(registered).collect();
    let mut targets: HashMap<String, BTreeMap<String, plan::Target>> = HashMap::new();
    for target_group in watched {
        for target in elbv2::ops::targets(snapshot, cx, target_group) {
            let of_instance = targets.entry(target.id.clone()).or_default();
            let seen = target_seen(&target);
            let worst = of_instance.entry(target_group.clone()).or_insert(seen);
            *worst = (*worst).max(seen);
        }
    }
    let members = members
        .iter()
        .map(|member| {
            let instance = snapshot.get::<Instance>(&cx.key(&member.instance_id));
            Seen {
                member: Member::clone(member),
                instance: instance.as_deref().map_or(plan::Instance::Gone, instance_seen),
                impaired: instance.is_some_and(|i| i.status() == Status::Impaired),
                targets: targets.remove(&member.instance_id).unwrap_or_default(),
            }
        })
        .collect();
    View {
        now: cx.now,
        group: group.clone(),
        members,
        failed_zones: zone::failures(snapshot).iter().map(|f| f.zone.clone()).collect(),
        target_groups: existing,
    }
}

fn instance_seen(instance: &Instance) -> plan::Instance {
    match instance.state() {
        InstanceState::Pending => plan::Instance::Pending,
        InstanceState::Running => plan::Instance::Running,
        InstanceState::Stopping | InstanceState::Stopped | InstanceState::ShuttingDown => {
            plan::Instance::Ending
        }
        InstanceState::Terminated => plan::Instance::Gone,
    }
}

fn target_seen(target: &Target) -> plan::Target {
    match target.state {
        TargetState::Initial => plan::Target::Initial,
        TargetState::Healthy | TargetState::Unused => plan::Target::Serving,
        TargetState::Unhealthy => plan::Target::Unhealthy,
        TargetState::Draining => plan::Target::Draining,
    }
}
