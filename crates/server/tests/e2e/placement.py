"""Placement groups and capacity reservations with instances in them, by boto3 and the AWS CLI."""

import json

from harness import error

NANO = {"InstanceType": "t3.nano"}
IN_A = {"Placement": {"AvailabilityZone": "us-east-1a"}}
ASK = r"""exec 3<>/dev/tcp/169.254.169.254/80
printf 'GET /latest/meta-data/placement/%s HTTP/1.0\r\n\r\n' "$0" >&3; tail -n 1 <&3"""


def test_a_spread_group_refuses_the_eighth_until_one_stops(cloud):
    ec2 = cloud.client("ec2")
    made = cloud.aws("ec2", "create-placement-group", "--group-name", "quorum", "--strategy", "spread",
                     "--spread-level", "rack", "--output", "json")["PlacementGroup"]
    assert made["State"] == "available" and made["GroupId"].startswith("pg-"), made
    spread = {"Placement": {"AvailabilityZone": "us-east-1a", "GroupName": "quorum"}}
    ids = cloud.run(count=7, **NANO, **spread)
    message = error("InsufficientInstanceCapacity", cloud.run, **NANO, **spread)
    assert "quorum" in message and "us-east-1a" in message, message
    [elsewhere] = cloud.run(**NANO, Placement={"GroupId": made["GroupId"]})
    assert cloud.instance(elsewhere)["Placement"]["AvailabilityZone"] != "us-east-1a"
    first = ids[0]
    cloud.wait_state(first, "running")
    group = lambda: cloud.drover("exec", first, "--", "bash", "-c", ASK, "group-name").strip()
    assert group() == "quorum"
    error("InvalidPlacementGroup.InUse", ec2.delete_placement_group, GroupName="quorum")
    error("IncorrectInstanceState", ec2.modify_instance_placement, InstanceId=first, GroupName="")

    # Stopped, it gives its place away; out of the group it starts again.
    ec2.stop_instances(InstanceIds=[first])
    cloud.wait_state(first, "stopped")
    cloud.run(**NANO, **spread)
    error("InsufficientInstanceCapacity", ec2.start_instances, InstanceIds=[first])
    cloud.aws("ec2", "modify-instance-placement", "--instance-id", first, "--group-name", "")
    ec2.start_instances(InstanceIds=[first])
    cloud.wait_state(first, "running")
    assert cloud.instance(first)["Placement"]["GroupName"] == ""
    assert "404" in group()


def test_reserved_capacity_is_for_who_targets_it(cloud):
    ec2 = cloud.client("ec2")
    cloud.drover("capacity", "set", "us-east-1a", "t3.nano", "2")
    pool = lambda: [json.loads(cloud.drover("capacity", "list", "--json"))["pools"][0][name]
                    for name in ("used", "reserved", "free")]
    held = cloud.aws("ec2", "create-capacity-reservation", "--instance-type", "t3.nano",
                     "--instance-platform", "Linux/UNIX", "--availability-zone", "us-east-1a",
                     "--instance-count", "1", "--instance-match-criteria", "targeted",
                     "--output", "json")["CapacityReservation"]
    reservation = held["CapacityReservationId"]
    assert held["AvailableInstanceCount"] == 1 and pool() == [0, 1, 1], (held, pool())
    cloud.run(**NANO, **IN_A)
    error("InsufficientInstanceCapacity", cloud.run, **NANO, **IN_A)
    target = {"CapacityReservationSpecification": {
        "CapacityReservationTarget": {"CapacityReservationId": reservation}}}
    [inside] = cloud.run(**NANO, **IN_A, **target)
    cloud.wait_state(inside, "running")
    assert cloud.instance(inside)["CapacityReservationId"] == reservation
    assert pool() == [2, 0, 0], pool()
    error("ReservationCapacityExceeded", cloud.run, **NANO, **IN_A, **target)

    # Its place is kept while it is stopped, and is no more once the reservation is cancelled.
    ec2.stop_instances(InstanceIds=[inside])
    cloud.wait_state(inside, "stopped")
    error("InsufficientInstanceCapacity", cloud.run, **NANO, **IN_A)
    cloud.aws("ec2", "cancel-capacity-reservation", "--capacity-reservation-id", reservation)
    error("ReservationCapacityExceeded", ec2.start_instances, InstanceIds=[inside])
    cloud.run(**NANO, **IN_A)
    assert pool() == [2, 0, 0], pool()
