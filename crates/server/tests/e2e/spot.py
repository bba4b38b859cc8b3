"""Spot Instances, fleets and what all costs, on real instances, as boto3, the AWS CLI and drover see them."""

import datetime
import json
import re

from harness import error, flags, wait

# Says on the console when metadata has what it had not, in the order in which that comes.
WATCH = r"""#!/bin/bash
token=$(curl -s -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 21600' http://169.254.169.254/latest/api/token)
get() { curl -s -f -H "X-aws-ec2-metadata-token: $token" "http://169.254.169.254/latest/meta-data/$1"; }
echo "life-cycle $(get instance-life-cycle)"
get spot/instance-action >/dev/null || echo "no action yet"
watch() {
    trap '' TERM
    for path in events/recommendations/rebalance spot/instance-action $1; do
        until body=$(get $path); do sleep 0.02; done
        echo "$path $body" >/dev/console
    done
}
"""
SPOT = {"MarketType": "spot"}


def request(cloud, id):
    return cloud.client("ec2").describe_spot_instance_requests(SpotInstanceRequestIds=[id])["SpotInstanceRequests"][0]


def codes_until(cloud, id, last, seconds=30.0):
    """Status codes of a Spot request, each once, in the order in which they came."""
    seen = []

    def is_last():
        code = request(cloud, id)["Status"]["Code"]
        if seen[-1:] != [code]:
            seen.append(code)
        return code == last

    wait(f"{id} to be {last}, after {seen}", is_last, seconds)
    return seen


def events(cloud, instance):
    found = json.loads(cloud.drover("spot", "events", "--json"))
    return [event for event in found if event["detail"]["instance-id"] == instance]


def seconds_between(earlier, later):
    parse = datetime.datetime.fromisoformat
    return (parse(later.replace("Z", "+00:00")) - parse(earlier.replace("Z", "+00:00"))).total_seconds()


@flags("--time-scale", "60")
def test_a_spot_instance_is_warned_two_minutes_before_it_is_taken(cloud):
    ec2 = cloud.client("ec2")
    [id] = cloud.run(WATCH + "watch spot/termination-time &\n", InstanceMarketOptions=SPOT, TagSpecifications=[
        {"ResourceType": "spot-instances-request", "Tags": [{"Key": "team", "Value": "web"}]}])
    it = cloud.instance(id)
    assert it["InstanceLifecycle"] == "spot", it
    spot = request(cloud, it["SpotInstanceRequestId"])
    assert (spot["State"], spot["Type"], spot["InstanceId"]) == ("active", "one-time", id), spot
    assert spot["Tags"] == [{"Key": "team", "Value": "web"}]
    console = cloud.wait_console(id, "no action yet")
    assert "life-cycle spot" in console
    cloud.wait_state(id, "running")
    error("UnsupportedOperation", ec2.stop_instances, InstanceIds=[id])

    taken = json.loads(cloud.drover("spot", "interrupt", id, "--after", "240", "--json"))["interrupted_at"]
    codes = codes_until(cloud, it["SpotInstanceRequestId"], "instance-terminated-by-experiment")
    assert codes == ["fulfilled", "marked-for-termination", "instance-terminated-by-experiment"], codes
    cloud.wait_state(id, "terminated")
    assert cloud.instance(id)["StateReason"]["Code"] == "Server.SpotInstanceTermination"
    assert request(cloud, it["SpotInstanceRequestId"])["State"] == "closed"
    told = re.findall(r"(events/recommendations/rebalance|spot/\S+) (\S+)\r?\n", cloud.console(id))
    assert [path for path, _ in told] == [
        "events/recommendations/rebalance", "spot/instance-action", "spot/termination-time"], told
    notice, action = json.loads(told[0][1]), json.loads(told[1][1])
    assert action == {"action": "terminate", "time": taken} and told[2][1] == taken, told
    assert abs(seconds_between(notice["noticeTime"], taken) - 240) <= 1, told

    # The same as events.
    fulfilled, rebalance, warning = events(cloud, id)
    assert fulfilled["detail-type"] == "EC2 Spot Instance Request Fulfillment"
    assert rebalance["detail-type"] == "EC2 Instance Rebalance Recommendation"
    assert warning["detail-type"] == "EC2 Spot Instance Interruption Warning"
    assert warning["detail"] == {"instance-id": id, "instance-action": "terminate"}
    assert warning["resources"] == [f"arn:aws:ec2:us-east-1:123456789012:instance/{id}"], warning
    assert rebalance["time"] == notice["noticeTime"]
    assert abs(seconds_between(warning["time"], taken) - 120) < 60, (warning, taken)


