//! Who gets a request: algorithms, weights, stickiness, drain, health, changes under load.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use balancer::snapshot::*;
use tokio::io::AsyncWriteExt;
use tokio::sync::Notify;

use crate::world::*;

/// How many of `n` requests each name answered.
async fn spread(world: &World, n: usize) -> BTreeMap<String, usize> {
    let mut client = world.connect().await;
    let mut counts = BTreeMap::new();
    for _ in 0..n {
        let reply = client.get("/").await;
        assert_eq!(reply.status(), 200);
        *counts.entry(reply.text().to_string()).or_default() += 1;
    }
    counts
}

async fn abc() -> [Origin; 3] {
    [Origin::named("a").await, Origin::named("b").await, Origin::named("c").await]
}

fn addresses(origins: &[Origin]) -> Vec<std::net::SocketAddrV4> {
    origins.iter().map(|o| o.address).collect()
}

#[tokio::test]
async fn round_robin_is_even() {
    let origins = abc().await;
    let world = World::start(&addresses(&origins)).await;
    let counts = spread(&world, 30).await;
    assert_eq!(counts.into_values().collect::<Vec<_>>(), [10, 10, 10]);
}

#[tokio::test]
async fn random_is_nearly_even() {
    let origins = abc().await;
    let mut world = World::start(&addresses(&origins)).await;
    world.group().algorithm = Algorithm::WeightedRandom;
    world.change(|_| {}).await;
    // Expected 200 each; the chance to be 100 off is below 1e-15.
    assert!(spread(&world, 600).await.into_values().all(|n| n > 100));
}

#[tokio::test]
async fn the_least_busy_is_preferred() {
    let release = Arc::new(Notify::new());
    let wait = release.clone();
    let slow = Origin::start(move |mut reader| {
        let wait = wait.clone();
        async move {
            reader.message(false).await;
            wait.notified().await;
            reader.stream.write_all(&ok("slow")).await.unwrap();
        }
    })
    .await;
    let fast = Origin::named("fast").await;
    let mut world = World::start(&[slow.address, fast.address]).await;
    world.group().algorithm = Algorithm::LeastOutstandingRequests;
    world.change(|_| {}).await;
    let mut waiting = world.connect().await;
    waiting.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
    until(|| world.in_flight() == 1).await;
    assert_eq!(spread(&world, 10).await["fast"], 10);
    release.notify_one();
    assert_eq!(waiting.reply().await.text(), "slow");
}

#[tokio::test]
async fn groups_share_by_weight() {
    let (a, b) = (Origin::named("a").await, Origin::named("b").await);
    let mut world = World::with(&[a.address], |s| {
        s.target_groups.insert("h".into(), group(&[b.address]));
        s.listeners[0].rules[0].action = Action::Forward {
            groups: vec![("g".into(), 3), ("h".into(), 1)],
            stickiness_seconds: None,
        };
    })
    .await;
    let a_of_400 = spread(&world, 400).await["a"];
    assert!((250..350).contains(&a_of_400), "{a_of_400}");
    world
        .change(|s| {
            s.listeners[0].rules[0].action = Action::Forward {
                groups: vec![("g".into(), 0), ("h".into(), 1)],
                stickiness_seconds: None,
            };
        })
        .await;
    assert_eq!(spread(&world, 20).await["b"], 20);
    // A group that has weight but no targets is chosen, and answers so.
    world.change(|s| s.target_groups.get_mut("h").unwrap().targets.clear()).await;
    assert_eq!(world.get("/").await.status(), 503);
}

/// The `Cookie` header for what was set.
fn cookies(reply: &Reply) -> String {
    let pairs = reply.headers("set-cookie").into_iter().map(|c| c.split(';').next().unwrap());
    format!("Cookie: {}\r\n", pairs.collect::<Vec<_>>().join("; "))
}

