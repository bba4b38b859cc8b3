//! Queues: create, find, list, change, purge, delete, tag.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use store::{Snapshot, Tx};

use super::model::{Attributes, Fifo, Gone, Purge, Queue};
use super::{Error, Result, attribute};
use crate::tag::{self, Tags};
use crate::{Context, arn};

/// For how long nobody takes the name of a deleted queue, and no queue is purged twice.
pub const PAUSE: Duration = Duration::from_secs(60);

/// The name in a queue's URL, of this account.
pub fn name_of(cx: &Context, url: &str) -> Result<String> {
    let invalid = || Error::InvalidAddress(url.to_owned());
    let path = match url.split_once("://") {
        Some((_, rest)) => rest.split_once('/').ok_or_else(invalid)?.1,
        None => url.strip_prefix('/').ok_or_else(invalid)?,
    };
    match path.split('/').collect::<Vec<_>>().as_slice() {
        [account, name] if !name.is_empty() => {
            if *account == cx.account {
                Ok((*name).to_owned())
            } else {
                Err(Error::QueueDoesNotExist)
            }
        }
        _ => Err(invalid()),
    }
}

pub fn queue(snapshot: &Snapshot, cx: &Context, name: &str) -> Result<Arc<Queue>> {
    snapshot.get::<Queue>(&cx.key(name)).ok_or(Error::QueueDoesNotExist)
}

pub fn by_arn(snapshot: &Snapshot, queue: &str) -> Option<Arc<Queue>> {
    let parts = arn::parse(queue).filter(|parts| parts.service == "sqs")?;
    snapshot.get::<Queue>(&format!("{}/{}/{}", parts.account, parts.region, parts.resource))
}

/// Whether `queue` is still there to be written.
pub fn same_queue(snapshot: &Snapshot, queue: &Queue) -> Result<()> {
    let found = snapshot.get::<Queue>(&store::Record::key(queue));
    match found {
        Some(found) if found.number == queue.number => Ok(()),
        _ => Err(Error::QueueDoesNotExist),
    }
}

/// Makes the queue, or finds the same.
pub fn create(
    tx: &mut Tx,
    cx: &Context,
    name: &str,
    given: &BTreeMap<String, String>,
    tags: &Tags,
    number: u64,
) -> Result<()> {
    let fifo = check_name(name, given)?;
    let blank = Queue {
        account: cx.account.clone(),
        region: cx.region.clone(),
        name: name.to_owned(),
        number,
        created_at: cx.now,
        modified_at: cx.now,
        attributes: Attributes { fifo: fifo.then(Fifo::default), ..Attributes::default() },
        tags: tags.clone(),
        purge: None,
    };
    check_tags(tags)?;
    if let Some(found) = tx.get::<Queue>(&cx.key(name)) {
        let wanted = attribute::set(tx, cx, &blank, given)?;
        return match attribute::differs(&found, &wanted, given) {
            None => Ok(()),
            Some(name) => Err(Error::QueueNameExists(format!(
                "A queue already exists with the same name and a different value for attribute {name}"
            ))),
        };
    }
    let gone = tx.get::<Gone>(&cx.key(name));
    if gone.is_some_and(|gone| cx.now.since(gone.at) < PAUSE) {
        return Err(Error::QueueDeletedRecently);
    }
    let attributes = attribute::set(tx, cx, &blank, given)?;
    tx.put(Queue { attributes, ..blank });
    Ok(())
}

