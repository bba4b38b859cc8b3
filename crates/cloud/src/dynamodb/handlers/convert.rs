//! Attribute values between the wire and the domain, with the refusals of what can be no value.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use wire::dynamodb as w;

use crate::dynamodb::number::Number;
use crate::dynamodb::value::{Item, Value};
use crate::dynamodb::{Error, Result};

pub fn item(wire: BTreeMap<String, w::AttributeValue>) -> Result<Item> {
    wire.into_iter().map(|(name, value)| Ok((name, self::value(value)?))).collect()
}

pub fn item_out(item: Item) -> BTreeMap<String, w::AttributeValue> {
    item.into_iter().map(|(name, value)| (name, value_out(value))).collect()
}

fn value(wire: w::AttributeValue) -> Result<Value> {
    let w::AttributeValue { b, bool, bs, l, m, n, ns, null, s, ss } = wire;
    let mut found = Vec::with_capacity(1);
    found.extend(b.map(|b| Ok(Value::B(b))));
    found.extend(bool.map(|b| Ok(Value::Bool(b))));
    found.extend(bs.map(|set| set_of("binary", set, |b: &Bytes| Ok(b.clone())).map(Value::Bs)));
    found.extend(l.map(|list| list.into_iter().map(value).collect::<Result<_>>().map(Value::L)));
    found.extend(m.map(|map| item(map).map(Value::M)));
    found.extend(n.map(|n| Ok(Value::N(n.parse()?))));
    found.extend(ns.map(|set| set_of("number", set, |n: &String| Ok(n.parse()?)).map(Value::Ns)));
    found.extend(null.map(|null| match null {
        true => Ok(Value::Null),
        false => Err(Error::parameter("Null attribute value types must have the value of true")),
    }));
    found.extend(s.map(|s| Ok(Value::S(s))));
    found.extend(ss.map(|set| set_of("string", set, |s: &String| Ok(s.clone())).map(Value::Ss)));
    let one = found.pop().ok_or_else(|| {
        Error::validation(
            "Supplied AttributeValue is empty, must contain exactly one of the supported datatypes",
        )
    })?;
    if !found.is_empty() {
        return Err(Error::validation(
            "Supplied AttributeValue has more than one datatypes set, must contain exactly one of \
             the supported datatypes",
        ));
    }
    one
}

fn set_of<W: std::fmt::Debug, T: Ord>(
    kind: &str,
    list: Vec<W>,
    one: impl Fn(&W) -> Result<T>,
) -> Result<BTreeSet<T>> {
    if list.is_empty() {
        return Err(Error::parameter(format!("An {kind} set  may not be empty")));
    }
    let set = list.iter().map(one).collect::<Result<BTreeSet<T>>>()?;
    if set.len() != list.len() {
        return Err(Error::parameter(format!("Input collection {list:?} contains duplicates.")));
    }
    Ok(set)
}

fn value_out(value: Value) -> w::AttributeValue {
    let mut out = w::AttributeValue::default();
    match value {
        Value::S(s) => out.s = Some(s),
        Value::N(n) => out.n = Some(n.to_string()),
        Value::B(b) => out.b = Some(b),
        Value::Ss(set) => out.ss = Some(set.into_iter().collect()),
        Value::Ns(set) => out.ns = Some(set.iter().map(Number::to_string).collect()),
        Value::Bs(set) => out.bs = Some(set.into_iter().collect()),
        Value::M(map) => out.m = Some(item_out(map)),
        Value::L(list) => out.l = Some(list.into_iter().map(value_out).collect()),
        Value::Bool(b) => out.bool = Some(b),
        Value::Null => out.null = Some(true),
    }
    out
}
