//! The process that serves one plain view. It is forked by the launcher, gets the key, the ciphertext and
//! the kernel's end of the view from the daemon by a socket, and outlives both.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use sectors::{SECTOR, Sectors};

use super::fuse::{self, Reply, Request};
use crate::namespace::{mount, sys};
use crate::storage::DataKey;

/// Requests that are served at once.
const THREADS: usize = 8;

/// How long a view that nobody has open yet outlives a daemon that died: its shim may be about to.
const LINGER_MS: u64 = 10_000;

/// What the daemon says when it needs the view no more itself.
pub const LET_GO: &[u8] = b"let go";

/// What it hears once the view can be opened; anything else is what failed.
pub const READY: &[u8] = b"ready";

/// What comes first: the key, and then the view's directory. With it come the kernel's end, the
/// ciphertext and the lock.
pub fn order(key: &DataKey, directory: &[u8]) -> zeroize::Zeroizing<Vec<u8>> {
    zeroize::Zeroizing::new([&key[..], directory].concat())
}

struct View {
    kernel: OwnedFd,
    file: File,
    sectors: Sectors,
    /// How often it is open.
    opens: AtomicUsize,
    /// It was closed, or the kernel has ended it.
    event: OwnedFd,
    ended: AtomicBool,
    /// Held by who changes a part of a sector.
    changing: Mutex<()>,
    /// Told once.
    control: Mutex<Option<OwnedFd>>,
}

/// Becomes a view. Never returns.
pub fn run(control: OwnedFd) -> ! {
    sys::setsid();
    sys::ignore_signals(&[libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGPIPE]);
    sys::close_all_but(&[0, 1, 2, control.as_raw_fd()]);
    if let Err(error) = serve(&control) {
        let _ = sys::send(control.as_fd(), error.to_string().as_bytes(), &[]);
        sys::exit(1)
    }
    sys::exit(0)
}

fn serve(control: &OwnedFd) -> io::Result<()> {
    // Before the key comes in: neither swapped, nor dumped, nor seen by a debugger without privileges.
    sys::guard_memory()?;
    let mut message = zeroize::Zeroizing::new(vec![0; 4096]);
    let (n, fds) = sys::receive(control.as_fd(), &mut message)?;
    let Ok([kernel, file, lock]) = <[OwnedFd; 3]>::try_from(fds) else { return Ok(()) };
    let (key, directory) = message[..n].split_first_chunk().ok_or(io::ErrorKind::InvalidData)?;
    let directory = PathBuf::from(std::ffi::OsStr::new(
        std::str::from_utf8(directory).map_err(io::Error::other)?,
    ));
    let view = Arc::new(View {
        kernel,
        file: file.into(),
        sectors: Sectors::new(&DataKey::new(*key)),
        opens: AtomicUsize::new(0),
        event: sys::eventfd()?,
        ended: AtomicBool::new(false),
        changing: Mutex::new(()),
        control: Mutex::new(Some(control.try_clone()?)),
    });
    drop(message);
    let lock = File::from(lock);
    lock.write_all_at(std::process::id().to_string().as_bytes(), 0)?;
    let name = directory.file_name().unwrap_or_default().to_string_lossy();
    sys::set_title(&format!("drover-view {name}"));
    for _ in 0..THREADS {
        let view = view.clone();
        let thread = std::thread::Builder::new().name("view".into()).stack_size(128 * 1024);
        thread.spawn(move || {
            let done = view.serve();
            // One that fails for a reason of its own must not leave its requests to nobody.
            view.ended.store(true, Ordering::Release);
            view.wake();
            done
        })?;
    }
    wait_for_end(&view, control)?;
    // Nobody finds it from now on; the locks go with this process.
    let _ = mount::unmount(&directory.join("plain"), libc::MNT_DETACH);
    fs::remove_dir_all(&directory)
}

