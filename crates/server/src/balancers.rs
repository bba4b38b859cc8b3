//! Balancer processes: the part this program plays as one, and the cloud's view of all of them.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::{Duration, Instant};

use balancer::keeper::Keeper;
use balancer::snapshot::{Report, Snapshot};
use balancer::{Network, serve};
use cloud::env::Balancers;
use fabric::Fabric;
use fabric::linux::LinuxFabric;
use tokio::sync::watch;

/// Hidden: `drover balancer ZONE SOCKET RUN`.
const SUBCOMMAND: &str = "balancer";
const SOCKETS: &str = "balancers";
const ENDING: Duration = Duration::from_secs(5);

/// Serves a zone if this program was started to do that.
pub fn main_if_balancer() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next()? != SUBCOMMAND {
        return None;
    }
    let (zone, socket, run) = (arguments.next()?, arguments.next()?, arguments.next()?);
    let config = serve::Config {
        zone: zone.to_string_lossy().into_owned(),
        socket: socket.into(),
        workers: None,
    };
    let served = LinuxFabric::open(Path::new(&run))
        .map_err(io::Error::other)
        .and_then(|fabric| serve::run(config, Arc::new(Sockets { fabric })));
    match served {
        Ok(()) => Some(ExitCode::SUCCESS),
        Err(error) => {
            eprintln!("drover balancer {}: {error}", zone.to_string_lossy());
            Some(ExitCode::FAILURE)
        }
    }
}

/// Sockets in the fabric's networks, or on the host.
struct Sockets {
    fabric: LinuxFabric,
}

impl Network for Sockets {
    fn socket(&self, network: Option<&str>) -> io::Result<OwnedFd> {
        match network {
            Some(network) => self.fabric.tcp_socket(network).map_err(io::Error::other),
            None => balancer::HostNetwork.socket(None),
        }
    }
}

/// The keeper, as the cloud knows it.
pub struct Processes(Keeper);

impl Processes {
    /// Within a tokio runtime.
    pub async fn start(run: &Path) -> io::Result<Processes> {
        let program = std::env::current_exe()?;
        let networks = run.to_owned();
        let sockets = run.join(SOCKETS);
        let keeper = Keeper::start(&sockets, move |zone, socket| {
            let mut command = Command::new(&program);
            command.arg(SUBCOMMAND).arg(zone).arg(socket).arg(&networks);
            command
        });
        Ok(Processes(keeper.await?))
    }
}

impl Balancers for Processes {
    fn apply(&self, zone: &str, snapshot: Snapshot) {
        self.0.apply(zone, snapshot);
    }

    fn report(&self, zone: &str) -> Option<Arc<Report>> {
        self.0.report(zone)
    }

    fn kill(&self, zone: &str) {
        self.0.kill(zone);
    }

    fn zones(&self) -> Vec<String> {
        self.0.zones()
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes()
    }
}

/// Ends every balancer of a cloud, without its daemon.
pub fn teardown(run: &Path) -> io::Result<()> {
    let directory = run.join(SOCKETS);
    if !directory.exists() {
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let processes = Processes::start(run).await?;
        for zone in processes.zones() {
            processes.kill(&zone);
        }
        Ok::<_, io::Error>(())
    })?;
    // Each holds its lock for life.
    for entry in std::fs::read_dir(&directory)? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "lock") {
            continue;
        }
        let lock = std::fs::File::open(&path)?;
        let until = Instant::now() + ENDING;
        while lock.try_lock().is_err() {
            if Instant::now() > until {
                return Err(io::Error::other(format!("{} is still held", path.display())));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
    Ok(())
}
