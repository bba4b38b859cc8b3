//! The whole of one zone's balancing within a process: workers, listening sockets, health checks.
//! `serve` puts it behind a socket.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use arc_swap::ArcSwap;
use socket2::Socket;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::Network;
use crate::checker;
use crate::snapshot::{Bind, HealthCheck, Report, Snapshot};
use crate::table::{Registry, Table};
use crate::worker::{self, Swap};

const BACKLOG: i32 = 4096;

pub struct Plane {
    network: Arc<dyn Network>,
    workers: Vec<mpsc::UnboundedSender<Swap>>,
    registry: Registry,
    table: Arc<ArcSwap<Table>>,
    /// Those that are listened on.
    open: Vec<Bind>,
    /// Those that should be, and why they are not.
    failed: Vec<(Bind, String)>,
    binds: Vec<(Bind, String)>,
    /// By target; with what they check.
    checkers: HashMap<u64, (HealthCheck, JoinHandle<()>)>,
    changed: Arc<Notify>,
}

impl Plane {
    /// Within a tokio runtime, which will make the health checks.
    pub fn start(workers: usize, network: Arc<dyn Network>) -> io::Result<Plane> {
        let workers = (0..workers.max(1))
            .map(|i| worker::start(i, network.clone()))
            .collect::<io::Result<Vec<_>>>()?;
        Ok(Plane {
            registry: Registry::new(workers.len()),
            network,
            workers,
            table: Arc::default(),
            open: Vec::new(),
            failed: Vec::new(),
            binds: Vec::new(),
            checkers: HashMap::new(),
            changed: Arc::default(),
        })
    }

    /// Notified when a target's health changed.
    pub fn changed(&self) -> Arc<Notify> {
        self.changed.clone()
    }

    /// Returns once every worker serves the snapshot.
    pub async fn apply(&mut self, snapshot: &Snapshot) {
        let table = Arc::new(self.registry.compile(snapshot));
        let mut binds: Vec<(Bind, String)> = Vec::new();
        for listener in &snapshot.listeners {
            for bind in &listener.binds {
                // Of two listeners on one address the first has it.
                if !binds.iter().any(|(known, _)| known == bind) {
                    binds.push((bind.clone(), listener.id.clone()));
                }
            }
        }
        self.binds = binds;
        self.swap(table.clone()).await;
        // Health may have changed while the groups were made.
        for group in table.groups.values() {
            group.refresh();
        }
        self.check(&table);
    }

    /// Tries again what could not be opened; whether anything changed.
    pub async fn retry(&mut self) -> bool {
        if self.failed.is_empty() {
            return false;
        }
        let before = self.failed.clone();
        self.swap(self.table.load_full()).await;
        self.failed != before
    }

    async fn swap(&mut self, table: Arc<Table>) {
        self.open.retain(|open| self.binds.iter().any(|(bind, _)| bind == open));
        self.failed.clear();
        let mut opened: Vec<Vec<(Bind, TcpListener)>> =
            self.workers.iter().map(|_| Vec::new()).collect();
        for (bind, _) in &self.binds {
            if self.open.contains(bind) {
                continue;
            }
            match listen(&*self.network, bind, self.workers.len()) {
                Ok(sockets) => {
                    for (list, socket) in opened.iter_mut().zip(sockets) {
                        list.push((bind.clone(), socket));
                    }
                    self.open.push(bind.clone());
                }
                Err(error) => self.failed.push((bind.clone(), error.to_string())),
            }
        }
        self.table.store(table.clone());
        let mut waiting = Vec::new();
        for (worker, opened) in self.workers.iter().zip(opened) {
            let (done, served) = oneshot::channel();
            let binds = self.binds.clone();
            if worker.send(Swap { table: table.clone(), binds, opened, done }).is_ok() {
                waiting.push(served);
            }
        }
        for served in waiting {
            // A worker that is gone serves nothing; nobody is left to wait for.
            let _ = served.await;
        }
    }

    fn check(&mut self, table: &Table) {
        let mut before = std::mem::take(&mut self.checkers);
        for group in table.groups.values() {
            let Some(check) = &group.health_check else { continue };
            for member in group.members.iter().filter(|m| !m.draining) {
                let key = member.target.key;
                let running = match before.remove(&key) {
                    Some((known, task)) if known == *check && !task.is_finished() => task,
                    replaced => {
                        if let Some((_, task)) = replaced {
                            task.abort();
                        }
                        tokio::spawn(checker::run(
                            self.network.clone(),
                            self.table.clone(),
                            group.id.clone(),
                            member.target.clone(),
                            self.changed.clone(),
                        ))
                    }
                };
                self.checkers.insert(key, (check.clone(), running));
            }
        }
        for (_, task) in before.into_values() {
            task.abort();
        }
    }

    pub fn report(&self) -> Report {
        let table = self.table.load();
        let by_group = |group: &crate::target::Group| group.health().collect();
        Report {
            version: table.version,
            bind_errors: self.failed.clone(),
            health: table.groups.iter().map(|(id, g)| (id.clone(), by_group(g))).collect(),
            counters: table.groups.iter().map(|(id, g)| (id.clone(), g.counters.total())).collect(),
            listener_counters: table
                .listeners
                .iter()
                .map(|(id, l)| (id.clone(), l.counters.total()))
                .collect::<BTreeMap<_, _>>(),
        }
    }
}

impl Drop for Plane {
    fn drop(&mut self) {
        for (_, task) in self.checkers.values() {
            task.abort();
        }
    }
}

/// One socket per worker on the same address: the kernel spreads connections over them.
fn listen(network: &dyn Network, bind: &Bind, workers: usize) -> io::Result<Vec<TcpListener>> {
    (0..workers)
        .map(|_| {
            let socket = Socket::from(network.socket(bind.network.as_deref())?);
            socket.set_nonblocking(true)?;
            socket.set_reuse_address(true)?;
            socket.set_reuse_port(true)?;
            // Inherited by the connections.
            socket.set_tcp_nodelay(true)?;
            socket.bind(&SocketAddr::from(bind.address).into())?;
            socket.listen(BACKLOG)?;
            Ok(socket.into())
        })
        .collect()
}
