//! Encryption at rest of what must not lie about in clear: SecureString values, private material.
//! XChaCha20-Poly1305 under one key of the cloud, which its owner keeps outside the store.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use compute::storage::{DataKey, Keys};
use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::env::Rng;

const NONCE: usize = 24;

#[derive(Clone)]
pub struct Seal {
    cipher: XChaCha20Poly1305,
    key: [u8; 32],
}

/// The text was not sealed by this key for this owner, or it was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken;

impl Seal {
    pub fn new(key: [u8; 32]) -> Seal {
        Seal { cipher: XChaCha20Poly1305::new(&key.into()), key }
    }

    /// `owner` (an ARN) is bound to the result: it opens for no other.
    pub fn seal(&self, rng: &Rng, owner: &str, plain: &[u8]) -> Vec<u8> {
        let mut sealed = vec![0; NONCE];
        rng.fill(&mut sealed);
        let payload = Payload { msg: plain, aad: owner.as_bytes() };
        let text = self.cipher.encrypt(XNonce::from_slice(&sealed), payload);
        sealed.extend(text.expect("it is far shorter than the cipher's limit"));
        sealed
    }

    /// The secret of temporary credentials: nobody can tell it from the access key alone.
    pub fn session_secret(&self, access_key: &str) -> String {
        let mut mac =
            <Hmac<Sha256> as Mac>::new_from_slice(&self.key).expect("any key length will do");
        mac.update(b"session secret of ");
        mac.update(access_key.as_bytes());
        STANDARD.encode(&mac.finalize().into_bytes()[..30])
    }

    pub fn open(&self, owner: &str, sealed: &[u8]) -> Result<Vec<u8>, Broken> {
        let (nonce, text) = sealed.split_at_checked(NONCE).ok_or(Broken)?;
        let payload = Payload { msg: text, aad: owner.as_bytes() };
        self.cipher.decrypt(XNonce::from_slice(nonce), payload).map_err(|_| Broken)
    }
}

/// The keys of encrypted disks: each is sealed, and its disk keeps it.
pub struct DiskKeys {
    pub seal: Seal,
    pub rng: Rng,
}

impl std::fmt::Debug for DiskKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DiskKeys").finish_non_exhaustive()
    }
}

/// What the seal of a disk's key is bound to.
const DISK: &str = "data key of a disk";

impl Keys for DiskKeys {
    fn generate(&self) -> (DataKey, Vec<u8>) {
        let mut key = DataKey::new([0; 64]);
        self.rng.fill(&mut key[..]);
        let sealed = self.seal.seal(&self.rng, DISK, &key[..]);
        (key, sealed)
    }

    fn open(&self, sealed: &[u8]) -> Option<DataKey> {
        let mut opened = self.seal.open(DISK, sealed).ok()?;
        let key = opened.as_slice().try_into().ok().map(DataKey::new);
        opened.fill(0);
        key
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_disks_open_again() {
        let keys = |key| DiskKeys { seal: Seal::new([key; 32]), rng: Rng::seeded(1) };
        let (key, sealed) = keys(7).generate();
        assert_eq!(keys(7).open(&sealed), Some(key.clone()));
        assert!(!sealed.windows(16).any(|part| key.windows(16).any(|of_key| part == of_key)));
        assert_eq!(keys(8).open(&sealed), None);
        assert_eq!(keys(7).open(&sealed[1..]), None);
    }

    #[test]
    fn opens_for_its_owner_only() {
        let (seal, rng) = (Seal::new([7; 32]), Rng::seeded(1));
        let sealed = seal.seal(&rng, "arn:a", b"secret");
        assert_eq!(seal.open("arn:a", &sealed).unwrap(), b"secret");
        assert_eq!(seal.open("arn:b", &sealed), Err(Broken));
        assert_eq!(Seal::new([8; 32]).open("arn:a", &sealed), Err(Broken));
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(seal.open("arn:a", &changed), Err(Broken));
        }
        assert_eq!(seal.open("arn:a", b"short"), Err(Broken));
        assert_ne!(seal.seal(&rng, "arn:a", b"secret"), sealed);
    }
}
