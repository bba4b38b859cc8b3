//! Programs run inside of an instance, its keys, its console's keyboard and its ports.

use std::collections::BTreeMap;
use std::time::Duration;

use compute::exec::{End, Error, Keys, Program, Script, Size};
use compute::{Driver, Spec, Storage};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::world::{World, spec, until};

pub const TESTS: &[(&str, fn())] = &[
    ("a_program_is_where_the_instance_is", a_program_is_where_the_instance_is),
    ("a_program_is_confined_like_the_instance", a_program_is_confined_like_the_instance),
    ("a_program_mounts_the_instance_s_disks", a_program_mounts_the_instance_s_disks),
    ("a_program_ends_when_let_go_of", a_program_ends_when_let_go_of),
    ("a_program_dies_with_the_instance", a_program_dies_with_the_instance),
    ("what_cannot_be_run_is_refused", what_cannot_be_run_is_refused),
    ("a_terminal_is_one", a_terminal_is_one),
    ("programs_run_after_the_daemon_came_back", programs_run_after_the_daemon_came_back),
    ("keys_are_written_as_their_user", keys_are_written_as_their_user),
    ("the_console_takes_keys", the_console_takes_keys),
    ("a_port_is_reached_from_within", a_port_is_reached_from_within),
];

fn shell(text: &str) -> Program {
    Program { arguments: ["sh", "-c", text].map(str::to_owned).to_vec(), ..Program::default() }
}

/// Output, errors and end of a program.
fn run(world: &World, id: &str, program: &Program, input: &[u8]) -> (String, String, End) {
    world.runtime.block_on(async {
        let mut running = world.driver().exec(id, program).await.unwrap();
        running.input.write_all(input).await.unwrap();
        drop(running.input);
        let (mut output, mut errors) = (String::new(), String::new());
        let end = running.end;
        let read = futures_util::future::join(
            running.output.read_to_string(&mut output),
            running.errors.read_to_string(&mut errors),
        );
        let (end, read) = futures_util::future::join(end, read).await;
        read.0.unwrap();
        read.1.unwrap();
        (output, errors, end.unwrap())
    })
}

fn a_program_is_where_the_instance_is() {
    let world = World::new("exec");
    world.boot(&spec("i-exec"));
    let text = "id -u; hostname; echo $$; cat /proc/1/comm; echo $AWS_REGION $HOME; pwd; cat; \
                echo no >&2; ls /proc/self/fd | wc -l; exit 7";
    let (output, errors, end) = run(&world, "i-exec", &shell(text), b"typed\n");
    let lines: Vec<&str> = output.lines().collect();
    assert_eq!(lines[..2], ["0", "ip-10-0-0-5.ec2.internal"], "{output}");
    assert!(lines[2].parse::<u32>().unwrap() < 1000, "a pid of its own namespace: {output}");
    assert_eq!(lines[4..7], ["us-east-1 /root", "/", "typed"], "{output}");
    // 0, 1, 2 and the directory that ls reads.
    assert_eq!(lines[7], "4", "{output}");
    assert_eq!((errors.as_str(), end), ("no\n", End::Exited(7)));

    let program = Program {
        arguments: ["sh", "-c", "/var/lib/x/script one"].map(str::to_owned).to_vec(),
        env: BTreeMap::from([("GIVEN".to_owned(), "yes".to_owned())]),
        directories: vec!["/no/such".into(), "/usr/bin".into()],
        script: Some(Script {
            path: "/var/lib/x/script".into(),
            content: "echo $1 $GIVEN $(pwd)\nkill -9 $$\n".into(),
        }),
        terminal: None,
    };
    let (output, errors, end) = run(&world, "i-exec", &program, b"");
    // The script is its shell's only work, so that shell is what the signal ends.
    assert_eq!(output, "one yes /usr/bin\n", "{errors}");
    assert!(matches!(end, End::Signalled(9) | End::Exited(137)), "{end:?}");
    let groups = run(&world, "i-exec", &shell("cat /proc/self/cgroup /proc/1/cgroup"), b"").0;
    let groups: Vec<&str> = groups.lines().filter(|line| line.contains("memory")).collect();
    assert!(groups.windows(2).all(|pair| pair[0] == pair[1]), "{groups:?}");
    world.destroy("i-exec");
    world.assert_clean();
}

