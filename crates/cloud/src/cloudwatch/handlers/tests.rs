//! CloudWatch's reads as clients send them.

use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::testing::{NOW, context};

async fn call(cx: &Context, operation: &str, input: Value) -> Result<Value, String> {
    let mut table = crate::services::table().into_iter();
    let entry = table.find(|e| e.service == "cloudwatch" && e.operation == operation).unwrap();
    let request = wire::Request {
        service: "cloudwatch",
        operation: operation.to_owned(),
        protocol: wire::Protocol::Json10,
        method: http::Method::POST,
        uri: "/".parse().unwrap(),
        headers: http::HeaderMap::new(),
        body: input.to_string().into(),
    };
    match (entry.call)(cx.clone(), Arc::new(request)).await {
        Ok(response) => Ok(serde_json::from_slice(&response.body).unwrap()),
        Err(error) => Err(error.code),
    }
}

const START: i64 = NOW.0 / 1000;

/// One value a minute for ten minutes: 1, 2, 3, …
fn measured() -> Context {
    let cx = context();
    let id = MetricId::new("AWS/EC2", "CPUUtilization", &[("AutoScalingGroupName", "web")]);
    for minute in 0..10 {
        let at = NOW.plus(Duration::from_secs(60 * minute));
        cx.env.metrics.put(&cx.account, &cx.region, &id, at, minute as f64 + 1.0);
    }
    let other = MetricId::new("AWS/EC2", "CPUUtilization", &[("InstanceId", "i-1")]);
    for minute in 0..10 {
        let at = NOW.plus(Duration::from_secs(60 * minute));
        cx.env.metrics.put(&cx.account, &cx.region, &other, at, 50.0);
    }
    cx
}

fn query(id: &str, stat: &str, period: i64) -> Value {
    json!({"Id": id, "MetricStat": {
        "Metric": {"Namespace": "AWS/EC2", "MetricName": "CPUUtilization",
                   "Dimensions": [{"Name": "AutoScalingGroupName", "Value": "web"}]},
        "Period": period, "Stat": stat,
    }})
}

#[tokio::test]
async fn statistics_by_period() {
    let cx = measured();
    let mut ask = json!({
        "Namespace": "AWS/EC2", "MetricName": "CPUUtilization", "Period": 300,
        "Dimensions": [{"Name": "AutoScalingGroupName", "Value": "web"}],
        "StartTime": START, "EndTime": START + 600, "Statistics": ["Average", "Maximum"],
    });
    let answer = call(&cx, "GetMetricStatistics", ask.clone()).await.unwrap();
    assert_eq!(
        answer["Datapoints"],
        json!([
            {"Average": 3.0, "Maximum": 5.0, "Timestamp": START as f64, "Unit": "Percent"},
            {"Average": 8.0, "Maximum": 10.0, "Timestamp": (START + 300) as f64, "Unit": "Percent"},
        ])
    );
    ask["Unit"] = json!("Bytes");
    let answer = call(&cx, "GetMetricStatistics", ask.clone()).await.unwrap();
    assert_eq!(answer["Datapoints"], json!([]));
    for (member, value, code) in [
        ("Period", json!(90), "InvalidParameterValue"),
        ("EndTime", json!(START), "InvalidParameterValue"),
        ("EndTime", json!(START + 300 * 1441), "InvalidParameterCombination"),
        ("Statistics", json!(null), "InvalidParameterCombination"),
        ("ExtendedStatistics", json!(["p99"]), "InvalidParameterValue"),
    ] {
        let mut wrong = ask.clone();
        wrong[member] = value;
        assert_eq!(call(&cx, "GetMetricStatistics", wrong).await.unwrap_err(), code, "{member}");
    }
}

#[tokio::test]
async fn basic_monitoring_shows_five_minutes_at_once() {
    let cx = measured();
    let ask = json!({
        "Namespace": "AWS/EC2", "MetricName": "CPUUtilization", "Period": 60,
        "Dimensions": [{"Name": "InstanceId", "Value": "i-1"}],
        "StartTime": START, "EndTime": START + 600, "Statistics": ["SampleCount"],
    });
    let answer = call(&cx, "GetMetricStatistics", ask).await.unwrap();
    let times: Vec<f64> = answer["Datapoints"]
        .as_array()
        .unwrap()
        .iter()
        .map(|point| point["Timestamp"].as_f64().unwrap())
        .collect();
    assert_eq!(times, [START as f64, (START + 300) as f64]);
}

#[tokio::test]
async fn data_in_pages() {
    let cx = measured();
    let mut ask = json!({
        "StartTime": START, "EndTime": START + 600, "MaxDatapoints": 4,
        "MetricDataQueries": [query("a", "Sum", 300), query("b", "Average", 120)],
    });
    let first = call(&cx, "GetMetricData", ask.clone()).await.unwrap();
    let results = &first["MetricDataResults"];
    assert_eq!(results[0]["Values"], json!([40.0, 15.0]));
    assert_eq!(results[0]["StatusCode"], "Complete");
    assert_eq!(results[1]["Values"], json!([9.5, 7.5]));
    assert_eq!(results[1]["StatusCode"], "PartialData");
    ask["NextToken"] = first["NextToken"].clone();
    let second = call(&cx, "GetMetricData", ask.clone()).await.unwrap();
    assert_eq!(second["MetricDataResults"][0]["Values"], json!([]));
    assert_eq!(second["MetricDataResults"][1]["Values"], json!([5.5, 3.5, 1.5]));
    assert_eq!(second.get("NextToken"), None);
    ask["NextToken"] = json!("x");
    assert_eq!(call(&cx, "GetMetricData", ask).await.unwrap_err(), "InvalidNextToken");
    for wrong in [
        json!([query("a", "Sum", 60), query("a", "Sum", 60)]),
        json!([query("A", "Sum", 60)]),
        json!([{"Id": "a"}]),
    ] {
        let ask = json!({"StartTime": START, "EndTime": START + 600, "MetricDataQueries": wrong});
        assert_eq!(call(&cx, "GetMetricData", ask).await.unwrap_err(), "ValidationError");
    }
    let math = json!([{"Id": "a", "Expression": "1+1"}]);
    let ask = json!({"StartTime": START, "EndTime": START + 600, "MetricDataQueries": math});
    assert_eq!(call(&cx, "GetMetricData", ask).await.unwrap_err(), "InvalidParameterValue");
}

#[tokio::test]
async fn metrics_are_listed_by_dimension() {
    let cx = measured();
    let count = |answer: Value| answer["Metrics"].as_array().unwrap().len();
    assert_eq!(count(call(&cx, "ListMetrics", json!({})).await.unwrap()), 2);
    let ask = json!({"Dimensions": [{"Name": "InstanceId"}], "RecentlyActive": "PT3H"});
    let answer = call(&cx, "ListMetrics", ask).await.unwrap();
    assert_eq!(
        answer["Metrics"],
        json!([{"Namespace": "AWS/EC2", "MetricName": "CPUUtilization",
                "Dimensions": [{"Name": "InstanceId", "Value": "i-1"}]}])
    );
    let none = json!({"Namespace": "AWS/EBS"});
    assert_eq!(count(call(&cx, "ListMetrics", none).await.unwrap()), 0);
    let elsewhere = Context { region: "eu-west-1".into(), ..cx };
    assert_eq!(count(call(&elsewhere, "ListMetrics", json!({})).await.unwrap()), 0);
}
