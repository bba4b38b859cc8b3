//! Heads in, heads out.

use super::*;
use crate::snapshot::{self, Snapshot, TargetGroup};
use crate::table::{Registry, Table};

fn listener() -> snapshot::Listener {
    snapshot::Listener {
        id: "l".into(),
        binds: vec![],
        rules: vec![snapshot::Rule {
            id: "default".into(),
            conditions: vec![],
            action: snapshot::Action::Forward {
                groups: vec![("g".into(), 1)],
                stickiness_seconds: None,
            },
        }],
        idle_timeout_ms: 60_000,
        client_keep_alive_ms: 3_600_000,
        forwarded_for: ForwardedFor::Append,
        forwarded_for_port: false,
        preserve_host_header: false,
        drop_invalid_header_fields: false,
        desync_mode: DesyncMode::Defensive,
        server_header: true,
        admits: vec![(std::net::Ipv4Addr::UNSPECIFIED, 0)],
    }
}

fn compile(listener: snapshot::Listener) -> Table {
    let group = TargetGroup {
        network: "n".into(),
        source: [10, 0, 0, 1].into(),
        algorithm: snapshot::Algorithm::RoundRobin,
        targets: vec![],
        health_check: None,
        stickiness_seconds: None,
        slow_start_ms: 0,
    };
    Registry::new(1).compile(&Snapshot {
        version: 1,
        listeners: vec![listener],
        target_groups: [("g".to_string(), group)].into(),
    })
}

/// The plan and the head for the target, or the status of the answer that ends the connection.
fn run(listener: snapshot::Listener, head: &str) -> Result<(Plan, Decision, String), u16> {
    let table = compile(listener);
    let random = Random::new();
    let cx = Context {
        listener: &table.listeners["l"],
        client: "192.0.2.7:40000".parse().unwrap(),
        local: "10.0.0.1:80".parse().unwrap(),
        now: 0x6000_0000,
        random: &random,
    };
    let mut out = Vec::new();
    let (plan, decision) = plan(&cx, head.as_bytes(), &mut out).map_err(|a| a.status)?;
    Ok((plan, decision, String::from_utf8(out).unwrap()))
}

/// The target's head without the trace, which is random.
fn head(listener: snapshot::Listener, head: &str) -> String {
    let (_, _, head) = run(listener, head).unwrap_or_else(|s| panic!("answered {s}"));
    let lines = head.split_inclusive("\r\n").filter(|l| !l.starts_with("X-Amzn-Trace-Id"));
    lines.collect()
}

#[test]
fn forwarded_as_alb_does() {
    assert_eq!(
        head(
            listener(),
            "GET /a?b=c HTTP/1.1\r\nHost: example.com\r\nX-Forwarded-For: 1.1.1.1\r\n\
             x-forwarded-for: 2.2.2.2\r\nX-Forwarded-Proto: gopher\r\nKeep-Alive: 1\r\n\
             Connection: keep-alive, X-Hop\r\nX-Hop: 1\r\nTE: trailers\r\nAccept: */*\r\n\r\n"
        ),
        "GET /a?b=c HTTP/1.1\r\nHost: example.com\r\n\
         X-Forwarded-For: 1.1.1.1, 2.2.2.2, 192.0.2.7\r\nX-Forwarded-Proto: http\r\n\
         X-Forwarded-Port: 80\r\nAccept: */*\r\n\r\n"
    );
}

#[test]
fn forwarded_for_modes() {
    let request = "GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 1.1.1.1\r\n\r\n";
    let with = |mode, port| {
        let listener =
            snapshot::Listener { forwarded_for: mode, forwarded_for_port: port, ..listener() };
        let head = head(listener, request);
        head.lines().find_map(|l| l.strip_prefix("X-Forwarded-For: ")).map(str::to_string)
    };
    assert_eq!(with(ForwardedFor::Append, true).unwrap(), "1.1.1.1, 192.0.2.7:40000");
    assert_eq!(with(ForwardedFor::Preserve, false).unwrap(), "1.1.1.1");
    assert_eq!(with(ForwardedFor::Remove, false), None);
}

#[test]
fn traces() {
    let trace = |known: &str| {
        let (_, _, head) =
            run(listener(), &format!("GET / HTTP/1.1\r\nHost: h\r\n{known}\r\n")).unwrap();
        let line = head.lines().find_map(|l| l.strip_prefix("X-Amzn-Trace-Id: ")).unwrap();
        line.to_string()
    };
    let fresh = trace("");
    assert!(fresh.starts_with("Root=1-60000000-") && fresh.len() == 40, "{fresh}");
    let known = trace("X-Amzn-Trace-Id: Self=1-a-b;Root=1-c-d;Sampled=1\r\n");
    assert!(known.starts_with("Self=1-60000000-"), "{known}");
    assert!(known.ends_with(";Root=1-c-d;Sampled=1") && !known.contains("1-a-b"), "{known}");
}

#[test]
fn bodies_are_announced_anew() {
    let both =
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n";
    let (plan, _, written) = run(listener(), both).unwrap();
    assert!(written.contains("Transfer-Encoding: chunked") && !written.contains("Content-Length"));
    assert!(!plan.keep_alive && plan.length == Length::Chunked);
    let strict = snapshot::Listener { desync_mode: DesyncMode::Strictest, ..listener() };
    assert_eq!(run(strict, both).err(), Some(400));
    let lookalike = "POST / HTTP/1.1\r\nHost: h\r\nContent_Length: 4\r\nContent-Length: 0\r\n\r\n";
    assert!(!head(listener(), lookalike).contains("Content_Length"));
    assert!(
        head(listener(), "PUT / HTTP/1.1\r\nHost: h\r\n\r\n").contains("Content-Length: 0\r\n")
    );
}