@flags("--time-scale", "60")
def test_what_is_to_stop_comes_back_when_it_is_cheap_again(cloud):
    ec2 = cloud.client("ec2")
    cloud.drover("spot", "price", "t3.micro", "--zone", "us-east-1a", "--set", "0.004")
    asked = cloud.aws(
        "ec2", "request-spot-instances", "--type", "persistent", "--instance-interruption-behavior", "stop",
        "--spot-price", "0.005", "--launch-specification", json.dumps({
            "ImageId": cloud.image, "InstanceType": "t3.micro", "Placement": {"AvailabilityZone": "us-east-1a"}}))
    [asked] = asked["SpotInstanceRequests"]
    assert (asked["State"], asked["Status"]["Code"]) == ("open", "pending-evaluation"), asked
    sir = asked["SpotInstanceRequestId"]
    ec2.get_waiter("spot_instance_request_fulfilled").wait(SpotInstanceRequestIds=[sir], WaiterConfig={"Delay": 1})
    id = request(cloud, sir)["InstanceId"]
    cloud.wait_state(id, "running")
    cloud.drover("exec", id, "--", "sh", "-c", "echo kept >/root/kept")

    cloud.drover("spot", "price", "t3.micro", "--zone", "us-east-1a", "--set", "0.006")
    codes = codes_until(cloud, sir, "instance-stopped-by-price")
    assert [code for code in codes if code != "fulfilled"] == ["marked-for-stop", "instance-stopped-by-price"], codes
    assert request(cloud, sir)["State"] == "disabled"
    cloud.wait_state(id, "stopped")
    error("IncorrectSpotRequestState", ec2.start_instances, InstanceIds=[id])
    cloud.drover("spot", "price", "t3.micro", "--zone", "us-east-1a", "--set", "0.004")
    cloud.wait_state(id, "running")
    assert "kept" in cloud.drover("exec", id, "--", "cat", "/root/kept")
    assert request(cloud, sir)["Status"]["Code"] == "fulfilled"
    ec2.cancel_spot_instance_requests(SpotInstanceRequestIds=[sir])
    ec2.terminate_instances(InstanceIds=[id])
    cloud.wait_state(id, "terminated")
    wait("its end", lambda: request(cloud, sir)["Status"]["Code"] == "instance-terminated-by-user")


def template(cloud, name="web", **data):
    data = {"ImageId": cloud.image, "InstanceType": "t3.micro", **data}
    cloud.client("ec2").create_launch_template(LaunchTemplateName=name, LaunchTemplateData=data)
    return {"LaunchTemplateName": name, "Version": "$Latest"}


def of_fleet(cloud, fleet):
    answer = cloud.client("ec2").describe_fleet_instances(FleetId=fleet)
    return {instance["InstanceId"]: instance for instance in answer["ActiveInstances"]}


@flags("--time-scale", "60")
def test_a_maintained_fleet_heals_what_is_interrupted(cloud):
    ec2 = cloud.client("ec2")
    fleet = ec2.create_fleet(
        Type="maintain", LaunchTemplateConfigs=[{"LaunchTemplateSpecification": template(cloud)}],
        SpotOptions={"AllocationStrategy": "price-capacity-optimized"},
        TargetCapacitySpecification={"TotalTargetCapacity": 2, "OnDemandTargetCapacity": 1,
                                     "DefaultTargetCapacityType": "spot"})["FleetId"]

    def whole():
        [shown] = ec2.describe_fleets(FleetIds=[fleet])["Fleets"]
        members = of_fleet(cloud, fleet)
        running = members and all(cloud.state(id) == "running" for id in members)
        return running and shown["ActivityStatus"] == "fulfilled" and shown["FulfilledCapacity"] == 2 and members

    members = wait("a whole fleet", whole)
    [spot] = [id for id, member in members.items() if "SpotInstanceRequestId" in member]
    assert cloud.instance(spot)["InstanceLifecycle"] == "spot"
    assert {"Key": "aws:ec2:fleet-id", "Value": fleet} in cloud.instance(spot)["Tags"]
    cloud.drover("spot", "interrupt", spot)
    cloud.wait_state(spot, "terminated")
    healed = wait("a fleet that is whole again", whole)
    assert spot not in healed and len(set(healed) & set(members)) == 1, (members, healed)
    history = ec2.describe_fleet_history(
        FleetId=fleet, EventType="instance-change", StartTime=datetime.datetime(2020, 1, 1))["HistoryRecords"]
    said = [(record["EventInformation"]["EventSubType"], record["EventInformation"]["InstanceId"]) for record in history]
    assert said[2:4] == [("termination_notified", spot), ("terminated", spot)], said
    assert [what for what, _ in said].count("launched") == 3, said

    deleted = cloud.aws("ec2", "delete-fleets", "--fleet-ids", fleet, "--terminate-instances")
    assert deleted["SuccessfulFleetDeletions"][0]["CurrentFleetState"] == "deleted_terminating", deleted
    for id in healed:
        cloud.wait_state(id, "terminated")


