//! `/_drover/…`: what AWS has no API for. Only from this host; JSON in and out.
//!
//! ```text
//!  GET  /_drover/health                 the daemon answers
//!  GET  /_drover/status                 what `drover status` shows
//!  GET  /_drover/trail                  recent calls and how they were judged
//!  GET  /_drover/capacity               pools of capacity and what is in use of them
//!  POST /_drover/capacity               sets pools, or takes them away
//!  POST /_drover/reset                  empties the cloud
//!  POST /_drover/zones/ZONE/fail|heal   takes a zone down, brings it back
//!  GET  /_drover/instances/ID/boot      when its newest boot got how far
//!  POST /_drover/instances/ID/kill      pulls an instance's power cord
//!  POST /_drover/instances/ID/ssh       lets a key in for a minute, and tells the host's keys
//!  GET  /_drover/instances/ID/exec|console|connect/PORT      upgraded: see `stream`
//!  POST /_drover/images                 registers an archive as a machine image
//!  POST /_drover/why                    whether one can connect to another, and what decides
//!  GET  /_drover/resolve/NAME           addresses of a load balancer's live nodes on this host
//!  GET  /_drover/advice                 which types would do for what runs
//!  GET  /_drover/cost                   the bill so far, and what an hour costs now
//!  GET  /_drover/spot/prices/REGION/TYPE   what the type costs as Spot in each zone
//!  POST /_drover/spot/price             sets such a price
//!  POST /_drover/spot/interrupt         takes a Spot Instance away
//!  GET  /_drover/spot/events/REGION     warnings, recommendations, fulfilments
//! ```

mod advice;
mod cost;
mod spot;

use std::path::PathBuf;

