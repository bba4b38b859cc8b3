//! Pools of capacity from outside: the file of `drover up --capacity`, and the admin path.
//!
//! ```toml
//! [us-east-1a]
//! "t3.micro" = 4
//! ```

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result, anyhow};
use cloud::Env;
use cloud::ec2::capacity::{Pool, ops};
use serde::Deserialize;
use serde_json::{Value, json};

/// By zone and type.
type File = BTreeMap<String, BTreeMap<String, u32>>;

pub fn read(path: &Path, zones: usize) -> Result<Vec<Pool>> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    parse(&text, zones).with_context(|| path.display().to_string())
}

fn parse(text: &str, zones: usize) -> Result<Vec<Pool>> {
    let file: File = toml::from_str(text)?;
    let mut pools = Vec::new();
    for (zone, types) in file {
        for (instance_type, limit) in types {
            let pool = Pool { zone: zone.clone(), instance_type, limit };
            ops::check(&pool, zones).map_err(|error| anyhow!("{error}"))?;
            pools.push(pool);
        }
    }
    Ok(pools)
}

/// The pools that the cloud was started with, and no others.
pub async fn begin(env: &Env) -> Result<()> {
    env.store
        .write(|tx| {
            ops::clear(tx, None, None);
            env.config.capacity.iter().for_each(|pool| tx.put(pool.clone()));
            Ok::<_, store::Error>(())
        })
        .await?;
    Ok(())
}

pub fn show(env: &Env) -> Value {
    let pool = |usage: &ops::Usage| {
        json!({
            "zone": usage.pool.zone,
            "type": usage.pool.instance_type,
            "limit": usage.pool.limit,
            "used": usage.used,
            "reserved": usage.reserved,
            "free": usage.free(),
        })
    };
    json!({"pools": ops::usages(&env.store.read()).iter().map(pool).collect::<Vec<_>>()})
}

/// With a limit: sets that pool. Without: takes away all that fit.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    zone: Option<String>,
    #[serde(rename = "type")]
    instance_type: Option<String>,
    limit: Option<u32>,
}

pub async fn change(env: &Env, body: &[u8]) -> Result<Value> {
    let Change { zone, instance_type, limit } = serde_json::from_slice(body)?;
    let Some(limit) = limit else {
        let cleared = env
            .store
            .write(|tx| {
                let cleared = ops::clear(tx, zone.as_deref(), instance_type.as_deref());
                Ok::<_, store::Error>(cleared)
            })
            .await?;
        return Ok(json!({"cleared": cleared}));
    };
    let (Some(zone), Some(instance_type)) = (zone, instance_type) else {
        return Err(anyhow!("a pool has a zone and a type"));
    };
    let pool = Pool { zone, instance_type, limit };
    ops::check(&pool, env.config.zones).map_err(|error| anyhow!("{error}"))?;
    env.store
        .write(|tx| {
            tx.put(pool.clone());
            Ok::<_, store::Error>(())
        })
        .await?;
    Ok(json!({"zone": pool.zone, "type": pool.instance_type, "limit": limit}))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn files() {
        let pools = parse("[us-east-1a]\n\"t3.micro\" = 4\n\"m5.large\" = 0\n", 3).unwrap();
        let shown: Vec<_> = pools.iter().map(|p| (&*p.zone, &*p.instance_type, p.limit)).collect();
        assert_eq!(shown, [("us-east-1a", "m5.large", 0), ("us-east-1a", "t3.micro", 4)]);
        for (wrong, what) in [
            ("[us-east-1d]\n\"t3.micro\" = 4", "us-east-1d"),
            ("[us-east-1a]\n\"t3.mini\" = 4", "t3.mini"),
            ("[us-east-1a]\n\"t3.micro\" = -1", "-1"),
        ] {
            let error = format!("{:#}", parse(wrong, 3).unwrap_err());
            assert!(error.contains(what), "{error}");
        }
    }
}
