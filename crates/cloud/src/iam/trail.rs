//! The calls of late, as CloudTrail tells them: who asked what, how it was judged, what came of it. The
//! newest are kept, in memory; they end with the daemon.
//!
//! Of data events (objects of S3, items of DynamoDB) only those are kept that policies judged: root's
//! are as many as an application makes them, and nobody denies them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use super::{Verdict, Who};
use crate::{Context, Timestamp};

const KEPT: usize = 10_000;

#[derive(Clone, Default)]
pub struct Trail(Arc<Mutex<VecDeque<Arc<Event>>>>);

#[derive(Clone, Debug)]
pub struct Event {
    pub id: String,
    pub request_id: String,
    pub at: Timestamp,
    pub region: String,
    /// The signing name: `ec2`.
    pub service: String,
    pub operation: String,
    pub is_read: bool,
    /// Of what is in a bucket or a table; CloudTrail does not look those up.
    pub is_data: bool,
    /// ARN
    pub caller: String,
    pub who: Who,
    pub access_key: Option<String>,
    pub source_ip: Option<String>,
    pub user_agent: Option<String>,
    /// `vpce-…`, by which it came out of a VPC.
    pub endpoint: Option<String>,
    /// ARNs
    pub resources: Vec<String>,
    pub verdict: Verdict,
    /// Code and message, where it was refused, by policies or else.
    pub error: Option<(String, String)>,
}

impl Event {
    pub fn new(cx: &Context, service: &str, operation: &str, verdict: Verdict) -> Event {
        Event {
            id: crate::id::uuid(&cx.env.rng),
            request_id: cx.request_id.clone(),
            at: cx.now,
            region: cx.region.clone(),
            service: service.to_owned(),
            operation: operation.to_owned(),
            is_read: super::is_read(operation),
            is_data: false,
            caller: cx.caller.clone(),
            who: cx.from.who.clone(),
            access_key: cx.from.access_key.clone(),
            source_ip: cx.from.source.ip.map(|ip| ip.to_string()),
            user_agent: cx.from.user_agent.clone(),
            endpoint: cx.from.source.endpoint.as_ref().map(|endpoint| endpoint.id.clone()),
            resources: vec![],
            verdict,
            error: None,
        }
    }

    /// `ec2.amazonaws.com`
    pub fn source(&self) -> String {
        format!("{}.amazonaws.com", self.service)
    }

    /// What CloudTrail calls `Username`: the user's name, the session's, `root`.
    pub fn user_name(&self) -> Option<String> {
        match &self.who {
            Who::Root => Some("root".to_owned()),
            Who::User { name, .. } => Some(name.clone()),
            Who::Role { session, .. } => Some(session.clone()),
            Who::Service(_) | Who::Anonymous => None,
        }
    }
}

impl Trail {
    pub fn record(&self, event: Event) {
        let mut events = self.0.lock().expect("no panics under the lock");
        if events.len() == KEPT {
            events.pop_front();
        }
        events.push_back(Arc::new(event));
    }

    /// The newest first.
    pub fn events(&self) -> Vec<Arc<Event>> {
        let events = self.0.lock().expect("no panics under the lock");
        events.iter().rev().cloned().collect()
    }

    pub fn clear(&self) {
        self.0.lock().expect("no panics under the lock").clear();
    }
}
