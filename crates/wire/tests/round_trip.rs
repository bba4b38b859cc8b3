//! What is encoded decodes to the same, for every operation and protocol, from random values that
//! keep the model's constraints. The client's side of each protocol is written here.

mod operations;

use proptest::prelude::Rng;
use proptest::test_runner::{TestRng, TestRunner};
use quick_xml::events::Event;
use wire::query::params::percent_encode;
use wire::schema::{Map, Place, Structure, Text, Type};
use wire::value::{self, Fields, Value, View};
use wire::{Operation, Protocol, Shape};

const CASES: u32 = 24;

#[test]
fn requests() {
    operations::each_operation!(request);
}

#[test]
fn responses() {
    operations::each_operation!(response);
}

fn request<O: Operation>() {
    O::SERVICE.protocols.iter().for_each(|protocol| request_in::<O>(*protocol));
}

fn request_in<O: Operation>(protocol: Protocol) {
    let xml = matches!(protocol, Protocol::Ec2 | Protocol::Query);
    let mut random = Random::new(xml);
    for _ in 0..CASES {
        let mut value = random.structure(O::Input::SCHEMA, 0);
        if protocol == Protocol::RestJson
            && let Value::Structure(members) = &mut value
        {
            // A query has no empty lists.
            members.retain(|(index, value)| {
                let place = O::Input::SCHEMA.members[*index].place;
                !matches!((place, value), (Place::Query, Value::List(items)) if items.is_empty())
            });
        }
        let input: O::Input = value::shape(value);
        let request = wire_request::<O>(protocol, vec![]);
        let body = if protocol == Protocol::RestJson {
            let request = rest_request::<O>(request, &input);
            let decoded = wire::decode::<O>(&request)
                .unwrap_or_else(|e| panic!("{}: {e:?} of {request:?}", O::NAME));
            same(&decoded, &input, &request.body);
            continue;
        } else if protocol == Protocol::Cbor {
            wire::cbor::object(O::Input::SCHEMA, &input)
        } else if xml {
            let mut form = format!("Action={}&Version={}", O::NAME, O::SERVICE.api_version);
            write_form(
                protocol == Protocol::Ec2 || O::SERVICE.query_compatible(),
                "",
                &Type::Structure(O::Input::SCHEMA),
                View::Structure(&input),
                &mut form,
            );
            form.into_bytes()
        } else {
            wire::json::object(O::Input::SCHEMA, &input)
        };
        let request = wire_request::<O>(protocol, body);
        let decoded = wire::decode::<O>(&request).unwrap_or_else(|e| {
            panic!("{}: {e:?} of {}", O::NAME, String::from_utf8_lossy(&request.body))
        });
        same(&decoded, &input, &request.body);
    }
}

fn response<O: Operation>() {
    O::SERVICE.protocols.iter().for_each(|protocol| response_in::<O>(*protocol));
}

fn response_in<O: Operation>(protocol: Protocol) {
    let mut random = Random::new(false);
    let flat = protocol == Protocol::Query && O::SERVICE.query_compatible();
    for _ in 0..CASES {
        let output = random.structure(O::Output::SCHEMA, 0);
        let output = if flat { without_empties(output) } else { output };
        let output: O::Output = value::shape(output);
        let response = wire::encode::<O>(&wire_request::<O>(protocol, vec![]), &output, "r-1");
        let decoded = match protocol {
            Protocol::Ec2 | Protocol::Query => {
                let root = parse(&response.body);
                assert_eq!(root.name, format!("{}Response", O::NAME));
                let result = format!("{}Result", O::NAME);
                let holder = match protocol {
                    Protocol::Ec2 => Some(&root),
                    _ => root.children.iter().find(|child| child.name == result),
                };
                match holder {
                    Some(holder) => read_xml(flat, &Type::Structure(O::Output::SCHEMA), holder),
                    None => Value::Structure(vec![]),
                }
            }
            Protocol::Json10 | Protocol::Json11 => {
                wire::json::decode(&response.body, O::Output::SCHEMA).unwrap()
            }
            Protocol::Cbor => wire::cbor::decode(&response.body, O::Output::SCHEMA).unwrap(),
            Protocol::RestJson => rest_response(&response, O::Output::SCHEMA, &output),
        };
        same(&value::shape::<O::Output>(decoded), &output, &response.body);
    }
}

