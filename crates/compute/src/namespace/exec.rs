//! The daemon's side of running a program inside an instance; what is done there is in `enter`.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::unix::pipe;

use super::driver::Inner;
use super::enter::{PIECE, Reply, Request, Work};
use super::record::{self, Record};
use super::{plug, sys};
use crate::Phase;
use crate::exec::{End, Error, Keys, Program, Result, Running, Size};

fn host(error: impl std::fmt::Display) -> Error {
    Error::Host(error.to_string())
}

/// Of an instance that is up: its init, and what was said of it when it booted.
struct Inside {
    init: OwnedFd,
    pid: i32,
    record: Record,
}

impl Inner {
    fn inside(&self, id: &str) -> Result<Inside> {
        let gone = || Error::NotRunning(id.to_owned());
        let slot = self.slot(id).ok_or_else(gone)?;
        let pid = {
            let state = slot.state();
            let up = matches!(state.now, Some((_, Phase::Up)));
            state.pid.filter(|_| up).ok_or_else(gone)?
        };
        let init = sys::pidfd_open(pid).map_err(|_| gone())?;
        let record: Record = record::read(&slot.home.record()).ok_or_else(gone)?;
        // Its own still, and not another's that got the number of one that is gone.
        let map = std::fs::read_to_string(format!("/proc/{pid}/uid_map")).unwrap_or_default();
        let first = map.split_whitespace().nth(1).and_then(|first| first.parse::<u32>().ok());
        if first != Some(record.first_id) {
            return Err(gone());
        }
        Ok(Inside { init, pid, record })
    }

    pub async fn exec(self: &Arc<Self>, id: &str, program: &Program) -> Result<Running> {
        if let Some(missing) = program.arguments.is_empty().then_some("no program is named") {
            return Err(Error::Refused(missing.into()));
        }
        let nul = |text: &String| text.contains('\0');
        let env = program.env.iter().any(|(key, value)| nul(key) || nul(value));
        if env || program.arguments.iter().any(nul) || program.directories.iter().any(nul) {
            return Err(Error::Refused("an argument holds a zero byte".into()));
        }
        if program.terminal.is_some() {
            let (control, terminal) = self.begin_work(id, Work::Run(program.clone()), []).await?;
            return with_terminal(control, terminal);
        }
        let pipe = || std::io::pipe().map_err(host);
        let ((in_end, input), (output, out_end), (errors, err_end)) = (pipe()?, pipe()?, pipe()?);
        let theirs = [in_end.into(), out_end.into(), err_end.into()];
        let (control, _) = self.begin_work(id, Work::Run(program.clone()), theirs).await?;
        let receiver = |fd: std::io::PipeReader| pipe::Receiver::from_owned_fd(fd.into());
        Ok(Running {
            input: Box::new(pipe::Sender::from_owned_fd(input.into()).map_err(host)?),
            output: Box::new(receiver(output).map_err(host)?),
            errors: Box::new(receiver(errors).map_err(host)?),
            resize: None,
            end: Box::pin(ended(control)),
        })
    }

    pub async fn authorize(self: &Arc<Self>, id: &str, keys: &Keys) -> Result<()> {
        let null = || std::fs::File::options().read(true).write(true).open("/dev/null");
        let theirs = [null(), null(), null()];
        let theirs: Vec<_> = theirs.into_iter().collect::<io::Result<_>>().map_err(host)?;
        let theirs = theirs.into_iter().map(OwnedFd::from);
        let (control, _) = self.begin_work(id, Work::Authorize(keys.clone()), theirs).await?;
        match ended(control).await? {
            End::Exited(0) => Ok(()),
            other => Err(Error::Host(format!("the keys' writer ended with {}", other.code()))),
        }
    }

    /// A socket of the instance's own network, connected to a port of its own address.
    pub async fn connect(self: &Arc<Self>, id: &str, port: u16) -> Result<std::net::TcpStream> {
        let inside = self.inside(id)?;
        let nic = inside.record.spec.nics.iter().find(|nic| nic.device == 0);
        let address = nic.map_or(Ipv4Addr::LOCALHOST, |nic| nic.address);
        let connect = move || {
            let namespace = plug::namespace(inside.pid)?;
            // A thread of its own: it does not come back from there.
            let connect = std::thread::spawn(move || {
                sys::setns(namespace.as_fd(), libc::CLONE_NEWNET)?;
                std::net::TcpStream::connect(SocketAddrV4::new(address, port))
            });
            connect.join().unwrap_or_else(|_| Err(io::Error::other("panicked")))
        };
        let connected = tokio::task::spawn_blocking(connect).await.map_err(host)?;
        connected.map_err(|error| match error.kind() {
            io::ErrorKind::ConnectionRefused => {
                Error::Refused(format!("nothing listens on port {port} of {id}"))
            }
            _ => host(error),
        })
    }

