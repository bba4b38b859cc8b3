"""Types that bite and zones that are full, as boto3 and the AWS CLI see them."""

import datetime
import json
import re

from harness import error, flags, wait


def test_a_zone_that_is_full_says_so(api):
    ec2 = api.client("ec2")
    api.drover("capacity", "set", "us-east-1a", "t3.micro", "1")
    in_a = {"Placement": {"AvailabilityZone": "us-east-1a"}}
    api.run(**in_a)
    message = error("InsufficientInstanceCapacity", ec2.run_instances, ImageId=api.image,
                    InstanceType="t3.micro", MinCount=1, MaxCount=1, **in_a)
    assert "choosing us-east-1b, us-east-1c." in message, message
    [elsewhere] = api.run()
    assert api.instance(elsewhere)["Placement"]["AvailabilityZone"] != "us-east-1a"
    [pool] = json.loads(api.drover("capacity", "list", "--json"))["pools"]
    assert pool == {"zone": "us-east-1a", "type": "t3.micro", "limit": 1, "used": 1, "reserved": 0, "free": 0}
    api.drover("capacity", "clear")
    api.run(**in_a)


def test_types_by_requirements(api):
    pages = api.client("ec2").get_paginator("get_instance_types_from_instance_requirements").paginate(
        ArchitectureTypes=["x86_64"], VirtualizationTypes=["hvm"], PaginationConfig={"PageSize": 10},
        InstanceRequirements={"VCpuCount": {"Min": 2, "Max": 2}, "MemoryMiB": {"Min": 8192, "Max": 8192}})
    names = [found["InstanceType"] for page in pages for found in page["InstanceTypes"]]
    assert "m5.large" in names and len(names) > 10 and names == sorted(set(names)), names
    assert "t3.large" not in names and "c5.large" not in names


@flags("--time-scale", "60")
def test_metrics_of_a_real_load_are_read_over_cbor_and_by_the_cli(cloud):
    [id] = cloud.run("#!/bin/sh\nwhile :; do :; done\n", InstanceType="t3.nano", Monitoring={"Enabled": True})
    cloudwatch = cloud.client("cloudwatch")
    dimensions = [{"Name": "InstanceId", "Value": id}]
    wanted = {"CPUUtilization", "CPUCreditUsage", "CPUCreditBalance", "CPUSurplusCreditBalance"}
    wait("its metrics", lambda: wanted <= {
        metric["MetricName"] for page in cloudwatch.get_paginator("list_metrics").paginate(
            Namespace="AWS/EC2", Dimensions=dimensions) for metric in page["Metrics"]}, 60)
    now = datetime.datetime.now(datetime.timezone.utc)
    span = {"StartTime": now - datetime.timedelta(hours=1), "EndTime": now + datetime.timedelta(hours=3)}
    points = cloudwatch.get_metric_statistics(
        Namespace="AWS/EC2", MetricName="CPUUtilization", Dimensions=dimensions, Period=60,
        Statistics=["Maximum"], **span)["Datapoints"]
    # An idle one uses hundredths; how much a busy one gets is up to what else this host does.
    assert max(point["Maximum"] for point in points) > 1 and points[0]["Unit"] == "Percent", points
    [used] = cloudwatch.get_metric_data(MetricDataQueries=[{
        "Id": "used", "MetricStat": {"Metric": {
            "Namespace": "AWS/EC2", "MetricName": "CPUCreditUsage", "Dimensions": dimensions},
            "Period": 300, "Stat": "Sum"}}], **span)["MetricDataResults"]
    assert used["StatusCode"] == "Complete" and max(used["Values"]) > 0.1, used
    # Clients see the code that the query protocol has.
    error("InvalidParameterValue", cloudwatch.get_metric_statistics, Namespace="AWS/EC2",
          MetricName="CPUUtilization", Period=61, Statistics=["Sum"], **span)
    listed = cloud.aws("cloudwatch", "list-metrics", "--namespace", "AWS/EC2", "--output", "json")
    assert any(metric["MetricName"] == "CPUCreditBalance" for metric in listed["Metrics"])


# How often a loop of a processor's own goes round in half a second.
SPIN = """#!/bin/sh
exec perl -MTime::HiRes=time -e '$| = 1; while (1) {
    my ($t, $n) = (time, 0);
    $n++ while time - $t < 0.5;
    print "rate $n.\\n";
}' >/dev/console
"""


@flags("--time-scale", "300")
def test_a_burstable_type_out_of_credits_is_held_to_its_baseline(cloud):
    ec2, watch = cloud.client("ec2"), cloud.client("cloudwatch")
    # 30 launch credits: half an hour of its processor, six seconds here; then a tenth of it.
    [id] = cloud.run(SPIN, InstanceType="t2.micro", CreditSpecification={"CpuCredits": "standard"})

    def rates():
        return [int(n) for n in re.findall(r"rate (\d+)\.", cloud.console(id))]

    def balance():
        now = datetime.datetime.now(datetime.timezone.utc)
        points = watch.get_metric_statistics(
            Namespace="AWS/EC2", MetricName="CPUCreditBalance", Period=300, Statistics=["Minimum"],
            Dimensions=[{"Name": "InstanceId", "Value": id}],
            StartTime=now - datetime.timedelta(hours=3), EndTime=now + datetime.timedelta(hours=12))
        return [point["Minimum"] for point in points["Datapoints"]]

    wait("a burst", lambda: len(rates()) >= 4)
    burst = max(rates())
    wait("it to be held back", lambda: max(rates()[-3:]) < burst / 3, 60)
    assert cloud.state(id) == "running"
    wait("the balance to be seen", lambda: any(value < 1 for value in balance()))
    cloud.aws("ec2", "modify-instance-credit-specification", "--instance-credit-specifications",
              f"InstanceId={id},CpuCredits=unlimited")
    wait("it to run again", lambda: min(rates()[-2:]) > burst / 2, 60)
    shown = ec2.describe_instance_credit_specifications(InstanceIds=[id])
    assert shown["InstanceCreditSpecifications"][0]["CpuCredits"] == "unlimited"
