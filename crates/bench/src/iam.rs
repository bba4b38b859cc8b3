//! How long it takes to decide whether a caller may do what it asks: of the policies alone (measured by
//! an example of the crate that decides), and what it adds to a whole call.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use demo::aws::first;
use serde_json::{Value, json};

use crate::Options;
use crate::cloud::{Cloud, Ec2, Records};
use crate::report::{Report, percentile, table};

pub async fn measure(options: &Options, report: &mut Report) -> Result<()> {
    decisions(options, report)?;
    calls(options, report).await
}

/// The same call by root, whom no policy is asked about, and by a user with 50 statements.
async fn calls(options: &Options, report: &mut Report) -> Result<()> {
    const IAM: &str = "2010-05-08";
    let cloud = Cloud::start(options, Records::Memory).await?;
    let client = cloud.client("test", "test");
    client.query("iam", IAM, "CreateUser", &[("UserName", "ann")]).await?;
    for policy in 0..10 {
        let statements: Vec<Value> = (0..5)
            .map(|n| match (policy, n) {
                (9, 4) => json!({"Effect": "Allow", "Action": "ec2:Describe*", "Resource": "*"}),
                _ => json!({
                    "Effect": "Allow",
                    "Action": [format!("s3:Get{policy}*"), "ssm:GetParameter*"],
                    "Resource": format!("arn:aws:s3:::bucket-{policy}-{n}/*"),
                    "Condition": {"StringLike": {"aws:PrincipalArn": "arn:aws:iam::*:user/a*"}},
                }),
            })
            .collect();
        let document = json!({"Version": "2012-10-17", "Statement": statements}).to_string();
        let name = format!("policy-{policy}");
        let parameters = [("PolicyName", name.as_str()), ("PolicyDocument", document.as_str())];
        let made = client.query("iam", IAM, "CreatePolicy", &parameters).await?;
        let attach = [("UserName", "ann"), ("PolicyArn", &first(&made, "Arn"))];
        client.query("iam", IAM, "AttachUserPolicy", &attach).await?;
    }
    let key = client.query("iam", IAM, "CreateAccessKey", &[("UserName", "ann")]).await?;
    let (id, secret) = (first(&key, "AccessKeyId"), first(&key, "SecretAccessKey"));
    let callers = [cloud.ec2.clone(), Ec2::of(cloud.client(&id, &secret))];
    let mut times = [Vec::new(), Vec::new()];
    // In turns, so that whatever else happens here happens to both.
    for n in 0..options.times(5000, 200) + 50 {
        for (caller, times) in callers.iter().zip(&mut times) {
            let begin = Instant::now();
            caller.call("DescribeKeyPairs", &[]).await?;
            if n >= 50 {
                times.push(begin.elapsed());
            }
        }
    }
    let row = |what: &str, times: &[Duration]| {
        [what.to_owned(), us(percentile(times, 50)), us(percentile(times, 99))]
    };
    let rows = [
        row("by root: no policy is asked", &times[0]),
        row("by a user with 50 statements", &times[1]),
    ];
    let added = percentile(&times[1], 50).saturating_sub(percentile(&times[0], 50));
    report.section(
        "Authorization of whole calls",
        &table(&["DescribeKeyPairs without key pairs", "p50", "p99"], &rows),
        &format!(
            "One client on a kept-alive connection, signatures included; 10 policies attached. A call's \
             authorization adds {} (p50): what it asks for, the decision, and its entry in the trail.",
            us(added)
        ),
    );
    Ok(())
}

fn decisions(options: &Options, report: &mut Report) -> Result<()> {
    let times = options.times(20_000, 500).to_string();
    let output = Command::new(options.program("examples/decisions")).arg(&times).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let measured: Vec<Value> = serde_json::from_slice(&output.stdout)?;
    let mut rows = Vec::new();
    let mut slowest = Duration::ZERO;
    for of_kind in &measured {
        let times: Vec<Duration> = serde_json::from_value::<Vec<u64>>(of_kind["ns"].clone())?
            .into_iter()
            .map(Duration::from_nanos)
            .collect();
        slowest = slowest.max(percentile(&times, 50));
        let what = of_kind["what"].as_str().unwrap_or_default().to_owned();
        rows.push([what, us(percentile(&times, 50)), us(percentile(&times, 99))]);
    }
    report.section(
        "Decisions on requests",
        &table(&["with 50 attached statements", "p50", "p99"], &rows),
        &format!("In 10 policies, {times} decisions each, compiled beforehand; a call's own time is extra."),
    );
    report.aim(
        "decision with 50 attached statements in less than 20 µs (p50)",
        us(slowest),
        slowest < Duration::from_micros(20),
    );
    Ok(())
}

fn us(duration: Duration) -> String {
    format!("{:.1} µs", duration.as_secs_f64() * 1e6)
}
