//! Messages pass whole and right: framing, streaming, keep-alive, upgrades.

use std::time::Duration;

use crate::world::*;
use balancer::snapshot::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test]
async fn a_request_and_its_answer_pass() {
    let origin = Origin::echo().await;
    let world = World::start(&[origin.address]).await;
    let mut client = world.connect().await;
    for i in 0..3 {
        let reply = client.get(&format!("/{i}?q")).await;
        assert_eq!(reply.status(), 200);
        assert!(reply.text().starts_with(&format!("GET /{i}?q HTTP/1.1\r\nHost: test:")));
        assert!(reply.text().contains("\r\nX-Forwarded-For: 127.0.0.1\r\n"), "{}", reply.text());
        assert_eq!(reply.header("server"), Some("awselb/2.0"));
        assert_eq!(reply.header("connection"), Some("keep-alive"));
    }
    assert_eq!(origin.connections(), 1, "the connection is kept");
    let counters = world.counters();
    assert_eq!((counters.requests, counters.target_2xx), (3, 3));
    assert_eq!(world.listener_counters().requests, 3);
    until(|| world.in_flight() == 0).await;
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let origin = Origin::http(|request| ok(request.path())).await;
    let world = World::start(&[origin.address]).await;
    let mut client = world.connect().await;
    client
        .send(
            "GET /1 HTTP/1.1\r\nHost: h\r\n\r\n\r\nPOST /2 HTTP/1.1\r\nHost: h\r\n\
             Content-Length: 2\r\n\r\nxyGET /3 HTTP/1.1\r\nHost: h\r\n\r\n",
        )
        .await;
    for path in ["/1", "/2", "/3"] {
        assert_eq!(client.reply().await.text(), path);
    }
}

#[tokio::test]
async fn a_head_may_come_byte_by_byte() {
    let origin = Origin::echo().await;
    let world = World::start(&[origin.address]).await;
    let mut client = world.connect().await;
    for byte in b"\r\nGET /slow HTTP/1.1\r\nHost: h\r\n\r\n" {
        client.send([*byte]).await;
        tokio::task::yield_now().await;
    }
    assert!(client.reply().await.text().starts_with("GET /slow "));
}

