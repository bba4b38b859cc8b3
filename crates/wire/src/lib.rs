//! AWS protocols and shapes: bytes to typed requests and back. No domain, no IO.
//!
//! ```text
//!  http request ─► route ─► sigv4::verify ─► decode::<O> ─► O::Input ─► (the cloud)
//!  http response ◄───────── encode::<O> ◄─────────────────── O::Output ◄────┘
//!                           encode_error ◄────────────────── Error
//! ```
//!
//! The shapes are generated (`cargo xtask codegen`); each says its `schema`, and the protocols are
//! interpreters of schemas that meet the shapes in `value`.

pub mod cbor;
mod check;
mod compatible;
pub mod json;
pub mod query;
pub mod rest_json;
pub mod route;
pub mod schema;
mod shapes;
pub mod sigv4;
mod time;
pub mod value;

use std::collections::BTreeMap;

pub use compatible::query_code;
pub use route::{Routed, not_served, route};
pub use shapes::*;

/// What the generated code says of a service.
#[derive(Debug)]
pub struct Service {
    /// botocore's name: `ec2`, `elbv2`, `autoscaling`, `ssm`, `sts`, `dynamodb`.
    pub name: &'static str,
    /// `2016-11-15`.
    pub api_version: &'static str,
    /// Of the signature's credential scope: `elasticloadbalancing`.
    pub signing_name: &'static str,
    /// Of JSON protocols' `X-Amz-Target`: `AmazonSSM`.
    pub target_prefix: Option<&'static str>,
    pub xml_namespace: Option<&'static str>,
    /// What clients speak to it unless the request says otherwise.
    pub protocol: Protocol,
    /// All that clients may speak to it.
    pub protocols: &'static [Protocol],
    /// All that AWS has, sorted; served or not.
    pub operations: &'static [&'static str],
    /// Of REST services: how each of them is asked.
    pub routes: &'static [Route],
    /// Codes of errors as the query protocol has them, with the shapes that other protocols name.
    pub query_errors: &'static [(&'static str, &'static str)],
}

/// How a REST service's operation is asked.
#[derive(Debug)]
pub struct Route {
    pub operation: &'static str,
    pub method: &'static str,
    /// `/snapshots/{snapshotId}/blocks`.
    pub path: &'static str,
    /// Of its answer.
    pub status: u16,
    /// Whether clients may leave the body out of the signature.
    pub may_be_unsigned: bool,
}

impl Service {
    /// A JSON service that older clients speak the query protocol to, where its lists and maps are
    /// flat. All of its errors have two names.
    pub fn query_compatible(&self) -> bool {
        matches!(self.protocol, Protocol::Json10 | Protocol::Json11)
            && self.protocols.contains(&Protocol::Query)
    }

    /// The service of botocore's name, if it has shapes here.
    pub fn named(name: &str) -> Option<&'static Service> {
        SERVICES.iter().copied().find(|service| service.name == name)
    }

    /// A REST service's way to one of its operations.
    pub fn route(&self, operation: &str) -> Option<&'static Route> {
        self.routes.iter().find(|route| route.operation == operation)
    }

    /// The first of its protocols that is one of these.
    pub fn speaks(&self, any_of: &[Protocol]) -> Option<Protocol> {
        self.protocols.iter().copied().find(|protocol| any_of.contains(protocol))
    }
}

/// A generated structure: its schema, and its conversion from and to it.
pub trait Shape: Default + Send + Sync + 'static {
    const SCHEMA: &'static schema::Structure;
    fn set(&mut self, member: usize, value: value::Value);
    /// `None`: absent.
    fn get(&self, member: usize) -> Option<value::View<'_>>;
}

/// Milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

pub trait Operation: 'static {
    type Input: Shape;
    type Output: Shape;
    const SERVICE: &'static Service;
    const NAME: &'static str;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Ec2,
    Query,
    Json10,
    Json11,
    RestJson,
    /// Smithy's RPC v2 with CBOR.
    Cbor,
}

/// A request as it came, with its service and operation already named by `route`.
#[derive(Clone, Debug)]
pub struct Request {
    pub service: &'static str,
    pub operation: String,
    pub protocol: Protocol,
    pub method: http::Method,
    pub uri: http::Uri,
    pub headers: http::HeaderMap,
    pub body: bytes::Bytes,
}

#[derive(Clone, Debug)]
pub struct Response {
    pub status: http::StatusCode,
    pub headers: http::HeaderMap,
    pub body: bytes::Bytes,
}

/// An AWS error on its way to the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// As AWS spells it: `InvalidInstanceID.NotFound`, `ResourceNotFoundException`.
    pub code: String,
    pub message: String,
    pub status: u16,
    /// Further members of the error's shape, by name (JSON protocols).
    pub members: BTreeMap<String, serde_json::Value>,
}

impl Error {
    pub fn new(status: u16, code: impl Into<String>, message: impl Into<String>) -> Error {
        Error { code: code.into(), message: message.into(), status, members: BTreeMap::new() }
    }

