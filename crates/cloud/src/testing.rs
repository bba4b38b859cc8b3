//! A cloud for tests of `ops`: an ephemeral store, a simulated clock, seeded randomness and fakes of all
//! that is outside.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use compute::fake::{Fake, Fault, Point, Timing};

use crate::ec2::vpc::Cidr;
use crate::env::{Config, Env, Parts, Rng};
use crate::fake_balancers::FakeBalancers;
use crate::{Clock, Context, Timestamp};

/// 2026-01-01T00:00:00Z
pub const NOW: Timestamp = Timestamp(1_767_225_600_000);

pub fn context() -> Context {
    world(|_| None).0
}

/// With the driver's book and a place to inject its faults.
pub fn world(
    faults: impl Fn(Point<'_>) -> Option<Fault> + Send + Sync + 'static,
) -> (Context, Arc<Fake>) {
    let config = Config {
        account: "123456789012".to_owned(),
        default_region: "us-east-1".to_owned(),
        zones: 3,
        loopback_octet: 77,
        public_pool: Cidr::new(Ipv4Addr::new(198, 18, 0, 0), 19),
        gateway_port: 4566,
        fake_compute: true,
    };
    let clock = Clock::simulated(NOW);
    let timing = Timing { boot: Duration::from_secs(1), stop: Duration::from_secs(1) };
    let driver_clock = clock.clone();
    let driver_now = move || driver_clock.now().since(NOW);
    let driver = Arc::new(Fake::with_faults(timing, driver_now, faults));
    let env = Env::new(Parts {
        config,
        clock,
        rng: Rng::seeded(1),
        store: store::Store::ephemeral(),
        driver: driver.clone(),
        fabric: Arc::new(fabric::fake::Fake::new()),
        balancers: Arc::new(FakeBalancers::new(|_| true)),
        metrics: crate::cloudwatch::Metrics::default(),
        trail: crate::iam::Trail::default(),
        seal: crate::seal::Seal::new([7; 32]),
        network_gate: Arc::default(),
    });
    let context = Context {
        env,
        account: "123456789012".to_owned(),
        region: "us-east-1".to_owned(),
        caller: "arn:aws:iam::123456789012:root".to_owned(),
        from: Arc::default(),
        request_id: "00000000-0000-4000-8000-000000000000".to_owned(),
        now: NOW,
    };
    (context, driver)
}

/// The same cloud with other balancers.
pub fn with_balancers(cx: &Context, balancers: Arc<FakeBalancers>) -> Context {
    let parts: &Parts = &cx.env;
    let env = Env::new(Parts { balancers, ..parts.clone() });
    Context { env, ..cx.clone() }
}

/// An operation of EC2 as a client sends it: status and body, or what is wrong.
#[cfg(test)]
pub async fn call(cx: &Context, operation: &str, members: &str) -> (u16, String) {
    let mut table = crate::services::table().into_iter();
    let entry = table.find(|e| e.service == "ec2" && e.operation == operation).expect("is served");
    let body = format!("Action={operation}&Version=2016-11-15&{members}");
    let request = wire::Request {
        service: "ec2",
        operation: operation.to_owned(),
        protocol: wire::Protocol::Ec2,
        method: http::Method::POST,
        uri: http::Uri::from_static("/"),
        headers: http::HeaderMap::new(),
        body: body.into_bytes().into(),
    };
    match (entry.call)(cx.clone(), Arc::new(request)).await {
        Ok(response) => {
            let text = String::from_utf8(response.body.to_vec()).expect("XML is UTF-8");
            (response.status.as_u16(), text)
        }
        Err(error) => (error.status, format!("{}: {}", error.code, error.message)),
    }
}

/// The body of a call that must succeed.
#[cfg(test)]
pub async fn ok(cx: &Context, operation: &str, members: &str) -> String {
    let (status, body) = call(cx, operation, members).await;
    assert_eq!(status, 200, "{operation} {members}: {body}");
    body
}

/// The code of a call that must fail.
#[cfg(test)]
pub async fn refused(cx: &Context, operation: &str, members: &str) -> String {
    let (status, body) = call(cx, operation, members).await;
    assert_ne!(status, 200, "{operation} {members}: {body}");
    body.split(':').next().unwrap_or_default().to_owned()
}

/// The text of the first element of that name.
#[cfg(test)]
pub fn text(body: &str, name: &str) -> String {
    let opened = body.split_once(&format!("<{name}>")).map(|(_, rest)| rest);
    let inner = opened.and_then(|rest| rest.split_once(&format!("</{name}>")));
    inner.unwrap_or_else(|| panic!("no {name} in {body}")).0.to_owned()
}
