//! Which templates and versions, by name, number and filter.

use std::sync::Arc;

use store::Snapshot;

use super::model::{LaunchTemplate, Version, Which};
use super::ops;
use crate::Context;
use crate::ec2::listing::{self, Listing};
use crate::ec2::{Error, Kind, Result, tag};

pub fn templates(
    snapshot: &Snapshot,
    cx: &Context,
    ids: &[String],
    names: &[String],
    listing: &Listing,
) -> Result<(Vec<Arc<LaunchTemplate>>, Option<String>)> {
    let prefix = cx.prefix();
    let mut all: Vec<Arc<LaunchTemplate>> = snapshot.scan(&prefix).collect();
    listing::only(&mut all, ids, |template| &template.id, Kind::LaunchTemplate)?;
    listing::named(&mut all, names, |template| &template.name, Kind::LaunchTemplateName)?;
    listing.check(&["create-time", "launch-template-name"], true)?;
    all.retain(|template| {
        let tags = || tag::ops::tags_of(snapshot, cx, &template.id);
        listing.keeps(tags, |name| match name {
            "create-time" => vec![template.created_at.iso8601()],
            "launch-template-name" => vec![template.name.clone()],
            _ => vec![],
        })
    });
    listing.page(all, |template| template.id.clone())
}

/// Which versions DescribeLaunchTemplateVersions asks for.
#[derive(Clone, Debug, Default)]
pub struct VersionsQuery {
    pub id: Option<String>,
    pub name: Option<String>,
    /// Numbers, `$Latest`, `$Default`. Without a template: the latter two, of every template.
    pub versions: Vec<String>,
    pub min: Option<String>,
    pub max: Option<String>,
}

const VERSION_FILTERS: &[&str] = &[
    "create-time",
    "ebs-optimized",
    "host-resource-group-arn",
    "http-endpoint",
    "http-protocol-ipv4",
    "http-tokens",
    "iam-instance-profile",
    "image-id",
    "instance-type",
    "is-default-version",
    "kernel-id",
    "license-configuration-arn",
    "network-card-index",
    "ram-disk-id",
];

/// A version and its template, of which `is_default` depends.
pub type Found = (Arc<LaunchTemplate>, Arc<Version>);

pub fn versions(
    snapshot: &Snapshot,
    cx: &Context,
    query: &VersionsQuery,
    listing: &Listing,
) -> Result<(Vec<Found>, Option<String>)> {
    listing.check_max_results(1..=200)?;
    listing.check(VERSION_FILTERS, false)?;
    let mut found = match (&query.id, &query.name) {
        (None, None) => of_all(snapshot, cx, query)?,
        (id, name) => {
            let template = ops::find(snapshot, cx, id.as_deref(), name.as_deref())?;
            of_one(snapshot, cx, &template, query)?
        }
    };
    found.retain(|(template, version)| {
        listing.keeps(Default::default, |name| values(template, version, name))
    });
    let key = |version: &Version| format!("{}/{:010}", version.template_id, version.number);
    found.sort_by_key(|(_, version)| key(version));
    listing.page(found, |(_, version)| key(version))
}

fn of_all(snapshot: &Snapshot, cx: &Context, query: &VersionsQuery) -> Result<Vec<Found>> {
    if query.versions.is_empty() {
        return Err(Error::MissingParameter("LaunchTemplateId or LaunchTemplateName"));
    }
    if query.min.is_some() || query.max.is_some() {
        return Err(Error::combination("A range of versions needs a launch template."));
    }
    let mut found: Vec<Found> = Vec::new();
    let prefix = cx.prefix();
    for text in &query.versions {
        let which = ops::which(text)?;
        if matches!(which, Which::Number(_)) {
            return Err(Error::value(
                "Without a launch template, only $Latest and $Default versions can be described.",
            ));
        }
        for template in snapshot.scan::<LaunchTemplate>(&prefix) {
            let version = ops::version(snapshot, cx, &template, which)?;
            add(&mut found, template, version);
        }
    }
    Ok(found)
}

