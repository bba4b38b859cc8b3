//! TLS for the services under AWS's names: a certificate for each name that a client asks for (SNI),
//! signed by the installation's own authority when it is first asked for.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use anyhow::Result;
use cloud::ec2::vpc::services;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::{CertifiedKey, SigningKey};

use crate::ca::Authority;

/// Buckets are names too, and clients may make up as many as they like.
const MOST_KEPT: usize = 4096;

pub fn acceptor(authority: Authority) -> Result<TlsAcceptor> {
    let key = PrivateKeyDer::Pkcs8(authority.leaf.serialize_der().into());
    let certificates =
        Certificates { key: ring::sign::any_ecdsa_type(&key)?, authority, kept: Mutex::default() };
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(certificates));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config).into())
}

struct Certificates {
    authority: Authority,
    key: Arc<dyn SigningKey>,
    /// By name.
    kept: Mutex<HashMap<String, Arc<CertifiedKey>>>,
}

impl Certificates {
    fn named(&self, name: &str) -> Option<Arc<CertifiedKey>> {
        let name = name.to_ascii_lowercase();
        services::of_name(&name)?;
        let mut kept = self.kept.lock().expect("no panics under the lock");
        if let Some(certified) = kept.get(&name) {
            return Some(Arc::clone(certified));
        }
        let certificate = CertificateDer::from(self.authority.issue(&name).ok()?);
        let certified = Arc::new(CertifiedKey::new(vec![certificate], Arc::clone(&self.key)));
        if kept.len() >= MOST_KEPT {
            kept.clear();
        }
        kept.insert(name, Arc::clone(&certified));
        Some(certified)
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.named(hello.server_name()?)
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates").finish_non_exhaustive()
    }
}