#[tokio::test]
async fn a_cookie_sticks_to_a_target_until_it_is_gone() {
    let origins = abc().await;
    let mut world = World::start(&addresses(&origins)).await;
    world.group().stickiness_seconds = Some(60);
    world.change(|_| {}).await;
    let mut client = world.connect().await;
    let first = client.get("/").await;
    let set = first.headers("set-cookie");
    assert!(set[0].starts_with("AWSALB=") && set[0].ends_with("; Path=/"), "{set:?}");
    assert!(set[1].starts_with("AWSALBCORS=") && set[1].ends_with("; SameSite=None"), "{set:?}");
    let cookie = cookies(&first);
    for _ in 0..10 {
        assert_eq!(client.get_with("/", &cookie).await.text(), first.text());
    }
    // Another node understands it.
    let mut other = World::start(&addresses(&origins)).await;
    other.group().stickiness_seconds = Some(60);
    other.change(|_| {}).await;
    for _ in 0..5 {
        let mut client = other.connect().await;
        assert_eq!(client.get_with("/", &cookie).await.text(), first.text());
    }
    let stuck = origins.iter().zip(["a", "b", "c"]).position(|(_, n)| n == first.text()).unwrap();
    world.group().targets[stuck].draining = true;
    world.change(|_| {}).await;
    let moved = client.get_with("/", &cookie).await;
    assert_ne!(moved.text(), first.text());
    let cookie = cookies(&moved);
    for _ in 0..5 {
        assert_eq!(client.get_with("/", &cookie).await.text(), moved.text());
    }
}

#[tokio::test]
async fn a_cookie_sticks_to_a_group() {
    let (a, b) = (Origin::named("a").await, Origin::named("b").await);
    let world = World::with(&[a.address], |s| {
        s.target_groups.insert("h".into(), group(&[b.address]));
        s.listeners[0].rules[0].action = Action::Forward {
            groups: vec![("g".into(), 1), ("h".into(), 1)],
            stickiness_seconds: Some(60),
        };
    })
    .await;
    let mut client = world.connect().await;
    let first = client.get("/").await;
    assert!(first.headers("set-cookie")[0].starts_with("AWSALBTG="));
    let cookie = cookies(&first);
    for _ in 0..20 {
        assert_eq!(client.get_with("/", &cookie).await.text(), first.text());
    }
}

#[tokio::test]
async fn what_a_removed_target_never_answered_ends() {
    let mute =
        Origin::start(|mut reader| async move { while reader.message(false).await.is_some() {} })
            .await;
    let b = Origin::named("b").await;
    let mut world = World::start(&[mute.address]).await;
    let (mut get, mut post) = (world.connect().await, world.connect().await);
    get.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
    post.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx").await;
    until(|| world.in_flight() == 2).await;
    world.group().targets = group(&[b.address]).targets;
    world.group().targets[0].id = "other".into();
    world.change(|_| {}).await;
    // Nobody else was there when these were sent.
    assert_eq!(get.reply().await.status(), 502);
    assert_eq!(post.reply().await.status(), 502);
}

#[tokio::test]
async fn a_draining_target_ends_what_it_has_and_gets_nothing_new() {
    let release = Arc::new(Notify::new());
    let wait = release.clone();
    let a = Origin::start(move |mut reader| {
        let wait = wait.clone();
        async move {
            while reader.message(false).await.is_some() {
                wait.notified().await;
                reader.stream.write_all(&ok("a")).await.unwrap();
            }
        }
    })
    .await;
    let b = Origin::named("b").await;
    let mut world = World::start(&[a.address]).await;
    let mut waiting = world.connect().await;
    waiting.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
    until(|| world.in_flight() == 1).await;
    let with_b = group(&[a.address, b.address]).targets;
    world.group().targets = with_b;
    world.group().targets[0].draining = true;
    world.change(|_| {}).await;
    assert_eq!(spread(&world, 10).await["b"], 10);
    assert_eq!(world.plane.report().health["g"]["t0"].in_flight, 1);
    release.notify_one();
    assert_eq!(waiting.reply().await.text(), "a");
    until(|| world.plane.report().health["g"]["t0"].in_flight == 0).await;
    // Alone it is no target at all.
    world.group().targets.truncate(1);
    world.change(|_| {}).await;
    assert_eq!(world.get("/").await.status(), 503);
}

