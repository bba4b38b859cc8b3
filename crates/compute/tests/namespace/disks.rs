//! Volumes and snapshots, as files and as block devices of instances.

use std::io::BufRead;
use std::path::Path;
use std::time::Instant;

use compute::storage::{Kind, Stored};
use compute::{Disk, DiskSource, Driver, Error, Exit, Spec, Storage};

use crate::roots::Small;
use crate::world::{World, spec, until};

pub const TESTS: &[(&str, fn())] = &[
    ("volumes_and_snapshots_are_apart", volumes_and_snapshots_are_apart),
    ("a_volume_comes_goes_and_grows_while_it_runs", a_volume_comes_goes_and_grows_while_it_runs),
    ("instance_stores_outlive_reboots_only", instance_stores_outlive_reboots_only),
    ("a_disk_is_as_fast_as_it_may_be", a_disk_is_as_fast_as_it_may_be),
    ("what_has_a_name_is_whole_whenever_its_daemon_dies", what_has_a_name_is_whole),
    ("what_has_a_name_outlives_a_power_cut", what_has_a_name_outlives_a_power_cut),
];

const BLOCK: u64 = 512 << 10;
pub const GIB: u64 = 1 << 30;

impl World {
    /// Waits for a call of the store.
    pub fn wait_for<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// What there is, in order.
    fn names(&self) -> Vec<(Kind, String)> {
        let stored = self.driver().stored().unwrap();
        let mut names: Vec<_> = stored.into_iter().map(|s| (s.kind, s.name)).collect();
        names.sort();
        names
    }
}

fn volumes_and_snapshots_are_apart() {
    let mut world = World::new("apart");
    let store = world.driver().clone();
    assert_eq!(store.stored().unwrap(), []);
    for _ in 0..2 {
        world.wait_for(store.delete_volume("vol-0")).unwrap();
        world.wait_for(store.delete_snapshot("snap-0")).unwrap();
    }
    assert!(!world.config.state_dir.join("pool.img").exists(), "made when needed");

    for _ in 0..2 {
        world.wait_for(store.begin_snapshot("snap-1", GIB, None, false)).unwrap();
    }
    store.write("snap-1", BLOCK - 1, b"ab").unwrap();
    assert!(matches!(store.write("snap-1", GIB - 1, b"ab"), Err(Error::Spec(_))));
    let early = world.wait_for(store.create_volume("vol-1", GIB, Some("snap-1"), false));
    assert!(matches!(early, Err(Error::Spec(_))), "{early:?}");
    for _ in 0..2 {
        world.wait_for(store.complete_snapshot("snap-1")).unwrap();
    }
    assert!(store.write("snap-1", 0, b"x").is_err());
    assert_eq!(store.blocks("snap-1", BLOCK).unwrap(), [0, 1]);
    assert_eq!(store.read("snap-1", BLOCK - 2, 4).unwrap(), b"\0ab\0");
    assert_eq!(store.read("snap-1", GIB - 2, 4).unwrap(), b"\0\0");

    for _ in 0..2 {
        world.wait_for(store.create_volume("vol-1", 8 * GIB, Some("snap-1"), false)).unwrap();
    }
    let small = world.wait_for(store.create_volume("vol-2", GIB / 2, Some("snap-1"), false));
    assert!(matches!(small, Err(Error::Spec(_))), "{small:?}");
    for bad in ["../x", "", "a/b", ".x"] {
        assert!(matches!(
            world.wait_for(store.create_volume(bad, GIB, None, false)),
            Err(Error::Spec(_))
        ));
    }
    world.wait_for(store.begin_snapshot("snap-2", 2 * GIB, Some("snap-1"), false)).unwrap();
    store.write("snap-2", BLOCK, b"y").unwrap();
    store.write("snap-2", GIB + BLOCK, b"z").unwrap();
    world.wait_for(store.complete_snapshot("snap-2")).unwrap();
    assert_eq!(store.changed_blocks("snap-1", "snap-2", BLOCK).unwrap(), [1, 2049]);
    assert_eq!(store.changed_blocks("snap-2", "snap-2", BLOCK).unwrap(), [0; 0]);
    world.wait_for(store.create_snapshot("snap-3", "vol-1")).unwrap();
    world.wait_for(store.delete_snapshot("snap-1")).unwrap();
    assert_eq!(store.read("snap-3", BLOCK - 1, 2).unwrap(), b"ab");
    world.wait_for(store.grow_volume("vol-1", 9 * GIB)).unwrap();
    world.wait_for(store.grow_volume("vol-1", GIB)).unwrap();
    let volume = store.stored().unwrap().into_iter().find(|s| s.kind == Kind::Volume).unwrap();
    assert_eq!((volume.name.as_str(), volume.bytes), ("vol-1", 9 * GIB));
    assert!(volume.used_bytes < 2 * BLOCK);

    // Another daemon finds them; what was not finished is gone.
    std::fs::write(world.config.state_dir.join("pool/new/7"), "half").unwrap();
    drop(store);
    world.close();
    let began = Instant::now();
    world.open();
    eprintln!("open took {:?}", began.elapsed());
    let all = [(Kind::Volume, "vol-1"), (Kind::Snapshot, "snap-2"), (Kind::Snapshot, "snap-3")];
    assert_eq!(world.names(), all.map(|(kind, name)| (kind, name.to_owned())));
    assert!(!world.config.state_dir.join("pool/new/7").exists());
    assert_eq!(world.driver().read("snap-3", BLOCK - 1, 2).unwrap(), b"ab");
    // So it does after everything was taken down.
    world.close();
    compute::namespace::teardown(&world.config.state_dir).unwrap();
    assert!(!world.config.state_dir.join("pool/volumes").exists(), "unmounted");
    let mine = world.config.state_dir.display().to_string();
    assert!(!loops().contains(&mine), "its device is gone");
    world.open();
    assert_eq!(world.driver().read("snap-3", BLOCK - 1, 2).unwrap(), b"ab");
}

