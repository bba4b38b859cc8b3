//! `drover why`: the way of a packet and of its answer, and what stops them.

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use serde_json::json;

use super::{Cloud, Output};

#[derive(Args)]
#[command(after_help = "Examples:
  drover why i-0123456789abcdef0 i-0fedcba9876543210 5432
  drover why i-0123456789abcdef0 10.0.1.5 53 --protocol udp
  drover why 203.0.113.7 i-0123456789abcdef0 443        from the internet
Exits 0 when the connection would come about.")]
pub struct Options {
    /// Who begins: an instance, a network interface, or an address
    from: String,
    /// Whom it wants to reach
    to: String,
    /// Port of the receiver
    port: u16,
    #[arg(long, value_enum, default_value_t = Protocol::Tcp)]
    protocol: Protocol,
    /// Region of both
    #[arg(long, env = "AWS_REGION", default_value = "us-east-1")]
    region: String,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    cloud: Cloud,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Protocol {
    Tcp,
    Udp,
}

pub fn run(options: Options) -> Result<()> {
    let Options { from, to, port, protocol, region, output, cloud } = options;
    let protocol = if protocol == Protocol::Tcp { "Tcp" } else { "Udp" };
    let question =
        json!({"from": from, "to": to, "port": port, "protocol": protocol, "region": region});
    let answer = cloud.call("POST", "/_drover/why", Some(question))?;
    let reachable = answer["reachable"] == true;
    let mut lines = Vec::new();
    for step in answer["steps"].as_array().into_iter().flatten() {
        let way = if step["back"] == true { "answer" } else { "there" };
        let mark = if step["passes"] == true { "passes" } else { "STOPS" };
        lines.push(format!("{way:<6}  {mark:<6}  {}", step["text"].as_str().unwrap_or_default()));
    }
    let verdict = if reachable { "can connect to" } else { "cannot connect to" };
    lines.push(format!("{from} {verdict} {to} port {port}"));
    output.print(lines.join("\n"), answer);
    if !reachable {
        bail!("it cannot be reached");
    }
    Ok(())
}
