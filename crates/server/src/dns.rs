//! DNS on the wire: the resolver of each network, and the one this host may ask. What names mean is
//! `cloud::dns`'s; what is not ours is passed, as it is, to the resolvers of this host.
//!
//! ```text
//!  question ─► cloud::dns ─┬─ ours ──────► answer
//!                          └─ elsewhere ─► nameservers of /etc/resolv.conf, two seconds in all
//!                                           └─ none, silent, unreachable ─► SERVFAIL
//! ```

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use cloud::Env;
use cloud::dns::{self, Answer};
use cloud::env::Rng;
use simple_dns::rdata::{A, OPT, PTR, RData};
use simple_dns::{
    CLASS, Name, OPCODE, Packet, PacketFlag, QTYPE, Question, RCODE, ResourceRecord, TYPE,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// For all servers asked together.
const PATIENCE: Duration = Duration::from_secs(2);
/// As many as the C library heeds.
const MOST_SERVERS: usize = 3;
/// Of a connection between questions.
const IDLE: Duration = Duration::from_secs(10);
/// Questions by UDP at once; more are dropped, as by a full queue.
const MOST_QUESTIONS: usize = 1024;
/// EDNS answers are not larger than what one unfragmented packet carries.
const PAYLOAD: u16 = 1232;

pub struct Resolver {
    answer: Box<dyn Fn(&str) -> Answer + Send + Sync>,
    /// Whom to ask what is elsewhere; `None`: that is refused.
    servers: Option<Box<dyn Fn() -> Vec<SocketAddr> + Send + Sync>>,
    rng: Rng,
}

#[derive(Clone, Copy, PartialEq)]
enum Transport {
    Udp,
    Tcp,
}

impl Resolver {
    /// To the instances of a network.
    pub fn of_network(env: &Env, network: &str) -> Resolver {
        let region = dns::ops::vpc_of(env, network).map(|(cx, _)| cx.region);
        let (env, network) = (env.clone(), network.to_owned());
        Resolver {
            rng: env.rng.clone(),
            answer: Box::new(move |name| match &region {
                Some(region) => {
                    let cx = dns::ops::context(&env, region);
                    dns::ops::inside(&cx.read(), &cx, &network, name)
                }
                None => Answer::Refused,
            }),
            servers: Some(Box::new(host_servers)),
        }
    }

    /// To this host.
    pub fn of_host(env: &Env) -> Resolver {
        let env = env.clone();
        Resolver {
            rng: env.rng.clone(),
            answer: Box::new(move |name| dns::ops::outside(&env.store.read(), &env, name)),
            // This host asks its own resolvers itself; to ask them here could go in a circle.
            servers: None,
        }
    }

    /// Answers until dropped.
    pub async fn serve(self: Arc<Self>, udp: UdpSocket, tcp: TcpListener) {
        tokio::join!(Arc::clone(&self).serve_udp(Arc::new(udp)), self.serve_tcp(tcp));
    }

    async fn serve_udp(self: Arc<Self>, socket: Arc<UdpSocket>) {
        let places = Arc::new(Semaphore::new(MOST_QUESTIONS));
        let mut buffer = [0; 4096];
        loop {
            let Ok((length, peer)) = socket.recv_from(&mut buffer).await else {
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            };
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
            let (question, socket) = (buffer[..length].to_vec(), Arc::clone(&socket));
            let resolver = Arc::clone(&self);
            tokio::spawn(async move {
                if let Some(answer) = resolver.reply(&question, Transport::Udp).await {
                    let _ = socket.send_to(&answer, peer).await;
                }
                drop(place);
            });
        }
    }

    async fn serve_tcp(self: Arc<Self>, listener: TcpListener) {
        loop {
            let Ok((mut stream, _)) = listener.accept().await else {
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            };
            let resolver = Arc::clone(&self);
            tokio::spawn(async move {
                while let Ok(Ok(question)) = timeout(IDLE, read_framed(&mut stream)).await {
                    let Some(answer) = resolver.reply(&question, Transport::Tcp).await else {
                        break;
                    };
                    if write_framed(&mut stream, &answer).await.is_err() {
                        break;
                    }
                }
            });
        }
    }

    /// `None`: not to be answered at all.
    async fn reply(&self, bytes: &[u8], transport: Transport) -> Option<Vec<u8>> {
        let Ok(query) = Packet::parse(bytes) else { return malformed(bytes) };
        if query.has_flags(PacketFlag::RESPONSE) {
            return None;
        }
        let [question] = query.questions.as_slice() else { return malformed(bytes) };
        let mut reply = Packet::new_reply(query.id());
        *reply.opcode_mut() = query.opcode();
        if query.has_flags(PacketFlag::RECURSION_DESIRED) {
            reply.set_flags(PacketFlag::RECURSION_DESIRED);
        }
        if self.servers.is_some() {
            reply.set_flags(PacketFlag::RECURSION_AVAILABLE);
        }
        if query.opt().is_some() {
            let (opt_codes, udp_packet_size) = (vec![], PAYLOAD);
            *reply.opt_mut() = Some(OPT { opt_codes, udp_packet_size, version: 0 });
        }
        reply.questions.push(question.clone());
        *reply.rcode_mut() = if query.opcode() != OPCODE::StandardQuery {
            RCODE::NotImplemented
        } else if question.qclass != CLASS::IN.into() {
            RCODE::Refused
        } else {
            let name = question.qname.to_string().to_ascii_lowercase();
            match (self.answer)(&name) {
                Answer::NoSuchName => RCODE::NameError,
                Answer::Refused => RCODE::Refused,
                Answer::Elsewhere => match &self.servers {
                    None => RCODE::Refused,
                    Some(servers) => match self.forward(&servers(), bytes, transport).await {
                        Some(reply) => return Some(reply),
                        None => RCODE::ServerFailure,
                    },
                },
                ours => {
                    reply.answers = records(question, ours)?;
                    RCODE::NoError
                }
            }
        };
        reply.build_bytes_vec_compressed().ok()
    }

    /// The first answer that one of the servers gives, for the client's own id.
    async fn forward(
        &self,
        servers: &[SocketAddr],
        query: &[u8],
        transport: Transport,
    ) -> Option<Vec<u8>> {
        let count = servers.len().min(MOST_SERVERS);
        for server in &servers[..count] {
            // An id that nobody knows, so that nobody but the server can answer.
            let id = (self.rng.u64() as u16).to_be_bytes();
            let question = [&id, &query[2..]].concat();
            let asked = async {
                match transport {
                    Transport::Udp => ask_udp(*server, &question).await,
                    Transport::Tcp => ask_tcp(*server, &question).await,
                }
            };
            if let Ok(Ok(mut reply)) = timeout(PATIENCE / count as u32, asked).await {
                reply[..2].copy_from_slice(&query[..2]);
                return Some(reply);
            }
        }
        None
    }
}

/// Of the kind that is asked for.
fn records<'a>(question: &Question<'a>, answer: Answer) -> Option<Vec<ResourceRecord<'a>>> {
    let asked = |kind: TYPE| question.qtype == kind.into() || question.qtype == QTYPE::ANY;
    let record = |ttl, data| ResourceRecord::new(question.qname.clone(), CLASS::IN, ttl, data);
    Some(match answer {
        Answer::Addresses { addresses, ttl_seconds } if asked(TYPE::A) => {
            let data = addresses.into_iter().map(|address| RData::A(A::from(address)));
            data.map(|data| record(ttl_seconds, data)).collect()
        }
        Answer::Name { name, ttl_seconds } if asked(TYPE::PTR) => {
            let name = Name::new(&name).ok()?.into_owned();
            vec![record(ttl_seconds, RData::PTR(PTR(name)))]
        }
        _ => vec![],
    })
}

