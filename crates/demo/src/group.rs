//! The group as the APIs show it, and waiting for it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::aws::{Client, all, first};
use crate::load::Load;
use crate::screen::Screen;
use crate::tier::{GROUP, Tier};

const POLL: Duration = Duration::from_millis(50);

#[derive(Clone, Debug)]
pub struct Member {
    pub id: String,
    pub zone: String,
    pub lifecycle: String,
    pub health: String,
    pub template_version: String,
}

#[derive(Clone, Debug, Default)]
pub struct Group {
    pub desired: usize,
    pub members: Vec<Member>,
    /// Instances the balancer calls healthy.
    pub serving: BTreeSet<String>,
}

impl Group {
    pub async fn read(aws: &Client, target_group: &str) -> Result<Group> {
        let name = [("AutoScalingGroupNames.member.1", GROUP)];
        let group = Tier::scaling(aws, "DescribeAutoScalingGroups", &name).await?;
        let health = [("TargetGroupArn", target_group)];
        let health = Tier::elb(aws, "DescribeTargetHealth", &health).await?;
        let serving = all(&health, "member")
            .into_iter()
            .filter(|target| first(target, "State") == "healthy")
            .map(|target| first(target, "Id"))
            .collect();
        let members = all(&group, "Instances")
            .into_iter()
            .flat_map(|instances| all(instances, "member"))
            .map(|member| Member {
                id: first(member, "InstanceId"),
                zone: first(member, "AvailabilityZone"),
                lifecycle: first(member, "LifecycleState"),
                health: first(member, "HealthStatus"),
                template_version: first(member, "Version"),
            })
            .collect();
        let desired = first(&group, "DesiredCapacity").parse().unwrap_or(0);
        Ok(Group { desired, members, serving })
    }

    pub fn in_service(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| {
            member.lifecycle == "InService"
                && member.health == "Healthy"
                && self.serving.contains(&member.id)
        })
    }

    pub fn zones(&self) -> BTreeMap<&str, usize> {
        let mut zones = BTreeMap::new();
        for member in self.in_service() {
            *zones.entry(member.zone.as_str()).or_default() += 1;
        }
        zones
    }

    /// As many as desired serve, and nothing else is going on.
    pub fn settled(&self) -> bool {
        self.in_service().count() == self.desired && self.members.len() == self.desired
    }

    /// Settled, over this many zones, none with two more than another.
    pub fn balanced(&self, zones: usize) -> bool {
        let counts = self.zones();
        let most = counts.values().max().copied().unwrap_or(0);
        let least = counts.values().min().copied().unwrap_or(0);
        self.settled() && counts.len() == zones.min(self.desired) && most - least <= 1
    }

    fn text(&self) -> String {
        let zones: Vec<String> = self
            .zones()
            .iter()
            .map(|(zone, count)| format!("{} {count}", zone.rsplit('-').next().unwrap_or(zone)))
            .collect();
        format!(
            "desired {}, serving {} ({})",
            self.desired,
            self.in_service().count(),
            zones.join(", ")
        )
    }
}

/// Reads the group until `done`, showing it; how long that took.
pub async fn wait(
    tier: &Tier,
    load: Option<&Load>,
    screen: &mut Screen,
    what: &str,
    limit: Duration,
    mut done: impl FnMut(&Group) -> bool,
) -> Result<(Group, Duration)> {
    let began = Instant::now();
    loop {
        let group = Group::read(&tier.aws, &tier.target_group).await?;
        if done(&group) {
            return Ok((group, began.elapsed()));
        }
        if began.elapsed() > limit {
            bail!("waited {} s for {what}; {}", limit.as_secs(), group.text());
        }
        let load = load.map(|load| load.peek(|tally| (tally.requests, tally.failures())));
        let load = load.map_or_else(String::new, |(requests, failed)| {
            format!(" · {requests} requests, {failed} failed")
        });
        screen.live(&format!("{what}: {}{load}", group.text()));
        tokio::time::sleep(POLL).await;
    }
}
