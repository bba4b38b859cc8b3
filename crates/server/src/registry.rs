//! Pulling an image from a registry by the distribution API of OCI, as an image layout on disk.
//!
//! ```text
//!  GET /v2/NAME/manifests/TAG     index or manifest; 401 says where to get a token, anonymously
//!  GET /v2/NAME/blobs/sha256:…    configuration and layers, often by way of a redirect
//! ```
//!
//! What is asked for by digest must have it. Not here: logins, pushing.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use http::header::{ACCEPT, AUTHORIZATION, HOST, LOCATION, WWW_AUTHENTICATE};
use http::{Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// Manifests are small; what is larger is none.
const MOST_MANIFEST: usize = 8 << 20;
const PATIENCE: Duration = Duration::from_secs(30);

const MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, \
     application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.docker.distribution.manifest.v2+json";

/// Where hosts keep the authorities they trust.
const TRUSTED: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
];

/// `HOST[:PORT]/NAME[:TAG][@sha256:DIGEST]`
#[derive(Clone, Debug, PartialEq)]
pub struct Reference {
    pub host: String,
    pub name: String,
    /// A tag, or a digest.
    pub version: String,
}

impl Reference {
    pub fn parse(text: &str) -> Result<Reference> {
        let (host, rest) = text.split_once('/').unwrap_or(("", text));
        if !host.contains(['.', ':']) && host != "localhost" {
            bail!("{text}: say which registry has it, as in REGISTRY/{text}");
        }
        let (rest, digest) = match rest.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.to_owned())),
            None => (rest, None),
        };
        let (name, tag) = rest.split_once(':').unwrap_or((rest, "latest"));
        let plain = |text: &str, more: &str| {
            !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c))
        };
        let version = digest.unwrap_or_else(|| tag.to_owned());
        if !plain(name, "/._-") || !plain(&version, "._-:") || !plain(host, ".-:") {
            bail!("{text} is no reference of an image");
        }
        Ok(Reference { host: host.to_owned(), name: name.to_owned(), version })
    }

    /// Registries on this host speak plain HTTP, all others TLS.
    fn base(&self) -> String {
        let name = self.host.rsplit_once(':').map_or(self.host.as_str(), |(name, _)| name);
        let local =
            name == "localhost" || name.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback());
        format!("{}://{}/v2/{}", if local { "http" } else { "https" }, self.host, self.name)
    }
}

/// Downloads the image for this host's processor into `layout`, saying what it does to `say`.
pub async fn pull(reference: &Reference, layout: &Path, say: &dyn Fn(String)) -> Result<()> {
    let mut registry = Registry { base: reference.base(), token: None, tls: None };
    let blobs = layout.join("blobs/sha256");
    tokio::fs::create_dir_all(&blobs).await?;
    let mut version = reference.version.clone();
    let (manifest, text) = loop {
        let text = registry.manifest(&version).await?;
        let manifest: Value =
            serde_json::from_slice(&text).context("a manifest that is no JSON")?;
        match manifest["manifests"].as_array() {
            None => break (manifest, text),
            Some(all) if version == reference.version => version = for_this_host(all)?,
            Some(_) => bail!("an index within an index"),
        }
    };
    let digest = hex(&Sha256::digest(&text));
    tokio::fs::write(blobs.join(&digest), &text).await?;
    let layers = manifest["layers"].as_array().context("a manifest without layers")?;
    let wanted: Vec<&Value> = std::iter::once(&manifest["config"]).chain(layers).collect();
    let size = |blob: &Value| blob["size"].as_u64().unwrap_or(0);
    let total: u64 = wanted.iter().map(|blob| size(blob)).sum();
    let mut done = 0;
    for (n, blob) in wanted.iter().enumerate() {
        let digest = blob["digest"].as_str().context("a blob without a digest")?;
        let hex = checked_hex(digest)?;
        let what = if n == 0 {
            "configuration".to_owned()
        } else {
            format!("layer {n} of {}", layers.len())
        };
        say(format!("{what}: {} ({} of {})", short(hex), mib(done), mib(total)));
        registry.blob(digest, &blobs.join(hex), size(blob)).await.with_context(|| what.clone())?;
        done += size(blob);
    }
    say(format!("{} downloaded", mib(done)));
    let index = json!({"schemaVersion": 2, "manifests": [{
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": format!("sha256:{digest}"), "size": text.len(),
    }]});
    tokio::fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).await?;
    tokio::fs::write(layout.join("index.json"), index.to_string()).await?;
    Ok(())
}