/// Whether it is a FIFO queue's.
fn check_name(name: &str, given: &BTreeMap<String, String>) -> Result<bool> {
    let fifo = match given.get("FifoQueue").map(String::as_str) {
        None => false,
        Some("true") => true,
        // AWS knows the attribute in no other queue.
        Some("false") => return Err(Error::InvalidAttributeName("FifoQueue".to_owned())),
        Some(_) => return Err(Error::attribute("FifoQueue")),
    };
    let stem = if fifo { name.strip_suffix(".fifo") } else { Some(name) };
    let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let good = |stem: &&str| !stem.is_empty() && name.len() <= 80 && stem.chars().all(word);
    match (stem.filter(good), fifo) {
        (Some(_), fifo) => Ok(fifo),
        (None, false) => Err(Error::InvalidParameterValue(
            "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length"
                .to_owned(),
        )),
        (None, true) => Err(Error::InvalidParameterValue(
            "The name of a FIFO queue can only include alphanumeric characters, hyphens, or \
             underscores, must end with .fifo suffix and be 1 to 80 in length."
                .to_owned(),
        )),
    }
}

pub fn list(snapshot: &Snapshot, cx: &Context, prefix: &str) -> Vec<String> {
    let key = cx.key(prefix);
    snapshot.scan::<Queue>(&key).map(|queue| queue.name.clone()).collect()
}

/// Queues that name this one as their dead-letter queue.
pub fn sources(snapshot: &Snapshot, cx: &Context, queue: &Queue) -> Vec<String> {
    let (prefix, target) = (cx.prefix(), queue.arn());
    let names_it = |queue: &Arc<Queue>| {
        queue.attributes.redrive.as_ref().is_some_and(|redrive| redrive.target == target)
    };
    snapshot.scan::<Queue>(&prefix).filter(names_it).map(|queue| queue.name.clone()).collect()
}

/// Its messages are swept afterwards.
pub fn delete(tx: &mut Tx, cx: &Context, name: &str) -> Result<()> {
    let queue = queue(tx, cx, name)?;
    tx.delete::<Queue>(&cx.key(name));
    tx.put(Gone {
        account: queue.account.clone(),
        region: queue.region.clone(),
        name: queue.name.clone(),
        number: queue.number,
        at: cx.now,
        swept: false,
    });
    Ok(())
}

pub fn set_attributes(
    tx: &mut Tx,
    cx: &Context,
    name: &str,
    given: &BTreeMap<String, String>,
) -> Result<()> {
    let queue = queue(tx, cx, name)?;
    let attributes = attribute::set(tx, cx, &queue, given)?;
    tx.put(Queue { attributes, modified_at: cx.now, ..Queue::clone(&queue) });
    Ok(())
}

/// Messages before `before` are no more.
pub fn purge(tx: &mut Tx, cx: &Context, name: &str, before: u64) -> Result<Queue> {
    let found = queue(tx, cx, name)?;
    if found.purge.as_ref().is_some_and(|purge| cx.now.since(purge.at) < PAUSE) {
        return Err(Error::PurgeQueueInProgress(name.to_owned()));
    }
    let purge = Purge { at: cx.now, before, swept: false };
    let queue = Queue { purge: Some(purge), ..Queue::clone(&found) };
    tx.put(queue.clone());
    Ok(queue)
}

pub fn tag(tx: &mut Tx, cx: &Context, name: &str, tags: &Tags) -> Result<()> {
    let mut queue = Queue::clone(&*queue(tx, cx, name)?);
    queue.tags.extend(tags.clone());
    check_tags(&queue.tags)?;
    tx.put(queue);
    Ok(())
}

pub fn untag(tx: &mut Tx, cx: &Context, name: &str, keys: &[String]) -> Result<()> {
    let mut queue = Queue::clone(&*queue(tx, cx, name)?);
    queue.tags.retain(|key, _| !keys.contains(key));
    tx.put(queue);
    Ok(())
}

fn check_tags(tags: &Tags) -> Result<()> {
    tag::check(tags).map_err(|invalid| {
        Error::InvalidParameterValue(match invalid {
            tag::Invalid::Key(key) => format!("Tag key {key} is invalid."),
            tag::Invalid::Value(value) => format!("Tag value {value} is invalid."),
            tag::Invalid::Reserved(key) => {
                format!("Tag key {key} is invalid: keys that begin with aws: are reserved.")
            }
            tag::Invalid::TooMany => "Too many tags added for queue.".to_owned(),
        })
    })
}
