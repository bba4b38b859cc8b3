//! Buffers of connections, lent by the worker while there is something to read: a connection that
//! waits holds none.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

/// Holds the longest head that is allowed.
pub const SIZE: usize = 64 * 1024;
const KEPT: usize = 256;

#[derive(Default)]
pub struct Buffers(RefCell<Vec<Box<[u8]>>>);

impl Buffers {
    fn take(&self) -> Box<[u8]> {
        self.0.borrow_mut().pop().unwrap_or_else(|| vec![0; SIZE].into_boxed_slice())
    }

    fn put(&self, buffer: Box<[u8]>) {
        let mut kept = self.0.borrow_mut();
        if kept.len() < KEPT {
            kept.push(buffer);
        }
    }
}

/// Bytes read and not yet used.
#[derive(Default)]
pub struct Input {
    data: Option<Box<[u8]>>,
    start: usize,
    end: usize,
}

impl Input {
    pub fn bytes(&self) -> &[u8] {
        match &self.data {
            Some(data) => &data[self.start..self.end],
            None => &[],
        }
    }

    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    pub fn is_full(&self) -> bool {
        self.end - self.start == SIZE
    }

    pub fn consume(&mut self, n: usize) {
        self.start += n;
        debug_assert!(self.start <= self.end);
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    /// Gives the buffer back if nothing is in it.
    pub fn release(&mut self, buffers: &Buffers) {
        if self.is_empty()
            && let Some(data) = self.data.take()
        {
            (self.start, self.end) = (0, 0);
            buffers.put(data);
        }
    }

    /// Reads once; 0 is the end of the stream. There must be room.
    pub fn poll_read<R: AsyncRead + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut R,
        buffers: &Buffers,
    ) -> Poll<io::Result<usize>> {
        let data = self.data.get_or_insert_with(|| buffers.take());
        if self.end == SIZE {
            data.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        let mut room = ReadBuf::new(&mut data[self.end..]);
        debug_assert!(room.capacity() > 0);
        ready!(Pin::new(from).poll_read(cx, &mut room))?;
        let n = room.filled().len();
        self.end += n;
        Poll::Ready(Ok(n))
    }
}
