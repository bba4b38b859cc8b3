//! What was written is there after a restart, and only where it may be.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use store::{Batch, Error, Range, Record, Schema, Store};

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

fn dog(name: impl Into<String>, age: u32) -> Dog {
    Dog { name: name.into(), age }
}

fn schema() -> Schema {
    Schema::new().record::<Dog>().keyspace("bones")
}

async fn put(store: &Store, name: &str, age: u32) {
    let written: Result<(), Error> = store
        .write(|tx| {
            tx.put(dog(name, age));
            Ok(())
        })
        .await;
    written.unwrap();
}

fn count(store: &Store) -> usize {
    let mut count = 0;
    let counted: Result<(), Error> = store.keyspace("bones").scan(&Range::all(), |_, _| {
        count += 1;
        Ok(std::ops::ControlFlow::Continue(()))
    });
    counted.unwrap();
    count
}

#[tokio::test]
async fn reopening_finds_everything() {
    let dir = tempfile::tempdir().unwrap();
    {
        let store = Store::open(dir.path(), schema()).unwrap();
        put(&store, "rex", 3).await;
        put(&store, "rex", 4).await;
        put(&store, "bello", 1).await;
        let gone: Result<bool, Error> = store.write(|tx| Ok(tx.delete::<Dog>("bello"))).await;
        assert!(gone.unwrap());
        store.keyspace("bones").put(*b"k", *b"v").await.unwrap();
        let mut writer = store.blobs().create("picture").await.unwrap();
        writer.write(b"wuff").await.unwrap();
        writer.commit().await.unwrap();
    }
    let store = Store::open(dir.path(), schema()).unwrap();
    let dogs: Vec<Arc<Dog>> = store.read().scan::<Dog>("").collect();
    assert_eq!(dogs, [Arc::new(dog("rex", 4))]);
    assert_eq!(store.keyspace("bones").get(b"k").unwrap().unwrap(), b"v");
    let mut reader = store.blobs().read("picture", 1, 2).await.unwrap().unwrap();
    assert_eq!(reader.next().await.unwrap().unwrap(), b"uf");
    assert_eq!(reader.next().await.unwrap(), None);
    assert_eq!(store.blobs().sweep(|name| name != "picture").unwrap(), 1);
    assert!(store.blobs().read("picture", 0, 9).await.unwrap().is_none());
}

#[tokio::test]
async fn two_processes_cannot_share_a_directory() {
    let dir = tempfile::tempdir().unwrap();
    let first = Store::open(dir.path(), schema()).unwrap();
    assert!(matches!(Store::open(dir.path(), schema()), Err(Error::Locked(_))));
    drop(first);
    Store::open(dir.path(), schema()).unwrap();
}

#[tokio::test]
async fn what_a_newer_release_wrote_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    put(&Store::open(dir.path(), schema()).unwrap(), "rex", 3).await;
    let without_table = Schema::new().keyspace("bones");
    let error = Store::open(dir.path(), without_table).err().unwrap();
    assert!(error.to_string().contains("unknown table dogs"), "{error}");
    let without_keyspace = Schema::new().record::<Dog>();
    let error = Store::open(dir.path(), without_keyspace).err().unwrap();
    assert!(error.to_string().contains("unknown keyspace bulk-bones"), "{error}");
}

#[tokio::test]
async fn a_record_outside_the_schema_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), Schema::new()).unwrap();
    let refused: Result<(), Error> = store
        .write(|tx| {
            tx.put(dog("rex", 3));
            Ok(())
        })
        .await;
    assert!(matches!(refused, Err(Error::Record { table: "dogs", .. })));
    assert!(store.read().get::<Dog>("rex").is_none());
}

#[tokio::test]
async fn a_reset_empties_everything_for_good() {
    let dir = tempfile::tempdir().unwrap();
    {
        let store = Store::open(dir.path(), schema()).unwrap();
        put(&store, "rex", 3).await;
        let mut batch = Batch::default();
        for n in 0..5000u32 {
            batch.put(&store.keyspace("bones"), n.to_be_bytes(), [0; 100]);
        }
        store.apply(batch).await.unwrap();
        let mut writer = store.blobs().create("picture").await.unwrap();
        writer.write(b"wuff").await.unwrap();
        writer.commit().await.unwrap();

        let mut changes = store.changes();
        changes.mark_unchanged();
        store.reset().await.unwrap();
        assert!(changes.has_changed().unwrap());
        assert!(store.read().get::<Dog>("rex").is_none());
        assert_eq!(count(&store), 0);
        assert!(store.blobs().read("picture", 0, 9).await.unwrap().is_none());
        put(&store, "bello", 1).await;
        store.keyspace("bones").put(*b"k", *b"v").await.unwrap();
    }
    let store = Store::open(dir.path(), schema()).unwrap();
    assert_eq!(store.read().scan::<Dog>("").count(), 1);
    assert_eq!(count(&store), 1);
}

/// Older releases' forms of a record, and today's.
mod ages {
    use serde::{Deserialize, Serialize};
    use store::Record;

    #[derive(Serialize, Deserialize)]
    pub struct V1 {
        pub id: String,
        pub seconds: u32,
    }

    impl Record for V1 {
        const TABLE: &'static str = "timers";
        fn key(&self) -> String {
            self.id.clone()
        }
    }

    #[derive(Debug, Serialize, Deserialize)]
    pub struct V2 {
        pub id: String,
        pub millis: u64,
    }

    impl Record for V2 {
        const TABLE: &'static str = "timers";
        const VERSION: u16 = 2;
        fn key(&self) -> String {
            self.id.clone()
        }
        fn upgrade(version: u16, mut value: serde_json::Value) -> store::Result<serde_json::Value> {
            assert_eq!(version, 1);
            value["millis"] = (value["seconds"].as_u64().unwrap() * 1000).into();
            Ok(value)
        }
    }
}

#[tokio::test]
async fn an_older_version_opens_in_a_newer_release_but_not_the_other_way() {
    let dir = tempfile::tempdir().unwrap();
    {
        let store = Store::open(dir.path(), Schema::new().record::<ages::V1>()).unwrap();
        let written: Result<(), Error> = store
            .write(|tx| {
                tx.put(ages::V1 { id: "a".into(), seconds: 2 });
                Ok(())
            })
            .await;
        written.unwrap();
    }
    {
        let store = Store::open(dir.path(), Schema::new().record::<ages::V2>()).unwrap();
        let timer = store.read().get::<ages::V2>("a").unwrap();
        assert_eq!(timer.millis, 2000);
        let written: Result<(), Error> = store
            .write(|tx| {
                tx.put(ages::V2 { id: "a".into(), millis: 2001 });
                Ok(())
            })
            .await;
        written.unwrap();
    }
    let error = Store::open(dir.path(), Schema::new().record::<ages::V1>()).err().unwrap();
    assert!(error.to_string().contains("newer release"), "{error}");
}
