//! Which specifications can never work here.

use super::{attachments, roots};
use crate::{Error, Result, Spec};

/// More layers than this do not fit into one mount's options.
const MOST_LAYERS: usize = 40;

/// What can never work, whatever the host.
pub fn check(spec: &Spec, host_memory_bytes: u64) -> Result<()> {
    let refuse = |why: String| Err(Error::Spec(why));
    let plain = |text: &str, extra: &str| {
        !text.is_empty()
            && text.chars().all(|c| c.is_ascii_alphanumeric() || extra.contains(c))
            && !text.starts_with(['.', '-'])
    };
    if !plain(&spec.id, "-_.") || spec.id.len() > 64 {
        return refuse(format!("{:?} cannot be an id", spec.id));
    }
    if !plain(&spec.hostname, "-.") || spec.hostname.len() > 64 {
        return refuse(format!("{:?} cannot be a host name", spec.hostname));
    }
    if spec.layers.is_empty() || spec.layers.len() > MOST_LAYERS {
        return refuse(format!("{} layers; there must be 1 to {MOST_LAYERS}", spec.layers.len()));
    }
    if spec.vcpus == 0 || spec.memory_mib == 0 {
        return refuse("an instance needs a vCPU and memory".into());
    }
    spec.root_bytes.map_or(Ok(()), roots::check)?;
    attachments::check(&spec.disks)?;
    for (key, value) in &spec.env {
        if !plain(key, "_") || value.contains(['\n', '\0']) {
            return refuse(format!("environment variable {key:?} cannot be set"));
        }
    }
    let memory_mib = host_memory_bytes >> 20;
    if spec.memory_mib > memory_mib {
        let wanted = spec.memory_mib;
        return Err(Error::Capacity(format!("{wanted} MiB wanted, the host has {memory_mib}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Layer;

    #[test]
    fn refuses_what_cannot_work() {
        let good = Spec {
            id: "i-1".into(),
            boot: 1,
            layers: vec![Layer::Host],
            vcpus: 1,
            memory_mib: 64,
            nics: vec![],
            hostname: "ip-10-0-0-1.ec2.internal".into(),
            env: [("AWS_REGION".to_owned(), "us-east-1".to_owned())].into(),
            user_data: None,
            ssh_keys: vec![],
            resolver: Default::default(),
            root_bytes: None,
            root_encrypted: false,
            disks: vec![],
            init: Default::default(),
        };
        let memory = 1 << 30;
        assert!(check(&good, memory).is_ok());
        for (what, bad) in [
            ("path", Spec { id: "../x".into(), ..good.clone() }),
            ("empty id", Spec { id: String::new(), ..good.clone() }),
            ("slash", Spec { id: "a/b".into(), ..good.clone() }),
            ("host name", Spec { hostname: "a b".into(), ..good.clone() }),
            ("no layer", Spec { layers: vec![], ..good.clone() }),
            ("no memory", Spec { memory_mib: 0, ..good.clone() }),
            ("newline", Spec { env: [("A".into(), "1\n2".into())].into(), ..good.clone() }),
        ] {
            assert!(matches!(check(&bad, memory), Err(Error::Spec(_))), "{what}");
        }
        let large = Spec { memory_mib: 4096, ..good };
        assert!(matches!(check(&large, memory), Err(Error::Capacity(_))));
    }
}
