//! How many writes a second this machine's disk makes durable: `cargo run --release -p store --example
//! commits [DIR]`.

use std::time::{Duration, Instant};

use store::{Record, Schema, Store};

#[derive(serde::Serialize, serde::Deserialize)]
struct Line {
    id: String,
    text: String,
}

impl Record for Line {
    const TABLE: &'static str = "lines";
    fn key(&self) -> String {
        self.id.clone()
    }
}

const FOR: Duration = Duration::from_secs(3);

#[tokio::main]
async fn main() -> store::Result<()> {
    let root = std::env::args().nth(1).unwrap_or_else(|| ".".to_owned());
    let dir = std::path::Path::new(&root).join(format!("commits-{}", std::process::id()));
    let started = Instant::now();
    let store = Store::open(&dir, Schema::new().record::<Line>().keyspace("bulk"))?;
    println!("open (new)              {:>9.1?}", started.elapsed());
    for writers in [1, 64] {
        let rate = storm(writers, |id| {
            let store = store.clone();
            async move {
                let put = |tx: &mut store::Tx| {
                    tx.put(Line { id: id.clone(), text: "x".repeat(300) });
                    Ok(())
                };
                store.write(put).await
            }
        });
        println!("records, {writers:>2} writers     {:>9.0}/s", rate.await?);
        let bulk = store.keyspace("bulk");
        let rate = storm(writers, |id| {
            let bulk = bulk.clone();
            async move { bulk.put(id, [0; 300]).await }
        });
        println!("bulk, {writers:>2} writers        {:>9.0}/s", rate.await?);
    }
    drop(store);
    let started = Instant::now();
    let store = Store::open(&dir, Schema::new().record::<Line>().keyspace("bulk"))?;
    let records = store.read().scan::<Line>("").count();
    println!("open ({records} records)   {:>9.1?}", started.elapsed());
    let started = Instant::now();
    store.reset().await?;
    println!("reset                   {:>9.1?}", started.elapsed());
    drop(store);
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}

async fn storm<F>(writers: usize, write: impl Fn(String) -> F) -> store::Result<f64>
where
    F: Future<Output = store::Result<()>> + Send + 'static,
{
    let started = Instant::now();
    let mut count = 0;
    let mut running = tokio::task::JoinSet::new();
    while started.elapsed() < FOR {
        while running.len() < writers {
            running.spawn(write(format!("{:010}", count + running.len())));
        }
        if let Some(done) = running.join_next().await {
            done.expect("no panics")?;
            count += 1;
        }
    }
    let rate = count as f64 / started.elapsed().as_secs_f64();
    while running.join_next().await.is_some() {}
    Ok(rate)
}
