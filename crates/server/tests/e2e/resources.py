"""What instances are made of, as boto3 and the AWS CLI see it: networks, types, images, keys, groups,
templates and tags."""

import base64


from harness import error


def names(pages, list_name, key):
    return [item[key] for page in pages for item in page[list_name]]


def test_every_region_has_a_default_network(api):
    vpcs = {}
    for region in ("us-east-1", "eu-west-1"):
        ec2 = api.client("ec2", region)
        [vpc] = ec2.describe_vpcs(Filters=[{"Name": "isDefault", "Values": ["true"]}])["Vpcs"]
        assert vpc["CidrBlock"] == "172.31.0.0/16" and vpc["State"] == "available"
        vpcs[region] = vpc["VpcId"]
        subnets = ec2.describe_subnets(
            Filters=[{"Name": "vpc-id", "Values": [vpc["VpcId"]]}])["Subnets"]
        assert {s["AvailabilityZone"]: s["CidrBlock"] for s in subnets} == {
            f"{region}a": "172.31.0.0/20",
            f"{region}b": "172.31.16.0/20",
            f"{region}c": "172.31.32.0/20",
        }
        assert all(s["AvailableIpAddressCount"] == 4091 for s in subnets)
        zones = ec2.describe_availability_zones()["AvailabilityZones"]
        assert [z["State"] for z in zones] == ["available"] * 3
    assert len(set(vpcs.values())) == 2
    ec2 = api.client("ec2")
    [id] = api.run(SubnetId=(subnet := ec2.describe_subnets()["Subnets"][0])["SubnetId"])
    left = ec2.describe_subnets(SubnetIds=[subnet["SubnetId"]])["Subnets"][0]
    assert left["AvailableIpAddressCount"] == 4090
    assert api.instance(id)["VpcId"] == vpcs["us-east-1"]
    error("InvalidSubnetID.NotFound", ec2.describe_subnets, SubnetIds=["subnet-0123456789abcdef0"])
    error("InvalidParameterValue", ec2.describe_vpcs, Filters=[{"Name": "color", "Values": ["red"]}])
    assert "ec2.us-east-1.amazonaws.com" in [
        r["Endpoint"] for r in ec2.describe_regions()["Regions"]]
    attributes = {a["AttributeName"]: a["AttributeValues"][0]["AttributeValue"]
                  for a in ec2.describe_account_attributes()["AccountAttributes"]}
    assert attributes["default-vpc"] == vpcs["us-east-1"]
    error("DryRunOperation", ec2.describe_vpcs, DryRun=True)


def test_instance_types_are_paged_and_filtered(api):
    ec2 = api.client("ec2")
    pages = ec2.get_paginator("describe_instance_types").paginate(PaginationConfig={"PageSize": 100})
    all = names(pages, "InstanceTypes", "InstanceType")
    assert len(all) == len(set(all)) > 1000
    [micro] = ec2.describe_instance_types(InstanceTypes=["t3.micro"])["InstanceTypes"]
    assert micro["VCpuInfo"]["DefaultVCpus"] == 2
    assert micro["MemoryInfo"]["SizeInMiB"] == 1024
    assert micro["BurstablePerformanceSupported"] and micro["FreeTierEligible"]
    message = error("InvalidInstanceType", ec2.describe_instance_types, InstanceTypes=["t3.mega"])
    assert message == "The following supplied instance types do not exist: [t3.mega]"
    gpus = ec2.describe_instance_types(InstanceTypes=["p5.48xlarge"])["InstanceTypes"][0]["GpuInfo"]
    assert gpus["Gpus"][0]["Count"] == 8 and gpus["Gpus"][0]["Name"] == "H100"
    offered = api.aws("ec2", "describe-instance-type-offerings", "--location-type",
                      "availability-zone", "--filters", "Name=instance-type,Values=t3.micro",
                      "--query", "InstanceTypeOfferings[].Location")
    assert offered == ["us-east-1a", "us-east-1b", "us-east-1c"]


def test_images_and_instances_agree_on_what_exists(api):
    ec2 = api.client("ec2")
    [image] = ec2.describe_images(Owners=["self"])["Images"]
    assert image["Name"] == "drover-host" and image["State"] == "available"
    assert image["RootDeviceName"] == image["BlockDeviceMappings"][0]["DeviceName"] == "/dev/xvda"
    assert ec2.describe_images(Owners=["amazon"])["Images"] == []
    ec2.get_waiter("image_available").wait(ImageIds=[image["ImageId"]])
    for id, code in (("ami-0123456789abcdef0", "InvalidAMIID.NotFound"),
                     ("debian", "InvalidAMIID.Malformed")):
        error(code, ec2.describe_images, ImageIds=[id])
        error(code, ec2.run_instances, ImageId=id, MinCount=1, MaxCount=1)


