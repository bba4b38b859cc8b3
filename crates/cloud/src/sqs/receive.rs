//! Messages go out: received, kept from others for longer or shorter, deleted.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use store::Batch;

use super::index::{Entry, State, Taking};
use super::lines::{self, Arriving, Line, UNCERTAIN_MS};
use super::message::{self, BODY, Body};
use super::model::Queue;
use super::{Error, MESSAGES, Result, ops};
use crate::{Context, Timestamp};

pub const MAX_VISIBILITY_SECONDS: i32 = 43_200;
/// Source: SQS Developer Guide, "Amazon SQS message quotas" and "FIFO queue quotas".
const MAX_IN_FLIGHT: usize = 120_000;

/// A ReceiveMessage as it came, checked.
#[derive(Clone, Debug, Default)]
pub struct Receive {
    pub max: usize,
    pub visibility_seconds: Option<u32>,
    pub wait_seconds: Option<u32>,
    pub attempt: Option<String>,
}

pub struct Received {
    pub sequence: u64,
    pub body: Body,
    pub entry: Entry,
    pub handle: String,
}

/// Waits, without asking again and again, until there is something or the time is over.
pub async fn receive(cx: &Context, name: &str, wanted: &Receive) -> Result<Vec<Received>> {
    let began = cx.env.clock.now();
    loop {
        let queue = ops::queue(&cx.read(), cx, name)?;
        let line = cx.env.sqs.of(&queue);
        let arrived = line.arrived.notified();
        tokio::pin!(arrived);
        arrived.as_mut().enable();

        let (received, again) = once(cx, &queue, &line, wanted).await?;
        if !received.is_empty() {
            return Ok(received);
        }
        if again {
            continue;
        }
        let wait = wanted.wait_seconds.unwrap_or(queue.attributes.wait_seconds);
        let left = Duration::from_secs(wait.into()).saturating_sub(cx.env.clock.now().since(began));
        if left.is_zero() {
            return Ok(vec![]);
        }
        let wakes_at = line.with(&cx.env, &queue, |index| index.wakes_at())?;
        let next = wakes_at.map_or(left, |at| left.min(at.since(cx.env.clock.now())));
        tokio::select! {
            () = arrived => {}
            () = cx.env.clock.sleep(next.max(Duration::from_millis(1))) => {}
        }
    }
}

/// What can be received now; and whether it is worth while to look again.
async fn once(
    cx: &Context,
    queue: &Queue,
    line: &std::sync::Arc<Line>,
    wanted: &Receive,
) -> Result<(Vec<Received>, bool)> {
    let env = &cx.env;
    let now = env.clock.now();
    let visibility = wanted.visibility_seconds.unwrap_or(queue.attributes.visibility_seconds);
    let dead_letters = queue.attributes.redrive.as_ref().and_then(|redrive| {
        let target = ops::by_arn(&cx.read(), &redrive.target)?;
        Some((target, redrive.max_receives))
    });
    let taking = Taking {
        now,
        max: wanted.max,
        visible_at: now.plus(Duration::from_secs(visibility.into())),
        max_receives: dead_letters.as_ref().map(|(_, max)| *max),
        attempt: wanted.attempt.as_deref().filter(|_| queue.fifo()),
    };
    let oldest = Timestamp(now.0 - queue.retention().as_millis() as i64);
    let taken = line.with(env, queue, |index| {
        let expired = index.expire(oldest);
        if index.counts().in_flight >= MAX_IN_FLIGHT {
            return (expired, None);
        }
        let taken = index.take(&taking, || env.rng.u64());
        let given: Vec<(u64, Entry)> = taken
            .given
            .iter()
            .filter_map(|sequence| Some((*sequence, index.get(*sequence)?.clone())))
            .collect();
        let dead: Vec<(u64, Entry)> = taken
            .dead
            .iter()
            .filter_map(|sequence| Some((*sequence, index.remove(*sequence)?)))
            .collect();
        (expired, Some((given, dead)))
    })?;
    let (expired, taken) = taken;
    let mut batch = Batch::default();
    expired.iter().for_each(|sequence| lines::delete(&mut batch, env, queue, *sequence));
    let Some((given, dead)) = taken else {
        env.store.apply(batch).await?;
        if queue.fifo() || wanted.wait_seconds.is_some_and(|seconds| seconds > 0) {
            return Ok((vec![], false));
        }
        return Err(Error::OverLimit(
            "The maximum number of in flight messages is reached.".into(),
        ));
    };

    let mut received = Vec::with_capacity(given.len());
    let keyspace = env.store.keyspace(MESSAGES);
    let bodies = env.store.view(|view| {
        let read = |(sequence, _): &(u64, Entry)| {
            view.get(&keyspace, &message::key(queue.number, BODY, *sequence))
        };
        given.iter().map(read).collect::<store::Result<Vec<_>>>()
    });
    let bodies = bodies.map_err(Error::from).inspect_err(|_| release(cx, queue, line, &given))?;
    let mut absent = false;
    for ((sequence, entry), stored) in given.iter().zip(bodies) {
        let Some(stored) = stored else {
            absent = true;
            postpone(cx, queue, line, *sequence)?;
            continue;
        };
        lines::put(&mut batch, env, queue, *sequence, entry);
        received.push(Received {
            sequence: *sequence,
            body: message::decode(env, queue, &stored)?,
            entry: entry.clone(),
            handle: handle(queue, *sequence, entry.receipt),
        });
    }
    let applied = env.store.apply(batch).await;
    applied.map_err(Error::from).inspect_err(|_| release(cx, queue, line, &given))?;
    let buried = !dead.is_empty();
    if let (true, Some((target, _))) = (buried, dead_letters) {
        bury(cx, queue, line, &target, dead).await?;
    }
    Ok((received, buried || absent))
}