/// Until nobody needs it.
fn wait_for_end(view: &View, control: &OwnedFd) -> io::Result<()> {
    let (mut daemon, mut until) = (true, None);
    loop {
        let none = libc::pollfd { fd: -1, events: 0, revents: 0 };
        let of_daemon = if daemon { sys::pollfd(control) } else { none };
        let mut fds = [sys::pollfd(&view.event), of_daemon];
        let left = until.map(|until: u64| until.saturating_sub(sys::monotonic_ms()));
        sys::poll(&mut fds, left.map_or(-1, |left| left as i32 + 1))?;
        let closed = fds[0].revents != 0;
        if closed {
            let _ = sys::read(view.event.as_fd(), &mut [0; 8]);
        }
        if view.ended.load(Ordering::Acquire) {
            return Ok(());
        }
        if fds[1].revents != 0 {
            let mut said = [0; 64];
            let n = sys::receive(control.as_fd(), &mut said).map_or(0, |(n, _)| n);
            daemon = false;
            if said[..n] != *LET_GO {
                until = Some(sys::monotonic_ms() + LINGER_MS);
            } else if view.opens.load(Ordering::Acquire) == 0 {
                return Ok(());
            }
        }
        let late = until.is_some_and(|until| sys::monotonic_ms() >= until);
        if !daemon && view.opens.load(Ordering::Acquire) == 0 && (closed || late) {
            return Ok(());
        }
        if late {
            until = None;
        }
    }
}

/// Memory that direct I/O can go to.
#[repr(C, align(4096))]
struct Page([u8; 4096]);

impl View {
    fn wake(&self) {
        let _ = sys::write(self.event.as_fd(), &1u64.to_ne_bytes());
    }

    /// Until the kernel has no more requests.
    fn serve(&self) -> io::Result<()> {
        let mut head = [0; fuse::IN_HEADER + fuse::WRITE_ARGUMENTS];
        let mut pages: Vec<Page> = Vec::new();
        // One more, for what is read around a part of a sector.
        let count = fuse::MOST / size_of::<Page>() + 1;
        pages.resize_with(count, || Page([0; 4096]));
        let bytes = count * size_of::<Page>();
        // SAFETY: pages are bytes without gaps, alive and borrowed by nothing else as long as `data` is.
        let data =
            unsafe { std::slice::from_raw_parts_mut(pages.as_mut_ptr().cast::<u8>(), bytes) };
        loop {
            let n = match sys::read_into(self.kernel.as_fd(), &mut head, data) {
                Ok(n) => n,
                Err(error) => match error.raw_os_error() {
                    Some(libc::ENOENT | libc::EINTR | libc::EAGAIN) => continue,
                    // Nobody has it mounted any more.
                    Some(libc::ENODEV) => return Ok(()),
                    _ => return Err(error),
                },
            };
            let Some((number, request)) = Request::parse(&head[..n.min(head.len())]) else {
                return Err(io::ErrorKind::InvalidData.into());
            };
            match self.answer(request, data) {
                Ok(None) => {}
                Ok(Some(reply)) => self.reply(number, 0, reply.of(data))?,
                Err(error) => {
                    let error = error.raw_os_error().unwrap_or(libc::EIO);
                    self.reply(number, error, &[])?;
                }
            }
            self.after(request);
        }
    }

    fn reply(&self, number: u64, error: i32, body: &[u8]) -> io::Result<()> {
        let header = fuse::header(number, error, body.len());
        match sys::write_both(self.kernel.as_fd(), &header, body) {
            // Who asked does not wait for it any more.
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
            other => other,
        }
    }

