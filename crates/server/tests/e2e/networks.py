"""Who may talk to whom: rules as packets between instances, and through a load balancer, show them."""

import gzip
import re

from harness import WEB, flags, wait
from nodes import Vpc, expect
from tier import get


def probing(address, port=80):
    """User data that tries to connect to an address, over and over, and says on the console how it went."""
    return f"""#!/bin/bash
n=0
while :; do
    n=$((n + 1))
    if timeout 0.3 bash -c 'exec 3<>/dev/tcp/{address}/{port}' 2>/dev/null; then echo "probe $n open"
    else echo "probe $n closed"; fi
    sleep 0.1
done"""


class Prober:
    def __init__(self, cloud, address, **kwargs):
        self.cloud = cloud
        [self.id] = cloud.run(probing(address), **kwargs)

    def last(self):
        probes = re.findall(r"probe (\d+) (open|closed)", self.cloud.console(self.id))
        return (int(probes[-1][0]), probes[-1][1]) if probes else (0, None)

    def expect(self, outcome, seconds=10.0):
        """A probe begun from now on has this outcome, and so has the next."""
        first, _ = self.last()
        wait(f"{self.id} to find it {outcome}", lambda: (
            (last := self.last())[0] >= first + 2 and last[1] == outcome), seconds)
        again, _ = self.last()
        wait("another probe", lambda: self.last()[0] > again)
        assert self.last()[1] == outcome, self.cloud.console(self.id)[-500:]


def group(ec2, name, **kwargs):
    return ec2.create_security_group(GroupName=name, Description=name, **kwargs)["GroupId"]


def tcp(port, **peer):
    return [{"IpProtocol": "tcp", "FromPort": port, "ToPort": port, **peer}]


def test_groups_filter_packets(cloud):
    ec2 = cloud.client("ec2")
    client, server = group(ec2, "client"), group(ec2, "server")
    from_client = tcp(80, UserIdGroupPairs=[{"GroupId": client}])
    ec2.authorize_security_group_ingress(GroupId=server, IpPermissions=from_client)
    [web] = cloud.run(WEB, SecurityGroupIds=[server])
    cloud.wait_console(web, "web is up")
    address = cloud.instance(web)["PrivateIpAddress"]

    member = Prober(cloud, address, SecurityGroupIds=[client])
    stranger = Prober(cloud, address)
    member.expect("open")
    stranger.expect("closed")

    # Membership counts, not the address: the same interface in another group.
    ec2.modify_instance_attribute(InstanceId=stranger.id, Groups=[client])
    stranger.expect("open")
    ec2.modify_instance_attribute(InstanceId=member.id, Groups=[server])
    member.expect("closed")

    # A block instead of a group.
    cidr = cloud.instance(member.id)["PrivateIpAddress"] + "/32"
    ec2.authorize_security_group_ingress(GroupId=server, IpPermissions=tcp(80, IpRanges=[{"CidrIp": cidr}]))
    member.expect("open")
    ec2.revoke_security_group_ingress(GroupId=server, IpPermissions=from_client)
    stranger.expect("closed")

    # What must not leave does not.
    everything = ec2.describe_security_groups(GroupIds=[server])["SecurityGroups"][0]["IpPermissionsEgress"]
    ec2.revoke_security_group_egress(GroupId=server, IpPermissions=everything)
    member.expect("closed")
    ec2.authorize_security_group_egress(GroupId=server, IpPermissions=tcp(80, IpRanges=[{"CidrIp": address + "/32"}]))
    member.expect("open")


def test_only_the_balancer_reaches_the_instances(cloud):
    ec2, elb = cloud.client("ec2"), cloud.client("elbv2")
    front, back = group(ec2, "front"), group(ec2, "back")
    ec2.authorize_security_group_ingress(GroupId=back, IpPermissions=tcp(80, UserIdGroupPairs=[{"GroupId": front}]))
    [web] = cloud.run(WEB, SecurityGroupIds=[back])
    cloud.wait_console(web, "web is up")
    stranger = Prober(cloud, cloud.instance(web)["PrivateIpAddress"])

    subnets = [s["SubnetId"] for s in ec2.describe_subnets()["Subnets"]]
    vpc = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
    balancer = elb.create_load_balancer(Name="web", Subnets=subnets, SecurityGroups=[front])["LoadBalancers"][0]
    targets = elb.create_target_group(
        Name="web", Protocol="HTTP", Port=80, VpcId=vpc, HealthCheckIntervalSeconds=5, HealthCheckTimeoutSeconds=2,
        HealthyThresholdCount=2, UnhealthyThresholdCount=2)["TargetGroups"][0]["TargetGroupArn"]
    elb.create_listener(LoadBalancerArn=balancer["LoadBalancerArn"], Protocol="HTTP", Port=80,
                        DefaultActions=[{"Type": "forward", "TargetGroupArn": targets}])
    elb.register_targets(TargetGroupArn=targets, Targets=[{"Id": web}])
    elb.get_waiter("target_in_service").wait(TargetGroupArn=targets, WaiterConfig={"Delay": 1})
    stranger.expect("closed")

    # Its own group lets nobody in yet.
    node = wait("a node", lambda: cloud.admin("GET", f"resolve/{balancer['DNSName']}")["addresses"])[0]
    try:
        get(cloud, balancer, node=node)
        raise AssertionError("the balancer's group admits nobody, but it answered")
    except ConnectionError:
        pass
    ec2.authorize_security_group_ingress(GroupId=front, IpPermissions=tcp(80, IpRanges=[{"CidrIp": "0.0.0.0/0"}]))
    wait("the balancer to admit clients", lambda: serves(cloud, balancer, node, web))


