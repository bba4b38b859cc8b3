//! Requests as clients send them, and what in the answers clients look at.

use std::sync::Arc;

use crate::controller::Controller;
use crate::ec2::image;
use crate::ec2::instance::controller::Instances;
use crate::testing;
use crate::{Context, Timestamp};

struct Cloud {
    cx: Context,
    driver: Arc<compute::fake::Fake>,
    controller: Instances,
}

impl Cloud {
    fn new() -> Cloud {
        let (cx, driver) = testing::world(|_| None);
        Cloud { cx, driver, controller: Instances::default() }
    }

    /// Status and body.
    async fn call(&self, operation: &'static str, members: &str) -> (u16, String) {
        testing::call(&self.cx, operation, members).await
    }

    async fn ok(&self, operation: &'static str, members: &str) -> String {
        let (status, body) = self.call(operation, members).await;
        assert_eq!(status, 200, "{operation} {members}: {body}");
        body
    }

    async fn run(&self, members: &str) -> String {
        let image = image::ops::built_in_id();
        let base = format!("ImageId={image}&InstanceType=t3.micro&MinCount=1&MaxCount=1");
        self.ok("RunInstances", &format!("{base}&{members}")).await
    }

    async fn boot(&self) {
        self.controller.reconcile(&self.cx.env).await.unwrap();
        self.cx.env.clock.advance(Timestamp(self.cx.env.clock.now().0 + 1000));
        self.driver.tick();
        self.controller.reconcile(&self.cx.env).await.unwrap();
    }
}

/// The text of the first element of that name.
fn text<'a>(xml: &'a str, name: &str) -> &'a str {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let start = xml.find(&open).unwrap_or_else(|| panic!("no {name} in {xml}")) + open.len();
    &xml[start..start + xml[start..].find(&close).unwrap()]
}

#[tokio::test]
async fn an_instance_as_clients_see_it() {
    let cloud = Cloud::new();
    let tags = "TagSpecification.1.ResourceType=instance&TagSpecification.1.Tag.1.Key=Name\
                &TagSpecification.1.Tag.1.Value=web";
    let run = cloud.run(&format!("{tags}&Placement.AvailabilityZone=us-east-1b")).await;
    assert_eq!(text(&run, "ownerId"), "123456789012");
    assert_eq!(text(text(&run, "instanceState"), "name"), "pending");
    let id = text(&run, "instanceId").to_owned();
    assert!(id.starts_with("i-0") && id.len() == 19, "{id}");
    cloud.boot().await;

    let filter = "Filter.1.Name=tag:Name&Filter.1.Value.1=w*&Filter.2.Name=instance-state-name\
                  &Filter.2.Value.1=running";
    let shown = cloud.ok("DescribeInstances", filter).await;
    for (name, expected) in [
        ("instanceId", id.as_str()),
        ("availabilityZone", "us-east-1b"),
        ("architecture", "x86_64"),
        ("rootDeviceName", "/dev/xvda"),
        ("hypervisor", "xen"),
        ("virtualizationType", "hvm"),
        ("launchTime", "2026-01-01T00:00:00.000Z"),
        ("coreCount", "1"),
        ("groupName", "default"),
        ("platformDetails", "Linux/UNIX"),
    ] {
        assert_eq!(text(&shown, name), expected);
    }
    let address = text(&shown, "privateIpAddress").replace('.', "-");
    assert_eq!(text(&shown, "privateDnsName"), format!("ip-{address}.ec2.internal"));
    assert_eq!(text(text(&shown, "tagSet"), "value"), "web");
    let none = cloud.ok("DescribeInstances", "Filter.1.Name=tag:Name&Filter.1.Value.1=db").await;
    assert!(none.contains("<reservationSet/>") || none.contains("<reservationSet></"), "{none}");

    let status = cloud.ok("DescribeInstanceStatus", &format!("InstanceId.1={id}")).await;
    assert_eq!(text(text(&status, "systemStatus"), "name"), "reachability");
    assert_eq!(text(text(&status, "instanceStatus"), "status"), "passed");

    let volume = text(text(&shown, "ebs"), "volumeId");
    let volumes = cloud.ok("DescribeVolumes", &format!("VolumeId.1={volume}")).await;
    assert_eq!(text(&volumes, "instanceId"), id);
    let interface = text(&shown, "networkInterfaceId");
    let by_id = format!("NetworkInterfaceId.1={interface}");
    let interfaces = cloud.ok("DescribeNetworkInterfaces", &by_id).await;
    assert_eq!(text(&interfaces, "macAddress"), text(&shown, "macAddress"));

    for resource in [volume, interface] {
        let tag = format!("ResourceId.1={resource}&Tag.1.Key=k&Tag.1.Value=v");
        cloud.ok("CreateTags", &tag).await;
    }
    let tagged = cloud.ok("DescribeVolumes", "Filter.1.Name=tag:k&Filter.1.Value.1=v").await;
    assert_eq!(text(&tagged, "volumeId"), volume);

    let console = cloud.ok("GetConsoleOutput", &format!("InstanceId={id}")).await;
    assert!(!text(&console, "output").is_empty());
    let stopped = cloud.ok("StopInstances", &format!("InstanceId.1={id}")).await;
    assert_eq!(text(text(&stopped, "currentState"), "code"), "64");
    assert_eq!(text(text(&stopped, "previousState"), "name"), "running");
}

