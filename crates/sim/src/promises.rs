//! What users were told, and must find to be so: nothing acknowledged is lost.

use std::collections::{BTreeMap, BTreeSet};

use cloud::autoscaling::model::{Group, Member};
use cloud::ec2::instance::{Instance, InstanceState};
use store::Snapshot;

use crate::checkers::{Checker, Sight};
use crate::workload::{Answer, Request};
use crate::world::key;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Goal {
    Run,
    Stop,
    /// By EC2: it can be seen at once.
    Terminate,
    /// By Auto Scaling: after it was drained.
    End,
}

#[derive(Default)]
pub struct Promises {
    instances: BTreeMap<String, Goal>,
    /// How many instances each client token stands for.
    launches: BTreeMap<String, usize>,
    /// The desired capacity last told; `None`: deleted.
    groups: BTreeMap<String, Option<i32>>,
    target_groups: BTreeMap<String, BTreeSet<String>>,
    /// What a group does with its members, also those it had, is the group's affair.
    members: BTreeSet<String>,
    /// Groups that a policy may have resized since.
    tracked: BTreeSet<String>,
}

impl Promises {
    /// Before anything of it can have happened.
    pub fn requested(&mut self, request: &Request) {
        if let Request::Run { token, count, .. } = request {
            self.launches.insert(token.clone(), *count as usize);
        }
        if let Request::PutPolicy { name, .. } = request {
            self.tracked.insert(name.clone());
        }
    }

    pub fn answered(&mut self, request: &Request, answer: &Answer) {
        match (request, answer) {
            (_, Answer::Launched(ids)) => {
                for id in ids {
                    self.instances.entry(id.clone()).or_insert(Goal::Run);
                }
            }
            (Request::Start(id) | Request::Stop { id, .. }, _) if self.members.contains(id) => {}
            (Request::Start(id), _) => self.want(id, Goal::Run),
            (Request::Stop { id, .. }, _) => self.want(id, Goal::Stop),
            (Request::Terminate { id, .. }, _) => self.want(id, Goal::Terminate),
            (Request::TerminateInGroup { id, .. }, Answer::DesiredOf(name, desired)) => {
                self.want(id, Goal::End);
                self.groups.insert(name.clone(), Some(*desired));
            }
            (Request::CreateGroup { name, target_groups, .. }, Answer::Desired(desired)) => {
                self.groups.insert(name.clone(), Some(*desired));
                self.target_groups.insert(name.clone(), target_groups.iter().cloned().collect());
            }
            (
                Request::UpdateGroup { name, .. } | Request::SetDesired { name, .. },
                Answer::Desired(desired),
            ) => {
                self.groups.insert(name.clone(), Some(*desired));
            }
            (Request::DeleteGroup { name, .. }, _) => {
                self.groups.insert(name.clone(), None);
                self.target_groups.remove(name);
            }
            (Request::Attach { name, target_group }, _) => {
                if let Some(told) = self.target_groups.get_mut(name) {
                    told.insert(target_group.clone());
                }
            }
            (Request::Detach { name, target_group }, _) => {
                if let Some(told) = self.target_groups.get_mut(name) {
                    told.remove(target_group);
                }
            }
            _ => {}
        }
    }

    fn want(&mut self, id: &str, goal: Goal) {
        let known = self.instances.entry(id.to_owned()).or_insert(goal);
        if *known != Goal::Terminate {
            *known = goal;
        }
    }

    /// Its first try was cut off by a crash and its second refused: it may have happened or not.
    pub fn unsure(&mut self, request: &Request) {
        match request {
            Request::Start(id) | Request::Stop { id, .. } | Request::Terminate { id, .. } => {
                self.instances.remove(id);
            }
            Request::TerminateInGroup { id, .. } => {
                self.instances.remove(id);
                // With the group's capacity, which nothing here names.
                self.groups.clear();
            }
            Request::CreateGroup { name, .. }
            | Request::UpdateGroup { name, .. }
            | Request::SetDesired { name, .. }
            | Request::DeleteGroup { name, .. }
            | Request::Attach { name, .. }
            | Request::Detach { name, .. } => {
                self.groups.remove(name);
                self.target_groups.remove(name);
            }
            _ => {}
        }
    }

