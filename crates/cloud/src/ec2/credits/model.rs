//! An account of CPU credits, one for each burstable instance, for as long as the instance's record.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Credits {
    pub account: String,
    pub region: String,
    pub instance_id: String,
    pub mode: Mode,
    /// Whether it ever was unlimited: such are listed without being asked for.
    pub was_unlimited: bool,
    /// Earned and not spent.
    pub balance: f64,
    /// T2's, given at launch: spent first, on top of what accrues.
    pub launch: f64,
    /// Spent and not earned yet.
    pub surplus: f64,
    /// Since the last five minutes' mark.
    pub spent: f64,
    pub charged: f64,
    /// Processor time that is counted already, of this boot.
    pub boot: u64,
    pub cpu_seconds: f64,
    /// Until when it is counted.
    pub at: Timestamp,
    /// Since when it is stopped.
    pub stopped: Option<Timestamp>,
}

impl store::Record for Credits {
    const TABLE: &'static str = "ec2_cpu_credits";
    fn key(&self) -> String {
        format!("{}/{}/{}", self.account, self.region, self.instance_id)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    Standard,
    Unlimited,
}

impl Mode {
    pub fn word(self) -> &'static str {
        match self {
            Mode::Standard => "standard",
            Mode::Unlimited => "unlimited",
        }
    }

    pub fn parse(word: &str) -> Option<Mode> {
        [Mode::Standard, Mode::Unlimited].into_iter().find(|mode| mode.word() == word)
    }
}

/// What an account chose for a family's new instances.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DefaultMode {
    pub account: String,
    pub region: String,
    /// `t3`
    pub family: String,
    pub mode: Mode,
}

impl store::Record for DefaultMode {
    const TABLE: &'static str = "ec2_cpu_credit_defaults";
    fn key(&self) -> String {
        format!("{}/{}/{}", self.account, self.region, self.family)
    }
}
