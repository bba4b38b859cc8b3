//! Findings in the analyzer's shapes.

use wire::ec2 as w;

use crate::Context;
use crate::ec2::network::path::{Answer, GroupRule, Told, What};

/// Of the way there, or of the answer's way back; none of a path that was not found.
pub fn components(cx: &Context, answer: &Answer, back: bool) -> Option<Vec<w::PathComponent>> {
    if !answer.reachable {
        return None;
    }
    let steps = answer.steps.iter().filter(|step| step.back == back);
    let shown: Vec<w::PathComponent> = (1..)
        .zip(steps)
        .map(|(n, step)| w::PathComponent { sequence_number: Some(n), ..shown(cx, step) })
        .collect();
    (!shown.is_empty()).then_some(shown)
}

fn shown(cx: &Context, step: &Told) -> w::PathComponent {
    match &step.what {
        What::Groups { interface, egress, rule: Some(rule), .. } => w::PathComponent {
            component: Some(component(cx, &rule.group)),
            attached_to: Some(component(cx, interface)),
            security_group_rule: Some(group_rule(rule, *egress)),
            ..Default::default()
        },
        What::Groups { interface, .. } => {
            w::PathComponent { component: Some(component(cx, interface)), ..Default::default() }
        }
        What::Acl { acl, subnet, egress, entry } => w::PathComponent {
            component: Some(component(cx, acl)),
            subnet: Some(component(cx, subnet)),
            acl_rule: entry.as_ref().map(|entry| w::AnalysisAclRule {
                cidr: Some(entry.block.clone()),
                egress: Some(*egress),
                protocol: entry.traffic.split(' ').next().map(str::to_owned),
                rule_action: Some(if entry.allows { "allow" } else { "deny" }.to_owned()),
                rule_number: Some(entry.number),
                ..Default::default()
            }),
            ..Default::default()
        },
        What::Route { table, destination, target } => w::PathComponent {
            component: table.as_deref().map(|table| component(cx, table)),
            route_table_route: Some(route(destination, target)),
            ..Default::default()
        },
        What::Stopped { component: id, .. } => {
            w::PathComponent { component: Some(component(cx, id)), ..Default::default() }
        }
        What::Translated => w::PathComponent::default(),
    }
}

/// Why there is no path.
pub fn explanations(cx: &Context, answer: &Answer) -> Option<Vec<w::Explanation>> {
    let last = answer.steps.last().filter(|_| !answer.reachable)?;
    let direction = |egress: bool| Some(if egress { "egress" } else { "ingress" }.to_owned());
    let explanation = match &last.what {
        What::Groups { interface, egress, groups, .. } => w::Explanation {
            explanation_code: Some("ENI_SG_RULES_MISMATCH".to_owned()),
            direction: direction(*egress),
            network_interface: Some(component(cx, interface)),
            security_groups: Some(groups.iter().map(|id| component(cx, id)).collect()),
            ..Default::default()
        },
        What::Acl { acl, subnet, egress, .. } => w::Explanation {
            explanation_code: Some("SUBNET_ACL_RESTRICTION".to_owned()),
            direction: direction(*egress),
            acl: Some(component(cx, acl)),
            subnet: Some(component(cx, subnet)),
            ..Default::default()
        },
        What::Route { table, destination, .. } => {
            let code = match destination {
                Some(_) => "BAD_STATE_ROUTE",
                None => "NO_ROUTE_TO_DESTINATION",
            };
            w::Explanation {
                explanation_code: Some(code.to_owned()),
                route_table: table.as_deref().map(|table| component(cx, table)),
                ..Default::default()
            }
        }
        What::Stopped { component: id, code } => w::Explanation {
            explanation_code: Some(code.clone()),
            component: Some(component(cx, id)),
            ..Default::default()
        },
        What::Translated => return None,
    };
    Some(vec![explanation])
}

fn route(destination: &Option<String>, target: &Option<String>) -> w::AnalysisRouteTableRoute {
    let is = |prefix: &str| target.clone().filter(|id| id.starts_with(prefix));
    w::AnalysisRouteTableRoute {
        destination_cidr: destination.clone(),
        gateway_id: is("igw-"),
        nat_gateway_id: is("nat-"),
        network_interface_id: is("eni-"),
        vpc_peering_connection_id: is("pcx-"),
        state: Some(if is("blackhole").is_some() { "blackhole" } else { "active" }.to_owned()),
        ..Default::default()
    }
}

fn group_rule(rule: &GroupRule, egress: bool) -> w::AnalysisSecurityGroupRule {
    let is_group = rule.peer.starts_with("sg-");
    w::AnalysisSecurityGroupRule {
        cidr: (!is_group).then(|| rule.peer.clone()),
        security_group_id: is_group.then(|| rule.peer.clone()),
        direction: Some(if egress { "egress" } else { "ingress" }.to_owned()),
        protocol: rule.traffic.split(' ').next().map(str::to_owned),
        ..Default::default()
    }
}

fn component(cx: &Context, id: &str) -> w::AnalysisComponent {
    let arn = crate::ec2::tag::model::resource_type(id)
        .map(|kind| cx.arn("ec2", &format!("{kind}/{id}")));
    w::AnalysisComponent { arn, id: Some(id.to_owned()), name: None }
}
