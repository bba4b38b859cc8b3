//! What goes wrong inside of calls, and where they are interrupted: decided by the seed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use cloud::env::Rng;
use compute::fake::{Fault, Point};
use fabric::fake::Call;

pub struct Faults {
    dice: Rng,
    /// Of every history its own: 0 (nothing fails by itself) to 3.
    severity: u64,
    on: AtomicBool,
}

impl Faults {
    pub fn new(dice: Rng) -> Arc<Faults> {
        let severity = dice.below(4);
        Arc::new(Faults { dice, severity, on: AtomicBool::new(true) })
    }

    /// From now on every call succeeds; interruptions go on.
    pub fn end(&self) {
        self.on.store(false, Ordering::Relaxed);
    }

    fn strikes(&self, percent: u64) -> bool {
        self.on.load(Ordering::Relaxed) && self.dice.below(100) < percent * self.severity
    }

    pub fn driver(&self, point: Point<'_>) -> Option<Fault> {
        let slow = Fault::Slow(Duration::from_millis(self.dice.below(60_000)));
        let faults: &[(u64, Fault)] = match point {
            Point::Ensure(_) => &[
                (2, Fault::NoCapacity),
                (4, Fault::Fails),
                (3, Fault::AnswerLost),
                (3, Fault::BootFails),
                (6, slow),
            ],
            Point::Stop(_) => &[(10, slow)],
            _ => &[(6, Fault::Fails), (5, Fault::AnswerLost)],
        };
        faults.iter().find(|(percent, _)| self.strikes(*percent)).map(|(_, fault)| fault.clone())
    }

    pub fn fabric(&self, _: Call) -> bool {
        self.strikes(5)
    }

    pub fn interrupts(&self) -> bool {
        self.dice.below(4) == 0
    }

    /// An await at which others may come in between, or the daemon may die.
    pub async fn interruption(&self) {
        let mut left = self.interrupts();
        std::future::poll_fn(|cx| {
            if !std::mem::replace(&mut left, false) {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }
}
