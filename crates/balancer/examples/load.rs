//! Loads a web server or balancer over kept-alive connections, one request at a time on each, and says
//! in JSON what it bore: `load ADDRESS CONNECTIONS SECONDS [PID]`. With the number of the process under
//! load it says how much processor time a request took. One thread.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

const REQUEST: &[u8] = b"GET /bench HTTP/1.1\r\nHost: bench.example\r\n\
    User-Agent: load\r\nAccept: */*\r\nAccept-Encoding: gzip\r\nCookie: session=0123456789\r\n\r\n";
const WARM_UP: Duration = Duration::from_secs(1);

fn main() -> std::io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, connections, seconds, pid @ ..] = &arguments[..] else {
        return Err(std::io::Error::other("load ADDRESS CONNECTIONS SECONDS [PID]"));
    };
    let connections: usize = connections.parse().expect("a number of connections");
    let seconds: u64 = seconds.parse().expect("a number of seconds");
    let pid = pid.first().map(String::as_str);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let begin = Instant::now() + WARM_UP;
        let end = begin + Duration::from_secs(seconds);
        let mut clients = JoinSet::new();
        for _ in 0..connections {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            clients.spawn(client(stream, begin, end));
        }
        tokio::time::sleep_until(begin.into()).await;
        let before = pid.map(cpu_time).transpose()?;
        tokio::time::sleep_until(end.into()).await;
        let after = pid.map(cpu_time).transpose()?;
        let (mut times, mut failed) = (Vec::new(), 0);
        while let Some(result) = clients.join_next().await {
            match result.expect("a client does not panic") {
                Ok(mut of_one) => times.append(&mut of_one),
                Err(error) => {
                    eprintln!("{error}");
                    failed += 1;
                }
            }
        }
        times.sort_unstable();
        let at =
            |share: f64| times.get((times.len() as f64 * share) as usize).copied().unwrap_or(0);
        print!(
            "{{\"requests_per_second\": {}, \"p50_us\": {}, \"p99_us\": {}, \"p99_9_us\": {}, \
             \"failed_connections\": {failed}",
            times.len() as u64 / seconds,
            at(0.5),
            at(0.99),
            at(0.999)
        );
        if let (Some(before), Some(after)) = (before, after) {
            let busy = (after - before).as_secs_f64();
            print!(", \"processor_us_per_request\": {:.2}", busy * 1e6 / times.len().max(1) as f64);
        }
        println!("}}");
        Ok(())
    })
}

/// The time of each request that began and ended within the measurement, in microseconds.
async fn client(mut stream: TcpStream, begin: Instant, end: Instant) -> std::io::Result<Vec<u32>> {
    let mut times = Vec::new();
    let mut buffer = Vec::with_capacity(64 * 1024);
    loop {
        let sent = Instant::now();
        stream.write_all(REQUEST).await?;
        let mut length = None;
        while length.is_none_or(|n| buffer.len() < n) {
            if stream.read_buf(&mut buffer).await? == 0 {
                return Err(std::io::Error::other("the connection was closed"));
            }
            if length.is_none() {
                length = message_length(&buffer)?;
            }
        }
        buffer.clear();
        let now = Instant::now();
        if now > end {
            return Ok(times);
        }
        if sent >= begin {
            times.push((now - sent).as_micros() as u32);
        }
    }
}

fn message_length(buffer: &[u8]) -> std::io::Result<Option<usize>> {
    let Some(head) = buffer.windows(4).position(|w| w == b"\r\n\r\n") else { return Ok(None) };
    let text = String::from_utf8_lossy(&buffer[..head]).to_ascii_lowercase();
    if !text.starts_with("http/1.1 200") {
        return Err(std::io::Error::other(text));
    }
    let body = text.lines().find_map(|l| l.strip_prefix("content-length:"));
    let body = body.and_then(|n| n.trim().parse::<usize>().ok());
    body.map(|n| Some(head + 4 + n)).ok_or_else(|| std::io::Error::other("no content-length"))
}

/// User and system time of a process, all threads.
fn cpu_time(pid: &str) -> std::io::Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name, in parentheses, may hold anything; the fields after it are numbers.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks = |i: usize| fields.get(i).and_then(|f| f.parse::<u64>().ok()).unwrap_or(0);
    // Fields 14 and 15 of proc(5), in hundredths of a second.
    Ok(Duration::from_millis((ticks(11) + ticks(12)) * 10))
}
