//! Templates and experiments as answers have them.

use std::collections::BTreeMap;

use wire::fis as w;

use super::super::action::Known;
use super::super::model::{Action, Design, Experiment, Run, Target, Template};
use crate::clock::Timestamp;
use crate::{Context, arn};

fn time(at: Timestamp) -> wire::Timestamp {
    wire::Timestamp(at.0)
}

fn empty_mode(design: &Design) -> Option<String> {
    Some(if design.skip_empty { "skip" } else { "fail" }.to_owned())
}

pub fn template(template: &Template) -> w::ExperimentTemplate {
    let design = &template.design;
    let conditions = conditions(design, |source, value| w::ExperimentTemplateStopCondition {
        source: Some(source),
        value,
    });
    w::ExperimentTemplate {
        actions: Some(design.actions.iter().map(|(k, v)| (k.clone(), of_action(v))).collect()),
        arn: Some(template.arn()),
        creation_time: Some(time(template.created_at)),
        description: Some(template.description.clone()),
        experiment_options: Some(w::ExperimentTemplateExperimentOptions {
            account_targeting: Some("single-account".to_owned()),
            empty_target_resolution_mode: empty_mode(design),
        }),
        id: Some(template.id.clone()),
        last_update_time: Some(time(template.created_at)),
        role_arn: Some(design.role_arn.clone()),
        stop_conditions: Some(conditions),
        tags: Some(template.tags.clone()),
        target_account_configurations_count: Some(0),
        targets: Some(design.targets.iter().map(|(k, v)| (k.clone(), of_target(v))).collect()),
        ..Default::default()
    }
}

pub fn template_summary(template: &Template) -> w::ExperimentTemplateSummary {
    w::ExperimentTemplateSummary {
        arn: Some(template.arn()),
        creation_time: Some(time(template.created_at)),
        description: Some(template.description.clone()),
        id: Some(template.id.clone()),
        last_update_time: Some(time(template.created_at)),
        tags: Some(template.tags.clone()),
    }
}

fn conditions<T>(design: &Design, condition: impl Fn(String, Option<String>) -> T) -> Vec<T> {
    if design.stop_alarms.is_empty() {
        return vec![condition("none".to_owned(), None)];
    }
    let alarms = design.stop_alarms.iter();
    alarms.map(|arn| condition("aws:cloudwatch:alarm".to_owned(), Some(arn.clone()))).collect()
}

/// Absent when there is none.
fn some<T>(items: Vec<T>) -> Option<Vec<T>> {
    (!items.is_empty()).then_some(items)
}

fn some_map(map: &BTreeMap<String, String>) -> Option<BTreeMap<String, String>> {
    (!map.is_empty()).then(|| map.clone())
}

fn of_target(target: &Target) -> w::ExperimentTemplateTarget {
    let filter = |filter: &crate::filter::Filter| w::ExperimentTemplateTargetFilter {
        path: Some(filter.name.clone()),
        values: Some(filter.values.clone()),
    };
    w::ExperimentTemplateTarget {
        filters: some(target.filters.iter().map(filter).collect()),
        parameters: None,
        resource_arns: some(target.arns.clone()),
        resource_tags: some_map(&target.tags),
        resource_type: Some(target.kind.clone()),
        selection_mode: Some(target.selection.text()),
    }
}

fn of_action(action: &Action) -> w::ExperimentTemplateAction {
    w::ExperimentTemplateAction {
        action_id: Some(action.id.clone()),
        description: action.description.clone(),
        parameters: some_map(&action.parameters),
        start_after: some(action.start_after.clone()),
        targets: some_map(&action.targets),
    }
}

fn options(e: &Experiment) -> w::ExperimentOptions {
    w::ExperimentOptions {
        account_targeting: Some("single-account".to_owned()),
        actions_mode: Some(if e.preview { "skip-all" } else { "run-all" }.to_owned()),
        empty_target_resolution_mode: empty_mode(&e.design),
    }
}

fn state(e: &Experiment) -> w::ExperimentState {
    w::ExperimentState {
        reason: Some(e.reason.chars().take(512).collect()),
        status: Some(e.status.name().to_owned()),
        ..Default::default()
    }
}

