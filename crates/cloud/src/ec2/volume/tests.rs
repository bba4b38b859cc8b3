//! Volumes as clients see them: requests in, controllers and the fake host behind, answers out.

use std::sync::Arc;

use compute::fake::Fake;
use compute::storage::Kind as Stored;
use compute::{DiskSource, Exit, Storage as _};

use crate::ec2::image;
use crate::ec2::volume::sweep;
use crate::testing::{self, Disks, ok, refused, text};
use crate::{Context, zone};

struct World {
    cx: Context,
    driver: Arc<Fake>,
    disks: Disks,
}

const MIB: u64 = 1 << 20;

impl World {
    fn new() -> World {
        let (cx, driver) = testing::world(|_| None);
        World { cx, driver, disks: Disks::default() }
    }

    async fn settle(&mut self) {
        self.disks.settle(&mut self.cx, &self.driver).await;
    }

    async fn ok(&self, operation: &'static str, members: &str) -> String {
        ok(&self.cx, operation, members).await
    }

    async fn refused(&self, operation: &'static str, members: &str) -> String {
        refused(&self.cx, operation, members).await
    }

    /// An instance that runs in `us-east-1a`.
    async fn instance(&mut self, members: &str) -> String {
        let image = image::ops::built_in_id();
        let base = format!(
            "ImageId={image}&MinCount=1&MaxCount=1&Placement.AvailabilityZone=us-east-1a&{members}"
        );
        let with_type = match members.contains("InstanceType") {
            true => base,
            false => format!("{base}&InstanceType=t3.micro"),
        };
        let id = text(&self.ok("RunInstances", &with_type).await, "instanceId");
        self.settle().await;
        id
    }

    async fn volume(&mut self, members: &str) -> String {
        let made = self.ok("CreateVolume", &format!("AvailabilityZone=us-east-1a&{members}")).await;
        assert_eq!(text(&made, "status"), "creating");
        self.settle().await;
        text(&made, "volumeId")
    }

    async fn shown(&self, volume: &str) -> String {
        self.ok("DescribeVolumes", &format!("VolumeId.1={volume}")).await
    }

    fn stored(&self) -> Vec<String> {
        self.driver.stored().unwrap().into_iter().map(|stored| stored.name).collect()
    }

    /// Names of the disks that the instance has at its host.
    fn plugged(&self, instance: &str) -> Vec<String> {
        let spec = self.driver.spec(instance).unwrap();
        spec.disks.into_iter().map(|disk| disk.name).collect()
    }

    async fn root_of(&self, instance: &str) -> String {
        let filter = format!("Filter.1.Name=attachment.instance-id&Filter.1.Value.1={instance}");
        text(&self.ok("DescribeVolumes", &filter).await, "volumeId")
    }
}

