//! A cloud under measurement, and what the measurements ask of it through its public APIs.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use demo::aws::{Client, Target, all, first};

use crate::Options;
use crate::process::Running;

const EC2: &str = "2016-11-15";
/// The smallest current type.
pub const INSTANCE_TYPE: &str = "t3.nano";
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Where its records are.
#[derive(Clone, Copy, PartialEq)]
pub enum Records {
    /// In memory, as with `drover up --ephemeral`.
    Memory,
    /// On disk, every commit synced, as with `drover up`.
    Disk,
}

pub struct Cloud {
    program: PathBuf,
    pub daemon: Running,
    /// Kept, so that the daemon can go on writing.
    _stdout: BufReader<ChildStdout>,
    pub data_dir: PathBuf,
    /// `host:port` of the gateway.
    authority: String,
    pub ec2: Ec2,
    /// From the start of the program to its word that it is up.
    pub ready: Duration,
    /// …to the answer to its first call.
    pub answered: Duration,
    stays: bool,
}

impl Cloud {
    pub async fn start(options: &Options, records: Records) -> Result<Cloud> {
        Cloud::start_with(options, records, &[]).await
    }

    /// With more words on its command line.
    pub async fn start_with(options: &Options, records: Records, words: &[&str]) -> Result<Cloud> {
        let directory = match records {
            Records::Memory => None,
            Records::Disk => {
                Some(tempfile::Builder::new().prefix("drover-bench-").tempdir()?.keep())
            }
        };
        Cloud::up(options, directory, words).await
    }

    /// With its records in `directory`, which may be those of an earlier daemon.
    pub async fn at(options: &Options, directory: Option<PathBuf>) -> Result<Cloud> {
        Cloud::up(options, directory, &[]).await
    }

    async fn up(options: &Options, directory: Option<PathBuf>, words: &[&str]) -> Result<Cloud> {
        let program = options.program("drover");
        let log_path = options.scratch()?.join("daemon.log");
        let log = std::fs::File::options().create(true).append(true).open(&log_path)?;
        let mut command = Command::new(&program);
        command.args(["up", "--listen", "127.0.0.1:0"]).args(words);
        match &directory {
            Some(directory) => command.arg("--data-dir").arg(directory),
            None => command.arg("--ephemeral"),
        };
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        let begin = Instant::now();
        let mut daemon = Running::start(&mut command)?;
        let mut stdout = BufReader::new(daemon.child.stdout.take().expect("it is piped"));
        let mut line = String::new();
        stdout.read_line(&mut line)?;
        let ready = begin.elapsed();
        let authority = line.split_once("http://").and_then(|(_, rest)| rest.split(' ').next());
        let Some(authority) = authority else {
            bail!("the daemon did not start, see {}", log_path.display());
        };
        let authority = authority.trim().to_owned();
        let ec2 = Ec2(client(&authority, "test", "test"));
        let data_dir = match directory {
            Some(directory) => directory,
            None => data_dir_of(daemon.pid())?,
        };
        let mut cloud = Cloud {
            program,
            daemon,
            _stdout: stdout,
            data_dir,
            authority,
            ec2,
            ready,
            answered: ready,
            stays: false,
        };
        cloud.ec2.call("DescribeAvailabilityZones", &[]).await?;
        cloud.answered = begin.elapsed();
        Ok(cloud)
    }

    pub fn program(&self) -> &Path {
        &self.program
    }

    /// A client of whoever has the key.
    pub fn client(&self, access_key: &str, secret: &str) -> Client {
        client(&self.authority, access_key, secret)
    }

    /// Ends the daemon; its directory can be started `at` again.
    pub fn stop(mut self) -> PathBuf {
        self.daemon.end(PATIENCE);
        self.stays = true;
        self.data_dir.clone()
    }
}

impl Drop for Cloud {
    fn drop(&mut self) {
        self.daemon.end(PATIENCE);
        // An ephemeral cloud that ended by itself has left nothing.
        if self.stays || !self.data_dir.exists() {
            return;
        }
        let mut down = Command::new(&self.program);
        down.args(["down", "--purge", "--data-dir"]).arg(&self.data_dir).stdout(Stdio::null());
        if !down.status().is_ok_and(|status| status.success()) {
            eprintln!("{} may have been left behind; see {down:?}", self.data_dir.display());
        }
    }
}

fn client(authority: &str, access_key: &str, secret: &str) -> Client {
    Client::new(Target {
        authority: authority.to_owned(),
        region: "us-east-1".into(),
        access_key_id: access_key.to_owned(),
        secret_access_key: secret.to_owned(),
    })
}