def test_an_instant_fleet_answers_what_it_launched(cloud):
    cloud.drover("spot", "price", "t3.micro", "--zone", "us-east-1a", "--set", "0.001")
    cloud.drover("spot", "price", "t3.small", "--zone", "us-east-1a", "--set", "0.009")
    over = [{"InstanceType": kind, "AvailabilityZone": "us-east-1a", "MaxPrice": "0.005"} for kind in ("t3.micro", "t3.small")]
    answer = cloud.aws(
        "ec2", "create-fleet", "--type", "instant", "--target-capacity-specification",
        "TotalTargetCapacity=2,DefaultTargetCapacityType=spot", "--spot-options", "AllocationStrategy=diversified",
        "--launch-template-configs", json.dumps([{"LaunchTemplateSpecification": template(cloud), "Overrides": over}]))
    [launched] = answer["Instances"]
    assert (launched["Lifecycle"], launched["InstanceType"]) == ("spot", "t3.micro"), answer
    assert len(launched["InstanceIds"]) == 2
    [failed] = answer["Errors"]
    assert failed["ErrorCode"] == "SpotMaxPriceTooLow", answer
    for id in launched["InstanceIds"]:
        cloud.wait_state(id, "running")


def role(cloud, name, service, *managed):
    """ARN of a role for a service, with policies that AWS manages."""
    iam = cloud.client("iam")
    trust = {"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}]}
    made = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))["Role"]
    for policy in managed:
        iam.attach_role_policy(RoleName=name, PolicyArn=f"arn:aws:iam::aws:policy/service-role/{policy}")
    return made["Arn"]


@flags("--time-scale", "60")
def test_a_spot_fleet_keeps_its_target(cloud):
    ec2 = cloud.client("ec2")
    config = {
        "IamFleetRole": role(cloud, "spot", "spotfleet.amazonaws.com", "AmazonEC2SpotFleetTaggingRole"),
        "AllocationStrategy": "capacityOptimized", "TargetCapacity": 2, "TerminateInstancesWithExpiration": True,
        "LaunchSpecifications": [
            {"ImageId": cloud.image, "InstanceType": kind, "WeightedCapacity": 1,
             "Placement": {"AvailabilityZone": "us-east-1a, us-east-1b"},
             "TagSpecifications": [{"ResourceType": "instance", "Tags": [{"Key": "team", "Value": "web"}]}]}
            for kind in ("t3.micro", "t3.small")]}
    nobody = {**config, "IamFleetRole": role(cloud, "nobody", "ec2.amazonaws.com")}
    error("InvalidSpotFleetRequestConfig", ec2.request_spot_fleet, SpotFleetRequestConfig=nobody)
    sfr = ec2.request_spot_fleet(SpotFleetRequestConfig=config)["SpotFleetRequestId"]

    def shown():
        return ec2.describe_spot_fleet_requests(SpotFleetRequestIds=[sfr])["SpotFleetRequestConfigs"][0]

    def whole():
        answer = cloud.aws("ec2", "describe-spot-fleet-instances", "--spot-fleet-request-id", sfr)
        ids = {active["InstanceId"] for active in answer["ActiveInstances"]}
        target = shown()["SpotFleetRequestConfig"]["TargetCapacity"]
        return len(ids) == target and all(cloud.state(id) == "running" for id in ids) and ids

    members = wait("a whole Spot Fleet", whole)
    assert (shown()["SpotFleetRequestState"], shown()["ActivityStatus"]) == ("active", "fulfilled"), shown()
    taken = sorted(members)[0]
    assert {"Key": "team", "Value": "web"} in cloud.instance(taken)["Tags"]
    cloud.drover("spot", "interrupt", taken)
    cloud.wait_state(taken, "terminated")
    healed = wait("a Spot Fleet that is whole again", whole)
    assert taken not in healed and len(healed & members) == 1, (members, healed)
    history = ec2.describe_spot_fleet_request_history(
        SpotFleetRequestId=sfr, EventType="instanceChange", StartTime=datetime.datetime(2020, 1, 1))["HistoryRecords"]
    said = [record["EventInformation"]["EventSubType"] for record in history
            if record["EventInformation"]["InstanceId"] == taken]
    assert said == ["launched", "termination_notified", "terminated"], said

    ec2.modify_spot_fleet_request(SpotFleetRequestId=sfr, TargetCapacity=1)
    [last] = wait("a smaller Spot Fleet", whole)
    [cancelled] = cloud.aws("ec2", "cancel-spot-fleet-requests", "--spot-fleet-request-ids", sfr,
                            "--terminate-instances")["SuccessfulFleetRequests"]
    assert cancelled["CurrentSpotFleetRequestState"] == "cancelled_terminating", cancelled
    cloud.wait_state(last, "terminated")
    wait("its end", lambda: shown()["SpotFleetRequestState"] == "cancelled")


