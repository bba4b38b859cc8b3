//! The canonical form of a request: what both sides hash.

use http::{HeaderMap, Method, Uri};

use crate::query::params::{percent_decode_bytes, percent_encode};

/// `signed` are lower-case header names, sorted. `None` when one of them is not in the request.
pub fn request(
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    signed: &[&str],
    service: &str,
    payload_hash: &str,
) -> Option<String> {
    let mut text = String::with_capacity(512);
    for line in [method.as_str(), &path(uri.path(), service), &query(uri)] {
        text.push_str(line);
        text.push('\n');
    }
    for name in signed {
        text.push_str(name);
        text.push(':');
        text.push_str(&header(uri, headers, name)?);
        text.push('\n');
    }
    text.push('\n');
    text.push_str(&signed.join(";"));
    text.push('\n');
    text.push_str(payload_hash);
    Some(text)
}

/// S3 signs the path as it is; the others normalise it and encode it once more.
fn path(path: &str, service: &str) -> String {
    if matches!(service, "s3" | "s3express" | "s3-outposts") {
        return percent_encode(&percent_decode_bytes(path.as_bytes(), false), true);
    }
    let mut steps: Vec<&str> = Vec::new();
    for step in path.split('/') {
        match step {
            "" | "." => {}
            ".." => {
                steps.pop();
            }
            _ => steps.push(step),
        }
    }
    let mut normal = format!("/{}", steps.join("/"));
    if path.ends_with('/') && normal != "/" {
        normal.push('/');
    }
    percent_encode(normal.as_bytes(), true)
}

/// Pairs encoded anew and sorted, without the signature itself.
fn query(uri: &Uri) -> String {
    let query = uri.query().unwrap_or_default();
    let recode = |text: &str| percent_encode(&percent_decode_bytes(text.as_bytes(), false), false);
    let mut pairs: Vec<(String, String)> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (recode(name), recode(value)))
        .filter(|(name, _)| name != "X-Amz-Signature")
        .collect();
    pairs.sort();
    let pairs: Vec<String> =
        pairs.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    pairs.join("&")
}

/// All values of a header, trimmed, runs of spaces made one.
fn header(uri: &Uri, headers: &HeaderMap, name: &str) -> Option<String> {
    let mut values = Vec::new();
    for value in headers.get_all(name) {
        let value = String::from_utf8_lossy(value.as_bytes());
        values.push(value.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" "));
    }
    if values.is_empty() {
        // HTTP/2 names the host in the request's target.
        return uri.authority().filter(|_| name == "host").map(|a| a.as_str().to_owned());
    }
    Some(values.join(","))
}