fn for_this_host(manifests: &[Value]) -> Result<String> {
    let architecture = compute::oci::host_architecture();
    let fits = |one: &&Value| {
        one["platform"]["os"] == "linux" && one["platform"]["architecture"] == architecture
    };
    let found = manifests.iter().find(fits);
    let found = found.with_context(|| format!("the image is not for linux on {architecture}"))?;
    Ok(found["digest"].as_str().context("a manifest without a digest")?.to_owned())
}

fn checked_hex(digest: &str) -> Result<&str> {
    let hex = digest.strip_prefix("sha256:").unwrap_or_default();
    match hex.len() == 64 && hex.bytes().all(|c| c.is_ascii_hexdigit()) {
        true => Ok(hex),
        false => bail!("{digest:?} is no sha256 digest"),
    }
}

fn hex(digest: &[u8]) -> String {
    compute::oci::hex(digest)
}

fn short(hex: &str) -> &str {
    &hex[..12]
}

fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

struct Registry {
    base: String,
    /// `Bearer …`
    token: Option<String>,
    tls: Option<TlsConnector>,
}

impl Registry {
    async fn manifest(&mut self, version: &str) -> Result<Bytes> {
        let uri = format!("{}/manifests/{version}", self.base);
        let answer = self.get(&uri).await?;
        let body = Limited::new(answer.into_body(), MOST_MANIFEST).collect().await;
        let text = body.map_err(|error| anyhow!("{uri}: {error}"))?.to_bytes();
        if let Some(wanted) = version.strip_prefix("sha256:")
            && hex(&Sha256::digest(&text)) != wanted
        {
            bail!("the registry's manifest is not the one of this digest");
        }
        Ok(text)
    }

    /// Into a file, found to be what its digest says.
    async fn blob(&mut self, digest: &str, path: &Path, size: u64) -> Result<()> {
        let uri = format!("{}/blobs/{digest}", self.base);
        let mut body = self.get(&uri).await?.into_body();
        let mut file = tokio::fs::File::create(path).await?;
        let (mut hasher, mut received) = (Sha256::new(), 0);
        while let Some(frame) = body.frame().await {
            let frame = frame.context("the download broke off")?;
            let Some(data) = frame.data_ref() else { continue };
            received += data.len() as u64;
            if size > 0 && received > size {
                bail!("it is larger than its manifest says");
            }
            hasher.update(data);
            file.write_all(data).await?;
        }
        file.flush().await?;
        let found = format!("sha256:{}", hex(&hasher.finalize()));
        if found != digest {
            bail!("{digest} came as {found}");
        }
        Ok(())
    }

