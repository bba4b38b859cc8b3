//! `drover env`: shell lines that point AWS clients at a cloud.

use anyhow::Result;
use clap::Args;

use super::Cloud;
use crate::{credentials, paths::Paths};

#[derive(Args)]
#[command(after_help = "Example:\n  eval \"$(drover env)\" && aws sts get-caller-identity")]
pub struct Options {
    #[command(flatten)]
    cloud: Cloud,
    /// Region to use
    #[arg(long, default_value = "us-east-1")]
    region: String,
    /// As a JSON object instead of shell lines
    #[arg(long)]
    json: bool,
}

pub fn run(options: Options) -> Result<()> {
    let endpoint = options.cloud.endpoint()?;
    let key = match options.cloud.record()? {
        Some((_, record)) => credentials::read(&Paths::new(record.data_dir), record.listen)?,
        None => credentials::RootKey::well_known(),
    };
    let variables = [
        ("AWS_ENDPOINT_URL", endpoint.as_str()),
        ("AWS_ACCESS_KEY_ID", &key.access_key_id),
        ("AWS_SECRET_ACCESS_KEY", &key.secret_access_key),
        ("AWS_REGION", &options.region),
        ("AWS_DEFAULT_REGION", &options.region),
    ];
    if options.json {
        let object: serde_json::Map<String, serde_json::Value> =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect();
        println!("{}", serde_json::to_string_pretty(&object)?);
    } else {
        for (name, value) in variables {
            println!("export {name}={value}");
        }
        println!("unset AWS_SESSION_TOKEN AWS_PROFILE");
    }
    Ok(())
}
