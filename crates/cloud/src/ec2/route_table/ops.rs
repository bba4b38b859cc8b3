//! Finding, making, changing and deleting route tables, their routes and associations.

use std::net::Ipv4Addr;
use std::sync::Arc;

use store::{Snapshot, Tx};

use super::model::{Association, Destination, Route, RouteTable, Target};
use super::target;
use crate::ec2::resource::{self, Resource};
use crate::ec2::vpc::{Cidr, Subnet};
use crate::ec2::{Error, Kind, Result, client_token, internet_gateway, prefix_list, tag, vpc};
use crate::tag::Tags;
use crate::{Context, id};

/// AWS's default quota.
const MAX_ROUTES: usize = 500;

/// Metadata and the resolver are among these, and reached without a route (VPC User Guide, "Route tables").
const RESERVED: Cidr = Cidr::new(Ipv4Addr::new(169, 254, 168, 0), 22);

impl Resource for RouteTable {
    const KIND: Kind = Kind::RouteTable;

    fn id(&self) -> &str {
        &self.id
    }

    /// The main table of each VPC. The default VPC of a region begins with a route to the internet.
    fn untouched(snapshot: &Snapshot, cx: &Context) -> Vec<RouteTable> {
        let out = Route {
            destination: Destination::Cidr(Cidr::ANY),
            target: Target::InternetGateway(internet_gateway::ops::first_id(cx)),
        };
        let main = |vpc: vpc::Vpc| RouteTable {
            account: cx.account.clone(),
            region: cx.region.clone(),
            id: first_id(&vpc.id),
            main: Some(id::stable("rtbassoc", &[&vpc.id])),
            associations: vec![],
            routes: if vpc.id == vpc::ops::first_id(cx) { vec![out.clone()] } else { vec![] },
            client_token: None,
            vpc_id: vpc.id,
        };
        vpc::ops::vpcs(snapshot, cx).into_iter().map(main).collect()
    }
}

/// Of the table that a VPC begins with.
pub fn first_id(vpc_id: &str) -> String {
    id::stable("rtb", &[vpc_id])
}

/// As it decides, each route with its target's state; the routes within the VPC are not among them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    pub id: String,
    pub routes: Vec<Resolved>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    pub destination: Destination,
    pub target: Target,
    /// Otherwise a blackhole: what takes this route is dropped.
    pub active: bool,
}

/// The table that decides for a subnet.
pub fn for_subnet(snapshot: &Snapshot, cx: &Context, subnet: &Subnet) -> Result<Table> {
    let table = of_subnet(snapshot, cx, subnet)?;
    Ok(Table { id: table.id.clone(), routes: resolved(snapshot, cx, &table) })
}

pub fn resolved(snapshot: &Snapshot, cx: &Context, table: &RouteTable) -> Vec<Resolved> {
    let resolve = |route: &Route| Resolved {
        destination: route.destination.clone(),
        target: route.target.clone(),
        active: target::is_active(snapshot, cx, &table.vpc_id, &route.target),
    };
    table.routes.iter().map(resolve).collect()
}

pub fn of_subnet(snapshot: &Snapshot, cx: &Context, subnet: &Subnet) -> Result<Arc<RouteTable>> {
    let used =
        |table: &&Arc<RouteTable>| table.associations.iter().any(|a| a.subnet_id == subnet.id);
    match of_vpc(snapshot, cx, &subnet.vpc_id).iter().find(used) {
        Some(table) => Ok(Arc::clone(table)),
        None => main_of(snapshot, cx, &subnet.vpc_id),
    }
}

pub fn main_of(snapshot: &Snapshot, cx: &Context, vpc_id: &str) -> Result<Arc<RouteTable>> {
    let mut tables = of_vpc(snapshot, cx, vpc_id).into_iter();
    let main = tables.find(|table| table.main.is_some());
    main.ok_or_else(|| Error::not_found(Kind::RouteTable, first_id(vpc_id)))
}

pub fn of_vpc(snapshot: &Snapshot, cx: &Context, vpc_id: &str) -> Vec<Arc<RouteTable>> {
    let mut all = resource::all::<RouteTable>(snapshot, cx);
    all.retain(|table| table.vpc_id == vpc_id);
    all
}

pub fn table(snapshot: &Snapshot, cx: &Context, id: &str) -> Result<Arc<RouteTable>> {
    resource::find(snapshot, cx, id)
}

/// With the same token again: the table that was made.
pub fn create(
    tx: &mut Tx,
    cx: &Context,
    vpc_id: &str,
    token: Option<&str>,
    tags: &Tags,
) -> Result<Arc<RouteTable>> {
    tag::ops::check(tags)?;
    let vpc = vpc::ops::vpc(tx, cx, vpc_id)?;
    let client_token = client_token::of(token, &(&vpc.id, tags))?;
    let all = resource::all::<RouteTable>(tx, cx).into_iter();
    if let Some(made) = client_token::made(&client_token, all, |table| &table.client_token)? {
        return Ok(made);
    }
    let table = RouteTable {
        account: cx.account.clone(),
        region: cx.region.clone(),
        id: id::resource(&cx.env.rng, "rtb"),
        vpc_id: vpc.id,
        main: None,
        associations: vec![],
        routes: vec![],
        client_token,
    };
    tag::ops::set(tx, cx, &table.id, tags)?;
    tx.put(table.clone());
    Ok(Arc::new(table))
}