@flags("--time-scale", "60")
def test_an_experiment_interrupts_spot_instances(cloud):
    tags = [{"ResourceType": "instance", "Tags": [{"Key": "team", "Value": "web"}]}]
    [full] = cloud.run(TagSpecifications=tags)
    [taken] = cloud.run(WATCH + "watch spot/termination-time &\n", InstanceMarketOptions=SPOT, TagSpecifications=tags)
    cloud.wait_console(taken, "no action yet")
    fis = cloud.client("fis")
    arn = role(cloud, "fis", "fis.amazonaws.com", "AWSFaultInjectionSimulatorEC2Access")
    made = fis.create_experiment_template(
        description="take Spot away", roleArn=arn, stopConditions=[{"source": "none"}], tags={"Name": "spot"},
        targets={"web": {"resourceType": "aws:ec2:spot-instance", "resourceTags": {"team": "web"},
                         "filters": [{"path": "State.Name", "values": ["running"]}], "selectionMode": "ALL"}},
        actions={"take": {"actionId": "aws:ec2:send-spot-instance-interruptions",
                          "parameters": {"durationBeforeInterruption": "PT4M"},
                          "targets": {"SpotInstances": "web"}}})["experimentTemplate"]
    fis.tag_resource(resourceArn=made["arn"], tags={"more": "1"})
    fis.untag_resource(resourceArn=made["arn"], tagKeys=["Name"])
    assert fis.list_tags_for_resource(resourceArn=made["arn"])["tags"] == {"more": "1"}
    assert [t["id"] for t in fis.list_experiment_templates()["experimentTemplates"]] == [made["id"]]
    started = cloud.aws("fis", "start-experiment", "--experiment-template-id", made["id"])["experiment"]
    assert started["state"]["status"] == "initiating", started

    def shown():
        return fis.get_experiment(id=started["id"])["experiment"]

    wait("the experiment to run", lambda: shown()["state"]["status"] == "running")
    [resolved] = fis.list_experiment_resolved_targets(experimentId=started["id"])["resolvedTargets"]
    assert resolved["targetInformation"]["arn"].endswith(taken), resolved
    sir = cloud.instance(taken)["SpotInstanceRequestId"]
    codes = codes_until(cloud, sir, "instance-terminated-by-experiment")
    assert codes == ["fulfilled", "marked-for-termination", "instance-terminated-by-experiment"], codes
    wait("the experiment to be over", lambda: shown()["state"]["status"] == "completed")
    assert shown()["actions"]["take"]["state"]["status"] == "completed", shown()
    cloud.wait_state(taken, "terminated")
    assert cloud.state(full) == "running"
    told = re.findall(r"(events/recommendations/rebalance|spot/\S+) (\S+)\r?\n", cloud.console(taken))
    assert [path for path, _ in told] == [
        "events/recommendations/rebalance", "spot/instance-action", "spot/termination-time"], told
    notice, action = json.loads(told[0][1]), json.loads(told[1][1])
    assert abs(seconds_between(notice["noticeTime"], action["time"]) - 240) <= 1, told
    # What it cannot do is said by name.
    message = error("ValidationException", fis.create_experiment_template, description="d", roleArn=arn,
                    stopConditions=[{"source": "none"}], actions={"a": {"actionId": "aws:ecs:stop-task"}})
    assert "aws:ecs:stop-task" in message and "aws:ec2:stop-instances" in message, message
    cloud.aws("fis", "delete-experiment-template", "--id", made["id"])
    error("ResourceNotFoundException", fis.get_experiment_template, id=made["id"])


