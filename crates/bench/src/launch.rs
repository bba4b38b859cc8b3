//! From the RunInstances call to user data's first line, and on to an HTTP answer from the instance.
//!
//! ```text
//!   call ──► answer             the caller's clock
//!   call ───────► first line    user data prints the time; same kernel, same clock; read afterwards
//!   call ──────────────► HTTP   dialled inside of the VPC, again and again, until it answers
//! ```

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use fabric::Fabric;
use fabric::linux::LinuxFabric;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::task::JoinSet;

use crate::Options;
use crate::cloud::{Cloud, Ec2, INSTANCE_TYPE, PATIENCE, Records};
use crate::report::{Report, SPREAD, ms, percentile, spread, table};

const AT_ONCE: usize = 50;
const FIRST_LINE: &str = "first-line ";
/// Between two attempts to reach an instance: alone, and when many attempts are made side by side.
const PAUSE_ALONE: Duration = Duration::from_millis(1);
const PAUSE_TOGETHER: Duration = Duration::from_millis(10);

#[derive(Default)]
struct Times {
    call: Vec<Duration>,
    first_line: Vec<Duration>,
    http: Vec<Duration>,
}

pub async fn measure(options: &Options, report: &mut Report) -> Result<()> {
    let (mut memory, mut disk, mut burst) = (Times::default(), Times::default(), Times::default());
    let launcher = Launcher::start(options, Records::Memory).await?;
    let new_cloud = launcher.one(PAUSE_ALONE).await?;
    launcher.read(vec![new_cloud], &mut Times::default()).await?;
    for _ in 0..options.times(200, 10) {
        let launch = launcher.one(PAUSE_ALONE).await?;
        launcher.read(vec![launch], &mut memory).await?;
    }
    for _ in 0..options.times(4, 1) {
        let mut launches = JoinSet::new();
        for _ in 0..AT_ONCE {
            let launcher = launcher.clone();
            launches.spawn(async move { launcher.one(PAUSE_TOGETHER).await });
        }
        let mut launched = Vec::new();
        while let Some(launch) = launches.join_next().await {
            launched.push(launch??);
        }
        launcher.read(launched, &mut burst).await?;
    }
    drop(launcher);
    let launcher = Launcher::start(options, Records::Disk).await?;
    for n in 0..options.times(201, 11) {
        let launch = launcher.one(PAUSE_ALONE).await?;
        let mut first = Times::default();
        launcher.read(vec![launch], if n == 0 { &mut first } else { &mut disk }).await?;
    }
    let together = format!("{AT_ONCE} at once");
    let mut rows = Vec::new();
    for (how, times) in
        [("alone", &memory), ("alone, records on disk", &disk), (together.as_str(), &burst)]
    {
        rows.push(spread(&format!("{how}: RunInstances has answered"), &times.call));
        rows.push(spread(&format!("{how}: user data's first line runs"), &times.first_line));
        rows.push(spread(&format!("{how}: the instance has answered over HTTP"), &times.http));
    }
    let notes = format!(
        "From the RunInstances call. {INSTANCE_TYPE} of the built-in image, user data is a bash script \
         that prints the time and starts a web server in perl. Alone: the next launch begins when the \
         one before has been terminated; the first of a new cloud, which makes its network, is left \
         out. At once: {AT_ONCE} calls on as many connections. The instance is dialled every {} ms \
         (at once: {} ms) until it answers, so that an HTTP figure is too long by up to that.",
        PAUSE_ALONE.as_millis(),
        PAUSE_TOGETHER.as_millis()
    );
    report.section("Launch of an instance", &table(&SPREAD, &rows), &notes);
    let median = percentile(&memory.first_line, 50);
    report.aim(
        "launch to user data's first line in less than 50 ms (p50, alone)",
        ms(median),
        median.as_millis() < 50,
    );
    Ok(())
}

struct Launch {
    id: String,
    /// Since 1970.
    called: Duration,
    answered: Duration,
    http: Duration,
}

/// A cloud, and a way into its network. The clones share both; the cloud ends with the last.
#[derive(Clone)]
struct Launcher {
    image: String,
    vpc: String,
    ec2: Ec2,
    fabric: Arc<LinuxFabric>,
    _cloud: Arc<Cloud>,
}

