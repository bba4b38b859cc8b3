//! What an instance reads of itself, as IMDS clients ask for it.

use std::net::Ipv4Addr;

use http::{Request, Response};

use super::{HopLimit, Service};
use crate::ec2::instance::launch::{Launch, Metadata};
use crate::ec2::instance::model::Instance;
use crate::ec2::instance::ops;
use crate::ec2::placement_group::Member;
use crate::ec2::{Error, image};
use crate::testing;
use crate::{Context, Timestamp};

struct World {
    cx: Context,
    service: Service,
    instance: Instance,
}

impl World {
    async fn new(metadata: Metadata) -> World {
        let cx = testing::context();
        let tags = [("Name".to_owned(), "web".to_owned())].into();
        let launch = Launch {
            image_id: Some(image::ops::built_in_id()),
            instance_type: Some("t3.micro".into()),
            min_count: 1,
            max_count: 2,
            zone: Some("us-east-1b".into()),
            user_data: Some("IyEvYmluL3NoCg==".into()),
            tags: [("instance".to_owned(), tags)].into(),
            metadata,
            ..Launch::default()
        };
        let mut launched = cx.write(|tx| ops::run(tx, &cx, &launch)).await.unwrap();
        let instance = launched.instances.remove(0);
        World { service: Service::new(cx.env.clone(), [7; 32]), instance, cx }
    }