#[tokio::test]
async fn what_is_not_eligible_is_checked_but_gets_nothing() {
    let origins = abc().await;
    let mut world = World::start(&addresses(&origins)).await;
    world.group().health_check = Some(check());
    world.group().targets[1].eligible = false;
    world.change(|_| {}).await;
    until(|| world.health("t1") == HealthState::Healthy).await;
    assert!(!spread(&world, 30).await.contains_key("b"));
}

fn check() -> HealthCheck {
    HealthCheck {
        path: "/health".into(),
        port: None,
        interval_ms: 20,
        timeout_ms: 200,
        healthy_threshold: 2,
        unhealthy_threshold: 2,
        matcher: vec![(200, 299)],
    }
}

#[tokio::test]
async fn health_decides_and_all_unhealthy_is_all_open() {
    let status = Arc::new(AtomicU16::new(200));
    let told = status.clone();
    let a = Origin::http(move |request| {
        if request.path() != "/health" {
            return ok("a");
        }
        assert_eq!(request.header("user-agent"), Some("ELB-HealthChecker/2.0"));
        let status = told.load(SeqCst);
        format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").into()
    })
    .await;
    let b = Origin::named("b").await;
    let mut world = World::start(&[a.address, b.address]).await;
    assert_eq!(world.health("t0"), HealthState::Unchecked);
    world.group().health_check = Some(check());
    world.change(|_| {}).await;
    until(|| {
        world.health("t0") == HealthState::Healthy && world.health("t1") == HealthState::Healthy
    })
    .await;
    assert_eq!(spread(&world, 20).await["a"], 10);

    status.store(500, SeqCst);
    until(|| world.health("t0") == HealthState::Unhealthy(Cause::Status(500))).await;
    assert_eq!(spread(&world, 20).await["b"], 20);
    // States live over snapshots.
    world.change(|s| s.listeners[0].idle_timeout_ms = 5000).await;
    assert_eq!(world.health("t0"), HealthState::Unhealthy(Cause::Status(500)));

    let gone = b.address;
    drop(b);
    until(|| world.health("t1") == HealthState::Unhealthy(Cause::ConnectionFailed)).await;
    // Both are tried; the one that answers answers.
    assert_eq!(spread(&world, 10).await["a"], 10);
    status.store(200, SeqCst);
    until(|| world.health("t0") == HealthState::Healthy).await;

    let listener = tokio::net::TcpListener::bind(gone).await.unwrap();
    let silent = Origin::on(listener, Origin::silence);
    until(|| world.health("t1") == HealthState::Unhealthy(Cause::Timeout)).await;
    drop(silent);
}

#[tokio::test]
async fn a_changed_check_takes_effect_at_once() {
    let a = Origin::named("a").await;
    let mut world = World::start(&[a.address]).await;
    world.group().health_check = Some(HealthCheck { interval_ms: 3_600_000, ..check() });
    world.change(|_| {}).await;
    until(|| world.health("t0") == HealthState::Healthy).await;
    world.group().health_check =
        Some(HealthCheck { matcher: vec![(201, 201)], unhealthy_threshold: 1, ..check() });
    world.change(|_| {}).await;
    until(|| world.health("t0") == HealthState::Unhealthy(Cause::Status(200))).await;
}

#[tokio::test]
async fn slow_start_ramps_up() {
    let origins = [Origin::named("old").await, Origin::named("new").await];
    let mut world = World::start(&addresses(&origins)).await;
    world.group().health_check = Some(check());
    world.group().targets.truncate(1);
    world.change(|_| {}).await;
    until(|| world.health("t0") == HealthState::Healthy).await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    let both = group(&addresses(&origins)).targets;
    world.group().targets = both;
    // The first is past it, the second at its beginning.
    world.group().slow_start_ms = 500;
    world.change(|_| {}).await;
    until(|| world.health("t1") == HealthState::Healthy).await;
    let early = spread(&world, 20).await.get("new").copied().unwrap_or(0);
    assert!(early < 10, "{early}");
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(spread(&world, 20).await["new"], 10);
}