impl Launcher {
    async fn start(options: &Options, records: Records) -> Result<Launcher> {
        let cloud = Cloud::start(options, records).await?;
        cloud.ec2.open().await?;
        Ok(Launcher {
            image: cloud.ec2.image().await?,
            vpc: cloud.ec2.vpc().await?,
            ec2: cloud.ec2.clone(),
            fabric: Arc::new(LinuxFabric::open(&cloud.data_dir.join("run"))?),
            _cloud: Arc::new(cloud),
        })
    }

    async fn one(&self, pause: Duration) -> Result<Launch> {
        let called = SystemTime::now().duration_since(UNIX_EPOCH)?;
        // Tells this instance's answer from that of an earlier holder of its address.
        let mark = format!("mark-{}", called.as_nanos());
        let script = user_data(&mark);
        let begin = Instant::now();
        let launched = self.ec2.run(&self.image, &script, 1).await?;
        let answered = begin.elapsed();
        let instance = launched.into_iter().next().context("RunInstances names no instance")?;
        while !self.answers(instance.address, &mark).await {
            ensure!(
                begin.elapsed() < PATIENCE,
                "{} does not answer; its console: {}",
                instance.id,
                self.ec2.console(&instance.id).await?
            );
            tokio::time::sleep(pause).await;
        }
        Ok(Launch { id: instance.id, called, answered, http: begin.elapsed() })
    }

    async fn answers(&self, address: Ipv4Addr, mark: &str) -> bool {
        let ask = async {
            let socket = self.fabric.tcp_socket(&self.vpc).ok()?;
            let socket = TcpSocket::from_std_stream(TcpStream::from(socket));
            let connect = socket.connect(SocketAddr::from((address, 80)));
            // A lost SYN is sent again after a second only.
            let connect = tokio::time::timeout(Duration::from_millis(20), connect);
            let mut stream = connect.await.ok()?.ok()?;
            stream.write_all(b"GET / HTTP/1.1\r\nHost: instance\r\n\r\n").await.ok()?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.ok()?;
            Some(answer.contains(mark))
        };
        matches!(tokio::time::timeout(Duration::from_secs(5), ask).await, Ok(Some(true)))
    }

    /// What user data printed goes by its agent, a terminal and the shim before it is kept, while the
    /// web server answers by itself: it may be there a little later than the answer.
    async fn first_line(&self, id: &str) -> Result<Duration> {
        let begin = Instant::now();
        loop {
            let console = self.ec2.console(id).await?;
            let mut said = console.lines().filter_map(|line| line.split_once(FIRST_LINE));
            if let Some((_, said)) = said.next() {
                return Ok(Duration::from_secs_f64(said.trim().parse()?));
            }
            ensure!(begin.elapsed() < PATIENCE, "no time on the console of {id}: {console}");
            tokio::time::sleep(PAUSE_TOGETHER).await;
        }
    }

    /// Adds what the consoles say, and ends the instances.
    async fn read(&self, launches: Vec<Launch>, times: &mut Times) -> Result<()> {
        for launch in &launches {
            let at = self.first_line(&launch.id).await?;
            times.call.push(launch.answered);
            times.first_line.push(at.saturating_sub(launch.called));
            times.http.push(launch.http);
        }
        let ids: Vec<String> = launches.into_iter().map(|launch| launch.id).collect();
        self.ec2.terminate(&ids).await
    }
}

/// Perl, because it is on every Debian and starts fast.
fn user_data(mark: &str) -> String {
    format!(
        r#"#!/bin/bash
echo "{FIRST_LINE}$EPOCHREALTIME"
cat >/root/web.pl <<'PERL'
use Socket;
socket(my $server, PF_INET, SOCK_STREAM, 0) or die "socket: $!";
bind($server, sockaddr_in(80, INADDR_ANY)) or die "bind: $!";
listen($server, 16) or die "listen: $!";
while (accept(my $client, $server)) {{
    sysread($client, my $request, 4096);
    syswrite($client, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{mark}");
    close($client);
}}
PERL
setsid perl /root/web.pl </dev/null >/dev/console 2>&1 &
"#,
        length = mark.len()
    )
}
