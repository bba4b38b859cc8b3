//! Situations by seed: few names, so that policies often are about what is asked.

use policy::Principal;
use serde_json::{Map, Value, json};

use crate::Situation;

pub const USER: &str = "arn:aws:iam::111122223333:user/ana";
pub const ROLE: &str = "arn:aws:iam::111122223333:role/app";
pub const SESSION: &str = "arn:aws:sts::111122223333:assumed-role/app/i-1";
const ROOT: &str = "arn:aws:iam::111122223333:root";
const SERVICE: &str = "ec2.amazonaws.com";

const ACTIONS: &[&str] = &["s3:GetObject", "S3:putobject", "ec2:RunInstances", "sts:AssumeRole"];
const ACTION_PATTERNS: &[&str] =
    &["*", "s3:*", "s3:Get*", "S3:?ETOBJECT", "ec2:Run*s", "*:*e*", "sts:AssumeRole", "x:y"];
const RESOURCES: &[&str] = &[
    "*",
    "arn:aws:s3:::b",
    "arn:aws:s3:::b/ana/x",
    "arn:aws:s3:::b/a:b",
    "arn:aws:ec2:eu-west-1:111122223333:instance/i-1",
    "arn:aws:ec2:eu:west:1:i",
];
const PIECES: &[&str] = &[
    "*",
    "*",
    "?",
    "eu",
    "-west-1",
    ":",
    "b",
    "/",
    "a",
    "x",
    "instance",
    "i-1",
    "111122223333",
    "${aws:username}",
    "${aws:none, 'b'}",
    "${aws:TagKeys}",
    "${*}",
];
const KEYS: &[&str] = &["aws:username", "AWS:tagKEYS", "aws:x", "aws:none"];
const TEXTS: &[&str] = &[
    "ana",
    "Ana",
    "bob",
    "",
    "*",
    "a*",
    "10",
    "9.5",
    "true",
    "FALSE",
    "2020-01-01T00:00:00Z",
    "1577836800",
    "203.0.113.9",
    "2001:db8::1",
    "arn:aws:iam::1:role/ana",
    "arn:aws:sns:eu:1:t:u",
    "QQ==",
];
const TEXT_PATTERNS: &[&str] = &[
    "ana",
    "ANA",
    "a*",
    "?na",
    "*",
    "${aws:username}",
    "${aws:x, 'bob'}",
    "${*}",
    "",
    "10",
    "arn:aws:iam::*:role/ana",
    "arn:*:*:*:*:*",
    "arn:aws:sns:*:t*",
    "arn:aws:iam::1:role/${aws:username}",
];
const TEXT_OPERATORS: &[&str] = &[
    "StringEquals",
    "StringNotEquals",
    "StringEqualsIgnoreCase",
    "StringNotEqualsIgnoreCase",
    "StringLike",
    "StringNotLike",
    "ArnEquals",
    "ArnLike",
    "ArnNotEquals",
    "ArnNotLike",
];
const TYPED: &[(&[&str], &[&str])] = &[
    (
        &[
            "NumericEquals",
            "NumericNotEquals",
            "NumericLessThan",
            "NumericLessThanEquals",
            "NumericGreaterThan",
            "NumericGreaterThanEquals",
        ],
        &["10", "9.5", "-3", "1577836800"],
    ),
    (
        &[
            "DateEquals",
            "DateNotEquals",
            "DateLessThan",
            "DateLessThanEquals",
            "DateGreaterThan",
            "DateGreaterThanEquals",
        ],
        &["2020-01-01T00:00:00Z", "2019-12-31T23:00:00-01:00", "1577836801", "2019"],
    ),
    (
        &["IpAddress", "NotIpAddress"],
        &["203.0.113.0/24", "203.0.113.9", "2001:db8::/33", "0.0.0.0/0"],
    ),
    (&["Bool"], &["true", "False"]),
    (&["BinaryEquals"], &["QQ==", "QUI="]),
    (&["Null"], &["true", "false"]),
];

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    fn of<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())]
    }

    fn some<T: Copy>(&mut self, items: &[T], least: usize, most: usize) -> Vec<T> {
        let count = least + self.below(most - least + 1);
        (0..count).map(|_| self.of(items)).collect()
    }

    /// One as it is, several in a list.
    fn one_or_many(&mut self, mut items: Vec<String>) -> Value {
        match items.len() {
            1 if self.one_in(2) => Value::String(items.remove(0)),
            _ => json!(items),
        }
    }
}

