//! The Fault Injection Service on the wire.

mod out;

use wire::fis as w;

use super::action::{self, KNOWN};
use super::model::{Action, Design, Experiment, Selection, Target, Template};
use super::{Error, Result, ops, target};
use crate::ec2::client_token;
use crate::filter::Filter;
use crate::services::{Entry, serve};
use crate::{Context, page};

const PAGE: usize = 100;

pub fn operations() -> Vec<Entry> {
    vec![
        serve::<w::CreateExperimentTemplate, _, _, _>(create_template),
        serve::<w::GetExperimentTemplate, _, _, _>(get_template),
        serve::<w::ListExperimentTemplates, _, _, _>(list_templates),
        serve::<w::DeleteExperimentTemplate, _, _, _>(delete_template),
        serve::<w::StartExperiment, _, _, _>(start),
        serve::<w::GetExperiment, _, _, _>(get),
        serve::<w::ListExperiments, _, _, _>(list),
        serve::<w::ListExperimentResolvedTargets, _, _, _>(resolved_targets),
        serve::<w::StopExperiment, _, _, _>(stop),
        serve::<w::GetAction, _, _, _>(get_action),
        serve::<w::ListActions, _, _, _>(list_actions),
        serve::<w::TagResource, _, _, _>(tag),
        serve::<w::UntagResource, _, _, _>(untag),
        serve::<w::ListTagsForResource, _, _, _>(list_tags),
    ]
}

fn refuse<T>(member: &Option<T>, name: &str) -> Result<()> {
    if member.is_some() { Err(Error::unsupported(name)) } else { Ok(()) }
}

async fn create_template(
    cx: Context,
    input: w::CreateExperimentTemplateRequest,
) -> Result<w::CreateExperimentTemplateResponse> {
    let w::CreateExperimentTemplateRequest {
        actions,
        client_token,
        description,
        experiment_options,
        experiment_report_configuration,
        log_configuration,
        role_arn,
        stop_conditions,
        tags,
        targets,
    } = input;
    refuse(&experiment_report_configuration, "experimentReportConfiguration")?;
    refuse(&log_configuration, "logConfiguration")?;
    let options = experiment_options.unwrap_or_default();
    if options.account_targeting.is_some_and(|targeting| targeting != "single-account") {
        return Err(Error::unsupported("accountTargeting other than single-account"));
    }
    let targets = targets.unwrap_or_default().into_iter();
    let targets = targets.map(|(name, one)| Ok((name, target_in(one)?)));
    let design = Design {
        role_arn,
        targets: targets.collect::<Result<_>>()?,
        actions: actions.into_iter().map(|(name, one)| (name, action_in(one))).collect(),
        stop_alarms: stop_alarms(stop_conditions)?,
        skip_empty: options.empty_target_resolution_mode.as_deref() == Some("skip"),
    };
    let tags = tags.unwrap_or_default();
    let token = client_token::of(Some(&client_token), &(&description, &design, &tags))?;
    let made = cx.write(|tx| ops::create(tx, &cx, &description, &design, &tags, &token)).await?;
    Ok(w::CreateExperimentTemplateResponse { experiment_template: Some(out::template(&made)) })
}

fn target_in(asked: w::CreateExperimentTemplateTargetInput) -> Result<Target> {
    let w::CreateExperimentTemplateTargetInput {
        filters,
        parameters,
        resource_arns,
        resource_tags,
        resource_type,
        selection_mode,
    } = asked;
    if parameters.is_some_and(|parameters| !parameters.is_empty()) {
        return Err(Error::invalid(format!("{resource_type} has no parameters.")));
    }
    let filter = |filter: w::ExperimentTemplateTargetInputFilter| Filter {
        name: filter.path,
        values: filter.values,
    };
    let selection: Selection = target::selection(&selection_mode)?;
    Ok(Target {
        kind: resource_type,
        arns: resource_arns.unwrap_or_default(),
        tags: resource_tags.unwrap_or_default(),
        filters: filters.unwrap_or_default().into_iter().map(filter).collect(),
        selection,
    })
}

