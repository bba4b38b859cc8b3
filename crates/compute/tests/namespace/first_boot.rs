//! User data beyond scripts, acted on by Drover's own agent.

use std::time::Duration;

use compute::{Driver, Exit, Spec};

use crate::world::{World, spec};

pub const TESTS: &[(&str, fn())] = &[
    ("cloud_config_has_its_effect", cloud_config_has_its_effect),
    ("what_cloud_config_cannot_have_is_said", what_cloud_config_cannot_have_is_said),
    ("parts_run_once_or_at_every_boot", parts_run_once_or_at_every_boot),
];

fn cloud_config_has_its_effect() {
    let world = World::new("config");
    let data = "#cloud-config\nhostname: web\nfqdn: web.example.com\ntimezone: Etc/GMT+5\n\
        users:\n- name: bob\n  groups: adm, drovers\n  shell: /bin/sh\n  sudo: ALL=(ALL) NOPASSWD:ALL\n\
        \x20 ssh_authorized_keys: [ssh-ed25519 BBBB bob]\nssh_authorized_keys: [ssh-ed25519 CCCC me]\n\
        write_files:\n- {path: /srv/a/b, content: text, permissions: '0640', owner: 'root:adm'}\n\
        - {path: /srv/a/b, encoding: b64, content: LW1vcmU=, append: true, permissions: '0640'}\n\
        - {path: /srv/c, content: x, owner: bob, defer: true}\n\
        mounts: [[tmpfs, /fast, tmpfs, 'size=1m']]\n\
        runcmd:\n- hostname; cat /etc/hostname; date +%Z; id -nG bob; cat ~bob/.ssh/authorized_keys\n\
        - [stat, -c, '%U:%G %a %n', /srv/a/b, /srv/c]\n- cat /srv/a/b; grep web /etc/hosts\n\
        - mountpoint /fast; cat /etc/sudoers.d/90-cloud-init-users\n- cat /home/ec2-user/.ssh/authorized_keys\n\
        final_message: all done by $datasource\n";
    let console = world.run("i-config", data);
    for line in [
        "web\nweb\n-05\n",
        "bob adm drovers",
        "ssh-ed25519 BBBB bob",
        "root:adm 640 /srv/a/b",
        "bob:root 644 /srv/c",
        "text-more",
        "web.example.com web",
        "/fast is a mountpoint",
        "bob ALL=(ALL) NOPASSWD:ALL",
        "ssh-ed25519 CCCC me",
        "all done by DataSourceEc2",
        "user data ended with exit status 0",
    ] {
        assert!(console.replace('\r', "").contains(line), "{line:?} in\n{console}");
    }
}

fn what_cloud_config_cannot_have_is_said() {
    let world = World::new("refused");
    let data = "#cloud-config\nsnap: {}\nusers: [{name: x, magic: y}]\ndisk_setup: {/dev/xvdf: {layout: true}}\n\
        runcmd: [echo the rest]\n";
    let console = world.run("i-refused", data);
    for line in [
        "snap: this key is not supported here",
        "x: magic: this key is not supported here",
        "partitions do not appear",
        "the rest",
        "user data ended with exit status 1",
    ] {
        assert!(console.contains(line), "{line:?} in\n{console}");
    }
}

fn parts_run_once_or_at_every_boot() {
    let world = World::new("frequency");
    let data = "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/cloud-config\n\n\
        #cloud-config\nhostname: mine\nbootcmd: [echo bootcmd >> /root/log]\nruncmd: [echo runcmd >> /root/log]\n\
        --b\nContent-Type: text/x-shellscript\n\n#!/bin/sh\necho script >> /root/log\n\
        printf '#!/bin/sh\\necho per-boot >> /root/log\\n' > /var/lib/cloud/scripts-boot\n\
        install -D -m 755 /var/lib/cloud/scripts-boot /var/lib/cloud/scripts/per-boot/x\n\
        --b\nContent-Type: text/cloud-boothook\n\n#!/bin/sh\necho hook $INSTANCE_ID >> /root/log\n--b--\n";
    let spec = Spec { user_data: Some(data.into()), ..spec("i-often") };
    world.boot(&spec);
    world.wait_console("i-often", "user data ended with exit status 0");
    let stop = || {
        world.driver().stop("i-often", Duration::from_secs(10)).unwrap();
        assert_eq!(world.wait_exit("i-often"), Exit::Asked);
    };
    stop();
    let log = || std::fs::read_to_string(world.upper("i-often").join("root/log")).unwrap();
    assert_eq!(log(), "hook i-often\nbootcmd\nscript\nruncmd\n");
    world.boot(&Spec { boot: 2, ..spec });
    crate::world::until("the second boot's end", || {
        let ends = world.console("i-often").matches("user data ended with exit status 0").count();
        (ends == 2).then_some(())
    });
    stop();
    let name = std::fs::read_to_string(world.upper("i-often").join("etc/hostname")).unwrap();
    assert_eq!(name, "mine\n");
    assert_eq!(log(), "hook i-often\nbootcmd\nscript\nruncmd\nhook i-often\nbootcmd\nper-boot\n");
}