/// The files behind loop devices.
pub fn loops() -> String {
    let devices = std::fs::read_dir("/sys/block").unwrap().flatten();
    let backing = devices.map(|device| device.path().join("loop/backing_file"));
    backing.filter_map(|path| std::fs::read_to_string(path).ok()).collect()
}

pub fn volume(name: &str, device: &str) -> Disk {
    Disk {
        name: name.into(),
        device: device.into(),
        source: DiskSource::Volume(name.into()),
        iops: None,
        bytes_per_second: None,
    }
}

fn a_volume_comes_goes_and_grows_while_it_runs() {
    let mut world = World::new("hot");
    let store = world.driver().clone();
    world.wait_for(store.create_volume("vol-1", GIB, None, false)).unwrap();
    world.wait_for(store.create_volume("vol-2", GIB, None, false)).unwrap();
    let (first, second) = (volume("vol-1", "/dev/sdf"), volume("vol-2", "/dev/xvdg"));
    world.boot_obedient(&Spec { disks: vec![first.clone()], ..spec("i-a") });
    world.boot_obedient(&spec("i-b"));
    let facts = world.ok("i-a", "stat -c '%F %U:%G %a' /dev/sdf; blockdev --getsize64 /dev/xvdf");
    assert_eq!(facts, format!("block special file root:root 660\n{GIB}\n"));
    for _ in 0..2 {
        world.wait_for(store.plug_disk("i-a", &second)).unwrap();
    }
    world.ok("i-a", "echo hello > /dev/xvdg; sync /dev/xvdg; test ! -e /dev/sdg");

    // One at a time has it.
    let busy = world.wait_for(store.plug_disk("i-b", &second));
    assert!(matches!(busy, Err(Error::Busy(_))), "{busy:?}");
    let busy = world.wait_for(store.delete_volume("vol-2"));
    assert!(matches!(busy, Err(Error::Busy(_))), "{busy:?}");
    assert_eq!(world.sh("i-b", "test -e /dev/xvdg").1, 1);

    // It grows under its user.
    world.wait_for(store.grow_volume("vol-2", 2 * GIB)).unwrap();
    assert_eq!(world.ok("i-a", "blockdev --getsize64 /dev/xvdg"), format!("{}\n", 2 * GIB));

    // It moves on with what was written, and who kept it open has it no more.
    world.ok("i-a", "exec 7<>/dev/xvdg; ( while :; do sleep 0.1; done ) & echo $! > /run/holder");
    for _ in 0..2 {
        world.wait_for(store.unplug_disk("i-a", "vol-2", false)).unwrap();
    }
    assert_eq!(world.sh("i-a", "test -e /dev/xvdg").1, 1);
    let (said, status) = world.sh("i-a", "head -c 5 /proc/$(cat /run/holder)/fd/7");
    assert_eq!(status, 0, "nothing there to read: {said}");
    assert!(!said.contains("hello"), "{said}");
    world.wait_for(store.plug_disk("i-b", &second)).unwrap();
    assert_eq!(world.ok("i-b", "head -c 6 /dev/xvdg"), "hello\n");

    // Another daemon knows who has what.
    drop(store);
    world.close();
    world.open();
    let store = world.driver().clone();
    let busy = world.wait_for(store.plug_disk("i-a", &second));
    assert!(matches!(busy, Err(Error::Busy(_))), "{busy:?}");
    world.wait_for(store.grow_volume("vol-2", 3 * GIB)).unwrap();
    assert_eq!(world.ok("i-b", "blockdev --getsize64 /dev/xvdg"), format!("{}\n", 3 * GIB));

    // The power cord of an instance, and of a shim.
    world.driver().kill("i-b").unwrap();
    assert_eq!(world.wait_exit("i-b"), Exit::Asked);
    world.wait_for(store.plug_disk("i-b", &second)).unwrap();
    until("vol-2 is free", || world.wait_for(store.delete_volume("vol-2")).ok());
    world.driver().crash("i-a").unwrap();
    assert_eq!(world.wait_exit("i-a"), Exit::Lost);
    world.boot_obedient(&Spec { boot: 2, disks: vec![first], ..spec("i-a") });
    world.destroy("i-a");
    world.destroy("i-b");
    until("vol-1 is free", || world.wait_for(store.delete_volume("vol-1")).ok());
    let state = world.config.state_dir.display().to_string();
    until("only the pool is a device", || {
        (loops().lines().filter(|line| line.contains(&state)).count() == 1).then_some(())
    });
}

