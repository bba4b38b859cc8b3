//! What the tests of the Linux fabric stand on: a fabric in a scratch directory, and instances that are
//! threads in network namespaces of their own.

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::path::PathBuf;
use std::sync::mpsc;
use std::time::Duration;

use fabric::linux::{LinuxFabric, tear_down};
use fabric::{Fabric, Interface};
use libtest_mimic::{Arguments, Trial};

/// Runs the tests one at a time; without the right to make namespaces every one is reported as ignored.
pub fn run<const N: usize>(tests: [(&str, fn()); N]) -> ! {
    let reason = missing_privilege();
    if let Some(reason) = &reason {
        eprintln!("ignored: {reason}");
    }
    let trial = |(name, test): (&str, fn())| {
        Trial::test(name, move || {
            test();
            Ok(())
        })
        .with_ignored_flag(reason.is_some())
    };
    let arguments = Arguments { test_threads: Some(1), ..Arguments::from_args() };
    libtest_mimic::run(&arguments, tests.map(trial).into()).exit()
}

fn missing_privilege() -> Option<String> {
    let scratch = std::env::temp_dir().join(format!("fabric-probe-{}", std::process::id()));
    let made = LinuxFabric::open(&scratch).and_then(|fabric| fabric.ensure_network("probe"));
    let _ = tear_down(&scratch);
    let _ = std::fs::remove_dir_all(&scratch);
    made.err().map(|error| format!("this host does not let the tests make networks: {error}"))
}

/// A fabric in a scratch directory with one network `n`, taken down when dropped.
pub struct World {
    pub fabric: LinuxFabric,
    pub run_dir: PathBuf,
}

impl World {
    pub fn new(name: &str) -> World {
        let run_dir = std::env::temp_dir().join(format!("fabric-{name}-{}", std::process::id()));
        let fabric = LinuxFabric::open(&run_dir).unwrap();
        for _ in 0..2 {
            fabric.ensure_network("n").unwrap();
        }
        World { fabric, run_dir }
    }

    pub fn instance(&self, network: &str, interface: &str, host: u8) -> Instance {
        let instance = Instance::new();
        self.attach(network, interface, host, &instance);
        instance
    }

    pub fn attach(&self, network: &str, name: &str, host: u8, instance: &Instance) {
        let interface = Interface {
            name: name.into(),
            inner: "eth0".into(),
            mac: [2, 0, 0, 0, 0, host],
            address: ip(host),
            prefix: 20,
            gateway: ip(1),
            default_route: true,
        };
        self.fabric.attach(network, &interface, instance.netns.as_fd()).unwrap();
    }

    /// Runs in the network itself.
    pub fn inside<T: Send>(&self, network: &str, act: impl FnOnce() -> T + Send) -> T {
        let pin = File::open(self.fabric.namespace_path(network).unwrap()).unwrap();
        std::thread::scope(|scope| {
            let enter_and_act = || {
                enter(&pin).unwrap();
                act()
            };
            scope.spawn(enter_and_act).join().unwrap()
        })
    }
}

impl Drop for World {
    fn drop(&mut self) {
        tear_down(&self.run_dir).unwrap();
        std::fs::remove_dir(&self.run_dir).unwrap();
    }
}

/// A thread in a network namespace of its own; the namespace ends with it.
pub struct Instance {
    pub netns: File,
    jobs: mpsc::Sender<Box<dyn FnOnce() + Send>>,
}

impl Instance {
    pub fn new() -> Instance {
        let (jobs, inbox) = mpsc::channel::<Box<dyn FnOnce() + Send>>();
        let (ready, made) = mpsc::channel();
        std::thread::spawn(move || {
            // SAFETY: changes the namespace of this thread only.
            assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNET) }, 0);
            ready.send(File::open("/proc/thread-self/ns/net").unwrap()).unwrap();
            inbox.into_iter().for_each(|job| job());
        });
        Instance { netns: made.recv().unwrap(), jobs }
    }

    pub fn run<T: Send + 'static>(&self, act: impl FnOnce() -> T + Send + 'static) -> T {
        let (reply, answer) = mpsc::channel();
        let job = move || reply.send(act()).expect("somebody waits");
        self.jobs.send(Box::new(job)).unwrap();
        answer.recv().unwrap()
    }

    pub fn listen(&self, port: u16) -> TcpListener {
        self.run(move || TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap())
    }

    pub fn connect(&self, address: Ipv4Addr, port: u16) -> io::Result<TcpStream> {
        self.run(move || connect(address, port))
    }
}

pub fn connect(address: Ipv4Addr, port: u16) -> io::Result<TcpStream> {
    TcpStream::connect_timeout(&SocketAddrV4::new(address, port).into(), Duration::from_secs(5))
}

pub fn enter(netns: &File) -> io::Result<()> {
    // SAFETY: changes the namespace of this thread only.
    let result = unsafe { libc::setns(netns.as_raw_fd(), libc::CLONE_NEWNET) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// As root of an instance may do: takes an address that is not its own.
pub fn add_loopback_address(address: Ipv4Addr) {
    // SAFETY: all-zero is a valid ifreq.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo:1") {
        *to = *from as libc::c_char;
    }
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    let name = libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: 0,
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(address.octets()) },
        sin_zero: [0; 8],
    };
    // SAFETY: a sockaddr_in fits in the union's sockaddr.
    unsafe { (&raw mut request.ifr_ifru.ifru_addr).cast::<libc::sockaddr_in>().write(name) };
    // SAFETY: `request` is an ifreq that outlives the call.
    let done = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFADDR, &raw const request) };
    assert_eq!(done, 0, "{}", io::Error::last_os_error());
}

pub const fn ip(host: u8) -> Ipv4Addr {
    Ipv4Addr::new(172, 31, 0, host)
}
