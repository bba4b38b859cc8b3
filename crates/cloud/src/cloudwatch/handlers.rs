//! CloudWatch on the wire: reading metrics. Alarms of users, and metrics of users, are not served.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use wire::cloudwatch as w;

use super::error::{Error, Result};
use super::metrics::MetricId;
use super::read::{self, Span};
use crate::services::{Entry, serve};
use crate::{Context, Timestamp, page};

/// CloudWatch API Reference: "The maximum number of data points returned from a single call is 1,440".
const MAX_STATISTICS: u128 = 1440;
/// GetMetricData: "100,800 data points", of at most 500 metrics.
const MAX_DATAPOINTS: usize = 100_800;
const MAX_QUERIES: usize = 500;
const METRICS_PER_PAGE: usize = 500;

pub fn operations() -> Vec<Entry> {
    vec![
        serve::<w::GetMetricStatistics, _, _, _>(get_metric_statistics),
        serve::<w::GetMetricData, _, _, _>(get_metric_data),
        serve::<w::ListMetrics, _, _, _>(list_metrics),
    ]
}

async fn get_metric_statistics(
    cx: Context,
    input: w::GetMetricStatisticsInput,
) -> Result<w::GetMetricStatisticsOutput> {
    let words = input.statistics.unwrap_or_default();
    if input.extended_statistics.is_some_and(|all| !all.is_empty()) {
        return Err(Error::unsupported("ExtendedStatistics"));
    }
    if words.is_empty() {
        return Err(Error::InvalidParameterCombination(
            "At least one of the parameters Statistics and ExtendedStatistics must be specified."
                .to_owned(),
        ));
    }
    let span = span(input.start_time, input.end_time, input.period)?;
    if span.datapoints() > MAX_STATISTICS {
        return Err(Error::InvalidParameterCombination(format!(
            "You have requested up to {} datapoints, which exceeds the limit of {MAX_STATISTICS}. You \
             may reduce the datapoints requested by increasing Period, or decreasing the time range.",
            span.datapoints()
        )));
    }
    let id = metric_id(&input.namespace, &input.metric_name, input.dimensions)?;
    let fits = input.unit.is_none_or(|unit| unit == read::unit(&id));
    let series = if fits { read::series(&cx.read(), &cx, &id, &span) } else { vec![] };
    let datapoint = |(at, found): (Timestamp, super::Statistics)| {
        let of = |word: &str| {
            words.iter().any(|asked| asked == word).then(|| {
                read::statistic(word).map(|statistic| found.get(statistic)).unwrap_or_default()
            })
        };
        w::Datapoint {
            average: of("Average"),
            extended_statistics: None,
            maximum: of("Maximum"),
            minimum: of("Minimum"),
            sample_count: of("SampleCount"),
            sum: of("Sum"),
            timestamp: Some(wire::Timestamp(at.0)),
            unit: Some(read::unit(&id).to_owned()),
        }
    };
    Ok(w::GetMetricStatisticsOutput {
        label: Some(input.metric_name),
        datapoints: Some(series.into_iter().map(datapoint).collect()),
    })
}

async fn get_metric_data(
    cx: Context,
    input: w::GetMetricDataInput,
) -> Result<w::GetMetricDataOutput> {
    if input.label_options.is_some() {
        return Err(Error::unsupported("LabelOptions"));
    }
    if input.metric_data_queries.len() > MAX_QUERIES {
        return Err(Error::Validation(format!(
            "The collection MetricDataQueries must not have a size greater than {MAX_QUERIES}."
        )));
    }
    let mut ids = BTreeSet::new();
    if !input.metric_data_queries.iter().all(|query| ids.insert(query.id.as_str())) {
        return Err(Error::Validation(
            "The values for parameter id in MetricDataQueries are not unique.".to_owned(),
        ));
    }
    let ascending = match input.scan_by.as_deref() {
        Some("TimestampAscending") => true,
        None | Some("TimestampDescending") => false,
        Some(other) => {
            return Err(Error::InvalidParameterValue(format!("Unsupported ScanBy: {other}.")));
        }
    };
    let snapshot = cx.read();
    let mut results = Vec::new();
    for query in &input.metric_data_queries {
        let (id, label, points) = points(&snapshot, &cx, &input, query)?;
        if query.return_data != Some(false) {
            results.push((id, label, points));
        }
    }
    let most = input.max_datapoints.map_or(MAX_DATAPOINTS, |most| most.max(1) as usize);
    if most > MAX_DATAPOINTS {
        return Err(Error::InvalidParameterValue(format!(
            "MaxDatapoints must not be greater than {MAX_DATAPOINTS}."
        )));
    }
    // A page goes on where the last one ended, counted over all results.
    let skip: usize = match &input.next_token {
        None => 0,
        Some(token) => {
            let key = page::decode(token).map_err(|page::BadToken| Error::NextToken)?;
            key.parse().map_err(|_| Error::NextToken)?
        }
    };
    let total: usize = results.iter().map(|(.., points)| points.len()).sum();
    let (mut at, end) = (0, total.min(skip.saturating_add(most)));
    let mut out = Vec::new();
    for (id, label, mut points) in results {
        if !ascending {
            points.reverse();
        }
        let (start, length) = (at, points.len());
        at += length;
        let from = skip.clamp(start, at) - start;
        let to = end.clamp(start, at) - start;
        let page = &points[from..to.max(from)];
        out.push(w::MetricDataResult {
            id: Some(id),
            label: Some(label),
            messages: None,
            status_code: Some(if at > end { "PartialData" } else { "Complete" }.to_owned()),
            timestamps: Some(page.iter().map(|(at, _)| wire::Timestamp(at.0)).collect()),
            values: Some(page.iter().map(|(_, value)| *value).collect()),
        });
    }
    Ok(w::GetMetricDataOutput {
        messages: Some(vec![]),
        metric_data_results: Some(out),
        next_token: (end < total).then(|| page::encode(&end.to_string())),
    })
}