/// Where an ephemeral cloud keeps its sockets and networks.
fn data_dir_of(pid: u32) -> Result<PathBuf> {
    for entry in std::fs::read_dir("/run/drover/slots")? {
        let Ok(text) = std::fs::read(entry?.path()) else { continue };
        let Ok(record) = serde_json::from_slice::<serde_json::Value>(&text) else { continue };
        if record["pid"] == pid {
            return Ok(record["data_dir"].as_str().context("a slot without directory")?.into());
        }
    }
    bail!("no slot of the daemon {pid} under /run/drover/slots")
}

/// The calls that the measurements need.
#[derive(Clone)]
pub struct Ec2(Client);

pub struct Launched {
    pub id: String,
    pub address: std::net::Ipv4Addr,
}

impl Ec2 {
    pub fn of(client: Client) -> Ec2 {
        Ec2(client)
    }

    pub async fn call(&self, action: &str, parameters: &[(&str, &str)]) -> Result<String> {
        self.0.query("ec2", EC2, action, parameters).await
    }

    /// The image that is always there.
    pub async fn image(&self) -> Result<String> {
        let images = [("Filter.1.Name", "name"), ("Filter.1.Value.1", "drover-host")];
        let image = first(&self.call("DescribeImages", &images).await?, "imageId");
        ensure!(!image.is_empty(), "there is no image drover-host");
        Ok(image)
    }

    /// The network's name is the VPC's.
    pub async fn vpc(&self) -> Result<String> {
        Ok(first(&self.call("DescribeVpcs", &[]).await?, "vpcId"))
    }

    /// Opens the default group, which admits nobody from outside, to whoever measures.
    pub async fn open(&self) -> Result<()> {
        let groups = [("Filter.1.Name", "group-name"), ("Filter.1.Value.1", "default")];
        let id = first(&self.call("DescribeSecurityGroups", &groups).await?, "groupId");
        let rule = [
            ("GroupId", id.as_str()),
            ("IpPermissions.1.IpProtocol", "-1"),
            ("IpPermissions.1.IpRanges.1.CidrIp", "0.0.0.0/0"),
        ];
        self.call("AuthorizeSecurityGroupIngress", &rule).await?;
        Ok(())
    }

    pub async fn run(&self, image: &str, script: &str, count: usize) -> Result<Vec<Launched>> {
        let (script, count) = (BASE64.encode(script), count.to_string());
        let mut parameters = vec![
            ("ImageId", image),
            ("InstanceType", INSTANCE_TYPE),
            ("MinCount", &count),
            ("MaxCount", &count),
        ];
        if !script.is_empty() {
            parameters.push(("UserData", &script));
        }
        let answer = self.call("RunInstances", &parameters).await?;
        let addresses = all(&answer, "networkInterfaceSet").into_iter();
        let addresses = addresses.map(|interfaces| first(interfaces, "privateIpAddress").parse());
        let instances = all(&answer, "instanceId").into_iter().zip(addresses);
        instances
            .map(|(id, address)| Ok(Launched { id: id.to_owned(), address: address? }))
            .collect()
    }

    pub async fn console(&self, id: &str) -> Result<String> {
        let parameters = [("InstanceId", id), ("Latest", "true")];
        let answer = self.call("GetConsoleOutput", &parameters).await?;
        let output = BASE64.decode(first(&answer, "output").trim())?;
        Ok(String::from_utf8_lossy(&output).into_owned())
    }

    /// How many instances are in a state.
    pub async fn count(&self, state: &str) -> Result<usize> {
        let parameters = [("Filter.1.Name", "instance-state-name"), ("Filter.1.Value.1", state)];
        let answer = self.call("DescribeInstances", &parameters).await?;
        Ok(all(&answer, "instanceId").len())
    }

    /// Ends them, and waits until they have ended.
    pub async fn terminate(&self, ids: &[String]) -> Result<()> {
        let names: Vec<String> = (1..=ids.len()).map(|n| format!("InstanceId.{n}")).collect();
        let parameters: Vec<(&str, &str)> =
            names.iter().map(String::as_str).zip(ids.iter().map(String::as_str)).collect();
        let answer = self.call("TerminateInstances", &parameters).await?;
        ensure!(all(&answer, "instanceId").len() == ids.len(), "not all were terminated");
        let deadline = Instant::now() + PATIENCE;
        while self.count("shutting-down").await? > 0 {
            ensure!(Instant::now() < deadline, "instances do not end");
            tokio::time::sleep(Duration::from_millis(if ids.len() > 1 { 100 } else { 5 })).await;
        }
        Ok(())
    }
}