def test_price_history(api):
    now = datetime.datetime.now(datetime.timezone.utc)
    pages = api.client("ec2").get_paginator("describe_spot_price_history").paginate(
        InstanceTypes=["m5.large", "c5.large"], ProductDescriptions=["Linux/UNIX"],
        StartTime=now - datetime.timedelta(days=7), PaginationConfig={"PageSize": 50})
    lines = [line for page in pages for line in page["SpotPriceHistory"]]
    pairs = {(line["InstanceType"], line["AvailabilityZone"]) for line in lines}
    assert len(pairs) == 6 and len(lines) > 100, (pairs, len(lines))
    assert len({json.dumps(line, default=str) for line in lines}) == len(lines)
    assert all(0 < float(line["SpotPrice"]) <= 0.096 for line in lines)
    times = [line["Timestamp"] for line in lines]
    assert times == sorted(times, reverse=True)
    api.drover("spot", "price", "m5.large", "--zone", "us-east-1b", "--set", "0.05")
    now = api.aws("ec2", "describe-spot-price-history", "--instance-types", "m5.large", "--availability-zone",
                  "us-east-1b", "--max-items", "1")["SpotPriceHistory"]
    assert now[0]["SpotPrice"] == "0.050000", now


@flags("--time-scale", "1000")
def test_the_bill_has_spot_beside_on_demand_and_cost_explorer_says_the_same(cloud):
    cloud.drover("spot", "price", "t3.micro", "--zone", "us-east-1a", "--set", "0.003")
    in_a = {"Placement": {"AvailabilityZone": "us-east-1a"}}
    tags = [{"ResourceType": "instance", "Tags": [{"Key": "team", "Value": "web"}]}]
    [full] = cloud.run(**in_a, TagSpecifications=tags)
    [cheap] = cloud.run(**in_a, TagSpecifications=tags, InstanceMarketOptions=SPOT)
    for id in (full, cheap):
        cloud.wait_state(id, "running")

    def per_hour():
        bill = json.loads(cloud.drover("cost", "--by", "purchase", "--json"))
        return {group["key"]: round(group["usd_per_hour"], 6) for group in bill["groups"]}

    assert per_hour().items() >= {"On Demand Instances": 0.0104, "Spot Instances": 0.003}.items(), per_hour()
    # The two are there for an hour of the cloud's time at least.
    wait("an hour's cost", lambda: json.loads(cloud.drover("cost", "--json"))["usd"] > 0.02)
    cloud.client("ec2").terminate_instances(InstanceIds=[full, cheap])
    for id in (full, cheap):
        cloud.wait_state(id, "terminated")
    wait("nothing that runs on", lambda: json.loads(cloud.drover("cost", "--json"))["usd_per_hour"] == 0)

    bill = json.loads(cloud.drover("cost", "--by", "purchase", "--json"))
    usd = {group["key"]: group["usd"] for group in bill["groups"]}
    hours = {line["purchase"]: line["quantity"] for line in bill["lines"] if line["purchase"]}
    assert abs(usd["On Demand Instances"] - 0.0104 * hours["On Demand Instances"]) < 1e-9, bill
    assert abs(usd["Spot Instances"] - 0.003 * hours["Spot Instances"]) < 1e-9, bill
    day = datetime.date.fromisoformat(bill["now"][:10])
    period = {"Start": (day - datetime.timedelta(days=32)).isoformat(),
              "End": (day + datetime.timedelta(days=2)).isoformat()}
    ce = cloud.client("ce")
    answer = ce.get_cost_and_usage(
        TimePeriod=period, Granularity="MONTHLY", Metrics=["UnblendedCost", "UsageQuantity"],
        GroupBy=[{"Type": "DIMENSION", "Key": "PURCHASE_TYPE"}])
    said = {}
    for result in answer["ResultsByTime"]:
        for group in result["Groups"]:
            amount = float(group["Metrics"]["UnblendedCost"]["Amount"])
            said[group["Keys"][0]] = said.get(group["Keys"][0], 0) + amount
    for purchase in ("On Demand Instances", "Spot Instances"):
        assert abs(said[purchase] - usd[purchase]) < 1e-8, (said, usd)
    assert abs(sum(said.values()) - bill["usd"]) < 1e-8, (said, bill["usd"])
    shown = cloud.drover("cost", "--by", "tag:team")
    total = sum(line["usd"] for line in bill["lines"] if line["tags"].get("team") == "web")
    assert re.search(rf"^web +{total:.6f} ", shown, re.M), (shown, total)
    one = cloud.aws("ce", "get-cost-and-usage", "--time-period", "Start={Start},End={End}".format(**period),
                    "--granularity", "DAILY", "--metrics", "BlendedCost", "--filter",
                    json.dumps({"Tags": {"Key": "team", "Values": ["web"]}}))
    days = sum(float(result["Total"]["BlendedCost"]["Amount"]) for result in one["ResultsByTime"])
    assert abs(days - total) < 1e-8, (days, total)


