//! Snapshots and images as clients see them.

use std::sync::Arc;

use compute::fake::Fake;
use compute::{Driver as _, Layer, Phase, Storage as _};

use crate::Context;
use crate::ec2::image::{self, model::RootDevice};
use crate::testing::{self, Disks, ok, refused, text};

struct World {
    cx: Context,
    driver: Arc<Fake>,
    disks: Disks,
}

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

    async fn run(&mut self, image: &str, members: &str) -> String {
        let base = format!("ImageId={image}&InstanceType=t3.micro&MinCount=1&MaxCount=1");
        let id = text(&self.ok("RunInstances", &format!("{base}&{members}")).await, "instanceId");
        self.settle().await;
        id
    }

    async fn instance(&mut self, members: &str) -> String {
        self.run(&image::ops::built_in_id(), members).await
    }

    async fn image(&mut self, members: &str) -> String {
        let id = text(&self.ok("CreateImage", members).await, "imageId");
        assert_eq!(text(&self.shown(&id).await, "imageState"), "pending");
        self.settle().await;
        assert_eq!(text(&self.shown(&id).await, "imageState"), "available");
        id
    }

    async fn shown(&self, image: &str) -> String {
        self.ok("DescribeImages", &format!("ImageId.1={image}")).await
    }

    fn stored(&self) -> Vec<String> {
        self.driver.stored().unwrap().into_iter().map(|stored| stored.name).collect()
    }

    fn boot(&self, instance: &str) -> u64 {
        let seen = self.driver.list().into_iter().find(|seen| seen.id == instance).unwrap();
        assert_eq!(seen.phase, Phase::Up);
        seen.boot
    }
}

const DATA: &str = "BlockDeviceMapping.1.DeviceName=/dev/sdf&BlockDeviceMapping.1.Ebs.VolumeSize=2";

fn layer(name: &str) -> Layer {
    Layer::Dir(format!("/simulated/{name}").into())
}

#[tokio::test]
async fn a_volume_of_a_snapshot_has_its_bytes() {
    let mut world = World::new();
    let made = world.ok("CreateVolume", "AvailabilityZone=us-east-1a&Size=1").await;
    let volume = text(&made, "volumeId");
    world.settle().await;
    world.driver.write_volume(&volume, 4096, b"before");
    let taken = world.ok("CreateSnapshot", &format!("VolumeId={volume}&Description=nightly")).await;
    assert_eq!(text(&taken, "status"), "pending");
    let snapshot = text(&taken, "snapshotId");
    // Taken when the answer came.
    world.driver.write_volume(&volume, 4096, b"after!");
    world.settle().await;
    let shown = world
        .ok("DescribeSnapshots", "Owner.1=self&Filter.1.Name=description&Filter.1.Value.1=night*")
        .await;
    for (name, expected) in [("status", "completed"), ("progress", "100%"), ("volumeSize", "1")] {
        assert_eq!(text(&shown, name), expected, "{name}");
    }
    let of = format!("AvailabilityZone=us-east-1c&SnapshotId={snapshot}");
    let smaller = format!("{of}&Size=0");
    assert_eq!(world.refused("CreateVolume", &smaller).await, "InvalidParameterValue");
    let second = text(&world.ok("CreateVolume", &format!("{of}&Size=3")).await, "volumeId");
    world.settle().await;
    assert_eq!(world.driver.read_volume(&second, 4096, 6).unwrap(), b"before");
    world.ok("DeleteSnapshot", &format!("SnapshotId={snapshot}")).await;
    world.settle().await;
    assert!(!world.stored().contains(&snapshot));
    assert_eq!(world.driver.read_volume(&second, 4096, 6).unwrap(), b"before");
    let gone = world.refused("DeleteSnapshot", &format!("SnapshotId={snapshot}")).await;
    assert_eq!(gone, "InvalidSnapshot.NotFound");
}

