"""Instances that serve and probe all the time, and networks to put them in: what shows who reaches whom."""

import re
import socket
import subprocess
import sys
import time

from harness import wait

# Serves its name and who asks at port 80, and asks its targets (NAME=ADDRESS or NAME=ADDRESS@SOURCE) over
# and over. A round's line says what each answered, or `refused`, or `timeout`; and which addresses the
# instance has. Needs nothing but Debian's perl-base.
NODE = r"""#!/bin/bash
SETUP
exec perl - NAME TARGETS >/dev/console 2>&1 <<'PERL'
use strict;
use IO::Socket::INET;
$| = 1;
$SIG{PIPE} = 'IGNORE';
my $name = shift;
my $server = IO::Socket::INET->new(LocalPort => 80, Listen => 64, ReuseAddr => 1) or die "listen: $!";
if (!fork) {
    while (1) {
        my $client = $server->accept or next;
        print $client "$name:", $client->peerhost, "\n";
    }
}
close $server;
my $round = 0;
while (1) {
    my (%open, %outcome);
    $round++;
    for (@ARGV) {
        my ($target, $address, $source) = /^(.+)=([^@]+)(?:@(.+))?$/;
        my @from = $source ? (LocalAddr => $source) : ();
        my $socket = IO::Socket::INET->new(PeerAddr => $address, PeerPort => 80, Blocking => 0, @from);
        if ($socket) { $open{$target} = $socket } else { $outcome{$target} = 'refused' }
    }
    my $left = 0.25;
    while (%open && $left > 0) {
        my $ready = '';
        vec($ready, fileno $_, 1) = 1 for values %open;
        (my $count, $left) = select($ready, undef, undef, $left);
        for (grep { vec($ready, fileno $open{$_}, 1) } keys %open) {
            my $read = sysread $open{$_}, my $answer, 64;
            $outcome{$_} = $read ? $answer =~ s/\n//r : 'refused';
            delete $open{$_};
        }
    }
    $outcome{$_} = 'timeout' for keys %open;
    open my $routes, '<', '/proc/net/fib_trie' or die "fib_trie: $!";
    my (%own, $leaf);
    while (<$routes>) {
        $leaf = $1 if /\|-- (\S+)/;
        $own{$leaf} = 1 if m{/32 host LOCAL};
    }
    print join(' ', "round $round", map("$_=$outcome{$_}", sort keys %outcome), 'has=' . join ',', sort keys %own), "\n";
    select undef, undef, undef, 0.05;
}
PERL
"""

SHUT = ("refused", "timeout")


def node(cloud, name, targets={}, setup="", **kwargs):
    """`targets`: address, or address@source, by name. `setup`: what the shell does first."""
    words = " ".join(f"{target}={address}" for target, address in targets.items())
    return Node(cloud, NODE.replace("SETUP", setup).replace("NAME", name).replace("TARGETS", words), **kwargs)


class Node:
    """An instance whose user data writes such lines."""

    def __init__(self, cloud, script, **kwargs):
        self.cloud = cloud
        [self.id] = cloud.run(script, **kwargs)

    def rounds(self):
        """What each round found, by its number."""
        found = re.findall(r"round (\d+) (.*)\n", self.cloud.console(self.id))
        return {int(number): dict(word.split("=", 1) for word in words.split()) for number, words in found}

    def expect(self, **outcomes):
        """Two rounds on end, begun from now on, have these outcomes. Of several it is any."""
        expect((self, outcomes))

    def expect_address(self, address, there=True):
        """That the instance itself has it, or has not."""
        def as_expected():
            rounds = list(self.rounds().values())
            return rounds and (address in rounds[-1]["has"].split(",")) == there

        wait(f"{self.id} to have {address}: {there}", as_expected, 10)

    @property
    def interface(self):
        """Id of the primary one."""
        return self.cloud.instance(self.id)["NetworkInterfaces"][0]["NetworkInterfaceId"]

    @property
    def public(self):
        return self.cloud.instance(self.id).get("PublicIpAddress")


