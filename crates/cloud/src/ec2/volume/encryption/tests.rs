//! Encrypted volumes as clients see them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use compute::fake::{Fake, Fault, Point};
use compute::{Layer, Storage as _};

use super::*;
use crate::ec2::image;
use crate::testing::{self, Disks, ok, refused, text};

struct World {
    cx: Context,
    driver: Arc<Fake>,
    disks: Disks,
}

impl World {
    fn new() -> World {
        World::with(|_| None)
    }

    fn with(faults: impl Fn(Point<'_>) -> Option<Fault> + Send + Sync + 'static) -> World {
        let (cx, driver) = testing::world(faults);
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

    async fn volume(&mut self, members: &str) -> String {
        let made = self.ok("CreateVolume", &format!("AvailabilityZone=us-east-1a&{members}")).await;
        self.settle().await;
        text(&made, "volumeId")
    }

    async fn snapshot(&mut self, volume: &str) -> String {
        let taken = self.ok("CreateSnapshot", &format!("VolumeId={volume}")).await;
        self.settle().await;
        text(&taken, "snapshotId")
    }

    async fn run(&mut self, image: &str, members: &str) -> String {
        let base = format!("ImageId={image}&InstanceType=t3.micro&MinCount=1&MaxCount=1");
        let base = format!("{base}&Placement.AvailabilityZone=us-east-1a");
        let id = text(&self.ok("RunInstances", &format!("{base}&{members}")).await, "instanceId");
        self.settle().await;
        id
    }

    async fn image(&mut self, members: &str) -> String {
        let id = text(&self.ok("CreateImage", members).await, "imageId");
        self.settle().await;
        id
    }

    /// What a record says, and what the storage does.
    async fn is(&self, kind: &str, id: &str) -> (String, bool) {
        let shown = match kind {
            "volume" => self.ok("DescribeVolumes", &format!("VolumeId.1={id}")).await,
            _ => self.ok("DescribeSnapshots", &format!("SnapshotId.1={id}")).await,
        };
        assert_eq!(shown.contains(&key_arn(&self.cx)), text(&shown, "encrypted") == "true");
        (text(&shown, "encrypted"), self.sealed(id))
    }

    fn sealed(&self, name: &str) -> bool {
        let stored = self.driver.stored().unwrap();
        stored.iter().find(|stored| stored.name == name).unwrap().encrypted
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> =
            self.driver.stored().unwrap().into_iter().map(|stored| stored.name).collect();
        names.sort();
        names
    }

    async fn root_of(&self, instance: &str) -> String {
        let filter = format!("Filter.1.Name=attachment.instance-id&Filter.1.Value.1={instance}");
        let filter = format!("{filter}&Filter.2.Name=attachment.device&Filter.2.Value.1=/dev/xvda");
        text(&self.ok("DescribeVolumes", &filter).await, "volumeId")
    }
}

fn yes() -> (String, bool) {
    ("true".into(), true)
}

fn no() -> (String, bool) {
    ("false".into(), false)
}

const DATA: &str = "BlockDeviceMapping.1.DeviceName=/dev/sdf&BlockDeviceMapping.1.Ebs";
const ROOT: &str = "BlockDeviceMapping.1.DeviceName=/dev/xvda&BlockDeviceMapping.1.Ebs";

#[tokio::test]
async fn what_is_made_of_what_is_encrypted_is_too() {
    let mut world = World::new();
    let volume = world.volume("Size=1&Encrypted=true").await;
    assert_eq!(world.is("volume", &volume).await, yes());
    world.driver.write_volume(&volume, 0, b"secret");
    let taken = world.snapshot(&volume).await;
    assert_eq!(world.is("snapshot", &taken).await, yes());
    let second = world.volume(&format!("SnapshotId={taken}")).await;
    assert_eq!(world.is("volume", &second).await, yes());
    assert_eq!(world.driver.read_volume(&second, 0, 6).unwrap(), b"secret");
    let copy = format!("SourceRegion=us-east-1&SourceSnapshotId={taken}");
    let copied = text(&world.ok("CopySnapshot", &copy).await, "snapshotId");
    world.settle().await;
    assert_eq!(world.is("snapshot", &copied).await, yes());

    let of = format!("AvailabilityZone=us-east-1a&SnapshotId={taken}&Encrypted=false");
    assert_eq!(world.refused("CreateVolume", &of).await, "InvalidParameterValue");
    let never = format!("{copy}&Encrypted=false");
    assert_eq!(world.refused("CopySnapshot", &never).await, "InvalidParameterValue");
    for share in [
        "CreateVolumePermission.Add.1.Group=all",
        "CreateVolumePermission.Add.1.UserId=111122223333",
        "OperationType=add&UserGroup.1=all",
    ] {
        let asked = format!("SnapshotId={taken}&Attribute=createVolumePermission&{share}");
        assert_eq!(
            world.refused("ModifySnapshotAttribute", &asked).await,
            "OperationNotPermitted",
            "{share}"
        );
    }
    // By filters.
    let plain = world.volume("Size=1").await;
    for (wanted, expected) in [("true", 2), ("false", 1)] {
        let filter = format!("Filter.1.Name=encrypted&Filter.1.Value.1={wanted}");
        let shown = world.ok("DescribeVolumes", &filter).await;
        assert_eq!(shown.matches("<volumeId>").count(), expected, "{shown}");
    }
    let shown =
        world.ok("DescribeSnapshots", "Filter.1.Name=encrypted&Filter.1.Value.1=false").await;
    assert!(!shown.contains("<snapshotId>"));
    assert_eq!(world.is("volume", &plain).await, no());
}

#[tokio::test]
async fn keys_are_that_of_ebs() {
    let mut world = World::new();
    let key = key_arn(&world.cx);
    assert_eq!(text(&world.ok("GetEbsDefaultKmsKeyId", "").await, "kmsKeyId"), ALIAS);
    assert_eq!(text(&world.ok("ResetEbsDefaultKmsKeyId", "").await, "kmsKeyId"), key);
    let own = format!("KmsKeyId={ALIAS}");
    assert_eq!(text(&world.ok("ModifyEbsDefaultKmsKeyId", &own).await, "kmsKeyId"), key);
    let other = "KmsKeyId=alias/mine";
    assert_eq!(world.refused("ModifyEbsDefaultKmsKeyId", other).await, "InvalidParameterValue");
    let volume = world.volume(&format!("Size=1&Encrypted=true&KmsKeyId={key}")).await;
    assert_eq!(world.is("volume", &volume).await, yes());
    let taken = world.snapshot(&volume).await;
    let image = image::ops::built_in_id();
    let run = format!("ImageId={image}&InstanceType=t3.micro&MinCount=1&MaxCount=1");
    for (operation, base) in [
        ("CreateVolume", "AvailabilityZone=us-east-1a&Size=1&".to_owned()),
        ("CopySnapshot", format!("SourceRegion=us-east-1&SourceSnapshotId={taken}&")),
        ("RunInstances", format!("{run}&{DATA}.VolumeSize=1&BlockDeviceMapping.1.Ebs.")),
    ] {
        for (members, code) in [
            ("KmsKeyId=alias/aws/ebs", "InvalidParameterDependency"),
            ("Encrypted=true&KmsKeyId=alias/mine", "InvalidParameterValue"),
        ] {
            let members = match operation {
                "RunInstances" => members.replace("&Kms", "&BlockDeviceMapping.1.Ebs.Kms"),
                _ => members.to_owned(),
            };
            let refused = world.refused(operation, &format!("{base}{members}")).await;
            assert_eq!(refused, code, "{operation} {members}");
        }
    }
}

#[tokio::test]
async fn a_region_encrypts_by_default() {
    let mut world = World::new();
    let before = world.volume("Size=1").await;
    let plain = world.snapshot(&before).await;
    let is_on = "ebsEncryptionByDefault";
    assert_eq!(text(&world.ok("GetEbsEncryptionByDefault", "").await, is_on), "false");
    assert_eq!(
        world.refused("EnableEbsEncryptionByDefault", "DryRun=true").await,
        "DryRunOperation"
    );
    assert_eq!(text(&world.ok("EnableEbsEncryptionByDefault", "").await, is_on), "true");
    assert_eq!(text(&world.ok("GetEbsEncryptionByDefault", "").await, is_on), "true");
    let elsewhere = Context { region: "eu-west-1".into(), ..world.cx.clone() };
    assert_eq!(text(&ok(&elsewhere, "GetEbsEncryptionByDefault", "").await, is_on), "false");

    assert_eq!(world.is("volume", &before).await, no());
    let volume = world.volume("Size=1&Encrypted=false").await;
    assert_eq!(world.is("volume", &volume).await, yes());
    let restored = world.volume(&format!("SnapshotId={plain}")).await;
    assert_eq!(world.is("volume", &restored).await, yes());
    let copy = format!("SourceRegion=us-east-1&SourceSnapshotId={plain}");
    let copied = text(&world.ok("CopySnapshot", &copy).await, "snapshotId");
    world.settle().await;
    assert_eq!(world.is("snapshot", &copied).await, yes());
    // Those of launches, templates included.
    let template = "LaunchTemplateName=web&LaunchTemplateData.BlockDeviceMapping.1.DeviceName=/dev/sdf\
        &LaunchTemplateData.BlockDeviceMapping.1.Ebs.VolumeSize=1";
    world.ok("CreateLaunchTemplate", template).await;
    let instance =
        world.run(&image::ops::built_in_id(), "LaunchTemplate.LaunchTemplateName=web").await;
    let spec = world.driver.spec(&instance).unwrap();
    assert!(spec.root_encrypted && world.sealed(&spec.disks[0].name));
    world.ok("DisableEbsEncryptionByDefault", "").await;
    let volume = world.volume("Size=1").await;
    assert_eq!(world.is("volume", &volume).await, no());
}

#[tokio::test]
async fn roots_and_images_of_them() {
    let mut world = World::new();
    let built_in = image::ops::built_in_id();
    // Of an image that is not encrypted, and has nothing that the storage keeps.
    let first = world.run(&built_in, &format!("{ROOT}.Encrypted=true")).await;
    let spec = world.driver.spec(&first).unwrap();
    assert!(spec.root_encrypted);
    assert_eq!(spec.layers, [Layer::Host]);
    let image = world.image(&format!("InstanceId={first}&Name=sealed")).await;
    let shown = world.ok("DescribeImages", &format!("ImageId.1={image}")).await;
    assert_eq!(text(&shown, "encrypted"), "true");
    let root = text(&shown, "snapshotId");
    assert_eq!(world.is("snapshot", &root).await, yes());
    let filter = "Filter.1.Name=block-device-mapping.encrypted&Filter.1.Value.1=true";
    let shown = world.ok("DescribeImages", filter).await;
    assert_eq!(shown.matches("<imageId>").count(), 1, "{shown}");
    // Its instances share it.
    let second = world.run(&image, "").await;
    let spec = world.driver.spec(&second).unwrap();
    assert!(spec.root_encrypted && spec.layers.len() == 2);
    assert_eq!(world.names(), std::slice::from_ref(&root));
    assert_eq!(
        world
            .refused(
                "ModifyImageAttribute",
                &format!("ImageId={image}&LaunchPermission.Add.1.Group=all")
            )
            .await,
        "InvalidParameter"
    );
    let run = format!("ImageId={image}&InstanceType=t3.micro&MinCount=1&MaxCount=1");
    let never = format!("{run}&{ROOT}.Encrypted=false");
    assert_eq!(world.refused("RunInstances", &never).await, "InvalidBlockDeviceMapping");
    // Registered anew, what is of a snapshot is as that is, what is empty as is asked.
    let architecture = image::model::host_architecture();
    let register = format!(
        "Name=again&Architecture={architecture}&RootDeviceName=/dev/xvda&{ROOT}.SnapshotId={root}"
    );
    let refused = format!("{register}&BlockDeviceMapping.1.Ebs.Encrypted=true");
    assert_eq!(world.refused("RegisterImage", &refused).await, "InvalidBlockDeviceMapping");
    let second = "BlockDeviceMapping.2.DeviceName=/dev/sdf&BlockDeviceMapping.2.Ebs.VolumeSize=1\
        &BlockDeviceMapping.2.Ebs.Encrypted=true";
    let again = text(&world.ok("RegisterImage", &format!("{register}&{second}")).await, "imageId");
    let shown = world.ok("DescribeImages", &format!("ImageId.1={again}")).await;
    assert_eq!(shown.matches("<encrypted>true</encrypted>").count(), 2, "{shown}");
    let instance = world.run(&again, "").await;
    let spec = world.driver.spec(&instance).unwrap();
    assert!(spec.root_encrypted && world.sealed(&spec.disks[0].name));
}

#[tokio::test]
async fn a_plain_image_is_encrypted_once_for_all_who_launch_it() {
    let slow = Arc::new(AtomicUsize::new(1));
    let left = slow.clone();
    let mut world = World::with(move |point| match point {
        Point::Store(name) if name.ends_with(".x") && left.load(Ordering::Relaxed) > 0 => {
            left.fetch_sub(1, Ordering::Relaxed);
            Some(Fault::Busy)
        }
        _ => None,
    });
    let base = world.run(&image::ops::built_in_id(), "").await;
    let plain = world.image(&format!("InstanceId={base}&Name=plain")).await;
    let shown = world.ok("DescribeImages", &format!("ImageId.1={plain}")).await;
    let frozen = text(&shown, "snapshotId");
    assert_eq!(world.is("snapshot", &frozen).await, no());
    let first = world.run(&plain, &format!("{ROOT}.Encrypted=true")).await;
    let root = world.root_of(&first).await;
    let state = world.ok("DescribeVolumes", &format!("VolumeId.1={root}")).await;
    assert!(state.contains("<status>creating</status>"), "{state}");
    assert!(world.driver.spec(&first).is_none(), "not before its root is ciphertext");
    world.settle().await;
    let copy = copy_name(&frozen);
    let layer = Layer::Dir(format!("/simulated/{copy}").into());
    for id in [first, world.run(&plain, &format!("{ROOT}.Encrypted=true")).await] {
        let spec = world.driver.spec(&id).unwrap();
        assert!(spec.root_encrypted);
        assert_eq!(spec.layers, [Layer::Host, layer.clone()]);
    }
    assert_eq!(world.names(), [frozen.clone(), copy.clone()]);
    assert!(world.sealed(&copy));
    // Who does not ask has the plain one.
    let other = world.run(&plain, "").await;
    assert_eq!(
        world.driver.spec(&other).unwrap().layers[1..],
        [Layer::Dir(format!("/simulated/{frozen}").into())]
    );

    // The image as a copy that is encrypted.
    let members = "SourceRegion=us-east-1&Name=copy&Encrypted=true";
    let made = world.ok("CopyImage", &format!("{members}&SourceImageId={plain}")).await;
    let image = text(&made, "imageId");
    world.settle().await;
    let shown = world.ok("DescribeImages", &format!("ImageId.1={image}")).await;
    assert_eq!(text(&shown, "imageState"), "available");
    assert_eq!(text(&shown, "encrypted"), "true");
    let launched = world.run(&image, "").await;
    let spec = world.driver.spec(&launched).unwrap();
    assert!(spec.root_encrypted);
    assert_eq!(spec.layers, [Layer::Host, layer]);
    // One that has no snapshots says that its roots are to be.
    let made = world
        .ok(
            "CopyImage",
            &format!(
                "{}&SourceImageId={}",
                members.replace("copy", "host"),
                image::ops::built_in_id()
            ),
        )
        .await;
    let host = world.run(&text(&made, "imageId"), "").await;
    assert!(world.driver.spec(&host).unwrap().root_encrypted);
    // Nothing stays of the plain one when nobody needs it.
    world.ok("TerminateInstances", &format!("InstanceId.1={other}&InstanceId.2={base}")).await;
    world.ok("DeregisterImage", &format!("ImageId={plain}&DeleteAssociatedSnapshots=true")).await;
    world.settle().await;
    assert_eq!(world.names(), [copy]);
}

#[tokio::test]
async fn what_takes_long_is_asked_for_again() {
    let left = AtomicUsize::new(3);
    let mut world = World::with(move |point| match point {
        Point::Store(name) if name.starts_with("vol-") && left.load(Ordering::Relaxed) > 0 => {
            left.fetch_sub(1, Ordering::Relaxed);
            Some(Fault::Busy)
        }
        _ => None,
    });
    let volume = world.volume("Size=1&Encrypted=true").await;
    let status = |shown: &str| text(shown, "status");
    let asked = format!("VolumeId.1={volume}");
    assert_eq!(status(&world.ok("DescribeVolumes", &asked).await), "creating");
    for _ in 0..3 {
        world.settle().await;
    }
    assert_eq!(status(&world.ok("DescribeVolumes", &asked).await), "available");
    assert_eq!(world.is("volume", &volume).await, yes());
}

#[tokio::test]
async fn a_volume_that_nobody_decrypts_is_impaired() {
    let mut world = World::new();
    let members = format!("{DATA}.VolumeSize=1&BlockDeviceMapping.1.Ebs.Encrypted=true");
    let instance = world.run(&image::ops::built_in_id(), &members).await;
    let volume = world.driver.spec(&instance).unwrap().disks[0].name.clone();
    let impaired = "Filter.1.Name=volume-status.status&Filter.1.Value.1=impaired";
    assert!(!world.ok("DescribeVolumeStatus", impaired).await.contains("<volumeId>"));
    world.driver.set_impaired(&volume, true);
    let shown = world.ok("DescribeVolumeStatus", impaired).await;
    assert_eq!(text(&shown, "volumeId"), volume);
    assert!(shown.contains("<status>failed</status>"), "{shown}");
    world.driver.set_impaired(&volume, false);
    assert!(!world.ok("DescribeVolumeStatus", impaired).await.contains("<volumeId>"));
    // A root by its instance; one that is plain has nobody who could die.
    let members = format!("{ROOT}.Encrypted=true");
    let sealed = world.run(&image::ops::built_in_id(), &members).await;
    world.driver.set_impaired(&instance, true);
    assert!(!world.ok("DescribeVolumeStatus", impaired).await.contains("<volumeId>"));
    world.driver.set_impaired(&sealed, true);
    let root = world.root_of(&sealed).await;
    assert_eq!(text(&world.ok("DescribeVolumeStatus", impaired).await, "volumeId"), root);
}

#[tokio::test]
async fn where_nothing_can_be_encrypted_it_is_refused() {
    let mut world = World::new();
    let plain = world.volume("Size=1").await;
    let taken = world.snapshot(&plain).await;
    world.driver.forbid_encryption("/dev/fuse is missing");
    let image = image::ops::built_in_id();
    let run = format!("ImageId={image}&InstanceType=t3.micro&MinCount=1&MaxCount=1");
    for (operation, members) in [
        ("EnableEbsEncryptionByDefault", String::new()),
        ("CreateVolume", "AvailabilityZone=us-east-1a&Size=1&Encrypted=true".into()),
        ("CopySnapshot", format!("SourceRegion=us-east-1&SourceSnapshotId={taken}&Encrypted=true")),
        (
            "CopyImage",
            format!("SourceRegion=us-east-1&SourceImageId={image}&Name=copy&Encrypted=true"),
        ),
        ("RunInstances", format!("{run}&{ROOT}.Encrypted=true")),
        (
            "RunInstances",
            format!("{run}&{DATA}.VolumeSize=1&BlockDeviceMapping.1.Ebs.Encrypted=true"),
        ),
    ] {
        let code = world.refused(operation, &members).await;
        assert_eq!(code, "UnsupportedOperation", "{operation} {members}");
    }
    // All else goes on.
    world.run(&image, "").await;
    world.volume(&format!("SnapshotId={taken}&Encrypted=false")).await;
}

#[test]
fn one_key_by_all_its_names() {
    let cx = testing::context();
    let arn = key_arn(&cx);
    assert!(arn.starts_with("arn:aws:kms:us-east-1:123456789012:key/"), "{arn}");
    assert_eq!(arn, key_arn(&cx));
    let elsewhere = Context { region: "eu-west-1".into(), ..cx.clone() };
    assert!(check_key(&elsewhere, &arn).is_err());
    let id = arn.rsplit('/').next().unwrap();
    for name in [ALIAS, &arn, id, "arn:aws:kms:us-east-1:123456789012:alias/aws/ebs"] {
        check_key(&cx, name).unwrap();
    }
    for name in ["alias/mine", "", "1234abcd-12ab-34cd-56ef-1234567890ab"] {
        assert_eq!(check_key(&cx, name).unwrap_err().code(), "InvalidParameterValue");
    }
}
