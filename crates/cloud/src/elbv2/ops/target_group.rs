//! Target groups, their health checks and attributes.

use std::collections::BTreeSet;
use std::sync::Arc;

use store::{Record, Snapshot, Tx};

use super::{
    Page, SERVICE, attached_load_balancers, check_name, load_balancer, rules_of_load_balancer, tag,
    target_group, target_groups, targets,
};
use crate::ec2::vpc;
use crate::elbv2::attribute::{self, TARGET_GROUP};
use crate::elbv2::error::Quota;
use crate::elbv2::model::{HealthCheck, Target, TargetGroup, TargetType};
use crate::elbv2::{Error, Result, quota};
use crate::tag::Tags;
use crate::{Context, id};

#[derive(Clone, Debug, Default)]
pub struct Create {
    pub name: String,
    pub protocol: Option<String>,
    pub protocol_version: Option<String>,
    pub port: Option<i32>,
    pub vpc_id: Option<String>,
    pub target_type: Option<String>,
    pub ip_address_type: Option<String>,
    pub health_check: HealthCheckRequest,
    pub tags: Tags,
}

/// What is `None` keeps its value, or gets AWS's default.
#[derive(Clone, Debug, Default)]
pub struct HealthCheckRequest {
    pub enabled: Option<bool>,
    pub protocol: Option<String>,
    pub path: Option<String>,
    pub port: Option<String>,
    pub interval_seconds: Option<i32>,
    pub timeout_seconds: Option<i32>,
    pub healthy_threshold: Option<i32>,
    pub unhealthy_threshold: Option<i32>,
    pub matcher: Option<String>,
}

/// The same request again gets the target group that is there.
pub fn create(tx: &mut Tx, cx: &Context, request: &Create) -> Result<Arc<TargetGroup>> {
    check_name("Target group", &request.name)?;
    let target_type = match request.target_type.as_deref() {
        None | Some("instance") => TargetType::Instance,
        Some("ip") => TargetType::Ip,
        Some(other) => return Err(Error::unsupported(format!("Target type '{other}'"))),
    };
    match request.protocol.as_deref() {
        None => return Err(Error::validation("A protocol must be specified")),
        Some("HTTP") => {}
        Some(other) => return Err(Error::unsupported(format!("Target group protocol '{other}'"))),
    }
    match request.protocol_version.as_deref() {
        None | Some("HTTP1") => {}
        Some(other) => return Err(Error::unsupported(format!("Protocol version '{other}'"))),
    }
    match request.ip_address_type.as_deref() {
        None | Some("ipv4") => {}
        Some(other) => return Err(Error::unsupported(format!("IP address type '{other}'"))),
    }
    let port = request.port.ok_or_else(|| Error::validation("A port must be specified"))?;
    let port = parse_port(&port.to_string())?;
    let vpc_id = request.vpc_id.as_ref();
    let vpc_id = vpc_id.ok_or_else(|| Error::validation("A VPC ID must be specified"))?;
    vpc::ops::vpc(tx, cx, vpc_id)
        .map_err(|_| Error::validation(format!("The VPC ID '{vpc_id}' is not found")))?;
    let health_check = check_health_check(&request.health_check, default_health_check())?;
    tag::check(&request.tags)?;

    let all = target_groups(tx, cx);
    if let Some(present) = all.iter().find(|present| present.name == request.name) {
        let same = present.port == port
            && present.vpc_id == *vpc_id
            && present.target_type == target_type
            && present.health_check == health_check
            && present.tags == request.tags;
        return if same {
            Ok(Arc::clone(present))
        } else {
            Err(Error::DuplicateTargetGroupName(request.name.clone()))
        };
    }
    if all.len() >= quota::TARGET_GROUPS {
        let message = "The maximum number of target groups has been reached";
        return Err(Error::TooMany(Quota::TargetGroups, message.to_owned()));
    }
    let id = format!("{}/{}", request.name, id::hex16(&cx.env.rng));
    let fresh = TargetGroup {
        account: cx.account.clone(),
        region: cx.region.clone(),
        arn: cx.arn(SERVICE, &format!("targetgroup/{id}")),
        id,
        name: request.name.clone(),
        port,
        vpc_id: vpc_id.clone(),
        target_type,
        health_check,
        created_at: cx.now,
        attributes: attribute::Set::new(),
        tags: request.tags.clone(),
    };
    tx.put(fresh.clone());
    Ok(Arc::new(fresh))
}

/// AWS's, for HTTP (API reference of CreateTargetGroup).
fn default_health_check() -> HealthCheck {
    HealthCheck {
        path: "/".to_owned(),
        port: None,
        interval_seconds: 30,
        timeout_seconds: 5,
        healthy_threshold: 5,
        unhealthy_threshold: 2,
        matcher: "200".to_owned(),
    }
}