/// As botocore spreads members over a REST request.
fn rest_request<O: Operation>(mut request: wire::Request, input: &O::Input) -> wire::Request {
    let schema = O::Input::SCHEMA;
    let route = O::SERVICE.route(O::NAME).unwrap();
    let (mut path, mut query) = (route.path.to_owned(), String::new());
    request.body = wire::json::document_of(schema, input).into();
    for (index, member) in schema.members.iter().enumerate() {
        let Some(view) = input.get(index) else { continue };
        if let (Place::Payload, View::Blob(bytes)) = (member.place, view) {
            request.body = bytes.to_vec().into();
            continue;
        }
        let text = match view {
            View::String(s) => s.to_owned(),
            View::Integer(n) => n.to_string(),
            View::Boolean(on) => on.to_string(),
            View::List(items) if member.place == Place::Query => {
                for at in 0..items.count() {
                    let View::String(word) = items.at(at) else { unreachable!("words only") };
                    let encoded = percent_encode(word.as_bytes(), false);
                    query.push_str(&format!("&{}={encoded}", member.request));
                }
                continue;
            }
            _ => continue,
        };
        let encoded = percent_encode(text.as_bytes(), false);
        match member.place {
            Place::Path => path = path.replace(&format!("{{{}}}", member.request), &encoded),
            Place::Query => query.push_str(&format!("&{}={encoded}", member.request)),
            Place::Header => {
                let name: http::HeaderName = member.request.parse().unwrap();
                request.headers.insert(name, text.parse().unwrap());
            }
            Place::Document | Place::Payload => {}
        }
    }
    request.method = route.method.parse().unwrap();
    request.uri = format!("{path}?{query}").parse().unwrap();
    request
}

/// A body without a byte says nothing of whether the member that it is was there; `sent` does.
fn rest_response(
    response: &wire::Response,
    schema: &'static Structure,
    sent: &dyn Fields,
) -> Value {
    let has_payload = schema.members.iter().any(|member| member.place == Place::Payload);
    let mut members = match has_payload {
        true => vec![],
        false => match wire::json::document(&response.body, schema).unwrap() {
            Value::Structure(members) => members,
            other => panic!("{other:?}"),
        },
    };
    for (index, member) in schema.members.iter().enumerate() {
        let text = response.headers.get(member.request).map(|value| value.to_str().unwrap());
        match (member.place, text, member.ty) {
            (Place::Payload, ..) if sent.field(index).is_some() => {
                members.push((index, Value::Blob(response.body.clone())));
            }
            (Place::Header, Some(text), Type::String(_)) => {
                members.push((index, Value::String(text.to_owned())));
            }
            (Place::Header, Some(text), _) => {
                members.push((index, Value::Integer(text.parse().unwrap())));
            }
            _ => {}
        }
    }
    Value::Structure(members)
}

fn wire_request<O: Operation>(protocol: Protocol, body: Vec<u8>) -> wire::Request {
    wire::Request {
        service: O::SERVICE.name,
        operation: O::NAME.to_owned(),
        protocol,
        method: http::Method::POST,
        uri: "/".parse().unwrap(),
        headers: http::HeaderMap::new(),
        body: body.into(),
    }
}

/// Shapes are compared by their JSON, which names what differs.
fn same<S: Shape>(decoded: &S, expected: &S, text: &[u8]) {
    let json = |shape: &S| String::from_utf8(wire::json::object(S::SCHEMA, shape)).unwrap();
    assert_eq!(json(decoded), json(expected), "{}", String::from_utf8_lossy(text));
}

