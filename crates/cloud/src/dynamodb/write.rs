//! Writes of items: one, or several as a transaction. Each holds the locks of its keys from reading
//! what is there until what shall be there is durable, in the table and its indexes at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use store::{Batch, Keyspace, Range, View};

use super::capacity::{Capacity, write_units};
use super::expression::{Condition, Update};
use super::model::Table;
use super::value::{self, Item, MAX_DEPTH, MAX_ITEM_BYTES};
use super::{Error, ITEMS, Result, index, key, ops};
use crate::{Context, Timestamp};

pub struct Write {
    pub table: Arc<Table>,
    /// The key attributes alone.
    pub key: Item,
    pub action: Action,
    pub condition: Option<Condition>,
    /// The error of a failed condition carries the item.
    pub return_on_failure: bool,
}

pub enum Action {
    Put(Item),
    Update(Update),
    Delete,
    Check,
}

/// What a write found and left.
pub struct Written {
    pub before: Option<Item>,
    pub after: Option<Item>,
    pub capacity: Capacity,
}

impl Write {
    /// Checks the item before anything is locked.
    pub fn put(table: Arc<Table>, item: Item) -> Result<Write> {
        index::check_item(&table, &item)?;
        if value::size(&item) > MAX_ITEM_BYTES {
            return Err(Error::validation("Item size has exceeded the maximum allowed size"));
        }
        check_depth(&item)?;
        let key = index::key_of(&table, None, &item);
        Ok(Write::new(table, key, Action::Put(item)))
    }

    pub fn update(table: Arc<Table>, key: Item, update: Update) -> Result<Write> {
        index::check_key(&table, &key)?;
        for path in update.paths() {
            if table.key.contains(path.attribute()) {
                return Err(Error::parameter(format!(
                    "Cannot update attribute {}. This attribute is part of the key",
                    path.attribute()
                )));
            }
        }
        Ok(Write::new(table, key, Action::Update(update)))
    }

    pub fn delete(table: Arc<Table>, key: Item) -> Result<Write> {
        index::check_key(&table, &key)?;
        Ok(Write::new(table, key, Action::Delete))
    }

    pub fn check(table: Arc<Table>, key: Item) -> Result<Write> {
        index::check_key(&table, &key)?;
        Ok(Write::new(table, key, Action::Check))
    }

    fn new(table: Arc<Table>, key: Item, action: Action) -> Write {
        Write { table, key, action, condition: None, return_on_failure: false }
    }

    /// The item afterwards.
    fn outcome(&self, before: Option<&Item>) -> Result<Option<Item>> {
        if let Some(condition) = &self.condition
            && !condition.holds(before.unwrap_or(&Item::new()))
        {
            let item = if self.return_on_failure { before.cloned() } else { None };
            return Err(Error::ConditionalCheckFailed(item));
        }
        match &self.action {
            Action::Put(item) => Ok(Some(item.clone())),
            Action::Delete => Ok(None),
            Action::Check => Ok(before.cloned()),
            Action::Update(update) => {
                let item = update.apply(before.unwrap_or(&self.key))?;
                index::check_indexes(&self.table, &item)?;
                if value::size(&item) > MAX_ITEM_BYTES {
                    return Err(Error::validation(
                        "Item size to update has exceeded the maximum allowed size",
                    ));
                }
                check_depth(&item)?;
                Ok(Some(item))
            }
        }
    }
}

fn check_depth(item: &Item) -> Result<()> {
    if item.values().any(|value| value.depth() > MAX_DEPTH) {
        return Err(Error::validation(
            "Nesting Levels have exceeded supported limits: Attributes may not nest more than 32 levels",
        ));
    }
    Ok(())
}

/// A transaction that was given a token is not done again for the same token.
pub struct Token {
    pub token: String,
    /// Of the request without the token.
    pub digest: [u8; 32],
}

/// How long a token is known.
const TOKEN_LIFE: std::time::Duration = std::time::Duration::from_secs(600);

/// One write.
pub async fn one(cx: &Context, write: Write) -> Result<Written> {
    let mut written = perform(cx, &[write], None).await.map_err(|reasons| match reasons {
        Error::TransactionCanceled(mut reasons) => *reasons.remove(0).expect("the only one failed"),
        other => other,
    })?;
    Ok(written.remove(0))
}