#[tokio::test]
async fn a_volume_moves_from_one_instance_to_another() {
    let mut world = World::new();
    let volume = world
        .volume(
            "Size=2&VolumeType=gp3&TagSpecification.1.ResourceType=volume\
        &TagSpecification.1.Tag.1.Key=Name&TagSpecification.1.Tag.1.Value=data",
        )
        .await;
    let shown = world.shown(&volume).await;
    for (name, expected) in
        [("status", "available"), ("size", "2"), ("iops", "3000"), ("throughput", "125")]
    {
        assert_eq!(text(&shown, name), expected, "{name}");
    }
    let (first, second) = (world.instance("").await, world.instance("").await);
    let to = |instance: &str| format!("VolumeId={volume}&InstanceId={instance}&Device=/dev/sdf");
    assert_eq!(text(&world.ok("AttachVolume", &to(&first)).await, "status"), "attaching");
    let attached = text(&world.shown(&volume).await, "attachmentSet");
    assert_eq!(text(&attached, "status"), "attaching");
    world.settle().await;
    let shown = world.shown(&volume).await;
    assert_eq!(text(&shown, "status"), "attached");
    assert!(shown.contains("<status>in-use</status>"), "{shown}");
    assert_eq!(world.plugged(&first), [volume.as_str()]);
    assert_eq!(world.driver.spec(&first).unwrap().disks[0].device, "/dev/sdf");
    world.driver.write_volume(&volume, 0, b"hello");

    assert_eq!(world.refused("AttachVolume", &to(&second)).await, "VolumeInUse");
    assert_eq!(world.refused("DeleteVolume", &format!("VolumeId={volume}")).await, "VolumeInUse");
    // While it is mounted it stays.
    world.driver.set_mounted(&volume, true);
    let detached = world.ok("DetachVolume", &format!("VolumeId={volume}")).await;
    assert_eq!(text(&detached, "status"), "detaching");
    world.settle().await;
    assert_eq!(text(&world.shown(&volume).await, "status"), "busy");
    world.driver.set_mounted(&volume, false);
    world.settle().await;
    assert_eq!(text(&world.shown(&volume).await, "status"), "available");
    assert_eq!(world.plugged(&first), Vec::<String>::new());

    world.ok("AttachVolume", &to(&second)).await;
    world.settle().await;
    assert_eq!(world.plugged(&second), [volume.as_str()]);
    assert_eq!(world.driver.read_volume(&volume, 0, 5).unwrap(), b"hello");
    // By force it leaves at once.
    world.driver.set_mounted(&volume, true);
    world.ok("DetachVolume", &format!("VolumeId={volume}&Force=true")).await;
    world.settle().await;
    world.ok("DeleteVolume", &format!("VolumeId={volume}")).await;
    assert_eq!(text(&world.shown(&volume).await, "status"), "deleting");
    world.settle().await;
    let gone = world.refused("DescribeVolumes", &format!("VolumeId.1={volume}")).await;
    assert_eq!(gone, "InvalidVolume.NotFound");
    assert_eq!(world.stored(), Vec::<String>::new());
}

#[tokio::test]
async fn refusals() {
    let mut world = World::new();
    let here = "AvailabilityZone=us-east-1a";
    for (members, code) in [
        (here.to_owned(), "MissingParameter"),
        (format!("{here}&Size=0"), "InvalidParameterValue"),
        (format!("{here}&Size=8&VolumeType=gp9"), "InvalidParameterValue"),
        (format!("{here}&Size=8&VolumeType=gp2&Iops=300"), "InvalidParameterCombination"),
        (format!("{here}&Size=8&VolumeType=io2&Iops=9000"), "InvalidParameterValue"),
        (
            format!("{here}&Size=8&VolumeType=io2&Iops=100&MultiAttachEnabled=true"),
            "UnsupportedOperation",
        ),
        (format!("{here}&SnapshotId=snap-0123456789abcdef0"), "InvalidSnapshot.NotFound"),
        (format!("{here}&Size=8&DryRun=true"), "DryRunOperation"),
        ("AvailabilityZone=us-east-1z&Size=8".to_owned(), "InvalidZone.NotFound"),
        ("Size=8".to_owned(), "MissingParameter"),
    ] {
        assert_eq!(world.refused("CreateVolume", &members).await, code, "{members}");
    }
    let here = world.volume("Size=1").await;
    let elsewhere = world.ok("CreateVolume", "Size=1&AvailabilityZone=us-east-1b").await;
    let elsewhere = text(&elsewhere, "volumeId");
    let instance = world.instance("").await;
    let root = world.root_of(&instance).await;
    for (members, code) in [
        (
            format!("VolumeId={elsewhere}&InstanceId={instance}&Device=/dev/sdf"),
            "InvalidVolume.ZoneMismatch",
        ),
        (
            format!("VolumeId={here}&InstanceId={instance}&Device=/dev/sda1"),
            "InvalidParameterValue",
        ),
        (format!("VolumeId={here}&InstanceId={instance}&Device=/dev/xvda"), "UnsupportedOperation"),
        (format!("VolumeId={here}&InstanceId={instance}&Device=disk"), "InvalidParameterValue"),
        (
            format!("VolumeId=vol-0123456789abcdef0&InstanceId={instance}&Device=/dev/sdf"),
            "InvalidVolume.NotFound",
        ),
        (
            format!("VolumeId=nonsense&InstanceId={instance}&Device=/dev/sdf"),
            "InvalidVolumeID.Malformed",
        ),
        (
            format!("VolumeId={here}&InstanceId=i-0123456789abcdef0&Device=/dev/sdf"),
            "InvalidInstanceID.NotFound",
        ),
    ] {
        assert_eq!(world.refused("AttachVolume", &members).await, code, "{members}");
    }
    for (members, code) in [
        (format!("VolumeId={here}"), "IncorrectState"),
        (format!("VolumeId={root}"), "OperationNotPermitted"),
        (
            format!("VolumeId={root}&InstanceId={instance}&Device=/dev/sdf"),
            "InvalidAttachment.NotFound",
        ),
    ] {
        assert_eq!(world.refused("DetachVolume", &members).await, code, "{members}");
    }
    world
        .ok("AttachVolume", &format!("VolumeId={here}&InstanceId={instance}&Device=/dev/sdf"))
        .await;
    let second = world.volume("Size=1").await;
    let same = format!("VolumeId={second}&InstanceId={instance}&Device=xvdf");
    assert_eq!(world.refused("AttachVolume", &same).await, "InvalidParameterValue");
}

