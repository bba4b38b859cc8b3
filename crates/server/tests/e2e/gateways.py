"""Gateways of networks: internet and NAT gateways, peerings, endpoints; each proven by real connections, and by
those that must fail."""

import signal

from harness import alone, error, wait
from networks import group, tcp
from nodes import Node, SHUT, Server, Vpc, expect, outsider, reached, state_of_route


def leads_out(ec2, table, **target):
    ec2.create_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0", **target)


def test_public_addresses_lead_in_by_an_internet_gateway(cloud):
    ec2 = cloud.client("ec2")
    vpc, world = Vpc(cloud, "10.0.0.0/16"), outsider(cloud)
    subnet, table = vpc.subnet("10.0.1.0/24", public=True)
    node = vpc.node("node", subnet, "10.0.1.10", {"world": world.public})
    automatic = node.public
    node.expect(world=SHUT)
    assert reached(automatic) is None, "there is no gateway"
    gateway = vpc.join_internet()
    node.expect(world=SHUT)
    assert reached(automatic) is None, "there is no route"
    leads_out(ec2, table, GatewayId=gateway)
    node.expect(world=f"world:{automatic}")
    host = wait("the host to reach it", lambda: reached(automatic)).removeprefix("node:")
    assert host.startswith("198.18."), host

    # Its group sees the host's address.
    def admit(call, block):
        call(GroupId=vpc.open, IpProtocol="tcp", FromPort=80, ToPort=80, CidrIp=block)

    admit(ec2.revoke_security_group_ingress, "0.0.0.0/0")
    wait("the group to refuse", lambda: reached(automatic) is None)
    admit(ec2.authorize_security_group_ingress, f"{world.public}/32")
    assert reached(automatic) is None
    admit(ec2.authorize_security_group_ingress, f"{host}/32")
    wait("the group to admit", lambda: reached(automatic) == f"node:{host}")

    # An elastic one takes its place, and leaves nothing when it goes.
    elastic = ec2.allocate_address(Domain="vpc")
    association = ec2.associate_address(AllocationId=elastic["AllocationId"], InstanceId=node.id)["AssociationId"]
    wait("the elastic address", lambda: reached(elastic["PublicIp"]) == f"node:{host}")
    assert reached(automatic) is None
    node.expect(world=f"world:{elastic['PublicIp']}")
    error("DependencyViolation", ec2.detach_internet_gateway, InternetGatewayId=gateway, VpcId=vpc.id)
    ec2.delete_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0")
    wait("answers to have no way", lambda: reached(elastic["PublicIp"]) is None)
    leads_out(ec2, table, GatewayId=gateway)
    wait("the way to be there again", lambda: reached(elastic["PublicIp"]) == f"node:{host}")
    ec2.disassociate_address(AssociationId=association)
    wait("the address to be nobody's", lambda: reached(elastic["PublicIp"]) is None)
    node.expect(world=SHUT)


@alone
def test_nat_gateways_lead_out_only(cloud):
    ec2 = cloud.client("ec2")
    vpc = Vpc(cloud, "10.0.0.0/16")
    (public, public_table), (private, private_table) = vpc.subnet("10.0.1.0/24"), vpc.subnet("10.0.2.0/24")
    leads_out(ec2, public_table, GatewayId=vpc.join_internet())
    elastic = ec2.allocate_address(Domain="vpc")
    address = elastic["PublicIp"]
    world, server = outsider(cloud, {"nat": address}), Server("192.0.2.80")
    node = vpc.node("node", private, "10.0.2.10", {"world": world.public, "host": server.address})
    node.expect(world=SHUT, host=SHUT)

    nat = ec2.create_nat_gateway(SubnetId=public, AllocationId=elastic["AllocationId"])["NatGateway"]["NatGatewayId"]
    ec2.get_waiter("nat_gateway_available").wait(NatGatewayIds=[nat], WaiterConfig={"Delay": 1})
    node.expect(world=SHUT, host=SHUT)
    leads_out(ec2, private_table, NatGatewayId=nat)
    node.expect(world=f"world:{address}", host=f"server:{server.host}")
    world.expect(nat=SHUT)
    assert reached(address) is None, "a NAT gateway lets nobody in"

    # The next daemon finds the ways, and relays again.
    cloud.restart(signal.SIGKILL)
    ec2 = cloud.client("ec2")
    node.expect(world=f"world:{address}", host=f"server:{server.host}")
    world.expect(nat=SHUT)

    # What this host does not reach fails at once.
    server.cut()
    node.expect(world=f"world:{address}", host="refused")

    # Without a way out from its own subnet it is of no use.
    ec2.delete_route(RouteTableId=public_table, DestinationCidrBlock="0.0.0.0/0")
    node.expect(world=SHUT)
    gateway = ec2.describe_internet_gateways(Filters=[{"Name": "attachment.vpc-id", "Values": [vpc.id]}])
    leads_out(ec2, public_table, GatewayId=gateway["InternetGateways"][0]["InternetGatewayId"])
    node.expect(world=f"world:{address}")
    ec2.delete_nat_gateway(NatGatewayId=nat)
    wait("the route to be a blackhole", lambda: state_of_route(ec2, private_table) == "blackhole")
    node.expect(world=SHUT)


