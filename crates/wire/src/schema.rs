//! What the generated shapes say of themselves: names on the wire, types and constraints. The protocol
//! codecs are interpreters of these.

use std::sync::OnceLock;

#[derive(Debug)]
pub struct Structure {
    /// Empty where the model has no shape and the generator made one.
    pub name: &'static str,
    /// In the order of the indices that `Shape::get` and `set` take.
    pub members: &'static [Member],
}

#[derive(Debug)]
pub struct Member {
    /// As the model has it; error messages name it.
    pub name: &'static str,
    /// In query parameters, as the protocol in question spells it.
    pub request: &'static str,
    /// In documents: XML elements, JSON keys.
    pub response: &'static str,
    pub ty: Type,
    pub required: bool,
    pub place: Place,
}

/// Where a REST protocol has a member; the others have all in the document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Document,
    /// A label of the path, by the member's `request` name; so are those of query and headers.
    Path,
    Query,
    Header,
    /// It is the whole body.
    Payload,
}

/// The member at its place.
pub const fn at(place: Place, member: Member) -> Member {
    Member { place, ..member }
}

pub const fn optional(
    name: &'static str,
    request: &'static str,
    response: &'static str,
    ty: Type,
) -> Member {
    Member { name, request, response, ty, required: false, place: Place::Document }
}

pub const fn required(
    name: &'static str,
    request: &'static str,
    response: &'static str,
    ty: Type,
) -> Member {
    Member { name, request, response, ty, required: true, place: Place::Document }
}

#[derive(Clone, Copy, Debug)]
pub enum Type {
    String(&'static Text),
    /// 32 bits.
    Integer(&'static Range),
    /// 64 bits.
    Long(&'static Range),
    Float(&'static Range),
    Double(&'static Range),
    Boolean,
    Timestamp,
    Blob(&'static Text),
    List(&'static List),
    Map(&'static Map),
    Structure(&'static Structure),
}

/// Of strings and blobs. Lengths are in characters (bytes for blobs).
#[derive(Debug)]
pub struct Text {
    pub min: Option<u64>,
    pub max: Option<u64>,
    pub pattern: Option<Pattern>,
    /// A closed enumeration, where not empty.
    pub values: &'static [&'static str],
    /// Not to be shown in messages.
    pub sensitive: bool,
}

pub static ANY_TEXT: Text =
    Text { min: None, max: None, pattern: None, values: &[], sensitive: false };

#[derive(Debug)]
pub struct Range {
    pub min: Option<i64>,
    pub max: Option<i64>,
}

pub static ANY_NUMBER: Range = Range { min: None, max: None };

#[derive(Debug)]
pub struct List {
    pub item: Type,
    pub item_name: &'static str,
    pub min: Option<u64>,
    pub max: Option<u64>,
    pub sensitive: bool,
}

#[derive(Debug)]
pub struct Map {
    pub key: &'static Text,
    pub value: Type,
    pub min: Option<u64>,
    pub max: Option<u64>,
    pub sensitive: bool,
}

/// A regular expression that the whole text must match, compiled when first used. Models write
/// Java's, look-ahead included.
#[derive(Debug)]
pub struct Pattern {
    pub text: &'static str,
    compiled: OnceLock<fancy_regex::Regex>,
}

impl Pattern {
    pub const fn new(text: &'static str) -> Pattern {
        Pattern { text, compiled: OnceLock::new() }
    }

    pub fn matches(&self, text: &str) -> bool {
        let compiled = self.compiled.get_or_init(|| {
            // Java writes astral characters as a class of surrogates, its classes are of ASCII, and a
            // hyphen after a class is itself. One model has a start of the text in its midst.
            let portable = self
                .text
                .replace(r"\uD800\uDC00-\uDBFF\uDFFF", r"\u{10000}-\u{10FFFF}")
                .replace("/^.", "/.")
                .replace(r"\p{Z}-_", r"\p{Z}\-_")
                .replace(r"\w", "[0-9A-Za-z_]")
                .replace(r"\d", "[0-9]");
            fancy_regex::Regex::new(&format!("^(?:{portable})$"))
                .expect("the tests compile every pattern")
        });
        // A text that makes matching too long is none that anybody means.
        compiled.is_match(text).unwrap_or(false)
    }
}