#[tokio::test]
async fn a_token_makes_one_volume() {
    let world = World::new();
    let members = "AvailabilityZone=us-east-1a&Size=1&ClientToken=one";
    let first = text(&world.ok("CreateVolume", members).await, "volumeId");
    assert_eq!(text(&world.ok("CreateVolume", members).await, "volumeId"), first);
    let other = "AvailabilityZone=us-east-1a&Size=2&ClientToken=one";
    assert_eq!(world.refused("CreateVolume", other).await, "IdempotentParameterMismatch");
}

#[tokio::test]
async fn volumes_come_with_a_launch_and_go_as_they_are_told() {
    let mut world = World::new();
    let id = world
        .instance(
            "BlockDeviceMapping.1.DeviceName=/dev/xvda&BlockDeviceMapping.1.Ebs.VolumeSize=20\
             &BlockDeviceMapping.2.DeviceName=/dev/sdf&BlockDeviceMapping.2.Ebs.VolumeSize=3\
             &BlockDeviceMapping.2.Ebs.DeleteOnTermination=true\
             &BlockDeviceMapping.3.DeviceName=/dev/sdg&BlockDeviceMapping.3.Ebs.VolumeSize=4\
             &BlockDeviceMapping.3.Ebs.VolumeType=gp3",
        )
        .await;
    let spec = world.driver.spec(&id).unwrap();
    assert_eq!(spec.root_bytes, Some(20 << 30));
    let devices: Vec<&str> = spec.disks.iter().map(|disk| disk.device.as_str()).collect();
    assert_eq!(devices, ["/dev/sdf", "/dev/sdg"]);
    assert_eq!(spec.disks[1].iops, Some(3000));
    assert_eq!(spec.disks[1].bytes_per_second, Some(125 * MIB));
    let shown = world.ok("DescribeInstances", &format!("InstanceId.1={id}")).await;
    let mapping = text(&shown, "blockDeviceMapping");
    let names: Vec<&str> =
        mapping.split("<deviceName>").skip(1).map(|rest| rest.split('<').next().unwrap()).collect();
    assert_eq!(names, ["/dev/xvda", "/dev/sdf", "/dev/sdg"]);
    // gp2 is what no type means, gp3 what the image's root has.
    let of = |device: &str| {
        format!(
            "Filter.1.Name=attachment.device&Filter.1.Value.1={device}&Filter.2.Name=status\
             &Filter.2.Value.1=in-use"
        )
    };
    let root = world.ok("DescribeVolumes", &of("/dev/xvda")).await;
    assert_eq!((text(&root, "volumeType"), text(&root, "size")), ("gp3".into(), "20".into()));
    let data = world.ok("DescribeVolumes", &of("/dev/sdf")).await;
    assert_eq!((text(&data, "volumeType"), text(&data, "iops")), ("gp2".into(), "100".into()));
    let kept = text(&world.ok("DescribeVolumes", &of("/dev/sdg")).await, "volumeId");

    let metadata = |path: &str| {
        let found = crate::ec2::instance::ops::instance(&world.cx.read(), &world.cx, &id).unwrap();
        let path = format!("latest/meta-data/block-device-mapping/{path}");
        let content = crate::ec2::instance::metadata::content::content(
            &world.cx.read(),
            &world.cx,
            &found,
            &path,
        );
        String::from_utf8(content.unwrap()).unwrap()
    };
    assert_eq!(metadata(""), "ami\nebs1\nebs2\nroot");
    assert_eq!(metadata("ebs2"), "sdg");

    world.ok("TerminateInstances", &format!("InstanceId.1={id}")).await;
    world.settle().await;
    let left = world.ok("DescribeVolumes", "").await;
    assert_eq!(left.matches("<volumeId>").count(), 1, "{left}");
    assert_eq!(
        (text(&left, "volumeId"), text(&left, "status")),
        (kept.clone(), "available".into())
    );
    assert_eq!(world.stored(), [kept]);
}

