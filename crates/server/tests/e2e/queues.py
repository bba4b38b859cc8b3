"""Queues, as boto3, the AWS CLI and clients of the query protocol see them."""

import hashlib
import json
import signal
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

import boto3
from botocore import UNSIGNED
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials

from harness import error
from iam import client, statement, user


def query(url, action, **parameters):
    """Status and XML of a call in the protocol that older clients speak."""
    body = urllib.parse.urlencode({"Action": action, "Version": "2012-11-05", **parameters})
    request = AWSRequest("POST", url, data=body, headers={
        "Content-Type": "application/x-www-form-urlencoded; charset=utf-8"})
    SigV4Auth(Credentials("test", "test"), "sqs", "us-east-1").add_auth(request)
    prepared = urllib.request.Request(url, data=body.encode(), headers=dict(request.headers))
    try:
        with urllib.request.urlopen(prepared) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as e:
        return e.code, e.read().decode()


def test_messages_are_sent_received_and_deleted(api):
    sqs = api.client("sqs")
    url = sqs.create_queue(QueueName="jobs", Attributes={"VisibilityTimeout": "60"})["QueueUrl"]
    assert url == f"{api.endpoint}/123456789012/jobs"
    kind = {"kind": {"DataType": "String", "StringValue": "a"},
            "blob": {"DataType": "Binary", "BinaryValue": b"\x00\x01"}}
    sent = sqs.send_message(QueueUrl=url, MessageBody="hello", MessageAttributes=kind)
    assert sent["MD5OfMessageBody"] == hashlib.md5(b"hello").hexdigest()
    received = sqs.receive_message(
        QueueUrl=url, MessageAttributeNames=["All"], MessageSystemAttributeNames=["All"])
    [message] = received["Messages"]
    assert message["MessageAttributes"]["blob"]["BinaryValue"] == b"\x00\x01"
    assert message["MD5OfMessageAttributes"] == sent["MD5OfMessageAttributes"]
    assert message["Attributes"]["ApproximateReceiveCount"] == "1"
    sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])

    # Who waits hears at once.
    began = time.monotonic()
    answers = []
    waiting = threading.Thread(
        target=lambda: answers.append(sqs.receive_message(QueueUrl=url, WaitTimeSeconds=20)))
    waiting.start()
    # Version 1 of the CLI asks queue.amazonaws.com whatever the environment says.
    api.aws("--endpoint-url", api.endpoint, "sqs", "send-message", "--queue-url", url,
            "--message-body", "from the command line")
    waiting.join()
    assert answers[0]["Messages"][0]["Body"] == "from the command line"
    assert time.monotonic() - began < 15
    for name in ("more-1", "more-2", "more-3"):
        sqs.create_queue(QueueName=name)
    pages = sqs.get_paginator("list_queues").paginate(
        QueueNamePrefix="more", PaginationConfig={"PageSize": 2})
    assert [len(page["QueueUrls"]) for page in pages] == [2, 1]
    error("AWS.SimpleQueueService.NonExistentQueue", sqs.get_queue_url, QueueName="none")
    try:
        sqs.get_queue_url(QueueName="none")
    except sqs.exceptions.QueueDoesNotExist as e:
        assert e.response["ResponseMetadata"]["HTTPStatusCode"] == 400


def test_older_clients_speak_the_query_protocol(api):
    status, xml = query(f"{api.endpoint}/", "CreateQueue", QueueName="old",
                        **{"Attribute.1.Name": "DelaySeconds", "Attribute.1.Value": "0"})
    url = f"{api.endpoint}/123456789012/old"
    assert status == 200 and f"<CreateQueueResult><QueueUrl>{url}</QueueUrl>" in xml, xml
    status, xml = query(url, "SendMessage", MessageBody="a<b")
    assert status == 200 and f"<MD5OfMessageBody>{hashlib.md5(b'a<b').hexdigest()}" in xml, xml
    status, xml = query(url, "ReceiveMessage", **{"AttributeName.1": "SentTimestamp"})
    assert "<Body>a&lt;b</Body>" in xml and "<Attribute><Name>SentTimestamp</Name>" in xml, xml
    status, xml = query(url, "GetQueueAttributes", **{"AttributeName.1": "DelaySeconds"})
    assert "<Attribute><Name>DelaySeconds</Name><Value>0</Value></Attribute>" in xml, xml
    status, xml = query(f"{api.endpoint}/123456789012/none", "PurgeQueue")
    assert status == 400 and "<Code>AWS.SimpleQueueService.NonExistentQueue</Code>" in xml, xml


