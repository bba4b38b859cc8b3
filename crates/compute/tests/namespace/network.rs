//! Instances on real networks.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use compute::namespace::NamespaceDriver;
use compute::{Driver, Nic, Spec};
use fabric::Fabric;
use fabric::linux::{LinuxFabric, tear_down};

use crate::world::{World, spec, until};

pub const TESTS: &[(&str, fn())] = &[("instances_serve_and_reach_each_other", serve)];

fn nic(n: u8) -> Nic {
    Nic {
        network: "vpc-1".into(),
        interface: format!("e0000000{n}"),
        device: 0,
        secondary: vec![],
        mac: [2, 0, 0, 0, 0, n],
        address: Ipv4Addr::new(172, 31, 0, n),
        prefix: 20,
        gateway: Ipv4Addr::new(172, 31, 0, 1),
    }
}

/// Connects from the network itself, as a balancer does.
fn dial(fabric: &LinuxFabric, address: Ipv4Addr, port: u16) -> Option<TcpStream> {
    let socket: OwnedFd = fabric.tcp_socket("vpc-1").unwrap();
    let socket = socket2::Socket::from(socket);
    let address = SocketAddrV4::new(address, port);
    socket.connect_timeout(&address.into(), Duration::from_secs(1)).ok()?;
    Some(socket.into())
}

fn ask(mut stream: TcpStream) -> String {
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

/// A second interface and a second address come to a running instance, and go.
fn changes_while_it_runs(world: &World, fabric: &LinuxFabric) {
    let attach = |nic: &Nic| world.runtime.block_on(world.driver().attach("i-a", nic)).unwrap();
    let answers = |address| dial(fabric, address, 80).is_some();
    let second = Nic { device: 1, ..nic(8) };
    for _ in 0..2 {
        attach(&second);
    }
    until("an answer of the second interface", || answers(nic(8).address).then_some(()));
    let more = Nic { secondary: vec![Ipv4Addr::new(172, 31, 0, 9)], ..nic(5) };
    attach(&more);
    let has_second_address = || {
        let table = format!("/proc/{}/net/fib_trie", world.processes("i-a")[0]);
        std::fs::read_to_string(table).unwrap().contains("172.31.0.9")
    };
    assert!(has_second_address());
    attach(&nic(5));
    assert!(!has_second_address());
    for _ in 0..2 {
        world.runtime.block_on(world.driver().detach("i-a", &second)).unwrap();
    }
    assert!(!answers(nic(8).address));
    assert!(answers(nic(5).address));
    world.runtime.block_on(world.driver().attach("i-none", &second)).unwrap();
}

fn serve() {
    let mut world = World::new("network");
    world.close();
    let run = world.config.state_dir.join("fabric");
    let fabric = Arc::new(LinuxFabric::open(&run).unwrap());
    fabric.ensure_network("vpc-1").unwrap();
    let open = NamespaceDriver::open(world.config.clone(), fabric.clone());
    world.adopt(world.runtime.block_on(open).unwrap());

    let server = "#!/bin/bash\nmkdir /srv/www; echo hello from $(hostname) > /srv/www/index.html\n\
                  cd /srv/www; exec python3 -m http.server 80\n";
    let a = Spec { nics: vec![nic(5)], user_data: Some(server.into()), ..spec("i-a") };
    world.boot(&a);
    let answer = until("an answer", || dial(&fabric, nic(5).address, 80).map(ask));
    assert!(answer.contains("hello from ip-10-0-0-5"), "{answer}");

    let client = "#!/bin/bash\ngrep 172.31 /etc/hosts\ncurl -sS --max-time 5 http://172.31.0.5/ || \
                  python3 -c 'import urllib.request as r; print(r.urlopen(\"http://172.31.0.5\").read())'\n\
                  SECONDS=0; getent hosts example.com; [ $SECONDS -lt 3 ] && echo quick failure\n";
    world.boot(&Spec { nics: vec![nic(6)], user_data: Some(client.into()), ..spec("i-b") });
    let console = world.wait_console("i-b", "user data ended");
    assert!(console.contains("hello from ip-10-0-0-5"), "{console}");
    assert!(console.contains("172.31.0.6 ip-10-0-0-5.ec2.internal"), "{console}");
    // Nobody serves names on this network; that must not take long to find out.
    assert!(console.contains("quick failure"), "{console}");
    let usage = world.driver().usage("i-b").unwrap();
    assert!(usage.network_in_bytes > 100 && usage.network_out_packets > 3, "{usage:?}");

    changes_while_it_runs(&world, &fabric);

    // The next boot has its interface again.
    world.boot(&Spec { boot: 2, nics: vec![nic(6)], ..spec("i-b") });
    world.destroy("i-a");
    world.destroy("i-b");
    // A network that is not there fails the boot and leaves nothing.
    let astray = Nic { network: "vpc-none".into(), ..nic(7) };
    world.ensure(&Spec { nics: vec![astray], ..spec("i-c") });
    assert_eq!(world.wait_exit("i-c"), compute::Exit::Failed);
    assert!(world.console("i-c").contains("boot failed: network: "), "{}", world.console("i-c"));
    world.destroy("i-c");
    world.assert_clean();
    world.close();
    drop(fabric);
    tear_down(&run).unwrap();
}
