//! Resource ids, as AWS makes them: a prefix and 17 hexadecimal digits.

use crate::env::Rng;

/// `i-0123456789abcdef0` for the prefix `i`.
pub fn resource(rng: &Rng, prefix: &str) -> String {
    let mut bytes = [0; 9];
    rng.fill(&mut bytes);
    format!("{prefix}-0{}", &hex(&bytes)[2..])
}

/// The same id for the same words, for what every region has from the start (default VPC, images).
pub fn stable(prefix: &str, words: &[&str]) -> String {
    use sha2::Digest;
    let mut hash = sha2::Sha256::new();
    for word in words {
        hash.update(word.as_bytes());
        hash.update([0]);
    }
    format!("{prefix}-0{}", &hex(&hash.finalize()[..8]))
}

/// 16 hexadecimal digits, as in load balancer ARNs.
pub fn hex16(rng: &Rng) -> String {
    let mut bytes = [0; 8];
    rng.fill(&mut bytes);
    hex(&bytes)
}

/// A random UUID (version 4), as request ids and activity ids are.
pub fn uuid(rng: &Rng) -> String {
    let mut b = [0; 16];
    rng.fill(&mut b);
    b[6] = b[6] & 0x0f | 0x40;
    b[8] = b[8] & 0x3f | 0x80;
    let h = hex(&b);
    format!("{}-{}-{}-{}-{}", &h[..8], &h[8..12], &h[12..16], &h[16..20], &h[20..])
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
