//! What users ask for: requests drawn by chance, performed through the services' own operations.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use cloud::autoscaling::model::{Group, Member, Policy};
use cloud::autoscaling::ops::{self as groups, Settings};
use cloud::autoscaling::policies::{self, TargetTracking};
use cloud::ec2::instance::launch::{Launch, Template};
use cloud::ec2::instance::model::ShutdownBehavior;
use cloud::ec2::instance::{Instance, ops as instances};
use cloud::ec2::vpc;
use cloud::elbv2::ops::{self as elb, listener, load_balancer, target_group};
use cloud::elbv2::rule::ActionRequest;
use cloud::elbv2::{self, LoadBalancer, TargetGroup};
use cloud::env::Rng;
use cloud::{Context, autoscaling, id, zone};
use store::{Snapshot, Tx};

use crate::disks;
use crate::world::{ZONES, key, zone_name};

/// The launch template of every group.
pub const TEMPLATE: &str = "web";

#[derive(Clone, Debug)]
pub enum Request {
    Run {
        count: u32,
        zone: Option<String>,
        token: String,
        ends_when_off: bool,
    },
    Start(String),
    Stop {
        id: String,
        force: bool,
    },
    Reboot(String),
    Terminate {
        id: String,
        force: bool,
    },
    CreateGroup {
        name: String,
        size: Size,
        zones: Vec<String>,
        elb: bool,
        target_groups: Vec<String>,
    },
    UpdateGroup {
        name: String,
        size: Size,
        zones: Option<Vec<String>>,
    },
    SetDesired {
        name: String,
        desired: i32,
    },
    DeleteGroup {
        name: String,
        force: bool,
    },
    Attach {
        name: String,
        target_group: String,
    },
    Detach {
        name: String,
        target_group: String,
    },
    TerminateInGroup {
        id: String,
        decrement: bool,
    },
    Unhealthy(String),
    PutPolicy {
        name: String,
        label: Option<String>,
        target: f64,
    },
    DeletePolicy(String),
    CreateBalancer {
        name: String,
        zones: usize,
    },
    SetSubnets {
        arn: String,
        zones: usize,
    },
    DeleteBalancer(String),
    CreateTargetGroup {
        name: String,
        delay_seconds: u64,
    },
    DeleteTargetGroup(String),
    Listen {
        balancer: String,
        port: i32,
        target_group: String,
    },
    Register {
        target_group: String,
        id: String,
    },
    Deregister {
        target_group: String,
        id: String,
    },
    FailZone(String),
    HealZone(String),
    Disk(disks::Request),
}

#[derive(Clone, Copy, Debug)]
pub struct Size {
    pub min: i32,
    pub desired: i32,
    pub max: i32,
}

/// What an answer tells.
#[derive(Clone, Debug)]
pub enum Answer {
    Done,
    Launched(Vec<String>),
    /// The group's desired capacity as the request left it.
    Desired(i32),
    /// Of an instance in a group: the group, and its desired capacity as the request left it.
    DesiredOf(String, i32),
}

