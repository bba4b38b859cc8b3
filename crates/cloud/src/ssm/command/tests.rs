//! Commands from SendCommand to their end, with a driver that plays them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use compute::exec::End;
use compute::fake::Played;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::controller::Commands;
use super::model::{Amount, Command, Invocation};
use super::ops;
use super::run::shown;
use super::state::{State, summary};
use crate::controller::Controller;
use crate::ssm::node::controller::Nodes;
use crate::testing::{self, Machines, NOW};

const MAY: &str = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow",
    "Action":["ssm:UpdateInstanceInformation","s3:PutObject"],"Resource":"*"}}"#;

pub fn command() -> Command {
    Command {
        account: "123456789012".into(),
        region: "us-east-1".into(),
        id: "c".into(),
        comment: String::new(),
        document: "AWS-RunShellScript".into(),
        document_version: "1".into(),
        parameters: [("commands".to_owned(), vec!["true".to_owned()])].into(),
        instance_ids: vec!["i-1".into()],
        targets: vec![],
        requested_at: NOW,
        timeout_seconds: 3600,
        max_concurrency: Amount("50".into()),
        max_errors: Amount("0".into()),
        output: None,
        expanded: true,
        cancelled: false,
    }
}

pub fn invocation() -> Invocation {
    Invocation {
        account: "123456789012".into(),
        region: "us-east-1".into(),
        command_id: "c".into(),
        instance_id: "i-1".into(),
        instance_name: String::new(),
        requested_at: NOW,
        state: State::Pending,
        started_at: None,
        ended_at: None,
        response_code: -1,
        stdout: String::new(),
        stderr: String::new(),
    }
}

#[test]
fn what_invocations_come_to() {
    use State::*;
    for (max_errors, states, expected) in [
        ("0", vec![], ("Success", "NoInstancesInTag")),
        ("0", vec![Pending, Delayed], ("Pending", "Pending")),
        ("0", vec![Success, Pending], ("InProgress", "InProgress")),
        ("0", vec![Success, Success], ("Success", "Success")),
        ("0", vec![Success, Failed], ("Failed", "Failed")),
        ("50%", vec![Success, Failed], ("Failed", "Incomplete")),
        ("0", vec![ExecutionTimedOut], ("TimedOut", "ExecutionTimedOut")),
        ("0", vec![DeliveryTimedOut], ("TimedOut", "DeliveryTimedOut")),
        ("0", vec![Success, Cancelled], ("Cancelled", "Cancelled")),
    ] {
        let command = Command { max_errors: Amount(max_errors.into()), ..command() };
        let summary = summary(&command, &states);
        assert_eq!((summary.status, summary.details), expected, "{states:?}");
    }
}

#[test]
fn long_output_is_cut() {
    assert_eq!(shown("short", 100), "short");
    let cut = shown(&"ä".repeat(30), 25);
    assert_eq!(cut.chars().count(), 25);
    assert!(cut.ends_with("---Output truncated---"));
}

struct World {
    machines: Machines,
    nodes: Nodes,
    commands: Commands,
}

impl World {
    /// One node that is up, and its id.
    async fn new() -> (World, String) {
        let world = World {
            machines: Machines::default(),
            nodes: Nodes::default(),
            commands: Commands::default(),
        };
        testing::profile(&world.machines.cx, "may", MAY).await;
        let id = world.node().await;
        (world, id)
    }

    async fn node(&self) -> String {
        let id = self.machines.launch(Some("may")).await;
        self.machines.settle().await;
        self.nodes.reconcile(&self.machines.cx.env).await.unwrap();
        id
    }

    async fn ask(&self, operation: &'static str, input: Value) -> Result<Value, String> {
        let body = testing::ask(&self.machines.cx, "ssm", operation, &input.to_string()).await?;
        Ok(serde_json::from_str(&body).unwrap())
    }

    async fn send(&self, id: &str, more: Value) -> String {
        let mut input = json!({
            "DocumentName": "AWS-RunShellScript",
            "InstanceIds": [id],
            "Parameters": {"commands": ["echo hello", "exit 3"]},
        });
        input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let sent = self.ask("SendCommand", input).await.unwrap();
        sent["Command"]["CommandId"].as_str().unwrap().to_owned()
    }

