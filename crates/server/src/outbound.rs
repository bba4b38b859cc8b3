//! The way out: what instances send to the world arrives at sockets of the internet namespace, and goes
//! on from sockets of this host as if a program here had sent it. The host's tables are left alone, and
//! where the host reaches nobody, instances learn so at once.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fabric::linux::{Datagrams, Outbound};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::Interest;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::timeout;

const DIAL: Duration = Duration::from_secs(10);
/// A connection whose instance ended without a word is found out after some times this.
const KEEPALIVE: Duration = Duration::from_secs(60);
const IDLE: Duration = Duration::from_secs(60);
const MAX_SESSIONS: usize = 1024;
const MAX_DATAGRAM: usize = 65_535;

/// Where connections to the world are made from.
pub trait Dial: Send + Sync + 'static {
    fn tcp(&self, to: SocketAddrV4) -> impl Future<Output = io::Result<TcpStream>> + Send;
    /// Connected: it receives from there only.
    fn udp(&self, to: SocketAddrV4) -> impl Future<Output = io::Result<UdpSocket>> + Send;
}

/// This host's own network. The host itself is no part of the world: services that listen for the outside
/// may trust what is dialed from here.
pub struct Host;

impl Dial for Host {
    async fn tcp(&self, to: SocketAddrV4) -> io::Result<TcpStream> {
        self.udp(to).await?;
        timeout(DIAL, TcpStream::connect(to)).await?
    }