/// Draws the next request from what is there.
pub fn draw(dice: &Rng, snapshot: &Snapshot, number: usize) -> Request {
    let any = |n: usize| dice.below(n as u64) as usize;
    let zone = || zone_name(any(ZONES));
    let all: Vec<Arc<Instance>> =
        snapshot.scan::<Instance>("").filter(|i| i.is_alive() || any(10) == 0).collect();
    let members: Vec<Arc<Member>> = snapshot.scan("").collect();
    let groups: Vec<Arc<Group>> = snapshot.scan("").collect();
    let target_groups: Vec<Arc<TargetGroup>> = snapshot.scan("").collect();
    let balancers: Vec<Arc<LoadBalancer>> = snapshot.scan("").collect();
    let run = || Request::Run {
        count: 1 + any(3) as u32,
        zone: (any(2) == 0).then(zone),
        token: format!("token-{number}"),
        ends_when_off: any(2) == 0,
    };
    let create_group = || {
        let name = format!("g{}", any(3));
        let count = 1 + any(ZONES);
        let first = any(ZONES);
        Request::CreateGroup {
            name,
            size: size(dice),
            zones: (0..count).map(|n| zone_name((first + n) % ZONES)).collect(),
            elb: any(2) == 0,
            target_groups: target_groups
                .iter()
                .filter(|_| any(2) == 0)
                .map(|g| g.arn.clone())
                .collect(),
        }
    };
    fn pick<'a, T>(dice: &Rng, from: &'a [Arc<T>]) -> Option<&'a Arc<T>> {
        (!from.is_empty()).then(|| &from[dice.below(from.len() as u64) as usize])
    }
    let instance = || pick(dice, &all).map(|i| i.id.clone());
    let member = || pick(dice, &members).map(|m| m.instance_id.clone());
    let group = || pick(dice, &groups);
    let name = || group().map(|g| g.name.clone());
    let target_group = || pick(dice, &target_groups).map(|g| g.arn.clone());
    let balancer = || pick(dice, &balancers).map(|b| b.arn.clone());
    let force = any(3) == 0;
    if any(4) == 0
        && let Some(request) = disks::draw(dice, snapshot, number)
    {
        return Request::Disk(request);
    }
    let drawn =
        match any(100) {
            0..8 => Some(run()),
            8..14 => instance().map(Request::Start),
            14..20 => instance().map(|id| Request::Stop { id, force }),
            20..23 => instance().map(Request::Reboot),
            23..31 => instance().map(|id| Request::Terminate { id, force }),
            31..36 => Some(create_group()),
            36..41 => name().map(|name| {
                let zones = (any(3) == 0).then(|| (0..1 + any(ZONES)).map(zone_name).collect());
                Request::UpdateGroup { name, size: size(dice), zones }
            }),
            41..50 => group().map(|group| {
                let desired = group.min + any((group.max - group.min + 1) as usize) as i32;
                Request::SetDesired { name: group.name.clone(), desired }
            }),
            50..52 => name().map(|name| Request::DeleteGroup { name, force: !force }),
            52..55 => name()
                .zip(target_group())
                .map(|(name, target_group)| Request::Attach { name, target_group }),
            55..57 => name()
                .zip(target_group())
                .map(|(name, target_group)| Request::Detach { name, target_group }),
            57..62 => member().map(|id| Request::TerminateInGroup { id, decrement: force }),
            62..66 => member().map(Request::Unhealthy),
            66..70 => group().map(|group| {
                let name = group.name.clone();
                let label = group.target_groups.first().and_then(|arn| label(snapshot, arn));
                match label.filter(|_| any(2) == 0) {
                    Some(label) => Request::PutPolicy { name, label: Some(label), target: 600.0 },
                    None => Request::PutPolicy { name, label: None, target: 50.0 },
                }
            }),
            70..72 => pick(dice, &snapshot.scan::<Policy>("").collect::<Vec<_>>())
                .map(|policy| Request::DeletePolicy(policy.group.clone())),
            72..74 => {
                Some(Request::CreateBalancer { name: format!("lb{}", any(2)), zones: 2 + any(2) })
            }
            74..76 => balancer().map(|arn| Request::SetSubnets { arn, zones: 2 + any(2) }),
            76 => balancer().map(Request::DeleteBalancer),
            77..79 => Some(Request::CreateTargetGroup {
                name: format!("tg{}", any(3)),
                delay_seconds: [0, 10, 300][any(3)],
            }),
            79 => target_group().map(Request::DeleteTargetGroup),
            80..83 => balancer().zip(target_group()).map(|(balancer, target_group)| {
                Request::Listen { balancer, port: 80 + any(3) as i32, target_group }
            }),
            83..88 => target_group()
                .zip(instance())
                .map(|(target_group, id)| Request::Register { target_group, id }),
            88..91 => target_group()
                .zip(instance())
                .map(|(target_group, id)| Request::Deregister { target_group, id }),
            91..94 => Some(Request::FailZone(zone())),
            _ => Some(Request::HealZone(zone())),
        };
    drawn.unwrap_or_else(|| if any(2) == 0 { run() } else { create_group() })
}

fn size(dice: &Rng) -> Size {
    let min = dice.below(3) as i32;
    let desired = min + dice.below(4) as i32;
    Size { min, desired, max: desired + dice.below(3) as i32 }
}

/// `app/NAME/ID/targetgroup/NAME/ID`, when a load balancer forwards to the target group.
fn label(snapshot: &Snapshot, target_group: &str) -> Option<String> {
    let group = snapshot.scan::<TargetGroup>("").find(|group| group.arn == target_group)?;
    let forwards =
        |rule: &Arc<elbv2::Rule>| rule.action.target_groups().any(|arn| arn == target_group);
    let rule = snapshot.scan::<elbv2::Rule>("").find(forwards)?;
    let balancer = rule.id.splitn(4, '/').take(3).collect::<Vec<_>>().join("/");
    Some(format!("{balancer}/targetgroup/{}", group.id))
}

