//! `drover doctor`: what this host can enforce, and how to fix what is missing.

use std::io::IsTerminal;
use std::path::Path;

use anyhow::Result;
use clap::Args;
use fabric::network::Block;
use serde_json::json;

use super::bootstrap::installed;
use crate::paths::Paths;
use crate::pool::Pool;
use crate::slot;

#[derive(Args)]
#[command(after_help = "Exits with 1 when something that `drover up` needs is missing.")]
pub struct Options {
    /// As JSON
    #[arg(long)]
    json: bool,
}

struct Check {
    name: String,
    state: State,
    detail: String,
    fix: String,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Ok,
    /// Works without, less of it.
    Optional,
    Missing,
}

impl State {
    fn word(self) -> &'static str {
        match self {
            State::Ok => "ok",
            State::Optional => "optional",
            State::Missing => "missing",
        }
    }
}

pub fn run(options: Options) -> Result<()> {
    let checks = checks()?;
    if options.json {
        let list: Vec<_> = checks
            .iter()
            .map(|c| json!({"name": c.name, "state": c.state.word(), "detail": c.detail, "fix": c.fix}))
            .collect();
        println!("{}", serde_json::to_string_pretty(&list)?);
    } else {
        print(&checks);
    }
    if checks.iter().any(|check| check.state == State::Missing) {
        std::process::exit(1);
    }
    Ok(())
}

fn checks() -> Result<Vec<Check>> {
    let directory = Paths::default_data();
    let directory = directory.ancestors().find(|dir| dir.exists()).unwrap_or(Path::new("/"));
    let mut checks: Vec<Check> = compute::namespace::probe(directory)?
        .into_iter()
        .map(|check| Check {
            name: check.name,
            state: match (check.ok, check.optional) {
                (true, _) => State::Ok,
                (false, true) => State::Optional,
                (false, false) => State::Missing,
            },
            detail: check.detail,
            fix: check.fix.unwrap_or_default(),
        })
        .collect();
    let bootstrap = ["mmdebstrap", "debootstrap"].into_iter().find(|tool| installed(tool));
    checks.push(Check {
        name: "images of packages".into(),
        state: if bootstrap.is_some() { State::Ok } else { State::Optional },
        detail: bootstrap
            .map_or("no bootstrap tool; `drover image build` needs one".into(), |tool| {
                format!("`drover image build` uses {tool}")
            }),
        fix: if bootstrap.is_some() { String::new() } else { "apt-get install mmdebstrap".into() },
    });
    checks.push(services());
    checks.push(packet_filter());
    checks.extend(public_addresses()?);
    Ok(checks)
}

/// A system with services takes several inotify instances, and all of this host's count as root's.
fn services() -> Check {
    const EACH: u64 = 10;
    const ENOUGH: u64 = 1024;
    let file = "/proc/sys/fs/inotify/max_user_instances";
    let most = std::fs::read_to_string(file).ok().and_then(|text| text.trim().parse().ok());
    let most: u64 = most.unwrap_or(0);
    Check {
        name: "systemd in instances".into(),
        state: if most >= ENOUGH { State::Ok } else { State::Optional },
        detail: format!("{most} inotify instances: enough for about {} of them", most / EACH),
        fix: match most >= ENOUGH {
            true => String::new(),
            false => format!("sysctl fs.inotify.max_user_instances={}", 8 * ENOUGH),
        },
    }
}

/// Security groups, ACLs and gateways are rules of nftables.
fn packet_filter() -> Check {
    let directory = std::env::temp_dir().join(format!("drover-doctor-{}", std::process::id()));
    let tried = fabric::linux::probe(&directory);
    let modules = "nf_tables nft_ct nft_nat nft_fib_ipv4 nft_reject_ipv4 nft_tproxy nft_log";
    Check {
        name: "packet filter".into(),
        state: if tried.is_ok() { State::Ok } else { State::Missing },
        fix: if tried.is_ok() { String::new() } else { format!("modprobe -a {modules}") },
        detail: tried
            .map_or_else(|error| error.to_string(), |()| "nftables takes all rules".into()),
    }
}

/// The pool of each cloud of this host; without clouds, what all pools are from.
fn public_addresses() -> Result<Vec<Check>> {
    let pools: Vec<Pool> = slot::all()?.iter().map(|(slot, _)| Pool::of(slot)).collect();
    let mut checks: Vec<Check> = pools
        .iter()
        .map(|pool| {
            let joined = if pool.is_joined() { "this host's link is" } else { "not needed yet:" };
            reachable(pool.block, &pool.link, &format!("{}, {joined} {}", pool.block, pool.link))
        })
        .collect::<Result<_>>()?;
    if checks.is_empty() {
        let all = fabric::linux::PUBLIC;
        checks.push(reachable(all, "", &format!("each cloud gets a /19 of {all}"))?);
    }
    Ok(checks)
}

fn reachable(block: Block, link: &str, detail: &str) -> Result<Check> {
    let taken = fabric::linux::conflict(block, link)?;
    Ok(Check {
        name: "public addresses".into(),
        state: if taken.is_none() { State::Ok } else { State::Optional },
        detail: taken.map_or_else(
            || detail.to_owned(),
            |other| format!("{detail}; not reachable from this host, which has a route to {other}"),
        ),
        fix: taken.map_or_else(String::new, |other| format!("ip route del {other}")),
    })
}

fn print(checks: &[Check]) {
    let colour = std::io::stdout().is_terminal();
    let width = checks.iter().map(|check| check.name.chars().count()).max().unwrap_or(0);
    for check in checks {
        let (code, word) = match check.state {
            State::Ok => (32, "ok      "),
            State::Optional => (33, "optional"),
            State::Missing => (31, "missing "),
        };
        let word = if colour { format!("\x1b[{code}m{word}\x1b[0m") } else { word.to_owned() };
        println!("{word}  {:width$}  {}", check.name, check.detail);
        if !check.fix.is_empty() {
            println!("{:10}{:width$}  fix: {}", "", "", check.fix);
        }
    }
}
