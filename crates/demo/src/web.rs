//! The web application of the tier: small and stateless. Sessions live in DynamoDB, pictures in S3;
//! an instance may die at any moment and nobody notices.
//!
//! ```text
//!  GET  /health          200 once it serves
//!  POST /login/USER      makes a session: Set-Cookie: session=ID
//!  GET  /me              who this session is, and who serves it
//!  PUT  /picture/NAME    stores the body under the session's user
//!  GET  /picture/NAME    gives it back
//! ```

use std::convert::Infallible;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use wire::sigv4::Credentials;

use crate::aws::{Client, Target};

/// The name this program has when it is the web application.
pub const PROGRAM: &str = "tier-web";
const MAX_PICTURE: usize = 1 << 20;

struct App {
    aws: Client,
    table: String,
    bucket: String,
    instance: String,
    zone: String,
    release: String,
}

pub fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(serve())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{PROGRAM}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn serve() -> Result<()> {
    let endpoint = variable("AWS_ENDPOINT_URL")?;
    let authority = endpoint.trim_start_matches("http://").trim_end_matches('/').to_owned();
    let aws = Client::new(Target {
        authority,
        region: variable("AWS_REGION")?,
        access_key_id: String::new(),
        secret_access_key: String::new(),
    });
    aws.use_keys(role_keys().await?);
    tokio::spawn(renew(aws.clone()));
    let app = Arc::new(App {
        aws,
        table: variable("TIER_TABLE")?,
        bucket: variable("TIER_BUCKET")?,
        instance: metadata("instance-id").await?,
        zone: metadata("placement/availability-zone").await?,
        release: std::fs::read_to_string("/opt/tier/release").unwrap_or_default().trim().to_owned(),
    });
    let listener = TcpListener::bind(("0.0.0.0", 80)).await.context("cannot listen on port 80")?;
    println!("{PROGRAM} {} serves on port 80", app.release);
    loop {
        let (stream, _) = listener.accept().await?;
        let _ = stream.set_nodelay(true);
        let app = Arc::clone(&app);
        let service = service_fn(move |request| {
            let app = Arc::clone(&app);
            async move { Ok::<_, Infallible>(app.answer(request).await) }
        });
        tokio::spawn(
            hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service),
        );
    }
}

/// The role's keys are good for hours; these are never old.
async fn renew(aws: Client) {
    loop {
        tokio::time::sleep(Duration::from_secs(300)).await;
        match role_keys().await {
            Ok(keys) => aws.use_keys(keys),
            Err(error) => eprintln!("{PROGRAM}: {error:#}"),
        }
    }
}

/// Those of the instance's role.
async fn role_keys() -> Result<Credentials> {
    let path = "iam/security-credentials/";
    let role = metadata(path).await.context("this instance has no role")?;
    let keys: Value = serde_json::from_str(&metadata(&format!("{path}{role}")).await?)?;
    let text = |name: &str| keys[name].as_str().map(str::to_owned).context("keys without a part");
    Ok(Credentials {
        access_key: text("AccessKeyId")?,
        secret: text("SecretAccessKey")?,
        session_token: Some(text("Token")?),
    })
}

fn variable(name: &str) -> Result<String> {
    std::env::var(name).with_context(|| format!("{name} is not set"))
}

/// From the instance metadata service, version 2.
async fn metadata(path: &str) -> Result<String> {
    let imds = Client::new(Target {
        authority: "169.254.169.254:80".into(),
        region: String::new(),
        access_key_id: String::new(),
        secret_access_key: String::new(),
    });
    let token = imds.metadata_token().await?;
    imds.metadata(path, &token).await
}

impl App {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (parts, body) = request.into_parts();
        let path: Vec<&str> = parts.uri.path().trim_start_matches('/').split('/').collect();
        let session = parts.headers.get("cookie").and_then(|cookie| session(cookie.to_str().ok()?));
        let result = match (&parts.method, path.as_slice()) {
            (&Method::GET, ["health"]) => Ok(text(StatusCode::OK, "ok")),
            (&Method::POST, ["login", user]) => self.login(user).await,
            (&Method::GET, ["me"]) => match self.user(session).await {
                Ok(Some(user)) => Ok(self.me(&user)),
                other => other.map(|_| text(StatusCode::UNAUTHORIZED, "no session")),
            },
            (method @ (&Method::GET | &Method::PUT), ["picture", name]) => {
                match self.user(session).await {
                    Ok(Some(user)) if method == Method::GET => self.picture(&user, name).await,
                    Ok(Some(user)) => match Limited::new(body, MAX_PICTURE).collect().await {
                        Ok(body) => self.store(&user, name, body.to_bytes()).await,
                        Err(_) => Ok(text(StatusCode::PAYLOAD_TOO_LARGE, "too large")),
                    },
                    other => other.map(|_| text(StatusCode::UNAUTHORIZED, "no session")),
                }
            }
            _ => Ok(text(StatusCode::NOT_FOUND, "not found")),
        };
        result.unwrap_or_else(|error| {
            eprintln!("{PROGRAM}: {} {}: {error:#}", parts.method, parts.uri);
            text(StatusCode::SERVICE_UNAVAILABLE, &format!("{error:#}"))
        })
    }

    async fn login(&self, user: &str) -> Result<Response<Full<Bytes>>> {
        let mut id = [0; 16];
        getrandom(&mut id)?;
        let id: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
        let item = json!({"id": {"S": id}, "user": {"S": user}});
        self.dynamodb("PutItem", json!({"TableName": self.table, "Item": item})).await?;
        let mut answer = self.me(user);
        answer.headers_mut().insert("set-cookie", format!("session={id}; HttpOnly").parse()?);
        Ok(answer)
    }

    async fn user(&self, session: Option<&str>) -> Result<Option<String>> {
        let Some(session) = session else { return Ok(None) };
        let key = json!({"id": {"S": session}});
        let input = json!({"TableName": self.table, "Key": key, "ConsistentRead": true});
        let output = self.dynamodb("GetItem", input).await?;
        Ok(output["Item"]["user"]["S"].as_str().map(str::to_owned))
    }

    fn me(&self, user: &str) -> Response<Full<Bytes>> {
        let body = json!({
            "user": user, "instance": self.instance, "zone": self.zone, "release": self.release,
        });
        text(StatusCode::OK, &body.to_string())
    }

    async fn store(&self, user: &str, name: &str, body: Bytes) -> Result<Response<Full<Bytes>>> {
        self.aws.put_object(&self.bucket, &format!("{user}/{name}"), body).await?;
        Ok(text(StatusCode::OK, "stored"))
    }

    async fn picture(&self, user: &str, name: &str) -> Result<Response<Full<Bytes>>> {
        match self.aws.get_object(&self.bucket, &format!("{user}/{name}")).await? {
            Some(picture) => Ok(Response::new(Full::new(picture))),
            None => Ok(text(StatusCode::NOT_FOUND, "no such picture")),
        }
    }

    async fn dynamodb(&self, operation: &str, input: Value) -> Result<Value> {
        self.aws.json("dynamodb", "1.0", &format!("DynamoDB_20120810.{operation}"), input).await
    }
}

fn session(cookie: &str) -> Option<&str> {
    cookie.split(';').find_map(|pair| pair.trim().strip_prefix("session="))
}

fn text(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::new(Bytes::from(text.to_owned())));
    *answer.status_mut() = status;
    answer
}

fn getrandom(bytes: &mut [u8]) -> Result<()> {
    use std::io::Read;
    std::fs::File::open("/dev/urandom")?.read_exact(bytes).context("no randomness")
}
