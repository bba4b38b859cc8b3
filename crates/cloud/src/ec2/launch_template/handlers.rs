//! Launch templates on the wire.

mod data;

use store::Snapshot;
use wire::ec2 as w;

use super::describe::{self, VersionsQuery};
use super::ops::{self, Deletion, NewVersion};
use super::{LaunchTemplate, Version};
use crate::Context;
use crate::ec2::handlers::{listing, tags_of_type, tags_out};
use crate::ec2::instance::handlers::launch::{refuse_some, refuse_true};
use crate::ec2::listing::dry_run;
use crate::ec2::{Error, Result, tag};
use crate::services::{Entry, serve};

pub fn operations() -> Vec<Entry> {
    vec![
        serve::<w::CreateLaunchTemplate, _, _, _>(create),
        serve::<w::CreateLaunchTemplateVersion, _, _, _>(create_version),
        serve::<w::DeleteLaunchTemplate, _, _, _>(delete),
        serve::<w::DeleteLaunchTemplateVersions, _, _, _>(delete_versions),
        serve::<w::DescribeLaunchTemplates, _, _, _>(describe_templates),
        serve::<w::DescribeLaunchTemplateVersions, _, _, _>(describe_versions),
        serve::<w::ModifyLaunchTemplate, _, _, _>(modify),
    ]
}

async fn create(
    cx: Context,
    input: w::CreateLaunchTemplateRequest,
) -> Result<w::CreateLaunchTemplateResult> {
    refuse_some(&input.operator, "Operator")?;
    let tags = tags_of_type(input.tag_specifications, "launch-template")?;
    let new = NewVersion {
        description: input.version_description,
        client_token: input.client_token.filter(|token| !token.is_empty()),
        launch: data::launch_in(input.launch_template_data)?,
    };
    let template = cx
        .write(|tx| {
            let template = ops::create(tx, &cx, &input.launch_template_name, &new, &tags)?;
            dry_run(input.dry_run)?;
            Ok::<_, Error>(template)
        })
        .await?;
    let launch_template = Some(template_out(&cx.read(), &cx, &template));
    Ok(w::CreateLaunchTemplateResult { launch_template, ..Default::default() })
}

fn template_out(snapshot: &Snapshot, cx: &Context, template: &LaunchTemplate) -> w::LaunchTemplate {
    w::LaunchTemplate {
        create_time: Some(wire::Timestamp(template.created_at.0)),
        created_by: Some(template.created_by.clone()),
        default_version_number: i64::try_from(template.default_version).ok(),
        latest_version_number: i64::try_from(ops::latest(snapshot, cx, template)).ok(),
        launch_template_id: Some(template.id.clone()),
        launch_template_name: Some(template.name.clone()),
        operator: Some(unmanaged()),
        tags: tags_out(tag::ops::tags_of(snapshot, cx, &template.id)),
    }
}

fn unmanaged() -> w::OperatorResponse {
    w::OperatorResponse { managed: Some(false), ..Default::default() }
}

/// No image id here names a parameter of Systems Manager, so there is no alias to resolve.
async fn create_version(
    cx: Context,
    input: w::CreateLaunchTemplateVersionRequest,
) -> Result<w::CreateLaunchTemplateVersionResult> {
    let source = input.source_version.as_deref().map(ops::which).transpose()?;
    let new = NewVersion {
        description: input.version_description,
        client_token: input.client_token.filter(|token| !token.is_empty()),
        launch: data::launch_in(input.launch_template_data)?,
    };
    let (id, name) = (input.launch_template_id, input.launch_template_name);
    let (template, version) = cx
        .write(|tx| {
            let template = ops::find(tx, &cx, id.as_deref(), name.as_deref())?;
            let made = ops::create_version(tx, &cx, &template, source, &new)?;
            dry_run(input.dry_run)?;
            Ok::<_, Error>(made)
        })
        .await?;
    let launch_template_version = Some(version_out(&template, &version));
    Ok(w::CreateLaunchTemplateVersionResult { launch_template_version, ..Default::default() })
}

fn version_out(template: &LaunchTemplate, version: &Version) -> w::LaunchTemplateVersion {
    w::LaunchTemplateVersion {
        create_time: Some(wire::Timestamp(version.created_at.0)),
        created_by: Some(version.created_by.clone()),
        default_version: Some(version.number == template.default_version),
        launch_template_data: Some(data::launch_out(&version.launch)),
        launch_template_id: Some(template.id.clone()),
        launch_template_name: Some(template.name.clone()),
        operator: Some(unmanaged()),
        version_description: version.description.clone(),
        version_number: i64::try_from(version.number).ok(),
    }
}

