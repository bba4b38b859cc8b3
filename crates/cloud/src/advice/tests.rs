//! Compute Optimizer's operations over measured instances.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::Context;
use crate::cloudwatch::metrics::MetricId;
use crate::ec2::instance::model::Phase;
use crate::ec2::instance::testing::instance;
use crate::testing::{self, NOW};

async fn call(cx: &Context, operation: &str, input: Value) -> Result<Value, String> {
    let mut table = crate::services::table().into_iter();
    let found =
        |e: &crate::services::Entry| e.service == "compute-optimizer" && e.operation == operation;
    let entry = table.find(found).unwrap();
    let request = wire::Request {
        service: "compute-optimizer",
        operation: operation.to_owned(),
        protocol: wire::Protocol::Json10,
        method: http::Method::POST,
        uri: http::Uri::from_static("/"),
        headers: http::HeaderMap::new(),
        body: input.to_string().into(),
    };
    match (entry.call)(cx.clone(), Arc::new(request)).await {
        Ok(response) => Ok(serde_json::from_slice(&response.body).unwrap()),
        Err(error) => Err(error.code),
    }
}

#[tokio::test]
async fn recommendations_come_of_measures_to_who_opted_in() {
    let mut cx = testing::context();
    let mut idle = instance();
    idle.instance_type = "m5.4xlarge".into();
    idle.observed.phase = Phase::Up;
    idle.observed.boot = 1;
    idle.observed.up_since = Some(NOW);
    cx.write(|tx| {
        tx.put(idle.clone());
        Ok::<_, store::Error>(())
    })
    .await
    .unwrap();
    let all = "GetEC2InstanceRecommendations";
    assert_eq!(call(&cx, all, json!({})).await.unwrap_err(), "OptInRequiredException");
    let status = call(&cx, "GetEnrollmentStatus", json!({})).await.unwrap();
    assert_eq!(status["status"], "Inactive");
    call(&cx, "UpdateEnrollmentStatus", json!({"status": "Active"})).await.unwrap();
    assert_eq!(call(&cx, all, json!({})).await.unwrap()["instanceRecommendations"], json!([]));

    let id = MetricId::new("AWS/EC2", "CPUUtilization", &[("InstanceId", &idle.id)]);
    for minute in 0..10u64 {
        let at = NOW.plus(Duration::from_secs(60 * minute + 30));
        cx.env.metrics.put(&cx.account, &cx.region, &id, at, 5.0);
    }
    cx.env.clock.advance(NOW.plus(Duration::from_secs(600)));
    cx.now = cx.env.clock.now();
    let answer = call(&cx, all, json!({})).await.unwrap();
    let found = &answer["instanceRecommendations"][0];
    assert_eq!(found["finding"], "OVER_PROVISIONED");
    assert_eq!(found["findingReasonCodes"][0], "CPUOverprovisioned");
    assert_eq!(found["utilizationMetrics"][0]["value"], 5.0);
    let best = &found["recommendationOptions"][0];
    assert_eq!(best["rank"], 1);
    let saves = best["savingsOpportunity"]["estimatedMonthlySavings"]["value"].as_f64().unwrap();
    assert!(saves > 400.0, "{best}");

    for (input, count) in [
        (json!({"filters": [{"name": "Finding", "values": ["Overprovisioned"]}]}), 1),
        (json!({"filters": [{"name": "Finding", "values": ["OPTIMIZED"]}]}), 0),
        (json!({"instanceArns": [found["instanceArn"]]}), 1),
        (json!({"accountIds": ["999999999999"]}), 0),
    ] {
        let answer = call(&cx, all, input.clone()).await.unwrap();
        let shown = answer["instanceRecommendations"].as_array().unwrap().len();
        assert_eq!(shown, count, "{input}");
    }
    let other = json!({"instanceArns": ["arn:aws:ec2:us-east-1:123456789012:instance/i-1"]});
    let answer = call(&cx, all, other).await.unwrap();
    assert_eq!(answer["errors"][0]["code"], "MISSING_RECOMMENDATION");
    let wrong = json!({"filters": [{"name": "InferredWorkloadTypes", "values": ["Nginx"]}]});
    assert_eq!(call(&cx, all, wrong).await.unwrap_err(), "InvalidParameterValueException");
    call(&cx, "UpdateEnrollmentStatus", json!({"status": "Inactive"})).await.unwrap();
    assert_eq!(call(&cx, all, json!({})).await.unwrap_err(), "OptInRequiredException");
}
