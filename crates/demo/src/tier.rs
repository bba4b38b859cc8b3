//! The tier itself, deployed as a user would: template, group, balancer, table, bucket.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use base64::Engine;
use bytes::Bytes;
use serde_json::json;

use crate::aws::{Client, all, first};
use crate::web;

pub const REGION: &str = "us-east-1";
pub const GROUP: &str = "web";
pub const MIN: usize = 3;
pub const MAX: usize = 9;
/// Requests a minute of cloud time that one instance shall serve.
pub const REQUESTS_PER_TARGET: u32 = 30;

const EC2: &str = "2016-11-15";
const ELB: &str = "2015-12-01";
const AUTO_SCALING: &str = "2011-01-01";
const IAM: &str = "2010-05-08";
/// Also the name of its instance profile.
const ROLE: &str = "web";

pub struct Tier {
    pub aws: Client,
    pub template: String,
    pub target_group: String,
    pub dns_name: String,
}

impl Tier {
    pub async fn ec2(aws: &Client, action: &str, parameters: &[(&str, &str)]) -> Result<String> {
        aws.query("ec2", EC2, action, parameters).await
    }

    pub async fn elb(aws: &Client, action: &str, parameters: &[(&str, &str)]) -> Result<String> {
        aws.query("elasticloadbalancing", ELB, action, parameters).await
    }

    pub async fn scaling(
        aws: &Client,
        action: &str,
        parameters: &[(&str, &str)],
    ) -> Result<String> {
        aws.query("autoscaling", AUTO_SCALING, action, parameters).await
    }

