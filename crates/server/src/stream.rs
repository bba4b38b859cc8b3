//! What commands of this host say to an instance and hear of it, over an upgraded connection to
//! `/_drover/instances/ID/…`: a program run inside, the console. Pieces in both directions are
//!
//! ```text
//!  kind (1 byte)  length (4 bytes, big endian)  data
//! ```
//!
//! `connect/PORT` is upgraded to the plain bytes of a connection.

use std::io;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use cloud::ec2::instance::{Instance, serial_console};
use cloud::{Context, Env, ec2_instance_connect};
use compute::exec::{Error, Program, Running};
use http::{StatusCode, header};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::gateway::{Answer, full};

pub const PROTOCOL: &str = "drover";

/// From the command: what is to run (JSON, first of all), keys typed, their end, the terminal's size.
pub const PROGRAM: u8 = b'p';
pub const INPUT: u8 = b'i';
pub const INPUT_END: u8 = b'e';
pub const RESIZE: u8 = b'r';
/// From the daemon: what was printed, how it ended (decimal), why it could not be.
pub const OUTPUT: u8 = b'o';
pub const ERRORS: u8 = b'E';
pub const END: u8 = b'q';
pub const FAILED: u8 = b'x';

const MOST: u32 = 1 << 20;
/// How long what a program left in the background may go on printing.
const TRAILING: Duration = Duration::from_millis(500);
/// How often a console is looked at.
const LOOK: Duration = Duration::from_millis(30);

/// `None`: the other side is gone.
pub async fn read(from: &mut (impl AsyncRead + Unpin)) -> Option<(u8, Vec<u8>)> {
    let kind = from.read_u8().await.ok()?;
    let length = from.read_u32().await.ok().filter(|length| *length <= MOST)?;
    let mut data = vec![0; length as usize];
    from.read_exact(&mut data).await.ok()?;
    Some((kind, data))
}

pub async fn write(to: &mut (impl AsyncWrite + Unpin), kind: u8, data: &[u8]) -> io::Result<()> {
    to.write_u8(kind).await?;
    to.write_u32(data.len() as u32).await?;
    to.write_all(data).await?;
    to.flush().await
}

/// Answers that the connection is something else from now on, and hands it to `serve`.
fn upgrade<Fut>(
    mut request: http::Request<Incoming>,
    serve: impl FnOnce(TokioIo<hyper::upgrade::Upgraded>) -> Fut + Send + 'static,
) -> Answer
where
    Fut: Future<Output = io::Result<()>> + Send + 'static,
{
    let upgraded = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        if let Ok(stream) = upgraded.await {
            // Whoever is gone does not hear why.
            let _ = serve(TokioIo::new(stream)).await;
        }
    });
    let mut answer = http::Response::new(full(""));
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = answer.headers_mut();
    headers.insert(header::CONNECTION, http::HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, http::HeaderValue::from_static(PROTOCOL));
    answer
}

/// Whether the request asks for it.
fn asks(request: &http::Request<Incoming>) -> bool {
    request.headers().get(header::UPGRADE).is_some_and(|to| to.as_bytes() == PROTOCOL.as_bytes())
}

pub async fn answer(
    env: &Env,
    id: &str,
    what: &[&str],
    request: http::Request<Incoming>,
) -> Result<Answer> {
    if !asks(&request) {
        bail!("this path is for an upgraded connection");
    }
    let (env, id) = (env.clone(), id.to_owned());
    match what {
        ["exec"] => Ok(upgrade(request, move |stream| exec(env, id, stream))),
        ["console"] => {
            let instance = instance(&env, &id)?;
            Ok(upgrade(request, move |stream| console(env, instance, stream)))
        }
        ["connect", port] => {
            let port = port.parse().context("a port is a number")?;
            let connected = env.driver.connect(&id, port).await?;
            connected.set_nonblocking(true)?;
            let mut connected = tokio::net::TcpStream::from_std(connected)?;
            Ok(upgrade(request, |mut stream| async move {
                tokio::io::copy_bidirectional(&mut stream, &mut connected).await.map(drop)
            }))
        }
        _ => bail!("no such path"),
    }
}

fn instance(env: &Env, id: &str) -> Result<std::sync::Arc<Instance>> {
    let snapshot = env.store.read();
    let found = snapshot.scan::<Instance>("").find(|instance| instance.id == id);
    found.ok_or_else(|| anyhow!("no instance {id}"))
}

