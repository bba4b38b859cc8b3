//! Reads the head of a target's response and writes the one that the client will see. Does no IO.

use std::mem::MaybeUninit;

use crate::answer;
use crate::framing::{self, Length, MAX_HEADERS, Version};
use crate::request::Digits;

/// What the request asked, as far as it changes how the response is written.
pub struct Context<'a> {
    pub to_head: bool,
    pub client: Version,
    /// The client may send another request, if the response's length can be told.
    pub keep_alive: bool,
    pub upgrade: bool,
    /// Answer for the target's missing `Server`.
    pub server_header: bool,
    pub date: &'a str,
}

pub struct Response {
    pub status: u16,
    pub length: Length,
    /// The body is written to the client in chunks.
    pub chunked: bool,
    /// The client's connection may be used again.
    pub keep_alive: bool,
    /// The target's connection may be used again.
    pub target_keep_alive: bool,
}

/// Reads `head`, which ends with its empty line, and writes the client's into `out` but for the
/// empty line, so that cookies can be added. An error is the target's: 502.
pub fn read(cx: &Context<'_>, head: &[u8], out: &mut Vec<u8>) -> Result<Response, framing::Error> {
    let mut headers = [const { MaybeUninit::uninit() }; MAX_HEADERS];
    let mut parsed = httparse::Response::new(&mut []);
    let parsed_whole = httparse::ParserConfig::default().parse_response_with_uninit_headers(
        &mut parsed,
        head,
        &mut headers,
    );
    let (Ok(httparse::Status::Complete(n)), Some(version), Some(status)) =
        (parsed_whole, parsed.version, parsed.code)
    else {
        return Err(framing::Error::Malformed);
    };
    if n != head.len() || !(100..1000).contains(&status) || (status == 101 && !cx.upgrade) {
        return Err(framing::Error::Malformed);
    }
    let version = if version == 0 { Version::Http10 } else { Version::Http11 };
    let length = framing::response(cx.to_head, status, version, parsed.headers)?;

    match parsed.reason {
        // As most do; saves the formatting.
        Some("OK") if status == 200 => answer::status_line(out, 200),
        Some(reason) if !reason.is_empty() => {
            out.extend_from_slice(b"HTTP/1.1 ");
            out.extend_from_slice(Digits::default().of(status.into()));
            out.push(b' ');
            out.extend_from_slice(reason.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        _ => answer::status_line(out, status),
    }
    let (mut close, mut keep_alive, mut server, mut date) = (false, false, false, false);
    let mut nominated: Vec<&str> = Vec::new();
    for header in parsed.headers.iter() {
        if header.name.eq_ignore_ascii_case("connection") {
            let value = std::str::from_utf8(header.value).map_err(|_| framing::Error::Malformed)?;
            for option in value.split(',').map(str::trim) {
                close |= option.eq_ignore_ascii_case("close");
                keep_alive |= option.eq_ignore_ascii_case("keep-alive");
                if !["", "close", "keep-alive", "upgrade"]
                    .iter()
                    .any(|known| option.eq_ignore_ascii_case(known))
                {
                    nominated.push(option);
                }
            }
        }
    }
    for header in parsed.headers.iter() {
        let is = |known: &str| header.name.eq_ignore_ascii_case(known);
        let dropped = match header.name.len() {
            4 => {
                date |= is("date");
                false
            }
            6 => {
                server |= is("server");
                false
            }
            7 => (is("upgrade") && status != 101) || is("trailer"),
            10 => is("connection") || is("keep-alive"),
            // Of a body that is not there it may tell, but not where there can be none.
            14 => {
                (is("content-length") && (status < 200 || status == 204))
                    || framing::is_lookalike(header.name)
            }
            16 => is("proxy-connection"),
            17 => is("transfer-encoding") || framing::is_lookalike(header.name),
            _ => false,
        };
        if dropped || nominated.iter().any(|n| is(n)) {
            continue;
        }
        for part in [header.name.as_bytes(), b": ", header.value, b"\r\n"] {
            out.extend_from_slice(part);
        }
    }
    let chunked = matches!(length, Length::Chunked | Length::UntilClose)
        && cx.client == Version::Http11
        && status != 101;
    let delimited = chunked || matches!(length, Length::Empty | Length::Fixed(_));
    let client_keep_alive = cx.keep_alive && delimited && status != 101;
    if status >= 200 {
        if !date {
            out.extend_from_slice(b"Date: ");
            out.extend_from_slice(cx.date.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        if !server && cx.server_header {
            out.extend_from_slice(b"Server: awselb/2.0\r\n");
        }
        if chunked {
            out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
        }
        out.extend_from_slice(if client_keep_alive {
            b"Connection: keep-alive\r\n".as_slice()
        } else {
            b"Connection: close\r\n"
        });
    } else if status == 101 {
        out.extend_from_slice(b"Connection: Upgrade\r\n");
    }
    Ok(Response {
        status,
        length,
        chunked,
        keep_alive: client_keep_alive,
        target_keep_alive: length != Length::UntilClose
            && status != 101
            && match version {
                Version::Http11 => !close,
                Version::Http10 => keep_alive && !close,
            },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_as(cx: &Context<'_>, head: &str) -> Result<(Response, String), framing::Error> {
        let mut out = Vec::new();
        let response = read(cx, head.as_bytes(), &mut out)?;
        Ok((response, String::from_utf8(out).unwrap()))
    }

    fn context() -> Context<'static> {
        Context {
            to_head: false,
            client: Version::Http11,
            keep_alive: true,
            upgrade: false,
            server_header: true,
            date: "today",
        }
    }

    #[test]
    fn hop_by_hop_headers_stay_behind() {
        let (response, head) = read_as(
            &context(),
            "HTTP/1.1 200 Fine\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\n\
             X-Real: 2\r\nServer: me\r\nContent-Length: 3\r\n\r\n",
        )
        .unwrap();
        assert_eq!(
            head,
            "HTTP/1.1 200 Fine\r\nX-Real: 2\r\nServer: me\r\nContent-Length: 3\r\nDate: today\r\n\
             Connection: keep-alive\r\n"
        );
        assert!(response.keep_alive && !response.target_keep_alive);
    }

    #[test]
    fn an_old_client_gets_a_body_that_ends_with_the_connection() {
        let cx = Context { client: Version::Http10, ..context() };
        let (response, head) =
            read_as(&cx, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
        assert!(!response.keep_alive && response.target_keep_alive && !response.chunked);
        assert!(head.ends_with("Connection: close\r\n"), "{head}");
    }

    #[test]
    fn a_protocol_changes_only_when_asked() {
        let head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n";
        assert!(read_as(&context(), head).is_err());
        let (_, written) = read_as(&Context { upgrade: true, ..context() }, head).unwrap();
        assert_eq!(
            written,
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n"
        );
    }

    #[test]
    fn what_is_not_http_is_refused() {
        for head in ["SSH-2.0-x\r\n\r\n", "HTTP/2 200\r\n\r\n", "HTTP/1.1 20 OK\r\n\r\n"] {
            assert!(read_as(&context(), head).is_err(), "{head}");
        }
    }
}
