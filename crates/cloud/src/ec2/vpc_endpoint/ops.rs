//! Making, changing, finding and deleting endpoints; a gateway endpoint's routes come and go with it.

use std::net::Ipv4Addr;
use std::sync::Arc;

use serde_json::{Value, json};
use store::{Snapshot, Tx};

use super::interface;
use super::model::VpcEndpoint;
use crate::ec2::client_token::ClientToken;
use crate::ec2::prefix_list::ops::{GATEWAY_SERVICES, aws_managed_id};
use crate::ec2::route_table::model::Target;
use crate::ec2::vpc::services;
use crate::ec2::{Error, Kind, Result, route_table, tag, vpc};
use crate::iam::{Document, Place};
use crate::tag::Tags;
use crate::{Context, id};

/// All of the region, in order of their ids.
pub fn all(snapshot: &Snapshot, cx: &Context) -> Vec<Arc<VpcEndpoint>> {
    let prefix = cx.prefix();
    snapshot.scan(&prefix).collect()
}

pub fn of_vpc(snapshot: &Snapshot, cx: &Context, vpc_id: &str) -> Vec<Arc<VpcEndpoint>> {
    all(snapshot, cx).into_iter().filter(|endpoint| endpoint.vpc_id == vpc_id).collect()
}

pub fn by_id(snapshot: &Snapshot, cx: &Context, id: &str) -> Result<Arc<VpcEndpoint>> {
    if !Kind::VpcEndpoint.is_id(id) {
        return Err(Error::malformed(Kind::VpcEndpoint, id));
    }
    snapshot.get(&cx.key(id)).ok_or_else(|| Error::not_found(Kind::VpcEndpoint, id))
}

/// Ids of the route tables that lead to the endpoint.
pub fn route_tables(snapshot: &Snapshot, cx: &Context, endpoint: &VpcEndpoint) -> Vec<String> {
    let target = Target::Endpoint(endpoint.id.clone());
    let tables = route_table::ops::of_vpc(snapshot, cx, &endpoint.vpc_id).into_iter();
    tables
        .filter(|table| table.routes.iter().any(|route| route.target == target))
        .map(|table| table.id.clone())
        .collect()
}

/// The interface endpoint that answers at an address of a VPC.
pub fn at(
    snapshot: &Snapshot,
    cx: &Context,
    vpc_id: &str,
    address: Ipv4Addr,
) -> Option<Arc<VpcEndpoint>> {
    let mut subnets = vpc::subnet::ops::of_vpc(snapshot, cx, vpc_id).into_iter();
    let subnet = subnets.find(|subnet| subnet.cidr.contains(address))?;
    let interface = &vpc::ops::holder_of(snapshot, cx, &subnet.id, address)?.holder;
    of_vpc(snapshot, cx, vpc_id).into_iter().find(|endpoint| {
        let of = endpoint.interface.as_ref();
        of.is_some_and(|of| of.interfaces.get(&subnet.id) == Some(interface))
    })
}

/// The service of that name, of those an endpoint of the kind can be made for.
pub fn service(cx: &Context, name: &str, gateway: bool) -> Result<&'static str> {
    let short = name.strip_prefix(&format!("com.amazonaws.{}.", cx.region)).unwrap_or_default();
    let known = services::ALL.iter().find(|known| known.name == short && known.is_regional());
    let known = known.ok_or_else(|| Error::not_found(Kind::VpcEndpointService, name))?;
    if gateway && !GATEWAY_SERVICES.contains(&known.name) {
        return Err(Error::InvalidParameter(
            "Endpoint type (Gateway) does not match available service types ([Interface])."
                .to_owned(),
        ));
    }
    Ok(known.name)
}

/// What an endpoint shall lead to, and by which way.
pub enum Way<'a> {
    /// By these route tables.
    Gateway(&'a [String]),
    Interface(&'a interface::New),
}

pub struct New<'a> {
    pub vpc_id: &'a str,
    pub service_name: &'a str,
    pub way: Way<'a>,
    pub policy: Option<&'a str>,
    pub tags: &'a Tags,
    pub client_token: Option<ClientToken>,
}

