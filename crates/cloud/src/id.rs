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
    format!("{prefix}-0{}", &hex(&digest(words)[..8]))
}

fn digest(words: &[&str]) -> [u8; 32] {
    use sha2::Digest;
    let mut hash = sha2::Sha256::new();
    for word in words {
        hash.update(word.as_bytes());
        hash.update([0]);
    }
    hash.finalize().into()
}

/// A UUID that is the same for the same words.
pub fn stable_uuid(words: &[&str]) -> String {
    let digest = digest(words);
    as_uuid(digest[..16].try_into().expect("sixteen"))
}

/// 16 hexadecimal digits, as in load balancer ARNs.
pub fn hex16(rng: &Rng) -> String {
    let mut bytes = [0; 8];
    rng.fill(&mut bytes);
    hex(&bytes)
}

/// A random UUID (version 4), as request ids and activity ids are.
pub fn uuid(rng: &Rng) -> String {
    let mut bytes = [0; 16];
    rng.fill(&mut bytes);
    as_uuid(bytes)
}

fn as_uuid(mut b: [u8; 16]) -> String {
    b[6] = b[6] & 0x0f | 0x40;
    b[8] = b[8] & 0x3f | 0x80;
    let h = hex(&b);
    format!("{}-{}-{}-{}-{}", &h[..8], &h[8..12], &h[12..16], &h[16..20], &h[20..])
}

const BASE32: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

fn text(rng: &Rng, length: usize, alphabet: &[u8]) -> String {
    let one = || char::from(alphabet[rng.below(alphabet.len() as u64) as usize]);
    (0..length).map(|_| one()).collect()
}

/// IAM's unique id of a user, role, policy, …: `AIDA` and 17 letters and digits.
pub fn principal(rng: &Rng, prefix: &str) -> String {
    format!("{prefix}{}", text(rng, 17, BASE32))
}

/// The same id for the same words, for what IAM has from the start.
pub fn stable_principal(prefix: &str, words: &[&str]) -> String {
    format!("{prefix}{}", base32(&digest(words)[..17]))
}

/// `AKIA` or `ASIA` and 16 letters and digits.
pub fn access_key(rng: &Rng, prefix: &str) -> String {
    format!("{prefix}{}", text(rng, 16, BASE32))
}

/// The same access key for the same words.
pub fn stable_access_key(prefix: &str, words: &[&str]) -> String {
    format!("{prefix}{}", base32(&digest(words)[..16]))
}

/// A letter or digit for each byte.
fn base32(bytes: &[u8]) -> String {
    bytes.iter().map(|b| char::from(BASE32[usize::from(b % 32)])).collect()
}

/// A secret access key: 40 letters of base64.
pub fn secret(rng: &Rng) -> String {
    text(rng, 40, b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
