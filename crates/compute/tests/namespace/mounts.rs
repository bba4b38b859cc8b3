//! File systems on disks, made and mounted by guests.

use compute::{Driver, Error, Spec, Storage};

use crate::disks::{GIB, loops, volume};
use crate::world::{World, spec, until};

pub const TESTS: &[(&str, fn())] = &[
    ("guests_make_mount_and_grow_file_systems", guests_make_mount_and_grow_file_systems),
    ("volumes_move_with_their_owners", volumes_move_with_their_owners),
    ("mounting_gives_no_power", mounting_gives_no_power),
    ("snapshots_are_taken_while_a_guest_writes", snapshots_are_taken_while_a_guest_writes),
];

fn guests_make_mount_and_grow_file_systems() {
    let world = World::new("mkfs");
    let store = world.driver().clone();
    world.boot_obedient(&spec("i-a"));
    for (kind, device) in [("ext4", "/dev/sdf"), ("xfs", "/dev/sdg")] {
        let (name, place) = (format!("vol-{kind}"), format!("/data/{kind}"));
        world.wait_for(store.create_volume(&name, GIB, None, false)).unwrap();
        world.wait_for(store.plug_disk("i-a", &volume(&name, device))).unwrap();
        world.ok("i-a", &format!("mkfs.{kind} -q {device} && mkdir -p {place}"));
        let line = format!("{device} {place} {kind} defaults,noatime 0 2");
        world.ok("i-a", &format!("echo '{line}' >> /etc/fstab && mount {place}"));
        let seen = world.ok("i-a", &format!("findmnt -no SOURCE,FSTYPE,OPTIONS {place}"));
        assert!(seen.starts_with(device) && seen.contains(kind), "{seen}");
        assert!(seen.contains("noatime") && seen.contains("nodev"), "{seen}");
        world.ok("i-a", &format!("cd {place} && echo kept > file && sync"));
        assert_eq!(world.ok("i-a", &format!("stat -c %U:%G {place}/file")), "root:root\n");

        // Mounted, it is not to be taken.
        let busy = world.wait_for(store.unplug_disk("i-a", &name, false));
        assert!(matches!(busy, Err(Error::Busy(_))), "{busy:?}");
        // It grows under the file system, and the file system after it.
        world.wait_for(store.grow_volume(&name, 2 * GIB)).unwrap();
        let grow = match kind {
            "xfs" => format!("xfs_growfs {place}"),
            _ if may_grow_ext4() => format!("resize2fs {device}"),
            _ => format!(
                "umount {place} && e2fsck -fp {device} && resize2fs {device} && mount {place}"
            ),
        };
        world.ok("i-a", &grow);
        let size = world.ok("i-a", &format!("df --output=size -B1M {place} | tail -1"));
        assert!(size.trim().parse::<u64>().unwrap() > 1700, "{kind}: {size} MiB");
        // Read-only and back.
        world.ok("i-a", &format!("mount -o remount,ro {place}"));
        assert_ne!(world.sh("i-a", &format!("touch {place}/x")).1, 0);
        world.ok("i-a", &format!("mount -o remount,rw {place} && touch {place}/x"));
        world.ok("i-a", &format!("umount {place}"));
        world.wait_for(store.unplug_disk("i-a", &name, false)).unwrap();
    }
    // What a guest could mount before it can mount still.
    world.ok("i-a", "mkdir -p /t && mount -t tmpfs none /t && mount --bind /etc /t");
    world.ok("i-a", "umount /t && umount /t");
    assert_ne!(world.sh("i-a", "mount -t ext4 /dev/sdf /t").1, 0);
}

fn volumes_move_with_their_owners() {
    let world = World::new("owners");
    let store = world.driver().clone();
    world.wait_for(store.create_volume("vol-1", GIB, None, false)).unwrap();
    let disk = volume("vol-1", "/dev/xvdh");
    world.boot_obedient(&Spec { disks: vec![disk.clone()], ..spec("i-a") });
    world.boot_obedient(&spec("i-b"));
    world.ok("i-a", "mkfs.ext4 -q /dev/xvdh && mount /dev/xvdh /mnt && touch /mnt/mine");
    world.ok("i-a", "cd /mnt; touch theirs && chown 1234:99 theirs; cp /bin/su s; chmod 4755 s");
    // By force from under what uses it.
    world.ok("i-a", "( cd /mnt; while :; do sleep 0.1; done ) > /dev/null & sync -f /mnt");
    for _ in 0..2 {
        world.wait_for(store.unplug_disk("i-a", "vol-1", true)).unwrap();
    }
    assert_ne!(world.sh("i-a", "findmnt /mnt").1, 0);
    world.wait_for(store.plug_disk("i-b", &disk)).unwrap();
    world.ok("i-b", "mount /dev/xvdh /mnt");
    let owners = world.ok("i-b", "cd /mnt; stat -c '%u:%g %a' mine theirs s");
    assert_eq!(owners, "0:0 644\n1234:99 644\n0:0 4755\n");
    // A stop takes it along with what is mounted, and it is whole.
    world.driver().kill("i-b").unwrap();
    world.wait_exit("i-b");
    world.boot_obedient(&Spec { boot: 2, disks: vec![disk], ..spec("i-b") });
    world.ok("i-b", "e2fsck -fn /dev/xvdh && mount /dev/xvdh /mnt && test -e /mnt/mine");
    world.destroy("i-a");
    world.destroy("i-b");
    until("vol-1 is free", || world.wait_for(store.delete_volume("vol-1")).ok());
    let state = world.config.state_dir.display().to_string();
    until("only the pool is a device", || {
        (loops().lines().filter(|line| line.contains(&state)).count() == 1).then_some(())
    });
}

