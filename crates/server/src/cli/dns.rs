//! `drover dns`: how this host comes to know the cloud's public names. Says it, changes nothing.

use std::net::SocketAddr;

use anyhow::Result;
use clap::Args;

use super::Output;

#[derive(Args)]
#[command(
    after_help = "Example:\n  drover up --dns 127.0.0.1:5353\n  dig @127.0.0.1 -p 5353 web-1234567890.us-east-1.elb.amazonaws.com"
)]
pub struct Options {
    /// Where `drover up --dns` answers
    #[arg(long, default_value = "127.0.0.1:5353")]
    address: SocketAddr,
    #[command(flatten)]
    output: Output,
}

const DOMAINS: [&str; 3] =
    ["elb.amazonaws.com", "compute.amazonaws.com", "compute-1.amazonaws.com"];

pub fn run(options: Options) -> Result<()> {
    let (address, ip, port) = (options.address, options.address.ip(), options.address.port());
    let text = format!(
        "Without any of this, browsers and curl find load balancers at
  http://NAME.REGION.elb.localhost:4566/      (*.localhost is this host)
and every other client at the addresses of  curl localhost:4566/_drover/resolve/NAME

For names of load balancers under elb.amazonaws.com, and public names of instances:

  drover up --dns {address}

Then let this host ask there, in one of these ways. While it does, names of real load
balancers and instances of AWS are not found.

systemd-resolved: /etc/systemd/resolved.conf.d/drover.conf
  [Resolve]
  DNS={address}
  Domains=~elb.amazonaws.com ~compute.amazonaws.com ~compute-1.amazonaws.com

dnsmasq: /etc/dnsmasq.d/drover.conf
  server=/elb.amazonaws.com/compute.amazonaws.com/compute-1.amazonaws.com/{ip}#{port}

neither: the first line of /etc/resolv.conf, with  drover up --dns {ip}:53
  nameserver {ip}
What is not this cloud's is refused, and asked of the nameserver after it."
    );
    options.output.print(text, serde_json::json!({ "server": address, "domains": DOMAINS }));
    Ok(())
}
