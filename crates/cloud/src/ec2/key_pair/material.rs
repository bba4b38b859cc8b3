//! Making keys, reading public ones, and the fingerprints AWS gives them.
//!
//! Fingerprints ("Verify your key pair's fingerprint", Amazon EC2 User Guide): a created RSA key has
//! the SHA-1 of its private key in PKCS#8 DER, an imported one the MD5 of its public key in DER, both
//! as hexadecimal pairs; an ED25519 key the SHA-256 of its public key in SSH's form, in base64.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::SigningKey;
use md5::Md5;
use rsa::pkcs1::EncodeRsaPrivateKey;
use rsa::pkcs8::{DecodePublicKey, EncodePrivateKey, EncodePublicKey, LineEnding};
use rsa::traits::PublicKeyParts;
use rsa::{BigUint, RsaPrivateKey, RsaPublicKey};
use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::model::Kind;
use crate::env::Rng;

/// Of the RSA keys that are created.
const RSA_BITS: usize = 2048;

/// A key pair just made.
pub struct Created {
    pub public: Public,
    /// PEM: PKCS#1 for RSA, OpenSSH's own form for ED25519.
    pub private_pem: String,
    pub fingerprint: String,
}

/// A public key in SSH's form (RFC 4253, section 6.6; RFC 8709).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Public {
    pub kind: Kind,
    pub blob: Vec<u8>,
}

/// Not a public key that EC2 takes.
#[derive(Debug, PartialEq, Eq)]
pub struct BadKey;

/// Slow for RSA (a second or so): not for an async task, nor for a store's closure.
pub fn create(kind: Kind, rng: &Rng) -> Created {
    match kind {
        Kind::Rsa => create_rsa(rng),
        Kind::Ed25519 => create_ed25519(rng),
    }
}

fn create_rsa(rng: &Rng) -> Created {
    let private = RsaPrivateKey::new(&mut Source(rng), RSA_BITS).expect("2048 bits make a key");
    let pkcs8 = private.to_pkcs8_der().expect("a fresh key encodes");
    let pem = private.to_pkcs1_pem(LineEnding::LF).expect("a fresh key encodes");
    Created {
        public: Public { kind: Kind::Rsa, blob: rsa_blob(&private.to_public_key()) },
        private_pem: pem.as_str().to_owned(),
        fingerprint: pairs(&Sha1::digest(pkcs8.as_bytes())),
    }
}

fn create_ed25519(rng: &Rng) -> Created {
    let mut seed = [0; 32];
    rng.fill(&mut seed);
    let private = SigningKey::from_bytes(&seed);
    let key = private.verifying_key().to_bytes();
    let public = Public { kind: Kind::Ed25519, blob: ed25519_blob(&key) };
    let mut check = [0; 4];
    rng.fill(&mut check);
    Created {
        private_pem: openssh_private(&public.blob, &key, &seed, check),
        fingerprint: public.fingerprint(),
        public,
    }
}

impl Public {
    /// The fingerprint of an imported key; of an ED25519 key in any case.
    pub fn fingerprint(&self) -> String {
        match self.kind {
            Kind::Ed25519 => STANDARD.encode(Sha256::digest(&self.blob)),
            Kind::Rsa => {
                let key = rsa_of(&self.blob).expect("it was read before");
                let der = key.to_public_key_der().expect("it was read before");
                pairs(&Md5::digest(der.as_bytes()))
            }
        }
    }

    /// For `authorized_keys`.
    pub fn line(&self, comment: &str) -> String {
        let name = match self.kind {
            Kind::Rsa => "ssh-rsa",
            Kind::Ed25519 => "ssh-ed25519",
        };
        format!("{name} {} {comment}", STANDARD.encode(&self.blob))
    }

