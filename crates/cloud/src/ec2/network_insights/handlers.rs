//! Paths and analyses on the wire.

mod show;

use wire::ec2 as w;

use super::model::{Analysis, Path};
use super::ops;
use crate::Context;
use crate::ec2::handlers::{listing, tags_of_type, tags_out};
use crate::ec2::listing::dry_run;
use crate::ec2::network::path::Protocol;
use crate::ec2::{Error, Result, tag};
use crate::services::{Entry, serve};

pub fn operations() -> Vec<Entry> {
    vec![
        serve::<w::CreateNetworkInsightsPath, _, _, _>(create_path),
        serve::<w::DescribeNetworkInsightsPaths, _, _, _>(describe_paths),
        serve::<w::DeleteNetworkInsightsPath, _, _, _>(delete_path),
        serve::<w::StartNetworkInsightsAnalysis, _, _, _>(start_analysis),
        serve::<w::DescribeNetworkInsightsAnalyses, _, _, _>(describe_analyses),
        serve::<w::DeleteNetworkInsightsAnalysis, _, _, _>(delete_analysis),
    ]
}

pub(super) async fn create_path(
    cx: Context,
    input: w::CreateNetworkInsightsPathRequest,
) -> Result<w::CreateNetworkInsightsPathResult> {
    if input.filter_at_source.is_some() || input.filter_at_destination.is_some() {
        return Err(Error::unsupported("A filter at the source or the destination of a path"));
    }
    if input.source_ip.is_some() {
        return Err(Error::unsupported("SourceIp"));
    }
    let protocol = match input.protocol.as_str() {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        other => return Err(Error::value(format!("Invalid value '{other}' for Protocol"))),
    };
    let port = input.destination_port.ok_or_else(|| Error::unsupported("A path to any port"))?;
    let port = u16::try_from(port)
        .map_err(|_| Error::value("DestinationPort must be between 0 and 65535"))?;
    let destination = input.destination.or_else(|| input.destination_ip.clone());
    let create = ops::Create {
        source: last(&input.source),
        destination: destination
            .map(|text| last(&text))
            .ok_or(Error::MissingParameter("Destination"))?,
        destination_ip: input.destination_ip,
        protocol,
        port,
        client_token: input.client_token,
        tags: tags_of_type(input.tag_specifications, "network-insights-path")?,
    };
    let path = cx
        .write(|tx| {
            let path = ops::create(tx, &cx, &create)?;
            dry_run(input.dry_run)?;
            Ok::<_, Error>(path)
        })
        .await?;
    Ok(w::CreateNetworkInsightsPathResult { network_insights_path: Some(path_out(&cx, &path)) })
}

/// The id at the end of an ARN, or the id itself.
fn last(text: &str) -> String {
    text.rsplit('/').next().unwrap_or_default().to_owned()
}

fn path_out(cx: &Context, path: &Path) -> w::NetworkInsightsPath {
    w::NetworkInsightsPath {
        created_date: Some(wire::Timestamp(path.created_at.0)),
        destination: Some(path.destination.clone()),
        destination_ip: path.destination_ip.clone(),
        destination_port: Some(path.port.into()),
        network_insights_path_arn: Some(
            cx.arn("ec2", &format!("network-insights-path/{}", path.id)),
        ),
        network_insights_path_id: Some(path.id.clone()),
        protocol: Some(path.protocol.name().to_owned()),
        source: Some(path.source.clone()),
        tags: tags_out(tag::ops::tags_of(&cx.read(), cx, &path.id)),
        ..Default::default()
    }
}

async fn describe_paths(
    cx: Context,
    input: w::DescribeNetworkInsightsPathsRequest,
) -> Result<w::DescribeNetworkInsightsPathsResult> {
    let listing = listing(input.filters, input.max_results, input.next_token);
    let ids = input.network_insights_path_ids.unwrap_or_default();
    let (found, next_token) = ops::describe_paths(&cx.read(), &cx, &ids, &listing)?;
    dry_run(input.dry_run)?;
    Ok(w::DescribeNetworkInsightsPathsResult {
        network_insights_paths: Some(found.iter().map(|path| path_out(&cx, path)).collect()),
        next_token,
    })
}