#[tokio::test]
async fn attributes() {
    let cloud = Cloud::new();
    let run = cloud.run("UserData=IyEvYmluL3NoCg==").await;
    let id = format!("InstanceId={}", text(&run, "instanceId"));
    cloud.boot().await;
    let shown = cloud.ok("DescribeInstanceAttribute", &format!("{id}&Attribute=userData")).await;
    assert_eq!(text(text(&shown, "userData"), "value"), "IyEvYmluL3NoCg==");
    for (members, expected) in [
        ("DisableApiTermination.Value=true", None),
        ("Attribute=disableApiStop&Value=true", None),
        ("InstanceType.Value=t3.small", Some("IncorrectInstanceState")),
        ("SourceDestCheck.Value=false", None),
        ("EbsOptimized.Value=true", Some("UnsupportedOperation")),
        ("GroupId.1=sg-12345678", Some("InvalidGroup.NotFound")),
        (
            "DisableApiTermination.Value=true&DisableApiStop.Value=true",
            Some("InvalidParameterCombination"),
        ),
        ("", Some("InvalidParameterCombination")),
    ] {
        let (_, body) = cloud.call("ModifyInstanceAttribute", &format!("{id}&{members}")).await;
        match expected {
            None => assert_eq!(text(&body, "return"), "true", "{members}"),
            Some(code) => assert!(body.starts_with(&format!("{code}: ")), "{members}: {body}"),
        }
    }
    let plural = id.replacen("InstanceId", "InstanceId.1", 1);
    let (_, refused) = cloud.call("TerminateInstances", &plural).await;
    assert!(refused.starts_with("OperationNotPermitted: "), "{refused}");
    let options =
        cloud.ok("ModifyInstanceMetadataOptions", &format!("{id}&HttpTokens=required")).await;
    assert_eq!(text(&options, "httpTokens"), "required");
    let monitored = cloud.ok("MonitorInstances", &plural).await;
    assert_eq!(text(text(&monitored, "monitoring"), "state"), "enabled");
}

