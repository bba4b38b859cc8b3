//! Which service and operation a request is for.
//!
//! ```text
//!  smithy-protocol: rpc-v2-cbor              /service/PREFIX/operation/Operation
//!  X-Amz-Target: PREFIX.Operation            json services
//!  the signature's scope is a REST service   its method and path
//!  Action=Operation&Version=…                query services; the signature's scope tells apart those
//!                                            that share a version
//!  neither                                   another service of the signature's scope (S3)
//! ```

use http::{HeaderMap, Method, Uri};

use crate::query::params;
use crate::{Error, Protocol, SERVICES, Service, rest_json};

const QUERY: &[Protocol] = &[Protocol::Ec2, Protocol::Query];
const JSON: &[Protocol] = &[Protocol::Json10, Protocol::Json11];

#[derive(Clone, Debug)]
pub enum Routed {
    /// An operation that AWS has; the caller knows whether it is served (`not_served` if not).
    Operation { service: &'static Service, operation: String, protocol: Protocol },
    /// No service with shapes here; `signing_name` is that of the signature's scope, as `s3`, if any.
    Other { signing_name: Option<String> },
}

/// An error before the operation is known, and the protocol its sender seems to speak.
#[derive(Debug)]
pub struct Refused {
    pub service: Option<&'static Service>,
    pub protocol: Protocol,
    pub error: Error,
}

pub fn route(
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Routed, Refused> {
    if let Some(protocol) = headers.get("smithy-protocol") {
        return by_rpc(method, uri, protocol.as_bytes());
    }
    if let Some(target) = headers.get("x-amz-target") {
        return by_target(&String::from_utf8_lossy(target.as_bytes()), headers);
    }
    let scope = signing_name(uri, headers);
    let rest = |service: &&'static Service| {
        scope.as_deref() == Some(service.signing_name) && !service.routes.is_empty()
    };
    if let Some(service) = SERVICES.iter().copied().find(rest) {
        return by_path(service, method, uri);
    }
    let is_form = headers
        .get(http::header::CONTENT_TYPE)
        .is_some_and(|ty| ty.as_bytes().starts_with(b"application/x-www-form-urlencoded"));
    let of_query_service = scope.as_deref().is_none_or(|scope| {
        SERVICES
            .iter()
            .any(|service| service.signing_name == scope && service.speaks(QUERY).is_some())
    });
    if of_query_service {
        let query = uri.query().unwrap_or_default().as_bytes();
        let body = if is_form { body } else { b"" };
        let (mut action, mut version) = (None, None);
        for (name, value) in params::pairs(query).chain(params::pairs(body)) {
            match name.as_str() {
                "Action" => action = Some(value),
                "Version" => version = Some(value),
                _ => {}
            }
        }
        if action.is_some() || scope.is_some() {
            return by_action(action, version, scope.as_deref());
        }
    }
    Ok(Routed::Other { signing_name: scope })
}

/// AWS's answer for an operation that it has and this cloud has not.
pub fn not_served(protocol: Protocol, operation: &str) -> Error {
    match protocol {
        Protocol::Ec2 => {
            let message = format!("The operation {operation} is not supported by this cloud.");
            Error::new(400, "UnsupportedOperation", message)
        }
        Protocol::Query => {
            let message = format!("The action {operation} is not supported by this cloud.");
            Error::new(400, "InvalidAction", message)
        }
        Protocol::Json10 | Protocol::Json11 | Protocol::Cbor => {
            let message = format!("The operation {operation} is not supported by this cloud.");
            Error::new(400, "UnknownOperationException", message)
        }
        Protocol::RestJson => {
            let message = format!("The operation {operation} is not supported by this cloud.");
            Error::new(404, "UnknownOperationException", message)
        }
    }
}

fn by_rpc(method: &Method, uri: &Uri, protocol: &[u8]) -> Result<Routed, Refused> {
    let path = uri.path();
    let mut steps = path.rsplit('/');
    let (operation, word, prefix, kind) = (steps.next(), steps.next(), steps.next(), steps.next());
    let service = SERVICES.iter().copied().find(|service| {
        service.target_prefix == prefix && service.speaks(&[Protocol::Cbor]).is_some()
    });
    let well_formed = *method == Method::POST
        && protocol == b"rpc-v2-cbor"
        && (kind, word) == (Some("service"), Some("operation"));
    let operation = operation.unwrap_or_default();
    match service {
        Some(service) if well_formed && service.operations.binary_search(&operation).is_ok() => {
            let operation = operation.to_owned();
            Ok(Routed::Operation { service, operation, protocol: Protocol::Cbor })
        }
        _ => Err(unknown(service, Protocol::Cbor, &format!("{method} {path}"))),
    }
}

/// The most literal of the paths that fit.
fn by_path(service: &'static Service, method: &Method, uri: &Uri) -> Result<Routed, Refused> {
    let path = uri.path();
    let fitting = service.routes.iter().filter(|route| {
        route.method == method.as_str() && rest_json::labels(route.path, path).is_some()
    });
    let literal = |path: &str| path.split('/').filter(|step| !step.starts_with('{')).count();
    match fitting.max_by_key(|route| literal(route.path)) {
        Some(route) => {
            let (operation, protocol) = (route.operation.to_owned(), service.protocol);
            Ok(Routed::Operation { service, operation, protocol })
        }
        None => Err(unknown(Some(service), service.protocol, &format!("{method} {path}"))),
    }
}

fn unknown(service: Option<&'static Service>, protocol: Protocol, asked: &str) -> Refused {
    let status = if protocol == Protocol::RestJson { 404 } else { 400 };
    let message = format!("The operation {asked} is not known.");
    Refused { service, protocol, error: Error::new(status, "UnknownOperationException", message) }
}

fn by_target(target: &str, headers: &HeaderMap) -> Result<Routed, Refused> {
    let (prefix, operation) = target.rsplit_once('.').unwrap_or(("", target));
    let service = SERVICES.iter().copied().find(|service| service.target_prefix == Some(prefix));
    let content_type = headers.get(http::header::CONTENT_TYPE).map(|ty| ty.as_bytes());
    let protocol = match (service, content_type) {
        (Some(service), _) => service.speaks(JSON).unwrap_or(service.protocol),
        (None, Some(b"application/x-amz-json-1.0")) => Protocol::Json10,
        _ => Protocol::Json11,
    };
    match service {
        Some(service) if service.operations.binary_search(&operation).is_ok() => {
            Ok(Routed::Operation { service, operation: operation.to_owned(), protocol })
        }
        _ => Err(unknown(service, protocol, target)),
    }
}

fn by_action(
    action: Option<String>,
    version: Option<String>,
    scope: Option<&str>,
) -> Result<Routed, Refused> {
    let of_scope = || {
        let services = SERVICES.iter().copied().filter(|s| s.speaks(QUERY).is_some());
        services.filter(|service| scope.is_none_or(|scope| service.signing_name == scope))
    };
    let of_version =
        || of_scope().filter(|s| version.as_deref().is_none_or(|version| s.api_version == version));
    let spoken = |service: &Service| service.speaks(QUERY).unwrap_or(Protocol::Query);
    let refused = |service: Option<&'static Service>, code: &str, message: String| {
        let protocol = service.map_or(Protocol::Query, spoken);
        Err(Refused { service, protocol, error: Error::new(400, code, message) })
    };
    let Some(action) = action.filter(|action| !action.is_empty()) else {
        let message = "The request must contain the parameter Action".to_owned();
        return refused(of_scope().next(), "MissingAction", message);
    };
    let known =
        |service: &&'static Service| service.operations.binary_search(&action.as_str()).is_ok();
    if let Some(service) = of_version().find(known) {
        let protocol = spoken(service);
        return Ok(Routed::Operation { service, operation: action, protocol });
    }
    match (of_version().next(), version) {
        (Some(service), _) if service.protocol == Protocol::Ec2 => {
            let message = format!("The action {action} is not valid for this web service.");
            refused(Some(service), "InvalidAction", message)
        }
        (Some(service), version) => {
            let version = version.as_deref().unwrap_or(service.api_version);
            let message = format!("Could not find operation {action} for version {version}");
            refused(Some(service), "InvalidAction", message)
        }
        (None, version) => {
            let service = of_scope().next();
            let version = version.unwrap_or_default();
            let message =
                format!("The requested version ({version}) of the service does not exist");
            refused(service, "NoSuchVersion", message)
        }
    }
}