    fn settled_group(
        &self,
        snapshot: &Snapshot,
        name: &str,
        told: Option<i32>,
    ) -> Result<(), String> {
        match (told, snapshot.get::<Group>(&key(name))) {
            (None, None) => Ok(()),
            (None, Some(_)) => Err(format!("group {name} was deleted, but is there")),
            (Some(_), None) => Err(format!("group {name} is lost")),
            (Some(desired), Some(group)) => {
                if !self.tracked.contains(name) && group.desired != desired {
                    let is = group.desired;
                    return Err(format!("group {name} was set to {desired}, but wants {is}"));
                }
                let attached: BTreeSet<String> = group.target_groups.iter().cloned().collect();
                match self.target_groups.get(name) {
                    Some(told) if *told != attached => {
                        Err(format!("group {name} has {attached:?}, but was told {told:?}"))
                    }
                    _ => Ok(()),
                }
            }
        }
    }
}

/// A launch that failed, or a guest that powered itself off.
fn is_excused(instance: &Instance) -> bool {
    instance.reason.as_ref().is_some_and(|reason| {
        reason.code.starts_with("Server.") || reason.code == "Client.InstanceInitiatedShutdown"
    })
}

impl Checker for Promises {
    fn name(&self) -> &'static str {
        "promises"
    }

    fn look(&mut self, sight: &Sight<'_>) -> Result<(), String> {
        for (id, goal) in &self.instances {
            let state = sight.snapshot.get::<Instance>(&key(id)).map(|instance| instance.state());
            let ended = [None, Some(InstanceState::ShuttingDown), Some(InstanceState::Terminated)];
            if *goal == Goal::Terminate && !ended.contains(&state) {
                return Err(format!("{id} was told to terminate, but is {state:?}"));
            }
        }
        // One that ended for a reason of its own may be forgotten after an hour.
        let ended = |id: &String| {
            let instance = sight.snapshot.get::<Instance>(&key(id));
            instance.is_some_and(|i| i.state() == InstanceState::Terminated && is_excused(&i))
        };
        self.instances.retain(|id, goal| *goal != Goal::Run || !ended(id));
        for member in sight.snapshot.scan::<Member>("") {
            self.members.insert(member.instance_id.clone());
        }
        let mut launched: BTreeMap<&str, usize> = BTreeMap::new();
        let all: Vec<_> = sight.snapshot.scan::<Instance>("").collect();
        for token in all.iter().filter_map(|instance| instance.client_token.as_deref()) {
            *launched.entry(token).or_default() += 1;
        }
        match launched.iter().find(|(token, n)| self.launches.get(**token).is_none_or(|m| *n > m)) {
            Some((token, n)) => Err(format!("{token} launched {n} instances")),
            None => Ok(()),
        }
    }

    fn settled(&self, sight: &Sight<'_>) -> Result<(), String> {
        for (id, goal) in &self.instances {
            let instance = sight.snapshot.get::<Instance>(&key(id));
            let state = instance.as_ref().map(|instance| instance.state());
            let excused = instance.as_deref().is_some_and(is_excused);
            let kept = match goal {
                Goal::Run => state == Some(InstanceState::Running) || excused,
                Goal::Stop => state == Some(InstanceState::Stopped),
                Goal::Terminate | Goal::End => {
                    matches!(state, None | Some(InstanceState::Terminated))
                }
            };
            if !kept {
                return Err(format!("{id} shall {goal:?}, but is {state:?}"));
            }
        }
        let mut groups = self.groups.iter();
        groups.try_for_each(|(name, told)| self.settled_group(sight.snapshot, name, *told))
    }
}