#[tokio::test]
async fn snapshots_of_all_volumes_and_copies_elsewhere() {
    let mut world = World::new();
    let id = world.instance(DATA).await;
    let all = format!("InstanceSpecification.InstanceId={id}");
    let taken = world.ok("CreateSnapshots", &all).await;
    assert_eq!(taken.matches("<snapshotId>").count(), 2, "{taken}");
    let data = world
        .ok("CreateSnapshots", &format!("{all}&InstanceSpecification.ExcludeBootVolume=true"))
        .await;
    assert_eq!(data.matches("<snapshotId>").count(), 1, "{data}");
    let data = text(&data, "snapshotId");
    world.settle().await;
    let mut there = world.cx.clone();
    there.region = "eu-west-1".to_owned();
    let members = format!("SourceRegion=us-east-1&SourceSnapshotId={data}&Description=copy");
    let copy = text(&ok(&there, "CopySnapshot", &members).await, "snapshotId");
    world.settle().await;
    let shown = ok(&there, "DescribeSnapshots", &format!("SnapshotId.1={copy}")).await;
    assert_eq!(text(&shown, "status"), "completed");
    assert!(world.stored().contains(&copy));
    let here = world.refused("DescribeSnapshots", &format!("SnapshotId.1={copy}")).await;
    assert_eq!(here, "InvalidSnapshot.NotFound");
    for (members, code) in [
        (format!("SourceRegion=mars&SourceSnapshotId={data}"), "InvalidParameterValue"),
        (format!("SourceRegion=us-east-1&SourceSnapshotId={copy}"), "InvalidSnapshot.NotFound"),
    ] {
        assert_eq!(refused(&there, "CopySnapshot", &members).await, code, "{members}");
    }
}

#[tokio::test]
async fn permissions() {
    let mut world = World::new();
    let made = world.ok("CreateVolume", "AvailabilityZone=us-east-1a&Size=1").await;
    world.settle().await;
    let snapshot =
        world.ok("CreateSnapshot", &format!("VolumeId={}", text(&made, "volumeId"))).await;
    let id = text(&snapshot, "snapshotId");
    let share = format!(
        "SnapshotId={id}&CreateVolumePermission.Add.1.UserId=210987654321\
         &CreateVolumePermission.Add.2.Group=all"
    );
    world.ok("ModifySnapshotAttribute", &share).await;
    let read = format!("SnapshotId={id}&Attribute=createVolumePermission");
    let shown = world.ok("DescribeSnapshotAttribute", &read).await;
    assert_eq!(
        (text(&shown, "group"), text(&shown, "userId")),
        ("all".into(), "210987654321".into())
    );
    let found = world.ok("DescribeSnapshots", "RestorableBy.1=all").await;
    assert!(found.contains(&id));
    let older = format!(
        "SnapshotId={id}&Attribute=createVolumePermission&OperationType=remove&UserGroup.1=all"
    );
    world.ok("ModifySnapshotAttribute", &older).await;
    assert!(!world.ok("DescribeSnapshots", "RestorableBy.1=all").await.contains(&id));
    world.ok("ResetSnapshotAttribute", &read).await;
    assert!(!world.ok("DescribeSnapshotAttribute", &read).await.contains("210987654321"));
    let wrong = format!("SnapshotId={id}&CreateVolumePermission.Add.1.UserId=me");
    assert_eq!(world.refused("ModifySnapshotAttribute", &wrong).await, "InvalidParameterValue");
}

