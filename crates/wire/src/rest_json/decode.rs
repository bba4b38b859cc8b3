//! A request's path, query, headers and body to a value, by the schema.

use crate::query::params;
use crate::schema::{Place, Structure, Type};
use crate::value::Value;
use crate::{Error, Request, Service, json};

pub fn decode(
    service: &Service,
    request: &Request,
    schema: &'static Structure,
) -> Result<Value, Error> {
    let template = service.route(&request.operation).map_or("", |route| route.path);
    let labels = labels(template, request.uri.path()).unwrap_or_default();
    let query = request.uri.query().unwrap_or_default().as_bytes();
    let query: Vec<(String, String)> = params::pairs(query)
        .filter(|(name, _)| !name.get(..6).is_some_and(|p| p.eq_ignore_ascii_case("x-amz-")))
        .collect();
    if let Some((name, _)) = query.iter().find(|(name, _)| !is_asked(schema, name)) {
        return Err(json::unknown_member(name));
    }

    let has_payload = schema.members.iter().any(|member| member.place == Place::Payload);
    let mut members = match has_payload {
        true => vec![],
        false => match json::document(&request.body, schema)? {
            Value::Structure(members) => members,
            other => unreachable!("{other:?} is not a structure"),
        },
    };
    for (index, member) in schema.members.iter().enumerate() {
        let named = |pairs: &[(String, String)]| {
            pairs.iter().find(|(name, _)| name == member.request).map(|(_, text)| text.clone())
        };
        let text = match member.place {
            Place::Document => continue,
            Place::Payload => {
                if member.required || !request.body.is_empty() {
                    members.push((index, payload(&member.ty, request)?));
                }
                continue;
            }
            Place::Path => named(&labels),
            // Each of them on its own: `?tagKeys=a&tagKeys=b`.
            Place::Query if matches!(member.ty, Type::List(_)) => {
                let own = query.iter().filter(|(name, _)| name == member.request);
                let words: Vec<Value> = own.map(|(_, text)| Value::String(text.clone())).collect();
                if !words.is_empty() {
                    members.push((index, Value::List(words)));
                }
                continue;
            }
            Place::Query => named(&query),
            Place::Header => request
                .headers
                .get(member.request)
                .map(|value| String::from_utf8_lossy(value.as_bytes()).trim().to_owned()),
        };
        if let Some(text) = text {
            members.push((index, scalar(&member.ty, text)?));
        }
    }
    Ok(Value::Structure(members))
}

/// What the path has for each label of its template; `None` when it is no such path. `{name+}` takes
/// several steps.
pub fn labels(template: &str, path: &str) -> Option<Vec<(String, String)>> {
    let mut steps = path.strip_prefix('/')?.split('/');
    let mut labels = Vec::new();
    for wanted in template.strip_prefix('/')?.split('/') {
        let step = steps.next()?;
        let Some(label) = wanted.strip_prefix('{').and_then(|label| label.strip_suffix('}')) else {
            if step != wanted {
                return None;
            }
            continue;
        };
        if step.is_empty() {
            return None;
        }
        match label.strip_suffix('+') {
            Some(label) => {
                let all: Vec<&str> = std::iter::once(step).chain(steps.by_ref()).collect();
                labels.push((label.to_owned(), decoded(&all.join("/"))));
            }
            None => labels.push((label.to_owned(), decoded(step))),
        }
    }
    steps.next().is_none().then_some(labels)
}

fn decoded(step: &str) -> String {
    params::percent_decode(step.as_bytes(), false)
}

fn is_asked(schema: &Structure, name: &str) -> bool {
    schema.members.iter().any(|member| member.place == Place::Query && member.request == name)
}

fn payload(ty: &Type, request: &Request) -> Result<Value, Error> {
    match ty {
        Type::Structure(schema) => json::decode(&request.body, schema),
        _ => Ok(Value::Blob(request.body.clone())),
    }
}

fn scalar(ty: &Type, text: String) -> Result<Value, Error> {
    let (value, wanted) = match ty {
        Type::String(_) => return Ok(Value::String(text)),
        Type::Integer(_) => {
            (text.parse::<i32>().ok().map(|n| Value::Integer(i64::from(n))), "an Integer")
        }
        Type::Long(_) => (text.parse().ok().map(Value::Integer), "a Long"),
        Type::Float(_) | Type::Double(_) => {
            (text.parse().ok().filter(|n: &f64| n.is_finite()).map(Value::Double), "a Double")
        }
        Type::Boolean => (text.parse().ok().map(Value::Boolean), "a Boolean"),
        _ => unreachable!("the generator lets nothing else out of the document"),
    };
    value.ok_or_else(|| {
        let message = format!("'{text}' can not be converted to {wanted}");
        Error::new(400, "SerializationException", message)
    })
}