/// As botocore serialises parameters; `flat` where nothing stands between a list's name and its numbers.
fn write_form(flat: bool, name: &str, ty: &Type, view: View<'_>, form: &mut String) {
    use base64::Engine;
    let join =
        |step: &str| if name.is_empty() { step.to_owned() } else { format!("{name}.{step}") };
    let text = match (ty, view) {
        (Type::Structure(schema), View::Structure(fields)) => {
            for (index, member) in schema.members.iter().enumerate() {
                if let Some(view) = fields.field(index) {
                    write_form(flat, &join(member.request), &member.ty, view, form);
                }
            }
            return;
        }
        (Type::List(list), View::List(items)) => {
            if items.count() == 0 {
                form.push_str(&format!("&{name}="));
            }
            for i in 0..items.count() {
                let step = match flat {
                    true => (i + 1).to_string(),
                    false => format!("{}.{}", list.item_name, i + 1),
                };
                write_form(flat, &join(&step), &list.item, items.at(i), form);
            }
            return;
        }
        (Type::Map(map), View::Map(entries)) => {
            let mut n = 0;
            entries.each(&mut |key, value| {
                n += 1;
                let key = percent_encode(key.as_bytes(), false);
                let (key_name, value_name) = match flat {
                    true => (format!("{n}.Name"), format!("{n}.Value")),
                    false => (format!("entry.{n}.key"), format!("entry.{n}.value")),
                };
                form.push_str(&format!("&{}={key}", join(&key_name)));
                let value_name = join(&value_name);
                write_form(flat, &value_name, &map.value, value, form);
            });
            return;
        }
        (_, View::String(s)) => s.to_owned(),
        (_, View::Integer(n)) => n.to_string(),
        (_, View::Float(n)) => n.to_string(),
        (_, View::Double(n)) => n.to_string(),
        (_, View::Boolean(b)) => b.to_string(),
        (_, View::Timestamp(ms)) => format!("{}", Iso(ms)),
        (_, View::Blob(bytes)) => base64::engine::general_purpose::STANDARD.encode(bytes),
        _ => panic!("{name}: the view is not of its schema's type"),
    };
    form.push_str(&format!("&{name}={}", percent_encode(text.as_bytes(), false)));
}

/// Whole seconds within 1970-01-01 and 02 are enough to tell that the field arrives.
struct Iso(i64);

impl std::fmt::Display for Iso {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (s, ms) = (self.0 / 1000, self.0 % 1000);
        let (day, h, m, s) = (1 + s / 86_400, s / 3600 % 24, s / 60 % 60, s % 60);
        write!(f, "1970-01-{day:02}T{h:02}:{m:02}:{s:02}.{ms:03}Z")
    }
}

struct Element {
    name: String,
    text: String,
    children: Vec<Element>,
}

fn parse(xml: &[u8]) -> Element {
    let mut reader = quick_xml::Reader::from_reader(xml);
    let element = |name: &[u8]| Element {
        name: String::from_utf8(name.to_vec()).unwrap(),
        text: String::new(),
        children: vec![],
    };
    let mut open = vec![element(b"")];
    loop {
        match reader.read_event().unwrap() {
            Event::Start(start) => open.push(element(start.name().as_ref())),
            Event::End(_) => {
                let done = open.pop().unwrap();
                open.last_mut().unwrap().children.push(done);
            }
            Event::Text(text) => open.last_mut().unwrap().text.push_str(&text.decode().unwrap()),
            Event::GeneralRef(name) => {
                let c = match (name.resolve_char_ref().unwrap(), name.as_ref()) {
                    (Some(c), _) => c,
                    (None, b"lt") => '<',
                    (None, b"gt") => '>',
                    (None, b"amp") => '&',
                    (None, b"quot") => '"',
                    (None, other) => panic!("{other:?}"),
                };
                open.last_mut().unwrap().text.push(c);
            }
            Event::Eof => return open.pop().unwrap().children.pop().unwrap(),
            _ => {}
        }
    }
}

