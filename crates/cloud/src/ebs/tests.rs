//! Snapshots uploaded, compared and read block by block, as clients ask for it.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use compute::Storage as _;
use compute::fake::Fake;
use http::{HeaderMap, Method};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::ops::BLOCK;
use crate::Context;
use crate::testing::{self, Disks, ok, text};

struct World {
    cx: Context,
    driver: Arc<Fake>,
    disks: Disks,
}

/// Status, headers and body.
type Answer = (u16, HeaderMap, Vec<u8>);

impl World {
    fn new() -> World {
        let (cx, driver) = testing::world(|_| None);
        World { cx, driver, disks: Disks::default() }
    }

    async fn settle(&mut self) {
        self.disks.settle(&mut self.cx, &self.driver).await;
    }

    async fn call(
        &self,
        operation: &str,
        method: Method,
        uri: &str,
        headers: &[(&'static str, String)],
        body: Vec<u8>,
    ) -> Answer {
        let mut table = crate::services::table().into_iter();
        let entry = table.find(|e| e.service == "ebs" && e.operation == operation).unwrap();
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        let request = wire::Request {
            service: "ebs",
            operation: operation.to_owned(),
            protocol: wire::Protocol::RestJson,
            method,
            uri: uri.parse().unwrap(),
            headers: map,
            body: body.into(),
        };
        match (entry.call)(self.cx.clone(), Arc::new(request)).await {
            Ok(answer) => (answer.status.as_u16(), answer.headers, answer.body.to_vec()),
            Err(error) => {
                let reason = error.members.get("Reason").cloned().unwrap_or_default();
                let text = json!({"code": error.code, "reason": reason, "message": error.message});
                (error.status, HeaderMap::new(), text.to_string().into_bytes())
            }
        }
    }

    async fn start(&self, body: Value) -> (u16, Value) {
        let body = body.to_string().into_bytes();
        let (status, _, body) =
            self.call("StartSnapshot", Method::POST, "/snapshots", &[], body).await;
        (status, serde_json::from_slice(&body).unwrap())
    }

    async fn started(&self, body: Value) -> String {
        let (status, answer) = self.start(body).await;
        assert_eq!((status, &answer["Status"]), (201, &json!("pending")), "{answer}");
        answer["SnapshotId"].as_str().unwrap().to_owned()
    }

    async fn put(&self, snapshot: &str, index: u64, fill: u8) -> (u16, String) {
        let data = vec![fill; BLOCK as usize];
        let headers = [
            ("x-amz-checksum", STANDARD.encode(Sha256::digest(&data))),
            ("x-amz-checksum-algorithm", "SHA256".to_owned()),
            ("x-amz-data-length", BLOCK.to_string()),
        ];
        let uri = format!("/snapshots/{snapshot}/blocks/{index}");
        let (status, _, body) =
            self.call("PutSnapshotBlock", Method::PUT, &uri, &headers, data).await;
        (status, String::from_utf8(body).unwrap())
    }

    async fn complete(&self, snapshot: &str, count: u64, fills: &[u8]) -> (u16, String) {
        let mut all = Sha256::new();
        fills.iter().for_each(|fill| all.update(Sha256::digest(vec![*fill; BLOCK as usize])));
        let headers = [
            ("x-amz-changedblockscount", count.to_string()),
            ("x-amz-checksum", STANDARD.encode(all.finalize())),
            ("x-amz-checksum-algorithm", "SHA256".to_owned()),
            ("x-amz-checksum-aggregation-method", "LINEAR".to_owned()),
        ];
        let uri = format!("/snapshots/completion/{snapshot}");
        let (status, _, body) =
            self.call("CompleteSnapshot", Method::POST, &uri, &headers, vec![]).await;
        (status, String::from_utf8(body).unwrap())
    }

    async fn list(&self, operation: &str, uri: &str) -> (u16, Value) {
        let (status, _, body) = self.call(operation, Method::GET, uri, &[], vec![]).await;
        (status, serde_json::from_slice(&body).unwrap())
    }
}

#[tokio::test]
async fn an_upload_round_trip() {
    let mut world = World::new();
    let first = world
        .started(
            json!({"VolumeSize": 1, "Tags": [{"Key": "Name", "Value": "up"}], "ClientToken": "a"}),
        )
        .await;
    let again =
        json!({"VolumeSize": 1, "Tags": [{"Key": "Name", "Value": "up"}], "ClientToken": "a"});
    assert_eq!(world.started(again).await, first);
    let (status, other) = world.start(json!({"VolumeSize": 2, "ClientToken": "a"})).await;
    assert_eq!((status, &other["code"]), (503, &json!("ConflictException")));
    for (index, fill) in [(0, 1), (2047, 2), (7, 3)] {
        assert_eq!(world.put(&first, index, fill).await.0, 201, "{index}");
    }
    assert_eq!(world.put(&first, 2048, 1).await.0, 400);
    let uri = format!("/snapshots/{first}/blocks");
    assert_eq!(world.list("ListSnapshotBlocks", &uri).await.0, 400, "it is pending");
    assert_eq!(world.complete(&first, 2, &[1, 3, 2]).await.0, 400, "three were written");
    assert_eq!(world.complete(&first, 3, &[1, 2, 3]).await.0, 400, "in another order");
    assert_eq!(world.complete(&first, 3, &[1, 3, 2]).await.0, 202);
    world.settle().await;
    let shown = ok(&world.cx, "DescribeSnapshots", &format!("SnapshotId.1={first}")).await;
    assert_eq!(text(&shown, "status"), "completed");
    assert_eq!(world.put(&first, 1, 9).await.0, 400, "it is complete");

    let (_, listed) = world.list("ListSnapshotBlocks", &uri).await;
    let indexes: Vec<u64> = listed["Blocks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|b| b["BlockIndex"].as_u64().unwrap())
        .collect();
    assert_eq!(indexes, [0, 7, 2047]);
    let from = format!("{uri}?startingBlockIndex=8&maxResults=100");
    let (_, rest) = world.list("ListSnapshotBlocks", &from).await;
    assert_eq!(rest["Blocks"].as_array().unwrap().len(), 1);

    let token = listed["Blocks"][1]["BlockToken"].as_str().unwrap();
    let token = wire::query::params::percent_encode(token.as_bytes(), false);
    let block = |index: u64| format!("/snapshots/{first}/blocks/{index}?blockToken={token}");
    let (status, headers, data) =
        world.call("GetSnapshotBlock", Method::GET, &block(7), &[], vec![]).await;
    assert_eq!((status, data), (200, vec![3; BLOCK as usize]));
    assert_eq!(headers["x-amz-checksum"], STANDARD.encode(Sha256::digest(vec![3; BLOCK as usize])));
    let (status, _, body) =
        world.call("GetSnapshotBlock", Method::GET, &block(0), &[], vec![]).await;
    assert_eq!(status, 400, "the token is another block's");
    assert!(String::from_utf8(body).unwrap().contains("INVALID_BLOCK_TOKEN"));

    // Over the first one, a block changed.
    let second = world.started(json!({"VolumeSize": 1, "ParentSnapshotId": first})).await;
    assert_eq!(world.put(&second, 7, 4).await.0, 201);
    assert_eq!(world.put(&second, 9, 5).await.0, 201);
    assert_eq!(world.complete(&second, 2, &[4, 5]).await.0, 202);
    world.settle().await;
    let uri = format!("/snapshots/{second}/changedblocks");
    let (_, changed) =
        world.list("ListChangedBlocks", &format!("{uri}?firstSnapshotId={first}")).await;
    let changed = changed["ChangedBlocks"].as_array().unwrap();
    assert_eq!(changed.len(), 2, "{changed:?}");
    assert_eq!(changed[0]["BlockIndex"], 7);
    assert!(changed[0]["FirstBlockToken"].is_string() && changed[1]["FirstBlockToken"].is_null());
    assert_eq!(world.list("ListChangedBlocks", &uri).await.0, 400);

    // A volume of it has the bytes of both.
    let made = format!("AvailabilityZone=us-east-1a&SnapshotId={second}");
    let volume = text(&ok(&world.cx, "CreateVolume", &made).await, "volumeId");
    world.settle().await;
    assert_eq!(world.driver.read_volume(&volume, 7 * BLOCK, 1).unwrap(), [4]);
    assert_eq!(world.driver.read_volume(&volume, 2047 * BLOCK, 1).unwrap(), [2]);
}

const OTHER_KEY: &str =
    "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab";

#[tokio::test]
async fn refusals() {
    let mut world = World::new();
    for (body, reason) in [
        (json!({"VolumeSize": 65_537}), "INVALID_VOLUME_SIZE"),
        (json!({"VolumeSize": 1, "KmsKeyArn": OTHER_KEY}), "INVALID_PARAMETER_VALUE"),
        (
            json!({"VolumeSize": 1, "Encrypted": true, "KmsKeyArn": OTHER_KEY}),
            "INVALID_PARAMETER_VALUE",
        ),
        (json!({"VolumeSize": 1, "Tags": [{"Key": "aws:x", "Value": ""}]}), "INVALID_TAG"),
    ] {
        let (status, answer) = world.start(body.clone()).await;
        assert_eq!((status, &answer["reason"]), (400, &json!(reason)), "{body}");
    }
    let none = "/snapshots/snap-0123456789abcdef0/blocks";
    let (status, answer) = world.list("ListSnapshotBlocks", none).await;
    assert_eq!((status, &answer["code"]), (404, &json!("ResourceNotFoundException")));
    let mut snapshots = Vec::new();
    for _ in 0..2 {
        let id = world.started(json!({"VolumeSize": 1})).await;
        assert_eq!(world.complete(&id, 0, &[]).await.0, 202);
        snapshots.push(id);
    }
    world.settle().await;
    let [a, b] = snapshots.as_slice() else { panic!() };
    let uri = format!("/snapshots/{a}/changedblocks?firstSnapshotId={b}");
    assert_eq!(world.list("ListChangedBlocks", &uri).await.1["reason"], "UNRELATED_SNAPSHOTS");
}

#[tokio::test]
async fn uploads_are_as_encrypted_as_their_parents() {
    let mut world = World::new();
    let key = crate::ec2::volume::encryption::key_arn(&world.cx);
    let (status, answer) = world.start(json!({"VolumeSize": 1, "Encrypted": true})).await;
    assert_eq!((status, &answer["KmsKeyArn"]), (201, &json!(key)), "{answer}");
    let sealed = answer["SnapshotId"].as_str().unwrap().to_owned();
    let plain = world.started(json!({"VolumeSize": 1})).await;
    for id in [&sealed, &plain] {
        assert_eq!(world.put(id, 3, 7).await.0, 201);
        assert_eq!(world.complete(id, 1, &[7]).await.0, 202);
    }
    world.settle().await;
    let child = world.started(json!({"VolumeSize": 1, "ParentSnapshotId": sealed})).await;
    for id in [&sealed, &plain, &child] {
        let shown = ok(&world.cx, "DescribeSnapshots", &format!("SnapshotId.1={id}")).await;
        assert_eq!(text(&shown, "encrypted"), (id != &plain).to_string());
        let stored = world.driver.stored().unwrap();
        let stored = stored.iter().find(|stored| stored.name == *id).unwrap();
        assert_eq!(stored.encrypted, id != &plain);
    }
    ok(&world.cx, "EnableEbsEncryptionByDefault", "").await;
    for body in [
        json!({"VolumeSize": 1, "ParentSnapshotId": plain}),
        json!({"VolumeSize": 1, "ParentSnapshotId": sealed, "Encrypted": true}),
        json!({"VolumeSize": 1, "ParentSnapshotId": sealed, "KmsKeyArn": key}),
    ] {
        assert_eq!(world.start(body.clone()).await.0, 400, "{body}");
    }
    let (_, answer) = world.start(json!({"VolumeSize": 1})).await;
    assert_eq!(answer["KmsKeyArn"], json!(key));
}

#[tokio::test]
async fn an_upload_that_nobody_feeds_fails() {
    let mut world = World::new();
    let id = world.started(json!({"VolumeSize": 1, "Timeout": 10})).await;
    let later = world.cx.now.plus(std::time::Duration::from_secs(601));
    world.cx.env.clock.advance(later);
    world.cx.now = later;
    world.settle().await;
    let shown = ok(&world.cx, "DescribeSnapshots", &format!("SnapshotId.1={id}")).await;
    assert_eq!(text(&shown, "status"), "error");
    assert_eq!(world.put(&id, 0, 1).await.0, 400);
}
