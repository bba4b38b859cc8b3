"""Who may do what, as boto3 and the AWS CLI see it: users, roles, boundaries, bucket policies, and the
credentials of instances."""

import json
import pathlib
import tarfile
import urllib.error
import urllib.request

import awscli
import boto3
from botocore.config import Config

from harness import error, wait


def statement(action, resource="*", effect="Allow", **more):
    document = {"Version": "2012-10-17", "Statement": [
        {"Effect": effect, "Action": action, "Resource": resource, **more}]}
    return json.dumps(document)


def trust(**principal):
    return json.dumps({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"}]})


def client(cloud, service, key, token=None):
    """A client of whoever has the key."""
    return boto3.client(
        service, region_name="us-east-1", endpoint_url=cloud.endpoint,
        aws_access_key_id=key["AccessKeyId"], aws_secret_access_key=key["SecretAccessKey"],
        aws_session_token=key.get("SessionToken", token),
        config=Config(retries={"max_attempts": 0}, s3={"addressing_style": "path"},
                      signature_version="s3v4" if service == "s3" else None))


def user(cloud, name, policy):
    iam = cloud.client("iam")
    iam.create_user(UserName=name)
    iam.get_waiter("user_exists").wait(UserName=name)
    iam.put_user_policy(UserName=name, PolicyName="own", PolicyDocument=policy)
    return iam.create_access_key(UserName=name)["AccessKey"]


def test_users_do_what_their_policies_allow(api):
    key = user(api, "ann", statement("ec2:Describe*"))
    iam = api.client("iam")
    ec2 = client(api, "ec2", key)
    assert ec2.describe_vpcs()["Vpcs"]
    message = error("UnauthorizedOperation", ec2.create_key_pair, KeyName="k", DryRun=True)
    assert "is not authorized to perform: ec2:CreateKeyPair" in message, message
    encoded = message.rsplit(" ", 1)[1]
    decoded = api.client("sts").decode_authorization_message(EncodedMessage=encoded)
    assert json.loads(decoded["DecodedMessage"])["context"]["action"] == "ec2:CreateKeyPair"
    error("AccessDenied", client(api, "iam", key).list_users)
    error("AccessDeniedException", client(api, "ssm", key).get_parameter, Name="x")
    error("AccessDeniedException", client(api, "dynamodb", key).list_tables)
    error("AccessDenied", client(api, "autoscaling", key).describe_auto_scaling_groups)
    error("AccessDenied", client(api, "s3", key).list_buckets)
    policy = iam.create_policy(PolicyName="bounds", PolicyDocument=statement("ssm:*"))["Policy"]
    iam.get_waiter("policy_exists").wait(PolicyArn=policy["Arn"])
    iam.put_user_permissions_boundary(UserName="ann", PermissionsBoundary=policy["Arn"])
    message = error("UnauthorizedOperation", ec2.describe_vpcs)
    assert "because no permissions boundary allows the ec2:DescribeVpcs action" in message
    iam.delete_user_permissions_boundary(UserName="ann")
    assert ec2.describe_vpcs()["Vpcs"]
    document = iam.get_user_policy(UserName="ann", PolicyName="own")["PolicyDocument"]
    assert document["Statement"][0]["Action"] == "ec2:Describe*"
    simulated = api.aws("iam", "simulate-principal-policy", "--policy-source-arn",
                        iam.get_user(UserName="ann")["User"]["Arn"], "--action-names",
                        "ec2:DescribeVpcs", "ec2:CreateKeyPair")["EvaluationResults"]
    assert [r["EvalDecision"] for r in simulated] == ["allowed", "implicitDeny"]
    iam.update_access_key(UserName="ann", AccessKeyId=key["AccessKeyId"], Status="Inactive")
    error("AuthFailure", ec2.describe_vpcs)
    error("InvalidClientTokenId", client(api, "sts", key).get_caller_identity)
    trail = json.loads(api.drover("iam", "trail", "--json", "--denied"))
    assert "ec2:CreateKeyPair" in [event["action"] for event in trail]
    events = api.client("cloudtrail").lookup_events(
        LookupAttributes=[{"AttributeKey": "EventName", "AttributeValue": "CreateKeyPair"}])["Events"]
    assert [e["Username"] for e in events] == ["ann"]
    assert json.loads(events[0]["CloudTrailEvent"])["errorCode"] == "UnauthorizedOperation"


def test_keys_and_policies_outlive_the_daemon(api):
    key = user(api, "ann", statement("sts:*"))
    arn = client(api, "sts", key).get_caller_identity()["Arn"]
    session = client(api, "sts", key).get_session_token()["Credentials"]
    api.restart()
    assert client(api, "sts", key).get_caller_identity()["Arn"] == arn
    assert client(api, "sts", session).get_caller_identity()["Arn"] == arn
    error("AccessDenied", client(api, "iam", key).list_users)


def test_roles_are_assumed_by_whom_they_trust(api):
    iam = api.client("iam")
    key = user(api, "ann", statement("sts:AssumeRole"))
    arn = iam.get_user(UserName="ann")["User"]["Arn"]
    role = iam.create_role(RoleName="reader", AssumeRolePolicyDocument=trust(AWS=arn))["Role"]
    iam.get_waiter("role_exists").wait(RoleName="reader")
    iam.attach_role_policy(
        RoleName="reader", PolicyArn="arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess")
    sts = client(api, "sts", key)
    assumed = sts.assume_role(RoleArn=role["Arn"], RoleSessionName="work")
    reader = assumed["Credentials"]
    who = client(api, "sts", reader).get_caller_identity()
    assert who["Arn"] == assumed["AssumedRoleUser"]["Arn"]
    assert who["Arn"].endswith(":assumed-role/reader/work")
    root = api.client("s3")
    root.create_bucket(Bucket="pictures")
    root.put_object(Bucket="pictures", Key="a", Body=b"a")
    s3 = client(api, "s3", reader)
    assert s3.get_object(Bucket="pictures", Key="a")["Body"].read() == b"a"
    message = error("AccessDenied", s3.put_object, Bucket="pictures", Key="b", Body=b"b")
    assert "s3:PutObject" in message, message
    presigned = s3.generate_presigned_url("get_object", Params={"Bucket": "pictures", "Key": "a"})
    assert urllib.request.urlopen(presigned).read() == b"a"
    narrowed = sts.assume_role(
        RoleArn=role["Arn"], RoleSessionName="less",
        Policy=statement("s3:GetObject", "arn:aws:s3:::pictures/a"))["Credentials"]
    error("AccessDenied", client(api, "s3", narrowed).list_objects_v2, Bucket="pictures")
    broken = {**reader, "SessionToken": reader["SessionToken"][:-8] + "AAAAAAAA"}
    error("InvalidToken", client(api, "s3", broken).list_buckets)
    error("InvalidClientTokenId", client(api, "sts", broken).get_caller_identity)
    iam.update_assume_role_policy(
        RoleName="reader", PolicyDocument=trust(Service="ec2.amazonaws.com"))
    error("AccessDenied", sts.assume_role, RoleArn=role["Arn"], RoleSessionName="work")


def test_bucket_policies_let_in_and_keep_out(api):
    root = api.client("s3")
    root.create_bucket(Bucket="site")
    root.put_object(Bucket="site", Key="public/index", Body=b"hello")
    root.put_object(Bucket="site", Key="private", Body=b"secret")
    page = f"{api.endpoint}/site/public/index"

    def status(url):
        try:
            return urllib.request.urlopen(url).status
        except urllib.error.HTTPError as e:
            return e.code

    assert status(page) == 403
    error("NoSuchBucketPolicy", root.get_bucket_policy, Bucket="site")
    foreign = statement("s3:GetObject", "arn:aws:s3:::other/*", Principal="*")
    error("MalformedPolicy", root.put_bucket_policy, Bucket="site", Policy=foreign)
    root.put_bucket_policy(
        Bucket="site", Policy=statement("s3:GetObject", "arn:aws:s3:::site/public/*", Principal="*"))
    assert root.get_bucket_policy_status(Bucket="site")["PolicyStatus"]["IsPublic"]
    assert status(page) == 200
    assert status(f"{api.endpoint}/site/private") == 403
    assert status(f"{api.endpoint}/site") == 403
    key = user(api, "ann", statement("s3:*"))
    s3 = client(api, "s3", key)
    assert s3.get_object(Bucket="site", Key="private")["Body"].read() == b"secret"
    arn = api.client("iam").get_user(UserName="ann")["User"]["Arn"]
    root.put_bucket_policy(Bucket="site", Policy=statement(
        "s3:GetObject", "arn:aws:s3:::site/*", effect="Deny", Principal={"AWS": arn}))
    message = error("AccessDenied", s3.get_object, Bucket="site", Key="private")
    assert "with an explicit deny in a resource-based policy" in message, message
    error("AccessDenied", s3.copy_object, Bucket="site", Key="copy", CopySource="site/private")
    root.delete_bucket_policy(Bucket="site")
    s3.copy_object(Bucket="site", Key="copy", CopySource="site/private")
    api.client("iam").put_user_policy(UserName="ann", PolicyName="own", PolicyDocument=statement(
        "s3:ListBucket", Condition={"StringLike": {"s3:prefix": "public/*"}}))
    assert s3.list_objects_v2(Bucket="site", Prefix="public/")["KeyCount"] == 1
    error("AccessDenied", s3.list_objects_v2, Bucket="site")


# A guest with nothing but python: reads its role's credentials, and uses them.
GUEST = r"""#!/usr/bin/python3
import datetime, hashlib, hmac, json, time, urllib.error, urllib.request

def ask(request):
    try:
        return urllib.request.urlopen(request).read().decode()
    except urllib.error.HTTPError as e:
        return f"{e.code} {e.read().decode()}"

def metadata(path):
    token = ask(urllib.request.Request("http://169.254.169.254/latest/api/token", method="PUT",
                headers={"X-aws-ec2-metadata-token-ttl-seconds": "60"}))
    return ask(urllib.request.Request(f"http://169.254.169.254/latest/meta-data/{path}",
               headers={"X-aws-ec2-metadata-token": token}))

def call(role, service, path, headers={}, body=b"", query=""):
    key = json.loads(role)
    stamp = datetime.datetime.utcnow().strftime("%Y%m%dT%H%M%SZ")
    hash = hashlib.sha256(body).hexdigest()
    headers = {"host": "169.254.169.254:4566", "x-amz-date": stamp, "x-amz-content-sha256": hash,
               "x-amz-security-token": key["Token"], **headers}
    names = ";".join(sorted(headers))
    lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    canonical = "\n".join(["POST" if body else "GET", path, query, lines, names, hash])
    scope = f"{stamp[:8]}/us-east-1/{service}/aws4_request"
    text = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    mac = ("AWS4" + key["SecretAccessKey"]).encode()
    for step in (stamp[:8], "us-east-1", service, "aws4_request", text):
        mac = hmac.new(mac, step.encode(), "sha256").digest()
    headers["Authorization"] = (f"AWS4-HMAC-SHA256 Credential={key['AccessKeyId']}/{scope}, "
                                f"SignedHeaders={names}, Signature={mac.hex()}")
    return ask(urllib.request.Request(f"http://169.254.169.254:4566{path}?{query}",
               data=body or None, headers=headers))

def say(*words):
    with open("/dev/console", "w") as console:
        print(*words, file=console, flush=True)

while True:
    name = metadata("iam/security-credentials/")
    if name.startswith("404"):
        say("no role")
    else:
        role = metadata(f"iam/security-credentials/{name}")
        parameter = call(role, "ssm", "/", {"x-amz-target": "AmazonSSM.GetParameter",
                         "content-type": "application/x-amz-json-1.1"},
                         json.dumps({"Name": "/db/password", "WithDecryption": True}).encode())
        bucket = call(role, "s3", "/data", query="list-type=2")
        who = call(role, "sts", "/", {"content-type": "application/x-www-form-urlencoded"},
                   b"Action=GetCallerIdentity&Version=2011-06-15")
        say(name, "parameter:", parameter.replace("\n", " "))
        say(name, "bucket:", bucket.replace("\n", " "))
        say(name, "who:", who.replace("\n", " "))
    time.sleep(0.5)
"""


def test_an_instance_acts_in_its_role(cloud):
    iam, ec2, s3 = (cloud.client(name) for name in ("iam", "ec2", "s3"))
    cloud.client("ssm").put_parameter(Name="/db/password", Value="hunter2", Type="SecureString")
    s3.create_bucket(Bucket="data")
    s3.put_object(Bucket="data", Key="model.bin", Body=b"x")
    for name in ("web", "poor"):
        iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust(Service="ec2.amazonaws.com"))
        iam.create_instance_profile(InstanceProfileName=name)
        iam.get_waiter("instance_profile_exists").wait(InstanceProfileName=name)
        iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name)
    iam.attach_role_policy(
        RoleName="web", PolicyArn="arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore")
    iam.put_role_policy(RoleName="web", PolicyName="data",
                        PolicyDocument=statement("s3:ListBucket", "arn:aws:s3:::data"))
    [id] = cloud.run(GUEST)
    cloud.wait_console(id, "no role", 60)
    assert "IamInstanceProfile" not in cloud.instance(id)
    association = ec2.associate_iam_instance_profile(
        InstanceId=id, IamInstanceProfile={"Name": "web"})["IamInstanceProfileAssociation"]
    console = cloud.wait_console(id, "web who:", 60)
    assert '"Value":"hunter2"' in console, console
    assert "<Key>model.bin</Key>" in console, console
    cloud.wait_console(id, f":assumed-role/web/{id}</Arn>")
    assert cloud.instance(id)["IamInstanceProfile"]["Arn"].endswith(":instance-profile/web")
    error("IncorrectState", ec2.associate_iam_instance_profile,
          InstanceId=id, IamInstanceProfile={"Name": "poor"})
    replaced = ec2.replace_iam_instance_profile_association(
        AssociationId=association["AssociationId"], IamInstanceProfile={"Name": "poor"})
    console = cloud.wait_console(id, "poor who:", 60)
    poor = [line for line in console.splitlines() if "poor parameter:" in line]
    assert poor and "AccessDeniedException" in poor[0], console
    assert "poor bucket: 403" in console, console
    ec2.disassociate_iam_instance_profile(
        AssociationId=replaced["IamInstanceProfileAssociation"]["AssociationId"])
    assert ec2.describe_iam_instance_profile_associations()["IamInstanceProfileAssociations"] == []
    assert iam.get_role(RoleName="web")["Role"]["RoleLastUsed"]["Region"] == "us-east-1"