fn big() -> Vec<u8> {
    (0..5_000_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

#[tokio::test]
async fn big_bodies_stream_both_ways() {
    let origin = Origin::http(|request| ok(request.body)).await;
    let world = World::start(&[origin.address]).await;
    let body = big();
    let mut client = world.connect().await;
    let head = format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n", body.len());
    client.send(head).await;
    client.send(&body).await;
    assert!(client.reply().await.body == body);

    client.send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    for chunk in body.chunks(77_777) {
        client.send(format!("{:X};x=y\r\n", chunk.len())).await;
        client.send(chunk).await;
        client.send("\r\n").await;
    }
    client.send("0\r\nX-Trailer: 1\r\n\r\n").await;
    assert!(client.reply().await.body == body);
    assert_eq!(client.get("/").await.status(), 200);
    assert_eq!(origin.connections(), 1);
}

#[tokio::test]
async fn a_body_flows_before_it_is_whole() {
    let origin = Origin::start(|mut reader| async move {
        reader.head().await.unwrap();
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        reader.stream.write_all(head.as_bytes()).await.unwrap();
        // Each byte of the request is answered by a chunk.
        let mut byte = [0];
        while reader.stream.read_exact(&mut byte).await.is_ok() && byte != *b"!" {
            let chunk = [b"1\r\n".as_slice(), &byte, b"\r\n"].concat();
            reader.stream.write_all(&chunk).await.unwrap();
        }
        reader.stream.write_all(b"0\r\n\r\n").await.unwrap();
    })
    .await;
    let world = World::start(&[origin.address]).await;
    let mut client = world.connect().await;
    client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\n").await;
    assert!(client.0.head().await.unwrap().contains("Transfer-Encoding: chunked"));
    for byte in ["a", "b", "c"] {
        client.send(byte).await;
        let mut chunk = [0; 6];
        client.0.buffer.clear();
        client.0.stream.read_exact(&mut chunk).await.unwrap();
        assert_eq!(chunk, format!("1\r\n{byte}\r\n").as_bytes());
    }
    client.send("!").await;
}

#[tokio::test]
async fn a_body_that_ends_with_the_connection() {
    let body = big();
    let sent = body.clone();
    let origin = Origin::start(move |mut reader| {
        let body = sent.clone();
        async move {
            reader.head().await.unwrap();
            reader.stream.write_all(b"HTTP/1.0 200 OK\r\n\r\n").await.unwrap();
            reader.stream.write_all(&body).await.unwrap();
        }
    })
    .await;
    let world = World::start(&[origin.address]).await;
    let mut client = world.connect().await;
    let reply = client.get("/").await;
    assert_eq!(reply.header("transfer-encoding"), Some("chunked"));
    assert!(reply.body == body);
    assert!(client.get("/").await.body == body, "the client's connection is kept");

    let mut old = world.connect().await;
    old.send("GET / HTTP/1.0\r\n\r\n").await;
    let reply = old.reply().await;
    assert_eq!(
        (reply.header("transfer-encoding"), reply.header("connection")),
        (None, Some("close"))
    );
    assert!(reply.body == body);
}

#[tokio::test]
async fn a_slow_reader_slows_the_target() {
    let origin = Origin::http(|_| ok(vec![7; 20_000_000])).await;
    let world = World::start(&[origin.address]).await;
    let mut client = world.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
    until(|| world.in_flight() == 1).await;
    let mut got = client.0.stream.peek(&mut [0]).await.unwrap();
    assert_eq!(got, 1);
    got = client.reply().await.body.len();
    assert_eq!(got, 20_000_000);
}

#[tokio::test]
async fn heads_without_bodies() {
    let origin = Origin::http(|request| {
        let head = match request.path() {
            "/204" => "HTTP/1.1 204 No Content\r\n\r\n",
            "/304" => "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n",
            _ => "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n",
        };
        head.into()
    })
    .await;
    let world = World::start(&[origin.address]).await;
    let mut client = world.connect().await;
    assert_eq!(client.get("/204").await.status(), 204);
    assert_eq!(client.get("/304").await.status(), 304);
    client.send("HEAD / HTTP/1.1\r\nHost: h\r\n\r\n").await;
    let reply = client.0.message(true).await.unwrap();
    assert_eq!(reply.header("content-length"), Some("9"));
    assert_eq!(client.get("/204").await.status(), 204);
    assert_eq!(origin.connections(), 1);
}

#[tokio::test]
async fn interim_responses_pass() {
    let origin = Origin::start(|mut reader| async move {
        let head = reader.head().await.unwrap();
        assert!(head.contains("Expect: 100-continue"), "{head}");
        reader.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.unwrap();
        let mut body = [0; 5];
        reader.stream.read_exact(&mut body).await.unwrap();
        reader.stream.write_all(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n").await.unwrap();
        reader.stream.write_all(&ok(body)).await.unwrap();
    })
    .await;
    let world = World::start(&[origin.address]).await;
    let mut client = world.connect().await;
    client
        .send("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        .await;
    assert_eq!(client.reply().await.status(), 100);
    client.send("hello").await;
    assert_eq!(client.reply().await.header("link"), Some("</a>"));
    assert_eq!(client.reply().await.text(), "hello");
}

#[tokio::test]
async fn an_upgrade_makes_a_tunnel() {
    let origin = Origin::start(|mut reader| async move {
        let head = reader.head().await.unwrap();
        assert!(head.contains("Connection: Upgrade\r\nUpgrade: echo\r\n"), "{head}");
        let answer =
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\nhi";
        reader.stream.write_all(answer.as_bytes()).await.unwrap();
        let (mut read, mut write) = reader.stream.split();
        tokio::io::copy(&mut read, &mut write).await.unwrap();
        write.shutdown().await.unwrap();
    })
    .await;
    let world = World::start(&[origin.address]).await;
    let mut client = world.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n").await;
    let head = client.0.head().await.unwrap();
    assert!(head.starts_with("HTTP/1.1 101 ") && head.contains("Upgrade: echo"), "{head}");
    client.send("GET / not http").await;
    client.0.stream.shutdown().await.unwrap();
    let mut rest = client.0.buffer.clone();
    client.0.stream.read_to_end(&mut rest).await.unwrap();
    assert_eq!(String::from_utf8(rest).unwrap(), "hiGET / not http");
}

#[tokio::test]
async fn an_upgrade_nobody_asked_for_is_an_error() {
    let origin = Origin::http(|_| b"HTTP/1.1 101 Switching Protocols\r\n\r\n".to_vec()).await;
    let world = World::start(&[origin.address]).await;
    assert_eq!(world.get("/").await.status(), 502);
}

#[tokio::test]
async fn old_clients_keep_their_connection_by_asking() {
    let origin = Origin::named("x").await;
    let world = World::start(&[origin.address]).await;
    let mut client = world.connect().await;
    client.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").await;
    assert_eq!(client.reply().await.header("connection"), Some("keep-alive"));
    client.send("GET / HTTP/1.0\r\n\r\n").await;
    assert_eq!(client.reply().await.header("connection"), Some("close"));
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn an_early_answer_ends_the_upload() {
    let origin = Origin::start(|mut reader| async move {
        reader.head().await.unwrap();
        let answer = "HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno";
        reader.stream.write_all(answer.as_bytes()).await.unwrap();
        std::future::pending::<()>().await;
    })
    .await;
    let world = World::start(&[origin.address]).await;
    let mut client = world.connect().await;
    client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\nabc").await;
    let reply = client.reply().await;
    assert_eq!((reply.status(), reply.text()), (413, "no"));
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn a_connection_ends_after_its_life() {
    let origin = Origin::named("x").await;
    let world = World::with(&[origin.address], |snapshot| {
        snapshot.listeners[0].client_keep_alive_ms = 100;
    })
    .await;
    let mut client = world.connect().await;
    assert_eq!(client.get("/").await.header("connection"), Some("keep-alive"));
    tokio::time::sleep(Duration::from_millis(250)).await;
    assert_eq!(client.get("/").await.header("connection"), Some("close"));
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn fixed_answers_and_redirects() {
    let world = World::with(&[], |snapshot| {
        let rule = |path: &str, action| Rule {
            id: path.into(),
            conditions: vec![Condition::Path(vec![path.into()])],
            action,
        };
        let fixed = Action::FixedResponse {
            status: 418,
            content_type: Some("text/plain".into()),
            body: "tea".into(),
        };
        let redirect = Action::Redirect {
            status: 302,
            protocol: "#{protocol}".into(),
            host: "other.example".into(),
            port: "8080".into(),
            path: "/new/#{path}".into(),
            query: "#{query}".into(),
        };
        let rules = &mut snapshot.listeners[0].rules;
        rules.insert(0, rule("/fixed", fixed));
        rules.insert(1, rule("/old*", redirect));
    })
    .await;
    let mut client = world.connect().await;
    let reply = client.get("/fixed").await;
    assert_eq!((reply.status(), reply.text()), (418, "tea"));
    // Its body is read away, and the connection goes on.
    client.send("POST /fixed HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello").await;
    assert_eq!(client.reply().await.status(), 418);
    let reply = client.get("/old?x=1").await;
    assert_eq!(reply.header("location"), Some("http://other.example:8080/new/old?x=1"));
    assert_eq!(client.get("/").await.status(), 503);
    let counters = world.listener_counters();
    assert_eq!((counters.elb_4xx, counters.elb_3xx, counters.elb_503), (2, 1, 1));
}
