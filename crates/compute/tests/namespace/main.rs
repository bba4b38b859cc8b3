//! The namespace driver on this host's kernel. Needs root; without it every test is ignored.

mod adopt;
mod confine;
mod crypt;
mod disks;
mod exec;
mod first_boot;
mod life;
mod mounts;
mod network;
mod roots;
mod world;

use libtest_mimic::{Arguments, Trial};

fn main() {
    compute::namespace::dispatch();
    adopt::daemon_main();
    // SAFETY: no arguments.
    let root = unsafe { libc::geteuid() } == 0;
    if !root {
        eprintln!("ignored: instances need root");
    }
    let plain =
        [life::TESTS, first_boot::TESTS, adopt::TESTS, confine::TESTS, network::TESTS, exec::TESTS]
            .concat();
    let of_disks = [disks::TESTS, mounts::TESTS, roots::TESTS, crypt::TESTS].concat();
    let disks = installed("mkfs.xfs") && installed("mkfs.ext4");
    let plain = plain.into_iter().map(|test| (test, true));
    let of_disks = of_disks.into_iter().map(|test| (test, disks));
    let trials = plain.chain(of_disks).map(|((name, test), possible)| {
        let trial = Trial::test(name, move || {
            test();
            Ok(())
        });
        let kind = if possible { "" } else { "needs mkfs.xfs and mkfs.ext4" };
        trial.with_kind(kind).with_ignored_flag(!root || !possible)
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit();
}

fn installed(program: &str) -> bool {
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    path.split(':').any(|place| std::path::Path::new(place).join(program).is_file())
}
