//! What images, snapshots and volumes take: time, blocks of the host's disk, and speed beside it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use demo::aws::first;
use serde_json::Value;

use crate::Options;
use crate::cloud::{Cloud, PATIENCE, Records};
use crate::host::first_line;
use crate::report::{Report, ms, percentile, table};

const PAUSE: Duration = Duration::from_millis(2);
const DEVICE: &str = "/dev/sdf";

pub async fn measure(options: &Options, report: &mut Report) -> Result<()> {
    let cloud = Cloud::start_with(options, Records::Disk, &["--unlimited-io"]).await?;
    images(options, &cloud, report).await?;
    volumes(options, &cloud, report).await
}

async fn images(options: &Options, cloud: &Cloud, report: &mut Report) -> Result<()> {
    let ec2 = &cloud.ec2;
    let baked_mib = options.times(1024, 64);
    let script = format!(
        "#!/bin/sh\ndd if=/dev/urandom of=/baked bs=1M count={baked_mib} 2>/dev/null && sync && echo baked\n"
    );
    let [builder] = &ec2.run(&ec2.image().await?, &script, 1).await?[..] else {
        anyhow::bail!("RunInstances names no instance");
    };
    let mut console = String::new();
    until("the image's instance", async || {
        console = ec2.console(&builder.id).await?;
        Ok(console.contains("baked"))
    })
    .await?;
    let before = used_mib(cloud)?;
    let begin = Instant::now();
    let parameters = [("InstanceId", builder.id.as_str()), ("Name", "baked"), ("NoReboot", "true")];
    let image = first(&ec2.call("CreateImage", &parameters).await?, "imageId");
    until("the image", async || {
        let answer = ec2.call("DescribeImages", &[("ImageId.1", image.as_str())]).await?;
        Ok(first(&answer, "imageState") == "available")
    })
    .await?;
    let took = begin.elapsed();
    let disk = taken(cloud, before)?;
    let mut rows = vec![[
        format!("CreateImage of a running instance with {baked_mib} MiB of its own"),
        ms(took),
        disk,
    ]];
    ec2.terminate(std::slice::from_ref(&builder.id)).await?;
    for count in [1, 10, options.times(100, 20)] {
        let before = used_mib(cloud)?;
        let begin = Instant::now();
        let launched = ec2.run(&image, "", count).await?;
        until("the instances", async || Ok(ec2.count("running").await? == count)).await?;
        let took = begin.elapsed();
        let disk = taken(cloud, before)?;
        rows.push([format!("launch of {count}, until all run"), ms(took), disk]);
        let ids: Vec<String> = launched.into_iter().map(|instance| instance.id).collect();
        ec2.terminate(&ids).await?;
    }
    report.section(
        "An image, and instances of it",
        &table(&["", "time", "disk taken"], &rows),
        "From the call. Records on disk; what is taken is the difference in used space of the pool's file \
         system after a sync. Instances have a root file system of 8 GiB each.",
    );
    Ok(())
}

async fn volumes(options: &Options, cloud: &Cloud, report: &mut Report) -> Result<()> {
    let ec2 = &cloud.ec2;
    let Some(fio) = first_line("fio", &["--version"]) else {
        eprintln!("fio is not installed: volumes are not measured");
        return Ok(());
    };
    let [instance] = &ec2.run(&ec2.image().await?, "", 1).await?[..] else {
        anyhow::bail!("RunInstances names no instance");
    };
    until("the instance", async || Ok(ec2.count("running").await? == 1)).await?;
    let answer = ec2.call("DescribeInstances", &[("InstanceId.1", instance.id.as_str())]).await?;
    let zone = first(&answer, "availabilityZone");
    let mut rows = Vec::new();

    let size = [("AvailabilityZone", zone.as_str()), ("Size", "8")];
    let (volume, row) = volume("CreateVolume of 8 GiB", cloud, &size).await?;
    rows.push(row);
    let begin = Instant::now();
    let attach =
        [("VolumeId", volume.as_str()), ("InstanceId", instance.id.as_str()), ("Device", DEVICE)];
    ec2.call("AttachVolume", &attach).await?;
    until("the volume", async || {
        let answer = ec2.call("DescribeVolumes", &[("VolumeId.1", volume.as_str())]).await?;
        Ok(answer.contains("<status>attached</status>"))
    })
    .await?;
    rows.push(["AttachVolume to a running instance".into(), ms(begin.elapsed()), "–".into()]);

    let speeds = speeds(options, cloud, &instance.id)?;

    let gib = options.times(4, 1);
    for begun in ["first", "second"] {
        let before = used_mib(cloud)?;
        let begin = Instant::now();
        let answer = ec2.call("CreateSnapshot", &[("VolumeId", volume.as_str())]).await?;
        let snapshot = first(&answer, "snapshotId");
        until("the snapshot", async || {
            let answer =
                ec2.call("DescribeSnapshots", &[("SnapshotId.1", snapshot.as_str())]).await?;
            Ok(first(&answer, "status") == "completed")
        })
        .await?;
        let took = begin.elapsed();
        rows.push([
            format!("CreateSnapshot with {gib} GiB of data, attached, the {begun}"),
            ms(took),
            taken(cloud, before)?,
        ]);
        let parameters = [("AvailabilityZone", zone.as_str()), ("SnapshotId", snapshot.as_str())];
        let what = format!("CreateVolume from the {begun} snapshot");
        rows.push(self::volume(&what, cloud, &parameters).await?.1);
    }
    report.section(
        "Volumes and snapshots",
        &table(&["", "time", "disk taken"], &rows),
        "From the call until DescribeVolumes or DescribeSnapshots says available, attached or completed, \
         asked every 2 ms.",
    );
    report.section(
        "A volume beside the host's disk",
        &table(&["", "host", "volume", "of the host's"], &speeds),
        &format!(
            "{fio}, direct I/O, in turns: a file beside the pool on the host, and {DEVICE} inside of an \
             instance; medians of three rounds. With `--unlimited-io`."
        ),
    );
    ec2.terminate(std::slice::from_ref(&instance.id)).await
}

