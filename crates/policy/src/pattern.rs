//! Texts of policies with wildcards and policy variables, and whether a text matches.
//!
//! `*` is any number of characters, `?` is one. In a `Resource`, "*" as the last character of one of
//! the ARN's first five segments expands beyond its colon, elsewhere in them it does not; the sixth
//! segment holds whatever follows. Variables (`${key}`, `${key, 'default'}`, and `${*}`, `${?}`,
//! `${$}` for the characters themselves) are of version 2012-10-17; what they stand for is literal,
//! and one without a value equals and resembles nothing.

use std::borrow::Cow;

use crate::context::{Context, Key};

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Pattern {
    tokens: Vec<Token>,
    variables: bool,
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Text(String),
    Variable {
        key: Key,
        default: Option<String>,
    },
    /// `*`, and whether it goes on beyond a colon.
    Many(bool),
    /// `?`, likewise.
    One(bool),
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Wildcards {
    /// `*` and `?` are characters like others.
    None,
    Anywhere,
    /// As in the ARN of a resource.
    Segments,
}

impl Pattern {
    /// `None` if a variable is ill-formed.
    pub fn new(text: &str, variables: bool, wildcards: Wildcards) -> Option<Pattern> {
        let mut pattern = Pattern { tokens: Vec::new(), variables: false };
        let mut colons = 0;
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            let next = &rest[c.len_utf8()..];
            let open = wildcards == Wildcards::Anywhere || colons >= 5;
            match c {
                '$' if variables && next.starts_with('{') => {
                    let (token, after) = variable(&next[1..])?;
                    pattern.push(token);
                    rest = after;
                    continue;
                }
                '*' if wildcards != Wildcards::None => {
                    let last = next.is_empty() || next.starts_with(':');
                    pattern.push(Token::Many(open || last));
                }
                '?' if wildcards != Wildcards::None => pattern.push(Token::One(open)),
                _ => {
                    colons += usize::from(c == ':');
                    pattern.push(Token::Text(c.into()));
                }
            }
            rest = next;
        }
        Some(pattern)
    }

    fn push(&mut self, token: Token) {
        self.variables |= matches!(token, Token::Variable { .. });
        match (self.tokens.last_mut(), token) {
            (Some(Token::Text(text)), Token::Text(more)) => text.push_str(&more),
            (_, token) => self.tokens.push(token),
        }
    }

    pub fn matches(&self, text: &str, context: &Context) -> bool {
        self.resolve(context).is_some_and(|tokens| matches(&tokens, text))
    }

    /// The text that this stands for. It has no wildcards.
    pub fn text(&self, context: &Context) -> Option<String> {
        let tokens = self.resolve(context)?;
        let text = tokens.iter().map(|token| match token {
            Token::Text(text) => text.as_str(),
            _ => unreachable!("variables are resolved, and there are no wildcards"),
        });
        Some(text.collect())
    }

    /// The keys of the variables.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.tokens.iter().filter_map(|token| match token {
            Token::Variable { key, .. } => Some(key),
            _ => None,
        })
    }

    fn resolve(&self, context: &Context) -> Option<Cow<'_, [Token]>> {
        if !self.variables {
            return Some(Cow::Borrowed(&self.tokens));
        }
        let resolved = self.tokens.iter().map(|token| {
            let Token::Variable { key, default } = token else { return Some(token.clone()) };
            // A key of several values is no variable.
            let value = match context.of(key) {
                Some([value]) => Some(value),
                _ => default.as_ref(),
            };
            value.cloned().map(Token::Text)
        });
        resolved.collect::<Option<Vec<Token>>>().map(Cow::Owned)
    }
}

/// The variable whose name begins `text`, and what follows its brace.
fn variable(text: &str) -> Option<(Token, &str)> {
    let plain = |key: &str| !key.is_empty() && !key.contains(['$', '{', ',', ' ']);
    let quote = text.find('\'').unwrap_or(text.len());
    let end = text.find('}')?;
    if end < quote {
        let key = text[..end].trim();
        let token = match key {
            "*" | "?" | "$" => Token::Text(key.to_owned()),
            _ => Token::Variable { key: plain(key).then(|| Key::new(key))?, default: None },
        };
        return Some((token, &text[end + 1..]));
    }
    let key = text[..quote].trim().strip_suffix(',')?.trim();
    let key = plain(key).then(|| Key::new(key))?;
    let (default, rest) = quoted(&text[quote + 1..])?;
    let after = rest.trim_start().strip_prefix('}')?;
    Some((Token::Variable { key, default: Some(default) }, after))
}

/// What stands before the closing quote, two of which are one quote, and what follows it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut rest = text;
    loop {
        let (before, after) = rest.split_once('\'')?;
        value.push_str(before);
        rest = after.strip_prefix('\'').unwrap_or(after);
        if rest.len() == after.len() {
            return Some((value, rest));
        }
        value.push('\'');
    }
}