def serves(cloud, balancer, node, instance):
    try:
        status, body = get(cloud, balancer, node=node)
    except ConnectionError:
        return False
    return status == 200 and body.startswith(instance)


@flags("--time-scale", "60")
def test_flow_logs_say_what_passed_and_what_did_not(cloud):
    ec2, s3 = cloud.client("ec2"), cloud.client("s3")
    s3.create_bucket(Bucket="flows")
    [vpc] = ec2.describe_vpcs()["Vpcs"]
    log = ec2.create_flow_logs(
        ResourceIds=[vpc["VpcId"]], ResourceType="VPC", TrafficType="ALL", MaxAggregationInterval=60,
        LogDestinationType="s3", LogDestination="arn:aws:s3:::flows/vpc/")["FlowLogIds"][0]
    server = group(ec2, "server")
    [web] = cloud.run(WEB, SecurityGroupIds=[server])
    cloud.wait_console(web, "web is up")
    address = cloud.instance(web)["PrivateIpAddress"]
    prober = Prober(cloud, address)
    prober.expect("closed")
    own = cloud.instance(prober.id)["PrivateIpAddress"]
    wait("the rejected packets", lambda: f"{own} {address} " in lines(s3, "REJECT"), 30)
    ec2.authorize_security_group_ingress(GroupId=server, IpPermissions=tcp(80, IpRanges=[{"CidrIp": own + "/32"}]))
    prober.expect("open")
    accepted = wait("the accepted packets", lambda: [
        line for line in lines(s3, "ACCEPT").splitlines() if f"{own} {address} " in line], 30)
    fields = accepted[0].split()
    assert (fields[0], fields[1], fields[6], fields[7], fields[13]) == ("2", "123456789012", "80", "6", "OK"), fields
    assert int(fields[8]) >= 2 and int(fields[9]) >= 80 and int(fields[11]) >= int(fields[10]), fields
    assert ec2.describe_flow_logs(FlowLogIds=[log])["FlowLogs"][0]["DeliverLogsStatus"] == "SUCCESS"
    assert "169.254." not in lines(s3, "")
    ec2.delete_flow_logs(FlowLogIds=[log])


def lines(s3, action):
    """Every line that was delivered and has this word in it."""
    found = []
    for item in s3.list_objects_v2(Bucket="flows", Prefix="vpc/AWSLogs/123456789012/vpcflowlogs/us-east-1/").get("Contents", []):
        text = gzip.decompress(s3.get_object(Bucket="flows", Key=item["Key"])["Body"].read()).decode()
        found += [line for line in text.splitlines()[1:] if action in line]
    return "\n".join(found)


def test_acls_are_asked_in_order_and_both_ways(cloud):
    ec2 = cloud.client("ec2")
    vpc = Vpc(cloud, "10.0.0.0/16")
    (near, _), (far, _) = vpc.subnet("10.0.1.0/24"), vpc.subnet("10.0.2.0/24")
    vpc.node("server", far, "10.0.2.10")
    client = vpc.node("client", near, "10.0.1.10", {"server": "10.0.2.10"})
    neighbour = vpc.node("neighbour", far, "10.0.2.20", {"server": "10.0.2.10"})
    acl = ec2.create_network_acl(VpcId=vpc.id)["NetworkAcl"]["NetworkAclId"]

    def entry(number, action, first, last, egress=False):
        ec2.create_network_acl_entry(
            NetworkAclId=acl, RuleNumber=number, RuleAction=action, Protocol="6", Egress=egress,
            CidrBlock="10.0.1.0/24", PortRange={"From": first, "To": last})

    def associate(acl):
        """In place of the one that the far subnet has; which is that."""
        [before] = ec2.describe_network_acls(
            Filters=[{"Name": "association.subnet-id", "Values": [far]}])["NetworkAcls"]
        [association] = [a for a in before["Associations"] if a["SubnetId"] == far]
        ec2.replace_network_acl_association(
            AssociationId=association["NetworkAclAssociationId"], NetworkAclId=acl)
        return before["NetworkAclId"]

    open, shut = {"server": "server:10.0.1.10"}, {"server": "timeout"}
    within = neighbour, {"server": "server:10.0.2.20"}
    expect((client, open), within)
    default = associate(acl)
    expect((client, shut), within)
    entry(100, "allow", 80, 80)
    # In but not back: answers go to a port of the client's choice.
    expect((client, shut), within)
    entry(100, "allow", 1024, 32767, egress=True)
    client.expect(**shut)
    entry(110, "allow", 32768, 65535, egress=True)
    client.expect(**open)
    entry(90, "deny", 1, 1000)
    expect((client, shut), within)
    entry(80, "allow", 80, 80)
    client.expect(**open)
    ec2.delete_network_acl_entry(NetworkAclId=acl, RuleNumber=80, Egress=False)
    client.expect(**shut)
    assert associate(default) == acl
    client.expect(**open)
