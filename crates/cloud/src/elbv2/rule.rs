//! What a rule may say: conditions and actions as requested, checked against AWS's limits
//! ("Listener rules for your Application Load Balancer"). Pure; whether target groups exist is not
//! asked here.

use std::net::Ipv4Addr;

use super::error::Quota;
use super::model::{Action, Condition};
use super::quota::{CONDITION_VALUES, CONDITION_WILDCARDS, GROUPS_PER_ACTION};
use super::{Error, Result};

const MAX_WEIGHT: i32 = 999;
const MAX_STICKINESS_SECONDS: i32 = 604_800;

/// An action as it was asked for.
#[derive(Clone, Debug, Default)]
pub struct ActionRequest {
    pub kind: String,
    pub order: Option<i32>,
    pub target_group_arn: Option<String>,
    pub forward: Option<ForwardRequest>,
    pub redirect: Option<RedirectRequest>,
    pub fixed_response: Option<FixedResponseRequest>,
}

#[derive(Clone, Debug, Default)]
pub struct ForwardRequest {
    pub groups: Vec<(Option<String>, Option<i32>)>,
    pub stickiness_enabled: Option<bool>,
    pub stickiness_seconds: Option<i32>,
}

#[derive(Clone, Debug, Default)]
pub struct RedirectRequest {
    pub status: String,
    pub protocol: Option<String>,
    pub host: Option<String>,
    pub port: Option<String>,
    pub path: Option<String>,
    pub query: Option<String>,
}

#[derive(Clone, Debug, Default)]
pub struct FixedResponseRequest {
    pub status: String,
    pub content_type: Option<String>,
    pub body: Option<String>,
}

/// A condition as it was asked for: values stand in `values`, or in the member made for the field.
#[derive(Clone, Debug, Default)]
pub struct ConditionRequest {
    pub field: Option<String>,
    pub values: Vec<String>,
    pub host_header: Option<Vec<String>>,
    pub path_pattern: Option<Vec<String>>,
    pub http_header: Option<(Option<String>, Vec<String>)>,
    pub query_string: Option<Vec<(Option<String>, Option<String>)>>,
    pub http_request_method: Option<Vec<String>>,
    pub source_ip: Option<Vec<String>>,
}

/// The one routing action there must be, and its order as given.
pub fn action(requests: &[ActionRequest]) -> Result<(Action, Option<i32>)> {
    let request = match requests {
        [] => return Err(Error::validation("At least one action must be specified")),
        [one] => one,
        many => {
            if let Some(kind) = many.iter().map(|a| &a.kind).find(|kind| !is_routing(kind)) {
                return Err(Error::unsupported(format!("Action type '{kind}'")));
            }
            let message = "Only one forward, redirect or fixed-response action is allowed";
            return Err(Error::TooMany(Quota::Actions, message.to_owned()));
        }
    };
    let members = [
        ("forward", request.forward.is_some() || request.target_group_arn.is_some()),
        ("redirect", request.redirect.is_some()),
        ("fixed-response", request.fixed_response.is_some()),
    ];
    if !is_routing(&request.kind) {
        return Err(Error::unsupported(format!("Action type '{}'", request.kind)));
    }
    for (kind, given) in members {
        if (kind == request.kind) != given {
            return Err(Error::InvalidLoadBalancerAction(format!(
                "An action of type '{}' must have its own configuration and no other",
                request.kind
            )));
        }
    }
    let action = match (&request.redirect, &request.fixed_response) {
        (Some(redirect), _) => self::redirect(redirect)?,
        (_, Some(fixed)) => fixed_response(fixed)?,
        _ => forward(request)?,
    };
    Ok((action, request.order))
}

fn is_routing(kind: &str) -> bool {
    matches!(kind, "forward" | "redirect" | "fixed-response")
}

