//! One exchange of each protocol, to the byte.

use wire::{Operation, Timestamp};

fn request<O: Operation>(body: &str) -> wire::Request {
    wire::Request {
        service: O::SERVICE.name,
        operation: O::NAME.to_owned(),
        protocol: O::SERVICE.protocol,
        method: http::Method::POST,
        uri: "/".parse().unwrap(),
        headers: http::HeaderMap::new(),
        body: body.to_owned().into(),
    }
}

fn exchange<O: Operation>(body: &str, input: O::Input, output: O::Output, answer: &str)
where
    O::Input: PartialEq + std::fmt::Debug,
{
    let request = request::<O>(body);
    assert_eq!(wire::decode::<O>(&request).unwrap(), input);
    let response = wire::encode::<O>(&request, &output, "59dbff89-35bd-4eac-99ed-be587EXAMPLE");
    assert_eq!(response.status, 200);
    assert_eq!(response.headers["x-amzn-requestid"], "59dbff89-35bd-4eac-99ed-be587EXAMPLE");
    assert_eq!(String::from_utf8_lossy(&response.body), answer);
}

#[test]
fn ec2() {
    use wire::ec2::*;
    exchange::<DescribeInstances>(
        "Action=DescribeInstances&Version=2016-11-15&Filter.1.Name=tag%3AName&Filter.1.Value.1=web\
         &Filter.1.Value.2=a+b&InstanceId.1=i-1&MaxResults=5&DryRun=false",
        DescribeInstancesRequest {
            filters: Some(vec![Filter {
                name: Some("tag:Name".into()),
                values: Some(vec!["web".into(), "a b".into()]),
            }]),
            instance_ids: Some(vec!["i-1".into()]),
            max_results: Some(5),
            dry_run: Some(false),
            ..Default::default()
        },
        DescribeInstancesResult {
            reservations: Some(vec![Reservation {
                reservation_id: Some("r-1".into()),
                instances: Some(vec![Instance {
                    instance_id: Some("i-1".into()),
                    ami_launch_index: Some(0),
                    ebs_optimized: Some(true),
                    launch_time: Some(Timestamp(1_440_938_160_000)),
                    state: Some(InstanceState { code: Some(16), name: Some("running".into()) }),
                    state_transition_reason: Some("<none> & never".into()),
                    tags: Some(vec![]),
                    ..Default::default()
                }]),
                ..Default::default()
            }]),
            next_token: None,
        },
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<DescribeInstancesResponse \
         xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\"><requestId>\
         59dbff89-35bd-4eac-99ed-be587EXAMPLE</requestId><reservationSet><item><instancesSet><item>\
         <amiLaunchIndex>0</amiLaunchIndex><ebsOptimized>true</ebsOptimized><instanceId>i-1\
         </instanceId><launchTime>2015-08-30T12:36:00.000Z</launchTime><instanceState><code>16</code>\
         <name>running</name></instanceState><reason>&lt;none&gt; &amp; never</reason><tagSet>\
         </tagSet></item></instancesSet><reservationId>r-1</reservationId></item></reservationSet>\
         </DescribeInstancesResponse>",
    );
    exchange::<RebootInstances>(
        "InstanceId.2=i-2&InstanceId.10=i-10",
        RebootInstancesRequest { instance_ids: vec!["i-2".into(), "i-10".into()], dry_run: None },
        RebootInstancesOutput {},
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<RebootInstancesResponse \
         xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\"><requestId>\
         59dbff89-35bd-4eac-99ed-be587EXAMPLE</requestId><return>true</return>\
         </RebootInstancesResponse>",
    );
}

