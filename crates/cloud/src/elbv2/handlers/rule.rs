//! Rules, their conditions and actions on the wire.

use wire::elbv2 as w;

use super::{page_in, refuse, tags_in};
use crate::Context;
use crate::elbv2::Error;
use crate::elbv2::error::Result;
use crate::elbv2::model::{Action, Condition, Rule};
use crate::elbv2::ops::rule as ops;
use crate::elbv2::rule::{
    ActionRequest, ConditionRequest, FixedResponseRequest, ForwardRequest, RedirectRequest,
};

pub async fn create(cx: Context, input: w::CreateRuleInput) -> Result<w::CreateRuleOutput> {
    refuse(&input.transforms, "Transforms")?;
    let request = ops::Create {
        listener: input.listener_arn,
        priority: input.priority,
        conditions: conditions_in(input.conditions)?,
        actions: actions_in(input.actions)?,
        tags: tags_in(input.tags)?,
    };
    let made = cx.write(|tx| ops::create(tx, &cx, &request)).await?;
    Ok(w::CreateRuleOutput { rules: Some(vec![rule_out(&made)]) })
}

pub async fn describe(cx: Context, input: w::DescribeRulesInput) -> Result<w::DescribeRulesOutput> {
    let owner = input.listener_arn.as_deref();
    let arns = input.rule_arns.unwrap_or_default();
    let page = page_in(input.page_size, input.marker);
    let (found, next_marker) = ops::describe(&cx.read(), &cx, owner, &arns, &page)?;
    let rules = Some(found.iter().map(|rule| rule_out(rule)).collect());
    Ok(w::DescribeRulesOutput { rules, next_marker })
}

pub async fn modify(cx: Context, input: w::ModifyRuleInput) -> Result<w::ModifyRuleOutput> {
    refuse(&input.transforms, "Transforms")?;
    refuse(&input.reset_transforms.filter(|reset| *reset), "ResetTransforms")?;
    let request = ops::Modify {
        arn: input.rule_arn,
        conditions: conditions_in(input.conditions.unwrap_or_default())?,
        actions: actions_in(input.actions.unwrap_or_default())?,
    };
    let found = cx.write(|tx| ops::modify(tx, &cx, &request)).await?;
    Ok(w::ModifyRuleOutput { rules: Some(vec![rule_out(&found)]) })
}

pub async fn delete(cx: Context, input: w::DeleteRuleInput) -> Result<w::DeleteRuleOutput> {
    cx.write(|tx| ops::delete(tx, &cx, &input.rule_arn)).await?;
    Ok(w::DeleteRuleOutput {})
}

pub async fn set_priorities(
    cx: Context,
    input: w::SetRulePrioritiesInput,
) -> Result<w::SetRulePrioritiesOutput> {
    let pair = |pair: w::RulePriorityPair| match (pair.rule_arn, pair.priority) {
        (Some(arn), Some(priority)) => Ok((arn, priority)),
        _ => Err(Error::validation("A rule ARN and a priority must be specified")),
    };
    let wanted = input.rule_priorities.into_iter().map(pair).collect::<Result<Vec<_>>>()?;
    let changed = cx.write(|tx| ops::set_priorities(tx, &cx, &wanted)).await?;
    let rules = Some(changed.iter().map(|rule| rule_out(rule)).collect());
    Ok(w::SetRulePrioritiesOutput { rules })
}

fn rule_out(rule: &Rule) -> w::Rule {
    let priority = rule.priority.map_or("default".to_owned(), |priority| priority.to_string());
    w::Rule {
        actions: Some(actions_out(rule)),
        conditions: Some(rule.conditions.iter().map(condition_out).collect()),
        is_default: Some(rule.priority.is_none()),
        priority: Some(priority),
        rule_arn: Some(rule.arn.clone()),
        transforms: Some(vec![]),
    }
}

pub fn actions_in(actions: Vec<w::Action>) -> Result<Vec<ActionRequest>> {
    actions.into_iter().map(action_in).collect()
}

fn action_in(action: w::Action) -> Result<ActionRequest> {
    refuse(&action.authenticate_cognito_config, "AuthenticateCognitoConfig")?;
    refuse(&action.authenticate_oidc_config, "AuthenticateOidcConfig")?;
    refuse(&action.jwt_validation_config, "JwtValidationConfig")?;
    let forward = action.forward_config.map(|config| {
        let stickiness = config.target_group_stickiness_config.unwrap_or_default();
        let groups = config.target_groups.unwrap_or_default().into_iter();
        ForwardRequest {
            groups: groups.map(|group| (group.target_group_arn, group.weight)).collect(),
            stickiness_enabled: stickiness.enabled,
            stickiness_seconds: stickiness.duration_seconds,
        }
    });
    let redirect = action.redirect_config.map(|config| RedirectRequest {
        status: config.status_code,
        protocol: config.protocol,
        host: config.host,
        port: config.port,
        path: config.path,
        query: config.query,
    });
    let fixed_response = action.fixed_response_config.map(|config| FixedResponseRequest {
        status: config.status_code,
        content_type: config.content_type,
        body: config.message_body,
    });
    Ok(ActionRequest {
        kind: action.r#type,
        order: action.order,
        target_group_arn: action.target_group_arn,
        forward,
        redirect,
        fixed_response,
    })
}