    /// Everything but the group, so that its boot can be timed alone.
    pub async fn deploy(aws: Client, image: &str) -> Result<Tier> {
        let table = json!({
            "TableName": "sessions",
            "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
            "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
            "BillingMode": "PAY_PER_REQUEST",
        });
        aws.json("dynamodb", "1.0", "DynamoDB_20120810.CreateTable", table).await?;
        loop {
            let name = json!({"TableName": "sessions"});
            let table =
                aws.json("dynamodb", "1.0", "DynamoDB_20120810.DescribeTable", name).await?;
            if table["Table"]["TableStatus"] == "ACTIVE" {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        aws.put_object("pictures", "", Bytes::new()).await?;

        let user_data = format!(
            "#!/bin/sh\n\
             export TIER_TABLE=sessions TIER_BUCKET=pictures\n\
             setsid /opt/tier/{} </dev/null >>/var/log/tier-web.log 2>&1 &\n",
            web::PROGRAM
        );
        let groups = Groups::create(&aws).await?;
        create_role(&aws).await?;
        let user_data = base64::engine::general_purpose::STANDARD.encode(user_data);
        let template = Tier::ec2(
            &aws,
            "CreateLaunchTemplate",
            &[
                ("LaunchTemplateName", "web"),
                ("LaunchTemplateData.ImageId", image),
                ("LaunchTemplateData.InstanceType", "t3.small"),
                ("LaunchTemplateData.UserData", &user_data),
                ("LaunchTemplateData.SecurityGroupId.1", &groups.web),
                ("LaunchTemplateData.IamInstanceProfile.Name", ROLE),
            ],
        )
        .await?;
        let template = first(&template, "launchTemplateId");

        let subnets = subnets(&aws).await?;
        ensure!(subnets.len() >= 3, "the tier needs three zones, this cloud has {}", subnets.len());
        let balancer = Tier::elb(
            &aws,
            "CreateLoadBalancer",
            &[
                ("Name", "web"),
                ("Subnets.member.1", &subnets[0]),
                ("Subnets.member.2", &subnets[1]),
                ("Subnets.member.3", &subnets[2]),
                ("SecurityGroups.member.1", &groups.balancer),
            ],
        )
        .await?;
        let vpc = first(&Tier::ec2(&aws, "DescribeVpcs", &[]).await?, "vpcId");
        let target_group = Tier::elb(
            &aws,
            "CreateTargetGroup",
            &[
                ("Name", "web"),
                ("Protocol", "HTTP"),
                ("Port", "80"),
                ("VpcId", &vpc),
                ("HealthCheckPath", "/health"),
                ("HealthCheckIntervalSeconds", "15"),
                ("HealthCheckTimeoutSeconds", "5"),
                ("HealthyThresholdCount", "2"),
                ("UnhealthyThresholdCount", "2"),
            ],
        )
        .await?;
        let target_group = first(&target_group, "TargetGroupArn");
        Tier::elb(
            &aws,
            "CreateListener",
            &[
                ("LoadBalancerArn", &first(&balancer, "LoadBalancerArn")),
                ("Protocol", "HTTP"),
                ("Port", "80"),
                ("DefaultActions.member.1.Type", "forward"),
                ("DefaultActions.member.1.TargetGroupArn", &target_group),
            ],
        )
        .await?;
        Tier::elb(
            &aws,
            "ModifyTargetGroupAttributes",
            &[
                ("TargetGroupArn", &target_group),
                ("Attributes.member.1.Key", "deregistration_delay.timeout_seconds"),
                ("Attributes.member.1.Value", "120"),
            ],
        )
        .await?;
        let dns_name = first(&balancer, "DNSName");
        Ok(Tier { aws, template, target_group, dns_name })
    }

    pub async fn create_group(&self) -> Result<()> {
        let (min, max) = (MIN.to_string(), MAX.to_string());
        let zones = subnets(&self.aws).await?.join(",");
        Tier::scaling(
            &self.aws,
            "CreateAutoScalingGroup",
            &[
                ("AutoScalingGroupName", GROUP),
                ("LaunchTemplate.LaunchTemplateId", &self.template),
                ("LaunchTemplate.Version", "$Latest"),
                ("MinSize", &min),
                ("MaxSize", &max),
                ("DesiredCapacity", &min),
                ("VPCZoneIdentifier", &zones),
                ("TargetGroupARNs.member.1", &self.target_group),
                ("HealthCheckType", "ELB"),
                ("HealthCheckGracePeriod", "120"),
                ("DefaultInstanceWarmup", "60"),
            ],
        )
        .await?;
        let balancer = Tier::elb(&self.aws, "DescribeLoadBalancers", &[]).await?;
        let balancer = first(&balancer, "LoadBalancerArn");
        let label = |arn: &str, kind: &str| {
            arn.split_once(kind)
                .map(|(_, rest)| format!("{kind}{rest}"))
                .context("an ARN of another kind")
        };
        let label =
            format!("{}/{}", label(&balancer, "app/")?, label(&self.target_group, "targetgroup/")?);
        Tier::scaling(
            &self.aws,
            "PutScalingPolicy",
            &[
                ("AutoScalingGroupName", GROUP),
                ("PolicyName", "requests"),
                ("PolicyType", "TargetTrackingScaling"),
                (
                    "TargetTrackingConfiguration.PredefinedMetricSpecification.PredefinedMetricType",
                    "ALBRequestCountPerTarget",
                ),
                ("TargetTrackingConfiguration.PredefinedMetricSpecification.ResourceLabel", &label),
                ("TargetTrackingConfiguration.TargetValue", &REQUESTS_PER_TARGET.to_string()),
            ],
        )
        .await?;
        Ok(())
    }

    /// A new version of the template, with another image. The group follows `$Latest`.
    pub async fn use_image(&self, image: &str) -> Result<()> {
        Tier::ec2(
            &self.aws,
            "CreateLaunchTemplateVersion",
            &[
                ("LaunchTemplateId", &self.template),
                ("SourceVersion", "1"),
                ("LaunchTemplateData.ImageId", image),
            ],
        )
        .await?;
        Ok(())
    }

    pub async fn replace(&self, instance: &str) -> Result<()> {
        Tier::scaling(
            &self.aws,
            "TerminateInstanceInAutoScalingGroup",
            &[("InstanceId", instance), ("ShouldDecrementDesiredCapacity", "false")],
        )
        .await?;
        Ok(())
    }
}

/// What the instances may do: their table and their bucket, nothing else.
async fn create_role(aws: &Client) -> Result<()> {
    let trust = json!({"Version": "2012-10-17", "Statement": {
        "Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"
    }});
    let policy = json!({"Version": "2012-10-17", "Statement": [
        {
            "Effect": "Allow", "Action": ["dynamodb:GetItem", "dynamodb:PutItem"],
            "Resource": "arn:aws:dynamodb:*:*:table/sessions"
        },
        {
            "Effect": "Allow", "Action": ["s3:GetObject", "s3:PutObject"],
            "Resource": "arn:aws:s3:::pictures/*"
        },
        {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": "arn:aws:s3:::pictures"},
    ]});
    let (trust, policy) = (trust.to_string(), policy.to_string());
    let role = ("RoleName", ROLE);
    let profile = ("InstanceProfileName", ROLE);
    for (action, parameters) in [
        ("CreateRole", &[role, ("AssumeRolePolicyDocument", &trust)][..]),
        ("PutRolePolicy", &[role, ("PolicyName", "state"), ("PolicyDocument", &policy)]),
        ("CreateInstanceProfile", &[profile]),
        ("AddRoleToInstanceProfile", &[profile, role]),
    ] {
        aws.query("iam", IAM, action, parameters).await?;
    }
    Ok(())
}

/// Who may talk to whom: everybody to the balancer, only the balancer to the instances.
struct Groups {
    balancer: String,
    web: String,
}

impl Groups {
    async fn create(aws: &Client) -> Result<Groups> {
        let mut ids = Vec::new();
        for (name, description) in [("balancer", "the load balancer"), ("web", "the instances")] {
            let parameters = [("GroupName", name), ("GroupDescription", description)];
            let answer = Tier::ec2(aws, "CreateSecurityGroup", &parameters).await?;
            ids.push(first(&answer, "groupId"));
        }
        let [balancer, web] = <[String; 2]>::try_from(ids).expect("two were made");
        for (group, peer, value) in [
            (&balancer, "IpPermissions.1.IpRanges.1.CidrIp", "0.0.0.0/0"),
            (&web, "IpPermissions.1.Groups.1.GroupId", &balancer),
        ] {
            let parameters = [
                ("GroupId", group.as_str()),
                ("IpPermissions.1.IpProtocol", "tcp"),
                ("IpPermissions.1.FromPort", "80"),
                ("IpPermissions.1.ToPort", "80"),
                (peer, value),
            ];
            Tier::ec2(aws, "AuthorizeSecurityGroupIngress", &parameters).await?;
        }
        Ok(Groups { balancer, web })
    }
}

async fn subnets(aws: &Client) -> Result<Vec<String>> {
    let answer = Tier::ec2(aws, "DescribeSubnets", &[]).await?;
    Ok(all(&answer, "subnetId").into_iter().map(str::to_owned).collect())
}

/// Bakes this program into an image of the web application and registers it.
pub async fn bake(aws: &Client, directory: &Path, release: &str) -> Result<String> {
    let archive = directory.join(format!("web-{release}.tar"));
    let program = std::env::current_exe()?;
    let path = archive.clone();
    let text = format!("{release}\n");
    tokio::task::spawn_blocking(move || -> Result<()> {
        let mut tar = tar::Builder::new(std::fs::File::create(&path)?);
        let mut append = |name: &str, mode: u32, size: u64, data: &mut dyn std::io::Read| {
            let mut header = tar::Header::new_gnu();
            header.set_mode(mode);
            header.set_size(size);
            header.set_uid(0);
            header.set_gid(0);
            header.set_mtime(0);
            header.set_cksum();
            tar.append_data(&mut header, name, data)
        };
        let mut file = std::fs::File::open(&program)?;
        let size = file.metadata()?.len();
        append(&format!("opt/tier/{}", web::PROGRAM), 0o755, size, &mut file)?;
        append("opt/tier/release", 0o644, text.len() as u64, &mut text.as_bytes())?;
        tar.finish()?;
        Ok(())
    })
    .await??;
    let image = json!({
        "name": format!("web-{release}"),
        "archive": archive,
        "base": "drover-host",
        "description": format!("The demo's web application, release {release}"),
        "region": REGION,
    });
    let answer = aws.admin("POST", "/_drover/images", Some(image)).await?;
    Ok(answer["image_id"].as_str().context("no image id")?.to_owned())
}