#[tokio::test]
async fn what_is_refused_by_name() {
    let cloud = Cloud::new();
    let image = image::ops::built_in_id();
    let base = format!("ImageId={image}&InstanceType=t3.micro&MinCount=1&MaxCount=1");
    for (members, status, code) in [
        ("DryRun=true", 412, "DryRunOperation"),
        ("CpuOptions.CoreCount=1", 400, "UnsupportedOperation"),
        ("InstanceMarketOptions.MarketType=capacity-block", 400, "UnsupportedOperation"),
        ("IamInstanceProfile.Name=x", 400, "InvalidParameterValue"),
        ("Placement.Tenancy=dedicated", 400, "Unsupported"),
        ("HibernationOptions.Configured=true", 400, "UnsupportedHibernationConfiguration"),
        ("PrivateIpAddress=172.31.0.1&SubnetId=subnet-x", 400, "InvalidSubnetID.Malformed"),
        ("UserData=***", 400, "InvalidParameterValue"),
        ("KeyName=none", 400, "InvalidKeyPair.NotFound"),
        ("SecurityGroupId.1=sg-12345678", 400, "InvalidGroup.NotFound"),
        ("NetworkInterface.1.SubnetId=subnet-12345678", 400, "MissingParameter"),
        (
            "BlockDeviceMapping.1.DeviceName=/dev/sdf&BlockDeviceMapping.1.Ebs.KmsKeyId=x",
            400,
            "InvalidParameterDependency",
        ),
    ] {
        let (got, body) = cloud.call("RunInstances", &format!("{base}&{members}")).await;
        assert_eq!(got, status, "{members}: {body}");
        assert!(body.starts_with(&format!("{code}: ")), "{members}: {body}");
    }
    let (_, body) = cloud.call("StopInstances", "InstanceId.1=i-12345678&Hibernate=true").await;
    assert!(body.starts_with("UnsupportedHibernationConfiguration: "), "{body}");
    let (_, body) = cloud.call("DescribeInstances", "InstanceId.1=i-12345678").await;
    assert_eq!(body, "InvalidInstanceID.NotFound: The instance ID 'i-12345678' does not exist");
    let (_, body) = cloud.call("DescribeInstances", "Filter.1.Name=nope&Filter.1.Value.1=x").await;
    assert_eq!(body, "InvalidParameterValue: The filter 'nope' is invalid");
    let (_, body) = cloud.call("DescribeInstances", "MaxResults=4").await;
    assert!(body.starts_with("InvalidParameterValue: "), "{body}");
}

#[tokio::test]
async fn pages() {
    let cloud = Cloud::new();
    let image = image::ops::built_in_id();
    let many = format!("ImageId={image}&InstanceType=t3.micro&MinCount=7&MaxCount=7");
    cloud.ok("RunInstances", &many).await;
    let first = cloud.ok("DescribeInstances", "MaxResults=5").await;
    let token = text(&first, "nextToken");
    let second = cloud.ok("DescribeInstances", &format!("MaxResults=5&NextToken={token}")).await;
    assert_eq!(first.matches("<instanceId>").count(), 5);
    assert_eq!(second.matches("<instanceId>").count(), 2);
    assert!(!second.contains("<nextToken>"));
}

#[tokio::test]
async fn a_console_has_a_picture_while_it_runs() {
    use base64::Engine;
    let cloud = Cloud::new();
    let id = text(&cloud.run("").await, "instanceId").to_owned();
    let of = format!("InstanceId={id}");
    assert_eq!(
        testing::refused(&cloud.cx, "GetConsoleScreenshot", &of).await,
        "IncorrectInstanceState"
    );
    cloud.boot().await;
    let shot = cloud.ok("GetConsoleScreenshot", &of).await;
    assert_eq!(text(&shot, "instanceId"), id);
    let data = base64::engine::general_purpose::STANDARD.decode(text(&shot, "imageData")).unwrap();
    assert_eq!(data[..3], [0xFF, 0xD8, 0xFF]);
    for (members, code) in [
        (format!("{of}&WakeUp=true"), "UnsupportedOperation"),
        (format!("{of}&DryRun=true"), "DryRunOperation"),
        ("InstanceId=i-00000000000000000".to_owned(), "InvalidInstanceID.NotFound"),
    ] {
        assert_eq!(testing::refused(&cloud.cx, "GetConsoleScreenshot", &members).await, code);
    }
}

#[tokio::test]
async fn typing_on_consoles_is_off_until_enabled() {
    let cloud = Cloud::new();
    let status = async || {
        let status = cloud.ok("GetSerialConsoleAccessStatus", "").await;
        text(&status, "serialConsoleAccessEnabled").to_owned()
    };
    assert_eq!(status().await, "false");
    let dry = "DryRun=true";
    testing::refused(&cloud.cx, "EnableSerialConsoleAccess", dry).await;
    assert_eq!(status().await, "false");
    for _ in 0..2 {
        cloud.ok("EnableSerialConsoleAccess", "").await;
        assert_eq!(status().await, "true");
    }
    cloud.ok("DisableSerialConsoleAccess", "").await;
    assert_eq!(status().await, "false");
}