type Points = (String, String, Vec<(Timestamp, f64)>);

/// Of one query: its id, its label, and its values, the oldest first.
fn points(
    snapshot: &store::Snapshot,
    cx: &Context,
    input: &w::GetMetricDataInput,
    query: &w::MetricDataQuery,
) -> Result<Points> {
    let named = query.id.starts_with(|c: char| c.is_ascii_lowercase())
        && query.id.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !named {
        return Err(Error::Validation(format!(
            "The value {} for parameter MetricDataQueries.member.Id is not matching the expected \
             pattern ^[a-z][a-zA-Z0-9_]*$.",
            query.id
        )));
    }
    if query.expression.is_some() {
        return Err(Error::unsupported("Expression"));
    }
    let own = query.account_id.as_ref().is_none_or(|account| *account == cx.account);
    if !own {
        return Err(Error::unsupported("AccountId of another account"));
    }
    if query.label.as_ref().is_some_and(|label| label.contains("${")) {
        return Err(Error::unsupported("A dynamic label"));
    }
    let Some(stat) = &query.metric_stat else {
        return Err(Error::Validation(
            "Either Expression or MetricStat must be set for each of MetricDataQueries.".to_owned(),
        ));
    };
    let metric = stat.metric.clone();
    let (namespace, name) = (
        metric.namespace.ok_or_else(|| missing("MetricStat.Metric.Namespace"))?,
        metric.metric_name.ok_or_else(|| missing("MetricStat.Metric.MetricName"))?,
    );
    let id = metric_id(&namespace, &name, metric.dimensions)?;
    let statistic = read::statistic(&stat.stat)
        .ok_or_else(|| Error::unsupported(&format!("The statistic {}", stat.stat)))?;
    let span = span(input.start_time, input.end_time, stat.period)?;
    let fits = stat.unit.as_ref().is_none_or(|unit| unit == read::unit(&id));
    let series = if fits { read::series(snapshot, cx, &id, &span) } else { vec![] };
    let values = series.into_iter().map(|(at, found)| (at, found.get(statistic))).collect();
    Ok((query.id.clone(), query.label.clone().unwrap_or(name), values))
}

fn missing(name: &str) -> Error {
    Error::Validation(format!("The parameter {name} is required."))
}

fn span(from: wire::Timestamp, to: wire::Timestamp, period: i32) -> Result<Span> {
    if from >= to {
        return Err(Error::InvalidParameterValue(
            "The parameter StartTime must be less than the parameter EndTime.".to_owned(),
        ));
    }
    let regular = matches!(period, 1 | 5 | 10 | 20 | 30) || (period >= 60 && period % 60 == 0);
    if !regular {
        return Err(Error::InvalidParameterValue(format!(
            "The parameter Period must be 1, 5, 10, 20, 30, or a multiple of 60; it is {period}."
        )));
    }
    let period = Duration::from_secs(period as u64);
    Ok(Span { from: Timestamp(from.0), to: Timestamp(to.0), period })
}

fn metric_id(
    namespace: &str,
    name: &str,
    dimensions: Option<Vec<w::Dimension>>,
) -> Result<MetricId> {
    let mut all = BTreeMap::new();
    for dimension in dimensions.unwrap_or_default() {
        if all.insert(dimension.name, dimension.value).is_some() {
            return Err(Error::InvalidParameterValue(
                "A dimension may be specified once only.".to_owned(),
            ));
        }
    }
    Ok(MetricId { namespace: namespace.to_owned(), name: name.to_owned(), dimensions: all })
}

/// All that was measured of late: nothing is kept longer than the three hours of `RecentlyActive`.
async fn list_metrics(cx: Context, input: w::ListMetricsInput) -> Result<w::ListMetricsOutput> {
    if input.include_linked_accounts == Some(true) {
        return Err(Error::unsupported("IncludeLinkedAccounts"));
    }
    if input.owning_account.is_some_and(|account| account != cx.account) {
        return Err(Error::unsupported("OwningAccount of another account"));
    }
    let asked = input.dimensions.unwrap_or_default();
    let fits = |id: &MetricId| {
        input.namespace.as_ref().is_none_or(|namespace| *namespace == id.namespace)
            && input.metric_name.as_ref().is_none_or(|name| *name == id.name)
            && asked.iter().all(|filter| {
                let value = id.dimensions.get(&filter.name);
                value.is_some_and(|value| filter.value.as_ref().is_none_or(|v| v == value))
            })
    };
    let mut found = cx.env.metrics.list(&cx.account, &cx.region);
    found.retain(fits);
    found.sort();
    let key = |id: &MetricId| {
        let dimensions: Vec<String> =
            id.dimensions.iter().map(|(name, value)| format!("{name}={value}")).collect();
        format!("{}\0{}\0{}", id.namespace, id.name, dimensions.join("\0"))
    };
    found.sort_by_key(key);
    let (found, next_token) = page::page(found, key, METRICS_PER_PAGE, input.next_token.as_deref())
        .map_err(|page::BadToken| Error::NextToken)?;
    let metric = |id: MetricId| w::Metric {
        dimensions: Some(
            id.dimensions.into_iter().map(|(name, value)| w::Dimension { name, value }).collect(),
        ),
        metric_name: Some(id.name),
        namespace: Some(id.namespace),
    };
    Ok(w::ListMetricsOutput {
        metrics: Some(found.into_iter().map(metric).collect()),
        next_token,
        owning_accounts: None,
    })
}

#[cfg(test)]
mod tests;