    /// `data`: what came with the request, and where what was read goes.
    fn answer(&self, request: Request, data: &mut [u8]) -> io::Result<Option<Body>> {
        let reply = match request {
            Request::Init { minor } => Reply::init(minor),
            Request::Attributes => {
                let found = self.file.metadata()?;
                Reply::attributes(found.len(), found.blocks())
            }
            Request::StatFs => Reply::statfs(),
            Request::Open => {
                self.opens.fetch_add(1, Ordering::AcqRel);
                Reply::open()
            }
            Request::Release => Reply::default(),
            Request::Read { offset, bytes } => {
                return Ok(Some(Body::Data(self.read(offset, bytes, data)?)));
            }
            Request::Write { offset, bytes } => {
                let data = data.get_mut(..bytes).ok_or(io::ErrorKind::InvalidInput)?;
                match is_whole(offset, bytes as u64) {
                    true => self.write(offset, data)?,
                    false => self.change(offset, data)?,
                }
                Reply::written(bytes)
            }
            Request::Sync => {
                self.file.sync_data()?;
                Reply::default()
            }
            Request::Allocate { offset, bytes, mode } => {
                if !is_whole(offset, bytes) {
                    return Err(io::Error::from_raw_os_error(libc::EINVAL));
                }
                sys::make_zeros(&self.file, offset, bytes, mode)?;
                Reply::default()
            }
            Request::Seek { offset, whence } => {
                Reply::offset(sys::seek(&self.file, offset, whence as i32)?)
            }
            Request::Silent => return Ok(None),
            Request::Other => return Err(io::Error::from_raw_os_error(libc::ENOSYS)),
        };
        Ok(Some(Body::Reply(reply)))
    }

    /// To the buffer's beginning; how many bytes there were.
    fn read(&self, offset: u64, bytes: usize, buffer: &mut [u8]) -> io::Result<usize> {
        let skip = (offset % SECTOR as u64) as usize;
        let whole = (skip + bytes).next_multiple_of(SECTOR);
        let data = buffer.get_mut(..whole).ok_or(io::ErrorKind::InvalidInput)?;
        let (offset, mut done) = (offset - skip as u64, 0);
        while done < data.len() {
            match self.file.read_at(&mut data[done..], offset + done as u64)? {
                0 => break,
                n => done += n,
            }
        }
        self.sectors.decrypt(offset / SECTOR as u64, &mut data[..done]);
        let there = done.saturating_sub(skip).min(bytes);
        data.copy_within(skip..skip + there, 0);
        Ok(there)
    }

    /// Whole sectors, which are encrypted where they are.
    fn write(&self, offset: u64, data: &mut [u8]) -> io::Result<()> {
        self.sectors.encrypt(offset / SECTOR as u64, data);
        self.file.write_all_at(data, offset)
    }

    /// Parts of sectors, as tools write them and no device does.
    fn change(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let _one = self.changing.lock().expect("not poisoned");
        let (mut offset, mut data, mut page) = (offset, data, Page([0; 4096]));
        while !data.is_empty() {
            let skip = (offset % SECTOR as u64) as usize;
            let (part, rest) = data.split_at(data.len().min(SECTOR - skip));
            let first = offset - skip as u64;
            if self.read(first, SECTOR, &mut page.0)? < SECTOR {
                return Err(io::Error::from_raw_os_error(libc::ENOSPC));
            }
            page.0[skip..skip + part.len()].copy_from_slice(part);
            self.write(first, &mut page.0[..SECTOR])?;
            (offset, data) = (offset + part.len() as u64, rest);
        }
        Ok(())
    }

    /// What follows from a request that is answered.
    fn after(&self, request: Request) {
        match request {
            Request::Init { .. } => {
                let control = self.control.lock().expect("not poisoned").take();
                if let Some(control) = control {
                    let _ = sys::send(control.as_fd(), READY, &[]);
                }
            }
            Request::Release if self.opens.fetch_sub(1, Ordering::AcqRel) == 1 => self.wake(),
            _ => {}
        }
    }
}

fn is_whole(offset: u64, bytes: u64) -> bool {
    offset.is_multiple_of(SECTOR as u64) && bytes.is_multiple_of(SECTOR as u64)
}

enum Body {
    Reply(Reply),
    /// So many bytes of the buffer.
    Data(usize),
}

impl Body {
    fn of<'a>(&'a self, data: &'a [u8]) -> &'a [u8] {
        match self {
            Body::Reply(Reply(bytes)) => bytes,
            Body::Data(bytes) => &data[..*bytes],
        }
    }
}
