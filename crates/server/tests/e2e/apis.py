"""What stock clients expect of the APIs, with simulated instances."""

import json
import urllib.error
import urllib.request

import boto3
from botocore.config import Config

from harness import error, wait


def test_identity_and_signatures(api):
    sts = api.client("sts")
    identity = sts.get_caller_identity()
    assert identity["Account"] == "123456789012" and identity["Arn"] == "arn:aws:iam::123456789012:root"
    bad = boto3.client("ec2", region_name="us-east-1", endpoint_url=api.endpoint,
                       aws_access_key_id="test", aws_secret_access_key="wrong",
                       config=Config(retries={"max_attempts": 0}))
    error("AuthFailure", bad.describe_instances)
    stranger = boto3.client("sts", region_name="us-east-1", endpoint_url=api.endpoint,
                            aws_access_key_id="AKIAIOSFODNN7EXAMPLE", aws_secret_access_key="x",
                            config=Config(retries={"max_attempts": 0}))
    error("InvalidClientTokenId", stranger.get_caller_identity)
    unsigned = urllib.request.Request(f"{api.endpoint}/?Action=DescribeInstances&Version=2016-11-15")
    try:
        urllib.request.urlopen(unsigned)
        raise AssertionError("an unsigned request was served")
    except urllib.error.HTTPError as e:
        assert e.code in (401, 403) and b"MissingAuthenticationToken" in e.read()


def test_foreign_pages_and_names_are_refused(api):
    for headers in ({"Host": "evil.example"}, {"Origin": "https://evil.example"},
                    {"Sec-Fetch-Site": "cross-site"}):
        try:
            urllib.request.urlopen(urllib.request.Request(
                f"{api.endpoint}/_drover/reset", method="POST", headers=headers))
            raise AssertionError(f"served with {headers}")
        except urllib.error.HTTPError as e:
            assert e.code == 403


def test_operations_not_served_are_refused_by_name(api):
    assert "CreateSpotDatafeed" in error(
        "UnsupportedOperation", api.client("ec2").create_spot_datafeed_subscription, Bucket="x")
    assert "DescribeWarmPool" in error(
        "InvalidAction", api.client("autoscaling").describe_warm_pool, AutoScalingGroupName="x")
    error("UnknownOperationException", api.client("dynamodb").list_backups)


def test_run_instances_refuses_what_aws_refuses(api):
    ec2 = api.client("ec2")
    image = api.image
    good = dict(ImageId=image, InstanceType="t3.micro", MinCount=1, MaxCount=1)
    error("DryRunOperation", ec2.run_instances, **good, DryRun=True)
    error("InvalidAMIID.NotFound", ec2.run_instances, **{**good, "ImageId": "ami-0123456789abcdef0"})
    error("InvalidAMIID.Malformed", ec2.run_instances, **{**good, "ImageId": "ami-1"})
    error("InvalidKeyPair.NotFound", ec2.run_instances, **good, KeyName="nobody")
    error("InvalidSubnetID.NotFound", ec2.run_instances, **good, SubnetId="subnet-0123456789abcdef0")
    error("InvalidGroup.NotFound", ec2.run_instances, **good, SecurityGroupIds=["sg-0123456789abcdef0"])
    error("InvalidParameterValue", ec2.run_instances, **{**good, "InstanceType": "t3.tiny"})
    error("InvalidInstanceID.NotFound", ec2.describe_instances, InstanceIds=["i-0123456789abcdef0"])
    error("InvalidInstanceID.Malformed", ec2.describe_instances, InstanceIds=["i-xyz"])
    error("InvalidParameterValue", ec2.run_instances, **{**good, "MinCount": 2})
    assert ec2.describe_instances()["Reservations"] == []

    first = ec2.run_instances(**good, ClientToken="once")
    again = ec2.run_instances(**good, ClientToken="once")
    assert [i["InstanceId"] for i in first["Instances"]] == [i["InstanceId"] for i in again["Instances"]]
    error("IdempotentParameterMismatch", ec2.run_instances, **{**good, "InstanceType": "t3.small"},
          ClientToken="once")


def test_instances_page_filter_and_wait(api):
    ec2 = api.client("ec2")
    ids = api.run(count=7, TagSpecifications=[
        {"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": "web"}]}])
    ec2.get_waiter("instance_running").wait(InstanceIds=ids, WaiterConfig={"Delay": 1})
    api.run(count=2)
    pages = list(ec2.get_paginator("describe_instances").paginate(PaginationConfig={"PageSize": 5}))
    seen = [i["InstanceId"] for p in pages for r in p["Reservations"] for i in r["Instances"]]
    assert len(seen) == len(set(seen)) == 9
    named = ec2.describe_instances(Filters=[{"Name": "tag:Name", "Values": ["w*"]},
                                            {"Name": "instance-state-name", "Values": ["running"]}])
    assert {i["InstanceId"] for r in named["Reservations"] for i in r["Instances"]} == set(ids)
    ec2.terminate_instances(InstanceIds=ids)
    ec2.get_waiter("instance_terminated").wait(InstanceIds=ids, WaiterConfig={"Delay": 1})
    table = api.aws("ec2", "describe-instances", "--filters", "Name=instance-state-name,Values=terminated",
                    "--query", "length(Reservations[].Instances[])")
    assert str(table).strip() == "7"


