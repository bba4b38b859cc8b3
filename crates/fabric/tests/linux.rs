//! The Linux fabric against the kernel: reachability, spoofing, pulled cables, and that nothing stays.
//! Needs the right to make namespaces; without it every test is reported as ignored.

mod world;

use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use fabric::linux::{LinuxFabric, tear_down};
use fabric::{Error, Fabric};
use world::{World, add_loopback_address, connect, ip};

fn main() {
    // One at a time: they compare the host's mounts before and after.
    world::run([
        ("instances_talk_through_the_router", instances_talk_through_the_router),
        ("a_spoofed_source_is_dropped", a_spoofed_source_is_dropped),
        ("a_pulled_cable_fails_at_once_and_heals", a_pulled_cable_fails_at_once_and_heals),
        ("addresses_of_the_network", addresses_of_the_network),
        ("networks_with_equal_addresses_stay_apart", networks_with_equal_addresses_stay_apart),
        ("another_process_finds_the_same", another_process_finds_the_same),
        ("tear_down_leaves_nothing", tear_down_leaves_nothing),
    ]);
}

fn instances_talk_through_the_router() {
    let world = World::new("talk");
    let (a, b) = (world.instance("n", "e-a", 5), world.instance("n", "e-b", 6));
    // Attaching again replaces the link, and everything works as before.
    world.attach("n", "e-a", 5, &a);
    let listener = b.listen(80);
    let mut server = accept_one(listener, |mut stream| {
        let peer = stream.peer_addr().unwrap();
        let mut word = [0; 4];
        stream.read_exact(&mut word).unwrap();
        stream.write_all(&word).unwrap();
        peer.ip()
    });
    let mut client = a.connect(ip(6), 80).expect("b is reachable from a");
    client.write_all(b"ping").unwrap();
    let mut answer = [0; 4];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"ping");
    assert_eq!(server(), ip(5));

    // From the network itself, as a balancer does.
    let listener = b.listen(81);
    let server = std::thread::spawn(move || listener.accept().map(drop));
    world.inside("n", || connect(ip(6), 81)).expect("b is reachable from its network");
    server.join().unwrap().unwrap();

    let sent = world.fabric.counters("n", "e-a").unwrap();
    let got = world.fabric.counters("n", "e-b").unwrap();
    assert!(sent.tx_packets > 3 && got.rx_packets > 3, "{sent:?} {got:?}");
    assert_eq!(world.fabric.counters("n", "e-x"), None);
}

fn a_spoofed_source_is_dropped() {
    let world = World::new("spoof");
    let (a, b) = (world.instance("n", "e-a", 5), world.instance("n", "e-b", 6));
    a.run(|| add_loopback_address(ip(7)));
    let receiver = b.run(|| UdpSocket::bind((ip(6), 9)).unwrap());
    receiver.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let spoofed = a.run(|| UdpSocket::bind((ip(7), 0)).unwrap());
    let honest = a.run(|| UdpSocket::bind((ip(5), 0)).unwrap());
    spoofed.send_to(b"spoofed", (ip(6), 9)).unwrap();
    honest.send_to(b"honest", (ip(6), 9)).unwrap();
    let mut word = [0; 16];
    let (n, from) = receiver.recv_from(&mut word).unwrap();
    assert_eq!((&word[..n], from.ip()), (&b"honest"[..], ip(5).into()));
}

fn a_pulled_cable_fails_at_once_and_heals() {
    let world = World::new("cable");
    let (a, b) = (world.instance("n", "e-a", 5), world.instance("n", "e-b", 6));
    let listener = b.listen(80);
    let _server = std::thread::spawn(move || while listener.accept().is_ok() {});
    for _ in 0..2 {
        a.connect(ip(6), 80).expect("reachable");
        for _ in 0..2 {
            world.fabric.set_link("n", "e-b", false).unwrap();
        }
        let started = Instant::now();
        let refused = a.connect(ip(6), 80).expect_err("the cable is pulled");
        assert!(started.elapsed() < Duration::from_millis(500), "{refused} came late");
        assert!(world.inside("n", || connect(ip(6), 80)).is_err());
        for _ in 0..2 {
            world.fabric.set_link("n", "e-b", true).unwrap();
        }
        world.inside("n", || connect(ip(6), 80)).expect("its route is back");
    }
    world.fabric.set_link("n", "unknown", true).unwrap();
    world.fabric.set_link("unknown", "e-b", true).unwrap();
}

