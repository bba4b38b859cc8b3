//! Experiments through their operations, with their controller, Spot's and the instances'.

use std::sync::Arc;

use compute::fake::Fake;
use serde_json::{Value, json};

use super::controller::Experiments;
use crate::Context;
use crate::ec2::image;
use crate::ec2::instance::controller::Instances;
use crate::ec2::spot::controller::SpotRequests;
use crate::testing::{self, ok, role, text};

const MAY: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Resource":"*",
    "Action":["ec2:DescribeInstances","ec2:RebootInstances","ec2:StopInstances","ec2:StartInstances",
    "ec2:TerminateInstances","ec2:SendSpotInstanceInterruptions"]}]}"#;

struct World {
    cx: Context,
    driver: Arc<Fake>,
    instances: Instances,
    role: String,
}

impl World {
    async fn new() -> World {
        let (cx, driver) = testing::world(|_| None);
        let role = role(&cx, "fis", "fis.amazonaws.com", MAY).await;
        World { cx, driver, instances: Instances::default(), role }
    }

    /// The answer of a call, or the code it is refused with.
    async fn call(
        &self,
        method: http::Method,
        path: &str,
        operation: &str,
        body: Value,
    ) -> Result<Value, String> {
        let mut table = crate::services::table().into_iter();
        let entry = table.find(|e| e.service == "fis" && e.operation == operation).unwrap();
        let request = wire::Request {
            service: "fis",
            operation: operation.to_owned(),
            protocol: wire::Protocol::RestJson,
            method,
            uri: path.parse().unwrap(),
            headers: http::HeaderMap::new(),
            body: if body.is_null() { Default::default() } else { body.to_string().into() },
        };
        match (entry.call)(self.cx.clone(), Arc::new(request)).await {
            Ok(response) => Ok(serde_json::from_slice(&response.body).unwrap_or_default()),
            Err(error) => Err(error.code),
        }
    }

    async fn create(&self, body: Value) -> Result<String, String> {
        let path = "/experimentTemplates";
        let answer = self.call(http::Method::POST, path, "CreateExperimentTemplate", body).await?;
        Ok(answer["experimentTemplate"]["id"].as_str().unwrap().to_owned())
    }

    async fn start(&self, template: &str) -> String {
        let body = json!({"clientToken": template, "experimentTemplateId": template});
        let answer = self.call(http::Method::POST, "/experiments", "StartExperiment", body).await;
        answer.unwrap()["experiment"]["id"].as_str().unwrap().to_owned()
    }

    async fn experiment(&self, id: &str) -> Value {
        let path = format!("/experiments/{id}");
        let answer = self.call(http::Method::GET, &path, "GetExperiment", Value::Null).await;
        answer.unwrap()["experiment"].clone()
    }

    /// Status of an experiment, and of one of its actions.
    async fn said(&self, id: &str, action: &str) -> String {
        let e = self.experiment(id).await;
        let text = |value: &Value| value["status"].as_str().unwrap().to_owned();
        format!("{} {}", text(&e["state"]), text(&e["actions"][action]["state"]))
    }

    async fn run(&self, more: &str) -> String {
        let image = image::ops::built_in_id();
        let members = format!("ImageId={image}&InstanceType=t3.micro&MinCount=1&MaxCount=1&{more}");
        text(&ok(&self.cx, "RunInstances", &members).await, "instanceId")
    }

    async fn state(&self, instance: &str) -> String {
        let body = ok(&self.cx, "DescribeInstances", &format!("InstanceId.1={instance}")).await;
        text(body.split_once("<instanceState>").unwrap().1, "name")
    }

    async fn settle(&self) {
        testing::settle(
            &self.cx.env,
            &self.driver,
            &[&self.instances, &SpotRequests, &Experiments],
        )
        .await;
    }

    async fn pass(&mut self, seconds: u64) {
        testing::pass(&mut self.cx, &self.driver, seconds);
        self.settle().await;
    }