def answer(url):
    """Status and text."""
    try:
        with urllib.request.urlopen(url) as got:
            return got.status, got.read().decode()
    except urllib.error.HTTPError as e:
        return e.code, e.read().decode()


def test_presigned_urls_are_as_good_as_their_signers(api):
    root = api.client("s3")
    root.create_bucket(Bucket="pictures")
    root.put_object(Bucket="pictures", Key="a", Body=b"a picture")
    ann = client(api, "s3", user(api, "ann", statement("s3:GetObject", "arn:aws:s3:::pictures/*")))

    def presign(method, seconds=600):
        return ann.generate_presigned_url(
            method, Params={"Bucket": "pictures", "Key": "a"}, ExpiresIn=seconds)

    good, brief = presign("get_object"), presign("get_object", 1)
    assert answer(good) == (200, "a picture")
    status, text = answer(good[:-4] + ("0000" if not good.endswith("0000") else "1111"))
    assert status == 403 and "<Code>SignatureDoesNotMatch</Code>" in text, text
    status, text = answer(good.replace("/pictures/a?", "/pictures/b?"))
    assert status == 403 and "<Code>SignatureDoesNotMatch</Code>" in text, text
    # She may not put, nor may who has her URL.
    put = urllib.request.Request(presign("put_object"), method="PUT", data=b"other")
    status, text = answer(put)
    assert status == 403 and "<Code>AccessDenied</Code>" in text and "s3:PutObject" in text, text
    wait("the URL to be over", lambda: answer(brief)[0] == 403)
    assert "<Code>AccessDenied</Code>" in (text := answer(brief)[1]) and "expired" in text, text
    arn = api.client("iam").get_user(UserName="ann")["User"]["Arn"]
    root.put_bucket_policy(Bucket="pictures", Policy=statement(
        "s3:GetObject", "arn:aws:s3:::pictures/*", effect="Deny", Principal={"AWS": arn}))
    status, text = answer(good)
    assert status == 403 and "explicit deny in a resource-based policy" in text, text