/// As clients read answers: what the schema does not know is skipped.
fn read_xml(flat: bool, ty: &Type, element: &Element) -> Value {
    use base64::Engine;
    let text = element.text.as_str();
    match ty {
        Type::Structure(schema) if flat => {
            let members = schema.members.iter().enumerate();
            let members = members.filter_map(|(index, member)| {
                let named = |child: &&Element| child.name == member.request;
                let mut found = element.children.iter().filter(named).peekable();
                found.peek()?;
                let value = match &member.ty {
                    Type::List(list) => {
                        Value::List(found.map(|child| read_xml(flat, &list.item, child)).collect())
                    }
                    Type::Map(map) => {
                        Value::Map(found.map(|child| pair(flat, map, child)).collect())
                    }
                    ty => read_xml(flat, ty, found.next()?),
                };
                Some((index, value))
            });
            Value::Structure(members.collect())
        }
        Type::Structure(schema) => {
            let mut members = Vec::new();
            for child in &element.children {
                let index = schema.members.iter().position(|m| m.response == child.name);
                if let Some(index) = index {
                    members.push((index, read_xml(flat, &schema.members[index].ty, child)));
                }
            }
            Value::Structure(members)
        }
        Type::List(list) => {
            assert!(element.children.iter().all(|child| child.name == list.item_name));
            let items = element.children.iter();
            Value::List(items.map(|child| read_xml(flat, &list.item, child)).collect())
        }
        Type::Map(map) => {
            Value::Map(element.children.iter().map(|entry| pair(flat, map, entry)).collect())
        }
        Type::String(_) => Value::String(text.to_owned()),
        Type::Integer(_) | Type::Long(_) => Value::Integer(text.parse().unwrap()),
        Type::Float(_) | Type::Double(_) => Value::Double(text.parse().unwrap()),
        Type::Boolean => Value::Boolean(text == "true"),
        Type::Timestamp => {
            let (day, clock) = (&text[8..10], &text[11..]);
            let n = |range: std::ops::Range<usize>| clock[range].parse::<i64>().unwrap();
            let days = day.parse::<i64>().unwrap() - 1;
            let seconds = days * 86_400 + n(0..2) * 3600 + n(3..5) * 60 + n(6..8);
            Value::Timestamp(seconds * 1000 + n(9..12))
        }
        Type::Blob(_) => {
            let bytes = base64::engine::general_purpose::STANDARD.decode(text).unwrap();
            Value::Blob(bytes.into())
        }
    }
}

/// An entry of a map: its key, then its value.
fn pair(flat: bool, map: &Map, entry: &Element) -> (String, Value) {
    (entry.children[0].text.clone(), read_xml(flat, &map.value, &entry.children[1]))
}

/// Where lists have no element of their own, an empty one is the same as none.
fn without_empties(value: Value) -> Value {
    let says_something = |value: &Value| match value {
        Value::List(items) => !items.is_empty(),
        Value::Map(entries) => !entries.is_empty(),
        _ => true,
    };
    match value {
        Value::Structure(members) => {
            let members = members.into_iter().map(|(index, value)| (index, without_empties(value)));
            Value::Structure(members.filter(|(_, value)| says_something(value)).collect())
        }
        Value::List(items) => Value::List(items.into_iter().map(without_empties).collect()),
        Value::Map(entries) => {
            let entries = entries.into_iter().map(|(key, value)| (key, without_empties(value)));
            Value::Map(entries.collect())
        }
        other => other,
    }
}

struct Random {
    rng: TestRng,
    /// The query protocols cannot say that a structure without members is there, ec2 not even that of
    /// a list.
    no_empties: bool,
}

impl Random {
    fn new(no_empties: bool) -> Random {
        let mut runner = TestRunner::deterministic();
        Random { rng: runner.new_rng(), no_empties }
    }

    fn below(&mut self, n: usize) -> usize {
        (self.rng.next_u64() % n as u64) as usize
    }

    fn structure(&mut self, schema: &Structure, depth: usize) -> Value {
        let mut members = Vec::new();
        for (index, member) in schema.members.iter().enumerate() {
            let wanted = member.required || self.below(10) < 6usize.saturating_sub(depth);
            if !wanted {
                continue;
            }
            let mut value = self.value(&member.ty, depth + 1);
            while self.no_empties && member.required && nothing(&value) {
                value = self.value(&member.ty, depth + 1);
            }
            if !self.no_empties || member.required || !empty(&value) {
                members.push((index, value));
            }
        }
        Value::Structure(members)
    }