fn a_program_is_confined_like_the_instance() {
    let world = World::new("confined");
    let read = "grep -E '^(Cap(Prm|Eff|Bnd)|Seccomp|Seccomp_filters):' /proc/self/status; \
                readlink /proc/self/ns/user; readlink /proc/self/ns/cgroup";
    let console = world.run("i-conf", &format!("#!/bin/sh\n{read}\n"));
    let (output, ..) = run(&world, "i-conf", &shell(read), b"");
    assert!(output.contains("Seccomp:\t2"), "{output}");
    for line in output.lines() {
        assert!(console.lines().any(|said| said == line), "{line:?} in\n{console}");
    }
}

fn a_program_ends_when_let_go_of() {
    let world = World::new("letgo");
    world.boot(&spec("i-go"));
    let before = world.processes("i-go").len();
    world.runtime.block_on(async {
        let text = "sleep 600 & sleep 600 & echo ready; wait";
        let mut running = world.driver().exec("i-go", &shell(text)).await.unwrap();
        let mut ready = [0; 6];
        running.output.read_exact(&mut ready).await.unwrap();
        assert_eq!(world.processes("i-go").len(), before + 3);
        drop(running);
    });
    until("its group is dead", || (world.processes("i-go").len() == before).then_some(()));
}

fn a_program_dies_with_the_instance() {
    let world = World::new("dies");
    world.boot(&spec("i-dies"));
    let end = world.runtime.block_on(async {
        let running = world.driver().exec("i-dies", &shell("sleep 600")).await.unwrap();
        world.driver().kill("i-dies").unwrap();
        running.end.await.unwrap()
    });
    assert_eq!(end, End::Signalled(9));
    world.wait_exit("i-dies");
    let late = world.runtime.block_on(world.driver().exec("i-dies", &shell("true")));
    assert_eq!(late.err(), Some(Error::NotRunning("i-dies".into())));
    world.destroy("i-dies");
    world.assert_clean();
}

fn what_cannot_be_run_is_refused() {
    let world = World::new("refused");
    world.boot(&spec("i-ref"));
    let refused = |program: &Program| {
        let result = world.runtime.block_on(world.driver().exec("i-ref", program));
        match result.err() {
            Some(Error::Refused(why)) => why,
            other => panic!("{program:?}: {other:?}"),
        }
    };
    let none = Program { arguments: vec!["no-such-program".into()], ..Program::default() };
    assert!(refused(&none).contains("no-such-program: No such file"));
    let lost = Program { directories: vec!["/no/such".into()], ..shell("true") };
    assert!(refused(&lost).contains("/no/such"));
    refused(&Program::default());
    let other = world.runtime.block_on(world.driver().exec("i-none", &shell("true")));
    assert_eq!(other.err(), Some(Error::NotRunning("i-none".into())));
}

fn a_terminal_is_one() {
    let world = World::new("terminal");
    world.boot(&spec("i-term"));
    let size = Size { rows: 33, columns: 101 };
    let program = Program { terminal: Some(size), ..shell("tty; stty size; read x; stty size") };
    let output = world.runtime.block_on(async {
        let mut running = world.driver().exec("i-term", &program).await.unwrap();
        let mut output = String::new();
        while !output.contains("33 101") {
            let mut part = [0; 100];
            let n = running.output.read(&mut part).await.unwrap();
            assert!(n > 0, "{output}");
            output += std::str::from_utf8(&part[..n]).unwrap();
        }
        running.resize.unwrap()(Size { rows: 40, columns: 80 });
        running.input.write_all(b"\n").await.unwrap();
        running.output.read_to_string(&mut output).await.unwrap();
        assert_eq!(running.end.await.unwrap(), End::Exited(0));
        output
    });
    assert!(output.starts_with("/dev/pts/"), "{output}");
    assert!(output.contains("40 80"), "{output}");
}

fn programs_run_after_the_daemon_came_back() {
    let mut world = World::new("back");
    world.boot(&spec("i-back"));
    let lost = world
        .runtime
        .block_on(async { world.driver().exec("i-back", &shell("sleep 600")).await.unwrap() });
    assert!(world.processes("i-back").len() > 1);
    // As when the daemon is gone: its end of everything closes.
    drop(lost);
    world.close();
    world.open();
    assert_eq!(run(&world, "i-back", &shell("echo again"), b"").0, "again\n");
    until("only init is left", || (world.processes("i-back").len() == 1).then_some(()));
}