async fn delete_path(
    cx: Context,
    input: w::DeleteNetworkInsightsPathRequest,
) -> Result<w::DeleteNetworkInsightsPathResult> {
    let id = input.network_insights_path_id;
    cx.write(|tx| {
        ops::delete_path(tx, &cx, &id)?;
        dry_run(input.dry_run)
    })
    .await?;
    Ok(w::DeleteNetworkInsightsPathResult { network_insights_path_id: Some(id) })
}

pub(super) async fn start_analysis(
    cx: Context,
    input: w::StartNetworkInsightsAnalysisRequest,
) -> Result<w::StartNetworkInsightsAnalysisResult> {
    for (given, name) in [
        (input.additional_accounts.is_some(), "AdditionalAccounts"),
        (input.filter_in_arns.is_some(), "FilterInArns"),
        (input.filter_out_arns.is_some(), "FilterOutArns"),
    ] {
        if given {
            return Err(Error::unsupported(name));
        }
    }
    let tags = tags_of_type(input.tag_specifications, "network-insights-analysis")?;
    let (path, token) = (&input.network_insights_path_id, &input.client_token);
    let analysis = cx
        .write(|tx| {
            let analysis = ops::analyze(tx, &cx, path, token, &tags)?;
            dry_run(input.dry_run)?;
            Ok::<_, Error>(analysis)
        })
        .await?;
    let network_insights_analysis = Some(analysis_out(&cx, &analysis));
    Ok(w::StartNetworkInsightsAnalysisResult { network_insights_analysis })
}

fn analysis_out(cx: &Context, analysis: &Analysis) -> w::NetworkInsightsAnalysis {
    let answer = &analysis.answer;
    w::NetworkInsightsAnalysis {
        explanations: show::explanations(cx, answer),
        forward_path_components: show::components(cx, answer, false),
        return_path_components: show::components(cx, answer, true),
        network_insights_analysis_arn: Some(
            cx.arn("ec2", &format!("network-insights-analysis/{}", analysis.id)),
        ),
        network_insights_analysis_id: Some(analysis.id.clone()),
        network_insights_path_id: Some(analysis.path_id.clone()),
        network_path_found: Some(answer.reachable),
        start_date: Some(wire::Timestamp(analysis.at.0)),
        status: Some("succeeded".to_owned()),
        tags: tags_out(tag::ops::tags_of(&cx.read(), cx, &analysis.id)),
        ..Default::default()
    }
}

async fn describe_analyses(
    cx: Context,
    input: w::DescribeNetworkInsightsAnalysesRequest,
) -> Result<w::DescribeNetworkInsightsAnalysesResult> {
    if input.analysis_start_time.is_some() || input.analysis_end_time.is_some() {
        return Err(Error::unsupported("AnalysisStartTime or AnalysisEndTime"));
    }
    let listing = listing(input.filters, input.max_results, input.next_token);
    let ids = input.network_insights_analysis_ids.unwrap_or_default();
    let path = input.network_insights_path_id.as_deref();
    let (found, next_token) = ops::describe_analyses(&cx.read(), &cx, &ids, path, &listing)?;
    dry_run(input.dry_run)?;
    Ok(w::DescribeNetworkInsightsAnalysesResult {
        network_insights_analyses: Some(found.iter().map(|a| analysis_out(&cx, a)).collect()),
        next_token,
    })
}

async fn delete_analysis(
    cx: Context,
    input: w::DeleteNetworkInsightsAnalysisRequest,
) -> Result<w::DeleteNetworkInsightsAnalysisResult> {
    let id = input.network_insights_analysis_id;
    cx.write(|tx| {
        ops::delete_analysis(tx, &cx, &id)?;
        dry_run(input.dry_run)
    })
    .await?;
    Ok(w::DeleteNetworkInsightsAnalysisResult { network_insights_analysis_id: Some(id) })
}