def test_keys_are_real(api):
    ec2 = api.client("ec2")
    for type, first in (("rsa", "-----BEGIN RSA PRIVATE KEY-----"),
                        ("ed25519", "-----BEGIN OPENSSH PRIVATE KEY-----")):
        made = ec2.create_key_pair(KeyName=type, KeyType=type, TagSpecifications=[
            {"ResourceType": "key-pair", "Tags": [{"Key": "for", "Value": "test"}]}])
        assert made["KeyMaterial"].startswith(first)
        error("InvalidKeyPair.Duplicate", ec2.create_key_pair, KeyName=type)
        [kept] = ec2.describe_key_pairs(KeyNames=[type], IncludePublicKey=True)["KeyPairs"]
        assert kept["KeyFingerprint"] == made["KeyFingerprint"]
        assert kept["Tags"] == [{"Key": "for", "Value": "test"}]
        again = ec2.import_key_pair(KeyName=f"{type}-again", PublicKeyMaterial=kept["PublicKey"])
        assert (again["KeyFingerprint"] == made["KeyFingerprint"]) == (type == "ed25519")
        instance = api.instance(api.run(KeyName=type)[0])
        assert instance["KeyName"] == type
    error("InvalidKey.Format", ec2.import_key_pair, KeyName="x", PublicKeyMaterial=b"nonsense")
    error("InvalidKeyPair.NotFound", ec2.run_instances, ImageId=api.image, KeyName="x",
          MinCount=1, MaxCount=1)
    error("UnsupportedOperation", ec2.create_key_pair, KeyName="putty", KeyFormat="ppk")
    ec2.delete_key_pair(KeyName="rsa")
    ec2.delete_key_pair(KeyName="rsa")
    error("InvalidKeyPair.NotFound", ec2.describe_key_pairs, KeyNames=["rsa"])


def test_security_groups_and_their_rules(api):
    ec2 = api.client("ec2")
    [default] = ec2.describe_security_groups(GroupNames=["default"])["SecurityGroups"]
    assert default["IpPermissions"][0]["UserIdGroupPairs"][0]["GroupId"] == default["GroupId"]
    web = ec2.create_security_group(GroupName="web", Description="the web tier")["GroupId"]
    ec2.get_waiter("security_group_exists").wait(GroupIds=[web])
    http = {"IpProtocol": "tcp", "FromPort": 80, "ToPort": 80,
            "IpRanges": [{"CidrIp": "0.0.0.0/0", "Description": "anyone"}],
            "Ipv6Ranges": [{"CidrIpv6": "::/0"}]}
    rules = ec2.authorize_security_group_ingress(GroupId=web, IpPermissions=[http])
    assert len(rules["SecurityGroupRules"]) == 2
    error("InvalidPermission.Duplicate", ec2.authorize_security_group_ingress, GroupId=web,
          IpProtocol="tcp", FromPort=80, ToPort=80, CidrIp="0.0.0.0/0")
    db = ec2.create_security_group(GroupName="db", Description="the database")["GroupId"]
    from_web = {"IpProtocol": "tcp", "FromPort": 5432, "ToPort": 5432,
                "UserIdGroupPairs": [{"GroupId": web}]}
    ec2.authorize_security_group_ingress(GroupId=db, IpPermissions=[from_web])
    error("DependencyViolation", ec2.delete_security_group, GroupId=web)
    [shown] = ec2.describe_security_groups(GroupIds=[web])["SecurityGroups"]
    assert shown["IpPermissions"][0]["IpRanges"] == http["IpRanges"]
    assert shown["IpPermissionsEgress"][0]["IpProtocol"] == "-1"
    # What a description says can be taken back as it is.
    ec2.revoke_security_group_ingress(GroupId=web, IpPermissions=shown["IpPermissions"])
    ec2.revoke_security_group_egress(GroupId=web, IpPermissions=shown["IpPermissionsEgress"])
    listed = ec2.describe_security_group_rules(Filters=[{"Name": "group-id", "Values": [web]}])
    assert listed["SecurityGroupRules"] == []
    [id] = api.run(SecurityGroupIds=[web, default["GroupId"]])
    assert {g["GroupName"] for g in api.instance(id)["SecurityGroups"]} == {"web", "default"}
    ec2.delete_security_group(GroupId=db)
    error("DependencyViolation", ec2.delete_security_group, GroupId=web)
    ec2.terminate_instances(InstanceIds=[id])
    api.wait_state(id, "terminated")
    ec2.delete_security_group(GroupId=web)
    error("InvalidGroup.NotFound", ec2.describe_security_groups, GroupIds=[web])
    error("CannotDelete", ec2.delete_security_group, GroupName="default")


