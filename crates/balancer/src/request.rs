//! What to do with a request: reads its head, finds the rule, and writes the head that the target
//! will see. Does no IO. Heads are always written anew, never passed on as they came.

use std::mem::MaybeUninit;
use std::net::SocketAddrV4;
use std::sync::Arc;

use httparse::Header;

use crate::answer::Answer;
use crate::cookie;
use crate::framing::{self, Class, Length, MAX_HEADERS, MAX_LINE, Version};
use crate::rule;
use crate::snapshot::{DesyncMode, ForwardedFor};
use crate::table::{Action, Listener, Redirect};
use crate::target::{Group, Random};

/// Cookie names as ALB has them; `CORS` is appended for the second of each pair.
pub const TARGET_COOKIE: &str = "AWSALB";
pub const GROUP_COOKIE: &str = "AWSALBTG";

pub struct Context<'a> {
    pub listener: &'a Listener,
    pub client: SocketAddrV4,
    /// The address the client connected to.
    pub local: SocketAddrV4,
    /// Seconds since the Unix epoch.
    pub now: u64,
    pub random: &'a Random,
}

/// A request that was understood.
pub struct Plan {
    pub length: Length,
    /// The client would send another request on this connection.
    pub keep_alive: bool,
    pub version: Version,
    pub to_head: bool,
    pub expects_continue: bool,
}

pub enum Decision {
    Answer(Answer),
    Forward(Forward),
}

pub struct Forward {
    pub group: Arc<Group>,
    /// May be sent twice (RFC 9110 section 9.2.2).
    pub idempotent: bool,
    /// A protocol change was asked for.
    pub upgrade: bool,
    /// No connection is used again after it.
    pub ambiguous: bool,
    /// The target that the client's cookie names.
    pub sticky_target: Option<u64>,
    /// The group's stickiness of the rule, in seconds.
    pub group_stickiness: Option<u32>,
}