fn forward(request: &ActionRequest) -> Result<Action> {
    let config = request.forward.clone().unwrap_or_default();
    let mut groups = Vec::new();
    for (arn, weight) in config.groups {
        let arn = arn.ok_or_else(|| Error::validation("A target group ARN must be specified"))?;
        let weight = weight.unwrap_or(1);
        if !(0..=MAX_WEIGHT).contains(&weight) {
            let message =
                format!("Target group weight '{weight}' must be between 0 and {MAX_WEIGHT}");
            return Err(Error::validation(message));
        }
        if groups.iter().any(|(earlier, _)| *earlier == arn) {
            return Err(Error::InvalidLoadBalancerAction(format!(
                "The target group '{arn}' is specified more than once"
            )));
        }
        groups.push((arn, weight as u32));
    }
    match (&request.target_group_arn, groups.as_slice()) {
        (None, []) => return Err(Error::validation("A target group must be specified")),
        (Some(arn), []) => groups.push((arn.clone(), 1)),
        (Some(arn), [(only, _)]) if arn == only => {}
        (None, groups) if groups.len() <= GROUPS_PER_ACTION => {}
        (None, _) => {
            let message =
                format!("An action can forward to at most {GROUPS_PER_ACTION} target groups");
            return Err(Error::TooMany(Quota::TargetGroups, message));
        }
        (Some(_), _) => {
            return Err(Error::InvalidLoadBalancerAction(
                "TargetGroupArn and ForwardConfig name different target groups".to_owned(),
            ));
        }
    }
    let stickiness_seconds = match (config.stickiness_enabled, config.stickiness_seconds) {
        (Some(true), Some(seconds)) if (1..=MAX_STICKINESS_SECONDS).contains(&seconds) => {
            Some(seconds as u32)
        }
        (Some(true), _) => {
            return Err(Error::validation(format!(
                "Stickiness duration must be between 1 and {MAX_STICKINESS_SECONDS} seconds"
            )));
        }
        _ => None,
    };
    Ok(Action::Forward { groups, stickiness_seconds })
}

fn redirect(request: &RedirectRequest) -> Result<Action> {
    let status = match request.status.as_str() {
        "HTTP_301" => 301,
        "HTTP_302" => 302,
        other => {
            return Err(Error::validation(format!("Redirect status code '{other}' is not valid")));
        }
    };
    let or =
        |given: &Option<String>, default: &str| given.clone().unwrap_or_else(|| default.to_owned());
    let protocol = or(&request.protocol, "#{protocol}");
    let host = or(&request.host, "#{host}");
    let port = or(&request.port, "#{port}");
    let path = or(&request.path, "/#{path}");
    let query = or(&request.query, "#{query}");
    if !matches!(protocol.as_str(), "HTTP" | "HTTPS" | "#{protocol}") {
        return Err(Error::validation(format!("Redirect protocol '{protocol}' is not valid")));
    }
    let is_port = port.parse::<u16>().is_ok_and(|port| port > 0);
    if port != "#{port}" && !is_port {
        return Err(Error::validation(format!("Redirect port '{port}' is not valid")));
    }
    if !path.starts_with('/') {
        return Err(Error::validation(format!("Redirect path '{path}' must begin with '/'")));
    }
    for part in [&host, &path, &query] {
        if part.chars().any(|c| c.is_control() || c == ' ') {
            return Err(Error::validation(format!("Redirect part '{part}' is not valid")));
        }
    }
    let same = protocol == "#{protocol}" && host == "#{host}" && port == "#{port}";
    if same && path == "/#{path}" {
        return Err(Error::InvalidLoadBalancerAction(
            "The redirect configuration is not valid because it creates a loop.".to_owned(),
        ));
    }
    Ok(Action::Redirect { status, protocol, host, port, path, query })
}

fn fixed_response(request: &FixedResponseRequest) -> Result<Action> {
    const TYPES: &[&str] =
        &["text/plain", "text/css", "text/html", "application/javascript", "application/json"];
    let status = request.status.parse::<u16>().ok();
    let Some(status) = status.filter(|status| matches!(status / 100, 2 | 4 | 5)) else {
        let message =
            format!("Fixed-response status code '{}' must be 2XX, 4XX or 5XX", request.status);
        return Err(Error::validation(message));
    };
    if let Some(content_type) = &request.content_type
        && !TYPES.contains(&content_type.as_str())
    {
        let message = format!(
            "Fixed-response content type '{content_type}' must be one of '{}'",
            TYPES.join(", ")
        );
        return Err(Error::validation(message));
    }
    Ok(Action::FixedResponse {
        status,
        content_type: request.content_type.clone(),
        body: request.body.clone(),
    })
}

