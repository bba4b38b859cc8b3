//! Control groups of version 1, 2 and both at once: where each controller lives is found per
//! controller, and every instance gets one directory of its own in each hierarchy that has one.
//!
//! ```text
//! HIERARCHY/PARENT/ID      PARENT is one per cloud, so that everything can be found again
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// Groups that a guest may make of the one it was given: plenty for services and logins.
const MOST_DESCENDANTS: &str = "4096";

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Controller {
    Cpu,
    Cpuacct,
    Memory,
    Pids,
    Io,
}

impl Controller {
    pub const ALL: [Controller; 5] = [Self::Cpu, Self::Cpuacct, Self::Memory, Self::Pids, Self::Io];

    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cpuacct => "cpuacct",
            Self::Memory => "memory",
            Self::Pids => "pids",
            Self::Io => "io",
        }
    }

    fn legacy_name(self) -> &'static str {
        if self == Self::Io { "blkio" } else { self.name() }
    }
}

/// Which hierarchies there are, and which controller is where.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    /// Where the version 2 hierarchy is mounted.
    pub unified: Option<PathBuf>,
    /// Controllers of the version 2 hierarchy. CPU time is always counted there.
    pub in_unified: Vec<Controller>,
    /// Version 1 mounts by controller; two controllers may share one.
    pub legacy: BTreeMap<Controller, PathBuf>,
}

/// Of processor time; the kernel takes no quota below a millisecond.
const PERIOD_US: u64 = 100_000;
const MIN_QUOTA_US: u64 = 1000;

/// What an instance may use.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Limits {
    pub vcpus: u32,
    pub memory_bytes: u64,
    pub pids: u64,
}

/// Of what an instance may do to a block device, reads and writes each. `None`: as it likes.
#[derive(Clone, Copy, Debug)]
pub struct DeviceLimits {
    /// Major and minor.
    pub number: (u32, u32),
    pub iops: Option<u64>,
    pub bytes_per_second: Option<u64>,
}

impl Layout {
    pub fn detect() -> io::Result<Layout> {
        let layout = Layout::parse(&fs::read_to_string("/proc/self/mountinfo")?);
        let Some(root) = &layout.unified else { return Ok(layout) };
        let available = fs::read_to_string(root.join("cgroup.controllers")).unwrap_or_default();
        Ok(layout.with_unified_controllers(&available))
    }

    /// Reads a mountinfo table, see proc_pid_mountinfo(5).
    fn parse(mountinfo: &str) -> Layout {
        let mut layout = Layout::default();
        for line in mountinfo.lines() {
            let Some((left, right)) = line.split_once(" - ") else { continue };
            let Some(point) = left.split(' ').nth(4) else { continue };
            let mut right = right.split(' ');
            match right.next() {
                Some("cgroup2") => {
                    layout.unified.get_or_insert_with(|| PathBuf::from(point));
                }
                Some("cgroup") => {
                    let options = right.nth(1).unwrap_or("");
                    for controller in Controller::ALL {
                        if options.split(',').any(|option| option == controller.legacy_name()) {
                            layout.legacy.entry(controller).or_insert_with(|| point.into());
                        }
                    }
                }
                _ => {}
            }
        }
        layout
    }

    fn with_unified_controllers(mut self, available: &str) -> Layout {
        self.in_unified = Controller::ALL
            .into_iter()
            .filter(|c| !self.legacy.contains_key(c))
            .filter(|c| match c {
                Controller::Cpuacct => true,
                c => available.split_whitespace().any(|name| name == c.name()),
            })
            .collect();
        self
    }

    pub fn has(&self, controller: Controller) -> bool {
        self.legacy.contains_key(&controller) || self.in_unified.contains(&controller)
    }

    /// The mount points, each once.
    fn roots(&self) -> Vec<&Path> {
        let mut roots: Vec<&Path> = self.legacy.values().map(PathBuf::as_path).collect();
        roots.extend(self.unified.as_deref());
        roots.sort_unstable();
        roots.dedup();
        roots
    }

    fn controllers_to_enable(&self) -> String {
        let names = self.in_unified.iter().filter(|&&c| c != Controller::Cpuacct);
        names.map(|c| format!("+{}", c.name())).collect::<Vec<_>>().join(" ")
    }

    /// Makes the parent in every hierarchy and lets the version 2 controllers through to it.
    pub fn make_parent(&self, parent: &str) -> io::Result<()> {
        for root in self.roots() {
            make(&root.join(parent))?;
        }
        let enable = self.controllers_to_enable();
        if let (Some(root), false) = (&self.unified, enable.is_empty()) {
            for directory in [root.clone(), root.join(parent)] {
                write(&directory.join("cgroup.subtree_control"), &enable)?;
            }
        }
        Ok(())
    }