fn keys_are_written_as_their_user() {
    let world = World::new("keys");
    world.boot(&spec("i-keys"));
    let keys = |user: &str, remove: &[&str], add: &[&str]| {
        let texts = |texts: &[&str]| texts.iter().map(|text| text.to_string()).collect();
        let keys = Keys { user: user.into(), remove: texts(remove), add: texts(add) };
        world.runtime.block_on(world.driver().authorize("i-keys", &keys))
    };
    keys("ec2-user", &[], &["ssh-ed25519 AAAA one"]).unwrap();
    keys("ec2-user", &[], &["ssh-ed25519 BBBB two"]).unwrap();
    keys("ec2-user", &["ssh-ed25519 AAAA one"], &[]).unwrap();
    let look = "cd ~ec2-user/.ssh; cat authorized_keys; stat -c '%U %a' . authorized_keys";
    let (output, ..) = run(&world, "i-keys", &shell(look), b"");
    assert_eq!(output, "ssh-ed25519 BBBB two\nec2-user 700\nec2-user 600\n");
    assert!(matches!(keys("nobody-here", &[], &["x"]), Err(Error::Refused(_))));
    // A link leads the user no further than he may go.
    let link = "cd ~ec2-user/.ssh; rm authorized_keys; touch /root/theirs; \
                ln -s /root/theirs authorized_keys";
    run(&world, "i-keys", &shell(link), b"");
    assert!(matches!(keys("ec2-user", &[], &["x"]), Err(Error::Refused(_))));
    assert_eq!(run(&world, "i-keys", &shell("cat /root/theirs"), b"").0, "");
}

fn the_console_takes_keys() {
    let world = World::new("typing");
    let script = "#!/bin/sh\nread line < /dev/console; echo got $line\n";
    world.boot(&Spec { user_data: Some(script.into()), ..spec("i-type") });
    let mut follow = world.driver().follow_console("i-type").unwrap();
    world.driver().type_on_console("i-type", b"keys\n").unwrap();
    let mut said = String::new();
    until("the answer", || {
        said += &String::from_utf8(follow()).unwrap();
        said.contains("got keys").then_some(())
    });
    // A guest that reads nothing stops nothing.
    world.driver().type_on_console("i-type", &[b'x'; 100_000]).unwrap();
    let echo = shell("echo still > /dev/console");
    run(&world, "i-type", &echo, b"");
    world.wait_console("i-type", "still");
    world.driver().stop("i-type", Duration::from_secs(5)).unwrap();
    world.wait_exit("i-type");
}

fn a_port_is_reached_from_within() {
    let world = World::new("port");
    let script = "#!/usr/bin/perl\nuse Socket;\nsocket(S, PF_INET, SOCK_STREAM, 0);\n\
                  bind(S, sockaddr_in(4000, INADDR_LOOPBACK)) or die;\nlisten(S, 1);\n\
                  syswrite(STDOUT, \"listening\\n\");\naccept(C, S);\nsyswrite(C, \"hello\");\n";
    world.boot(&Spec { user_data: Some(script.into()), ..spec("i-port") });
    world.wait_console("i-port", "listening");
    let stream = world.runtime.block_on(world.driver().connect("i-port", 4000)).unwrap();
    let mut text = String::new();
    std::io::Read::read_to_string(&mut { stream }, &mut text).unwrap();
    assert_eq!(text, "hello");
    let closed = world.runtime.block_on(world.driver().connect("i-port", 4001));
    assert_eq!(closed.err(), Some(Error::Refused("nothing listens on port 4001 of i-port".into())));
}

fn a_program_mounts_the_instance_s_disks() {
    let world = World::new("exec-mount");
    let store = world.driver().clone();
    world.runtime.block_on(store.create_volume("vol-1", 1 << 30, None, false)).unwrap();
    let disks = vec![crate::disks::volume("vol-1", "/dev/sdf")];
    world.boot(&Spec { disks, ..spec("i-exec") });
    // Also when the program itself has ended, and what it left behind mounts.
    let text =
        "mkfs.ext4 -q /dev/sdf && mount /dev/sdf /mnt && echo seen > /mnt/file && umount /mnt";
    let (output, errors, end) = run(&world, "i-exec", &shell(text), b"");
    assert_eq!(end, End::Exited(0), "{output}{errors}");
    let text = "( sleep 0.3; mount /dev/sdf /mnt ) > /dev/null 2>&1 &";
    run(&world, "i-exec", &shell(text), b"");
    until("a mount", || {
        let (output, _, _) = run(&world, "i-exec", &shell("cat /mnt/file"), b"");
        (output == "seen\n").then_some(())
    });
    let text = "umount /mnt; perl -e 'my $t = \"ext4\"; exit(syscall(430, $t, 0) != -1)'";
    assert_eq!(run(&world, "i-exec", &shell(text), b"").2, End::Exited(0));
}
