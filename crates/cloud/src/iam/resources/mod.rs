//! What a call asks for: actions, each on a resource, with the condition keys of both. Told from the
//! request's members by the table; what a table cannot say stands in `special`.

mod special;
mod table;

use policy::Policy;
use serde_json::Value;
use store::Snapshot;

use super::model::{Identity, InstanceProfile, Kind, ManagedPolicy};
use crate::tag::Tags;
use crate::{Context, arn, autoscaling, dynamodb, ec2, elbv2, ssm};

/// A call as its members say it, by their names.
pub struct Call<'a> {
    /// The signing name: `elasticloadbalancing`.
    pub service: &'a str,
    pub operation: &'a str,
    pub input: &'a Value,
}

/// One action on one resource.
#[derive(Clone, Debug)]
pub struct Demand {
    /// `ec2:RunInstances`
    pub action: String,
    /// An ARN, or `*`.
    pub resource: String,
    /// Condition keys of the resource and the request.
    pub keys: Vec<(String, Vec<String>)>,
    /// The resource's own policy.
    pub policy: Option<Policy>,
}

impl Demand {
    pub fn new(action: impl Into<String>, resource: impl Into<String>) -> Demand {
        Demand { action: action.into(), resource: resource.into(), keys: vec![], policy: None }
    }

    pub fn with(mut self, key: &str, value: impl Into<String>) -> Demand {
        self.keys.push((key.to_owned(), vec![value.into()]));
        self
    }
}

/// Whether a call changes nothing, as CloudTrail tells them apart.
pub fn is_read(operation: &str) -> bool {
    const READS: &[&str] = &[
        "Describe",
        "Get",
        "List",
        "Head",
        "Lookup",
        "Query",
        "Scan",
        "BatchGet",
        "TransactGet",
        "Simulate",
        "Decode",
        "AssumeRole",
    ];
    READS.iter().any(|word| operation.starts_with(word))
}

/// Everything that must be allowed for `call`. Nothing: it needs no permission.
pub fn demands(snapshot: &Snapshot, cx: &Context, call: &Call<'_>) -> Vec<Demand> {
    if table::FREE.contains(&(call.service, call.operation)) {
        return vec![];
    }
    let input = special::completed(snapshot, cx, call);
    let call = &Call { input: &input, ..*call };
    let mut demands = Vec::new();
    let listed = table::of(call.service).iter().find(|(name, _)| *name == call.operation);
    match listed {
        Some((_, words)) => {
            words.split(' ').for_each(|word| by_word(snapshot, cx, call, word, &mut demands));
        }
        None => by_names(snapshot, cx, call, &mut demands),
    }
    if demands.is_empty() {
        demands.push(Demand::new(action(call, None), "*"));
    }
    for demand in &mut demands {
        demand.keys.extend(keys_of_resource(snapshot, cx, call.service, &demand.resource));
        demand.keys.extend(special::keys(call, &demand.resource));
    }
    tag(call, &mut demands);
    demands.extend(special::passed_roles(snapshot, cx, call));
    demands
}

fn action(call: &Call<'_>, other: Option<&str>) -> String {
    format!("{}:{}", call.service, other.unwrap_or(call.operation))
}

fn by_word(
    snapshot: &Snapshot,
    cx: &Context,
    call: &Call<'_>,
    word: &str,
    demands: &mut Vec<Demand>,
) {
    let (other, word) = match word.split_once(':') {
        Some((action, word)) => (Some(action), word),
        None => (None, word),
    };
    let action = action(call, other);
    let mut push = |resource| demands.push(Demand::new(action.clone(), resource));
    let Some((kind, rest)) = word.split_once('/') else {
        for value in strings(call.input, word) {
            if let Some(resource) = self_describing(cx, &value) {
                push(resource);
            }
        }
        return;
    };
    let Some((before, after)) = rest.split_once('{') else {
        return push(named(snapshot, cx, call, kind, rest));
    };
    let (members, after) = after.split_once('}').unwrap_or((after, ""));
    let values = members.split('|').map(|member| strings(call.input, member));
    let values = values.into_iter().find(|values| !values.is_empty()).unwrap_or_default();
    let (after, required) = match after.strip_suffix('!') {
        Some(after) => (after, true),
        None => (after, false),
    };
    if values.is_empty() && required {
        push(named(snapshot, cx, call, kind, "*"));
    }
    for value in values {
        push(named(snapshot, cx, call, kind, &format!("{before}{value}{after}")));
    }
}

