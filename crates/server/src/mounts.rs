//! What answers inside a network: metadata, the endpoint, the services under AWS's own names, and the
//! resolver of these names. It ends when the network goes.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use cloud::ec2::instance::metadata;
use cloud::iam::Inside;
use cloud::{Env, dns};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::dns::Resolver;
use crate::gateway::{Door, Gateway};
use crate::imds;
use crate::networks::{Change, Endpoint, Opened};

pub struct Mounts {
    pub env: Env,
    pub gateway: Arc<Gateway>,
    pub metadata: Arc<metadata::Service>,
    pub tls: TlsAcceptor,
}

impl Mounts {
    /// Serves networks as they come, until dropped.
    pub async fn serve(self, mut changes: UnboundedReceiver<Change>) -> std::io::Result<()> {
        let mut served: HashMap<String, Mount> = HashMap::new();
        while let Some(change) = changes.recv().await {
            match change {
                Change::Opened(network) => {
                    served.insert(network.name.clone(), self.mount(network)?);
                }
                // Listeners are users of a namespace: it goes when they do.
                Change::Removed(network) => drop(served.remove(&network)),
                Change::EndpointOpened(endpoint) => {
                    if let Some(mount) = served.get_mut(&endpoint.network) {
                        let address = endpoint.address;
                        let door = self.door(&endpoint.network, Some(address));
                        let mut tasks = JoinSet::new();
                        self.endpoint(&mut tasks, &door, endpoint)?;
                        mount.endpoints.insert(address, tasks);
                    }
                }
                Change::EndpointRemoved { network, address } => {
                    let mount = served.get_mut(&network);
                    drop(mount.and_then(|mount| mount.endpoints.remove(&address)));
                }
            }
        }
        // Nobody opens networks: compute is simulated.
        std::future::pending().await
    }

    fn mount(&self, network: Opened) -> std::io::Result<Mount> {
        let mut tasks = JoinSet::new();
        let door = self.door(&network.name, None);
        let metadata = TcpListener::from_std(network.metadata)?;
        tasks.spawn(imds::serve(Arc::clone(&self.metadata), network.name.clone(), metadata));
        let endpoint = TcpListener::from_std(network.endpoint)?;
        tasks.spawn(Arc::clone(&self.gateway).serve(endpoint, door.clone(), None));
        for service in network.services {
            self.endpoint(&mut tasks, &door, service)?;
        }
        let resolver = Arc::new(Resolver::of_network(&self.env, &network.name));
        for (udp, tcp) in network.resolvers {
            let (udp, tcp) = (UdpSocket::from_std(udp)?, TcpListener::from_std(tcp)?);
            tasks.spawn(Arc::clone(&resolver).serve(udp, tcp));
        }
        Ok(Mount { _tasks: tasks, endpoints: HashMap::new() })
    }

    /// `endpoint`: the address of an interface endpoint, if it is the door of one.
    fn door(&self, network: &str, endpoint: Option<Ipv4Addr>) -> Door {
        let region = dns::ops::vpc_of(&self.env, network).map(|(cx, _)| cx.region);
        let (region, vpc_id) = (region.unwrap_or_default(), network.to_owned());
        Door::Network(Arc::new(Inside { region, vpc_id, endpoint }))
    }

    fn endpoint(
        &self,
        tasks: &mut JoinSet<()>,
        door: &Door,
        endpoint: Endpoint,
    ) -> std::io::Result<()> {
        let Endpoint { plain, secure, .. } = endpoint;
        for (listener, tls) in [(plain, None), (secure, Some(self.tls.clone()))] {
            let listener = TcpListener::from_std(listener)?;
            tasks.spawn(Arc::clone(&self.gateway).serve(listener, door.clone(), tls));
        }
        Ok(())
    }
}

/// What is served in one network; it ends when this is dropped.
struct Mount {
    _tasks: JoinSet<()>,
    /// By address.
    endpoints: HashMap<Ipv4Addr, JoinSet<()>>,
}