#[tokio::test]
async fn a_removed_listener_lets_requests_end() {
    let release = Arc::new(Notify::new());
    let wait = release.clone();
    let a = Origin::start(move |mut reader| {
        let wait = wait.clone();
        async move {
            reader.message(false).await;
            wait.notified().await;
            reader.stream.write_all(&ok("a")).await.unwrap();
        }
    })
    .await;
    let mut world = World::start(&[a.address]).await;
    let mut idle = world.connect().await;
    release.notify_one();
    assert_eq!(idle.get("/").await.text(), "a");
    until(|| world.in_flight() == 0).await;
    let mut waiting = world.connect().await;
    waiting.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
    until(|| world.in_flight() == 1).await;
    world.change(|s| s.listeners.clear()).await;
    assert!(idle.is_closed().await);
    release.notify_one();
    assert_eq!(waiting.reply().await.text(), "a");
    assert!(waiting.is_closed().await);
    until(|| std::net::TcpStream::connect(world.address).is_err()).await;
}

#[tokio::test]
async fn an_address_moves_between_listeners() {
    let a = Origin::named("a").await;
    let mut world = World::start(&[a.address]).await;
    let mut client = world.connect().await;
    assert_eq!(client.get("/").await.status(), 200);
    world
        .change(|s| {
            s.listeners[0].id = "other".into();
            s.listeners[0].rules[0].action =
                Action::FixedResponse { status: 418, content_type: None, body: "".into() };
        })
        .await;
    assert!(client.is_closed().await);
    assert_eq!(world.get("/").await.status(), 418);
}

#[tokio::test]
async fn an_address_in_use_is_reported_and_taken_when_free() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = v4(taken.local_addr().unwrap());
    let mut world = World::start(&[]).await;
    world.change(|s| s.listeners[0].binds.push(Bind { network: None, address })).await;
    let errors = world.plane.report().bind_errors;
    assert_eq!(errors.len(), 1);
    assert_eq!(errors[0].0.address, address);
    assert!(!world.plane.retry().await);
    drop(taken);
    assert!(world.plane.retry().await);
    assert_eq!(Client::connect(address).await.get("/").await.status(), 503);
}

/// Snapshots come and targets go, while clients never stop: nothing fails.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_under_load_fail_nothing() {
    let origins = abc().await;
    let all = group(&addresses(&origins)).targets;
    let mut world = World::start(&addresses(&origins)).await;
    world.group().health_check = Some(check());
    world.change(|_| {}).await;
    let stop = Arc::new(AtomicBool::new(false));
    let done = Arc::new(AtomicUsize::new(0));
    let mut clients = tokio::task::JoinSet::new();
    for i in 0..8 {
        let (stop, done, address) = (stop.clone(), done.clone(), world.address);
        clients.spawn(async move {
            let mut client = Client::connect(address).await;
            while !stop.load(SeqCst) {
                let request = if i % 2 == 0 {
                    "GET / HTTP/1.1\r\nHost: h\r\n\r\n"
                } else {
                    "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello"
                };
                client.send(request).await;
                let reply = client.reply().await;
                assert_eq!(reply.status(), 200);
                done.fetch_add(1, SeqCst);
            }
        });
    }
    for round in 0..60 {
        let keep = [0b111, 0b011, 0b101, 0b110, 0b001][round % 5];
        world.group().targets = all.clone();
        for (i, target) in world.group().targets.iter_mut().enumerate() {
            target.draining = keep & (1 << i) == 0;
        }
        if round % 3 == 0 {
            world.group().targets.retain(|t| !t.draining);
        }
        world.change(|_| {}).await;
        let seen = done.load(SeqCst);
        until(|| done.load(SeqCst) > seen + 50).await;
    }
    stop.store(true, SeqCst);
    while let Some(result) = clients.join_next().await {
        result.unwrap();
    }
}
