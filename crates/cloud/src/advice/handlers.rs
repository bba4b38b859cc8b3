//! Compute Optimizer on the wire.

use wire::compute_optimizer as w;

use super::measured::{self, Advice, Choice, Used};
use super::model::Enrollment;
use crate::clock::Timestamp;
use crate::cloudwatch::metrics::RETENTION;
use crate::ec2::tag;
use crate::services::{Entry, serve};
use crate::{Context, arn, page};

type Result<T, E = Error> = std::result::Result<T, E>;

/// "GetEC2InstanceRecommendations … maxResults: at most 1000".
const MAX_RESULTS: i32 = 1000;

/// Every way a call is refused.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    #[error("{0}")]
    InvalidParameter(String),
    #[error(
        "The account is not opted in to Compute Optimizer. Opt in with UpdateEnrollmentStatus \
         (`aws compute-optimizer update-enrollment-status --status Active`)."
    )]
    OptInRequired,
    #[error(transparent)]
    Store(#[from] store::Error),
}

impl From<Error> for wire::Error {
    fn from(error: Error) -> wire::Error {
        let (status, code) = match error {
            Error::InvalidParameter(_) => (400, "InvalidParameterValueException"),
            Error::OptInRequired => (400, "OptInRequiredException"),
            Error::Store(_) => {
                let message = "An internal error has occurred.";
                return wire::Error::new(500, "InternalServerException", message);
            }
        };
        wire::Error::new(status, code, error.to_string())
    }
}

fn unsupported(what: &str) -> Error {
    Error::InvalidParameter(format!("{what} is not supported by this cloud."))
}

pub fn operations() -> Vec<Entry> {
    vec![
        serve::<w::GetEnrollmentStatus, _, _, _>(get_enrollment_status),
        serve::<w::UpdateEnrollmentStatus, _, _, _>(update_enrollment_status),
        serve::<w::GetEC2InstanceRecommendations, _, _, _>(get_recommendations),
    ]
}

async fn get_enrollment_status(
    cx: Context,
    _: w::GetEnrollmentStatusRequest,
) -> Result<w::GetEnrollmentStatusResponse> {
    let found = cx.read().get::<Enrollment>(&cx.account);
    let active = found.as_ref().is_some_and(|found| found.active);
    Ok(w::GetEnrollmentStatusResponse {
        last_updated_timestamp: found.map(|found| wire::Timestamp(found.updated_at.0)),
        member_accounts_enrolled: Some(false),
        number_of_member_accounts_opted_in: None,
        status: Some(if active { "Active" } else { "Inactive" }.to_owned()),
        status_reason: None,
    })
}

async fn update_enrollment_status(
    cx: Context,
    input: w::UpdateEnrollmentStatusRequest,
) -> Result<w::UpdateEnrollmentStatusResponse> {
    let active = match input.status.as_str() {
        "Active" => true,
        "Inactive" => false,
        other => {
            let message = format!("{other} is no status that an account can be given.");
            return Err(Error::InvalidParameter(message));
        }
    };
    if input.include_member_accounts == Some(true) {
        return Err(unsupported("includeMemberAccounts"));
    }
    let enrollment = Enrollment { account: cx.account.clone(), active, updated_at: cx.now };
    cx.write(|tx| {
        tx.put(enrollment.clone());
        Ok::<_, Error>(())
    })
    .await?;
    Ok(w::UpdateEnrollmentStatusResponse { status: Some(input.status), status_reason: None })
}

async fn get_recommendations(
    cx: Context,
    input: w::GetEC2InstanceRecommendationsRequest,
) -> Result<w::GetEC2InstanceRecommendationsResponse> {
    let w::GetEC2InstanceRecommendationsRequest {
        account_ids,
        filters,
        instance_arns,
        max_results,
        next_token,
        recommendation_preferences,
    } = input;
    let snapshot = cx.read();
    if !snapshot.get::<Enrollment>(&cx.account).is_some_and(|found| found.active) {
        return Err(Error::OptInRequired);
    }
    if recommendation_preferences.is_some_and(|p| p.cpu_vendor_architectures.is_some()) {
        return Err(unsupported("recommendationPreferences.cpuVendorArchitectures"));
    }
    let limit = max_results.unwrap_or(MAX_RESULTS);
    if !(0..=MAX_RESULTS).contains(&limit) {
        return Err(Error::InvalidParameter(format!("maxResults is at most {MAX_RESULTS}.")));
    }
    let mut advice = measured::advise(&snapshot, &cx.env, &cx.account);
    advice.retain(|advice| advice.instance.region == cx.region);
    if account_ids.is_some_and(|ids| !ids.is_empty() && !ids.contains(&cx.account)) {
        advice.clear();
    }
    for filter in filters.unwrap_or_default() {
        let values = filter.values.unwrap_or_default();
        match filter.name.as_deref() {
            // Both spellings are AWS's.
            Some("Finding") => advice.retain(|advice| {
                let plain = advice.finding.name().replace('_', "");
                values.iter().any(|value| value.replace('_', "").eq_ignore_ascii_case(&plain))
            }),
            Some("FindingReasonCodes") => {
                advice.retain(|advice| advice.reasons.iter().any(|reason| values.contains(reason)))
            }
            Some("RecommendationSourceType") => {
                if !values.iter().any(|value| value == "Ec2Instance") {
                    advice.clear();
                }
            }
            other => {
                return Err(unsupported(&format!("The filter {}", other.unwrap_or_default())));
            }
        }
    }
    let mut errors = Vec::new();
    if let Some(arns) = instance_arns.filter(|arns| !arns.is_empty()) {
        for arn in &arns {
            let known = |advice: &Advice| arn_of(advice) == *arn;
            if !advice.iter().any(known) {
                errors.push(w::GetRecommendationError {
                    code: Some("MISSING_RECOMMENDATION".to_owned()),
                    identifier: Some(arn.clone()),
                    message: Some("The instance was not measured for long enough.".to_owned()),
                });
            }
        }
        advice.retain(|advice| arns.contains(&arn_of(advice)));
    }
    let limit = if limit == 0 { MAX_RESULTS } else { limit } as usize;
    let (advice, next_token) =
        page::page(advice, |advice| advice.instance.id.clone(), limit, next_token.as_deref())
            .map_err(|_| Error::InvalidParameter("The token is invalid.".to_owned()))?;
    Ok(w::GetEC2InstanceRecommendationsResponse {
        errors: Some(errors),
        instance_recommendations: Some(advice.iter().map(|advice| out(&cx, advice)).collect()),
        next_token,
    })
}

