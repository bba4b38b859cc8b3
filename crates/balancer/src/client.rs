//! The daemon's end of a balancer's socket.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use crate::control::{self, Notice, Order};
use crate::snapshot::{Report, Snapshot};
use crate::sys;

/// One that takes longer is stuck.
const HELLO_TIME: Duration = Duration::from_secs(2);

/// A connection to a living balancer. Dropping it leaves the balancer as it is.
pub struct Client {
    zone: String,
    orders: mpsc::UnboundedSender<Order>,
    reports: watch::Receiver<Option<Arc<Report>>>,
    process: OwnedFd,
}

impl Client {
    pub async fn connect(socket: &Path) -> io::Result<Client> {
        let stream = UnixStream::connect(socket).await?;
        let pid = stream.peer_cred()?.pid();
        let pid = pid.ok_or_else(|| io::Error::other("the balancer's process is not known"))?;
        let process = sys::pidfd_open(pid)?;
        let (mut read, mut write) = stream.into_split();
        // That it answers after the handle was made shows that the handle is its own.
        let Notice::Hello { zone } = timeout(HELLO_TIME, control::read(&mut read)).await?? else {
            return Err(io::Error::other("the balancer did not say which it is"));
        };
        let (orders, mut to_send) = mpsc::unbounded_channel::<Order>();
        let (sender, reports) = watch::channel(None);
        tokio::spawn(async move {
            let writing = async {
                while let Some(order) = to_send.recv().await {
                    control::write(&mut write, &order).await?;
                }
                io::Result::Ok(())
            };
            let reading = async {
                loop {
                    if let Notice::Report(report) = control::read(&mut read).await? {
                        sender.send_replace(Some(Arc::new(report)));
                    }
                }
            };
            let ended: io::Result<()> = tokio::select! {
                result = writing => result,
                result = reading => result,
            };
            if let Err(error) = ended {
                tracing::debug!(%error, "a balancer's connection ended");
            }
        });
        Ok(Client { zone, orders, reports, process })
    }

    pub fn zone(&self) -> &str {
        &self.zone
    }

    /// `report` tells when it is in force.
    pub fn apply(&self, snapshot: Snapshot) {
        // A balancer that is gone will be told by whoever starts the next.
        let _ = self.orders.send(Order::Apply(snapshot));
    }

    pub fn request_report(&self) {
        let _ = self.orders.send(Order::Report);
    }

    /// The newest; `None` before the first.
    pub fn report(&self) -> Option<Arc<Report>> {
        self.reports.borrow().clone()
    }

    /// Changes with every report; closed when the balancer is gone.
    pub fn watch(&self) -> watch::Receiver<Option<Arc<Report>>> {
        self.reports.clone()
    }

    /// Kills the process, and no other that may have its number by now.
    pub fn kill(&self) -> io::Result<()> {
        match sys::pidfd_kill(self.process.as_fd()) {
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
            result => result,
        }
    }

    /// Waits for the process to end.
    pub async fn ended(&self) -> io::Result<()> {
        sys::pidfd_ended(self.process.as_fd()).await
    }
}
