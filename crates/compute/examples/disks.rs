//! What disks cost: `cargo run -p compute --release --example disks`, as root, with fio installed. A
//! volume of 8 GiB with 4 GiB of data: to create, to snapshot, to make another of, to freeze a root;
//! and its throughput inside an instance.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use compute::namespace::{Config, NamespaceDriver, teardown};
use compute::{Disk, DiskSource, Driver, Layer, Spec, Storage};

const GIB: u64 = 1 << 30;

/// What the instance does, each line until it says so on its console.
const SCRIPT: &str = r#"#!/bin/bash
dd if=/dev/urandom of=/dev/sdf bs=1M count=4096 oflag=direct 2>&1 | tail -1
echo filled
for how in "write 1M 16" "read 1M 16" "randwrite 4k 16" "randread 4k 16" "randread 4k 1"; do
    set -- $how
    fio --name=x --filename=/dev/sdf --rw=$1 --bs=$2 --iodepth=$3 --ioengine=libaio --direct=1 \
        --size=4g --runtime=5 --time_based --output-format=terse --terse-version=3 |
        awk -F\; -v what="$how" '{ print what, ($7 + $48) / 1024 " MiB/s", $8 + $49 " a second" }'
done
head -c 1G /dev/urandom > /root/data
sync
echo done
"#;

fn main() {
    compute::namespace::dispatch();
    let state_dir = PathBuf::from(format!("/var/tmp/drover-disks-{}", std::process::id()));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let measured = runtime.block_on(measure(Config::new(&state_dir)));
    drop(runtime);
    teardown(&state_dir).expect("nothing stays");
    std::fs::remove_dir_all(&state_dir).expect("nothing stays");
    measured.expect("all of it works");
}

async fn measure(config: Config) -> compute::Result<()> {
    let fabric = Arc::new(fabric::fake::Fake::new());
    let driver = NamespaceDriver::open(config, fabric).await?;
    timed("the pool, and a volume of 1 GiB", driver.create_volume("vol-0", GIB, None, false))
        .await?;
    timed("a volume of 8 GiB", driver.create_volume("vol-1", 8 * GIB, None, false)).await?;
    let disk = Disk {
        name: "vol-1".into(),
        device: "/dev/sdf".into(),
        source: DiskSource::Volume("vol-1".into()),
        iops: None,
        bytes_per_second: None,
    };
    let spec = Spec {
        id: "i-1".into(),
        boot: 1,
        layers: vec![Layer::Host],
        vcpus: 2,
        memory_mib: 2048,
        nics: vec![],
        hostname: "disks".into(),
        env: Default::default(),
        user_data: Some(SCRIPT.into()),
        ssh_keys: vec![],
        resolver: Default::default(),
        root_bytes: Some(8 * GIB),
        root_encrypted: false,
        init: compute::Init::default(),
        disks: vec![],
    };
    timed("to begin a boot", driver.ensure(&spec)).await?;
    timed("to plug it in", driver.plug_disk("i-1", &disk)).await?;
    until(&driver, "filled").await;
    for n in 0..5 {
        let (snapshot, copy) = (format!("snap-{n}"), format!("vol-copy{n}"));
        timed("a snapshot of it", driver.create_snapshot(&snapshot, "vol-1")).await?;
        timed("a volume of that", driver.create_volume(&copy, 8 * GIB, Some(&snapshot), false))
            .await?;
    }
    println!("{}", used(&driver)?);
    until(&driver, "done").await;
    println!("{}", String::from_utf8_lossy(&driver.console("i-1")));
    for n in 0..3 {
        let name = format!("root-{n}");
        timed("a root with 1 GiB of data frozen", driver.freeze_root("i-1", &name)).await?;
    }
    println!("{}", used(&driver)?);
    driver.destroy("i-1").await
}

async fn timed<T>(what: &str, act: impl Future<Output = compute::Result<T>>) -> compute::Result<T> {
    let begin = Instant::now();
    let result = act.await?;
    println!("{what:34} {:7.1} ms", begin.elapsed().as_secs_f64() * 1000.0);
    Ok(result)
}

async fn until(driver: &NamespaceDriver, word: &str) {
    while !String::from_utf8_lossy(&driver.console("i-1")).contains(word) {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

/// What all files say they use, and what the pool has given for them.
fn used(driver: &NamespaceDriver) -> compute::Result<String> {
    let said: u64 = driver.stored()?.iter().map(|stored| stored.used_bytes).sum();
    let pool = std::process::Command::new("df").args(["--output=used,target", "-B1M"]).output();
    let table = pool.map(|output| output.stdout).unwrap_or_default();
    let table = String::from_utf8_lossy(&table).into_owned();
    let pool = table.lines().find(|line| line.contains("drover-disks-")).unwrap_or_default();
    Ok(format!("{} MiB said to be used, the pool (MiB): {pool}", said >> 20))
}