def test_messages_outlive_a_killed_daemon(api):
    sqs = api.client("sqs")
    url = sqs.create_queue(QueueName="jobs")["QueueUrl"]
    for n in range(20):
        sqs.send_message(QueueUrl=url, MessageBody=str(n))
    [first] = sqs.receive_message(QueueUrl=url)["Messages"]
    api.restart(signal.SIGKILL)
    sqs = api.client("sqs")
    url = sqs.get_queue_url(QueueName="jobs")["QueueUrl"]
    sqs.delete_message(QueueUrl=url, ReceiptHandle=first["ReceiptHandle"])
    bodies = {first["Body"]}
    while len(bodies) < 20:
        more = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
        more = [message["Body"] for message in more]
        assert not bodies & set(more), "what is in flight stays with its receiver"
        bodies |= set(more)
    counts = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert (counts["ApproximateNumberOfMessages"],
            counts["ApproximateNumberOfMessagesNotVisible"]) == ("0", "19")


def test_queue_policies_let_in_and_keep_out(api):
    root = api.client("sqs")
    url = root.create_queue(QueueName="jobs")["QueueUrl"]
    arn = "arn:aws:sqs:us-east-1:123456789012:jobs"
    key = user(api, "ann", statement("sqs:ReceiveMessage", "arn:aws:sqs:*:*:other"))
    ann = api.client("iam").get_user(UserName="ann")["User"]["Arn"]
    sqs = client(api, "sqs", key)
    denied = lambda *call, **parameters: error("AccessDenied", *call, **parameters)
    message = denied(sqs.send_message, QueueUrl=url, MessageBody="x")
    assert f"not authorized to perform: sqs:SendMessage on resource: {arn}" in message, message

    def allow(action, **more):
        root.set_queue_attributes(
            QueueUrl=url, Attributes={"Policy": statement(action, arn, **more)})

    allow("sqs:SendMessage", Principal={"AWS": ann})
    sqs.send_message(QueueUrl=url, MessageBody="x")
    sqs.send_message_batch(QueueUrl=url, Entries=[{"Id": "a", "MessageBody": "y"}])
    denied(sqs.receive_message, QueueUrl=url)
    denied(sqs.get_queue_url, QueueName="jobs")
    allow("sqs:SendMessage", Principal={"AWS": "arn:aws:iam::111122223333:root"})
    denied(sqs.send_message, QueueUrl=url, MessageBody="x")
    for source, allowed in [("127.0.0.0/8", True), ("10.0.0.0/8", False)]:
        allow("sqs:*", Principal="*", Condition={"IpAddress": {"aws:SourceIp": source}})
        anonymous = boto3.client("sqs", region_name="us-east-1", endpoint_url=api.endpoint,
                                 config=Config(signature_version=UNSIGNED))
        for caller in (sqs, anonymous):
            if allowed:
                caller.send_message(QueueUrl=url, MessageBody="x")
            else:
                denied(caller.send_message, QueueUrl=url, MessageBody="x")
    # As topics and buckets are let in; nobody else says what it sends for.
    allow("sqs:SendMessage", Principal="*",
          Condition={"ArnEquals": {"aws:SourceArn": "arn:aws:s3:::pictures"}})
    denied(sqs.send_message, QueueUrl=url, MessageBody="x")
    api.client("iam").put_user_policy(
        UserName="ann", PolicyName="own", PolicyDocument=statement("sqs:*"))
    sqs.send_message(QueueUrl=url, MessageBody="x")
    allow("sqs:SendMessage", effect="Deny", Principal={"AWS": ann})
    message = denied(sqs.send_message, QueueUrl=url, MessageBody="x")
    assert "with an explicit deny in a resource-based policy" in message, message
    trail = json.loads(api.drover("iam", "trail", "--json", "--denied"))
    assert any("QueuePolicy" in event["by"] for event in trail), trail