fn instance_stores_outlive_reboots_only() {
    let world = World::new("ephemeral");
    let store = |since| Disk {
        name: "ephemeral0".into(),
        device: "/dev/nvme1n1".into(),
        source: DiskSource::InstanceStore { bytes: GIB, since },
        iops: None,
        bytes_per_second: None,
    };
    let at = |boot, since| Spec { boot, disks: vec![store(since)], ..spec("i-s") };
    world.boot_obedient(&at(1, 1));
    world.ok("i-s", "echo kept > /dev/nvme1n1");
    world.boot_obedient(&at(2, 1));
    assert_eq!(world.ok("i-s", "head -c 4 /dev/nvme1n1"), "kept");
    world.boot_obedient(&at(3, 3));
    assert_eq!(world.ok("i-s", "head -c 4 /dev/nvme1n1 | od -An -tx1"), " 00 00 00 00\n");
    let files = || {
        let directory = world.config.state_dir.join("pool/stores/i-s");
        std::fs::read_dir(directory).map_or(0, |files| files.count())
    };
    assert_eq!(files(), 1);
    world.driver().kill("i-s").unwrap();
    world.wait_exit("i-s");
    world.wait_for(world.driver().unplug_disk("i-s", "ephemeral0", false)).unwrap();
    assert_eq!(files(), 0);
    world.destroy("i-s");
    world.assert_clean();
}

