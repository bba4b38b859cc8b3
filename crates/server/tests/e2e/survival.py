"""Nothing acknowledged is lost, and nothing is left behind."""

import os
import pathlib
import signal
import subprocess
import tempfile
import time

from harness import Cloud, DROVER, wait


def world():
    """What a cloud could leave behind on this host."""
    mounts = {line.split(" - ")[0].split(" ")[4] for line in open("/proc/self/mountinfo")}
    cgroups = {str(p) for p in pathlib.Path("/sys/fs/cgroup").glob("**/drover*")}
    links = set(os.listdir("/sys/class/net"))
    return mounts, cgroups, links


def processes(cloud):
    """Of this cloud: every process started from its daemon's program that names its directory."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            line = pathlib.Path("/proc", pid, "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if cloud.data_dir in line:
            found.append(line)
    return found


def test_down_leaves_nothing_also_after_a_crash(cloud):
    other = Cloud("namespace", data_dir=tempfile.mkdtemp(prefix="drover-test-"))
    try:
        ids = other.run("#!/bin/sh\nsleep 1000 & sleep 1000 &\n", count=3)
        for id in ids:
            other.wait_state(id, "running")
        marker = str(other.data_dir)
        other.stop(signal.SIGKILL)
    finally:
        other.down()
    mounts, cgroups, _ = world()
    assert not [m for m in mounts if marker in m], mounts
    assert not os.path.exists(marker)
    wait("its processes to be gone", lambda: not processes(other), 5)


def test_acknowledged_calls_survive_sigkill(cloud):
    ec2, ssm, dynamodb, s3 = (cloud.client(n) for n in ("ec2", "ssm", "dynamodb", "s3"))
    ssm.put_parameter(Name="/app/color", Value="blue", Type="String")
    dynamodb.create_table(TableName="items", KeySchema=[{"AttributeName": "k", "KeyType": "HASH"}],
                          AttributeDefinitions=[{"AttributeName": "k", "AttributeType": "S"}],
                          BillingMode="PAY_PER_REQUEST")
    dynamodb.get_waiter("table_exists").wait(TableName="items", WaiterConfig={"Delay": 1})
    for n in range(20):
        dynamodb.put_item(TableName="items", Item={"k": {"S": str(n)}, "n": {"N": str(n)}})
    s3.create_bucket(Bucket="things")
    s3.put_object(Bucket="things", Key="k", Body=b"x" * 100_000)
    ids = cloud.run(count=2)
    cloud.restart(signal.SIGKILL)
    ec2, ssm, dynamodb, s3 = (cloud.client(n) for n in ("ec2", "ssm", "dynamodb", "s3"))
    assert ssm.get_parameter(Name="/app/color")["Parameter"]["Value"] == "blue"
    assert dynamodb.scan(TableName="items")["Count"] == 20
    assert s3.get_object(Bucket="things", Key="k")["Body"].read() == b"x" * 100_000
    for id in ids:
        cloud.wait_state(id, "running")


def test_a_second_daemon_is_refused(cloud):
    done = subprocess.run([DROVER, "up", "--data-dir", cloud.data_dir, "--listen", "127.0.0.1:0"],
                          capture_output=True, text=True, timeout=20)
    assert done.returncode != 0 and done.stderr.startswith("drover: "), done


def test_reset_empties_the_cloud(cloud):
    ids = cloud.run("#!/bin/sh\nsleep 1000 &\n", count=2)
    for id in ids:
        cloud.wait_state(id, "running")
    began = time.monotonic()
    cloud.admin("POST", "reset")
    took = time.monotonic() - began
    assert cloud.client("ec2").describe_instances()["Reservations"] == []
    assert took < 0.5, took
