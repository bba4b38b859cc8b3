//! The balancer next to nginx and HAProxy: one worker each, on a processor of its own, the same origin
//! behind them, the same load before them, taking turns.

use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::process::{Running, descendants};
use crate::report::{Report, percentile, table};
use crate::{Options, host};

const CONNECTIONS: usize = 64;
const BODIES: [(&str, usize); 2] = [("1 KiB", 1024), ("100 KiB", 100 * 1024)];

pub async fn measure(options: &Options, report: &mut Report) -> Result<()> {
    let (seconds, rounds) = (options.times(5, 2), options.times(5, 1));
    let processors = Processors::share_out();
    let mut rows = Vec::new();
    let mut missing = Vec::new();
    let mut medians = Vec::new();
    for (body, bytes) in BODIES {
        let origin = free_address()?;
        let mut command = processors.pinned(processors.origin, &example(options, "origin"));
        command.arg(origin.to_string()).arg(bytes.to_string());
        let _origin = start(&mut command, origin)?;
        let mut peers = vec![ours(options, &processors, origin)?];
        for (name, with) in [("nginx", nginx as With), ("HAProxy", haproxy as With)] {
            match host::first_line(&name.to_lowercase(), &["-v"]) {
                Some(version) => peers.push(with(options, &processors, origin, &version)?),
                None if !missing.contains(&name) => missing.push(name),
                None => {}
            }
        }
        for _ in 0..rounds {
            for peer in &mut peers {
                let figures = load(options, &processors, peer, seconds).await?;
                peer.rounds.push(figures);
            }
        }
        for peer in &peers {
            let of = |figure: fn(&Figures) -> f64| {
                percentile(&peer.rounds.iter().map(figure).collect::<Vec<f64>>(), 50)
            };
            let (rate, cost, p99) = (of(|f| f.rate), of(|f| f.cost_us), of(|f| f.p99_us));
            medians.push((body, peer.name.clone(), [1e6 / cost, p99]));
            rows.push([
                body.to_owned(),
                peer.name.clone(),
                format!("{:.0}", 1e6 / cost),
                format!("{cost:.1} µs"),
                format!("{rate:.0}"),
                format!("{:.0} %", rate * cost / 1e4),
                format!("{:.2} ms", of(|f| f.p50_us) / 1e3),
                format!("{:.2} ms", p99 / 1e3),
            ]);
        }
    }
    let head = [
        "body",
        "balancer",
        "requests/s per core",
        "processor time per request",
        "requests/s in this run",
        "of its core",
        "p50",
        "p99",
    ];
    let mut notes = format!(
        "{CONNECTIONS} kept-alive connections, each with one request at a time; medians of {rounds} \
         rounds of {seconds} s in turns. {} Requests per second and core are what the processor time \
         of the balancer's own process allows; where the load or the origin was busy first, the \
         balancer was not the limit of the rate of this run. All three add X-Forwarded-For, -Proto \
         and -Port; Drover adds X-Amzn-Trace-Id and counts for its metrics, too; none writes a log of \
         requests. The configurations are in `crates/bench/src/balancing.rs`.",
        processors.told()
    );
    for name in &missing {
        notes += &format!(
            " {name} is not installed here and left out (`apt-get install nginx-light haproxy`)."
        );
    }
    report.section("Balancer", &table(&head, &rows), &notes);
    if missing.is_empty() {
        aims(report, &medians);
    }
    Ok(())
}

fn aims(report: &mut Report, medians: &[(&str, String, [f64; 2])]) {
    for (body, _) in BODIES {
        let of_body: Vec<_> = medians.iter().filter(|(of, ..)| *of == body).collect();
        let Some(((_, _, ours), others)) = of_body.split_first() else { continue };
        let ratio = |figure: usize, best: fn(f64, f64) -> f64| {
            let others = others.iter().map(|(_, _, figures)| figures[figure]);
            ours[figure] / others.reduce(best).unwrap_or(f64::NAN)
        };
        let rate = ratio(0, f64::max);
        report.aim(
            &format!("balancer ahead of nginx and HAProxy, requests/s per core, {body}"),
            format!("{rate:.2} times the better"),
            rate > 1.0,
        );
        let p99 = ratio(1, f64::min);
        report.aim(
            &format!("balancer ahead of nginx and HAProxy, p99, {body}"),
            format!("{p99:.2} times the shorter"),
            p99 < 1.0,
        );
    }
}

struct Peer {
    name: String,
    address: SocketAddrV4,
    /// The process that does the work.
    worker: u32,
    _running: Running,
    rounds: Vec<Figures>,
}

struct Figures {
    rate: f64,
    p50_us: f64,
    p99_us: f64,
    cost_us: f64,
}

type With = fn(&Options, &Processors, SocketAddrV4, &str) -> Result<Peer>;

fn ours(options: &Options, processors: &Processors, origin: SocketAddrV4) -> Result<Peer> {
    let address = free_address()?;
    let mut command = processors.pinned(processors.balancer, &example(options, "standalone"));
    command.args(["relay", "1"]).arg(address.to_string()).arg(origin.to_string());
    let running = start(&mut command, address)?;
    Ok(Peer {
        name: "Drover".into(),
        address,
        worker: running.pid(),
        _running: running,
        rounds: vec![],
    })
}

