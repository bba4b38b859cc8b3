"""A group behind a load balancer: it serves, heals itself, and outlives a zone."""

import base64
import http.client
import signal
import urllib.parse
import urllib.request

from harness import WEB, error, flags, wait


def deploy(cloud, size=3, grace=120):
    """Group, balancer, target group; returns their names."""
    ec2, elb, scaling = (cloud.client(name) for name in ("ec2", "elbv2", "autoscaling"))
    subnets = [s["SubnetId"] for s in ec2.describe_subnets()["Subnets"]]
    # The default group admits its own members, and so the balancer to the instances; users come from outside.
    ec2.authorize_security_group_ingress(GroupName="default", IpProtocol="tcp", FromPort=80, ToPort=80,
                                         CidrIp="0.0.0.0/0")
    vpc = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
    template = ec2.create_launch_template(
        LaunchTemplateName="web",
        LaunchTemplateData={
            "ImageId": cloud.image, "InstanceType": "t3.micro",
            "UserData": base64.b64encode(WEB.encode()).decode(),
        })["LaunchTemplate"]
    balancer = elb.create_load_balancer(Name="web", Subnets=subnets)["LoadBalancers"][0]
    group = elb.create_target_group(
        Name="web", Protocol="HTTP", Port=80, VpcId=vpc, HealthCheckPath="/health",
        HealthCheckIntervalSeconds=10, HealthCheckTimeoutSeconds=5,
        HealthyThresholdCount=2, UnhealthyThresholdCount=2)["TargetGroups"][0]
    elb.create_listener(
        LoadBalancerArn=balancer["LoadBalancerArn"], Protocol="HTTP", Port=80,
        DefaultActions=[{"Type": "forward", "TargetGroupArn": group["TargetGroupArn"]}])
    scaling.create_auto_scaling_group(
        AutoScalingGroupName="web", MinSize=size, MaxSize=2 * size, DesiredCapacity=size,
        LaunchTemplate={"LaunchTemplateId": template["LaunchTemplateId"], "Version": "$Latest"},
        VPCZoneIdentifier=",".join(subnets), TargetGroupARNs=[group["TargetGroupArn"]],
        HealthCheckType="ELB", HealthCheckGracePeriod=grace)
    wait_serving(cloud, group["TargetGroupArn"], size)
    return balancer, group["TargetGroupArn"]


def members(cloud):
    answer = cloud.client("autoscaling").describe_auto_scaling_groups(AutoScalingGroupNames=["web"])
    return answer["AutoScalingGroups"][0]["Instances"]


def serving(cloud, target_group):
    health = cloud.client("elbv2").describe_target_health(TargetGroupArn=target_group)
    healthy = {t["Target"]["Id"] for t in health["TargetHealthDescriptions"]
               if t["TargetHealth"]["State"] == "healthy"}
    return [m for m in members(cloud)
            if m["LifecycleState"] == "InService" and m["HealthStatus"] == "Healthy"
            and m["InstanceId"] in healthy]


def wait_serving(cloud, target_group, count, seconds=45.0):
    return wait(f"{count} instances to serve",
                lambda: (s := serving(cloud, target_group)) and len(s) == count
                and len(members(cloud)) == count and s, seconds)


def get(cloud, balancer, path="/", node=None, headers={}):
    """Status and body, through the balancer's node on this host."""
    node = node or cloud.admin("GET", f"resolve/{balancer['DNSName']}")["addresses"][0]
    host, port = node.rsplit(":", 1)
    connection = http.client.HTTPConnection(host, int(port), timeout=10)
    connection.request("GET", path, headers={"Host": balancer["DNSName"], **headers})
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


@flags("--time-scale", "60")
def test_group_serves_and_heals(cloud):
    balancer, target_group = deploy(cloud)
    ids = {m["InstanceId"] for m in members(cloud)}
    assert {m["AvailabilityZone"] for m in members(cloud)} == {"us-east-1a", "us-east-1b", "us-east-1c"}

    nodes = cloud.admin("GET", f"resolve/{balancer['DNSName']}")["addresses"]
    assert len(nodes) == 3, nodes
    seen = set()
    for turn in range(12):
        status, body = get(cloud, balancer, node=nodes[turn % 3])
        assert status == 200
        seen.add(body.split("\n")[0])
        assert "x-forwarded-for: 127." in body.lower(), body
        assert "x-amzn-trace-id: root=1-" in body.lower(), body
    assert seen == ids

    # The same through the gateway's port, by the balancer's name.
    port = urllib.parse.urlsplit(cloud.endpoint).port
    request = urllib.request.Request(f"http://127.0.0.1:{port}/", headers={"Host": f"{balancer['DNSName']}:{port}"})
    assert urllib.request.urlopen(request).read().decode().split("\n")[0] in ids

    victim = sorted(ids)[0]
    cloud.drover("kill", victim)
    wait("the victim to be replaced", lambda: victim not in {m["InstanceId"] for m in members(cloud)})
    after = {m["InstanceId"] for m in wait_serving(cloud, target_group, 3)}
    assert len(after - ids) == 1
    activities = cloud.client("autoscaling").describe_scaling_activities(AutoScalingGroupName="web")["Activities"]
    causes = " ".join(a["Cause"] for a in activities)
    assert "an unhealthy instance needing to be replaced" in causes, causes