    /// Returns when it was executed: what kills it when dropped, and its terminal.
    async fn begin_work(
        self: &Arc<Self>,
        id: &str,
        work: Work,
        theirs: impl IntoIterator<Item = OwnedFd>,
    ) -> Result<(OwnedFd, Option<OwnedFd>)> {
        let inner = Arc::clone(self);
        let id = id.to_owned();
        let theirs: Vec<OwnedFd> = theirs.into_iter().collect();
        let begin = move || {
            let Inside { init, record, .. } = inner.inside(&id)?;
            let work = match work {
                Work::Run(mut program) => {
                    let env = std::mem::take(&mut program.env);
                    program.env = record.spec.env.clone().into_iter().chain(env).collect();
                    Work::Run(program)
                }
                other => other,
            };
            let home = inner.home(&id).0;
            let request = Request { id, home, group: record.group, work };
            inner.send_in(&request, &init, &theirs).map_err(host)
        };
        let (reply, control, fds) = tokio::task::spawn_blocking(begin).await.map_err(host)??;
        match reply {
            Reply::Started => Ok((control, fds.into_iter().next())),
            Reply::Refused(why) => Err(Error::Refused(why)),
            Reply::Failed(why) => Err(Error::Host(why)),
            Reply::Ended(_) => Err(Error::Host("ended before it began".into())),
        }
    }

    /// Blocking.
    fn send_in(
        &self,
        request: &Request,
        init: &OwnedFd,
        theirs: &[OwnedFd],
    ) -> io::Result<(Reply, OwnedFd, Vec<OwnedFd>)> {
        let (control, escort) = sys::socketpair()?;
        self.launcher.exec(escort.as_fd())?;
        drop(escort);
        let text = serde_json::to_vec(request)?;
        let fds: Vec<_> = std::iter::once(init).chain(theirs).map(AsFd::as_fd).collect();
        sys::send(control.as_fd(), &(text.len() as u64).to_le_bytes(), &fds)?;
        for piece in text.chunks(PIECE) {
            sys::send(control.as_fd(), piece, &[])?;
        }
        let mut message = [0; 8192];
        let (n, fds) = sys::receive(control.as_fd(), &mut message)?;
        if n == 0 {
            return Err(io::Error::other("the escort died"));
        }
        Ok((serde_json::from_slice(&message[..n])?, control, fds))
    }
}

fn watched(fd: OwnedFd) -> Result<AsyncFd<OwnedFd>> {
    sys::set_nonblocking(fd.as_fd()).map_err(host)?;
    // SAFETY: an owned descriptor, and always the same one.
    unsafe { AsyncFd::register(fd) }.map_err(host)
}

/// Waits for the verdict of the escort.
async fn ended(control: OwnedFd) -> Result<End> {
    let control = watched(control)?;
    let mut message = [0; 1024];
    loop {
        let mut ready = control.readable().await.map_err(host)?;
        let received = ready.try_io(|fd| sys::receive(fd.as_fd(), &mut message));
        let Ok(received) = received else { continue };
        let (n, _) = received.map_err(host)?;
        let Ok(Reply::Ended(status)) = serde_json::from_slice(&message[..n]) else {
            return Err(Error::Host("the escort died".into()));
        };
        return Ok(match libc::WIFSIGNALED(status) {
            true => End::Signalled(libc::WTERMSIG(status)),
            false => End::Exited(libc::WEXITSTATUS(status)),
        });
    }
}

fn with_terminal(control: OwnedFd, master: Option<OwnedFd>) -> Result<Running> {
    let master = master.ok_or_else(|| Error::Host("no terminal came".into()))?;
    let master = Arc::new(watched(master)?);
    let sized = Arc::clone(&master);
    let resize = move |size: Size| {
        // One that is gone has no size.
        let _ = sys::set_window_size(sized.as_fd(), size.rows, size.columns);
    };
    Ok(Running {
        input: Box::new(Master(Arc::clone(&master))),
        output: Box::new(Master(master)),
        errors: Box::new(tokio::io::empty()),
        resize: Some(Arc::new(resize)),
        end: Box::pin(ended(control)),
    })
}

/// The outer end of a terminal.
struct Master(Arc<AsyncFd<OwnedFd>>);

impl AsyncRead for Master {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let mut ready = ready!(self.0.poll_read_ready(cx))?;
            let read = ready.try_io(|fd| sys::read(fd.as_fd(), buffer.initialize_unfilled()));
            match read {
                Ok(Ok(n)) => {
                    buffer.advance(n);
                    return Poll::Ready(Ok(()));
                }
                // Nobody has it open any more: the end.
                Ok(Err(error)) if error.raw_os_error() == Some(libc::EIO) => {
                    return Poll::Ready(Ok(()));
                }
                Ok(Err(error)) => return Poll::Ready(Err(error)),
                Err(_) => {}
            }
        }
    }
}

impl AsyncWrite for Master {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            let mut ready = ready!(self.0.poll_write_ready(cx))?;
            if let Ok(written) = ready.try_io(|fd| sys::write(fd.as_fd(), data)) {
                return Poll::Ready(written);
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
