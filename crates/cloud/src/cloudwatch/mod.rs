//! Metrics and alarms, as far as scaling needs them. Of the CloudWatch API, reading metrics.
//!
//! ```text
//!  driver.usage ─┐                                  ┌─► alarm records (OK, ALARM, INSUFFICIENT_DATA)
//!                ├─► collect ─► Metrics (in memory) ─┤
//!  reports ──────┘                                  └─► scaling policies read the value
//! ```

pub mod alarm;
mod collect;
pub mod controller;
mod error;
pub mod handlers;
pub mod metrics;
mod read;

pub use metrics::{MetricId, Metrics, Statistic, Statistics};