/// What every history begins with.
pub fn prelude(dice: &Rng) -> Vec<Request> {
    let zones: Vec<String> = (0..ZONES).map(zone_name).collect();
    let group = |name: &str, elb| Request::CreateGroup {
        name: name.to_owned(),
        size: size(dice),
        zones: zones.clone(),
        elb,
        target_groups: vec![],
    };
    vec![
        Request::CreateTargetGroup { name: "tg0".to_owned(), delay_seconds: 10 },
        Request::CreateBalancer { name: "lb0".to_owned(), zones: ZONES },
        group("g0", true),
        group("g1", false),
    ]
}

/// The instances of every group and run.
pub fn launch() -> Launch {
    Launch {
        image_id: Some(id::stable("ami", &["drover-host"])),
        instance_type: Some("t3.micro".to_owned()),
        ..Launch::default()
    }
}

/// Its answer, or the error's text.
pub async fn perform(cx: Context, request: Request) -> Result<Answer, String> {
    match request {
        Request::Run { count, zone, token, ends_when_off } => {
            let behavior =
                if ends_when_off { ShutdownBehavior::Terminate } else { ShutdownBehavior::Stop };
            let launch = Launch {
                min_count: count,
                max_count: count,
                zone,
                client_token: Some(token),
                shutdown_behavior: Some(behavior),
                ..launch()
            };
            let made = cx.write(|tx| instances::run(tx, &cx, &launch)).await.map_err(text)?;
            Ok(Answer::Launched(made.instances.into_iter().map(|instance| instance.id).collect()))
        }
        Request::Start(id) => ec2(&cx, |tx| instances::start(tx, &cx, one(&id)).map(drop)).await,
        Request::Stop { id, force } => {
            ec2(&cx, |tx| instances::stop(tx, &cx, one(&id), force).map(drop)).await
        }
        Request::Reboot(id) => ec2(&cx, |tx| instances::reboot(tx, &cx, one(&id))).await,
        Request::Terminate { id, force } => {
            ec2(&cx, |tx| instances::terminate(tx, &cx, one(&id), force).map(drop)).await
        }
        Request::CreateGroup { name, size, zones, elb, target_groups } => {
            let template = Template { name: Some(TEMPLATE.to_owned()), ..Template::default() };
            let settings = Settings {
                zones: Some(zones),
                template: Some(template),
                health_check_type: Some(if elb { "ELB" } else { "EC2" }.to_owned()),
                grace: Some(30),
                default_warmup: Some(60),
                ..sized(size)
            };
            desired(&cx, &name, |tx| {
                groups::create(tx, &cx, &name, &settings, target_groups.clone(), BTreeMap::new())
            })
            .await
        }
        Request::UpdateGroup { name, size, zones } => {
            let settings = Settings { zones, ..sized(size) };
            desired(&cx, &name, |tx| groups::update(tx, &cx, &name, &settings)).await
        }
        Request::SetDesired { name, desired: n } => {
            desired(&cx, &name, |tx| groups::set_desired_capacity(tx, &cx, &name, n, false)).await
        }
        Request::DeleteGroup { name, force } => {
            asg(&cx, |tx| groups::delete(tx, &cx, &name, force)).await
        }
        Request::Attach { name, target_group } => {
            asg(&cx, |tx| groups::attach_target_groups(tx, &cx, &name, one(&target_group))).await
        }
        Request::Detach { name, target_group } => {
            asg(&cx, |tx| groups::detach_target_groups(tx, &cx, &name, one(&target_group))).await
        }
        Request::TerminateInGroup { id, decrement } => {
            let ended = cx.write(|tx| {
                let activity = groups::terminate_instance(tx, &cx, &id, decrement)?;
                let group = groups::group(tx, &cx, &activity.group)?;
                Ok::<_, autoscaling::Error>((group.name.clone(), group.desired))
            });
            let (name, desired) = ended.await.map_err(text)?;
            Ok(Answer::DesiredOf(name, desired))
        }
        Request::Unhealthy(id) => {
            asg(&cx, |tx| groups::set_instance_health(tx, &cx, &id, "Unhealthy", false)).await
        }
        Request::PutPolicy { name, label, target } => {
            let metric = match label {
                Some(_) => "ALBRequestCountPerTarget",
                None => "ASGAverageCPUUtilization",
            };
            let wanted = TargetTracking {
                group: name,
                name: "track".to_owned(),
                enabled: true,
                warmup_seconds: None,
                metric: metric.to_owned(),
                resource_label: label,
                target,
                disable_scale_in: false,
            };
            asg(&cx, |tx| policies::put(tx, &cx, &wanted).map(drop)).await
        }
        Request::DeletePolicy(name) => {
            asg(&cx, |tx| policies::delete(tx, &cx, Some(&name), "track")).await
        }
        Request::CreateBalancer { name, zones } => {
            let request =
                load_balancer::Create { name, subnets: subnets(&cx, zones), ..Default::default() };
            balancing(&cx, |tx| load_balancer::create(tx, &cx, &request).map(drop)).await
        }
        Request::SetSubnets { arn, zones } => {
            let subnets = subnets(&cx, zones);
            balancing(&cx, |tx| load_balancer::set_subnets(tx, &cx, &arn, &subnets)).await
        }
        Request::DeleteBalancer(arn) => {
            balancing(&cx, |tx| load_balancer::delete(tx, &cx, &arn)).await
        }
        Request::CreateTargetGroup { name, delay_seconds } => {
            let request = target_group::Create {
                name,
                protocol: Some("HTTP".to_owned()),
                port: Some(80),
                vpc_id: Some(vpc::ops::first_id(&cx)),
                ..target_group::Create::default()
            };
            let delay =
                [("deregistration_delay.timeout_seconds".to_owned(), delay_seconds.to_string())];
            balancing(&cx, |tx| {
                let group = target_group::create(tx, &cx, &request)?;
                target_group::modify_attributes(tx, &cx, &group.arn, &delay).map(drop)
            })
            .await
        }
        Request::DeleteTargetGroup(arn) => {
            balancing(&cx, |tx| target_group::delete(tx, &cx, &arn)).await
        }
        Request::Listen { balancer, port, target_group } => {
            let forward = ActionRequest {
                kind: "forward".to_owned(),
                target_group_arn: Some(target_group),
                ..ActionRequest::default()
            };
            let request = listener::Create {
                load_balancer: balancer,
                protocol: Some("HTTP".to_owned()),
                port: Some(port),
                actions: vec![forward],
                ..listener::Create::default()
            };
            balancing(&cx, |tx| listener::create(tx, &cx, &request).map(drop)).await
        }
        Request::Register { target_group, id } => {
            balancing(&cx, |tx| elb::register(tx, &cx, &target_group, &[(id.clone(), None)])).await
        }
        Request::Deregister { target_group, id } => {
            balancing(&cx, |tx| elb::deregister(tx, &cx, &target_group, &[(id.clone(), None)]))
                .await
        }
        Request::FailZone(name) => {
            let failed = cx.write(|tx| {
                // A history with every zone down tells nothing of the others' part.
                if zone::failures(tx).len() + 1 < ZONES {
                    zone::fail(tx, &name, cx.now);
                }
                Ok::<_, store::Error>(())
            });
            failed.await.map_err(text)?;
            Ok(Answer::Done)
        }
        Request::Disk(request) => disks::perform(&cx, request).await,
        Request::HealZone(name) => {
            let healed = cx.write(|tx| Ok::<_, store::Error>(zone::heal(tx, &name)));
            healed.await.map_err(text)?;
            Ok(Answer::Done)
        }
    }
}

