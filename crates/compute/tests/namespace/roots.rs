//! Roots with a size of their own, and images made of them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use compute::namespace::Config;
use compute::storage::{Keys, Kind};
use compute::{Driver, Error, Exit, Layer, Spec, Storage};

use crate::crypt::Masked;
use crate::disks::{GIB, loops};
use crate::world::{World, spec, until};

pub const TESTS: &[(&str, fn())] = &[
    ("a_full_root_is_full_for_its_instance_alone", a_full_root_is_full_for_its_instance_alone),
    ("a_full_pool_harms_nobody_who_is_there", a_full_pool_harms_nobody_who_is_there),
    ("a_frozen_root_holds_every_byte", a_frozen_root_holds_every_byte),
    ("roots_outlive_daemons_and_go_with_their_instances", roots_outlive_daemons),
];

fn sized(id: &str, bytes: u64) -> Spec {
    Spec { root_bytes: Some(bytes), ..spec(id) }
}

fn a_full_root_is_full_for_its_instance_alone() {
    let world = World::new("full");
    let small = world.wait_for(world.driver().ensure(&sized("i-tiny", 1 << 20)));
    assert!(matches!(small, Err(Error::Spec(_))), "{small:?}");
    world.boot_obedient(&sized("i-a", GIB / 4));
    world.boot_obedient(&sized("i-b", GIB / 4));
    let size = world.ok("i-a", "df --output=size -B1M / | tail -1");
    assert!((200..=256).contains(&size.trim().parse::<u64>().unwrap()), "{size} MiB");
    let (said, status) = world.sh("i-a", "head -c 512M /dev/zero > /root/fill");
    assert!(status != 0 && said.contains("No space left on device"), "{said}");
    assert_ne!(world.sh("i-a", "echo more > /usr/local/more").1, 0, "one disk for all of it");
    world.ok("i-b", "head -c 100M /dev/zero > /root/fill && sync && test -s /root/fill");
    world.ok("i-a", "rm /root/fill && echo more > /usr/local/more");
    // It grows at a boot.
    world.boot_obedient(&Spec { boot: 2, ..sized("i-a", GIB) });
    world.ok("i-a", "cat /usr/local/more && head -c 512M /dev/zero > /root/fill");
}

/// A file system of the host's, of a GiB.
pub struct Small(pub PathBuf);

impl Small {
    pub fn new(kind: &str) -> Small {
        let name = format!("small-{kind}-{}", std::process::id());
        let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(&place).unwrap();
        let image = place.with_extension("img");
        std::fs::File::create(&image).unwrap().set_len(GIB).unwrap();
        let run = |program: &str, words: &[&str]| {
            let done = Command::new(program).args(words).arg(&image).arg(&place).status();
            assert!(done.unwrap().success(), "{program}");
        };
        let made = Command::new(format!("mkfs.{kind}")).arg("-q").arg(&image).status();
        assert!(made.unwrap().success());
        run("mount", &["-o", "loop"]);
        std::fs::remove_file(&image).unwrap();
        Small(place)
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let gone = Command::new("umount").arg(&self.0).status().is_ok_and(|done| done.success());
        if gone {
            let _ = std::fs::remove_dir(&self.0);
        }
    }
}

fn a_full_pool_harms_nobody_who_is_there() {
    let small = Small::new("ext4");
    let keys: Option<Arc<dyn Keys>> = Some(Arc::new(Masked));
    let mut world = World::at(Config { keys, ..Config::new(small.0.join("state")) });
    // Each is promised more than there is; that one is encrypted makes no difference.
    for (id, root_encrypted) in [("i-modest", false), ("i-greedy", true)] {
        world.boot_obedient(&Spec { root_encrypted, ..sized(id, 4 * GIB) });
    }
    let (said, status) =
        world.sh("i-greedy", "head -c 3G /dev/zero > /root/fill; s=$?; sync; (exit $s)");
    assert!(status != 0 && said.contains("No space left on device"), "{said}");
    until("no room for more", || {
        world.sh("i-greedy", "head -c 512M /dev/zero >> /root/fill; sync");
        let made = world.wait_for(world.driver().create_volume("vol-1", GIB, None, false));
        world.wait_for(world.driver().delete_volume("vol-1")).unwrap();
        matches!(made, Err(Error::Capacity(_))).then_some(())
    });
    let more = world.wait_for(world.driver().ensure(&sized("i-more", 4 * GIB)));
    assert!(matches!(more, Err(Error::Capacity(_))), "{more:?}");
    world.ok("i-modest", "head -c 8M /dev/zero > /root/fill && sync /root/fill");
    world.ok("i-greedy", "touch /root/still-writable");
    // What is deleted is there for the others.
    world.ok("i-greedy", "rm /root/fill && sync");
    until("room for another", || {
        world.wait_for(world.driver().ensure(&sized("i-more", 4 * GIB))).ok()
    });
    // All of it a moment later.
    until("room for who is there", || {
        let (_, status) =
            world.sh("i-modest", "head -c 100M /dev/zero > /root/fill && sync /root/fill");
        (status == 0).then_some(())
    });
    for id in ["i-modest", "i-greedy", "i-more"] {
        world.destroy(id);
    }
    world.close();
    compute::namespace::teardown(&world.config.state_dir).unwrap();
}

