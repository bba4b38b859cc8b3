//! Which service and operation a request is for.
//!
//! ```text
//!  X-Amz-Target: PREFIX.Operation            json services
//!  Action=Operation&Version=…                query services; the signature's scope tells apart those
//!                                            that share a version
//!  neither                                   another service of the signature's scope (S3)
//! ```

use http::{HeaderMap, Uri};

use crate::query::params;
use crate::{Error, Protocol, SERVICES, Service};

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

pub fn route(uri: &Uri, headers: &HeaderMap, body: &[u8]) -> Result<Routed, Refused> {
    if let Some(target) = headers.get("x-amz-target") {
        return by_target(&String::from_utf8_lossy(target.as_bytes()), headers);
    }
    let scope = signing_name(uri, headers);
    let is_form = headers
        .get(http::header::CONTENT_TYPE)
        .is_some_and(|ty| ty.as_bytes().starts_with(b"application/x-www-form-urlencoded"));
    let of_query_service = scope.as_deref().is_none_or(|scope| {
        SERVICES.iter().any(|service| service.signing_name == scope && speaks_query(service))
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
pub fn not_served(service: &Service, operation: &str) -> Error {
    match service.protocol {
        Protocol::Ec2 => {
            let message = format!("The operation {operation} is not supported by this cloud.");
            Error::new(400, "UnsupportedOperation", message)
        }
        Protocol::Query => {
            let message = format!("The action {operation} is not supported by this cloud.");
            Error::new(400, "InvalidAction", message)
        }
        Protocol::Json10 | Protocol::Json11 => {
            let message = format!("The operation {operation} is not supported by this cloud.");
            Error::new(400, "UnknownOperationException", message)
        }
    }
}

fn speaks_query(service: &Service) -> bool {
    matches!(service.protocol, Protocol::Ec2 | Protocol::Query)
}

fn by_target(target: &str, headers: &HeaderMap) -> Result<Routed, Refused> {
    let (prefix, operation) = target.rsplit_once('.').unwrap_or(("", target));
    let service = SERVICES.iter().copied().find(|service| service.target_prefix == Some(prefix));
    let content_type = headers.get(http::header::CONTENT_TYPE).map(|ty| ty.as_bytes());
    let protocol = match (service, content_type) {
        (Some(service), _) => service.protocol,
        (None, Some(b"application/x-amz-json-1.0")) => Protocol::Json10,
        _ => Protocol::Json11,
    };
    match service {
        Some(service) if service.operations.binary_search(&operation).is_ok() => {
            Ok(Routed::Operation { service, operation: operation.to_owned(), protocol })
        }
        _ => {
            let message = format!("The operation {target} is not known.");
            let error = Error::new(400, "UnknownOperationException", message);
            Err(Refused { service, protocol, error })
        }
    }
}

fn by_action(
    action: Option<String>,
    version: Option<String>,
    scope: Option<&str>,
) -> Result<Routed, Refused> {
    let of_scope = || {
        let services = SERVICES.iter().copied().filter(|service| speaks_query(service));
        services.filter(|service| scope.is_none_or(|scope| service.signing_name == scope))
    };
    let of_version =
        || of_scope().filter(|s| version.as_deref().is_none_or(|version| s.api_version == version));
    let refused = |service: Option<&'static Service>, code: &str, message: String| {
        let protocol = service.map_or(Protocol::Query, |service| service.protocol);
        Err(Refused { service, protocol, error: Error::new(400, code, message) })
    };
    let Some(action) = action.filter(|action| !action.is_empty()) else {
        let message = "The request must contain the parameter Action".to_owned();
        return refused(of_scope().next(), "MissingAction", message);
    };
    let known =
        |service: &&'static Service| service.operations.binary_search(&action.as_str()).is_ok();
    if let Some(service) = of_version().find(known) {
        let protocol = service.protocol;
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
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        match route(&uri.parse().unwrap(), &map, body.as_bytes()) {
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
            ("Json11 UnknownOperationException", "/", &[("x-amz-target", "AmazonSSM.Fly")], ""),
            ("Json11 UnknownOperationException", "/", &[("x-amz-target", "Nobody.GetItem")], ""),
            ("other Some(\"s3\")", "/bucket/key?Action=x", &[s3], ""),
            ("other Some(\"s3\")", "/b/k?X-Amz-Credential=t%2F1%2Fr%2Fs3%2Faws4_request", &[], ""),
            ("other None", "/favicon.ico", &[], ""),
        ] {
            assert_eq!(ask(uri, headers, body), expected, "{uri} {headers:?} {body}");
        }
    }
}
