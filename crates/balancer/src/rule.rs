//! Which rule of a listener a request meets. Pure: patterns are compiled once, `find` only reads.

use std::net::Ipv4Addr;

use httparse::Header;

use crate::snapshot::Condition;

/// What the conditions look at.
pub struct Request<'a> {
    pub method: &'a str,
    /// Without the port.
    pub host: &'a str,
    pub path: &'a str,
    pub query: &'a str,
    pub source: Ipv4Addr,
    pub headers: &'a [Header<'a>],
}

#[derive(Debug)]
pub struct Rule<A> {
    pub action: A,
    conditions: Vec<Matcher>,
}

impl<A> Rule<A> {
    pub fn new(conditions: &[Condition], action: A) -> Rule<A> {
        Rule { action, conditions: conditions.iter().map(Matcher::new).collect() }
    }
}

/// The first rule all of whose conditions hold.
pub fn find<'r, A>(rules: &'r [Rule<A>], request: &Request<'_>) -> Option<&'r Rule<A>> {
    rules.iter().find(|rule| rule.conditions.iter().all(|c| c.holds(request)))
}

#[derive(Debug)]
enum Matcher {
    Host(Vec<Pattern>),
    Path(Vec<Pattern>),
    Header { name: String, values: Vec<Pattern> },
    Method(Vec<String>),
    Query(Vec<(Option<Pattern>, Pattern)>),
    SourceIp(Vec<(u32, u32)>),
}

impl Matcher {
    fn new(condition: &Condition) -> Matcher {
        let any_case = |values: &[String]| values.iter().map(|v| Pattern::new(v, true)).collect();
        match condition {
            Condition::Host(values) => Matcher::Host(any_case(values)),
            Condition::Path(values) => {
                Matcher::Path(values.iter().map(|v| Pattern::new(v, false)).collect())
            }
            Condition::Header { name, values } => {
                Matcher::Header { name: name.clone(), values: any_case(values) }
            }
            Condition::Method(values) => Matcher::Method(values.clone()),
            Condition::Query(pairs) => Matcher::Query(
                pairs
                    .iter()
                    .map(|(key, value)| {
                        (key.as_ref().map(|k| Pattern::new(k, true)), Pattern::new(value, true))
                    })
                    .collect(),
            ),
            Condition::SourceIp(blocks) => Matcher::SourceIp(
                blocks
                    .iter()
                    .map(|&(address, prefix)| {
                        let mask =
                            u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0);
                        (u32::from(address) & mask, mask)
                    })
                    .collect(),
            ),
        }
    }

    fn holds(&self, request: &Request<'_>) -> bool {
        let any = |patterns: &[Pattern], text: &[u8]| patterns.iter().any(|p| p.matches(text));
        match self {
            Matcher::Host(patterns) => any(patterns, request.host.as_bytes()),
            Matcher::Path(patterns) => any(patterns, request.path.as_bytes()),
            Matcher::Header { name, values } => request
                .headers
                .iter()
                .any(|h| h.name.eq_ignore_ascii_case(name) && any(values, h.value)),
            Matcher::Method(methods) => methods.iter().any(|m| m == request.method),
            Matcher::Query(wanted) => request.query.split('&').any(|pair| {
                let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
                wanted.iter().any(|(k, v)| {
                    k.as_ref().is_none_or(|k| k.matches(key.as_bytes()))
                        && v.matches(value.as_bytes())
                })
            }),
            Matcher::SourceIp(blocks) => {
                let source = u32::from(request.source);
                blocks.iter().any(|&(network, mask)| source & mask == network)
            }
        }
    }
}

/// `*` is any run of characters, `?` any one; a backslash takes either literally.
#[derive(Debug)]
struct Pattern {
    tokens: Vec<Token>,
    any_case: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Token {
    Byte(u8),
    One,
    Run,
}

impl Pattern {
    fn new(text: &str, any_case: bool) -> Pattern {
        let mut tokens = Vec::with_capacity(text.len());
        let mut bytes = text.bytes().peekable();
        while let Some(b) = bytes.next() {
            tokens.push(match b {
                b'*' => Token::Run,
                b'?' => Token::One,
                b'\\' if matches!(bytes.peek(), Some(b'*' | b'?' | b'\\')) => {
                    Token::Byte(bytes.next().expect("peeked"))
                }
                b if any_case => Token::Byte(b.to_ascii_lowercase()),
                b => Token::Byte(b),
            });
        }
        tokens.dedup_by(|a, b| *a == Token::Run && *b == Token::Run);
        Pattern { tokens, any_case }
    }