    fn send(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Response<Vec<u8>> {
        self.send_from(self.instance.private_ip, method, path, headers)
    }

    fn send_from(
        &self,
        source: Ipv4Addr,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Response<Vec<u8>> {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.service.answer(&self.instance.vpc_id, source, &request.body(()).unwrap())
    }

    fn get(&self, path: &str) -> String {
        let response = self.send("GET", path, &[]);
        assert_eq!(response.status(), 200, "{path}");
        String::from_utf8(response.into_body()).unwrap()
    }

    fn token(&self, ttl: &str) -> Response<Vec<u8>> {
        self.send("PUT", "/latest/api/token", &[("X-aws-ec2-metadata-token-ttl-seconds", ttl)])
    }
}

fn tags_on() -> Metadata {
    Metadata { instance_metadata_tags: Some("enabled".into()), ..Metadata::default() }
}

fn tokens_required() -> Metadata {
    Metadata {
        http_tokens: Some("required".into()),
        http_put_response_hop_limit: Some(2),
        ..Metadata::default()
    }
}

#[tokio::test]
async fn the_tree() {
    let world = World::new(tags_on()).await;
    let i = &world.instance;
    let address = i.private_ip.to_string();
    for (path, expected) in [
        ("/latest/", "dynamic\nmeta-data\nuser-data"),
        ("/latest/user-data", "#!/bin/sh\n"),
        ("/latest/meta-data/instance-id", i.id.as_str()),
        ("/2009-04-04/meta-data/instance-id", &i.id),
        ("/latest/meta-data/local-ipv4", &address),
        ("/latest/meta-data/placement", "availability-zone\navailability-zone-id\nregion"),
        ("/latest/meta-data/placement/", "availability-zone\navailability-zone-id\nregion"),
        ("/latest/meta-data/placement/availability-zone-id", "use1-az2"),
        ("/latest/meta-data/services/", "domain\npartition"),
        ("/latest/meta-data/security-groups", "default"),
        ("/latest/meta-data/tags/instance/", "Name"),
        ("/latest/meta-data/tags/instance/Name", "web"),
        ("/latest/dynamic/instance-identity/", "document"),
    ] {
        assert_eq!(world.get(path), expected, "{path}");
    }
    let member = Member {
        group_id: "pg-0123456789abcdef0".into(),
        group_name: "kv".into(),
        partition: Some(2),
    };
    let placed = Instance { placement_group: Some(member), ..i.clone() };
    world
        .cx
        .write(|tx| {
            tx.put(placed.clone());
            Ok::<_, store::Error>(())
        })
        .await
        .unwrap();
    assert_eq!(world.get("/latest/meta-data/placement/group-name"), "kv");
    assert_eq!(world.get("/latest/meta-data/placement/partition-number"), "2");
    let listing = world.get("/latest/meta-data/");
    assert!(listing.starts_with("ami-id\nami-launch-index\n"), "{listing}");
    assert!(listing.contains("\nnetwork/\n") && !listing.contains("iam"), "{listing}");
    let mac = world.get("/latest/meta-data/network/interfaces/macs/");
    let subnet = world
        .get(&format!("/latest/meta-data/network/interfaces/macs/{mac}subnet-ipv4-cidr-block"));
    assert_eq!(subnet, "172.31.16.0/20");
    let document: serde_json::Value =
        serde_json::from_str(&world.get("/latest/dynamic/instance-identity/document")).unwrap();
    assert_eq!(document["instanceId"], i.id);
    assert_eq!(document["pendingTime"], "2026-01-01T00:00:00Z");
    assert!(world.get("/").ends_with("\nlatest"));
    for absent in
        ["/latest/meta-data/iam/", "/1999-01-01/meta-data/", "/latest/meta-data/public-keys/", "/x"]
    {
        assert_eq!(world.send("GET", absent, &[]).status(), 404, "{absent}");
    }
    let head = world.send("HEAD", "/latest/meta-data/instance-id", &[]);
    assert_eq!((head.status().as_u16(), head.body().len()), (200, 0));
}

#[tokio::test]
async fn tokens() {
    let world = World::new(tokens_required()).await;
    let path = "/latest/meta-data/instance-id";
    let status = |token: &str| {
        world.send("GET", path, &[("X-aws-ec2-metadata-token", token)]).status().as_u16()
    };
    assert_eq!(world.send("GET", path, &[]).status(), 401);
    for (ttl, expected) in [("0", 400), ("21601", 400), ("x", 400), ("1", 200), ("21600", 200)] {
        assert_eq!(world.token(ttl).status(), expected, "{ttl}");
    }
    assert_eq!(world.send("PUT", "/latest/api/token", &[]).status(), 400);
    assert_eq!(world.send("GET", "/latest/api/token", &[]).status(), 405);
    assert_eq!(world.send("PUT", path, &[]).status(), 405);
    let forwarded =
        [("X-aws-ec2-metadata-token-ttl-seconds", "60"), ("X-Forwarded-For", "1.2.3.4")];
    assert_eq!(world.send("PUT", "/latest/api/token", &forwarded).status(), 403);

    let response = world.token("60");
    assert_eq!(response.extensions().get(), Some(&HopLimit(2)));
    assert_eq!(response.headers()["x-aws-ec2-metadata-token-ttl-seconds"], "60");
    let token = String::from_utf8(response.into_body()).unwrap();
    assert_eq!(status(&token), 200);
    assert_eq!(status(&token.replacen('A', "B", 1)), 401);
    assert_eq!(status("nonsense"), 401);

    let other = ops::instances(&world.cx.read(), &world.cx)
        .into_iter()
        .find(|i| i.id != world.instance.id)
        .unwrap();
    let header = [("X-aws-ec2-metadata-token", token.as_str())];
    assert_eq!(world.send_from(other.private_ip, "GET", path, &header).status(), 401);

    let end = Timestamp(world.cx.now.0 + 60_000);
    world.cx.env.clock.advance(end);
    assert_eq!(status(&token), 401);
}

#[tokio::test]
async fn who_may_ask() {
    let world = World::new(Metadata::default()).await;
    let path = "/latest/meta-data/instance-id";
    let stranger = Ipv4Addr::new(172, 31, 40, 40);
    assert_eq!(world.send_from(stranger, "GET", path, &[]).status(), 404);
    let id = world.instance.id.clone();
    world
        .cx
        .write(|tx| {
            let off = Metadata { http_endpoint: Some("disabled".into()), ..Metadata::default() };
            crate::ec2::instance::attribute::modify_metadata(tx, &world.cx, &id, &off)?;
            Ok::<_, Error>(())
        })
        .await
        .unwrap();
    assert_eq!(world.send("GET", path, &[]).status(), 403);
    assert_eq!(world.token("60").status(), 403);
}