    /// OpenSSH's one line, RFC 4716's block, or DER in base64 with or without PEM's lines.
    pub fn parse(text: &str) -> Result<Public, BadKey> {
        let text = text.trim();
        if text.starts_with("---- BEGIN SSH2 PUBLIC KEY ----") {
            return Public::from_blob(&rfc4716_blob(text)?);
        }
        if text.starts_with("ssh-") || text.starts_with("ecdsa-") {
            let mut words = text.split_ascii_whitespace();
            let name = words.next().ok_or(BadKey)?;
            let blob = STANDARD.decode(words.next().ok_or(BadKey)?).map_err(|_| BadKey)?;
            let mut reader = Reader(&blob);
            return match reader.string()? == name.as_bytes() {
                true => Public::from_blob(&blob),
                false => Err(BadKey),
            };
        }
        let lines = text.lines().map(str::trim).filter(|line| !line.starts_with("-----"));
        let der = STANDARD.decode(lines.collect::<String>()).map_err(|_| BadKey)?;
        let key = RsaPublicKey::from_public_key_der(&der).map_err(|_| BadKey)?;
        Public::from_blob(&rsa_blob(&key))
    }

    fn from_blob(blob: &[u8]) -> Result<Public, BadKey> {
        let mut reader = Reader(blob);
        let kind = match reader.string()? {
            b"ssh-rsa" => Kind::Rsa,
            b"ssh-ed25519" => Kind::Ed25519,
            _ => return Err(BadKey),
        };
        match kind {
            // The lengths that ImportKeyPair takes.
            Kind::Rsa if !matches!(rsa_of(blob)?.n().bits(), 1024 | 2048 | 4096) => Err(BadKey),
            Kind::Ed25519 if reader.string()?.len() != 32 || !reader.0.is_empty() => Err(BadKey),
            _ => Ok(Public { kind, blob: blob.to_owned() }),
        }
    }
}

fn rfc4716_blob(text: &str) -> Result<Vec<u8>, BadKey> {
    let mut body = String::new();
    let mut in_header = false;
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with("----")) {
        // A header has a colon, and goes on while its lines end in a backslash.
        let header = in_header || line.contains(':');
        in_header = header && line.ends_with('\\');
        if !header {
            body.push_str(line);
        }
    }
    STANDARD.decode(body).map_err(|_| BadKey)
}

fn rsa_of(blob: &[u8]) -> Result<RsaPublicKey, BadKey> {
    let mut reader = Reader(blob);
    if reader.string()? != b"ssh-rsa" {
        return Err(BadKey);
    }
    let exponent = BigUint::from_bytes_be(reader.string()?);
    let modulus = BigUint::from_bytes_be(reader.string()?);
    if !reader.0.is_empty() {
        return Err(BadKey);
    }
    RsaPublicKey::new(modulus, exponent).map_err(|_| BadKey)
}

fn rsa_blob(key: &RsaPublicKey) -> Vec<u8> {
    let mut blob = Vec::new();
    put_string(&mut blob, b"ssh-rsa");
    put_integer(&mut blob, &key.e().to_bytes_be());
    put_integer(&mut blob, &key.n().to_bytes_be());
    blob
}

fn ed25519_blob(key: &[u8; 32]) -> Vec<u8> {
    let mut blob = Vec::new();
    put_string(&mut blob, b"ssh-ed25519");
    put_string(&mut blob, key);
    blob
}

/// The form of OpenSSH's PROTOCOL.key, without a passphrase.
fn openssh_private(blob: &[u8], key: &[u8; 32], seed: &[u8; 32], check: [u8; 4]) -> String {
    let mut secret = Vec::new();
    secret.extend(check);
    secret.extend(check);
    secret.extend(blob);
    put_string(&mut secret, &[&seed[..], &key[..]].concat());
    put_string(&mut secret, b"");
    for pad in 1.. {
        if secret.len().is_multiple_of(8) {
            break;
        }
        secret.push(pad);
    }
    let mut whole = b"openssh-key-v1\0".to_vec();
    put_string(&mut whole, b"none");
    put_string(&mut whole, b"none");
    put_string(&mut whole, b"");
    whole.extend(1u32.to_be_bytes());
    put_string(&mut whole, blob);
    put_string(&mut whole, &secret);

    let mut pem = String::from("-----BEGIN OPENSSH PRIVATE KEY-----\n");
    let text = STANDARD.encode(whole);
    for line in text.as_bytes().chunks(70) {
        pem.extend(line.iter().map(|byte| char::from(*byte)));
        pem.push('\n');
    }
    pem.push_str("-----END OPENSSH PRIVATE KEY-----\n");
    pem
}

fn put_string(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend((bytes.len() as u32).to_be_bytes());
    out.extend(bytes);
}

