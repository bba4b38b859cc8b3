"""Network interfaces of running instances: attached hot, with more addresses, routing for others, and forging."""

from harness import error, needs, wait
from nodes import SHUT, Vpc, outsider, reached


def test_a_second_interface_comes_and_goes_while_the_instance_runs(cloud):
    ec2 = cloud.client("ec2")
    vpc = Vpc(cloud, "10.0.0.0/16")
    (first, _), (second, table) = vpc.subnet("10.0.1.0/24"), vpc.subnet("10.0.2.0/24")
    ec2.create_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0", GatewayId=vpc.join_internet())
    heir = vpc.node("heir", first, "10.0.1.30")
    server = vpc.node("server", first, "10.0.1.10")
    client = vpc.node("client", first, "10.0.1.20", {"first": "10.0.1.10", "second": "10.0.2.50", "other": "10.0.2.60"})
    client.expect(first="server:10.0.1.20", second=SHUT, other=SHUT)
    interface = ec2.create_network_interface(
        SubnetId=second, PrivateIpAddress="10.0.2.50", Groups=[vpc.open])["NetworkInterface"]["NetworkInterfaceId"]
    client.expect(second=SHUT)
    attachment = ec2.attach_network_interface(
        NetworkInterfaceId=interface, InstanceId=server.id, DeviceIndex=1)["AttachmentId"]
    server.expect_address("10.0.2.50")
    client.expect(first="server:10.0.1.20", second="server:10.0.1.20", other=SHUT)
    ec2.assign_private_ip_addresses(NetworkInterfaceId=interface, PrivateIpAddresses=["10.0.2.60"])
    server.expect_address("10.0.2.60")
    client.expect(second="server:10.0.1.20", other="server:10.0.1.20")
    ec2.unassign_private_ip_addresses(NetworkInterfaceId=interface, PrivateIpAddresses=["10.0.2.60"])
    server.expect_address("10.0.2.60", there=False)
    client.expect(second="server:10.0.1.20", other=SHUT)

    # Each has groups of its own.
    [default] = ec2.describe_security_groups(Filters=[
        {"Name": "vpc-id", "Values": [vpc.id]}, {"Name": "group-name", "Values": ["default"]}])["SecurityGroups"]
    ec2.modify_network_interface_attribute(NetworkInterfaceId=interface, Groups=[default["GroupId"]])
    client.expect(first="server:10.0.1.20", second=SHUT)
    ec2.modify_network_interface_attribute(NetworkInterfaceId=interface, Groups=[vpc.open])
    client.expect(second="server:10.0.1.20")
    ec2.detach_network_interface(AttachmentId=attachment)
    server.expect_address("10.0.2.50", there=False)
    client.expect(first="server:10.0.1.20", second=SHUT)
    ec2.get_waiter("network_interface_available").wait(
        NetworkInterfaceIds=[interface], WaiterConfig={"Delay": 1})

    # Another instance has it now, and answers at its public address by it.
    elastic = ec2.allocate_address(Domain="vpc")
    ec2.associate_address(AllocationId=elastic["AllocationId"], NetworkInterfaceId=interface)
    assert reached(elastic["PublicIp"]) is None
    attachment = ec2.attach_network_interface(
        NetworkInterfaceId=interface, InstanceId=heir.id, DeviceIndex=1)["AttachmentId"]
    client.expect(first="server:10.0.1.20", second="heir:10.0.1.20")
    wait("the public address", lambda: (reached(elastic["PublicIp"]) or "").startswith("heir:198.18."))
    ec2.detach_network_interface(AttachmentId=attachment)
    ec2.get_waiter("network_interface_available").wait(
        NetworkInterfaceIds=[interface], WaiterConfig={"Delay": 1})
    assert reached(elastic["PublicIp"]) is None
    ec2.delete_network_interface(NetworkInterfaceId=interface)
    error("InvalidNetworkInterfaceID.NotFound", ec2.describe_network_interfaces, NetworkInterfaceIds=[interface])


# Says from whom datagrams come, since a forger gets no answer in any case.
HEAR = r"""
perl -MIO::Socket::INET -e '
    my $socket = IO::Socket::INET->new(LocalPort => 9, Proto => "udp") or die "bind: $!";
    print STDERR "hearing\n";
    print STDERR "heard ", $socket->peerhost, "\n" while defined $socket->recv(my $text, 9);
' 2>/dev/console &"""