fn action_in(asked: w::CreateExperimentTemplateActionInput) -> Action {
    Action {
        id: asked.action_id,
        description: asked.description,
        parameters: asked.parameters.unwrap_or_default(),
        targets: asked.targets.unwrap_or_default(),
        start_after: asked.start_after.unwrap_or_default(),
    }
}

fn stop_alarms(asked: Vec<w::CreateExperimentTemplateStopConditionInput>) -> Result<Vec<String>> {
    if asked.is_empty() {
        return Err(Error::invalid("There must be a stop condition; its source may be none."));
    }
    let mut alarms = Vec::new();
    for condition in asked {
        match (condition.source.as_str(), condition.value) {
            ("none", None) => {}
            ("aws:cloudwatch:alarm", Some(alarm)) => alarms.push(alarm),
            (source, _) => {
                return Err(Error::invalid(format!(
                    "A stop condition is either none or aws:cloudwatch:alarm with the ARN of an alarm \
                     as its value, not {source}."
                )));
            }
        }
    }
    Ok(alarms)
}

async fn get_template(
    cx: Context,
    input: w::GetExperimentTemplateRequest,
) -> Result<w::GetExperimentTemplateResponse> {
    let found = ops::template(&cx.read(), &cx, &input.id)?;
    Ok(w::GetExperimentTemplateResponse { experiment_template: Some(out::template(&found)) })
}

async fn list_templates(
    cx: Context,
    input: w::ListExperimentTemplatesRequest,
) -> Result<w::ListExperimentTemplatesResponse> {
    let (snapshot, prefix) = (cx.read(), cx.prefix());
    let all = snapshot.scan::<Template>(&prefix);
    let limit = input.max_results.map_or(PAGE, |n| n as usize);
    let (found, next_token) =
        page::page(all, |template| template.id.clone(), limit, input.next_token.as_deref())?;
    Ok(w::ListExperimentTemplatesResponse {
        experiment_templates: Some(found.iter().map(|one| out::template_summary(one)).collect()),
        next_token,
    })
}

async fn delete_template(
    cx: Context,
    input: w::DeleteExperimentTemplateRequest,
) -> Result<w::DeleteExperimentTemplateResponse> {
    let found = cx.write(|tx| ops::delete(tx, &cx, &input.id)).await?;
    Ok(w::DeleteExperimentTemplateResponse { experiment_template: Some(out::template(&found)) })
}

async fn start(
    cx: Context,
    input: w::StartExperimentRequest,
) -> Result<w::StartExperimentResponse> {
    let w::StartExperimentRequest {
        client_token,
        experiment_options,
        experiment_template_id,
        tags,
    } = input;
    let mode = experiment_options.and_then(|options| options.actions_mode);
    let preview = mode.as_deref() == Some("skip-all");
    let tags = tags.unwrap_or_default();
    let token = client_token::of(Some(&client_token), &(&experiment_template_id, preview, &tags))?;
    let started =
        cx.write(|tx| ops::start(tx, &cx, &experiment_template_id, preview, &tags, &token)).await?;
    Ok(w::StartExperimentResponse { experiment: Some(out::experiment(&started)) })
}

async fn get(cx: Context, input: w::GetExperimentRequest) -> Result<w::GetExperimentResponse> {
    let found = ops::experiment(&cx.read(), &cx, &input.id)?;
    Ok(w::GetExperimentResponse { experiment: Some(out::experiment(&found)) })
}

