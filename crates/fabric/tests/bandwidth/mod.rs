//! How much a port carries.

use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

use fabric::Fabric;
use fabric::network::{Bandwidth, Block, Traffic};

use crate::world::{Instance, World, ip};
use crate::{SILENCE, With, name, network, port, rule};

/// An eighth of a t3.nano's 32 Mbit/s, so that a busy host still sends much more, with a small burst.
pub fn bandwidth() {
    const BASELINE: u64 = 500_000;
    const BURST: u32 = 500_000;
    let world = World::new("bandwidth");
    let (a, b) = (world.instance("n", "e-5", 5), world.instance("n", "e-6", 6));
    let all = rule(Traffic::All, [Block::ANY]);
    let mut network =
        network([(5, port(5, &["all"])), (6, port(6, &["all"]))]).with("all", [all.clone()], [all]);
    let second = Duration::from_secs(1);
    // Who is limited: the one who sends, and the one who is sent to.
    for limited in [name(5), name(6)] {
        for port in network.ports.values_mut() {
            port.bandwidth = None;
        }
        world.fabric.apply("n", &network).unwrap();
        let (free, _) = carried(&a, &b, second);
        // The kernel adds a second's worth to what it lets through at once.
        let at_once = u64::from(BURST) + BASELINE;
        assert!(free > 2 * (at_once + BASELINE), "without a limit: {free}");
        let limit = Bandwidth { baseline: BASELINE, peak: 100 * BASELINE, burst: BURST };
        network.ports.get_mut(&limited).unwrap().bandwidth = Some(limit);
        world.fabric.apply("n", &network).unwrap();
        let about = |bytes: u64, elapsed: Duration, at_once: u64| {
            let expected = at_once as f64 + BASELINE as f64 * elapsed.as_secs_f64();
            let share = bytes as f64 / expected;
            assert!((0.8..1.2).contains(&share), "{limited}: {bytes} in {elapsed:?}");
        };
        let (first, elapsed) = carried(&a, &b, second);
        about(first, elapsed, at_once);
        // What was not sent between the two is saved up.
        let (then, elapsed) = carried(&a, &b, second);
        about(then, elapsed + SILENCE, 0);
    }
}

/// Bytes that arrive of as many datagrams as can be sent in that time, and how long it was.
fn carried(from: &Instance, to: &Instance, time: Duration) -> (u64, Duration) {
    let sink = to.run(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 9)).unwrap());
    socket2::SockRef::from(&sink).set_recv_buffer_size(64 << 20).unwrap();
    sink.set_read_timeout(Some(SILENCE)).unwrap();
    let count = std::thread::spawn(move || {
        let (mut bytes, mut buffer) = (0, [0; 2048]);
        while let Ok(length) = sink.recv(&mut buffer) {
            bytes += length as u64 + 28;
        }
        bytes
    });
    let elapsed = from.run(move || {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        let start = std::time::Instant::now();
        while start.elapsed() < time {
            let _ = socket.send_to(&[0; 1400], (ip(6), 9));
        }
        start.elapsed()
    });
    (count.join().unwrap(), elapsed)
}
