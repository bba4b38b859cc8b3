//! Policy simulation on the wire.

use std::collections::BTreeMap;

use policy::{Layer, Match, Policies};
use wire::iam as w;

use super::super::simulate::{self, Asked, Evaluation};
use super::super::{Error, Result};
use super::page;
use crate::Context;
use crate::services::{Entry, serve};

pub fn operations() -> Vec<Entry> {
    vec![
        serve::<w::SimulatePrincipalPolicy, _, _, _>(principal),
        serve::<w::SimulateCustomPolicy, _, _, _>(custom),
        serve::<w::GetContextKeysForPrincipalPolicy, _, _, _>(keys_for_principal),
        serve::<w::GetContextKeysForCustomPolicy, _, _, _>(keys_for_custom),
    ]
}

async fn principal(
    cx: Context,
    input: w::SimulatePrincipalPolicyRequest,
) -> Result<w::SimulatePolicyResponse> {
    refuse_owner(&input.resource_owner)?;
    if input.policy_exclusion_list.is_some_and(|list| !list.is_empty()) {
        return Err(Error::unsupported("PolicyExclusionList"));
    }
    let asked = Asked {
        actions: input.action_names,
        resources: input.resource_arns.unwrap_or_default(),
        policies: input.policy_input_list.unwrap_or_default(),
        boundaries: input.permissions_boundary_policy_input_list.unwrap_or_default(),
        resource_policy: input.resource_policy,
        caller_arn: input.caller_arn,
        keys: keys_in(input.context_entries),
    };
    let snapshot = cx.read();
    let source = simulate::source(&snapshot, &cx, &input.policy_source_arn)?;
    let policies = simulate::policies(&snapshot, &cx, &source);
    let found = simulate::run(&cx, policies, &asked, &source.arn())?;
    answer(found, page(input.marker, input.max_items))
}

async fn custom(
    cx: Context,
    input: w::SimulateCustomPolicyRequest,
) -> Result<w::SimulatePolicyResponse> {
    refuse_owner(&input.resource_owner)?;
    if input.ordered_organization_policy_input_list.is_some_and(|list| !list.is_empty()) {
        return Err(Error::unsupported("OrderedOrganizationPolicyInputList"));
    }
    let asked = Asked {
        actions: input.action_names,
        resources: input.resource_arns.unwrap_or_default(),
        policies: input.policy_input_list,
        boundaries: input.permissions_boundary_policy_input_list.unwrap_or_default(),
        resource_policy: input.resource_policy,
        caller_arn: input.caller_arn,
        keys: keys_in(input.context_entries),
    };
    let found = simulate::run(&cx, Policies::default(), &asked, "")?;
    answer(found, page(input.marker, input.max_items))
}

fn refuse_owner(owner: &Option<String>) -> Result<()> {
    match owner {
        Some(_) => Err(Error::unsupported("ResourceOwner")),
        None => Ok(()),
    }
}

fn keys_in(entries: Option<Vec<w::ContextEntry>>) -> BTreeMap<String, Vec<String>> {
    let entry = |entry: w::ContextEntry| {
        Some((entry.context_key_name?, entry.context_key_values.unwrap_or_default()))
    };
    entries.unwrap_or_default().into_iter().filter_map(entry).collect()
}

fn answer(
    found: Vec<Evaluation>,
    page: super::super::ops::Page,
) -> Result<w::SimulatePolicyResponse> {
    let numbered = found.into_iter().enumerate();
    let (found, marker) = page.of(numbered, |(n, _)| format!("{n:08}"))?;
    Ok(w::SimulatePolicyResponse {
        evaluation_results: Some(found.into_iter().map(|(_, one)| result(one)).collect()),
        is_truncated: Some(marker.is_some()),
        marker,
    })
}

fn result(found: Evaluation) -> w::EvaluationResult {
    let Evaluation { action, resource, simulation } = found;
    let boundary = simulation.allowed_by_boundary.map(|allowed| {
        w::PermissionsBoundaryDecisionDetail { allowed_by_permissions_boundary: Some(allowed) }
    });
    w::EvaluationResult {
        eval_action_name: action,
        eval_decision: simulation.decision.effect.as_str().to_owned(),
        eval_resource_name: Some(resource),
        matched_statements: Some(simulation.matched.iter().map(statement).collect()),
        missing_context_values: Some(simulation.missing),
        permissions_boundary_decision_detail: boundary,
        ..Default::default()
    }
}

fn statement(found: &Match) -> w::Statement {
    let position = |at: policy::Position| w::Position {
        column: Some(at.column as i32),
        line: Some(at.line as i32),
    };
    let kind = match found.layer {
        Layer::Resource | Layer::Trust | Layer::Endpoint => "resource",
        _ => "IAM Policy",
    };
    w::Statement {
        end_position: Some(position(found.end)),
        source_policy_id: Some(found.policy.to_string()),
        source_policy_type: Some(kind.to_owned()),
        start_position: Some(position(found.start)),
    }
}

async fn keys_for_principal(
    cx: Context,
    input: w::GetContextKeysForPrincipalPolicyRequest,
) -> Result<w::GetContextKeysForPolicyResponse> {
    let snapshot = cx.read();
    let source = simulate::source(&snapshot, &cx, &input.policy_source_arn)?;
    let policies = simulate::policies(&snapshot, &cx, &source);
    let texts = input.policy_input_list.unwrap_or_default();
    let context_key_names = Some(simulate::context_keys(&policies, &texts)?);
    Ok(w::GetContextKeysForPolicyResponse { context_key_names })
}

async fn keys_for_custom(
    _: Context,
    input: w::GetContextKeysForCustomPolicyRequest,
) -> Result<w::GetContextKeysForPolicyResponse> {
    let names = simulate::context_keys(&Policies::default(), &input.policy_input_list)?;
    Ok(w::GetContextKeysForPolicyResponse { context_key_names: Some(names) })
}
