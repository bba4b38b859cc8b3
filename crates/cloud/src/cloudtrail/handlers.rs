//! CloudTrail on the wire.

use wire::cloudtrail as w;

use super::error::{Error, Result};
use super::lookup::{self, Lookup, name_of, type_of};
use crate::iam::Event;
use crate::services::{Entry, serve};
use crate::{Context, Timestamp};

pub fn operations() -> Vec<Entry> {
    vec![serve::<w::LookupEvents, _, _, _>(lookup_events)]
}

async fn lookup_events(
    cx: Context,
    input: w::LookupEventsRequest,
) -> Result<w::LookupEventsResponse> {
    if let Some(category) = input.event_category {
        return Err(Error::EventCategory(category));
    }
    let mut attributes = input.lookup_attributes.unwrap_or_default().into_iter();
    let attribute = attributes.next().map(|one| (one.attribute_key, one.attribute_value));
    if attributes.next().is_some() {
        return Err(Error::LookupAttributes);
    }
    let at = |time: wire::Timestamp| Timestamp(time.0);
    let asked = Lookup {
        attribute,
        from: input.start_time.map(at),
        to: input.end_time.map(at),
        max_results: input.max_results,
        next_token: input.next_token,
    };
    let (events, next_token) = lookup::lookup(&cx, &asked)?;
    let events = events.iter().map(|event| out(&cx, event)).collect();
    Ok(w::LookupEventsResponse { events: Some(events), next_token })
}

fn out(cx: &Context, event: &Event) -> w::Event {
    let resource = |arn: &String| w::Resource {
        resource_name: Some(name_of(arn).to_owned()),
        resource_type: type_of(arn).map(str::to_owned),
    };
    w::Event {
        access_key_id: event.access_key.clone(),
        cloud_trail_event: Some(lookup::record(cx, event).to_string()),
        event_id: Some(event.id.clone()),
        event_name: Some(event.operation.clone()),
        event_source: Some(event.source()),
        event_time: Some(wire::Timestamp(event.at.0)),
        read_only: Some(event.is_read.to_string()),
        resources: Some(event.resources.iter().map(resource).collect()),
        username: event.user_name(),
    }
}
