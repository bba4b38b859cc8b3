//! Who may die when, and what the next one finds.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use compute::namespace::{Config, teardown};
use compute::{Driver, Error, Exit, Observed, Phase, Spec};

use crate::crypt::sealed_root;
use crate::world::{World, control_groups, shims_in, spec, until};

pub const TESTS: &[(&str, fn())] = &[
    ("a_new_driver_finds_what_runs", a_new_driver_finds_what_runs),
    ("a_killed_daemon_loses_nothing", a_killed_daemon_loses_nothing),
    ("a_killed_launcher_is_replaced", a_killed_launcher_is_replaced),
    ("a_dead_shim_is_a_lost_instance", a_dead_shim_is_a_lost_instance),
    ("what_was_half_made_is_swept", what_was_half_made_is_swept),
    ("teardown_needs_no_daemon", teardown_needs_no_daemon),
    ("a_daemon_killed_at_any_moment_leaks_nothing", a_daemon_killed_at_any_moment_leaks_nothing),
    ("shims_and_launchers_killed_at_any_moment", shims_and_launchers_killed_at_any_moment),
];

/// A daemon in a process of its own: boots the ids it reads, tells when each has begun.
pub fn daemon_main() {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() != Some("test-daemon") {
        return;
    }
    let mut config = Config::new(arguments.next().unwrap());
    config.keys = Some(std::sync::Arc::new(crate::crypt::Masked));
    let world = std::mem::ManuallyDrop::new(World::at(config));
    if arguments.next().as_deref() == Some("disks") {
        crate::disks::churn(&world);
    }
    for id in std::io::stdin().lines() {
        let id = id.unwrap();
        world.ensure(&if id.starts_with("e-") { sealed_root(&id) } else { spec(&id) });
        println!("begun");
    }
    std::process::exit(0)
}