    async fn round(&self) {
        self.nodes.reconcile(&self.machines.cx.env).await.unwrap();
        for _ in 0..4 {
            self.commands.reconcile(&self.machines.cx.env).await.unwrap();
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
        }
    }

    async fn get(&self, command: &str, id: &str) -> Result<Value, String> {
        let input = json!({"CommandId": command, "InstanceId": id});
        self.ask("GetCommandInvocation", input).await
    }

    async fn status(&self, command: &str, id: &str) -> String {
        let found = self.get(command, id).await.unwrap();
        format!("{} {}", found["Status"], found["StatusDetails"]).replace('"', "")
    }

    fn pass(&self, seconds: u64) {
        let clock = &self.machines.cx.env.clock;
        clock.advance(clock.now().plus(Duration::from_secs(seconds)));
    }
}

#[tokio::test]
async fn a_command_runs_once_and_tells_how_it_ended() {
    let (world, id) = World::new().await;
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&runs);
    world.machines.driver.play(move |_, program| {
        counted.fetch_add(1, Ordering::Relaxed);
        let script = program.script.as_ref().unwrap();
        assert!(script.path.ends_with("/awsrunShellScript/0.awsrunShellScript/_script.sh"));
        assert_eq!(script.content, "echo hello\nexit 3\n");
        assert_eq!(program.directories, ["/srv"]);
        Ok(Played::ended("hello\n", "oh", 3))
    });
    let parameters = json!({"Parameters": {
        "commands": ["echo hello", "exit 3"], "workingDirectory": ["/srv"]}, "Comment": "c"});
    let command = world.send(&id, parameters).await;
    let early = world.get(&command, &id).await;
    assert_eq!(early.unwrap_err(), "InvocationDoesNotExist");
    world.round().await;
    let found = world.get(&command, &id).await.unwrap();
    assert_eq!(found["Status"], "Failed");
    assert_eq!(found["ResponseCode"], 3);
    assert_eq!(found["StandardOutputContent"], "hello\n");
    assert_eq!(found["StandardErrorContent"], "oh\nfailed to run commands: exit status 3");
    assert_eq!(found["PluginName"], "aws:runShellScript");
    world.round().await;
    assert_eq!(runs.load(Ordering::Relaxed), 1);

    let listed = world.ask("ListCommands", json!({"CommandId": command})).await.unwrap();
    let listed = &listed["Commands"][0];
    assert_eq!((&listed["Status"], &listed["ErrorCount"]), (&json!("Failed"), &json!(1)));
    let input = json!({"CommandId": command, "Details": true});
    let listed = world.ask("ListCommandInvocations", input).await.unwrap();
    let plugin = &listed["CommandInvocations"][0]["CommandPlugins"][0];
    let output = plugin["Output"].as_str().unwrap();
    assert!(output.starts_with("hello\n\n----------ERROR-------\noh"), "{output}");
    let filter = json!({"Filters": [{"key": "Status", "value": "Success"}]});
    let none = world.ask("ListCommands", filter).await.unwrap();
    assert_eq!(none["Commands"], json!([]));

    // After thirty days nobody remembers.
    world.pass(30 * 24 * 3600);
    world.round().await;
    let cx = &world.machines.cx;
    assert_eq!(cx.read().scan::<Command>("").count(), 0);
    assert_eq!(cx.read().scan::<Invocation>("").count(), 0);
}

/// A program that ends when it is told to.
fn held(world: &World) -> Arc<Mutex<Vec<oneshot::Sender<End>>>> {
    let ends = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&ends);
    world.machines.driver.play(move |_, _| {
        let (end, ended) = oneshot::channel();
        kept.lock().unwrap().push(end);
        let end = Box::pin(async move { Ok(ended.await.unwrap()) });
        Ok(Played { output: b"so far\n".to_vec(), errors: vec![], end })
    });
    ends
}