/// Of the credential scope that a signed request names: `AKID/20261123/us-east-1/ec2/aws4_request`.
pub fn signing_name(uri: &Uri, headers: &HeaderMap) -> Option<String> {
    let of_scope = |scope: &str| scope.split('/').rev().nth(1).map(str::to_owned);
    if let Some(authorization) = headers.get(http::header::AUTHORIZATION) {
        let authorization = authorization.to_str().ok()?;
        let after = authorization.split_once("Credential=")?.1;
        return of_scope(after.split([',', ' ']).next()?);
    }
    let mut query = params::pairs(uri.query()?.as_bytes());
    query.find(|(name, _)| name == "X-Amz-Credential").and_then(|(_, scope)| of_scope(&scope))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(uri: &str, headers: &[(&'static str, &str)], body: &str) -> String {
        let (method, uri) = uri.split_once(' ').unwrap_or(("POST", uri));
        let method: Method = method.parse().unwrap();
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        match route(&method, &uri.parse().unwrap(), &map, body.as_bytes()) {
            Ok(Routed::Operation { service, operation, protocol }) => {
                format!("{} {operation} {protocol:?}", service.name)
            }
            Ok(Routed::Other { signing_name }) => format!("other {signing_name:?}"),
            Err(refused) => format!("{:?} {}", refused.protocol, refused.error.code),
        }
    }

    #[test]
    fn names_service_and_operation() {
        let form = ("content-type", "application/x-www-form-urlencoded; charset=utf-8");
        let scope = |name: &str| {
            format!("AWS4-HMAC-SHA256 Credential=test/20261123/us-east-1/{name}/aws4_request, S…")
                .replace('…', "")
        };
        let (ec2, elb, s3) = (scope("ec2"), scope("elasticloadbalancing"), scope("s3"));
        let (ec2, elb, s3) =
            (("authorization", &*ec2), ("authorization", &*elb), ("authorization", &*s3));
        let (ebs, monitoring) = (scope("ebs"), scope("monitoring"));
        let (ebs, monitoring) = (("authorization", &*ebs), ("authorization", &*monitoring));
        let cbor = ("smithy-protocol", "rpc-v2-cbor");
        for (expected, uri, headers, body) in [
            (
                "ec2 RunInstances Ec2",
                "/",
                &[form, ec2][..],
                "Action=RunInstances&Version=2016-11-15",
            ),
            ("ec2 RunInstances Ec2", "/?Action=RunInstances", &[ec2], ""),
            ("Ec2 NoSuchVersion", "/", &[form, ec2], "Action=RunInstances&Version=2012-01-01"),
            ("Ec2 InvalidAction", "/", &[form, ec2], "Action=Fly&Version=2016-11-15"),
            ("Ec2 MissingAction", "/", &[form, ec2], ""),
            (
                "elbv2 DescribeTags Query",
                "/",
                &[form, elb],
                "Action=DescribeTags&Version=2015-12-01",
            ),
            ("Query InvalidAction", "/", &[form, elb], "Action=Fly&Version=2015-12-01"),
            (
                "sts GetCallerIdentity Query",
                "/",
                &[form],
                "Action=GetCallerIdentity&Version=2011-06-15",
            ),
            (
                "dynamodb GetItem Json10",
                "/",
                &[("x-amz-target", "DynamoDB_20120810.GetItem")],
                "{}",
            ),
            ("sqs SendMessage Json10", "/", &[("x-amz-target", "AmazonSQS.SendMessage")], "{}"),
            (
                "sqs SendMessage Query",
                "/123456789012/jobs",
                &[form],
                "Action=SendMessage&Version=2012-11-05",
            ),
            ("Query InvalidAction", "/", &[form], "Action=Fly&Version=2012-11-05"),
            ("Json11 UnknownOperationException", "/", &[("x-amz-target", "AmazonSSM.Fly")], ""),
            ("Json11 UnknownOperationException", "/", &[("x-amz-target", "Nobody.GetItem")], ""),
            ("other Some(\"s3\")", "/bucket/key?Action=x", &[s3], ""),
            ("other Some(\"s3\")", "/b/k?X-Amz-Credential=t%2F1%2Fr%2Fs3%2Faws4_request", &[], ""),
            ("other None", "/favicon.ico", &[], ""),
            ("ebs StartSnapshot RestJson", "/snapshots", &[ebs], "{}"),
            ("ebs PutSnapshotBlock RestJson", "PUT /snapshots/s/blocks/1?x=y", &[ebs], ""),
            ("RestJson UnknownOperationException", "PUT /snapshots/s/blocks/", &[ebs], ""),
            ("RestJson UnknownOperationException", "GET /snapshots", &[ebs], ""),
            (
                "cloudwatch ListMetrics Cbor",
                "/service/GraniteServiceVersion20100801/operation/ListMetrics",
                &[cbor, monitoring],
                "",
            ),
            (
                "cloudwatch ListMetrics Json10",
                "/",
                &[("x-amz-target", "GraniteServiceVersion20100801.ListMetrics"), monitoring],
                "{}",
            ),
            (
                "cloudwatch ListMetrics Query",
                "/",
                &[form, monitoring],
                "Action=ListMetrics&Version=2010-08-01",
            ),
            ("Query InvalidAction", "/", &[form, monitoring], "Action=Fly&Version=2010-08-01"),
            (
                "Cbor UnknownOperationException",
                "/service/AmazonSSM/operation/GetParameter",
                &[cbor],
                "",
            ),
            (
                "Cbor UnknownOperationException",
                "GET /service/GraniteServiceVersion20100801/operation/ListMetrics",
                &[cbor],
                "",
            ),
        ] {
            assert_eq!(ask(uri, headers, body), expected, "{uri} {headers:?} {body}");
        }
    }
}