fn nginx(
    options: &Options,
    processors: &Processors,
    origin: SocketAddrV4,
    version: &str,
) -> Result<Peer> {
    let (address, directory) = (free_address()?, options.scratch()?.join("nginx"));
    fs::create_dir_all(&directory)?;
    let text = format!(
        "worker_processes 1;
daemon off;
user root;
pid {dir}/pid;
error_log {dir}/error.log;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  tcp_nodelay on;
  keepalive_requests 1000000000;
  client_body_temp_path {dir}/body;
  proxy_temp_path {dir}/proxy;
  fastcgi_temp_path {dir}/fastcgi;
  uwsgi_temp_path {dir}/uwsgi;
  scgi_temp_path {dir}/scgi;
  upstream origin {{ server {origin}; keepalive 128; keepalive_requests 1000000000; }}
  server {{
    listen {address};
    location / {{
      proxy_pass http://origin;
      proxy_http_version 1.1;
      proxy_max_temp_file_size 0;
      proxy_buffer_size 32k;
      proxy_buffers 8 32k;
      proxy_busy_buffers_size 64k;
      proxy_set_header Connection \"\";
      proxy_set_header Host $host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto $scheme;
      proxy_set_header X-Forwarded-Port $server_port;
    }}
  }}
}}
",
        dir = directory.display()
    );
    let configuration = directory.join("nginx.conf");
    fs::write(&configuration, text)?;
    let mut command = processors.pinned(processors.balancer, Path::new("nginx"));
    let running = start(command.arg("-c").arg(configuration), address)?;
    let worker = descendants(running.pid())?.first().copied().context("nginx has no worker")?;
    let name = version.trim_start_matches("nginx version: ").replace("nginx/", "nginx ");
    Ok(Peer { name, address, worker, _running: running, rounds: vec![] })
}

fn haproxy(
    options: &Options,
    processors: &Processors,
    origin: SocketAddrV4,
    version: &str,
) -> Result<Peer> {
    let (address, directory) = (free_address()?, options.scratch()?);
    let text = format!(
        "global
  nbthread 1
  maxconn 4096
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
frontend in
  bind {address}
  option forwardfor
  http-request set-header X-Forwarded-Proto http
  http-request set-header X-Forwarded-Port {port}
  default_backend out
backend out
  http-reuse always
  server origin {origin}
",
        port = address.port()
    );
    let configuration = directory.join("haproxy.cfg");
    fs::write(&configuration, text)?;
    let mut command = processors.pinned(processors.balancer, Path::new("haproxy"));
    let running = start(command.arg("-db").arg("-f").arg(configuration), address)?;
    let version = version.split(' ').nth(2).unwrap_or_default();
    let version = version.split(['-', '+']).next().unwrap_or_default();
    Ok(Peer {
        name: format!("HAProxy {version}"),
        address,
        worker: running.pid(),
        _running: running,
        rounds: vec![],
    })
}

async fn load(
    options: &Options,
    processors: &Processors,
    peer: &Peer,
    seconds: usize,
) -> Result<Figures> {
    let mut command = processors.pinned(processors.load, &example(options, "load"));
    command
        .arg(peer.address.to_string())
        .args([CONNECTIONS, seconds].map(|number| number.to_string()))
        .arg(peer.worker.to_string());
    let output = tokio::process::Command::from(command).kill_on_drop(true).output().await?;
    let said = String::from_utf8_lossy(&output.stdout);
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "load on {}: {complaint}", peer.name);
    let figures: serde_json::Value = serde_json::from_str(&said)
        .with_context(|| format!("load on {} says {said} {complaint}", peer.name))?;
    let figure = |name: &str| {
        figures[name].as_f64().with_context(|| format!("load does not say {name}: {said}"))
    };
    ensure!(figure("failed_connections")? == 0.0, "load on {}: {complaint}", peer.name);
    Ok(Figures {
        rate: figure("requests_per_second")?,
        p50_us: figure("p50_us")?,
        p99_us: figure("p99_us")?,
        cost_us: figure("processor_us_per_request")?,
    })
}

/// Which processor is whose.
struct Processors {
    balancer: usize,
    origin: usize,
    load: usize,
}

impl Processors {
    fn share_out() -> Processors {
        let last = host::cores() - 1;
        Processors { balancer: 0, origin: last.min(1), load: last.min(2) }
    }

    fn pinned(&self, processor: usize, program: &Path) -> Command {
        let mut command = Command::new("taskset");
        command.arg("-c").arg(processor.to_string()).arg(program);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command
    }

    fn told(&self) -> &'static str {
        match (self.balancer == self.origin, self.origin == self.load) {
            (true, _) => "Everything shares one processor.",
            (_, true) => "The balancer is alone on a processor; origin and load share another.",
            _ => "Balancer, origin and load have a processor each.",
        }
    }
}

fn example(options: &Options, name: &str) -> std::path::PathBuf {
    options.program("examples").join(name)
}

/// Of a port that was free a moment ago.
fn free_address() -> Result<SocketAddrV4> {
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
    Ok(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))
}

/// Once it listens.
fn start(command: &mut Command, address: SocketAddrV4) -> Result<Running> {
    let mut running = Running::start(command)?;
    let deadline = Instant::now() + Duration::from_secs(10);
    while TcpStream::connect(address).is_err() {
        if running.child.try_wait()?.is_some() || Instant::now() > deadline {
            bail!("{command:?} does not listen on {address}");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(running)
}
