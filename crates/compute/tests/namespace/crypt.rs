//! Encrypted disks: what is on the host is ciphertext, what is inside is a plain device, whoever dies.

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use compute::namespace::Config;
use compute::storage::{DataKey, Keys, Kind};
use compute::{Driver, Error, Exit, Layer, Phase, Spec, Storage};

use crate::adopt::Daemon;
use crate::disks::{GIB, loops, volume};
use crate::world::{World, spec, until};

pub const TESTS: &[(&str, fn())] = &[
    ("an_encrypted_volume_is_ciphertext_outside", an_encrypted_volume_is_ciphertext_outside),
    ("what_was_plain_is_encrypted_as_it_is_copied", what_was_plain_is_encrypted),
    ("an_encrypted_root_and_images_of_it_are_ciphertext", an_encrypted_root_is_ciphertext),
    ("encrypted_disks_outlive_daemons_and_let_go", encrypted_disks_outlive_daemons),
    ("a_daemon_killed_at_any_moment_keeps_encrypted_disks", a_daemon_killed_at_any_moment),
    ("a_dead_view_is_an_error_for_its_user_alone", a_dead_view_is_an_error_for_its_user_alone),
];

const BLOCK: u64 = 512 << 10;

/// Whose keys lie beside them, masked: good enough for a test, and for nothing else.
#[derive(Debug)]
pub struct Masked;

impl Keys for Masked {
    fn generate(&self) -> (DataKey, Vec<u8>) {
        let mut key = DataKey::new([0; 64]);
        let random = std::fs::File::open("/dev/urandom").unwrap();
        std::io::Read::read_exact(&mut &random, &mut key[..]).unwrap();
        let sealed = key.iter().map(|byte| byte ^ 0x5a).collect();
        (key, sealed)
    }

    fn open(&self, sealed: &[u8]) -> Option<DataKey> {
        let key: Vec<u8> = sealed.iter().map(|byte| byte ^ 0x5a).collect();
        Some(DataKey::new(key.try_into().ok()?))
    }
}

pub fn keyed(name: &str) -> World {
    keyed_at(World::config(name).state_dir)
}

pub fn keyed_at(state_dir: PathBuf) -> World {
    World::at(Config { keys: Some(Arc::new(Masked)), ..Config::new(state_dir) })
}

/// Of 40 bytes, so that no sector has less than one whole.
const MARK: &str = "the quick brown fox jumps over the dog!\n";

/// Whether any file of the pool holds the mark.
fn seen_outside(config: &Config) -> Vec<PathBuf> {
    fn walk(directory: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
                continue;
            }
            let file = std::fs::File::open(&path).unwrap();
            let mut data = vec![0; 1 << 20];
            let mut offset = 0;
            // Nothing but holes lies between.
            // SAFETY: a live descriptor.
            while let Ok(at) = u64::try_from(unsafe {
                libc::lseek(std::os::fd::AsRawFd::as_raw_fd(&file), offset, libc::SEEK_DATA)
            }) {
                let n = file.read_at(&mut data, at).unwrap();
                if memchr::memmem::find(&data[..n], &MARK.as_bytes()[..20]).is_some() {
                    found.push(path.clone());
                    break;
                }
                offset = at as i64 + n.max(1) as i64;
            }
        }
    }
    let mut found = Vec::new();
    walk(&config.state_dir.join("pool"), &mut found);
    found
}