#[tokio::test]
async fn an_image_holds_what_its_instance_wrote() {
    let mut world = World::new();
    let id = world.instance(DATA).await;
    let volumes = world
        .ok("DescribeVolumes", "Filter.1.Name=attachment.device&Filter.1.Value.1=/dev/sdf")
        .await;
    let data = text(&volumes, "volumeId");
    world.driver.write_volume(&data, 0, b"baked");
    let image = world.image(&format!("InstanceId={id}&Name=golden&Description=baked")).await;
    // It was booted anew for it.
    assert_eq!(world.boot(&id), 2);
    let shown = world.shown(&image).await;
    assert_eq!(text(&shown, "sourceInstanceId"), id);
    let snapshots: Vec<String> = shown
        .split("<snapshotId>")
        .skip(1)
        .map(|rest| rest.split('<').next().unwrap().to_owned())
        .collect();
    assert_eq!(snapshots.len(), 2);
    for snapshot in &snapshots {
        let refused = world.refused("DeleteSnapshot", &format!("SnapshotId={snapshot}")).await;
        assert_eq!(refused, "InvalidSnapshot.InUse");
    }
    let again = format!("InstanceId={id}&Name=golden");
    assert_eq!(world.refused("CreateImage", &again).await, "InvalidAMIName.Duplicate");
    let quiet = world.image(&format!("InstanceId={id}&Name=quiet&NoReboot=true&BlockDeviceMapping.1.DeviceName=/dev/sdf&BlockDeviceMapping.1.NoDevice=")).await;
    assert_eq!(world.boot(&id), 2);
    assert_eq!(world.shown(&quiet).await.matches("<snapshotId>").count(), 1);

    let second = world.run(&image, "").await;
    let spec = world.driver.spec(&second).unwrap();
    assert_eq!(spec.layers, [Layer::Host, layer(&snapshots[0])]);
    let disk = spec.disks[0].name.clone();
    assert_eq!(world.driver.read_volume(&disk, 0, 5).unwrap(), b"baked");

    // The image goes, what was made of it stays.
    let gone = world
        .ok("DeregisterImage", &format!("ImageId={image}&DeleteAssociatedSnapshots=true"))
        .await;
    assert_eq!(gone.matches("<returnCode>success</returnCode>").count(), 2, "{gone}");
    world.settle().await;
    let named = format!("ImageId.1={image}");
    assert_eq!(world.refused("DescribeImages", &named).await, "InvalidAMIID.NotFound");
    assert!(world.stored().contains(&snapshots[0]), "its instance needs it");
    assert!(!world.stored().contains(&snapshots[1]));
    world.ok("StopInstances", &format!("InstanceId.1={second}")).await;
    world.settle().await;
    world.ok("StartInstances", &format!("InstanceId.1={second}")).await;
    world.settle().await;
    world.ok("TerminateInstances", &format!("InstanceId.1={second}")).await;
    world.settle().await;
    assert!(!world.stored().contains(&snapshots[0]));
}

#[tokio::test]
async fn a_snapshot_of_a_root_can_be_registered() {
    let mut world = World::new();
    let id = world.instance(DATA).await;
    let taken =
        world.ok("CreateSnapshots", &format!("InstanceSpecification.InstanceId={id}")).await;
    let snapshots: Vec<String> = taken
        .split("<snapshotId>")
        .skip(1)
        .map(|rest| rest.split('<').next().unwrap().to_owned())
        .collect();
    let [root, data] = snapshots.as_slice() else { panic!("{taken}") };
    world.settle().await;
    let base = "Name=registered&Architecture=x86_64&RootDeviceName=/dev/xvda&VirtualizationType=hvm\
                &BlockDeviceMapping.1.DeviceName=/dev/xvda&BlockDeviceMapping.1.Ebs.SnapshotId";
    for (members, code) in [
        (format!("{base}={data}"), "UnsupportedOperation"),
        ("Name=none&Architecture=x86_64".to_owned(), "InvalidBlockDeviceMapping"),
        ("Name=none&ImageLocation=bucket/manifest.xml".to_owned(), "UnsupportedOperation"),
        (format!("{base}={root}").replace("x86_64", "arm64"), "UnsupportedOperation"),
        (
            format!("{base}={root}&BlockDeviceMapping.1.Ebs.VolumeSize=1"),
            "InvalidBlockDeviceMapping",
        ),
    ] {
        assert_eq!(world.refused("RegisterImage", &members).await, code, "{members}");
    }
    let more = format!(
        "{base}={root}&BlockDeviceMapping.2.DeviceName=/dev/sdg\
         &BlockDeviceMapping.2.Ebs.SnapshotId={data}&BlockDeviceMapping.2.Ebs.VolumeSize=5"
    );
    let image = text(&world.ok("RegisterImage", &more).await, "imageId");
    let second = world.run(&image, "").await;
    let spec = world.driver.spec(&second).unwrap();
    assert_eq!(spec.layers, [Layer::Host, layer(root)]);
    assert_eq!(spec.disks[0].device, "/dev/sdg");

    let mut there = world.cx.clone();
    there.region = "eu-west-1".to_owned();
    let members = format!("SourceRegion=us-east-1&SourceImageId={image}&Name=copy&ClientToken=one");
    let copy = text(&ok(&there, "CopyImage", &members).await, "imageId");
    assert_eq!(text(&ok(&there, "CopyImage", &members).await, "imageId"), copy);
    world.settle().await;
    let shown = ok(&there, "DescribeImages", &format!("ImageId.1={copy}")).await;
    assert_eq!(text(&shown, "imageState"), "available");
    assert_eq!(text(&shown, "sourceImageId"), image);
    assert!(!shown.contains(root.as_str()), "it has snapshots of its own region: {shown}");
}