pub fn delete(tx: &mut Tx, cx: &Context, id: &str) -> Result<()> {
    let table = table(tx, cx, id)?;
    if table.main.is_some() || !table.associations.is_empty() {
        return Err(Error::DependencyViolation(format!(
            "The routeTable '{id}' has dependencies and cannot be deleted."
        )));
    }
    resource::delete::<RouteTable>(tx, cx, id);
    Ok(())
}

/// The new association's id.
pub fn associate(tx: &mut Tx, cx: &Context, id: &str, subnet_id: &str) -> Result<String> {
    let table = table(tx, cx, id)?;
    let subnet = vpc::ops::subnet(tx, cx, subnet_id)?;
    if table.vpc_id != subnet.vpc_id {
        return Err(Error::value(format!(
            "Route table {id} and subnet {subnet_id} belong to different networks"
        )));
    }
    if let Some((other, association)) = association_of(tx, cx, &subnet) {
        return if other.id == table.id {
            Ok(association.id)
        } else {
            Err(Error::AlreadyAssociated(format!(
                "the specified association for route table {id} conflicts with an existing association"
            )))
        };
    }
    Ok(join(tx, cx, &table, subnet.id))
}

fn join(tx: &mut Tx, cx: &Context, table: &RouteTable, subnet_id: String) -> String {
    let id = id::resource(&cx.env.rng, "rtbassoc");
    let mut table = table.clone();
    table.associations.push(Association { id: id.clone(), subnet_id });
    tx.put(table);
    id
}

fn association_of(
    snapshot: &Snapshot,
    cx: &Context,
    subnet: &Subnet,
) -> Option<(Arc<RouteTable>, Association)> {
    of_vpc(snapshot, cx, &subnet.vpc_id).into_iter().find_map(|table| {
        let found = table.associations.iter().find(|a| a.subnet_id == subnet.id).cloned()?;
        Some((table, found))
    })
}

/// The table an association is of; of the main table's own there is none to speak of.
pub fn associated(
    snapshot: &Snapshot,
    cx: &Context,
    id: &str,
) -> Result<(Arc<RouteTable>, Option<Association>)> {
    for table in resource::all::<RouteTable>(snapshot, cx) {
        let found = table.associations.iter().find(|association| association.id == id).cloned();
        if found.is_some() || table.main.as_deref() == Some(id) {
            return Ok((table, found));
        }
    }
    Err(Error::not_found(Kind::Association, id))
}

fn leave(tx: &mut Tx, table: &RouteTable, association: &Association) {
    let mut table = table.clone();
    table.associations.retain(|known| known != association);
    tx.put(table);
}

pub fn disassociate(tx: &mut Tx, cx: &Context, association_id: &str) -> Result<()> {
    match associated(tx, cx, association_id)? {
        (table, Some(association)) => leave(tx, &table, &association),
        (_, None) => {
            return Err(Error::value(format!(
                "cannot disassociate the main route table association {association_id}"
            )));
        }
    }
    Ok(())
}

/// Gives a subnet another table, or a VPC another main one; the new association's id.
pub fn replace_association(
    tx: &mut Tx,
    cx: &Context,
    association_id: &str,
    table_id: &str,
) -> Result<String> {
    let (from, association) = associated(tx, cx, association_id)?;
    let to = table(tx, cx, table_id)?;
    if from.vpc_id != to.vpc_id {
        return Err(Error::value(format!(
            "route table {table_id} and network {} belong to different networks",
            from.vpc_id
        )));
    }
    if from.id == to.id {
        return Ok(association_id.to_owned());
    }
    match association {
        Some(association) => {
            leave(tx, &from, &association);
            Ok(join(tx, cx, &to, association.subnet_id))
        }
        None => {
            let id = id::resource(&cx.env.rng, "rtbassoc");
            tx.put(RouteTable { main: None, ..RouteTable::clone(&from) });
            tx.put(RouteTable { main: Some(id.clone()), ..RouteTable::clone(&to) });
            Ok(id)
        }
    }
}

/// For a subnet that is no more.
pub fn forget_subnet(tx: &mut Tx, cx: &Context, subnet: &Subnet) {
    if let Some((table, association)) = association_of(tx, cx, subnet) {
        leave(tx, &table, &association);
    }
}

pub fn create_route(
    tx: &mut Tx,
    cx: &Context,
    table_id: &str,
    destination: Destination,
    wanted: &target::Wanted,
) -> Result<()> {
    let table = table(tx, cx, table_id)?;
    check_destination(tx, cx, &table, &destination)?;
    let target = target::find(tx, cx, &table, wanted)?;
    if let Some(present) = table.routes.iter().find(|route| route.destination == destination) {
        let same = present.target == target;
        return if same { Ok(()) } else { Err(Error::RouteAlreadyExists(destination.to_string())) };
    }
    if table.routes.len() >= MAX_ROUTES {
        return Err(Error::LimitExceeded(
            "RouteLimitExceeded",
            "The maximum number of routes has been reached.",
        ));
    }
    let mut table = RouteTable::clone(&table);
    table.routes.push(Route { destination, target });
    tx.put(table);
    Ok(())
}

