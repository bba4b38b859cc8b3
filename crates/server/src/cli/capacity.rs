//! `drover capacity`: how many instances of a type each zone has room for.

use anyhow::Result;
use clap::{Args, Subcommand};
use serde_json::json;

use super::table::Table;
use super::{Cloud, Output};

#[derive(Subcommand)]
#[command(after_help = "Examples:
  drover capacity set us-east-1a t3.micro 4     a fifth one is refused: InsufficientInstanceCapacity
  drover capacity list                          also what capacity reservations hold
  drover capacity clear us-east-1a              as many as this host can run")]
pub enum Command {
    /// Show all pools: what instances use, what is reserved for others, what is free
    List(List),
    /// Give a zone room for so many instances of a type
    Set(Set),
    /// Take pools away: as many as this host can run
    Clear(Clear),
}

#[derive(Args)]
pub struct List {
    #[command(flatten)]
    cloud: Cloud,
    #[command(flatten)]
    output: Output,
}

#[derive(Args)]
pub struct Set {
    /// Name of the zone, such as us-east-1a
    zone: String,
    /// Instance type, such as t3.micro
    r#type: String,
    /// The most that can hold capacity at once; 0 for none
    count: u32,
    #[command(flatten)]
    cloud: Cloud,
    #[command(flatten)]
    output: Output,
}

#[derive(Args)]
pub struct Clear {
    /// Of this zone alone
    zone: Option<String>,
    /// Of this type alone
    r#type: Option<String>,
    #[command(flatten)]
    cloud: Cloud,
    #[command(flatten)]
    output: Output,
}

const PATH: &str = "/_drover/capacity";

pub fn run(command: Command) -> Result<()> {
    match command {
        Command::List(List { cloud, output }) => list(&cloud, &output),
        Command::Set(Set { zone, r#type, count, cloud, output }) => {
            let body = json!({"zone": zone, "type": r#type, "limit": count});
            let answer = cloud.call("POST", PATH, Some(body))?;
            output.print(format!("{zone} has room for {count} {}", r#type), answer);
            Ok(())
        }
        Command::Clear(Clear { zone, r#type, cloud, output }) => {
            let body = json!({"zone": zone, "type": r#type});
            let answer = cloud.call("POST", PATH, Some(body))?;
            output.print(format!("{} cleared", answer["cleared"]), answer);
            Ok(())
        }
    }
}

fn list(cloud: &Cloud, output: &Output) -> Result<()> {
    let answer = cloud.call("GET", PATH, None)?;
    const COLUMNS: [&str; 6] = ["zone", "type", "limit", "used", "reserved", "free"];
    let mut table = Table::new(&COLUMNS);
    for pool in answer["pools"].as_array().into_iter().flatten() {
        let cell = |name: &str| match &pool[name] {
            serde_json::Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        table.row(COLUMNS.map(cell));
    }
    let text = match table.is_empty() {
        true => "No pools: every zone has as many as this host can run.".to_owned(),
        false => table.render(false).trim_end().to_owned(),
    };
    output.print(text, answer);
    Ok(())
}
