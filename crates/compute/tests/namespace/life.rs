//! Booting, user data, the console, and the ways to end.

use std::time::Duration;

use compute::{Driver, Exit, Phase, Spec};

use crate::world::{World, spec};

pub const TESTS: &[(&str, fn())] = &[
    ("boots_and_runs_user_data_once", boots_and_runs_user_data_once),
    ("is_killed_and_destroyed", is_killed_and_destroyed),
    ("stops_gracefully", stops_gracefully),
];

fn boots_and_runs_user_data_once() {
    let world = World::new("once");
    let script = "#!/bin/sh\necho run >> /root/runs\nid -u\nhostname\necho $AWS_REGION $HOME $PATH\n\
                  cat /proc/1/comm; echo runs: $(wc -l < /root/runs)\nexit 3\n";
    let console = world.run("i-once", script);
    for line in ["0\n", "ip-10-0-0-5.ec2.internal\n", "us-east-1 /root /usr/local/sbin", "runs: 1"]
    {
        assert!(console.contains(line), "{line:?} in\n{console}");
    }
    assert!(console.contains("exit status 3"), "{console}");
    let log = std::fs::read_to_string(world.upper("i-once").join("var/log/cloud-init-output.log"));
    assert!(log.unwrap().contains("runs: 1"));

    // The same boot again is no act.
    world.ensure(&spec("i-once"));
    // A higher one restarts, with the kept root.
    let script = Some(script.as_bytes().to_vec());
    let again = Spec { boot: 2, user_data: script, ..spec("i-once") };
    world.boot(&again);
    let seen = world.driver().list().pop().unwrap();
    assert_eq!((seen.boot, seen.phase), (2, Phase::Up));
    world.driver().stop("i-once", Duration::from_secs(10)).unwrap();
    assert_eq!(world.wait_exit("i-once"), Exit::Asked);
    let runs = std::fs::read_to_string(world.upper("i-once").join("root/runs")).unwrap();
    assert_eq!(runs, "run\n");
}

fn is_killed_and_destroyed() {
    let world = World::new("kill");
    world.boot(&spec("i-kill"));
    assert!(!world.processes("i-kill").is_empty());
    world.driver().kill("i-kill").unwrap();
    assert_eq!(world.wait_exit("i-kill"), Exit::Asked);
    world.destroy("i-kill");
    assert_eq!(world.driver().list(), []);
    world.assert_clean();
    // Again, and of what never was.
    world.destroy("i-kill");
    world.destroy("i-none");
    // A running one.
    world.boot(&spec("i-kill"));
    world.destroy("i-kill");
    world.assert_clean();
}

fn stops_gracefully() {
    let world = World::new("stop");
    let script = "#!/bin/bash\ntrap 'echo asked > /root/asked; exit 0' TERM\necho ready\n\
                  while :; do sleep 0.05; done\n";
    world.boot(&Spec { user_data: Some(script.into()), ..spec("i-stop") });
    world.wait_console("i-stop", "ready");
    world.driver().stop("i-stop", Duration::from_secs(15)).unwrap();
    assert_eq!(world.wait_exit("i-stop"), Exit::Asked);
    assert!(world.upper("i-stop").join("root/asked").exists());

    // One that will not hear is killed when its grace is over.
    let script = "#!/bin/bash\ntrap '' TERM\necho ready\nwhile :; do sleep 0.05; done\n";
    world.boot(&Spec { user_data: Some(script.into()), ..spec("i-deaf") });
    world.wait_console("i-deaf", "ready");
    world.driver().stop("i-deaf", Duration::from_millis(200)).unwrap();
    assert_eq!(world.wait_exit("i-deaf"), Exit::Asked);
}
