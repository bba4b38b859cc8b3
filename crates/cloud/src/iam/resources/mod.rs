//! What a call asks for: actions, each on a resource, with the condition keys of both. Told from the
//! request's members by the table; what a table cannot say stands in `special`.

mod dynamodb;
mod keys;
mod resolve;
mod special;
mod table;

use policy::Policy;
use serde_json::Value;
use store::Snapshot;

use super::model::{Identity, InstanceProfile, Kind, ManagedPolicy};
use crate::ec2::placement_group::PlacementGroup;
use crate::ec2::resource;
use crate::{Context, arn, autoscaling, sqs, ssm};

pub use special::{Launching, launching};

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
        demands.push(Demand::new(action(call, None), special::everything(cx, call)));
    }
    for demand in &mut demands {
        demand.keys.extend(keys::of_resource(snapshot, cx, call.service, &demand.resource));
        demand.keys.extend(keys::of_request(snapshot, cx, call, &demand.resource));
        demand.keys.extend(dynamodb::keys(snapshot, cx, call, &demand.resource));
        demand.policy = own_policy(snapshot, &demand.resource);
    }
    tag(call, &mut demands);
    demands.extend(special::passed_roles(snapshot, cx, call));
    demands.extend(special::read_parameters(snapshot, cx, call));
    demands
}

/// What a resource itself says of who may do what to it.
fn own_policy(snapshot: &Snapshot, resource: &str) -> Option<Policy> {
    let queue = sqs::ops::by_arn(snapshot, resource)?;
    let document = queue.attributes.policy.as_ref()?;
    Some(Policy::new("QueuePolicy", document.compiled.clone()))
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
            if let Some(resource) = self_describing(snapshot, cx, call.service, &value) {
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
            // A policy that is attached is no resource of it, but a condition.
            ("iam", "PolicyArn") if !call.operation.contains("tach") => "policy",
            ("dynamodb", "TableName") => "table",
            ("autoscaling", "AutoScalingGroupName") => "autoScalingGroup",
            ("dynamodb", "ResourceArn") | ("ec2" | "elasticloadbalancing", _) => "",
            _ => continue,
        };
        for value in texts(value) {
            let resource = match kind {
                "" => self_describing(snapshot, cx, call.service, &value),
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

/// The ARN of what says its own kind: an ARN of the service, or an id of EC2.
fn self_describing(
    snapshot: &Snapshot,
    cx: &Context,
    service: &str,
    value: &str,
) -> Option<String> {
    if let Some(parts) = arn::parse(value) {
        return (parts.service == service).then(|| value.to_owned());
    }
    // Their ids are UUIDs, with more dashes.
    for (prefix, kind) in [("fleet-", "fleet"), ("sfr-", "spot-fleet-request")] {
        if service == "ec2" && value.starts_with(prefix) {
            return Some(ec2_arn(cx, kind, value));
        }
    }
    if service == "ec2" && value.starts_with("pg-") {
        // Its ARN has its name.
        let group = resource::get::<PlacementGroup>(snapshot, cx, value);
        return Some(group.map_or_else(|| ec2_arn(cx, "placement-group", value), |g| g.arn()));
    }
    let (prefix, _) = value.rsplit_once('-').filter(|_| service == "ec2")?;
    let kind = EC2_KINDS.iter().find(|(known, _)| *known == prefix)?.1;
    Some(ec2_arn(cx, kind, value))
}

const EC2_KINDS: &[(&str, &str)] = &[
    ("acl", "network-acl"),
    ("ami", "image"),
    ("cr", "capacity-reservation"),
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
    ("sir", "spot-instances-request"),
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
    if name.starts_with("arn:") && !matches!(call.service, "ssm" | "dynamodb") {
        return name.to_owned();
    }
    match call.service {
        "ec2" | "ebs" | "ec2-instance-connect" => ec2_arn(cx, kind, name),
        "iam" => iam_arn(snapshot, cx, call, kind, name),
        "ssm" if kind == "instance" => ec2_arn(cx, kind, name),
        // Those of AWS's own belong to no account.
        "ssm" if kind == "document" && name.starts_with("AWS-") => {
            arn::arn("ssm", &cx.region, "", &format!("document/{name}"))
        }
        "ssm" if kind == "document" => match name.starts_with("arn:") {
            true => name.to_owned(),
            false => cx.arn("ssm", &format!("document/{name}")),
        },
        "ssm" => match ssm::name::Reference::parse(cx, name) {
            Some(found) => ssm::name::arn(cx, &found.names[0]),
            // Of another account or region, where nothing is found.
            None => name.to_owned(),
        },
        // By its URL, or by its name.
        "sqs" => {
            let owner = call.input.get("QueueOwnerAWSAccountId").and_then(Value::as_str);
            let mut steps = name.rsplit('/');
            let name = steps.next().unwrap_or_default();
            let owner = steps.next().or(owner).unwrap_or(&cx.account);
            arn::arn("sqs", &cx.region, owner, name)
        }
        "autoscaling" => {
            let group = snapshot.get::<autoscaling::model::Group>(&cx.key(name));
            group.map(|group| group.arn()).unwrap_or_else(|| {
                let resource = format!("autoScalingGroup:*:autoScalingGroupName/{name}");
                cx.arn("autoscaling", &resource)
            })
        }
        "dynamodb" => {
            let table = match name.starts_with("arn:") {
                true => name.to_owned(),
                false => cx.arn("dynamodb", &format!("table/{name}")),
            };
            let index = call.input.get("IndexName").and_then(Value::as_str);
            match index.filter(|_| kind == "index") {
                Some(index) => format!("{table}/index/{index}"),
                None => table,
            }
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
    let listed = table::TAGGING.iter().find(|(service, made, _)| {
        *service == call.service && (made.is_empty() || *made == call.operation)
    });
    let tagging = listed.filter(|(.., name)| *name != call.operation);
    let mut more = Vec::new();
    for demand in demands.iter_mut() {
        let (tags, names) = keys::requested_tags(call, &demand.resource);
        if names.is_empty() {
            continue;
        }
        for (key, value) in &tags {
            demand.keys.push((format!("aws:RequestTag/{key}"), vec![value.clone()]));
        }
        demand.keys.push(("aws:TagKeys".to_owned(), names));
        let Some((service, _, operation)) = tagging.filter(|_| !tags.is_empty()) else { continue };
        let mut set = demand.clone();
        if *service != "iam" {
            set = set.with(&format!("{service}:CreateAction"), call.operation);
        }
        set.action = format!("{service}:{operation}");
        set.resource = made(call, &demand.resource);
        more.push(set);
    }
    demands.extend(more);
}

/// What a call makes and tags, where it asks for something else itself.
fn made(call: &Call<'_>, asked: &str) -> String {
    match call.operation {
        "CreateListener" => asked.replace(":loadbalancer/", ":listener/") + "/*",
        "CreateRule" => asked.replace(":listener/", ":listener-rule/") + "/*",
        _ => asked.to_owned(),
    }
}
