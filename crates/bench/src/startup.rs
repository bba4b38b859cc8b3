//! How long the daemon takes to be up, and what it needs while nothing happens.

use std::time::Duration;

use anyhow::Result;

use crate::Options;
use crate::cloud::{Cloud, Records};
use crate::process::{descendants, pss_kib, title};
use crate::report::{Report, SPREAD, mib, ms, percentile, spread, table};

const IDLE: Duration = Duration::from_secs(3);

pub async fn measure(options: &Options, report: &mut Report) -> Result<()> {
    let times = options.times(30, 5);
    let (mut ready, mut answered) = (Vec::new(), Vec::new());
    for _ in 0..times {
        let cloud = Cloud::start(options, Records::Memory).await?;
        ready.push(cloud.ready);
        answered.push(cloud.answered);
    }
    // Every start finds the records of the one before.
    let mut directory = Cloud::start(options, Records::Disk).await?.stop();
    let mut again = Vec::new();
    for n in 0..times {
        let cloud = Cloud::at(options, Some(directory.clone())).await?;
        again.push(cloud.ready);
        if n + 1 < times {
            directory = cloud.stop();
        }
    }
    let rows = [
        spread("`up --ephemeral`: says that it is up", &ready),
        spread("`up --ephemeral`: has answered its first call", &answered),
        spread("`up` over records on disk: says that it is up", &again),
    ];
    report.section(
        "Start of the daemon",
        &table(&SPREAD, &rows),
        "From starting the program. The first call is a signed DescribeAvailabilityZones.",
    );
    let median = percentile(&ready, 50);
    report.aim("daemon ready in less than 100 ms (p50)", ms(median), median.as_millis() < 100);

    let cloud = Cloud::start(options, Records::Disk).await?;
    tokio::time::sleep(IDLE).await;
    let mut rows = vec![["daemon".to_owned(), mib(pss_kib(cloud.daemon.pid()))]];
    let mut sum = pss_kib(cloud.daemon.pid());
    for pid in descendants(cloud.daemon.pid())? {
        sum += pss_kib(pid);
        rows.push([title(pid), mib(pss_kib(pid))]);
    }
    rows.push(["together".to_owned(), mib(sum)]);
    report.section(
        "Memory of an idle cloud",
        &table(&["process", "PSS"], &rows),
        "Proportional set sizes, 3 s after the start, records on disk, no instances. A zone's balancer \
         process is only started with the first load balancer.",
    );
    report.aim("idle cloud in less than 30 MiB", mib(sum), sum < 30 * 1024);
    Ok(())
}
