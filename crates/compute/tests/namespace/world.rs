//! A driver with a state directory of its own, and the questions tests ask of it.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use compute::namespace::{Config, NamespaceDriver, teardown};
use compute::{Driver, Exit, Layer, Phase, Spec};

pub const PATIENCE: Duration = Duration::from_secs(20);

pub struct World {
    pub runtime: tokio::runtime::Runtime,
    pub config: Config,
    driver: Option<Arc<NamespaceDriver>>,
}

impl World {
    pub fn new(name: &str) -> World {
        World::at(World::config(name))
    }

    /// Of a directory that nobody else has.
    pub fn config(name: &str) -> Config {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("{name}-{}-{n}", std::process::id()));
        Config::new(directory)
    }

    /// No driver is open yet.
    pub fn closed(config: Config) -> World {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        World { runtime, config, driver: None }
    }

    pub fn at(config: Config) -> World {
        let mut world = World::closed(config);
        world.open();
        world
    }

    pub fn open(&mut self) {
        let fabric = Arc::new(fabric::fake::Fake::new());
        let open = NamespaceDriver::open(self.config.clone(), fabric);
        self.driver = Some(Arc::new(self.runtime.block_on(open).unwrap()));
    }

    pub fn adopt(&mut self, driver: NamespaceDriver) {
        self.driver = Some(Arc::new(driver));
    }

    /// Lets go of the driver as if the daemon had ended.
    pub fn close(&mut self) {
        self.driver = None;
    }

    pub fn driver(&self) -> &Arc<NamespaceDriver> {
        self.driver.as_ref().unwrap()
    }

    pub fn ensure(&self, spec: &Spec) {
        self.runtime.block_on(self.driver().ensure(spec)).unwrap();
    }

    /// Boots and waits until it is up.
    pub fn boot(&self, spec: &Spec) {
        self.ensure(spec);
        let up = self.wait(&spec.id, |phase| phase != Phase::Booting);
        assert_eq!(up, Phase::Up, "{}", self.console(&spec.id));
    }

    pub fn destroy(&self, id: &str) {
        self.runtime.block_on(self.driver().destroy(id)).unwrap();
    }

    pub fn phase(&self, id: &str) -> Option<Phase> {
        self.driver().list().into_iter().find(|seen| seen.id == id).map(|seen| seen.phase)
    }

    pub fn wait(&self, id: &str, done: impl Fn(Phase) -> bool) -> Phase {
        let mut changes = self.driver().changes();
        let mut seen = async || loop {
            match self.phase(id) {
                Some(phase) if done(phase) => return phase,
                _ => changes.changed().await.unwrap(),
            }
        };
        let found = self.runtime.block_on(async { tokio::time::timeout(PATIENCE, seen()).await });
        found.unwrap_or_else(|_| {
            panic!("{id} stays {:?}; console:\n{}", self.phase(id), self.console(id))
        })
    }

    pub fn wait_exit(&self, id: &str) -> Exit {
        match self.wait(id, |phase| matches!(phase, Phase::Exited(_))) {
            Phase::Exited(exit) => exit,
            _ => unreachable!(),
        }
    }

    pub fn console(&self, id: &str) -> String {
        String::from_utf8_lossy(&self.driver().console(id)).into_owned()
    }

    /// Waits until the console says this.
    pub fn wait_console(&self, id: &str, text: &str) -> String {
        until(&format!("{text:?} on the console of {id}"), || {
            let console = self.console(id);
            console.contains(text).then_some(console)
        })
    }

    /// The instance's writable layer, from outside.
    pub fn upper(&self, id: &str) -> PathBuf {
        self.config.state_dir.join("instances").join(id).join("root/upper")
    }

    /// Runs a script as user data of a fresh instance and returns the console once it has ended.
    pub fn run(&self, id: &str, script: &str) -> String {
        self.boot(&Spec { user_data: Some(script.as_bytes().to_vec()), ..spec(id) });
        self.wait_console(id, "drover: user data ended")
    }

    /// Boots with somebody inside who does as `sh` says, at this boot and at every later one.
    pub fn boot_obedient(&self, spec: &Spec) {
        let script = "#!/bin/bash\nrm /var/lib/cloud/instance/sem/*\nmkfifo -m 666 /run/orders\n\
                      while :; do while read -r line; do eval \"$line\"; done < /run/orders; done\n";
        self.boot(&Spec { user_data: Some(script.into()), ..spec.clone() });
        until("somebody who obeys", || self.orders(&spec.id).exists().then_some(()));
    }

    fn orders(&self, id: &str) -> PathBuf {
        let pids = self.processes(id);
        PathBuf::from(format!("/proc/{}/root/run/orders", pids.first().unwrap_or(&0)))
    }

    /// Runs a line inside and returns what it prints and its exit status.
    pub fn sh(&self, id: &str, line: &str) -> (String, i32) {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let mut orders = std::fs::File::options().write(true).open(self.orders(id)).unwrap();
        // In two parts, so that the line itself does not look like its end.
        let line = format!("echo 'begin' {n}; ( {line} ) 2>&1; echo end {n} $?\n");
        orders.write_all(line.as_bytes()).unwrap();
        drop(orders);
        until(&line, || {
            let console = self.console(id);
            let (_, rest) = console.split_once(&format!("begin {n}\n"))?;
            let (output, rest) = rest.split_once(&format!("end {n} "))?;
            let (status, _) = rest.split_once('\n')?;
            Some((output.to_owned(), status.parse().unwrap()))
        })
    }

    /// The same; it must succeed.
    pub fn ok(&self, id: &str, line: &str) -> String {
        let (output, status) = self.sh(id, line);
        assert_eq!(status, 0, "{line}: {output}");
        output
    }

    /// The pids of an instance's processes in its control groups.
    pub fn processes(&self, id: &str) -> Vec<i32> {
        let mut pids = Vec::new();
        for directory in control_groups(&format!("{}/{id}", self.config.cgroup)) {
            let text = std::fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
            pids.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()));
        }
        pids.sort_unstable();
        pids.dedup();
        pids
    }

    pub fn shim(&self, id: &str) -> i32 {
        let path = self.config.state_dir.join("instances").join(id).join("shim.json");
        let text = std::fs::read_to_string(path).unwrap();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        value["pid"].as_i64().unwrap() as i32
    }

    /// Nothing of any instance is left.
    pub fn assert_clean(&self) {
        let state = &self.config.state_dir;
        for directory in ["instances", "trash"] {
            until(&format!("{directory} empty"), || {
                std::fs::read_dir(state.join(directory)).unwrap().next().is_none().then_some(())
            });
        }
        for group in control_groups(&self.config.cgroup) {
            let left: Vec<_> = std::fs::read_dir(&group)
                .unwrap()
                .flatten()
                .filter(|entry| entry.path().is_dir())
                .collect();
            assert!(left.is_empty(), "{left:?}");
        }
        until("no shim left", || shims_in(state).is_empty().then_some(()));
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.driver = None;
        // A test that failed is to be read, not its clean-up.
        if let Err(error) = teardown(&self.config.state_dir) {
            eprintln!("teardown: {error}");
        }
        let _ = std::fs::remove_dir_all(&self.config.state_dir);
    }
}

/// Shims whose working directory is in this state directory.
pub fn shims_in(state: &Path) -> Vec<i32> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| {
        std::fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd.starts_with(state))
    })
    .collect()
}

/// Where this group is, in every hierarchy.
pub fn control_groups(name: &str) -> Vec<PathBuf> {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    let points = mounts.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split(' ').collect();
        fields[2].starts_with("cgroup").then(|| Path::new(fields[1]).join(name))
    });
    points.filter(|path| path.exists()).collect()
}

/// Asks again until there is an answer.
pub fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let end = std::time::Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(std::time::Instant::now() < end, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub fn spec(id: &str) -> Spec {
    Spec {
        id: id.into(),
        boot: 1,
        layers: vec![Layer::Host],
        vcpus: 1,
        memory_mib: 256,
        nics: vec![],
        hostname: "ip-10-0-0-5.ec2.internal".into(),
        env: BTreeMap::from([("AWS_REGION".to_owned(), "us-east-1".to_owned())]),
        user_data: None,
        ssh_keys: vec![],
        resolver: Default::default(),
        root_bytes: None,
        root_encrypted: false,
        disks: vec![],
        init: Default::default(),
    }
}
