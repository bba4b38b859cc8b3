//! Cost Explorer on the wire.

use std::collections::{BTreeMap, BTreeSet};

use wire::ce as w;

use super::bill::{self, Charge};
use super::error::{Error, Result};
use super::explorer::{self, Expression, Granularity, GroupBy, METRICS, Matcher};
use crate::services::{Entry, serve};
use crate::{Context, page};

/// "The results … 5000 at most" of GetCostAndUsage's groups.
const GROUPS: usize = 5000;
const VALUES: usize = 1000;

pub fn operations() -> Vec<Entry> {
    vec![
        serve::<w::GetCostAndUsage, _, _, _>(get_cost_and_usage),
        serve::<w::GetDimensionValues, _, _, _>(get_dimension_values),
        serve::<w::GetTags, _, _, _>(get_tags),
    ]
}

async fn get_cost_and_usage(
    cx: Context,
    input: w::GetCostAndUsageRequest,
) -> Result<w::GetCostAndUsageResponse> {
    refuse(input.billing_view_arn.is_some(), "BillingViewArn")?;
    let granularity = Granularity::parse(&input.granularity)?;
    let from = explorer::time(&input.time_period.start, granularity)?;
    let to = explorer::time(&input.time_period.end, granularity)?;
    let periods = explorer::periods(from, to, granularity)?;
    if input.metrics.is_empty() {
        return Err(Error::validation("Metrics should be specified."));
    }
    if let Some(other) = input.metrics.iter().find(|metric| !METRICS.contains(&metric.as_str())) {
        return Err(Error::unsupported(&format!("The metric {other}")));
    }
    let filter = filter(input.filter)?;
    let asked = input.group_by.clone().unwrap_or_default();
    if asked.len() > 2 {
        return Err(Error::validation("At most two groups can be given."));
    }
    let groups: Vec<GroupBy> = asked.into_iter().map(group).collect::<Result<_>>()?;
    let after = input.next_page_token.as_deref().map(page::decode).transpose()?;

    let snapshot = cx.read();
    let (mut results, mut count, mut token) = (Vec::new(), 0, None);
    for (begin, end) in periods {
        let key = format!("{:015}", begin.0);
        if after.as_ref().is_some_and(|after| key <= *after) {
            continue;
        }
        let mut charges = bill::charges(&snapshot, &cx.env, &cx.account, begin, end);
        charges.retain(|charge| filter.as_ref().is_none_or(|filter| filter.keeps(charge)));
        let result = result(&charges, &groups, &input.metrics);
        count += result.groups.as_ref().map_or(1, |groups| groups.len().max(1));
        results.push(w::ResultByTime {
            estimated: Some(end > cx.now),
            time_period: Some(w::DateInterval {
                start: explorer::text(begin, granularity),
                end: explorer::text(end, granularity),
            }),
            ..result
        });
        if count >= GROUPS && end < to {
            token = Some(page::encode(&key));
            break;
        }
    }
    Ok(w::GetCostAndUsageResponse {
        dimension_value_attributes: Some(vec![]),
        group_definitions: input.group_by,
        next_page_token: token,
        results_by_time: Some(results),
    })
}

/// Totals, or those of each group and none of all.
fn result(charges: &[Charge], groups: &[GroupBy], metrics: &[String]) -> w::ResultByTime {
    let metric = |(name, (amount, unit)): (String, (String, String))| {
        (name, w::MetricValue { amount: Some(amount), unit: Some(unit) })
    };
    let totals = |charges: &[&Charge]| {
        explorer::totals(charges, metrics).into_iter().map(metric).collect::<BTreeMap<_, _>>()
    };
    if groups.is_empty() {
        let all: Vec<&Charge> = charges.iter().collect();
        return w::ResultByTime {
            groups: Some(vec![]),
            total: Some(totals(&all)),
            ..Default::default()
        };
    }
    let mut by_key: BTreeMap<Vec<String>, Vec<&Charge>> = BTreeMap::new();
    for charge in charges {
        let keys = groups.iter().map(|group| group.key(charge)).collect();
        by_key.entry(keys).or_default().push(charge);
    }
    let group = |(keys, charges): (Vec<String>, Vec<&Charge>)| w::Group {
        keys: Some(keys),
        metrics: Some(totals(&charges)),
    };
    w::ResultByTime {
        groups: Some(by_key.into_iter().map(group).collect()),
        total: Some(BTreeMap::new()),
        ..Default::default()
    }
}

fn group(asked: w::GroupDefinition) -> Result<GroupBy> {
    let key = asked.key.unwrap_or_default();
    match asked.r#type.as_deref() {
        Some("DIMENSION") => {
            explorer::check_dimension(&key)?;
            Ok(GroupBy::Dimension(key))
        }
        Some("TAG") if !key.is_empty() => Ok(GroupBy::Tag(key)),
        Some("TAG") => Err(Error::validation("A tag key should be specified.")),
        Some("COST_CATEGORY") => Err(Error::unsupported("Grouping by COST_CATEGORY")),
        other => Err(Error::validation(format!(
            "Invalid group definition type: {}",
            other.unwrap_or_default()
        ))),
    }
}

fn refuse(asked: bool, what: &str) -> Result<()> {
    if asked { Err(Error::unsupported(what)) } else { Ok(()) }
}