#[tokio::test]
async fn mappings_are_checked() {
    let world = World::new();
    let image = image::ops::built_in_id();
    let base = format!("ImageId={image}&InstanceType=t3.micro&MinCount=1&MaxCount=1");
    let root = "BlockDeviceMapping.1.DeviceName=/dev/xvda&BlockDeviceMapping.1";
    let data = "BlockDeviceMapping.1.DeviceName=/dev/sdf&BlockDeviceMapping.1";
    for (members, code) in [
        (format!("{root}.Ebs.VolumeSize=7"), "InvalidBlockDeviceMapping"),
        (format!("{root}.Ebs.VolumeType=st1"), "InvalidParameterValue"),
        (format!("{root}.NoDevice="), "InvalidBlockDeviceMapping"),
        (format!("{root}.VirtualName=ephemeral0"), "InvalidBlockDeviceMapping"),
        (format!("{root}.Ebs.SnapshotId=snap-0123456789abcdef0"), "InvalidBlockDeviceMapping"),
        (format!("{data}.Ebs.DeleteOnTermination=true"), "MissingParameter"),
        (format!("{data}.Ebs.SnapshotId=snap-0123456789abcdef0"), "InvalidSnapshot.NotFound"),
        (format!("{data}.VirtualName=disk0"), "InvalidBlockDeviceMapping"),
        (data.to_owned(), "MissingParameter"),
        (
            format!(
                "{data}.Ebs.VolumeSize=1&BlockDeviceMapping.2.DeviceName=xvdf\
                     &BlockDeviceMapping.2.Ebs.VolumeSize=1"
            ),
            "InvalidBlockDeviceMapping",
        ),
    ] {
        let asked = format!("{base}&{members}");
        assert_eq!(world.refused("RunInstances", &asked).await, code, "{members}");
    }
}

#[tokio::test]
async fn a_volume_grows_online_and_rests_for_six_hours() {
    let mut world = World::new();
    let id = world.instance("").await;
    let volume = world.volume("Size=1&VolumeType=gp3").await;
    world.ok("AttachVolume", &format!("VolumeId={volume}&InstanceId={id}&Device=/dev/sdf")).await;
    world.settle().await;
    let asked = format!("VolumeId={volume}&Size=10&Iops=4000&Throughput=500");
    let shown = world.ok("ModifyVolume", &asked).await;
    assert_eq!(text(&shown, "modificationState"), "modifying");
    assert_eq!(
        (text(&shown, "originalSize"), text(&shown, "targetSize")),
        ("1".into(), "10".into())
    );
    assert_eq!(world.refused("ModifyVolume", &asked).await, "IncorrectModificationState");
    world.settle().await;
    let named = format!("VolumeId.1={volume}");
    let shown = world.ok("DescribeVolumesModifications", &named).await;
    assert_eq!(text(&shown, "modificationState"), "completed");
    assert_eq!(text(&shown, "progress"), "100");
    let shown = world.shown(&volume).await;
    assert_eq!((text(&shown, "size"), text(&shown, "iops")), ("10".into(), "4000".into()));
    assert_eq!(world.driver.read_volume(&volume, (10 << 30) - 1, 1).unwrap(), [0]);
    let disk = world.driver.spec(&id).unwrap().disks.remove(0);
    assert_eq!((disk.iops, disk.bytes_per_second), (Some(4000), Some(260_625_000)));

    let again = format!("VolumeId={volume}&Size=11");
    assert_eq!(world.refused("ModifyVolume", &again).await, "VolumeModificationRateExceeded");
    let later = world.cx.now.plus(std::time::Duration::from_secs(6 * 3600));
    world.cx.env.clock.advance(later);
    world.cx.now = later;
    for (members, code) in [
        (format!("VolumeId={volume}&Size=9"), "InvalidParameterValue"),
        (format!("VolumeId={volume}"), "MissingParameter"),
        (format!("VolumeId={volume}&Size=10"), "InvalidParameterValue"),
        (format!("VolumeId={volume}&VolumeType=st1"), "InvalidParameterValue"),
    ] {
        assert_eq!(world.refused("ModifyVolume", &members).await, code, "{members}");
    }
    world.ok("ModifyVolume", &again).await;
    let root = world.root_of(&id).await;
    let grow = format!("VolumeId={root}&Size=30");
    assert_eq!(world.refused("ModifyVolume", &grow).await, "UnsupportedOperation");
    world.ok("StopInstances", &format!("InstanceId.1={id}")).await;
    world.settle().await;
    world.ok("ModifyVolume", &grow).await;
    world.settle().await;
    world.ok("StartInstances", &format!("InstanceId.1={id}")).await;
    world.settle().await;
    assert_eq!(world.driver.spec(&id).unwrap().root_bytes, Some(30 << 30));
}

