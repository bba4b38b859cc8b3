//! The data plane of load balancing: one process per zone, told what to do by snapshots.
//! Knows nothing of AWS.

pub mod snapshot;