async fn ask_udp(server: SocketAddr, question: &[u8]) -> std::io::Result<Vec<u8>> {
    let any: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(server).await?;
    socket.send(question).await?;
    let mut buffer = vec![0; 4096];
    loop {
        let length = socket.recv(&mut buffer).await?;
        if answers(&buffer[..length], question) {
            buffer.truncate(length);
            return Ok(buffer);
        }
    }
}

async fn ask_tcp(server: SocketAddr, question: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    write_framed(&mut stream, question).await?;
    let reply = read_framed(&mut stream).await?;
    if answers(&reply, question) { Ok(reply) } else { Err(std::io::ErrorKind::InvalidData.into()) }
}

/// RFC 1035, 4.2.2: two bytes of length before each message.
async fn read_framed(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut message = vec![0; stream.read_u16().await?.into()];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

async fn write_framed(stream: &mut TcpStream, message: &[u8]) -> std::io::Result<()> {
    let length = u16::try_from(message.len()).map_err(std::io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), message].concat()).await
}

/// Whether it is an answer, with the id and the question of `query`.
fn answers(reply: &[u8], query: &[u8]) -> bool {
    const HEADER: usize = 12;
    let Some(length) = question_length(query.get(HEADER..).unwrap_or_default()) else {
        return false;
    };
    let question = HEADER..HEADER + length;
    reply.len() >= question.end
        && reply[..2] == query[..2]
        && reply[2] & 0x80 != 0
        && reply[question.clone()].eq_ignore_ascii_case(&query[question])
}