/// Gives back what could not be handed out.
fn release(cx: &Context, queue: &Queue, line: &Line, given: &[(u64, Entry)]) {
    let released = line.with(&cx.env, queue, |index| {
        for (sequence, entry) in given {
            let same = |now: &Entry| now.receipt == entry.receipt;
            if index.get(*sequence).is_some_and(same) {
                index.change(*sequence, |entry| entry.state = State::Ready);
            }
        }
    });
    if released.is_ok() {
        line.tell(given.len());
    }
}

/// A message whose write nobody waited for is not on the disk: it comes a little later, or never.
fn postpone(cx: &Context, queue: &Queue, line: &Line, sequence: u64) -> Result<()> {
    let now = cx.env.clock.now();
    line.with(&cx.env, queue, |index| {
        let sent_at = index.get(sequence).map_or(now, |entry| entry.sent_at);
        if now.since(sent_at) > Duration::from_secs(60) {
            index.remove(sequence);
        } else {
            index.change(sequence, |entry| {
                entry.state = State::Delayed(Timestamp(now.0 + UNCERTAIN_MS));
            });
        }
    })
}

/// Moves messages to the dead-letter queue.
async fn bury(
    cx: &Context,
    queue: &Queue,
    line: &Line,
    target: &Queue,
    dead: Vec<(u64, Entry)>,
) -> Result<()> {
    let env = &cx.env;
    let keyspace = env.store.keyspace(MESSAGES);
    let mut batch = Batch::default();
    let there = env.sqs.of(target);
    let first = there.with(env, target, |index| {
        lines::allocate(env, target, index, &mut batch, dead.len() as u64)
    })?;
    let mut entries = Vec::new();
    for ((sequence, entry), moved) in dead.iter().zip(first..) {
        let stored = keyspace.get(&message::key(queue.number, BODY, *sequence))?;
        let Some(stored) = stored else { continue };
        let body = Body { source: Some(queue.arn()), ..message::decode(env, queue, &stored)? };
        // In a FIFO queue its time begins anew.
        let sent_at = if queue.fifo() { env.clock.now() } else { entry.sent_at };
        let entry = Entry { state: State::Ready, attempt: None, sent_at, ..entry.clone() };
        lines::delete(&mut batch, env, queue, *sequence);
        let stored = message::encode(env, target, &body);
        batch.put(&keyspace, message::key(target.number, BODY, moved), stored);
        lines::put(&mut batch, env, target, moved, &entry);
        entries.push((moved, entry));
    }
    let arriving = Arriving { env, queue: target, line: there, entries };
    let moved = arriving.apply(batch).await;
    if moved.is_err() {
        line.with(env, queue, |index| {
            dead.into_iter().for_each(|(sequence, entry)| index.insert(sequence, entry));
        })?;
    }
    // What came behind them in their groups can be received now.
    line.tell(1);
    moved
}

