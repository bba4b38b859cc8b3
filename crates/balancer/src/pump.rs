//! Moves one message from one connection to the other: first the head that was written for it, then
//! the body, decoded and encoded again, as fast as the slower side takes it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite};

use crate::buffer::{Buffers, Input};
use crate::framing::Decoder;

/// Bodies up to this size are copied behind the head, to be sent with it by one plain call.
const COPY: usize = 16 * 1024;

#[derive(Debug)]
pub enum Failure {
    /// The source failed, or ended before its message did.
    Source,
    Sink,
    Malformed,
}

pub struct Pump {
    decoder: Decoder,
    chunked: bool,
    /// Head and encoded body bytes, of which `sent` are written.
    pub out: Vec<u8>,
    sent: usize,
    /// Bytes at the front of the input that are to be written as they are.
    raw: usize,
    /// The encoding's end has been put into `out`.
    ended: bool,
    /// `out` holds the whole message, for it to be sent again.
    whole: bool,
    pub read: u64,
    pub written: u64,
}

impl Pump {
    pub fn new(out: Vec<u8>, decoder: Decoder, chunked: bool) -> Pump {
        let whole = decoder.is_done();
        Pump { decoder, chunked, out, sent: 0, raw: 0, ended: false, whole, read: 0, written: 0 }
    }

    /// Takes a body that is there already behind the head.
    pub fn take_whole(&mut self, input: &mut Input) {
        if let Decoder::Fixed(n) = self.decoder
            && n <= COPY as u64
            && n <= input.bytes().len() as u64
        {
            let n = n as usize;
            self.out.extend_from_slice(&input.bytes()[..n]);
            input.consume(n);
            self.decoder = Decoder::Done;
            self.whole = true;
        }
    }

    /// The message can be sent again from its beginning.
    pub fn is_whole(&self) -> bool {
        self.whole
    }

    pub fn rewind(&mut self) {
        self.sent = 0;
    }

    pub fn is_finished(&self) -> bool {
        self.decoder.is_done() && self.raw == 0 && self.sent == self.out.len()
    }

    pub fn poll<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut R,
        input: &mut Input,
        sink: &mut W,
        buffers: &Buffers,
    ) -> Poll<Result<(), Failure>> {
        loop {
            self.decode(input)?;
            while self.sent < self.out.len() || self.raw > 0 {
                ready!(self.poll_write(cx, input, sink)).map_err(|_| Failure::Sink)?;
            }
            if !self.whole && self.sent > 0 {
                self.out.clear();
                self.sent = 0;
            }
            if self.decoder.is_done() {
                return Poll::Ready(Ok(()));
            }
            if !input.is_empty() {
                continue;
            }
            match ready!(input.poll_read(cx, source, buffers)).map_err(|_| Failure::Source)? {
                0 => match self.decoder {
                    Decoder::UntilClose => self.decoder = Decoder::Done,
                    _ => return Poll::Ready(Err(Failure::Source)),
                },
                n => self.read += n as u64,
            }
        }
    }

    fn decode(&mut self, input: &mut Input) -> Result<(), Failure> {
        while self.raw == 0 && self.out.len() - self.sent < COPY && !self.decoder.is_done() {
            let bytes = input.bytes();
            let passes = !self.chunked && !matches!(self.decoder, Decoder::Chunked(_));
            let piece = self.decoder.next(bytes).map_err(|_| Failure::Malformed)?;
            if piece.used == 0 {
                break;
            }
            let data = &bytes[piece.data];
            if passes && (self.out.is_empty() || data.len() > COPY) {
                self.raw = piece.used;
                break;
            }
            if self.chunked && !data.is_empty() {
                self.out.extend_from_slice(format!("{:x}\r\n", data.len()).as_bytes());
            }
            self.out.extend_from_slice(data);
            if self.chunked && !data.is_empty() {
                self.out.extend_from_slice(b"\r\n");
            }
            input.consume(piece.used);
        }
        if self.decoder.is_done() && self.chunked && !self.ended {
            self.ended = true;
            self.out.extend_from_slice(b"0\r\n\r\n");
        }
        Ok(())
    }

    fn poll_write<W: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        input: &mut Input,
        sink: &mut W,
    ) -> Poll<io::Result<()>> {
        let out = &self.out[self.sent..];
        let raw = &input.bytes()[..self.raw];
        let sink = Pin::new(sink);
        let n = ready!(match (out, raw) {
            (out, []) => sink.poll_write(cx, out),
            ([], raw) => sink.poll_write(cx, raw),
            (out, raw) => sink.poll_write_vectored(cx, &[IoSlice::new(out), IoSlice::new(raw)]),
        })?;
        if n == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.written += n as u64;
        let from_out = n.min(out.len());
        self.sent += from_out;
        self.raw -= n - from_out;
        input.consume(n - from_out);
        Poll::Ready(Ok(()))
    }
}