def test_peerings_join_two_networks_and_no_third(cloud):
    ec2 = cloud.client("ec2")
    # Two of them have the same addresses.
    vpcs = {name: Vpc(cloud, f"10.{number}.0.0/16") for name, number in dict(a=0, b=1, c=2, twin=0).items()}
    own = {"a": "10.0.1.10", "b": "10.1.1.10", "c": "10.2.1.10", "twin": "10.0.1.10"}
    nodes, tables = {}, {}
    for name, vpc in vpcs.items():
        subnet, tables[name] = vpc.subnet(own[name].replace(".10", ".0/24"))
        targets = {other: address for other, address in own.items() if other not in (name, "twin")}
        nodes[name] = vpc.node(name, subnet, own[name], targets)

    def peer(one, other):
        peering = ec2.create_vpc_peering_connection(VpcId=vpcs[one].id, PeerVpcId=vpcs[other].id)
        id = peering["VpcPeeringConnection"]["VpcPeeringConnectionId"]
        return ec2.accept_vpc_peering_connection(VpcPeeringConnectionId=id) and id

    def route(name, to, peering):
        ec2.create_route(RouteTableId=tables[name], DestinationCidrBlock=f"{own[to]}/32",
                         VpcPeeringConnectionId=peering)

    nodes["a"].expect(b=SHUT, c=SHUT)
    nodes["twin"].expect(b=SHUT)
    ab, bc = peer("a", "b"), peer("b", "c")
    route("a", "b", ab)
    nodes["a"].expect(b=SHUT)
    route("b", "a", ab)
    nodes["a"].expect(b="b:10.0.1.10", c=SHUT)
    nodes["b"].expect(a="a:10.1.1.10")
    nodes["twin"].expect(b=SHUT)

    # Not through b to the third.
    route("b", "c", bc)
    route("c", "b", bc)
    route("a", "c", ab)
    route("c", "a", bc)
    nodes["b"].expect(c="c:10.1.1.10")
    nodes["a"].expect(b="b:10.0.1.10", c=SHUT)
    nodes["c"].expect(b="b:10.2.1.10", a=SHUT)

    # The way to those addresses leads to the twin from now on.
    twin = peer("b", "twin")
    ec2.replace_route(RouteTableId=tables["b"], DestinationCidrBlock="10.0.1.10/32", VpcPeeringConnectionId=twin)
    nodes["b"].expect(a=SHUT)
    route("twin", "b", twin)
    nodes["b"].expect(a="twin:10.1.1.10")
    nodes["a"].expect(b=SHUT)

    ec2.delete_vpc_peering_connection(VpcPeeringConnectionId=twin)
    wait("the route to be a blackhole", lambda: state_of_route(ec2, tables["b"], "10.0.1.10/32") == "blackhole")
    nodes["b"].expect(a=SHUT, c="c:10.1.1.10")


def test_rules_name_groups_of_a_peered_network(cloud):
    ec2 = cloud.client("ec2")
    here, there = Vpc(cloud, "10.0.0.0/16"), Vpc(cloud, "10.1.0.0/16")
    (subnet, table), (far, far_table) = here.subnet("10.0.1.0/24"), there.subnet("10.1.1.0/24")
    clients, server = group(ec2, "clients", VpcId=here.id), group(ec2, "server", VpcId=there.id)
    peering = ec2.create_vpc_peering_connection(
        VpcId=here.id, PeerVpcId=there.id)["VpcPeeringConnection"]["VpcPeeringConnectionId"]
    ec2.accept_vpc_peering_connection(VpcPeeringConnectionId=peering)
    ec2.create_route(RouteTableId=table, DestinationCidrBlock="10.1.0.0/16", VpcPeeringConnectionId=peering)
    ec2.create_route(RouteTableId=far_table, DestinationCidrBlock="10.0.0.0/16", VpcPeeringConnectionId=peering)
    there.node("server", far, "10.1.1.10", groups=[server])
    target = {"server": "10.1.1.10"}
    member = here.node("member", subnet, "10.0.1.10", target, groups=[clients])
    stranger = here.node("stranger", subnet, "10.0.1.20", target)
    expect((member, {"server": SHUT}), (stranger, {"server": SHUT}))
    from_clients = tcp(80, UserIdGroupPairs=[{"GroupId": clients}])
    ec2.authorize_security_group_ingress(GroupId=server, IpPermissions=from_clients)
    expect((member, {"server": "server:10.0.1.10"}), (stranger, {"server": SHUT}))
    # Who joins the group is let in, who leaves it is not.
    ec2.modify_instance_attribute(InstanceId=stranger.id, Groups=[clients])
    ec2.modify_instance_attribute(InstanceId=member.id, Groups=[here.open])
    expect((member, {"server": SHUT}), (stranger, {"server": "server:10.0.1.20"}))
    ec2.revoke_security_group_ingress(GroupId=server, IpPermissions=from_clients)
    expect((member, {"server": SHUT}), (stranger, {"server": SHUT}))


