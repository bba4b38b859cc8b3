//! Text to tokens.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A keyword, a function or an attribute: letters, digits and `_`.
    Word,
    /// `#name`
    Name,
    /// `:value`
    Value,
    Number,
    Symbol,
    End,
}

#[derive(Clone, Copy, Debug)]
pub struct Token<'a> {
    pub kind: Kind,
    pub text: &'a str,
    pub begin: usize,
}

impl Token<'_> {
    pub fn end(&self) -> usize {
        if self.kind == Kind::End { self.begin } else { self.begin + self.text.len() }
    }
}

pub fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// The tokens, the last of them `<EOF>`; or the text that can be none.
pub fn tokens(text: &str) -> Result<Vec<Token<'_>>, Token<'_>> {
    let mut tokens = Vec::new();
    let mut begin = 0;
    while let Some(first) = text[begin..].chars().next() {
        if first.is_whitespace() {
            begin += first.len_utf8();
            continue;
        }
        let run = |from: usize, ok: fn(char) -> bool| {
            let rest = &text[from..];
            from + rest.find(|c| !ok(c)).unwrap_or(rest.len())
        };
        let (kind, end) = match first {
            '#' => (Kind::Name, run(begin + 1, is_word)),
            ':' => (Kind::Value, run(begin + 1, is_word)),
            c if c.is_ascii_digit() => (Kind::Number, run(begin, |c| c.is_ascii_digit())),
            c if is_word(c) => (Kind::Word, run(begin, is_word)),
            '<' if text[begin..].starts_with("<>") || text[begin..].starts_with("<=") => {
                (Kind::Symbol, begin + 2)
            }
            '>' if text[begin..].starts_with(">=") => (Kind::Symbol, begin + 2),
            '(' | ')' | '[' | ']' | ',' | '.' | '=' | '<' | '>' | '+' | '-' => {
                (Kind::Symbol, begin + 1)
            }
            other => {
                let text = &text[begin..begin + other.len_utf8()];
                return Err(Token { kind: Kind::Symbol, text, begin });
            }
        };
        let token = Token { kind, text: &text[begin..end], begin };
        if matches!(kind, Kind::Name | Kind::Value) && token.text.len() == 1 {
            return Err(token);
        }
        tokens.push(token);
        begin = end;
    }
    tokens.push(Token { kind: Kind::End, text: "<EOF>", begin: text.len() });
    Ok(tokens)
}
