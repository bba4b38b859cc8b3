//! Terminals: an instance's serial console, and those of programs run in it.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::check;

/// A new terminal: its master and its slave, raw (no echo, no newline translation).
pub fn terminal() -> io::Result<(OwnedFd, OwnedFd)> {
    let (master, slave) = open()?;
    // SAFETY: a live descriptor; the mode is plain data, filled by the first call.
    unsafe {
        let mut mode: libc::termios = std::mem::zeroed();
        check(libc::tcgetattr(slave.as_raw_fd(), &raw mut mode))?;
        libc::cfmakeraw(&raw mut mode);
        check(libc::tcsetattr(slave.as_raw_fd(), libc::TCSANOW, &raw const mode))?;
    }
    Ok((master, slave))
}

/// A new terminal that this session has from now on: its master, and its slave as logins have it.
pub fn controlling_terminal() -> io::Result<(OwnedFd, OwnedFd)> {
    let (master, slave) = open()?;
    // SAFETY: a live descriptor.
    check(unsafe { libc::ioctl(slave.as_raw_fd(), libc::TIOCSCTTY, 0) })?;
    Ok((master, slave))
}

fn open() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: the calls get valid descriptors and buffers; the results are new descriptors.
    unsafe {
        let master = OwnedFd::from_raw_fd(check(libc::open(c"/dev/ptmx".as_ptr(), flags))?);
        let unlock: libc::c_int = 0;
        check(libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &raw const unlock))?;
        let slave = check(libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, flags))?;
        Ok((master, OwnedFd::from_raw_fd(slave)))
    }
}

pub fn set_window_size(terminal: BorrowedFd<'_>, rows: u16, columns: u16) -> io::Result<()> {
    let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: a live descriptor and a valid size.
    check(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) })?;
    Ok(())
}

/// The number of the terminal behind a master, as under /dev/pts.
pub fn terminal_number(master: BorrowedFd<'_>) -> io::Result<u32> {
    let mut number: libc::c_uint = 0;
    // SAFETY: a live descriptor and a valid place for the result.
    check(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTN, &raw mut number) })?;
    Ok(number)
}
