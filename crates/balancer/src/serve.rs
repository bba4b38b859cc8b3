//! The process `drover balancer`: serves one zone for as long as it is left alone, whether the daemon
//! that told it what to do still lives or not.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::{UnixListener, UnixStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::time::MissedTickBehavior;

use crate::control::{self, Notice, Order};
use crate::plane::Plane;
use crate::{Network, sys};

const REPORT_EVERY: Duration = Duration::from_millis(500);

#[derive(Clone, Debug)]
pub struct Config {
    pub zone: String,
    /// Where the daemon finds it; beside it a lock file, held for life.
    pub socket: PathBuf,
    /// Threads that carry traffic; as many as there are cores unless given.
    pub workers: Option<usize>,
}

/// Ends only by an error or a signal.
pub fn run(config: Config, network: Arc<dyn Network>) -> io::Result<()> {
    let lock = File::create(config.socket.with_extension("lock"))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(io::Error::other("another balancer serves this zone"));
        }
        Err(TryLockError::Error(error)) => return Err(error),
    }
    if let Err(error) = sys::raise_descriptor_limit() {
        tracing::warn!(%error, "cannot raise the number of open files");
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(control(config, network))
}

async fn control(config: Config, network: Arc<dyn Network>) -> io::Result<()> {
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    let mut plane = Plane::start(config.workers.unwrap_or_else(cores), network)?;
    match fs::remove_file(&config.socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&config.socket)?;
    fs::set_permissions(&config.socket, fs::Permissions::from_mode(0o600))?;
    let (orders, mut received) = mpsc::unbounded_channel();
    let (reports, _) = watch::channel(Arc::new(Vec::new()));
    let changed = plane.changed();
    let mut ticks = tokio::time::interval(REPORT_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // Those belong to the daemon's terminal.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                match accepted {
                    Ok((stream, _)) => {
                        let hello = Notice::Hello { zone: config.zone.clone() };
                        let daemon = daemon(stream, hello, orders.clone(), reports.subscribe());
                        tokio::spawn(async move {
                            if let Err(error) = daemon.await {
                                tracing::info!(%error, "the daemon is gone");
                            }
                        });
                    }
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept a daemon");
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                }
                continue;
            }
            order = received.recv() => {
                let mut order = order;
                let mut newest = None;
                while let Some(next) = order {
                    if let Order::Apply(snapshot) = next {
                        newest = Some(snapshot);
                    }
                    order = received.try_recv().ok();
                }
                if let Some(snapshot) = newest {
                    plane.apply(&snapshot).await;
                }
            }
            () = changed.notified() => {}
            _ = ticks.tick() => {
                plane.retry().await;
            }
            _ = interrupt.recv() => continue,
            _ = hangup.recv() => continue,
        }
        if reports.receiver_count() > 0 {
            reports.send_replace(Arc::new(control::encode(&Notice::Report(plane.report()))?));
        }
    }
}

/// One connection of a daemon, until either side ends it.
async fn daemon(
    stream: UnixStream,
    hello: Notice,
    orders: mpsc::UnboundedSender<Order>,
    mut reports: watch::Receiver<Arc<Vec<u8>>>,
) -> io::Result<()> {
    let (mut read, mut write) = stream.into_split();
    control::write(&mut write, &hello).await?;
    reports.mark_unchanged();
    let writing = async {
        while reports.changed().await.is_ok() {
            let report = reports.borrow_and_update().clone();
            write.write_all(&report).await?;
        }
        Ok(())
    };
    let reading = async {
        loop {
            let order = control::read(&mut read).await?;
            if orders.send(order).is_err() {
                return Ok(());
            }
        }
    };
    tokio::select! {
        result = writing => result,
        result = reading => result,
    }
}
