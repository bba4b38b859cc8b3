//! Metrics and alarms, as far as scaling needs them. The CloudWatch API itself is not here.
//!
//! ```text
//!  driver.usage ─┐                                  ┌─► alarm records (OK, ALARM, INSUFFICIENT_DATA)
//!                ├─► collect ─► Metrics (in memory) ─┤
//!  reports ──────┘                                  └─► scaling policies read the value
//! ```

pub mod alarm;
mod collect;
pub mod controller;
pub mod metrics;

pub use metrics::{MetricId, Metrics, Statistic, Statistics};
