//! Bytes coming in: into a blob that nothing refers to yet, hashed on the way, and checked against what
//! the client said of them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::{Stream, StreamExt};

use super::checksum::{Algorithm, Hasher, Sums};
use super::model::Piece;
use super::{Error, Result};
use crate::env::Env;
use crate::id;

/// What the client says of the bytes.
#[derive(Clone, Debug, Default)]
pub struct Claims {
    /// `Content-MD5`, base64.
    pub md5: Option<String>,
    /// Whose value is in a header, in a trailer, or not given.
    pub algorithm: Option<Algorithm>,
    pub checksum: Option<String>,
    pub length: Option<u64>,
}

pub struct Ingested {
    pub piece: Piece,
    pub sums: Sums,
}

type Fault = Box<dyn std::error::Error + Send + Sync>;

/// `trailer` is asked for the value of the checksum when all bytes are there.
pub async fn ingest(
    env: &Env,
    body: impl Stream<Item = Result<Bytes, Fault>>,
    claims: &Claims,
    trailer: impl FnOnce(Algorithm) -> Option<String>,
) -> Result<Ingested> {
    // What AWS computes when the client names none.
    let algorithm = claims.algorithm.unwrap_or(Algorithm::Crc64Nvme);
    let blob = format!("{}{}", id::hex16(&env.rng), id::hex16(&env.rng));
    let mut writer = env.store.blobs().create(&blob).await?;
    let mut hasher = Hasher::new(algorithm);
    let mut size = 0;
    let mut body = std::pin::pin!(body);
    while let Some(bytes) = body.next().await {
        let bytes = bytes.map_err(|fault| Error::IncompleteBody(fault.to_string()))?;
        hasher.update(&bytes);
        size += bytes.len() as u64;
        writer.write(&bytes).await?;
    }
    let sums = hasher.finish();
    if claims.length.is_some_and(|length| length != size) {
        return Err(Error::IncompleteBody(
            "You did not provide the number of bytes specified by the Content-Length HTTP header"
                .to_owned(),
        ));
    }
    if let Some(claimed) = &claims.md5 {
        match STANDARD.decode(claimed) {
            Ok(md5) if md5 == sums.md5 => {}
            Ok(md5) if md5.len() == 16 => {
                return Err(Error::BadDigest(
                    "The Content-MD5 you specified did not match what we received.".to_owned(),
                ));
            }
            _ => {
                return Err(Error::InvalidDigest(
                    "The Content-MD5 you specified was invalid.".to_owned(),
                ));
            }
        }
    }
    let claimed = claims.checksum.clone().or_else(|| trailer(algorithm));
    if claimed.is_some_and(|claimed| claimed != sums.checksum) {
        return Err(Error::BadDigest(format!(
            "The {} you specified did not match the calculated checksum.",
            algorithm.name()
        )));
    }
    writer.commit().await?;
    Ok(Ingested { piece: Piece { blob, size }, sums })
}
