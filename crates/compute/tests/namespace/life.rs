//! Booting, user data, the console, and the ways to end.

use std::time::Duration;

use compute::{Driver, Error, Exit, Layer, Phase, Spec};

use crate::world::{World, spec, until};

pub const TESTS: &[(&str, fn())] = &[
    ("boots_and_runs_user_data_once", boots_and_runs_user_data_once),
    ("is_killed_and_destroyed", is_killed_and_destroyed),
    ("stops_gracefully", stops_gracefully),
    ("guest_powers_off_and_reboots", guest_powers_off_and_reboots),
    ("background_processes_live_on", background_processes_live_on),
    ("user_data_by_any_interpreter", user_data_by_any_interpreter),
    ("the_machine_knows_its_name_and_keys", the_machine_knows_its_name_and_keys),
    ("layers_stack_and_bad_ones_are_refused", layers_stack_and_bad_ones_are_refused),
    ("an_imported_image_boots", an_imported_image_boots),
    ("a_hundred_launches_leave_nothing", a_hundred_launches_leave_nothing),
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

fn guest_powers_off_and_reboots() {
    let world = World::new("power");
    let cases = [
        ("poweroff", Exit::PoweredOff),
        ("shutdown -h now", Exit::PoweredOff),
        ("reboot", Exit::Rebooted),
        ("shutdown -r now", Exit::Rebooted),
        // reboot(2) itself, as an image's own tools call it.
        ("perl -e 'syscall(169, 0xfee1dead, 672274793, 0x01234567, 0)'", Exit::Rebooted),
    ];
    for (n, (command, exit)) in cases.into_iter().enumerate() {
        let id = format!("i-power{n}");
        let script = format!("#!/bin/sh\n{command}\nsleep 60\n");
        world.ensure(&Spec { user_data: Some(script.into()), ..spec(&id) });
        assert_eq!(world.wait_exit(&id), exit, "{command}: {}", world.console(&id));
        assert_eq!(world.processes(&id), [0; 0], "{command}");
    }
    // Pid 1 killed from outside is nobody's wish.
    world.boot(&spec("i-lost"));
    let init = world.processes("i-lost")[0];
    // SAFETY: plain integers; the pid is of a process this test started.
    unsafe { libc::kill(init, libc::SIGKILL) };
    assert_eq!(world.wait_exit("i-lost"), Exit::Lost);
}

fn background_processes_live_on() {
    let world = World::new("background");
    let script = "#!/bin/bash\n(for n in 1 2 3; do sleep 0.1; echo later $n; done) &\n\
                  nohup sleep 600 > /dev/null 2>&1 &\necho done\n";
    world.run("i-back", script);
    world.wait_console("i-back", "later 3");
    // Init and the sleeper.
    until("two processes", || (world.processes("i-back").len() == 2).then_some(()));
}

fn user_data_by_any_interpreter() {
    let world = World::new("shebang");
    assert!(world.run("i-perl", "#!/usr/bin/perl\nprint 6*7, \"\\n\";").contains("42\n"));
    assert!(world.run("i-env", "#!/usr/bin/env -S bash -e\necho $((6*7))").contains("42\n"));
    let none = Spec { user_data: Some("#!/no/such\n".into()), ..spec("i-none") };
    world.boot(&none);
    world.wait_console("i-none", "user data, /var/lib/cloud/instances/i-none/scripts/part-001: ");
    world.wait_console("i-none", "user data ended with exit status 1");
    let data = Spec { user_data: Some("{\"role\": \"web\"}".into()), ..spec("i-data") };
    world.boot(&data);
    world.wait_console("i-data", "it is left to be read");
}

fn the_machine_knows_its_name_and_keys() {
    let world = World::new("identity");
    let script = "#!/bin/bash\ncat /etc/hostname /etc/hosts; . /etc/profile; echo region=$AWS_REGION\n\
                  grep AWS /etc/environment; stat -c '%U:%G %a %n' /root/.ssh/authorized_keys \
                  /home/ec2-user/.ssh/authorized_keys\ncat /home/ec2-user/.ssh/authorized_keys\n\
                  getent hosts $(hostname)\ntest -t 0 || tty < /dev/console; echo end\n";
    let spec = Spec {
        user_data: Some(script.into()),
        ssh_keys: vec!["ssh-ed25519 AAAA me".into()],
        ..spec("i-name")
    };
    world.boot(&spec);
    let console = world.wait_console("i-name", "user data ended");
    for text in [
        "127.0.1.1 ip-10-0-0-5.ec2.internal ip-10-0-0-5\n",
        "region=us-east-1\n",
        "AWS_REGION=us-east-1\n",
        "root:root 600 /root/.ssh/authorized_keys\n",
        "ec2-user:ec2-user 600 /home/ec2-user/.ssh/authorized_keys\n",
        "ssh-ed25519 AAAA me\n",
    ] {
        assert!(console.contains(text), "{text:?} in\n{console}");
    }
}

fn layers_stack_and_bad_ones_are_refused() {
    let world = World::new("layers");
    let layer = world.config.state_dir.join("layer");
    std::fs::create_dir_all(layer.join("usr/local/bin")).unwrap();
    std::fs::create_dir_all(layer.join("opt/app")).unwrap();
    std::fs::write(layer.join("usr/local/bin/hello"), "#!/bin/sh\necho from the layer\n").unwrap();
    std::fs::set_permissions(
        layer.join("usr/local/bin/hello"),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    std::fs::write(layer.join("opt/app/data"), "data of the layer\n").unwrap();
    let script = "#!/bin/sh\nhello; cat /opt/app/data; ls -ld /opt/app\n\
                  echo changed > /opt/app/data; echo own > /usr/local/bin/own; echo wrote\n";
    let with_layer = Spec {
        layers: vec![Layer::Host, Layer::Dir(layer.clone())],
        user_data: Some(script.into()),
        ..spec("i-layer")
    };
    world.boot(&with_layer);
    let console = world.wait_console("i-layer", "user data ended");
    assert!(console.contains("from the layer\ndata of the layer\n"), "{console}");
    assert!(console.contains("root root"), "{console}");
    assert!(console.contains("wrote\n"), "{console}");
    // Written above the layer, not into it.
    assert_eq!(std::fs::read(layer.join("opt/app/data")).unwrap(), b"data of the layer\n");

    for (what, layers) in [
        ("missing", vec![Layer::Dir("/no/such".into())]),
        ("host on top", vec![Layer::Dir(layer), Layer::Host]),
        ("none", vec![]),
    ] {
        let bad = Spec { layers, ..spec("i-bad") };
        let result = world.runtime.block_on(world.driver().ensure(&bad));
        assert!(matches!(result, Err(Error::Spec(_))), "{what}: {result:?}");
        assert_eq!(world.phase("i-bad"), None, "{what}");
    }
    world.destroy("i-layer");
    std::fs::remove_dir_all(world.config.state_dir.join("layer")).unwrap();
    world.assert_clean();
}

/// A root file system of nothing but a shell, as somebody's tar archive.
fn an_imported_image_boots() {
    let world = World::new("image");
    let shell = std::fs::canonicalize("/bin/sh").unwrap();
    let ldd = std::process::Command::new("ldd").arg(&shell).output().unwrap();
    let ldd = String::from_utf8(ldd.stdout).unwrap();
    let mut tar = tar::Builder::new(Vec::new());
    tar.append_path_with_name(&shell, "bin/sh").unwrap();
    for library in ldd.split_whitespace().filter(|word| word.starts_with('/')) {
        let real = std::fs::canonicalize(library).unwrap();
        tar.append_path_with_name(real, library.trim_start_matches('/')).unwrap();
    }
    let archive = world.config.state_dir.join("image.tar");
    std::fs::write(&archive, tar.into_inner().unwrap()).unwrap();
    let image = world.config.state_dir.join("image");
    compute::image::import(&archive, &image).unwrap();

    let script = "#!/bin/sh\nread name < /etc/hostname; echo \"I am $name\"; echo /*; exit 0\n";
    let spec =
        Spec { layers: vec![Layer::Dir(image)], user_data: Some(script.into()), ..spec("i-image") };
    world.boot(&spec);
    let console = world.wait_console("i-image", "user data ended with exit status 0");
    assert!(console.contains("I am ip-10-0-0-5.ec2.internal"), "{console}");
    assert!(!console.contains("/home"), "nothing of the host's image: {console}");
}

fn a_hundred_launches_leave_nothing() {
    let world = World::new("hundred");
    // What a process that has launched once holds, it holds for good.
    world.boot(&spec("i-first"));
    world.destroy("i-first");
    world.assert_clean();
    let descriptors = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    // Other worlds have theirs in the same table.
    let state = world.config.state_dir.display().to_string();
    let mounts = || {
        let table = std::fs::read_to_string("/proc/self/mounts").unwrap();
        table.lines().filter(|line| line.contains(&state)).count()
    };
    let before = mounts();
    let ids: Vec<String> = (0..100).map(|n| format!("i-{n:03}")).collect();
    let all = |act: &(dyn Fn(String) -> Task + Sync)| {
        world.runtime.block_on(async {
            let tasks: Vec<_> = ids.iter().map(|id| tokio::spawn(act(id.clone()))).collect();
            for task in tasks {
                task.await.unwrap();
            }
        });
    };
    for round in 0..2 {
        let driver = world.driver().clone();
        all(&|id| {
            let driver = driver.clone();
            Box::pin(async move { driver.ensure(&spec(&id)).await.unwrap() })
        });
        assert_eq!(world.driver().list().len(), 100);
        // Half of them when they run, half while they still boot.
        if round == 0 {
            for id in &ids {
                world.wait(id, |phase| phase == Phase::Up);
            }
        }
        all(&|id| {
            let driver = driver.clone();
            Box::pin(async move { driver.destroy(&id).await.unwrap() })
        });
        assert_eq!(world.driver().list(), []);
        world.assert_clean();
    }
    assert_eq!(mounts(), before);
    let ours = descriptors();
    assert!(ours < 400, "{ours} descriptors are open, other tests' included");
}

type Task = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;