#[tokio::test]
async fn an_images_owner_disposes_of_it() {
    let mut world = World::new();
    let id = world.instance("").await;
    let image = world.image(&format!("InstanceId={id}&Name=mine")).await;
    let named = format!("ImageId={image}");
    let launch = format!("{named}&InstanceType=t3.micro&MinCount=1&MaxCount=1");

    world.ok("ModifyImageAttribute", &format!("{named}&LaunchPermission.Add.1.Group=all")).await;
    assert_eq!(text(&world.shown(&image).await, "isPublic"), "true");
    assert!(world.ok("DescribeImages", "ExecutableBy.1=all").await.contains(&image));
    world.ok("ModifyImageAttribute", &format!("{named}&Description.Value=better")).await;
    assert_eq!(text(&world.shown(&image).await, "description"), "better");

    world.ok("DisableImage", &named).await;
    let shown = world.shown(&image).await;
    assert_eq!(
        (text(&shown, "imageState"), text(&shown, "isPublic")),
        ("disabled".into(), "false".into())
    );
    assert!(!world.ok("DescribeImages", "").await.contains(&image));
    assert!(world.ok("DescribeImages", "IncludeDisabled=true").await.contains(&image));
    assert_eq!(world.refused("RunInstances", &launch).await, "InvalidAMIID.Unavailable");
    world.ok("EnableImage", &named).await;

    let deprecate = |at: &str| format!("{named}&DeprecateAt={at}");
    world.ok("EnableImageDeprecation", &deprecate("2026-06-01T00%3A00%3A30Z")).await;
    assert_eq!(text(&world.shown(&image).await, "deprecationTime"), "2026-06-01T00:00:00.000Z");
    let past =
        world.refused("EnableImageDeprecation", &deprecate("2025-06-01T00%3A00%3A00Z")).await;
    assert_eq!(past, "InvalidParameterValue");
    world.ok("DisableImageDeprecation", &named).await;
    assert!(!world.shown(&image).await.contains("deprecationTime"));

    world.ok("EnableImageDeregistrationProtection", &format!("{named}&WithCooldown=true")).await;
    assert_eq!(world.refused("DeregisterImage", &named).await, "OperationNotPermitted");
    let off = world.ok("DisableImageDeregistrationProtection", &named).await;
    assert!(text(&off, "return").starts_with("disabled on "), "{off}");
    assert_eq!(world.refused("DeregisterImage", &named).await, "OperationNotPermitted");
    let later = world.cx.now.plus(std::time::Duration::from_secs(24 * 3600));
    world.cx.env.clock.advance(later);
    world.cx.now = later;
    world.ok("DeregisterImage", &named).await;
    assert_eq!(world.refused("RunInstances", &launch).await, "InvalidAMIID.NotFound");
    let built_in = format!("ImageId={}", image::ops::built_in_id());
    assert_eq!(world.refused("DeregisterImage", &built_in).await, "OperationNotPermitted");
}