#[test]
fn what_cannot_be_told_for_sure_is_refused() {
    let bad = [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n folded: x\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n",
        "GET /#x HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET x HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET * HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/2.0\r\nHost: a\r\n\r\n",
        "GET / http/1.1\r\nHost: a\r\n\r\n",
        "GET /\r\nHost: a\r\n\r\n",
        "GET http://u@h/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding\r\n : chunked\r\n\r\n",
    ];
    for request in bad {
        match run(listener(), request) {
            Err(400 | 501) => {}
            Err(status) => panic!("{request:?} was answered {status}"),
            Ok((_, _, head)) => panic!("{request:?} was forwarded as {head:?}"),
        }
    }
    let long = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(MAX_LINE));
    assert_eq!(run(listener(), &long).err(), Some(414));
}

#[test]
fn absolute_targets_name_the_host() {
    let head = head(listener(), "GET http://real:80/x HTTP/1.1\r\nHost: other\r\n\r\n");
    assert!(head.starts_with("GET /x HTTP/1.1\r\nHost: real:80\r\n"), "{head}");
}

#[test]
fn refused_by_number() {
    let status = |request: &str| match run(listener(), request).unwrap().1 {
        Decision::Answer(answer) => answer.status,
        Decision::Forward(_) => 0,
    };
    assert_eq!(status("TRACE / HTTP/1.1\r\nHost: a\r\n\r\n"), 405);
    let many = vec!["1.1.1.1"; 31].join(",");
    assert_eq!(
        status(&format!("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: {many}\r\n\r\n")),
        463
    );
}

#[test]
fn upgrades_only_when_both_headers_ask() {
    let asks = |headers: &str| {
        let request = format!("GET / HTTP/1.1\r\nHost: a\r\n{headers}\r\n");
        let (_, decision, head) = run(listener(), &request).unwrap();
        let Decision::Forward(forward) = decision else { panic!("answered") };
        assert_eq!(forward.upgrade, head.contains("Upgrade: websocket\r\n"));
        forward.upgrade
    };
    assert!(asks("Connection: Upgrade\r\nUpgrade: websocket\r\n"));
    assert!(!asks("Upgrade: websocket\r\n"));
    assert!(!asks("Connection: Upgrade\r\n"));
}

#[test]
fn redirects_are_filled_in() {
    let redirect = |host: &str, path: &str, query: &str| {
        let mut listener = listener();
        listener.rules[0].action = snapshot::Action::Redirect {
            status: 301,
            protocol: "HTTPS".into(),
            host: host.into(),
            port: "443".into(),
            path: path.into(),
            query: query.into(),
        };
        let request = "GET /a/b?c=d HTTP/1.1\r\nHost: h.example:80\r\n\r\n";
        match run(listener, request).unwrap().1 {
            Decision::Answer(answer) => answer.location.unwrap(),
            Decision::Forward(_) => panic!("forwarded"),
        }
    };
    assert_eq!(redirect("#{host}", "/#{path}", "#{query}"), "https://h.example:443/a/b?c=d");
    assert_eq!(redirect("x.#{host}", "/y/#{path}/#{port}", ""), "https://x.h.example:443/y/a/b/80");
    assert_eq!(redirect("#{host", "/#{}", ""), "https://#{host:443/#{}");
}

#[test]
fn groups_are_chosen_by_weight() {
    let mut listener = listener();
    listener.rules[0].action = snapshot::Action::Forward {
        groups: vec![("g".into(), 0), ("gone".into(), 5)],
        stickiness_seconds: None,
    };
    let (_, decision, _) = run(listener, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert!(matches!(decision, Decision::Answer(Answer { status: 503, .. })));
}

proptest::proptest! {
    /// Whatever is forwarded, the target's reading of its length can only be ours.
    #[test]
    fn a_forwarded_head_has_one_plain_length(
        method in "GET|POST|PUT|HEAD|OPTIONS|X",
        fields in proptest::collection::vec(
            (
                "(?i)content[-_]length|transfer[-_.]encoding|connection|x[!-~]{0,3}|te|host",
                "(?i)[0-9]{1,3}|chunked|identity|close, content-length|[ -~]{0,5}",
            ),
            0..6,
        ),
    ) {
        let lines: String = fields.iter().map(|(n, v)| format!("{n}: {v}\r\n")).collect();
        let request = format!("{method} / HTTP/1.1\r\nHost: h\r\n{lines}\r\n");
        if let Ok((plan, Decision::Forward(_), head)) = run(listener(), &request) {
            let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
            let mut parsed = httparse::Request::new(&mut headers);
            proptest::prop_assert!(parsed.parse(head.as_bytes()).unwrap().is_complete());
            // As a method whose body nobody frowns upon.
            let read = framing::request(Version::Http11, "POST", parsed.headers);
            proptest::prop_assert_eq!(read, Ok((plan.length, Class::Compliant)));
            proptest::prop_assert_eq!(head.matches("\r\nHost: ").count(), 1);
        }
    }
}
