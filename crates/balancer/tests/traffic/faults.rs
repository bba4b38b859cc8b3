//! Targets and clients that fail: what is tried again, what is answered, what is cut off.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use tokio::io::AsyncWriteExt;

use crate::world::*;

#[tokio::test]
async fn no_targets() {
    let world = World::start(&[]).await;
    let reply = world.get("/").await;
    assert_eq!((reply.status(), reply.header("content-type")), (503, Some("text/html")));
    assert!(reply.text().contains("<title>503 Service Temporarily Unavailable</title>"));
    assert_eq!(world.listener_counters().elb_503, 1);
    assert_eq!(world.counters().requests, 0);
}

#[tokio::test]
async fn a_refused_connection_means_another_target() {
    let origin = Origin::named("alive").await;
    let world = World::start(&[refusing_address(), origin.address]).await;
    for method in ["GET", "POST", "GET", "POST"] {
        let mut client = world.connect().await;
        client.send(format!("{method} / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx")).await;
        assert_eq!(client.reply().await.text(), "alive");
    }
    assert!(world.counters().connection_errors >= 1);
}

#[tokio::test]
async fn a_body_not_yet_read_survives_a_refused_connection() {
    let origin = Origin::http(|request| ok(request.body)).await;
    let world = World::start(&[refusing_address(), origin.address]).await;
    let mut client = world.connect().await;
    client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n").await;
    client.send(vec![b'x'; 100_000]).await;
    assert_eq!(client.reply().await.body.len(), 100_000);
}

#[tokio::test]
async fn all_connections_refused() {
    let world = World::start(&[refusing_address(), refusing_address()]).await;
    let mut client = world.connect().await;
    assert_eq!(client.get("/").await.status(), 502);
    // The connection stays in order.
    client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello").await;
    assert_eq!(client.reply().await.status(), 502);
    assert_eq!(client.get("/").await.status(), 502);
    assert_eq!(world.listener_counters().elb_502, 3);
    assert_eq!(world.counters().requests, 3);
}