/// Reads `head`, which ends with its empty line, and writes the target's into `out`. An error is
/// answered and ends the connection: the next request cannot be told from this one's body.
pub fn plan(cx: &Context<'_>, head: &[u8], out: &mut Vec<u8>) -> Result<(Plan, Decision), Answer> {
    let mut headers = [const { MaybeUninit::uninit() }; MAX_HEADERS];
    let mut parsed = httparse::Request::new(&mut []);
    match parsed.parse_with_uninit_headers(head, &mut headers) {
        Ok(httparse::Status::Complete(n)) if n == head.len() => {}
        _ => return Err(malformed(head)),
    }
    let (Some(method), Some(target), Some(version)) = (parsed.method, parsed.path, parsed.version)
    else {
        return Err(Answer::page(400));
    };
    let line = method.len() + target.len() + " HTTP/1.1".len() + 1;
    if line > MAX_LINE {
        return Err(Answer::page(414));
    }
    let headers: &[Header<'_>] = parsed.headers;
    if headers.iter().any(|h| h.name.len() + h.value.len() > MAX_LINE) {
        return Err(Answer::page(400));
    }
    let version = if version == 0 { Version::Http10 } else { Version::Http11 };
    let (length, mut class) =
        framing::request(version, method, headers).map_err(|error| match error {
            framing::Error::Malformed => Answer::page(400),
            framing::Error::UnknownCoding => Answer::page(501),
        })?;
    let url = Url::read(method, target).ok_or_else(|| Answer::page(400))?;
    if !target.is_ascii() {
        class = class.max(Class::Ambiguous);
    }
    let allowed = match cx.listener.options.desync_mode {
        DesyncMode::Monitor | DesyncMode::Defensive => Class::Ambiguous,
        DesyncMode::Strictest => Class::Compliant,
    };
    if class > allowed {
        return Err(Answer::page(400));
    }
    let ambiguous =
        class == Class::Ambiguous && cx.listener.options.desync_mode == DesyncMode::Defensive;
    let fields = Fields::read(version, headers)?;
    let host = match url.host.or(fields.host) {
        Some(host) => host,
        None if version == Version::Http10 => "",
        None => return Err(Answer::page(400)),
    };
    let plan = Plan {
        length,
        keep_alive: !ambiguous
            && match version {
                Version::Http11 => !fields.close,
                Version::Http10 => fields.keep_alive && !fields.close,
            },
        version,
        to_head: method == "HEAD",
        expects_continue: fields.expects_continue,
    };
    if fields.forwarded_for_addresses > 30 {
        return Ok((plan, Decision::Answer(Answer::page(463))));
    }
    if matches!(method, "TRACE" | "CONNECT") {
        return Ok((plan, Decision::Answer(Answer::page(405))));
    }
    let facts = rule::Request {
        method,
        host: without_port(host),
        path: url.path,
        query: url.query.unwrap_or(""),
        source: *cx.client.ip(),
        headers,
    };
    let Some(rule) = rule::find(&cx.listener.rules, &facts) else {
        return Ok((plan, Decision::Answer(Answer::page(503))));
    };
    let decision = match &rule.action {
        Action::FixedResponse { status, content_type, body } => {
            Decision::Answer(Answer::fixed(*status, content_type.clone(), body.clone()))
        }
        Action::Redirect(redirect) => Decision::Answer(Answer::redirect(
            redirect.status,
            location(redirect, host, cx.local.port(), &url),
        )),
        Action::Forward { groups, stickiness_seconds } => {
            let cookie = |name: &str| {
                headers
                    .iter()
                    .filter(|h| h.name.eq_ignore_ascii_case("cookie"))
                    .find_map(|h| cookie::find(h.value, name))
                    .and_then(|value| cookie::open(value, cx.now))
            };
            // An open cookie names a group; one whose weight is 0 now gets nothing.
            let sticky_group = stickiness_seconds
                .and_then(|_| cookie(GROUP_COOKIE))
                .and_then(|t| groups.iter().find(|(g, weight)| g.token == t && *weight > 0));
            match sticky_group.map(|(g, _)| g).or_else(|| weighted(groups, cx.random)) {
                None => Decision::Answer(Answer::page(503)),
                Some(group) => {
                    let upgrade = fields.upgrade.filter(|_| version == Version::Http11);
                    write(cx, out, method, host, &url, headers, &fields, length, upgrade);
                    Decision::Forward(Forward {
                        group: group.clone(),
                        idempotent: matches!(method, "GET" | "HEAD" | "OPTIONS" | "PUT" | "DELETE"),
                        upgrade: upgrade.is_some(),
                        ambiguous,
                        sticky_target: group.stickiness_seconds.and_then(|_| cookie(TARGET_COOKIE)),
                        group_stickiness: *stickiness_seconds,
                    })
                }
            }
        }
    };
    Ok((plan, decision))
}

/// 414 when it was the first line that was too long.
pub fn malformed(head: &[u8]) -> Answer {
    let line = memchr::memchr(b'\n', head).unwrap_or(head.len());
    Answer::page(if line > MAX_LINE { 414 } else { 400 })
}

fn weighted<'a>(groups: &'a [(Arc<Group>, u32)], random: &Random) -> Option<&'a Arc<Group>> {
    if let [(group, weight)] = groups {
        return (*weight > 0).then_some(group);
    }
    let total: u64 = groups.iter().map(|(_, weight)| u64::from(*weight)).sum();
    if total == 0 {
        return None;
    }
    let mut at = random.below(total);
    groups.iter().find_map(|(group, weight)| match at.checked_sub(u64::from(*weight)) {
        Some(rest) => {
            at = rest;
            None
        }
        None => Some(group),
    })
}

struct Url<'a> {
    host: Option<&'a str>,
    /// Path and query, or `*`.
    whole: &'a str,
    path: &'a str,
    query: Option<&'a str>,
}

impl<'a> Url<'a> {
    fn read(method: &str, target: &'a str) -> Option<Url<'a>> {
        if target.bytes().any(|b| b == b'#') {
            return None;
        }
        if target == "*" {
            return (method == "OPTIONS").then_some(Url {
                host: None,
                whole: target,
                path: target,
                query: None,
            });
        }
        if method == "CONNECT" {
            return Some(Url { host: Some(target), whole: "/", path: "/", query: None });
        }
        let (host, whole) = if target.starts_with('/') {
            (None, target)
        } else {
            // Absolute form: its authority counts, not the Host header (RFC 9112 section 3.2.2).
            let scheme = target.get(..7)?;
            if !scheme.eq_ignore_ascii_case("http://") {
                return None;
            }
            let rest = &target[7..];
            let end = rest.find(['/', '?']).unwrap_or(rest.len());
            let (authority, path) = rest.split_at(end);
            if authority.is_empty() || authority.contains('@') || path.starts_with('?') {
                return None;
            }
            (Some(authority), if path.is_empty() { "/" } else { path })
        };
        let (path, query) = match whole.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (whole, None),
        };
        Some(Url { host, whole, path, query })
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    }
}

/// The headers this balancer itself acts on.
#[derive(Default)]
struct Fields<'a> {
    host: Option<&'a str>,
    close: bool,
    keep_alive: bool,
    /// Named by `Connection`, to be dropped.
    nominated: Vec<&'a str>,
    upgrade: Option<&'a [u8]>,
    expects_continue: bool,
    forwarded_for_addresses: usize,
    trace: Option<&'a [u8]>,
}

