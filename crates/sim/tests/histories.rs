//! Histories by the thousand. `SIM_HISTORIES=N` sets how many, `SIM_SEED=N` replays one of them.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

#[allow(clippy::disallowed_methods)] // how a developer asks for other histories
fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} must be a number, but is {text:?}")))
}

#[test]
fn every_history_ends_well() {
    if let Some(seed) = number("SIM_SEED") {
        match sim::play(seed) {
            Ok(history) => println!("{}", history.join("\n")),
            Err(failure) => panic!("{failure}"),
        }
        return;
    }
    let count = number("SIM_HISTORIES").unwrap_or(1000);
    let threads = std::thread::available_parallelism().map_or(2, |n| n.get());
    let (next, failures) = (AtomicU64::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= count {
                        return;
                    }
                    if let Err(failure) = sim::play(seed) {
                        failures.lock().unwrap().push(failure);
                    }
                }
            });
        }
    });
    let mut failures = failures.into_inner().unwrap();
    failures.sort_by_key(|failure| failure.seed);
    let Some(first) = failures.first() else { return };
    println!("{first}");
    let all: Vec<String> = failures
        .iter()
        .map(|failure| format!("seed {}: {}", failure.seed, failure.message))
        .collect();
    panic!("{} of {count} histories went wrong:\n{}", all.len(), all.join("\n"));
}

#[test]
fn a_seed_is_a_history() {
    for seed in [1, 2, 3] {
        let play = || sim::play(seed).unwrap_or_else(|failure| panic!("{failure}"));
        let (once, again) = (play(), play());
        let differ = once.iter().zip(&again).position(|(a, b)| a != b);
        assert_eq!(differ.map(|n| (&once[n], &again[n])), None, "at the first difference");
        assert_eq!(once.len(), again.len());
    }
}