pub fn conditions(requests: &[ConditionRequest]) -> Result<Vec<Condition>> {
    if requests.is_empty() {
        return Err(Error::validation("A rule must have at least one condition"));
    }
    let conditions = requests.iter().map(condition).collect::<Result<Vec<_>>>()?;
    for (n, condition) in conditions.iter().enumerate() {
        let repeatable =
            matches!(condition, Condition::HttpHeader { .. } | Condition::QueryString(_));
        let kind = std::mem::discriminant(condition);
        let again = conditions[..n].iter().any(|other| std::mem::discriminant(other) == kind);
        if again && !repeatable {
            return Err(Error::configuration(format!(
                "A rule can only have one '{}' condition",
                condition.field()
            )));
        }
    }
    let texts: Vec<&str> = conditions.iter().flat_map(Condition::patterns).collect();
    let values: usize = conditions.iter().map(Condition::count).sum();
    if values > CONDITION_VALUES {
        let message = format!("A rule can have at most {CONDITION_VALUES} condition values");
        return Err(Error::configuration(message));
    }
    let wildcards =
        texts.iter().flat_map(|text| text.chars()).filter(|c| "*?".contains(*c)).count();
    if wildcards > CONDITION_WILDCARDS {
        let message = format!("A rule can have at most {CONDITION_WILDCARDS} wildcard characters");
        return Err(Error::configuration(message));
    }
    Ok(conditions)
}

fn condition(request: &ConditionRequest) -> Result<Condition> {
    let field = request.field.as_deref();
    let field = field.ok_or_else(|| Error::validation("A condition field must be specified"))?;
    let members = [
        ("host-header", request.host_header.is_some()),
        ("path-pattern", request.path_pattern.is_some()),
        ("http-header", request.http_header.is_some()),
        ("query-string", request.query_string.is_some()),
        ("http-request-method", request.http_request_method.is_some()),
        ("source-ip", request.source_ip.is_some()),
    ];
    if !members.iter().any(|(name, _)| *name == field) {
        let names: Vec<&str> = members.iter().map(|(name, _)| *name).collect();
        let message = format!("Condition field '{field}' must be one of '[{}]'", names.join(", "));
        return Err(Error::validation(message));
    }
    let plain = !request.values.is_empty();
    let legacy = matches!(field, "host-header" | "path-pattern");
    let foreign = members.iter().any(|(name, given)| *given && *name != field);
    let own = members.iter().any(|(name, given)| *given && *name == field);
    if foreign || (plain && (own || !legacy)) {
        let message =
            format!("The condition '{field}' must have its own configuration and no other");
        return Err(Error::validation(message));
    }
    let texts = |member: &Option<Vec<String>>| -> Result<Vec<String>> {
        let values = member.clone().unwrap_or_else(|| request.values.clone());
        if values.is_empty() { Err(missing_value()) } else { Ok(values) }
    };
    let condition = match field {
        "host-header" => Condition::HostHeader(texts(&request.host_header)?),
        "path-pattern" => Condition::PathPattern(texts(&request.path_pattern)?),
        "http-request-method" => Condition::HttpRequestMethod(texts(&request.http_request_method)?),
        "http-header" => {
            let (name, values) = request.http_header.clone().unwrap_or_default();
            let name =
                name.ok_or_else(|| Error::validation("An HTTP header name must be specified"))?;
            Condition::HttpHeader { name, values: texts(&Some(values))? }
        }
        "query-string" => {
            let pairs = request.query_string.clone().unwrap_or_default();
            let pairs = pairs.into_iter().map(|(key, value)| Some((key, value?)));
            let pairs = pairs.collect::<Option<Vec<_>>>().filter(|pairs| !pairs.is_empty());
            Condition::QueryString(pairs.ok_or_else(missing_value)?)
        }
        _ => {
            let blocks = texts(&request.source_ip)?;
            Condition::SourceIp(blocks.iter().map(|b| block(b)).collect::<Result<_>>()?)
        }
    };
    check_values(&condition)?;
    Ok(condition)
}