fn a_frozen_root_holds_every_byte() {
    let world = World::new("frozen");
    let store = world.driver().clone();
    world.boot_obedient(&sized("i-a", GIB));
    world.ok("i-a", "mkdir /srv/www && echo baked > /srv/www/index && chown 33:33 /srv/www/index");
    world.ok("i-a", "rm /usr/bin/od && echo tool > /usr/local/bin/tool && rm /etc/hostname");
    let freeze = |id: &str, name: &str| world.wait_for(store.freeze_root(id, name));
    // Running, while it writes.
    world.ok("i-a", "( while :; do date >> /srv/log; done ) > /dev/null 2>&1 & until [ -s /srv/log ]; do :; done");
    let layer = freeze("i-a", "snap-1").unwrap();
    assert_eq!(freeze("i-a", "snap-1").unwrap(), layer, "again");
    world.ok("i-a", "echo later > /srv/www/index && touch /srv/still-writable");
    let image =
        |boot, id: &str| Spec { boot, layers: vec![Layer::Host, layer.clone()], ..sized(id, GIB) };
    for id in ["i-b", "i-c"] {
        world.boot_obedient(&image(1, id));
        let seen = world.ok(id, "cat /srv/www/index; stat -c %u:%g /srv/www/index");
        assert_eq!(seen, "baked\n33:33\n");
        world.ok(
            id,
            "test ! -e /usr/bin/od && grep -q tool /usr/local/bin/tool && test -s /srv/log",
        );
        world.ok(id, "echo own > /srv/www/index && test ! -e /srv/still-writable");
    }
    // Stopped, and of one that is itself made of an image.
    world.driver().stop("i-b", Duration::from_secs(5)).unwrap();
    assert_eq!(world.wait_exit("i-b"), Exit::Asked);
    let second = freeze("i-b", "snap-2").unwrap();
    let layers = vec![Layer::Host, layer.clone(), second];
    world.boot_obedient(&Spec { layers, ..sized("i-d", GIB) });
    assert_eq!(world.ok("i-d", "cat /srv/www/index; test ! -e /usr/bin/od"), "own\n");
    assert!(matches!(freeze("i-none", "snap-3"), Err(Error::Spec(_))));
    // Its blocks can be read as any snapshot's, and made a volume of.
    let stored = store.stored().unwrap();
    let root = stored.iter().find(|stored| stored.name == "snap-1").unwrap();
    assert_eq!((root.kind, root.bytes), (Kind::Root, GIB));
    assert!(!store.blocks("snap-1", 512 << 10).unwrap().is_empty());
    world.wait_for(store.create_volume("vol-1", GIB, Some("snap-1"), false)).unwrap();
    // Who has it keeps it.
    world.wait_for(store.delete_snapshot("snap-1")).unwrap();
    assert_eq!(world.ok("i-c", "cat /usr/local/bin/tool"), "tool\n");
    let gone = world.wait_for(store.ensure(&image(1, "i-e")));
    assert!(matches!(gone, Err(Error::Spec(_))), "{gone:?}");
}

fn roots_outlive_daemons() {
    let mut world = World::new("roots");
    world.config.usual_root_bytes = Some(GIB);
    world.close();
    world.open();
    world.boot_obedient(&sized("i-a", GIB));
    world.ok("i-a", "echo kept > /root/kept && sync");
    world.close();
    world.open();
    world.ok("i-a", "cat /root/kept");
    world.driver().crash("i-a").unwrap();
    assert_eq!(world.wait_exit("i-a"), Exit::Lost);
    world.boot_obedient(&Spec { boot: 2, ..sized("i-a", GIB) });
    world.ok("i-a", "cat /root/kept");
    let pool = world.config.state_dir.join("pool");
    assert!(pool.join("roots/i-a").exists());
    world.destroy("i-a");
    assert!(!pool.join("roots/i-a").exists());
    world.assert_clean();
    world.close();
    compute::namespace::teardown(&world.config.state_dir).unwrap();
    assert!(!pool.join("roots").exists(), "unmounted");
    let state = world.config.state_dir.display().to_string();
    until("no device is left", || (!loops().contains(&state)).then_some(()));
}