pub struct Daemon {
    process: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Daemon {
    pub fn start(config: &Config) -> Daemon {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .arg("test-daemon")
            .arg(&config.state_dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        Daemon { process, lines }
    }

    pub fn ask(&mut self, id: &str) {
        writeln!(self.process.stdin.as_mut().unwrap(), "{id}").unwrap();
    }

    fn boot(&mut self, id: &str) {
        self.ask(id);
        assert_eq!(self.lines.next().unwrap().unwrap(), "begun");
    }

    pub fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

fn kill(pid: i32) {
    // SAFETY: plain integers; the pid is of a process this test started.
    assert_eq!(unsafe { libc::kill(pid, libc::SIGKILL) }, 0);
}

fn a_new_driver_finds_what_runs() {
    let mut world = World::new("find");
    let script = "#!/bin/sh\nwhile :; do echo tick; sleep 0.05; done\n";
    world.boot(&Spec { user_data: Some(script.into()), ..spec("i-up") });
    world.boot(&spec("i-ended"));
    world.boot(&spec("i-ends"));
    world.driver().kill("i-ended").unwrap();
    world.wait_exit("i-ended");
    let init = world.processes("i-up")[0];
    let shim = world.shim("i-ends");
    world.close();
    // Ends while nobody looks: its shim writes it down.
    let ends = world.processes("i-ends")[0];
    kill(ends);
    until("the shim has ended", || {
        (!shims_in(&world.config.state_dir).contains(&shim)).then_some(())
    });

    world.open();
    let mut seen = world.driver().list();
    seen.sort_by(|a, b| a.id.cmp(&b.id));
    let observed = |id: &str, phase| Observed { id: id.into(), boot: 1, phase };
    assert_eq!(
        seen,
        [
            observed("i-ended", Phase::Exited(Exit::Asked)),
            observed("i-ends", Phase::Exited(Exit::Lost)),
            observed("i-up", Phase::Up),
        ]
    );
    assert_eq!(world.processes("i-up")[0], init, "the same process runs on");
    let before = world.console("i-up").len();
    until("output goes on", || (world.console("i-up").len() > before).then_some(()));
    // It is a full driver: ends, restarts, new ones.
    world.ensure(&Spec { boot: 2, ..spec("i-ended") });
    world.wait("i-ended", |phase| phase == Phase::Up);
    world.boot(&spec("i-new"));
    world.driver().stop("i-up", Duration::from_secs(10)).unwrap();
    assert_eq!(world.wait_exit("i-up"), Exit::Asked);
    for id in ["i-up", "i-ended", "i-ends", "i-new"] {
        world.destroy(id);
    }
    world.assert_clean();
}

fn a_killed_daemon_loses_nothing() {
    let mut world = World::new("daemon");
    world.close();
    let mut daemon = Daemon::start(&world.config);
    daemon.boot("i-a");
    daemon.boot("i-b");
    daemon.kill();
    world.open();
    assert_eq!(world.driver().list().len(), 2);
    for id in ["i-a", "i-b"] {
        world.wait(id, |phase| phase == Phase::Up);
        world.destroy(id);
    }
    world.assert_clean();
}

/// The process that holds the lock of the state directory and calls itself the launcher.
fn launcher_of(world: &World) -> Option<i32> {
    let lock = world.config.state_dir.join("lock");
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let mut pids = processes.filter(|entry| {
        let path = entry.path();
        let name = std::fs::read_to_string(path.join("comm")).unwrap_or_default();
        let fds = std::fs::read_dir(path.join("fd")).into_iter().flatten().flatten();
        let mut files = fds.filter_map(|fd| std::fs::read_link(fd.path()).ok());
        name.trim() == "drover-launcher" && files.any(|file| file == lock)
    });
    pids.find_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn a_killed_launcher_is_replaced() {
    let world = World::new("launcher");
    world.boot(&spec("i-before"));
    let launcher = until("the launcher", || launcher_of(&world));
    kill(launcher);
    world.boot(&spec("i-after"));
    assert_eq!(world.phase("i-before"), Some(Phase::Up));
}

fn a_dead_shim_is_a_lost_instance() {
    let mut world = World::new("shim");
    for id in ["i-seen", "i-unseen"] {
        let script = "#!/bin/sh\nsetsid sleep 600 &\necho ready\n";
        world.boot(&Spec { user_data: Some(script.into()), ..spec(id) });
        world.wait_console(id, "ready");
    }
    kill(world.shim("i-seen"));
    assert_eq!(world.wait_exit("i-seen"), Exit::Lost);
    assert_eq!(world.processes("i-seen"), [0; 0]);
    let unseen = world.shim("i-unseen");
    world.close();
    kill(unseen);
    world.open();
    assert_eq!(world.wait_exit("i-unseen"), Exit::Lost);
    assert_eq!(world.processes("i-unseen"), [0; 0]);
    // The root outlives that.
    world.ensure(&Spec { boot: 2, ..spec("i-seen") });
    world.wait("i-seen", |phase| phase == Phase::Up);
    world.destroy("i-seen");
    world.destroy("i-unseen");
    world.assert_clean();
}

fn what_was_half_made_is_swept() {
    let mut world = World::new("half");
    world.boot(&spec("i-real"));
    world.destroy("i-real");
    world.close();
    let state = world.config.state_dir.clone();
    // A directory without a record, a record without a shim, a control group of nobody, old trash.
    std::fs::create_dir_all(state.join("instances/i-empty/root/upper")).unwrap();
    std::fs::create_dir_all(state.join("trash/old/deep")).unwrap();
    world.open();
    world.boot(&spec("i-copy"));
    let record = std::fs::read_to_string(state.join("instances/i-copy/record.json")).unwrap();
    world.destroy("i-copy");
    world.close();
    std::fs::create_dir_all(state.join("instances/i-never")).unwrap();
    std::fs::write(
        state.join("instances/i-never/record.json"),
        record.replace("i-copy", "i-never"),
    )
    .unwrap();
    for hierarchy in control_groups(&world.config.cgroup) {
        std::fs::create_dir(hierarchy.join("i-nobody")).unwrap();
    }
    world.open();
    assert_eq!(world.driver().list(), []);
    world.assert_clean();
}

fn teardown_needs_no_daemon() {
    let mut world = World::new("teardown");
    world.close();
    let mut daemon = Daemon::start(&world.config);
    for n in 0..5 {
        daemon.boot(&format!("i-{n}"));
    }
    // A shim that does not listen must not hold it up for long.
    let stopped = world.shim("i-3");
    // SAFETY: plain integers; the pid is of a process this test started.
    unsafe { libc::kill(stopped, libc::SIGSTOP) };
    daemon.kill();
    teardown(&world.config.state_dir).unwrap();
    assert_eq!(shims_in(&world.config.state_dir), [0; 0]);
    assert!(control_groups(&world.config.cgroup).is_empty());
    // Twice is no error; the disks are there for the next start.
    teardown(&world.config.state_dir).unwrap();
    world.open();
    assert_eq!(world.driver().list().len(), 5);
    for seen in world.driver().list() {
        assert_eq!(seen.phase, Phase::Exited(Exit::Asked), "{}", seen.id);
    }
    world.ensure(&Spec { boot: 2, ..spec("i-3") });
    world.wait("i-3", |phase| phase == Phase::Up);
    for n in 0..5 {
        world.destroy(&format!("i-{n}"));
    }
    world.assert_clean();
}

fn a_daemon_killed_at_any_moment_leaks_nothing() {
    let mut world = World::new("moments");
    for round in 0..25 {
        world.close();
        let mut daemon = Daemon::start(&world.config);
        daemon.boot("i-first");
        for n in 0..4 {
            daemon.ask(&format!("i-{n}"));
        }
        // A different moment each time; every one must do.
        std::thread::sleep(Duration::from_micros(round * 700));
        daemon.kill();
        world.open();
        for seen in world.driver().list() {
            assert_eq!(seen.boot, 1);
            world.wait(&seen.id, |phase| phase == Phase::Up);
            world.destroy(&seen.id);
        }
        world.assert_clean();
    }
}

fn shims_and_launchers_killed_at_any_moment() {
    let world = World::new("killing");
    let state = world.config.state_dir.clone();
    for round in 0..20u64 {
        let launches: Vec<_> = (0..6)
            .map(|n| {
                let driver = world.driver().clone();
                let spec = spec(&format!("i-{n}"));
                world.runtime.spawn(async move { driver.ensure(&spec).await })
            })
            .collect();
        std::thread::sleep(Duration::from_micros(round * 500));
        let victims = match round % 3 {
            0 => launcher_of(&world).into_iter().collect(),
            _ => shims_in(&state),
        };
        for pid in victims {
            // SAFETY: plain integers; it was one of this test's processes a moment ago.
            unsafe { libc::kill(pid, libc::SIGKILL) };
        }
        for launch in launches {
            // Begun, or an error and no trace; the next call starts over.
            let result = world.runtime.block_on(launch).unwrap();
            assert!(matches!(result, Ok(()) | Err(Error::Host(_))), "{result:?}");
        }
        for n in 0..6 {
            let id = format!("i-{n}");
            if world.phase(&id).is_none() {
                world.ensure(&spec(&id));
            }
            let phase = world.wait(&id, |phase| phase != Phase::Booting);
            assert!(matches!(phase, Phase::Up | Phase::Exited(Exit::Lost)), "{phase:?}");
            if phase != Phase::Up {
                assert_eq!(world.processes(&id), [0; 0]);
            }
            world.destroy(&id);
        }
        world.assert_clean();
    }
}
