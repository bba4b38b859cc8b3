//! Parameter Store on the wire, and the list of what all of Systems Manager serves.

mod document;

use wire::ssm as w;

use super::filter::{Filter, Listed};
use super::model::{Kind, Version};
use super::{Error, Result, name, ops};
use crate::services::{Entry, serve};
use crate::tag::Tags;
use crate::{Context, Timestamp};

const PAGE: usize = 50;
const PATH_PAGE: usize = 10;

pub fn operations() -> Vec<Entry> {
    let mut entries = vec![
        serve::<w::PutParameter, _, _, _>(put_parameter),
        serve::<w::GetParameter, _, _, _>(get_parameter),
        serve::<w::GetParameters, _, _, _>(get_parameters),
        serve::<w::GetParametersByPath, _, _, _>(get_parameters_by_path),
        serve::<w::GetParameterHistory, _, _, _>(get_parameter_history),
        serve::<w::DescribeParameters, _, _, _>(describe_parameters),
        serve::<w::DeleteParameter, _, _, _>(delete_parameter),
        serve::<w::DeleteParameters, _, _, _>(delete_parameters),
        serve::<w::LabelParameterVersion, _, _, _>(label_parameter_version),
        serve::<w::UnlabelParameterVersion, _, _, _>(unlabel_parameter_version),
        serve::<w::AddTagsToResource, _, _, _>(add_tags_to_resource),
        serve::<w::RemoveTagsFromResource, _, _, _>(remove_tags_from_resource),
        serve::<w::ListTagsForResource, _, _, _>(list_tags_for_resource),
    ];
    entries.extend(super::node::handlers::operations());
    entries.extend(super::command::handlers::operations());
    entries.extend(document::operations());
    entries
}

async fn put_parameter(
    cx: Context,
    input: w::PutParameterRequest,
) -> Result<w::PutParameterResult> {
    if input.policies.is_some_and(|policies| policies.trim() != "[]") {
        return Err(Error::validation("Parameter policies are not supported by this cloud."));
    }
    let put = ops::Put {
        name: input.name.trim_matches(' ').to_owned(),
        value: input.value,
        kind: input.r#type.as_deref().and_then(Kind::parse),
        description: input.description,
        allowed_pattern: input.allowed_pattern,
        key_id: input.key_id,
        overwrite: input.overwrite.unwrap_or(false),
        tier: input.tier,
        data_type: input.data_type,
        tags: tags_in(input.tags.unwrap_or_default()),
    };
    let (version, tier) = cx.write(|tx| ops::put(tx, &cx, &put)).await?;
    Ok(w::PutParameterResult { version: Some(version), tier: Some(tier.as_str().to_owned()) })
}

async fn get_parameter(
    cx: Context,
    input: w::GetParameterRequest,
) -> Result<w::GetParameterResult> {
    let (version, selector) = ops::get(&cx.read(), &cx, &input.name)?;
    let decrypt = input.with_decryption.unwrap_or(false);
    Ok(w::GetParameterResult { parameter: Some(parameter(&cx, &version, selector, decrypt)?) })
}

async fn get_parameters(
    cx: Context,
    input: w::GetParametersRequest,
) -> Result<w::GetParametersResult> {
    let snapshot = cx.read();
    let decrypt = input.with_decryption.unwrap_or(false);
    let (mut parameters, mut invalid) = (Vec::new(), Vec::new());
    for name in input.names {
        match ops::get(&snapshot, &cx, &name) {
            Ok((version, selector)) => {
                parameters.push(parameter(&cx, &version, selector, decrypt)?);
            }
            Err(_) => invalid.push(name),
        }
    }
    Ok(w::GetParametersResult { parameters: Some(parameters), invalid_parameters: Some(invalid) })
}

