//! The seven acts, and the cloud they play in.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::aws::{Client, Target};
use crate::group::{Group, wait};
use crate::load::{Load, Tally};
use crate::report::{Act, Figures, Report};
use crate::screen::Screen;
use crate::tier::{MIN, REGION, Tier, bake};

const TIME_SCALE: f64 = 60.0;
const USERS: usize = 40;
/// Requests a second.
const STEADY: u32 = 60;
const PEAK: u32 = 220;
const QUIET: u32 = 20;
/// How long each new situation is watched under load, once it was reached.
const HOLD: Duration = Duration::from_secs(4);
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Options {
    /// Where to write the report as JSON.
    pub json: Option<PathBuf>,
    /// Leave the cloud running.
    pub keep: bool,
    /// The last act to play.
    pub acts: u8,
}

/// Plays the acts; an error when anything was lost or the group did not end as it should.
pub async fn run(options: Options) -> Result<()> {
    let directory = std::env::temp_dir().join(format!("drover-demo-{}", std::process::id()));
    std::fs::create_dir(&directory)
        .with_context(|| format!("cannot make {}", directory.display()))?;
    let mut screen = Screen::new();
    let result = play(&options, &directory, &mut screen).await;
    std::fs::remove_dir_all(&directory)?;
    let report = result?;
    println!("\n{}", report.text());
    if let Some(path) = &options.json {
        std::fs::write(path, serde_json::to_vec_pretty(&report)?)
            .with_context(|| format!("cannot write {}", path.display()))?;
        println!("The report is in {}.", path.display());
    }
    if !report.problems.is_empty() {
        bail!("the tier did not come through:\n  {}", report.problems.join("\n  "));
    }
    println!("Nothing was lost; the group ended healthy and balanced.");
    Ok(())
}

async fn play(
    options: &Options,
    directory: &std::path::Path,
    screen: &mut Screen,
) -> Result<Report> {
    let began = Instant::now();
    screen.heading("A private cloud");
    let log = options.keep.then(|| directory.with_extension("log"));
    let mut cloud = Cloud::start(log.as_deref())?;
    screen.fact(&format!("up at http://{}", cloud.authority));
    let aws = Client::new(Target {
        authority: cloud.authority.clone(),
        region: REGION.into(),
        access_key_id: "test".into(),
        secret_access_key: "test".into(),
    });
    let mut stage = Stage { acts: Vec::new(), problems: Vec::new(), total: Tally::default() };
    let played = acts(options, directory, screen, &aws, &mut stage).await;
    if options.keep {
        screen.heading("The cloud stays");
        screen.fact(&format!(
            "export AWS_ENDPOINT_URL=http://{} DROVER_ENDPOINT=http://{}",
            cloud.authority, cloud.authority
        ));
        if let Some(log) = &log {
            screen.fact(&format!("`drover down` ends it; what it logs is in {}", log.display()));
        }
        cloud.keep();
    } else {
        cloud.stop();
    }
    played?;
    Ok(Report {
        time_scale: TIME_SCALE,
        seconds: began.elapsed().as_secs_f64(),
        total: Figures::from(&stage.total),
        acts: stage.acts,
        problems: stage.problems,
    })
}

/// What has been seen so far.
struct Stage {
    acts: Vec<Act>,
    problems: Vec<String>,
    total: Tally,
}