/// Of a name without compression, a type and a class.
fn question_length(section: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        match usize::from(*section.get(at)?) {
            0 => return Some(at + 5).filter(|end| *end <= section.len()),
            label => at += label + 1,
        }
    }
}

/// FORMERR, if there is as much as an id to answer to and it is no answer itself.
fn malformed(query: &[u8]) -> Option<Vec<u8>> {
    let id = query.get(..12).filter(|header| header[2] & 0x80 == 0)?;
    Some([&id[..2], &[0x80, 1], &[0; 8]].concat())
}

/// As it is now: hosts move between networks.
fn host_servers() -> Vec<SocketAddr> {
    parse_servers(&std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default())
}

fn parse_servers(resolv_conf: &str) -> Vec<SocketAddr> {
    let lines = resolv_conf.lines().filter_map(|line| line.trim().strip_prefix("nameserver"));
    lines.filter_map(|rest| Some(SocketAddr::new(rest.trim().parse().ok()?, 53))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 5);

    /// Knows one name and an address, and asks `servers` for the rest.
    async fn resolver(servers: Option<Vec<SocketAddr>>) -> SocketAddr {
        let answer = |name: &str| match name {
            "web.ec2.internal" => {
                Answer::Addresses { addresses: vec![KNOWN, KNOWN], ttl_seconds: 60 }
            }
            "5.0.0.10.in-addr.arpa" => {
                Answer::Name { name: "web.ec2.internal".into(), ttl_seconds: 60 }
            }
            "none.internal" => Answer::NoSuchName,
            "off" => Answer::Refused,
            _ => Answer::Elsewhere,
        };
        let resolver = Arc::new(Resolver {
            answer: Box::new(answer),
            servers: servers.map(|servers| {
                let servers: Box<dyn Fn() -> Vec<SocketAddr> + Send + Sync> =
                    Box::new(move || servers.clone());
                servers
            }),
            rng: Rng::seeded(1),
        });
        let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = udp.local_addr().unwrap();
        let tcp = TcpListener::bind(address).await.unwrap();
        tokio::spawn(resolver.serve(udp, tcp));
        address
    }

    fn query(name: &str, kind: TYPE) -> Vec<u8> {
        packet(name, kind).build_bytes_vec().unwrap()
    }

    fn packet(name: &str, kind: TYPE) -> Packet<'_> {
        let mut packet = Packet::new_query(77);
        packet.set_flags(PacketFlag::RECURSION_DESIRED);
        let name = Name::new(name).unwrap();
        packet.questions.push(Question::new(name, kind.into(), CLASS::IN.into(), false));
        packet
    }

    async fn ask(server: SocketAddr, transport: Transport, query: &[u8]) -> Vec<u8> {
        let asked = async {
            match transport {
                Transport::Udp => ask_udp(server, query).await,
                Transport::Tcp => ask_tcp(server, query).await,
            }
        };
        timeout(Duration::from_secs(10), asked).await.expect("an answer in time").unwrap()
    }

    fn addresses(reply: &[u8]) -> (RCODE, Vec<String>) {
        let reply = Packet::parse(reply).unwrap();
        let shown = |record: &ResourceRecord<'_>| match &record.rdata {
            RData::A(a) => Ipv4Addr::from(a.address).to_string(),
            RData::PTR(PTR(name)) => name.to_string(),
            other => format!("{other:?}"),
        };
        (reply.rcode(), reply.answers.iter().map(shown).collect())
    }

    #[tokio::test]
    async fn what_is_ours_is_answered() {
        let server = resolver(Some(vec![])).await;
        for transport in [Transport::Udp, Transport::Tcp] {
            for (name, kind, code, expected) in [
                ("web.ec2.internal", TYPE::A, RCODE::NoError, &["10.0.0.5", "10.0.0.5"][..]),
                ("WEB.Ec2.Internal", TYPE::A, RCODE::NoError, &["10.0.0.5", "10.0.0.5"]),
                ("web.ec2.internal", TYPE::AAAA, RCODE::NoError, &[]),
                ("5.0.0.10.in-addr.arpa", TYPE::PTR, RCODE::NoError, &["web.ec2.internal"]),
                ("5.0.0.10.in-addr.arpa", TYPE::A, RCODE::NoError, &[]),
                ("none.internal", TYPE::A, RCODE::NameError, &[]),
                ("off", TYPE::A, RCODE::Refused, &[]),
            ] {
                let bytes = ask(server, transport, &query(name, kind)).await;
                let (found, answers) = addresses(&bytes);
                assert_eq!(
                    (found, answers),
                    (code, expected.iter().map(|s| (*s).to_owned()).collect())
                );
                let reply = Packet::parse(&bytes).unwrap();
                assert!(reply.has_flags(PacketFlag::RECURSION_AVAILABLE) && reply.opt().is_none());
                assert!(reply.answers.iter().all(|record| record.ttl == 60));
            }
        }
        let mut extended = packet("web.ec2.internal", TYPE::A);
        *extended.opt_mut() = Some(OPT { opt_codes: vec![], udp_packet_size: 4096, version: 0 });
        let reply = ask(server, Transport::Udp, &extended.build_bytes_vec().unwrap()).await;
        assert!(Packet::parse(&reply).unwrap().opt().is_some());
    }

    #[tokio::test]
    async fn the_rest_is_asked_of_others_and_refused_to_a_host() {
        let upstream = resolver(Some(vec![])).await;
        let gone = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let through = resolver(Some(vec![gone, upstream])).await;
        let alone = resolver(Some(vec![])).await;
        let refusing = resolver(None).await;
        for transport in [Transport::Udp, Transport::Tcp] {
            for (server, code) in [
                // The upstream has nobody to ask in turn.
                (through, RCODE::ServerFailure),
                (alone, RCODE::ServerFailure),
                (refusing, RCODE::Refused),
            ] {
                let reply = ask(server, transport, &query("example.com", TYPE::MX)).await;
                assert_eq!(addresses(&reply), (code, vec![]));
            }
        }
    }

    #[tokio::test]
    async fn an_answer_from_others_comes_back_for_the_client_s_question_and_id() {
        let upstream = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let server = resolver(Some(vec![upstream.local_addr().unwrap()])).await;
        let answered = tokio::spawn(async move {
            let mut buffer = [0; 512];
            let (length, peer) = upstream.recv_from(&mut buffer).await.unwrap();
            let question = Packet::parse(&buffer[..length]).unwrap();
            let mut reply = question.clone().into_reply();
            reply.answers = records(
                &question.questions[0],
                Answer::Addresses { addresses: vec![KNOWN], ttl_seconds: 1 },
            )
            .unwrap();
            // One that cannot be meant comes first.
            let mut forged = reply.clone();
            forged.set_id(question.id().wrapping_add(1));
            forged.answers.clear();
            for packet in [forged, reply] {
                upstream.send_to(&packet.build_bytes_vec().unwrap(), peer).await.unwrap();
            }
        });
        let reply = ask(server, Transport::Udp, &query("example.com", TYPE::A)).await;
        answered.await.unwrap();
        assert_eq!(addresses(&reply), (RCODE::NoError, vec![KNOWN.to_string()]));
    }

    #[tokio::test]
    async fn nobody_waits_for_a_silent_server() {
        let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let server = resolver(Some(vec![silent.local_addr().unwrap()])).await;
        let begin = tokio::time::Instant::now();
        let reply = ask(server, Transport::Udp, &query("example.com", TYPE::A)).await;
        assert_eq!(addresses(&reply), (RCODE::ServerFailure, vec![]));
        assert!(begin.elapsed() >= PATIENCE, "{:?}", begin.elapsed());
    }

    #[tokio::test]
    async fn nonsense_is_told_so_and_answers_are_not_answered() {
        let resolver = Resolver {
            answer: Box::new(|_| Answer::NoSuchName),
            servers: None,
            rng: Rng::seeded(1),
        };
        let reply = async |bytes: &[u8]| resolver.reply(bytes, Transport::Udp).await;
        let cut = &query("example.com", TYPE::A)[..20];
        let told = reply(cut).await.unwrap();
        assert_eq!((&told[..2], told[3] & 15), (&cut[..2], 1));
        assert_eq!(reply(&[1, 2, 3]).await, None);
        let answer = packet("example.com", TYPE::A).into_reply();
        assert_eq!(reply(&answer.build_bytes_vec().unwrap()).await, None);
    }

    #[test]
    fn servers_of_the_host() {
        let text = "# comment\nnameserver 10.0.0.2\n  nameserver\t::1\nsearch x\nnameserver bad\n";
        let found = parse_servers(text);
        assert_eq!(found, ["10.0.0.2:53".parse().unwrap(), "[::1]:53".parse().unwrap()]);
    }
}
