//! Where an HTTP/1 message ends. The one place that decides it, once, strictly: what two readers might
//! frame differently is refused here and never reaches a target (RFC 9112 sections 2.2, 6 and 7).
//! Moves no bytes; `pump` does.

use std::ops::Range;

use httparse::Header;

pub const MAX_HEADERS: usize = 128;
/// ALB's limits: 16 KiB per request line and per header, 64 KiB for a request's head, 32 KiB for a response's.
pub const MAX_LINE: usize = 16 * 1024;
pub const MAX_REQUEST_HEAD: usize = 64 * 1024;
pub const MAX_RESPONSE_HEAD: usize = 32 * 1024;
const MAX_CHUNK_LINE: usize = 256;
const MAX_TRAILERS: usize = 8 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    Http10,
    Http11,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    Empty,
    Fixed(u64),
    Chunked,
    /// Only a response: the body ends with the connection.
    UntilClose,
}

/// How far a request departs from the standard, after AWS's desync mitigation classes. The fourth,
/// severe, is `Malformed`: its length cannot be told for sure, so no mode lets it pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    Compliant,
    /// Odd and harmless.
    Acceptable,
    /// Another server might have read it differently: connections are not used again after it.
    Ambiguous,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    Malformed,
    /// A transfer coding other than `chunked`.
    UnknownCoding,
}

/// Where the head that begins at `buf[0]` ends (its empty line included), looking only at what
/// follows `scanned`. A line that ends without CR is refused.
pub fn head_end(buf: &[u8], scanned: usize) -> Result<Option<usize>, Error> {
    for at in memchr::memchr_iter(b'\n', &buf[scanned..]) {
        let at = scanned + at;
        if at == 0 || buf[at - 1] != b'\r' {
            return Err(Error::Malformed);
        }
        if at >= 3 && buf[at - 2] == b'\n' {
            return Ok(Some(at + 1));
        }
    }
    Ok(None)
}

