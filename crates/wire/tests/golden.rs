//! One exchange of each protocol, to the byte.

use wire::{Operation, Timestamp};

fn request<O: Operation>(body: impl Into<bytes::Bytes>) -> wire::Request {
    wire::Request {
        service: O::SERVICE.name,
        operation: O::NAME.to_owned(),
        protocol: O::SERVICE.protocol,
        method: http::Method::POST,
        uri: "/".parse().unwrap(),
        headers: http::HeaderMap::new(),
        body: body.into(),
    }
}

fn exchange<O: Operation>(body: &str, input: O::Input, output: O::Output, answer: &str)
where
    O::Input: PartialEq + std::fmt::Debug,
{
    let request = request::<O>(body.to_owned());
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

#[test]
fn rest_json() {
    use wire::ebs::*;
    let mut put = request::<PutSnapshotBlock>("512 KiB");
    put.method = http::Method::PUT;
    put.uri = "/snapshots/snap-0a1b/blocks/17".parse().unwrap();
    for (name, value) in [
        ("x-amz-data-length", "524288"),
        ("x-amz-checksum", "aGFzaA=="),
        ("x-amz-checksum-algorithm", "SHA256"),
    ] {
        put.headers.insert(name, value.parse().unwrap());
    }
    let input = PutSnapshotBlockRequest {
        snapshot_id: "snap-0a1b".into(),
        block_index: 17,
        block_data: "512 KiB".into(),
        data_length: 524_288,
        progress: None,
        checksum: "aGFzaA==".into(),
        checksum_algorithm: "SHA256".into(),
    };
    assert_eq!(wire::decode::<PutSnapshotBlock>(&put).unwrap(), input);
    let output = PutSnapshotBlockResponse {
        checksum: Some("aGFzaA==".into()),
        checksum_algorithm: Some("SHA256".into()),
    };
    let response = wire::encode::<PutSnapshotBlock>(&put, &output, "r-1");
    assert_eq!((response.status.as_u16(), &response.body[..]), (201, &b"{}"[..]));
    assert_eq!(response.headers["x-amz-checksum"], "aGFzaA==");

    let mut list = request::<ListSnapshotBlocks>("");
    list.method = http::Method::GET;
    list.uri = "/snapshots/snap-0a1b/blocks?maxResults=100&pageToken=a%2Fb%2Bc".parse().unwrap();
    let input = ListSnapshotBlocksRequest {
        snapshot_id: "snap-0a1b".into(),
        next_token: Some("a/b+c".into()),
        max_results: Some(100),
        starting_block_index: None,
    };
    assert_eq!(wire::decode::<ListSnapshotBlocks>(&list).unwrap(), input);
    let output = ListSnapshotBlocksResponse {
        blocks: Some(vec![Block { block_index: Some(0), block_token: Some("t".into()) }]),
        block_size: Some(524_288),
        expiry_time: Some(Timestamp(1_440_938_160_000)),
        ..Default::default()
    };
    let response = wire::encode::<ListSnapshotBlocks>(&list, &output, "r-1");
    assert_eq!(
        String::from_utf8_lossy(&response.body),
        r#"{"BlockSize":524288,"Blocks":[{"BlockIndex":0,"BlockToken":"t"}],"ExpiryTime":1440938160.0}"#
    );

    let mut get = request::<GetSnapshotBlock>("");
    get.uri = "/snapshots/snap-0a1b/blocks/0?blockToken=t".parse().unwrap();
    let output = GetSnapshotBlockResponse {
        block_data: Some("bytes".into()),
        data_length: Some(5),
        ..Default::default()
    };
    let response = wire::encode::<GetSnapshotBlock>(&get, &output, "r-1");
    assert_eq!((response.status.as_u16(), &response.body[..]), (200, &b"bytes"[..]));
    assert_eq!(response.headers["x-amz-data-length"], "5");
    assert_eq!(response.headers["content-type"], "application/octet-stream");
}

#[test]
fn cbor() {
    use wire::cloudwatch::*;
    // {"Namespace": "AWS/EC2", "Dimensions": [{"Name": "a", "Value": null}], "RecentlyActive": ...}
    // with a map of unknown length, as some clients write it.
    let body = b"\xbf\x69Namespace\x67AWS/EC2\x6aDimensions\x81\xa2\x64Name\x61a\x65Value\xf6\
                 \x6aMetricName\x7f\x62CP\x67UUtiliz\x65ation\xff\xff";
    let request = request::<ListMetrics>(&body[..]);
    let input = ListMetricsInput {
        namespace: Some("AWS/EC2".into()),
        metric_name: Some("CPUUtilization".into()),
        dimensions: Some(vec![DimensionFilter { name: "a".into(), value: None }]),
        ..Default::default()
    };
    assert_eq!(wire::decode::<ListMetrics>(&request).unwrap(), input);

    let output = GetMetricStatisticsOutput {
        label: Some("x".into()),
        datapoints: Some(vec![Datapoint {
            timestamp: Some(Timestamp(1_440_938_160_000)),
            average: Some(0.5),
            ..Default::default()
        }]),
    };
    let response = wire::encode::<GetMetricStatistics>(&request, &output, "r-1");
    assert_eq!(
        &response.body[..],
        b"\xa2\x6aDatapoints\x81\xa2\x67Average\xf9\x38\x00\x69Timestamp\xc1\x1a\x55\xe2\xf8\xb0\
          \x65Label\x61x"
    );
    assert_eq!(response.headers["smithy-protocol"], "rpc-v2-cbor");
    assert_eq!(response.headers["content-type"], "application/cbor");
}

#[test]
fn sqs_in_both_protocols() {
    use std::collections::BTreeMap;

    use wire::sqs::*;
    let form = |body: &'static str| wire::Request {
        protocol: wire::Protocol::Query,
        uri: "/123456789012/jobs".parse().unwrap(),
        ..request::<SendMessage>(body)
    };
    let query = form(
        "Action=SendMessage&Version=2012-11-05&MessageBody=hi&DelaySeconds=0\
         &MessageAttribute.1.Name=kind&MessageAttribute.1.Value.DataType=String\
         &MessageAttribute.1.Value.StringValue=a+b",
    );
    let json = request::<SendMessage>(
        r#"{"QueueUrl":"/123456789012/jobs","MessageBody":"hi","DelaySeconds":0,"MessageAttributes":
            {"kind":{"DataType":"String","StringValue":"a b"}}}"#,
    );
    let input = wire::decode::<SendMessage>(&query).unwrap();
    assert_eq!(input, wire::decode::<SendMessage>(&json).unwrap());
    assert_eq!(input.message_attributes.unwrap()["kind"].string_value.as_deref(), Some("a b"));

    let query = form(
        "Action=ReceiveMessage&AttributeName.1=All&MessageAttributeName.1=a&MessageAttributeName.2=b",
    );
    let input = wire::decode::<ReceiveMessage>(&query).unwrap();
    assert_eq!(input.attribute_names, Some(vec!["All".to_owned()]));
    assert_eq!(input.message_attribute_names, Some(vec!["a".to_owned(), "b".to_owned()]));
    let message = |id: &str| Message {
        message_id: Some(id.to_owned()),
        attributes: Some(BTreeMap::from([("SentTimestamp".to_owned(), "5".to_owned())])),
        ..Default::default()
    };
    let output = ReceiveMessageResult { messages: Some(vec![message("m-1"), message("m-2")]) };
    let answer = wire::encode::<ReceiveMessage>(&query, &output, "r-1");
    let one = |id: &str| {
        format!(
            "<Message><Attribute><Name>SentTimestamp</Name><Value>5</Value></Attribute><MessageId>{id}\
             </MessageId></Message>"
        )
    };
    assert_eq!(
        String::from_utf8_lossy(&answer.body),
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ReceiveMessageResponse \
             xmlns=\"http://queue.amazonaws.com/doc/2012-11-05/\"><ReceiveMessageResult>{}{}\
             </ReceiveMessageResult><ResponseMetadata><RequestId>r-1</RequestId></ResponseMetadata>\
             </ReceiveMessageResponse>",
            one("m-1"),
            one("m-2")
        )
    );
}