fn check_health_check(request: &HealthCheckRequest, present: HealthCheck) -> Result<HealthCheck> {
    if request.enabled == Some(false) {
        return Err(Error::validation(
            "Health check enabled must be true for target groups with target type 'instance' or 'ip'",
        ));
    }
    match request.protocol.as_deref() {
        None | Some("HTTP") => {}
        Some(other) => return Err(Error::unsupported(format!("Health check protocol '{other}'"))),
    }
    let mut check = present;
    if let Some(path) = &request.path {
        let plain = |c: char| c.is_ascii_graphic();
        if !path.starts_with('/') || path.len() > 1024 || !path.chars().all(plain) {
            return Err(Error::validation(format!("Health check path '{path}' is not valid")));
        }
        check.path = path.clone();
    }
    if let Some(port) = &request.port {
        check.port = if port == "traffic-port" { None } else { Some(parse_port(port)?) };
    }
    let number = |what: &str, asked: Option<i32>, present: u32, from: i32, to: i32| match asked {
        None => Ok(present),
        Some(n) if (from..=to).contains(&n) => Ok(n as u32),
        Some(n) => Err(Error::validation(format!(
            "Health check {what} '{n}' must be between {from} and {to}"
        ))),
    };
    check.interval_seconds =
        number("interval", request.interval_seconds, check.interval_seconds, 5, 300)?;
    check.timeout_seconds =
        number("timeout", request.timeout_seconds, check.timeout_seconds, 2, 120)?;
    check.healthy_threshold = number(
        "healthy threshold count",
        request.healthy_threshold,
        check.healthy_threshold,
        2,
        10,
    )?;
    check.unhealthy_threshold = number(
        "unhealthy threshold count",
        request.unhealthy_threshold,
        check.unhealthy_threshold,
        2,
        10,
    )?;
    if check.timeout_seconds >= check.interval_seconds {
        return Err(Error::validation(format!(
            "Health check timeout '{}' must be smaller than the interval '{}'",
            check.timeout_seconds, check.interval_seconds
        )));
    }
    if let Some(matcher) = &request.matcher {
        parse_matcher(matcher)?;
        check.matcher = matcher.clone();
    }
    Ok(check)
}

fn parse_port(text: &str) -> Result<u16> {
    let port = text.parse::<u16>().ok().filter(|port| *port > 0);
    port.ok_or_else(|| Error::validation(format!("Port '{text}' must be between 1 and 65535")))
}

/// `200-299,301` as ranges with both ends; codes from 200 to 499, as for an Application Load Balancer.
pub fn parse_matcher(text: &str) -> Result<Vec<(u16, u16)>> {
    let code = |text: &str| text.parse::<u16>().ok().filter(|code| (200..=499).contains(code));
    let range = |part: &str| match part.split_once('-') {
        Some((from, to)) => Some((code(from)?, code(to)?)).filter(|(from, to)| from <= to),
        None => code(part).map(|code| (code, code)),
    };
    let ranges: Option<Vec<(u16, u16)>> = text.split(',').map(range).collect();
    ranges.ok_or_else(|| {
        Error::validation(format!(
            "Health check matcher HTTP code '{text}' must be within '200-499' inclusive"
        ))
    })
}

/// By load balancer, ARNs, or names, or all.
pub fn describe(
    snapshot: &Snapshot,
    cx: &Context,
    load_balancer_arn: Option<&str>,
    arns: &[String],
    names: &[String],
    page: &Page,
) -> Result<(Vec<Arc<TargetGroup>>, Option<String>)> {
    let mut all = target_groups(snapshot, cx);
    for arn in arns {
        target_group(snapshot, cx, arn)?;
    }
    for name in names {
        if !all.iter().any(|group| group.name == *name) {
            return Err(Error::TargetGroupNotFound(name.clone()));
        }
    }
    if let Some(arn) = load_balancer_arn {
        load_balancer(snapshot, cx, arn)?;
        let rules = rules_of_load_balancer(snapshot, cx, arn);
        let used: BTreeSet<&str> =
            rules.iter().flat_map(|rule| rule.action.target_groups()).collect();
        all.retain(|group| used.contains(group.arn.as_str()));
    }
    if !arns.is_empty() || !names.is_empty() {
        all.retain(|group| arns.contains(&group.arn) || names.contains(&group.name));
    }
    page.of(all, |group| group.id.clone())
}

pub fn modify(
    tx: &mut Tx,
    cx: &Context,
    arn: &str,
    request: &HealthCheckRequest,
) -> Result<Arc<TargetGroup>> {
    let mut found = TargetGroup::clone(&*target_group(tx, cx, arn)?);
    found.health_check = check_health_check(request, found.health_check)?;
    tx.put(found.clone());
    Ok(Arc::new(found))
}

pub fn modify_attributes(
    tx: &mut Tx,
    cx: &Context,
    arn: &str,
    request: &[(String, String)],
) -> Result<Arc<TargetGroup>> {
    let mut found = TargetGroup::clone(&*target_group(tx, cx, arn)?);
    let set = attribute::set(TARGET_GROUP, "Target group", &found.attributes, request)?;
    let slow = attribute::number(TARGET_GROUP, &set, attribute::SLOW_START) > 0;
    let algorithm = attribute::get(TARGET_GROUP, &set, attribute::ALGORITHM);
    if slow && algorithm != "round_robin" {
        return Err(Error::configuration(format!(
            "Slow start cannot be enabled with the load balancing algorithm '{algorithm}'"
        )));
    }
    found.attributes = set;
    tx.put(found.clone());
    Ok(Arc::new(found))
}

/// With its targets. One that does not exist is no error, as in AWS.
pub fn delete(tx: &mut Tx, cx: &Context, arn: &str) -> Result<()> {
    let found = match target_group(tx, cx, arn) {
        Err(Error::TargetGroupNotFound(_)) => return Ok(()),
        found => found?,
    };
    if !attached_load_balancers(tx, cx, arn).is_empty() {
        let message = format!("Target group '{arn}' is currently in use by a listener or a rule");
        return Err(Error::ResourceInUse(message));
    }
    for target in targets(tx, cx, arn) {
        tx.delete::<Target>(&target.key());
    }
    tx.delete::<TargetGroup>(&found.key());
    Ok(())
}