/// How long a line takes inside.
fn seconds(world: &World, id: &str, line: &str) -> f64 {
    let said =
        world.ok(id, &format!("a=$(date +%s%N); {line} && echo took $(( $(date +%s%N) - a ))"));
    let (_, nanos) = said.trim().rsplit_once("took ").unwrap();
    nanos.parse::<f64>().unwrap() / 1e9
}

fn a_disk_is_as_fast_as_it_may_be() {
    let limits = |name: &str| {
        compute::namespace::probe(Path::new("/"))
            .unwrap()
            .into_iter()
            .any(|c| c.name == name && c.ok)
    };
    if !limits("disk limits") {
        return eprintln!("this host has no control group controller for disks");
    }
    let world = World::new("fast");
    let store = world.driver().clone();
    world.wait_for(store.create_volume("vol-1", GIB, None, false)).unwrap();
    let slow =
        |iops, bytes_per_second| Disk { iops, bytes_per_second, ..volume("vol-1", "/dev/sdf") };
    world.boot_obedient(&Spec { disks: vec![slow(None, None)], ..spec("i-a") });
    world.ok("i-a", "mkfs.ext4 -q /dev/sdf && mount /dev/sdf /mnt");
    world.wait_for(store.plug_disk("i-a", &slow(None, Some(8 << 20)))).unwrap();
    let read = "dd if=/dev/sdf of=/dev/null bs=1M count=16 iflag=direct 2>&1 | tail -1";
    let write = "dd if=/dev/zero of=/mnt/file bs=1M count=16 oflag=direct 2>&1 | tail -1";
    // What is written back by the kernel later counts as well.
    let later = "dd if=/dev/zero of=/mnt/other bs=1M count=16 2>&1 | tail -1; sync -f /mnt";
    for (what, line) in [("write", write), ("read", read), ("write back", later)] {
        let took = seconds(&world, "i-a", line);
        assert!(took > 1.5, "{what}: 16 MiB at 8 MiB/s in {took} s");
    }
    world.wait_for(store.plug_disk("i-a", &slow(Some(100), None))).unwrap();
    let many = "dd if=/dev/sdf of=/dev/null bs=4k count=200 iflag=direct 2>&1 | tail -1";
    let took = seconds(&world, "i-a", many);
    assert!(took > 1.5, "200 reads at 100 a second in {took} s");
    // Without limits; and what another gets in that place has none of them either.
    world.wait_for(store.plug_disk("i-a", &slow(None, None))).unwrap();
    for line in [read, many] {
        assert!(seconds(&world, "i-a", line) < 1.5, "{line}");
    }
}

/// Volumes and snapshots until killed: what has a name holds the number it is called by, everywhere.
pub fn churn(world: &World) -> ! {
    let store = world.driver();
    for n in 0u64.. {
        let (begun, volume) = (format!("snap-{n}"), format!("vol-{n}"));
        // What is plain is encrypted as it becomes a volume, every other time.
        let encrypted = n % 2 == 1;
        world.wait_for(store.begin_snapshot(&begun, 4 << 20, None, encrypted)).unwrap();
        for block in 0..8 {
            store
                .write(&begun, block * BLOCK, &n.to_le_bytes().repeat(BLOCK as usize / 8))
                .unwrap();
        }
        world.wait_for(store.complete_snapshot(&begun)).unwrap();
        println!("{begun}");
        until("it is made", || {
            match world.wait_for(store.create_volume(&volume, 4 << 20, Some(&begun), true)) {
                Err(Error::Busy(_)) => None,
                made => {
                    made.unwrap();
                    Some(())
                }
            }
        });
        println!("{volume}");
        world.wait_for(store.create_snapshot(&format!("{begun}-again"), &volume)).unwrap();
        println!("{begun}-again");
        if n >= 3 {
            world.wait_for(store.delete_volume(&format!("vol-{}", n - 3))).unwrap();
        }
    }
    unreachable!()
}

