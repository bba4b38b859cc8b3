//! nftables over netlink: a table as data, and the messages that make it true in one atomic batch.
//! Knows the wire format (`linux/netfilter/nf_tables.h`) and nothing of what is filtered.
//!
//! ```text
//!   BATCH_BEGIN │ message │ message │ … │ BATCH_END        all of it happens, or nothing
//! ```
//!
//! An expression works on registers of 4 bytes. Numbers are big-endian, as everything is in nftables.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::netlink::Message;

const SUBSYSTEM: u16 = 10;
const NEWTABLE: u16 = 0;
const DELTABLE: u16 = 2;
const NEWCHAIN: u16 = 3;
const DELCHAIN: u16 = 5;
const NEWRULE: u16 = 6;
const DELRULE: u16 = 8;
const NEWSET: u16 = 9;
const DELSET: u16 = 11;
const NEWSETELEM: u16 = 12;
const DELSETELEM: u16 = 14;
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;

/// Of 16 bytes each: an interface's name fills one.
pub const FIRST: u32 = 1;
pub const SECOND: u32 = 2;

pub const META_IIFNAME: u32 = 6;
pub const META_OIFNAME: u32 = 7;
pub const META_L4PROTO: u32 = 16;

pub const ESTABLISHED_OR_RELATED: u32 = 2 | 4;

const NESTED: u16 = 1 << 15;
const DATA_VALUE: u16 = 1;
const DATA_VERDICT: u16 = 2 | NESTED;
const LIST_ELEMENT: u16 = 1 | NESTED;
/// A message's attribute is less than 64 KiB.
const ELEMENTS_PER_MESSAGE: usize = 256;

/// A table of the family `ip`. Names are free, at most 255 bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    pub sets: BTreeMap<String, Set>,
    pub chains: BTreeMap<String, Chain>,
}

/// A set, or a map when it holds something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    /// More than one: concatenated.
    pub key: &'static [Field],
    pub holds: Holds,
    /// By the key's bytes, each field filled up to four bytes.
    pub elements: BTreeMap<Vec<u8>, Data>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    Interface,
    Address,
    Number,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    Nothing,
    Values(Field),
    Verdicts,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    Nothing,
    Value(Vec<u8>),
    Verdict(Verdict),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Accept,
    Drop,
    Return,
    /// To a chain, and back at its end.
    Jump(String),
    /// To a chain, for good.
    Goto(String),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chain {
    pub hook: Option<Hook>,
    /// Shared with the table before, when nothing changed.
    pub rules: Arc<[Rule]>,
}

/// Where packets enter a chain. Chains of one hook are passed in the order of their priorities; each must
/// accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hook {
    /// `filter` or `nat`.
    pub kind: &'static str,
    pub at: At,
    pub priority: i32,
    /// What happens at the chain's end.
    pub accepts: bool,
}

/// As netfilter numbers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    Prerouting = 0,
    Input = 1,
    Forward = 2,
    Output = 3,
    Postrouting = 4,
}

/// A row of expressions, encoded: each may end the rule or go on to the next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule(Attributes);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compare {
    Equal = 0,
    Unequal = 1,
}

impl Set {
    pub fn new(key: &'static [Field], holds: Holds) -> Set {
        Set { key, holds, elements: BTreeMap::new() }
    }
}

impl Field {
    /// As `nft` numbers the types of what it lists.
    fn kind(self) -> u32 {
        match self {
            Field::Number => 4,
            Field::Address => 7,
            Field::Interface => 41,
        }
    }

    fn length(self) -> u32 {
        match self {
            Field::Number | Field::Address => 4,
            Field::Interface => 16,
        }
    }
}

/// An interface's name as a key.
pub fn interface(name: &str) -> Vec<u8> {
    let mut key = name.as_bytes().to_vec();
    key.resize(16, 0);
    key
}

impl Rule {
    pub fn new() -> Rule {
        Rule::default()
    }

