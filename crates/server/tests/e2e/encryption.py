"""Encrypted volumes: plain inside, ciphertext on the host."""

import os
import pathlib
import signal

from harness import error, needs, wait

ZONE = "us-east-1a"
MARK = "the quick brown fox jumps over the lazy dog"
KEY = "arn:aws:kms:us-east-1:"

WRITE = f"""#!/bin/bash
until [ -b /dev/sdf ]; do sleep 0.1; done
mkfs.ext4 -q /dev/sdf && mkdir -p /data && mount /dev/sdf /data
for n in {{1..200}}; do echo '{MARK}'; done | tee /data/marks >/srv/marks
sync && echo written >/dev/console
"""


def seen_on_the_host(cloud):
    """Files of the pool of disks that hold the mark."""
    found = []
    for path in pathlib.Path(cloud.data_dir, "compute/pool").rglob("*"):
        if not path.is_file():
            continue
        with open(path, "rb") as file:
            at, end = 0, os.fstat(file.fileno()).st_size
            while at < end:
                try:
                    at = os.lseek(file.fileno(), at, os.SEEK_DATA)
                except OSError:
                    break
                data = os.pread(file.fileno(), 1 << 20, at)
                if MARK[:30].encode() in data:
                    found.append(path.name)
                    break
                at += len(data)
    return sorted(found)


def sh(cloud, id, line):
    return cloud.drover("exec", id, "--", "/bin/bash", "-c", line)


@needs("mkfs.xfs")
def test_what_is_encrypted_is_ciphertext_on_the_host(cloud):
    ec2 = cloud.client("ec2")
    devices = [{"DeviceName": name, "Ebs": {"VolumeSize": size, "Encrypted": True}}
               for name, size in (("/dev/xvda", 8), ("/dev/sdf", 1))]
    [id] = cloud.run(WRITE, BlockDeviceMappings=devices, Placement={"AvailabilityZone": ZONE})
    cloud.wait_console(id, "written")
    plugged = {d["DeviceName"]: d["Ebs"]["VolumeId"] for d in cloud.instance(id)["BlockDeviceMappings"]}
    for volume in ec2.describe_volumes(VolumeIds=list(plugged.values()))["Volumes"]:
        assert volume["Encrypted"] and volume["KmsKeyId"].startswith(KEY), volume

    snapshot = ec2.create_snapshot(VolumeId=plugged["/dev/sdf"])["SnapshotId"]
    image = ec2.create_image(InstanceId=id, Name="sealed", NoReboot=True)["ImageId"]
    ec2.get_waiter("snapshot_completed").wait(SnapshotIds=[snapshot], WaiterConfig={"Delay": 1})
    ec2.get_waiter("image_available").wait(ImageIds=[image], WaiterConfig={"Delay": 1})
    mapped = ec2.describe_images(ImageIds=[image])["Images"][0]["BlockDeviceMappings"]
    assert [d["Ebs"]["Encrypted"] for d in mapped] == [True, True], mapped
    error("OperationNotPermitted", ec2.modify_snapshot_attribute, SnapshotId=snapshot,
          Attribute="createVolumePermission", OperationType="add", GroupNames=["all"])

    # The daemon dies; the disks do not.
    sh(cloud, id, "echo before >/data/note && sync")
    cloud.stop(signal.SIGKILL)
    cloud.start()
    ec2 = cloud.client("ec2")
    assert sh(cloud, id, "cat /data/note; wc -l </data/marks") == "before\n200\n"
    second = ec2.create_volume(AvailabilityZone=ZONE, SnapshotId=snapshot)["VolumeId"]
    ec2.get_waiter("volume_available").wait(VolumeIds=[second], WaiterConfig={"Delay": 1})
    ec2.attach_volume(VolumeId=second, InstanceId=id, Device="/dev/sdg")
    wait("the second one", lambda: "yes" in sh(cloud, id, "test -b /dev/sdg && echo yes || echo no"))
    assert sh(cloud, id, "mount /dev/sdg /mnt && wc -l </mnt/marks") == "200\n"
    [copy] = cloud.run("#!/bin/sh\necho \"baked: $(wc -l </srv/marks)\" >/dev/console\n", ImageId=image)
    cloud.wait_console(copy, "baked: 200")

    # Nowhere on the host, but for who asks by the API.
    assert seen_on_the_host(cloud) == []
    ebs = cloud.client("ebs")
    blocks = ebs.list_snapshot_blocks(SnapshotId=snapshot)["Blocks"]
    read = (ebs.get_snapshot_block(SnapshotId=snapshot, BlockIndex=b["BlockIndex"],
                                   BlockToken=b["BlockToken"])["BlockData"].read() for b in blocks)
    assert any(MARK.encode() in data for data in read)
    statuses = ec2.describe_volume_status(VolumeIds=list(plugged.values()))["VolumeStatuses"]
    assert {s["VolumeStatus"]["Status"] for s in statuses} == {"ok"}, statuses


