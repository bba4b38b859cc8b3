//! Balancers as processes of their own, kept by a daemon that comes and goes.

use std::path::{Path, PathBuf};
use std::process::Command;

use balancer::client::Client as Control;
use balancer::keeper::Keeper;
use balancer::snapshot::*;

use crate::world::*;

/// Built by cargo along with the tests.
fn executable() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let path = test.parent().unwrap().parent().unwrap().join("examples/standalone");
    assert!(path.exists(), "{} is built by `cargo test -p balancer`", path.display());
    path
}

fn command(zone: &str, socket: &Path) -> Command {
    let mut command = Command::new(executable());
    command.arg("process").arg(zone).arg(socket);
    command
}

/// A directory and a keeper in it, both gone in the end with all processes.
struct House {
    directory: PathBuf,
    keeper: Keeper,
}

impl House {
    async fn new(name: &str) -> House {
        let directory =
            std::env::temp_dir().join(format!("balancer-{name}-{}", std::process::id()));
        let keeper = Keeper::start(&directory, command).await.unwrap();
        House { directory, keeper }
    }

    fn socket(&self) -> PathBuf {
        self.directory.join("z.sock")
    }
}

impl Drop for House {
    fn drop(&mut self) {
        for zone in self.keeper.zones() {
            self.keeper.kill(&zone);
        }
        std::fs::remove_dir_all(&self.directory).unwrap();
    }
}

fn snapshot(version: u64, origin: &Origin) -> (Snapshot, std::net::SocketAddrV4) {
    let address = free_address();
    let snapshot = Snapshot {
        version,
        listeners: vec![listener(address)],
        target_groups: [("g".to_string(), group(&[origin.address]))].into(),
    };
    (snapshot, address)
}

fn version(keeper: &Keeper) -> Option<u64> {
    keeper.report("z").map(|report| report.version)
}

#[tokio::test]
async fn a_process_is_started_told_killed_and_started_again() {
    let house = House::new("life").await;
    let keeper = &house.keeper;
    let origin = Origin::named("x").await;
    assert!(keeper.zones().is_empty() && keeper.report("z").is_none());
    let mut changes = keeper.changes();
    let (first, address) = snapshot(7, &origin);
    keeper.apply("z", first.clone());
    changes.changed().await.unwrap();
    until(|| version(keeper) == Some(7)).await;
    assert_eq!(keeper.zones(), ["z"]);
    let mut client = Client::connect(address).await;
    assert_eq!(client.get("/").await.text(), "x");
    until(|| keeper.report("z").is_some_and(|r| r.counters["g"].requests == 1)).await;

    keeper.apply("z", Snapshot { version: 8, ..first.clone() });
    until(|| version(keeper) == Some(8)).await;
    assert_eq!(client.get("/").await.text(), "x", "connections live over snapshots");

    keeper.kill("z");
    assert!(keeper.zones().is_empty() && keeper.report("z").is_none());
    assert!(client.is_closed().await);
    until(|| std::net::TcpStream::connect(address).is_err()).await;

    keeper.apply("z", Snapshot { version: 9, ..first });
    until(|| version(keeper) == Some(9)).await;
    assert_eq!(Client::connect(address).await.get("/").await.text(), "x");
}

#[tokio::test]
async fn one_that_dies_is_replaced_with_the_same_snapshot() {
    let house = House::new("death").await;
    let origin = Origin::named("x").await;
    let (told, address) = snapshot(3, &origin);
    house.keeper.apply("z", told);
    until(|| version(&house.keeper) == Some(3)).await;
    let mut client = Client::connect(address).await;
    assert_eq!(client.get("/").await.text(), "x");
    let control = Control::connect(&house.socket()).await.unwrap();
    control.kill().unwrap();
    control.ended().await.unwrap();
    assert!(client.is_closed().await);
    until(|| std::net::TcpStream::connect(address).is_ok()).await;
    assert_eq!(Client::connect(address).await.get("/").await.text(), "x");
}

#[tokio::test]
async fn it_goes_on_without_a_daemon_and_is_found_by_the_next() {
    let mut house = House::new("daemon").await;
    let origin = Origin::named("x").await;
    let (told, address) = snapshot(5, &origin);
    let daemon = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let directory = house.directory.clone();
    daemon
        .spawn(async move {
            let keeper = Keeper::start(&directory, command).await.unwrap();
            keeper.apply("z", told);
            until(|| version(&keeper) == Some(5)).await;
        })
        .await
        .unwrap();
    let mut client = Client::connect(address).await;
    assert_eq!(client.get("/").await.text(), "x");
    daemon.shutdown_background();
    assert_eq!(client.get("/").await.text(), "x");

    let twice = command("z", &house.socket()).output().unwrap();
    assert!(!twice.status.success(), "one process per zone");

    house.keeper = Keeper::start(&house.directory, command).await.unwrap();
    assert_eq!(house.keeper.zones(), ["z"]);
    until(|| version(&house.keeper) == Some(5)).await;
    assert_eq!(client.get("/").await.text(), "x");
}
