//! Parameters to a value, by the schema.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use super::params::{Node, TooDeep, tree};
use crate::schema::{List, Map, Structure, Type};
use crate::value::Value;
use crate::{Error, Protocol, Request, Service, time};

pub fn decode(service: &Service, request: &Request, schema: &Structure) -> Result<Value, Error> {
    let ec2 = request.protocol == Protocol::Ec2;
    let decoder = Decoder { ec2, flat: ec2 || service.query_compatible() };
    let mut root = tree(request).map_err(|TooDeep(name)| decoder.unknown(&name))?;
    if service.query_compatible()
        && schema.members.iter().any(|member| member.name == "QueueUrl")
        && request.uri.path() != "/"
    {
        // What is sent to a queue's own address need not name it again.
        let address = Node { value: Some(request.uri.path().to_owned()), ..Node::default() };
        root.children.entry("QueueUrl".to_owned()).or_insert(address);
    }
    decoder.structure(schema, root.children, "")
}

struct Decoder {
    ec2: bool,
    /// Nothing stands between the name of a list or map and the numbers of its entries.
    flat: bool,
}

impl Decoder {
    fn structure(
        &self,
        schema: &Structure,
        mut children: BTreeMap<String, Node>,
        path: &str,
    ) -> Result<Value, Error> {
        let mut members = Vec::with_capacity(children.len());
        for (index, member) in schema.members.iter().enumerate() {
            if let Some(node) = children.remove(member.request) {
                let path = join(path, member.request);
                members.push((index, self.value(&member.ty, node, &path)?));
            }
        }
        match children.into_iter().next() {
            Some((name, node)) => Err(self.unknown(&deepest(join(path, &name), &node))),
            None => Ok(Value::Structure(members)),
        }
    }

    fn value(&self, ty: &Type, node: Node, path: &str) -> Result<Value, Error> {
        match ty {
            Type::Structure(schema) => match node.value {
                Some(text) if !text.is_empty() => Err(self.ill_typed(path, &text, "structure")),
                _ => self.structure(schema, node.children, path),
            },
            Type::List(list) => self.list(list, node, path),
            Type::Map(map) => self.map(map, node, path),
            scalar => {
                if let Some((name, inner)) = node.children.iter().next() {
                    return Err(self.unknown(&deepest(join(path, name), inner)));
                }
                let text = node.value.unwrap_or_default();
                self.scalar(scalar, text, path)
            }
        }
    }

    fn scalar(&self, ty: &Type, text: String, path: &str) -> Result<Value, Error> {
        let value = match ty {
            Type::Integer(_) => {
                text.trim().parse::<i32>().ok().map(|n| Value::Integer(i64::from(n)))
            }
            Type::Long(_) => text.trim().parse().ok().map(Value::Integer),
            Type::Float(_) | Type::Double(_) => {
                text.trim().parse().ok().filter(|n: &f64| n.is_finite()).map(Value::Double)
            }
            Type::Boolean if text.eq_ignore_ascii_case("true") => Some(Value::Boolean(true)),
            Type::Boolean if text.eq_ignore_ascii_case("false") => Some(Value::Boolean(false)),
            Type::Timestamp => time::parse(&text).map(Value::Timestamp),
            Type::Blob(_) => STANDARD.decode(&text).ok().map(|b| Value::Blob(Bytes::from(b))),
            Type::String(_) => return Ok(Value::String(text)),
            _ => None,
        };
        value.ok_or_else(|| self.ill_typed(path, &text, name(ty)))
    }

    fn list(&self, list: &List, node: Node, path: &str) -> Result<Value, Error> {
        if self.flat {
            return self.items(list, node, path);
        }
        let mut children = node.children;
        let items = children.remove(list.item_name);
        if let Some((name, inner)) = children.into_iter().next() {
            return Err(self.unknown(&deepest(join(path, &name), &inner)));
        }
        match items {
            Some(items) => self.items(list, items, &join(path, list.item_name)),
            // Clients write an empty list as `Name=`.
            None => self.items(list, Node { value: node.value, ..Node::default() }, path),
        }
    }

