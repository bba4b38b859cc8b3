//! Whether an account wants recommendations.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;

/// Compute Optimizer is opt-in: without a record it is inactive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrollment {
    pub account: String,
    pub active: bool,
    pub updated_at: Timestamp,
}

impl store::Record for Enrollment {
    const TABLE: &'static str = "compute_optimizer_enrollments";
    fn key(&self) -> String {
        self.account.clone()
    }
}
