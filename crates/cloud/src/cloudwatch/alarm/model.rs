//! The record of an alarm: what it watches, and what state that is in.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::cloudwatch::metrics::{MetricId, Statistic};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alarm {
    pub account: String,
    pub region: String,
    pub name: String,
    pub description: String,
    pub metric: MetricId,
    pub statistic: Statistic,
    pub period_seconds: u32,
    /// How many of the newest periods are looked at …
    pub evaluation_periods: u32,
    /// … and how many of them must breach.
    pub datapoints_to_alarm: u32,
    pub threshold: f64,
    pub comparison: Comparison,
    pub missing_data: MissingData,
    /// ARNs of what is to happen in state ALARM: scaling policies.
    pub alarm_actions: Vec<String>,
    pub state: State,
    pub state_reason: String,
    pub state_updated: Timestamp,
}

impl Alarm {
    pub fn arn(&self) -> String {
        let resource = format!("alarm:{}", self.name);
        crate::arn::arn("cloudwatch", &self.region, &self.account, &resource)
    }

    pub fn period(&self) -> Duration {
        Duration::from_secs(u64::from(self.period_seconds))
    }
}

impl store::Record for Alarm {
    const TABLE: &'static str = "cloudwatch_alarms";
    fn key(&self) -> String {
        format!("{}/{}/{}", self.account, self.region, self.name)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Comparison {
    GreaterThanOrEqualToThreshold,
    GreaterThanThreshold,
    LessThanThreshold,
    LessThanOrEqualToThreshold,
}

impl Comparison {
    pub fn breaches(self, value: f64, threshold: f64) -> bool {
        match self {
            Comparison::GreaterThanOrEqualToThreshold => value >= threshold,
            Comparison::GreaterThanThreshold => value > threshold,
            Comparison::LessThanThreshold => value < threshold,
            Comparison::LessThanOrEqualToThreshold => value <= threshold,
        }
    }

    /// As reasons word it.
    pub fn words(self) -> &'static str {
        match self {
            Comparison::GreaterThanOrEqualToThreshold => "greater than or equal to",
            Comparison::GreaterThanThreshold => "greater than",
            Comparison::LessThanThreshold => "less than",
            Comparison::LessThanOrEqualToThreshold => "less than or equal to",
        }
    }
}

/// What a period without data means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MissingData {
    /// Not looked at; with no data at all the alarm has INSUFFICIENT_DATA.
    Missing,
    /// As `Missing`, but with no data at all the alarm stays as it is.
    Ignore,
    Breaching,
    NotBreaching,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    Ok,
    Alarm,
    InsufficientData,
}

impl State {
    pub fn name(self) -> &'static str {
        match self {
            State::Ok => "OK",
            State::Alarm => "ALARM",
            State::InsufficientData => "INSUFFICIENT_DATA",
        }
    }
}
