//! Parameters as a tree: `Filter.1.Name=x` is `Filter` › `1` › `Name`.

use std::collections::BTreeMap;

use crate::Request;

/// Deeper names than any shape has are nobody's.
const MAX_DEPTH: usize = 32;

#[derive(Debug, Default)]
pub struct Node {
    pub value: Option<String>,
    pub children: BTreeMap<String, Node>,
}

/// The parameter's name is too deep.
#[derive(Debug)]
pub struct TooDeep(pub String);

/// The parameters of a request's query string and body, without those of the protocol and the signature.
pub fn tree(request: &Request) -> Result<Node, TooDeep> {
    let mut root = Node::default();
    let from_query = pairs(request.uri.query().unwrap_or_default().as_bytes());
    for (name, value) in from_query.chain(pairs(&request.body)) {
        let of_protocol = name == "Action" || name == "Version";
        if of_protocol || name.get(..6).is_some_and(|p| p.eq_ignore_ascii_case("x-amz-")) {
            continue;
        }
        let mut node = &mut root;
        for (depth, step) in name.split('.').enumerate() {
            if depth == MAX_DEPTH {
                return Err(TooDeep(name));
            }
            node = node.children.entry(step.to_owned()).or_default();
        }
        node.value = Some(value);
    }
    Ok(root)
}

/// The decoded pairs of a form.
pub fn pairs(form: &[u8]) -> impl Iterator<Item = (String, String)> {
    form.split(|b| *b == b'&').filter(|pair| !pair.is_empty()).map(|pair| {
        let at = memchr::memchr(b'=', pair).unwrap_or(pair.len());
        (percent_decode(&pair[..at], true), percent_decode(pair.get(at + 1..).unwrap_or(b""), true))
    })
}

/// `%41` → `A`, and `+` → space where `plus`; what is no escape stays; bad UTF-8 is replaced.
pub fn percent_decode(text: &[u8], plus: bool) -> String {
    let out = percent_decode_bytes(text, plus);
    String::from_utf8(out).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned())
}

pub fn percent_decode_bytes(text: &[u8], plus: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut i = 0;
    while i < text.len() {
        let escape = text.get(i + 1..i + 3).and_then(|digits| {
            Some((hex(digits[0])? << 4) | hex(digits[1])?).filter(|_| text[i] == b'%')
        });
        match (text[i], escape) {
            (_, Some(byte)) => {
                out.push(byte);
                i += 2;
            }
            (b'+', _) if plus => out.push(b' '),
            (byte, _) => out.push(byte),
        }
        i += 1;
    }
    out
}

pub fn hex(digit: u8) -> Option<u8> {
    (digit as char).to_digit(16).map(|d| d as u8)
}

/// Percent-encodes all but RFC 3986's unreserved characters, as signatures and forms want it.
pub fn percent_encode(text: &[u8], keep_slash: bool) -> String {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let mut out = String::with_capacity(text.len());
    for byte in text {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(*byte as char);
            }
            b'/' if keep_slash => out.push('/'),
            _ => {
                out.push('%');
                out.push(DIGITS[usize::from(byte >> 4)] as char);
                out.push(DIGITS[usize::from(byte & 15)] as char);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn escapes() {
        let all: Vec<_> = pairs(b"a=1+2&b=%e2%82%ac&c&d=%zz%4&&e==").collect();
        let expected = [("a", "1 2"), ("b", "€"), ("c", ""), ("d", "%zz%4"), ("e", "=")];
        assert_eq!(all, expected.map(|(k, v)| (k.to_owned(), v.to_owned())));
    }

    proptest! {
        #[test]
        fn both_ways(text in "\\PC*") {
            let encoded = percent_encode(text.as_bytes(), false);
            prop_assert_eq!(percent_decode(encoded.as_bytes(), true), text);
        }
    }
}
