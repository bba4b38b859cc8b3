//! What user data consists of, as cloud-init reads it: gzip or base64 or plain; one part, or several in a
//! MIME message; told apart by content type or by how it begins ("User data formats").

use std::io::Read;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::yaml::{self, Value};

/// More than user data of 16 KB has use for.
const MOST_BYTES: u64 = 16 << 20;
/// Messages in messages, lists of addresses in lists.
const MOST_DEPTH: usize = 8;

#[derive(Clone, Debug, PartialEq)]
pub enum Part {
    /// Runs once in the life of an instance, after everything else.
    Script(Vec<u8>),
    /// Runs at every boot, before everything else.
    Boothook(Vec<u8>),
    /// Runs at every boot, with the other scripts.
    PerBoot(Vec<u8>),
    CloudConfig(Value),
}

/// The parts, and what of it cannot be had, in words.
#[derive(Debug, Default, PartialEq)]
pub struct Parts {
    pub parts: Vec<Part>,
    pub refused: Vec<String>,
    /// Something that is nothing to act on: for the guest to read.
    pub left: bool,
}

/// `fetch` gets what an `#include` names.
pub fn read(data: &[u8], fetch: &mut dyn FnMut(&str) -> Result<Vec<u8>, String>) -> Parts {
    let mut parts = Parts::default();
    parts.add(data, None, 0, fetch);
    parts
}

type Fetch<'a> = &'a mut dyn FnMut(&str) -> Result<Vec<u8>, String>;

impl Parts {
    fn refuse(&mut self, why: impl Into<String>) {
        self.refused.push(why.into());
    }

    fn add(&mut self, data: &[u8], kind: Option<&str>, depth: usize, fetch: Fetch<'_>) {
        if depth > MOST_DEPTH {
            return self.refuse("user data within user data, without end");
        }
        let Some(unpacked) = gunzip(data) else {
            return self.refuse("gzip data that is broken, or too much when unpacked");
        };
        // As cloud-init does with what a client encoded once too often.
        let decoded = (depth == 0).then(|| STANDARD.decode(unpacked.trim_ascii()).ok()).flatten();
        let decoded = decoded.filter(|inner| !inner.is_empty() && begins(inner).is_some());
        let data = match &decoded {
            Some(inner) => match gunzip(inner) {
                Some(inner) => inner,
                None => return self.refuse("gzip data that is broken, or too much when unpacked"),
            },
            None => unpacked,
        };
        match kind.or_else(|| begins(&data)) {
            Some("multipart") => self.message(&data, depth, fetch),
            Some("text/x-shellscript" | "text/x-shellscript-per-instance") => {
                self.parts.push(Part::Script(data));
            }
            Some("text/x-shellscript-per-boot") => self.parts.push(Part::PerBoot(data)),
            Some("text/cloud-boothook") => self.parts.push(Part::Boothook(data)),
            Some("text/cloud-config") => match parse(&data) {
                Ok(config @ Value::Map(_)) => self.parts.push(Part::CloudConfig(config)),
                Ok(config) if config.is_null() => {}
                Ok(_) => self.refuse("#cloud-config: it must be a map of keys"),
                Err(error) => self.refuse(format!("#cloud-config: {error}")),
            },
            Some("text/cloud-config-archive") => match parse(&data) {
                Ok(Value::List(items)) => {
                    for item in &items {
                        self.add_item(item, depth, fetch);
                    }
                }
                Ok(_) => self.refuse("#cloud-config-archive: it must be a list"),
                Err(error) => self.refuse(format!("#cloud-config-archive: {error}")),
            },
            Some("text/x-include-url" | "text/x-include-once-url") => {
                for line in String::from_utf8_lossy(&data).lines().map(str::trim) {
                    if line.is_empty() || line.starts_with('#') {
                        continue;
                    }
                    match fetch(line) {
                        Ok(content) => self.add(&content, None, depth + 1, fetch),
                        Err(error) => self.refuse(format!("#include {line}: {error}")),
                    }
                }
            }
            Some(kind) => {
                self.refuse(format!("{kind}: this kind of user data is not supported here"))
            }
            None => self.left |= !data.trim_ascii().is_empty(),
        }
    }

    fn add_item(&mut self, item: &Value, depth: usize, fetch: Fetch<'_>) {
        let content = item.text().or_else(|| item.get("content")?.text());
        let Some(content) = content else {
            return self.refuse("#cloud-config-archive: an item without content");
        };
        let kind = item.get("type").and_then(Value::text).map(known_kind);
        self.add(content.as_bytes(), kind.flatten(), depth + 1, fetch);
    }