# Sends in this order, over and over: when the last was heard the others had their chance.
SEND = r"""
ip address add 10.0.1.99/32 dev eth0
ip address add 10.0.1.30/32 dev eth0
perl -MIO::Socket::INET -e '
    while (1) {
        for my $source (qw(10.0.1.99 10.0.1.30 10.0.1.20)) {
            my $socket = IO::Socket::INET->new(
                LocalAddr => $source, PeerAddr => "10.0.1.10", PeerPort => 9, Proto => "udp") or die "$source: $!";
            $socket->send("hello");
        }
        select undef, undef, undef, 0.1;
    }
' 2>/dev/console &"""


def test_sources_cannot_be_forged(cloud):
    ec2 = cloud.client("ec2")
    vpc = Vpc(cloud, "10.0.0.0/16")
    subnet, _ = vpc.subnet("10.0.1.0/24")
    ec2.authorize_security_group_ingress(
        GroupId=vpc.open, IpProtocol="udp", FromPort=9, ToPort=9, CidrIp="0.0.0.0/0")
    server = vpc.node("server", subnet, "10.0.1.10", setup=HEAR)
    vpc.node("victim", subnet, "10.0.1.30")
    cloud.wait_console(server.id, "hearing")
    forger = vpc.node(
        "forger", subnet, "10.0.1.20",
        {"own": "10.0.1.10", "nobodys": "10.0.1.10@10.0.1.99", "victims": "10.0.1.10@10.0.1.30"}, setup=SEND)

    def heard():
        """From whom, in the last three rounds."""
        sources = [line.split()[1] for line in cloud.console(server.id).splitlines() if line.startswith("heard ")]
        own = [at for at, source in enumerate(sources) if source == "10.0.1.20"]
        return len(own) > 4 and set(sources[own[-4] + 1:])

    wait("the forger's own", lambda: heard() == {"10.0.1.20"})
    forger.expect(own="server:10.0.1.20", nobodys="timeout", victims="timeout")
    assert "heard 10.0.1.99" not in cloud.console(server.id)
    # Once it is its own it may be used.
    ec2.assign_private_ip_addresses(NetworkInterfaceId=forger.interface, PrivateIpAddresses=["10.0.1.99"])
    wait("the new one", lambda: heard() == {"10.0.1.20", "10.0.1.99"})
    forger.expect(own="server:10.0.1.20", nobodys="server:10.0.1.99", victims="timeout")
    ec2.unassign_private_ip_addresses(NetworkInterfaceId=forger.interface, PrivateIpAddresses=["10.0.1.99"])
    forger.expect(own="server:10.0.1.20", nobodys=SHUT, victims="timeout")
    assert "heard 10.0.1.30" not in cloud.console(server.id)


# What AWS's guide to NAT instances has one do.
MASQUERADE = """
echo 1 >/proc/sys/net/ipv4/ip_forward
nft -f - <<'NFT'
table ip nat {
    chain postrouting { type nat hook postrouting priority 100; oifname "eth0" masquerade; }
}
NFT"""


@needs("nft")
def test_an_instance_routes_for_others_once_it_is_not_checked(cloud):
    ec2 = cloud.client("ec2")
    vpc, world = Vpc(cloud, "10.0.0.0/16"), outsider(cloud)
    (public, public_table), (private, private_table) = vpc.subnet("10.0.1.0/24", public=True), vpc.subnet("10.0.2.0/24")
    ec2.create_route(RouteTableId=public_table, DestinationCidrBlock="0.0.0.0/0", GatewayId=vpc.join_internet())
    router = vpc.node("router", public, "10.0.1.10", {"world": world.public}, setup=MASQUERADE)
    node = vpc.node("node", private, "10.0.2.10", {"world": world.public, "router": "10.0.1.10"})
    ec2.create_route(RouteTableId=private_table, DestinationCidrBlock="0.0.0.0/0", NetworkInterfaceId=router.interface)
    router.expect(world=f"world:{router.public}")
    node.expect(world=SHUT, router="router:10.0.2.10")
    ec2.modify_instance_attribute(InstanceId=router.id, SourceDestCheck={"Value": False})
    node.expect(world=f"world:{router.public}")
    ec2.modify_instance_attribute(InstanceId=router.id, SourceDestCheck={"Value": True})
    node.expect(world=SHUT, router="router:10.0.2.10")
