//! What this host can enforce, tried and not guessed, for `drover doctor`.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use super::cgroup::{Controller, Layout};
use super::confine::Filter;
use super::sys::Forked;
use super::{host, mount, sys};

/// The hidden subcommand.
pub(super) const SUBCOMMAND: &str = "namespace-probe";

/// One feature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    pub name: String,
    pub ok: bool,
    /// Instances run without it, with less.
    pub optional: bool,
    /// What was found.
    pub detail: String,
    /// What to do about it, when not `ok`.
    pub fix: Option<String>,
}

impl Check {
    fn optional(mut self) -> Check {
        self.optional = true;
        self
    }

    fn new(name: &str, result: Result<String, String>, fix: &str) -> Check {
        let name = name.to_owned();
        match result {
            Ok(detail) => Check { name, ok: true, optional: false, detail, fix: None },
            Err(detail) => {
                Check { name, ok: false, optional: false, detail, fix: Some(fix.to_owned()) }
            }
        }
    }
}

/// Checks every feature that instances need; `directory` is where their state would be kept (its file
/// system matters). Blocking, a few milliseconds. Makes nothing that stays.
pub fn probe(directory: &Path) -> io::Result<Vec<Check>> {
    // In a process of its own, as trying namespaces takes forks of a process with one thread.
    let mut command = Command::new("/proc/self/exe");
    command.arg(SUBCOMMAND).arg(directory).stdin(Stdio::null()).stderr(Stdio::null());
    serde_json::from_slice(&command.output()?.stdout).map_err(io::Error::other)
}

/// That process. Its first argument is the directory.
pub(super) fn probe_main(directory: Option<OsString>) -> ! {
    let checks = check_all(Path::new(&directory.unwrap_or_default()));
    let written = serde_json::to_writer(io::stdout().lock(), &checks);
    sys::exit(i32::from(written.is_err() || io::stdout().flush().is_err()))
}

fn check_all(directory: &Path) -> Vec<Check> {
    // SAFETY: no arguments.
    let root = unsafe { libc::geteuid() } == 0;
    let mut checks = vec![Check::new(
        "root",
        if root { Ok("yes".into()) } else { Err("running as a normal user".into()) },
        "run drover with sudo; without root only --driver fake works for now",
    )];
    checks.push(Check::new(
        "kernel",
        kernel(),
        "Linux 5.19 or later is needed for id-mapped layers below overlays",
    ));
    checks.push(Check::new(
        "namespaces",
        namespaces(),
        "enable them: sysctl user.max_user_namespaces and the other user.max_* limits must not be 0; \
         in a container, run it privileged",
    ));
    checks.push(Check::new(
        "/proc and /sys",
        kernel_files(),
        "this looks like a container with parts of /proc or /sys covered: run it privileged",
    ));
    checks.push(Check::new(
        "overlay and id-mapped mounts",
        overlay(directory),
        "keep the data directory on ext4, xfs, btrfs or (since Linux 6.3) tmpfs: --data-dir DIR",
    ));
    checks.extend(control_groups());
    checks.extend(disks(&directory_of(directory)));
    checks.push(Check::new(
        "system call filter",
        seccomp(),
        "the kernel needs CONFIG_SECCOMP_FILTER",
    ));
    checks.push(Check::new(
        "host image",
        host::supported().map(|()| "/ is merged into /usr".into()),
        "the built-in image needs a merged /usr; import another one: drover image import",
    ));
    checks.push(Check::new(
        "terminals",
        terminals(),
        "raise sysctl kernel.pty.max: every instance has a console",
    ));
    checks.push(
        Check::new(
            "inotify",
            inotify(),
            "all instances share this limit: sysctl fs.inotify.max_user_instances=8192",
        )
        .optional(),
    );
    checks.push(
        Check::new(
            "/dev/net/tun",
            if Path::new("/dev/net/tun").exists() {
                Ok("present".into())
            } else {
                Err("missing: VPN software in instances will not work".into())
            },
            "modprobe tun",
        )
        .optional(),
    );
    checks
}

fn kernel() -> Result<String, String> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").map_err(|e| e.to_string())?;
    let release = release.trim().to_owned();
    let mut parts = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    let version = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    if version >= (5, 19) { Ok(release) } else { Err(release) }
}