/// Its id, and a row of the table.
async fn volume(
    what: &str,
    cloud: &Cloud,
    parameters: &[(&str, &str)],
) -> Result<(String, [String; 3])> {
    let before = used_mib(cloud)?;
    let begin = Instant::now();
    let id = first(&cloud.ec2.call("CreateVolume", parameters).await?, "volumeId");
    until("the volume", async || {
        let answer = cloud.ec2.call("DescribeVolumes", &[("VolumeId.1", id.as_str())]).await?;
        Ok(first(&answer, "status") == "available")
    })
    .await?;
    let took = begin.elapsed();
    Ok((id, [what.to_owned(), ms(took), taken(cloud, before)?]))
}

fn speeds(options: &Options, cloud: &Cloud, instance: &str) -> Result<Vec<[String; 4]>> {
    let size = format!("{}G", options.times(4, 1));
    let seconds = options.times(4, 2).to_string();
    let file = cloud.data_dir.join("host.dat");
    let file = file.to_string_lossy();
    let jobs: [(&str, &[&str], &str); 5] = [
        (
            "sequential writes of 1 MiB, 4 at once",
            &["--rw=write", "--bs=1M", "--iodepth=4"],
            "write",
        ),
        ("sequential reads of 1 MiB, 4 at once", &["--rw=read", "--bs=1M", "--iodepth=4"], "read"),
        (
            "random reads of 4 KiB, one at a time",
            &["--rw=randread", "--bs=4k", "--iodepth=1"],
            "read",
        ),
        (
            "random reads of 4 KiB, 16 at once",
            &["--rw=randread", "--bs=4k", "--iodepth=16"],
            "read",
        ),
        (
            "random writes of 4 KiB, 16 at once",
            &["--rw=randwrite", "--bs=4k", "--iodepth=16"],
            "write",
        ),
    ];
    let mut rows = Vec::new();
    for (what, words, side) in jobs {
        let sequential = words[0] == "--rw=write" || words[0] == "--rw=read";
        let mut all: [Vec<f64>; 2] = Default::default();
        for _ in 0..3 {
            for (place, figures) in [(&*file, 0), (DEVICE, 1)] {
                let mut fio = Command::new("fio");
                if figures == 1 {
                    fio = Command::new(cloud.program());
                    fio.args(["exec", "--data-dir"])
                        .arg(&cloud.data_dir)
                        .args([instance, "--", "fio"]);
                }
                fio.args(["--name=it", "--ioengine=libaio", "--direct=1", "--output-format=json"]);
                fio.arg(format!("--filename={place}")).arg(format!("--size={size}")).args(words);
                // All of it is written once, so that there is something to read.
                if words[0] != "--rw=write" {
                    fio.args(["--time_based", "--runtime"]).arg(&seconds);
                }
                let output = fio.output()?;
                ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
                let answer: Value = serde_json::from_slice(&output.stdout)?;
                let done = &answer["jobs"][0][side];
                let figure = if sequential { &done["bw_bytes"] } else { &done["iops"] };
                all[figures].push(figure.as_f64().context("fio says no figure")?);
            }
        }
        let [host, volume] = all.map(|figures| percentile(&figures, 50));
        let shown = |figure: f64| match sequential {
            true => format!("{:.0} MiB/s", figure / 1024.0 / 1024.0),
            false => format!("{figure:.0} IOPS"),
        };
        rows.push([what.into(), shown(host), shown(volume), format!("{:.2}", volume / host)]);
    }
    std::fs::remove_file(&*file)?;
    Ok(rows)
}

/// What is used more than before.
fn taken(cloud: &Cloud, before: f64) -> Result<String> {
    // Rounded here, so that there is no "-0.0".
    let tenths = ((used_mib(cloud)? - before) * 10.0).round() as i64;
    Ok(format!("{:.1} MiB", tenths as f64 / 10.0))
}

/// Of the file system that disks are in.
fn used_mib(cloud: &Cloud) -> Result<f64> {
    let pool = pool(&cloud.data_dir)?;
    ensure!(Command::new("sync").status()?.success(), "sync failed");
    let output = Command::new("df").args(["--output=used", "-k"]).arg(pool).output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let kib: f64 = text.lines().nth(1).unwrap_or_default().trim().parse()?;
    Ok(kib / 1024.0)
}

fn pool(data_dir: &Path) -> Result<PathBuf> {
    let mounts = std::fs::read_to_string("/proc/self/mounts")?;
    let mut points = mounts.lines().filter_map(|line| line.split(' ').nth(1)).map(PathBuf::from);
    points
        .find(|point| point.starts_with(data_dir) && point.ends_with("pool"))
        .context("the pool is not mounted")
}

async fn until(what: &str, mut condition: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !condition().await? {
        ensure!(Instant::now() < deadline, "{what} does not come to be");
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}