    /// A MIME message (RFC 2045, 2046).
    fn message(&mut self, data: &[u8], depth: usize, fetch: Fetch<'_>) {
        let text = String::from_utf8_lossy(data).replace("\r\n", "\n");
        let (headers, body) = split_headers(&text);
        for name in ["merge-type", "x-merge-type"] {
            if headers.iter().any(|(known, _)| known == name) {
                self.refuse(format!("{name}: parts are merged in cloud-init's usual way only"));
            }
        }
        let header = |name: &str| headers.iter().find(|(known, _)| known == name).map(|(_, v)| v);
        let kind = header("content-type").map_or("text/plain", String::as_str);
        if let Some(boundary) = parameter(kind, "boundary") {
            for part in split_body(body, &boundary) {
                self.message(part.as_bytes(), depth + 1, fetch);
            }
            return;
        }
        let encoding = header("content-transfer-encoding").map_or("", String::as_str);
        let content = match encoding.to_ascii_lowercase().as_str() {
            "base64" => {
                let packed: String = body.split_ascii_whitespace().collect();
                match STANDARD.decode(packed) {
                    Ok(content) => content,
                    Err(error) => return self.refuse(format!("a part in base64: {error}")),
                }
            }
            "quoted-printable" => quoted_printable(body),
            "" | "7bit" | "8bit" | "binary" => body.as_bytes().to_vec(),
            other => return self.refuse(format!("a part in the encoding {other}")),
        };
        let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match known_kind(&kind) {
            Some(kind) => self.add(&content, Some(kind), depth + 1, fetch),
            None if GENERIC.contains(&kind.as_str()) => self.add(&content, None, depth + 1, fetch),
            None => self.refuse(format!("{kind}: this kind of user data is not supported here")),
        }
    }
}

/// What says nothing of the content, which is then told by how it begins.
const GENERIC: &[&str] = &[
    "application/gzip",
    "application/octet-stream",
    "application/x-gzip",
    "text/plain",
    "text/x-not-multipart",
];

fn known_kind(kind: &str) -> Option<&'static str> {
    BEGINNINGS
        .iter()
        .map(|(_, known)| *known)
        .chain(OTHER_KINDS.iter().copied())
        .find(|k| *k == kind)
}

const OTHER_KINDS: &[&str] = &[
    "text/x-shellscript-per-boot",
    "text/x-shellscript-per-instance",
    "text/x-shellscript-per-once",
];

const BEGINNINGS: &[(&str, &str)] = &[
    ("#!", "text/x-shellscript"),
    ("#cloud-config-archive", "text/cloud-config-archive"),
    ("#cloud-config-jsonp", "text/cloud-config-jsonp"),
    ("#cloud-config", "text/cloud-config"),
    ("#cloud-boothook", "text/cloud-boothook"),
    ("#include-once", "text/x-include-once-url"),
    ("#include", "text/x-include-url"),
    ("#part-handler", "text/part-handler"),
    ("#upstart-job", "text/upstart-job"),
    ("## template: jinja", "text/jinja2"),
    ("content-type:", "multipart"),
    ("mime-version:", "multipart"),
];

/// What the first words say it is.
fn begins(data: &[u8]) -> Option<&'static str> {
    if data.starts_with(&[0x1f, 0x8b]) {
        return Some("gzip");
    }
    let start = data[..data.len().min(64)].to_ascii_lowercase();
    BEGINNINGS.iter().find(|(word, _)| start.starts_with(word.as_bytes())).map(|(_, kind)| *kind)
}

/// What gzip data holds; `None` if it is none, broken or too large.
pub fn gunzip_exactly(data: &[u8]) -> Option<Vec<u8>> {
    if data.starts_with(&[0x1f, 0x8b]) { gunzip(data) } else { None }
}

/// `None`: gzip, but broken or too large.
fn gunzip(data: &[u8]) -> Option<Vec<u8>> {
    if !data.starts_with(&[0x1f, 0x8b]) {
        return Some(data.to_vec());
    }
    let mut content = Vec::new();
    let mut reader = flate2::read::MultiGzDecoder::new(data).take(MOST_BYTES + 1);
    reader.read_to_end(&mut content).ok()?;
    (content.len() as u64 <= MOST_BYTES).then_some(content)
}

fn parse(data: &[u8]) -> Result<Value, String> {
    yaml::parse(std::str::from_utf8(data).map_err(|error| error.to_string())?)
}

/// Names in lower case, folded lines joined; and what comes after the empty line.
fn split_headers(text: &str) -> (Vec<(String, String)>, &str) {
    let mut headers: Vec<(String, String)> = Vec::new();
    let mut rest = text;
    while let Some((line, after)) = rest.split_once('\n') {
        if line.trim().is_empty() {
            return (headers, after);
        }
        if line.starts_with([' ', '\t'])
            && let Some((_, value)) = headers.last_mut()
        {
            *value += line;
        } else if let Some((name, value)) = line.split_once(':') {
            headers.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
        }
        rest = after;
    }
    (headers, "")
}

fn parameter(value: &str, name: &str) -> Option<String> {
    value.split(';').skip(1).find_map(|part| {
        let (key, value) = part.split_once('=')?;
        key.trim().eq_ignore_ascii_case(name).then(|| value.trim().trim_matches('"').to_owned())
    })
}

