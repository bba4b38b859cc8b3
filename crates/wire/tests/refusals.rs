//! What decoding refuses, in AWS's words.

use wire::{Operation, Protocol};

fn request(service: &'static wire::Service, operation: &str, body: &str) -> wire::Request {
    wire::Request {
        service: service.name,
        operation: operation.to_owned(),
        protocol: service.protocol,
        method: http::Method::POST,
        uri: "/".parse().unwrap(),
        headers: http::HeaderMap::new(),
        body: body.to_owned().into(),
    }
}

fn refusal<O: Operation>(body: &str) -> String {
    match wire::decode::<O>(&request(O::SERVICE, O::NAME, body)) {
        Ok(_) => "accepted".to_owned(),
        Err(error) => format!("{} {}: {}", error.status, error.code, error.message),
    }
}

#[test]
fn ec2() {
    use wire::ec2::{DescribeInstances, RunInstances, TerminateInstances};
    for (body, expected) in [
        ("Action=TerminateInstances&InstanceId.1=i-1&DryRun=TRUE", "accepted"),
        (
            "Version=2016-11-15",
            "400 MissingParameter: The request must contain the parameter InstanceId",
        ),
        (
            "InstanceId.1=i-1&InstanceIds.1=i-1",
            "400 UnknownParameter: The parameter InstanceIds.1 is not recognized",
        ),
        (
            "InstanceId.member.1=i-1",
            "400 UnknownParameter: The parameter InstanceId.member.1 is not recognized",
        ),
        (
            "InstanceId.1=i-1&DryRun=perhaps",
            "400 InvalidParameterValue: Value (perhaps) for parameter DryRun is invalid. \
             Expecting a boolean.",
        ),
    ] {
        assert_eq!(refusal::<TerminateInstances>(body), expected, "{body}");
    }
    for (body, expected) in [
        ("ImageId=ami-1&MinCount=1&MaxCount=1&InstanceType=of.tomorrow", "accepted"),
        (
            "ImageId=ami-1&MinCount=one&MaxCount=1",
            "400 InvalidParameterValue: Value (one) for parameter MinCount is invalid. \
             Expecting a 32 bit integer.",
        ),
        (
            "MinCount=1&MaxCount=1&InstanceInitiatedShutdownBehavior=sleep",
            "400 InvalidParameterValue: Value (sleep) for parameter \
             InstanceInitiatedShutdownBehavior is invalid. Valid values: stop, terminate.",
        ),
        (
            "MinCount=1&MaxCount=1&TagSpecification.1.Tag.2.Name=x",
            "400 UnknownParameter: The parameter TagSpecification.1.Tag.2.Name is not recognized",
        ),
    ] {
        assert_eq!(refusal::<RunInstances>(body), expected, "{body}");
    }
    assert_eq!(refusal::<DescribeInstances>(""), "accepted");
    let deep = format!("{}=1", "a.".repeat(1000));
    assert!(refusal::<DescribeInstances>(&deep).starts_with("400 UnknownParameter"));
}

#[test]
fn query() {
    use wire::autoscaling::{CreateAutoScalingGroup, DescribeAutoScalingGroups};
    use wire::elbv2::CreateTargetGroup;
    assert_eq!(refusal::<DescribeAutoScalingGroups>("AutoScalingGroupNames="), "accepted");
    assert_eq!(
        refusal::<CreateAutoScalingGroup>("MinSize=1&MaxSize=1"),
        "400 ValidationError: 1 validation error detected: Value null at 'autoScalingGroupName' \
         failed to satisfy constraint: Member must not be null"
    );
    assert_eq!(
        refusal::<CreateAutoScalingGroup>(
            "AutoScalingGroupName=g&MinSize=1&MaxSize=1&Tags.member.1.Key="
        ),
        "400 ValidationError: 1 validation error detected: Value '' at 'tags.1.member.key' failed \
         to satisfy constraint: Member must have length greater than or equal to 1"
    );
    assert_eq!(
        refusal::<CreateAutoScalingGroup>("AutoScalingGroupName=g&MinSize=x&MaxSize=1"),
        "400 MalformedInput: MinSize: 'x' can not be converted to a 32 bit integer"
    );
    assert_eq!(
        refusal::<CreateTargetGroup>("Name=g&Protocol=SMOKE&Port=70000"),
        "400 ValidationError: 2 validation errors detected: Value '70000' at 'port' failed to \
         satisfy constraint: Member must have value less than or equal to 65535; Value 'SMOKE' at \
         'protocol' failed to satisfy constraint: Member must satisfy enum value set: [HTTP, \
         HTTPS, TCP, TLS, UDP, TCP_UDP, GENEVE, QUIC, TCP_QUIC]"
    );
}