# User data as it is written for AWS: the AWS CLI, no endpoint, no keys.
CLI = """#!/bin/bash
unset AWS_ENDPOINT_URL
export PYTHONPATH=/opt/awscli AWS_EC2_METADATA_SERVICE_NUM_ATTEMPTS=5
aws() { python3 -m awscli "$@" 2>&1; }
echo "secret=$(aws ssm get-parameter --name /db/password --with-decryption --query Parameter.Value --output text)"
mkdir -p /srv/site && aws s3 sync s3://site /srv/site >/tmp/sync || echo "sync failed: $(tail -n 1 /tmp/sync)"
echo "files=$(cd /srv/site && find . -type f | sort | paste -sd,)"
url=$(aws sqs get-queue-url --queue-name jobs --query QueueUrl --output text)
echo "queue=$url"
aws sqs send-message --queue-url "$url" --message-body "from $(hostname)" >/dev/null
echo end of script
"""


def test_user_data_with_the_aws_cli_works_in_a_role_and_is_denied_without(cloud):
    # An image with the CLI, which brings a botocore of its own.
    packages = pathlib.Path(awscli.__file__).parent.parent

    def kept(item):
        steps = pathlib.PurePath(item.name).parts
        unused = len(steps) == 3 and steps[-1] in ("boto3", "botocore", "pip", "setuptools")
        return None if unused or steps[-1] in ("__pycache__", "examples") else item

    archive = pathlib.Path(cloud.data_dir, "cli.tar")
    with tarfile.open(archive, "w") as tar:
        tar.add(packages, "opt/awscli", filter=kept)
    cloud.drover("image", "import", "cli", str(archive), "--base", "drover-host")
    [image] = cloud.client("ec2").describe_images(
        Filters=[{"Name": "name", "Values": ["cli"]}])["Images"]

    iam, s3, sqs = (cloud.client(name) for name in ("iam", "s3", "sqs"))
    cloud.client("ssm").put_parameter(Name="/db/password", Value="hunter2", Type="SecureString")
    s3.create_bucket(Bucket="site")
    for key in ("index.html", "css/main.css"):
        s3.put_object(Bucket="site", Key=key, Body=key.encode())
    url = sqs.create_queue(QueueName="jobs")["QueueUrl"]
    iam.create_role(RoleName="web", AssumeRolePolicyDocument=trust(Service="ec2.amazonaws.com"))
    for policy in ("AmazonSSMManagedInstanceCore", "AmazonS3ReadOnlyAccess"):
        iam.attach_role_policy(RoleName="web", PolicyArn=f"arn:aws:iam::aws:policy/{policy}")
    iam.put_role_policy(RoleName="web", PolicyName="queue", PolicyDocument=statement(
        ["sqs:GetQueueUrl", "sqs:SendMessage"], "arn:aws:sqs:us-east-1:*:jobs"))
    iam.create_instance_profile(InstanceProfileName="web")
    iam.add_role_to_instance_profile(InstanceProfileName="web", RoleName="web")

    [able] = cloud.run(CLI, ImageId=image["ImageId"], IamInstanceProfile={"Name": "web"})
    console = cloud.wait_console(able, "end of script", 120)
    assert "secret=hunter2" in console, console
    assert "files=./css/main.css,./index.html" in console, console
    # By the name that version 1 of the CLI knows.
    assert "queue=https://queue.amazonaws.com/123456789012/jobs" in console, console
    [message] = sqs.receive_message(QueueUrl=url, MessageSystemAttributeNames=["SenderId"])["Messages"]
    assert message["Attributes"]["SenderId"].endswith(f":{able}"), message

    [unable] = cloud.run(CLI, ImageId=image["ImageId"])
    console = cloud.wait_console(unable, "end of script", 120)
    assert "hunter2" not in console and "sync failed" in console, console
    assert "Unable to locate credentials" in console, console
    for policy in ("AmazonSSMManagedInstanceCore", "AmazonS3ReadOnlyAccess"):
        iam.detach_role_policy(RoleName="web", PolicyArn=f"arn:aws:iam::aws:policy/{policy}")
    [denied] = cloud.run(CLI, ImageId=image["ImageId"], IamInstanceProfile={"Name": "web"})
    console = cloud.wait_console(denied, "end of script", 120)
    assert "hunter2" not in console and "AccessDeniedException" in console, console
    assert "sync failed" in console and "AccessDenied" in console, console