    /// Linear but for the last run, which alone is retried.
    fn matches(&self, text: &[u8]) -> bool {
        let (mut t, mut p) = (0, 0);
        let mut retry = None;
        while t < text.len() {
            let b = if self.any_case { text[t].to_ascii_lowercase() } else { text[t] };
            match self.tokens.get(p) {
                Some(Token::Run) => {
                    p += 1;
                    if p == self.tokens.len() {
                        return true;
                    }
                    retry = Some((p, t));
                }
                Some(&Token::Byte(wanted)) if wanted == b => (t, p) = (t + 1, p + 1),
                Some(Token::One) => (t, p) = (t + 1, p + 1),
                _ => match &mut retry {
                    Some((after_run, from)) => {
                        *from += 1;
                        (t, p) = (*from, *after_run);
                    }
                    None => return false,
                },
            }
        }
        self.tokens[p..].iter().all(|&t| t == Token::Run)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn patterns() {
        let cases = [
            ("/a/*", "/a/b/c", true),
            ("/a/*", "/a", false),
            ("/a*", "/a", true),
            ("*.png", "/x/y.png", true),
            ("*.png", "/x/y.png2", false),
            ("/?/z", "/q/z", true),
            ("/?/z", "//z", false),
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("a*b*c", "aXbXbXc", true),
            ("a*b*c", "aXbXbX", false),
            (r"a\*b", "a*b", true),
            (r"a\*b", "axb", false),
            ("**", "anything", true),
        ];
        for (pattern, text, expected) in cases {
            assert_eq!(
                Pattern::new(pattern, false).matches(text.as_bytes()),
                expected,
                "{pattern} on {text}"
            );
        }
        assert!(Pattern::new("*.Example.COM", true).matches(b"www.eXample.com"));
        assert!(!Pattern::new("/A", false).matches(b"/a"));
    }

    fn meets(condition: Condition) -> bool {
        let headers = [Header { name: "User-Agent", value: b"Mozilla/5.0" }];
        let request = Request {
            method: "GET",
            host: "www.example.com",
            path: "/img/a.png",
            query: "version=v1&Debug&x=a=b",
            source: Ipv4Addr::new(10, 1, 2, 3),
            headers: &headers,
        };
        find(&[Rule::new(&[condition], ())], &request).is_some()
    }

    #[test]
    fn conditions() {
        use Condition::*;
        let s = |list: &[&str]| list.iter().map(|s| s.to_string()).collect::<Vec<_>>();
        let q = |k: Option<&str>, v: &str| Query(vec![(k.map(str::to_string), v.to_string())]);
        let header = |name: &str, v: &[&str]| Header { name: name.to_string(), values: s(v) };
        let cases = [
            (Host(s(&["example.com", "*.EXAMPLE.com"])), true),
            (Host(s(&["example.com"])), false),
            (Path(s(&["/img/*"])), true),
            (Path(s(&["/IMG/*"])), false),
            (header("user-agent", &["*mozilla*"]), true),
            (header("user-agent", &["curl*"]), false),
            (header("cookie", &["*"]), false),
            (Method(s(&["POST", "GET"])), true),
            (Method(s(&["get"])), false),
            (q(Some("VERSION"), "V1"), true),
            (q(None, "v*"), true),
            (q(Some("debug"), ""), true),
            (q(Some("x"), "a=b"), true),
            (q(Some("version"), "v2"), false),
            (SourceIp(vec![([10, 1, 0, 0].into(), 16)]), true),
            (SourceIp(vec![([10, 1, 2, 3].into(), 32)]), true),
            (SourceIp(vec![([10, 2, 0, 0].into(), 16)]), false),
            (SourceIp(vec![([0, 0, 0, 0].into(), 0)]), true),
        ];
        for (condition, expected) in cases {
            assert_eq!(meets(condition.clone()), expected, "{condition:?}");
        }
    }

    #[test]
    fn the_first_rule_that_holds_wins() {
        let path = |p: &str| vec![Condition::Path(vec![p.to_string()])];
        let rules = [Rule::new(&path("/a/b"), 1), Rule::new(&path("/a/*"), 2), Rule::new(&[], 3)];
        let at = |path| {
            let request = Request {
                method: "GET",
                host: "",
                path,
                query: "",
                source: Ipv4Addr::LOCALHOST,
                headers: &[],
            };
            find(&rules, &request).map(|r| r.action)
        };
        assert_eq!([at("/a/b"), at("/a/c"), at("/")], [Some(1), Some(2), Some(3)]);
    }

    /// The plain definition, exponential.
    fn plain(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern.first(), text.first()) {
            (None, None) => true,
            (Some(b'*'), _) => {
                plain(&pattern[1..], text) || (!text.is_empty() && plain(pattern, &text[1..]))
            }
            (Some(b'?'), Some(_)) => plain(&pattern[1..], &text[1..]),
            (Some(a), Some(b)) if a == b => plain(&pattern[1..], &text[1..]),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn patterns_match_as_defined(pattern in "[ab*?]{0,8}", text in "[ab]{0,10}") {
            prop_assert_eq!(
                Pattern::new(&pattern, false).matches(text.as_bytes()),
                plain(pattern.as_bytes(), text.as_bytes())
            );
        }
    }
}