fn addresses_of_the_network() {
    let world = World::new("addresses");
    let a = world.instance("n", "e-a", 5);
    let metadata = Ipv4Addr::new(169, 254, 169, 254);
    for _ in 0..2 {
        world.fabric.ensure_address("n", metadata).unwrap();
    }
    // The gateway, though an address of the network, is none that was asked for.
    assert_eq!(world.fabric.addresses("n").unwrap(), [metadata]);
    let listener = world.fabric.tcp_listener("n", SocketAddrV4::new(metadata, 80)).unwrap();
    listener.set_nonblocking(false).unwrap();
    let mut server = accept_one(listener, |stream| stream.peer_addr().unwrap().ip());
    a.connect(metadata, 80).expect("metadata is reachable from an instance");
    assert_eq!(server(), ip(5));
    for _ in 0..2 {
        world.fabric.remove_address("n", metadata).unwrap();
    }
    assert!(world.fabric.addresses("n").unwrap().is_empty());
    assert!(a.connect(metadata, 80).is_err());
}

fn networks_with_equal_addresses_stay_apart() {
    let world = World::new("apart");
    world.fabric.ensure_network("m").unwrap();
    let (a, _same) = (world.instance("n", "e-a", 5), world.instance("m", "e-a", 5));
    let b = world.instance("m", "e-b", 6);
    let _listener = b.listen(80);
    assert!(a.connect(ip(6), 80).is_err());
    assert_eq!(world.fabric.networks().unwrap(), ["m", "n"]);
    for _ in 0..2 {
        world.fabric.remove_network("m").unwrap();
    }
    assert_eq!(world.fabric.networks().unwrap(), ["n"]);
    let gone = world.fabric.ensure_address("m", ip(9));
    assert!(matches!(gone, Err(Error::NoNetwork(_))), "{gone:?}");
    assert!(world.fabric.ensure_network("../m").is_err());
}

fn another_process_finds_the_same() {
    let world = World::new("again");
    let _a = world.instance("n", "e-a", 5);
    let again = LinuxFabric::open(&world.run_dir).unwrap();
    assert_eq!(again.networks().unwrap(), ["n"]);
    again.set_link("n", "e-a", false).unwrap();
    again.ensure_address("n", ip(200)).unwrap();
    assert_eq!(world.fabric.addresses("n").unwrap(), [ip(200)]);
    // A network that was removed and made again elsewhere is not taken for the old one.
    again.remove_network("n").unwrap();
    again.ensure_network("n").unwrap();
    assert!(world.fabric.addresses("n").unwrap().is_empty());
    assert_eq!(world.fabric.counters("n", "e-a"), None);
}

fn tear_down_leaves_nothing() {
    let before = traces();
    let (run_dir, outer) = {
        let world = World::new("nothing");
        let a = world.instance("n", "e-a", 5);
        world.fabric.tcp_socket("n").unwrap();
        let pin = world.fabric.namespace_path("n").unwrap();
        let outer = std::fs::metadata(&pin).map(|m| std::os::unix::fs::MetadataExt::ino(&m));
        drop(a);
        (world.run_dir.clone(), outer.unwrap())
    };
    for _ in 0..2 {
        tear_down(&run_dir).unwrap();
    }
    assert!(!run_dir.join("netns").exists() && !run_dir.join("netns.lock").exists());
    assert_eq!(traces(), before);
    // Nobody holds the namespace any more.
    let deadline = Instant::now() + Duration::from_secs(10);
    while held_namespaces().contains(&outer) {
        assert!(Instant::now() < deadline, "the namespace is still held");
        std::thread::yield_now();
    }
}

/// The mounts of this mount namespace and the links of the host's network.
fn traces() -> (BTreeSet<String>, BTreeSet<String>) {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let links = std::fs::read_to_string("/proc/net/dev").unwrap();
    let name = |line: &str| line.split_once(':').map(|(name, _)| name.trim().to_owned());
    (mounts.lines().map(str::to_owned).collect(), links.lines().filter_map(name).collect())
}

/// The network namespaces of every thread of this process.
fn held_namespaces() -> BTreeSet<u64> {
    let threads = std::fs::read_dir("/proc/self/task").unwrap();
    let inode = |entry: io::Result<std::fs::DirEntry>| {
        let metadata = std::fs::metadata(entry.ok()?.path().join("ns/net")).ok()?;
        Some(std::os::unix::fs::MetadataExt::ino(&metadata))
    };
    threads.filter_map(inode).collect()
}

/// Accepts one connection on a thread; the answer waits for what came of it.
fn accept_one<T: Send + 'static>(
    listener: TcpListener,
    act: impl FnOnce(TcpStream) -> T + Send + 'static,
) -> impl FnMut() -> T {
    let thread = std::thread::spawn(move || act(listener.accept().unwrap().0));
    let mut thread = Some(thread);
    move || thread.take().expect("asked once").join().unwrap()
}
