"""The life of real instances, as boto3 and the AWS CLI see it."""

import gzip
import signal

from harness import error, wait


def test_life(cloud):
    ec2 = cloud.client("ec2")
    [id] = cloud.run("#!/bin/sh\necho first boot of $(hostname)\n")
    assert cloud.state(id) in ("pending", "running")
    ec2.get_waiter("instance_running").wait(InstanceIds=[id], WaiterConfig={"Delay": 1})
    cloud.wait_console(id, "first boot of ip-172-31-")
    ec2.get_waiter("instance_status_ok").wait(InstanceIds=[id], WaiterConfig={"Delay": 1})

    stopped = ec2.stop_instances(InstanceIds=[id])["StoppingInstances"][0]
    assert stopped["PreviousState"]["Name"] == "running"
    assert stopped["CurrentState"]["Name"] == "stopping"
    cloud.wait_state(id, "stopped")
    assert "stopped" == cloud.aws("ec2", "describe-instances", "--instance-ids", id, "--query",
                                  "Reservations[0].Instances[0].State.Name", "--output", "text").strip()
    ec2.start_instances(InstanceIds=[id])
    cloud.wait_state(id, "running")

    ended = ec2.terminate_instances(InstanceIds=[id])["TerminatingInstances"][0]
    assert ended["CurrentState"]["Name"] == "shutting-down"
    cloud.wait_state(id, "terminated")
    error("IncorrectInstanceState", ec2.start_instances, InstanceIds=[id])


def test_stop_keeps_the_root_and_user_data_runs_once(cloud):
    ec2 = cloud.client("ec2")
    [id] = cloud.run("#!/bin/sh\ndate +%s%N >> /root/runs\necho runs: $(wc -l < /root/runs)\n"
                     "(sleep 0.2; while [ -e /root/runs ]; do echo alive $(cut -c1-9 /root/runs) >/dev/console; sleep 0.5; done) &\n")
    cloud.wait_console(id, "runs: 1")
    ec2.stop_instances(InstanceIds=[id])
    cloud.wait_state(id, "stopped")
    ec2.start_instances(InstanceIds=[id])
    cloud.wait_state(id, "running")
    ec2.get_waiter("instance_status_ok").wait(InstanceIds=[id], WaiterConfig={"Delay": 1})
    assert "runs: 2" not in cloud.console(id)


def test_user_data_may_be_compressed(cloud):
    script = gzip.compress(b"#!/bin/bash\necho unpacked by $BASH_VERSION as $(id -un)\n")
    [id] = cloud.run(script)
    assert "as root" in cloud.wait_console(id, "unpacked by")


def test_metadata_from_inside(cloud):
    [id] = cloud.run(r"""#!/bin/bash
ask() { exec 3<>/dev/tcp/169.254.169.254/80; printf "$1" >&3; cat <&3; exec 3>&-; }
token=$(ask 'PUT /latest/api/token HTTP/1.0\r\nX-aws-ec2-metadata-token-ttl-seconds: 60\r\n\r\n' | tail -n 1)
get() { ask "GET /latest/$1 HTTP/1.0\r\nX-aws-ec2-metadata-token: $token\r\n\r\n" | tail -n 1; }
for path in meta-data/instance-id meta-data/instance-type meta-data/ami-id meta-data/local-ipv4 \
            meta-data/placement/availability-zone meta-data/security-groups; do
    echo "$path=$(get $path)"
done
echo "bad=$(ask 'GET /latest/meta-data/ HTTP/1.0\r\nX-aws-ec2-metadata-token: forged\r\n\r\n' | head -n 1)"
echo "env=$AWS_ENDPOINT_URL $AWS_REGION"
echo "keys=${AWS_SECRET_ACCESS_KEY:-none}"
echo done
""")
    console = cloud.wait_console(id, "\ndone")
    it = cloud.instance(id)
    assert f"meta-data/instance-id={id}" in console
    assert "meta-data/instance-type=t3.micro" in console
    assert f"meta-data/ami-id={it['ImageId']}" in console
    assert f"meta-data/local-ipv4={it['PrivateIpAddress']}" in console
    assert f"availability-zone={it['Placement']['AvailabilityZone']}" in console
    assert "meta-data/security-groups=default" in console
    assert "401 Unauthorized" in console
    assert "env=http://169.254.169.254:4566 us-east-1" in console
    assert "keys=none" in console


def test_instances_reach_each_other_and_the_host_does_not_reach_them(cloud):
    [server] = cloud.run(
        "#!/bin/sh\nexec perl -MIO::Socket::INET -e '$s=IO::Socket::INET->new(LocalPort=>7000,Listen=>5,ReuseAddr=>1);"
        "print \"listening\\n\"; $|=1; while($c=$s->accept){print $c \"hello from inside\\n\";close $c}' >/dev/console\n")
    address = cloud.instance(server)["PrivateIpAddress"]
    [client] = cloud.run(
        f"#!/bin/bash\nfor i in $(seq 100); do exec 3<>/dev/tcp/{address}/7000 && break; sleep 0.1; done\ncat <&3\n")
    cloud.wait_console(client, "hello from inside")
    routes = open("/proc/net/route").read()
    assert "AC1F" not in routes and "1FAC" not in routes, routes


def test_the_daemon_may_die_and_instances_live_on(cloud):
    ec2 = cloud.client("ec2")
    [id] = cloud.run("#!/bin/sh\nwhile :; do date +tick-%s; sleep 0.3; done >/dev/console &\n")
    cloud.wait_console(id, "tick-")
    cloud.restart(signal.SIGKILL)
    assert cloud.state(id) == "running"
    before = cloud.console(id).count("tick-")
    wait("the instance to tick on", lambda: cloud.console(id).count("tick-") > before + 1)
    ec2 = cloud.client("ec2")
    ec2.terminate_instances(InstanceIds=[id])
    cloud.wait_state(id, "terminated")


def test_poweroff_inside_stops_or_terminates(cloud):
    [stops] = cloud.run("#!/bin/sh\npoweroff\n")
    [ends] = cloud.run("#!/bin/sh\npoweroff\n", InstanceInitiatedShutdownBehavior="terminate")
    cloud.wait_state(stops, "stopped")
    cloud.wait_state(ends, "terminated")
    assert cloud.instance(stops)["StateReason"]["Code"] == "Client.InstanceInitiatedShutdown"


def test_limits_are_those_of_the_type(cloud):
    [id] = cloud.run("#!/bin/bash\necho start\n"
                     "perl -e '$x = \"a\" x (700 << 20); print \"kept \", length $x' || echo killed by memory\necho end\n",
                     InstanceType="t3.nano")
    console = cloud.wait_console(id, "\nend")
    assert f"kept {700 << 20}" not in console
    assert "killed by memory" in console


def test_root_inside_is_nobody_outside(cloud):
    [id] = cloud.run("#!/bin/sh\nid -u\ncat /proc/self/uid_map\nmknod /tmp/disk b 8 0 2>&1\n"
                     "cut -d: -f2 /etc/shadow 2>/dev/null | grep -c '\\$' \nls /root/.ssh /home\necho end\n")
    console = cloud.wait_console(id, "\nend")
    lines = console.split("\n")
    uid_map = next(line.split() for line in lines if len(line.split()) == 3 and line.split()[0] == "0")
    assert int(uid_map[1]) > 65535 and uid_map[2] == "65536", console
    assert "Operation not permitted" in console, console
