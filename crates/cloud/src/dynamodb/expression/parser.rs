//! Tokens to conditions, updates and paths.
//!
//! ```text
//! condition  := and { OR and }            and := not { AND not }        not := NOT not | primary
//! primary    := '(' condition ')' | function | operand comparator operand
//!             | operand BETWEEN operand AND operand | operand IN '(' operand { ',' operand } ')'
//! operand    := path | :value | size '(' path ')'
//! update     := { SET path '=' value {','…} | REMOVE path {','…} | ADD path :value {','…} | DELETE … }
//! value      := term [ ('+'|'-') term ]
//! term       := path | :value | if_not_exists '(' path ',' term ')' | list_append '(' term ',' term ')'
//! path       := name { '.' name | '[' number ']' }                      name := word | #name
//! ```

use super::condition::{Comparator, Operand};
use super::lexer::{Kind, Token, tokens};
use super::path::MAX_DEPTH;
use super::update::{Assigned, Term};
use super::{Condition, Parsed, Path, Placeholders, Segment, Update, reserved};
use crate::dynamodb::value::Value;

/// AWS: at most so many operators or functions.
const MAX_OPERATORS: usize = 300;
const MAX_IN_OPERANDS: usize = 100;
const MAX_NESTING: usize = 150;

pub struct Parser<'a> {
    text: &'a str,
    tokens: Vec<Token<'a>>,
    next: usize,
    with: &'a Placeholders,
    operators: usize,
    nesting: usize,
}