#[test]
fn query() {
    use wire::autoscaling::*;
    exchange::<PutScalingPolicy>(
        "AutoScalingGroupName=g&PolicyName=cpu&PolicyType=TargetTrackingScaling&\
         TargetTrackingConfiguration.TargetValue=49.5&\
         TargetTrackingConfiguration.PredefinedMetricSpecification.PredefinedMetricType=\
         ASGAverageCPUUtilization",
        PutScalingPolicyType {
            auto_scaling_group_name: "g".into(),
            policy_name: "cpu".into(),
            policy_type: Some("TargetTrackingScaling".into()),
            target_tracking_configuration: Some(TargetTrackingConfiguration {
                predefined_metric_specification: Some(PredefinedMetricSpecification {
                    predefined_metric_type: "ASGAverageCPUUtilization".into(),
                    resource_label: None,
                }),
                target_value: 49.5,
                ..Default::default()
            }),
            ..Default::default()
        },
        PolicyARNType {
            policy_arn: Some("arn:aws:autoscaling:…".into()),
            alarms: Some(vec![Alarm { alarm_name: Some("high".into()), alarm_arn: None }]),
        },
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<PutScalingPolicyResponse \
         xmlns=\"http://autoscaling.amazonaws.com/doc/2011-01-01/\"><PutScalingPolicyResult><Alarms>\
         <member><AlarmName>high</AlarmName></member></Alarms><PolicyARN>arn:aws:autoscaling:…\
         </PolicyARN></PutScalingPolicyResult><ResponseMetadata><RequestId>\
         59dbff89-35bd-4eac-99ed-be587EXAMPLE</RequestId></ResponseMetadata>\
         </PutScalingPolicyResponse>",
    );
    // An operation without a result has no result element; one with an empty result has it empty.
    exchange::<DeletePolicy>(
        "PolicyName=cpu",
        DeletePolicyType { policy_name: "cpu".into(), auto_scaling_group_name: None },
        DeletePolicyOutput {},
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<DeletePolicyResponse \
         xmlns=\"http://autoscaling.amazonaws.com/doc/2011-01-01/\"><ResponseMetadata><RequestId>\
         59dbff89-35bd-4eac-99ed-be587EXAMPLE</RequestId></ResponseMetadata></DeletePolicyResponse>",
    );
    exchange::<wire::elbv2::DeleteRule>(
        "RuleArn=arn",
        wire::elbv2::DeleteRuleInput { rule_arn: "arn".into() },
        wire::elbv2::DeleteRuleOutput {},
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<DeleteRuleResponse \
         xmlns=\"http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/\"><DeleteRuleResult>\
         </DeleteRuleResult><ResponseMetadata><RequestId>59dbff89-35bd-4eac-99ed-be587EXAMPLE\
         </RequestId></ResponseMetadata></DeleteRuleResponse>",
    );
}

#[test]
fn json_1_0() {
    use wire::dynamodb::*;
    let text = |s: &str| AttributeValue { s: Some(s.into()), ..Default::default() };
    exchange::<GetItem>(
        r#"{"TableName":"t","Key":{"k":{"S":"\u00e9"},"b":{"B":"AQI="}},"ConsistentRead":true}"#,
        GetItemInput {
            table_name: "t".into(),
            key: [
                ("k".to_owned(), text("é")),
                (
                    "b".to_owned(),
                    AttributeValue { b: Some(vec![1, 2].into()), ..Default::default() },
                ),
            ]
            .into(),
            consistent_read: Some(true),
            ..Default::default()
        },
        GetItemOutput {
            item: Some(
                [
                    ("k".to_owned(), text("\"\n")),
                    (
                        "l".to_owned(),
                        AttributeValue {
                            l: Some(vec![
                                AttributeValue { null: Some(true), ..Default::default() },
                                AttributeValue { n: Some("1.0".into()), ..Default::default() },
                            ]),
                            ..Default::default()
                        },
                    ),
                ]
                .into(),
            ),
            consumed_capacity: Some(ConsumedCapacity {
                capacity_units: Some(0.5),
                ..Default::default()
            }),
        },
        r#"{"ConsumedCapacity":{"CapacityUnits":0.5},"Item":{"k":{"S":"\"\n"},"l":{"L":[{"NULL":true},{"N":"1.0"}]}}}"#,
    );
}

#[test]
fn json_1_1() {
    use wire::ssm::*;
    exchange::<GetParameter>(
        r#"{"Name":"/a","WithDecryption":null}"#,
        GetParameterRequest { name: "/a".into(), with_decryption: None },
        GetParameterResult {
            parameter: Some(Parameter {
                name: Some("/a".into()),
                version: Some(3),
                last_modified_date: Some(Timestamp(1_440_938_160_125)),
                ..Default::default()
            }),
        },
        r#"{"Parameter":{"LastModifiedDate":1440938160.125,"Name":"/a","Version":3}}"#,
    );
}
