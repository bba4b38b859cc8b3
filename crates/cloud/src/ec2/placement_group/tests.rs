//! Placement groups, from CreatePlacementGroup to where instances are.

use crate::controller::Controller;
use crate::ec2::image::ops::built_in_id;
use crate::ec2::instance::model::Instance;
use crate::ec2::spot::controller::SpotRequests;
use crate::testing::{Machines, call, ok, refused, text};

fn launch(instance_type: &str, count: u32, more: &str) -> String {
    let image = built_in_id();
    format!("ImageId={image}&InstanceType={instance_type}&MinCount={count}&MaxCount={count}&{more}")
}

async fn run(cloud: &Machines, count: u32, more: &str) -> Vec<String> {
    let body = ok(&cloud.cx, "RunInstances", &launch("t3.micro", count, more)).await;
    body.split("<instanceId>").skip(1).map(|rest| rest.split('<').next().unwrap().into()).collect()
}

fn partitions(cloud: &Machines) -> Vec<(String, Option<u32>)> {
    let snapshot = cloud.cx.read();
    let of = |i: std::sync::Arc<Instance>| {
        (i.zone.clone(), i.placement_group.as_ref().and_then(|member| member.partition))
    };
    let mut all: Vec<_> = snapshot.scan::<Instance>("").map(of).collect();
    all.sort();
    all
}

const A: &str = "Placement.AvailabilityZone=us-east-1a";

#[tokio::test]
async fn made_described_and_deleted() {
    let cloud = Machines::default();
    let cx = &cloud.cx;
    let tags = "TagSpecification.1.ResourceType=placement-group&TagSpecification.1.Tag.1.Key=team\
                &TagSpecification.1.Tag.1.Value=db";
    let create = format!("GroupName=hdfs&Strategy=partition&PartitionCount=7&{tags}");
    assert_eq!(
        refused(cx, "CreatePlacementGroup", &format!("{create}&DryRun=true")).await,
        "DryRunOperation"
    );
    let made = ok(cx, "CreatePlacementGroup", &create).await;
    let id = text(&made, "groupId");
    assert!(id.starts_with("pg-") && id.len() == 20, "{id}");
    let arn = "arn:aws:ec2:us-east-1:123456789012:placement-group/hdfs";
    for (name, value) in [
        ("groupName", "hdfs"),
        ("strategy", "partition"),
        ("partitionCount", "7"),
        ("state", "available"),
        ("groupArn", arn),
        ("key", "team"),
    ] {
        assert_eq!(text(&made, name), value, "{made}");
    }
    assert!(!made.contains("spreadLevel"), "{made}");
    ok(cx, "CreatePlacementGroup", "GroupName=web&Strategy=spread&SpreadLevel=rack").await;
    let two = ok(cx, "CreatePlacementGroup", "GroupName=two&Strategy=partition").await;
    assert_eq!(text(&two, "partitionCount"), "2");
    for (members, expected) in [
        ("Filter.1.Name=tag:team&Filter.1.Value.1=db".to_owned(), "hdfs"),
        ("Filter.1.Name=strategy&Filter.1.Value.1=spread".to_owned(), "web"),
        ("Filter.1.Name=spread-level&Filter.1.Value.1=rack".to_owned(), "web"),
        (format!("Filter.1.Name=group-arn&Filter.1.Value.1={arn}"), "hdfs"),
        ("Filter.1.Name=group-name&Filter.1.Value.1=w*".to_owned(), "web"),
        (format!("GroupId.1={id}"), "hdfs"),
        ("GroupName.1=web".to_owned(), "web"),
    ] {
        let found = ok(cx, "DescribePlacementGroups", &members).await;
        assert_eq!(text(&found, "groupName"), expected, "{members}");
        assert_eq!(found.matches("<groupName>").count(), 1, "{members}");
    }
    assert_eq!(ok(cx, "DescribePlacementGroups", "").await.matches("<groupName>").count(), 3);

    let of = |operation, members| async move { call(cx, operation, members).await.1 };
    assert_eq!(
        of("CreatePlacementGroup", "GroupName=web&Strategy=cluster").await,
        "InvalidPlacementGroup.Duplicate: The placement group 'web' already exists."
    );
    assert_eq!(
        of("DeletePlacementGroup", "GroupName=none").await,
        "InvalidPlacementGroup.Unknown: The Placement Group 'none' is unknown."
    );
    for (members, code) in [
        ("GroupName=a&Strategy=spread&SpreadLevel=host", "UnsupportedOperation"),
        ("GroupName=a&Strategy=precision-time", "UnsupportedOperation"),
        ("GroupName=a&Strategy=cluster&SpreadLevel=rack", "InvalidParameterCombination"),
        ("GroupName=a&Strategy=cluster&PartitionCount=2", "InvalidParameterCombination"),
        ("GroupName=a&Strategy=partition&PartitionCount=8", "InvalidParameterValue"),
        ("GroupName=a&Strategy=partition&PartitionCount=0", "InvalidParameterValue"),
        ("GroupName=a", "MissingParameter"),
        ("Strategy=cluster", "MissingParameter"),
        ("GroupName=&Strategy=cluster", "InvalidParameterValue"),
    ] {
        assert_eq!(refused(cx, "CreatePlacementGroup", members).await, code, "{members}");
    }
    for (members, code) in [
        ("GroupName.1=none", "InvalidPlacementGroup.Unknown"),
        ("GroupId.1=pg-0123456789abcdef0", "InvalidPlacementGroup.Unknown"),
        ("GroupId.1=web", "InvalidPlacementGroupId.Malformed"),
        ("Filter.1.Name=nope&Filter.1.Value.1=x", "InvalidParameterValue"),
    ] {
        assert_eq!(refused(cx, "DescribePlacementGroups", members).await, code, "{members}");
    }

    // As long as an instance is in it, terminated or not gone yet, it stays.
    let ids = run(&cloud, 1, "Placement.GroupName=web").await;
    cloud.settle().await;
    assert_eq!(
        of("DeletePlacementGroup", "GroupName=web").await,
        "InvalidPlacementGroup.InUse: The placement group 'web' is in use and may not be deleted."
    );
    ok(cx, "TerminateInstances", &format!("InstanceId.1={}", ids[0])).await;
    assert_eq!(
        refused(cx, "DeletePlacementGroup", "GroupName=web").await,
        "InvalidPlacementGroup.InUse"
    );
    cloud.settle().await;
    ok(cx, "DeletePlacementGroup", "GroupName=web").await;
    ok(cx, "CreateTags", &format!("ResourceId.1={id}&Tag.1.Key=a&Tag.1.Value=b")).await;
    ok(cx, "DeletePlacementGroup", "GroupName=hdfs").await;
    let left =
        ok(cx, "DescribeTags", "Filter.1.Name=resource-type&Filter.1.Value.1=placement-group");
    assert!(!left.await.contains("<key>"));
}

