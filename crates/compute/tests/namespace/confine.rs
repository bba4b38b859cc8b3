//! What an instance can use and do, and what it cannot.

use std::os::unix::fs::MetadataExt;

use compute::{Driver, Phase, Spec};

use crate::world::{World, spec, until};

pub const TESTS: &[(&str, fn())] = &[
    ("the_probe_finds_what_these_tests_use", the_probe_finds_what_these_tests_use),
    ("root_inside_is_nobody_outside", root_inside_is_nobody_outside),
    ("the_host_s_secrets_are_not_inside", the_host_s_secrets_are_not_inside),
    ("memory_is_limited", memory_is_limited),
    ("cpu_time_is_limited", cpu_time_is_limited),
    ("processes_are_limited", processes_are_limited),
    ("dangerous_calls_are_refused", dangerous_calls_are_refused),
    ("usual_things_work", usual_things_work),
    ("instances_do_not_see_each_other", instances_do_not_see_each_other),
];

fn root_inside_is_nobody_outside() {
    let world = World::new("uids");
    let script =
        "#!/bin/sh\ntouch /root/mine\nchown 1000:1000 /root/mine\nsleep 600 &\necho ready\n";
    world.boot(&Spec { user_data: Some(script.into()), ..spec("i-a") });
    world.boot(&Spec { user_data: Some(script.into()), ..spec("i-b") });
    let mut ranges = Vec::new();
    for id in ["i-a", "i-b"] {
        world.wait_console(id, "ready");
        for pid in world.processes(id) {
            let uid = std::fs::metadata(format!("/proc/{pid}/task")).unwrap().uid();
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
            let uids = status.lines().find_map(|line| line.strip_prefix("Uid:")).unwrap();
            for uid in uids.split_whitespace().map(|uid| uid.parse::<u32>().unwrap()) {
                assert!(uid >= world.config.first_id, "uid {uid} of {pid}");
                ranges.push((uid - world.config.first_id) / 65536);
            }
            // Init's own files belong to the host's root: it holds a copy of the launcher.
            assert!(uid == 0 || uid >= world.config.first_id);
        }
    }
    ranges.dedup();
    assert_eq!(ranges.len(), 2, "each has a range of its own: {ranges:?}");
    // On disk it is as the instance sees it, below a directory nobody may enter.
    let mine = std::fs::metadata(world.upper("i-a").join("root/mine")).unwrap();
    assert_eq!((mine.uid(), mine.gid()), (1000, 1000));
    assert_eq!(std::fs::metadata(&world.config.state_dir).unwrap().mode() & 0o777, 0o700);
}

fn the_host_s_secrets_are_not_inside() {
    let world = World::new("secrets");
    let marker = std::path::Path::new("/root/.drover-test-marker");
    std::fs::write(marker, "host").unwrap();
    let script = "#!/bin/bash\n\
        ls -A /root /home /srv /opt /mnt | tr '\\n' ' '; echo\n\
        echo \"hashes: $(cut -d: -f2 /etc/shadow | sort -u | tr -d '\\n')\"\n\
        echo ssh: $(ls /etc/ssh 2>&1)\n\
        (echo 0 > /proc/sys/kernel/panic) 2>&1\n\
        (: > /dev/kmsg) 2>&1; ls /dev/vda /dev/mem /dev/sda 2>&1\n\
        (cat /proc/kcore | head -c1 | wc -c) 2>&1\n\
        (echo x >> /sys/kernel/mm/ksm/run) 2>&1\n\
        echo env: $(tr '\\0' ' ' < /proc/1/environ 2>&1)\n\
        echo environment; env | sort\n\
        grep -c . /proc/self/mountinfo; grep -v ' - \\(overlay\\|tmpfs\\|proc\\|sysfs\\|devpts\\|mqueue\\|cgroup2\\|devtmpfs\\) ' /proc/self/mountinfo | sed 's/^/mount: /'\n\
        ls /tmp /run; ls /usr/local/etc | sed s/^/local-etc:/\n";
    let console = world.run("i-secret", script);
    std::fs::remove_file(marker).unwrap();
    assert!(!console.contains("drover-test-marker"), "{console}");
    assert!(console.contains("hashes: *\n"), "{console}");
    assert!(!console.contains("ssh_host"), "{console}");
    assert!(!console.contains(env!("CARGO_TARGET_TMPDIR")), "{console}");
    assert!(!console.contains("CARGO"), "the test's own environment:\n{console}");
    assert!(!console.contains("\nmount: "), "{console}");
    assert!(!console.contains("local-etc:"), "{console}");
    assert!(console.contains("/proc/sys/kernel/panic: Permission denied"), "{console}");
    assert!(console.contains("ksm/run: Read-only file system"), "{console}");
}

fn memory_is_limited() {
    let world = World::new("memory");
    let script = "#!/bin/bash\nperl -e '$x = \"a\" x (300 << 20); print length $x' && echo had it\n\
                  echo status $?\nperl -e '$x = \"a\" x (20 << 20); print \"small ok\\n\"'\n";
    world.boot(&Spec { memory_mib: 96, user_data: Some(script.into()), ..spec("i-mem") });
    let console = world.wait_console("i-mem", "user data ended");
    assert!(console.contains("status 137") && console.contains("small ok"), "{console}");
    let told = world.wait_console("i-mem", "Out of memory: Killed a process");
    assert!(told.contains("(total memory: 98304kB)"), "{told}");
    assert_eq!(world.phase("i-mem"), Some(Phase::Up), "only the process that took it dies");
    let used = world.driver().usage("i-mem").unwrap().memory_bytes;
    assert!(used > 0 && used <= 96 << 20, "{used}");
}

