//! What happened to Spot Instances, in the form in which EventBridge tells it. EventBridge is not served:
//! `drover spot events` lists them.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use store::{Snapshot, Tx};

use crate::clock::Timestamp;
use crate::{Context, id};

/// The newest of a region are kept.
const KEPT: usize = 1000;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    pub account: String,
    pub region: String,
    pub id: String,
    pub at: Timestamp,
    /// EventBridge's `detail-type`.
    pub kind: String,
    pub instance_id: String,
    pub detail: Value,
}

impl store::Record for Event {
    const TABLE: &'static str = "ec2_spot_events";
    fn key(&self) -> String {
        format!("{}/{}/{:015}/{}", self.account, self.region, self.at.0, self.id)
    }
}

pub const WARNING: &str = "EC2 Spot Instance Interruption Warning";
pub const REBALANCE: &str = "EC2 Instance Rebalance Recommendation";
pub const FULFILLED: &str = "EC2 Spot Instance Request Fulfillment";

pub fn record(tx: &mut Tx, cx: &Context, kind: &str, instance_id: &str, detail: Value) {
    let event = Event {
        account: cx.account.clone(),
        region: cx.region.clone(),
        id: id::uuid(&cx.env.rng),
        at: cx.now,
        kind: kind.to_owned(),
        instance_id: instance_id.to_owned(),
        detail,
    };
    tx.put(event);
    let keys: Vec<String> =
        tx.scan::<Event>(&cx.prefix()).map(|event| store::Record::key(&*event)).collect();
    for old in keys.iter().take(keys.len().saturating_sub(KEPT)) {
        tx.delete::<Event>(old);
    }
}

/// The oldest first.
pub fn all(snapshot: &Snapshot, cx: &Context) -> Vec<Value> {
    snapshot.scan::<Event>(&cx.prefix()).map(|event| whole(&event)).collect()
}

fn whole(event: &Event) -> Value {
    let resource = match event.kind.as_str() {
        FULFILLED => {
            let id = event.detail["spot-instance-request-id"].as_str().unwrap_or_default();
            format!("spot-instances-request/{id}")
        }
        _ => format!("instance/{}", event.instance_id),
    };
    json!({
        "version": "0",
        "id": event.id,
        "detail-type": event.kind,
        "source": "aws.ec2",
        "account": event.account,
        "time": event.at.iso8601(),
        "region": event.region,
        "resources": [crate::arn::arn("ec2", &event.region, &event.account, &resource)],
        "detail": event.detail,
    })
}