    fn value(&mut self, ty: &Type, depth: usize) -> Value {
        match ty {
            Type::String(text) => Value::String(self.text(text)),
            Type::Integer(range) | Type::Long(range) => {
                let min = range.min.unwrap_or(-5);
                let max = range.max.unwrap_or(min.max(0) + 1000);
                Value::Integer(min + self.below((max - min + 1) as usize) as i64)
            }
            Type::Float(range) | Type::Double(range) => {
                let min = range.min.unwrap_or(-5) as f64;
                Value::Double(min + self.below(64) as f64 / 8.0)
            }
            Type::Boolean => Value::Boolean(self.below(2) == 0),
            Type::Timestamp => Value::Timestamp(self.below(2 * 86_400_000) as i64),
            Type::Blob(_) => {
                let mut bytes = vec![0; self.below(20)];
                self.rng.fill_bytes(&mut bytes);
                Value::Blob(bytes.into())
            }
            Type::List(list) => {
                let count = self.count(list.min, list.max, depth);
                let items = (0..count).map(|_| self.value(&list.item, depth + 1));
                let items: Vec<Value> = items.collect();
                let empties = self.no_empties && items.iter().any(empty);
                Value::List(if empties { vec![] } else { items })
            }
            Type::Map(map) => {
                let count = self.count(map.min, map.max, depth);
                let mut entries = Vec::new();
                for n in 0..count {
                    // Keys differ.
                    let key = format!("{}{n}", self.text(map.key));
                    entries.push((key, self.value(&map.value, depth + 1)));
                }
                Value::Map(entries)
            }
            Type::Structure(schema) => self.structure(schema, depth),
        }
    }

    fn count(&mut self, min: Option<u64>, max: Option<u64>, depth: usize) -> usize {
        let min = min.unwrap_or(0) as usize;
        let most = 3usize.saturating_sub(depth / 2);
        let count = min + self.below(most + 1);
        max.map_or(count, |max| count.min(max as usize))
    }

    fn text(&mut self, text: &Text) -> String {
        if !text.values.is_empty() {
            return text.values[self.below(text.values.len())].to_owned();
        }
        if let Some(pattern) = &text.pattern {
            // One or more for each pattern of the models.
            let samples = [
                "a",
                "abc.1-2_3",
                "200",
                "HTTP",
                "Name",
                "ami-0a1b",
                "0a1b2c3d-0a1b-2c3d-4e5f-0a1b2c3d4e5f",
                "ipam-pool-1",
                "ipv4pool-coip-1",
                "10.0.1.5",
                "us-east-1",
                "v2",
                "2026-01-01",
                "aGFzaA==",
                "snap-0a1b",
                "arn:aws:ec2:us-east-1:123456789012:instance/i-1",
                "arn:aws:billing::123456789012:billingview/primary",
                "1.0",
                "1.0.0",
                "i-0a1b2c3d",
                "us-east-1a",
                "arn:aws:outposts:us-east-1:123456789012:outpost/op-0a1b2c3d4e5f60718",
                "arn:aws:ec2:us-east-1:123456789012:placement-group/a",
                "arn:aws:kms:us-east-1:123456789012:key/1",
                "abc",
                "/a/",
                "123456",
                "123456789012",
                "a long enough text that some of them want, of 60 characters",
                "AllCharactersArePlainHereAndThereAreMany",
            ];
            let long = |s: &str| s.len() as u64 >= text.min.unwrap_or(0);
            let short = |s: &str| s.len() as u64 <= text.max.unwrap_or(u64::MAX);
            let mut fitting: Vec<&str> = samples.to_vec();
            fitting.retain(|s| pattern.matches(s) && long(s) && short(s));
            assert!(!fitting.is_empty(), "no sample for {} ({:?})", pattern.text, text.min);
            return fitting[self.below(fitting.len())].to_owned();
        }
        const ALPHABET: [char; 16] =
            ['a', 'Z', '0', ' ', '&', '<', '>', '"', '\'', '=', '%', '+', '\r', '\n', 'é', '🐑'];
        let min = text.min.unwrap_or(0) as usize;
        let max = text.max.map_or(min + 8, |max| (max as usize).min(min + 8));
        let length = min + self.below(max - min + 1);
        (0..length).map(|_| ALPHABET[self.below(ALPHABET.len())]).collect()
    }
}

/// A structure or map of which a form would not say a word.
fn nothing(value: &Value) -> bool {
    matches!(value, Value::Structure(_) | Value::Map(_)) && empty(value)
}

fn empty(value: &Value) -> bool {
    match value {
        Value::List(items) => items.is_empty() || items.iter().any(empty),
        Value::Map(entries) => entries.is_empty() || entries.iter().any(|(_, value)| empty(value)),
        Value::Structure(members) => members.iter().all(|(_, value)| empty(value)),
        _ => false,
    }
}
