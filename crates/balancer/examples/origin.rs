//! A web server that answers every request with a body of so many bytes, as cheaply as it can:
//! `origin LISTEN BYTES`. One thread.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

fn main() -> std::io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [listen, bytes] = &arguments[..] else {
        return Err(std::io::Error::other("origin LISTEN BYTES"));
    };
    let body = "x".repeat(bytes.parse().expect("a number of bytes"));
    let answer = format!(
        "HTTP/1.1 200 OK\r\nServer: origin\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\n\
         Content-Type: text/plain\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer: &'static [u8] = Box::leak(answer.into_bytes().into_boxed_slice());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(listen).await?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::spawn(async move {
                // The other side has gone, as it will.
                let _ = serve(stream, answer).await;
            });
        }
    })
}

/// Only for requests without a body.
async fn serve(mut stream: TcpStream, answer: &[u8]) -> std::io::Result<()> {
    let mut buffer = Vec::with_capacity(16 * 1024);
    loop {
        if stream.read_buf(&mut buffer).await? == 0 {
            return Ok(());
        }
        while let Some(end) = buffer.windows(4).position(|w| w == b"\r\n\r\n") {
            buffer.drain(..end + 4);
            stream.write_all(answer).await?;
        }
    }
}