#[tokio::test]
async fn a_spread_group_has_seven_in_a_zone() {
    let cloud = Machines::default();
    let cx = &cloud.cx;
    let made = ok(cx, "CreatePlacementGroup", "GroupName=web&Strategy=spread").await;
    let group = "Placement.GroupName=web";
    let in_a = format!("{A}&{group}");
    let first = run(&cloud, 6, &in_a).await;
    // All or none; as many as there is room for where that is enough.
    let (status, body) = call(cx, "RunInstances", &launch("t3.micro", 2, &in_a)).await;
    assert_eq!(status, 500);
    assert!(body.starts_with("InsufficientInstanceCapacity: The spread placement group 'web'"));
    assert!(body.contains("us-east-1a") && body.contains("seven"), "{body}");
    let some = launch("t3.micro", 1, &in_a).replace("MaxCount=1", "MaxCount=5");
    assert_eq!(ok(cx, "RunInstances", &some).await.matches("<instanceId>").count(), 1);
    // Without a zone it goes where there is room.
    let elsewhere = run(&cloud, 7, group).await;
    let others = run(&cloud, 7, &format!("Placement.GroupId={}", text(&made, "groupId"))).await;
    assert_eq!((elsewhere.len(), others.len()), (7, 7));
    assert_eq!(
        refused(cx, "RunInstances", &launch("t3.micro", 1, group)).await,
        "InsufficientInstanceCapacity"
    );
    // Others are not of the group.
    run(&cloud, 1, A).await;
    cloud.settle().await;

    // Seven running: one that is stopped gives its place away, and has to find one again.
    cloud.stop(&first[0]).await;
    let last = run(&cloud, 1, &in_a).await;
    let start = format!("InstanceId.1={}", first[0]);
    assert_eq!(refused(cx, "StartInstances", &start).await, "InsufficientInstanceCapacity");
    cloud.settle().await;
    cloud.terminate(&last[0]).await;
    cloud.start(&first[0]).await;

    // Two that start at once do not share one place.
    cloud.stop(&first[0]).await;
    cloud.stop(&first[1]).await;
    run(&cloud, 1, &in_a).await;
    let both = format!("InstanceId.1={}&InstanceId.2={}", first[0], first[1]);
    assert_eq!(refused(cx, "StartInstances", &both).await, "InsufficientInstanceCapacity");
    ok(cx, "StartInstances", &start).await;
}

