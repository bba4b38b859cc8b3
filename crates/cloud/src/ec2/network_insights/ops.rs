//! Making, analysing, finding and removing paths.

use std::sync::Arc;

use store::{Snapshot, Tx};

use super::model::{Analysis, Path};
use crate::ec2::listing::{self, Listing};
use crate::ec2::network::path::{self, Protocol, Question};
use crate::ec2::{Error, Kind, Result, tag};
use crate::tag::Tags;
use crate::{Context, id};

pub struct Create {
    pub source: String,
    pub destination: String,
    pub destination_ip: Option<String>,
    pub protocol: Protocol,
    pub port: u16,
    pub client_token: String,
    pub tags: Tags,
}

pub fn path(snapshot: &Snapshot, cx: &Context, id: &str) -> Result<Arc<Path>> {
    if !Kind::NetworkInsightsPath.is_id(id) {
        return Err(Error::malformed(Kind::NetworkInsightsPath, id));
    }
    snapshot.get(&cx.key(id)).ok_or_else(|| Error::not_found(Kind::NetworkInsightsPath, id))
}

pub fn analyses(snapshot: &Snapshot, cx: &Context) -> Vec<Arc<Analysis>> {
    snapshot.scan(&cx.prefix()).collect()
}

pub fn create(tx: &mut Tx, cx: &Context, create: &Create) -> Result<Arc<Path>> {
    let prefix = cx.prefix();
    let used = tx.scan::<Path>(&prefix).find(|path| path.client_token == create.client_token);
    if let Some(path) = used {
        return Ok(path);
    }
    path::check_end(tx, cx, &create.source)?;
    path::check_end(tx, cx, &create.destination)?;
    tag::ops::check(&create.tags)?;
    let path = Path {
        account: cx.account.clone(),
        region: cx.region.clone(),
        id: id::resource(&cx.env.rng, "nip"),
        source: create.source.clone(),
        destination: create.destination.clone(),
        destination_ip: create.destination_ip.clone(),
        protocol: create.protocol,
        port: create.port,
        created_at: cx.now,
        client_token: create.client_token.clone(),
    };
    tag::ops::set(tx, cx, &path.id, &create.tags)?;
    tx.put(path.clone());
    Ok(Arc::new(path))
}

pub fn analyze(
    tx: &mut Tx,
    cx: &Context,
    path_id: &str,
    client_token: &str,
    tags: &Tags,
) -> Result<Arc<Analysis>> {
    let path = path(tx, cx, path_id)?;
    let used = analyses(tx, cx).into_iter().find(|analysis| analysis.client_token == client_token);
    if let Some(analysis) = used {
        return Ok(analysis);
    }
    tag::ops::check(tags)?;
    let question = Question {
        from: path.source.clone(),
        to: path.destination_ip.clone().unwrap_or_else(|| path.destination.clone()),
        protocol: path.protocol,
        port: path.port,
    };
    let analysis = Analysis {
        account: cx.account.clone(),
        region: cx.region.clone(),
        id: id::resource(&cx.env.rng, "nia"),
        path_id: path.id.clone(),
        at: cx.now,
        answer: path::why(tx, cx, &question)?,
        client_token: client_token.to_owned(),
    };
    tag::ops::set(tx, cx, &analysis.id, tags)?;
    tx.put(analysis.clone());
    Ok(Arc::new(analysis))
}

/// Refused while analyses of it are kept.
pub fn delete_path(tx: &mut Tx, cx: &Context, id: &str) -> Result<()> {
    path(tx, cx, id)?;
    if analyses(tx, cx).iter().any(|analysis| analysis.path_id == id) {
        return Err(Error::AnalysisExistsForNetworkInsightsPath(id.to_owned()));
    }
    tx.delete::<Path>(&cx.key(id));
    tag::ops::forget(tx, cx, id);
    Ok(())
}

pub fn delete_analysis(tx: &mut Tx, cx: &Context, id: &str) -> Result<()> {
    let kind = Kind::NetworkInsightsAnalysis;
    if !kind.is_id(id) {
        return Err(Error::malformed(kind, id));
    }
    if !tx.delete::<Analysis>(&cx.key(id)) {
        return Err(Error::not_found(kind, id));
    }
    tag::ops::forget(tx, cx, id);
    Ok(())
}

pub fn describe_paths(
    snapshot: &Snapshot,
    cx: &Context,
    ids: &[String],
    listing: &Listing,
) -> Result<(Vec<Arc<Path>>, Option<String>)> {
    let mut all: Vec<Arc<Path>> = snapshot.scan(&cx.prefix()).collect();
    listing::only(&mut all, ids, |path| &path.id, Kind::NetworkInsightsPath)?;
    listing.check(&["destination", "protocol", "source"], true)?;
    all.retain(|path| {
        let tags = || tag::ops::tags_of(snapshot, cx, &path.id);
        listing.keeps(tags, |name| match name {
            "destination" => vec![path.destination.clone()],
            "protocol" => vec![path.protocol.name().to_owned()],
            "source" => vec![path.source.clone()],
            _ => vec![],
        })
    });
    listing.page(all, |path| path.id.clone())
}

pub fn describe_analyses(
    snapshot: &Snapshot,
    cx: &Context,
    ids: &[String],
    path_id: Option<&str>,
    listing: &Listing,
) -> Result<(Vec<Arc<Analysis>>, Option<String>)> {
    let mut all = analyses(snapshot, cx);
    listing::only(&mut all, ids, |analysis| &analysis.id, Kind::NetworkInsightsAnalysis)?;
    listing.check(&["path-found", "status"], true)?;
    all.retain(|analysis| {
        let tags = || tag::ops::tags_of(snapshot, cx, &analysis.id);
        path_id.is_none_or(|id| analysis.path_id == id)
            && listing.keeps(tags, |name| match name {
                "path-found" => vec![analysis.answer.reachable.to_string()],
                "status" => vec!["succeeded".to_owned()],
                _ => vec![],
            })
    });
    listing.page(all, |analysis| analysis.id.clone())
}