    /// Any expression, by its name in the kernel.
    pub fn expression(
        mut self,
        name: &str,
        data: impl FnOnce(&mut Attributes) -> &mut Attributes,
    ) -> Rule {
        self.0.nest(LIST_ELEMENT, |element| element.string(1, name).nest(2 | NESTED, data));
        self
    }

    pub fn load_meta(self, key: u32, register: u32) -> Rule {
        self.expression("meta", |e| e.u32(1, register).u32(2, key))
    }

    /// Bytes of the IPv4 header.
    pub fn load_header(self, offset: u32, length: u32, register: u32) -> Rule {
        self.load_payload(1, offset, length, register)
    }

    /// Bytes of the header of TCP, UDP, ICMP, ….
    pub fn load_transport(self, offset: u32, length: u32, register: u32) -> Rule {
        self.load_payload(2, offset, length, register)
    }

    fn load_payload(self, base: u32, offset: u32, length: u32, register: u32) -> Rule {
        self.expression("payload", |e| {
            e.u32(1, register).u32(2, base).u32(3, offset).u32(4, length)
        })
    }

    pub fn load_source(self, register: u32) -> Rule {
        self.load_header(12, 4, register)
    }

    pub fn load_destination(self, register: u32) -> Rule {
        self.load_header(16, 4, register)
    }

    /// Goes on only when the register begins like this.
    pub fn compare(self, register: u32, how: Compare, value: &[u8]) -> Rule {
        self.expression("cmp", |e| e.u32(1, register).u32(2, how as u32).value(3, value))
    }

    /// Goes on only when the register is between the two or one of them.
    pub fn range(self, register: u32, from: &[u8], to: &[u8]) -> Rule {
        self.expression("range", |e| e.u32(1, register).u32(2, 0).value(3, from).value(4, to))
    }

    /// Clears the bits that are not in the mask.
    pub fn mask(self, register: u32, mask: &[u8]) -> Rule {
        self.expression("bitwise", |e| {
            let e = e.u32(1, register).u32(2, register).u32(3, mask.len() as u32);
            e.value(4, mask).value(5, &vec![0; mask.len()])
        })
    }

    /// Goes on only when the set has what stands in the register.
    pub fn lookup(self, set: &str, register: u32) -> Rule {
        self.expression("lookup", |e| e.string(1, set).u32(2, register))
    }

    /// Goes on only when the map has what stands in the register, with what it holds there in another.
    pub fn lookup_value(self, map: &str, register: u32, into: u32) -> Rule {
        self.expression("lookup", |e| e.string(1, map).u32(2, register).u32(3, into))
    }

    /// Does what the map says; nothing, when it does not have what stands in the register.
    pub fn lookup_verdict(self, map: &str, register: u32) -> Rule {
        self.lookup_value(map, register, 0)
    }

    /// Goes on only when the connection's state is one of these.
    pub fn connection(self, states: u32) -> Rule {
        // State bits are in the host's order, unlike all else.
        let loaded = self.expression("ct", |e| e.u32(1, FIRST).u32(2, 0));
        let masked = loaded.mask(FIRST, &states.to_ne_bytes());
        masked.compare(FIRST, Compare::Unequal, &[0; 4])
    }

    /// Goes on only for packets that answer those that began the connection, with the address that the
    /// connection's answers come to.
    pub fn answered_address(self, register: u32) -> Rule {
        const DIRECTION: u32 = 1;
        const DESTINATION: u32 = 20;
        const REPLY: u8 = 1;
        let rule = self.expression("ct", |e| e.u32(1, register).u32(2, DIRECTION));
        let rule = rule.compare(register, Compare::Equal, &[REPLY]);
        rule.expression("ct", |e| e.u32(1, register).u32(2, DESTINATION).put(3, &[REPLY]))
    }

    /// Goes on only for packets that are more than so many bytes per second, after a burst of so many.
    pub fn over(self, bytes_per_second: u64, burst: u32) -> Rule {
        const OF_BYTES: u32 = 1;
        const INVERTED: u32 = 1;
        self.expression("limit", |e| {
            let e = e.put(1, &bytes_per_second.to_be_bytes()).put(2, &1u64.to_be_bytes());
            e.u32(3, burst).u32(4, OF_BYTES).u32(5, INVERTED)
        })
    }