#[tokio::test]
async fn a_cluster_is_in_one_zone() {
    let cloud = Machines::default();
    let cx = &cloud.cx;
    ok(cx, "CreatePlacementGroup", "GroupName=hpc&Strategy=cluster").await;
    let group = "Placement.GroupName=hpc";
    let in_zone = |zone: &str| {
        launch("c5.large", 1, &format!("{group}&Placement.AvailabilityZone=us-east-1{zone}"))
    };
    let (_, body) = call(cx, "RunInstances", &launch("t3.micro", 1, group)).await;
    assert_eq!(
        body,
        "InvalidParameterCombination: Cluster placement groups are not supported by the 't3.micro' \
         instance type. Specify a supported instance type or change the placement group strategy, and \
         try again."
    );
    let first = text(&ok(cx, "RunInstances", &in_zone("b")).await, "instanceId");
    let (status, body) = call(cx, "RunInstances", &in_zone("c")).await;
    assert_eq!(status, 400);
    assert_eq!(
        body,
        "InvalidPlacementGroup.InUse: The placement group 'hpc' is in use in another availability \
         zone: us-east-1b"
    );
    for _ in 0..4 {
        let run = ok(cx, "RunInstances", &launch("c5.large", 1, group)).await;
        assert_eq!(text(&run, "availabilityZone"), "us-east-1b");
    }
    cloud.settle().await;
    cloud.stop(&first).await;
    let retype = format!("InstanceId={first}&InstanceType.Value=t3.micro");
    assert_eq!(
        refused(cx, "ModifyInstanceAttribute", &retype).await,
        "InvalidParameterCombination"
    );
    // What is elsewhere cannot be moved into it.
    let other = run(&cloud, 1, "Placement.AvailabilityZone=us-east-1a").await.remove(0);
    cloud.settle().await;
    cloud.stop(&other).await;
    let retype = format!("InstanceId={other}&InstanceType.Value=c5.large");
    let into = format!("InstanceId={other}&GroupName=hpc");
    assert_eq!(refused(cx, "ModifyInstancePlacement", &into).await, "InvalidParameterCombination");
    ok(cx, "ModifyInstanceAttribute", &retype).await;
    assert_eq!(refused(cx, "ModifyInstancePlacement", &into).await, "InvalidPlacementGroup.InUse");
}

