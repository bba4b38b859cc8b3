//! One thread that carries traffic: its own runtime, listening sockets, connections to targets,
//! buffers and timers. Nothing on the way of a request is shared but targets and immutable tables.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::poll_fn;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, SystemTime};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::LocalSet;
use tokio::time::MissedTickBehavior;

use crate::Network;
use crate::buffer::Buffers;
use crate::connection;
use crate::snapshot::Bind;
use crate::table::{Listener, Table};
use crate::target::Random;
use crate::timer::{TICK, Timers};
use crate::upstream::Pool;

/// Replaces what a worker serves.
pub struct Swap {
    pub table: Arc<Table>,
    /// Every bind and the listener it belongs to.
    pub binds: Vec<(Bind, String)>,
    /// Sockets for the binds that are new.
    pub opened: Vec<(Bind, std::net::TcpListener)>,
    pub done: oneshot::Sender<()>,
}

pub struct Worker {
    pub index: usize,
    pub network: Arc<dyn Network>,
    pub timers: Rc<Timers>,
    pub pool: Pool,
    pub buffers: Buffers,
    pub random: Random,
    unix_seconds: Cell<u64>,
    date: RefCell<Rc<str>>,
    vecs: RefCell<Vec<Vec<u8>>>,
}

/// A listener as this worker's connections see it: what it is now, `None` once it is gone.
pub struct Slot {
    pub number: u64,
    listener: RefCell<Option<Arc<Listener>>>,
}

impl Slot {
    pub fn listener(&self) -> Option<Arc<Listener>> {
        self.listener.borrow().clone()
    }

    fn admits(&self, client: Ipv4Addr) -> bool {
        let listener = self.listener.borrow();
        let blocks = listener.iter().flat_map(|listener| &listener.options.admits);
        let mut masks = blocks.map(|(base, prefix)| {
            (u32::from(*base), u32::MAX.checked_shl(32 - u32::from(*prefix)).unwrap_or(0))
        });
        masks.any(|(base, mask)| u32::from(client) & mask == base)
    }
}

/// Starts a worker; it ends when the sender is dropped.
pub fn start(index: usize, network: Arc<dyn Network>) -> io::Result<mpsc::UnboundedSender<Swap>> {
    let (sender, receiver) = mpsc::unbounded_channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name(format!("worker-{index}")).spawn(move || {
        runtime.block_on(LocalSet::new().run_until(run(index, network, receiver)))
    })?;
    Ok(sender)
}

async fn run(index: usize, network: Arc<dyn Network>, mut swaps: mpsc::UnboundedReceiver<Swap>) {
    let worker = Rc::new(Worker {
        index,
        network,
        timers: Rc::default(),
        pool: Pool::default(),
        buffers: Buffers::default(),
        random: Random::new(),
        unix_seconds: Cell::new(0),
        date: RefCell::new("".into()),
        vecs: RefCell::default(),
    });
    worker.tick();
    let mut served = Served::default();
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut until_pool_sweep = 0;
    loop {
        tokio::select! {
            swap = swaps.recv() => match swap {
                Some(swap) => served.swap(&worker, swap),
                None => return,
            },
            _ = ticks.tick() => {
                worker.tick();
                if until_pool_sweep == 0 {
                    worker.pool.sweep(worker.timers.now());
                    until_pool_sweep = 10;
                }
                until_pool_sweep -= 1;
            }
        }
    }
}

impl Worker {
    fn tick(&self) {
        self.timers.sweep();
        let now = SystemTime::now();
        let seconds = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        if self.unix_seconds.replace(seconds) != seconds {
            *self.date.borrow_mut() = httpdate::fmt_http_date(now).into();
        }
    }

    pub fn unix_seconds(&self) -> u64 {
        self.unix_seconds.get()
    }

    /// For a `Date` header.
    pub fn date(&self) -> Rc<str> {
        self.date.borrow().clone()
    }

    /// An empty vector for a head.
    pub fn vec(&self) -> Vec<u8> {
        self.vecs.borrow_mut().pop().unwrap_or_else(|| Vec::with_capacity(1024))
    }