def test_prefix_lists_in_rules_and_routes(cloud):
    ec2 = cloud.client("ec2")
    vpc, world = Vpc(cloud, "10.0.0.0/16"), outsider(cloud)
    subnet, table = vpc.subnet("10.0.1.0/24", public=True)
    gateway = vpc.join_internet()
    listed = PrefixList(ec2)
    server = group(ec2, "server", VpcId=vpc.id)
    ec2.authorize_security_group_ingress(
        GroupId=server, IpPermissions=tcp(80, PrefixListIds=[{"PrefixListId": listed.id}]))
    vpc.node("server", subnet, "10.0.1.10", groups=[server])
    node = vpc.node("node", subnet, "10.0.1.20", {"server": "10.0.1.10", "world": world.public})
    node.expect(server=SHUT, world=SHUT)
    listed.modify(AddEntries=[{"Cidr": "10.0.1.20/32"}])
    node.expect(server="server:10.0.1.20", world=SHUT)
    ec2.create_route(RouteTableId=table, DestinationPrefixListId=listed.id, GatewayId=gateway)
    node.expect(server="server:10.0.1.20", world=SHUT)
    listed.modify(AddEntries=[{"Cidr": f"{world.public}/32"}], RemoveEntries=[{"Cidr": "10.0.1.20/32"}])
    node.expect(server=SHUT, world=f"world:{node.public}")
    listed.modify(RemoveEntries=[{"Cidr": f"{world.public}/32"}])
    node.expect(server=SHUT, world=SHUT)


class PrefixList:
    def __init__(self, ec2):
        self.ec2 = ec2
        self.id = ec2.create_managed_prefix_list(
            PrefixListName="listed", AddressFamily="IPv4", MaxEntries=5)["PrefixList"]["PrefixListId"]
        self.settled()

    def settled(self):
        def done():
            [found] = self.ec2.describe_managed_prefix_lists(PrefixListIds=[self.id])["PrefixLists"]
            return found["State"] in ("create-complete", "modify-complete") and found["Version"]
        return wait("the prefix list", done)

    def modify(self, **change):
        self.ec2.modify_managed_prefix_list(PrefixListId=self.id, CurrentVersion=self.settled(), **change)
        self.settled()


# Whether the resolver knows AWS's names, and whether S3 and DynamoDB answer under theirs.
ASKING = r"""#!/bin/bash
unset AWS_ENDPOINT_URL
found() { timeout 0.3 getent ahostsv4 s3.us-east-1.amazonaws.com >/dev/null && echo yes || echo no; }
answers() { curl -s -o /dev/null --connect-timeout 0.3 --max-time 2 "http://$1.us-east-1.amazonaws.com/" && echo yes || echo no; }
n=0
while :; do
    n=$((n + 1))
    for service in s3 dynamodb; do answers $service >/tmp/$service & done
    name=$(found)
    wait
    echo "round $n name=$name s3=$(</tmp/s3) dynamodb=$(</tmp/dynamodb)" >/dev/console
    sleep 0.05
done
"""


def test_gateway_endpoints_lead_to_services(cloud):
    ec2 = cloud.client("ec2")
    vpc = Vpc(cloud, "10.0.0.0/16")
    subnet, table = vpc.subnet("10.0.1.0/24")
    node = Node(cloud, ASKING, SubnetId=subnet, SecurityGroupIds=[vpc.open])
    node.expect(name="yes", s3="no", dynamodb="no")

    def endpoint(service):
        made = ec2.create_vpc_endpoint(
            VpcId=vpc.id, ServiceName=f"com.amazonaws.us-east-1.{service}", RouteTableIds=[table])
        return made["VpcEndpoint"]["VpcEndpointId"]

    endpoints = [endpoint("s3")]
    node.expect(s3="yes", dynamodb="no")

    # Out to DynamoDB and to nobody else, by AWS's own list of its addresses.
    [listed] = ec2.describe_managed_prefix_lists(
        Filters=[{"Name": "prefix-list-name", "Values": ["com.amazonaws.us-east-1.dynamodb"]}])["PrefixLists"]
    [everything] = ec2.describe_security_groups(GroupIds=[vpc.open])["SecurityGroups"]
    ec2.revoke_security_group_egress(GroupId=vpc.open, IpPermissions=everything["IpPermissionsEgress"])
    node.expect(s3="no")
    ec2.authorize_security_group_egress(
        GroupId=vpc.open, IpPermissions=tcp(80, PrefixListIds=[{"PrefixListId": listed["PrefixListId"]}]))
    node.expect(s3="no", dynamodb="no")
    endpoints.append(endpoint("dynamodb"))
    node.expect(s3="no", dynamodb="yes")
    ec2.delete_vpc_endpoints(VpcEndpointIds=endpoints)
    node.expect(name="yes", s3="no", dynamodb="no")

    ec2.modify_vpc_attribute(VpcId=vpc.id, EnableDnsSupport={"Value": False})
    node.expect(name="no")
    ec2.modify_vpc_attribute(VpcId=vpc.id, EnableDnsSupport={"Value": True})
    node.expect(name="yes")