#[tokio::test]
async fn commands_are_cancelled_and_time_out() {
    let (world, id) = World::new().await;
    let ends = held(&world);
    let command = world.send(&id, json!({})).await;
    world.round().await;
    assert_eq!(world.status(&command, &id).await, "InProgress InProgress");
    let unknown = json!({"CommandId": "00000000-0000-0000-0000-000000000000"});
    assert_eq!(world.ask("CancelCommand", unknown).await.unwrap_err(), "InvalidCommandId");
    world.ask("CancelCommand", json!({"CommandId": command})).await.unwrap();
    assert_eq!(world.status(&command, &id).await, "Cancelling Cancelling");
    world.round().await;
    assert_eq!(world.status(&command, &id).await, "Cancelled Cancelled");
    let found = world.get(&command, &id).await.unwrap();
    assert_eq!(
        (&found["ResponseCode"], &found["StandardOutputContent"]),
        (&json!(137), &json!("so far\n"))
    );
    // What ran was let go of.
    assert!(ends.lock().unwrap()[0].is_closed());

    let parameters = json!({"Parameters": {"commands": ["x"], "executionTimeout": ["10"]}});
    let command = world.send(&id, parameters).await;
    world.round().await;
    world.pass(11);
    world.round().await;
    assert_eq!(world.status(&command, &id).await, "TimedOut ExecutionTimedOut");

    let command = world.send(&id, json!({"TimeoutSeconds": 60})).await;
    world.machines.stop(&id).await;
    world.round().await;
    assert_eq!(world.status(&command, &id).await, "Delayed Delayed");
    world.pass(60);
    world.round().await;
    assert_eq!(world.status(&command, &id).await, "TimedOut DeliveryTimedOut");
    // It is a node yet; what waits for it runs when it is back.
    let command = world.send(&id, json!({})).await;
    world.round().await;
    world.machines.start(&id).await;
    world.round().await;
    assert_eq!(world.status(&command, &id).await, "InProgress InProgress");
}

#[tokio::test]
async fn what_ran_when_the_daemon_ended_has_failed() {
    let (mut world, id) = World::new().await;
    let ends = held(&world);
    let command = world.send(&id, json!({})).await;
    world.round().await;
    world.commands = Commands::default();
    tokio::task::yield_now().await;
    world.round().await;
    assert_eq!(world.status(&command, &id).await, "Failed Failed");
    assert_eq!(ends.lock().unwrap().len(), 1, "it does not run twice");
}

#[tokio::test]
async fn commands_go_to_tagged_nodes_some_at_a_time() {
    let (world, first) = World::new().await;
    let second = world.node().await;
    let cx = &world.machines.cx;
    testing::ok(
        cx,
        "CreateTags",
        &format!("ResourceId.1={first}&ResourceId.2={second}&Tag.1.Key=tier&Tag.1.Value=web"),
    )
    .await;
    let ends = held(&world);
    let targets = |value: &str| {
        json!({
        "DocumentName": "AWS-RunShellScript", "Parameters": {"commands": ["x"]},
        "Targets": [{"Key": "tag:tier", "Values": [value]}], "MaxConcurrency": "1"})
    };
    let sent = world.ask("SendCommand", targets("web")).await.unwrap();
    let command = sent["Command"]["CommandId"].as_str().unwrap();
    world.round().await;
    assert_eq!(ends.lock().unwrap().len(), 1);
    ends.lock().unwrap().remove(0).send(End::Exited(1)).unwrap();
    world.round().await;
    let mut states = [world.status(command, &first).await, world.status(command, &second).await];
    states.sort();
    // One error is as many as there may be: none.
    assert_eq!(states, ["Cancelled Terminated", "Failed Failed"]);
    let sent = world.ask("SendCommand", targets("none")).await.unwrap();
    let command = sent["Command"]["CommandId"].as_str().unwrap();
    world.round().await;
    let listed = world.ask("ListCommands", json!({"CommandId": command})).await.unwrap();
    assert_eq!(listed["Commands"][0]["StatusDetails"], "NoInstancesInTag");
}

