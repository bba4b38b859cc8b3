//! Names of block devices. Source: Amazon EC2 User Guide, "Device names for volumes".

use crate::ec2::image::model::ROOT_DEVICE;
use crate::ec2::{Error, Result};

/// Whether an instance can have a data volume under this name.
pub fn check(device: &str) -> Result<()> {
    let invalid =
        |why: &str| Err(Error::value(format!("Invalid value '{device}' for unixDevice. {why}")));
    let name = device.strip_prefix("/dev/").unwrap_or(device);
    let letters = name.strip_prefix("sd").or(name.strip_prefix("xvd"));
    let Some(letters) = letters.filter(|letters| !letters.is_empty()) else {
        return invalid(&format!("{device} is not a valid EBS device name"));
    };
    let digits = letters.trim_start_matches(|c: char| c.is_ascii_lowercase());
    let letters = &letters[..letters.len() - digits.len()];
    let partition = digits.is_empty() || digits.parse().is_ok_and(|n: u8| (1..=15).contains(&n));
    if !(1..=2).contains(&letters.len()) || !partition || digits.starts_with('0') {
        return invalid(&format!("{device} is not a valid EBS device name"));
    }
    if letters == "a" {
        return invalid(&format!("Attachment point {device} is reserved for the root device"));
    }
    Ok(())
}

/// Two names of one device are one: `/dev/sdf` is `xvdf`.
pub fn normal(device: &str) -> String {
    let name = device.strip_prefix("/dev/").unwrap_or(device);
    match name.strip_prefix("sd") {
        Some(rest) => format!("xvd{rest}"),
        None => name.to_owned(),
    }
}

pub fn is_root(device: &str) -> bool {
    device == ROOT_DEVICE
}

/// As the driver takes it.
pub fn path(device: &str) -> String {
    match device.starts_with("/dev/") {
        true => device.to_owned(),
        false => format!("/dev/{device}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["/dev/sdf", "/dev/xvdba", "xvdh", "sdz", "/dev/sdb1", "/dev/sdb15"] {
            check(good).unwrap();
        }
        for bad in ["", "/dev/", "/dev/sd", "/dev/sda", "/dev/xvda1", "/dev/sdb16", "/dev/sdb0"] {
            assert_eq!(check(bad).unwrap_err().code(), "InvalidParameterValue", "{bad}");
        }
        for bad in ["/dev/sdF", "/dev/hdb", "/dev/sdabc", "/dev/../sdf", "nvme1n1", "/etc/sdf"] {
            assert!(check(bad).is_err(), "{bad}");
        }
        assert_eq!(normal("/dev/sdf"), normal("xvdf"));
        assert_eq!(path("xvdf"), "/dev/xvdf");
    }
}