#[tokio::test]
async fn an_image_of_what_is_gone_fails() {
    let mut world = World::new();
    let id = world.instance("").await;
    let made = world.ok("CreateImage", &format!("InstanceId={id}&Name=lost")).await;
    let image = text(&made, "imageId");
    let pending = format!("ImageId={image}&InstanceType=t3.micro&MinCount=1&MaxCount=1");
    assert_eq!(world.refused("RunInstances", &pending).await, "InvalidAMIID.Unavailable");
    world.ok("TerminateInstances", &format!("InstanceId.1={id}&Force=true")).await;
    world.settle().await;
    assert_eq!(text(&world.shown(&image).await, "imageState"), "failed");
}

#[tokio::test]
async fn an_instance_whose_root_is_instance_store_cannot_be_stopped() {
    let mut world = World::new();
    let content = image::ops::Content {
        layers: vec![layer("m3")],
        root_device: RootDevice::InstanceStore,
        ..Default::default()
    };
    let made = world
        .cx
        .write(|tx| image::ops::register_local(tx, &world.cx, "of a disk", content.clone(), ""));
    let image = made.await.unwrap().id;
    let shown = world.shown(&image).await;
    assert_eq!(text(&shown, "rootDeviceType"), "instance-store");
    assert!(!shown.contains("<ebs>"), "{shown}");
    let run = format!("ImageId={image}&MinCount=1&MaxCount=1");
    for (members, code) in [
        ("InstanceType=t3.micro", "InvalidParameterCombination"),
        (
            "InstanceType=m3.large&InstanceInitiatedShutdownBehavior=stop",
            "InvalidParameterCombination",
        ),
        (
            "InstanceType=m3.large&BlockDeviceMapping.1.DeviceName=/dev/xvda\
             &BlockDeviceMapping.1.Ebs.VolumeSize=9",
            "InvalidBlockDeviceMapping",
        ),
    ] {
        assert_eq!(world.refused("RunInstances", &format!("{run}&{members}")).await, code);
    }
    let made = world.ok("RunInstances", &format!("{run}&InstanceType=m3.large&{DATA}")).await;
    let id = text(&made, "instanceId");
    world.settle().await;
    let one = format!("InstanceId.1={id}");
    assert_eq!(world.refused("StopInstances", &one).await, "UnsupportedOperation");
    let shown = world.ok("DescribeInstances", &one).await;
    assert_eq!(text(&shown, "rootDeviceType"), "instance-store");
    // The data volume is one, the root is none.
    assert_eq!(shown.matches("<volumeId>").count(), 1);
    let filter = "Filter.1.Name=root-device-type&Filter.1.Value.1=instance-store";
    assert_eq!(text(&world.ok("DescribeInstances", filter).await, "instanceId"), id);
    let attribute = format!("InstanceId={id}&InstanceInitiatedShutdownBehavior.Value=stop");
    let code = world.refused("ModifyInstanceAttribute", &attribute).await;
    assert_eq!(code, "UnsupportedOperation");
    let code = world.refused("CreateImage", &format!("InstanceId={id}&Name=no-copy")).await;
    assert_eq!(code, "InvalidParameterValue");
    let asked = format!("InstanceId={id}&Attribute=instanceInitiatedShutdownBehavior");
    let shown = world.ok("DescribeInstanceAttribute", &asked).await;
    assert_eq!(text(&shown, "value"), "terminate");
    let before = world.boot(&id);
    world.ok("RebootInstances", &one).await;
    world.settle().await;
    assert_eq!(world.boot(&id), before + 1);
    world.ok("TerminateInstances", &one).await;
    world.settle().await;
    assert!(world.driver.list().iter().all(|seen| seen.id != id));
}
