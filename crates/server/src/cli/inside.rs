//! `drover exec`, `drover console`, and the hidden `drover connect` that ssh goes through.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Args;
use compute::exec::{Program, Size};
use hyper_util::rt::TokioIo;
use rustix::termios::{self, OptionalActions, Termios};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::Cloud;
use crate::stream::{self, END, ERRORS, FAILED, INPUT, INPUT_END, OUTPUT, PROGRAM, RESIZE};

/// Ctrl-]
const LEAVE: u8 = 0x1d;

#[derive(Args)]
#[command(after_help = "Examples:
  drover exec i-0123456789abcdef0 -- cat /etc/os-release
  drover exec -it i-0123456789abcdef0              a shell
Runs as root of the instance and needs nothing in its image but the program. Exits as the program does.")]
pub struct Exec {
    /// Give the program a terminal, and what is typed here
    #[arg(short = 't', long)]
    terminal: bool,
    /// Give the program this command's input
    #[arg(short, long)]
    input: bool,
    /// Directory the program runs in
    #[arg(short, long)]
    directory: Option<String>,
    /// Id of the instance
    instance: String,
    /// Program and arguments; with -t a login shell if there are none
    #[arg(last = true)]
    program: Vec<String>,
    #[command(flatten)]
    cloud: Cloud,
}

#[derive(Args)]
#[command(after_help = "Example:
  drover console --follow i-0123456789abcdef0      Ctrl-] leaves
Typing works where serial console access is enabled: aws ec2 enable-serial-console-access.")]
pub struct Console {
    /// Go on showing what is printed, and type what is typed
    #[arg(short, long)]
    follow: bool,
    /// Id of the instance
    instance: String,
    #[command(flatten)]
    cloud: Cloud,
}

#[derive(Args)]
pub struct Connect {
    instance: String,
    port: u16,
    #[command(flatten)]
    cloud: Cloud,
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

type Stream = TokioIo<hyper::upgrade::Upgraded>;

pub fn exec(options: Exec) -> Result<ExitCode> {
    let Exec { terminal, input, directory, instance, mut program, cloud } = options;
    if program.is_empty() && !terminal {
        bail!("no program is named: drover exec {instance} -- PROGRAM, or -it for a shell");
    }
    if program.is_empty() {
        let shell = "if command -v bash > /dev/null; then exec bash -l; else exec sh -l; fi";
        program = ["sh", "-c", shell].map(str::to_owned).to_vec();
    }
    let env = std::env::var("TERM").ok().filter(|_| terminal);
    let program = Program {
        arguments: program,
        env: env.map(|term| ("TERM".to_owned(), term)).into_iter().collect(),
        directories: directory.into_iter().collect(),
        script: None,
        terminal: terminal.then(|| size().unwrap_or(Size { rows: 24, columns: 80 })),
    };
    let runtime = runtime()?;
    let code = runtime.block_on(async {
        let path = format!("/_drover/instances/{instance}/exec");
        let mut stream = cloud.upgrade(&path).await?;
        stream::write(&mut stream, PROGRAM, &serde_json::to_vec(&program)?).await?;
        let raw = (terminal && std::io::stdin().is_terminal()).then(Raw::enter).transpose()?;
        let code = talk(stream, input || terminal, terminal, false).await;
        drop(raw);
        code
    })?;
    // A thread may be reading what is typed for ever.
    runtime.shutdown_background();
    Ok(ExitCode::from(u8::try_from(code & 0xff).unwrap_or(1)))
}

pub fn console(options: Console) -> Result<ExitCode> {
    let Console { follow, instance, cloud } = options;
    let runtime = runtime()?;
    let code = runtime.block_on(async {
        let mut stream = cloud.upgrade(&format!("/_drover/instances/{instance}/console")).await?;
        if !follow {
            // The first piece is all there is.
            match stream::read(&mut stream).await {
                Some((OUTPUT, text)) => std::io::stdout().write_all(&text)?,
                Some((FAILED, why)) => bail!("{}", String::from_utf8_lossy(&why)),
                _ => {}
            }
            return Ok(0);
        }
        let raw = std::io::stdin().is_terminal().then(Raw::enter).transpose()?;
        let code = talk(stream, true, false, raw.is_some()).await;
        drop(raw);
        code
    })?;
    runtime.shutdown_background();
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}

/// Until the other side ends; its code. `console`: Ctrl-] ends it too, and a line's end is more than that.
async fn talk(stream: Stream, typing: bool, sized: bool, console: bool) -> Result<i32> {
    let (mut from, mut to) = tokio::io::split(stream);
    let mut keys = typing.then(typed);
    // Whoever ended before it read what it was told has said why: that is still to be read.
    let mut open = typing;
    if !typing {
        let _ = stream::write(&mut to, INPUT_END, b"").await;
    }
    let mut resized = signal(SignalKind::window_change())?;
    loop {
        tokio::select! {
            piece = stream::read(&mut from) => {
                let Some((kind, data)) = piece else { bail!("the cloud has hung up") };
                match kind {
                    OUTPUT if console => show(&with_returns(&data))?,
                    OUTPUT => show(&data)?,
                    ERRORS if console => show(&[b"\r\n[", &data[..], b"]\r\n"].concat())?,
                    ERRORS => std::io::stderr().write_all(&data)?,
                    END => return Ok(String::from_utf8_lossy(&data).parse()?),
                    FAILED => bail!("{}", String::from_utf8_lossy(&data)),
                    _ => {}
                }
            }
            key = next(&mut keys), if open => {
                open = match key {
                    Some(data) if console && data.contains(&LEAVE) => return Ok(0),
                    Some(data) if !data.is_empty() => {
                        stream::write(&mut to, INPUT, &data).await.is_ok()
                    }
                    _ => {
                        let _ = stream::write(&mut to, INPUT_END, b"").await;
                        false
                    }
                }
            }
            _ = resized.recv(), if sized => {
                if let Some(size) = size() {
                    let _ = stream::write(&mut to, RESIZE, &serde_json::to_vec(&size)?).await;
                }
            }
        }
    }
}

/// What comes in here, in pieces; an empty one is the end. Read by a plain thread, which nobody waits for
/// in the end.
fn typed() -> mpsc::Receiver<Vec<u8>> {
    let (typed, keys) = mpsc::channel::<Vec<u8>>(16);
    std::thread::spawn(move || {
        let mut buffer = [0; 16 * 1024];
        let mut stdin = std::io::stdin().lock();
        while let Ok(n) = std::io::Read::read(&mut stdin, &mut buffer) {
            if typed.blocking_send(buffer[..n].to_vec()).is_err() || n == 0 {
                return;
            }
        }
    });
    keys
}

async fn next(keys: &mut Option<mpsc::Receiver<Vec<u8>>>) -> Option<Vec<u8>> {
    keys.as_mut()?.recv().await
}

fn show(data: &[u8]) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(data)?;
    Ok(stdout.flush()?)
}

