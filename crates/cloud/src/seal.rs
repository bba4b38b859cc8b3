//! Encryption at rest of what must not lie about in clear: SecureString values, private material.
//! XChaCha20-Poly1305 under one key of the cloud, which its owner keeps outside the store.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
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

#[cfg(test)]
mod tests {
    use super::*;

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