    pub fn group(&self, parent: &str, id: &str) -> Group {
        let below = |root: &PathBuf| root.join(parent).join(id);
        Group {
            unified: self.unified.as_ref().map(below),
            in_unified: self.in_unified.clone(),
            legacy: self.legacy.iter().map(|(&c, root)| (c, below(root))).collect(),
        }
    }

    /// The groups below the parent, in any hierarchy.
    pub fn children(&self, parent: &str) -> Vec<String> {
        let mut names = Vec::new();
        for root in self.roots() {
            for entry in fs::read_dir(root.join(parent)).into_iter().flatten().flatten() {
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    names.extend(entry.file_name().into_string());
                }
            }
        }
        names.sort_unstable();
        names.dedup();
        names
    }

    pub fn remove_parent(&self, parent: &str) -> io::Result<()> {
        self.roots().into_iter().try_for_each(|root| remove(&root.join(parent)))
    }
}

/// The directories of one instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    pub unified: Option<PathBuf>,
    in_unified: Vec<Controller>,
    pub legacy: BTreeMap<Controller, PathBuf>,
}

impl Group {
    fn directories(&self) -> Vec<&Path> {
        let mut all = self.legacy_directories();
        all.extend(self.unified.as_deref());
        all
    }

    /// The version 1 directories, each once; a process joins by writing `0` to `tasks` itself.
    pub fn legacy_directories(&self) -> Vec<&Path> {
        let mut all: Vec<&Path> = self.legacy.values().map(PathBuf::as_path).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    pub fn file(&self, controller: Controller, legacy: &str, unified: &str) -> Option<PathBuf> {
        if let Some(directory) = self.legacy.get(&controller) {
            return Some(directory.join(legacy));
        }
        let directory = self.unified.as_ref()?;
        self.in_unified.contains(&controller).then(|| directory.join(unified))
    }

    /// Makes the directories anew and writes the limits the host's controllers can hold.
    pub fn make(&self, limits: Limits) -> io::Result<()> {
        self.remove()?;
        for directory in self.directories() {
            make(directory)?;
        }
        if let Some(directory) = self.legacy.get(&Controller::Cpu) {
            write(&directory.join("cpu.cfs_period_us"), &PERIOD_US.to_string())?;
        }
        self.set_cpu(f64::from(limits.vcpus.max(1)))?;
        let bytes = limits.memory_bytes.to_string();
        if let Some(file) = self.file(Controller::Memory, "memory.limit_in_bytes", "memory.max") {
            write(&file, &bytes)?;
        }
        // Swap is not memory: an instance that needs more than it has is out of memory, as on EC2.
        let swap = match self.legacy.get(&Controller::Memory) {
            Some(directory) => {
                Some((directory.join("memory.memsw.limit_in_bytes"), bytes.as_str()))
            }
            None => self.file(Controller::Memory, "", "memory.swap.max").map(|file| (file, "0")),
        };
        if let Some((file, value)) = swap.filter(|(file, _)| file.exists()) {
            write(&file, value)?;
        }
        if let Some(file) = self.file(Controller::Pids, "pids.max", "pids.max") {
            write(&file, &limits.pids.to_string())?;
        }
        Ok(())
    }

    /// Sets the limits for one device; a host without the controller holds none.
    pub fn limit_device(&self, limits: DeviceLimits) -> io::Result<()> {
        let DeviceLimits { number: (major, minor), iops, bytes_per_second: bytes } = limits;
        if let Some(directory) = self.legacy.get(&Controller::Io) {
            // What a file system writes back later is written by the kernel, which is in the root
            // group; nobody but this instance has the device.
            let root = directory.parent().and_then(Path::parent);
            for (what, limit) in [("bps", bytes), ("iops", iops)] {
                // 0 is none.
                let value = format!("{major}:{minor} {}", limit.unwrap_or(0));
                let file = |way: &str| format!("blkio.throttle.{way}_{what}_device");
                write(&directory.join(file("read")), &value)?;
                write(&directory.join(file("write")), &value)?;
                if let Some(root) = root {
                    write(&root.join(file("write")), &value)?;
                }
            }
        } else if let Some(file) = self.file(Controller::Io, "", "io.max") {
            let word = |limit: Option<u64>| limit.map_or("max".to_owned(), |n| n.to_string());
            let (bytes, iops) = (word(bytes), word(iops));
            let limits = format!("rbps={bytes} wbps={bytes} riops={iops} wiops={iops}");
            write(&file, &format!("{major}:{minor} {limits}"))?;
        }
        Ok(())
    }

    /// Lets the instance's root make groups of its own in the version 2 group, as systemd does. Limits
    /// stay with the host. Without that hierarchy there is nothing to give.
    pub fn delegate(&self, owner: u32) -> io::Result<()> {
        let Some(directory) = &self.unified else { return Ok(()) };
        write(&directory.join("cgroup.max.descendants"), MOST_DESCENDANTS)?;
        let files = ["", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"];
        files.iter().map(|file| directory.join(file)).try_for_each(|path| {
            std::os::unix::fs::chown(&path, Some(owner), Some(owner))
                .map_err(|error| named(&path, error))
        })
    }

    /// How many processors' worth of time it may use.
    pub fn set_cpu(&self, cores: f64) -> io::Result<()> {
        let quota = ((cores * PERIOD_US as f64).round() as u64).max(MIN_QUOTA_US);
        if let Some(directory) = self.legacy.get(&Controller::Cpu) {
            write(&directory.join("cpu.cfs_quota_us"), &quota.to_string())?;
        } else if let Some(file) = self.file(Controller::Cpu, "", "cpu.max") {
            write(&file, &format!("{quota} {PERIOD_US}"))?;
        }
        Ok(())
    }

    /// Kills every process in the group, until there is none.
    pub fn kill(&self) -> io::Result<()> {
        let until = Instant::now() + Duration::from_secs(5);
        loop {
            let left: usize = self.directories().into_iter().map(kill_below).sum();
            if left == 0 {
                return Ok(());
            }
            if Instant::now() > until {
                return Err(io::Error::other(format!("{left} processes do not die")));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Removes the directories. The last process may have to be reaped first, so this waits a little.
    pub fn remove(&self) -> io::Result<()> {
        self.directories().into_iter().try_for_each(remove)
    }

    pub fn cpu(&self) -> Option<Duration> {
        if let Some(directory) = self.legacy.get(&Controller::Cpuacct) {
            return read_number(&directory.join("cpuacct.usage")).map(Duration::from_nanos);
        }
        let stat = fs::read_to_string(self.unified.as_ref()?.join("cpu.stat")).ok()?;
        let line = stat.lines().find_map(|line| line.strip_prefix("usage_usec "))?;
        line.trim().parse().ok().map(Duration::from_micros)
    }

    pub fn memory_bytes(&self) -> Option<u64> {
        let (legacy, unified) = ("memory.usage_in_bytes", "memory.current");
        read_number(&self.file(Controller::Memory, legacy, unified)?)
    }
}

/// Kills what is in a group and in those below it, and counts it.
fn kill_below(directory: &Path) -> usize {
    let mut left = 0;
    let processes = fs::read_to_string(directory.join("cgroup.procs"));
    for pid in processes.unwrap_or_default().lines().filter_map(|l| l.parse().ok()) {
        left += 1;
        // SAFETY: plain integers. The pid was in the group a moment ago and pids are not reused that
        // fast.
        unsafe { libc::kill(pid, libc::SIGKILL) };
    }
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            left += kill_below(&entry.path());
        }
    }
    left
}

fn make(directory: &Path) -> io::Result<()> {
    match fs::create_dir(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(named(directory, error)),
        _ => Ok(()),
    }
}

fn remove(directory: &Path) -> io::Result<()> {
    let until = Instant::now() + Duration::from_secs(2);
    loop {
        match fs::remove_dir(directory) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) && Instant::now() < until => {
                for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
                    if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                        remove(&entry.path())?;
                    }
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(error) => return Err(named(directory, error)),
        }
    }
}

fn write(file: &Path, value: &str) -> io::Result<()> {
    fs::write(file, value).map_err(|error| named(file, error))
}

fn read_number(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

fn named(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_controllers_on_hybrid_and_unified_hosts() {
        let hybrid = "\
30 29 0:26 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
31 29 0:27 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
32 29 0:28 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
33 29 0:29 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw,nsdelegate";
        let layout = Layout::parse(hybrid).with_unified_controllers("pids rdma\n");
        let shared = PathBuf::from("/sys/fs/cgroup/cpu,cpuacct");
        assert_eq!(layout.legacy[&Controller::Cpu], shared);
        assert_eq!(layout.legacy[&Controller::Cpuacct], shared);
        assert_eq!(layout.in_unified, [Controller::Pids]);
        assert_eq!(layout.roots().len(), 3);
        let group = layout.group("p", "i");
        assert_eq!(group.legacy_directories().len(), 2);
        assert_eq!(
            group.file(Controller::Pids, "pids.max", "pids.max"),
            Some("/sys/fs/cgroup/unified/p/i/pids.max".into())
        );

        let unified = "29 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw";
        let layout = Layout::parse(unified).with_unified_controllers("cpuset cpu io memory pids");
        assert!(Controller::ALL.into_iter().all(|c| layout.has(c)));
        assert_eq!(layout.controllers_to_enable(), "+cpu +memory +pids +io");

        let none = Layout::parse("").with_unified_controllers("");
        assert!(!none.has(Controller::Memory));
    }
}