async fn exec(
    env: Env,
    id: String,
    stream: impl AsyncRead + AsyncWrite + Send + 'static,
) -> io::Result<()> {
    let (mut from, mut to) = tokio::io::split(stream);
    let Some((PROGRAM, program)) = read(&mut from).await else { return Ok(()) };
    let program: Program = serde_json::from_slice(&program)?;
    let running = match env.driver.exec(&id, &program).await {
        Ok(running) => running,
        Err(error) => return write(&mut to, FAILED, error.to_string().as_bytes()).await,
    };
    let Running { input, output, errors, resize, end } = running;
    let (pieces, mut queue) = mpsc::channel::<(u8, Vec<u8>)>(16);
    let writer = tokio::spawn(async move {
        while let Some((kind, data)) = queue.recv().await {
            if write(&mut to, kind, &data).await.is_err() {
                return;
            }
        }
    });
    let mut pumps = JoinSet::new();
    pumps.spawn(pump(output, OUTPUT, pieces.clone()));
    pumps.spawn(pump(errors, ERRORS, pieces.clone()));
    let typing = async {
        let mut input = Some(input);
        while let Some((kind, data)) = read(&mut from).await {
            match (kind, &mut input) {
                (INPUT, Some(open)) => {
                    // A program that does not read is not hindered.
                    let written = open.write_all(&data).await.and(open.flush().await);
                    if written.is_err() {
                        input = None;
                    }
                }
                (INPUT_END, _) => input = None,
                (RESIZE, _) => {
                    if let (Some(resize), Ok(size)) = (&resize, serde_json::from_slice(&data)) {
                        resize(size);
                    }
                }
                _ => {}
            }
        }
    };
    // Dropped because nobody listens any more, it kills the program.
    let ended = tokio::select! {
        ended = end => ended,
        () = typing => return Ok(()),
    };
    let _ =
        tokio::time::timeout(TRAILING, async { while pumps.join_next().await.is_some() {} }).await;
    let last = match ended {
        Ok(end) => (END, end.code().to_string().into_bytes()),
        Err(error) => (FAILED, error.to_string().into_bytes()),
    };
    let _ = pieces.send(last).await;
    pumps.abort_all();
    drop(pieces);
    while pumps.join_next().await.is_some() {}
    let _ = writer.await;
    Ok(())
}

async fn pump(mut from: impl AsyncRead + Unpin, kind: u8, to: mpsc::Sender<(u8, Vec<u8>)>) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(n) = from.read(&mut buffer).await {
        if n == 0 || to.send((kind, buffer[..n].to_vec())).await.is_err() {
            return;
        }
    }
}

/// Until whoever looks is gone, or the instance.
async fn console(
    env: Env,
    instance: std::sync::Arc<Instance>,
    stream: impl AsyncRead + AsyncWrite + Send + 'static,
) -> io::Result<()> {
    let (mut from, mut to) = tokio::io::split(stream);
    let Some(mut follow) = env.driver.follow_console(&instance.id) else {
        let why = format!("{} has no console now", instance.id);
        return write(&mut to, FAILED, why.as_bytes()).await;
    };
    let (refusals, mut refused) = mpsc::channel::<String>(4);
    let typing = async {
        while let Some((kind, keys)) = read(&mut from).await {
            if kind == INPUT
                && let Err(why) = type_on(&env, &instance, &keys)
            {
                let _ = refusals.send(why).await;
            }
        }
    };
    let printing = async {
        let mut look = tokio::time::interval(LOOK);
        loop {
            let printed = tokio::select! {
                _ = look.tick() => follow(),
                Some(why) = refused.recv() => {
                    write(&mut to, ERRORS, why.as_bytes()).await?;
                    continue;
                }
            };
            for piece in printed.chunks(MOST as usize) {
                write(&mut to, OUTPUT, piece).await?;
            }
            if printed.is_empty() && env.driver.follow_console(&instance.id).is_none() {
                return write(&mut to, END, b"0").await;
            }
        }
    };
    tokio::select! {
        () = typing => Ok(()),
        printed = printing => printed,
    }
}

fn type_on(env: &Env, instance: &Instance, keys: &[u8]) -> Result<(), String> {
    let cx = Context::service(env, &instance.account, &instance.region, "drover");
    if !serial_console::is_enabled(&cx.read(), &cx) {
        return Err("typing is off: aws ec2 enable-serial-console-access turns it on".to_owned());
    }
    env.driver.type_on_console(&instance.id, keys).map_err(|error| error.to_string())
}

/// Lets a key in as SendSSHPublicKey does, and says by what keys the host is known.
pub async fn ssh(env: &Env, id: &str, body: &[u8]) -> Result<Value> {
    #[derive(serde::Deserialize)]
    struct Ask {
        user: String,
        public_key: String,
        port: u16,
    }
    let Ask { user, public_key, port } = serde_json::from_slice(body)?;
    let instance = instance(env, id)?;
    match env.driver.connect(id, port).await {
        Ok(_) => {}
        Err(Error::Refused(why)) => bail!(
            "{why}: no sshd runs there. Its image needs openssh-server, started at boot; without it, \
             drover exec -it {id} gives a shell"
        ),
        Err(error) => return Err(error.into()),
    }
    let program = Program {
        arguments: ["sh", "-c", "cat /etc/ssh/ssh_host_*_key.pub"].map(str::to_owned).to_vec(),
        ..Program::default()
    };
    let mut running = env.driver.exec(id, &program).await?;
    let mut keys = String::new();
    tokio::time::timeout(Duration::from_secs(10), running.output.read_to_string(&mut keys))
        .await??;
    let host_keys: Vec<&str> = keys.lines().filter(|line| !line.trim().is_empty()).collect();
    if host_keys.is_empty() {
        bail!("{id} has no host keys in /etc/ssh: ssh-keygen -A there makes them");
    }
    let cx = Context::service(env, &instance.account, &instance.region, "drover");
    let send = ec2_instance_connect::ops::Send {
        instance_id: id.to_owned(),
        user,
        public_key,
        zone: None,
    };
    let sent = ec2_instance_connect::ops::send(&cx, &send).await;
    sent.map_err(|error| anyhow!("{}", wire::Error::from(error).message))?;
    Ok(json!({"host_keys": host_keys}))
}
