//! The checksums S3 keeps with objects, in one pass with the MD5 that ETags are made of.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use crc_fast::{CrcAlgorithm, Digest as Crc};
use md5::Md5;
use serde::{Deserialize, Serialize};
use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::{Error, Result};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Algorithm {
    Crc32,
    Crc32c,
    Crc64Nvme,
    Sha1,
    Sha256,
}

impl Algorithm {
    pub const ALL: [Algorithm; 5] = [
        Algorithm::Crc32,
        Algorithm::Crc32c,
        Algorithm::Crc64Nvme,
        Algorithm::Sha1,
        Algorithm::Sha256,
    ];

    /// As requests spell it.
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Crc32 => "CRC32",
            Algorithm::Crc32c => "CRC32C",
            Algorithm::Crc64Nvme => "CRC64NVME",
            Algorithm::Sha1 => "SHA1",
            Algorithm::Sha256 => "SHA256",
        }
    }

    pub fn parse(name: &str) -> Result<Algorithm> {
        Algorithm::ALL.into_iter().find(|one| one.name().eq_ignore_ascii_case(name)).ok_or_else(
            || Error::InvalidRequest(format!("Checksum algorithm {name} is not supported")),
        )
    }

    /// The header or trailer that carries it.
    pub fn header(self) -> String {
        format!("x-amz-checksum-{}", self.name().to_ascii_lowercase())
    }

    fn crc(self) -> Option<CrcAlgorithm> {
        match self {
            Algorithm::Crc32 => Some(CrcAlgorithm::Crc32IsoHdlc),
            Algorithm::Crc32c => Some(CrcAlgorithm::Crc32Iscsi),
            Algorithm::Crc64Nvme => Some(CrcAlgorithm::Crc64Nvme),
            Algorithm::Sha1 | Algorithm::Sha256 => None,
        }
    }

    fn crc_bytes(self, crc: u64) -> Vec<u8> {
        let bytes = crc.to_be_bytes();
        if self == Algorithm::Crc64Nvme { bytes.to_vec() } else { bytes[4..].to_vec() }
    }
}

pub struct Hasher {
    algorithm: Algorithm,
    md5: Md5,
    other: Other,
}

enum Other {
    Crc(Crc),
    Sha1(Sha1),
    Sha256(Sha256),
}

pub struct Sums {
    pub md5: [u8; 16],
    pub algorithm: Algorithm,
    /// Base64.
    pub checksum: String,
}

impl Hasher {
    pub fn new(algorithm: Algorithm) -> Hasher {
        let other = match algorithm.crc() {
            Some(crc) => Other::Crc(Crc::new(crc)),
            None if algorithm == Algorithm::Sha1 => Other::Sha1(Sha1::new()),
            None => Other::Sha256(Sha256::new()),
        };
        Hasher { algorithm, md5: Md5::new(), other }
    }

    pub fn update(&mut self, bytes: &[u8]) {
        self.md5.update(bytes);
        match &mut self.other {
            Other::Crc(crc) => crc.update(bytes),
            Other::Sha1(sha) => sha.update(bytes),
            Other::Sha256(sha) => sha.update(bytes),
        }
    }

    pub fn finish(self) -> Sums {
        let checksum = match self.other {
            Other::Crc(crc) => self.algorithm.crc_bytes(crc.finalize()),
            Other::Sha1(sha) => sha.finalize().to_vec(),
            Other::Sha256(sha) => sha.finalize().to_vec(),
        };
        Sums {
            md5: self.md5.finalize().into(),
            algorithm: self.algorithm,
            checksum: STANDARD.encode(checksum),
        }
    }
}

/// The checksum of an object from those of its parts: of all bytes (CRCs only), or of the checksums.
/// `parts`: each with its size.
pub fn combine(algorithm: Algorithm, parts: &[(String, u64)], full_object: bool) -> Option<String> {
    let decoded = parts.iter().map(|(sum, size)| Some((STANDARD.decode(sum).ok()?, *size)));
    let decoded: Vec<(Vec<u8>, u64)> = decoded.collect::<Option<_>>()?;
    if full_object {
        let crc = algorithm.crc()?;
        let number = |bytes: &[u8]| bytes.iter().fold(0, |n: u64, byte| n << 8 | u64::from(*byte));
        let combined = decoded.iter().map(|(sum, size)| (number(sum), *size)).reduce(
            |(one, before), (two, size)| {
                (crc_fast::checksum_combine(crc, one, two, size), before + size)
            },
        )?;
        return Some(STANDARD.encode(algorithm.crc_bytes(combined.0)));
    }
    let mut hasher = Hasher::new(algorithm);
    decoded.iter().for_each(|(sum, _)| hasher.update(sum));
    Some(format!("{}-{}", hasher.finish().checksum, parts.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(algorithm: Algorithm, bytes: &[u8]) -> String {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(bytes);
        hasher.finish().checksum
    }

    #[test]
    fn sums_are_the_known_ones() {
        for (algorithm, expected) in [
            (Algorithm::Crc32, "y/Q5Jg=="),
            (Algorithm::Crc32c, "4waSgw=="),
            (Algorithm::Crc64Nvme, "rosUhgp5mIg="),
            (Algorithm::Sha1, "98O8HYCOBHMq32eZZczDTKeuNEE="),
        ] {
            assert_eq!(sum(algorithm, b"123456789"), expected, "{algorithm:?}");
        }
    }

    #[test]
    fn parts_combine_to_the_whole() {
        for algorithm in [Algorithm::Crc32, Algorithm::Crc32c, Algorithm::Crc64Nvme] {
            let parts: Vec<(String, u64)> = [&b"1234"[..], b"5", b"6789"]
                .into_iter()
                .map(|part| (sum(algorithm, part), part.len() as u64))
                .collect();
            let combined = combine(algorithm, &parts, true).unwrap();
            assert_eq!(combined, sum(algorithm, b"123456789"), "{algorithm:?}");
            assert!(combine(algorithm, &parts, false).unwrap().ends_with("-3"));
        }
        assert_eq!(combine(Algorithm::Sha256, &[], true), None);
    }
}
