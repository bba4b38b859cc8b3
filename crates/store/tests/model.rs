//! Random writes, resets and restarts, against plain maps.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use store::{Batch, Error, Range, Record, Schema, Store};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Thing {
    key: String,
    value: u8,
}

impl Record for Thing {
    const TABLE: &'static str = "things";
    fn key(&self) -> String {
        self.key.clone()
    }
}

#[derive(Debug, Clone)]
enum Step {
    /// Each puts (`Some`) or deletes; `bool`: the closure then fails and all is void.
    Write(Vec<(String, Option<u8>)>, bool),
    Apply(Vec<(Vec<u8>, Option<u8>)>),
    Reset,
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let key = "[a-c]{1,2}";
    let bytes = prop::collection::vec(prop_oneof![Just(0u8), Just(7), Just(0xff)], 0..3);
    prop_oneof![
        6 => (prop::collection::vec((key, any::<Option<u8>>()), 0..4), prop::bool::weighted(0.2))
            .prop_map(|(ops, fail)| Step::Write(ops, fail)),
        6 => prop::collection::vec((bytes, any::<Option<u8>>()), 0..4).prop_map(Step::Apply),
        1 => Just(Step::Reset),
        1 => Just(Step::Reopen),
    ]
}

type Entries = Vec<(Vec<u8>, Vec<u8>)>;

fn entries(store: &Store, range: &Range) -> Entries {
    let mut all = Vec::new();
    let scanned: Result<(), Error> = store.keyspace("bulk").scan(range, |key, value| {
        all.push((key, value));
        Ok(ControlFlow::Continue(()))
    });
    scanned.unwrap();
    all
}

#[derive(Default)]
struct Model {
    things: BTreeMap<String, u8>,
    bulk: BTreeMap<Vec<u8>, u8>,
}

impl Model {
    fn check(&self, store: &Store) {
        let things: Vec<(String, u8)> =
            store.read().scan::<Thing>("").map(|t| (t.key.clone(), t.value)).collect();
        assert_eq!(things, self.things.clone().into_iter().collect::<Vec<_>>());
        let expected: Entries = self.bulk.iter().map(|(k, v)| (k.clone(), vec![*v])).collect();
        assert_eq!(entries(store, &Range::all()), expected);
        let mut backwards = expected.clone();
        backwards.reverse();
        assert_eq!(entries(store, &Range::all().descending()), backwards);
        for bound in [&[7u8][..], &[0xff], &[7, 0], &[]] {
            let matching = |pass: &dyn Fn(&[u8]) -> bool| -> Entries {
                expected.iter().filter(|(k, _)| pass(k)).cloned().collect()
            };
            for (range, pass) in [
                (
                    Range::prefix(bound),
                    &(|k: &[u8]| k.starts_with(bound)) as &dyn Fn(&[u8]) -> bool,
                ),
                (Range::all().from(bound), &|k| k >= bound),
                (Range::all().after(bound), &|k| k > bound),
                (Range::all().before(bound), &|k| k < bound),
                (Range::all().through_prefix(bound), &|k| k < bound || k.starts_with(bound)),
                (Range::prefix(&[7]).after(bound), &|k| k.starts_with(&[7]) && k > bound),
            ] {
                assert_eq!(entries(store, &range), matching(pass), "{range:?}");
            }
        }
    }
}

async fn run(steps: Vec<Step>, dir: Option<&std::path::Path>) {
    let open = || match dir {
        Some(dir) => Store::open(dir, Schema::new().record::<Thing>().keyspace("bulk")).unwrap(),
        None => Store::ephemeral(),
    };
    let mut store = open();
    let mut model = Model::default();
    for step in steps {
        match step {
            Step::Write(ops, fail) => {
                let written: Result<(), Error> = store
                    .write(|tx| {
                        for (key, value) in &ops {
                            match value {
                                Some(value) => tx.put(Thing { key: key.clone(), value: *value }),
                                None => {
                                    tx.delete::<Thing>(key);
                                }
                            }
                        }
                        if fail { Err(std::io::Error::other("on purpose").into()) } else { Ok(()) }
                    })
                    .await;
                assert_eq!(written.is_err(), fail);
                for (key, value) in ops.into_iter().filter(|_| !fail) {
                    match value {
                        Some(value) => model.things.insert(key, value),
                        None => model.things.remove(&key),
                    };
                }
            }
            Step::Apply(ops) => {
                let mut batch = Batch::default();
                let keyspace = store.keyspace("bulk");
                // fjall leaves open which of two changes of one key in one batch holds.
                let ops: BTreeMap<_, _> = ops.into_iter().collect();
                for (key, value) in ops {
                    match value {
                        Some(value) => {
                            batch.put(&keyspace, key.clone(), [value]);
                            model.bulk.insert(key, value);
                        }
                        None => {
                            batch.delete(&keyspace, key.clone());
                            model.bulk.remove(&key);
                        }
                    }
                }
                store.apply(batch).await.unwrap();
            }
            Step::Reset => {
                store.reset().await.unwrap();
                model = Model::default();
            }
            Step::Reopen => {
                if dir.is_some() {
                    drop(store);
                    store = open();
                }
            }
        }
        model.check(&store);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..Default::default() })]

    #[test]
    fn behaves_as_plain_maps(steps in prop::collection::vec(step(), 1..25)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let dir = tempfile::tempdir().unwrap();
        runtime.block_on(run(steps.clone(), Some(dir.path())));
        runtime.block_on(run(steps, None));
    }
}

#[tokio::test]
async fn a_simulated_write_can_be_dropped_before_and_after() {
    use std::future::Future;
    use std::task::{Context, Poll, Waker};

    let store = Store::simulated(|| true);
    let mut polls = Vec::new();
    for polled in 1..=3 {
        let mut write = Box::pin(store.write(|tx| {
            let n = tx.get::<Thing>("n").map_or(0, |thing| thing.value);
            tx.put(Thing { key: "n".to_owned(), value: n + 1 });
            Ok::<_, store::Error>(n + 1)
        }));
        let mut cx = Context::from_waker(Waker::noop());
        let answers = (0..polled).map(|_| write.as_mut().poll(&mut cx));
        polls.push(answers.filter(Poll::is_ready).count());
        let value = store.read().get::<Thing>("n").map(|thing| thing.value);
        assert_eq!(value, [None, Some(1), Some(2)][polled - 1]);
    }
    assert_eq!(polls, [0, 0, 1]);
}