    /// With a token once one is asked for, and after redirects.
    async fn get(&mut self, uri: &str) -> Result<Response<Incoming>> {
        let mut asked = false;
        let (mut at, mut hops) = (uri.to_owned(), 0);
        loop {
            // The token is the registry's, and nobody's to whom it leads.
            let token = self.token.clone().filter(|_| at.starts_with(&self.base));
            let answer = self.send(&at, token.as_deref()).await?;
            match answer.status() {
                StatusCode::OK => return Ok(answer),
                StatusCode::UNAUTHORIZED if !asked => {
                    asked = true;
                    let how = answer.headers().get(WWW_AUTHENTICATE).and_then(|h| h.to_str().ok());
                    let how = how.context("the registry wants a login")?.to_owned();
                    self.token = Some(self.anonymous(&how).await?);
                }
                status if status.is_redirection() && hops < 5 => {
                    let to = answer.headers().get(LOCATION).and_then(|to| to.to_str().ok());
                    at = to.context("a redirect to nowhere")?.to_owned();
                    hops += 1;
                }
                StatusCode::NOT_FOUND => bail!("{uri}: the registry has no such image"),
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                    bail!("{uri}: the registry does not give it to everybody")
                }
                status => bail!("{uri}: the registry answers {status}"),
            }
        }
    }

    /// A token for reading, without a login.
    async fn anonymous(&mut self, how: &str) -> Result<String> {
        let parameters = how.strip_prefix("Bearer ").context("the registry wants a login")?;
        let value = |name: &str| {
            let part = parameters
                .split(',')
                .find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('='));
            part.map(|value| value.trim_matches('"').to_owned())
        };
        let realm = value("realm").context("the registry does not say where its tokens are")?;
        let mut uri = realm;
        for name in ["service", "scope"] {
            if let Some(value) = value(name) {
                let separator = if uri.contains('?') { '&' } else { '?' };
                uri += &format!("{separator}{name}={value}");
            }
        }
        let answer = self.send(&uri, None).await?;
        if answer.status() != StatusCode::OK {
            bail!("the registry gives no token without a login: {}", answer.status());
        }
        let body = Limited::new(answer.into_body(), MOST_MANIFEST).collect().await;
        let text = body.map_err(|error| anyhow!("token: {error}"))?.to_bytes();
        let value: Value = serde_json::from_slice(&text).context("a token that is no JSON")?;
        let token = value["token"].as_str().or(value["access_token"].as_str());
        Ok(format!("Bearer {}", token.context("an answer without a token")?))
    }

    async fn send(&mut self, uri: &str, token: Option<&str>) -> Result<Response<Incoming>> {
        let uri: Uri = uri.parse().with_context(|| format!("{uri} is no address"))?;
        let host = uri.host().context("an address without a host")?.to_owned();
        let secure = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let mut request = Request::get(uri.path_and_query().map_or("/", |path| path.as_str()))
            .header(HOST, uri.authority().map_or(host.as_str(), |authority| authority.as_str()))
            .header(ACCEPT, MANIFESTS);
        if let Some(token) = token {
            request = request.header(AUTHORIZATION, token);
        }
        let request = request.body(Empty::<Bytes>::new())?;
        let connect = TcpStream::connect((host.as_str(), port));
        let stream = tokio::time::timeout(PATIENCE, connect).await;
        let stream = stream.map_err(|_| anyhow!("{host} does not answer"))?;
        let stream = stream.with_context(|| format!("cannot reach {host}:{port}"))?;
        let sending = async {
            if secure {
                let name = ServerName::try_from(host.clone())?;
                let stream = self.tls()?.connect(name, stream).await?;
                exchange(stream, request).await
            } else {
                exchange(stream, request).await
            }
        };
        let answer = tokio::time::timeout(PATIENCE, sending).await;
        answer
            .map_err(|_| anyhow!("{host} does not answer"))?
            .with_context(|| format!("{host}:{port}"))
    }

    fn tls(&mut self) -> Result<TlsConnector> {
        if let Some(tls) = &self.tls {
            return Ok(tls.clone());
        }
        let own = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
        let file =
            own.into_iter().chain(TRUSTED.iter().map(PathBuf::from)).find(|path| path.exists());
        let file = file.context("this host has no bundle of certificate authorities")?;
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(CertificateDer::pem_file_iter(&file)?.flatten());
        let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        Ok(self.tls.insert(TlsConnector::from(Arc::new(config))).clone())
    }
}

