"""Volumes, snapshots and machine images with bytes in them."""

import base64
import hashlib
import json
import pathlib
import signal
import subprocess
import tarfile

from harness import DROVER, error, needs, wait

ZONE = "us-east-1a"

# Waits for the volume, makes a file system if there is none, and says what is on it.
USE = r"""#!/bin/bash
mkdir -p /data
while :; do
    until [ -b /dev/sdf ]; do sleep 0.1; done
    if mount /dev/sdf /data 2>/dev/null || { mkfs.ext4 -q /dev/sdf && mount /dev/sdf /data; }; then
        echo "found: $(cat /data/note 2>/dev/null || echo nothing) owner $(stat -c %u /data)"
        echo "from $(hostname)" >/data/note
        chown 1234:1234 /data/note
        sync
        umount /data && echo "left: /data"
    fi
    while [ -b /dev/sdf ]; do sleep 0.1; done
    echo "gone: /dev/sdf"
done >/dev/console 2>&1 &
"""


def status(ec2, volume):
    return ec2.describe_volumes(VolumeIds=[volume])["Volumes"][0]["State"]


def attach(ec2, volume, instance, device="/dev/sdf"):
    answer = ec2.attach_volume(VolumeId=volume, InstanceId=instance, Device=device)
    assert answer["State"] == "attaching", answer
    ec2.get_waiter("volume_in_use").wait(VolumeIds=[volume], WaiterConfig={"Delay": 1})


def detach(ec2, volume):
    assert ec2.detach_volume(VolumeId=volume)["State"] == "detaching"
    ec2.get_waiter("volume_available").wait(VolumeIds=[volume], WaiterConfig={"Delay": 1})


@needs("mkfs.ext4")
def test_a_volume_moves_with_its_data(cloud):
    ec2 = cloud.client("ec2")
    volume = cloud.aws("ec2", "create-volume", "--availability-zone", ZONE, "--size", "1",
                       "--volume-type", "gp3")["VolumeId"]
    cloud.aws("ec2", "wait", "volume-available", "--volume-ids", volume)
    first, second = cloud.run(USE, 2, Placement={"AvailabilityZone": ZONE})
    [elsewhere] = cloud.run(Placement={"AvailabilityZone": "us-east-1b"})
    for id in (first, second, elsewhere):
        cloud.wait_state(id, "running")
    error("InvalidVolume.ZoneMismatch", ec2.attach_volume, VolumeId=volume, InstanceId=elsewhere,
          Device="/dev/sdf")
    attach(ec2, volume, first)
    cloud.wait_console(first, "left: /data")
    assert "found: nothing owner 0" in cloud.console(first)
    error("VolumeInUse", ec2.attach_volume, VolumeId=volume, InstanceId=second, Device="/dev/sdf")
    detach(ec2, volume)
    cloud.wait_console(first, "gone: /dev/sdf")

    # The daemon may die in between.
    cloud.restart(signal.SIGKILL)
    ec2 = cloud.client("ec2")
    assert status(ec2, volume) == "available"
    host = cloud.instance(first)["PrivateIpAddress"].replace(".", "-")
    attach(ec2, volume, second)
    cloud.wait_console(second, f"found: from ip-{host}")
    cloud.wait_console(second, "left: /data")

    # Made while the volume is attached, and a volume of it in another zone.
    snapshot = ec2.create_snapshot(VolumeId=volume, Description="moved")["SnapshotId"]
    ec2.get_waiter("snapshot_completed").wait(SnapshotIds=[snapshot], WaiterConfig={"Delay": 1})
    copy = ec2.create_volume(AvailabilityZone="us-east-1b", SnapshotId=snapshot)["VolumeId"]
    ec2.get_waiter("volume_available").wait(VolumeIds=[copy], WaiterConfig={"Delay": 1})
    [third] = cloud.run(USE, Placement={"AvailabilityZone": "us-east-1b"})
    cloud.wait_state(third, "running")
    attach(ec2, copy, third)
    host = cloud.instance(second)["PrivateIpAddress"].replace(".", "-")
    cloud.wait_console(third, f"found: from ip-{host}")

    detach(ec2, volume)
    ec2.delete_volume(VolumeId=volume)
    ec2.get_waiter("volume_deleted").wait(VolumeIds=[volume], WaiterConfig={"Delay": 1})


