//! `http://NAME-ID.REGION.elb.localhost:4566`: the gateway's port carries the traffic of load
//! balancers too. Browsers and curl resolve `*.localhost` to this host; the connection's first Host
//! header names the balancer, and from then on bytes pass unread to one of its live nodes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use cloud::Env;
use cloud::elbv2::model::{Listener, LoadBalancer, Node};
use cloud::elbv2::ops::load_balancer;
use tokio::io::{AsyncWriteExt, copy_bidirectional};
use tokio::net::TcpStream;

const SUFFIX: &str = ".elb.localhost";
/// A head that does not show its Host by then is not for us.
const PEEK_BYTES: usize = 4096;
const PEEK_TIME: Duration = Duration::from_secs(2);

/// The balancer's name, when the connection's first request is for one. Reads nothing away.
pub async fn peek(stream: &TcpStream) -> Option<String> {
    let mut buffer = [0; PEEK_BYTES];
    let deadline = tokio::time::Instant::now() + PEEK_TIME;
    let mut seen = 0;
    loop {
        let length = match tokio::time::timeout_at(deadline, stream.peek(&mut buffer)).await {
            Ok(Ok(length)) if length > seen => length,
            // Nothing new: peek answers at once with what is there, so give the client a moment.
            Ok(Ok(length)) if length > 0 && tokio::time::Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(1)).await;
                continue;
            }
            _ => return None,
        };
        seen = length;
        match host(&buffer[..length]) {
            Head::Host(host) => {
                let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
                let name = name.to_ascii_lowercase();
                return name.ends_with(SUFFIX).then_some(name);
            }
            Head::None => return None,
            Head::Partial if length == PEEK_BYTES => return None,
            Head::Partial => {}
        }
    }
}

enum Head<'a> {
    Host(&'a str),
    None,
    Partial,
}

fn host(head: &[u8]) -> Head<'_> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut headers);
    let complete = match request.parse(head) {
        Ok(status) => status.is_complete(),
        Err(_) => return Head::None,
    };
    let host = request.headers.iter().find(|header| header.name.eq_ignore_ascii_case("host"));
    match host.map(|header| std::str::from_utf8(header.value)) {
        Some(Ok(host)) => Head::Host(host),
        Some(Err(_)) => Head::None,
        None if complete => Head::None,
        None => Head::Partial,
    }
}

/// Carries one connection to a live node of the balancer called `name`.
pub async fn carry(env: &Env, name: &str, mut client: TcpStream) {
    let Some(nodes) = nodes(env, name) else {
        refuse(&mut client, "404 Not Found", "No load balancer has this name.").await;
        return;
    };
    for node in nodes {
        if let Ok(mut upstream) = TcpStream::connect(node).await {
            let _ = upstream.set_nodelay(true);
            let _ = copy_bidirectional(&mut client, &mut upstream).await;
            return;
        }
    }
    refuse(&mut client, "503 Service Unavailable", "No node of this load balancer answers.").await;
}

/// Addresses on this host, of live zones only, in an order that changes from call to call; those of
/// the listener on port 80, else of the one with the lowest port. `None`: no balancer has this name.
pub fn nodes(env: &Env, name: &str) -> Option<Vec<SocketAddr>> {
    let snapshot = env.store.read();
    let balancer = snapshot.scan::<LoadBalancer>("").find(|balancer| balancer.dns_name == name)?;
    let ports: Vec<u16> = snapshot
        .scan::<Listener>("")
        .filter(|listener| listener.load_balancer == balancer.arn)
        .map(|listener| listener.port)
        .collect();
    let port = ports.iter().copied().find(|port| *port == 80).or(ports.into_iter().min());
    let nodes = load_balancer::live_nodes(&snapshot, env, name)?;
    let address = |node: &Arc<Node>| Some(SocketAddr::from((node.public_ip?, port?)));
    Some(nodes.iter().filter_map(address).collect())
}

async fn refuse(client: &mut TcpStream, status: &str, text: &str) {
    let answer = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}\n",
        text.len() + 1
    );
    let _ = client.write_all(answer.as_bytes()).await;
    let _ = client.shutdown().await;
}
