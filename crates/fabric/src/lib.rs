//! Networks on Linux: a network is a network namespace that acts as the router of its interfaces, and
//! one more namespace, the internet, joins those that are open to it. Knows nothing of AWS. The host's own
//! network gets one link and one route (`LinuxFabric::join_host`), and nothing else.
//!
//! ```text
//!   instance netns            network netns (router, pinned by a bind mount)
//!  ┌──────────────┐  veth    ┌─────────────────────────────────────────────┐
//!  │ eth0 10.0.1.5├──────────┤ eni-… /32 route, proxy ARP, packet filter     │
//!  └──────────────┘          │ lo: 169.254.169.254, balancer nodes' addresses│
//!                            └─────────────────────────────────────────────┘
//! ```

pub mod fake;
#[cfg(target_os = "linux")]
pub mod linux;
pub mod network;
pub mod reach;

use std::net::Ipv4Addr;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("network {0} does not exist")]
    NoNetwork(String),
    #[error("{what}: {source}")]
    Os { what: String, source: std::io::Error },
}

/// The outer end, and what the inner end shall be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Outer name, unique in the network, at most 15 bytes.
    pub name: String,
    /// Inner name, `eth0` as a rule.
    pub inner: String,
    pub mac: [u8; 6],
    pub address: Ipv4Addr,
    pub prefix: u8,
    pub gateway: Ipv4Addr,
    /// Whether it is the instance's way to everywhere, as one interface must be. By another one the
    /// instance sends what it sends from that one's address.
    pub default_route: bool,
}

/// Cumulative since the interface was attached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub rx_bytes: u64,
    pub tx_bytes: u64,
    pub rx_packets: u64,
    pub tx_packets: u64,
}

/// Blocking calls, each a few netlink messages; every one may run twice. Cheap enough (well under a
/// millisecond) to be made from an async task, but for `ensure_network` and `remove_network`.
pub trait Fabric: Send + Sync {
    /// Makes the network's namespace, pinned so that it outlives this process.
    fn ensure_network(&self, network: &str) -> Result<()>;
    /// Removes the pin; the namespace goes when its last user goes. Unknown: nothing.
    fn remove_network(&self, network: &str) -> Result<()>;
    fn networks(&self) -> Result<Vec<String>>;
    /// An address of the network itself (metadata, balancer nodes), on its loopback device.
    fn ensure_address(&self, network: &str, address: Ipv4Addr) -> Result<()>;
    fn remove_address(&self, network: &str, address: Ipv4Addr) -> Result<()>;
    fn addresses(&self, network: &str) -> Result<Vec<Ipv4Addr>>;
    /// Takes an interface's link down or up, as if the cable was pulled. Unknown: nothing.
    fn set_link(&self, network: &str, interface: &str, up: bool) -> Result<()>;
    /// Creates the veth pair with its inner end in the namespace `inner_netns` and configures both
    /// ends (addresses, default route, lo up). An outer end of that name that exists is replaced.
    fn attach(
        &self,
        network: &str,
        interface: &Interface,
        inner_netns: BorrowedFd<'_>,
    ) -> Result<()>;
    /// Makes the network what is wanted: who may talk to whom, and by which way, from now on.
    /// Connections that were admitted live on, but for those by addresses that are taken away. Cheap when nothing changed since this process last said
    /// so; a network that it was never said of lets everything through.
    fn apply(&self, network: &str, wanted: &network::Network) -> Result<()>;
    /// Makes the inner end answer at these addresses besides its own, and at no others that were once
    /// given to it so. The network leads there by `apply`.
    fn assign(
        &self,
        interface: &Interface,
        others: &[Ipv4Addr],
        inner_netns: BorrowedFd<'_>,
    ) -> Result<()>;
    /// Takes an interface away from its instance, which goes on without; the link itself goes in the
    /// background. Unknown: nothing.
    fn detach(&self, network: &str, interface: &str) -> Result<()>;
    /// What went through the network, and with `Network::log` what was dropped, since the last call; the
    /// first one begins to count.
    fn flows(&self, network: &str) -> Result<Vec<network::Flow>>;
    /// A file that opens as the network's namespace (for `setns`), for other processes of this program.
    fn namespace_path(&self, network: &str) -> Result<PathBuf>;
    /// A socket that lives in the network, made by a thread that stays there. TCP, not blocking, not yet
    /// bound.
    fn tcp_socket(&self, network: &str) -> Result<std::os::fd::OwnedFd>;
    /// What an interface carried, as its instance sees it. `None`: unknown.
    fn counters(&self, network: &str, interface: &str) -> Option<Counters>;
}
