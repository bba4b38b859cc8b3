//! What the balancer answers by itself, worded as ALB does.

/// Ready to be written but for what depends on the connection.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub content_type: &'static str,
    /// Overrides the type above.
    pub own_content_type: Option<String>,
    pub location: Option<String>,
    pub body: String,
}

impl Answer {
    /// The small page that says what the status means.
    pub fn page(status: u16) -> Answer {
        let title = match reason(status) {
            "" => status.to_string(),
            reason => format!("{status} {reason}"),
        };
        Answer {
            status,
            content_type: "text/html",
            own_content_type: None,
            location: None,
            body: format!(
                "<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n\
                 <center><h1>{title}</h1></center>\r\n</body>\r\n</html>\r\n"
            ),
        }
    }

    pub fn redirect(status: u16, location: String) -> Answer {
        Answer { location: Some(location), ..Answer::page(status) }
    }

    pub fn fixed(status: u16, content_type: Option<String>, body: String) -> Answer {
        Answer {
            status,
            content_type: "text/plain",
            own_content_type: content_type,
            location: None,
            body,
        }
    }

    pub fn write(
        &self,
        out: &mut Vec<u8>,
        to_head: bool,
        keep_alive: bool,
        server_header: bool,
        date: &str,
    ) {
        status_line(out, self.status);
        if server_header {
            out.extend_from_slice(b"Server: awselb/2.0\r\n");
        }
        let mut field = |name: &str, value: &str| {
            for part in [name, ": ", value, "\r\n"] {
                out.extend_from_slice(part.as_bytes());
            }
        };
        field("Date", date);
        if !matches!(self.status, 204 | 304) {
            if !self.body.is_empty() {
                field(
                    "Content-Type",
                    self.own_content_type.as_deref().unwrap_or(self.content_type),
                );
            }
            field("Content-Length", &self.body.len().to_string());
        }
        field("Connection", if keep_alive { "keep-alive" } else { "close" });
        if let Some(location) = &self.location {
            field("Location", location);
        }
        out.extend_from_slice(b"\r\n");
        if !to_head && !matches!(self.status, 204 | 304) {
            out.extend_from_slice(self.body.as_bytes());
        }
    }
}

/// Says 1.1 to clients of 1.0 too: it is the version of the one who answers (RFC 9110 section 6.2).
pub fn status_line(out: &mut Vec<u8>, status: u16) {
    if status == 200 {
        out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
    } else {
        out.extend_from_slice(format!("HTTP/1.1 {status} {}\r\n", reason(status)).as_bytes());
    }
}

/// The registered phrase (RFC 9110 section 15), with nginx's wording where ALB uses it.
pub fn reason(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        101 => "Switching Protocols",
        102 => "Processing",
        103 => "Early Hints",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        203 => "Non-Authoritative Information",
        204 => "No Content",
        205 => "Reset Content",
        206 => "Partial Content",
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Authorization Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        408 => "Request Time-out",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Request Entity Too Large",
        414 => "Request-URI Too Large",
        415 => "Unsupported Media Type",
        416 => "Requested Range Not Satisfiable",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Entity",
        425 => "Too Early",
        426 => "Upgrade Required",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Temporarily Unavailable",
        504 => "Gateway Time-out",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_gateway_looks_like_alb_s() {
        let mut out = Vec::new();
        Answer::page(502).write(&mut out, false, true, true, "now");
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "HTTP/1.1 502 Bad Gateway\r\nServer: awselb/2.0\r\nDate: now\r\n\
             Content-Type: text/html\r\nContent-Length: 122\r\nConnection: keep-alive\r\n\r\n\
             <html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n\
             <center><h1>502 Bad Gateway</h1></center>\r\n</body>\r\n</html>\r\n"
        );
    }
}