    /// Adds the members of the error's generated shape (JSON protocols), but for the message.
    pub fn with<S: Shape>(mut self, shape: &S) -> Error {
        let object = json::object(S::SCHEMA, shape);
        let members: BTreeMap<String, serde_json::Value> =
            serde_json::from_slice(&object).expect("the encoder writes JSON objects");
        let more = members.into_iter().filter(|(name, _)| !name.eq_ignore_ascii_case("message"));
        self.members.extend(more);
        self
    }
}

/// The typed input, or AWS's error for what is unknown, missing or out of range.
pub fn decode<O: Operation>(request: &Request) -> Result<O::Input, Error> {
    let schema = O::Input::SCHEMA;
    let value = match request.protocol {
        Protocol::Ec2 | Protocol::Query => query::decode(O::SERVICE, request, schema)?,
        Protocol::Json10 | Protocol::Json11 => json::decode(&request.body, schema)?,
        Protocol::RestJson => rest_json::decode(O::SERVICE, request, schema)?,
        Protocol::Cbor => cbor::decode(&request.body, schema)?,
    };
    if O::SERVICE.query_compatible() {
        compatible::check(schema, &value)?;
    }
    check::check(request.protocol, schema, &value)?;
    Ok(value::shape(value))
}

/// The answer in the request's protocol.
pub fn encode<O: Operation>(request: &Request, output: &O::Output, request_id: &str) -> Response {
    let schema = O::Output::SCHEMA;
    match request.protocol {
        protocol @ (Protocol::Ec2 | Protocol::Query) => {
            query::encode(O::SERVICE, protocol, O::NAME, schema, output, request_id)
        }
        protocol @ (Protocol::Json10 | Protocol::Json11) => {
            json::encode(protocol, schema, output, request_id)
        }
        Protocol::RestJson => {
            let status = O::SERVICE.route(O::NAME).map_or(200, |route| route.status);
            rest_json::encode(status, schema, output, request_id)
        }
        Protocol::Cbor => cbor::encode(schema, output, request_id),
    }
}

/// The error in the given protocol; `service` where it is known.
pub fn encode_error(
    service: Option<&Service>,
    protocol: Protocol,
    error: &Error,
    request_id: &str,
) -> Response {
    let query_errors = service.map_or(&[][..], |service| service.query_errors);
    let both =
        query_errors.iter().find(|(code, shape)| error.code == *code || error.code == *shape);
    if let Some((code, shape)) = both {
        let query = matches!(protocol, Protocol::Ec2 | Protocol::Query);
        let spelled = if query { code } else { shape };
        let error = Error { code: (*spelled).to_owned(), ..error.clone() };
        let mut response = encode_plain_error(service, protocol, &error, request_id);
        if !query {
            let fault = if error.status < 500 { "Sender" } else { "Receiver" };
            let value = http::HeaderValue::from_str(&format!("{code};{fault}"));
            response.headers.insert("x-amzn-query-error", value.expect("codes are plain text"));
        }
        return response;
    }
    encode_plain_error(service, protocol, error, request_id)
}

fn encode_plain_error(
    service: Option<&Service>,
    protocol: Protocol,
    error: &Error,
    request_id: &str,
) -> Response {
    match protocol {
        Protocol::Ec2 | Protocol::Query => {
            let namespace = service.and_then(|service| service.xml_namespace);
            match service {
                Some(service) if service.query_compatible() => {
                    let code = compatible::query_code(&error.code).to_owned();
                    let error = Error { code, ..error.clone() };
                    query::error(namespace, protocol, &error, request_id)
                }
                _ => query::error(namespace, protocol, error, request_id),
            }
        }
        Protocol::Json10 | Protocol::Json11
            if service.is_some_and(|service| service.query_compatible()) =>
        {
            let prefix = compatible::prefix(&error.code);
            let mut response = json::error(prefix, protocol, error, request_id);
            compatible::name(&mut response, error);
            response
        }
        Protocol::RestJson => rest_json::error(error, request_id),
        Protocol::Cbor => cbor::error(error, request_id),
        Protocol::Json10 | Protocol::Json11 => {
            let dynamodb = service.is_some_and(|service| service.name == "dynamodb");
            let prefix = match error.code.as_str() {
                "ValidationException" if dynamodb => "com.amazon.coral.validate#",
                "SerializationException" | "UnknownOperationException" if dynamodb => {
                    "com.amazon.coral.service#"
                }
                _ if dynamodb => "com.amazonaws.dynamodb.v20120810#",
                _ => "",
            };
            json::error(prefix, protocol, error, request_id)
        }
    }
}

fn respond(
    status: http::StatusCode,
    content_type: &'static str,
    body: Vec<u8>,
    request_id: &str,
) -> Response {
    let mut headers = http::HeaderMap::with_capacity(4);
    headers.insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static(content_type));
    if let Ok(id) = http::HeaderValue::from_str(request_id) {
        headers.insert("x-amzn-requestid", id);
    }
    Response { status, headers, body: body.into() }
}
