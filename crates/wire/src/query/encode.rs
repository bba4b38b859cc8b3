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
    xml.flat = service.query_compatible();
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
pub struct Xml {
    text: String,
    /// Lists and maps have no element of their own around their entries.
    flat: bool,
}

impl Xml {
    fn begin() -> Xml {
        let mut text = String::with_capacity(1024);
        text.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
        Xml { text, flat: false }
    }

    fn response(self, status: StatusCode, request_id: &str) -> Response {
        crate::respond(status, "text/xml;charset=UTF-8", self.text.into_bytes(), request_id)
    }

    fn open(&mut self, name: &str) {
        self.open_in(name, None);
    }

    fn open_in(&mut self, name: &str, namespace: Option<&str>) {
        self.text.push('<');
        self.text.push_str(name);
        if let Some(namespace) = namespace {
            self.text.push_str(" xmlns=\"");
            self.text.push_str(namespace);
            // EC2's answers have the slash that its model lacks.
            if !namespace.ends_with('/') {
                self.text.push('/');
            }
            self.text.push('"');
        }
        self.text.push('>');
    }

    fn close(&mut self, name: &str) {
        self.text.push_str("</");
        self.text.push_str(name);
        self.text.push('>');
    }

    fn leaf(&mut self, name: &str, text: &str) {
        self.open(name);
        self.text(text);
        self.close(name);
    }

    fn text(&mut self, text: &str) {
        for c in text.chars() {
            match c {
                '<' => self.text.push_str("&lt;"),
                '>' => self.text.push_str("&gt;"),
                '&' => self.text.push_str("&amp;"),
                '"' => self.text.push_str("&quot;"),
                '\r' => self.text.push_str("&#xD;"),
                '\t' | '\n' => self.text.push(c),
                // XML has no way to say these.
                '\0'..'\u{20}' | '\u{FFFE}' | '\u{FFFF}' => self.text.push('\u{FFFD}'),
                _ => self.text.push(c),
            }
        }
    }

    fn structure(&mut self, schema: &Structure, fields: &dyn Fields) {
        for (index, member) in schema.members.iter().enumerate() {
            match fields.field(index) {
                Some(view) if self.flat => self.flat(member.request, &member.ty, view),
                Some(view) => self.element(member.response, &member.ty, view),
                None => {}
            }
        }
    }

    fn flat(&mut self, name: &str, ty: &Type, view: View<'_>) {
        match (ty, view) {
            (Type::List(list), View::List(items)) => {
                (0..items.count()).for_each(|i| self.element(name, &list.item, items.at(i)));
            }
            (Type::Map(map), View::Map(entries)) => {
                let key_name = if name == "Tag" { "Key" } else { "Name" };
                entries.each(&mut |key, value| {
                    self.open(name);
                    self.leaf(key_name, key);
                    self.element("Value", &map.value, value);
                    self.close(name);
                });
            }
            (ty, view) => self.element(name, ty, view),
        }
    }

    fn element(&mut self, name: &str, ty: &Type, view: View<'_>) {
        self.open(name);
        match (ty, view) {
            (_, View::String(s)) => self.text(s),
            (_, View::Integer(n)) => self.text.push_str(&n.to_string()),
            (_, View::Float(n)) => self.text.push_str(&n.to_string()),
            (_, View::Double(n)) => self.text.push_str(&n.to_string()),
            (_, View::Boolean(b)) => self.text.push_str(if b { "true" } else { "false" }),
            (_, View::Timestamp(ms)) => self.text.push_str(&time::iso8601(ms)),
            (_, View::Blob(bytes)) => STANDARD.encode_string(bytes, &mut self.text),
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