fn missing_value() -> Error {
    Error::validation("A condition value must be specified")
}

fn check_values(condition: &Condition) -> Result<()> {
    let alphanumeric = |c: char| c.is_ascii_alphanumeric();
    let (longest, allowed): (usize, Box<dyn Fn(char) -> bool>) = match condition {
        Condition::HostHeader(_) => {
            (128, Box::new(|c| c.is_ascii_alphanumeric() || "-.*?".contains(c)))
        }
        Condition::PathPattern(_) => {
            (128, Box::new(move |c| alphanumeric(c) || "_-.$/~\"'@:+&*?%=,;!()".contains(c)))
        }
        Condition::HttpRequestMethod(_) => {
            (40, Box::new(|c| c.is_ascii_uppercase() || "-_".contains(c)))
        }
        _ => (128, Box::new(|c| !c.is_control())),
    };
    if let Condition::HttpHeader { name, .. } = condition {
        let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        if name.is_empty() || name.len() > 40 || !name.chars().all(token) {
            return Err(Error::validation(format!("HTTP header name '{name}' is not valid")));
        }
    }
    for text in condition.patterns() {
        if text.len() > longest || !text.chars().all(&allowed) {
            let field = condition.field();
            return Err(Error::validation(format!(
                "Condition value '{text}' of '{field}' is not valid"
            )));
        }
    }
    Ok(())
}

fn block(text: &str) -> Result<(Ipv4Addr, u8)> {
    let parsed = text.parse::<crate::ec2::vpc::Cidr>().ok();
    let fits = parsed.filter(|block| *block != crate::ec2::vpc::Cidr::new(Ipv4Addr::BROADCAST, 32));
    fits.map(|block| (block.base, block.prefix))
        .ok_or_else(|| Error::validation(format!("CIDR block '{text}' is not valid")))
}

