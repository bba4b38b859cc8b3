//! `drover ssh`: the OpenSSH client into an instance, by its own network, with a fresh key that is good
//! for a minute, and with the host's keys known from inside.

use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::json;

use super::Cloud;

#[derive(Args)]
#[command(after_help = "Examples:
  drover ssh i-0123456789abcdef0
  drover ssh admin@i-0123456789abcdef0 -- -L 8080:localhost:80
  drover ssh i-0123456789abcdef0 -- uptime
Needs the OpenSSH client here, and an sshd in the instance; no port is opened and no group is asked.")]
pub struct Options {
    /// Id of the instance, and the user (root)
    #[arg(value_name = "[USER@]INSTANCE")]
    destination: String,
    /// Port of sshd
    #[arg(short, long, default_value_t = 22)]
    port: u16,
    /// Options of ssh, then a command to run
    #[arg(last = true)]
    arguments: Vec<String>,
    #[command(flatten)]
    cloud: Cloud,
}

pub fn run(options: Options) -> Result<ExitCode> {
    let Options { destination, port, arguments, cloud } = options;
    let (user, instance) = destination.rsplit_once('@').unwrap_or(("root", &destination));
    if !instance.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
        bail!("{instance} is no instance id");
    }
    let directory = tempfile::Builder::new().prefix("drover-ssh-").tempdir()?;
    let key = directory.path().join("key");
    make_key(&key)?;
    let public_key = std::fs::read_to_string(key.with_extension("pub"))?;
    let ask = json!({"user": user, "public_key": public_key.trim(), "port": port});
    let path = format!("/_drover/instances/{instance}/ssh");
    let answer = cloud.call("POST", &path, Some(ask))?;
    let lines =
        answer["host_keys"].as_array().into_iter().flatten().filter_map(|line| line.as_str());
    let known: String = lines.map(|line| format!("{instance} {line}\n")).collect();
    let known_hosts = directory.path().join("known_hosts");
    std::fs::write(&known_hosts, known)?;

    let program = std::env::current_exe()?;
    let quoted = |path: &Path| format!("'{}'", path.display().to_string().replace('\'', "'\\''"));
    let proxy = format!(
        "{} connect --endpoint {} {instance} {port}",
        // ssh takes a percent sign for one of its own.
        quoted(&program).replace('%', "%%"),
        cloud.endpoint()?
    );
    let (flags, command) = split(&arguments);
    let status = Command::new("ssh")
        .arg("-i")
        .arg(&key)
        .args(["-l", user])
        .arg("-o")
        .arg(format!("ProxyCommand={proxy}"))
        .arg("-o")
        .arg(format!("HostKeyAlias={instance}"))
        .arg("-o")
        .arg(format!("UserKnownHostsFile={}", known_hosts.display()))
        .args(["-o", "StrictHostKeyChecking=yes"])
        .args(["-o", "GlobalKnownHostsFile=/dev/null"])
        .args(["-o", "IdentitiesOnly=yes"])
        .args(["-o", "UpdateHostKeys=no"])
        .args(flags)
        .arg(instance)
        .args(command)
        .status()
        .context("cannot run ssh; is the OpenSSH client installed?")?;
    let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(255);
    Ok(ExitCode::from(code))
}

fn make_key(path: &Path) -> Result<()> {
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "drover", "-f"])
        .arg(path)
        .stdin(Stdio::null())
        .output()
        .context("cannot run ssh-keygen; is the OpenSSH client installed?")?;
    if !made.status.success() {
        bail!("ssh-keygen: {}", String::from_utf8_lossy(&made.stderr));
    }
    Ok(())
}

/// ssh's options stand before the host, a command after it. See ssh(1) for those that take a value.
fn split(arguments: &[String]) -> (&[String], &[String]) {
    const WITH_VALUE: &str = "BbcDEeFIiJLlmOoPpQRSWw";
    let mut at = 0;
    while let Some(letters) = arguments.get(at).and_then(|word| word.strip_prefix('-')) {
        // The rest of the word is the value, or the next word is.
        let takes = letters.char_indices().find(|(_, letter)| WITH_VALUE.contains(*letter));
        at += match takes {
            Some((index, _)) if index + 1 == letters.len() => 2,
            _ => 1,
        };
    }
    arguments.split_at(at.min(arguments.len()))
}

#[cfg(test)]
mod tests {
    #[test]
    fn options_go_before_the_host() {
        for (arguments, flags) in [
            (vec!["uptime"], 0),
            (vec!["-v", "-L", "1:a:2", "ls", "-l"], 3),
            (vec!["-oA=b", "-p22", "ls"], 2),
            (vec!["-tL", "1:a:2"], 2),
            (vec!["-L"], 1),
        ] {
            let arguments: Vec<String> = arguments.into_iter().map(str::to_owned).collect();
            assert_eq!(super::split(&arguments).0.len(), flags, "{arguments:?}");
        }
    }
}
