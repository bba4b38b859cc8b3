//! Every operation of the table is asked about: who has no policy may call none, who may do all of a
//! service is let through to each.

use serde_json::{Map, Value, json};
use wire::schema::{Place, Structure, Text, Type};

use super::*;

const ROLE: &str = "arn:aws:iam::123456789012:role/assumed";

/// Everybody may call these.
const FREE: &[(&str, &str)] = &[("sts", "GetCallerIdentity"), ("sts", "GetSessionToken")];

/// As few members as the model lets a request have.
fn request(entry: &Entry) -> wire::Request {
    let service = wire::Service::named(entry.service).unwrap();
    let body = match service.protocol {
        protocol @ (wire::Protocol::Ec2 | wire::Protocol::Query) => {
            let mut form = Vec::new();
            flatten(&document(entry.input), entry.input, protocol, "", &mut form);
            form.join("&")
        }
        wire::Protocol::RestJson => return rest(service, entry),
        _ => document(entry.input).to_string(),
    };
    wire::Request {
        service: service.name,
        operation: entry.operation.to_owned(),
        protocol: spoken(service),
        method: http::Method::POST,
        uri: "/".parse().unwrap(),
        headers: http::HeaderMap::new(),
        body: body.into(),
    }
}

/// JSON where the service speaks it beside CBOR.
fn spoken(service: &wire::Service) -> wire::Protocol {
    let json = service.speaks(&[wire::Protocol::Json10, wire::Protocol::Json11]);
    json.unwrap_or(service.protocol)
}

/// With its members where a REST service wants them.
fn rest(service: &'static wire::Service, entry: &Entry) -> wire::Request {
    let route = service.route(entry.operation).unwrap();
    let (mut path, mut query) = (route.path.to_owned(), Vec::new());
    let (mut headers, mut members) = (http::HeaderMap::new(), Map::new());
    let mut body = None;
    for member in entry.input.members.iter().filter(|member| member.required) {
        let value = sample(member.name, &member.ty);
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        match member.place {
            Place::Path => path = path.replace(&format!("{{{}}}", member.request), &text),
            Place::Query => query.push(format!("{}={text}", member.request)),
            Place::Header => {
                let name: http::HeaderName = member.request.parse().unwrap();
                headers.insert(name, text.parse().unwrap());
            }
            Place::Payload => body = Some(text),
            Place::Document => {
                members.insert(member.name.to_owned(), value);
            }
        }
    }
    wire::Request {
        service: service.name,
        operation: entry.operation.to_owned(),
        protocol: service.protocol,
        method: route.method.parse().unwrap(),
        uri: format!("{path}?{}", query.join("&")).parse().unwrap(),
        headers,
        body: body.unwrap_or_else(|| Value::Object(members).to_string()).into(),
    }
}

fn document(schema: &Structure) -> Value {
    let required = schema.members.iter().filter(|member| member.required);
    Value::Object(required.map(|m| (m.name.to_owned(), sample(m.name, &m.ty))).collect())
}

fn sample(name: &str, ty: &Type) -> Value {
    match ty {
        Type::String(text) => json!(word(name, text)),
        Type::Integer(range) | Type::Long(range) => json!(range.min.unwrap_or(1).max(1)),
        Type::Float(_) | Type::Double(_) => json!(1.0),
        Type::Boolean => json!(true),
        Type::Timestamp => json!(1_767_225_600),
        Type::Blob(_) => json!("YWFhYQ=="),
        Type::List(list) => {
            (0..list.min.unwrap_or(1).max(1)).map(|_| sample(name, &list.item)).collect()
        }
        Type::Map(map) => {
            let mut all = Map::new();
            all.insert(word(name, map.key), sample(name, &map.value));
            Value::Object(all)
        }
        Type::Structure(schema) => match document(schema) {
            Value::Object(members) if members.is_empty() => {
                // One of its members, since an empty structure is not written in a form.
                let mut scalars = schema.members.iter();
                let first = scalars.find(|m| matches!(m.ty, Type::String(_) | Type::Boolean));
                let first = first.or_else(|| {
                    let mut members = schema.members.iter();
                    members.find(|m| matches!(m.ty, Type::Structure(_)))
                });
                first.map(|m| json!({m.name: sample(m.name, &m.ty)})).unwrap_or(json!({}))
            }
            made => made,
        },
    }
}