/// By what members are called: `UserName` is a user's, `VpcId` holds an id, `TargetGroupArn` an ARN.
fn by_names(snapshot: &Snapshot, cx: &Context, call: &Call<'_>, demands: &mut Vec<Demand>) {
    let lists = ["Describe", "List"].iter().any(|word| call.operation.starts_with(word));
    if lists && matches!(call.service, "ec2" | "elasticloadbalancing" | "autoscaling") {
        return;
    }
    let Value::Object(members) = call.input else { return };
    for (member, value) in members {
        let kind = match (call.service, member.as_str()) {
            ("iam", "UserName") => "user",
            ("iam", "GroupName") => "group",
            ("iam", "RoleName") => "role",
            ("iam", "InstanceProfileName") => "instance-profile",
            ("dynamodb", "TableName") => "table",
            ("autoscaling", "AutoScalingGroupName") => "autoScalingGroup",
            ("iam", name) if name != "PolicyArn" => continue,
            _ => "",
        };
        for value in texts(value) {
            // A policy that is attached is no resource of it, but a condition.
            let attached = kind.is_empty() && call.operation.contains("tach");
            let resource = match kind {
                "" if attached && call.service == "iam" => None,
                "" => self_describing(cx, &value),
                kind => Some(named(snapshot, cx, call, kind, &value)),
            };
            demands.extend(resource.map(|found| Demand::new(action(call, None), found)));
        }
    }
}

/// The texts at a member's path, and those of a list there.
fn strings(input: &Value, path: &str) -> Vec<String> {
    let mut found = vec![input];
    for step in path.split('.') {
        if step == "#" {
            let maps = found.iter().filter_map(|value| value.as_object());
            return maps.flat_map(|map| map.keys().cloned()).collect();
        }
        let flat = found.into_iter().flat_map(|value| match value {
            Value::Array(items) => items.iter().collect(),
            other => vec![other],
        });
        found = flat.filter_map(|value| value.get(step)).collect();
    }
    found.into_iter().flat_map(texts).collect()
}

fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(items) => {
            items.iter().filter_map(|item| item.as_str().map(str::to_owned)).collect()
        }
        _ => vec![],
    }
}

/// The ARN of what says its own kind: an ARN, or an id of EC2.
fn self_describing(cx: &Context, value: &str) -> Option<String> {
    if value.starts_with("arn:") {
        return Some(value.to_owned());
    }
    let (prefix, _) = value.rsplit_once('-')?;
    let kind = EC2_KINDS.iter().find(|(known, _)| *known == prefix)?.1;
    Some(ec2_arn(cx, kind, value))
}

const EC2_KINDS: &[(&str, &str)] = &[
    ("acl", "network-acl"),
    ("ami", "image"),
    ("dopt", "dhcp-options"),
    ("eipalloc", "elastic-ip"),
    ("eni", "network-interface"),
    ("fl", "vpc-flow-log"),
    ("i", "instance"),
    ("igw", "internet-gateway"),
    ("lt", "launch-template"),
    ("nat", "natgateway"),
    ("nia", "network-insights-analysis"),
    ("nip", "network-insights-path"),
    ("pcx", "vpc-peering-connection"),
    ("pl", "prefix-list"),
    ("rtb", "route-table"),
    ("sg", "security-group"),
    ("sgr", "security-group-rule"),
    ("snap", "snapshot"),
    ("subnet", "subnet"),
    ("vol", "volume"),
    ("vpc", "vpc"),
    ("vpce", "vpc-endpoint"),
];

fn ec2_arn(cx: &Context, kind: &str, id: &str) -> String {
    // Images and snapshots belong to nobody, in ARNs.
    let account = if matches!(kind, "image" | "snapshot") { "" } else { &cx.account };
    arn::arn("ec2", &cx.region, account, &format!("{kind}/{id}"))
}

/// The ARN of a resource of this kind; `name` may be an ARN already.
fn named(snapshot: &Snapshot, cx: &Context, call: &Call<'_>, kind: &str, name: &str) -> String {
    if name.starts_with("arn:") {
        return name.to_owned();
    }
    match call.service {
        "ec2" => ec2_arn(cx, kind, name),
        "iam" => iam_arn(snapshot, cx, call, kind, name),
        "ssm" => cx.arn("ssm", &format!("parameter/{}", name.trim_start_matches('/'))),
        "autoscaling" => {
            let group = snapshot.get::<autoscaling::model::Group>(&cx.key(name));
            group.map(|group| group.arn()).unwrap_or_else(|| {
                let resource = format!("autoScalingGroup:*:autoScalingGroupName/{name}");
                cx.arn("autoscaling", &resource)
            })
        }
        "dynamodb" if kind == "index" => {
            let index = call.input.get("IndexName").and_then(Value::as_str);
            let index = index.map(|index| format!("/index/{index}")).unwrap_or_default();
            cx.arn("dynamodb", &format!("table/{name}{index}"))
        }
        service => cx.arn(service, &format!("{kind}/{name}")),
    }
}

