//! AWS's rules for the names and descriptions of groups and rules.

use crate::ec2::{Error, Result};

const MAX_CHARS: usize = 255;

/// CreateSecurityGroup's characters for a VPC's groups.
fn allowed(text: &str) -> bool {
    let known = |c: char| c.is_ascii_alphanumeric() || " ._-:/()#,@[]+=&;{}!$*".contains(c);
    text.chars().count() <= MAX_CHARS && text.chars().all(known)
}

pub fn check_name(name: &str) -> Result<()> {
    if name.is_empty() {
        return Err(Error::MissingParameter("GroupName"));
    }
    if name.eq_ignore_ascii_case(super::model::DEFAULT_NAME) {
        return Err(Error::GroupReserved(name.to_owned()));
    }
    if name.starts_with("sg-") {
        return Err(Error::value(
            "invalid value for parameter groupName. Group names may not be in the format sg-*",
        ));
    }
    if !allowed(name) || name.trim() != name {
        return Err(Error::value(
            "Invalid security group name. Valid names are strings less than 256 characters from the \
             following set:  a-zA-Z0-9. _-:/()#,@[]+=&;{}!$*",
        ));
    }
    Ok(())
}

pub fn check_description(description: &str) -> Result<()> {
    if description.is_empty() {
        return Err(Error::MissingParameter("GroupDescription"));
    }
    if !allowed(description) {
        return Err(Error::value(
            "Invalid security group description. Valid descriptions are strings less than 256 \
             characters from the following set:  a-zA-Z0-9. _-:/()#,@[]+=&;{}!$*",
        ));
    }
    Ok(())
}

pub fn check_rule_description(description: Option<&str>) -> Result<()> {
    if description.is_some_and(|text| !allowed(text)) {
        return Err(Error::value(
            "Invalid rule description. Valid descriptions are strings less than 256 characters from \
             the following set:  a-zA-Z0-9. _-:/()#,@[]+=&;{}!$*",
        ));
    }
    Ok(())
}
