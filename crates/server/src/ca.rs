//! The installation's certificate authority: one key, kept with mode 0600 in the data directory, that
//! signs for AWS's names of the services served in networks. Instances trust it from their first boot;
//! a host does when its user wants it (`drover ca`).
//!
//! It can sign for nothing but AWS's domains (a name constraint), so that trusting it is harmless for
//! all other sites. Certificates outlive every instance: no clock here or in a guest can end them.

use std::path::Path;

use anyhow::{Context, Result};
use cloud::ec2::vpc::services;
use cloud::env::Rng;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints, SerialNumber,
    date_time_ymd,
};

use crate::credentials::write_private;
use crate::paths::Paths;

pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its own certificate, PEM.
    pub certificate: String,
    /// Of all the certificates it issues.
    pub leaf: KeyPair,
    rng: Rng,
}

impl Authority {
    /// The one of the data directory, made at its first start.
    pub fn open(paths: &Paths, rng: &Rng) -> Result<Authority> {
        let (key, place) = (key(&paths.ca_key())?, paths.ca_certificate());
        let params = params(&key);
        if !place.exists() {
            let fresh = place.with_extension("new");
            std::fs::write(&fresh, params.self_signed(&key)?.pem())
                .and_then(|()| std::fs::rename(&fresh, &place))
                .with_context(|| format!("cannot write {}", place.display()))?;
        }
        Ok(Authority {
            certificate: certificate(paths)?,
            issuer: Issuer::new(params, key),
            leaf: KeyPair::generate()?,
            rng: rng.clone(),
        })
    }

    /// A certificate for one DNS name and the key `leaf`, DER.
    pub fn issue(&self, name: &str) -> Result<Vec<u8>> {
        let mut serial = [0; 16];
        self.rng.fill(&mut serial);
        // Positive, and never shorter than it is.
        serial[0] = serial[0] & 0x3f | 0x40;
        let mut params = CertificateParams::new([name.to_owned()])?;
        last(&mut params);
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        params.distinguished_name = common_name("Drover endpoint".to_owned());
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        Ok(params.signed_by(&self.leaf, &self.issuer)?.der().to_vec())
    }
}

/// The authority's certificate, PEM, of a cloud that has been up.
pub fn certificate(paths: &Paths) -> Result<String> {
    let place = paths.ca_certificate();
    std::fs::read_to_string(&place).with_context(|| format!("cannot read {}", place.display()))
}

fn key(place: &Path) -> Result<KeyPair> {
    if !place.exists() {
        write_private(place, KeyPair::generate()?.serialize_pem().as_bytes())?;
    }
    let text = std::fs::read_to_string(place)
        .with_context(|| format!("cannot read {}", place.display()))?;
    KeyPair::from_pem(&text).with_context(|| format!("{} is damaged", place.display()))
}

/// The same for the same key, so that the certificate on disk is this issuer's.
fn params(key: &KeyPair) -> CertificateParams {
    let mut params = CertificateParams::default();
    let id = cloud::id::hex(&params.key_identifier(key)[..4]);
    last(&mut params);
    params.distinguished_name = common_name(format!("Drover {id}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.name_constraints = Some(NameConstraints {
        permitted_subtrees: vec![GeneralSubtree::DnsName(services::DOMAIN.to_owned())],
        excluded_subtrees: vec![],
    });
    params
}

fn common_name(name: String) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name);
    names
}

fn last(params: &mut CertificateParams) {
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2120, 1, 1);
}