/// In a raw terminal a line's end alone does not go back to its beginning.
fn with_returns(data: &[u8]) -> Vec<u8> {
    let mut all = Vec::with_capacity(data.len());
    for (at, byte) in data.iter().enumerate() {
        if *byte == b'\n' && (at == 0 || data[at - 1] != b'\r') {
            all.push(b'\r');
        }
        all.push(*byte);
    }
    all
}

fn size() -> Option<Size> {
    let size = termios::tcgetwinsize(std::io::stdout()).ok()?;
    Some(Size { rows: size.ws_row, columns: size.ws_col })
}

/// This terminal passes every key on as it is, until dropped.
struct Raw(Termios);

impl Raw {
    fn enter() -> Result<Raw> {
        let before = termios::tcgetattr(std::io::stdin()).context("terminal")?;
        let mut raw = before.clone();
        raw.make_raw();
        termios::tcsetattr(std::io::stdin(), OptionalActions::Now, &raw).context("terminal")?;
        Ok(Raw(before))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = termios::tcsetattr(std::io::stdin(), OptionalActions::Now, &self.0);
    }
}

/// Standard input and output are the connection.
pub fn connect(options: Connect) -> Result<ExitCode> {
    let Connect { instance, port, cloud } = options;
    let runtime = runtime()?;
    runtime.block_on(async {
        let path = format!("/_drover/instances/{instance}/connect/{port}");
        let (mut from, mut to) = tokio::io::split(cloud.upgrade(&path).await?);
        let mut keys = typed();
        let mut buffer = vec![0; 16 * 1024];
        let mut open = true;
        loop {
            tokio::select! {
                read = from.read(&mut buffer) => match read? {
                    0 => break,
                    n => show(&buffer[..n])?,
                },
                key = keys.recv(), if open => match key.filter(|data| !data.is_empty()) {
                    Some(data) => {
                        to.write_all(&data).await?;
                        to.flush().await?;
                    }
                    None => {
                        open = false;
                        to.shutdown().await?;
                    }
                }
            }
        }
        anyhow::Ok(())
    })?;
    runtime.shutdown_background();
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::with_returns;

    #[test]
    fn lines_begin_at_the_left() {
        assert_eq!(with_returns(b"\na\nb\r\nc"), b"\r\na\r\nb\r\nc");
    }
}
