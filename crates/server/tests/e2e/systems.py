"""Real operating systems: a Debian of packages, its own systemd, cloud-init and sshd."""

import hashlib
import json
import os
import pathlib
import subprocess

from harness import DROVER, error, needs, wait


def archive():
    """A Debian root file system, made once for what defines it and kept beside the program."""
    source = pathlib.Path(__file__).parents[2] / "src/cli/bootstrap.rs"
    key = hashlib.sha256(source.read_bytes()).hexdigest()[:16]
    directory = pathlib.Path(DROVER).parents[1] / "tmp"
    directory.mkdir(exist_ok=True)
    path = directory / f"debian-{key}.tar"
    if not path.exists():
        # Made under another name: what is half made must not be taken for it.
        making = directory / f"debian-{os.getpid()}.tar"
        done = subprocess.run([DROVER, "image", "build", "debian", "--release", "12", "--archive", making],
                              capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-4000:]
        making.rename(path)
    return path


@needs("mmdebstrap")
def test_debian_boots_its_own_system(cloud):
    ec2, ssm = cloud.client("ec2"), cloud.client("ssm")
    name = "/aws/service/debian/release/12/latest/amd64"
    message = error("ParameterNotFound", ssm.get_parameter, Name=name)
    assert "drover image build debian --release 12" in message, message
    message = error("InvalidParameterValue", cloud.run, ImageId=f"resolve:ssm:{name}")
    assert "drover image build debian --release 12" in message, message

    image = cloud.drover("image", "import", "debian-12", str(archive())).strip()
    assert ssm.get_parameter(Name=name)["Parameter"]["Value"] == image
    key = ec2.create_key_pair(KeyName="k", KeyType="ed25519")
    # As templates have it today: no IMDSv1.
    [id] = cloud.run(SCRIPT, ImageId=f"resolve:ssm:{name}", InstanceType="t3.small", KeyName="k",
                     MetadataOptions={"HttpTokens": "required"})
    assert cloud.instance(id)["ImageId"] == image
    console = cloud.wait_console(id, "FIRST-BOOT-DONE", 120)
    for line in ["init of the image", "web is active", f"by cloud-init for {id}", "key is there",
                 "sshd says SSH-2.0", "endpoint http://169.254.169.254:4566", "/ stays"]:
        assert line in console, f"{line!r} is missing:\n{console}"
    # What waits for the end of the boot is asked of a later unit.
    console = cloud.wait_console(id, "STATE-", 60)
    assert "STATE-running" in console, console[-6000:]

    times = json.loads(cloud.drover("boot", id, "--json"))
    steps = [step["step"] for step in times["steps"]]
    assert steps[0] == "API call" and times["init"].endswith("/systemd"), times
    for step in ["root file system mounted", "interfaces attached", "pid 1 runs", "user data done"]:
        assert step in steps, times

    ec2.stop_instances(InstanceIds=[id])
    cloud.wait_state(id, "stopped", 30)
    # systemd went through its shutdown, and was not killed.
    assert "Powering off." in cloud.console(id), cloud.console(id)[-2000:]
    ec2.start_instances(InstanceIds=[id])
    wait("the enabled service again", lambda: cloud.console(id).count("web serves boot") == 2, 60)
    assert cloud.console(id).count("FIRST-BOOT-DONE") == 1
    assert key["KeyMaterial"].startswith("-----BEGIN")


SCRIPT = r"""#!/bin/bash
cat >/etc/systemd/system/web.service <<'UNIT'
[Service]
ExecStartPre=/bin/sh -c 'echo "web serves boot" >/dev/console'
ExecStart=/usr/bin/python3 -m http.server 80
[Install]
WantedBy=multi-user.target
UNIT
cat >/etc/systemd/system/report.service <<'UNIT'
[Service]
ExecStart=/bin/sh -c 'echo "STATE-$(systemctl is-system-running --wait) $(systemctl --failed --no-legend)" >/dev/console'
UNIT
systemctl enable --now web
echo "web is $(systemctl is-active web)"
echo "by cloud-init for $(cloud-init query instance_id)"
grep -q ssh-ed25519 /home/debian/.ssh/authorized_keys && echo "key is there"
exec 3<>/dev/tcp/127.0.0.1/22 && read -r banner <&3 && echo "sshd says $banner"
echo "endpoint $AWS_ENDPOINT_URL"
touch /kept && echo "/ stays"
systemctl start --no-block report
echo FIRST-BOOT-DONE
"""
