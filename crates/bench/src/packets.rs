//! The packet filter of networks: how fast a change of its rules is in force, and what rules cost the
//! packets that pass them.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use fabric::linux::{LinuxFabric, tear_down};
use fabric::network::{Block, Group, Network, Peer, Port, Rule, Traffic};
use fabric::{Fabric, Interface};
use tokio::net::TcpSocket;

use crate::Options;
use crate::report::{Report, SPREAD, percentile, spread, table};

const PORTS: u16 = 500;
const GROUPS: u16 = 20;
const RULES_OF_A_GROUP: u16 = 20;
const NETWORK: &str = "n";
const SERVED: u16 = 80;
const PIECE: usize = 256 * 1024;

pub async fn measure(options: &Options, report: &mut Report) -> Result<()> {
    changes(options, report)?;
    passing(options, report).await
}

fn changes(options: &Options, report: &mut Report) -> Result<()> {
    let lab = Lab::new()?;
    let before = large();
    let mut after = before.clone();
    let changed = after.groups.values_mut().next().context("there are groups")?;
    changed.ingress.push(rule(Traffic::Tcp(9000, 9000), Block::ANY));
    let mut with_port = before.clone();
    with_port.ports.insert("e-new".into(), port(PORTS, &[0, 1]));
    let mut rows = Vec::new();
    let mut of_a_rule = Vec::new();
    for (what, other) in [("a rule more, or less", after), ("a port more, or less", with_port)] {
        lab.fabric.apply(NETWORK, &before)?;
        let mut times = Vec::new();
        for _ in 0..options.times(200, 10) {
            for network in [&other, &before] {
                times.push(lab.apply(network)?);
            }
        }
        rows.push(spread(what, &times));
        if of_a_rule.is_empty() {
            of_a_rule = times;
        }
    }
    let mut times = Vec::new();
    for _ in 0..options.times(20, 3) {
        // Knows nothing of what is in force.
        let again = LinuxFabric::open(lab.run_dir.path())?;
        let begin = Instant::now();
        again.apply(NETWORK, &before)?;
        times.push(begin.elapsed());
    }
    rows.push(spread("all of it anew, as after a restart", &times));
    let notes = format!(
        "A network of {PORTS} interfaces in {GROUPS} security groups of {RULES_OF_A_GROUP} rules each \
         way, two groups an interface; half of the rules name a group. From the call with the whole \
         network as it shall be, until the kernel has it in force."
    );
    report.section("Change of a packet filter", &table(&SPREAD, &rows), &notes);
    let longest = percentile(&of_a_rule, 99);
    report.aim(
        "a changed rule among 500 interfaces and 20 groups in force in less than 50 ms (p99)",
        crate::report::ms(longest),
        longest.as_millis() < 50,
    );
    Ok(())
}

async fn passing(options: &Options, report: &mut Report) -> Result<()> {
    let mut rows = Vec::new();
    for rules in [None, Some(0), Some(10), Some(1000)] {
        let lab = Lab::new()?;
        let (client, server) = (lab.instance("a", 10)?, lab.instance("b", 11)?);
        if let Some(rules) = rules {
            lab.fabric.apply(NETWORK, &passed(rules))?;
        }
        let (mut connects, mut trips) = (Vec::new(), Vec::new());
        for _ in 0..options.times(500, 20) {
            connects.push(lab.connect(&client, &server).await?.0);
        }
        let (_, mut near, far) = lab.connect(&client, &server).await?;
        let echo = std::thread::spawn(move || echo(far));
        for _ in 0..options.times(5000, 200) {
            let begin = Instant::now();
            near.write_all(&[1])?;
            near.read_exact(&mut [0])?;
            trips.push(begin.elapsed());
        }
        drop(near);
        echo.join().expect("an echo does not panic")?;
        let (_, near, far) = lab.connect(&client, &server).await?;
        let speed = throughput(near, far, Duration::from_secs(options.times(3, 1) as u64))?;
        let what = match rules {
            None => "no filter".to_owned(),
            Some(0) => "a group that admits everything".to_owned(),
            Some(rules) => format!("{rules} rules that do not match, and one that does"),
        };
        rows.push([
            what,
            micros(percentile(&connects, 50)),
            micros(percentile(&trips, 50)),
            micros(percentile(&trips, 99)),
            format!("{:.1} Gbit/s", speed * 8.0 / 1e9),
        ]);
    }
    let head = ["", "connect, p50", "round trip, p50", "round trip, p99", "throughput"];
    let notes = "TCP from one interface to another of the same network, one connection, all on this host. \
                 Rules are those of the sender's group on the way out and of the receiver's on the way in.";
    report.section("Packets through a filter", &table(&head, &rows), notes);
    Ok(())
}

/// A fabric with one network; its instances are networks, too, that forward nothing.
struct Lab {
    fabric: LinuxFabric,
    run_dir: tempfile::TempDir,
}

struct Inside {
    namespace: String,
    address: Ipv4Addr,
}

impl Lab {
    fn new() -> Result<Lab> {
        let run_dir = tempfile::tempdir()?;
        let fabric = LinuxFabric::open(run_dir.path())?;
        fabric.ensure_network(NETWORK)?;
        Ok(Lab { fabric, run_dir })
    }