/// With the path it has, or will have.
fn iam_arn(snapshot: &Snapshot, cx: &Context, call: &Call<'_>, kind: &str, name: &str) -> String {
    let identity = |kind| {
        let found = snapshot.get::<Identity>(&Identity::key_of(&cx.account, kind, name));
        found.map(|identity| identity.arn())
    };
    let found = match kind {
        "user" => identity(Kind::User),
        "group" => identity(Kind::Group),
        "role" => identity(Kind::Role),
        "policy" => snapshot
            .get::<ManagedPolicy>(&ManagedPolicy::key_of(&cx.account, name))
            .map(|policy| policy.arn()),
        _ => snapshot
            .get::<InstanceProfile>(&InstanceProfile::key_of(&cx.account, name))
            .map(|profile| profile.arn()),
    };
    let path = call.input.get("Path").and_then(Value::as_str).unwrap_or("/");
    found.unwrap_or_else(|| super::model::arn_of(&cx.account, kind, path, name))
}

/// Tags in the request: for what they are to go on, and the right to set them.
fn tag(call: &Call<'_>, demands: &mut Vec<Demand>) {
    let tagging = table::TAGGING.iter().find(|(service, _)| *service == call.service);
    let mut more = Vec::new();
    for demand in demands.iter_mut() {
        let tags = requested_tags(call, &demand.resource);
        if tags.is_empty() {
            continue;
        }
        for (key, value) in &tags {
            demand.keys.push((format!("aws:RequestTag/{key}"), vec![value.clone()]));
        }
        demand.keys.push(("aws:TagKeys".to_owned(), tags.keys().cloned().collect()));
        let Some((service, operation)) = tagging.filter(|(_, name)| *name != call.operation) else {
            continue;
        };
        let mut set = demand.clone().with(&format!("{service}:CreateAction"), call.operation);
        set.action = format!("{service}:{operation}");
        more.push(set);
    }
    demands.extend(more);
}

/// The tags that the request puts on `resource`.
fn requested_tags(call: &Call<'_>, resource: &str) -> Tags {
    let mut tags = Tags::new();
    let kind = resource.splitn(6, ':').nth(5).and_then(|resource| resource.split('/').next());
    let specs = call.input.get("TagSpecifications").and_then(Value::as_array);
    for spec in specs.into_iter().flatten() {
        if spec.get("ResourceType").and_then(Value::as_str) == kind {
            tags.extend(pairs(spec.get("Tags")));
        }
    }
    tags.extend(pairs(call.input.get("Tags")));
    tags
}

fn pairs(tags: Option<&Value>) -> Tags {
    let text = |tag: &Value, name: &str| tag.get(name).and_then(Value::as_str).map(str::to_owned);
    let tags = tags.and_then(Value::as_array).into_iter().flatten();
    tags.filter_map(|tag| Some((text(tag, "Key")?, text(tag, "Value").unwrap_or_default())))
        .collect()
}

fn keys_of_resource(
    snapshot: &Snapshot,
    cx: &Context,
    service: &str,
    resource: &str,
) -> Vec<(String, Vec<String>)> {
    let mut keys = vec![("aws:ResourceAccount".to_owned(), vec![cx.account.clone()])];
    for (key, value) in tags_of(snapshot, cx, resource) {
        keys.push((format!("aws:ResourceTag/{key}"), vec![value.clone()]));
        keys.push((format!("{service}:ResourceTag/{key}"), vec![value]));
    }
    keys
}

/// The tags of what an ARN names.
fn tags_of(snapshot: &Snapshot, cx: &Context, resource: &str) -> Tags {
    let Some(parts) = arn::parse(resource) else { return Tags::new() };
    let (kind, name) = parts.resource.split_once('/').unwrap_or((parts.resource, ""));
    match parts.service {
        "ec2" => ec2::tag::ops::tags_of(snapshot, cx, name),
        "elasticloadbalancing" => {
            let found = elbv2::ops::tag::describe(snapshot, cx, &[resource.to_owned()]);
            found.ok().and_then(|mut found| found.pop()).map(|(_, tags)| tags).unwrap_or_default()
        }
        "ssm" => {
            let parameter = |name: &str| snapshot.get::<ssm::model::Parameter>(&cx.key(name));
            let found = parameter(name).or_else(|| parameter(&format!("/{name}")));
            found.map(|found| found.tags.clone()).unwrap_or_default()
        }
        "dynamodb" => {
            let table = name.split('/').next().unwrap_or(name);
            let table = snapshot.get::<dynamodb::Table>(&cx.key(table));
            table.map(|table| table.tags.clone()).unwrap_or_default()
        }
        "autoscaling" => {
            let group = snapshot.get::<autoscaling::model::Group>(&cx.key(name));
            let tags = group.iter().flat_map(|group| &group.tags);
            tags.map(|(key, tag)| (key.clone(), tag.value.clone())).collect()
        }
        "iam" => {
            let name = name.rsplit('/').next().unwrap_or(name);
            let kind = match kind {
                "user" => Kind::User,
                "role" => Kind::Role,
                _ => return Tags::new(),
            };
            let found = snapshot.get::<Identity>(&Identity::key_of(&cx.account, kind, name));
            found.map(|found| found.tags.clone()).unwrap_or_default()
        }
        _ => Tags::new(),
    }
}