    async fn udp(&self, to: SocketAddrV4) -> io::Result<UdpSocket> {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
        socket.connect(to).await?;
        // The kernel dials the host's own addresses from themselves.
        if socket.local_addr()?.ip() == *to.ip() {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        Ok(socket)
    }
}

/// Relays until dropped.
pub async fn serve(outbound: Outbound, dial: Arc<impl Dial>) -> io::Result<()> {
    let listener = TcpListener::from_std(outbound.tcp)?;
    let socket = UdpSocket::from_std(outbound.udp.socket()?)?;
    tokio::join!(streams(listener, Arc::clone(&dial)), receive(outbound.udp, socket, dial));
    Ok(())
}

async fn streams(listener: TcpListener, dial: Arc<impl Dial>) {
    loop {
        let Ok((inside, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let Ok(SocketAddr::V4(to)) = inside.local_addr() else { continue };
        let dial = Arc::clone(&dial);
        tokio::spawn(async move { relay(inside, to, &*dial).await });
    }
}

/// Fails towards the instance as it fails towards the world.
async fn relay(mut inside: TcpStream, to: SocketAddrV4, dial: &impl Dial) {
    let relayed = async {
        let mut outside = dial.tcp(to).await?;
        for stream in [&inside, &outside] {
            SockRef::from(stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE))?;
            stream.set_nodelay(true)?;
        }
        let copied = tokio::io::copy_bidirectional(&mut inside, &mut outside).await;
        copied.inspect_err(|_| reset(&outside))
    };
    if relayed.await.is_err() {
        reset(&inside);
    }
}

/// Ends a connection by a reset once it is dropped.
fn reset(stream: &TcpStream) {
    // It is closed in any case.
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

/// Who sends and where to.
type Session = (SocketAddrV4, SocketAddrV4);
type Sessions = Arc<Mutex<HashMap<Session, Sender<Vec<u8>>>>>;

/// The first datagrams of each session; later ones go to a socket of its own.
async fn receive(datagrams: Datagrams, socket: UdpSocket, dial: Arc<impl Dial>) {
    let sessions = Sessions::default();
    let datagrams = Arc::new(datagrams);
    let mut buffer = vec![0; MAX_DATAGRAM];
    loop {
        if socket.readable().await.is_err() {
            return;
        }
        let received = socket.try_io(Interest::READABLE, || datagrams.receive(&mut buffer));
        let Ok((length, from, to)) = received else { continue };
        let datagram = buffer[..length].to_vec();
        let mut open = sessions.lock().expect("no panics under the lock");
        if let Some(queue) = open.get(&(from, to)) {
            // Datagrams may be lost.
            let _ = queue.try_send(datagram);
            continue;
        }
        if open.len() == MAX_SESSIONS {
            continue;
        }
        let Ok(inside) = datagrams.stand_in(to, from).and_then(UdpSocket::from_std) else {
            continue;
        };
        let (queue, first) = channel(64);
        let _ = queue.try_send(datagram);
        open.insert((from, to), queue);
        let (sessions, dial) = (Arc::clone(&sessions), Arc::clone(&dial));
        let datagrams = Arc::clone(&datagrams);
        tokio::spawn(async move {
            let exchanged = match dial.udp(to).await {
                Ok(outside) => exchange(inside, outside, first, IDLE).await,
                Err(error) => Err(error),
            };
            if let Err(error) = exchanged {
                let port = error.kind() == io::ErrorKind::ConnectionRefused;
                // Datagrams may be lost, and so may word of it.
                let _ = datagrams.refuse(from, to, port);
            }
            sessions.lock().expect("no panics under the lock").remove(&(from, to));
        });
    }
}

/// Until nothing comes for a while, or the world says that nobody is there.
async fn exchange(
    inside: UdpSocket,
    outside: UdpSocket,
    mut first: Receiver<Vec<u8>>,
    idle: Duration,
) -> io::Result<()> {
    let (mut from_inside, mut from_outside) = (vec![0; MAX_DATAGRAM], vec![0; MAX_DATAGRAM]);
    loop {
        tokio::select! {
            Some(datagram) = first.recv() => outside.send(&datagram).await?,
            Ok(length) = inside.recv(&mut from_inside) => {
                outside.send(&from_inside[..length]).await?
            }
            received = outside.recv(&mut from_outside) => {
                // Where the instance has closed its socket, there is nobody to tell.
                let Ok(sent) = inside.send(&from_outside[..received?]).await else { return Ok(()) };
                sent
            }
            () = tokio::time::sleep(idle) => return Ok(()),
        };
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// Everything in the world is at one address.
    struct World(SocketAddr);

    impl Dial for World {
        async fn tcp(&self, _: SocketAddrV4) -> io::Result<TcpStream> {
            TcpStream::connect(self.0).await
        }

        async fn udp(&self, _: SocketAddrV4) -> io::Result<UdpSocket> {
            let socket = udp().await;
            socket.connect(self.0).await?;
            Ok(socket)
        }
    }

    const ANYWHERE: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 80);

    async fn listener() -> TcpListener {
        TcpListener::bind("127.0.0.1:0").await.unwrap()
    }

    async fn udp() -> UdpSocket {
        UdpSocket::bind("127.0.0.1:0").await.unwrap()
    }

    /// An instance's end of a connection, and the relay's.
    async fn pair() -> (TcpStream, TcpStream) {
        let listener = listener().await;
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (client, listener.accept().await.unwrap().0)
    }

    #[tokio::test]
    async fn both_directions_are_carried_and_end_apart() {
        let world = listener().await;
        let dial = World(world.local_addr().unwrap());
        let (mut client, inside) = pair().await;
        let relay = tokio::spawn(async move { relay(inside, ANYWHERE, &dial).await });
        let (mut server, _) = world.accept().await.unwrap();
        client.write_all(b"question").await.unwrap();
        client.shutdown().await.unwrap();
        let mut question = String::new();
        server.read_to_string(&mut question).await.unwrap();
        server.write_all(b"answer").await.unwrap();
        drop(server);
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert_eq!((question.as_str(), answer.as_str()), ("question", "answer"));
        relay.await.unwrap();
    }

    #[tokio::test]
    async fn what_nobody_answers_is_reset() {
        let nobody = listener().await.local_addr().unwrap();
        let (mut client, inside) = pair().await;
        relay(inside, ANYWHERE, &World(nobody)).await;
        let error = client.read(&mut [0]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }

    #[tokio::test]
    async fn a_reset_from_the_world_is_passed_on() {
        let world = listener().await;
        let dial = World(world.local_addr().unwrap());
        let (mut client, inside) = pair().await;
        let relay = tokio::spawn(async move { relay(inside, ANYWHERE, &dial).await });
        let (server, _) = world.accept().await.unwrap();
        reset(&server);
        drop(server);
        let error = client.read(&mut [0]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        relay.await.unwrap();
    }

    #[tokio::test]
    async fn this_host_is_not_the_world() {
        let here = listener().await;
        let SocketAddr::V4(address) = here.local_addr().unwrap() else { unreachable!() };
        let error = Host.tcp(address).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert!(Host.udp(address).await.is_err());
    }

    #[tokio::test]
    async fn datagrams_go_both_ways_until_idle() {
        let (client, inside, world) = (udp().await, udp().await, udp().await);
        client.connect(inside.local_addr().unwrap()).await.unwrap();
        inside.connect(client.local_addr().unwrap()).await.unwrap();
        let outside = World(world.local_addr().unwrap()).udp(ANYWHERE).await.unwrap();
        let (queue, first) = channel(1);
        queue.try_send(b"first".to_vec()).unwrap();
        let exchange = tokio::spawn(exchange(inside, outside, first, Duration::from_millis(300)));
        let mut buffer = [0; 16];
        let (length, relay) = world.recv_from(&mut buffer).await.unwrap();
        assert_eq!(&buffer[..length], b"first");
        client.send(b"second").await.unwrap();
        let length = world.recv(&mut buffer).await.unwrap();
        assert_eq!(&buffer[..length], b"second");
        world.send_to(b"answer", relay).await.unwrap();
        let length = client.recv(&mut buffer).await.unwrap();
        assert_eq!(&buffer[..length], b"answer");
        exchange.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn what_the_world_refuses_is_told() {
        let (client, inside) = (udp().await, udp().await);
        client.connect(inside.local_addr().unwrap()).await.unwrap();
        inside.connect(client.local_addr().unwrap()).await.unwrap();
        let nobody = udp().await.local_addr().unwrap();
        let outside = World(nobody).udp(ANYWHERE).await.unwrap();
        let (queue, first) = channel(1);
        queue.try_send(b"anybody?".to_vec()).unwrap();
        let error = exchange(inside, outside, first, Duration::from_secs(60)).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }
}