def test_regions_are_separate(api):
    [id] = api.run()
    other = api.client("ec2", "eu-west-1")
    assert other.describe_instances()["Reservations"] == []
    error("InvalidInstanceID.NotFound", other.describe_instances, InstanceIds=[id])
    zones = other.describe_availability_zones()["AvailabilityZones"]
    assert [z["ZoneName"] for z in zones] == ["eu-west-1a", "eu-west-1b", "eu-west-1c"]
    assert [z["ZoneId"] for z in zones] == ["euw1-az1", "euw1-az2", "euw1-az3"]


def test_default_network(api):
    ec2 = api.client("ec2")
    vpc = ec2.describe_vpcs()["Vpcs"][0]
    assert vpc["CidrBlock"] == "172.31.0.0/16" and vpc["IsDefault"]
    subnets = ec2.describe_subnets()["Subnets"]
    assert [s["CidrBlock"] for s in subnets] == ["172.31.0.0/20", "172.31.16.0/20", "172.31.32.0/20"]
    assert subnets[0]["AvailableIpAddressCount"] == 4091
    api.run(SubnetId=subnets[0]["SubnetId"])
    assert ec2.describe_subnets()["Subnets"][0]["AvailableIpAddressCount"] == 4090


def test_instance_types(api):
    ec2 = api.client("ec2")
    [micro] = ec2.describe_instance_types(InstanceTypes=["t3.micro"])["InstanceTypes"]
    assert micro["VCpuInfo"]["DefaultVCpus"] == 2 and micro["MemoryInfo"]["SizeInMiB"] == 1024
    assert micro["BurstablePerformanceSupported"] is True
    total = sum(len(p["InstanceTypes"]) for p in ec2.get_paginator("describe_instance_types").paginate())
    assert total > 700
    error("InvalidInstanceType", ec2.describe_instance_types, InstanceTypes=["t3.tiny"])


def test_key_pairs(api):
    ec2 = api.client("ec2")
    made = ec2.create_key_pair(KeyName="k", KeyType="ed25519")
    assert made["KeyMaterial"].startswith("-----BEGIN OPENSSH PRIVATE KEY-----")
    error("InvalidKeyPair.Duplicate", ec2.create_key_pair, KeyName="k")
    assert ec2.describe_key_pairs()["KeyPairs"][0]["KeyFingerprint"] == made["KeyFingerprint"]
    ec2.delete_key_pair(KeyName="k")
    assert ec2.describe_key_pairs()["KeyPairs"] == []


def test_launch_templates(api):
    ec2 = api.client("ec2")
    data = {"ImageId": api.image, "InstanceType": "t3.micro"}
    template = ec2.create_launch_template(LaunchTemplateName="web", LaunchTemplateData=data)["LaunchTemplate"]
    ec2.create_launch_template_version(LaunchTemplateName="web", SourceVersion="1",
                                       LaunchTemplateData={"InstanceType": "t3.small"})
    error("InvalidLaunchTemplateName.AlreadyExistsException", ec2.create_launch_template,
          LaunchTemplateName="web", LaunchTemplateData=data)
    [one] = api.run(LaunchTemplate={"LaunchTemplateName": "web"}, ImageId=api.image, InstanceType="t3.nano")
    assert api.instance(one)["InstanceType"] == "t3.nano"
    answer = ec2.run_instances(MinCount=1, MaxCount=1, LaunchTemplate={
        "LaunchTemplateId": template["LaunchTemplateId"], "Version": "$Latest"})
    assert answer["Instances"][0]["InstanceType"] == "t3.small"
    ec2.modify_launch_template(LaunchTemplateName="web", DefaultVersion="2")
    versions = ec2.describe_launch_template_versions(LaunchTemplateName="web", Versions=["$Default"])
    assert versions["LaunchTemplateVersions"][0]["VersionNumber"] == 2