#[tokio::test]
async fn partitions_are_balanced_or_as_asked() {
    let cloud = Machines::default();
    let cx = &cloud.cx;
    ok(cx, "CreatePlacementGroup", "GroupName=kv&Strategy=partition&PartitionCount=3").await;
    ok(cx, "CreatePlacementGroup", "GroupName=web&Strategy=spread").await;
    let second = format!("{A}&Placement.GroupName=kv&Placement.PartitionNumber=2");
    let asked = run(&cloud, 2, &second).await;
    run(&cloud, 5, &format!("{A}&Placement.GroupName=kv")).await;
    // Another zone has partitions of its own; the group's smallest is taken.
    run(&cloud, 1, "Placement.GroupName=kv&Placement.AvailabilityZone=us-east-1b").await;
    let a = [1, 1, 1, 2, 2, 3, 3].map(|number| ("us-east-1a".to_owned(), Some(number)));
    let b = [("us-east-1b".to_owned(), Some(2))];
    assert_eq!(partitions(&cloud), a.into_iter().chain(b).collect::<Vec<_>>());
    let shown = ok(cx, "DescribeInstances", &format!("InstanceId.1={}", asked[0])).await;
    assert_eq!(text(&shown, "partitionNumber"), "2");
    let found = |members| async move {
        ok(cx, "DescribeInstances", members).await.matches("<instanceId>").count()
    };
    let filter = "Filter.1.Name=placement-group-name&Filter.1.Value.1=kv\
                  &Filter.2.Name=placement-partition-number&Filter.2.Value.1=2";
    assert_eq!(found(filter).await, 3);
    for (members, code) in [
        ("Placement.GroupName=kv&Placement.PartitionNumber=4", "InvalidParameterValue"),
        ("Placement.GroupName=kv&Placement.PartitionNumber=0", "InvalidParameterValue"),
        ("Placement.GroupName=web&Placement.PartitionNumber=1", "InvalidParameterCombination"),
        ("Placement.PartitionNumber=1", "InvalidParameterCombination"),
        ("Placement.GroupName=none", "InvalidPlacementGroup.Unknown"),
        ("Placement.GroupName=kv&Placement.GroupId=pg-12345678", "InvalidParameterCombination"),
        ("Placement.GroupId=kv", "InvalidPlacementGroupId.Malformed"),
        ("Placement.Tenancy=host&Placement.GroupName=kv", "Unsupported"),
        ("Placement.HostId=h-12345678", "Unsupported"),
        ("Placement.Affinity=host", "Unsupported"),
        (
            "Placement.GroupName=kv&InstanceMarketOptions.MarketType=spot\
             &InstanceMarketOptions.SpotOptions.SpotInstanceType=persistent\
             &InstanceMarketOptions.SpotOptions.InstanceInterruptionBehavior=stop",
            "InvalidParameterCombination",
        ),
    ] {
        let launch = launch("t3.micro", 1, members);
        assert_eq!(refused(cx, "RunInstances", &launch).await, code, "{members}");
    }
}

#[tokio::test]
async fn a_stopped_instance_is_moved() {
    let cloud = Machines::default();
    let cx = &cloud.cx;
    ok(cx, "CreatePlacementGroup", "GroupName=web&Strategy=spread").await;
    let kv = ok(cx, "CreatePlacementGroup", "GroupName=kv&Strategy=partition").await;
    let id = run(&cloud, 1, "Placement.GroupName=web").await.remove(0);
    cloud.settle().await;
    let modify = |members: &str| format!("InstanceId={id}&{members}");
    let (_, body) = call(cx, "ModifyInstancePlacement", &modify("GroupName=")).await;
    assert!(body.starts_with("IncorrectInstanceState: "), "{body}");
    cloud.stop(&id).await;
    for (members, code) in [
        ("", "InvalidParameterCombination"),
        ("GroupName=none", "InvalidPlacementGroup.Unknown"),
        ("GroupName=web&PartitionNumber=1", "InvalidParameterCombination"),
        ("GroupName=kv&PartitionNumber=3", "InvalidParameterValue"),
        ("Tenancy=dedicated", "Unsupported"),
        ("HostId=h-12345678", "Unsupported"),
    ] {
        let members = modify(members);
        assert_eq!(refused(cx, "ModifyInstancePlacement", &members).await, code, "{members}");
    }
    let shown = || async { ok(cx, "DescribeInstances", &format!("InstanceId.1={id}")).await };
    ok(cx, "ModifyInstancePlacement", &modify("Tenancy=default")).await;
    assert!(shown().await.contains("<groupName>web</groupName>"));
    let id_of_kv = text(&kv, "groupId");
    ok(cx, "ModifyInstancePlacement", &modify(&format!("GroupId={id_of_kv}"))).await;
    assert_eq!(text(&shown().await, "partitionNumber"), "1");
    ok(cx, "ModifyInstancePlacement", &modify("PartitionNumber=2")).await;
    assert_eq!(text(&shown().await, "partitionNumber"), "2");
    assert!(shown().await.contains(&id_of_kv));
    ok(cx, "DeletePlacementGroup", "GroupName=web").await;
    ok(cx, "ModifyInstancePlacement", &modify("GroupName=")).await;
    assert!(!shown().await.contains("<partitionNumber>"));
    assert!(!shown().await.contains(&id_of_kv));
    ok(cx, "DeletePlacementGroup", "GroupName=kv").await;
    cloud.start(&id).await;
}