/// Runs `act` in a child process in these new namespaces, with ids 0..65536 mapped.
fn inside(
    namespaces: libc::c_int,
    prepare: impl FnOnce(i32) -> io::Result<Vec<OwnedFd>>,
    act: impl FnOnce(Vec<OwnedFd>) -> io::Result<()>,
) -> Result<(), String> {
    fn failed(what: &str) -> impl Fn(io::Error) -> String {
        move |error| format!("{what}: {error}")
    }
    let (ours, theirs) = sys::socketpair().map_err(failed("socket"))?;
    let (pid, _pidfd) = match sys::clone_into(namespaces, None).map_err(failed("clone"))? {
        Forked::Child => {
            // Its own copy of the other end would keep it waiting when there is no message.
            drop(ours);
            let mut message = [0; 1];
            let result = sys::receive(theirs.as_fd(), &mut message).and_then(|(n, fds)| match n {
                0 => Err(io::ErrorKind::UnexpectedEof.into()),
                _ => act(fds),
            });
            sys::exit(match result {
                Ok(()) => 0,
                Err(error) => error.raw_os_error().unwrap_or(255).clamp(1, 255),
            })
        }
        Forked::Parent(parts) => parts,
    };
    drop(theirs);
    let map = "0 1073741824 65536";
    let proc = PathBuf::from(format!("/proc/{pid}"));
    let prepared = fs::write(proc.join("uid_map"), map)
        .and_then(|()| fs::write(proc.join("gid_map"), map))
        .and_then(|()| prepare(pid))
        .and_then(|fds| {
            let borrowed: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
            sys::send(ours.as_fd(), b"g", &borrowed)
        });
    // Without a message the end of the socket lets the child go.
    drop(ours);
    let status = sys::wait(pid).map_err(failed("wait"))?;
    prepared.map_err(failed("id maps"))?;
    match status {
        0 => Ok(()),
        status if libc::WIFEXITED(status) => {
            Err(io::Error::from_raw_os_error(libc::WEXITSTATUS(status)).to_string())
        }
        status => Err(format!("ended by signal {}", libc::WTERMSIG(status))),
    }
}

fn namespaces() -> Result<String, String> {
    let all = libc::CLONE_NEWUSER
        | libc::CLONE_NEWNS
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWNET
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWIPC;
    inside(all, |_| Ok(vec![]), |_| sys::unshare(libc::CLONE_NEWCGROUP))?;
    Ok("user, mount, pid, network, uts, ipc, cgroup".into())
}

/// A fresh /proc and /sys are given only where the ones of this process have nothing covered.
fn kernel_files() -> Result<String, String> {
    let namespaces =
        libc::CLONE_NEWUSER | libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWNET;
    inside(
        namespaces,
        |_| Ok(vec![]),
        |_| {
            sys::become_root()?;
            mount::change(Path::new("/"), libc::MS_REC | libc::MS_PRIVATE)?;
            let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
            mount::mount("proc", Path::new("/proc"), flags, "")?;
            mount::mount("sysfs", Path::new("/sys"), flags | libc::MS_RDONLY, "")
        },
    )?;
    Ok("can be mounted".into())
}

/// Mounts an overlay of an id-mapped directory, as a launch does.
fn overlay(directory: &Path) -> Result<String, String> {
    let existing = directory.ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("/"));
    let scratch = existing.join(format!(".drover-probe-{}", std::process::id()));
    let result = fs::create_dir(&scratch).map_err(|error| error.to_string()).and_then(|()| {
        for name in ["lower", "upper", "work"] {
            fs::create_dir(scratch.join(name)).map_err(|error| error.to_string())?;
        }
        inside(
            libc::CLONE_NEWUSER | libc::CLONE_NEWNS,
            |pid| {
                let user_namespace = File::open(format!("/proc/{pid}/ns/user"))?;
                let tree = mount::clone_tree(&scratch)?;
                mount::map_ids(tree.as_fd(), user_namespace.as_fd(), false)?;
                Ok(vec![tree])
            },
            |trees| {
                sys::become_root()?;
                let stage = Path::new("/tmp");
                mount::change(Path::new("/"), libc::MS_REC | libc::MS_PRIVATE)?;
                mount::attach(trees[0].as_fd(), stage)?;
                let options = "lowerdir=/tmp/lower,upperdir=/tmp/upper,workdir=/tmp/work,userxattr";
                mount::mount("overlay", stage, 0, options)
            },
        )
    });
    let _ = fs::remove_dir_all(&scratch);
    result.map(|()| format!("below {}", existing.display()))
}

fn control_groups() -> Vec<Check> {
    let fix = "boot with systemd or mount the cgroup controllers; in a container, run it privileged \
               with a writable /sys/fs/cgroup";
    let layout = match Layout::detect() {
        Ok(layout) => layout,
        Err(error) => return vec![Check::new("control groups", Err(error.to_string()), fix)],
    };
    let name = format!("drover-probe-{}", std::process::id());
    let made = layout.make_parent(&name).map_err(|error| error.to_string());
    let _ = layout.remove_parent(&name);
    let version = match (&layout.unified, layout.legacy.is_empty()) {
        (Some(_), true) => "version 2",
        (Some(_), false) => "hybrid",
        (None, false) => "version 1",
        (None, true) => "none mounted",
    };
    let mut checks = vec![Check::new("control groups", made.map(|()| version.into()), fix)];
    for (name, controller) in [
        ("CPU limit", Controller::Cpu),
        ("memory limit", Controller::Memory),
        ("process limit", Controller::Pids),
    ] {
        let found = if let Some(place) = layout.legacy.get(&controller) {
            Ok(format!("version 1, {}", place.display()))
        } else if layout.in_unified.contains(&controller) {
            Ok("version 2".into())
        } else {
            Err(format!("no {} controller", controller.name()))
        };
        checks.push(Check::new(name, found, fix));
    }
    checks
}

