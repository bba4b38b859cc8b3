//! A small AWS client: signed requests over kept-alive connections, answers as trees. Enough for the
//! web application and for deploying it; anything larger uses an SDK.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use wire::sigv4::Credentials;

/// Where the cloud is and who calls it.
#[derive(Clone, Debug)]
pub struct Target {
    /// `host:port` of the endpoint.
    pub authority: String,
    pub region: String,
    pub access_key_id: String,
    pub secret_access_key: String,
}

#[derive(Clone)]
pub struct Client {
    target: Target,
    keys: Arc<Mutex<Credentials>>,
    idle: Arc<Mutex<VecDeque<SendRequest<Full<Bytes>>>>>,
}

struct Answer {
    status: u16,
    body: Bytes,
}

impl Client {
    pub fn new(target: Target) -> Client {
        let keys = Credentials {
            access_key: target.access_key_id.clone(),
            secret: target.secret_access_key.clone(),
            session_token: None,
        };
        Client { target, keys: Arc::new(Mutex::new(keys)), idle: Arc::default() }
    }

    /// Signs with these from now on.
    pub fn use_keys(&self, keys: Credentials) {
        *self.keys.lock().expect("no panics under the lock") = keys;
    }

    /// A JSON service: `target` is what `X-Amz-Target` says, such as `DynamoDB_20120810.GetItem`.
    pub async fn json(
        &self,
        service: &str,
        version: &str,
        target: &str,
        input: Value,
    ) -> Result<Value> {
        let content_type = format!("application/x-amz-json-{version}");
        let request = self
            .request("POST", "/")
            .header("content-type", content_type)
            .header("x-amz-target", target);
        let answer = self.call(service, request, input.to_string().into()).await?;
        let output: Value = serde_json::from_slice(&answer.body)
            .with_context(|| format!("{target}: the answer is not JSON"))?;
        if answer.status >= 300 {
            let message =
                output["message"].as_str().or(output["Message"].as_str()).unwrap_or_default();
            bail!("{target}: {} {message}", output["__type"].as_str().unwrap_or("error"));
        }
        Ok(output)
    }

    /// A query service; the answer as XML text, to be read with `first` and `all`.
    pub async fn query(
        &self,
        service: &str,
        version: &str,
        action: &str,
        parameters: &[(&str, &str)],
    ) -> Result<String> {
        let mut body = format!("Action={action}&Version={version}");
        for (name, value) in parameters {
            body += &format!("&{name}={}", percent(value));
        }
        let content_type = "application/x-www-form-urlencoded; charset=utf-8";
        let request = self.request("POST", "/").header("content-type", content_type);
        let answer = self.call(service, request, body.into()).await?;
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        if answer.status >= 300 {
            bail!("{action}: {} {}", first(&text, "Code"), first(&text, "Message"));
        }
        Ok(text)
    }

    pub async fn put_object(&self, bucket: &str, key: &str, body: Bytes) -> Result<()> {
        let path = if key.is_empty() { format!("/{bucket}") } else { format!("/{bucket}/{key}") };
        let answer = self.call("s3", self.request("PUT", &path), body).await?;
        match answer.status {
            200 => Ok(()),
            status => bail!("PutObject: {status} {}", String::from_utf8_lossy(&answer.body)),
        }
    }

    /// `None` when there is no such object.
    pub async fn get_object(&self, bucket: &str, key: &str) -> Result<Option<Bytes>> {
        let path = format!("/{bucket}/{key}");
        let answer = self.call("s3", self.request("GET", &path), Bytes::new()).await?;
        match answer.status {
            200 => Ok(Some(answer.body)),
            404 => Ok(None),
            status => bail!("GetObject: {status} {}", String::from_utf8_lossy(&answer.body)),
        }
    }

    pub async fn metadata_token(&self) -> Result<String> {
        let request = self
            .request("PUT", "/latest/api/token")
            .header("x-aws-ec2-metadata-token-ttl-seconds", "300");
        self.metadata_text(request).await
    }

    pub async fn metadata(&self, path: &str, token: &str) -> Result<String> {
        let path = format!("/latest/meta-data/{path}");
        self.metadata_text(self.request("GET", &path).header("x-aws-ec2-metadata-token", token))
            .await
    }

    async fn metadata_text(&self, request: http::request::Builder) -> Result<String> {
        let answer = self.send(request.body(Full::default())?).await?;
        match answer.status {
            200 => Ok(String::from_utf8_lossy(&answer.body).into_owned()),
            status => bail!("instance metadata: {status}"),
        }
    }

    /// A path of the cloud's own, unsigned.
    pub async fn admin(&self, method: &str, path: &str, input: Option<Value>) -> Result<Value> {
        let body = input.map(|value| Bytes::from(value.to_string())).unwrap_or_default();
        let answer = self.send(self.request(method, path).body(Full::new(body))?).await?;
        let output: Value = serde_json::from_slice(&answer.body)?;
        if answer.status >= 300 {
            bail!("{path}: {}", output["error"].as_str().unwrap_or("failed"));
        }
        Ok(output)
    }

    fn request(&self, method: &str, path: &str) -> http::request::Builder {
        http::Request::builder().method(method).uri(path).header("host", &self.target.authority)
    }

    async fn call(
        &self,
        service: &str,
        request: http::request::Builder,
        body: Bytes,
    ) -> Result<Answer> {
        let (mut parts, ()) = request.body(())?.into_parts();
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() as i64;
        let credentials = self.keys.lock().expect("no panics under the lock").clone();
        wire::sigv4::sign(
            &parts.method,
            &parts.uri,
            &mut parts.headers,
            &wire::sigv4::sha256_hex(&body),
            &credentials,
            &self.target.region,
            service,
            now,
        );
        self.send(http::Request::from_parts(parts, Full::new(body))).await
    }

    /// Over an idle connection if one is alive, else over a new one.
    async fn send(&self, request: http::Request<Full<Bytes>>) -> Result<Answer> {
        let idle = || self.idle.lock().expect("no panics under the lock").pop_back();
        let mut connection = loop {
            match idle() {
                Some(connection) if connection.is_ready() => break connection,
                Some(_) => {}
                None => break self.connect().await?,
            }
        };
        let answer = connection.send_request(request).await?;
        let (parts, body) = answer.into_parts();
        let body = body.collect().await?.to_bytes();
        self.idle.lock().expect("no panics under the lock").push_back(connection);
        Ok(Answer { status: parts.status.as_u16(), body })
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>> {
        let connect = TcpStream::connect(&self.target.authority);
        let stream = tokio::time::timeout(Duration::from_secs(5), connect)
            .await
            .map_err(|_| anyhow!("{} does not answer", self.target.authority))?
            .with_context(|| format!("cannot connect to {}", self.target.authority))?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(sender)
    }
}

fn percent(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(byte.into())
            }
            _ => out += &format!("%{byte:02X}"),
        }
    }
    out
}

/// The text of the first element of this name; empty when there is none.
pub fn first(xml: &str, name: &str) -> String {
    all(xml, name).into_iter().next().unwrap_or_default().to_owned()
}

/// What stands between the tags of every element of this name, outermost first; elements of the same
/// name inside one another do not occur in the answers read here.
pub fn all<'a>(xml: &'a str, name: &str) -> Vec<&'a str> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let mut found = Vec::new();
    let mut rest = xml;
    while let Some(start) = rest.find(&open) {
        let inner = &rest[start + open.len()..];
        let Some(end) = inner.find(&close) else { break };
        found.push(&inner[..end]);
        rest = &inner[end + close.len()..];
    }
    found
}
