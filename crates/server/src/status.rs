//! What `drover status` shows: the cloud at a glance, as JSON.

use std::collections::BTreeMap;

use cloud::autoscaling::model::{Group, Member};
use cloud::ec2::image;
use cloud::ec2::instance::model::Instance;
use cloud::ec2::instance::state::InstanceState;
use cloud::elbv2::model::{LoadBalancer, Node, Scheme};
use cloud::{Context, Env, zone};
use serde_json::{Value, json};

use crate::gateway::Gateway;

pub fn of(gateway: &Gateway) -> Value {
    let env = &gateway.env;
    let snapshot = env.store.read();
    let instances: Vec<_> = snapshot
        .scan::<Instance>("")
        .filter(|instance| instance.state() != InstanceState::Terminated)
        .collect();
    json!({
        "endpoint": format!("http://{}", gateway.listen),
        "compute": if env.config.fake_compute { "fake" } else { "namespace" },
        "zones": zones(env, &snapshot, &instances),
        "instances": instances.iter().map(|i| instance(env, &snapshot, i)).collect::<Vec<_>>(),
        "groups": snapshot.scan::<Group>("").map(|g| group(&snapshot, &g)).collect::<Vec<_>>(),
        "balancers": snapshot
            .scan::<LoadBalancer>("")
            .map(|balancer| load_balancer(gateway, &balancer))
            .collect::<Vec<_>>(),
    })
}

/// Of the default region, and of every other one in use.
fn zones(
    env: &Env,
    snapshot: &store::Snapshot,
    instances: &[std::sync::Arc<Instance>],
) -> Vec<Value> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut regions = vec![env.config.default_region.as_str()];
    for instance in instances {
        *counts.entry(&instance.zone).or_default() += 1;
        if !regions.contains(&instance.region.as_str()) {
            regions.push(&instance.region);
        }
    }
    let live = env.balancers.zones();
    let zones = regions.into_iter().flat_map(|region| zone::zones(region, env.config.zones));
    zones
        .map(|zone| {
            json!({
                "zone": zone.name,
                "id": zone.id,
                "state": if zone::is_failed(snapshot, &zone.name) { "failed" } else { "available" },
                "instances": counts.get(zone.name.as_str()).copied().unwrap_or(0),
                "balancer": live.contains(&zone.name).then_some("up"),
            })
        })
        .collect()
}

fn instance(env: &Env, snapshot: &store::Snapshot, instance: &Instance) -> Value {
    let cx = Context::service(env, &instance.account, &instance.region, "drover");
    let tags = cloud::ec2::tag::ops::tags_of(snapshot, &cx, &instance.id);
    let image = image::ops::image(snapshot, &cx, &instance.image_id);
    json!({
        "instance": instance.id,
        "name": tags.get("Name").or_else(|| tags.get("aws:autoscaling:groupName")),
        "type": instance.instance_type,
        "state": instance.state().name(),
        "health": instance.status().name(),
        "zone": instance.zone,
        "address": instance.private_ip,
        "image": image.map_or_else(|_| instance.image_id.clone(), |image| image.name),
    })
}

fn group(snapshot: &store::Snapshot, group: &Group) -> Value {
    let prefix = format!("{}/{}/", group.account, group.region);
    let members: Vec<_> =
        snapshot.scan::<Member>(&prefix).filter(|member| member.group == group.name).collect();
    let in_service = members.iter().filter(|member| member.lifecycle.name() == "InService");
    json!({
        "group": group.name,
        "region": group.region,
        "min": group.min,
        "desired": group.desired,
        "max": group.max,
        "in_service": in_service.clone().count(),
        "healthy": in_service.filter(|member| member.unhealthy.is_none()).count(),
    })
}

fn load_balancer(gateway: &Gateway, balancer: &LoadBalancer) -> Value {
    let snapshot = gateway.env.store.read();
    let nodes = snapshot.scan::<Node>("").filter(|node| node.load_balancer == balancer.arn);
    let zones: Vec<String> = nodes.map(|node| node.zone.clone()).collect();
    let url = format!("http://{}:{}/", balancer.dns_name, gateway.listen.port());
    json!({
        "balancer": balancer.name,
        "state": if balancer.active { "active" } else { "provisioning" },
        "region": balancer.region,
        "zones": zones,
        "url": if balancer.scheme == Scheme::Internal { Value::Null } else { url.into() },
    })
}