async fn list(cx: Context, input: w::ListExperimentsRequest) -> Result<w::ListExperimentsResponse> {
    let (snapshot, prefix) = (cx.read(), cx.prefix());
    let of_template = input.experiment_template_id;
    let all = snapshot.scan::<Experiment>(&prefix);
    let all = all.filter(|e| of_template.as_ref().is_none_or(|id| *id == e.template_id));
    let limit = input.max_results.map_or(PAGE, |n| n as usize);
    let (found, next_token) =
        page::page(all, |experiment| experiment.id.clone(), limit, input.next_token.as_deref())?;
    Ok(w::ListExperimentsResponse {
        experiments: Some(found.iter().map(|one| out::summary(one)).collect()),
        next_token,
    })
}

async fn resolved_targets(
    cx: Context,
    input: w::ListExperimentResolvedTargetsRequest,
) -> Result<w::ListExperimentResolvedTargetsResponse> {
    let found = ops::experiment(&cx.read(), &cx, &input.experiment_id)?;
    let name = input.target_name;
    if let Some(other) = name.as_ref().filter(|name| !found.design.targets.contains_key(*name)) {
        return Err(Error::NotFound(format!("The experiment has no target {other}.")));
    }
    let of = found.resolved.iter().filter(|(target, _)| name.as_ref().is_none_or(|n| n == *target));
    let all = of.flat_map(|(target, ids)| ids.iter().map(move |id| (target.clone(), id.clone())));
    let limit = input.max_results.map_or(PAGE, |n| n as usize);
    let key = |(target, id): &(String, String)| format!("{target}/{id}");
    let (page, next_token) = page::page(all, key, limit, input.next_token.as_deref())?;
    let one = |(target, id): (String, String)| out::resolved(&cx, &found, target, &id);
    Ok(w::ListExperimentResolvedTargetsResponse {
        next_token,
        resolved_targets: Some(page.into_iter().map(one).collect()),
    })
}

async fn stop(cx: Context, input: w::StopExperimentRequest) -> Result<w::StopExperimentResponse> {
    let stopped = cx.write(|tx| ops::stop(tx, &cx, &input.id)).await?;
    Ok(w::StopExperimentResponse { experiment: Some(out::experiment(&stopped)) })
}

async fn get_action(cx: Context, input: w::GetActionRequest) -> Result<w::GetActionResponse> {
    let found = action::known(&input.id)
        .ok_or_else(|| Error::NotFound(format!("Action {} does not exist.", input.id)))?;
    Ok(w::GetActionResponse { action: Some(out::action(&cx, found)) })
}

async fn list_actions(cx: Context, input: w::ListActionsRequest) -> Result<w::ListActionsResponse> {
    let limit = input.max_results.map_or(PAGE, |n| n as usize);
    let (found, next_token) =
        page::page(KNOWN, |known| known.id.to_owned(), limit, input.next_token.as_deref())?;
    let actions = found.into_iter().map(|known| out::action_summary(&cx, known)).collect();
    Ok(w::ListActionsResponse { actions: Some(actions), next_token })
}

async fn tag(cx: Context, input: w::TagResourceRequest) -> Result<w::TagResourceResponse> {
    let more = input.tags;
    cx.write(|tx| ops::retag(tx, &cx, &input.resource_arn, |tags| tags.extend(more.clone())))
        .await?;
    Ok(w::TagResourceResponse {})
}

async fn untag(cx: Context, input: w::UntagResourceRequest) -> Result<w::UntagResourceResponse> {
    let keys = input.tag_keys.unwrap_or_default();
    let drop = |tags: &mut crate::tag::Tags| tags.retain(|key, _| !keys.contains(key));
    cx.write(|tx| ops::retag(tx, &cx, &input.resource_arn, drop)).await?;
    Ok(w::UntagResourceResponse {})
}

async fn list_tags(
    cx: Context,
    input: w::ListTagsForResourceRequest,
) -> Result<w::ListTagsForResourceResponse> {
    let tags = ops::tags(&cx.read(), &cx, &input.resource_arn)?;
    Ok(w::ListTagsForResourceResponse { tags: Some(tags) })
}