fn arn_of(advice: &Advice) -> String {
    let i = &advice.instance;
    arn::arn("ec2", &i.region, &i.account, &format!("instance/{}", i.id))
}

fn metric(name: &str, statistic: &str, value: f64) -> w::UtilizationMetric {
    w::UtilizationMetric {
        name: Some(name.to_owned()),
        statistic: Some(statistic.to_owned()),
        value: Some(value),
    }
}

fn out(cx: &Context, advice: &Advice) -> w::InstanceRecommendation {
    let i = &advice.instance;
    let Used { cpu_peak, cpu_average, memory, rates } = advice.used;
    let mut metrics =
        vec![metric("CPU", "MAXIMUM", cpu_peak), metric("CPU", "AVERAGE", cpu_average)];
    metrics.extend(memory.map(|memory| metric("MEMORY", "MAXIMUM", memory)));
    for (name, rate) in [
        ("NETWORK_IN_BYTES_PER_SECOND", rates.network_in_bytes),
        ("NETWORK_OUT_BYTES_PER_SECOND", rates.network_out_bytes),
        ("EBS_READ_BYTES_PER_SECOND", rates.volume_read_bytes),
        ("EBS_WRITE_BYTES_PER_SECOND", rates.volume_write_bytes),
        ("EBS_READ_OPS_PER_SECOND", rates.volume_reads),
        ("EBS_WRITE_OPS_PER_SECOND", rates.volume_writes),
    ] {
        metrics.push(metric(name, "MAXIMUM", rate));
    }
    let tags = tag::ops::tags_of(&cx.read(), cx, &i.id);
    let up = i.observed.up_since.map_or(0, |since: Timestamp| cx.now.since(since).as_secs());
    let seen = up.min(RETENTION.as_secs()) as f64;
    let tag = |(key, value): (&String, &String)| w::Tag {
        key: Some(key.clone()),
        value: Some(value.clone()),
    };
    w::InstanceRecommendation {
        account_id: Some(i.account.clone()),
        current_instance_type: Some(i.instance_type.clone()),
        finding: Some(advice.finding.name().to_owned()),
        finding_reason_codes: Some(advice.reasons.clone()),
        instance_arn: Some(arn_of(advice)),
        instance_name: tags.get("Name").cloned(),
        instance_state: Some("running".to_owned()),
        last_refresh_timestamp: Some(wire::Timestamp(cx.now.0)),
        look_back_period_in_days: Some(seen / 86_400.0),
        recommendation_options: Some(
            advice.options.iter().enumerate().map(|(at, choice)| option(at, choice)).collect(),
        ),
        recommendation_sources: Some(vec![w::RecommendationSource {
            recommendation_source_arn: Some(arn_of(advice)),
            recommendation_source_type: Some("Ec2Instance".to_owned()),
        }]),
        tags: Some(tags.iter().map(tag).collect()),
        utilization_metrics: Some(metrics),
        ..Default::default()
    }
}

fn option(at: usize, choice: &Choice) -> w::InstanceRecommendationOption {
    let mut metrics = vec![metric("CPU", "MAXIMUM", choice.cpu_peak)];
    metrics.extend(choice.memory.map(|memory| metric("MEMORY", "MAXIMUM", memory)));
    w::InstanceRecommendationOption {
        instance_type: Some(choice.fit.instance_type.to_owned()),
        projected_utilization_metrics: Some(metrics),
        rank: Some(at as i32 + 1),
        savings_opportunity: (choice.saves > 0.0).then(|| w::SavingsOpportunity {
            estimated_monthly_savings: Some(w::EstimatedMonthlySavings {
                currency: Some("USD".to_owned()),
                value: Some(choice.saves),
            }),
            savings_opportunity_percentage: Some(choice.saves_percent),
        }),
        ..Default::default()
    }
}