fn one(id: &String) -> &[String] {
    std::slice::from_ref(id)
}

fn text(error: impl Debug) -> String {
    format!("{error:?}")
}

fn sized(size: Size) -> Settings {
    let Size { min, desired, max } = size;
    Settings { min: Some(min), max: Some(max), desired: Some(desired), ..Settings::default() }
}

fn subnets(cx: &Context, zones: usize) -> Vec<String> {
    let all = vpc::ops::subnets(&cx.read(), cx);
    all.into_iter().take(zones).map(|subnet| subnet.id).collect()
}

async fn ec2(
    cx: &Context,
    closure: impl FnMut(&mut Tx) -> cloud::ec2::Result<()>,
) -> Result<Answer, String> {
    cx.write(closure).await.map_err(text)?;
    Ok(Answer::Done)
}

async fn asg(
    cx: &Context,
    closure: impl FnMut(&mut Tx) -> autoscaling::Result<()>,
) -> Result<Answer, String> {
    cx.write(closure).await.map_err(text)?;
    Ok(Answer::Done)
}

async fn balancing(
    cx: &Context,
    closure: impl FnMut(&mut Tx) -> elbv2::Result<()>,
) -> Result<Answer, String> {
    cx.write(closure).await.map_err(text)?;
    Ok(Answer::Done)
}

/// With the group's desired capacity as it is when the change is made.
async fn desired(
    cx: &Context,
    name: &str,
    mut closure: impl FnMut(&mut Tx) -> autoscaling::Result<()>,
) -> Result<Answer, String> {
    let written = cx.write(|tx| {
        closure(tx)?;
        Ok::<_, autoscaling::Error>(tx.get::<Group>(&key(name)).map_or(0, |group| group.desired))
    });
    written.await.map(Answer::Desired).map_err(text)
}