/// A host that lacks CAP_SYS_RESOURCE cannot do it while it is mounted.
fn may_grow_ext4() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap();
    u64::from_str_radix(line.trim(), 16).unwrap() >> 24 & 1 == 1
}

/// mount(2) itself, as mount(8) thinks of its own who may.
fn call(flags: &str) -> String {
    let names = "my @a = (\"/dev/sdf\", \"/tmp/m\", \"ext4\")";
    format!(
        "perl -e '{names}; my $r = syscall(165, @a, {flags}, 0); print \"$r $!\"; exit($r != 0)'"
    )
}

fn mounting_gives_no_power() {
    let world = World::new("power");
    let store = world.driver().clone();
    world.wait_for(store.create_volume("vol-1", GIB, None, false)).unwrap();
    let disk = volume("vol-1", "/dev/sdf");
    world.boot_obedient(&Spec { disks: vec![disk.clone()], ..spec("i-a") });
    // Device nodes on a crafted file system.
    world.ok("i-a", "mkfs.ext4 -q /dev/sdf && mkdir /m2 /tmp/m && chmod 777 /tmp/m");
    world.ok("i-a", "printf 'mknod disk b 254 0\\nmknod null c 1 3\\n' | debugfs -w /dev/sdf");
    world.ok("i-a", "mount /dev/sdf /mnt && test -b /mnt/disk && test -c /mnt/null");
    for line in [
        "head -c 1 /mnt/disk",
        "echo > /mnt/null",
        "mount -o remount,bind,dev /mnt",
        "mount -i -o remount,dev /mnt && head -c 1 /mnt/disk",
        "mount --bind /mnt /m2 && mount -o remount,bind,dev /m2",
        "unshare -m sh -c 'mount -o remount,bind,dev /mnt'",
        "umount -A /mnt && mount -o dev /dev/sdf /mnt && head -c 1 /mnt/disk",
        "umount -A /dev/sdf && mount -o errors=panic /dev/sdf /m2",
        "mount -o journal_path=/dev/sdf /dev/sdf /m2",
    ] {
        let (said, status) = world.sh("i-a", line);
        assert_ne!(status, 0, "{line}: {said}");
    }
    world.sh("i-a", "umount -A /dev/sdf");
    // Users of the guest are not its root, in a namespace of their own neither.
    world.ok("i-a", "chmod 666 /dev/sdf");
    let user = "setpriv --reuid 1000 --clear-groups --";
    for line in [format!("{user} {}", call("0")), format!("{user} unshare -Urm {}", call("0"))] {
        let (said, status) = world.sh("i-a", &line);
        assert_ne!(status, 0, "{line}: {said}");
    }
    for flags in ["0", "0xC0ED0000"] {
        world.ok("i-a", &format!("{} && umount /tmp/m", call(flags)));
    }
    // The newer calls are not there, and a disk stays what it is.
    let (said, _) = world.sh("i-a", "perl -e 'my $t = \"ext4\"; syscall(430, $t, 0); print $!'");
    assert!(said.contains("not implemented"), "{said}");
    for line in ["losetup -d /dev/sdf", "losetup -c /dev/sdf"] {
        assert_ne!(world.sh("i-a", line).1, 0, "{line}");
    }
    world.ok("i-a", "blockdev --getsize64 /dev/sdf");
}

fn snapshots_are_taken_while_a_guest_writes() {
    let world = World::new("snapshot");
    let store = world.driver().clone();
    world.wait_for(store.create_volume("vol-1", GIB, None, false)).unwrap();
    world.boot_obedient(&Spec { disks: vec![volume("vol-1", "/dev/sdf")], ..spec("i-a") });
    world
        .ok("i-a", "mkfs.ext4 -q /dev/sdf && mount /dev/sdf /mnt && echo before > /mnt/mark; sync");
    let write = "while n=$((n+1)); do echo $n > /mnt/f$((n%100)); sync -f /mnt; done";
    world.ok("i-a", &format!("( n=0; {write} ) > /dev/null 2>&1 &"));
    for n in 0..4u8 {
        let (snapshot, copy) = (format!("snap-{n}"), format!("vol-copy{n}"));
        world.wait_for(store.create_snapshot(&snapshot, "vol-1")).unwrap();
        world.wait_for(store.create_volume(&copy, GIB, Some(&snapshot), false)).unwrap();
        let device = format!("/dev/sd{}", char::from(b'g' + n));
        world.wait_for(store.plug_disk("i-a", &volume(&copy, &device))).unwrap();
        // A journal to be replayed, and no more.
        let look = format!("mkdir /c{n} && mount {device} /c{n} && cat /c{n}/mark");
        assert_eq!(world.ok("i-a", &look), "before\n");
        world.ok("i-a", &format!("umount /c{n} && e2fsck -fn {device}"));
    }
}
