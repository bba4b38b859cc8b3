"""Getting into instances: commands of Systems Manager, drover exec and console, EC2 Instance Connect, ssh."""

import base64
import json
import os
import signal
import subprocess
import time

from harness import DROVER, error, needs, wait

TRUST = json.dumps({"Version": "2012-10-17", "Statement": {
    "Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}})


def profile(cloud, name, *policies, inline=None):
    iam = cloud.client("iam")
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=TRUST)
    for policy in policies:
        iam.attach_role_policy(RoleName=name, PolicyArn=f"arn:aws:iam::aws:policy/{policy}")
    if inline:
        iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=json.dumps(
            {"Version": "2012-10-17", "Statement": inline}))
    iam.create_instance_profile(InstanceProfileName=name)
    iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name)
    return {"Name": name}


def wait_online(ssm, id):
    def online():
        listed = ssm.describe_instance_information(
            Filters=[{"Key": "InstanceIds", "Values": [id]}])["InstanceInformationList"]
        return listed and listed[0]["PingStatus"] == "Online" and listed[0]
    return wait(f"{id} to be a managed node", online)


def test_commands_of_systems_manager(cloud):
    ssm, s3 = cloud.client("ssm"), cloud.client("s3")
    managed = profile(cloud, "managed", "AmazonSSMManagedInstanceCore", inline={
        "Effect": "Allow", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::output/*"})
    [id] = cloud.run(IamInstanceProfile=managed)
    [alone] = cloud.run()
    node = wait_online(ssm, id)
    release = dict(line.split("=", 1) for line in open("/etc/os-release").read().splitlines() if "=" in line)
    assert node["PlatformName"] == release["NAME"].strip('"'), node
    assert node["ComputerName"].startswith("ip-172-31-"), node
    cloud.wait_state(alone, "running")
    assert len(ssm.describe_instance_information()["InstanceInformationList"]) == 1
    script = {"commands": ["true"]}
    error("InvalidInstanceId", ssm.send_command, DocumentName="AWS-RunShellScript",
          InstanceIds=[alone], Parameters=script)

    # As people do it: the AWS CLI, its waiter, the output in a bucket.
    s3.create_bucket(Bucket="output")
    sent = cloud.aws("ssm", "send-command", "--document-name", "AWS-RunShellScript", "--instance-ids", id,
                     "--parameters", 'commands=["id -un; hostname; pwd","cat /nothing; echo $AWS_SSM_INSTANCE_ID"]',
                     "--output-s3-bucket-name", "output", "--output-s3-key-prefix", "runs")
    command = sent["Command"]["CommandId"]
    cloud.aws("ssm", "wait", "command-executed", "--command-id", command, "--instance-id", id)
    done = ssm.get_command_invocation(CommandId=command, InstanceId=id)
    assert (done["Status"], done["ResponseCode"]) == ("Success", 0), done
    lines = done["StandardOutputContent"].splitlines()
    assert lines[0] == "root" and lines[1].startswith("ip-") and lines[2:] == ["/usr/bin", id], lines
    assert "/nothing" in done["StandardErrorContent"]
    place = f"runs/{command}/{id}/awsrunShellScript/0.awsrunShellScript"
    kept = s3.get_object(Bucket="output", Key=f"{place}/stdout")["Body"].read().decode()
    assert kept == done["StandardOutputContent"]
    assert "/nothing" in s3.get_object(Bucket="output", Key=f"{place}/stderr")["Body"].read().decode()

    def send(*lines, **more):
        timeout = more.pop("timeout", "3600")
        parameters = {"commands": list(lines), "executionTimeout": [timeout]}
        return ssm.send_command(DocumentName="AWS-RunShellScript", InstanceIds=[id], Parameters=parameters,
                                **more)["Command"]["CommandId"]

    def invocation(command):
        try:
            return ssm.get_command_invocation(CommandId=command, InstanceId=id)
        except ssm.exceptions.InvocationDoesNotExist:
            return {"Status": "Pending"}

    def ended(command):
        def over():
            found = invocation(command)
            return found["Status"] not in ("Pending", "InProgress", "Delayed", "Cancelling") and found
        return wait(f"command {command} to end", over)

    failed = ended(send("echo no; exit 7"))
    assert (failed["Status"], failed["ResponseCode"]) == ("Failed", 7)
    assert failed["StandardErrorContent"] == "failed to run commands: exit status 7"
    late = ended(send("echo began; sleep 600", timeout="1"))
    assert (late["StatusDetails"], late["StandardOutputContent"]) == ("ExecutionTimedOut", "began\n"), late
    long = ended(send("yes | head -c 100000"))
    assert len(long["StandardOutputContent"]) == 24000

    slow = send("sleep 601")
    count = "pgrep -xc sleep || true"
    wait("it to run", lambda: cloud.drover("exec", id, "--", "sh", "-c", count).strip() == "1")
    ssm.cancel_command(CommandId=slow)
    assert ended(slow)["Status"] == "Cancelled"
    wait("it to be gone", lambda: cloud.drover("exec", id, "--", "sh", "-c", count).strip() == "0")

    # One that is under way when the daemon dies has failed, and does not run again.
    slow = send("echo x >> /root/runs; sleep 602")
    wait("it to run", lambda: cloud.drover("exec", id, "--", "sh", "-c", "cat /root/runs || true") == "x\n")
    cloud.restart(signal.SIGKILL)
    ssm = cloud.client("ssm")
    assert ended(slow)["Status"] == "Failed"
    assert cloud.drover("exec", id, "--", "cat", "/root/runs") == "x\n"
    assert ended(send("cat /root/runs"))["StandardOutputContent"] == "x\n"
    assert len(ssm.list_commands(MaxResults=3)["Commands"]) == 3


def test_programs_inside_and_the_console(cloud):
    ec2 = cloud.client("ec2")
    [id] = cloud.run("#!/bin/sh\necho ready\nwhile read line; do echo \"got $line\"; done < /dev/console\n")
    cloud.wait_console(id, "ready")
    assert cloud.drover("exec", id, "--", "id", "-un") == "root\n"
    code = subprocess.run([DROVER, "exec", "--data-dir", cloud.data_dir, "-i", id, "--", "sh", "-c", "cat; exit 9"],
                          input=b"typed\n", capture_output=True)
    assert (code.stdout, code.returncode) == (b"typed\n", 9), code
    none = subprocess.run([DROVER, "exec", "--data-dir", cloud.data_dir, id, "--", "no-such"], capture_output=True)
    assert none.returncode == 1 and b"no-such" in none.stderr, none

    def follow():
        return subprocess.Popen([DROVER, "console", "--follow", "--data-dir", cloud.data_dir, id],
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def read_until(process, text):
        seen = b""
        while text not in seen:
            piece = os.read(process.stdout.fileno(), 4096)
            assert piece, seen
            seen += piece

    # As in AWS, typing is off until somebody turns it on.
    assert not ec2.get_serial_console_access_status()["SerialConsoleAccessEnabled"]
    console = follow()
    read_until(console, b"ready")
    console.stdin.write(b"early\n")
    console.stdin.flush()
    wait("a word", lambda: b"typing is off" in os.read(console.stderr.fileno(), 4096))
    ec2.enable_serial_console_access()
    console.stdin.write(b"keys\n")
    console.stdin.flush()
    read_until(console, b"got keys")
    console.kill()
    console.wait()
    assert "early" not in cloud.console(id)

    shot = ec2.get_console_screenshot(InstanceId=id)
    picture = base64.b64decode(shot["ImageData"])
    assert picture[:3] == b"\xff\xd8\xff" and len(picture) > 2000, len(picture)
    ec2.stop_instances(InstanceIds=[id])
    cloud.wait_state(id, "stopped")
    error("IncorrectInstanceState", ec2.get_console_screenshot, InstanceId=id)
    gone = subprocess.run([DROVER, "exec", "--data-dir", cloud.data_dir, id, "--", "true"], capture_output=True)
    assert b"is not running" in gone.stderr, gone


SSHD = """#!/bin/sh
mkdir -p /run/sshd /etc/ssh
grep -q ^sshd: /etc/passwd || echo 'sshd:x:74:74::/run/sshd:/usr/sbin/nologin' >> /etc/passwd
echo 'UsePAM no' > /etc/ssh/sshd_config
ssh-keygen -A
/usr/sbin/sshd && echo sshd is up
"""


@needs("sshd")
def test_ssh_by_a_key_of_a_minute(cloud):
    connect = cloud.client("ec2-instance-connect")
    [id] = cloud.run()
    cloud.wait_state(id, "running")
    refused = subprocess.run([DROVER, "ssh", "--data-dir", cloud.data_dir, id], capture_output=True, text=True)
    assert "no sshd runs there" in refused.stderr, refused
    [id] = cloud.run(SSHD)
    cloud.wait_console(id, "sshd is up")
    assert cloud.drover("ssh", id, "--", "hostname; id -un").splitlines()[1] == "root"
    # The key is there, and known to metadata, for a minute of its own.
    directory = f"{cloud.data_dir}/keys"
    os.makedirs(directory)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f"{directory}/k"], check=True)
    key = open(f"{directory}/k.pub").read()
    sent = connect.send_ssh_public_key(InstanceId=id, InstanceOSUser="root", SSHPublicKey=key)
    assert sent["Success"]
    error("InvalidArgsException", connect.send_ssh_public_key, InstanceId=id, InstanceOSUser="nobody-here",
          SSHPublicKey=key)
    body = key.split()[1]
    ask = "exec 3<>/dev/tcp/169.254.169.254/80; printf 'GET /latest/meta-data/managed-ssh-keys/active-keys/root HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3"
    assert body in cloud.drover("exec", id, "--", "bash", "-c", ask)
    keys = ["exec", id, "--", "cat", "/root/.ssh/authorized_keys"]
    assert body in cloud.drover(*keys)
    sent_at = time.monotonic()
    cloud.restart(signal.SIGKILL)
    wait("the keys to be taken out", lambda: body not in cloud.drover(*keys), 90)
    assert time.monotonic() - sent_at > 50
