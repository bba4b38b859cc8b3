//! How long instances take to start: `cargo run -p compute --release --example launch [COUNT [GIB]]`, as root,
//! with roots of that size or of none.
//! From `ensure` until init runs, and until the first line of user data is on the console on disk; and
//! what an idle instance takes of the host's memory.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use compute::namespace::{Config, NamespaceDriver, teardown};
use compute::{Driver, Layer, Phase, Spec};

fn main() {
    compute::namespace::dispatch();
    let count = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(200);
    let state_dir = PathBuf::from(format!("/var/tmp/drover-launch-{}", std::process::id()));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let measured = runtime.block_on(measure(Config::new(&state_dir), count));
    drop(runtime);
    teardown(&state_dir).expect("nothing stays");
    std::fs::remove_dir_all(&state_dir).expect("nothing stays");
    measured.expect("all instances start");
}

async fn measure(config: Config, count: usize) -> compute::Result<()> {
    let fabric = Arc::new(fabric::fake::Fake::new());
    let begin = Instant::now();
    let driver = Arc::new(NamespaceDriver::open(config, fabric).await?);
    println!("driver open after {:.1?}", begin.elapsed());
    let begin = Instant::now();
    launch(&driver, "first", None).await?;
    println!("the first instance after {:.1?}", begin.elapsed());
    driver.destroy("first").await?;
    for user_data in [None, Some("#!/bin/sh\necho hello\n")] {
        let what = if user_data.is_some() { "first line of user data" } else { "init runs" };
        let (mut begun, mut done) = (Vec::new(), Vec::new());
        for n in 0..count {
            let id = format!("i-{n}");
            let (ensured, ready) = launch(&driver, &id, user_data).await?;
            driver.destroy(&id).await?;
            begun.push(ensured);
            done.push(ready);
        }
        report("alone, begun", begun);
        report(&format!("alone, {what}"), done);
        let begin = Instant::now();
        let launches: Vec<_> = (0..50)
            .map(|n| {
                let driver = driver.clone();
                tokio::spawn(async move { launch(&driver, &format!("b-{n}"), user_data).await })
            })
            .collect();
        let mut done = Vec::new();
        for launch in launches {
            done.push(launch.await.expect("no panic")?.1);
        }
        report(&format!("50 at once, {what}"), done);
        println!("{:28} {:7.1} ms in all", "", millis(begin.elapsed()));
        for n in 0..50 {
            driver.destroy(&format!("b-{n}")).await?;
        }
    }
    let before = available_kib();
    for n in 0..count {
        launch(&driver, &format!("m-{n}"), None).await?;
    }
    let each = before.saturating_sub(available_kib()) as f64 / count as f64 / 1024.0;
    println!("{:28} {each:7.2} MiB each, {count} idle instances", "memory");
    Ok(())
}

fn available_kib() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// Times until `ensure` returned and until it was ready.
async fn launch(
    driver: &NamespaceDriver,
    id: &str,
    user_data: Option<&str>,
) -> compute::Result<(Duration, Duration)> {
    let mut changes = driver.changes();
    let begin = Instant::now();
    driver.ensure(&spec(id, user_data)).await?;
    let ensured = begin.elapsed();
    loop {
        let ready = match user_data {
            Some(_) => driver.console(id).windows(5).any(|part| part == b"hello"),
            None => driver.list().iter().any(|seen| seen.id == id && seen.phase == Phase::Up),
        };
        if ready {
            return Ok((ensured, begin.elapsed()));
        }
        // Output on the console is no change of state.
        let _ = tokio::time::timeout(Duration::from_micros(200), changes.changed()).await;
    }
}

fn spec(id: &str, user_data: Option<&str>) -> Spec {
    Spec {
        id: id.into(),
        boot: 1,
        layers: vec![Layer::Host],
        vcpus: 2,
        memory_mib: 512,
        nics: vec![],
        hostname: "launch".into(),
        env: Default::default(),
        user_data: user_data.map(|text| text.as_bytes().to_vec()),
        ssh_keys: vec![],
        resolver: Default::default(),
        root_bytes: std::env::args().nth(2).and_then(|n| n.parse::<u64>().ok()).map(|n| n << 30),
        root_encrypted: false,
        disks: vec![],
        init: Default::default(),
    }
}

fn report(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |part: f64| millis(times[((times.len() - 1) as f64 * part) as usize]);
    println!(
        "{what:28} p50 {:6.2}  p90 {:6.2}  p99 {:6.2} ms, {} launches",
        at(0.5),
        at(0.9),
        at(0.99),
        times.len()
    );
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
