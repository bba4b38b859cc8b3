//! A process that is killed in the middle of a write storm has lost nothing that it acknowledged.
//! (Alone in its file: a fork elsewhere would hold the locks of the directories of other tests.)

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};
use store::{Error, Record, Schema, Store};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Dog {
    name: String,
    age: u32,
}

impl Record for Dog {
    const TABLE: &'static str = "dogs";
    fn key(&self) -> String {
        self.name.clone()
    }
}

fn schema() -> Schema {
    Schema::new().record::<Dog>().keyspace("bones")
}

async fn put(store: &Store, name: &str, age: u32) {
    let written: Result<(), Error> = store
        .write(|tx| {
            tx.put(Dog { name: name.to_owned(), age });
            Ok(())
        })
        .await;
    written.unwrap();
}

const CHILD: &str = "STORE_TEST_CHILD_DIR";

/// The parent runs itself again as a child that writes and says so, kills it in mid-storm, and looks
/// whether all that was said is there.
#[test]
fn kill_nine_loses_nothing_acknowledged() {
    if let Some(dir) = std::env::var_os(CHILD) {
        return storm(Path::new(&dir));
    }
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = Vec::new();
    for round in 0..4 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "kill_nine_loses_nothing_acknowledged", "--nocapture"])
            .env(CHILD, dir.path())
            .env("STORE_TEST_ROUND", round.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut seen = 0;
        while seen < 300 + 100 * round {
            let line = lines.next().expect("the child lives").unwrap();
            if let Some((_, name)) = line.split_once("acknowledged ") {
                acknowledged.push(name.to_owned());
                seen += 1;
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        for line in lines.map_while(Result::ok) {
            // A torn last line names nothing.
            if let Some((_, name)) = line.split_once("acknowledged ")
                && name.ends_with('.')
            {
                acknowledged.push(name.to_owned());
            }
        }
    }
    let store = Store::open(dir.path(), schema()).unwrap();
    let snapshot = store.read();
    for name in &acknowledged {
        assert!(snapshot.get::<Dog>(name).is_some(), "{name} is lost");
        let bone = store.keyspace("bones").get(name.as_bytes()).unwrap();
        assert_eq!(bone.unwrap(), name.as_bytes(), "{name}'s bone is lost");
    }
}

fn storm(dir: &Path) {
    let round = std::env::var("STORE_TEST_ROUND").unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().build().unwrap();
    runtime.block_on(async {
        let store = Store::open(dir, schema()).unwrap();
        let writers = (0..16).map(|writer| {
            let (store, round) = (store.clone(), round.clone());
            tokio::spawn(async move {
                for n in 0.. {
                    let name = format!("{round}-{writer}-{n}.");
                    put(&store, &name, n).await;
                    store.keyspace("bones").put(name.as_bytes(), name.as_bytes()).await.unwrap();
                    let line = format!("acknowledged {name}\n");
                    std::io::stdout().write_all(line.as_bytes()).unwrap();
                }
            })
        });
        for writer in writers.collect::<Vec<_>>() {
            writer.await.unwrap();
        }
    });
}