def test_launch_templates(api):
    ec2 = api.client("ec2")
    user_data = base64.b64encode(b"#!/bin/sh\necho hello\n").decode()
    data = {"ImageId": api.image, "InstanceType": "t3.micro", "UserData": user_data,
            "MetadataOptions": {"HttpTokens": "required"},
            "BlockDeviceMappings": [{"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 8}}],
            "TagSpecifications": [{"ResourceType": "instance",
                                   "Tags": [{"Key": "tier", "Value": "web"}]}]}
    create = dict(LaunchTemplateName="web", LaunchTemplateData=data, ClientToken="once")
    made = ec2.create_launch_template(**create)["LaunchTemplate"]
    assert ec2.create_launch_template(**create)["LaunchTemplate"] == made
    id = made["LaunchTemplateId"]
    error("InvalidLaunchTemplateName.AlreadyExistsException", ec2.create_launch_template,
          LaunchTemplateName="web", LaunchTemplateData=data)
    second = ec2.create_launch_template_version(
        LaunchTemplateId=id, SourceVersion="1", LaunchTemplateData={"InstanceType": "t3.small"},
    )["LaunchTemplateVersion"]
    assert second["VersionNumber"] == 2 and not second["DefaultVersion"]
    assert second["LaunchTemplateData"] == {**data, "InstanceType": "t3.small"}
    for version, type in (("$Default", "t3.micro"), ("$Latest", "t3.small"), ("1", "t3.micro")):
        run = ec2.run_instances(MinCount=1, MaxCount=1, LaunchTemplate={
            "LaunchTemplateName": "web", "Version": version})
        shown = api.instance(run["Instances"][0]["InstanceId"])
        assert shown["ImageId"] == api.image
        assert shown["InstanceType"] == type
        assert {"Key": "tier", "Value": "web"} in shown["Tags"]
        assert shown["MetadataOptions"]["HttpTokens"] == "required"
    ec2.modify_launch_template(LaunchTemplateName="web", DefaultVersion="2")
    versions = ec2.describe_launch_template_versions(Versions=["$Default"])
    assert [v["VersionNumber"] for v in versions["LaunchTemplateVersions"]] == [2]
    done = ec2.delete_launch_template_versions(LaunchTemplateId=id, Versions=["1", "2"])
    assert [v["VersionNumber"] for v in done["SuccessfullyDeletedLaunchTemplateVersions"]] == [1]
    assert [v["VersionNumber"] for v in done["UnsuccessfullyDeletedLaunchTemplateVersions"]] == [2]
    for refused in ({"KernelId": "aki-12345678"},
                    {"NetworkInterfaces": [{"DeviceIndex": 0, "Ipv6AddressCount": 1}]}):
        error("UnsupportedOperation", ec2.create_launch_template, LaunchTemplateName="refused",
              LaunchTemplateData=refused)
    error("InvalidLaunchTemplateId.VersionNotFound", ec2.describe_launch_template_versions,
          LaunchTemplateId=id, Versions=["1"])
    ec2.delete_launch_template(LaunchTemplateId=id)
    error("InvalidLaunchTemplateId.NotFound", ec2.describe_launch_templates,
          LaunchTemplateIds=[id])


def test_tags_by_resource(api):
    ec2 = api.client("ec2")
    [id] = api.run(TagSpecifications=[
        {"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": "one"}]}])
    vpc = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
    ec2.create_tags(Resources=[id, vpc], Tags=[{"Key": "stack", "Value": "web"}])
    found = api.aws("ec2", "describe-tags", "--filters", "Name=key,Values=stack",
                    "--query", "Tags[].[ResourceType,ResourceId]")
    assert sorted(found) == [["instance", id], ["vpc", vpc]]
    volume = ec2.describe_volumes()["Volumes"][0]["VolumeId"]
    ec2.create_tags(Resources=[volume], Tags=[{"Key": "stack", "Value": "web"}])
    assert ec2.describe_volumes()["Volumes"][0]["Tags"] == [{"Key": "stack", "Value": "web"}]
    [tagged] = ec2.describe_vpcs(Filters=[{"Name": "tag:stack", "Values": ["w*"]}])["Vpcs"]
    assert tagged["Tags"] == [{"Key": "stack", "Value": "web"}]
    ec2.delete_tags(Resources=[id], Tags=[{"Key": "Name", "Value": "other"}, {"Key": "stack"}])
    assert api.instance(id)["Tags"] == [{"Key": "Name", "Value": "one"}]
    ec2.delete_tags(Resources=[id])
    assert "Tags" not in api.instance(id)
    error("InvalidParameterValue", ec2.create_tags, Resources=[id],
          Tags=[{"Key": "aws:mine", "Value": ""}])
    error("InvalidInstanceID.NotFound", ec2.create_tags, Resources=["i-0123456789abcdef0"],
          Tags=[{"Key": "a", "Value": "b"}])


def test_a_failed_zone_shows(api):
    api.drover("zone", "fail", "us-east-1b")
    ec2 = api.client("ec2")
    zones = ec2.describe_availability_zones(
        Filters=[{"Name": "state", "Values": ["unavailable"]}])["AvailabilityZones"]
    assert [z["ZoneName"] for z in zones] == ["us-east-1b"] and zones[0]["ZoneId"] == "use1-az2"
    api.drover("zone", "heal", "us-east-1b")
    zones = ec2.describe_availability_zones()["AvailabilityZones"]
    assert [z["State"] for z in zones] == ["available"] * 3