/// Serves one request per connection, and closes when the next has come. Counts what has come.
async fn closes_on_the_second_request(seen: Arc<AtomicUsize>) -> Origin {
    Origin::start(move |mut reader| {
        let seen = seen.clone();
        async move {
            if reader.message(false).await.is_some() {
                seen.fetch_add(1, SeqCst);
                reader.stream.write_all(&ok("first")).await.unwrap();
            }
            if reader.message(false).await.is_some() {
                seen.fetch_add(1, SeqCst);
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_kept_connection_that_ends_is_replaced_for_what_may_be_sent_twice() {
    let seen = Arc::new(AtomicUsize::new(0));
    let origin = closes_on_the_second_request(seen.clone()).await;
    let world = World::start(&[origin.address]).await;
    let mut client = world.connect().await;
    for method in ["GET", "PUT", "DELETE", "GET", "PUT"] {
        let body = "Content-Length: 3\r\n\r\nabc";
        client.send(format!("{method} / HTTP/1.1\r\nHost: h\r\n{body}")).await;
        // A GET with a body is odd, and ends its connections.
        assert_eq!(client.reply().await.text(), "first");
        if method == "GET" {
            client = world.connect().await;
        }
    }
    for _ in 0..3 {
        assert_eq!(client.get("/").await.text(), "first");
    }
}

#[tokio::test]
async fn a_post_is_never_sent_twice() {
    let seen = Arc::new(AtomicUsize::new(0));
    let origin = closes_on_the_second_request(seen.clone()).await;
    let world = World::start(&[origin.address]).await;
    let mut client = world.connect().await;
    let mut sent = 0;
    loop {
        client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc").await;
        let status = client.reply().await.status();
        sent += 1;
        assert_eq!(seen.load(SeqCst), sent);
        // Only one on a kept connection fails, which needs the one before to be recent.
        if status == 502 {
            break;
        }
        assert!(sent < 1000, "no connection is ever kept");
    }
}

#[tokio::test]
async fn a_connection_that_ended_while_it_was_kept_is_not_used() {
    let origin = Origin::start(|mut reader| async move {
        reader.message(false).await;
        reader.stream.write_all(&ok("only")).await.unwrap();
    })
    .await;
    let world = World::start(&[origin.address]).await;
    let mut client = world.connect().await;
    for _ in 0..20 {
        client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc").await;
        assert_eq!(client.reply().await.text(), "only");
        // The target closes on its own side a moment after its answer.
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn no_answer_on_a_new_connection_is_502() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = asked.clone();
    let origin = Origin::start(move |mut reader| {
        counted.fetch_add(1, SeqCst);
        async move {
            reader.message(false).await;
        }
    })
    .await;
    let world = World::start(&[origin.address]).await;
    assert_eq!(world.get("/").await.status(), 502);
    assert_eq!(asked.load(SeqCst), 1, "what may have killed one target is not shown to the next");
}

#[tokio::test]
async fn answers_that_are_not_http() {
    let bad = [
        "nonsense\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        "HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    ];
    for answer in bad {
        let origin = Origin::http(move |_| answer.into()).await;
        let world = World::start(&[origin.address]).await;
        assert_eq!(world.get("/").await.status(), 502, "{answer:?}");
    }
    let origin =
        Origin::http(|_| format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "a".repeat(40_000)).into());
    let world = World::start(&[origin.await.address]).await;
    assert_eq!(world.get("/").await.status(), 502);
}

#[tokio::test]
async fn a_target_that_dies_mid_response_breaks_the_client_s_connection() {
    for head in ["Content-Length: 1000", "Transfer-Encoding: chunked", "Connection: close"] {
        let origin = Origin::start(move |mut reader| async move {
            reader.message(false).await;
            let start = format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n5\r\nhello\r\n");
            reader.stream.write_all(start.as_bytes()).await.unwrap();
            // Resets the connection, as a killed machine does.
            socket2::SockRef::from(&reader.stream).set_linger(Some(Default::default())).unwrap();
        })
        .await;
        let world = World::start(&[origin.address]).await;
        let mut client = world.connect().await;
        client.send("GET / HTTP/1.0\r\nHost: h\r\n\r\n").await;
        assert!(client.try_reply().await.is_none(), "{head}");
        until(|| world.in_flight() == 0).await;
    }
}

#[tokio::test]
async fn a_target_that_says_nothing_is_504() {
    let origin = Origin::silent().await;
    let world = World::with(&[origin.address], |s| s.listeners[0].idle_timeout_ms = 200).await;
    let reply = world.get("/").await;
    assert_eq!(reply.status(), 504);
    assert!(reply.text().contains("504 Gateway Time-out"));
    assert_eq!(world.listener_counters().elb_504, 1);
}

#[tokio::test]
async fn a_slow_target_within_the_idle_timeout_is_waited_for() {
    let origin = Origin::start(|mut reader| async move {
        reader.message(false).await;
        reader.stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n").await.unwrap();
        for byte in b"hello" {
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            reader.stream.write_all(&[*byte]).await.unwrap();
        }
    })
    .await;
    let world = World::with(&[origin.address], |s| s.listeners[0].idle_timeout_ms = 400).await;
    assert_eq!(world.get("/").await.text(), "hello");
}

#[tokio::test]
async fn a_client_that_leaves_is_counted_and_the_target_let_go() {
    let origin = Origin::silent().await;
    let world = World::start(&[origin.address]).await;
    let mut client = world.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
    until(|| world.in_flight() == 1).await;
    drop(client);
    until(|| world.in_flight() == 0).await;
    until(|| world.listener_counters().elb_4xx == 1).await;
    until(|| world.listener_counters().active_connections == 0).await;
}

#[tokio::test]
async fn a_client_that_stops_halfway_is_told() {
    let world = World::with(&[], |s| s.listeners[0].idle_timeout_ms = 100).await;
    let mut client = world.connect().await;
    client.send("GET / HTT").await;
    assert_eq!(client.reply().await.status(), 408);
    assert!(client.is_closed().await);
    let mut silent = world.connect().await;
    assert!(silent.is_closed().await, "nothing is said to one that said nothing");
}

#[tokio::test]
async fn a_body_that_is_not_framed_right_never_ends_well() {
    let origin = Origin::http(|request| ok(request.body)).await;
    let world = World::start(&[origin.address]).await;
    let mut client = world.connect().await;
    client
        .send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n")
        .await;
    assert_eq!(client.reply().await.status(), 400);
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn a_target_that_does_not_answer_the_call_means_another() {
    // Its queue is full: the kernel drops what else would connect.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    socket.listen(0).unwrap();
    let hole = v4(socket.local_addr().unwrap().as_socket().unwrap());
    let _filling = std::net::TcpStream::connect(hole).unwrap();
    let alive = Origin::named("alive").await;
    let world = World::start(&[hole, alive.address]).await;
    for _ in 0..4 {
        let mut client = world.connect().await;
        client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx").await;
        assert_eq!(client.reply().await.text(), "alive");
    }
    assert!(world.counters().connection_errors >= 1);
}