fn views(config: &Config) -> Vec<String> {
    let entries = std::fs::read_dir(config.state_dir.join("views")).into_iter().flatten();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn pid_of(config: &Config, view: &str) -> i32 {
    let lock = config.state_dir.join("views").join(view).join("lock");
    std::fs::read_to_string(lock).unwrap().trim().parse().unwrap()
}

fn fill(world: &World, id: &str, device: &str) {
    let line = format!(
        "yes '{}' | head -c 1M | dd of={device} bs=64k iflag=fullblock oflag=direct seek=3 status=none",
        MARK.trim_end()
    );
    world.ok(id, &line);
}

fn an_encrypted_volume_is_ciphertext_outside() {
    let world = keyed("crypt");
    let store = world.driver().clone();
    store.can_encrypt().unwrap();
    world.wait_for(store.create_volume("vol-1", GIB, None, true)).unwrap();
    world.wait_for(store.create_volume("vol-0", GIB, None, false)).unwrap();
    let encrypted = |kind, name: &str| {
        let all = store.stored().unwrap();
        all.into_iter().find(|s| s.kind == kind && s.name == name).unwrap().encrypted
    };
    assert!(encrypted(Kind::Volume, "vol-1") && !encrypted(Kind::Volume, "vol-0"));
    let disks = vec![volume("vol-1", "/dev/sdf"), volume("vol-0", "/dev/sdg")];
    world.boot_obedient(&Spec { disks, ..spec("i-a") });
    assert_eq!(world.ok("i-a", "blockdev --getsize64 /dev/sdf"), format!("{GIB}\n"));
    fill(&world, "i-a", "/dev/sdf");
    // A sector alone, beside what is there, and zeros where nothing was written.
    world.ok(
        "i-a",
        "echo lonely | dd of=/dev/sdf bs=512 seek=99 conv=sync oflag=direct status=none",
    );
    assert_eq!(
        world.ok("i-a", "dd if=/dev/sdf bs=512 skip=99 count=1 status=none | head -c 6"),
        "lonely"
    );
    world.ok(
        "i-a",
        "dd if=/dev/sdf bs=1M skip=500 count=1 status=none | cmp - <(head -c 1M /dev/zero)",
    );
    world.ok("i-a", "sync /dev/sdf");
    world.wait_for(store.create_snapshot("snap-1", "vol-1")).unwrap();
    assert_eq!(seen_outside(&world.config), [0; 0].map(|_: i32| PathBuf::new()));
    // Of the other the mark is found, so that not finding it says something.
    fill(&world, "i-a", "/dev/sdg");
    world.ok("i-a", "sync /dev/sdg");
    assert_eq!(seen_outside(&world.config), [world.config.state_dir.join("pool/volumes/vol-0")]);

    // Blocks of the snapshot are plain for who asks.
    assert!(encrypted(Kind::Snapshot, "snap-1"));
    assert_eq!(store.read("snap-1", 3 * 65536, 40).unwrap(), MARK.as_bytes());
    assert_eq!(store.read("snap-1", 99 * 512, 6).unwrap(), b"lonely");
    assert_eq!(store.read("snap-1", GIB - 700, 1000).unwrap(), [0; 700]);
    let blocks = store.blocks("snap-1", BLOCK).unwrap();
    assert_eq!(blocks[..3], [0, 1, 2]);
    world.ok(
        "i-a",
        "echo changed | dd of=/dev/sdf bs=512 seek=40960 conv=sync oflag=direct status=none",
    );
    world.wait_for(store.create_snapshot("snap-2", "vol-1")).unwrap();
    assert_eq!(store.changed_blocks("snap-1", "snap-2", BLOCK).unwrap(), [40]);
    // One that is filled from outside, over an encrypted parent.
    world.wait_for(store.begin_snapshot("snap-3", GIB, Some("snap-2"), false)).unwrap();
    store.write("snap-3", 7 * BLOCK + 100, MARK.repeat(100).as_bytes()).unwrap();
    world.wait_for(store.complete_snapshot("snap-3")).unwrap();
    assert!(encrypted(Kind::Snapshot, "snap-3"));
    assert_eq!(store.read("snap-3", 7 * BLOCK + 100, 40).unwrap(), MARK.as_bytes());
    assert_eq!(store.changed_blocks("snap-2", "snap-3", BLOCK).unwrap(), [7]);
    assert_eq!(seen_outside(&world.config), [world.config.state_dir.join("pool/volumes/vol-0")]);

    // A volume of it shares its blocks, is as encrypted, and has file systems as any.
    world.wait_for(store.create_volume("vol-2", 2 * GIB, Some("snap-1"), false)).unwrap();
    assert!(encrypted(Kind::Volume, "vol-2"));
    world.wait_for(store.plug_disk("i-a", &volume("vol-2", "/dev/sdh"))).unwrap();
    assert_eq!(
        world.ok("i-a", "dd if=/dev/sdh bs=64k skip=3 count=1 status=none | head -c 40"),
        MARK
    );
    world.ok("i-a", "mkfs.ext4 -q -F /dev/sdh && mount /dev/sdh /mnt");
    world.ok("i-a", "echo kept > /mnt/kept && sync");
    // Discards are holes of the ciphertext.
    let used = || store.stored().unwrap().iter().find(|s| s.name == "vol-2").unwrap().used_bytes;
    world.ok("i-a", "head -c 64M /dev/urandom > /mnt/big && sync");
    let full = used();
    world.ok(
        "i-a",
        "rm /mnt/big && sync && umount /mnt && blkdiscard -o 128M -l 1G /dev/sdh && sync /dev/sdh",
    );
    assert!(used() < full, "{full}");
    world.ok(
        "i-a",
        "dd if=/dev/sdh bs=1M skip=200 count=1 status=none | cmp - <(head -c 1M /dev/zero)",
    );
    // It grows while it is used.
    world.wait_for(store.grow_volume("vol-2", 3 * GIB)).unwrap();
    assert_eq!(world.ok("i-a", "blockdev --getsize64 /dev/sdh"), format!("{}\n", 3 * GIB));

    // One at a time has it; let go, it is another's, and its view has ended.
    world.boot_obedient(&spec("i-b"));
    let busy = world.wait_for(store.delete_volume("vol-1"));
    assert!(matches!(busy, Err(Error::Busy(_))), "{busy:?}");
    for _ in 0..2 {
        world.wait_for(store.unplug_disk("i-a", "vol-1", false)).unwrap();
    }
    world.wait_for(store.plug_disk("i-b", &volume("vol-1", "/dev/sdf"))).unwrap();
    assert_eq!(
        world.ok("i-b", "dd if=/dev/sdf bs=64k skip=3 count=1 status=none | head -c 40"),
        MARK
    );
    // Who keeps it open has it no more.
    world.ok("i-b", "exec 9< /dev/sdf");
    world.wait_for(store.unplug_disk("i-b", "vol-1", true)).unwrap();
    world.wait_for(store.plug_disk("i-a", &volume("vol-1", "/dev/sdf"))).unwrap();
    assert_eq!(
        world.ok("i-a", "dd if=/dev/sdf bs=64k skip=3 count=1 status=none | head -c 40"),
        MARK
    );
    world.destroy("i-a");
    world.destroy("i-b");
    until("no view is left", || views(&world.config).is_empty().then_some(()));
    for name in ["vol-0", "vol-1", "vol-2"] {
        until("it is let go", || world.wait_for(store.delete_volume(name)).ok());
    }
}

fn what_was_plain_is_encrypted() {
    let world = keyed("encrypt");
    let store = world.driver().clone();
    world.wait_for(store.begin_snapshot("snap-1", GIB, None, false)).unwrap();
    store.write("snap-1", 5 * BLOCK + 512, MARK.repeat(10_000).as_bytes()).unwrap();
    store.write("snap-1", GIB - 40, MARK.as_bytes()).unwrap();
    world.wait_for(store.complete_snapshot("snap-1")).unwrap();
    let made = |what: &dyn Fn() -> compute::Result<()>| {
        until("it is encrypted", || match what() {
            Err(Error::Busy(_)) => None,
            done => {
                done.unwrap();
                Some(())
            }
        })
    };
    made(&|| world.wait_for(store.create_volume("vol-1", 2 * GIB, Some("snap-1"), true)));
    made(&|| world.wait_for(store.begin_snapshot("snap-2", GIB, Some("snap-1"), true)));
    world.wait_for(store.complete_snapshot("snap-2")).unwrap();
    assert_eq!(seen_outside(&world.config), [world.config.state_dir.join("pool/snapshots/snap-1")]);
    assert_eq!(store.changed_blocks("snap-1", "snap-2", BLOCK).unwrap(), [0u64; 0]);
    assert_eq!(store.blocks("snap-1", BLOCK).unwrap(), store.blocks("snap-2", BLOCK).unwrap());
    world.wait_for(store.create_snapshot("snap-3", "vol-1")).unwrap();
    assert_eq!(store.changed_blocks("snap-1", "snap-3", BLOCK).unwrap(), [0u64; 0]);
    // Without keys there is neither making nor reading.
    let mut world = world;
    drop(store);
    world.close();
    world.config.keys = None;
    world.open();
    let store = world.driver().clone();
    assert!(store.can_encrypt().is_err() && store.read("snap-2", 0, 512).is_err());
    let none = world.wait_for(store.create_volume("vol-2", GIB, None, true));
    assert!(matches!(none, Err(Error::Spec(_))), "{none:?}");
}

pub fn sealed_root(id: &str) -> Spec {
    Spec { root_bytes: Some(GIB), root_encrypted: true, ..spec(id) }
}

fn an_encrypted_root_is_ciphertext() {
    let world = keyed("crypt-root");
    let store = world.driver().clone();
    let mark = MARK.trim_end();
    world.boot_obedient(&sealed_root("i-a"));
    world.ok("i-a", &format!("for n in {{1..500}}; do echo '{mark}'; done > /srv/marks; sync"));
    let running = world.wait_for(store.freeze_root("i-a", "snap-1")).unwrap();
    let image = |layer: &Layer, id: &str| Spec {
        layers: vec![Layer::Host, layer.clone()],
        ..sealed_root(id)
    };
    world.boot_obedient(&image(&running, "i-b"));
    world.ok("i-b", "test $(wc -l < /srv/marks) = 500 && echo more >> /srv/marks");
    assert_eq!(seen_outside(&world.config), [0; 0].map(|_: i32| PathBuf::new()));
    // Stopped, frozen, booted again, larger.
    world.driver().stop("i-b", Duration::from_secs(5)).unwrap();
    assert_eq!(world.wait_exit("i-b"), Exit::Asked);
    let stopped = world.wait_for(store.freeze_root("i-b", "snap-2")).unwrap();
    let layers = vec![Layer::Host, running.clone(), stopped];
    world.boot_obedient(&Spec { layers, ..sealed_root("i-c") });
    world.ok("i-c", "test $(wc -l < /srv/marks) = 501");
    world.boot_obedient(&Spec { boot: 2, root_bytes: Some(2 * GIB), ..image(&running, "i-b") });
    world.ok("i-b", "test $(wc -l < /srv/marks) = 501 && test $(df --output=size -BM / | tail -1 | tr -d M) -gt 1500");
    // Its shim dies: it boots again with what it had synced.
    world.ok("i-a", "echo synced > /srv/synced; sync");
    world.driver().crash("i-a").unwrap();
    assert_eq!(world.wait_exit("i-a"), Exit::Lost);
    let crashed = world.wait_for(store.freeze_root("i-a", "snap-3")).unwrap();
    world.boot_obedient(&image(&crashed, "i-d"));
    assert_eq!(world.ok("i-d", "cat /srv/synced"), "synced\n");
    world.boot_obedient(&Spec { boot: 2, ..sealed_root("i-a") });
    assert_eq!(world.ok("i-a", "cat /srv/synced"), "synced\n");
    assert_eq!(seen_outside(&world.config), [0; 0].map(|_: i32| PathBuf::new()));
    // A plain one is encrypted by copying it; one that is so already is not.
    world.boot_obedient(&Spec { root_bytes: Some(GIB), ..spec("i-p") });
    world.ok("i-p", &format!("echo '{mark}' > /srv/mark; sync"));
    world.wait_for(store.freeze_root("i-p", "snap-p")).unwrap();
    let copy = until("it is encrypted", || {
        match world.wait_for(store.encrypt_root("snap-p", "snap-p.x")) {
            Err(Error::Busy(_)) => None,
            done => Some(done.unwrap().unwrap()),
        }
    });
    assert_eq!(world.wait_for(store.encrypt_root("snap-p.x", "snap-p.y")).unwrap(), None);
    world.boot_obedient(&image(&copy, "i-e"));
    assert_eq!(world.ok("i-e", "cat /srv/mark"), MARK);
    let pool = world.config.state_dir.join("pool");
    let mut seen = seen_outside(&world.config);
    seen.sort();
    assert_eq!(seen, [pool.join("frozen/snap-p"), pool.join("roots/i-p")]);
    for id in ["i-a", "i-b", "i-c", "i-d", "i-e", "i-p"] {
        world.destroy(id);
    }
    for snapshot in ["snap-1", "snap-2", "snap-3", "snap-p", "snap-p.x"] {
        world.wait_for(store.delete_snapshot(snapshot)).unwrap();
    }
    until("no view is left", || views(&world.config).is_empty().then_some(()));
}

fn encrypted_disks_outlive_daemons() {
    let mut world = keyed("crypt-outlive");
    let store = world.driver().clone();
    world.wait_for(store.create_volume("vol-1", GIB, None, true)).unwrap();
    let disks = vec![volume("vol-1", "/dev/sdf")];
    world.boot_obedient(&Spec { disks: disks.clone(), ..sealed_root("i-a") });
    world
        .ok("i-a", "mkfs.ext4 -q /dev/sdf && mount /dev/sdf /mnt && echo kept > /mnt/kept && sync");
    let before = views(&world.config);
    assert_eq!(before, ["roots.i-a", "volumes.vol-1"]);
    drop(store);
    world.close();
    world.open();
    world.ok("i-a", "cat /mnt/kept && echo alone > /mnt/alone && sync");
    let store = world.driver().clone();
    assert_eq!(views(&world.config), before);
    assert!(!store.is_impaired("vol-1") && !store.is_impaired("i-a"));
    assert_eq!(world.ok("i-a", "cat /mnt/alone /mnt/kept"), "alone\nkept\n");
    // The same call again changes limits, and nothing else.
    let faster = compute::Disk { iops: Some(5000), ..volume("vol-1", "/dev/sdf") };
    world.wait_for(store.plug_disk("i-a", &faster)).unwrap();
    world.wait_for(store.grow_volume("vol-1", 2 * GIB)).unwrap();
    world.ok("i-a", "test $(blockdev --getsize64 /dev/sdf) = 2147483648");
    assert_eq!(world.ok("i-a", "cat /mnt/alone"), "alone\n");
    // Everything goes with a teardown, and comes back.
    drop(store);
    world.close();
    compute::namespace::teardown(&world.config.state_dir).unwrap();
    assert_eq!(views(&world.config), [""; 0]);
    let state = world.config.state_dir.display().to_string();
    assert!(!std::fs::read_to_string("/proc/mounts").unwrap().contains(&state));
    until("no device is left", || (!loops().contains(&state)).then_some(()));
    world.open();
    world.boot_obedient(&Spec { boot: 2, disks, ..sealed_root("i-a") });
    world.ok("i-a", "mount /dev/sdf /mnt");
    assert_eq!(world.ok("i-a", "cat /mnt/alone"), "alone\n");
}

fn a_daemon_killed_at_any_moment() {
    let mut world = keyed("crypt-moments");
    for round in 0..12 {
        world.close();
        let mut daemon = Daemon::start(&world.config);
        for n in 0..3 {
            daemon.ask(&format!("e-{n}"));
        }
        // A different moment each time; every one must do.
        std::thread::sleep(Duration::from_millis(20 + round * 23));
        daemon.kill();
        world.open();
        for seen in world.driver().list() {
            assert_eq!(seen.boot, 1);
            world.wait(&seen.id, |phase| phase == Phase::Up);
            assert_ne!(world.processes(&seen.id), [0; 0]);
            assert!(!world.driver().is_impaired(&seen.id));
            world.destroy(&seen.id);
        }
        world.assert_clean();
        until("no view is left", || views(&world.config).is_empty().then_some(()));
    }
}

fn a_dead_view_is_an_error_for_its_user_alone() {
    let world = keyed("crypt-dead");
    let store = world.driver().clone();
    for name in ["vol-1", "vol-2"] {
        world.wait_for(store.create_volume(name, GIB, None, true)).unwrap();
    }
    let disks = vec![volume("vol-1", "/dev/sdf"), volume("vol-2", "/dev/sdg")];
    world.boot_obedient(&Spec { disks, ..spec("i-a") });
    world.ok("i-a", "echo synced > /dev/sdf; sync /dev/sdf; echo other > /dev/sdg; sync /dev/sdg");
    assert!(!store.is_impaired("vol-1"));
    // SAFETY: plain integers; the pid is of a process that this test's driver started.
    assert_eq!(unsafe { libc::kill(pid_of(&world.config, "volumes.vol-1"), libc::SIGKILL) }, 0);
    until("it is seen", || store.is_impaired("vol-1").then_some(()));
    assert!(!store.is_impaired("vol-2"));
    let (said, status) = world.sh("i-a", "dd if=/dev/sdf of=/dev/null bs=4k count=1 iflag=direct");
    assert!(status != 0 && said.contains("error"), "{said}");
    assert_eq!(world.ok("i-a", "head -1 /dev/sdg"), "other\n");
    // Taken away and given back it is well again.
    world.wait_for(store.unplug_disk("i-a", "vol-1", false)).unwrap();
    assert!(!store.is_impaired("vol-1"));
    world.wait_for(store.plug_disk("i-a", &volume("vol-1", "/dev/sdf"))).unwrap();
    assert_eq!(world.ok("i-a", "head -1 /dev/sdf"), "synced\n");
    world.destroy("i-a");
    until("no view is left", || views(&world.config).is_empty().then_some(()));
}
