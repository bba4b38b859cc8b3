//! What answers inside a network: metadata, the endpoint, the services under AWS's own names, and the
//! resolver of these names. It ends when the network goes.

use std::collections::HashMap;
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
use crate::networks::{Change, Opened};

pub struct Mounts {
    pub env: Env,
    pub gateway: Arc<Gateway>,
    pub metadata: Arc<metadata::Service>,
    pub tls: TlsAcceptor,
}

impl Mounts {
    /// Serves networks as they come, until dropped.
    pub async fn serve(self, mut changes: UnboundedReceiver<Change>) -> std::io::Result<()> {
        let mut served = HashMap::new();
        while let Some(change) = changes.recv().await {
            match change {
                Change::Opened(network) => {
                    served.insert(network.name.clone(), self.mount(network)?);
                }
                // Listeners are users of a namespace: it goes when they do.
                Change::Removed(network) => drop(served.remove(&network)),
            }
        }
        // Nobody opens networks: compute is simulated.
        std::future::pending().await
    }

    fn mount(&self, network: Opened) -> std::io::Result<JoinSet<()>> {
        let mut tasks = JoinSet::new();
        let region = dns::ops::vpc_of(&self.env, &network.name).map(|(cx, _)| cx.region);
        let inside = Inside { region: region.unwrap_or_default(), vpc_id: network.name.clone() };
        let door = Door::Network(Arc::new(inside));
        let metadata = TcpListener::from_std(network.metadata)?;
        tasks.spawn(imds::serve(Arc::clone(&self.metadata), network.name.clone(), metadata));
        for listener in std::iter::once(network.endpoint).chain(network.plain) {
            let listener = TcpListener::from_std(listener)?;
            tasks.spawn(Arc::clone(&self.gateway).serve(listener, door.clone(), None));
        }
        for listener in network.secure {
            let (listener, tls) = (TcpListener::from_std(listener)?, Some(self.tls.clone()));
            tasks.spawn(Arc::clone(&self.gateway).serve(listener, door.clone(), tls));
        }
        let resolver = Arc::new(Resolver::of_network(&self.env, &network.name));
        for (udp, tcp) in network.resolvers {
            let (udp, tcp) = (UdpSocket::from_std(udp)?, TcpListener::from_std(tcp)?);
            tasks.spawn(Arc::clone(&resolver).serve(udp, tcp));
        }
        Ok(tasks)
    }
}