/// One that the model allows at that member.
fn word(name: &str, text: &Text) -> String {
    if let Some(first) = text.values.first() {
        return (*first).to_owned();
    }
    let policy = allow("s3:*", "*");
    let known = match name {
        "RoleArn" => ROLE,
        "PolicyDocument" | "AssumeRolePolicyDocument" | "PolicyInputList" => &policy,
        _ => "aaaa",
    };
    let long = "a".repeat(100);
    let words = [
        known,
        "2026-01-01",
        "snap-0123456789abcdef0",
        "v1",
        "aaaaaaaaaaaaaaaaaaaaaaaa",
        "1",
        "123456789012",
        ROLE,
        "i-0123456789abcdef0",
        "00000000-0000-4000-8000-000000000000",
        &long,
    ];
    let fits = |word: &&&str| {
        let length = word.len() as u64;
        text.min.is_none_or(|min| length >= min)
            && text.max.is_none_or(|max| length <= max)
            && text.pattern.as_ref().is_none_or(|pattern| pattern.matches(word))
    };
    let found = words.iter().find(fits).unwrap_or_else(|| panic!("no word for {name}: {text:?}"));
    (*found).to_owned()
}

/// As the query protocols write it.
fn flatten(
    value: &Value,
    schema: &Structure,
    protocol: wire::Protocol,
    path: &str,
    form: &mut Vec<String>,
) {
    for member in schema.members {
        if let Some(value) = value.get(member.name) {
            one(value, &member.ty, protocol, &format!("{path}{}", member.request), form);
        }
    }
}

fn one(value: &Value, ty: &Type, protocol: wire::Protocol, path: &str, form: &mut Vec<String>) {
    match ty {
        Type::Structure(schema) => flatten(value, schema, protocol, &format!("{path}."), form),
        Type::List(list) => {
            let path = match protocol {
                wire::Protocol::Ec2 => path.to_owned(),
                _ => format!("{path}.{}", list.item_name),
            };
            for (at, item) in value.as_array().unwrap().iter().enumerate() {
                one(item, &list.item, protocol, &format!("{path}.{}", at + 1), form);
            }
        }
        Type::Timestamp => form.push(format!("{path}=2026-01-01T00%3A00%3A00Z")),
        _ => {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let text = wire::query::params::percent_encode(text.as_bytes(), false);
            form.push(format!("{path}={text}"));
        }
    }
}

/// Status and code of a call that policies do not allow.
fn denial(protocol: wire::Protocol) -> (u16, &'static str) {
    match protocol {
        wire::Protocol::Ec2 => (403, "UnauthorizedOperation"),
        wire::Protocol::Query => (403, "AccessDenied"),
        wire::Protocol::RestJson => (403, "AccessDeniedException"),
        _ => (400, "AccessDeniedException"),
    }
}

#[tokio::test]
async fn no_operation_is_served_to_whom_no_policy_allows_it() {
    let cloud = Cloud::new();
    let account = json!({"AWS": "arn:aws:iam::123456789012:root"});
    cloud.role("assumed", &account, ALLOW_ALL).await;
    let nobody = cloud.user("nobody", &allow("sns:*", "*")).await;
    let mut may_all = BTreeMap::new();
    let mut wrong: Vec<String> = Vec::new();
    for entry in cloud.table.values() {
        let service = wire::Service::named(entry.service).unwrap();
        if !may_all.contains_key(service.name) {
            // Some calls pass a role on, which is IAM's to allow.
            let all = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow",
                "Action": [format!("{}:*", services::iam_prefix(service)), "iam:PassRole".to_owned()],
                "Resource": "*"}]})
            .to_string();
            may_all.insert(service.name, cloud.user(&format!("all-{}", service.name), &all).await);
        }
        let request = Arc::new(request(entry));
        let (status, code) = denial(spoken(service));
        let refused = |answer: &Result<wire::Response, wire::Error>| {
            answer
                .as_ref()
                .is_err_and(|error| (error.status, error.code.as_str()) == (status, code))
        };
        let mut note = |why: &str, answer: &Result<wire::Response, wire::Error>| {
            let (service, operation) = (entry.service, entry.operation);
            wrong.push(format!("{service} {operation} {why}: {:?} {answer:?}", request.body));
        };
        let answer = (entry.call)(nobody.clone(), Arc::clone(&request)).await;
        if FREE.contains(&(entry.service, entry.operation)) {
            if answer.is_err() {
                note("is not free", &answer);
            }
            continue;
        }
        // A batch of messages asks for what a single one does.
        let single = entry.operation.strip_suffix("Batch").filter(|_| entry.service == "sqs");
        let expected = format!(
            "User: arn:aws:iam::123456789012:user/nobody is not authorized to perform: {}:{} ",
            services::iam_prefix(service),
            single.unwrap_or(entry.operation)
        );
        let named = |error: &wire::Error| error.message.contains(&expected);
        // A transaction asks for each of its actions.
        let parted = entry.operation.starts_with("Transact");
        if !refused(&answer) || !(parted || answer.as_ref().is_err_and(named)) {
            note("is not denied", &answer);
        }
        let user = &may_all[service.name];
        let answer = (entry.call)(user.clone(), Arc::clone(&request)).await;
        if refused(&answer) || answer.as_ref().is_err_and(|error| error.status >= 500) {
            note("is not let through", &answer);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
