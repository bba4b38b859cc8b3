//! What an instance costs that does nothing.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::Options;
use crate::cloud::{Cloud, INSTANCE_TYPE, Records};
use crate::process::{available_kib, descendants, processor_time, pss_kib, title};
use crate::report::{Report, mib, table};

const PER_CALL: usize = 50;
const PATIENCE: Duration = Duration::from_secs(300);

/// KiB.
struct Memory {
    available: u64,
    daemon: u64,
    /// Launcher, shims, instances.
    others: u64,
}

pub async fn measure(options: &Options, report: &mut Report) -> Result<()> {
    let count = options.times(500, 50);
    let cloud = Cloud::start(options, Records::Memory).await?;
    let image = cloud.ec2.image().await?;
    // The network and the image's skeleton are there from then on.
    let first = cloud.ec2.run(&image, "", 1).await?;
    all_running(&cloud, 1).await?;
    cloud.ec2.terminate(&[first[0].id.clone()]).await?;
    settle(&cloud).await?;
    let before = memory(&cloud)?;

    let begin = Instant::now();
    let mut ids = Vec::new();
    while ids.len() < count {
        let launched = cloud.ec2.run(&image, "", PER_CALL.min(count - ids.len())).await?;
        ids.extend(launched.into_iter().map(|instance| instance.id));
    }
    all_running(&cloud, count).await?;
    let launching = begin.elapsed();
    settle(&cloud).await?;
    let after = memory(&cloud)?;
    let idle = processor_time(cloud.daemon.pid())?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let idle = (processor_time(cloud.daemon.pid())? - idle) / 5;

    let begin = Instant::now();
    cloud.ec2.terminate(&ids).await?;
    let ending = begin.elapsed();

    let each = |after: u64, before: u64| {
        format!("{:.0} KiB", (after as f64 - before as f64) / count as f64)
    };
    let row = |what: &str, figure: String| [what.to_owned(), figure];
    let rows = [
        row("shim and init of an instance (PSS)", each(after.others, before.others)),
        row("more in the daemon, per instance (PSS)", each(after.daemon, before.daemon)),
        row(
            "less available on the host, per instance (MemAvailable)",
            each(before.available, after.available),
        ),
        row("daemon altogether (PSS)", mib(after.daemon)),
        row("daemon's processor time per second, idle", format!("{} ms", idle.as_millis())),
        row(
            "from the first call until all were running",
            format!("{:.1} s", launching.as_secs_f64()),
        ),
        row("boots per second", format!("{:.0}", count as f64 / launching.as_secs_f64())),
        row("from the call until all were terminated", format!("{:.1} s", ending.as_secs_f64())),
    ];
    let notes = format!(
        "{count} {INSTANCE_TYPE} of the built-in image, launched {PER_CALL} a call, without user data. \
         MemAvailable includes what the kernel needs for them (namespaces, links, mounts, control \
         groups) and whatever else happened on the host meanwhile."
    );
    report.section(&format!("{count} idle instances"), &table(&["", "measured"], &rows), &notes);
    Ok(())
}

async fn all_running(cloud: &Cloud, count: usize) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while cloud.ec2.count("running").await? < count {
        ensure!(Instant::now() < deadline, "not all instances come up");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

/// Until the daemon has next to nothing to do.
async fn settle(cloud: &Cloud) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut before = processor_time(cloud.daemon.pid())?;
    loop {
        tokio::time::sleep(Duration::from_secs(2)).await;
        let now = processor_time(cloud.daemon.pid())?;
        if now - before < Duration::from_millis(60) || Instant::now() > deadline {
            return Ok(());
        }
        before = now;
    }
}

fn memory(cloud: &Cloud) -> Result<Memory> {
    let daemon = cloud.daemon.pid();
    let others = descendants(daemon)?;
    // The balancers are not the instances'.
    let others = others.into_iter().filter(|pid| !title(*pid).contains(" balancer "));
    Ok(Memory {
        available: available_kib()?,
        daemon: pss_kib(daemon),
        others: others.map(pss_kib).sum(),
    })
}
