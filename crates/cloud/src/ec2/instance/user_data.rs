//! User data: what a launch may carry, and what of it runs.
//!
//! An instance runs `#!` scripts (gzip or plain). Anything else that begins with none of cloud-init's
//! words is data for the guest to read from metadata, as in AWS. What cloud-init would act on and
//! this cloud would not (`#cloud-config`, MIME parts, …) is refused, since it would be ignored.

use std::io::Read;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::ec2::{Error, Result};

/// RunInstances: "User data is limited to 16 KB, in raw form, before it is base64-encoded."
const MAX_BYTES: usize = 16 * 1024;

/// Unpacked; more than any script that fits packed has use for.
const MAX_UNPACKED_BYTES: u64 = 4 << 20;

/// What cloud-init acts on besides `#!` ("User data formats"), by how it begins.
const FORMATS: &[&str] = &[
    "#cloud-config",
    "#cloud-boothook",
    "#include",
    "#part-handler",
    "#upstart-job",
    "## template:",
    "content-type:",
    "mime-version:",
];

/// The bytes of base64 text, found right.
pub fn decode(text: &str) -> Result<Vec<u8>> {
    let packed: String = text.split_ascii_whitespace().collect();
    let bytes = STANDARD
        .decode(packed)
        .map_err(|_| Error::value("Invalid BASE64 encoding of user data."))?;
    check(&bytes)?;
    Ok(bytes)
}

/// Whether an instance may carry it.
pub fn check(bytes: &[u8]) -> Result<()> {
    if bytes.len() > MAX_BYTES {
        return Err(Error::value(format!("User data is limited to {MAX_BYTES} bytes")));
    }
    let content = unpack(bytes)
        .ok_or_else(|| Error::InvalidUserData("The gzip user data is not readable.".to_owned()))?;
    let beginning = content[..content.len().min(64)].to_ascii_lowercase();
    if let Some(format) = FORMATS.iter().find(|f| beginning.starts_with(f.as_bytes())) {
        return Err(Error::unsupported(format_args!(
            "User data that begins with '{}'",
            format.trim_end_matches(':')
        )));
    }
    Ok(())
}

/// What the instance shall run at its first boot.
pub fn script(bytes: &[u8]) -> Option<Vec<u8>> {
    unpack(bytes).filter(|content| content.starts_with(b"#!"))
}

/// `None`: gzip, but broken or too large.
fn unpack(bytes: &[u8]) -> Option<Vec<u8>> {
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return Some(bytes.to_vec());
    }
    let mut content = Vec::new();
    let mut reader = flate2::read::MultiGzDecoder::new(bytes).take(MAX_UNPACKED_BYTES + 1);
    reader.read_to_end(&mut content).ok()?;
    (content.len() as u64 <= MAX_UNPACKED_BYTES).then_some(content)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut writer = flate2::write::GzEncoder::new(Vec::new(), Default::default());
        writer.write_all(content).unwrap();
        writer.finish().unwrap()
    }

    #[test]
    fn what_is_accepted_and_what_runs() {
        let script_text = b"#!/bin/sh\necho hi\n".to_vec();
        let cases: [(Vec<u8>, Result<Option<&[u8]>, &str>); 8] = [
            (vec![], Ok(None)),
            (script_text.clone(), Ok(Some(&script_text))),
            (gzip(&script_text), Ok(Some(&script_text))),
            (b"{\"role\": \"web\"}".to_vec(), Ok(None)),
            (b"#cloud-config\nruncmd: []".to_vec(), Err("UnsupportedOperation")),
            (gzip(b"Content-Type: multipart/mixed;"), Err("UnsupportedOperation")),
            (gzip(&script_text)[..20].to_vec(), Err("InvalidUserData.Malformed")),
            (vec![b'x'; 16 * 1024 + 1], Err("InvalidParameterValue")),
        ];
        for (bytes, expected) in cases {
            let decoded = decode(&STANDARD.encode(&bytes)).map_err(|e| e.code());
            match expected {
                Ok(runs) => {
                    assert_eq!(decoded.as_ref(), Ok(&bytes));
                    assert_eq!(script(&bytes).as_deref(), runs);
                }
                Err(code) => assert_eq!(decoded, Err(code.to_owned())),
            }
        }
        assert_eq!(decode("***").unwrap_err().code(), "InvalidParameterValue");
    }

    #[test]
    fn a_bomb_is_refused() {
        let bomb = gzip(&vec![0; MAX_UNPACKED_BYTES as usize + 1]);
        assert!(bomb.len() <= MAX_BYTES);
        assert_eq!(decode(&STANDARD.encode(bomb)).unwrap_err().code(), "InvalidUserData.Malformed");
    }
}
