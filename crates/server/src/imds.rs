//! Instance metadata, served at 169.254.169.254 in each network's own namespace; nothing is installed
//! in a guest for it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::AsFd;
use std::sync::Arc;

use cloud::ec2::instance::metadata::{HopLimit, Service};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use socket2::Socket;
use tokio::net::{TcpListener, TcpStream};

use crate::gateway::{Answer, full};

const MAX_BODY: usize = 64 << 10;

/// Serves the instances of `network` until dropped.
pub async fn serve(service: Arc<Service>, network: String, listener: TcpListener) {
    let network: Arc<str> = network.into();
    loop {
        let Ok((stream, peer)) = listener.accept().await else {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            continue;
        };
        tokio::spawn(connection(Arc::clone(&service), Arc::clone(&network), stream, peer));
    }
}

async fn connection(
    metadata: Arc<Service>,
    network: Arc<str>,
    stream: TcpStream,
    peer: SocketAddr,
) {
    let IpAddr::V4(source) = peer.ip() else { return };
    let Ok(socket) = stream.as_fd().try_clone_to_owned().map(Socket::from) else { return };
    let socket = Arc::new(socket);
    let service = service_fn(move |request| {
        let (metadata, network, socket) =
            (Arc::clone(&metadata), Arc::clone(&network), Arc::clone(&socket));
        async move {
            let answer = answer(&metadata, &network, source, request).await;
            if let Some(HopLimit(limit)) = answer.extensions().get() {
                limit_hops(&socket, (*limit).into())?;
            }
            Ok::<_, io::Error>(answer)
        }
    });
    let _ = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

/// Packets that have spent their hops do not reach a container behind the instance. The limit is there for
/// as long as the connection is: a token that did not arrive is sent again, along with later answers.
fn limit_hops(socket: &Socket, limit: u32) -> io::Result<()> {
    if limit < socket.ttl_v4()? { socket.set_ttl_v4(limit) } else { Ok(()) }
}

async fn answer(
    metadata: &Service,
    network: &str,
    source: Ipv4Addr,
    request: http::Request<Incoming>,
) -> Answer {
    let (parts, body) = request.into_parts();
    // No request here has a body that matters; it is read so that the connection can go on.
    let _ = Limited::new(body, MAX_BODY).collect().await;
    metadata.answer(network, source, &http::Request::from_parts(parts, ())).map(full)
}