    pub fn put_vec(&self, mut vec: Vec<u8>) {
        let mut kept = self.vecs.borrow_mut();
        if kept.len() < 256 && (1..=64 * 1024).contains(&vec.capacity()) {
            vec.clear();
            kept.push(vec);
        }
    }
}

/// What this worker listens on.
#[derive(Default)]
struct Served {
    slots: HashMap<String, Rc<Slot>>,
    doors: HashMap<Bind, Door>,
    numbers: u64,
}

/// An accept loop, which ends when this is dropped.
struct Door {
    slot: Rc<RefCell<Rc<Slot>>>,
    _open: oneshot::Sender<()>,
}

impl Served {
    fn swap(&mut self, worker: &Rc<Worker>, swap: Swap) {
        self.slots.retain(|id, slot| {
            let now = swap.table.listeners.get(id);
            *slot.listener.borrow_mut() = now.cloned();
            if now.is_none() {
                worker.timers.fire_idle(slot.number);
            }
            now.is_some()
        });
        for (id, listener) in &swap.table.listeners {
            self.slots.entry(id.clone()).or_insert_with(|| {
                self.numbers += 1;
                let listener = RefCell::new(Some(listener.clone()));
                Rc::new(Slot { number: self.numbers, listener })
            });
        }
        let mut opened: HashMap<Bind, std::net::TcpListener> = swap.opened.into_iter().collect();
        let mut doors = HashMap::new();
        for (bind, listener) in swap.binds {
            let slot = self.slots[&listener].clone();
            if let Some(door) = self.doors.remove(&bind) {
                *door.slot.borrow_mut() = slot;
                doors.insert(bind, door);
            } else if let Some(socket) = opened.remove(&bind) {
                match TcpListener::from_std(socket) {
                    Ok(socket) => {
                        let (open, closed) = oneshot::channel();
                        let slot = Rc::new(RefCell::new(slot));
                        let accepting =
                            accept(worker.clone(), socket, bind.clone(), slot.clone(), closed);
                        tokio::task::spawn_local(accepting);
                        doors.insert(bind, Door { slot, _open: open });
                    }
                    Err(error) => tracing::error!(?bind, %error, "cannot listen"),
                }
            }
        }
        self.doors = doors;
        worker.pool.sweep(worker.timers.now());
        // Whoever asked may have gone.
        let _ = swap.done.send(());
    }
}

/// Ends a connection as a closed port would.
fn reset(stream: TcpStream) {
    // Fails only on a connection that has ended.
    let _ = stream.set_zero_linger();
}

/// Accepts until `closed`, and then what is still in the queue.
async fn accept(
    worker: Rc<Worker>,
    socket: TcpListener,
    bound: Bind,
    slot: Rc<RefCell<Rc<Slot>>>,
    mut closed: oneshot::Receiver<()>,
) {
    loop {
        let accepted = poll_fn(|cx| match socket.poll_accept(cx) {
            Poll::Ready(result) => Poll::Ready(Some(result)),
            Poll::Pending => Pin::new(&mut closed).poll(cx).map(|_| None),
        })
        .await;
        match accepted {
            None => return,
            Some(Ok((stream, SocketAddr::V4(peer)))) => {
                let local = match bound.address {
                    at if !at.ip().is_unspecified() && at.port() != 0 => at,
                    _ => match stream.local_addr() {
                        Ok(SocketAddr::V4(at)) => at,
                        _ => continue,
                    },
                };
                let slot = slot.borrow().clone();
                if bound.network.is_none() && !slot.admits(*peer.ip()) {
                    reset(stream);
                    continue;
                }
                let serving = connection::serve(worker.clone(), slot, stream, peer, local);
                tokio::task::spawn_local(serving);
            }
            Some(Ok(_)) => {}
            Some(Err(error)) => {
                // Out of descriptors, as a rule: they come back with connections that end.
                tracing::warn!(%error, "cannot accept");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}
