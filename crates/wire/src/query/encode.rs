//! Views to XML, by the schema.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;

use crate::schema::{Structure, Type};
use crate::value::{Fields, View};
use crate::{Error, Protocol, Response, Service, time};

/// The answer of `operation`.
pub fn encode(
    service: &Service,
    protocol: Protocol,
    operation: &str,
    schema: &Structure,
    output: &dyn Fields,
    request_id: &str,
) -> Response {
    let mut xml = Xml::begin();
    let response = format!("{operation}Response");
    xml.open_in(&response, service.xml_namespace);
    if protocol == Protocol::Ec2 {
        xml.leaf("requestId", request_id);
        if schema.members.is_empty() {
            xml.leaf("return", "true");
        }
        xml.structure(schema, output);
    } else {
        if !schema.name.is_empty() {
            let result = format!("{operation}Result");
            xml.open(&result);
            xml.structure(schema, output);
            xml.close(&result);
        }
        xml.open("ResponseMetadata");
        xml.leaf("RequestId", request_id);
        xml.close("ResponseMetadata");
    }
    xml.close(&response);
    xml.response(StatusCode::OK, request_id)
}

/// An error in the protocol's own form.
pub fn error(
    namespace: Option<&str>,
    protocol: Protocol,
    error: &Error,
    request_id: &str,
) -> Response {
    let mut xml = Xml::begin();
    if protocol == Protocol::Ec2 {
        xml.open("Response");
        xml.open("Errors");
        xml.open("Error");
        xml.leaf("Code", &error.code);
        xml.leaf("Message", &error.message);
        xml.close("Error");
        xml.close("Errors");
        xml.leaf("RequestID", request_id);
        xml.close("Response");
    } else {
        xml.open_in("ErrorResponse", namespace);
        xml.open("Error");
        xml.leaf("Type", if error.status < 500 { "Sender" } else { "Receiver" });
        xml.leaf("Code", &error.code);
        xml.leaf("Message", &error.message);
        xml.close("Error");
        xml.leaf("RequestId", request_id);
        xml.close("ErrorResponse");
    }
    let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    xml.response(status, request_id)
}

/// An XML document in the making.
pub struct Xml(String);

impl Xml {
    fn begin() -> Xml {
        let mut text = String::with_capacity(1024);
        text.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
        Xml(text)
    }

    fn response(self, status: StatusCode, request_id: &str) -> Response {
        crate::respond(status, "text/xml;charset=UTF-8", self.0.into_bytes(), request_id)
    }

    fn open(&mut self, name: &str) {
        self.open_in(name, None);
    }

    fn open_in(&mut self, name: &str, namespace: Option<&str>) {
        self.0.push('<');
        self.0.push_str(name);
        if let Some(namespace) = namespace {
            self.0.push_str(" xmlns=\"");
            self.0.push_str(namespace);
            // EC2's answers have the slash that its model lacks.
            if !namespace.ends_with('/') {
                self.0.push('/');
            }
            self.0.push('"');
        }
        self.0.push('>');
    }

    fn close(&mut self, name: &str) {
        self.0.push_str("</");
        self.0.push_str(name);
        self.0.push('>');
    }

    fn leaf(&mut self, name: &str, text: &str) {
        self.open(name);
        self.text(text);
        self.close(name);
    }

    fn text(&mut self, text: &str) {
        for c in text.chars() {
            match c {
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '&' => self.0.push_str("&amp;"),
                '"' => self.0.push_str("&quot;"),
                '\r' => self.0.push_str("&#xD;"),
                '\t' | '\n' => self.0.push(c),
                // XML has no way to say these.
                '\0'..'\u{20}' | '\u{FFFE}' | '\u{FFFF}' => self.0.push('\u{FFFD}'),
                _ => self.0.push(c),
            }
        }
    }

    fn structure(&mut self, schema: &Structure, fields: &dyn Fields) {
        for (index, member) in schema.members.iter().enumerate() {
            if let Some(view) = fields.field(index) {
                self.element(member.response, &member.ty, view);
            }
        }
    }

    fn element(&mut self, name: &str, ty: &Type, view: View<'_>) {
        self.open(name);
        match (ty, view) {
            (_, View::String(s)) => self.text(s),
            (_, View::Integer(n)) => self.0.push_str(&n.to_string()),
            (_, View::Float(n)) => self.0.push_str(&n.to_string()),
            (_, View::Double(n)) => self.0.push_str(&n.to_string()),
            (_, View::Boolean(b)) => self.0.push_str(if b { "true" } else { "false" }),
            (_, View::Timestamp(ms)) => self.0.push_str(&time::iso8601(ms)),
            (_, View::Blob(bytes)) => STANDARD.encode_string(bytes, &mut self.0),
            (Type::List(list), View::List(items)) => {
                for i in 0..items.count() {
                    self.element(list.item_name, &list.item, items.at(i));
                }
            }
            (Type::Map(map), View::Map(entries)) => {
                entries.each(&mut |key, value| {
                    self.open("entry");
                    self.leaf("key", key);
                    self.element("value", &map.value, value);
                    self.close("entry");
                });
            }
            (Type::Structure(schema), View::Structure(fields)) => self.structure(schema, fields),
            _ => unreachable!("{name}: the view is not of its schema's type"),
        }
        self.close(name);
    }
}