async fn get_parameters_by_path(
    cx: Context,
    input: w::GetParametersByPathRequest,
) -> Result<w::GetParametersByPathResult> {
    let filters = filters(input.parameter_filters);
    let recursive = input.recursive.unwrap_or(false);
    let limit = input.max_results.map_or(PATH_PAGE, |n| n as usize);
    let token = input.next_token.as_deref();
    let (listed, next_token) =
        ops::by_path(&cx.read(), &cx, &input.path, recursive, &filters, limit, token)?;
    let decrypt = input.with_decryption.unwrap_or(false);
    let parameters = listed.into_iter().map(|Listed { version, label, .. }| {
        parameter(&cx, &version, label.map(|label| format!(":{label}")), decrypt)
    });
    Ok(w::GetParametersByPathResult {
        parameters: Some(parameters.collect::<Result<_>>()?),
        next_token,
    })
}

async fn get_parameter_history(
    cx: Context,
    input: w::GetParameterHistoryRequest,
) -> Result<w::GetParameterHistoryResult> {
    let limit = input.max_results.map_or(PAGE, |n| n as usize);
    let token = input.next_token.as_deref();
    let (parameter, (versions, next_token)) =
        ops::history(&cx.read(), &cx, &input.name, limit, token)?;
    let decrypt = input.with_decryption.unwrap_or(false);
    let mut entries = Vec::new();
    for version in versions {
        let labels = parameter.labels.iter().filter(|(_, number)| **number == version.version);
        entries.push(w::ParameterHistory {
            name: Some(version.name.clone()),
            r#type: Some(version.kind.as_str().to_owned()),
            key_id: version.key_id().map(str::to_owned),
            last_modified_date: Some(timestamp(version.modified_at)),
            last_modified_user: Some(version.modified_by.clone()),
            description: version.description.clone(),
            value: Some(ops::value(&cx, &version, decrypt)?),
            allowed_pattern: version.allowed_pattern.clone(),
            version: Some(version.version),
            labels: Some(labels.map(|(label, _)| label.clone()).collect()),
            tier: Some(version.tier.as_str().to_owned()),
            policies: Some(vec![]),
            data_type: Some(version.data_type.clone()),
        });
    }
    Ok(w::GetParameterHistoryResult { parameters: Some(entries), next_token })
}

async fn describe_parameters(
    cx: Context,
    input: w::DescribeParametersRequest,
) -> Result<w::DescribeParametersResult> {
    if input.filters.is_some_and(|filters| !filters.is_empty()) {
        return Err(Error::validation(
            "Filters is deprecated and not supported by this cloud: use ParameterFilters.",
        ));
    }
    // Other accounts share nothing with this one.
    if input.shared.unwrap_or(false) {
        return Ok(w::DescribeParametersResult { parameters: Some(vec![]), next_token: None });
    }
    let filters = filters(input.parameter_filters);
    let limit = input.max_results.map_or(PAGE, |n| n as usize);
    let token = input.next_token.as_deref();
    let (listed, next_token) = ops::describe(&cx.read(), &cx, &filters, limit, token)?;
    let parameters = listed.into_iter().map(|Listed { version, .. }| w::ParameterMetadata {
        name: Some(version.name.clone()),
        arn: Some(name::arn(&cx, &version.name)),
        r#type: Some(version.kind.as_str().to_owned()),
        key_id: version.key_id().map(str::to_owned),
        last_modified_date: Some(timestamp(version.modified_at)),
        last_modified_user: Some(version.modified_by.clone()),
        description: version.description.clone(),
        allowed_pattern: version.allowed_pattern.clone(),
        version: Some(version.version),
        tier: Some(version.tier.as_str().to_owned()),
        policies: Some(vec![]),
        data_type: Some(version.data_type.clone()),
    });
    Ok(w::DescribeParametersResult { parameters: Some(parameters.collect()), next_token })
}

async fn delete_parameter(
    cx: Context,
    input: w::DeleteParameterRequest,
) -> Result<w::DeleteParameterResult> {
    cx.write(|tx| ops::delete(tx, &cx, &input.name)).await?;
    Ok(w::DeleteParameterResult {})
}