@needs("mkfs.xfs")
def test_a_plain_volume_becomes_encrypted_as_it_is_copied(cloud):
    ec2 = cloud.client("ec2")
    devices = [{"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 1}}]
    [id] = cloud.run(WRITE, BlockDeviceMappings=devices, Placement={"AvailabilityZone": ZONE})
    cloud.wait_console(id, "written")
    plain = cloud.instance(id)["BlockDeviceMappings"][1]["Ebs"]["VolumeId"]
    taken = ec2.create_snapshot(VolumeId=plain)["SnapshotId"]
    ec2.get_waiter("snapshot_completed").wait(SnapshotIds=[taken], WaiterConfig={"Delay": 1})
    before = seen_on_the_host(cloud)
    assert {plain, taken, id} <= set(before), before

    sealed = ec2.create_volume(AvailabilityZone=ZONE, SnapshotId=taken, Encrypted=True,
                               KmsKeyId="alias/aws/ebs")["VolumeId"]
    copied = ec2.copy_snapshot(SourceRegion="us-east-1", SourceSnapshotId=taken,
                               Encrypted=True)["SnapshotId"]
    ec2.get_waiter("volume_available").wait(VolumeIds=[sealed], WaiterConfig={"Delay": 1})
    ec2.get_waiter("snapshot_completed").wait(SnapshotIds=[copied], WaiterConfig={"Delay": 1})
    assert seen_on_the_host(cloud) == before
    ec2.attach_volume(VolumeId=sealed, InstanceId=id, Device="/dev/sdg")
    wait("the encrypted one", lambda: "yes" in sh(cloud, id, "test -b /dev/sdg && echo yes || echo no"))
    assert sh(cloud, id, "mount /dev/sdg /mnt && cmp /mnt/marks /data/marks && echo same") == "same\n"

    # What decrypts it dies: its user has errors, and everybody sees it; nothing else is harmed.
    lock = pathlib.Path(cloud.data_dir, "compute/views", f"volumes.{sealed}", "lock")
    os.kill(int(lock.read_text()), signal.SIGKILL)
    status = lambda: ec2.describe_volume_status(VolumeIds=[sealed])["VolumeStatuses"][0]
    wait("it to be seen", lambda: status()["VolumeStatus"]["Status"] == "impaired")
    assert cloud.state(id) == "running" and sh(cloud, id, "head -c 9 /data/marks") == MARK[:9]
    ec2.detach_volume(VolumeId=sealed, Force=True)
    ec2.get_waiter("volume_available").wait(VolumeIds=[sealed], WaiterConfig={"Delay": 1})
    ec2.attach_volume(VolumeId=sealed, InstanceId=id, Device="/dev/sdh")
    wait("it again", lambda: "yes" in sh(cloud, id, "test -b /dev/sdh && echo yes || echo no"))
    assert sh(cloud, id, "mount /dev/sdh /opt && wc -l </opt/marks") == "200\n"
    assert status()["VolumeStatus"]["Status"] == "ok"
