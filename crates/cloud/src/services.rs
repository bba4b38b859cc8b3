//! Every operation this cloud serves, in one table. What is not here is refused by name.
//! (S3 is served beside it, through `s3s`.)

use std::future::Future;
use std::sync::Arc;

use compute::driver::BoxFuture;
use serde_json::Value;
use wire::Shape;
use wire::schema::{Structure, Type};
use wire::value::{Fields, View};

use crate::context::Context;
use crate::iam::{self, Denied, Event, Launching};

type Call = dyn Fn(Context, Arc<wire::Request>) -> BoxFuture<'static, Result<wire::Response, wire::Error>>
    + Send
    + Sync;

/// One operation and who answers it.
pub struct Entry {
    pub service: &'static str,
    pub operation: &'static str,
    /// What it takes.
    pub input: &'static Structure,
    pub call: Box<Call>,
}

/// Binds the operation `O` to its handler: decode, authorize, call, encode.
pub fn serve<O, F, Fut, E>(handler: F) -> Entry
where
    O: wire::Operation,
    F: Fn(Context, O::Input) -> Fut + Send + Sync + Copy + 'static,
    Fut: Future<Output = Result<O::Output, E>> + Send + 'static,
    E: Into<wire::Error>,
{
    Entry {
        service: O::SERVICE.name,
        operation: O::NAME,
        input: O::Input::SCHEMA,
        call: Box::new(move |cx, request| {
            Box::pin(async move {
                let input = wire::decode::<O>(&request)?;
                let request_id = cx.request_id.clone();
                let mut event = authorize::<O>(&cx, &request, &input)?;
                let trail = cx.env.trail.clone();
                let output = handler(cx, input).await.map_err(Into::into);
                if let Some(event) = &mut event
                    && let Err(error) = &output
                {
                    event.error = Some((error.code.clone(), error.message.clone()));
                    event.verdict.allowed &= error.code != "AccessDenied";
                }
                event.into_iter().for_each(|event| trail.record(event));
                Ok(wire::encode::<O>(&request, &output?, &request_id))
            })
        }),
    }
}

/// What the names of a service's actions begin with.
pub fn iam_prefix(service: &wire::Service) -> &'static str {
    match service.signing_name {
        "monitoring" => "cloudwatch",
        name => name,
    }
}

/// Asks the caller's policies. What the trail shall keep of the call; nothing, when it is one of those
/// that only count.
fn authorize<O: wire::Operation>(
    cx: &Context,
    request: &wire::Request,
    input: &O::Input,
) -> Result<Option<Event>, wire::Error> {
    let service = iam_prefix(O::SERVICE);
    let is_data = match service {
        "dynamodb" => !O::NAME.contains("Table"),
        "sqs" => O::NAME.contains("Message") && !O::NAME.contains("Task"),
        _ => false,
    };
    let unjudged = cx.from.may_do_all();
    if unjudged && is_data {
        return Ok(None);
    }
    let (demands, launching) = match unjudged && iam::is_read(O::NAME) {
        true => (vec![], None),
        false => {
            let input = members(O::Input::SCHEMA, input);
            let call = iam::Call { service, operation: O::NAME, input: &input };
            let snapshot = cx.read();
            let launching = match unjudged {
                true => None,
                false => iam::launching(&snapshot, cx, &call),
            };
            (iam::demands(&snapshot, cx, &call), launching)
        }
    };
    let event = |verdict| {
        let resources = demands.iter().map(|demand| demand.resource.clone());
        let mut resources: Vec<String> = resources.filter(|resource| resource != "*").collect();
        resources.dedup();
        Event { resources, is_data, ..Event::new(cx, service, O::NAME, verdict) }
    };
    let judged = iam::authorize::check(cx, &demands)
        .map_err(|denied| (refusal(request.protocol, &denied), denied))
        .and_then(|verdict| match &launching {
            Some(launching) => may_launch(cx, launching).map(|()| verdict),
            None => Ok(verdict),
        });
    match judged {
        Ok(verdict) => Ok(Some(event(verdict))),
        Err((error, denied)) => {
            let mut event = event(denied.verdict);
            event.error = Some((error.code.clone(), error.message.clone()));
            cx.env.trail.record(event);
            Err(error)
        }
    }
}

/// Auto Scaling tries the launch as its caller, and tells no more than that it failed.
fn may_launch(cx: &Context, launching: &Launching) -> Result<(), (wire::Error, Box<Denied>)> {
    let judged = iam::authorize::check(cx, &launching.demands);
    judged.map(drop).map_err(|denied| {
        let message =
            format!("You are not authorized to use launch template: {}", launching.template);
        (wire::Error::new(400, "ValidationError", message), denied)
    })
}

/// A request by its members' names in the model, which no protocol bends.
fn members(schema: &wire::schema::Structure, fields: &dyn Fields) -> Value {
    let present = schema.members.iter().enumerate().filter_map(|(index, member)| {
        Some((member.name.to_owned(), member_value(&member.ty, fields.field(index)?)))
    });
    Value::Object(present.collect())
}

fn member_value(ty: &Type, view: View<'_>) -> Value {
    match (ty, view) {
        (_, View::String(text)) => text.into(),
        (_, View::Integer(n)) => n.into(),
        (_, View::Boolean(on)) => on.into(),
        (_, View::Timestamp(ms)) => ms.into(),
        (_, View::Double(n)) => n.into(),
        (_, View::Float(n)) => n.into(),
        (Type::List(list), View::List(items)) => {
            (0..items.count()).map(|at| member_value(&list.item, items.at(at))).collect()
        }
        (Type::Map(map), View::Map(entries)) => {
            let mut all = serde_json::Map::new();
            entries.each(&mut |key, view| {
                all.insert(key.to_owned(), member_value(&map.value, view));
            });
            Value::Object(all)
        }
        (Type::Structure(schema), View::Structure(fields)) => members(schema, fields),
        // Bytes name nothing.
        _ => Value::Null,
    }
}

/// In the words of the service.
fn refusal(protocol: wire::Protocol, denied: &Denied) -> wire::Error {
    let Denied { message, encoded, .. } = denied;
    match protocol {
        wire::Protocol::Ec2 => wire::Error::new(
            403,
            "UnauthorizedOperation",
            format!(
                "You are not authorized to perform this operation. {message}. Encoded \
                 authorization failure message: {encoded}"
            ),
        ),
        wire::Protocol::Query => wire::Error::new(403, "AccessDenied", message),
        wire::Protocol::RestJson => wire::Error::new(403, "AccessDeniedException", message),
        _ => wire::Error::new(400, "AccessDeniedException", message),
    }
}

/// The table. Each service lists its own operations in its `handlers.rs`.
pub fn table() -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    entries.extend(crate::ec2::handlers::operations());
    entries.extend(crate::ebs::handlers::operations());
    entries.extend(crate::fis::handlers::operations());
    entries.extend(crate::elbv2::handlers::operations());
    entries.extend(crate::ssm::handlers::operations());
    entries.extend(crate::ec2_instance_connect::handlers::operations());
    entries.extend(crate::advice::handlers::operations());
    entries.extend(crate::cost::handlers::operations());
    entries.extend(crate::cloudtrail::handlers::operations());
    entries.extend(crate::cloudwatch::handlers::operations());
    entries.extend(crate::iam::handlers::operations());
    entries.extend(crate::sts::handlers::operations());
    entries.extend(crate::dynamodb::handlers::operations());
    entries.extend(crate::sqs::handlers::operations());
    entries.extend(crate::autoscaling::handlers::operations());
    entries
}