/// A process with a driver of its own that makes disks and tells of each, from `begin` on.
struct Daemon {
    process: std::process::Child,
    told: std::sync::mpsc::Receiver<String>,
}

impl Daemon {
    fn begin(state_dir: &Path) -> (Daemon, Vec<String>) {
        let mut process = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["test-daemon", state_dir.to_str().unwrap(), "disks"])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let lines = std::io::BufReader::new(process.stdout.take().unwrap()).lines();
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            lines.map_while(Result::ok).try_for_each(|line| tell.send(line))
        });
        let first = vec![told.recv().unwrap()];
        (Daemon { process, told }, first)
    }

    fn kill(mut self) -> Vec<String> {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        self.told.iter().collect()
    }
}

/// What was told of is there, everything there is holds what its name says, and nothing else is left.
/// Deletes it all.
fn assert_whole(world: &World, told: &[String]) {
    let store = world.driver().clone();
    let stored = store.stored().unwrap();
    for name in told.iter().filter(|name| name.starts_with("snap-")) {
        assert!(stored.iter().any(|s| s.name == *name), "{name} was told and is not there");
    }
    for Stored { kind, name, .. } in stored {
        let number: u64 = name.split('-').nth(1).unwrap().parse().unwrap();
        let whole = number.to_le_bytes().repeat(4 << 17);
        match kind {
            Kind::Snapshot => {
                assert!(store.read(&name, 0, 4 << 20).unwrap() == whole, "{name}");
                world.wait_for(store.delete_snapshot(&name)).unwrap();
            }
            Kind::Begun => world.wait_for(store.delete_snapshot(&name)).unwrap(),
            _ => {
                world.wait_for(store.create_snapshot("check", &name)).unwrap();
                assert!(store.read("check", 0, 4 << 20).unwrap() == whole, "{name}");
                world.wait_for(store.delete_snapshot("check")).unwrap();
                world.wait_for(store.delete_volume(&name)).unwrap();
            }
        }
    }
    let new = world.config.state_dir.join("pool/new");
    assert_eq!(std::fs::read_dir(new).unwrap().count(), 0, "nothing half made is left");
}

fn what_has_a_name_is_whole() {
    let mut world = crate::crypt::keyed("whole");
    for round in 0..6u64 {
        world.close();
        let (daemon, mut told) = Daemon::begin(&world.config.state_dir);
        // A different moment each time; every one must do.
        std::thread::sleep(std::time::Duration::from_millis(30 + round * 17));
        told.extend(daemon.kill());
        world.open();
        assert_whole(&world, &told);
    }
}

/// The pool as a disk had it at one moment between any two of its writes: its file's blocks are shared with
/// a copy while the daemon works, and the next daemon finds that copy.
fn what_has_a_name_outlives_a_power_cut() {
    let host = Small::new("xfs");
    let mut world = crate::crypt::keyed_at(host.0.join("state"));
    let state_dir = world.config.state_dir.clone();
    let (pool, moment) = (state_dir.join("pool.img"), state_dir.join("moment.img"));
    for round in 0..4u64 {
        world.close();
        let (daemon, mut told) = Daemon::begin(&state_dir);
        std::thread::sleep(std::time::Duration::from_millis(40 + round * 37));
        told.extend(daemon.told.try_iter());
        let copied = std::process::Command::new("cp")
            .arg("--reflink=always")
            .args([&pool, &moment])
            .status();
        assert!(copied.unwrap().success());
        daemon.kill();
        compute::namespace::teardown(&state_dir).unwrap();
        std::fs::rename(&moment, &pool).unwrap();
        world.open();
        assert_whole(&world, &told);
    }
    world.close();
    compute::namespace::teardown(&state_dir).unwrap();
}
