//! Views to headers and a body, by the schema.

use http::{HeaderName, HeaderValue, StatusCode};

use crate::schema::{Place, Structure, Type};
use crate::value::{Fields, View};
use crate::{Error, Response, json};

const JSON: &str = "application/json";

pub fn encode(status: u16, schema: &Structure, output: &dyn Fields, request_id: &str) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    let payload = schema.members.iter().position(|member| member.place == Place::Payload);
    let (content_type, body) = match payload {
        None => (JSON, json::document_of(schema, output)),
        Some(index) => match (&schema.members[index].ty, output.field(index)) {
            (Type::Structure(schema), Some(View::Structure(fields))) => {
                (JSON, json::object(schema, fields))
            }
            (_, Some(View::Blob(bytes))) => ("application/octet-stream", bytes.to_vec()),
            (_, _) => ("application/octet-stream", vec![]),
        },
    };
    let mut response = crate::respond(status, content_type, body, request_id);
    for (index, member) in schema.members.iter().enumerate() {
        if member.place != Place::Header {
            continue;
        }
        let Some(view) = output.field(index) else { continue };
        let name = HeaderName::from_bytes(member.request.as_bytes());
        let name = name.expect("the model names headers by plain text");
        response.headers.insert(name, header(view));
    }
    response
}

fn header(view: View<'_>) -> HeaderValue {
    let text = match view {
        View::String(text) => text.to_owned(),
        View::Integer(n) => n.to_string(),
        View::Float(n) => n.to_string(),
        View::Double(n) => n.to_string(),
        View::Boolean(on) => on.to_string(),
        _ => unreachable!("the generator lets nothing else into headers"),
    };
    // A line has no way to say control characters.
    let text = text.replace(|c: char| c.is_ascii_control(), " ");
    HeaderValue::from_bytes(text.as_bytes()).expect("no control characters are left")
}

pub fn error(error: &Error, request_id: &str) -> Response {
    let mut members = error.members.clone();
    // Services of this protocol spell the member either way.
    for name in ["message", "Message"] {
        members.insert(name.into(), error.message.clone().into());
    }
    let body = serde_json::Value::Object(members.into_iter().collect()).to_string();
    let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = crate::respond(status, JSON, body.into_bytes(), request_id);
    if let Ok(code) = HeaderValue::from_str(&error.code) {
        response.headers.insert("x-amzn-errortype", code);
    }
    response
}
