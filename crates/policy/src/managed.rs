//! The policies that AWS manages, by name.
//!
//! Names, paths and dates are AWS's. The documents are written for Drover: of the services that it
//! serves they allow what AWS's allow, of others only what goes with them. They have one version.

use std::sync::{Arc, LazyLock};

use crate::document::{Document, Kind};

#[derive(Debug)]
pub struct Managed {
    pub name: &'static str,
    pub path: &'static str,
    /// `arn:aws:iam::aws:policy` and the path and name.
    pub arn: String,
    /// When AWS created it, in ISO 8601.
    pub created: &'static str,
    pub text: &'static str,
    pub document: Arc<Document>,
}

/// In the order of their names, upper and lower case alike.
pub fn managed() -> &'static [Managed] {
    static MANAGED: LazyLock<Vec<Managed>> = LazyLock::new(|| {
        let compile = |&(name, path, created, text)| {
            let document = Document::parse(text, Kind::Identity);
            let document = Arc::new(document.expect("each of them parses, it is tested"));
            let arn = format!("arn:aws:iam::aws:policy{path}{name}");
            Managed { name, path, arn, created, text, document }
        };
        POLICIES.iter().map(compile).collect()
    });
    &MANAGED
}

/// By name, path, creation and text.
const POLICIES: &[(&str, &str, &str, &str)] = &[
    (
        "AdministratorAccess",
        "/",
        "2015-02-06T18:39:46Z",
        include_str!("../managed/AdministratorAccess.json"),
    ),
    (
        "AmazonDynamoDBFullAccess",
        "/",
        "2015-02-06T18:40:11Z",
        include_str!("../managed/AmazonDynamoDBFullAccess.json"),
    ),
    (
        "AmazonDynamoDBReadOnlyAccess",
        "/",
        "2015-02-06T18:40:12Z",
        include_str!("../managed/AmazonDynamoDBReadOnlyAccess.json"),
    ),
    (
        "AmazonEC2FullAccess",
        "/",
        "2015-02-06T18:40:15Z",
        include_str!("../managed/AmazonEC2FullAccess.json"),
    ),
    (
        "AmazonEC2ReadOnlyAccess",
        "/",
        "2015-02-06T18:40:17Z",
        include_str!("../managed/AmazonEC2ReadOnlyAccess.json"),
    ),
    (
        "AmazonEC2RoleforSSM",
        "/service-role/",
        "2015-05-29T17:48:35Z",
        include_str!("../managed/AmazonEC2RoleforSSM.json"),
    ),
    (
        "AmazonEC2SpotFleetTaggingRole",
        "/service-role/",
        "2017-06-29T18:19:29Z",
        include_str!("../managed/AmazonEC2SpotFleetTaggingRole.json"),
    ),
    (
        "AmazonElastiCacheFullAccess",
        "/",
        "2015-02-06T18:40:20Z",
        include_str!("../managed/AmazonElastiCacheFullAccess.json"),
    ),
    (
        "AmazonElastiCacheReadOnlyAccess",
        "/",
        "2015-02-06T18:40:21Z",
        include_str!("../managed/AmazonElastiCacheReadOnlyAccess.json"),
    ),
    (
        "AmazonElasticFileSystemClientReadWriteAccess",
        "/",
        "2020-01-13T16:21:55Z",
        include_str!("../managed/AmazonElasticFileSystemClientReadWriteAccess.json"),
    ),
    (
        "AmazonElasticFileSystemFullAccess",
        "/",
        "2015-05-27T16:22:28Z",
        include_str!("../managed/AmazonElasticFileSystemFullAccess.json"),
    ),
    (
        "AmazonElasticFileSystemReadOnlyAccess",
        "/",
        "2015-05-27T16:25:25Z",
        include_str!("../managed/AmazonElasticFileSystemReadOnlyAccess.json"),
    ),
    (
        "AmazonRoute53FullAccess",
        "/",
        "2015-02-06T18:40:54Z",
        include_str!("../managed/AmazonRoute53FullAccess.json"),
    ),
    (
        "AmazonRoute53ReadOnlyAccess",
        "/",
        "2015-02-06T18:40:55Z",
        include_str!("../managed/AmazonRoute53ReadOnlyAccess.json"),
    ),
    (
        "AmazonS3FullAccess",
        "/",
        "2015-02-06T18:40:58Z",
        include_str!("../managed/AmazonS3FullAccess.json"),
    ),
    (
        "AmazonS3ReadOnlyAccess",
        "/",
        "2015-02-06T18:40:59Z",
        include_str!("../managed/AmazonS3ReadOnlyAccess.json"),
    ),
    (
        "AmazonSNSFullAccess",
        "/",
        "2015-02-06T18:41:05Z",
        include_str!("../managed/AmazonSNSFullAccess.json"),
    ),
    (
        "AmazonSNSReadOnlyAccess",
        "/",
        "2015-02-06T18:41:06Z",
        include_str!("../managed/AmazonSNSReadOnlyAccess.json"),
    ),
    (
        "AmazonSQSFullAccess",
        "/",
        "2015-02-06T18:41:07Z",
        include_str!("../managed/AmazonSQSFullAccess.json"),
    ),
    (
        "AmazonSQSReadOnlyAccess",
        "/",
        "2015-02-06T18:41:08Z",
        include_str!("../managed/AmazonSQSReadOnlyAccess.json"),
    ),
    (
        "AmazonSSMFullAccess",
        "/",
        "2015-05-29T17:39:47Z",
        include_str!("../managed/AmazonSSMFullAccess.json"),
    ),
    (
        "AmazonSSMManagedInstanceCore",
        "/",
        "2019-03-15T17:22:12Z",
        include_str!("../managed/AmazonSSMManagedInstanceCore.json"),
    ),
    (
        "AmazonSSMReadOnlyAccess",
        "/",
        "2015-05-29T17:44:19Z",
        include_str!("../managed/AmazonSSMReadOnlyAccess.json"),
    ),
    (
        "AmazonVPCFullAccess",
        "/",
        "2015-02-06T18:41:16Z",
        include_str!("../managed/AmazonVPCFullAccess.json"),
    ),
    (
        "AmazonVPCReadOnlyAccess",
        "/",
        "2015-02-06T18:41:17Z",
        include_str!("../managed/AmazonVPCReadOnlyAccess.json"),
    ),
    (
        "AutoScalingFullAccess",
        "/",
        "2017-01-12T19:31:58Z",
        include_str!("../managed/AutoScalingFullAccess.json"),
    ),
    (
        "AutoScalingNotificationAccessRole",
        "/service-role/",
        "2015-02-06T18:41:22Z",
        include_str!("../managed/AutoScalingNotificationAccessRole.json"),
    ),
    (
        "AutoScalingReadOnlyAccess",
        "/",
        "2017-01-12T19:39:35Z",
        include_str!("../managed/AutoScalingReadOnlyAccess.json"),
    ),
    (
        "AutoScalingServiceRolePolicy",
        "/aws-service-role/",
        "2018-01-08T23:10:55Z",
        include_str!("../managed/AutoScalingServiceRolePolicy.json"),
    ),
    (
        "AWSCloudTrail_FullAccess",
        "/",
        "2020-10-08T23:41:15Z",
        include_str!("../managed/AWSCloudTrail_FullAccess.json"),
    ),
    (
        "AWSCloudTrail_ReadOnlyAccess",
        "/",
        "2022-06-14T17:19:05Z",
        include_str!("../managed/AWSCloudTrail_ReadOnlyAccess.json"),
    ),
    (
        "AWSEC2SpotServiceRolePolicy",
        "/aws-service-role/",
        "2017-09-18T18:51:54Z",
        include_str!("../managed/AWSEC2SpotServiceRolePolicy.json"),
    ),
    (
        "AWSElasticLoadBalancingServiceRolePolicy",
        "/aws-service-role/",
        "2017-09-19T22:19:04Z",
        include_str!("../managed/AWSElasticLoadBalancingServiceRolePolicy.json"),
    ),
    (
        "AWSFaultInjectionSimulatorEC2Access",
        "/service-role/",
        "2022-10-26T20:39:01Z",
        include_str!("../managed/AWSFaultInjectionSimulatorEC2Access.json"),
    ),
    (
        "AWSLambdaBasicExecutionRole",
        "/service-role/",
        "2015-04-09T15:03:43Z",
        include_str!("../managed/AWSLambdaBasicExecutionRole.json"),
    ),
    (
        "CloudWatchActionsEC2Access",
        "/",
        "2015-07-07T00:00:33Z",
        include_str!("../managed/CloudWatchActionsEC2Access.json"),
    ),
    (
        "CloudWatchAgentAdminPolicy",
        "/",
        "2018-03-07T00:52:31Z",
        include_str!("../managed/CloudWatchAgentAdminPolicy.json"),
    ),
    (
        "CloudWatchAgentServerPolicy",
        "/",
        "2018-03-07T01:06:44Z",
        include_str!("../managed/CloudWatchAgentServerPolicy.json"),
    ),
    (
        "CloudWatchFullAccess",
        "/",
        "2015-02-06T18:40:00Z",
        include_str!("../managed/CloudWatchFullAccess.json"),
    ),
    (
        "CloudWatchLogsFullAccess",
        "/",
        "2015-02-06T18:40:02Z",
        include_str!("../managed/CloudWatchLogsFullAccess.json"),
    ),
    (
        "CloudWatchLogsReadOnlyAccess",
        "/",
        "2015-02-06T18:40:03Z",
        include_str!("../managed/CloudWatchLogsReadOnlyAccess.json"),
    ),
    (
        "CloudWatchReadOnlyAccess",
        "/",
        "2015-02-06T18:40:01Z",
        include_str!("../managed/CloudWatchReadOnlyAccess.json"),
    ),
    (
        "ElasticLoadBalancingFullAccess",
        "/",
        "2018-09-20T20:42:07Z",
        include_str!("../managed/ElasticLoadBalancingFullAccess.json"),
    ),
    (
        "ElasticLoadBalancingReadOnly",
        "/",
        "2018-09-20T20:17:09Z",
        include_str!("../managed/ElasticLoadBalancingReadOnly.json"),
    ),
    ("IAMFullAccess", "/", "2015-02-06T18:40:38Z", include_str!("../managed/IAMFullAccess.json")),
    (
        "IAMReadOnlyAccess",
        "/",
        "2015-02-06T18:40:39Z",
        include_str!("../managed/IAMReadOnlyAccess.json"),
    ),
    (
        "IAMUserChangePassword",
        "/",
        "2016-11-15T00:25:16Z",
        include_str!("../managed/IAMUserChangePassword.json"),
    ),
    (
        "PowerUserAccess",
        "/",
        "2015-02-06T18:39:47Z",
        include_str!("../managed/PowerUserAccess.json"),
    ),
    ("ReadOnlyAccess", "/", "2015-02-06T18:39:48Z", include_str!("../managed/ReadOnlyAccess.json")),
    (
        "ViewOnlyAccess",
        "/job-function/",
        "2016-11-10T17:20:15Z",
        include_str!("../managed/ViewOnlyAccess.json"),
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_parse_and_stand_in_order() {
        let names: Vec<String> = managed().iter().map(|m| m.name.to_lowercase()).collect();
        assert!(names.is_sorted(), "{names:?}");
        let core = managed().iter().find(|found| found.name == "AmazonSSMManagedInstanceCore");
        assert_eq!(core.unwrap().arn, "arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore");
    }
}