pub fn experiment(e: &Experiment) -> w::Experiment {
    let conditions = conditions(&e.design, |source, value| w::ExperimentStopCondition {
        source: Some(source),
        value,
    });
    let actions = e.design.actions.iter();
    let actions = actions.map(|(name, action)| (name.clone(), run(action, e.runs.get(name))));
    let targets = e.design.targets.iter().map(|(name, target)| (name.clone(), meant(target)));
    w::Experiment {
        actions: Some(actions.collect()),
        arn: Some(e.arn()),
        creation_time: Some(time(e.created_at)),
        end_time: e.ended_at.map(time),
        experiment_options: Some(options(e)),
        experiment_template_id: Some(e.template_id.clone()),
        id: Some(e.id.clone()),
        role_arn: Some(e.design.role_arn.clone()),
        start_time: e.started_at.map(time),
        state: Some(state(e)),
        stop_conditions: Some(conditions),
        tags: Some(e.tags.clone()),
        target_account_configurations_count: Some(0),
        targets: Some(targets.collect()),
        ..Default::default()
    }
}

fn meant(target: &Target) -> w::ExperimentTarget {
    let filter = |filter: &crate::filter::Filter| w::ExperimentTargetFilter {
        path: Some(filter.name.clone()),
        values: Some(filter.values.clone()),
    };
    w::ExperimentTarget {
        filters: some(target.filters.iter().map(filter).collect()),
        parameters: None,
        resource_arns: some(target.arns.clone()),
        resource_tags: some_map(&target.tags),
        resource_type: Some(target.kind.clone()),
        selection_mode: Some(target.selection.text()),
    }
}

fn run(action: &Action, run: Option<&Run>) -> w::ExperimentAction {
    w::ExperimentAction {
        action_id: Some(action.id.clone()),
        description: action.description.clone(),
        end_time: run.and_then(|run| run.ended_at).map(time),
        parameters: some_map(&action.parameters),
        start_after: some(action.start_after.clone()),
        start_time: run.and_then(|run| run.started_at).map(time),
        state: run.map(|run| w::ExperimentActionState {
            reason: Some(run.reason.clone()),
            status: Some(run.status.name().to_owned()),
        }),
        targets: some_map(&action.targets),
    }
}

pub fn summary(e: &Experiment) -> w::ExperimentSummary {
    w::ExperimentSummary {
        arn: Some(e.arn()),
        creation_time: Some(time(e.created_at)),
        experiment_options: Some(options(e)),
        experiment_template_id: Some(e.template_id.clone()),
        id: Some(e.id.clone()),
        state: Some(state(e)),
        tags: Some(e.tags.clone()),
    }
}

pub fn resolved(cx: &Context, e: &Experiment, target: String, id: &str) -> w::ResolvedTarget {
    let arn = cx.arn("ec2", &format!("instance/{id}"));
    w::ResolvedTarget {
        resource_type: e.design.targets.get(&target).map(|target| target.kind.clone()),
        target_information: Some(BTreeMap::from([("arn".to_owned(), arn)])),
        target_name: Some(target),
    }
}

fn action_arn(cx: &Context, known: &Known) -> String {
    arn::arn("fis", &cx.region, &cx.account, &format!("action/{}", known.id))
}

fn action_targets(known: &Known) -> BTreeMap<String, w::ActionTarget> {
    let (name, kind) = known.target;
    let target = w::ActionTarget { resource_type: Some(kind.to_owned()) };
    BTreeMap::from([(name.to_owned(), target)])
}

pub fn action(cx: &Context, known: &Known) -> w::Action {
    let parameters = known.parameters.iter().map(|parameter| {
        let shown = w::ActionParameter {
            description: Some(parameter.description.to_owned()),
            required: Some(parameter.required),
        };
        (parameter.name.to_owned(), shown)
    });
    w::Action {
        arn: Some(action_arn(cx, known)),
        description: Some(known.description.to_owned()),
        id: Some(known.id.to_owned()),
        parameters: Some(parameters.collect()),
        tags: Some(BTreeMap::new()),
        targets: Some(action_targets(known)),
    }
}

pub fn action_summary(cx: &Context, known: &Known) -> w::ActionSummary {
    w::ActionSummary {
        arn: Some(action_arn(cx, known)),
        description: Some(known.description.to_owned()),
        id: Some(known.id.to_owned()),
        tags: Some(BTreeMap::new()),
        targets: Some(action_targets(known)),
    }
}