impl Stage {
    fn close(
        &mut self,
        name: &'static str,
        began: Instant,
        times: impl IntoIterator<Item = (&'static str, Duration)>,
        load: Option<&Load>,
    ) {
        let tally = load.map(Load::take).unwrap_or_default();
        let number = self.acts.len() as u8 + 1;
        for (what, count) in [("sessions", tally.sessions_lost), ("pictures", tally.pictures_lost)]
        {
            if count > 0 {
                self.problems.push(format!("act {number}: {count} {what} lost"));
            }
        }
        self.total.add(&tally);
        let times: BTreeMap<_, _> =
            times.into_iter().map(|(name, time)| (name, time.as_secs_f64())).collect();
        let seconds = began.elapsed().as_secs_f64();
        self.acts.push(Act { number, name, seconds, times, figures: Figures::from(&tally) });
    }
}

async fn acts(
    options: &Options,
    directory: &std::path::Path,
    screen: &mut Screen,
    aws: &Client,
    stage: &mut Stage,
) -> Result<()> {
    screen.heading("Act 1  Boot: three instances over three zones, behind a load balancer");
    let began = Instant::now();
    let image = bake(aws, directory, "1").await?;
    screen.fact(&format!("the web application is baked into {image}"));
    let tier = Tier::deploy(aws.clone(), &image).await?;
    screen.fact(&format!(
        "template, balancer, table and bucket stand; the tier is http://{}",
        tier.dns_name
    ));
    tier.create_group().await?;
    let (group, boot) =
        wait(&tier, None, screen, "booting", PATIENCE, |g| g.desired == MIN && g.balanced(3))
            .await?;
    screen.fact(&format!(
        "{} instances serve {:.2} s after CreateAutoScalingGroup",
        group.members.len(),
        boot.as_secs_f64()
    ));
    stage.close("boot", began, [("healthy", boot)], None);
    if options.acts < 2 {
        return Ok(());
    }

    screen.heading("Act 2  Steady load");
    let began = Instant::now();
    let load = Load::start(aws.clone(), tier.dns_name.clone(), USERS, STEADY).await?;
    screen.fact(&format!("{USERS} users with sessions and pictures, {STEADY} requests a second"));
    wait(&tier, Some(&load), screen, "serving", PATIENCE, |_| {
        began.elapsed() > Duration::from_secs(8)
    })
    .await?;
    stage.close("steady load", began, [], Some(&load));
    let result = eventful(options, directory, screen, &tier, &load, stage).await;
    load.stop().await;
    result
}

async fn eventful(
    options: &Options,
    directory: &std::path::Path,
    screen: &mut Screen,
    tier: &Tier,
    load: &Load,
    stage: &mut Stage,
) -> Result<()> {
    if options.acts >= 3 {
        screen
            .heading("Act 3  Load rises; the group scales out on the measured requests per target");
        rise(screen, tier, load, stage).await?;
    }
    if options.acts >= 4 {
        screen.heading("Act 4  An instance is killed hard");
        kill(screen, tier, load, stage).await?;
    }
    if options.acts >= 5 {
        screen.heading("Act 5  A whole zone fails: instances, balancer node, links");
        zone(screen, tier, load, stage).await?;
    }
    if options.acts >= 6 {
        screen.heading("Act 6  A new release rolls in, instance by instance");
        roll(directory, screen, tier, load, stage).await?;
    }
    if options.acts >= 7 {
        screen.heading("Act 7  Load falls; the group scales in");
        fall(screen, tier, load, stage).await?;
    }
    let group = Group::read(&tier.aws, &tier.target_group).await?;
    if !group.balanced(3) {
        stage.problems.push("the group did not end healthy and balanced".into());
    }
    Ok(())
}

async fn hold(tier: &Tier, load: &Load, screen: &mut Screen) -> Result<()> {
    let began = Instant::now();
    wait(tier, Some(load), screen, "watching", PATIENCE, |_| began.elapsed() > HOLD).await?;
    Ok(())
}

async fn rise(screen: &mut Screen, tier: &Tier, load: &Load, stage: &mut Stage) -> Result<()> {
    let began = Instant::now();
    load.set_rate(PEAK);
    screen.fact(&format!("{PEAK} requests a second"));
    let scaled = |g: &Group| g.desired > MIN;
    let (group, detect) = wait(tier, Some(load), screen, "alarm", PATIENCE, scaled).await?;
    screen.fact(&format!(
        "the alarm raised the desired capacity to {} after {:.1} s ({:.0} s of cloud time)",
        group.desired,
        detect.as_secs_f64(),
        detect.as_secs_f64() * TIME_SCALE
    ));
    let (group, grow) =
        wait(tier, Some(load), screen, "growing", PATIENCE, |g| g.balanced(3)).await?;
    screen.fact(&format!("{} instances serve", group.members.len()));
    hold(tier, load, screen).await?;
    stage.close("load rises", began, [("detect", detect), ("grow", grow)], Some(load));
    Ok(())
}

async fn kill(screen: &mut Screen, tier: &Tier, load: &Load, stage: &mut Stage) -> Result<()> {
    let settled = |g: &Group| g.balanced(3);
    let (group, _) = wait(tier, Some(load), screen, "settling", PATIENCE, settled).await?;
    let began = Instant::now();
    let victim = group.members[0].id.clone();
    tier.aws.admin("POST", &format!("/_drover/instances/{victim}/kill"), None).await?;
    screen.fact(&format!("{victim} lost its power"));
    let gone = |g: &Group| !g.in_service().any(|member| member.id == victim);
    let (_, detect) = wait(tier, Some(load), screen, "detecting", PATIENCE, gone).await?;
    let replaced = |g: &Group| g.balanced(3) && g.members.iter().all(|member| member.id != victim);
    let (_, replace) = wait(tier, Some(load), screen, "replacing", PATIENCE, replaced).await?;
    screen.fact(&format!(
        "noticed after {:.2} s, replaced after {:.2} s",
        detect.as_secs_f64(),
        (detect + replace).as_secs_f64()
    ));
    stage.close(
        "an instance dies",
        began,
        [("detect", detect), ("replace", detect + replace)],
        Some(load),
    );
    Ok(())
}

async fn zone(screen: &mut Screen, tier: &Tier, load: &Load, stage: &mut Stage) -> Result<()> {
    let settled = |g: &Group| g.balanced(3);
    wait(tier, Some(load), screen, "settling", PATIENCE, settled).await?;
    let zone = format!("{REGION}b");
    let began = Instant::now();
    tier.aws.admin("POST", &format!("/_drover/zones/{zone}/fail"), None).await?;
    screen.fact(&format!("{zone} is dark"));
    let dark = |g: &Group| !g.in_service().any(|member| member.zone == zone);
    let (_, detect) = wait(tier, Some(load), screen, "detecting", PATIENCE, dark).await?;
    let moved = |g: &Group| g.balanced(2);
    let (group, replace) = wait(tier, Some(load), screen, "moving", PATIENCE, moved).await?;
    let replace = detect + replace;
    screen.fact(&format!(
        "noticed after {:.2} s; {} instances serve from two zones after {:.2} s",
        detect.as_secs_f64(),
        group.members.len(),
        replace.as_secs_f64()
    ));
    hold(tier, load, screen).await?;
    tier.aws.admin("POST", &format!("/_drover/zones/{zone}/heal"), None).await?;
    screen.fact(&format!("{zone} is back"));
    let (_, rebalance) = wait(tier, Some(load), screen, "rebalancing", PATIENCE, settled).await?;
    screen.fact(&format!("balanced over three zones after {:.2} s", rebalance.as_secs_f64()));
    let times = [("detect", detect), ("replace", replace), ("rebalance", rebalance)];
    hold(tier, load, screen).await?;
    stage.close("a zone fails", began, times, Some(load));
    Ok(())
}

async fn roll(
    directory: &std::path::Path,
    screen: &mut Screen,
    tier: &Tier,
    load: &Load,
    stage: &mut Stage,
) -> Result<()> {
    let began = Instant::now();
    let image = bake(&tier.aws, directory, "2").await?;
    tier.use_image(&image).await?;
    screen.fact(&format!("release 2 is baked into {image}; the template's new version names it"));
    let (group, _) = wait(tier, Some(load), screen, "settling", PATIENCE, Group::settled).await?;
    let old: Vec<_> = group.members.into_iter().filter(|m| m.template_version == "1").collect();
    for batch in old.chunks(2) {
        for member in batch {
            tier.replace(&member.id).await?;
        }
        let replaced = |g: &Group| {
            g.settled() && !g.members.iter().any(|m| batch.iter().any(|old| old.id == m.id))
        };
        wait(tier, Some(load), screen, "rolling", PATIENCE, replaced).await?;
    }
    let rolled = began.elapsed();
    screen.fact(&format!("{} instances replaced in {:.1} s", old.len(), rolled.as_secs_f64()));
    let (group, _) =
        wait(tier, Some(load), screen, "settling", PATIENCE, |g| g.balanced(3)).await?;
    if group.members.iter().any(|member| member.template_version == "1") {
        stage.problems.push("act 6: an instance of the old release is left".into());
    }
    hold(tier, load, screen).await?;
    stage.close("a new release", began, [("roll", rolled)], Some(load));
    Ok(())
}

async fn fall(screen: &mut Screen, tier: &Tier, load: &Load, stage: &mut Stage) -> Result<()> {
    let began = Instant::now();
    load.set_rate(QUIET);
    screen.fact(&format!("{QUIET} requests a second"));
    let before = Group::read(&tier.aws, &tier.target_group).await?.desired;
    let shrinking = |g: &Group| g.desired < before;
    let (_, detect) = wait(tier, Some(load), screen, "alarm", PATIENCE, shrinking).await?;
    screen.fact(&format!("the low alarm fired after {:.1} s", detect.as_secs_f64()));
    let small = |g: &Group| g.desired == MIN && g.balanced(3);
    let (_, shrink) = wait(tier, Some(load), screen, "shrinking", PATIENCE, small).await?;
    screen.fact(&format!("back to {MIN} instances after {:.1} s", (detect + shrink).as_secs_f64()));
    stage.close("load falls", began, [("detect", detect), ("shrink", detect + shrink)], Some(load));
    Ok(())
}

/// The daemon of this demo, a process of its own.
struct Cloud {
    child: Option<Child>,
    authority: String,
}

impl Cloud {
    /// With a `log` it may outlive this process: it holds on to nothing of the terminal's.
    fn start(log: Option<&std::path::Path>) -> Result<Cloud> {
        let mut command = Command::new(std::env::current_exe()?);
        if let Some(log) = log {
            let file = std::fs::File::create(log)
                .with_context(|| format!("cannot make {}", log.display()))?;
            command.stderr(file).process_group(0);
        }
        let mut child = command
            .args(["up", "--ephemeral", "--listen", "127.0.0.1:0"])
            .arg("--time-scale")
            .arg(TIME_SCALE.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the cloud")?;
        let mut line = String::new();
        let stdout = child.stdout.take().context("the cloud has no output")?;
        BufReader::new(stdout).read_line(&mut line)?;
        let authority = line.split_whitespace().find_map(|word| word.strip_prefix("http://"));
        let Some(authority) = authority.map(str::to_owned) else {
            let status = child.wait()?;
            bail!("the cloud did not start ({status})");
        };
        Ok(Cloud { child: Some(child), authority })
    }

    /// It ends like any other cloud: by `drover down`.
    fn keep(&mut self) {
        self.child = None;
    }

    fn stop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        // SAFETY: the child is ours and not yet waited for, so the pid is its own.
        unsafe { libc::kill(child.id() as libc::pid_t, libc::SIGTERM) };
        let _ = child.wait();
    }
}

impl Drop for Cloud {
    fn drop(&mut self) {
        self.stop();
    }
}