    fn apply(&self, network: &Network) -> Result<Duration> {
        let begin = Instant::now();
        self.fabric.apply(NETWORK, network)?;
        Ok(begin.elapsed())
    }

    fn instance(&self, namespace: &str, number: u16) -> Result<Inside> {
        self.fabric.ensure_network(namespace)?;
        let inner = std::fs::File::open(self.fabric.namespace_path(namespace)?)?;
        let interface = Interface {
            name: name(number),
            inner: "eth0".into(),
            mac: [2, 0, 0, 0, 0, number as u8],
            address: address(number),
            prefix: 16,
            gateway: Ipv4Addr::new(10, 0, 255, 254),
            default_route: true,
        };
        self.fabric.attach(NETWORK, &interface, inner.as_fd())?;
        Ok(Inside { namespace: namespace.to_owned(), address: address(number) })
    }

    /// How long it took, and both ends.
    async fn connect(
        &self,
        client: &Inside,
        server: &Inside,
    ) -> Result<(Duration, TcpStream, TcpStream)> {
        let to = SocketAddrV4::new(server.address, SERVED);
        let listener = self.fabric.tcp_listener(&server.namespace, to)?;
        let socket = TcpStream::from(self.fabric.tcp_socket(&client.namespace)?);
        let socket = TcpSocket::from_std_stream(socket);
        let begin = Instant::now();
        let near = socket.connect(to.into()).await?;
        let took = begin.elapsed();
        let near = near.into_std()?;
        listener.set_nonblocking(false)?;
        let (far, _) = listener.accept()?;
        for stream in [&near, &far] {
            stream.set_nonblocking(false)?;
            stream.set_nodelay(true)?;
        }
        Ok((took, near, far))
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if let Err(error) = tear_down(self.run_dir.path()) {
            eprintln!("a network is left: {error}");
        }
    }
}

fn echo(mut stream: TcpStream) -> Result<()> {
    let mut byte = [0];
    while stream.read(&mut byte)? > 0 {
        stream.write_all(&byte)?;
    }
    Ok(())
}

/// Bytes in a second.
fn throughput(mut near: TcpStream, mut far: TcpStream, long: Duration) -> Result<f64> {
    let sender = std::thread::spawn(move || {
        let piece = vec![0; PIECE];
        let begin = Instant::now();
        while begin.elapsed() < long && near.write_all(&piece).is_ok() {}
    });
    let mut piece = vec![0; PIECE];
    let begin = Instant::now();
    let mut received = 0;
    loop {
        match far.read(&mut piece)? {
            0 => break,
            bytes => received += bytes,
        }
    }
    sender.join().expect("a sender does not panic");
    Ok(received as f64 / begin.elapsed().as_secs_f64())
}

/// What a rule change is measured in.
fn large() -> Network {
    let group = |number: u16| {
        let rules = |first: u16| {
            let rule_of = |n: u16| match n % 2 {
                0 => rule(Traffic::Tcp(first + n, first + n), block(n)),
                _ => {
                    let peer = Peer::Group(group_name((number + n) % GROUPS));
                    Rule { traffic: Traffic::Tcp(first + n, first + n), peer }
                }
            };
            (0..RULES_OF_A_GROUP).map(rule_of).collect()
        };
        let group = Group { ingress: rules(1000), egress: rules(2000), ..Group::default() };
        (group_name(number), group)
    };
    Network {
        blocks: vec![Block { base: Ipv4Addr::new(10, 0, 0, 0), prefix: 16 }],
        ports: (0..PORTS)
            .map(|n| (name(n), port(n, &[n % GROUPS, (n + 1 + n / GROUPS) % GROUPS])))
            .collect(),
        groups: (0..GROUPS).map(group).collect(),
        ..Network::default()
    }
}

/// Two ports of a group with so many rules before the one that admits.
fn passed(rules: u16) -> Network {
    let all = || {
        let unmatched = (0..rules).map(|n| rule(Traffic::Tcp(1, 1), block(n)));
        unmatched.chain([rule(Traffic::All, Block::ANY)]).collect()
    };
    let group = Group { ingress: all(), egress: all(), ..Group::default() };
    Network {
        blocks: vec![Block { base: Ipv4Addr::new(10, 0, 0, 0), prefix: 16 }],
        ports: [10, 11].map(|n| (name(n), port(n, &[0]))).into(),
        groups: [(group_name(0), group)].into(),
        ..Network::default()
    }
}

fn rule(traffic: Traffic, block: Block) -> Rule {
    Rule { traffic, peer: Peer::Blocks([block].into()) }
}

fn block(n: u16) -> Block {
    let [high, low] = n.to_be_bytes();
    Block::from(Ipv4Addr::new(192, 0, high, low))
}

fn port(n: u16, groups: &[u16]) -> Port {
    let groups = groups.iter().map(|group| group_name(*group)).collect();
    Port { addresses: vec![address(n)], groups, check: true, ..Port::default() }
}

fn address(n: u16) -> Ipv4Addr {
    let [high, low] = n.to_be_bytes();
    Ipv4Addr::new(10, 0, high, low)
}

fn name(n: u16) -> String {
    format!("e-{n}")
}

fn group_name(n: u16) -> String {
    format!("sg-{n}")
}

fn micros(duration: Duration) -> String {
    format!("{:.0} µs", duration.as_secs_f64() * 1e6)
}