/// RFC 4251's mpint: a leading zero keeps it positive.
fn put_integer(out: &mut Vec<u8>, bytes: &[u8]) {
    if bytes.first().is_some_and(|first| first & 0x80 != 0) {
        put_string(out, &[&[0], bytes].concat());
    } else {
        put_string(out, bytes);
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn string(&mut self) -> Result<&'a [u8], BadKey> {
        let (length, rest) = self.0.split_first_chunk::<4>().ok_or(BadKey)?;
        let (string, rest) =
            rest.split_at_checked(u32::from_be_bytes(*length) as usize).ok_or(BadKey)?;
        self.0 = rest;
        Ok(string)
    }
}

/// `12:34:ab:…`
fn pairs(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":")
}

/// The cloud's randomness, as the RSA library takes it.
struct Source<'a>(&'a Rng);

impl rand_core::RngCore for Source<'_> {
    fn next_u32(&mut self) -> u32 {
        rand_core::impls::next_u32_via_fill(self)
    }
    fn next_u64(&mut self) -> u64 {
        rand_core::impls::next_u64_via_fill(self)
    }
    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        self.0.fill(bytes);
    }
    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), rand_core::Error> {
        self.0.fill(bytes);
        Ok(())
    }
}

/// `Rng` is the system's, or seeded on purpose.
impl rand_core::CryptoRng for Source<'_> {}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expected: `openssl pkcs8 -nocrypt -topk8 -outform DER | openssl sha1 -c` of the private key, and
    /// `openssl rsa -pubout -outform DER | openssl md5 -c` (Amazon EC2 User Guide, "Verify fingerprints").
    #[test]
    fn an_rsa_key_has_the_fingerprints_that_openssl_makes() {
        let created = create(Kind::Rsa, &Rng::seeded(7));
        assert!(created.private_pem.starts_with("-----BEGIN RSA PRIVATE KEY-----\n"));
        let private = "58:29:67:75:30:49:33:38:42:95:6a:d2:50:f5:b9:1f:9b:99:69:66";
        assert_eq!(created.fingerprint, private);
        assert_eq!(created.public.fingerprint(), "ae:73:1e:7a:c7:3d:9f:81:c7:15:95:43:3a:62:4d:01");
    }

    /// Expected: what `ssh-keygen -y` and `ssh-keygen -l -E sha256` say of the private key.
    #[test]
    fn an_ed25519_key_is_what_ssh_keygen_reads() {
        let created = create(Kind::Ed25519, &Rng::seeded(7));
        assert_eq!(
            created.public.line("").trim(),
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFkiP85u42RVY5wN4qQorYkWzw5gwdfqXdwI85SnW7vC"
        );
        assert_eq!(created.fingerprint, "3f8f24L8PfuNXQ3709zMCz3ZLl7KtNdHVFGST4s4ROE=");
    }

    #[test]
    fn public_keys_are_read_in_every_form() {
        let rsa = create(Kind::Rsa, &Rng::seeded(3)).public;
        let ed25519 = create(Kind::Ed25519, &Rng::seeded(3)).public;
        for key in [&rsa, &ed25519] {
            assert_eq!(Public::parse(&key.line("me@home")).as_ref(), Ok(key));
            let block = format!(
                "---- BEGIN SSH2 PUBLIC KEY ----\nComment: \"two\\\nlines\"\n{}\n---- END SSH2 PUBLIC KEY ----",
                STANDARD.encode(&key.blob)
            );
            assert_eq!(Public::parse(&block).as_ref(), Ok(key));
        }
        let der = rsa_of(&rsa.blob).unwrap().to_public_key_der().unwrap();
        let der = STANDARD.encode(der.as_bytes());
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{der}\n-----END PUBLIC KEY-----\n");
        assert_eq!(Public::parse(&der).as_ref(), Ok(&rsa));
        assert_eq!(Public::parse(&pem), Ok(rsa));
        for bad in [
            "",
            "ssh-rsa",
            "ssh-rsa AAAA",
            "ssh-ed25519 !!",
            "nonsense",
            "ssh-dss AAAAB3NzaC1kc3M=",
        ] {
            assert_eq!(Public::parse(bad), Err(BadKey), "{bad}");
        }
    }
}