def test_security_groups(api):
    ec2 = api.client("ec2")
    id = ec2.create_security_group(GroupName="web", Description="web tier")["GroupId"]
    rule = dict(IpProtocol="tcp", FromPort=80, ToPort=80, IpRanges=[{"CidrIp": "0.0.0.0/0"}])
    made = ec2.authorize_security_group_ingress(GroupId=id, IpPermissions=[rule])["SecurityGroupRules"]
    assert made[0]["SecurityGroupRuleId"].startswith("sgr-")
    error("InvalidPermission.Duplicate", ec2.authorize_security_group_ingress, GroupId=id, IpPermissions=[rule])
    [instance] = api.run(SecurityGroupIds=[id])
    error("DependencyViolation", ec2.delete_security_group, GroupId=id)
    ec2.revoke_security_group_ingress(GroupId=id, SecurityGroupRuleIds=[made[0]["SecurityGroupRuleId"]])
    assert ec2.describe_security_groups(GroupIds=[id])["SecurityGroups"][0]["IpPermissions"] == []
    ec2.terminate_instances(InstanceIds=[instance])
    api.wait_state(instance, "terminated")
    ec2.delete_security_group(GroupId=id)
    error("InvalidGroup.NotFound", ec2.describe_security_groups, GroupIds=[id])


def test_parameters(api):
    ssm = api.client("ssm")
    ssm.put_parameter(Name="/app/db/password", Value="s3cret", Type="SecureString")
    ssm.put_parameter(Name="/app/db/host", Value="a", Type="String")
    error("ParameterAlreadyExists", ssm.put_parameter, Name="/app/db/host", Value="b", Type="String")
    assert ssm.put_parameter(Name="/app/db/host", Value="b", Type="String", Overwrite=True)["Version"] == 2
    sealed = ssm.get_parameter(Name="/app/db/password")["Parameter"]["Value"]
    assert "s3cret" not in sealed
    plain = ssm.get_parameter(Name="/app/db/password", WithDecryption=True)["Parameter"]["Value"]
    assert plain == "s3cret"
    by_path = ssm.get_parameters_by_path(Path="/app", Recursive=True)["Parameters"]
    assert {p["Name"] for p in by_path} == {"/app/db/host", "/app/db/password"}
    error("ParameterNotFound", ssm.get_parameter, Name="/nowhere")
    assert ssm.get_parameters(Names=["/app/db/host", "/nowhere"])["InvalidParameters"] == ["/nowhere"]
    ssm.delete_parameter(Name="/app/db/host")
    error("ParameterNotFound", ssm.get_parameter, Name="/app/db/host")


def test_tables(api):
    dynamodb = api.client("dynamodb")
    dynamodb.create_table(
        TableName="scores", BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "player", "KeyType": "HASH"}, {"AttributeName": "game", "KeyType": "RANGE"}],
        AttributeDefinitions=[{"AttributeName": "player", "AttributeType": "S"},
                              {"AttributeName": "game", "AttributeType": "N"}])
    dynamodb.get_waiter("table_exists").wait(TableName="scores", WaiterConfig={"Delay": 1})
    table = boto3.resource("dynamodb", region_name="us-east-1", endpoint_url=api.endpoint,
                           aws_access_key_id="test", aws_secret_access_key="test").Table("scores")
    for game in range(30):
        table.put_item(Item={"player": "ann", "game": game, "points": game * 10, "tags": {"a", "b"}})
    error("ConditionalCheckFailedException", table.put_item, Item={"player": "ann", "game": 1},
          ConditionExpression="attribute_not_exists(player)")
    updated = table.update_item(
        Key={"player": "ann", "game": 1}, UpdateExpression="SET points = points + :n, #l = :l REMOVE tags",
        ExpressionAttributeNames={"#l": "level"}, ExpressionAttributeValues={":n": 5, ":l": {"x": [1, 2]}},
        ReturnValues="ALL_NEW")["Attributes"]
    assert updated == {"player": "ann", "game": 1, "points": 15, "level": {"x": [1, 2]}}
    from boto3.dynamodb.conditions import Attr, Key
    answer = table.query(KeyConditionExpression=Key("player").eq("ann") & Key("game").between(5, 15),
                         FilterExpression=Attr("points").gt(100), ScanIndexForward=False)
    assert [item["game"] for item in answer["Items"]] == [15, 14, 13, 12, 11] and answer["ScannedCount"] == 11
    pages = dynamodb.get_paginator("scan").paginate(TableName="scores", PaginationConfig={"PageSize": 7})
    assert sum(page["Count"] for page in pages) == 30
    error("ResourceNotFoundException", dynamodb.get_item, TableName="none", Key={"k": {"S": "x"}})
    dynamodb.delete_table(TableName="scores")
    dynamodb.get_waiter("table_not_exists").wait(TableName="scores", WaiterConfig={"Delay": 1})