pub fn situation(seed: u64) -> Situation {
    let mut dice = Dice(seed);
    let trust = dice.one_in(4);
    let policies = |dice: &mut Dice, most: usize| {
        let count = dice.below(most + 1);
        (0..count).map(|_| policy(dice, None)).collect::<Vec<Value>>()
    };
    let principal = match dice.below(10) {
        0..4 => Principal::User { arn: USER.into() },
        4..7 => Principal::Role { role: ROLE.into(), session: SESSION.into() },
        7 => Principal::Root { account: "111122223333".into() },
        8 => Principal::Service { name: SERVICE.into() },
        _ => Principal::Anonymous,
    };
    let context = KEYS[..3].iter().filter_map(|key| {
        let values = match *key {
            "AWS:tagKEYS" => dice.some(TEXTS, 0, 2),
            _ => dice.some(TEXTS, 1, 1),
        };
        (!dice.one_in(3)).then_some((*key, values))
    });
    let context = context.collect();
    let boundary = dice.one_in(3).then(|| policy(&mut dice, None));
    let with_resource = trust || dice.one_in(2);
    Situation {
        principal,
        action: if trust { "sts:AssumeRole" } else { dice.of(ACTIONS) },
        resource: dice.of(RESOURCES),
        account: if dice.one_in(4) { "444455556666" } else { "111122223333" },
        context,
        identity: policies(&mut dice, 3),
        groups: policies(&mut dice, 1),
        boundary,
        session: if dice.one_in(3) { policies(&mut dice, 2) } else { Vec::new() },
        resource_policy: with_resource.then(|| policy(&mut dice, Some(trust))),
        trust,
    }
}

/// `resource`: a policy that names principals, and whether it is a trust policy.
fn policy(dice: &mut Dice, resource: Option<bool>) -> Value {
    let count = 1 + dice.below(3);
    let statements: Vec<Value> = (0..count).map(|_| statement(dice, resource)).collect();
    json!({"Version": "2012-10-17", "Statement": statements})
}

fn statement(dice: &mut Dice, resource: Option<bool>) -> Value {
    let mut statement = Map::new();
    let denies = dice.one_in(6);
    statement.insert("Effect".into(), json!(if denies { "Deny" } else { "Allow" }));
    let not = |dice: &mut Dice, name: &str| {
        if dice.one_in(5) { format!("Not{name}") } else { name.to_owned() }
    };
    if resource == Some(true) {
        statement.insert("Action".into(), json!(dice.of(&["sts:AssumeRole", "sts:*", "sts:Tag*"])));
    } else {
        let actions = dice.some(ACTION_PATTERNS, 1, 2).into_iter().map(str::to_owned).collect();
        statement.insert(not(dice, "Action"), dice.one_or_many(actions));
        let resources = (0..1 + dice.below(2)).map(|_| arn(dice)).collect();
        statement.insert(not(dice, "Resource"), dice.one_or_many(resources));
    }
    if resource.is_some() {
        let negated = denies && dice.one_in(2);
        let name = if negated { "NotPrincipal" } else { "Principal" };
        statement.insert(name.into(), principal(dice, negated));
    }
    let mut conditions = Map::new();
    for _ in 0..dice.below(3) {
        condition(dice, &mut conditions);
    }
    if !conditions.is_empty() {
        statement.insert("Condition".into(), Value::Object(conditions));
    }
    Value::Object(statement)
}

fn principal(dice: &mut Dice, many: bool) -> Value {
    if dice.one_in(5) {
        return json!("*");
    }
    let names = [USER, ROLE, SESSION, ROOT, "111122223333", "444455556666"];
    let aws = dice.some(&names, 1, if many { 6 } else { 2 });
    if dice.one_in(3) { json!({"AWS": aws, "Service": SERVICE}) } else { json!({"AWS": aws}) }
}

fn arn(dice: &mut Dice) -> String {
    if dice.one_in(3) {
        return "*".into();
    }
    let most = if dice.one_in(2) { 1 } else { 3 };
    let mut part = || {
        let pieces = dice.some(PIECES, 1, most);
        pieces.concat()
    };
    let parts = [part(), part(), part()];
    match dice.below(3) {
        0 => format!("arn:aws:s3:::{}", parts[0]),
        1 => format!("arn:aws:ec2:{}:{}:{}", parts[0], parts[1], parts[2]),
        // An empty segment among a few fails the grammar.
        _ => format!("arn:aws:ec2:{}", parts[0].replace(':', "")),
    }
}

fn condition(dice: &mut Dice, conditions: &mut Map<String, Value>) {
    let (operator, values) = if dice.one_in(2) {
        (dice.of(TEXT_OPERATORS), dice.some(TEXT_PATTERNS, 1, 3))
    } else {
        let (operators, values) = dice.of(TYPED);
        (dice.of(operators), dice.some(values, 1, 2))
    };
    let mut name = operator.to_owned();
    if operator != "Null" {
        let modifier = dice.of(&["", "", "ForAllValues:", "ForAnyValue:"]);
        name = format!("{modifier}{name}{}", if dice.one_in(4) { "IfExists" } else { "" });
    }
    let values = values.into_iter().map(str::to_owned).collect();
    let values = dice.one_or_many(values);
    let keys = conditions.entry(name).or_insert_with(|| json!({}));
    keys[dice.of(KEYS)] = values;
}
