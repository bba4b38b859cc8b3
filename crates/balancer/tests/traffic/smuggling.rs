//! Requests made to be read differently by two servers. The origin counts what it is made to see: one
//! request each at most, and never the one that was hidden.

use std::sync::{Arc, Mutex};

use balancer::snapshot::DesyncMode;

use crate::world::*;

/// Sends all bytes on one connection; the paths that targets saw.
async fn seen(mode: DesyncMode, bytes: &str) -> Vec<String> {
    let paths = Arc::new(Mutex::new(Vec::new()));
    let record = paths.clone();
    let origin = Origin::http(move |request| {
        record.lock().unwrap().push(request.path().to_string());
        ok("x")
    })
    .await;
    let world = World::with(&[origin.address], |s| s.listeners[0].desync_mode = mode).await;
    let mut client = world.connect().await;
    client.send(bytes).await;
    // The balancer closes after everything it cannot tell for sure; else the client ends it.
    while client.try_reply().await.is_some() {
        if world.listener_counters().active_connections == 0 {
            break;
        }
        tokio::io::AsyncWriteExt::shutdown(&mut client.0.stream).await.ok();
    }
    // Whatever is on its way to the target is there before this.
    world.get("/last").await;
    let mut paths = paths.lock().unwrap().clone();
    assert_eq!(paths.pop().unwrap(), "/last");
    paths
}

const HIDDEN: &str = "GET /hidden HTTP/1.1\r\nHost: h\r\n\r\n";

#[tokio::test]
async fn what_is_ambiguous_is_forwarded_once_and_nothing_after_it() {
    let length = HIDDEN.len();
    let cases = [
        format!(
            "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{HIDDEN}",
            length + 5
        ),
        format!(
            "POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n{HIDDEN}"
        ),
        format!(
            "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n{HIDDEN}"
        ),
        format!("GET /a HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n{HIDDEN}"),
        format!("POST /a HTTP/1.1\r\nHost: h\r\nTransfer_Encoding: chunked\r\n\r\n{HIDDEN}"),
    ];
    for case in cases {
        assert_eq!(seen(DesyncMode::Defensive, &case).await, ["/a"], "{case:?}");
        assert!(seen(DesyncMode::Strictest, &case).await.is_empty(), "{case:?}");
    }
}

#[tokio::test]
async fn what_cannot_be_told_is_never_forwarded() {
    let heads = [
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: 5, 5",
        "Content-Length: +5",
        "Content-Length: 5 6",
        "Content-Length : 5",
        "Content-Length\t: 5",
        "Content-Length: 0x5",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: \"chunked\"",
        "Transfer-Encoding: \u{b}chunked",
        "Transfer-Encoding:\r\n chunked",
        "X: y\r\n Transfer-Encoding: chunked",
        "X: y\nTransfer-Encoding: chunked",
        "X: y\rTransfer-Encoding: chunked",
        " Transfer-Encoding: chunked",
        "Host: other",
    ];
    for mode in [DesyncMode::Monitor, DesyncMode::Defensive, DesyncMode::Strictest] {
        for head in heads {
            let request = format!("POST /a HTTP/1.1\r\nHost: h\r\n{head}\r\n\r\n0\r\n\r\n{HIDDEN}");
            assert!(seen(mode, &request).await.is_empty(), "{head:?}");
        }
    }
}

#[tokio::test]
async fn bad_chunks_show_the_target_no_second_request() {
    for chunks in [
        format!("5\nhello\r\n0\r\n\r\n{HIDDEN}"),
        format!("0;x\n\r\n\r\n{HIDDEN}"),
        format!("0\r\nX: y\n\r\n{HIDDEN}"),
        format!("-1\r\n{HIDDEN}"),
        format!("1\r\nabc\r\n0\r\n\r\n{HIDDEN}"),
        format!("FFFFFFFFFFFFFFFF1\r\n{HIDDEN}"),
    ] {
        let request =
            format!("POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}");
        // The origin gets the head at most, and no end of a body.
        assert!(seen(DesyncMode::Defensive, &request).await.is_empty(), "{chunks:?}");
    }
}