impl Condition {
    /// AWS's name of the field.
    pub fn field(&self) -> &'static str {
        match self {
            Condition::HostHeader(_) => "host-header",
            Condition::PathPattern(_) => "path-pattern",
            Condition::HttpHeader { .. } => "http-header",
            Condition::HttpRequestMethod(_) => "http-request-method",
            Condition::QueryString(_) => "query-string",
            Condition::SourceIp(_) => "source-ip",
        }
    }

    /// How many values it counts as.
    fn count(&self) -> usize {
        match self {
            Condition::QueryString(pairs) => pairs.len(),
            Condition::SourceIp(blocks) => blocks.len(),
            Condition::HostHeader(values)
            | Condition::PathPattern(values)
            | Condition::HttpRequestMethod(values)
            | Condition::HttpHeader { values, .. } => values.len(),
        }
    }

    /// Every text in it that is compared with a request.
    fn patterns(&self) -> Vec<&str> {
        match self {
            Condition::QueryString(pairs) => pairs
                .iter()
                .flat_map(|(key, value)| key.as_deref().into_iter().chain([value.as_str()]))
                .collect(),
            Condition::SourceIp(_) => vec![],
            Condition::HostHeader(values)
            | Condition::PathPattern(values)
            | Condition::HttpRequestMethod(values)
            | Condition::HttpHeader { values, .. } => values.iter().map(String::as_str).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(values: &[&str]) -> Vec<String> {
        values.iter().map(|v| v.to_string()).collect()
    }

    fn plain(field: &str, values: &[&str]) -> ConditionRequest {
        let field = Some(field.to_owned());
        ConditionRequest { field, values: strings(values), ..ConditionRequest::default() }
    }

    #[test]
    fn conditions_by_table() {
        let configured = |methods: &[&str]| ConditionRequest {
            http_request_method: Some(strings(methods)),
            ..plain("http-request-method", &[])
        };
        let source = |blocks: &[&str]| ConditionRequest {
            source_ip: Some(strings(blocks)),
            ..plain("source-ip", &[])
        };
        let header = |name: &str| ConditionRequest {
            http_header: Some((Some(name.to_owned()), strings(&["*Chrome*"]))),
            ..plain("http-header", &[])
        };
        let query = ConditionRequest {
            query_string: Some(vec![(None, Some("*x*".to_owned()))]),
            ..plain("query-string", &[])
        };
        let path = |values: &[&str]| plain("path-pattern", values);
        let validation = Some("ValidationError");
        let configuration = Some("InvalidConfigurationRequest");
        for (requests, code) in [
            (vec![path(&["/a/*"])], None),
            (vec![path(&["/a/*"]), plain("host-header", &["*.example.com"])], None),
            (vec![], validation),
            (vec![path(&[])], validation),
            (vec![path(&["/a b"])], validation),
            (vec![path(&["/1", "/2", "/3", "/4", "/5", "/6"])], configuration),
            (vec![path(&["/*/*/*/*", "/*/*/*"])], configuration),
            (vec![path(&["/1"]), path(&["/2"])], configuration),
            (vec![plain("colour", &["red"])], validation),
            (vec![plain("source-ip", &["10.0.0.0/8"])], validation),
            (vec![source(&["10.0.0.0/8"])], None),
            (vec![source(&["10.0.0.1/8"])], validation),
            (vec![configured(&["GET", "HEAD"])], None),
            (vec![configured(&["get"])], validation),
            (vec![header("User-Agent"), header("Accept")], None),
            (vec![header("User Agent")], validation),
            (vec![query.clone(), query], None),
        ] {
            let got = conditions(&requests).err().map(|e| e.code());
            assert_eq!(got, code, "{requests:?}");
        }
    }

    #[test]
    fn actions_by_table() {
        let base = |kind: &str| ActionRequest { kind: kind.to_owned(), ..Default::default() };
        let to =
            |arn: &str| ActionRequest { target_group_arn: Some(arn.to_owned()), ..base("forward") };
        let weighted = |groups: &[(&str, i32)], sticky: Option<i32>| ActionRequest {
            forward: Some(ForwardRequest {
                groups: groups.iter().map(|(a, w)| (Some(a.to_string()), Some(*w))).collect(),
                stickiness_enabled: sticky.map(|_| true),
                stickiness_seconds: sticky,
            }),
            ..base("forward")
        };
        let redirect = |status: &str, host: Option<&str>| ActionRequest {
            redirect: Some(RedirectRequest {
                status: status.to_owned(),
                host: host.map(str::to_owned),
                ..Default::default()
            }),
            ..base("redirect")
        };
        let fixed = |status: &str, content_type: &str| ActionRequest {
            fixed_response: Some(FixedResponseRequest {
                status: status.to_owned(),
                content_type: Some(content_type.to_owned()),
                body: None,
            }),
            ..base("fixed-response")
        };
        let validation = Some("ValidationError");
        let invalid = Some("InvalidLoadBalancerAction");
        for (requests, code) in [
            (vec![to("a")], None),
            (vec![], validation),
            (vec![base("forward")], invalid),
            (vec![to("a"), to("b")], Some("TooManyActions")),
            (vec![base("authenticate-oidc"), to("a")], Some("InvalidConfigurationRequest")),
            (vec![weighted(&[("a", 1), ("b", 999)], Some(60))], None),
            (vec![weighted(&[("a", 1000)], None)], validation),
            (vec![weighted(&[("a", 1), ("a", 1)], None)], invalid),
            (vec![weighted(&[("a", 1)], Some(0))], validation),
            (
                vec![weighted(&[("a", 1), ("b", 1), ("c", 1), ("d", 1), ("e", 1), ("f", 1)], None)],
                Some("TooManyTargetGroups"),
            ),
            (vec![redirect("HTTP_301", Some("example.com"))], None),
            (vec![redirect("HTTP_301", None)], invalid),
            (vec![redirect("HTTP_307", Some("example.com"))], validation),
            (vec![fixed("503", "text/plain")], None),
            (vec![fixed("301", "text/plain")], validation),
            (vec![fixed("200", "image/png")], validation),
        ] {
            let got = action(&requests).err().map(|e| e.code());
            assert_eq!(got, code, "{requests:?}");
        }
    }
}