async fn describe_templates(
    cx: Context,
    input: w::DescribeLaunchTemplatesRequest,
) -> Result<w::DescribeLaunchTemplatesResult> {
    refuse_true(input.include_managed_resources, "IncludeManagedResources")?;
    let snapshot = cx.read();
    let ids = input.launch_template_ids.unwrap_or_default();
    let names = input.launch_template_names.unwrap_or_default();
    let listing = listing(input.filters, input.max_results, input.next_token);
    let (found, next_token) = describe::templates(&snapshot, &cx, &ids, &names, &listing)?;
    dry_run(input.dry_run)?;
    let launch_templates =
        Some(found.iter().map(|template| template_out(&snapshot, &cx, template)).collect());
    Ok(w::DescribeLaunchTemplatesResult { launch_templates, next_token })
}

async fn describe_versions(
    cx: Context,
    input: w::DescribeLaunchTemplateVersionsRequest,
) -> Result<w::DescribeLaunchTemplateVersionsResult> {
    refuse_true(input.include_managed_resources, "IncludeManagedResources")?;
    let query = VersionsQuery {
        id: input.launch_template_id,
        name: input.launch_template_name,
        versions: input.versions.unwrap_or_default(),
        min: input.min_version,
        max: input.max_version,
    };
    let listing = listing(input.filters, input.max_results, input.next_token);
    let (found, next_token) = describe::versions(&cx.read(), &cx, &query, &listing)?;
    dry_run(input.dry_run)?;
    let launch_template_versions =
        Some(found.iter().map(|(template, version)| version_out(template, version)).collect());
    Ok(w::DescribeLaunchTemplateVersionsResult { launch_template_versions, next_token })
}

/// To set the same default twice is to set it once, so the client token has nothing to do.
async fn modify(
    cx: Context,
    input: w::ModifyLaunchTemplateRequest,
) -> Result<w::ModifyLaunchTemplateResult> {
    let default = input.default_version.ok_or(Error::MissingParameter("DefaultVersion"))?;
    let which = ops::which(&default)?;
    let (id, name) = (input.launch_template_id, input.launch_template_name);
    let template = cx
        .write(|tx| {
            let template = ops::find(tx, &cx, id.as_deref(), name.as_deref())?;
            let template = ops::set_default(tx, &cx, &template, which)?;
            dry_run(input.dry_run)?;
            Ok::<_, Error>(template)
        })
        .await?;
    let launch_template = Some(template_out(&cx.read(), &cx, &template));
    Ok(w::ModifyLaunchTemplateResult { launch_template })
}

async fn delete(
    cx: Context,
    input: w::DeleteLaunchTemplateRequest,
) -> Result<w::DeleteLaunchTemplateResult> {
    let (id, name) = (input.launch_template_id, input.launch_template_name);
    let deleted = cx
        .write(|tx| {
            let template = ops::find(tx, &cx, id.as_deref(), name.as_deref())?;
            let shown = template_out(tx, &cx, &template);
            ops::delete(tx, &cx, &template);
            dry_run(input.dry_run)?;
            Ok::<_, Error>(shown)
        })
        .await?;
    Ok(w::DeleteLaunchTemplateResult { launch_template: Some(deleted) })
}

async fn delete_versions(
    cx: Context,
    input: w::DeleteLaunchTemplateVersionsRequest,
) -> Result<w::DeleteLaunchTemplateVersionsResult> {
    let (id, name) = (input.launch_template_id, input.launch_template_name);
    let (template, deletions) = cx
        .write(|tx| {
            let template = ops::find(tx, &cx, id.as_deref(), name.as_deref())?;
            let deletions = ops::delete_versions(tx, &cx, &template, &input.versions)?;
            dry_run(input.dry_run)?;
            Ok::<_, Error>((template, deletions))
        })
        .await?;
    let (mut deleted, mut refused) = (Vec::new(), Vec::new());
    for Deletion { number, refused: error } in deletions {
        let launch_template_id = Some(template.id.clone());
        let launch_template_name = Some(template.name.clone());
        let version_number = i64::try_from(number).ok();
        match error {
            None => deleted.push(w::DeleteLaunchTemplateVersionsResponseSuccessItem {
                launch_template_id,
                launch_template_name,
                version_number,
            }),
            Some((code, message)) => {
                refused.push(w::DeleteLaunchTemplateVersionsResponseErrorItem {
                    launch_template_id,
                    launch_template_name,
                    response_error: Some(w::ResponseError {
                        code: Some(code.to_owned()),
                        message: Some(message),
                    }),
                    version_number,
                });
            }
        }
    }
    Ok(w::DeleteLaunchTemplateVersionsResult {
        successfully_deleted_launch_template_versions: Some(deleted),
        unsuccessfully_deleted_launch_template_versions: Some(refused),
    })
}