/// Greedy, with two places to come back to: the latest `*`, and the latest that crosses colons. Both
/// suffice, since the pieces between two crossing ones may as well match as early as they can, and
/// what follows an uncrossing one is bound to its segment.
fn matches(tokens: &[Token], text: &str) -> bool {
    let (mut token, mut at) = (0, 0);
    let (mut near, mut far): (Option<(usize, usize)>, Option<(usize, usize)>) = (None, None);
    loop {
        let rest = &text[at..];
        match tokens.get(token) {
            None if rest.is_empty() => return true,
            Some(Token::Text(literal)) if rest.starts_with(literal.as_str()) => {
                token += 1;
                at += literal.len();
                continue;
            }
            Some(Token::One(crosses)) => {
                if let Some(c) = rest.chars().next().filter(|c| *crosses || *c != ':') {
                    token += 1;
                    at += c.len_utf8();
                    continue;
                }
            }
            Some(Token::Many(crosses)) => {
                token += 1;
                if *crosses && token == tokens.len() {
                    return true;
                }
                (near, far) =
                    if *crosses { (None, Some((token, at))) } else { (Some((token, at)), far) };
                continue;
            }
            _ => {}
        }
        near = near.and_then(|(token, at)| one_more(text, at, false).map(|at| (token, at)));
        if near.is_none() {
            far = far.and_then(|(token, at)| one_more(text, at, true).map(|at| (token, at)));
        }
        match near.or(far) {
            Some(place) => (token, at) = place,
            None => return false,
        }
    }
}

/// Where a `*` that has taken everything before `at` stands after one more character.
fn one_more(text: &str, at: usize, crosses: bool) -> Option<usize> {
    let c = text[at..].chars().next()?;
    (crosses || c != ':').then(|| at + c.len_utf8())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn like(pattern: &str, text: &str, wildcards: Wildcards) -> bool {
        Pattern::new(pattern, true, wildcards).unwrap().matches(text, &Context::new())
    }

    #[test]
    fn wildcards() {
        for (pattern, text, found) in [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("**", "x", true),
            ("?", "é", true),
            ("?", "", false),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZcd", false),
            ("*ab", "aab", true),
            ("*a?b", "aaxaab", true),
            ("${*}", "*", true),
            ("${*}", "x", false),
            ("a${?}${$}", "a?$", true),
            ("$x{}", "$x{}", true),
        ] {
            assert_eq!(like(pattern, text, Wildcards::Anywhere), found, "{pattern} {text}");
        }
        assert!(like("a*", "a*", Wildcards::None));
        assert!(!like("a*", "ab", Wildcards::None));
    }

    #[test]
    fn segments() {
        for (pattern, text, found) in [
            ("arn:aws:ec2:*", "arn:aws:ec2:us-east-1:1:instance/i-1", true),
            ("arn:aws:ec2:*:*:instance/*", "arn:aws:ec2:us-east-1:1:instance/i-1", true),
            ("arn:aws:ec2:*:instance/*", "arn:aws:ec2:us-east-1:1:instance/i-1", true),
            ("arn:aws:ec2:us-*-1:1:instance/*", "arn:aws:ec2:us-east-1:1:instance/i", true),
            ("arn:aws:ec2:us*1:1:instance/*", "arn:aws:ec2:us:1:1:1:instance/i", false),
            ("arn:aws:ec2:us-east-?:1:x", "arn:aws:ec2:us-east-1:1:x", true),
            ("arn:aws:ec2:us?east:1:x", "arn:aws:ec2:us:east:1:x", false),
            ("arn:aws:s3:::b/*/x", "arn:aws:s3:::b/a:b/x", true),
            ("arn:aws:s3:::b/*x:?", "arn:aws:s3:::b/a:bx::", true),
            ("*", "arn:aws:s3:::b", true),
            ("*", "*", true),
            ("arn:*", "*", false),
            ("*:a*b:c", "x:aq:ab:c", true),
        ] {
            assert_eq!(like(pattern, text, Wildcards::Segments), found, "{pattern} {text}");
        }
    }

    #[test]
    fn variables() {
        let context = Context::new()
            .with("aws:username", "a*c")
            .with_all("aws:TagKeys", vec!["x".into(), "y".into()]);
        for (pattern, text, found) in [
            ("${aws:username}", "a*c", true),
            ("${aws:username}", "abc", false),
            ("${AWS:UserName}/*", "a*c/d", true),
            ("${aws:none}", "", false),
            ("x${aws:none, 'it''s'}y", "xit'sy", true),
            ("${aws:none,'}'}", "}", true),
            ("${aws:username, 'default'}", "a*c", true),
            ("${aws:TagKeys}", "x", false),
            ("${aws:TagKeys, 'd'}", "d", true),
        ] {
            let pattern = Pattern::new(pattern, true, Wildcards::Anywhere).unwrap();
            assert_eq!(pattern.matches(text, &context), found, "{pattern:?} {text}");
        }
        for ill in
            ["${", "${}", "${ }", "${a", "${a b}", "${a, b}", "${a, 'b}", "${a 'b'}", "${a${b}}"]
        {
            assert_eq!(Pattern::new(ill, true, Wildcards::None), None, "{ill}");
        }
        assert!(Pattern::new("${", false, Wildcards::None).unwrap().matches("${", &context));
    }
}