    /// The neighbour that the packet's route leads to.
    pub fn load_next_hop(self, register: u32) -> Rule {
        self.expression("rt", |e| e.u32(1, register).u32(2, 1))
    }

    /// A number below `count`, each in turn.
    pub fn take_turns(self, count: u32, register: u32) -> Rule {
        self.expression("numgen", |e| e.u32(1, register).u32(2, count).u32(3, 0))
    }

    /// Tells a group of listeners, each packet at once.
    pub fn log(self, group: u16) -> Rule {
        self.expression("log", |e| e.put(1, &group.to_be_bytes()).put(4, &1u16.to_be_bytes()))
    }

    pub fn verdict(self, verdict: &Verdict) -> Rule {
        self.expression("immediate", |e| e.u32(1, 0).nest(2 | NESTED, |data| data.verdict(verdict)))
    }
}

/// Netlink attributes in the making.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes(Vec<u8>);

impl Attributes {
    pub fn put(&mut self, kind: u16, value: &[u8]) -> &mut Attributes {
        let length = (4 + value.len()) as u16;
        self.0.extend_from_slice(&length.to_ne_bytes());
        self.0.extend_from_slice(&kind.to_ne_bytes());
        self.0.extend_from_slice(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    pub fn u32(&mut self, kind: u16, value: u32) -> &mut Attributes {
        self.put(kind, &value.to_be_bytes())
    }

    pub fn string(&mut self, kind: u16, value: &str) -> &mut Attributes {
        self.put(kind, &[value.as_bytes(), &[0]].concat())
    }

    pub fn nest(
        &mut self,
        kind: u16,
        fill: impl FnOnce(&mut Attributes) -> &mut Attributes,
    ) -> &mut Attributes {
        let start = self.0.len();
        self.put(kind, &[]);
        fill(self);
        let length = (self.0.len() - start) as u16;
        self.0[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        self
    }

    pub fn value(&mut self, kind: u16, bytes: &[u8]) -> &mut Attributes {
        self.nest(kind | NESTED, |data| data.put(DATA_VALUE, bytes))
    }

    fn verdict(&mut self, verdict: &Verdict) -> &mut Attributes {
        let (code, chain) = match verdict {
            Verdict::Drop => (0, None),
            Verdict::Accept => (1, None),
            Verdict::Jump(chain) => (-3, Some(chain)),
            Verdict::Goto(chain) => (-4, Some(chain)),
            Verdict::Return => (-5, None),
        };
        self.nest(DATA_VERDICT, |v| {
            let v = v.u32(1, code as u32);
            match chain {
                Some(chain) => v.string(2, chain),
                None => v,
            }
        })
    }
}

/// The messages of a batch, of one table.
struct Batch<'a> {
    table: &'a str,
    messages: Vec<Message>,
}

/// Makes the table anew, whatever is there of that name.
pub fn rebuild(name: &str, table: &Table) -> Vec<Message> {
    let mut batch = Batch::begin(name);
    // Deleting what is not there would fail the batch.
    for kind in [NEWTABLE, DELTABLE, NEWTABLE] {
        batch.push(kind, |m| m);
    }
    batch.change(&Table::default(), table);
    batch.end()
}

/// Makes one table of the other, naming only what differs. `None`: nothing does. A chain that keeps its
/// name keeps its hook, and a set its type.
pub fn change(name: &str, old: &Table, new: &Table) -> Option<Vec<Message>> {
    let mut batch = Batch::begin(name);
    batch.change(old, new);
    (batch.messages.len() > 1).then(|| batch.end())
}

impl<'a> Batch<'a> {
    fn begin(table: &'a str) -> Batch<'a> {
        Batch { table, messages: vec![boundary(BATCH_BEGIN)] }
    }

    fn end(mut self) -> Vec<Message> {
        self.messages.push(boundary(BATCH_END));
        self.messages
    }

    /// First what others name, then what names it; the other way round for what goes.
    fn change(&mut self, old: &Table, new: &Table) {
        for (name, chain) in &new.chains {
            if !old.chains.contains_key(name) {
                self.new_chain(name, chain);
            }
        }
        for (number, (name, set)) in new.sets.iter().enumerate() {
            if !old.sets.contains_key(name) {
                self.new_set(name, set, number);
            }
        }
        for (name, chain) in &new.chains {
            let before = old.chains.get(name).map(|chain| &chain.rules);
            if before.is_some_and(|before| Arc::ptr_eq(before, &chain.rules)) {
                continue;
            }
            self.replace_rules(name, before.map_or(&[], |rules| &rules[..]), &chain.rules);
        }
        for (name, set) in &new.sets {
            let none = BTreeMap::new();
            let before = old.sets.get(name).map_or(&none, |set| &set.elements);
            if *before != set.elements {
                self.change_elements(name, before, &set.elements);
            }
        }
        let gone = |name: &&String| !new.chains.contains_key(*name);
        for name in old.chains.keys().filter(gone) {
            self.replace_rules(name, &old.chains[name].rules, &[]);
        }
        for name in old.sets.keys().filter(|name| !new.sets.contains_key(*name)) {
            self.push(DELSET, |m| m.string(2, name));
        }
        for name in old.chains.keys().filter(gone) {
            self.push(DELCHAIN, |m| m.string(3, name));
        }
    }

    fn new_chain(&mut self, name: &str, chain: &Chain) {
        self.push(NEWCHAIN, |m| {
            let m = m.string(3, name);
            let Some(hook) = chain.hook else { return m };
            m.nest(4 | NESTED, |h| h.u32(1, hook.at as u32).u32(2, hook.priority as u32))
                .u32(5, hook.accepts.into())
                .string(7, hook.kind)
        });
    }

    fn new_set(&mut self, name: &str, set: &Set, number: usize) {
        const MAP: u32 = 8;
        const VERDICTS: u32 = 0xffff_ff00;
        let kind = set.key.iter().fold(0, |kind, field| kind << 6 | field.kind());
        let length = set.key.iter().map(|field| field.length()).sum();
        let flags = if set.holds == Holds::Nothing { 0 } else { MAP };
        self.push(NEWSET, |m| {
            let m = m.string(2, name).u32(3, flags).u32(4, kind).u32(5, length);
            let m = m.u32(10, number as u32 + 1);
            match set.holds {
                Holds::Nothing => m,
                Holds::Values(field) => m.u32(6, field.kind()).u32(7, field.length()),
                Holds::Verdicts => m.u32(6, VERDICTS).u32(7, 0),
            }
        });
    }

    /// The kernel tells rules apart only by handles of its own, so a chain's are replaced together.
    fn replace_rules(&mut self, chain: &str, before: &[Rule], rules: &[Rule]) {
        let added = match rules.strip_prefix(before) {
            Some(added) => added,
            None => {
                self.push(DELRULE, |m| m.string(2, chain));
                rules
            }
        };
        for Rule(expressions) in added {
            self.push(NEWRULE, |m| m.string(2, chain).put(4 | NESTED, &expressions.0));
        }
    }

    fn change_elements(
        &mut self,
        set: &str,
        before: &BTreeMap<Vec<u8>, Data>,
        after: &BTreeMap<Vec<u8>, Data>,
    ) {
        let less = before.iter().filter(|(key, data)| after.get(*key) != Some(data));
        let more = after.iter().filter(|(key, data)| before.get(*key) != Some(data));
        for (kind, elements) in
            [(DELSETELEM, less.collect::<Vec<_>>()), (NEWSETELEM, more.collect())]
        {
            for some in elements.chunks(ELEMENTS_PER_MESSAGE) {
                self.push(kind, |m| {
                    m.string(2, set).nest(3 | NESTED, |list| {
                        some.iter().fold(list, |list, (key, data)| element(list, key, data))
                    })
                });
            }
        }
    }

    /// Every message names its table first.
    fn push(&mut self, kind: u16, fill: impl FnOnce(&mut Attributes) -> &mut Attributes) {
        let flags = match kind {
            NEWRULE => libc::NLM_F_CREATE | libc::NLM_F_APPEND,
            NEWTABLE | NEWCHAIN | NEWSET | NEWSETELEM => libc::NLM_F_CREATE,
            _ => 0,
        };
        let mut attributes = Attributes::default();
        attributes.string(1, self.table);
        fill(&mut attributes);
        let message = Message::new(SUBSYSTEM << 8 | kind, flags, &header(0));
        self.messages.push(message.raw(&attributes.0));
    }
}

fn element<'a>(list: &'a mut Attributes, key: &[u8], data: &Data) -> &'a mut Attributes {
    list.nest(LIST_ELEMENT, |e| {
        let e = e.value(1, key);
        match data {
            Data::Nothing => e,
            Data::Value(bytes) => e.value(2, bytes),
            Data::Verdict(verdict) => e.nest(2 | NESTED, |data| data.verdict(verdict)),
        }
    })
}

/// `nfgenmsg`.
fn header(resource: u16) -> [u8; 4] {
    let [high, low] = resource.to_be_bytes();
    let family = if resource == 0 { libc::NFPROTO_IPV4 as u8 } else { 0 };
    [family, 0, high, low]
}

fn boundary(kind: u16) -> Message {
    Message::new(kind, 0, &header(SUBSYSTEM))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(rules: usize, elements: u8) -> Table {
        let mut table = Table::default();
        let rules = (0..rules).map(|n| Rule::new().load_meta(n as u32, FIRST)).collect();
        table.chains.insert("c".into(), Chain { hook: None, rules });
        let mut set = Set::new(&[Field::Address], Holds::Nothing);
        set.elements = (0..elements).map(|n| (vec![10, 0, 0, n], Data::Nothing)).collect();
        table.sets.insert("s".into(), set);
        table
    }

    /// The kinds of the messages between the marks of a batch.
    fn kinds(batch: Option<Vec<Message>>) -> Vec<u16> {
        let kinds: Vec<u16> = batch.into_iter().flatten().map(|m| m.kind() & 0xff).collect();
        assert!(kinds.is_empty() || kinds[0] == BATCH_BEGIN && kinds.ends_with(&[BATCH_END]));
        kinds.into_iter().filter(|kind| ![BATCH_BEGIN, BATCH_END].contains(kind)).collect()
    }

    #[test]
    fn a_change_names_only_what_differs() {
        let empty = Table::default();
        let kinds = |old: &Table, new: &Table| kinds(change("t", old, new));
        assert!(kinds(&table(3, 5), &table(3, 5)).is_empty());
        assert_eq!(kinds(&table(3, 5), &table(4, 5)), [NEWRULE]);
        assert_eq!(kinds(&table(3, 5), &table(2, 5)), [DELRULE, NEWRULE, NEWRULE]);
        assert_eq!(kinds(&table(3, 5), &table(3, 6)), [NEWSETELEM]);
        assert_eq!(kinds(&table(3, 5), &table(3, 4)), [DELSETELEM]);
        let made = [NEWCHAIN, NEWSET, NEWRULE, NEWSETELEM];
        assert_eq!(kinds(&empty, &table(1, 1)), made);
        assert_eq!(kinds(&table(1, 1), &empty), [DELRULE, DELSET, DELCHAIN]);
    }

    #[test]
    fn no_message_is_longer_than_its_length_can_say() {
        let many = (0..10_000u32).map(|n| (n.to_be_bytes().into(), Data::Nothing)).collect();
        let mut table = table(0, 0);
        table.sets.get_mut("s").unwrap().elements = many;
        let messages = change("t", &Table::default(), &table).unwrap();
        let elements = messages.iter().filter(|m| m.kind() & 0xff == NEWSETELEM);
        assert_eq!(elements.count(), 10_000_usize.div_ceil(ELEMENTS_PER_MESSAGE));
    }
}
