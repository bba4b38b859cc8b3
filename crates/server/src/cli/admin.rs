//! How commands talk to a running cloud: find its endpoint, call its `/_drover` paths.

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;

use super::Cloud;
use crate::{paths::Paths, slot};

impl Cloud {
    /// The slot record of the cloud meant, if it is one of this host's.
    pub fn record(&self) -> Result<Option<(slot::Slot, slot::Record)>> {
        let mut clouds = slot::all()?;
        clouds.retain(|(_, record)| record.data_dir.exists());
        if let Some(dir) = &self.data_dir {
            let dir = std::path::absolute(dir)?;
            return Ok(clouds.into_iter().find(|(_, record)| record.data_dir == dir));
        }
        if let Some(endpoint) = &self.endpoint {
            let address = endpoint.trim_start_matches("http://").trim_end_matches('/');
            return Ok(clouds.into_iter().find(|(_, r)| r.listen.to_string() == address));
        }
        let default = Paths::default_data();
        if let Some(at) = clouds.iter().position(|(_, record)| record.data_dir == default) {
            return Ok(Some(clouds.swap_remove(at)));
        }
        if clouds.len() > 1 {
            let list: Vec<String> = clouds
                .iter()
                .map(|(_, r)| {
                    format!("  --data-dir {}   (http://{})", r.data_dir.display(), r.listen)
                })
                .collect();
            bail!("several clouds run here; say which one is meant:\n{}", list.join("\n"));
        }
        Ok(clouds.pop())
    }

    pub fn endpoint(&self) -> Result<String> {
        if let (Some(endpoint), None) = (&self.endpoint, &self.data_dir) {
            return Ok(endpoint.trim_end_matches('/').to_owned());
        }
        match self.record()? {
            Some((_, record)) => Ok(format!("http://{}", record.listen)),
            None => bail!("no cloud runs here; start one with `drover up`"),
        }
    }

    /// Calls an admin path; the answer's JSON, or its error as text.
    pub fn call(
        &self,
        method: &str,
        path: &str,
        body: Option<serde_json::Value>,
    ) -> Result<serde_json::Value> {
        let endpoint = self.endpoint()?;
        let body = body.map(|value| value.to_string()).unwrap_or_default();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (status, answer) = runtime.block_on(request(&endpoint, method, path, body))?;
        let value: serde_json::Value = serde_json::from_slice(&answer)
            .unwrap_or_else(|_| String::from_utf8_lossy(&answer).into_owned().into());
        if !status.is_success() {
            let message = value.get("error").unwrap_or(&value);
            bail!("{}", message.as_str().map_or_else(|| message.to_string(), str::to_owned));
        }
        Ok(value)
    }
}

impl Cloud {
    /// An admin path as a connection that is upgraded.
    pub async fn upgrade(&self, path: &str) -> Result<TokioIo<hyper::upgrade::Upgraded>> {
        let endpoint = self.endpoint()?;
        let authority = endpoint.strip_prefix("http://");
        let authority = authority.context("the endpoint must begin with http://")?;
        let stream = tokio::net::TcpStream::connect(authority).await.with_context(|| {
            format!("no cloud answers at {endpoint}; start one with `drover up`")
        })?;
        stream.set_nodelay(true)?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection.with_upgrades());
        let request = http::Request::builder()
            .uri(path)
            .header("host", authority)
            .header("connection", "upgrade")
            .header("upgrade", crate::stream::PROTOCOL)
            .body(Full::new(Bytes::new()))?;
        let answer = sender.send_request(request).await?;
        if answer.status() != http::StatusCode::SWITCHING_PROTOCOLS {
            let body = answer.into_body().collect().await?.to_bytes();
            let value: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
            let text = String::from_utf8_lossy(&body);
            bail!("{}", value["error"].as_str().unwrap_or(&text));
        }
        Ok(TokioIo::new(hyper::upgrade::on(answer).await?))
    }
}

async fn request(
    endpoint: &str,
    method: &str,
    path: &str,
    body: String,
) -> Result<(http::StatusCode, Bytes)> {
    let authority =
        endpoint.strip_prefix("http://").context("the endpoint must begin with http://")?;
    let stream = tokio::net::TcpStream::connect(authority)
        .await
        .with_context(|| format!("no cloud answers at {endpoint}; start one with `drover up`"))?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request = http::Request::builder()
        .method(method)
        .uri(path)
        .header("host", authority)
        .body(Full::new(Bytes::from(body)))?;
    let answer = sender.send_request(request).await?;
    let status = answer.status();
    Ok((status, answer.into_body().collect().await?.to_bytes()))
}