#[test]
fn json() {
    use wire::dynamodb::{GetItem, Scan};
    use wire::ssm::{GetParameter, PutParameter};
    for (body, expected) in [("", "accepted"), ("{}", "accepted"), (r#"{"Name":null}"#, "accepted")]
    {
        // Nothing but presence is asked of the name.
        let got = refusal::<GetParameter>(body);
        assert!(got.contains("Value null at 'name'"), "{body} {expected} {got}");
    }
    for (body, expected) in [
        (r#"{"Name":"/a"}"#, "accepted"),
        ("[1]", "400 SerializationException: Start of list found where not expected"),
        (
            r#"{"Name":1}"#,
            "400 SerializationException: NUMBER_VALUE can not be converted to a String",
        ),
        (r#"{"Name":"#, "400 SerializationException: EOF while parsing a value"),
        (
            r#"{"Name":"/a","Colour":{"deep":[1]}}"#,
            "400 ValidationException: 1 validation error detected: Member 'Colour' is not recognized",
        ),
    ] {
        assert_eq!(refusal::<GetParameter>(body), expected, "{body}");
    }
    assert_eq!(
        refusal::<PutParameter>(r#"{"Name":"","Value":"v","Type":"Number"}"#),
        "400 ValidationException: 2 validation errors detected: Value '' at 'name' failed to \
         satisfy constraint: Member must have length greater than or equal to 1; Value 'Number' at \
         'type' failed to satisfy constraint: Member must satisfy enum value set: [String, \
         StringList, SecureString]"
    );
    assert_eq!(
        refusal::<GetItem>(r#"{"TableName":"t","Key":{"k":{"S":5}}}"#),
        "400 SerializationException: NUMBER_VALUE can not be converted to a String"
    );
    assert_eq!(
        refusal::<Scan>(r#"{"TableName":"t","Limit":0}"#),
        "400 ValidationException: 1 validation error detected: Value '0' at 'limit' failed to \
         satisfy constraint: Member must have value greater than or equal to 1"
    );
    let deep = format!(r#"{{"TableName":"t","Key":{{"k":{}"#, r#"{"L":["#.repeat(500));
    assert!(refusal::<GetItem>(&deep).starts_with("400 SerializationException"));
}

#[test]
fn rest_json() {
    use wire::ebs::{ListSnapshotBlocks, PutSnapshotBlock};
    let ask = |uri: &str| {
        let mut request = request(&wire::ebs::SERVICE, "ListSnapshotBlocks", "");
        request.uri = uri.parse().unwrap();
        wire::decode::<ListSnapshotBlocks>(&request).map_err(|error| (error.code, error.message))
    };
    assert!(ask("/snapshots/snap-1/blocks?maxResults=100").is_ok());
    let (code, message) = ask("/snapshots/snap-1/blocks?maxResults=many").unwrap_err();
    assert_eq!(
        (&*code, &*message),
        ("SerializationException", "'many' can not be converted to an Integer")
    );
    let (code, message) = ask("/snapshots/snap-1/blocks?colour=red").unwrap_err();
    assert_eq!(code, "ValidationException");
    assert!(message.ends_with("Member 'colour' is not recognized"), "{message}");
    let (_, message) = ask("/snapshots/snap-1/blocks?maxResults=1").unwrap_err();
    assert!(message.contains("'maxResults'") && message.contains("equal to 100"), "{message}");
    // What has a place elsewhere is no member of the document.
    let mut start = request(&wire::ebs::SERVICE, "PutSnapshotBlock", "data");
    start.uri = "/snapshots/snap-1/blocks/0".parse().unwrap();
    let error = wire::decode::<PutSnapshotBlock>(&start).unwrap_err();
    assert!(error.message.starts_with("3 validation errors detected"), "{}", error.message);
}

#[test]
fn cbor() {
    use wire::cloudwatch::ListMetrics;
    let ask = |body: &[u8]| {
        let mut request = request(&wire::cloudwatch::SERVICE, "ListMetrics", "");
        request.body = body.to_vec().into();
        match wire::decode::<ListMetrics>(&request) {
            Ok(_) => "accepted".to_owned(),
            Err(error) => format!("{}: {}", error.code, error.message),
        }
    };
    let deep = [b"\xa1\x61x".to_vec(), vec![0x81; 5000], vec![0]].concat();
    let huge = b"\xa1\x69Namespace\x7b\x7f\xff\xff\xff\xff\xff\xff\xffAWS";
    for (expected, body) in [
        ("accepted", &b""[..]),
        ("accepted", b"\xa0"),
        ("accepted", b"\xbf\xff"),
        ("SerializationException: Trailing bytes after the document", b"\xa0\xa0"),
        ("SerializationException: Unexpected type for a structure", b"\x80"),
        ("SerializationException: Unexpected type for a String", b"\xa1\x69Namespace\x01"),
        ("SerializationException: The document is not well-formed CBOR", b"\xa1"),
        ("SerializationException: A text is not UTF-8 or is cut off", b"\xa1\x62a"),
        ("SerializationException: A text is not UTF-8 or is cut off", huge),
        (
            "ValidationException: 1 validation error detected: Member 'x' is not recognized",
            b"\xa1\x61x\xc1\x82\x01\xa1\x01\x41\x00",
        ),
        ("SerializationException: The document is too deep", &deep),
    ] {
        assert_eq!(ask(body), expected, "{body:x?}");
    }
}

#[test]
fn query_compatible_errors_have_both_codes() {
    let service = Some(&wire::cloudwatch::SERVICE);
    for code in ["InvalidParameterValue", "InvalidParameterValueException"] {
        let error = wire::Error::new(400, code, "no");
        let response = wire::encode_error(service, Protocol::Cbor, &error, "r-1");
        assert_eq!(response.headers["x-amzn-query-error"], "InvalidParameterValue;Sender");
        assert_eq!(
            &response.body[..],
            b"\xa2\x66__type\x78\x1eInvalidParameterValueException\x67message\x62no"
        );
        let response = wire::encode_error(service, Protocol::Query, &error, "r-1");
        let text = String::from_utf8_lossy(&response.body);
        assert!(text.contains("<Code>InvalidParameterValue</Code>"), "{text}");
    }
}

#[test]
fn errors_are_written_as_each_protocol_does() {
    let error = wire::Error::new(400, "Code.Sub", "a < b");
    for (service, expected) in [
        (
            &wire::ec2::SERVICE,
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Response><Errors><Error><Code>Code.Sub\
             </Code><Message>a &lt; b</Message></Error></Errors><RequestID>r-1</RequestID></Response>",
        ),
        (
            &wire::sts::SERVICE,
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ErrorResponse \
             xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>Sender</Type><Code>\
             Code.Sub</Code><Message>a &lt; b</Message></Error><RequestId>r-1</RequestId>\
             </ErrorResponse>",
        ),
        (&wire::ssm::SERVICE, r#"{"__type":"Code.Sub","message":"a < b"}"#),
        (
            &wire::dynamodb::SERVICE,
            r#"{"__type":"com.amazonaws.dynamodb.v20120810#Code.Sub","message":"a < b"}"#,
        ),
        (&wire::ebs::SERVICE, r#"{"Message":"a < b","message":"a < b"}"#),
    ] {
        let response = wire::encode_error(Some(service), service.protocol, &error, "r-1");
        assert_eq!(response.status, 400);
        assert_eq!(String::from_utf8_lossy(&response.body), expected);
        assert_eq!(response.headers["x-amzn-requestid"], "r-1");
    }
    let json = wire::encode_error(None, Protocol::Json11, &error, "r-1");
    assert_eq!(json.headers["x-amzn-errortype"], "Code.Sub");
}

#[test]
fn error_shapes_bring_their_members() {
    let shape = wire::dynamodb::ConditionalCheckFailedException {
        message: Some("not this one".into()),
        item: Some(
            [(
                "k".to_owned(),
                wire::dynamodb::AttributeValue { s: Some("v".into()), ..Default::default() },
            )]
            .into(),
        ),
    };
    let error = wire::Error::new(400, "ConditionalCheckFailedException", "failed").with(&shape);
    let response = wire::encode_error(None, Protocol::Json10, &error, "r-1");
    assert_eq!(
        String::from_utf8_lossy(&response.body),
        r#"{"Item":{"k":{"S":"v"}},"__type":"ConditionalCheckFailedException","message":"failed"}"#
    );
}