#[tokio::test]
async fn a_stopped_instance_gives_its_root_to_another() {
    let mut world = World::new();
    let (first, second) = (world.instance("").await, world.instance("").await);
    let root = world.root_of(&first).await;
    world.ok("StopInstances", &format!("InstanceId.1={first}&InstanceId.2={second}")).await;
    world.settle().await;
    let other = world.root_of(&second).await;
    for volume in [&root, &other] {
        world.ok("DetachVolume", &format!("VolumeId={volume}")).await;
    }
    world.settle().await;
    assert_eq!(text(&world.shown(&root).await, "status"), "available");
    let start = format!("InstanceId.1={second}");
    assert_eq!(world.refused("StartInstances", &start).await, "InvalidParameterValue");
    let to = |device: &str| format!("VolumeId={root}&InstanceId={second}&Device={device}");
    assert_eq!(world.refused("AttachVolume", &to("/dev/sdf")).await, "UnsupportedOperation");
    world.ok("AttachVolume", &to("/dev/xvda")).await;
    world.ok("StartInstances", &start).await;
    world.settle().await;
    let layers = world.driver.spec(&second).unwrap().layers;
    let frozen = compute::Layer::Dir(format!("/simulated/{root}.0").into());
    assert_eq!(layers, [compute::Layer::Host, frozen]);
    // What the other wrote goes with its volume.
    assert_eq!(world.stored().len(), 2);
    world.ok("DeleteVolume", &format!("VolumeId={other}")).await;
    world.settle().await;
    assert_eq!(world.stored(), [format!("{root}.0")]);
    world.ok("TerminateInstances", &format!("InstanceId.1={first}&InstanceId.2={second}")).await;
    world.settle().await;
    // Attached by hand, it stays, with what the second instance wrote.
    assert_eq!(text(&world.shown(&root).await, "status"), "available");
    assert_eq!(world.stored().len(), 2);
    let wanted = sweep::wanted(&world.cx.read());
    assert!(world.stored().iter().all(|name| wanted.contains(name)));
}

#[tokio::test]
async fn a_root_can_outlive_its_instance() {
    let mut world = World::new();
    let id = world.instance("").await;
    let root = world.root_of(&id).await;
    let keep = format!(
        "InstanceId={id}&BlockDeviceMapping.1.DeviceName=/dev/xvda\
         &BlockDeviceMapping.1.Ebs.DeleteOnTermination=false"
    );
    world.ok("ModifyInstanceAttribute", &keep).await;
    let shown = world
        .ok("DescribeInstanceAttribute", &format!("InstanceId={id}&Attribute=blockDeviceMapping"))
        .await;
    assert_eq!(text(&shown, "deleteOnTermination"), "false");
    world.ok("TerminateInstances", &format!("InstanceId.1={id}")).await;
    world.settle().await;
    assert_eq!(text(&world.shown(&root).await, "status"), "available");
    assert_eq!(world.stored(), [format!("{root}.0")]);
    world.ok("DeleteVolume", &format!("VolumeId={root}")).await;
    world.settle().await;
    assert_eq!(world.stored(), Vec::<String>::new());
}

