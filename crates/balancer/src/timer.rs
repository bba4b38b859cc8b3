//! Coarse deadlines: one sweep per worker and tick looks at all of them, so that arming one on every
//! read costs a store. A deadline fires within two ticks after its time, never before.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::sync::OnceLock;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

pub const TICK: Duration = Duration::from_millis(50);

/// Milliseconds since this process began.
pub fn now_ms() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_millis() as u64
}

#[derive(Default)]
pub struct Timers {
    now: Cell<u64>,
    entries: RefCell<Vec<Option<Rc<Entry>>>>,
    free: RefCell<Vec<usize>>,
}

struct Entry {
    /// `u64::MAX`: not armed.
    at: Cell<u64>,
    /// Set while the connection waits for a request; then it may be ended for other reasons.
    idle_in: Cell<Option<u64>>,
    fired: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Entry {
    fn fire(&self) {
        self.fired.set(true);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl Timers {
    /// As of the last sweep.
    pub fn now(&self) -> u64 {
        self.now.get()
    }

    pub fn deadline(self: &Rc<Self>) -> Deadline {
        let entry = Rc::new(Entry {
            at: Cell::new(u64::MAX),
            idle_in: Cell::new(None),
            fired: Cell::new(false),
            waker: RefCell::new(None),
        });
        let mut entries = self.entries.borrow_mut();
        let index = self.free.borrow_mut().pop().unwrap_or_else(|| {
            entries.push(None);
            entries.len() - 1
        });
        entries[index] = Some(entry.clone());
        Deadline { entry, index, timers: Rc::downgrade(self) }
    }

    pub fn sweep(&self) {
        let now = now_ms();
        self.now.set(now);
        self.fire(|entry| entry.at.get() <= now);
    }

    /// Ends the wait for a next request of every connection of a listener.
    pub fn fire_idle(&self, listener: u64) {
        self.fire(|entry| entry.idle_in.get() == Some(listener));
    }

    fn fire(&self, which: impl Fn(&Entry) -> bool) {
        for entry in self.entries.borrow().iter().flatten() {
            if !entry.fired.get() && which(entry) {
                entry.fire();
            }
        }
    }
}

pub struct Deadline {
    entry: Rc<Entry>,
    index: usize,
    timers: Weak<Timers>,
}

impl Deadline {
    /// Arms it anew.
    pub fn set(&self, after_ms: u64) {
        let now = self.timers.upgrade().map_or(0, |t| t.now());
        self.entry.at.set(now.saturating_add(after_ms).saturating_add(TICK.as_millis() as u64));
        self.entry.fired.set(false);
    }

    pub fn set_idle(&self, listener: Option<u64>) {
        self.entry.idle_in.set(listener);
    }

    /// Ready once its time has passed, until it is set again.
    pub fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.entry.fired.get() {
            return Poll::Ready(());
        }
        let mut waker = self.entry.waker.borrow_mut();
        match &*waker {
            Some(known) if known.will_wake(cx.waker()) => {}
            _ => *waker = Some(cx.waker().clone()),
        }
        Poll::Pending
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        if let Some(timers) = self.timers.upgrade() {
            timers.entries.borrow_mut()[self.index] = None;
            timers.free.borrow_mut().push(self.index);
        }
    }
}