async fn exchange<S>(stream: S, request: Request<Empty<Bytes>>) -> Result<Response<Incoming>>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender.send_request(request).await?)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::convert::Infallible;

    use http_body_util::Full;
    use hyper::service::service_fn;

    use super::*;

    #[test]
    fn references_name_their_registry() {
        let parsed = Reference::parse("127.0.0.1:5000/a/b:1.2").unwrap();
        assert_eq!((parsed.name.as_str(), parsed.version.as_str()), ("a/b", "1.2"));
        assert_eq!(parsed.base(), "http://127.0.0.1:5000/v2/a/b");
        let digest = format!("sha256:{}", "a".repeat(64));
        let parsed = Reference::parse(&format!("registry.example/a@{digest}")).unwrap();
        assert_eq!(parsed.version, digest);
        assert!(parsed.base().starts_with("https://registry.example/"));
        for text in ["debian", "library/debian:12", "registry.example/", "registry.example/a b"] {
            assert!(Reference::parse(text).is_err(), "{text}");
        }
    }

    /// A registry that gives tokens to everybody and blobs by a redirect.
    async fn registry(files: HashMap<String, Vec<u8>>) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (files, here) = (Arc::new(files), address.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (files, here) = (files.clone(), here.clone());
                let service = service_fn(move |request: Request<Incoming>| {
                    let answer = answer(&files, &here, &request);
                    async move { Ok::<_, Infallible>(answer) }
                });
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        address
    }

    fn answer(
        files: &HashMap<String, Vec<u8>>,
        here: &str,
        request: &Request<Incoming>,
    ) -> Response<Full<Bytes>> {
        let path = request.uri().path();
        let reply = |status: u16, body: &[u8]| {
            let mut answer = Response::new(Full::new(Bytes::copy_from_slice(body)));
            *answer.status_mut() = StatusCode::from_u16(status).unwrap();
            answer
        };
        if path == "/token" {
            assert_eq!(request.uri().query(), Some("service=here&scope=repository:a:pull"));
            return reply(200, br#"{"token": "t"}"#);
        }
        if let Some(name) = path.strip_prefix("/elsewhere/") {
            assert!(!request.headers().contains_key(AUTHORIZATION) || name.is_empty());
            return files.get(name).map_or_else(|| reply(404, b""), |data| reply(200, data));
        }
        if request.headers().get(AUTHORIZATION).is_none_or(|token| token != "Bearer t") {
            let mut answer = reply(401, b"");
            let how = format!(
                "Bearer realm=\"http://{here}/token\",service=\"here\",scope=\"repository:a:pull\""
            );
            answer.headers_mut().insert(WWW_AUTHENTICATE, how.parse().unwrap());
            return answer;
        }
        if let Some(name) = path.strip_prefix("/v2/a/blobs/") {
            let mut answer = reply(307, b"");
            let to = format!("http://{here}/elsewhere/{name}");
            answer.headers_mut().insert(LOCATION, to.parse().unwrap());
            return answer;
        }
        let name = path.strip_prefix("/v2/a/manifests/").unwrap_or_default();
        files.get(name).map_or_else(|| reply(404, b""), |data| reply(200, data))
    }

    fn digest(data: &[u8]) -> String {
        format!("sha256:{}", hex(&Sha256::digest(data)))
    }

    fn image(architecture: &str, layer: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let config = json!({"architecture": architecture, "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": [digest(layer)]}})
        .to_string()
        .into_bytes();
        let manifest = json!({"schemaVersion": 2,
            "config": {"digest": digest(&config), "size": config.len()},
            "layers": [{"digest": digest(layer), "size": layer.len()}]})
        .to_string()
        .into_bytes();
        (config, manifest)
    }

    fn tar_of(files: &[(&str, &str)]) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for (name, text) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            header.set_mode(0o644);
            header.set_uid(0);
            header.set_gid(0);
            header.set_mtime(0);
            header.set_cksum();
            tar.append_data(&mut header, name, text.as_bytes()).unwrap();
        }
        tar.into_inner().unwrap()
    }

    #[tokio::test]
    async fn an_image_is_pulled_checked_and_unpacked() {
        let layer = tar_of(&[("usr/bin/tool", "x")]);
        let (config, manifest) = image(compute::oci::host_architecture(), &layer);
        let index = json!({"manifests": [
            {"digest": digest(b"other"), "platform": {"os": "linux", "architecture": "s390x"}},
            {"digest": digest(&manifest), "platform": {"os": "linux",
                "architecture": compute::oci::host_architecture()}},
        ]});
        let mut files = HashMap::from([
            ("1".to_owned(), index.to_string().into_bytes()),
            (digest(&manifest), manifest),
            (digest(&config), config),
            (digest(&layer), layer.clone()),
        ]);
        let place = tempfile::tempdir().unwrap();
        let address = registry(files.clone()).await;
        let reference = Reference::parse(&format!("{address}/a:1")).unwrap();
        let layout = place.path().join("good");
        pull(&reference, &layout, &|_| {}).await.unwrap();
        let unpacked = compute::oci::unpack(&layout, &place.path().join("layers")).unwrap();
        assert_eq!(std::fs::read(unpacked.layers[0].join("usr/bin/tool")).unwrap(), b"x");

        // Another tag is not there; a layer that is not what it should be is not taken.
        let missing = Reference::parse(&format!("{address}/a:2")).unwrap();
        let error = pull(&missing, &place.path().join("none"), &|_| {}).await.unwrap_err();
        assert!(format!("{error:#}").contains("no such image"), "{error:#}");
        let mut forged = layer.clone();
        forged[700] ^= 1;
        files.insert(digest(&layer), forged);
        let address = registry(files).await;
        let reference = Reference::parse(&format!("{address}/a:1")).unwrap();
        let error = pull(&reference, &place.path().join("bad"), &|_| {}).await.unwrap_err();
        assert!(format!("{error:#}").contains("came as"), "{error:#}");
    }
}