async fn delete_parameters(
    cx: Context,
    input: w::DeleteParametersRequest,
) -> Result<w::DeleteParametersResult> {
    let (deleted, invalid) = cx.write(|tx| ops::delete_all(tx, &cx, &input.names)).await?;
    Ok(w::DeleteParametersResult {
        deleted_parameters: Some(deleted),
        invalid_parameters: Some(invalid),
    })
}

async fn label_parameter_version(
    cx: Context,
    input: w::LabelParameterVersionRequest,
) -> Result<w::LabelParameterVersionResult> {
    let number = input.parameter_version;
    let (invalid, number) =
        cx.write(|tx| ops::label(tx, &cx, &input.name, number, &input.labels)).await?;
    Ok(w::LabelParameterVersionResult {
        invalid_labels: Some(invalid),
        parameter_version: Some(number),
    })
}

async fn unlabel_parameter_version(
    cx: Context,
    input: w::UnlabelParameterVersionRequest,
) -> Result<w::UnlabelParameterVersionResult> {
    let number = input.parameter_version;
    let (removed, invalid) =
        cx.write(|tx| ops::unlabel(tx, &cx, &input.name, number, &input.labels)).await?;
    Ok(w::UnlabelParameterVersionResult {
        removed_labels: Some(removed),
        invalid_labels: Some(invalid),
    })
}

async fn add_tags_to_resource(
    cx: Context,
    input: w::AddTagsToResourceRequest,
) -> Result<w::AddTagsToResourceResult> {
    let (ty, id, tags) = (input.resource_type, input.resource_id, tags_in(input.tags));
    cx.write(|tx| ops::add_tags(tx, &cx, &ty, &id, &tags)).await?;
    Ok(w::AddTagsToResourceResult {})
}

async fn remove_tags_from_resource(
    cx: Context,
    input: w::RemoveTagsFromResourceRequest,
) -> Result<w::RemoveTagsFromResourceResult> {
    let (ty, id) = (input.resource_type, input.resource_id);
    cx.write(|tx| ops::remove_tags(tx, &cx, &ty, &id, &input.tag_keys)).await?;
    Ok(w::RemoveTagsFromResourceResult {})
}

async fn list_tags_for_resource(
    cx: Context,
    input: w::ListTagsForResourceRequest,
) -> Result<w::ListTagsForResourceResult> {
    let tags = ops::tags(&cx.read(), &cx, &input.resource_type, &input.resource_id)?;
    let tags = tags.into_iter().map(|(key, value)| w::Tag { key, value });
    Ok(w::ListTagsForResourceResult { tag_list: Some(tags.collect()) })
}

fn parameter(
    cx: &Context,
    version: &Version,
    selector: Option<String>,
    decrypt: bool,
) -> Result<w::Parameter> {
    Ok(w::Parameter {
        name: Some(version.name.clone()),
        r#type: Some(version.kind.as_str().to_owned()),
        value: Some(ops::value(cx, version, decrypt)?),
        version: Some(version.version),
        selector,
        source_result: None,
        last_modified_date: Some(timestamp(version.modified_at)),
        arn: Some(name::arn(cx, &version.name)),
        data_type: Some(version.data_type.clone()),
    })
}

fn filters(filters: Option<Vec<w::ParameterStringFilter>>) -> Vec<Filter> {
    let filters = filters.unwrap_or_default().into_iter().map(|filter| Filter {
        key: filter.key,
        option: filter.option,
        values: filter.values.unwrap_or_default(),
    });
    filters.collect()
}

fn tags_in(tags: Vec<w::Tag>) -> Tags {
    tags.into_iter().map(|tag| (tag.key, tag.value)).collect()
}

fn timestamp(t: Timestamp) -> wire::Timestamp {
    wire::Timestamp(t.0)
}