def expect(*expected):
    """What each node finds, as `Node.expect` has it, all from the same moment on."""
    begun = {node.id: max(node.rounds(), default=0) + 2 for node, _ in expected}
    deadline = time.monotonic() + 10
    for node, outcomes in expected:
        def agrees(found):
            return all(found.get(target) in ((o,) if isinstance(o, str) else o) for target, o in outcomes.items())

        while True:
            since = [found for number, found in node.rounds().items() if number >= begun[node.id]]
            if len(since) >= 2 and agrees(since[-1]) and agrees(since[-2]):
                break
            assert time.monotonic() < deadline, f"no {outcomes}: {node.cloud.console(node.id)[-500:]}"
            time.sleep(0.05)


def reached(address):
    """What a node says to this host, or None."""
    try:
        with socket.create_connection((address, 80), timeout=0.4) as connection:
            return connection.recv(64).decode().strip()
    except OSError:
        return None


class Vpc:
    """A VPC whose group `open` admits everyone to port 80; all of it in one zone."""

    def __init__(self, cloud, block):
        self.cloud, self.ec2 = cloud, cloud.client("ec2")
        self.id = self.ec2.create_vpc(CidrBlock=block)["Vpc"]["VpcId"]
        self.open = self.ec2.create_security_group(
            GroupName="open", Description="open", VpcId=self.id)["GroupId"]
        self.ec2.authorize_security_group_ingress(
            GroupId=self.open, IpProtocol="tcp", FromPort=80, ToPort=80, CidrIp="0.0.0.0/0")
        self.subnets = {}

    def subnet(self, block, public=False):
        """A subnet with a table of routes of its own: their ids."""
        subnet = self.ec2.create_subnet(
            VpcId=self.id, CidrBlock=block, AvailabilityZone="us-east-1a")["Subnet"]["SubnetId"]
        if public:
            self.ec2.modify_subnet_attribute(SubnetId=subnet, MapPublicIpOnLaunch={"Value": True})
        table = self.ec2.create_route_table(VpcId=self.id)["RouteTable"]["RouteTableId"]
        self.ec2.associate_route_table(SubnetId=subnet, RouteTableId=table)
        return subnet, table

    def join_internet(self):
        gateway = self.ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
        self.ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=self.id)
        return gateway

    def node(self, name, subnet, address, targets={}, groups=None, **kwargs):
        return node(self.cloud, name, targets, SubnetId=subnet, PrivateIpAddress=address,
                    SecurityGroupIds=groups or [self.open], **kwargs)


def outsider(cloud, targets={}):
    """A node in the default VPC, with a public address, that admits everyone."""
    ec2 = cloud.client("ec2")
    group = ec2.create_security_group(GroupName="world", Description="world")["GroupId"]
    ec2.authorize_security_group_ingress(
        GroupId=group, IpProtocol="tcp", FromPort=80, ToPort=80, CidrIp="0.0.0.0/0")
    return node(cloud, "world", targets, SecurityGroupIds=[group])


def state_of_route(ec2, table, block="0.0.0.0/0"):
    routes = ec2.describe_route_tables(RouteTableIds=[table])["RouteTables"][0]["Routes"]
    return next(route["State"] for route in routes if route.get("DestinationCidrBlock") == block)


class Server:
    """One in a network of its own that this host, which must be `alone`, reaches by a link."""

    # Ends with this process.
    SERVE = """import os, socket, sys, threading
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
server = socket.create_server(("", 80))
print("listening", flush=True)
while True:
    client, (peer, _) = server.accept()
    with client:
        client.sendall(f"server:{peer}".encode())
"""

    def __init__(self, address):
        self.address, self.host = address, address.rsplit(".", 1)[0] + ".1"
        self.process = subprocess.Popen(
            ["unshare", "--net", sys.executable, "-c", self.SERVE], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.process.stdout.readline() == b"listening\n"
        pid = str(self.process.pid)
        for command in (
                ["ip", "link", "add", "server", "type", "veth", "peer", "name", "host", "netns", pid],
                ["ip", "address", "add", f"{self.host}/24", "dev", "server"],
                ["ip", "link", "set", "server", "up"],
                ["nsenter", "--net", "--target", pid, "ip", "address", "add", f"{address}/24", "dev", "host"],
                ["nsenter", "--net", "--target", pid, "ip", "link", "set", "host", "up"]):
            subprocess.run(command, check=True)

    def cut(self):
        self.process.kill()
        self.process.wait()
        subprocess.run(["ip", "link", "delete", "server"], check=True)