#[tokio::test]
async fn templates_and_fleets_place_too() {
    let cloud = Machines::default();
    let cx = &cloud.cx;
    ok(cx, "CreatePlacementGroup", "GroupName=kv&Strategy=partition").await;
    ok(cx, "CreatePlacementGroup", "GroupName=web&Strategy=spread").await;
    let of = "LaunchTemplateData";
    let data = format!(
        "{of}.ImageId={}&{of}.InstanceType=t3.micro&{of}.Placement.GroupName=kv\
         &{of}.Placement.PartitionNumber=2",
        built_in_id()
    );
    ok(cx, "CreateLaunchTemplate", &format!("LaunchTemplateName=kv-template&{data}")).await;
    let versions = ok(cx, "DescribeLaunchTemplateVersions", "LaunchTemplateName=kv-template").await;
    assert_eq!(text(&versions, "partitionNumber"), "2");
    assert_eq!(text(text(&versions, "placement").as_str(), "groupName"), "kv");
    let template = "LaunchTemplate.LaunchTemplateName=kv-template&MinCount=1&MaxCount=1";
    let made = ok(cx, "RunInstances", template).await;
    assert_eq!(text(&made, "partitionNumber"), "2");
    // What the call says of the group replaces the template's.
    let other = ok(cx, "RunInstances", &format!("{template}&Placement.GroupName=web")).await;
    assert!(other.contains("<groupName>web</groupName>"), "{other}");
    assert!(!other.contains("<partitionNumber>"), "{other}");
    for tenancy in ["dedicated", "host"] {
        let data = format!("{of}.Placement.Tenancy={tenancy}");
        let members = format!("LaunchTemplateName=other&{data}");
        assert_eq!(refused(cx, "CreateLaunchTemplate", &members).await, "Unsupported");
    }
    let config = "LaunchTemplateConfigs.1";
    let fleet = |over: &str| {
        format!(
            "Type=instant&TargetCapacitySpecification.TotalTargetCapacity=1\
             &{config}.LaunchTemplateSpecification.LaunchTemplateName=kv-template\
             &{config}.LaunchTemplateSpecification.Version=1&{config}.Overrides.1.Placement.{over}"
        )
    };
    let made = ok(cx, "CreateFleet", &fleet("GroupName=web")).await;
    let id = made.split_once("<instanceIds><item>").expect("launched").1;
    let id = id.split('<').next().unwrap();
    let shown = ok(cx, "DescribeInstances", &format!("InstanceId.1={id}")).await;
    assert!(shown.contains("<groupName>web</groupName>"), "{shown}");
    assert_eq!(refused(cx, "CreateFleet", &fleet("Tenancy=dedicated")).await, "Unsupported");
    assert_eq!(
        refused(cx, "CreateFleet", &fleet("PartitionNumber=1")).await,
        "UnsupportedOperation"
    );
}

#[tokio::test]
async fn a_spot_request_waits_for_its_group() {
    let cloud = Machines::default();
    let cx = &cloud.cx;
    ok(cx, "CreatePlacementGroup", "GroupName=web&Strategy=spread").await;
    let full = run(&cloud, 7, &format!("{A}&Placement.GroupName=web")).await;
    let of = "LaunchSpecification";
    let request = format!(
        "{of}.ImageId={}&{of}.InstanceType=t3.micro&{of}.Placement.AvailabilityZone=us-east-1a\
         &{of}.Placement.GroupName=web",
        built_in_id()
    );
    ok(cx, "RequestSpotInstances", &request).await;
    let step = || async {
        SpotRequests.reconcile(&cx.env).await.unwrap();
        ok(cx, "DescribeSpotInstanceRequests", "").await
    };
    let waiting = step().await;
    assert_eq!(text(&text(&waiting, "status"), "code"), "placement-group-constraint");
    assert_eq!(text(&text(&waiting, "placement"), "groupName"), "web");
    cloud.settle().await;
    cloud.terminate(&full[0]).await;
    cx.env.clock.advance(cx.env.clock.now().plus(std::time::Duration::from_secs(300)));
    assert_eq!(text(&step().await, "state"), "active");
}
