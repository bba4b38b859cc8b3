//! A certificate authority that a system shall trust besides its own: appended to the bundles that
//! programs read, left where the image's own tools would build them from again, and named in the
//! environment for clients that bring their own bundle (botocore, requests, node).

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

/// The authority alone.
const ALONE: &str = "/etc/ssl/drover-ca.pem";

/// Of Debian, Alpine and Arch; of Fedora and Amazon Linux (of which one may link to the other); of
/// SUSE; of musl's tools.
const BUNDLES: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// What `update-ca-certificates` and `update-ca-trust` read.
const ANCHORS: &[&str] = &[
    "/usr/local/share/ca-certificates/drover.crt",
    "/etc/pki/ca-trust/source/anchors/drover.pem",
    "/etc/pki/trust/anchors/drover.pem",
];

/// Makes the system at `root` trust `pem`, and gives the variables that tell clients so.
pub fn install(root: &Path, pem: &str) -> io::Result<Vec<(&'static str, &'static str)>> {
    let root = root.canonicalize()?;
    let place = |path: &str| root.join(path.trim_start_matches('/'));
    fs::create_dir_all(place("/etc/ssl"))?;
    put(&place(ALONE), pem)?;
    for anchor in ANCHORS.iter().map(|path| place(path)) {
        if anchor.parent().is_some_and(|directory| is_within(&root, directory)) {
            put(&anchor, pem)?;
        }
    }
    let bundles = BUNDLES.iter().copied().filter(|path| is_within(&root, &place(path)));
    let bundles: Vec<&'static str> = bundles.collect();
    for bundle in &bundles {
        append(&place(bundle), pem)?;
    }
    let mut variables = vec![("NODE_EXTRA_CA_CERTS", ALONE)];
    match bundles.first() {
        Some(bundle) => {
            variables.extend(
                ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"]
                    .map(|name| (name, *bundle)),
            );
        }
        // Clients of other sites go on with what they bring.
        None => variables.push(("AWS_CA_BUNDLE", ALONE)),
    }
    Ok(variables)
}

/// Whether it is there, and no link out of `root`: that of a layer is not the host's.
fn is_within(root: &Path, path: &Path) -> bool {
    path.canonicalize().is_ok_and(|real| real.starts_with(root))
}

/// Leaves alone what is so already, so that a file of a lower layer is not copied up for nothing.
fn put(path: &Path, pem: &str) -> io::Result<()> {
    match fs::read(path) {
        Ok(present) if present == pem.as_bytes() => Ok(()),
        _ => fs::write(path, pem),
    }
}

fn append(bundle: &Path, pem: &str) -> io::Result<()> {
    let present = fs::read_to_string(bundle)?;
    if present.contains(pem) {
        return Ok(());
    }
    let gap = if present.is_empty() || present.ends_with('\n') { "" } else { "\n" };
    OpenOptions::new().append(true).open(bundle)?.write_all(format!("{gap}{pem}").as_bytes())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const PEM: &str = "-----BEGIN CERTIFICATE-----\nours\n-----END CERTIFICATE-----\n";

    #[test]
    fn bundles_get_it_once_and_links_out_of_the_root_are_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        let outside = directory.path().join("outside.pem");
        fs::write(&outside, "theirs\n").unwrap();
        let root = directory.path().join("root");
        for path in ["etc/ssl/certs", "etc/pki/ca-trust/source/anchors", "etc/pki/tls/certs"] {
            fs::create_dir_all(root.join(path)).unwrap();
        }
        let bundle = root.join("etc/ssl/certs/ca-certificates.crt");
        fs::write(&bundle, "theirs").unwrap();
        symlink(&outside, root.join("etc/pki/tls/certs/ca-bundle.crt")).unwrap();
        symlink("certs/ca-certificates.crt", root.join("etc/ssl/cert.pem")).unwrap();
        for _ in 0..2 {
            let variables = install(&root, PEM).unwrap();
            assert!(variables.contains(&("AWS_CA_BUNDLE", BUNDLES[0])), "{variables:?}");
            assert!(variables.contains(&("NODE_EXTRA_CA_CERTS", ALONE)), "{variables:?}");
        }
        assert_eq!(fs::read_to_string(bundle).unwrap(), format!("theirs\n{PEM}"));
        assert_eq!(fs::read_to_string(outside).unwrap(), "theirs\n");
        let anchor = root.join("etc/pki/ca-trust/source/anchors/drover.pem");
        assert_eq!(fs::read_to_string(anchor).unwrap(), PEM);
    }

    #[test]
    fn a_system_without_bundles_keeps_what_its_clients_bring() {
        let root = tempfile::tempdir().unwrap();
        let variables = install(root.path(), PEM).unwrap();
        assert_eq!(variables, [("NODE_EXTRA_CA_CERTS", ALONE), ("AWS_CA_BUNDLE", ALONE)]);
        assert_eq!(fs::read_to_string(root.path().join("etc/ssl/drover-ca.pem")).unwrap(), PEM);
    }
}
