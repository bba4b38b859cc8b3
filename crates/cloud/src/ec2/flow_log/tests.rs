//! Flow logs through their calls, and what the controller makes of flows.

use wire::ec2 as w;

use super::handlers;
use crate::testing;

fn wanted(resource: &str, destination: &str) -> w::CreateFlowLogsRequest {
    w::CreateFlowLogsRequest {
        resource_ids: vec![resource.to_owned()],
        resource_type: "VPC".to_owned(),
        traffic_type: Some("REJECT".to_owned()),
        log_destination_type: Some("s3".to_owned()),
        log_destination: Some(destination.to_owned()),
        ..Default::default()
    }
}

#[tokio::test]
async fn a_flow_logs_life() {
    let cx = testing::context();
    let vpc = crate::ec2::vpc::ops::first_id(&cx);
    let create = |request| handlers::create_flow_logs(cx.clone(), request);
    let refused = create(wanted(&vpc, "arn:aws:s3:::logs/flows/")).await.unwrap_err();
    assert_eq!(refused.code(), "InvalidParameterValue");

    let bucket = crate::s3::Bucket {
        name: "logs".to_owned(),
        account: cx.account.clone(),
        region: cx.region.clone(),
        created_at: cx.now,
        number: 1,
    };
    cx.write(|tx| {
        tx.put(bucket.clone());
        Ok::<_, store::Error>(())
    })
    .await
    .unwrap();
    let made = create(wanted(&vpc, "arn:aws:s3:::logs/flows/")).await.unwrap();
    let [id] = <[String; 1]>::try_from(made.flow_log_ids.unwrap()).unwrap();
    assert!(id.starts_with("fl-"));
    for (request, code) in [
        (wanted(&vpc, "arn:aws:s3:::logs/flows/"), "FlowLogAlreadyExists"),
        (wanted("vpc-0123456789abcdef0", "arn:aws:s3:::logs"), "InvalidVpcID.NotFound"),
        (
            w::CreateFlowLogsRequest {
                log_destination_type: None,
                ..wanted(&vpc, "arn:aws:s3:::logs")
            },
            "UnsupportedOperation",
        ),
        (
            w::CreateFlowLogsRequest {
                log_format: Some("${srcaddr} ${tcp-flags}".to_owned()),
                ..wanted(&vpc, "arn:aws:s3:::logs")
            },
            "InvalidParameterValue",
        ),
    ] {
        assert_eq!(create(request).await.unwrap_err().code(), code);
    }

    let described = handlers::describe_flow_logs(cx.clone(), Default::default()).await.unwrap();
    let [log] = <[w::FlowLog; 1]>::try_from(described.flow_logs.unwrap()).unwrap();
    assert_eq!(log.flow_log_id.as_deref(), Some(id.as_str()));
    assert_eq!(log.max_aggregation_interval, Some(600));
    assert_eq!(log.deliver_logs_status.as_deref(), Some("SUCCESS"));

    let delete = w::DeleteFlowLogsRequest { flow_log_ids: vec![id.clone()], dry_run: None };
    handlers::delete_flow_logs(cx.clone(), delete.clone()).await.unwrap();
    let again = handlers::delete_flow_logs(cx.clone(), delete).await.unwrap_err();
    assert_eq!(again.code(), "InvalidFlowLogId.NotFound");
}