#[tokio::test]
async fn output_goes_to_the_bucket() {
    let (world, id) = World::new().await;
    world.machines.driver.play(|_, _| Ok(Played::ended("to the bucket\n", "", 0)));
    let cx = &world.machines.cx;
    let bucket = crate::s3::Bucket {
        name: "logs".into(),
        account: cx.account.clone(),
        region: cx.region.clone(),
        created_at: NOW,
        number: 7,
    };
    let output = json!({"OutputS3BucketName": "logs", "OutputS3KeyPrefix": "/out/"});
    let mut input = json!({"DocumentName": "AWS-RunShellScript", "InstanceIds": [id],
        "Parameters": {"commands": ["x"]}});
    input.as_object_mut().unwrap().extend(output.as_object().unwrap().clone());
    let refused = world.ask("SendCommand", input).await;
    assert_eq!(refused.unwrap_err(), "InvalidOutputFolder");
    cx.write(|tx| {
        tx.put(bucket.clone());
        Ok::<_, store::Error>(())
    })
    .await
    .unwrap();
    let command = world.send(&id, output).await;
    for _ in 0..10_000 {
        world.round().await;
        if world.status(&command, &id).await.starts_with("Success") {
            break;
        }
    }
    let found = world.get(&command, &id).await.unwrap();
    let key = format!("out/{command}/{id}/awsrunShellScript/0.awsrunShellScript/stdout");
    let expected = format!("https://s3.us-east-1.amazonaws.com/logs/{key}");
    assert_eq!(found["StandardOutputUrl"], expected);
    let index = cx.env.store.keyspace(crate::s3::OBJECTS);
    let mut names = Vec::new();
    index
        .scan(&store::Range::prefix(&bucket.number.to_be_bytes()), |key, _| {
            names.push(String::from_utf8_lossy(&key).into_owned());
            Ok::<_, store::Error>(std::ops::ControlFlow::Continue(()))
        })
        .unwrap();
    assert!(names.len() == 1 && names[0].ends_with(&key), "{names:?}");
}

#[tokio::test]
async fn what_cannot_be_sent() {
    let (world, id) = World::new().await;
    let with = |change: Value| {
        let mut input = json!({"DocumentName": "AWS-RunShellScript", "InstanceIds": [id],
            "Parameters": {"commands": ["x"]}});
        input.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        input
    };
    let alone = world.machines.launch(None).await;
    world.machines.settle().await;
    for (code, change) in [
        ("InvalidDocument", json!({"DocumentName": "AWS-RunPowerShellScript"})),
        ("InvalidDocumentVersion", json!({"DocumentVersion": "7"})),
        ("InvalidDocument", json!({"DocumentHash": "00"})),
        ("InvalidInstanceId", json!({"InstanceIds": ["i-0123456789abcdef0"]})),
        ("InvalidInstanceId", json!({"InstanceIds": [alone]})),
        ("DuplicateInstanceId", json!({"InstanceIds": [id, id]})),
        ("ValidationException", json!({"InstanceIds": []})),
        ("ValidationException", json!({"Targets": [{"Key": "tag:a", "Values": ["b"]}]})),
        (
            "InvalidTarget",
            json!({"InstanceIds": [], "Targets": [{"Key": "resource-groups:Name", "Values": ["b"]}]}),
        ),
        ("InvalidParameters", json!({"Parameters": {}})),
        ("InvalidParameters", json!({"Parameters": {"commands": ["x"], "color": ["red"]}})),
        ("InvalidParameters", json!({"Parameters": {"commands": ["{{ssm:x}}"]}})),
        (
            "InvalidParameters",
            json!({"Parameters": {"commands": ["x"], "executionTimeout": ["0"]}}),
        ),
        (
            "ValidationException",
            json!({"CloudWatchOutputConfig": {"CloudWatchOutputEnabled": true}}),
        ),
        ("ValidationException", json!({"OutputS3KeyPrefix": "x"})),
        ("ValidationException", json!({"TimeoutSeconds": 29})),
    ] {
        let answer = world.ask("SendCommand", with(change.clone())).await;
        assert_eq!(answer.unwrap_err(), code, "{change}");
    }
    assert_eq!(world.machines.cx.read().scan::<Command>("").count(), 0);
    let known = world.ask("DescribeDocument", json!({"Name": "AWS-RunShellScript"})).await.unwrap();
    let hash = known["Document"]["Hash"].as_str().unwrap();
    world.ask("SendCommand", with(json!({"DocumentHash": hash}))).await.unwrap();
    // Nothing runs in a simulation, and that is said.
    world.round().await;
    let all = ops::listed_invocations(
        &world.machines.cx.read(),
        &world.machines.cx,
        &ops::Listing { limit: 9, ..Default::default() },
    );
    let found = &all.unwrap().0[0].1;
    assert_eq!(found.state, State::Failed);
    assert!(found.stderr.starts_with("compute is simulated"), "{}", found.stderr);
}
