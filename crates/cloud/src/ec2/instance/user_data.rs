//! User data: what a launch may carry. What it means is for the guest to say, as in AWS: cloud-init where
//! the image has it, Drover's own agent elsewhere.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::ec2::{Error, Result};

/// RunInstances: "User data is limited to 16 KB, in raw form, before it is base64-encoded."
const MAX_BYTES: usize = 16 * 1024;

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
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_content_is_carried_up_to_a_size() {
        let cases: [(Vec<u8>, bool); 5] = [
            (vec![], true),
            (b"#!/bin/sh\necho hi\n".to_vec(), true),
            (b"#cloud-config\nruncmd: []".to_vec(), true),
            (vec![0x1f, 0x8b, 0], true),
            (vec![b'x'; MAX_BYTES + 1], false),
        ];
        for (bytes, accepted) in cases {
            let decoded = decode(&STANDARD.encode(&bytes)).map_err(|error| error.code());
            match accepted {
                true => assert_eq!(decoded, Ok(bytes)),
                false => assert_eq!(decoded, Err("InvalidParameterValue".to_owned())),
            }
        }
        assert_eq!(decode("***").unwrap_err().code(), "InvalidParameterValue");
    }
}
