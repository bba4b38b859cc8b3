"""Who gets at an instance's metadata, and who must not: containers behind it, proxies, other instances."""

import re

from harness import needs, wait
from nodes import Node

# A network of its own inside the instance, which forwards for it as a container engine does.
CONTAINER = r"""
unshare --net sleep infinity &
container=$!
until [ "$(readlink /proc/$container/ns/net)" != "$(readlink /proc/self/ns/net)" ]; do sleep 0.01; done
inside() { nsenter --net --target "$container" "$@"; }
ip link add bridge type veth peer name eth0 netns $container
ip address add 192.168.77.1/24 dev bridge
ip link set bridge up
inside ip address add 192.168.77.2/24 dev eth0
inside ip link set eth0 up
inside ip route add default via 192.168.77.1
echo 1 >/proc/sys/net/ipv4/ip_forward
nft 'table ip nat { chain postrouting { type nat hook postrouting priority 100; oifname "eth0" masquerade; }; }'
"""

# `token` asks for one; `pipelined` asks for one and at once for something else on the same connection, as what
# comes later must not carry the token along. Each says how it went.
ASK = r"""
token() {
    curl -s -o /dev/null -w '%{http_code}' --max-time 0.5 -X PUT \
        -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' http://169.254.169.254/latest/api/token
}
cat >/tmp/pipelined <<'PERL'
use IO::Socket::INET;
my $socket = IO::Socket::INET->new('169.254.169.254:80') or exit print 'unconnected';
print $socket "PUT /latest/api/token HTTP/1.1\r\nHost: x\r\nX-aws-ec2-metadata-token-ttl-seconds: 60\r\n\r\n";
select undef, undef, undef, 0.2;
print $socket "GET /latest/meta-data/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
alarm 1;
$SIG{ALRM} = sub { exit print 'timeout' };
my $answer = join '', <$socket>;
print $answer =~ /200 OK/ ? 200 : 'nothing';
PERL
"""


@needs("nft")
def test_tokens_go_no_further_than_the_hop_limit(cloud):
    ec2 = cloud.client("ec2")
    node = Node(cloud, f"""#!/bin/bash
{CONTAINER}
{ASK}
export -f token
n=0
while :; do
    n=$((n + 1))
    inside perl /tmp/pipelined >/tmp/contained-pipelined &
    inside bash -c token >/tmp/contained
    own=$(token) pipelined=$(perl /tmp/pipelined)
    name=$(inside curl -s -o /dev/null -w '%{{http_code}}' --max-time 0.5 http://169.254.169.254/latest/meta-data/)
    wait $!
    echo "round $n own=$own pipelined=$pipelined contained=$(</tmp/contained)\
 contained_pipelined=$(</tmp/contained-pipelined) without_token=$name" >/dev/console
done
""")
    own = {"own": "200", "pipelined": "200"}
    node.expect(**own, contained="000", contained_pipelined="timeout", without_token="200")
    ec2.modify_instance_metadata_options(InstanceId=node.id, HttpPutResponseHopLimit=2)
    node.expect(**own, contained="200", contained_pipelined="200", without_token="200")
    ec2.modify_instance_metadata_options(InstanceId=node.id, HttpPutResponseHopLimit=1, HttpTokens="required")
    node.expect(**own, contained="000", contained_pipelined="timeout", without_token="401")


# What `status METHOD PATH HEADERS…` of metadata was.
STATUS = r"""#!/bin/bash
status() {
    local method=$1 path=$2 headers=() header
    shift 2
    for header in "$@"; do headers+=(-H "$header"); done
    curl -s -o /tmp/body -w '%{http_code}' --max-time 2 -X "$method" "${headers[@]}" "http://169.254.169.254/latest/$path"
}
ttl() { echo "X-aws-ec2-metadata-token-ttl-seconds: $1"; }
token() { echo "X-aws-ec2-metadata-token: $1"; }
new() { status PUT api/token "$(ttl "$1")" >/dev/null; cat /tmp/body; }
"""


def test_metadata_refuses_who_has_no_token_of_its_own(cloud):
    required = {"HttpTokens": "required"}
    [one] = cloud.run(STATUS + r"""
long=$(new 60)
echo "with=$(status GET meta-data/instance-id "$(token $long)")"
echo "without=$(status GET meta-data/instance-id)"
echo "forwarded=$(status PUT api/token "$(ttl 60)" 'X-Forwarded-For: 203.0.113.7')"
echo "lasting=$(status PUT api/token)"
short=$(new 1)
echo "short=$(status GET meta-data/instance-id "$(token $short)")"
until [ "$(status GET meta-data/instance-id "$(token $short)")" != 200 ]; do sleep 0.1; done
echo "expired=$(status GET meta-data/instance-id "$(token $short)")"
echo "still=$(status GET meta-data/instance-id "$(token $long)")"
echo "token=$long"
echo end of one
""", MetadataOptions=required)
    console = cloud.wait_console(one, "end of one")
    said = dict(re.findall(r"(?m)^(\w+)=(\S+)$", console))
    token = said.pop("token")
    assert said == {"with": "200", "without": "401", "forwarded": "403", "lasting": "400", "short": "200",
                    "expired": "401", "still": "200"}, console

    [other] = cloud.run(STATUS + f"""
echo "foreign=$(status GET meta-data/instance-id "$(token {token})")"
echo "own=$(status GET meta-data/instance-id "$(token $(new 60))")"
echo end of other
""", MetadataOptions=required)
    console = cloud.wait_console(other, "end of other")
    assert "foreign=401\nown=200\n" in console.replace("\r", ""), console

    # Nobody at all, once it is off.
    [off] = cloud.run(STATUS + r"""
while :; do echo "got=$(status PUT api/token "$(ttl 60)")" >/dev/console; sleep 0.1; done
""")
    cloud.wait_console(off, "got=200")
    cloud.client("ec2").modify_instance_metadata_options(InstanceId=off, HttpEndpoint="disabled")
    wait("metadata to be off", lambda: cloud.console(off).strip().endswith("got=403"))