fn filter(asked: Option<Box<w::Expression>>) -> Result<Option<Expression>> {
    asked.map(|asked| expression(*asked)).transpose()
}

/// Exactly one of its members says something.
fn expression(asked: w::Expression) -> Result<Expression> {
    let w::Expression { and, cost_categories, dimensions, not, or, product_attributes, tags } =
        asked;
    refuse(cost_categories.is_some(), "CostCategories")?;
    refuse(product_attributes.is_some(), "ProductAttributes")?;
    let mut found = Vec::new();
    let all = |list: Vec<w::Expression>| {
        if list.len() < 2 {
            return Err(Error::validation("Or and And take two expressions at least."));
        }
        list.into_iter().map(expression).collect::<Result<Vec<_>>>()
    };
    if let Some(list) = and {
        found.push(Expression::All(all(list)?));
    }
    if let Some(list) = or {
        found.push(Expression::Any(all(list)?));
    }
    if let Some(not) = not {
        found.push(Expression::Not(Box::new(expression(*not)?)));
    }
    if let Some(values) = dimensions {
        let name = values.key.unwrap_or_default();
        explorer::check_dimension(&name)?;
        let options = values.match_options.unwrap_or_default();
        let matcher = Matcher::new(&options, values.values.unwrap_or_default())?;
        found.push(Expression::Dimension { name, matcher });
    }
    if let Some(values) = tags {
        let key = values.key.ok_or_else(|| Error::validation("A tag key should be specified."))?;
        let options = values.match_options.unwrap_or_default();
        let matcher = Matcher::new(&options, values.values.unwrap_or_default())?;
        found.push(Expression::Tag { key, matcher });
    }
    match (found.pop(), found.is_empty()) {
        (Some(one), true) => Ok(one),
        _ => Err(Error::validation(
            "Expression has to have exactly one of the expressions (Or, And, Not, Dimensions, Tags).",
        )),
    }
}

/// The charges of a period that pass a filter.
fn charges(
    cx: &Context,
    period: &w::DateInterval,
    asked: Option<Box<w::Expression>>,
) -> Result<Vec<Charge>> {
    let from = explorer::time(&period.start, Granularity::Daily)?;
    let to = explorer::time(&period.end, Granularity::Daily)?;
    explorer::periods(from, to, Granularity::Monthly)?;
    let filter = filter(asked)?;
    let mut charges = bill::charges(&cx.read(), &cx.env, &cx.account, from, to);
    charges.retain(|charge| filter.as_ref().is_none_or(|filter| filter.keeps(charge)));
    Ok(charges)
}

/// One page of what is found, and how much there is.
fn paged(
    values: BTreeSet<String>,
    search: Option<String>,
    max_results: Option<i32>,
    token: Option<String>,
) -> Result<(Vec<String>, Option<String>, i32)> {
    let mut values = values;
    values.retain(|value| search.as_ref().is_none_or(|search| value.contains(search.as_str())));
    let total = values.len() as i32;
    let limit = max_results.map_or(VALUES, |n| n.max(1) as usize);
    let (values, token) = page::page(values, Clone::clone, limit, token.as_deref())?;
    Ok((values, token, total))
}

async fn get_dimension_values(
    cx: Context,
    input: w::GetDimensionValuesRequest,
) -> Result<w::GetDimensionValuesResponse> {
    refuse(input.billing_view_arn.is_some(), "BillingViewArn")?;
    refuse(input.dimension_key.is_some(), "DimensionKey")?;
    refuse(input.sort_by.is_some_and(|sort| !sort.is_empty()), "SortBy")?;
    let context = input.context.is_some_and(|context| context != "COST_AND_USAGE");
    refuse(context, "A context other than COST_AND_USAGE")?;
    explorer::check_dimension(&input.dimension)?;
    let charges = charges(&cx, &input.time_period, input.filter)?;
    let found = charges.iter().filter_map(|c| explorer::dimension(c, &input.dimension));
    let (values, next_page_token, total_size) =
        paged(found.collect(), input.search_string, input.max_results, input.next_page_token)?;
    let value = |value| w::DimensionValuesWithAttributes {
        attributes: Some(BTreeMap::new()),
        value: Some(value),
    };
    Ok(w::GetDimensionValuesResponse {
        return_size: values.len() as i32,
        dimension_values: values.into_iter().map(value).collect(),
        next_page_token,
        total_size,
    })
}

async fn get_tags(cx: Context, input: w::GetTagsRequest) -> Result<w::GetTagsResponse> {
    refuse(input.billing_view_arn.is_some(), "BillingViewArn")?;
    refuse(input.sort_by.is_some_and(|sort| !sort.is_empty()), "SortBy")?;
    let charges = charges(&cx, &input.time_period, input.filter)?;
    let found: BTreeSet<String> = match &input.tag_key {
        // What is not tagged has the empty value.
        Some(key) => charges.iter().map(|c| c.tags.get(key).cloned().unwrap_or_default()).collect(),
        None => charges.iter().flat_map(|c| c.tags.keys().cloned()).collect(),
    };
    let (tags, next_page_token, total_size) =
        paged(found, input.search_string, input.max_results, input.next_page_token)?;
    Ok(w::GetTagsResponse { next_page_token, return_size: tags.len() as i32, tags, total_size })
}
