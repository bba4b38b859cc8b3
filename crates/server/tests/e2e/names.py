"""Names: what instances resolve, AWS's endpoints under their own names, and this host's questions."""

import socket
import struct

from harness import flags, wait

HOST_DNS = ("127.77.53.1", 5353)

SCRIPT = r"""#!/bin/bash
unset AWS_ENDPOINT_URL
one() { getent ahostsv4 "$1" | awk '/STREAM/ {print $1}' | sort | paste -sd,; }
echo "conf=$(paste -sd, /etc/resolv.conf)"
echo "own=$(one "$(hostname).ec2.internal")"
echo "short=$(one ip-172-31-0-77)"
echo "reverse=$(getent hosts 172.31.0.77 | awk '{print $2}')"
echo "elsewhere=$(getent hosts ip-10-0-0-5.ec2.internal || echo none)"
echo "balancer=$(one BALANCER)"
echo "aws=$(one AWS_BALANCER)"
# curl knows *.localhost by itself.
echo "page=$(curl -sS http://AWS_BALANCER/)"
begin=$(date +%s%N)
getent hosts no-such-name.invalid
echo "unknown=$? after $(( ($(date +%s%N) - begin) / 1000000 )) ms"
sign() { curl -sS --user test:test --aws-sigv4 "aws:amz:us-east-1:$1" "${@:2}"; }
echo "sts=$(sign sts 'https://sts.us-east-1.amazonaws.com/?Action=GetCallerIdentity&Version=2011-06-15' | grep -o '<Arn>[^<]*')"
echo "page80=$(sign sts 'http://sts.amazonaws.com/?Action=GetCallerIdentity&Version=2011-06-15' | grep -o '<Arn>[^<]*')"
echo "unsigned=$(curl -sS -o /dev/null -w '%{http_code} %{ssl_verify_result}' https://sts.us-east-1.amazonaws.com/)"
bucket() { sign s3 -H 'x-amz-content-sha256: UNSIGNED-PAYLOAD' "$@"; }
echo hello from inside >/tmp/greeting
echo "put=$(bucket -o /dev/null -w '%{http_code}' -T /tmp/greeting https://names-test.s3.us-east-1.amazonaws.com/greeting)"
echo "get=$(bucket https://s3.us-east-1.amazonaws.com/names-test/greeting)"
echo "foreign=$(curl -sS -o /dev/null -w '%{http_code}' -H 'Host: evil.example' https://sts.us-east-1.amazonaws.com/)"
echo "cut=$(curl -sS --cacert /dev/null https://sts.us-east-1.amazonaws.com/ 2>&1 | grep -c 'certificate')"
echo "bundle=$AWS_CA_BUNDLE $(grep -c BEGIN "$NODE_EXTRA_CA_CERTS")"
echo end of names
"""


def balancer(cloud):
    """An internal one that answers by itself."""
    ec2, elb = cloud.client("ec2"), cloud.client("elbv2")
    subnets = [s["SubnetId"] for s in ec2.describe_subnets()["Subnets"]]
    made = elb.create_load_balancer(Name="names", Subnets=subnets)["LoadBalancers"][0]
    elb.create_listener(
        LoadBalancerArn=made["LoadBalancerArn"], Protocol="HTTP", Port=80,
        DefaultActions=[{"Type": "fixed-response", "FixedResponseConfig": {
            "StatusCode": "200", "ContentType": "text/plain", "MessageBody": "by name"}}])
    elb.get_waiter("load_balancer_available").wait(
        LoadBalancerArns=[made["LoadBalancerArn"]], WaiterConfig={"Delay": 1})
    return made["DNSName"]


def ask_host(name):
    """Response code and addresses, from the server for this host."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    query = struct.pack(">6H", 7, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">2H", 1, 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(5)
        client.sendto(query, HOST_DNS)
        reply = client.recv(4096)
    _, bits, _, count, _, _ = struct.unpack(">6H", reply[:12])
    # A compressed name and an A record are 16 bytes.
    records = [reply[at:at + 16] for at in range(len(query), len(query) + 16 * count, 16)]
    return bits & 15, sorted(socket.inet_ntoa(record[-4:]) for record in records)


@flags("--dns", f"{HOST_DNS[0]}:{HOST_DNS[1]}")
def test_names_inside_and_on_this_host(cloud):
    name = balancer(cloud)
    aws_name = name.replace(".elb.localhost", ".elb.amazonaws.com")
    cloud.client("s3").create_bucket(Bucket="names-test")
    [id] = cloud.run(SCRIPT.replace("AWS_BALANCER", aws_name).replace("BALANCER", name))
    console = cloud.wait_console(id, "end of names", 60)
    said = dict(line.split("=", 1) for line in console.splitlines() if "=" in line)
    address = cloud.instance(id)["PrivateIpAddress"]

    assert said["conf"] == "nameserver 172.31.0.2,search ec2.internal,options timeout:1 attempts:2", console
    assert said["own"] == address, console
    assert said["short"] == "172.31.0.77", console
    assert said["reverse"] == "ip-172-31-0-77.ec2.internal", console
    assert said["elsewhere"] == "none", console
    nodes = said["balancer"].split(",")
    assert len(nodes) == 3 and all(node.startswith("172.31.") for node in nodes), console
    assert said["aws"] == said["balancer"], console
    assert said["page"] == "by name", console
    code, _, milliseconds, _ = said["unknown"].split()
    assert code == "2" and int(milliseconds) < 3000, console
    assert said["sts"] == said["page80"] == "<Arn>arn:aws:iam::123456789012:root", console
    assert said["unsigned"].split()[1] == "0", console
    assert said["put"] == "200" and said["get"] == "hello from inside", console
    assert said["foreign"] == "403", console
    assert said["cut"] == "1", console
    assert said["bundle"].startswith("/etc/") and said["bundle"].endswith(" 1"), console

    public = sorted(node.rsplit(":", 1)[0] for node in cloud.admin("GET", f"resolve/{name}")["addresses"])
    assert len(public) == 3
    assert ask_host(name) == ask_host(aws_name) == (0, public)
    assert ask_host("example.com") == (5, [])
    assert cloud.drover("ca").startswith("-----BEGIN CERTIFICATE-----")

    cloud.drover("zone", "fail", "us-east-1b")
    wait("the zone's node to leave the name", lambda: len(ask_host(name)[1]) == 2)


def test_the_authority_and_the_resolver_outlive_the_daemon(cloud):
    before = cloud.drover("ca")
    [id] = cloud.run("#!/bin/bash\nunset AWS_ENDPOINT_URL\nwhile :; do\n"
                     "curl -sS --max-time 5 -o /dev/null -w 'answer %{ssl_verify_result} %{time_total}\\n'"
                     " https://sts.us-east-1.amazonaws.com/ >/dev/console 2>/dev/null\nsleep 0.2\ndone &\n")
    cloud.wait_console(id, "answer 0")
    cloud.restart()
    assert cloud.drover("ca") == before
    seen = cloud.console(id).count("answer 0")
    wait("answers from the new daemon", lambda: cloud.console(id).count("answer 0") > seen)
