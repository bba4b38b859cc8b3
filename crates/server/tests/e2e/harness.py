"""Runs one test function with a cloud of its own: harness.py SCRIPT FUNCTION DRIVER."""

import ctypes
import importlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

DROVER = os.environ["DROVER"]


def wait(what, condition, seconds=30.0):
    """What `condition` returns once it is true; fails with `what` after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds} s for {what}; last: {value!r}")
        time.sleep(0.02)


def error(code, call, *args, **kwargs):
    """The message of the AWS error that `call` must end in."""
    try:
        answer = call(*args, **kwargs)
    except ClientError as e:
        assert e.response["Error"]["Code"] == code, e
        return e.response["Error"]["Message"]
    raise AssertionError(f"no {code}, but {answer}")


class Cloud:
    def __init__(self, driver="namespace", *flags, data_dir=None):
        self.driver = driver
        self.flags = flags
        self.data_dir = data_dir or tempfile.mkdtemp(prefix="drover-test-")
        self.daemon = None
        self.start()

    def start(self):
        self.log = open(os.path.join(self.data_dir, "daemon.log"), "ab")
        self.daemon = subprocess.Popen(
            [DROVER, "up", "--data-dir", self.data_dir, "--driver", self.driver,
             "--listen", "127.0.0.1:0", *self.flags],
            stdout=subprocess.PIPE, stderr=self.log, stdin=subprocess.DEVNULL,
        )
        line = self.daemon.stdout.readline().decode()
        match = re.search(r"http://\S+", line)
        assert match, f"the daemon did not start: {line!r} {self.logged()}"
        self.endpoint = match.group()

    def logged(self):
        return pathlib.Path(self.data_dir, "daemon.log").read_text(errors="replace")

    def stop(self, how=signal.SIGTERM):
        self.daemon.send_signal(how)
        self.daemon.wait(20)
        self.daemon.stdout.close()

    def restart(self, how=signal.SIGTERM):
        self.stop(how)
        self.start()

    def down(self):
        if self.daemon.poll() is None:
            self.stop()
        subprocess.run([DROVER, "down", "--purge", "--data-dir", self.data_dir], check=True,
                       stdout=subprocess.DEVNULL)

    @property
    def environment(self):
        return {
            **{k: v for k, v in os.environ.items() if not k.startswith("AWS_")},
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_PAGER": "",
        }

    def client(self, service, region="us-east-1"):
        return boto3.client(
            service, region_name=region, endpoint_url=self.endpoint,
            aws_access_key_id="test", aws_secret_access_key="test",
            config=Config(retries={"max_attempts": 0}),
        )

    def aws(self, *words):
        """The AWS CLI's answer, parsed when it is JSON."""
        done = subprocess.run(["aws", *words], env=self.environment, capture_output=True, text=True)
        assert done.returncode == 0, f"aws {' '.join(words)}: {done.stderr}"
        return json.loads(done.stdout) if done.stdout.lstrip()[:1] in ("{", "[") else done.stdout

    def drover(self, *words):
        # What comes after two dashes is somebody else's.
        at = words.index("--") if "--" in words else len(words)
        done = subprocess.run([DROVER, *words[:at], "--data-dir", self.data_dir, *words[at:]],
                              capture_output=True, text=True)
        assert done.returncode == 0, f"drover {' '.join(words)}: {done.stderr}"
        return done.stdout

    def admin(self, method, path, body=None):
        request = urllib.request.Request(
            f"{self.endpoint}/_drover/{path}", method=method,
            data=None if body is None else json.dumps(body).encode())
        with urllib.request.urlopen(request) as answer:
            return json.loads(answer.read())

    # What most tests need of instances.

    @property
    def image(self):
        images = self.client("ec2").describe_images(
            Filters=[{"Name": "name", "Values": ["drover-host"]}])["Images"]
        return images[0]["ImageId"]

    def run(self, script=None, count=1, **kwargs):
        """Ids of new instances; `script` is their user data."""
        if script is not None:
            kwargs["UserData"] = script
        kwargs.setdefault("ImageId", self.image)
        kwargs.setdefault("InstanceType", "t3.micro")
        answer = self.client("ec2").run_instances(MinCount=count, MaxCount=count, **kwargs)
        return [instance["InstanceId"] for instance in answer["Instances"]]

    def instance(self, id):
        answer = self.client("ec2").describe_instances(InstanceIds=[id])
        return answer["Reservations"][0]["Instances"][0]

    def state(self, id):
        return self.instance(id)["State"]["Name"]

    def wait_state(self, id, state, seconds=30.0):
        wait(f"{id} to be {state}", lambda: self.state(id) == state, seconds)

    def console(self, id):
        # boto3 has decoded it already.
        return self.client("ec2").get_console_output(InstanceId=id, Latest=True).get("Output", "")

    def wait_console(self, id, text, seconds=30.0):
        """The console once `text` is in it."""
        deadline = time.monotonic() + seconds
        while text not in (console := self.console(id)):
            assert time.monotonic() < deadline, f"waited for {text!r} on the console:\n{console}"
            time.sleep(0.02)
        return console


# A web server that needs nothing but perl: answers with the instance's id, or 500 once /broken exists.
WEB = r"""#!/bin/bash
exec 3<>/dev/tcp/169.254.169.254/80
printf 'GET /latest/meta-data/instance-id HTTP/1.0\r\n\r\n' >&3
export ID=$(tail -n 1 <&3)
cat >/usr/local/bin/web <<'PERL'
use IO::Socket::INET;
$SIG{CHLD} = 'IGNORE';
my $server = IO::Socket::INET->new(LocalPort => 80, Listen => 128, ReuseAddr => 1) or die "listen: $!";
print STDERR "web is up\n";
while (my $client = $server->accept) {
    next if fork;
    my $head = '';
    while (<$client>) { $head .= $_; last if /^\r?\n$/ }
    my $status = -e '/broken' ? '500 Broken' : '200 OK';
    my $body = "$ENV{ID}\n$head";
    print $client "HTTP/1.1 $status\r\nContent-Length: " . length($body) . "\r\nConnection: close\r\n\r\n$body";
    exit;
}
PERL
setsid perl /usr/local/bin/web </dev/null >/dev/console 2>&1 &
"""


def main():
    script, function, driver = sys.argv[1:]
    sys.path.insert(0, os.path.dirname(__file__))
    sys.modules["harness"] = sys.modules["__main__"]
    test = getattr(importlib.import_module(script), function)
    flags = getattr(test, "flags", ())
    if getattr(test, "alone", False):
        leave_the_network()
    cloud = Cloud(driver, *flags)
    try:
        test(cloud)
    except BaseException:
        sys.stderr.write(f"--- daemon\n{cloud.logged()[-4000:]}\n")
        raise
    finally:
        cloud.down()
        shutil.rmtree(cloud.data_dir, ignore_errors=True)


def flags(*words):
    """Decorator: what else `drover up` gets for this test."""
    def set_flags(test):
        test.flags = words
        return test
    return set_flags


def needs(_program):
    """Decorator: a program of the host; where it is not there, the test is ignored (../e2e.rs reads this)."""
    return lambda test: test


def alone(test):
    """Decorator: the test and its cloud are on a host whose network is nothing but loopback."""
    test.alone = True
    return test


def leave_the_network():
    clone_newnet = 0x40000000
    assert ctypes.CDLL(None, use_errno=True).unshare(clone_newnet) == 0, os.strerror(ctypes.get_errno())
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


if __name__ == "__main__":
    main()