fn directory_of(directory: &Path) -> PathBuf {
    let existing = directory.ancestors().find(|path| path.is_dir());
    existing.unwrap_or(Path::new("/")).to_owned()
}

/// Roots, volumes and snapshots.
fn disks(directory: &Path) -> Vec<Check> {
    let installed = |program: &str| {
        let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
        path.split(':').any(|place| Path::new(place).join(program).is_file())
    };
    let known = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    let kernel = |kind: &str| known.lines().any(|line| line.trim_start() == kind);
    let ext4 = match (installed("mkfs.ext4"), kernel("ext4")) {
        (true, true) => Ok("mkfs.ext4".into()),
        (false, _) => Err("no mkfs.ext4: instances with a root of a size cannot start".into()),
        (_, false) => Err("the kernel has no ext4 loaded".into()),
    };
    let xfs = match (installed("mkfs.xfs"), kernel("xfs")) {
        (true, true) => Ok("XFS: snapshots, volumes made of them and images share blocks".into()),
        (false, _) => Err("no mkfs.xfs: snapshots and images are copied, and only volumes that \
             are not attached have snapshots"
            .into()),
        (_, false) => Err("the kernel has no xfs loaded: snapshots and images are copied".into()),
    };
    let layout = Layout::detect().unwrap_or_default();
    let limits = if layout.legacy.contains_key(&Controller::Io) {
        Ok("throughput and IOPS of disks are held, reads and writes each (version 1)".into())
    } else if layout.has(Controller::Io) {
        Ok("throughput and IOPS of disks are held, reads and writes each (version 2)".into())
    } else {
        Err("no io controller: disks are as fast as this host's".into())
    };
    vec![
        Check::new(
            "loop devices",
            loop_device(directory),
            "modprobe loop; in a container, run it privileged",
        ),
        Check::new("roots", ext4, "apt-get install e2fsprogs; modprobe ext4"),
        Check::new(
            "shared blocks",
            xfs,
            "apt-get install xfsprogs; modprobe xfs; before the first cloud is up",
        )
        .optional(),
        Check::new(
            "disk limits",
            limits,
            "mount the io (version 1: blkio) control group controller",
        )
        .optional(),
        Check::new(
            "encrypted volumes",
            super::crypt::views::check()
                .map(|()| "/dev/fuse: what is encrypted is ciphertext in the pool's files".into())
                .map_err(|error| error.to_string()),
            "modprobe fuse; in a container, run it privileged",
        )
        .optional(),
        Check::new("online growth", may_grow(), "run drover with CAP_SYS_RESOURCE").optional(),
    ]
}

/// A file becomes a device and goes again.
fn loop_device(directory: &Path) -> Result<String, String> {
    let file = directory.join(format!(".drover-probe-{}.img", std::process::id()));
    let tried = File::create(&file)
        .and_then(|made| made.set_len(1 << 20))
        .and_then(|()| super::block::Loop::open(&file, false));
    let _ = fs::remove_file(&file);
    tried.map(|_| format!("below {}", directory.display())).map_err(|error| error.to_string())
}

fn may_grow() -> Result<String, String> {
    const CAP_SYS_RESOURCE: u32 = 24;
    let status = fs::read_to_string("/proc/self/status").map_err(|error| error.to_string())?;
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap_or_default();
    let all = u64::from_str_radix(line.trim(), 16).unwrap_or(0);
    match all >> CAP_SYS_RESOURCE & 1 {
        1 => Ok("file systems of guests grow while they are mounted".into()),
        _ => Err("no CAP_SYS_RESOURCE: guests grow ext4 only while it is not mounted".into()),
    }
}

fn seccomp() -> Result<String, String> {
    let filter = Filter::build().map_err(|error| error.to_string())?;
    inside(
        libc::CLONE_NEWUSER,
        |_| Ok(vec![]),
        |_| {
            sys::become_root()?;
            filter.install().map(drop)
        },
    )?;
    Ok("available".into())
}

fn inotify() -> Result<String, String> {
    let file = "/proc/sys/fs/inotify/max_user_instances";
    let text = fs::read_to_string(file).map_err(|error| error.to_string())?;
    let found = format!("{} watchers", text.trim());
    if text.trim().parse().is_ok_and(|most: u64| most >= 1024) { Ok(found) } else { Err(found) }
}

fn terminals() -> Result<String, String> {
    sys::terminal().map_err(|error| error.to_string())?;
    let number = |name: &str| {
        let text = fs::read_to_string(format!("/proc/sys/kernel/pty/{name}")).ok()?;
        text.trim().parse::<u64>().ok()
    };
    let (most, used) = (number("max").unwrap_or(4096), number("nr").unwrap_or(0));
    let free = most.saturating_sub(used);
    if free >= 100 { Ok(format!("{free} free")) } else { Err(format!("only {free} free")) }
}
