//! Queues: what was asked for, checked.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Timestamp;
use crate::iam::Document;
use crate::tag::Tags;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Queue {
    pub account: String,
    pub region: String,
    pub name: String,
    /// What its messages' keys begin with. A queue of the same name made later has another.
    pub number: u64,
    pub created_at: Timestamp,
    pub modified_at: Timestamp,
    pub attributes: Attributes,
    pub tags: Tags,
    pub purge: Option<Purge>,
}

/// Messages before `before` are no more, whatever the keyspace still holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Purge {
    pub at: Timestamp,
    pub before: u64,
    /// The keyspace holds none of them any more.
    pub swept: bool,
}

impl store::Record for Queue {
    const TABLE: &'static str = "sqs.queues";
    fn key(&self) -> String {
        format!("{}/{}/{}", self.account, self.region, self.name)
    }
}

impl Queue {
    pub fn arn(&self) -> String {
        crate::arn::arn("sqs", &self.region, &self.account, &self.name)
    }

    /// The first message that is not purged.
    pub fn first(&self) -> u64 {
        self.purge.as_ref().map_or(0, |purge| purge.before)
    }

    pub fn fifo(&self) -> bool {
        self.attributes.fifo.is_some()
    }

    pub fn retention(&self) -> Duration {
        Duration::from_secs(self.attributes.retention_seconds.into())
    }
}

/// Source: SQS API Reference, SetQueueAttributes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attributes {
    pub delay_seconds: u32,
    pub maximum_message_bytes: u32,
    pub retention_seconds: u32,
    pub wait_seconds: u32,
    pub visibility_seconds: u32,
    pub policy: Option<Document>,
    pub redrive: Option<Redrive>,
    pub redrive_allow: Option<RedriveAllow>,
    /// Of FIFO queues.
    pub fifo: Option<Fifo>,
    /// Bodies are sealed where they are stored.
    pub encrypted: bool,
}

impl Default for Attributes {
    fn default() -> Attributes {
        Attributes {
            delay_seconds: 0,
            maximum_message_bytes: 1 << 20,
            retention_seconds: 345_600,
            wait_seconds: 0,
            visibility_seconds: 30,
            policy: None,
            redrive: None,
            redrive_allow: None,
            fifo: None,
            encrypted: true,
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fifo {
    pub content_based: bool,
    /// Ids of deduplication count in a group, not in the queue.
    pub by_group: bool,
    /// The quota on calls counts for each group. No calls are throttled here.
    pub throughput_by_group: bool,
}

/// Where messages go that were received too often.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redrive {
    /// An ARN.
    pub target: String,
    pub max_receives: u32,
}

/// Which queues may name this one as their dead-letter queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RedriveAllow {
    All,
    Nobody,
    Queues(Vec<String>),
}

/// A deleted queue: its messages are swept, and for a while nobody takes its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gone {
    pub account: String,
    pub region: String,
    pub name: String,
    pub number: u64,
    pub at: Timestamp,
    pub swept: bool,
}

impl store::Record for Gone {
    const TABLE: &'static str = "sqs.deleted";
    fn key(&self) -> String {
        format!("{}/{}/{}", self.account, self.region, self.name)
    }
}