/// All of `writes` or, when one cannot be done, none of them.
pub async fn perform(cx: &Context, writes: &[Write], token: Option<Token>) -> Result<Vec<Written>> {
    let items = cx.env.store.keyspace(ITEMS);
    let keys: Vec<Vec<u8>> =
        writes.iter().map(|write| index::item_key(&write.table, &write.key)).collect();
    let token_key = token.as_ref().map(|token| token_key(cx, &token.token));
    let _locked = items.lock(keys.iter().chain(&token_key)).await;
    // The table may have been deleted while this waited; from now on its deletion waits for this.
    let snapshot = cx.read();
    for write in writes {
        ops::same_table(&snapshot, &write.table)?;
    }

    let mut batch = Batch::default();
    if let (Some(token), Some(token_key)) = (&token, &token_key) {
        if let Some(stored) = items.get(token_key)?
            && expires(&stored) > cx.now
        {
            return match stored[8..] == token.digest {
                true => Ok(writes.iter().map(|_| Written::nothing()).collect()),
                false => Err(Error::IdempotentParameterMismatch),
            };
        }
        let mut stored = cx.now.plus(TOKEN_LIFE).0.to_be_bytes().to_vec();
        stored.extend(token.digest);
        batch.put(&items, token_key.clone(), stored);
    }
    let written = cx.env.store.view(|view| {
        let mut counts = Counts::default();
        let mut written = Vec::with_capacity(writes.len());
        let mut failed = Vec::new();
        for (write, key) in writes.iter().zip(&keys) {
            let before = get(view, &items, key)?;
            match write.outcome(before.as_ref()) {
                Ok(after) => {
                    let capacity = apply(
                        &mut batch,
                        &mut counts,
                        &items,
                        view,
                        Change { table: &write.table, key, before: &before, after: &after },
                    )?;
                    written.push(Written { before, after, capacity });
                    failed.push(None);
                }
                Err(error) => failed.push(Some(Box::new(error))),
            }
        }
        if failed.iter().any(Option::is_some) {
            return Err(Error::TransactionCanceled(failed));
        }
        counts.put(&mut batch, &items);
        Ok(written)
    })?;
    cx.env.store.apply(batch).await?;
    Ok(written)
}

impl Written {
    fn nothing() -> Written {
        Written { before: None, after: None, capacity: Capacity::default() }
    }
}

pub fn get(view: &View<'_>, items: &Keyspace, key: &[u8]) -> Result<Option<Item>> {
    let bytes = view.get(items, key)?;
    bytes.map(|bytes| decode(&bytes)).transpose()
}

pub fn decode(bytes: &[u8]) -> Result<Item> {
    value::decode(bytes)
        .ok_or_else(|| Error::Store(std::io::Error::other("what is stored is not an item").into()))
}

struct Change<'a> {
    table: &'a Table,
    key: &'a [u8],
    before: &'a Option<Item>,
    after: &'a Option<Item>,
}

/// Puts into `batch` what brings the table, its indexes and their counts from `before` to `after`.
fn apply(
    batch: &mut Batch,
    counts: &mut Counts,
    items: &Keyspace,
    view: &View<'_>,
    change: Change<'_>,
) -> Result<Capacity> {
    let Change { table, key, before, after } = change;
    let mut capacity = Capacity::default();
    let sizes = [before, after].map(|item| item.as_ref().map_or(0, value::size));
    capacity.add(None, write_units(sizes[0].max(sizes[1])));
    if before == after {
        return Ok(capacity);
    }
    let count = counts.of(view, items, table, key)?;
    match after {
        Some(item) => batch.put(items, key, value::encode(item)),
        None => batch.delete(items, key),
    }
    count.change(0, before.as_ref(), after.as_ref());
    for index in &table.indexes {
        let entry = |item: &Option<Item>| {
            let item = item.as_ref()?;
            let key = index::entry_key(table, index, item)?;
            Some((key, index::project(table, index, item)))
        };
        let (old, new) = (entry(before), entry(after));
        if old == new {
            continue;
        }
        count.change(index.number, old.as_ref().map(|e| &e.1), new.as_ref().map(|e| &e.1));
        let units = |entry: &Option<(Vec<u8>, Item)>| {
            entry.as_ref().map_or(0.0, |(_, item)| write_units(value::size(item)))
        };
        let moved = match (&old, &new) {
            (Some((old, _)), Some((new, _))) => old != new,
            _ => false,
        };
        // An entry whose key changes is deleted and put.
        let consumed = if moved { units(&old) + units(&new) } else { units(&old).max(units(&new)) };
        capacity.add(Some(index), consumed);
        if let Some((old, _)) = old
            && new.as_ref().is_none_or(|(new, _)| *new != old)
        {
            batch.delete(items, old);
        }
        if let Some((key, item)) = new {
            batch.put(items, key, value::encode(&item));
        }
    }
    Ok(capacity)
}

