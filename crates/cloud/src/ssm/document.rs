//! The documents that commands are made from: those of AWS's own that this cloud can carry out.

use serde_json::json;
use sha2::{Digest, Sha256};

use super::{Error, Result};
use crate::Timestamp;

pub const RUN_SHELL_SCRIPT: &str = "AWS-RunShellScript";
pub const PLUGIN: &str = "aws:runShellScript";
pub const VERSION: &str = "1";
/// 2017-01-01T00:00:00Z: it has been there as long as anybody's cloud.
pub const CREATED: Timestamp = Timestamp(1_483_228_800_000);
pub const DEFAULT_EXECUTION_TIMEOUT: &str = "3600";

pub struct Parameter {
    pub name: &'static str,
    pub ty: &'static str,
    pub description: &'static str,
    pub default: Option<&'static str>,
}

pub const PARAMETERS: [Parameter; 3] = [
    Parameter {
        name: "commands",
        ty: "StringList",
        description: "The lines of the shell script that is run.",
        default: None,
    },
    Parameter {
        name: "workingDirectory",
        ty: "String",
        description: "The directory the script is run in.",
        default: Some(""),
    },
    Parameter {
        name: "executionTimeout",
        ty: "String",
        description: "Seconds after which the script is ended: 1 to 172800.",
        default: Some(DEFAULT_EXECUTION_TIMEOUT),
    },
];

/// The name in a request may be the document's ARN.
pub fn find(name: &str, version: Option<&str>) -> Result<&'static str> {
    let short = match crate::arn::parse(name) {
        Some(parts) if parts.service == "ssm" => parts.resource.strip_prefix("document/"),
        _ => Some(name),
    };
    if short != Some(RUN_SHELL_SCRIPT) {
        return Err(Error::InvalidDocument(format!("Document with name {name} does not exist.")));
    }
    match version {
        None | Some(VERSION | "$LATEST" | "$DEFAULT") => Ok(RUN_SHELL_SCRIPT),
        Some(other) => Err(Error::InvalidDocumentVersion(format!(
            "Document version {other} of {RUN_SHELL_SCRIPT} does not exist."
        ))),
    }
}

pub fn content() -> String {
    let parameters: serde_json::Map<_, _> = PARAMETERS
        .iter()
        .map(|parameter| {
            let mut value = json!({"type": parameter.ty, "description": parameter.description});
            if let Some(default) = parameter.default {
                value["default"] = default.into();
            }
            (parameter.name.to_owned(), value)
        })
        .collect();
    let content = json!({
        "schemaVersion": "1.2",
        "description": "Run a shell script.",
        "parameters": parameters,
        "runtimeConfig": {
            PLUGIN: {
                "properties": [{
                    "id": format!("0.{PLUGIN}"),
                    "runCommand": "{{ commands }}",
                    "workingDirectory": "{{ workingDirectory }}",
                    "timeoutSeconds": "{{ executionTimeout }}",
                }],
            },
        },
    });
    format!("{content:#}")
}

/// SHA-256 of the content, hexadecimal.
pub fn hash() -> String {
    crate::id::hex(&Sha256::digest(content()))
}