pub fn create(tx: &mut Tx, cx: &Context, new: &New<'_>) -> Result<VpcEndpoint> {
    tag::ops::check(new.tags)?;
    let vpc = vpc::ops::vpc(tx, cx, new.vpc_id)?;
    let gateway = matches!(new.way, Way::Gateway(_));
    let mut made = VpcEndpoint {
        account: cx.account.clone(),
        region: cx.region.clone(),
        id: id::resource(&cx.env.rng, "vpce"),
        vpc_id: vpc.id,
        service: service(cx, new.service_name, gateway)?.to_owned(),
        policy: new.policy.map(policy).transpose()?,
        interface: None,
        created_at: cx.now,
        client_token: new.client_token.clone(),
    };
    match new.way {
        Way::Gateway(tables) => {
            for table in tables {
                add_route(tx, cx, &made, table)?;
            }
        }
        Way::Interface(new) => made.interface = Some(interface::create(tx, cx, &made, new)?),
    }
    tag::ops::set(tx, cx, &made.id, new.tags)?;
    tx.put(made.clone());
    Ok(made)
}

fn add_route(tx: &mut Tx, cx: &Context, endpoint: &VpcEndpoint, table_id: &str) -> Result<()> {
    let table = route_table::ops::table(tx, cx, table_id)?;
    if table.vpc_id != endpoint.vpc_id {
        return Err(Error::value(format!(
            "The route table '{table_id}' is not in the VPC '{}'",
            endpoint.vpc_id
        )));
    }
    let list = aws_managed_id(cx, &endpoint.service);
    route_table::ops::put_endpoint_route(tx, cx, table_id, &list, &endpoint.id)
}

#[derive(Clone, Debug, Default)]
pub struct Change {
    pub add_tables: Vec<String>,
    pub remove_tables: Vec<String>,
    /// Of an interface endpoint; `None`: nothing.
    pub interface: Option<interface::Change>,
    pub policy: Option<String>,
    pub reset_policy: bool,
}

pub fn modify(tx: &mut Tx, cx: &Context, id: &str, change: &Change) -> Result<()> {
    let mut endpoint = VpcEndpoint::clone(&*by_id(tx, cx, id)?);
    let of_gateway = !change.add_tables.is_empty() || !change.remove_tables.is_empty();
    if of_gateway && endpoint.interface.is_some() {
        return Err(mismatch(endpoint.kind(), "route tables"));
    }
    if change.reset_policy && change.policy.is_some() {
        return Err(Error::combination(
            "PolicyDocument and ResetPolicy may not be specified on the same request.",
        ));
    }
    match (&endpoint.interface, &change.interface) {
        (Some(of), Some(change)) => {
            endpoint.interface = Some(interface::modify(tx, cx, &endpoint, of, change)?);
        }
        (None, Some(_)) => return Err(mismatch(endpoint.kind(), OF_INTERFACES)),
        (_, None) => {}
    }
    if change.reset_policy {
        endpoint.policy = None;
    }
    if let Some(text) = &change.policy {
        endpoint.policy = Some(policy(text)?);
    }
    let present = route_tables(tx, cx, &endpoint);
    for table in &change.remove_tables {
        route_table::ops::table(tx, cx, table)?;
        route_table::ops::remove_endpoint_routes(tx, cx, table, id)?;
    }
    let removed = |table: &String| change.remove_tables.contains(table);
    for table in change.add_tables.iter().filter(|t| removed(t) || !present.contains(t)) {
        add_route(tx, cx, &endpoint, table)?;
    }
    tx.put(endpoint);
    Ok(())
}

/// What only interface endpoints have.
pub const OF_INTERFACES: &str = "subnets, security groups or private DNS names";

pub fn mismatch(kind: &str, what: &str) -> Error {
    Error::InvalidParameter(format!("Endpoints of type {kind} have no {what}."))
}

pub fn delete(tx: &mut Tx, cx: &Context, id: &str) -> Result<()> {
    let endpoint = by_id(tx, cx, id)?;
    for table in route_tables(tx, cx, &endpoint) {
        route_table::ops::remove_endpoint_routes(tx, cx, &table, id)?;
    }
    if let Some(of) = &endpoint.interface {
        interface::remove(tx, cx, of);
    }
    tag::ops::forget(tx, cx, id);
    tx.delete::<VpcEndpoint>(&cx.key(id));
    Ok(())
}

/// Everything for everyone, which is what an endpoint without a policy of its own has.
pub fn full_access() -> Value {
    json!({
        "Version": "2008-10-17",
        "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"}],
    })
}

fn policy(text: &str) -> Result<Document> {
    Document::parse(text, Place::Resource)
        .map_err(|error| Error::InvalidPolicyDocument(error.to_string()))
}
