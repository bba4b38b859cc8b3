//! Views to CBOR, by the schema.

use ciborium_io::Write as _;
use ciborium_ll::{Encoder, Header, simple};
use http::{HeaderValue, StatusCode};

use super::EPOCH;
use crate::schema::{Structure, Type};
use crate::value::{Fields, View};
use crate::{Error, Response};

type Output<'a> = Encoder<&'a mut Vec<u8>>;

pub fn encode(schema: &Structure, output: &dyn Fields, request_id: &str) -> Response {
    respond(StatusCode::OK, object(schema, output), request_id)
}

/// The structure's CBOR map.
pub fn object(schema: &Structure, fields: &dyn Fields) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(256);
    structure(&mut Encoder::from(&mut bytes), schema, fields);
    bytes
}

pub fn error(error: &Error, request_id: &str) -> Response {
    let mut members = error.members.clone();
    members.insert("__type".into(), error.code.clone().into());
    members.insert("message".into(), error.message.clone().into());
    let mut bytes = Vec::new();
    json(&mut Encoder::from(&mut bytes), &serde_json::Value::Object(members.into_iter().collect()));
    let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    respond(status, bytes, request_id)
}

fn respond(status: StatusCode, body: Vec<u8>, request_id: &str) -> Response {
    let mut response = crate::respond(status, "application/cbor", body, request_id);
    response.headers.insert("smithy-protocol", HeaderValue::from_static("rpc-v2-cbor"));
    response
}

fn push(out: &mut Output<'_>, header: Header) {
    out.push(header).expect("vectors take everything");
}

fn text(out: &mut Output<'_>, text: &str) {
    push(out, Header::Text(Some(text.len())));
    out.write_all(text.as_bytes()).expect("vectors take everything");
}

fn integer(out: &mut Output<'_>, n: i64) {
    push(
        out,
        match u64::try_from(n) {
            Ok(n) => Header::Positive(n),
            // CBOR has -1 - n.
            Err(_) => Header::Negative(!n as u64),
        },
    );
}

fn boolean(out: &mut Output<'_>, on: bool) {
    push(out, Header::Simple(if on { simple::TRUE } else { simple::FALSE }));
}

fn structure(out: &mut Output<'_>, schema: &Structure, fields: &dyn Fields) {
    let present = |index: &usize| fields.field(*index).is_some();
    push(out, Header::Map(Some((0..schema.members.len()).filter(present).count())));
    for (index, member) in schema.members.iter().enumerate() {
        if let Some(view) = fields.field(index) {
            text(out, member.name);
            value(out, &member.ty, view);
        }
    }
}

fn value(out: &mut Output<'_>, ty: &Type, view: View<'_>) {
    match (ty, view) {
        (_, View::String(s)) => text(out, s),
        (_, View::Integer(n)) => integer(out, n),
        (_, View::Float(n)) => push(out, Header::Float(f64::from(n))),
        (_, View::Double(n)) => push(out, Header::Float(n)),
        (_, View::Boolean(on)) => boolean(out, on),
        (_, View::Timestamp(ms)) => {
            push(out, Header::Tag(EPOCH));
            match ms % 1000 {
                0 => integer(out, ms / 1000),
                _ => push(out, Header::Float(ms as f64 / 1000.0)),
            }
        }
        (_, View::Blob(bytes)) => {
            push(out, Header::Bytes(Some(bytes.len())));
            out.write_all(bytes).expect("vectors take everything");
        }
        (Type::List(list), View::List(items)) => {
            push(out, Header::Array(Some(items.count())));
            for at in 0..items.count() {
                value(out, &list.item, items.at(at));
            }
        }
        (Type::Map(map), View::Map(entries)) => {
            push(out, Header::Map(Some(entries.count())));
            entries.each(&mut |key, view| {
                text(out, key);
                value(out, &map.value, view);
            });
        }
        (Type::Structure(schema), View::Structure(fields)) => structure(out, schema, fields),
        _ => unreachable!("the view is not of its schema's type"),
    }
}

/// The members of an error.
fn json(out: &mut Output<'_>, value: &serde_json::Value) {
    use serde_json::Value;
    match value {
        Value::Null => push(out, Header::Simple(simple::NULL)),
        Value::Bool(on) => boolean(out, *on),
        Value::Number(n) => match n.as_i64() {
            Some(n) => integer(out, n),
            None => push(out, Header::Float(n.as_f64().unwrap_or_default())),
        },
        Value::String(s) => text(out, s),
        Value::Array(items) => {
            push(out, Header::Array(Some(items.len())));
            items.iter().for_each(|item| json(out, item));
        }
        Value::Object(members) => {
            push(out, Header::Map(Some(members.len())));
            for (name, member) in members {
                text(out, name);
                json(out, member);
            }
        }
    }
}
