"""Endpoints: services at private addresses of a VPC that has no other way to them."""

import json
import re

from harness import wait

# What answers in a VPC by each way: the address of sts's name, and whether calls come through.
CALLS = r"""#!/bin/bash
unset AWS_ENDPOINT_URL
n=0
ask() { curl -sS --max-time 1 --user test:test --aws-sigv4 "aws:amz:us-east-1:$1" "$2" 2>&1 | tr -d '\n' |
    grep -oE '<Arn>[^<]*|<vpcId>[^<]*|VPC endpoint policy|timed out|SSL|refused' | head -n 1 | tr ' ' -; }
while :; do
    n=$((n + 1))
    name=$(getent ahostsv4 sts.us-east-1.amazonaws.com | awk '/STREAM/ {print $1; exit}')
    sts=$(ask sts 'https://sts.us-east-1.amazonaws.com/?Action=GetCallerIdentity&Version=2011-06-15')
    own=$(ask sts 'https://OWN/?Action=GetCallerIdentity&Version=2011-06-15')
    ec2=$(ask ec2 'http://ec2.us-east-1.amazonaws.com/?Action=DescribeVpcs&Version=2016-11-15')
    echo "round $n name=$name sts=${sts:-none} own=${own:-none} ec2=${ec2:-none} end"
done
"""

ROOT = "<Arn>arn:aws:iam::123456789012:root"


class Caller:
    def __init__(self, cloud, own_name, **kwargs):
        self.cloud = cloud
        [self.id] = cloud.run(CALLS.replace("OWN", own_name), **kwargs)

    def last(self):
        rounds = re.findall(r"round (\d+) (.*) end", self.cloud.console(self.id))
        if not rounds:
            return 0, {}
        return int(rounds[-1][0]), dict(word.split("=", 1) for word in rounds[-1][1].split())

    def expect(self, **wanted):
        """A round that began from now on found all of this."""
        first, _ = self.last()
        wait(f"{wanted}, not {self.last()}", lambda: (
            (last := self.last())[0] >= first + 2 and wanted.items() <= last[1].items()), 20)


def test_services_answer_at_an_interface_endpoint(cloud):
    ec2 = cloud.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    ec2.modify_vpc_attribute(VpcId=vpc, EnableDnsHostnames={"Value": True})
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.9.1.0/24")["Subnet"]["SubnetId"]
    group = ec2.create_security_group(GroupName="endpoints", Description="endpoints", VpcId=vpc)["GroupId"]
    https = {"GroupId": group, "IpPermissions": [
        {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "IpRanges": [{"CidrIp": "10.9.0.0/16"}]}]}
    http = {"GroupId": group, "IpProtocol": "tcp", "FromPort": 80, "ToPort": 80, "CidrIp": "10.9.0.0/16"}
    ec2.authorize_security_group_ingress(**https)
    ec2.authorize_security_group_ingress(**http)

    def endpoint(service):
        made = ec2.create_vpc_endpoint(
            VpcEndpointType="Interface", VpcId=vpc, ServiceName=f"com.amazonaws.us-east-1.{service}",
            SubnetIds=[subnet], SecurityGroupIds=[group], PrivateDnsEnabled=True)["VpcEndpoint"]
        id = made["VpcEndpointId"]
        shown = wait(f"the endpoint of {service}", lambda: [
            found for found in ec2.describe_vpc_endpoints(VpcEndpointIds=[id])["VpcEndpoints"]
            if found["State"] == "available"])[0]
        [interface] = ec2.describe_network_interfaces(
            NetworkInterfaceIds=shown["NetworkInterfaceIds"])["NetworkInterfaces"]
        assert interface["InterfaceType"] == "vpc_endpoint" and interface["RequesterManaged"], interface
        return id, shown["DnsEntries"][0]["DnsName"], interface["PrivateIpAddress"]

    sts, own_name, address = endpoint("sts")
    of_ec2, _, _ = endpoint("ec2")
    caller = Caller(cloud, own_name, SubnetId=subnet)
    caller.expect(name=address, sts=ROOT, own=ROOT, ec2=f"<vpcId>{first_vpc(ec2)}")

    # Its group decides who gets there.
    ec2.revoke_security_group_ingress(**https)
    caller.expect(name=address, sts="timed-out", own="timed-out", ec2=f"<vpcId>{first_vpc(ec2)}")
    ec2.authorize_security_group_ingress(**https)
    caller.expect(sts=ROOT)

    # Its policy decides what may be asked there, of the root user, too; elsewhere it does not matter.
    only_start = {"Statement": [{"Effect": "Allow", "Principal": "*", "Action": "ec2:StartInstances", "Resource": "*"}]}
    ec2.modify_vpc_endpoint(VpcEndpointId=of_ec2, PolicyDocument=json.dumps(only_start))
    caller.expect(sts=ROOT, ec2="VPC-endpoint-policy")
    ec2.describe_vpcs()
    ec2.modify_vpc_endpoint(VpcEndpointId=of_ec2, ResetPolicy=True)
    caller.expect(ec2=f"<vpcId>{first_vpc(ec2)}")

    # The daemon that comes next answers there as well.
    cloud.restart()
    ec2 = cloud.client("ec2")
    caller.expect(name=address, sts=ROOT, own=ROOT)

    ec2.delete_vpc_endpoints(VpcEndpointIds=[sts])
    caller.expect(name="198.19.255.7", own="none")
    assert caller.last()[1]["sts"] != ROOT, caller.last()


def first_vpc(ec2):
    return ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
