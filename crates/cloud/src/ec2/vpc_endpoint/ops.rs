//! Making, changing and deleting gateway endpoints, and with them their routes.

use std::sync::Arc;

use serde_json::{Value, json};
use store::{Snapshot, Tx};

use super::model::VpcEndpoint;
use crate::ec2::client_token::ClientToken;
use crate::ec2::prefix_list::ops::{GATEWAY_SERVICES, aws_managed_id};
use crate::ec2::route_table::model::Target;
use crate::ec2::{Error, Kind, Result, route_table, tag, vpc};
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

/// The service of that name, of those a gateway endpoint can be made for.
pub fn service(cx: &Context, name: &str) -> Result<&'static str> {
    let short = name.strip_prefix(&format!("com.amazonaws.{}.", cx.region)).unwrap_or_default();
    let found = GATEWAY_SERVICES.into_iter().find(|known| *known == short);
    found.ok_or_else(|| Error::not_found(Kind::VpcEndpointService, name))
}

pub struct New<'a> {
    pub vpc_id: &'a str,
    pub service_name: &'a str,
    pub route_tables: &'a [String],
    pub tags: &'a Tags,
    pub client_token: Option<ClientToken>,
}

pub fn create(tx: &mut Tx, cx: &Context, new: &New<'_>) -> Result<VpcEndpoint> {
    tag::ops::check(new.tags)?;
    let vpc = vpc::ops::vpc(tx, cx, new.vpc_id)?;
    let made = VpcEndpoint {
        account: cx.account.clone(),
        region: cx.region.clone(),
        id: id::resource(&cx.env.rng, "vpce"),
        vpc_id: vpc.id,
        service: service(cx, new.service_name)?.to_owned(),
        created_at: cx.now,
        client_token: new.client_token.clone(),
    };
    tag::ops::set(tx, cx, &made.id, new.tags)?;
    tx.put(made.clone());
    for table in new.route_tables {
        add_route(tx, cx, &made, table)?;
    }
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

pub fn modify(
    tx: &mut Tx,
    cx: &Context,
    id: &str,
    add: &[String],
    remove: &[String],
) -> Result<()> {
    let endpoint = by_id(tx, cx, id)?;
    let present = route_tables(tx, cx, &endpoint);
    for table in remove {
        route_table::ops::table(tx, cx, table)?;
        route_table::ops::remove_endpoint_routes(tx, cx, table, id)?;
    }
    for table in add.iter().filter(|table| remove.contains(table) || !present.contains(table)) {
        add_route(tx, cx, &endpoint, table)?;
    }
    Ok(())
}

pub fn delete(tx: &mut Tx, cx: &Context, id: &str) -> Result<()> {
    let endpoint = by_id(tx, cx, id)?;
    for table in route_tables(tx, cx, &endpoint) {
        route_table::ops::remove_endpoint_routes(tx, cx, &table, id)?;
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

/// Nothing looks at policies of endpoints yet, so one that takes anything away is refused.
pub fn check_policy(text: &str) -> Result<()> {
    let policy: Value = serde_json::from_str(text)
        .map_err(|_| Error::value("This policy contains invalid Json"))?;
    let everyone =
        |principal: &Value| *principal == json!("*") || *principal == json!({"AWS": "*"});
    let all = |value: &Value| *value == json!("*") || *value == json!(["*"]);
    let statements = match &policy["Statement"] {
        Value::Array(all) => all.clone(),
        one => vec![one.clone()],
    };
    let is_full = |statement: &Value| {
        let named = ["Effect", "Principal", "Action", "Resource", "Sid"];
        let object = statement.as_object();
        object.is_some_and(|object| object.keys().all(|key| named.contains(&key.as_str())))
            && statement["Effect"] == "Allow"
            && everyone(&statement["Principal"])
            && all(&statement["Action"])
            && all(&statement["Resource"])
    };
    match statements.as_slice() {
        [one] if is_full(one) => Ok(()),
        _ => Err(Error::unsupported("An endpoint policy other than full access")),
    }
}