/// How many items a table and its indexes have and how many bytes, kept for each stripe of locks so
/// that writers of different keys do not wait for each other.
#[derive(Default)]
struct Counts(BTreeMap<Vec<u8>, Count>);

/// By the number of the index.
#[derive(Clone, Default)]
pub struct Count(pub BTreeMap<u8, (i64, i64)>);

impl Counts {
    fn of(
        &mut self,
        view: &View<'_>,
        items: &Keyspace,
        table: &Table,
        item: &[u8],
    ) -> Result<&mut Count> {
        let mut key = key::root(table.number, key::COUNTS);
        key.extend(Keyspace::stripe(item).to_be_bytes());
        match self.0.entry(key) {
            std::collections::btree_map::Entry::Occupied(entry) => Ok(entry.into_mut()),
            std::collections::btree_map::Entry::Vacant(entry) => {
                let stored = view.get(items, entry.key())?;
                let count = stored.map(|bytes| Count::decode(&bytes)).unwrap_or_default();
                Ok(entry.insert(count))
            }
        }
    }

    fn put(self, batch: &mut Batch, items: &Keyspace) {
        for (key, count) in self.0 {
            batch.put(items, key, count.encode());
        }
    }
}

impl Count {
    fn change(&mut self, index: u8, before: Option<&Item>, after: Option<&Item>) {
        let entry = self.0.entry(index).or_default();
        for (item, sign) in [(before, -1), (after, 1)] {
            let Some(item) = item else { continue };
            entry.0 += sign;
            entry.1 += sign * value::size(item) as i64;
        }
    }

    fn encode(&self) -> Vec<u8> {
        let entry = |(index, (items, bytes)): (&u8, &(i64, i64))| {
            [&[*index][..], &items.to_be_bytes(), &bytes.to_be_bytes()].concat()
        };
        self.0.iter().flat_map(entry).collect()
    }

    fn decode(bytes: &[u8]) -> Count {
        let (entries, _) = bytes.as_chunks::<17>();
        let number = |bytes: &[u8]| bytes.iter().fold(0, |n, byte| n << 8 | i64::from(*byte));
        let entry = |e: &[u8; 17]| (e[0], (number(&e[1..9]), number(&e[9..])));
        Count(entries.iter().map(entry).collect())
    }

    /// Of the whole table.
    pub fn total(view: &View<'_>, items: &Keyspace, table: &Table) -> Result<Count> {
        let mut total = Count::default();
        let counts = Range::prefix(&key::root(table.number, key::COUNTS));
        view.scan(items, &counts, |_, bytes| {
            for (index, (items, bytes)) in Count::decode(&bytes).0 {
                let entry = total.0.entry(index).or_default();
                entry.0 += items;
                entry.1 += bytes;
            }
            Ok::<_, Error>(std::ops::ControlFlow::Continue(()))
        })?;
        Ok(total)
    }
}

/// Tokens are kept where a table of number 0 would be.
pub const TOKENS: u64 = 0;

fn token_key(cx: &Context, token: &str) -> Vec<u8> {
    let mut key = key::root(TOKENS, key::ITEMS);
    key.extend(cx.key(token).into_bytes());
    key
}

/// When a stored token is forgotten.
pub fn expires(stored: &[u8]) -> Timestamp {
    let bytes = stored.first_chunk::<8>().copied().unwrap_or_default();
    Timestamp(i64::from_be_bytes(bytes))
}