impl<'a> Parser<'a> {
    pub fn new(text: &'a str, with: &'a Placeholders) -> Parsed<Parser<'a>> {
        let tokens = tokens(text).map_err(|bad| {
            let from = text[..bad.begin].trim_end().rfind(' ').map_or(0, |space| space + 1);
            let to = (bad.end()..=text.len()).find(|n| {
                text.is_char_boundary(*n)
                    && (*n == text.len() || text[*n..].starts_with(' ') && *n > bad.end())
            });
            let near = text[from..to.unwrap_or(text.len())].trim();
            format!("Syntax error; token: \"{}\", near: \"{near}\"", bad.text)
        })?;
        Ok(Parser { text, tokens, next: 0, with, operators: 0, nesting: 0 })
    }

    pub fn end(&self) -> Parsed<()> {
        if self.peek().kind == Kind::End { Ok(()) } else { Err(self.unexpected()) }
    }

    pub fn condition(&mut self) -> Parsed<Condition> {
        self.nesting += 1;
        if self.nesting > MAX_NESTING {
            return Err("The expression contains too many levels of nesting".to_owned());
        }
        let mut left = self.and()?;
        while self.keyword("OR") {
            self.count()?;
            left = Condition::Or(Box::new(left), Box::new(self.and()?));
        }
        self.nesting -= 1;
        Ok(left)
    }

    fn and(&mut self) -> Parsed<Condition> {
        let mut left = self.not()?;
        while self.keyword("AND") {
            self.count()?;
            left = Condition::And(Box::new(left), Box::new(self.not()?));
        }
        Ok(left)
    }

    fn not(&mut self) -> Parsed<Condition> {
        let mut negations = 0;
        while self.keyword("NOT") {
            self.count()?;
            negations += 1;
        }
        let mut condition = self.primary()?;
        for _ in 0..negations {
            condition = Condition::Not(Box::new(condition));
        }
        Ok(condition)
    }

    fn primary(&mut self) -> Parsed<Condition> {
        if self.symbol("(") {
            let inner = self.condition()?;
            self.expect(")")?;
            return Ok(inner);
        }
        if let Some(name) = self.function()
            && name != "size"
        {
            return self.predicate(name);
        }
        let left = self.operand()?;
        self.count()?;
        if self.keyword("BETWEEN") {
            let low = self.operand()?;
            if !self.keyword("AND") {
                return Err(self.unexpected());
            }
            return Ok(Condition::Between(left, low, self.operand()?));
        }
        if self.keyword("IN") {
            self.expect("(")?;
            let mut list = vec![self.operand()?];
            while self.symbol(",") {
                list.push(self.operand()?);
            }
            self.expect(")")?;
            if list.len() > MAX_IN_OPERANDS {
                return Err(format!(
                    "The IN operator is provided with too many operands; number of operands: {}",
                    list.len()
                ));
            }
            return Ok(Condition::In(left, list));
        }
        let comparator = Comparator::parse(self.peek().text).ok_or_else(|| self.unexpected())?;
        self.next += 1;
        Ok(Condition::Compare(left, comparator, self.operand()?))
    }

    /// A function that is true or false.
    fn predicate(&mut self, name: &'a str) -> Parsed<Condition> {
        let wanted = match name {
            "attribute_exists" | "attribute_not_exists" => 1,
            "attribute_type" | "begins_with" | "contains" => 2,
            "if_not_exists" | "list_append" => return Err(not_allowed(name)),
            _ => return Err(format!("Invalid function name; function: {name}")),
        };
        self.count()?;
        self.next += 2;
        let mut operands = vec![self.operand()?];
        while self.symbol(",") {
            operands.push(self.operand()?);
        }
        self.expect(")")?;
        check_count(name, wanted, operands.len())?;
        let second = operands.pop().expect("one or two");
        let Some(first) = operands.pop() else {
            let path = document_path(name, second)?;
            return Ok(match name {
                "attribute_exists" => Condition::Exists(path),
                _ => Condition::NotExists(path),
            });
        };
        Ok(match name {
            "attribute_type" => Condition::Type(document_path(name, first)?, second),
            "begins_with" => Condition::BeginsWith(first, second),
            _ => Condition::Contains(first, second),
        })
    }

    fn operand(&mut self) -> Parsed<Operand> {
        if let Some(name) = self.function() {
            if name != "size" {
                let known = matches!(
                    name,
                    "attribute_exists"
                        | "attribute_not_exists"
                        | "attribute_type"
                        | "begins_with"
                        | "contains"
                        | "if_not_exists"
                        | "list_append"
                );
                return Err(match known {
                    true => not_allowed(name),
                    false => format!("Invalid function name; function: {name}"),
                });
            }
            self.count()?;
            self.next += 2;
            let mut operands = vec![self.operand()?];
            while self.symbol(",") {
                operands.push(self.operand()?);
            }
            self.expect(")")?;
            check_count(name, 1, operands.len())?;
            return match operands.pop() {
                Some(Operand::Path(path)) => Ok(Operand::Size(path)),
                Some(Operand::Value(value)) => {
                    Err(super::condition::incorrect_operand("size", &value))
                }
                _ => Err(not_allowed(name)),
            };
        }
        match self.peek().kind {
            Kind::Value => Ok(Operand::Value(self.value()?)),
            _ => Ok(Operand::Path(self.path()?)),
        }
    }

    pub fn update(&mut self) -> Parsed<Update> {
        let mut update = Update::default();
        let mut seen: Vec<&str> = Vec::new();
        while self.peek().kind != Kind::End {
            let section = ["SET", "REMOVE", "ADD", "DELETE"]
                .into_iter()
                .find(|section| self.keyword(section))
                .ok_or_else(|| self.unexpected())?;
            if seen.contains(&section) {
                return Err(format!(
                    "The \"{section}\" section can only be used once in an update expression;"
                ));
            }
            seen.push(section);
            loop {
                let path = self.path()?;
                match section {
                    "SET" => {
                        self.expect("=")?;
                        let value = self.assigned()?;
                        update.sets.push((path, value));
                    }
                    "REMOVE" => update.removes.push(path),
                    "ADD" => update.adds.push((path, self.value()?)),
                    _ => update.deletes.push((path, self.value()?)),
                }
                self.count()?;
                if !self.symbol(",") {
                    break;
                }
            }
        }
        Ok(update)
    }

    fn assigned(&mut self) -> Parsed<Assigned> {
        if self.symbol("(") {
            let inner = self.assigned()?;
            self.expect(")")?;
            return Ok(inner);
        }
        let left = self.term()?;
        if self.symbol("+") {
            self.count()?;
            return Ok(Assigned::Plus(left, self.term()?));
        }
        if self.symbol("-") {
            self.count()?;
            return Ok(Assigned::Minus(left, self.term()?));
        }
        Ok(Assigned::Term(left))
    }

    fn term(&mut self) -> Parsed<Term> {
        let Some(name) = self.function() else {
            return match self.peek().kind {
                Kind::Value => Ok(Term::Value(self.value()?)),
                _ => Ok(Term::Path(self.path()?)),
            };
        };
        match name {
            "if_not_exists" | "list_append" => {}
            "attribute_exists"
            | "attribute_not_exists"
            | "attribute_type"
            | "begins_with"
            | "contains"
            | "size" => return Err(not_allowed(name)),
            _ => return Err(format!("Invalid function name; function: {name}")),
        }
        self.nesting += 1;
        if self.nesting > MAX_NESTING {
            return Err("The expression contains too many levels of nesting".to_owned());
        }
        self.count()?;
        self.next += 2;
        let mut terms = vec![self.term()?];
        while self.symbol(",") {
            terms.push(self.term()?);
        }
        self.expect(")")?;
        self.nesting -= 1;
        check_count(name, 2, terms.len())?;
        let second = Box::new(terms.pop().expect("two"));
        let first = terms.pop().expect("two");
        match (name, first) {
            ("list_append", first) => Ok(Term::ListAppend(Box::new(first), second)),
            (_, Term::Path(path)) => Ok(Term::IfNotExists(path, second)),
            _ => Err(requires_path(name)),
        }
    }

    pub fn paths(&mut self) -> Parsed<Vec<Path>> {
        let mut paths = vec![self.path()?];
        while self.symbol(",") {
            paths.push(self.path()?);
        }
        Ok(paths)
    }

    fn path(&mut self) -> Parsed<Path> {
        let mut segments = vec![Segment::Attribute(self.name()?)];
        loop {
            if self.symbol(".") {
                segments.push(Segment::Attribute(self.name()?));
            } else if self.symbol("[") {
                let token = self.peek();
                if token.kind != Kind::Number {
                    return Err(self.unexpected());
                }
                let index = token.text.parse::<u32>().map_err(|_| {
                    format!("List index is not within the allowable range; index: [{}]", token.text)
                })?;
                self.next += 1;
                self.expect("]")?;
                segments.push(Segment::Index(index as usize));
            } else {
                break;
            }
        }
        if segments.len() > MAX_DEPTH {
            return Err(format!(
                "The document path has too many nesting elements; nesting levels: {}",
                segments.len()
            ));
        }
        Ok(Path(segments))
    }

    fn name(&mut self) -> Parsed<String> {
        let token = self.peek();
        match token.kind {
            Kind::Name => {
                let name = self.with.names.get(token.text).ok_or_else(|| {
                    format!(
                        "An expression attribute name used in the document path is not defined; \
                         attribute name: {}",
                        token.text
                    )
                })?;
                self.with.used.borrow_mut().insert(token.text.to_owned());
                self.next += 1;
                Ok(name.clone())
            }
            Kind::Word if reserved::is_reserved(token.text) => Err(match is_keyword(token.text) {
                true => self.unexpected(),
                false => format!(
                    "Attribute name is a reserved keyword; reserved keyword: {}",
                    token.text
                ),
            }),
            Kind::Word if token.text.starts_with('_') => Err(self.unexpected()),
            Kind::Word => {
                self.next += 1;
                Ok(token.text.to_owned())
            }
            _ => Err(self.unexpected()),
        }
    }

    fn value(&mut self) -> Parsed<Value> {
        let token = self.peek();
        if token.kind != Kind::Value {
            return Err(self.unexpected());
        }
        let value = self.with.values.get(token.text).ok_or_else(|| {
            format!(
                "An expression attribute value used in expression is not defined; attribute value: {}",
                token.text
            )
        })?;
        self.with.used.borrow_mut().insert(token.text.to_owned());
        self.next += 1;
        Ok(value.clone())
    }

    /// The name of the function that begins here.
    fn function(&self) -> Option<&'a str> {
        let token = self.peek();
        let call = self.tokens.get(self.next + 1).is_some_and(|next| next.text == "(");
        (token.kind == Kind::Word && call && !is_keyword(token.text)).then_some(token.text)
    }

    fn peek(&self) -> Token<'a> {
        self.tokens[self.next]
    }

    fn keyword(&mut self, word: &str) -> bool {
        let token = self.peek();
        let found = token.kind == Kind::Word && token.text.eq_ignore_ascii_case(word);
        self.next += usize::from(found);
        found
    }

    fn symbol(&mut self, symbol: &str) -> bool {
        let token = self.peek();
        let found = token.kind == Kind::Symbol && token.text == symbol;
        self.next += usize::from(found);
        found
    }

    fn expect(&mut self, symbol: &str) -> Parsed<()> {
        if self.symbol(symbol) { Ok(()) } else { Err(self.unexpected()) }
    }

    fn count(&mut self) -> Parsed<()> {
        self.operators += 1;
        if self.operators > MAX_OPERATORS {
            return Err(format!(
                "The expression contains too many operators; operator count: {}",
                self.operators
            ));
        }
        Ok(())
    }

    /// The token that should not be here, with the one before and the one after it.
    fn unexpected(&self) -> String {
        let token = self.peek();
        let from = self.tokens[self.next.saturating_sub(1)].begin;
        let to = self.tokens.get(self.next + 1).unwrap_or(&token).end();
        format!("Syntax error; token: \"{}\", near: \"{}\"", token.text, self.text[from..to].trim())
    }
}

fn is_keyword(word: &str) -> bool {
    ["AND", "OR", "NOT", "IN", "BETWEEN", "SET", "REMOVE", "ADD", "DELETE"]
        .iter()
        .any(|keyword| keyword.eq_ignore_ascii_case(word))
}

fn check_count(name: &str, wanted: usize, count: usize) -> Parsed<()> {
    if count == wanted {
        return Ok(());
    }
    Err(format!(
        "Incorrect number of operands for operator or function; operator or function: {name}, \
         number of operands: {count}"
    ))
}

fn document_path(name: &str, operand: Operand) -> Parsed<Path> {
    match operand {
        Operand::Path(path) => Ok(path),
        _ => Err(requires_path(name)),
    }
}

fn requires_path(name: &str) -> String {
    format!("Operator or function requires a document path; operator or function: {name}")
}

fn not_allowed(name: &str) -> String {
    format!("The function is not allowed to be used this way in an expression; function: {name}")
}