@flags("--time-scale", "60")
def test_advice_by_measure_and_in_words(cloud):
    for words, families in [("in-memory cache, 50 GiB", "rx"), ("web API", "mt"), ("CPU batch", "c"),
                            ("NoSQL on SSD", "i"), ("training", "p")]:
        advice = json.loads(cloud.drover("advise", "--workload", words, "--json"))
        assert {name[0] for name in advice["families"]} & set(families), advice
        assert all(option["instance_type"][0] in families + "t" for option in advice["options"]), advice
    cache = json.loads(cloud.drover("advise", "--workload", "in-memory cache, 50 GiB", "--json"))
    assert min(option["memory_gib"] for option in cache["options"]) >= 50, cache

    optimizer = cloud.client("compute-optimizer")
    error("OptInRequiredException", optimizer.get_ec2_instance_recommendations)
    optimizer.update_enrollment_status(status="Active")
    [idle] = cloud.run(InstanceType="m5.large")
    # More than the 5.4 MB/s that volumes of this type have for as long as one likes.
    [writer] = cloud.run("#!/bin/sh\nwhile dd if=/dev/zero of=/root/f bs=1M count=64 oflag=direct; do :; done\n",
                         InstanceType="t3.nano")

    def judged():
        found = {one["instance"]: one for one in json.loads(cloud.drover("advise", "--json"))}
        return found if len(found) == 2 else None

    found = wait("five minutes of measure", judged, 60)
    advice = found[writer]
    assert "EBSThroughputUnderprovisioned" in advice["reasons"], advice
    assert advice["volume_throughput_percent"] > 90 and advice["options"], advice
    assert "t3.nano" in cloud.drover("advise")
    advice = found[idle]
    assert advice["finding"] == "OVER_PROVISIONED", advice
    best = advice["options"][0]
    assert best["saves_usd_per_month"] > 0, advice
    arn = f"arn:aws:ec2:us-east-1:123456789012:instance/{idle}"
    [said] = cloud.aws("compute-optimizer", "get-ec2-instance-recommendations", "--instance-arns", arn)["instanceRecommendations"]
    assert said["finding"] == "OVER_PROVISIONED" and said["currentInstanceType"] == "m5.large", said
    assert said["recommendationOptions"][0]["rank"] == 1
    assert said["recommendationOptions"][0]["savingsOpportunity"]["estimatedMonthlySavings"]["value"] > 0
    measured = {metric["name"]: metric["value"] for metric in said["utilizationMetrics"]}
    assert {"CPU", "MEMORY", "NETWORK_IN_BYTES_PER_SECOND", "EBS_READ_OPS_PER_SECOND"} <= measured.keys(), said
    now = datetime.datetime.now(datetime.timezone.utc)
    points = cloud.client("cloudwatch").get_metric_statistics(
        Namespace="AWS/EC2", MetricName="EBSWriteBytes", Period=300, Statistics=["Sum"],
        Dimensions=[{"Name": "InstanceId", "Value": writer}],
        StartTime=now - datetime.timedelta(hours=1), EndTime=now + datetime.timedelta(hours=3))["Datapoints"]
    assert max(point["Sum"] for point in points) > 1e6 and points[0]["Unit"] == "Bytes", points
