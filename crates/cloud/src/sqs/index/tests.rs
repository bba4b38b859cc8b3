//! Ways of messages through an index, and the same said naively.

use proptest::prelude::*;

use super::*;

fn entry(group: Option<&str>, state: State) -> Entry {
    Entry {
        sent_at: Timestamp(0),
        group: group.map(str::to_owned),
        state,
        receives: 0,
        first_received_at: None,
        received_at: None,
        receipt: 0,
        attempt: None,
    }
}

fn taking(now: i64, max: usize) -> Taking<'static> {
    Taking {
        now: Timestamp(now),
        max,
        visible_at: Timestamp(now + 10),
        max_receives: None,
        attempt: None,
    }
}

#[test]
fn a_group_is_received_in_order_and_blocked_meanwhile() {
    let mut index = Index::new(true, 0);
    for (sequence, group) in [(1, "a"), (2, "a"), (3, "b"), (4, "a")] {
        index.insert(sequence, entry(Some(group), State::Ready));
    }
    assert_eq!(index.take(&taking(0, 2), || 7).given, [1, 2]);
    assert_eq!(index.take(&taking(0, 10), || 7).given, [3], "a is blocked");
    assert_eq!(index.counts(), Counts { ready: 1, delayed: 0, in_flight: 3 });
    index.remove(1);
    assert_eq!(index.take(&taking(0, 10), || 7).given, [0; 0], "2 is still in flight");
    index.change(2, |entry| entry.state = State::Ready);
    assert_eq!(index.take(&taking(0, 10), || 7).given, [2, 4], "2 comes first again");
    assert_eq!(index.advance(Timestamp(10)), 3);
    assert_eq!(index.take(&taking(10, 10), || 7).given, [2, 4, 3]);
}

#[test]
fn an_attempt_is_repeated_until_something_is_done_to_its_messages() {
    let mut index = Index::new(true, 0);
    index.insert(1, entry(Some("a"), State::Ready));
    index.insert(2, entry(Some("b"), State::Ready));
    let attempt = Taking { attempt: Some("x"), ..taking(0, 1) };
    assert_eq!(index.take(&attempt, || 7).given, [1]);
    assert_eq!(index.take(&attempt, || 8).given, [1]);
    assert_eq!((index.get(1).unwrap().receipt, index.get(1).unwrap().receives), (7, 1));
    index.remove(1);
    assert_eq!(index.take(&attempt, || 9).given, [2]);
}

#[test]
fn what_was_received_too_often_is_told_apart() {
    let mut index = Index::new(false, 0);
    index.insert(1, Entry { receives: 3, ..entry(None, State::Ready) });
    index.insert(2, entry(None, State::Ready));
    let taken = index.take(&Taking { max_receives: Some(3), ..taking(0, 10) }, || 7);
    assert_eq!(taken, Taken { given: vec![2], dead: vec![1] });
}

#[derive(Clone, Debug)]
enum Step {
    Insert(u8, bool),
    Take(usize),
    Remove(u64),
    Release(u64),
    Pass(i64),
    Expire(i64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0..3u8, any::<bool>()).prop_map(|(group, delayed)| Step::Insert(group, delayed)),
        2 => (1..4usize).prop_map(Step::Take),
        1 => (0..20u64).prop_map(Step::Remove),
        1 => (0..20u64).prop_map(Step::Release),
        1 => (0..15i64).prop_map(Step::Pass),
        1 => (0..40i64).prop_map(Step::Expire),
    ];
    prop::collection::vec(step, 0..60)
}

proptest! {
    /// Against the same said naively, over all entries.
    #[test]
    fn gives_what_it_should(fifo in any::<bool>(), steps in steps()) {
        let mut index = Index::new(fifo, 0);
        let mut all: BTreeMap<u64, Entry> = BTreeMap::new();
        let (mut now, mut next) = (0, 0);
        for step in steps {
            index.advance(Timestamp(now));
            for entry in all.values_mut() {
                if let State::Delayed(until) | State::InFlight(until) = entry.state && until.0 <= now {
                    entry.state = State::Ready;
                }
            }
            match step {
                Step::Insert(group, delayed) => {
                    let state = if delayed { State::Delayed(Timestamp(now + 5)) } else { State::Ready };
                    let group = fifo.then(|| group.to_string());
                    let made = Entry { sent_at: Timestamp(now), ..entry(group.as_deref(), state) };
                    index.insert(next, made.clone());
                    all.insert(next, made);
                    next += 1;
                }
                Step::Take(max) => {
                    let given = index.take(&taking(now, max), || 1).given;
                    let mut expected: Vec<u64> = Vec::new();
                    while expected.len() < max {
                        let flying = |e: &Entry| matches!(e.state, State::InFlight(_));
                        let blocked = |group: &Option<String>| {
                            fifo && all.values().any(|e| e.group == *group && flying(e))
                        };
                        let first = |n: &u64, e: &Entry| {
                            !fifo || !all.range(..n).any(|(_, before)| before.group == e.group)
                        };
                        let ready = |e: &Entry| e.state == State::Ready && !blocked(&e.group);
                        let found = all.iter().find(|(n, e)| ready(e) && first(n, e));
                        let Some((n, found)) = found.map(|(n, e)| (*n, e.clone())) else { break };
                        let same: Vec<u64> = match fifo {
                            false => vec![n],
                            true => all
                                .iter()
                                .filter(|(_, e)| e.group == found.group)
                                .take_while(|(_, e)| e.state == State::Ready)
                                .take(max - expected.len())
                                .map(|(n, _)| *n)
                                .collect(),
                        };
                        for n in same {
                            all.get_mut(&n).unwrap().state = State::InFlight(Timestamp(now + 10));
                            expected.push(n);
                        }
                    }
                    prop_assert_eq!(given, expected);
                }
                Step::Remove(n) => prop_assert_eq!(index.remove(n).is_some(), all.remove(&n).is_some()),
                Step::Release(n) => {
                    index.change(n, |entry| entry.state = State::Ready);
                    all.entry(n).and_modify(|entry| entry.state = State::Ready);
                }
                Step::Pass(ms) => now += ms,
                Step::Expire(oldest) => {
                    let mut expired = index.expire(Timestamp(oldest));
                    expired.sort_unstable();
                    let old: Vec<u64> =
                        all.iter().filter(|(_, e)| e.sent_at.0 <= oldest).map(|(n, _)| *n).collect();
                    old.iter().for_each(|n| drop(all.remove(n)));
                    prop_assert_eq!(expired, old);
                }
            }
            let count = |test: fn(&State) -> bool| all.values().filter(|e| test(&e.state)).count();
            prop_assert_eq!(index.counts(), Counts {
                ready: count(|s| matches!(s, State::Ready)),
                delayed: count(|s| matches!(s, State::Delayed(_))),
                in_flight: count(|s| matches!(s, State::InFlight(_))),
            });
        }
    }
}