    fn template(&self, target: Value, actions: Value) -> Value {
        json!({
            "clientToken": target.to_string().len().to_string() + &actions.to_string().len().to_string(),
            "description": "d",
            "roleArn": self.role,
            "stopConditions": [{"source": "none"}],
            "targets": {"them": target},
            "actions": actions,
        })
    }
}

const TAGGED: &str = "TagSpecification.1.ResourceType=instance&TagSpecification.1.Tag.1.Key=team\
                      &TagSpecification.1.Tag.1.Value=web";

fn by_tag(kind: &str, selection: &str) -> Value {
    json!({"resourceType": kind, "resourceTags": {"team": "web"}, "selectionMode": selection})
}

fn interruption(minutes: u32) -> Value {
    json!({"take": {
        "actionId": "aws:ec2:send-spot-instance-interruptions",
        "parameters": {"durationBeforeInterruption": format!("PT{minutes}M")},
        "targets": {"SpotInstances": "them"},
    }})
}

#[tokio::test]
async fn spot_instances_are_interrupted_with_their_notice() {
    let mut world = World::new().await;
    let spot = world.run(&format!("InstanceMarketOptions.MarketType=spot&{TAGGED}")).await;
    let full = world.run(TAGGED).await;
    world.settle().await;
    world.pass(1).await;
    let body = world.template(by_tag("aws:ec2:spot-instance", "ALL"), interruption(4));
    let template = world.create(body.clone()).await.unwrap();
    assert_eq!(world.create(body.clone()).await.unwrap(), template);
    let mut other = body;
    other["description"] = json!("another");
    assert_eq!(world.create(other).await.unwrap_err(), "ConflictException");
    let experiment = world.start(&template).await;
    assert_eq!(world.said(&experiment, "take").await, "initiating pending");
    world.settle().await;
    assert_eq!(world.said(&experiment, "take").await, "running running");
    let path = format!("/experiments/{experiment}/resolvedTargets");
    let targets =
        world.call(http::Method::GET, &path, "ListExperimentResolvedTargets", Value::Null).await;
    let targets = targets.unwrap()["resolvedTargets"].clone();
    assert_eq!(targets.as_array().unwrap().len(), 1);
    let arn = targets[0]["targetInformation"]["arn"].as_str().unwrap();
    assert!(arn.ends_with(&spot), "{arn}");
    let events = |world: &World| {
        let all = crate::ec2::spot::event::all(&world.cx.env.store.read(), &world.cx);
        all.iter().map(|e| e["detail-type"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(events(&world).last().unwrap(), crate::ec2::spot::event::REBALANCE);
    world.pass(120).await;
    assert_eq!(events(&world).last().unwrap(), crate::ec2::spot::event::WARNING);
    assert_eq!(world.state(&spot).await, "running");
    world.pass(120).await;
    world.pass(5).await;
    assert_eq!(world.said(&experiment, "take").await, "completed completed");
    assert_eq!(world.state(&spot).await, "terminated");
    assert_eq!(world.state(&full).await, "running");
    // A second time there is nothing left to take.
    let body = json!({"clientToken": "again", "experimentTemplateId": template});
    let answer = world.call(http::Method::POST, "/experiments", "StartExperiment", body).await;
    let again = answer.unwrap()["experiment"]["id"].as_str().unwrap().to_owned();
    world.settle().await;
    assert_eq!(world.said(&again, "take").await, "failed cancelled");
    let list = format!("/experiments?experimentTemplateId={template}&maxResults=1");
    let page = world.call(http::Method::GET, &list, "ListExperiments", Value::Null).await.unwrap();
    assert_eq!(page["experiments"].as_array().unwrap().len(), 1);
    assert!(page["nextToken"].is_string());
}

#[tokio::test]
async fn a_notice_that_is_not_out_can_be_taken_back() {
    let mut world = World::new().await;
    let spot = world.run(&format!("InstanceMarketOptions.MarketType=spot&{TAGGED}")).await;
    world.settle().await;
    world.pass(1).await;
    let body = world.template(by_tag("aws:ec2:spot-instance", "COUNT(1)"), interruption(15));
    let experiment = world.start(&world.create(body).await.unwrap()).await;
    world.settle().await;
    let path = format!("/experiments/{experiment}");
    let stopped =
        world.call(http::Method::DELETE, &path, "StopExperiment", Value::Null).await.unwrap();
    assert_eq!(stopped["experiment"]["state"]["status"], "stopping");
    world.settle().await;
    assert_eq!(world.said(&experiment, "take").await, "stopped stopped");
    world.pass(1000).await;
    assert_eq!(world.state(&spot).await, "running");
    let again = world.call(http::Method::DELETE, &path, "StopExperiment", Value::Null).await;
    assert_eq!(again.unwrap_err(), "ValidationException");
}

#[tokio::test]
async fn instances_are_stopped_started_again_and_terminated_in_turn() {
    let mut world = World::new().await;
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(world.run(TAGGED).await);
    }
    world.settle().await;
    world.pass(1).await;
    let actions = json!({
        "stop": {
            "actionId": "aws:ec2:stop-instances",
            "parameters": {"startInstancesAfterDuration": "PT2M"},
            "targets": {"Instances": "them"},
        },
        "end": {
            "actionId": "aws:ec2:terminate-instances",
            "targets": {"Instances": "them"},
            "startAfter": ["stop"],
        },
    });
    let mut target = by_tag("aws:ec2:instance", "PERCENT(50)");
    target["filters"] = json!([{"path": "State.Name", "values": ["running"]},
        {"path": "Placement.AvailabilityZone", "values": ["us-east-1a", "us-east-1b", "us-east-1c"]}]);
    let template = world.create(world.template(target, actions)).await.unwrap();
    let experiment = world.start(&template).await;
    world.settle().await;
    world.pass(5).await;
    let count = |states: &[String], state: &str| states.iter().filter(|s| *s == state).count();
    let mut states = Vec::new();
    for id in &ids {
        states.push(world.state(id).await);
    }
    assert_eq!(count(&states, "stopped"), 2, "{states:?}");
    assert_eq!(world.said(&experiment, "end").await, "running pending");
    world.pass(120).await;
    world.pass(5).await;
    world.pass(5).await;
    assert_eq!(world.said(&experiment, "stop").await, "completed completed");
    let mut states = Vec::new();
    for id in &ids {
        states.push(world.state(id).await);
    }
    assert_eq!(count(&states, "terminated"), 2, "{states:?}");
    assert_eq!(count(&states, "running"), 2, "{states:?}");
}

#[tokio::test]
async fn it_does_what_its_role_may() {
    let mut world = World::new().await;
    let less = MAY.replace(",\"ec2:StopInstances\"", "");
    world.role = role(&world.cx, "less", "fis.amazonaws.com", &less).await;
    let id = world.run(TAGGED).await;
    world.settle().await;
    world.pass(1).await;
    let arn = format!("arn:aws:ec2:us-east-1:123456789012:instance/{id}");
    let actions =
        json!({"stop": {"actionId": "aws:ec2:stop-instances", "targets": {"Instances": "them"}}});
    let target =
        json!({"resourceType": "aws:ec2:instance", "resourceArns": [arn], "selectionMode": "ALL"});
    let experiment =
        world.start(&world.create(world.template(target, actions)).await.unwrap()).await;
    world.settle().await;
    assert_eq!(world.said(&experiment, "stop").await, "failed failed");
    let reason = world.experiment(&experiment).await["actions"]["stop"]["state"]["reason"].clone();
    assert!(reason.as_str().unwrap().contains("ec2:StopInstances"), "{reason}");
    assert_eq!(world.state(&id).await, "running");
}

#[tokio::test]
async fn tags_and_the_life_of_templates() {
    let world = World::new().await;
    let mut body = world.template(by_tag("aws:ec2:spot-instance", "ALL"), interruption(2));
    body["tags"] = json!({"a": "b"});
    let id = world.create(body).await.unwrap();
    let arn = format!("arn:aws:fis:us-east-1:123456789012:experiment-template/{id}");
    let path = format!("/tags/{}", arn.replace(':', "%3A").replace('/', "%2F"));
    let more = json!({"tags": {"c": "d", "e": "f"}});
    world.call(http::Method::POST, &path, "TagResource", more).await.unwrap();
    let less = format!("{path}?tagKeys=a&tagKeys=c");
    world.call(http::Method::DELETE, &less, "UntagResource", Value::Null).await.unwrap();
    let tags = world.call(http::Method::GET, &path, "ListTagsForResource", Value::Null).await;
    assert_eq!(tags.unwrap()["tags"], json!({"e": "f"}));
    let path = format!("/experimentTemplates/{id}");
    let shown =
        world.call(http::Method::GET, &path, "GetExperimentTemplate", Value::Null).await.unwrap();
    let shown = &shown["experimentTemplate"];
    assert_eq!(shown["targets"]["them"]["selectionMode"], "ALL");
    assert_eq!(shown["actions"]["take"]["parameters"]["durationBeforeInterruption"], "PT2M");
    assert_eq!(shown["stopConditions"], json!([{"source": "none"}]));
    world.call(http::Method::DELETE, &path, "DeleteExperimentTemplate", Value::Null).await.unwrap();
    let gone = world.call(http::Method::GET, &path, "GetExperimentTemplate", Value::Null).await;
    assert_eq!(gone.unwrap_err(), "ResourceNotFoundException");
    let actions = world.call(http::Method::GET, "/actions", "ListActions", Value::Null).await;
    assert_eq!(actions.unwrap()["actions"].as_array().unwrap().len(), 4);
}

#[tokio::test]
async fn refusals() {
    let world = World::new().await;
    let good = || world.template(by_tag("aws:ec2:spot-instance", "ALL"), interruption(2));
    for (path, value) in [
        ("/roleArn", json!("arn:aws:iam::123456789012:role/none")),
        ("/stopConditions", json!([])),
        ("/stopConditions", json!([{"source": "mood"}])),
        ("/actions", json!({})),
        ("/actions/take/actionId", json!("aws:ecs:stop-task")),
        ("/actions/take/parameters", json!({})),
        ("/actions/take/parameters/durationBeforeInterruption", json!("PT1M")),
        ("/actions/take/parameters/durationBeforeInterruption", json!("PT16M")),
        ("/actions/take/parameters", json!({"durationBeforeInterruption": "PT2M", "x": "y"})),
        ("/actions/take/targets", json!({"Instances": "them"})),
        ("/actions/take/targets", json!({"SpotInstances": "others"})),
        ("/actions/take/startAfter", json!(["take"])),
        ("/targets/them/resourceType", json!("aws:ec2:instance")),
        ("/targets/them/resourceType", json!("aws:rds:db")),
        ("/targets/them/selectionMode", json!("SOME")),
        ("/targets/them/selectionMode", json!("COUNT(0)")),
        ("/targets/them/resourceArns", json!(["arn:aws:ec2:us-east-1:123456789012:instance/i-1"])),
        ("/targets/them/filters", json!([{"path": "Mood", "values": ["x"]}])),
        ("/logConfiguration", json!({"logSchemaVersion": 2})),
        ("/experimentOptions", json!({"accountTargeting": "multi-account"})),
    ] {
        let mut body = good();
        let (parent, name) = path.rsplit_once('/').unwrap();
        body.pointer_mut(parent).unwrap()[name] = value;
        assert_eq!(world.create(body).await.unwrap_err(), "ValidationException", "{path}");
    }
    let body = json!({"clientToken": "t", "experimentTemplateId": "EXTnone"});
    let answer = world.call(http::Method::POST, "/experiments", "StartExperiment", body).await;
    assert_eq!(answer.unwrap_err(), "ResourceNotFoundException");
}