pub fn actions_out(rule: &Rule) -> Vec<w::Action> {
    let action = match &rule.action {
        Action::Forward { groups, stickiness_seconds } => forward_out(groups, *stickiness_seconds),
        Action::Redirect { status, protocol, host, port, path, query } => w::Action {
            r#type: "redirect".to_owned(),
            redirect_config: Some(w::RedirectActionConfig {
                host: Some(host.clone()),
                path: Some(path.clone()),
                port: Some(port.clone()),
                protocol: Some(protocol.clone()),
                query: Some(query.clone()),
                status_code: format!("HTTP_{status}"),
            }),
            ..w::Action::default()
        },
        Action::FixedResponse { status, content_type, body } => w::Action {
            r#type: "fixed-response".to_owned(),
            fixed_response_config: Some(w::FixedResponseActionConfig {
                content_type: content_type.clone(),
                message_body: body.clone(),
                status_code: status.to_string(),
            }),
            ..w::Action::default()
        },
    };
    vec![w::Action { order: rule.order, ..action }]
}

fn forward_out(groups: &[(String, u32)], stickiness_seconds: Option<u32>) -> w::Action {
    let only = match groups {
        [(arn, _)] => Some(arn.clone()),
        _ => None,
    };
    let group = |(arn, weight): &(String, u32)| w::TargetGroupTuple {
        target_group_arn: Some(arn.clone()),
        weight: Some(*weight as i32),
    };
    w::Action {
        r#type: "forward".to_owned(),
        target_group_arn: only,
        forward_config: Some(w::ForwardActionConfig {
            target_groups: Some(groups.iter().map(group).collect()),
            target_group_stickiness_config: Some(w::TargetGroupStickinessConfig {
                duration_seconds: stickiness_seconds.map(|seconds| seconds as i32),
                enabled: Some(stickiness_seconds.is_some()),
            }),
        }),
        ..w::Action::default()
    }
}

fn conditions_in(conditions: Vec<w::RuleCondition>) -> Result<Vec<ConditionRequest>> {
    conditions.into_iter().map(condition_in).collect()
}

fn condition_in(condition: w::RuleCondition) -> Result<ConditionRequest> {
    const REGEX: &str = "RegexValues";
    refuse(&condition.regex_values, REGEX)?;
    let mut request = ConditionRequest {
        field: condition.field,
        values: condition.values.unwrap_or_default(),
        ..ConditionRequest::default()
    };
    if let Some(config) = condition.host_header_config {
        refuse(&config.regex_values, REGEX)?;
        request.host_header = Some(config.values.unwrap_or_default());
    }
    if let Some(config) = condition.path_pattern_config {
        refuse(&config.regex_values, REGEX)?;
        request.path_pattern = Some(config.values.unwrap_or_default());
    }
    if let Some(config) = condition.http_header_config {
        refuse(&config.regex_values, REGEX)?;
        request.http_header = Some((config.http_header_name, config.values.unwrap_or_default()));
    }
    if let Some(config) = condition.query_string_config {
        let pairs = config.values.unwrap_or_default().into_iter();
        request.query_string = Some(pairs.map(|pair| (pair.key, pair.value)).collect());
    }
    if let Some(config) = condition.http_request_method_config {
        request.http_request_method = Some(config.values.unwrap_or_default());
    }
    if let Some(config) = condition.source_ip_config {
        refuse(&config.ip_address_type.filter(|kind| kind != "ipv4"), "IpAddressType")?;
        request.source_ip = Some(config.values.unwrap_or_default());
    }
    Ok(request)
}

/// `Values` is filled for the two fields that had no member of their own once.
fn condition_out(condition: &Condition) -> w::RuleCondition {
    let mut out = w::RuleCondition {
        field: Some(condition.field().to_owned()),
        ..w::RuleCondition::default()
    };
    match condition.clone() {
        Condition::HostHeader(values) => {
            out.values = Some(values.clone());
            let config = w::HostHeaderConditionConfig { values: Some(values), regex_values: None };
            out.host_header_config = Some(config);
        }
        Condition::PathPattern(values) => {
            out.values = Some(values.clone());
            let config = w::PathPatternConditionConfig { values: Some(values), regex_values: None };
            out.path_pattern_config = Some(config);
        }
        Condition::HttpHeader { name, values } => {
            out.http_header_config = Some(w::HttpHeaderConditionConfig {
                http_header_name: Some(name),
                values: Some(values),
                regex_values: None,
            });
        }
        Condition::HttpRequestMethod(values) => {
            let config = w::HttpRequestMethodConditionConfig { values: Some(values) };
            out.http_request_method_config = Some(config);
        }
        Condition::QueryString(pairs) => {
            let pair = |(key, value)| w::QueryStringKeyValuePair { key, value: Some(value) };
            let values = Some(pairs.into_iter().map(pair).collect());
            out.query_string_config = Some(w::QueryStringConditionConfig { values });
        }
        Condition::SourceIp(blocks) => {
            let block = |(base, prefix)| format!("{base}/{prefix}");
            out.source_ip_config = Some(w::SourceIpConditionConfig {
                values: Some(blocks.into_iter().map(block).collect()),
                ip_address_type: None,
            });
        }
    }
    out
}