@needs("mkfs.ext4")
def test_a_volume_grows_while_it_is_used(cloud):
    ec2 = cloud.client("ec2")
    [id] = cloud.run(
        "#!/bin/bash\n(last=0; while :; do now=$(blockdev --getsize64 /dev/sdf 2>/dev/null || echo 0);"
        " [ $now = $last ] || echo \"size: $now.\"; last=$now; sleep 0.2; done) >/dev/console 2>&1 &\n",
        BlockDeviceMappings=[{"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 1, "DeleteOnTermination": True}}])
    cloud.wait_console(id, f"size: {1 << 30}.")
    devices = {d["DeviceName"]: d["Ebs"] for d in cloud.instance(id)["BlockDeviceMappings"]}
    assert set(devices) == {"/dev/xvda", "/dev/sdf"}, devices
    volume = devices["/dev/sdf"]["VolumeId"]
    asked = ec2.modify_volume(VolumeId=volume, Size=3)["VolumeModification"]
    assert asked["ModificationState"] == "modifying" and asked["OriginalSize"] == 1
    cloud.wait_console(id, f"size: {3 << 30}.")
    wait("the modification", lambda: ec2.describe_volumes_modifications(VolumeIds=[volume])[
        "VolumesModifications"][0]["ModificationState"] == "completed")
    error("VolumeModificationRateExceeded", ec2.modify_volume, VolumeId=volume, Size=4)
    ec2.terminate_instances(InstanceIds=[id])
    ec2.get_waiter("volume_deleted").wait(VolumeIds=[volume], WaiterConfig={"Delay": 1})


def test_an_image_boots_with_what_was_baked(cloud):
    ec2 = cloud.client("ec2")
    [baker] = cloud.run("#!/bin/sh\nmkdir -p /opt/app; echo golden >/opt/app/release; echo baked >/dev/console\n")
    cloud.wait_console(baker, "baked")
    image = cloud.aws("ec2", "create-image", "--instance-id", baker, "--name", "golden")["ImageId"]
    ec2.get_waiter("image_exists").wait(ImageIds=[image], WaiterConfig={"Delay": 1})
    ec2.get_waiter("image_available").wait(ImageIds=[image], WaiterConfig={"Delay": 1})
    shown = ec2.describe_images(ImageIds=[image])["Images"][0]
    snapshot = shown["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"]
    assert shown["SourceInstanceId"] == baker and shown["RootDeviceType"] == "ebs"
    cloud.wait_state(baker, "running")
    error("InvalidSnapshot.InUse", ec2.delete_snapshot, SnapshotId=snapshot)
    ids = cloud.run("#!/bin/sh\necho release: $(cat /opt/app/release) >/dev/console\n", 3, ImageId=image)
    for id in ids:
        cloud.wait_console(id, "release: golden")

    # A root outlives a stop, and its image.
    answer = ec2.deregister_image(ImageId=image, DeleteAssociatedSnapshots=True)
    assert answer["DeleteSnapshotResults"][0]["ReturnCode"] == "success", answer
    error("InvalidAMIID.NotFound", ec2.run_instances, ImageId=image, MinCount=1, MaxCount=1)
    cloud.restart(signal.SIGKILL)
    ec2 = cloud.client("ec2")
    ec2.stop_instances(InstanceIds=ids[:1])
    cloud.wait_state(ids[0], "stopped")
    ec2.start_instances(InstanceIds=ids[:1])
    cloud.wait_state(ids[0], "running")

    # One that was told to stay, stays.
    root = cloud.instance(ids[1])["BlockDeviceMappings"][0]["Ebs"]["VolumeId"]
    ec2.modify_instance_attribute(InstanceId=ids[1], BlockDeviceMappings=[
        {"DeviceName": "/dev/xvda", "Ebs": {"DeleteOnTermination": False}}])
    ec2.terminate_instances(InstanceIds=ids)
    for id in ids:
        cloud.wait_state(id, "terminated")
    left = ec2.describe_volumes(Filters=[{"Name": "status", "Values": ["available"]}])["Volumes"]
    assert [volume["VolumeId"] for volume in left] == [root], left
    ec2.delete_volume(VolumeId=root)
    ec2.get_waiter("volume_deleted").wait(VolumeIds=[root], WaiterConfig={"Delay": 1})


@needs("mkfs.ext4")
def test_local_disks_are_kept_by_a_reboot_alone(cloud):
    ec2 = cloud.client("ec2")
    script = (
        "#!/bin/bash\n"
        "cat >/root/look <<'LOOK'\n"
        "mkdir -p /scratch; mount /dev/nvme1n1 /scratch 2>/dev/null || { mkfs.ext4 -q /dev/nvme1n1 && mount /dev/nvme1n1 /scratch; }\n"
        "echo \"boots: $(cat /scratch/boots 2>/dev/null | wc -l).\" >/dev/console; echo x >>/scratch/boots; sync\n"
        "LOOK\n"
        "bash /root/look\n")
    [id] = cloud.run(script, InstanceType="m5d.large")
    cloud.wait_console(id, "boots: 0.")
    disk = ec2.describe_instance_types(InstanceTypes=["m5d.large"])["InstanceTypes"][0]["InstanceStorageInfo"]
    assert disk["Disks"][0]["Count"] == 1


def test_a_root_that_is_instance_store_goes_with_its_instance(cloud):
    ec2 = cloud.client("ec2")
    archive = pathlib.Path(cloud.data_dir, "layer.tar")
    with tarfile.open(archive, "w") as tar:
        tar.addfile(tarfile.TarInfo("etc/of-the-image"))
    image = cloud.drover("image", "import", "of-a-disk", str(archive), "--base", "drover-host",
                         "--root-device-type", "instance-store").strip()
    error("InvalidParameterCombination", cloud.run, ImageId=image)
    [id] = cloud.run("#!/bin/sh\nls /etc/of-the-image >/dev/console; echo kept >/root/note; sync\n"
                     "df --output=size -BG / | tail -n 1 >/dev/console; echo written >/dev/console\n",
                     ImageId=image, InstanceType="m3.medium")
    console = cloud.wait_console(id, "written")
    assert "/etc/of-the-image" in console and "10G" in console, console
    shown = cloud.instance(id)
    assert shown["RootDeviceType"] == "instance-store" and not shown["BlockDeviceMappings"], shown
    assert not ec2.describe_volumes()["Volumes"]
    message = error("UnsupportedOperation", ec2.stop_instances, InstanceIds=[id])
    assert message == f"The instance '{id}' does not have an 'ebs' root device type and cannot be stopped."
    ec2.reboot_instances(InstanceIds=[id])
    wait("the second boot", lambda: json.loads(cloud.drover("boot", id, "--json"))["boot"] == 2)
    cloud.wait_state(id, "running")
    assert wait("the note", lambda: cloud.drover("exec", id, "--", "cat", "/root/note")) == "kept\n"
    # What shuts itself down has nothing to start from again.
    subprocess.run([DROVER, "exec", "--data-dir", cloud.data_dir, id, "--", "poweroff"], capture_output=True)
    cloud.wait_state(id, "terminated")


BLOCK = 512 * 1024


def test_blocks_of_snapshots(api):
    ec2, ebs = api.client("ec2"), api.client("ebs")

    def digest(data):
        return base64.b64encode(hashlib.sha256(data).digest()).decode()

    def upload(blocks, **kwargs):
        started = ebs.start_snapshot(VolumeSize=1, **kwargs)
        assert started["Status"] == "pending" and started["BlockSize"] == BLOCK
        for index, data in blocks.items():
            put = ebs.put_snapshot_block(
                SnapshotId=started["SnapshotId"], BlockIndex=index, BlockData=data, DataLength=BLOCK,
                Checksum=digest(data), ChecksumAlgorithm="SHA256")
            assert put["Checksum"] == digest(data)
        ebs.complete_snapshot(SnapshotId=started["SnapshotId"], ChangedBlocksCount=len(blocks))
        ec2.get_waiter("snapshot_completed").wait(SnapshotIds=[started["SnapshotId"]],
                                                  WaiterConfig={"Delay": 1})
        return started["SnapshotId"]

    first = upload({0: b"a" * BLOCK, 9: b"b" * BLOCK}, Tags=[{"Key": "Name", "Value": "uploaded"}])
    tags = ec2.describe_snapshots(SnapshotIds=[first])["Snapshots"][0]["Tags"]
    assert tags == [{"Key": "Name", "Value": "uploaded"}]
    second = upload({9: b"c" * BLOCK}, ParentSnapshotId=first)
    listed = ebs.list_snapshot_blocks(SnapshotId=second)["Blocks"]
    assert [block["BlockIndex"] for block in listed] == [0, 9]
    got = ebs.get_snapshot_block(SnapshotId=second, BlockIndex=9, BlockToken=listed[1]["BlockToken"])
    data = got["BlockData"].read()
    assert data == b"c" * BLOCK and got["Checksum"] == digest(data)
    changed = ebs.list_changed_blocks(FirstSnapshotId=first, SecondSnapshotId=second)["ChangedBlocks"]
    assert [block["BlockIndex"] for block in changed] == [9]
    error("ValidationException", ebs.get_snapshot_block, SnapshotId=second, BlockIndex=0,
          BlockToken=listed[1]["BlockToken"])
    error("ResourceNotFoundException", ebs.list_snapshot_blocks, SnapshotId="snap-0123456789abcdef0")
    listed = api.aws("ebs", "list-snapshot-blocks", "--snapshot-id", first)["Blocks"]
    assert [block["BlockIndex"] for block in listed] == [0, 9]