/// What is in the VPC is reached by its local routes alone.
fn check_destination(
    snapshot: &Snapshot,
    cx: &Context,
    table: &RouteTable,
    destination: &Destination,
) -> Result<()> {
    let cidr = match destination {
        Destination::Cidr(cidr) => cidr,
        Destination::PrefixList(id) => return prefix_list::ops::by_id(snapshot, cx, id).map(drop),
    };
    if RESERVED.covers(*cidr) {
        return Err(Error::value(format!(
            "Value ({cidr}) for parameter destinationCidrBlock is invalid. It is reserved for services of \
             the VPC."
        )));
    }
    let vpc = vpc::ops::vpc(snapshot, cx, &table.vpc_id)?;
    if vpc.blocks().any(|own| own == *cidr) {
        return Err(Error::RouteAlreadyExists(destination.to_string()));
    }
    if vpc.blocks().any(|own| own.covers(*cidr)) {
        return Err(Error::unsupported(format!(
            "A route ({cidr}) more specific than the local one"
        )));
    }
    Ok(())
}

pub fn replace_route(
    tx: &mut Tx,
    cx: &Context,
    table_id: &str,
    destination: &Destination,
    wanted: &target::Wanted,
) -> Result<()> {
    let table = table(tx, cx, table_id)?;
    if is_local(tx, cx, &table, destination)? {
        let same = *wanted == target::Wanted::Local;
        return if same { Ok(()) } else { Err(Error::unsupported("A local route to elsewhere")) };
    }
    let target = target::find(tx, cx, &table, wanted)?;
    let at = table.routes.iter().position(|route| route.destination == *destination);
    let at = at.ok_or_else(|| {
        Error::value(format!(
            "There is no route defined for '{destination}' in the route table. Use CreateRoute \
             instead."
        ))
    })?;
    if matches!(table.routes[at].target, Target::Endpoint(_)) {
        return Err(endpoints_own(&table, destination));
    }
    let mut table = RouteTable::clone(&table);
    table.routes[at].target = target;
    tx.put(table);
    Ok(())
}

pub fn delete_route(
    tx: &mut Tx,
    cx: &Context,
    table_id: &str,
    destination: &Destination,
) -> Result<()> {
    let table = table(tx, cx, table_id)?;
    if is_local(tx, cx, &table, destination)? {
        return Err(Error::value(format!(
            "cannot remove local route {destination} in route table {table_id}"
        )));
    }
    let at = table.routes.iter().position(|route| route.destination == *destination);
    let at = at.ok_or_else(|| Error::RouteNotFound {
        destination: destination.to_string(),
        table_id: table_id.to_owned(),
    })?;
    if matches!(table.routes[at].target, Target::Endpoint(_)) {
        return Err(endpoints_own(&table, destination));
    }
    let mut table = RouteTable::clone(&table);
    table.routes.remove(at);
    tx.put(table);
    Ok(())
}

fn endpoints_own(table: &RouteTable, destination: &Destination) -> Error {
    Error::value(format!(
        "cannot change the route {destination} of a VPC endpoint in route table {}; modify the endpoint \
         instead",
        table.id
    ))
}

/// Whether it is the destination of one of the routes within the VPC.
fn is_local(
    snapshot: &Snapshot,
    cx: &Context,
    table: &RouteTable,
    destination: &Destination,
) -> Result<bool> {
    let Destination::Cidr(cidr) = destination else { return Ok(false) };
    let vpc = vpc::ops::vpc(snapshot, cx, &table.vpc_id)?;
    Ok(vpc.blocks().any(|own| own == *cidr))
}

/// For a gateway endpoint: a route to it, from `prefix_list_id`, in this table.
pub fn put_endpoint_route(
    tx: &mut Tx,
    cx: &Context,
    table_id: &str,
    prefix_list_id: &str,
    endpoint_id: &str,
) -> Result<()> {
    let table = table(tx, cx, table_id)?;
    let destination = Destination::PrefixList(prefix_list_id.to_owned());
    if table.routes.iter().any(|route| route.destination == destination) {
        return Err(Error::RouteAlreadyExists(destination.to_string()));
    }
    let mut table = RouteTable::clone(&table);
    table.routes.push(Route { destination, target: Target::Endpoint(endpoint_id.to_owned()) });
    tx.put(table);
    Ok(())
}

/// For a gateway endpoint: its routes are in this table no more.
pub fn remove_endpoint_routes(
    tx: &mut Tx,
    cx: &Context,
    table_id: &str,
    endpoint_id: &str,
) -> Result<()> {
    let mut table = RouteTable::clone(&*table(tx, cx, table_id)?);
    table.routes.retain(|route| route.target != Target::Endpoint(endpoint_id.to_owned()));
    tx.put(table);
    Ok(())
}