/// What is between the lines that the boundary makes.
fn split_body(body: &str, boundary: &str) -> Vec<String> {
    let (between, end) = (format!("--{boundary}"), format!("--{boundary}--"));
    let mut parts: Vec<String> = Vec::new();
    let mut within = false;
    for line in body.lines() {
        match line.trim_end() {
            line if line == end => break,
            line if line == between => {
                parts.push(String::new());
                within = true;
            }
            _ if within => {
                let part = parts.last_mut().expect("one was begun");
                part.push_str(line);
                part.push('\n');
            }
            _ => {}
        }
    }
    parts
}

fn quoted_printable(body: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let bytes = body.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        match rest {
            [b'=', b'\n', ..] => at += 2,
            [b'=', high, low, ..] => {
                let digit = |byte: &u8| (*byte as char).to_digit(16);
                match (digit(high), digit(low)) {
                    (Some(high), Some(low)) => out.push((high * 16 + low) as u8),
                    _ => out.extend(&rest[..3]),
                }
                at += 3;
            }
            [byte, ..] => {
                out.push(*byte);
                at += 1;
            }
            [] => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn parts(data: &[u8]) -> Parts {
        read(data, &mut |address| match address {
            "http://a/script" => Ok(b"#!/bin/sh\nincluded".to_vec()),
            "http://a/again" => Ok(b"#include\nhttp://a/again".to_vec()),
            _ => Err("not there".into()),
        })
    }

    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut writer = flate2::write::GzEncoder::new(Vec::new(), Default::default());
        writer.write_all(content).unwrap();
        writer.finish().unwrap()
    }

    fn script(text: &str) -> Part {
        Part::Script(text.as_bytes().to_vec())
    }

    #[test]
    fn one_part_of_each_kind() {
        let text = b"#!/bin/sh\necho";
        for data in [text.to_vec(), gzip(text), STANDARD.encode(text).into_bytes()] {
            assert_eq!(parts(&data).parts, [script("#!/bin/sh\necho")]);
        }
        let config = parts(b"#cloud-config\nruncmd: [ls]\n");
        assert!(
            matches!(&config.parts[..], [Part::CloudConfig(value)] if value.get("runcmd").is_some())
        );
        assert_eq!(
            parts(b"#include\n# x\nhttp://a/script\n").parts,
            [script("#!/bin/sh\nincluded")]
        );
        assert_eq!(parts(b"{\"role\": 1}"), Parts { left: true, ..Parts::default() });
        assert_eq!(parts(b""), Parts::default());
    }

    #[test]
    fn what_cannot_be_had_is_refused_in_words() {
        for (data, word) in [
            (&b"#part-handler\n"[..], "part-handler"),
            (b"## template: jinja\n#cloud-config\n", "jinja2"),
            (b"#cloud-config\n- a\n", "map"),
            (b"#cloud-config\na: [\n", "cloud-config"),
            (b"#include\nhttp://a/none\n", "not there"),
            (b"#include\nhttp://a/again\n", "without end"),
            (b"\x1f\x8bbroken", "gzip"),
        ] {
            let parts = parts(data);
            assert!(parts.refused.iter().any(|why| why.contains(word)), "{word}: {parts:?}");
        }
        assert!(!parts(&gzip(&vec![0; MOST_BYTES as usize + 1])).refused.is_empty());
    }

    #[test]
    fn messages_of_several_parts() {
        let packed = STANDARD.encode(b"#!/bin/sh\npacked");
        let text = format!(
            "Content-Type: multipart/mixed;\n boundary=\"==b==\"\nMIME-Version: 1.0\n\npreamble\n\
             --==b==\nContent-Type: text/cloud-config; charset=\"us-ascii\"\n\n#cloud-config\na: 1\n\
             --==b==\nContent-Type: text/x-shellscript\nContent-Transfer-Encoding: base64\n\n{packed}\n\
             --==b==\nContent-Type: text/plain\n\n#cloud-boothook\necho\n\
             --==b==\nContent-Type: text/x-shellscript\nContent-Transfer-Encoding: quoted-printable\n\n\
             #!/bin/sh\na=3Db =\nc\n--==b==\nContent-Type: image/png\n\nx\n--==b==--\nrest\n"
        );
        for text in [text.clone(), text.replace('\n', "\r\n")] {
            let parts = parts(text.as_bytes());
            let [Part::CloudConfig(_), first, hook, second] = &parts.parts[..] else {
                panic!("{parts:?}")
            };
            assert_eq!(*first, script("#!/bin/sh\npacked"));
            assert_eq!(*hook, Part::Boothook(b"#cloud-boothook\necho\n".to_vec()));
            assert_eq!(*second, script("#!/bin/sh\na=b c\n"));
            assert_eq!(parts.refused.len(), 1, "{parts:?}");
        }
    }
}