fn of_one(
    snapshot: &Snapshot,
    cx: &Context,
    template: &Arc<LaunchTemplate>,
    query: &VersionsQuery,
) -> Result<Vec<Found>> {
    let ranged = query.min.is_some() || query.max.is_some();
    if ranged && !query.versions.is_empty() {
        return Err(Error::combination("Versions are given by a list or by a range, not by both."));
    }
    let mut found = Vec::new();
    for text in &query.versions {
        let version = ops::version(snapshot, cx, template, ops::which(text)?)?;
        add(&mut found, Arc::clone(template), version);
    }
    if query.versions.is_empty() {
        let bound = |text: &Option<String>, open: u64| match text {
            None => Ok(open),
            Some(text) => match ops::which(text)? {
                Which::Number(number) => Ok(number),
                which => ops::version(snapshot, cx, template, which).map(|version| version.number),
            },
        };
        let range = bound(&query.min, 0)?..=bound(&query.max, u64::MAX)?;
        let versions = ops::versions(snapshot, cx, &template.id);
        for version in versions.into_iter().filter(|version| range.contains(&version.number)) {
            add(&mut found, Arc::clone(template), version);
        }
    }
    Ok(found)
}

/// Once, also if it is both the latest and the default.
fn add(found: &mut Vec<Found>, template: Arc<LaunchTemplate>, version: Arc<Version>) {
    if !found.iter().any(|(_, known)| Arc::ptr_eq(known, &version)) {
        found.push((template, version));
    }
}

fn values(template: &LaunchTemplate, version: &Version, name: &str) -> Vec<String> {
    let launch = &version.launch;
    let value = match name {
        "create-time" => Some(version.created_at.iso8601()),
        "http-endpoint" => launch.metadata.http_endpoint.clone(),
        "http-tokens" => launch.metadata.http_tokens.clone(),
        "image-id" => launch.image_id.clone(),
        "instance-type" => launch.instance_type.clone(),
        "is-default-version" => Some((version.number == template.default_version).to_string()),
        _ => None,
    };
    value.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ec2::instance::launch::Launch;
    use crate::filter::Filter;
    use crate::tag::Tags;
    use crate::testing;

    async fn two_templates_of_three_versions(cx: &Context) {
        let launch = |name: &str| ops::NewVersion {
            launch: Launch { instance_type: Some(name.to_owned()), ..Launch::default() },
            ..ops::NewVersion::default()
        };
        cx.write(|tx| {
            for name in ["web", "worker"] {
                let template = ops::create(tx, cx, name, &launch("t3.nano"), &Tags::new())?;
                let (template, _) =
                    ops::create_version(tx, cx, &template, None, &launch("t3.micro"))?;
                ops::create_version(tx, cx, &template, None, &launch("t3.small"))?;
            }
            Ok::<_, Error>(())
        })
        .await
        .unwrap();
    }

    #[tokio::test]
    async fn versions_by_list_range_and_filter() {
        let cx = testing::context();
        two_templates_of_three_versions(&cx).await;
        let web = Some("web".to_owned());
        let list = |words: &[&str]| words.iter().map(|w| w.to_string()).collect::<Vec<_>>();
        let query = |versions: &[&str]| VersionsQuery {
            name: web.clone(),
            versions: list(versions),
            ..VersionsQuery::default()
        };
        let range =
            VersionsQuery { min: Some("2".into()), max: Some("$Latest".into()), ..query(&[]) };
        let everywhere = VersionsQuery { name: None, ..query(&["$Latest", "$Default"]) };
        for (query, count) in [
            (query(&[]), 3),
            (query(&["1", "$Default"]), 1),
            (query(&["$Latest", "2"]), 2),
            (range, 2),
            (everywhere, 4),
        ] {
            let (found, _) = versions(&cx.read(), &cx, &query, &Listing::default()).unwrap();
            assert_eq!(found.len(), count, "{query:?}");
        }
        let filter = Filter { name: "instance-type".into(), values: list(&["t3.s*"]) };
        let listing = Listing::filtered(vec![filter]);
        let (found, _) = versions(&cx.read(), &cx, &query(&[]), &listing).unwrap();
        assert_eq!(found[0].1.number, 3);
        let error = versions(&cx.read(), &cx, &VersionsQuery::default(), &Listing::default());
        assert_eq!(error.unwrap_err().code(), "MissingParameter");
    }

    #[tokio::test]
    async fn templates_by_name() {
        let cx = testing::context();
        two_templates_of_three_versions(&cx).await;
        let names = ["web".to_owned()];
        let listing = Listing::default();
        let (found, _) = templates(&cx.read(), &cx, &[], &names, &listing).unwrap();
        assert_eq!(found[0].name, "web");
        let unknown = ["db".to_owned()];
        let error = templates(&cx.read(), &cx, &[], &unknown, &listing).unwrap_err();
        assert_eq!(error.code(), "InvalidLaunchTemplateName.NotFoundException");
    }
}