@flags("--time-scale", "60")
def test_zone_fails_and_returns(cloud):
    balancer, target_group = deploy(cloud)
    cloud.drover("zone", "fail", "us-east-1b")
    zones = cloud.client("ec2").describe_availability_zones()["AvailabilityZones"]
    assert {z["ZoneName"]: z["State"] for z in zones}["us-east-1b"] == "unavailable"
    wait("the group to leave the zone", lambda: (
        (s := serving(cloud, target_group)) and len(s) == 3 and len(members(cloud)) == 3
        and all(m["AvailabilityZone"] != "us-east-1b" for m in s)), 45)
    assert len(cloud.admin("GET", f"resolve/{balancer['DNSName']}")["addresses"]) == 2
    for _ in range(6):
        assert get(cloud, balancer)[0] == 200
    cloud.drover("zone", "heal", "us-east-1b")
    wait("the group to come back to the zone", lambda: (
        (s := serving(cloud, target_group)) and len(s) == 3 and len(members(cloud)) == 3
        and {m["AvailabilityZone"] for m in s} == {"us-east-1a", "us-east-1b", "us-east-1c"}), 45)
    wait("three balancer nodes", lambda: len(
        cloud.admin("GET", f"resolve/{balancer['DNSName']}")["addresses"]) == 3)


@flags("--time-scale", "60")
def test_traffic_goes_on_while_the_daemon_is_gone(cloud):
    balancer, target_group = deploy(cloud)
    nodes = cloud.admin("GET", f"resolve/{balancer['DNSName']}")["addresses"]
    cloud.stop(signal.SIGKILL)
    for turn in range(9):
        assert get(cloud, balancer, node=nodes[turn % 3])[0] == 200
    cloud.start()
    wait_serving(cloud, target_group, 3)


@flags("--time-scale", "60")
def test_rules_and_errors_of_the_balancer(cloud):
    balancer, target_group = deploy(cloud, size=1)
    elb = cloud.client("elbv2")
    listener = elb.describe_listeners(LoadBalancerArn=balancer["LoadBalancerArn"])["Listeners"][0]["ListenerArn"]
    elb.create_rule(ListenerArn=listener, Priority=10,
                    Conditions=[{"Field": "path-pattern", "Values": ["/old/*"]}],
                    Actions=[{"Type": "redirect", "RedirectConfig": {
                        "StatusCode": "HTTP_301", "Path": "/new/#{path}"}}])
    elb.create_rule(ListenerArn=listener, Priority=20,
                    Conditions=[{"Field": "host-header", "Values": ["status.*"]}],
                    Actions=[{"Type": "fixed-response", "FixedResponseConfig": {
                        "StatusCode": "418", "ContentType": "text/plain", "MessageBody": "short and stout"}}])
    error("PriorityInUse", elb.create_rule, ListenerArn=listener, Priority=10,
          Conditions=[{"Field": "path-pattern", "Values": ["/x"]}],
          Actions=[{"Type": "forward", "TargetGroupArn": target_group}])
    wait("the redirect", lambda: get(cloud, balancer, "/old/page")[0] == 301)
    wait("the fixed response", lambda: get(cloud, balancer, headers={"Host": "status.example.com"})
         == (418, "short and stout"))
    empty = elb.create_target_group(Name="empty", Protocol="HTTP", Port=80,
                                    VpcId=balancer["VpcId"])["TargetGroups"][0]["TargetGroupArn"]
    elb.create_rule(ListenerArn=listener, Priority=30,
                    Conditions=[{"Field": "path-pattern", "Values": ["/empty"]}],
                    Actions=[{"Type": "forward", "TargetGroupArn": empty}])
    wait("503 from an empty group", lambda: get(cloud, balancer, "/empty")[0] == 503)