    fn items(&self, list: &List, node: Node, path: &str) -> Result<Value, Error> {
        if let Some(text) = node.value.filter(|text| !text.is_empty()) {
            return Err(self.ill_typed(path, &text, "list"));
        }
        let items = self.numbered(node.children, path)?.into_iter();
        let items =
            items.map(|(n, node)| self.value(&list.item, node, &join(path, &n.to_string())));
        Ok(Value::List(items.collect::<Result<_, _>>()?))
    }

    fn map(&self, map: &Map, node: Node, path: &str) -> Result<Value, Error> {
        if self.flat {
            return self.entries(map, node, path, &["Name", "Key"], "Value");
        }
        let mut children = node.children;
        let entries = children.remove("entry").unwrap_or_default();
        if let Some((name, inner)) = children.into_iter().next() {
            return Err(self.unknown(&deepest(join(path, &name), &inner)));
        }
        self.entries(map, entries, &join(path, "entry"), &["key"], "value")
    }

    fn entries(
        &self,
        map: &Map,
        entries: Node,
        path: &str,
        key_names: &[&str],
        value_name: &str,
    ) -> Result<Value, Error> {
        let mut pairs = Vec::new();
        for (n, entry) in self.numbered(entries.children, path)? {
            let path = join(path, &n.to_string());
            let mut children = entry.children;
            let key = key_names.iter().find_map(|name| children.remove(*name));
            let key = key.and_then(|key| key.value);
            let value = children.remove(value_name);
            if let Some((name, inner)) = children.into_iter().next() {
                return Err(self.unknown(&deepest(join(&path, &name), &inner)));
            }
            let Some((key, value)) = key.zip(value) else {
                return Err(self.ill_typed(&path, "", "map entry"));
            };
            pairs.push((key, self.value(&map.value, value, &join(&path, value_name))?));
        }
        Ok(Value::Map(pairs))
    }

    /// Children by their number; gaps are allowed.
    fn numbered(
        &self,
        children: BTreeMap<String, Node>,
        path: &str,
    ) -> Result<BTreeMap<u32, Node>, Error> {
        let mut numbered = BTreeMap::new();
        for (name, node) in children {
            match name.parse::<u32>() {
                Ok(n) if name.bytes().all(|b| b.is_ascii_digit()) => numbered.insert(n, node),
                _ => return Err(self.unknown(&deepest(join(path, &name), &node))),
            };
        }
        Ok(numbered)
    }

    fn unknown(&self, path: &str) -> Error {
        if self.ec2 {
            let message = format!("The parameter {path} is not recognized");
            Error::new(400, "UnknownParameter", message)
        } else {
            Error::new(400, "ValidationError", format!("The parameter {path} is not recognized"))
        }
    }

    fn ill_typed(&self, path: &str, text: &str, wanted: &str) -> Error {
        if self.ec2 {
            let message =
                format!("Value ({text}) for parameter {path} is invalid. Expecting a {wanted}.");
            Error::new(400, "InvalidParameterValue", message)
        } else {
            let message = format!("{path}: '{text}' can not be converted to a {wanted}");
            Error::new(400, "MalformedInput", message)
        }
    }
}

fn name(ty: &Type) -> &'static str {
    match ty {
        Type::String(_) => "string",
        Type::Integer(_) => "32 bit integer",
        Type::Long(_) => "64 bit integer",
        Type::Float(_) | Type::Double(_) => "number",
        Type::Boolean => "boolean",
        Type::Timestamp => "timestamp",
        Type::Blob(_) => "base64 text",
        Type::List(_) => "list",
        Type::Map(_) => "map",
        Type::Structure(_) => "structure",
    }
}

fn join(path: &str, step: &str) -> String {
    if path.is_empty() { step.to_owned() } else { format!("{path}.{step}") }
}

/// The whole name of the first parameter at or below `node`.
fn deepest(mut path: String, mut node: &Node) -> String {
    while node.value.is_none() {
        let Some((step, inner)) = node.children.iter().next() else { break };
        path = join(&path, step);
        node = inner;
    }
    path
}
