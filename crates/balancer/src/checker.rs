//! Health checks: a request to each target from the node's own address, at jittered intervals.
//! `health` says what the outcomes mean.

use std::io;
use std::net::SocketAddrV4;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::Network;
use crate::framing::{self, MAX_RESPONSE_HEAD};
use crate::health;
use crate::snapshot::{Cause, HealthCheck};
use crate::table::Table;
use crate::target::{Group, Random, Target};
use crate::upstream;

/// Checks `target` until it leaves the group `group` of the table, or drains.
pub async fn run(
    network: Arc<dyn Network>,
    table: Arc<ArcSwap<Table>>,
    group: String,
    target: Arc<Target>,
    changed: Arc<Notify>,
) {
    loop {
        let began = Instant::now();
        let Some((now, check)) = current(&table, &group, &target) else { return };
        let outcome = once(&*network, &now, &target, &check).await;
        // Health belongs to the group as it is when the answer is in.
        let Some((now, check)) = current(&table, &group, &target) else { return };
        if target.observe(outcome, &check) {
            tracing::info!(group, target = target.id, health = ?target.health(), "health changed");
            now.refresh();
            changed.notify_one();
        }
        // A tenth either way keeps checks from falling into step.
        let interval = check.interval_ms.max(10);
        let jitter = Random::new().below(interval / 5 + 1);
        sleep_until(began + Duration::from_millis(interval - interval / 10 + jitter)).await;
    }
}

fn current(
    table: &ArcSwap<Table>,
    group: &str,
    target: &Arc<Target>,
) -> Option<(Arc<Group>, HealthCheck)> {
    let group = table.load().groups.get(group)?.clone();
    let check = group.health_check.clone()?;
    let member = group.members.iter().find(|m| Arc::ptr_eq(&m.target, target))?;
    (!member.draining).then_some((group.clone(), check))
}

async fn once(
    network: &dyn Network,
    group: &Group,
    target: &Target,
    check: &HealthCheck,
) -> Result<(), Cause> {
    let port = check.port.unwrap_or(target.address.port());
    let address = SocketAddrV4::new(*target.address.ip(), port);
    let until = Instant::now() + Duration::from_millis(check.timeout_ms);
    let connect = async { upstream::socket(network, group)?.connect(address.into()).await };
    let mut stream = match timeout_at(until, connect).await {
        Err(_) => return Err(Cause::Timeout),
        Ok(Err(e)) if e.kind() == io::ErrorKind::TimedOut => return Err(Cause::Timeout),
        Ok(Err(_)) => return Err(Cause::ConnectionFailed),
        Ok(Ok(stream)) => stream,
    };
    let request = format!(
        "GET {} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
         User-Agent: ELB-HealthChecker/2.0\r\nAccept-Encoding: gzip, compressed\r\n\r\n",
        check.path
    );
    let exchange = async {
        stream.write_all(request.as_bytes()).await.map_err(|_| Cause::ConnectionFailed)?;
        let mut answer = Vec::new();
        loop {
            let n = stream.read_buf(&mut answer).await.map_err(|_| Cause::ConnectionFailed)?;
            if n == 0 {
                return Err(if answer.is_empty() {
                    Cause::ConnectionFailed
                } else {
                    Cause::Protocol
                });
            }
            let end = framing::head_end(&answer, 0).map_err(|_| Cause::Protocol)?;
            if let Some(end) = end {
                return status(&answer[..end]).ok_or(Cause::Protocol);
            }
            if answer.len() > MAX_RESPONSE_HEAD {
                return Err(Cause::Protocol);
            }
        }
    };
    let status = timeout_at(until, exchange).await.map_err(|_| Cause::Timeout)??;
    // Closing over an unread body would look like an error to the target.
    let mut rest = [0; 4096];
    let read_rest = async {
        for _ in 0..16 {
            if !matches!(stream.read(&mut rest).await, Ok(1..)) {
                break;
            }
        }
    };
    if timeout_at(until, read_rest).await.is_err() {
        tracing::debug!(target = target.id, "a health check's answer does not end");
    }
    if health::matches(check, status) { Ok(()) } else { Err(Cause::Status(status)) }
}

fn status(head: &[u8]) -> Option<u16> {
    let mut headers = [httparse::EMPTY_HEADER; framing::MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    match response.parse(head) {
        Ok(httparse::Status::Complete(_)) => response.code,
        _ => None,
    }
}
