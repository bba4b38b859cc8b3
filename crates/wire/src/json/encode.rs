//! Views to JSON, by the schema.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, StatusCode};

use crate::schema::{Place, Structure, Type};
use crate::value::{Fields, View};
use crate::{Error, Protocol, Response};

pub fn encode(
    protocol: Protocol,
    schema: &Structure,
    output: &dyn Fields,
    request_id: &str,
) -> Response {
    respond(protocol, StatusCode::OK, object(schema, output), request_id)
}

/// The structure's JSON object.
pub fn object(schema: &Structure, fields: &dyn Fields) -> Vec<u8> {
    let mut json = Vec::with_capacity(256);
    structure(&mut json, schema, fields);
    json
}

/// Of a REST answer: only the members that are not elsewhere.
pub fn document_of(schema: &Structure, fields: &dyn Fields) -> Vec<u8> {
    let mut json = Vec::with_capacity(256);
    members(&mut json, schema, fields, |place| place == Place::Document);
    json
}

/// `prefix` is what stands before the code in `__type`.
pub fn error(prefix: &str, protocol: Protocol, error: &Error, request_id: &str) -> Response {
    let mut members = error.members.clone();
    members.insert("__type".into(), format!("{prefix}{}", error.code).into());
    // AWS spells the member both ways; clients look for either.
    members.insert("message".into(), error.message.clone().into());
    let body = serde_json::Value::Object(members.into_iter().collect()).to_string();
    let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = respond(protocol, status, body.into_bytes(), request_id);
    if let Ok(code) = HeaderValue::from_str(&error.code) {
        response.headers.insert("x-amzn-errortype", code);
    }
    response
}

fn respond(protocol: Protocol, status: StatusCode, body: Vec<u8>, request_id: &str) -> Response {
    let content_type = match protocol {
        Protocol::Json10 => "application/x-amz-json-1.0",
        _ => "application/x-amz-json-1.1",
    };
    let crc32 = crc32fast::hash(&body);
    let mut response = crate::respond(status, content_type, body, request_id);
    // DynamoDB's clients check it; the others do not mind.
    response.headers.insert("x-amz-crc32", crc32.into());
    response
}

fn structure(json: &mut Vec<u8>, schema: &Structure, fields: &dyn Fields) {
    members(json, schema, fields, |_| true);
}

fn members(
    json: &mut Vec<u8>,
    schema: &Structure,
    fields: &dyn Fields,
    wanted: impl Fn(Place) -> bool,
) {
    json.push(b'{');
    let mut first = true;
    for (index, member) in schema.members.iter().enumerate().filter(|(_, m)| wanted(m.place)) {
        let Some(view) = fields.field(index) else { continue };
        if !std::mem::take(&mut first) {
            json.push(b',');
        }
        string(json, member.response);
        json.push(b':');
        value(json, &member.ty, view);
    }
    json.push(b'}');
}

fn value(json: &mut Vec<u8>, ty: &Type, view: View<'_>) {
    match (ty, view) {
        (_, View::String(s)) => string(json, s),
        (_, View::Integer(n)) => json.extend_from_slice(n.to_string().as_bytes()),
        (_, View::Float(n)) if n.is_finite() => plain(json, &n),
        (_, View::Double(n)) if n.is_finite() => plain(json, &n),
        (_, View::Float(n)) => not_finite(json, f64::from(n)),
        (_, View::Double(n)) => not_finite(json, n),
        (_, View::Boolean(b)) => json.extend_from_slice(if b { b"true" } else { b"false" }),
        (_, View::Timestamp(ms)) => plain(json, &(ms as f64 / 1000.0)),
        (_, View::Blob(bytes)) => {
            json.push(b'"');
            json.extend_from_slice(STANDARD.encode(bytes).as_bytes());
            json.push(b'"');
        }
        (Type::List(list), View::List(items)) => {
            json.push(b'[');
            for i in 0..items.count() {
                if i > 0 {
                    json.push(b',');
                }
                value(json, &list.item, items.at(i));
            }
            json.push(b']');
        }
        (Type::Map(map), View::Map(entries)) => {
            json.push(b'{');
            let mut first = true;
            entries.each(&mut |key, view| {
                if !std::mem::take(&mut first) {
                    json.push(b',');
                }
                string(json, key);
                json.push(b':');
                value(json, &map.value, view);
            });
            json.push(b'}');
        }
        (Type::Structure(schema), View::Structure(fields)) => structure(json, schema, fields),
        _ => unreachable!("the view is not of its schema's type"),
    }
}

fn string(json: &mut Vec<u8>, s: &str) {
    plain(json, s);
}

fn plain<T: serde::Serialize + ?Sized>(json: &mut Vec<u8>, value: &T) {
    serde_json::to_writer(json, value).expect("vectors take everything");
}

fn not_finite(json: &mut Vec<u8>, n: f64) {
    let name = if n.is_nan() {
        "NaN"
    } else if n > 0.0 {
        "Infinity"
    } else {
        "-Infinity"
    };
    string(json, name);
}