use anyhow::{Context as _, Result, anyhow};
use cloud::ec2::image::{self, model::RootDevice};
use cloud::ec2::instance::model::Instance;
use cloud::ec2::network::path;
use cloud::elbv2::model::Target;
use cloud::iam::Event;
use cloud::{Context, Timestamp};
use http::{Method, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::capacity;
use crate::gateway::{Answer, Gateway, full};
use crate::{status, stream, tunnel};

pub async fn answer(gateway: &Gateway, request: http::Request<Incoming>) -> Answer {
    if request.method() == Method::GET
        && let Some(rest) = request.uri().path().strip_prefix("/_drover/instances/")
        && !rest.ends_with("/boot")
    {
        let rest = rest.to_owned();
        let rest: Vec<&str> = rest.split('/').collect();
        let [id, what @ ..] = &rest[..] else { unreachable!("a split has a part") };
        return match stream::answer(&gateway.env, id, what, request).await {
            Ok(answer) => answer,
            Err(error) => reply(StatusCode::BAD_REQUEST, json!({"error": format!("{error:#}")})),
        };
    }
    let (parts, body) = request.into_parts();
    let path: Vec<&str> = parts.uri.path().trim_start_matches("/_drover/").split('/').collect();
    let result = match (&parts.method, path.as_slice()) {
        (&Method::GET, ["health"]) => Ok(health()),
        (&Method::GET, ["status"]) => Ok(status::of(gateway)),
        (&Method::GET, ["trail"]) => Ok(trail(gateway)),
        (&Method::GET, ["capacity"]) => Ok(capacity::show(&gateway.env)),
        (&Method::POST, ["capacity"]) => match Limited::new(body, 1 << 16).collect().await {
            Ok(body) => capacity::change(&gateway.env, &body.to_bytes()).await,
            Err(error) => Err(anyhow!("{error}")),
        },
        (&Method::POST, ["reset"]) => reset(gateway).await,
        (&Method::POST, ["zones", zone, verb @ ("fail" | "heal")]) => {
            set_zone(gateway, zone, *verb == "fail").await
        }
        (&Method::POST, ["instances", id, "kill"]) => kill(gateway, id),
        (&Method::POST, ["instances", id, "ssh"]) => {
            match Limited::new(body, 1 << 16).collect().await {
                Ok(body) => stream::ssh(&gateway.env, id, &body.to_bytes()).await,
                Err(error) => Err(anyhow!("{error}")),
            }
        }
        (&Method::GET, ["instances", id, "boot"]) => boot(gateway, id),
        (&Method::GET, ["resolve", name]) => resolve(gateway, name),
        (&Method::POST, ["why"]) => match Limited::new(body, 1 << 16).collect().await {
            Ok(body) => why(gateway, &body.to_bytes()),
            Err(error) => Err(anyhow!("{error}")),
        },
        (&Method::POST, ["images"]) => match Limited::new(body, 1 << 20).collect().await {
            Ok(body) => import(gateway, &body.to_bytes()).await,
            Err(error) => Err(anyhow!("{error}")),
        },
        (&Method::GET, ["advice"]) => Ok(advice::measured(gateway)),
        (&Method::GET, ["cost"]) => Ok(cost::bill(gateway)),
        (&Method::GET, ["spot", "prices", region, instance_type]) => {
            spot::prices(gateway, region, instance_type)
        }
        (&Method::GET, ["spot", "events", region]) => Ok(spot::events(gateway, region)),
        (&Method::POST, ["spot", verb @ ("price" | "interrupt")]) => {
            match Limited::new(body, 1 << 16).collect().await {
                Ok(body) if *verb == "price" => spot::set_price(gateway, &body.to_bytes()).await,
                Ok(body) => spot::interrupt(gateway, &body.to_bytes()).await,
                Err(error) => Err(anyhow!("{error}")),
            }
        }
        _ => return reply(StatusCode::NOT_FOUND, json!({"error": "no such path"})),
    };
    match result {
        Ok(value) => reply(StatusCode::OK, value),
        Err(error) => reply(StatusCode::BAD_REQUEST, json!({"error": format!("{error:#}")})),
    }
}

fn reply(status: StatusCode, value: Value) -> Answer {
    let mut answer = http::Response::new(full(value.to_string()));
    *answer.status_mut() = status;
    answer.headers_mut().insert("content-type", http::HeaderValue::from_static("application/json"));
    answer
}

fn health() -> Value {
    json!({"status": "running", "version": env!("CARGO_PKG_VERSION")})
}

/// The newest first.
fn trail(gateway: &Gateway) -> Value {
    let event = |event: &std::sync::Arc<Event>| {
        let verdict = &event.verdict;
        let action = format!("{}:{}", event.service, event.operation);
        json!({
            "id": event.id,
            "time": event.at.iso8601(),
            "region": event.region,
            "caller": event.caller,
            "access_key": event.access_key,
            "source_ip": event.source_ip,
            "call": action,
            "action": if verdict.action.is_empty() { action } else { verdict.action.clone() },
            "resource": verdict.resource,
            "resources": event.resources,
            "allowed": verdict.allowed,
            "by": verdict.by,
            "error": event.error.as_ref().map(|(code, _)| code),
            "message": event.error.as_ref().map(|(_, message)| message),
        })
    };
    gateway.env.trail.events().iter().map(event).collect()
}

/// Records and data go at once; instances and balancers without a record are ended by the controllers.
async fn reset(gateway: &Gateway) -> Result<Value> {
    gateway.env.store.reset().await?;
    capacity::begin(&gateway.env).await?;
    gateway.env.metrics.clear();
    gateway.env.trail.clear();
    Ok(json!({}))
}

async fn set_zone(gateway: &Gateway, zone: &str, fail: bool) -> Result<Value> {
    let env = &gateway.env;
    let region = cloud::zone::region_of(zone);
    if !cloud::zone::zones(region, env.config.zones).iter().any(|known| known.name == zone) {
        return Err(anyhow!("no zone {zone}; zones are named like {}a", env.config.default_region));
    }
    let now = env.clock.now();
    env.store
        .write(|tx| {
            if fail {
                cloud::zone::fail(tx, zone, now)
            } else {
                cloud::zone::heal(tx, zone)
            };
            Ok::<_, store::Error>(())
        })
        .await?;
    Ok(json!({"zone": zone, "state": if fail { "failed" } else { "available" }}))
}

fn kill(gateway: &Gateway, id: &str) -> Result<Value> {
    let driver = &gateway.env.driver;
    if !driver.list().iter().any(|observed| observed.id == id) {
        return Err(anyhow!("no instance {id} runs here"));
    }
    driver.crash(id)?;
    Ok(json!({"instance": id}))
}

/// All by the host's clock, in milliseconds since the Unix epoch.
fn boot(gateway: &Gateway, id: &str) -> Result<Value> {
    let env = &gateway.env;
    let snapshot = env.store.read();
    let instance = snapshot.scan::<Instance>("").find(|instance| instance.id == id);
    let instance = instance.with_context(|| format!("there is no instance {id}"))?;
    let times = env.driver.boot_times(id).with_context(|| match env.config.fake_compute {
        true => "instances are simulated here; nothing boots that could be measured".to_owned(),
        false => format!("no boot of {id} is known: it was not up yet, or is gone"),
    })?;
    let (now, host_now) = (env.clock.now(), env.clock.host_now().0 as f64);
    let of_cloud =
        |at: Timestamp| host_now - env.clock.to_host(now.since(at)).as_secs_f64() * 1000.0;
    let mut steps: Vec<(String, f64)> =
        times.marks.iter().map(|(what, at)| (step(what), *at as f64 / 1000.0)).collect();
    if instance.desired.since_boot == times.boot {
        steps.push(("API call".to_owned(), of_cloud(instance.launch_time)));
    }
    let healthy = snapshot
        .scan::<Target>("")
        .filter(|target| target.id == instance.id || target.id == instance.private_ip.to_string())
        .filter_map(|target| target.healthy_at)
        .filter(|at| *at >= instance.launch_time)
        .min();
    steps.extend(healthy.map(|at| ("healthy in a target group".to_owned(), of_cloud(at))));
    steps.sort_by(|a, b| a.1.total_cmp(&b.1));
    let begin = steps.first().map_or(0.0, |(_, at)| *at);
    let shown =
        |(what, at): &(String, f64)| json!({"step": what, "at_ms": at, "after_ms": at - begin});
    Ok(json!({
        "instance": id,
        "boot": times.boot,
        "init": times.init,
        "steps": steps.iter().map(shown).collect::<Vec<_>>(),
    }))
}

/// The driver's word, in ours.
fn step(mark: &str) -> String {
    match mark {
        "asked" => "placed, recorded, driver asked",
        "shim" => "host process for it runs",
        "root" => "root file system mounted",
        "network" => "interfaces attached",
        "init" => "pid 1 runs",
        other => other,
    }
    .to_owned()
}

fn resolve(gateway: &Gateway, name: &str) -> Result<Value> {
    let nodes = tunnel::nodes(&gateway.env, &name.to_ascii_lowercase())
        .context("no load balancer has this name")?;
    Ok(json!({"addresses": nodes}))
}

#[derive(Deserialize)]
struct Why {
    from: String,
    to: String,
    port: u16,
    protocol: path::Protocol,
    region: String,
}

fn why(gateway: &Gateway, body: &[u8]) -> Result<Value> {
    let Why { from, to, port, protocol, region } = serde_json::from_slice(body)?;
    let cx = Context::service(&gateway.env, &gateway.env.config.account, &region, "drover");
    let question = path::Question { from, to, protocol, port };
    match path::why(&cx.read(), &cx, &question) {
        Ok(answer) => Ok(serde_json::to_value(answer)?),
        Err(error) => Err(anyhow!("{}", wire::Error::from(error).message)),
    }
}

#[derive(Deserialize)]
struct Import {
    name: String,
    archive: PathBuf,
    /// Name or id of the image below.
    base: Option<String>,
    description: Option<String>,
    region: String,
    #[serde(default)]
    init: compute::Init,
    #[serde(default)]
    root_device_type: RootDevice,
}

/// The archive is a file of this host: whoever calls reaches the daemon's loopback, and says only
/// what root of this host shall read.
async fn import(gateway: &Gateway, body: &[u8]) -> Result<Value> {
    let import: Import = serde_json::from_slice(body)?;
    let env = &gateway.env;
    let cx = Context::service(env, &env.config.account, &import.region, "drover");
    let mut layers = match &import.base {
        None => Vec::new(),
        Some(base) => {
            image::ops::images(&cx.read(), &cx)
                .into_iter()
                .find(|image| image.name == *base || image.id == *base)
                .with_context(|| format!("no image {base} in {}", import.region))?
                .layers
        }
    };
    let directory = gateway.images.join(cloud::id::resource(&env.rng, "img"));
    let (archive, unpacked) = (import.archive.clone(), directory.clone());
    let layered = import.base.is_some();
    let unpack = move || match layered {
        false => compute::image::import_any(&archive, &unpacked).map(|(layers, _)| layers),
        true => compute::image::import_layer(&archive, &unpacked).map(|_| vec![unpacked]),
    };
    let unpacked = tokio::task::spawn_blocking(unpack)
        .await?
        .with_context(|| format!("cannot import {}", import.archive.display()))?;
    layers.extend(unpacked.into_iter().map(compute::Layer::Dir));
    let description = import.description.unwrap_or_default();
    let content = tokio::task::spawn_blocking(move || {
        let os = compute::image::os_of(&layers);
        image::ops::Content { layers, root_device: import.root_device_type, init: import.init, os }
    })
    .await?;
    let registered = cx
        .write(|tx| {
            image::ops::register_local(tx, &cx, &import.name, content.clone(), &description)
        })
        .await;
    match registered {
        Ok(image) => Ok(json!({"image_id": image.id})),
        Err(error) => {
            let _ = tokio::task::spawn_blocking(move || std::fs::remove_dir_all(directory)).await;
            Err(anyhow!("{}", wire::Error::from(error).message))
        }
    }
}