fn cpu_time_is_limited() {
    let world = World::new("cpu");
    let script =
        "#!/bin/bash\nfor n in 1 2 3 4; do (while :; do :; done) & done\necho ready\nwait\n";
    world.boot(&Spec { vcpus: 1, user_data: Some(script.into()), ..spec("i-cpu") });
    world.wait_console("i-cpu", "ready");
    let cpu = || world.driver().usage("i-cpu").unwrap().cpu;
    let (begin, before) = (std::time::Instant::now(), cpu());
    until("a second of work", || (begin.elapsed().as_millis() > 1000).then_some(()));
    let (used, time) = (cpu() - before, begin.elapsed());
    assert!(used.as_secs_f64() > 0.05, "{used:?}");
    // One period more may be in the window than fits.
    assert!(used <= time + std::time::Duration::from_millis(210), "{used:?} in {time:?}");
}

fn processes_are_limited() {
    let mut world = World::new("pids");
    world.close();
    world.config.pids = 64;
    world.open();
    let script = "#!/usr/bin/perl\nmy $n = 0;\nwhile (defined(my $p = fork)) {\n\
                  if (!$p) { sleep 600; exit }\n$n++; last if $n > 500;\n}\nprint \"forked $n\\n\";\n";
    let console = world.run("i-pids", script);
    let line = console.lines().find_map(|line| line.strip_prefix("forked ")).unwrap();
    let forked: u32 = line.parse().unwrap();
    assert!((40..64).contains(&forked), "{forked}");
}

fn dangerous_calls_are_refused() {
    let world = World::new("calls");
    // add_key, bpf, kexec_load, swapon, io_uring_setup, perf_event_open, clock_settime, and an x32 call.
    let script = "#!/usr/bin/perl\nfor (248, 321, 246, 167, 425, 298, 227) {\n\
                  $! = 0; my $r = syscall($_, 0, 0, 0, 0, 0);\nprint \"call $_: \", $!+0, \"\\n\";\n}\n\
                  $! = 0; syscall(0x40000000 + 39); print \"x32: \", $!+0, \"\\n\";\n\
                  system('grep -E \"^(CapBnd|Seccomp|NoNewPrivs):\" /proc/self/status');\n";
    let console = world.run("i-calls", script);
    for call in [248, 321, 246, 167, 425, 298, 227] {
        assert!(console.contains(&format!("call {call}: {}\n", libc::EPERM)), "{call}: {console}");
    }
    assert!(console.contains(&format!("x32: {}\n", libc::ENOSYS)), "{console}");
    assert!(console.contains("Seccomp:\t2") && console.contains("NoNewPrivs:\t0"), "{console}");
}

fn usual_things_work() {
    let world = World::new("usual");
    let script = "#!/bin/bash\nset -e\n\
        mkdir /data; mount -t tmpfs none /data; umount /data; echo mount ok\n\
        su ec2-user -s /bin/sh -c 'id -un; touch /tmp/f; touch /etc/x 2>/dev/null || echo denied'\n\
        script -qc 'tty' /dev/null < /dev/null || true\n\
        ln -s a /root/l; mknod /root/fifo p; rm -r /root/l; mkdir -p /usr/local/x; rm -rf /usr/games\n\
        test ! -e /usr/games; touch /usr/bin/new; echo usr ok\n\
        python3 -c 'import ssl, socket; print(\"python ok\")'\n\
        ls -ld / /tmp /root /usr/bin/perl | awk '{print $1,$3,$4,$NF}'\n\
        sleep 100 & kill $!; df / > /dev/null; ps -e | grep -c . ; ip addr 2>/dev/null | grep -c LOOPBACK,UP || true\n\
        exec 3<>/dev/tcp/127.0.0.1/1 || echo loopback refused\necho all ok\n";
    let console = world.run("i-usual", script);
    for text in ["mount ok", "ec2-user\ndenied", "usr ok", "python ok", "all ok"] {
        assert!(console.contains(text), "{text:?} in\n{console}");
    }
    assert!(console.contains("Connection refused"), "loopback is up:\n{console}");
    assert!(console.contains("drwxrwxrwt root root /tmp"), "{console}");
    assert!(console.contains("drwx------ root root /root"), "{console}");
    assert!(std::path::Path::new("/usr/games").exists(), "the host's /usr is not touched");
}

fn instances_do_not_see_each_other() {
    let world = World::new("apart");
    let secret = "#!/bin/sh\necho secret > /tmp/secret; echo secret > /var/secret; sleep 600 &\n";
    world.run("i-one", secret);
    let console =
        world.run("i-two", "#!/bin/sh\nls /tmp /var; ls /proc | grep -c '^[0-9]'; ipcs\n");
    assert!(!console.contains("secret"), "{console}");
}

fn the_probe_finds_what_these_tests_use() {
    let directory = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
    let entries = || std::fs::read_dir(directory).unwrap().flatten().map(|e| e.file_name());
    let checks = compute::namespace::probe(directory).unwrap();
    for check in &checks {
        let optional = ["/dev/net/tun", "inotify", "terminals", "online growth"]
            .contains(&check.name.as_str());
        assert!(check.ok || optional, "{check:?}");
    }
    assert!(checks.len() >= 10, "{checks:?}");
    assert!(!entries().any(|name| name.to_string_lossy().starts_with(".drover-probe")));
    // Where an overlay cannot be, it says so.
    let refused = compute::namespace::probe(std::path::Path::new("/proc")).unwrap();
    let overlay = refused.iter().find(|check| check.name.contains("overlay")).unwrap();
    assert!(!overlay.ok && overlay.fix.is_some(), "{overlay:?}");
}
