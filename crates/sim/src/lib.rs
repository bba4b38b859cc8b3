//! Deterministic simulation: the production controllers, by their production runner, over a driver, a
//! fabric, balancers and a clock that are simulated. A seed decides everything: which task goes on at
//! which await, what users ask for, what fails, when time passes, and where the daemon dies.
//!
//! ```text
//!  workload: requests ──► ops ──► store ◄──► controllers ──► host, network, balancers ◄── mishaps
//!                          checkers look at all of it after every step
//! ```
//!
//! A history is a turbulent phase, then a quiet one in which nothing fails any more and everything must
//! settle. Not here: real processes, real disks (those are tested by their own crates).

pub mod checkers;
pub mod disks;
pub mod faults;
pub mod host;
pub mod promises;
pub mod workload;
pub mod world;

use std::fmt;

use world::World;

/// What happened, line by line.
pub type History = Vec<String>;

/// A history in which something was wrong.
#[derive(Debug)]
pub struct Failure {
    pub seed: u64,
    pub message: String,
    pub history: History,
}

/// Plays the history of `seed` to its end.
pub fn play(seed: u64) -> Result<History, Failure> {
    let mut world = World::new(seed);
    match world.play() {
        Ok(()) => Ok(world.into_history()),
        Err(message) => Err(Failure { seed, message, history: world.into_history() }),
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.history {
            writeln!(f, "{line}")?;
        }
        let Failure { seed, message, .. } = self;
        writeln!(f, "seed {seed}: {message}")?;
        write!(f, "replay it by: SIM_SEED={seed} cargo test -p sim")
    }
}