impl<'a> Fields<'a> {
    fn read(version: Version, headers: &[Header<'a>]) -> Result<Fields<'a>, Answer> {
        let mut fields = Fields::default();
        let mut upgrade_asked = false;
        for header in headers {
            let is = |name: &str| header.name.eq_ignore_ascii_case(name);
            match header.name.len() {
                4 if is("host") => {
                    let host = std::str::from_utf8(header.value).ok().filter(|h| is_host(h));
                    // None, two or a bad one: servers differ in what they make of it.
                    let (Some(host), None) = (host, fields.host) else {
                        return Err(Answer::page(400));
                    };
                    fields.host = Some(host);
                }
                6 if is("expect") => {
                    if version == Version::Http11
                        && !header.value.eq_ignore_ascii_case(b"100-continue")
                    {
                        return Err(Answer::page(417));
                    }
                    fields.expects_continue = version == Version::Http11;
                }
                7 if is("upgrade") => fields.upgrade = Some(header.value),
                10 if is("connection") => {
                    let value = std::str::from_utf8(header.value).map_err(|_| Answer::page(400))?;
                    for option in value.split(',').map(str::trim).filter(|o| !o.is_empty()) {
                        if option.eq_ignore_ascii_case("close") {
                            fields.close = true;
                        } else if option.eq_ignore_ascii_case("keep-alive") {
                            fields.keep_alive = true;
                        } else if option.eq_ignore_ascii_case("upgrade") {
                            upgrade_asked = true;
                        } else {
                            fields.nominated.push(option);
                        }
                    }
                }
                15 if is("x-forwarded-for") => {
                    fields.forwarded_for_addresses += header.value.split(|&b| b == b',').count();
                }
                15 if is("x-amzn-trace-id") => fields.trace = Some(header.value),
                _ => {}
            }
        }
        if !upgrade_asked {
            fields.upgrade = None;
        }
        Ok(fields)
    }

    /// Headers of this connection, and those that are written anew.
    fn drops(&self, name: &str) -> bool {
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        let known = match name.len() {
            2 => is("te"),
            4 => is("host"),
            7 => is("upgrade") || is("trailer"),
            10 => is("connection") || is("keep-alive"),
            14 => is("content-length") || framing::is_lookalike(name),
            15 => is("x-forwarded-for") || is("x-amzn-trace-id"),
            16 => is("x-forwarded-port") || is("proxy-connection"),
            17 => is("x-forwarded-proto") || is("transfer-encoding") || framing::is_lookalike(name),
            _ => false,
        };
        known || self.nominated.iter().any(|n| is(n))
    }
}

/// Registered names, addresses and a port; nothing that could end the name early elsewhere.
fn is_host(host: &str) -> bool {
    host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~:[]%!$&'()*+;=".contains(&b))
}

fn write(
    cx: &Context<'_>,
    out: &mut Vec<u8>,
    method: &str,
    host: &str,
    url: &Url<'_>,
    headers: &[Header<'_>],
    fields: &Fields<'_>,
    length: Length,
    upgrade: Option<&[u8]>,
) {
    let options = &cx.listener.options;
    let put = |out: &mut Vec<u8>, parts: &[&[u8]]| {
        for part in parts {
            out.extend_from_slice(part);
        }
    };
    put(out, &[method.as_bytes(), b" ", url.whole.as_bytes(), b" HTTP/1.1\r\nHost: "]);
    let mut digits = Digits::default();
    if host.is_empty() {
        put(out, &[cx.local.to_string().as_bytes()]);
    } else {
        put(out, &[host.as_bytes()]);
        // ALB names its port unless it is the protocol's own.
        if !options.preserve_host_header
            && cx.local.port() != 80
            && without_port(host).len() == host.len()
        {
            put(out, &[b":", digits.of(cx.local.port().into())]);
        }
    }
    put(out, &[b"\r\n"]);
    forwarded(cx, out, headers);
    put(out, &[b"X-Forwarded-Proto: http\r\nX-Forwarded-Port: "]);
    put(out, &[digits.of(cx.local.port().into()), b"\r\n"]);
    trace(cx, out, fields.trace);
    for header in headers {
        if fields.drops(header.name)
            || (options.drop_invalid_header_fields
                && !header.name.bytes().all(|b| b == b'-' || b.is_ascii_alphanumeric()))
        {
            continue;
        }
        put(out, &[header.name.as_bytes(), b": ", header.value, b"\r\n"]);
    }
    match length {
        Length::Fixed(n) => put(out, &[b"Content-Length: ", digits.of(n), b"\r\n"]),
        Length::Chunked => put(out, &[b"Transfer-Encoding: chunked\r\n"]),
        // Methods that have a body as a rule say that there is none.
        Length::Empty | Length::UntilClose if matches!(method, "POST" | "PUT" | "PATCH") => {
            put(out, &[b"Content-Length: 0\r\n"]);
        }
        Length::Empty | Length::UntilClose => {}
    }
    if let Some(protocol) = upgrade {
        put(out, &[b"Connection: Upgrade\r\nUpgrade: ", protocol, b"\r\n"]);
    }
    put(out, &[b"\r\n"]);
}

fn forwarded(cx: &Context<'_>, out: &mut Vec<u8>, headers: &[Header<'_>]) {
    let options = &cx.listener.options;
    let known = headers.iter().filter(|h| h.name.eq_ignore_ascii_case("x-forwarded-for"));
    let mut empty = true;
    let mut put = |out: &mut Vec<u8>, value: &[u8]| {
        out.extend_from_slice(if empty { b"X-Forwarded-For: ".as_slice() } else { b", " });
        out.extend_from_slice(value);
        empty = false;
    };
    if options.forwarded_for != ForwardedFor::Remove {
        known.for_each(|header| put(out, header.value));
    }
    if options.forwarded_for == ForwardedFor::Append {
        let mut digits = Digits::default();
        for (i, octet) in cx.client.ip().octets().into_iter().enumerate() {
            match i {
                0 => put(out, digits.of(octet.into())),
                _ => {
                    out.push(b'.');
                    out.extend_from_slice(digits.of(octet.into()));
                }
            }
        }
        if options.forwarded_for_port {
            out.push(b':');
            out.extend_from_slice(digits.of(cx.client.port().into()));
        }
    }
    if !empty {
        out.extend_from_slice(b"\r\n");
    }
}

/// `Root=` names the request where it entered, `Self=` this hop when it entered elsewhere.
fn trace(cx: &Context<'_>, out: &mut Vec<u8>, known: Option<&[u8]>) {
    let mut id = *b"1-00000000-000000000000000000000000";
    let hex = |at: &mut [u8], mut value: u64| {
        for digit in at.iter_mut().rev() {
            *digit = b"0123456789abcdef"[(value & 15) as usize];
            value >>= 4;
        }
    };
    hex(&mut id[2..10], cx.now);
    hex(&mut id[11..19], cx.random.next());
    hex(&mut id[19..35], cx.random.next());
    out.extend_from_slice(b"X-Amzn-Trace-Id: ");
    let fields = || {
        let parts = known.unwrap_or_default().split(|&b| b == b';').map(<[u8]>::trim_ascii);
        parts.filter(|p| !p.is_empty() && !p.starts_with(b"Self="))
    };
    let rooted = fields().any(|p| p.starts_with(b"Root="));
    out.extend_from_slice(if rooted { b"Self=" } else { b"Root=" });
    out.extend_from_slice(&id);
    for field in fields() {
        out.push(b';');
        out.extend_from_slice(field);
    }
    out.extend_from_slice(b"\r\n");
}

/// Decimal digits without an allocation.
#[derive(Default)]
pub struct Digits([u8; 20]);

impl Digits {
    pub fn of(&mut self, mut n: u64) -> &[u8] {
        let mut at = self.0.len();
        loop {
            at -= 1;
            self.0[at] = b'0' + (n % 10) as u8;
            n /= 10;
            if n == 0 {
                return &self.0[at..];
            }
        }
    }
}

fn location(redirect: &Redirect, host: &str, port: u16, url: &Url<'_>) -> String {
    let host = without_port(host);
    let port = port.to_string();
    let fill = |template: &str| {
        let mut out = String::new();
        let mut rest = template;
        while let Some(at) = rest.find("#{") {
            let (before, from) = rest.split_at(at);
            out.push_str(before);
            let known = [
                ("#{protocol}", "http"),
                ("#{host}", host),
                ("#{port}", &port),
                ("#{path}", url.path.trim_start_matches('/')),
                ("#{query}", url.query.unwrap_or("")),
            ];
            match known.iter().find(|(name, _)| from.starts_with(name)) {
                Some((name, value)) => {
                    out.push_str(value);
                    rest = &from[name.len()..];
                }
                None => {
                    out.push_str("#{");
                    rest = &from[2..];
                }
            }
        }
        out.push_str(rest);
        out
    };
    let mut location = format!(
        "{}://{}:{}{}",
        fill(&redirect.protocol).to_ascii_lowercase(),
        fill(&redirect.host),
        fill(&redirect.port),
        fill(&redirect.path)
    );
    let query = fill(&redirect.query);
    if !query.is_empty() {
        location.push('?');
        location.push_str(&query);
    }
    location
}

#[cfg(test)]
mod tests;