#[test]
fn errors_of_sqs_have_two_names() {
    let service = wire::Service::named("sqs").unwrap();
    let error = wire::Error::new(400, "QueueDoesNotExist", "The specified queue does not exist.");
    let json = wire::encode_error(Some(service), wire::Protocol::Json10, &error, "r-1");
    assert_eq!(
        json.headers["x-amzn-query-error"],
        "AWS.SimpleQueueService.NonExistentQueue;Sender"
    );
    assert_eq!(
        String::from_utf8_lossy(&json.body),
        r#"{"__type":"com.amazonaws.sqs#QueueDoesNotExist","message":"The specified queue does not exist."}"#
    );
    let query = wire::encode_error(Some(service), wire::Protocol::Query, &error, "r-1");
    let body = String::from_utf8_lossy(&query.body);
    assert!(body.contains("<Code>AWS.SimpleQueueService.NonExistentQueue</Code>"), "{body}");

    let missing = wire::decode::<wire::sqs::SendMessage>(&request::<wire::sqs::SendMessage>("{}"));
    let missing = missing.unwrap_err();
    assert_eq!(missing.code, "MissingRequiredParameterException");
    let json = wire::encode_error(Some(service), wire::Protocol::Json10, &missing, "r-1");
    assert_eq!(json.headers["x-amzn-query-error"], "MissingParameter;Sender");
}
