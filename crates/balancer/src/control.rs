//! What crosses the socket between the daemon and a balancer: JSON behind a length of four bytes, big
//! end first.

use std::io;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::snapshot::{Report, Snapshot};

/// From the daemon.
#[derive(Debug, Serialize, Deserialize)]
pub enum Order {
    Apply(Snapshot),
    /// Wants a report now.
    Report,
}

/// From the balancer.
#[derive(Debug, Serialize, Deserialize)]
pub enum Notice {
    /// First on every connection.
    Hello {
        zone: String,
    },
    Report(Report),
}

const MAX_FRAME: u32 = 256 << 20;

pub fn encode(message: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut frame = vec![0; 4];
    serde_json::to_writer(&mut frame, message)?;
    let length = u32::try_from(frame.len() - 4).ok().filter(|&n| n <= MAX_FRAME);
    let length = length.ok_or_else(|| io::Error::other("a message is too long"))?;
    frame[..4].copy_from_slice(&length.to_be_bytes());
    Ok(frame)
}

pub async fn write(to: &mut (impl AsyncWrite + Unpin), message: &impl Serialize) -> io::Result<()> {
    to.write_all(&encode(message)?).await
}

pub async fn read<T: DeserializeOwned>(from: &mut (impl AsyncRead + Unpin)) -> io::Result<T> {
    let length = from.read_u32().await?;
    if length > MAX_FRAME {
        return Err(io::Error::other("a message is too long"));
    }
    let mut frame = vec![0; length as usize];
    from.read_exact(&mut frame).await?;
    Ok(serde_json::from_slice(&frame)?)
}
