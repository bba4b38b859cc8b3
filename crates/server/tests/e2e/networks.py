"""Who may talk to whom: rules as packets between instances, and through a load balancer, show them."""

import re

from harness import WEB, wait
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


def group(ec2, name):
    return ec2.create_security_group(GroupName=name, Description=name)["GroupId"]


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