#[tokio::test]
async fn local_disks_are_new_after_a_stop() {
    let mut world = World::new();
    let id = world.instance("InstanceType=m5d.4xlarge").await;
    let since = |world: &World| {
        let disks = world.driver.spec(&id).unwrap().disks;
        let disks: Vec<_> = disks
            .into_iter()
            .map(|disk| match disk.source {
                DiskSource::InstanceStore { bytes, since } => (disk.device, bytes, since),
                DiskSource::Volume(name) => panic!("{name}"),
            })
            .collect();
        assert_eq!(disks.len(), 2);
        assert_eq!((disks[0].0.as_str(), disks[0].1), ("/dev/nvme1n1", 300_000_000_000));
        disks[0].2
    };
    assert_eq!(since(&world), 1);
    world.ok("RebootInstances", &format!("InstanceId.1={id}")).await;
    world.settle().await;
    assert_eq!(since(&world), 1);
    world.ok("StopInstances", &format!("InstanceId.1={id}")).await;
    world.settle().await;
    world.ok("StartInstances", &format!("InstanceId.1={id}")).await;
    world.settle().await;
    assert_eq!(since(&world), 3);
    // Older types have those that were asked for by name.
    let named = "InstanceType=m3.xlarge&BlockDeviceMapping.1.DeviceName=/dev/sdc\
                 &BlockDeviceMapping.1.VirtualName=ephemeral1";
    let id = world.instance(named).await;
    assert_eq!(world.plugged(&id), ["ephemeral1"]);
    assert_eq!(world.driver.spec(&id).unwrap().disks[0].device, "/dev/sdc");
}

#[tokio::test]
async fn volumes_of_a_failed_zone_stay_with_it() {
    let mut world = World::new();
    let volume = world.volume("Size=1").await;
    let id = world.instance("").await;
    world
        .cx
        .write(|tx| {
            zone::fail(tx, "us-east-1a", world.cx.now);
            Ok::<_, store::Error>(())
        })
        .await
        .unwrap();
    let refused = world.refused("CreateVolume", "AvailabilityZone=us-east-1a&Size=1").await;
    assert_eq!(refused, "InsufficientVolumeCapacity");
    let shown = world.ok("DescribeVolumeStatus", &format!("VolumeId.1={volume}")).await;
    assert!(text(&shown, "volumeStatus").contains("<status>impaired</status>"), "{shown}");
    let taken = world.ok("CreateSnapshot", &format!("VolumeId={volume}")).await;
    let taken = text(&taken, "snapshotId");
    world.settle().await;
    let state = |world: &World| {
        let named = format!("SnapshotId.1={taken}");
        let cx = world.cx.clone();
        async move { text(&ok(&cx, "DescribeSnapshots", &named).await, "status") }
    };
    assert_eq!(state(&world).await, "pending");
    world
        .cx
        .write(|tx| {
            zone::heal(tx, "us-east-1a");
            Ok::<_, store::Error>(())
        })
        .await
        .unwrap();
    world.settle().await;
    assert_eq!(state(&world).await, "completed");
    assert!(world.driver.end(&id, Exit::PoweredOff));
}

#[tokio::test]
async fn what_a_crash_left_is_swept() {
    let mut world = World::new();
    let volume = world.volume("Size=1").await;
    world.driver.create_volume("vol-00000000000000bad", MIB, None, false).await.unwrap();
    world.driver.create_snapshot("snap-00000000000000bad", &volume).await.unwrap();
    // A daemon that begins anew.
    world.disks = Disks::default();
    world.settle().await;
    assert_eq!(world.stored(), [volume]);
    let kinds: Vec<Stored> = world.driver.stored().unwrap().iter().map(|s| s.kind).collect();
    assert_eq!(kinds, [Stored::Volume]);
}