def test_buckets(api):
    s3 = api.client("s3")
    s3.create_bucket(Bucket="photos")
    body = bytes(range(256)) * 4096
    put = s3.put_object(Bucket="photos", Key="a/b c+d.jpg", Body=body, ContentType="image/jpeg",
                        Metadata={"owner": "ann"})
    got = s3.get_object(Bucket="photos", Key="a/b c+d.jpg")
    assert got["Body"].read() == body and got["ETag"] == put["ETag"]
    assert got["ContentType"] == "image/jpeg" and got["Metadata"] == {"owner": "ann"}
    part = s3.get_object(Bucket="photos", Key="a/b c+d.jpg", Range="bytes=10-19")
    assert part["Body"].read() == body[10:20] and part["ContentRange"] == f"bytes 10-19/{len(body)}"
    for n in range(5):
        s3.put_object(Bucket="photos", Key=f"logs/{n}", Body=b"x")
    listed = s3.list_objects_v2(Bucket="photos", Delimiter="/")
    assert [p["Prefix"] for p in listed["CommonPrefixes"]] == ["a/", "logs/"]
    pages = list(s3.get_paginator("list_objects_v2").paginate(
        Bucket="photos", Prefix="logs/", PaginationConfig={"PageSize": 2}))
    assert [len(p["Contents"]) for p in pages] == [2, 2, 1]
    upload = s3.create_multipart_upload(Bucket="photos", Key="big")["UploadId"]
    parts = [{"PartNumber": n, "ETag": s3.upload_part(
        Bucket="photos", Key="big", UploadId=upload, PartNumber=n, Body=bytes([n]) * (5 << 20))["ETag"]}
        for n in (1, 2)]
    done = s3.complete_multipart_upload(Bucket="photos", Key="big", UploadId=upload,
                                        MultipartUpload={"Parts": parts})
    assert done["ETag"].endswith('-2"')
    assert s3.head_object(Bucket="photos", Key="big")["ContentLength"] == 10 << 20
    error("NoSuchKey", s3.get_object, Bucket="photos", Key="none")
    error("BucketNotEmpty", s3.delete_bucket, Bucket="photos")
    keys = [o["Key"] for o in s3.list_objects_v2(Bucket="photos")["Contents"]]
    s3.delete_objects(Bucket="photos", Delete={"Objects": [{"Key": k} for k in keys]})
    s3.delete_bucket(Bucket="photos")
    error("NoSuchBucket", s3.list_objects_v2, Bucket="photos")


def test_a_group_keeps_its_size(api):
    ec2, scaling = api.client("ec2"), api.client("autoscaling")
    ec2.create_launch_template(LaunchTemplateName="tpl", LaunchTemplateData={
        "ImageId": api.image, "InstanceType": "t3.micro"})
    scaling.create_auto_scaling_group(
        AutoScalingGroupName="g", MinSize=1, MaxSize=6, DesiredCapacity=3,
        LaunchTemplate={"LaunchTemplateName": "tpl"}, AvailabilityZones=["us-east-1a", "us-east-1b", "us-east-1c"],
        Tags=[{"Key": "team", "Value": "blue", "PropagateAtLaunch": True}])

    def members():
        return [i for i in scaling.describe_auto_scaling_groups(AutoScalingGroupNames=["g"])
                ["AutoScalingGroups"][0]["Instances"] if i["LifecycleState"] == "InService"]

    wait("three in service", lambda: len(members()) == 3)
    assert len({i["AvailabilityZone"] for i in members()}) == 3
    tags = {t["Key"]: t["Value"] for t in api.instance(members()[0]["InstanceId"])["Tags"]}
    assert tags["team"] == "blue" and tags["aws:autoscaling:groupName"] == "g", tags
    error("AlreadyExists", scaling.create_auto_scaling_group, AutoScalingGroupName="g", MinSize=1, MaxSize=1,
          LaunchTemplate={"LaunchTemplateName": "tpl"}, AvailabilityZones=["us-east-1a"])
    ec2.terminate_instances(InstanceIds=[members()[0]["InstanceId"]])
    wait("the lost one to be replaced", lambda: len(members()) == 3 and len(
        scaling.describe_scaling_activities(AutoScalingGroupName="g")["Activities"]) >= 5)
    scaling.set_desired_capacity(AutoScalingGroupName="g", DesiredCapacity=5)
    wait("five in service", lambda: len(members()) == 5)
    error("ValidationError", scaling.set_desired_capacity, AutoScalingGroupName="g", DesiredCapacity=7)
    error("ResourceInUse", scaling.delete_auto_scaling_group, AutoScalingGroupName="g")
    scaling.delete_auto_scaling_group(AutoScalingGroupName="g", ForceDelete=True)
    wait("the group to be gone", lambda: not scaling.describe_auto_scaling_groups()["AutoScalingGroups"])


def test_status_and_env(api):
    api.run(count=2)
    status = json.loads(api.drover("status", "--json"))
    assert status["compute"] == "fake" and len(status["instances"]) == 2 and len(status["zones"]) == 3
    lines = api.drover("env")
    assert f"export AWS_ENDPOINT_URL={api.endpoint}" in lines and "export AWS_ACCESS_KEY_ID=test" in lines