/// The length of a request's body.
pub fn request(
    version: Version,
    method: &str,
    headers: &[Header<'_>],
) -> Result<(Length, Class), Error> {
    let mut class = Class::Compliant;
    let fields = Fields::read(headers)?;
    if fields.lookalike {
        class = Class::Ambiguous;
    }
    let length = match (fields.coding, fields.length) {
        (Some(_), _) if version == Version::Http10 => return Err(Error::Malformed),
        (Some(Coding::Chunked), None) => Length::Chunked,
        (Some(Coding::Chunked), Some(_)) => {
            class = Class::Ambiguous;
            Length::Chunked
        }
        (Some(Coding::Identity), length) => {
            class = Class::Ambiguous;
            length.map_or(Length::Empty, Length::Fixed)
        }
        (None, Some(n)) => Length::Fixed(n),
        (None, None) => Length::Empty,
    };
    if fields.repeated_length {
        class = Class::Ambiguous;
    }
    if matches!(method, "GET" | "HEAD") && length != Length::Empty {
        class = class.max(match length {
            Length::Fixed(0) => Class::Acceptable,
            _ => Class::Ambiguous,
        });
    }
    Ok((if length == Length::Fixed(0) { Length::Empty } else { length }, class))
}

/// The length of a response's body, given the request it answers.
pub fn response(
    to_head: bool,
    status: u16,
    version: Version,
    headers: &[Header<'_>],
) -> Result<Length, Error> {
    let fields = Fields::read(headers)?;
    if to_head || status < 200 || status == 204 || status == 304 {
        return Ok(Length::Empty);
    }
    match (fields.coding, fields.length) {
        (Some(_), _) if version == Version::Http10 => Err(Error::Malformed),
        (Some(_), Some(_)) => Err(Error::Malformed),
        (Some(Coding::Chunked), None) => Ok(Length::Chunked),
        (Some(Coding::Identity), None) | (None, None) => Ok(Length::UntilClose),
        (None, Some(0)) => Ok(Length::Empty),
        (None, Some(n)) => Ok(Length::Fixed(n)),
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Coding {
    Chunked,
    Identity,
}

struct Fields {
    length: Option<u64>,
    repeated_length: bool,
    coding: Option<Coding>,
    /// A name that some servers take for one of the two, such as `Content_Length`.
    lookalike: bool,
}

impl Fields {
    fn read(headers: &[Header<'_>]) -> Result<Fields, Error> {
        let mut fields =
            Fields { length: None, repeated_length: false, coding: None, lookalike: false };
        for header in headers {
            match header.name.len() {
                14 if header.name.eq_ignore_ascii_case("content-length") => {
                    let value = number(header.value)?;
                    match fields.length.replace(value) {
                        Some(before) if before != value => return Err(Error::Malformed),
                        Some(_) => fields.repeated_length = true,
                        None => {}
                    }
                }
                17 if header.name.eq_ignore_ascii_case("transfer-encoding") => {
                    let value = header.value.trim_ascii();
                    let coding = if value.eq_ignore_ascii_case(b"chunked") {
                        Coding::Chunked
                    } else if value.eq_ignore_ascii_case(b"identity") {
                        Coding::Identity
                    } else if !value.is_empty() && value.iter().all(|&b| is_token(b)) {
                        return Err(Error::UnknownCoding);
                    } else {
                        return Err(Error::Malformed);
                    };
                    if fields.coding.replace(coding).is_some() {
                        return Err(Error::Malformed);
                    }
                }
                14 | 17 => fields.lookalike |= is_lookalike(header.name),
                _ => {}
            }
        }
        Ok(fields)
    }
}

/// `Content_Length` and its like: dropped before forwarding.
pub fn is_lookalike(name: &str) -> bool {
    let same = |known: &str| {
        name.len() == known.len()
            && name.bytes().zip(known.bytes()).all(|(a, b)| {
                a.eq_ignore_ascii_case(&b) || (b == b'-' && !a.is_ascii_alphanumeric())
            })
            && !name.eq_ignore_ascii_case(known)
    };
    same("content-length") || same("transfer-encoding")
}

fn number(value: &[u8]) -> Result<u64, Error> {
    if value.is_empty() || value.len() > 18 {
        return Err(Error::Malformed);
    }
    value.iter().try_fold(0, |n: u64, &b| match b {
        b'0'..=b'9' => Ok(n * 10 + u64::from(b - b'0')),
        _ => Err(Error::Malformed),
    })
}

pub fn is_token(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)
}

/// Reads a body out of a connection's bytes.
#[derive(Debug)]
pub enum Decoder {
    Fixed(u64),
    Chunked(Chunked),
    UntilClose,
    Done,
}

impl From<Length> for Decoder {
    fn from(length: Length) -> Decoder {
        match length {
            Length::Empty | Length::Fixed(0) => Decoder::Done,
            Length::Fixed(n) => Decoder::Fixed(n),
            Length::Chunked => Decoder::Chunked(Chunked::default()),
            Length::UntilClose => Decoder::UntilClose,
        }
    }
}

/// What a stretch of input holds.
#[derive(Debug, PartialEq, Eq)]
pub struct Piece {
    /// Bytes to drop from the front of the input once `data` has been used.
    pub used: usize,
    /// Where in the input the body's bytes are; may be empty.
    pub data: Range<usize>,
}

impl Decoder {
    pub fn is_done(&self) -> bool {
        matches!(self, Decoder::Done)
    }

    /// Takes the next piece of `input`. It uses nothing only when it needs more input or is done.
    pub fn next(&mut self, input: &[u8]) -> Result<Piece, Error> {
        match self {
            Decoder::Done => Ok(Piece { used: 0, data: 0..0 }),
            Decoder::UntilClose => Ok(Piece { used: input.len(), data: 0..input.len() }),
            Decoder::Fixed(left) => {
                let n = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                *left -= n as u64;
                if *left == 0 {
                    *self = Decoder::Done;
                }
                Ok(Piece { used: n, data: 0..n })
            }
            Decoder::Chunked(chunked) => {
                let piece = chunked.next(input)?;
                if chunked.state == State::End {
                    *self = Decoder::Done;
                }
                Ok(piece)
            }
        }
    }
}

/// The chunked coding. Extensions and trailers are checked and dropped.
#[derive(Debug, Default)]
pub struct Chunked {
    state: State,
    /// Of the size line: digits seen; of a data chunk: bytes left.
    size: u64,
    /// Bytes seen of the line or of the trailers, to bound them.
    seen: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Before the first digit.
    #[default]
    Start,
    Size,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLf,
    EndLf,
    End,
}

impl Chunked {
    fn next(&mut self, input: &[u8]) -> Result<Piece, Error> {
        let mut at = 0;
        while at < input.len() {
            if self.state == State::Data {
                let n = usize::try_from(self.size).unwrap_or(usize::MAX).min(input.len() - at);
                self.size -= n as u64;
                if self.size == 0 {
                    self.state = State::DataCr;
                }
                return Ok(Piece { used: at + n, data: at..at + n });
            }
            self.step(input[at])?;
            at += 1;
            if self.state == State::End {
                break;
            }
        }
        Ok(Piece { used: at, data: 0..0 })
    }

    fn step(&mut self, b: u8) -> Result<(), Error> {
        use State::*;
        self.seen += 1;
        self.state = match (self.state, b) {
            (Start | Size, b) if b.is_ascii_hexdigit() => {
                if self.size >> 56 != 0 || self.seen > 16 {
                    return Err(Error::Malformed);
                }
                let digit = char::from(b).to_digit(16).expect("a hexadecimal digit");
                self.size = self.size * 16 + u64::from(digit);
                Size
            }
            (Size | Extension, b'\r') => SizeLf,
            (Size, b';') => Extension,
            // Bare CR or LF, or another control character, is where readers disagree.
            (Extension, b) if self.seen <= MAX_CHUNK_LINE && (b >= b' ' && b != 127) => Extension,
            (SizeLf, b'\n') => {
                self.seen = 0;
                if self.size == 0 { TrailerStart } else { Data }
            }
            (DataCr, b'\r') => DataLf,
            (DataLf, b'\n') => {
                self.seen = 0;
                Start
            }
            (TrailerStart, b'\r') => EndLf,
            (EndLf, b'\n') => End,
            (TrailerStart | TrailerName, b) if self.seen <= MAX_TRAILERS && is_token(b) => {
                TrailerName
            }
            (TrailerName, b':') => TrailerValue,
            (TrailerValue, b'\r') => TrailerLf,
            (TrailerValue, b)
                if self.seen <= MAX_TRAILERS && (b == b'\t' || (b >= b' ' && b != 127)) =>
            {
                TrailerValue
            }
            (TrailerLf, b'\n') => TrailerStart,
            _ => return Err(Error::Malformed),
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn headers<'a>(list: &[(&'a str, &'a str)]) -> Vec<Header<'a>> {
        list.iter().map(|&(name, value)| Header { name, value: value.as_bytes() }).collect()
    }

    #[test]
    fn request_lengths() {
        use Class::*;
        use Error::*;
        use Length::{Chunked, Empty, Fixed};
        let cl = "Content-Length";
        let te = "transfer-encoding";
        type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], Result<(Length, Class), Error>);
        let cases: &[Case] = &[
            ("GET", &[], Ok((Empty, Compliant))),
            ("POST", &[], Ok((Empty, Compliant))),
            ("POST", &[(cl, "5")], Ok((Fixed(5), Compliant))),
            ("POST", &[(cl, "0")], Ok((Empty, Compliant))),
            ("GET", &[(cl, "0")], Ok((Empty, Acceptable))),
            ("GET", &[(cl, "3")], Ok((Fixed(3), Ambiguous))),
            ("POST", &[(te, "Chunked")], Ok((Chunked, Compliant))),
            ("POST", &[(te, "chunked"), (cl, "5")], Ok((Chunked, Ambiguous))),
            ("POST", &[(cl, "5"), (cl, "5")], Ok((Fixed(5), Ambiguous))),
            ("POST", &[(te, "identity"), (cl, "5")], Ok((Fixed(5), Ambiguous))),
            ("POST", &[("Content_Length", "5")], Ok((Empty, Ambiguous))),
            ("POST", &[(cl, "5"), (cl, "6")], Err(Malformed)),
            ("POST", &[(cl, "5, 5")], Err(Malformed)),
            ("POST", &[(cl, "+5")], Err(Malformed)),
            ("POST", &[(cl, "-1")], Err(Malformed)),
            ("POST", &[(cl, "")], Err(Malformed)),
            ("POST", &[(cl, "0x5")], Err(Malformed)),
            ("POST", &[(cl, "9999999999999999999")], Err(Malformed)),
            ("POST", &[(te, "chunked"), (te, "chunked")], Err(Malformed)),
            ("POST", &[(te, "chunked, identity")], Err(Malformed)),
            ("POST", &[(te, "\u{b}chunked")], Err(Malformed)),
            ("POST", &[(te, "")], Err(Malformed)),
            ("POST", &[(te, "gzip")], Err(UnknownCoding)),
            ("POST", &[(te, "xchunked")], Err(UnknownCoding)),
        ];
        for (method, list, expected) in cases {
            assert_eq!(
                request(Version::Http11, method, &headers(list)),
                *expected,
                "{method} {list:?}"
            );
        }
        assert_eq!(request(Version::Http10, "POST", &headers(&[(te, "chunked")])), Err(Malformed));
    }

    #[test]
    fn response_lengths() {
        let of = |head, status, list: &[(&'static str, &'static str)]| {
            response(head, status, Version::Http11, &headers(list))
        };
        assert_eq!(of(false, 200, &[("content-length", "7")]), Ok(Length::Fixed(7)));
        assert_eq!(of(true, 200, &[("content-length", "7")]), Ok(Length::Empty));
        assert_eq!(of(false, 304, &[("content-length", "7")]), Ok(Length::Empty));
        assert_eq!(of(false, 204, &[]), Ok(Length::Empty));
        assert_eq!(of(false, 200, &[]), Ok(Length::UntilClose));
        assert_eq!(of(false, 200, &[("transfer-encoding", "chunked")]), Ok(Length::Chunked));
        let both = [("transfer-encoding", "chunked"), ("content-length", "7")];
        assert_eq!(of(false, 200, &both), Err(Error::Malformed));
    }

    #[test]
    fn heads_end_at_the_empty_line() {
        assert_eq!(head_end(b"GET / HTTP/1.1\r\n\r\nrest", 0), Ok(Some(18)));
        assert_eq!(head_end(b"GET / HTTP/1.1\r\n\r", 0), Ok(None));
        assert_eq!(head_end(b"GET / HTTP/1.1\n\n", 0), Err(Error::Malformed));
        assert_eq!(head_end(b"GET / HTTP/1.1\r\nA: b\n\r\n", 0), Err(Error::Malformed));
    }

    /// Decodes `input` in steps of at most `step` bytes; the body and how much was used, once done.
    fn decode(
        input: &[u8],
        step: usize,
        mut decoder: Decoder,
    ) -> Result<Option<(Vec<u8>, usize)>, Error> {
        let (mut body, mut at, mut end) = (Vec::new(), 0, 0);
        while !decoder.is_done() {
            let piece = decoder.next(&input[at..end])?;
            body.extend_from_slice(&input[at..end][piece.data.clone()]);
            at += piece.used;
            if piece.used == 0 && !decoder.is_done() {
                if end == input.len() {
                    return Ok(None);
                }
                end = (end + step).min(input.len());
            }
        }
        Ok(Some((body, at)))
    }

    fn chunked() -> Decoder {
        Decoder::from(Length::Chunked)
    }

    #[test]
    fn bad_chunks_are_refused() {
        let bad: &[&[u8]] = &[
            b"\r\n",
            b"5\nhello\r\n0\r\n\r\n",
            b"5\r\nhello0\r\n\r\n",
            b"5\r\nhello\n0\r\n\r\n",
            b"+5\r\nhello\r\n0\r\n\r\n",
            b"0x5\r\nhello\r\n0\r\n\r\n",
            b"5 \r\nhello\r\n0\r\n\r\n",
            b" 5\r\nhello\r\n0\r\n\r\n",
            b"5;a\nb\r\nhello\r\n0\r\n\r\n",
            b"5;a\rb\r\nhello\r\n0\r\n\r\n",
            b"FFFFFFFFFFFFFFFFF\r\n",
            b"00000000000000000005\r\nhello\r\n0\r\n\r\n",
            b"0\r\nno colon\r\n\r\n",
            b"0\r\n folded: x\r\n\r\n",
            b"0\r\na: b\n\r\n",
        ];
        for input in bad {
            for step in [1, 3, 1000] {
                assert_eq!(
                    decode(input, step, chunked()),
                    Err(Error::Malformed),
                    "{:?}",
                    String::from_utf8_lossy(input)
                );
            }
        }
        let long = [b"5;".as_slice(), &vec![b'a'; 1000], b"\r\n"].concat();
        assert_eq!(decode(&long, 10, chunked()), Err(Error::Malformed));
    }

    proptest! {
        #[test]
        fn chunked_bodies_come_back_however_they_are_cut(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..50), 0..8),
            extension in "(;[a-z=\"]{0,9})?",
            trailer in "(X-[a-z]{1,5}: [ -~]{0,9}\r\n){0,2}",
            step in 1..40usize,
            rest in prop::collection::vec(any::<u8>(), 0..20),
        ) {
            let mut input = Vec::new();
            for chunk in &chunks {
                input.extend_from_slice(format!("{:x}{extension}\r\n", chunk.len()).as_bytes());
                input.extend_from_slice(chunk);
                input.extend_from_slice(b"\r\n");
            }
            input.extend_from_slice(format!("0\r\n{trailer}\r\n").as_bytes());
            let used = input.len();
            input.extend_from_slice(&rest);
            prop_assert_eq!(decode(&input, step, chunked()), Ok(Some((chunks.concat(), used))));
        }

        #[test]
        fn any_bytes_decode_the_same_however_they_are_cut(
            input in "[0-3a\r\n;:x]{0,60}",
            step in 1..20usize,
        ) {
            let input = input.as_bytes();
            prop_assert_eq!(decode(input, step, chunked()), decode(input, 1000, chunked()));
        }

        #[test]
        fn heads_end_at_the_same_place_however_they_are_cut(
            input in "[a\r\n]{0,60}",
            step in 1..20usize,
        ) {
            let input = input.as_bytes();
            let mut end = 0;
            let mut scanned = 0;
            let found = loop {
                let found = head_end(&input[..end], scanned);
                if found != Ok(None) || end == input.len() {
                    break found;
                }
                scanned = end;
                end = (end + step).min(input.len());
            };
            prop_assert_eq!(found, head_end(input, 0));
        }
    }
}
