//! Where a call came from, as conditions see it.
//!
//! ```text
//!  this host ──────────────────────────────────────────────► its address
//!  a VPC ──┬── endpoint of the VPC ────────────────────────► private address, VPC and endpoint
//!          ├── internet or NAT gateway ────────────────────► public address
//!          └── none of these: by the metadata address only ► private address
//! ```
//!
//! Source: IAM User Guide, "Properties of the network".

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use crate::Env;
use crate::dns::ops::context;
use crate::ec2::network::exit::{Exit, exit};
use crate::ec2::vpc::services;
use crate::ec2::vpc_endpoint::{self, VpcEndpoint};

#[derive(Clone, Debug, Default)]
pub struct Source {
    pub ip: Option<IpAddr>,
    /// By TLS.
    pub secure: bool,
    /// That it came by; `ip` is private then.
    pub endpoint: Option<Arc<VpcEndpoint>>,
}

/// A VPC that calls come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inside {
    pub region: String,
    pub vpc_id: String,
    /// The address that they come to, where that is one of an interface endpoint.
    pub endpoint: Option<Ipv4Addr>,
}

impl Inside {
    /// What a call from `ip` to a service, by its signing name, comes from.
    pub fn source(&self, env: &Env, ip: IpAddr, service: &str, secure: bool) -> Source {
        let (snapshot, cx) = (env.store.read(), context(env, &self.region));
        if let Some(address) = self.endpoint {
            let endpoint = vpc_endpoint::ops::at(&snapshot, &cx, &self.vpc_id, address);
            return Source { ip: Some(ip), secure, endpoint };
        }
        let exit = match (ip, services::named(service)) {
            (IpAddr::V4(from), Some(service)) => exit(&snapshot, &cx, &self.vpc_id, from, service),
            _ => None,
        };
        match exit {
            Some(Exit::Endpoint(endpoint)) => {
                Source { ip: Some(ip), secure, endpoint: Some(endpoint) }
            }
            Some(Exit::Public(public)) => {
                Source { ip: Some(public.into()), secure, endpoint: None }
            }
            None => Source { ip: Some(ip), secure, endpoint: None },
        }
    }
}