/// Keeps a received message from others until so many seconds from now.
pub async fn change_visibility(cx: &Context, name: &str, handle: &str, seconds: i32) -> Result<()> {
    if !(0..=MAX_VISIBILITY_SECONDS).contains(&seconds) {
        let reason = "Must be >= 0 and <= 43200, if provided.";
        return Err(Error::value(seconds, "VisibilityTimeout", reason));
    }
    let queue = ops::queue(&cx.read(), cx, name)?;
    let (sequence, receipt) = of_handle(&queue, handle)?;
    let line = cx.env.sqs.of(&queue);
    let now = cx.env.clock.now();
    let until = now.plus(Duration::from_secs(seconds.unsigned_abs().into()));
    let changed = line.with(&cx.env, &queue, |index| {
        let Some(entry) = index.get(sequence) else {
            let reason =
                "Message does not exist or is not available for visibility timeout change.";
            return Err(Error::value(handle, "ReceiptHandle", reason));
        };
        if entry.receipt != receipt || !matches!(entry.state, State::InFlight(_)) {
            return Err(Error::MessageNotInflight);
        }
        let longest = Duration::from_secs(u64::from(MAX_VISIBILITY_SECONDS.unsigned_abs()));
        if entry.received_at.is_some_and(|at| until.since(at) > longest) {
            let reason = "Total VisibilityTimeout for the message is beyond the limit \
                          [43200 seconds]";
            return Err(Error::value(seconds, "VisibilityTimeout", reason));
        }
        let state = if seconds == 0 { State::Ready } else { State::InFlight(until) };
        index.change(sequence, |entry| {
            entry.state = state;
            entry.attempt = None;
        });
        Ok(index.get(sequence).cloned())
    })??;
    if let Some(entry) = changed {
        let mut batch = Batch::default();
        lines::put(&mut batch, &cx.env, &queue, sequence, &entry);
        cx.env.store.apply(batch).await?;
    }
    line.tell(usize::from(seconds == 0));
    Ok(())
}

/// A message that is no more is as good as deleted.
pub async fn delete(cx: &Context, name: &str, handle: &str) -> Result<()> {
    let queue = ops::queue(&cx.read(), cx, name)?;
    let (sequence, receipt) = of_handle(&queue, handle)?;
    let line = cx.env.sqs.of(&queue);
    let removed = line.with(&cx.env, &queue, |index| {
        let Some(entry) = index.get(sequence) else { return Ok(None) };
        let newest = entry.receipt == receipt;
        let in_flight = matches!(entry.state, State::InFlight(_));
        match (newest, queue.fifo()) {
            (_, true) if !(newest && in_flight) => {
                let reason = "The receipt handle has expired.";
                Err(Error::value(handle, "ReceiptHandle", reason))
            }
            // It was received again since.
            (false, _) => Ok(None),
            _ => Ok(index.remove(sequence)),
        }
    })??;
    let Some(entry) = removed else { return Ok(()) };
    let mut batch = Batch::default();
    lines::delete(&mut batch, &cx.env, &queue, sequence);
    let applied = cx.env.store.apply(batch).await;
    if applied.is_err() {
        line.with(&cx.env, &queue, |index| index.insert(sequence, entry))?;
    }
    // The rest of its group can be received.
    line.tell(usize::from(queue.fifo()));
    Ok(applied?)
}

fn handle(queue: &Queue, sequence: u64, receipt: u64) -> String {
    let numbers = [queue.number, sequence, receipt];
    STANDARD.encode(numbers.map(u64::to_be_bytes).concat())
}

/// Sequence and receipt.
fn of_handle(queue: &Queue, handle: &str) -> Result<(u64, u64)> {
    let invalid = || Error::ReceiptHandleIsInvalid(handle.to_owned());
    let bytes = STANDARD.decode(handle).map_err(|_| invalid())?;
    let (numbers, rest) = bytes.as_chunks::<8>();
    match numbers {
        [number, sequence, receipt]
            if rest.is_empty() && u64::from_be_bytes(*number) == queue.number =>
        {
            Ok((u64::from_be_bytes(*sequence), u64::from_be_bytes(*receipt)))
        }
        _ => Err(invalid()),
    }
}
