//! The namespace driver on this host's kernel. Needs root; without it every test is ignored.

mod adopt;
mod confine;
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
    let tests = [
        life::TESTS,
        first_boot::TESTS,
        adopt::TESTS,
        confine::TESTS,
        network::TESTS,
        exec::TESTS,
        disks::TESTS,
        mounts::TESTS,
        roots::TESTS,
    ]
    .concat();
    let trials = tests.into_iter().map(|(name, test)| {
        Trial::test(name, move || {
            test();
            Ok(())
        })
        .with_ignored_flag(!root)
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit();
}
