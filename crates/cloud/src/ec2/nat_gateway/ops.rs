//! Making and deleting NAT gateways, and what becomes of them.

use std::net::Ipv4Addr;
use std::sync::Arc;

use store::{Snapshot, Tx};

use super::model::{Elastic, NatGateway, State};
use super::state::{self, Next};
use crate::ec2::elastic_ip::ops::Target;
use crate::ec2::listing::{self, Listing};
use crate::ec2::network_interface::ops::New;
use crate::ec2::network_interface::{self, Kind as InterfaceKind};
use crate::ec2::resource::{self, Resource};
use crate::ec2::{Kind, Result, client_token, elastic_ip, internet_gateway, tag, vpc};
use crate::tag::Tags;
use crate::{Context, id};

impl Resource for NatGateway {
    const KIND: Kind = Kind::NatGateway;

    fn id(&self) -> &str {
        &self.id
    }
}

/// Those of a VPC that translate, or are about to.
pub fn of_vpc(snapshot: &Snapshot, cx: &Context, vpc_id: &str) -> Vec<Arc<NatGateway>> {
    let mut all = resource::all::<NatGateway>(snapshot, cx);
    all.retain(|gateway| gateway.vpc_id == vpc_id && gateway.state.is_alive());
    all
}

#[derive(Clone, Debug, Default)]
pub struct Create {
    pub subnet_id: String,
    /// `None`: for a private gateway.
    pub allocation_id: Option<String>,
    /// `None`: any of the subnet.
    pub private_ip: Option<Ipv4Addr>,
    pub client_token: Option<String>,
    pub tags: Tags,
}

/// With the same token again: the gateway that was made.
pub fn create(tx: &mut Tx, cx: &Context, request: &Create) -> Result<Arc<NatGateway>> {
    tag::ops::check(&request.tags)?;
    let said = (&request.subnet_id, &request.allocation_id, request.private_ip, &request.tags);
    let client_token = client_token::of(request.client_token.as_deref(), &said)?;
    let all = resource::all::<NatGateway>(tx, cx).into_iter();
    if let Some(made) = client_token::made(&client_token, all, |gateway| &gateway.client_token)? {
        return Ok(made);
    }
    let subnet = vpc::ops::subnet(tx, cx, &request.subnet_id)?;
    let address = request.allocation_id.as_deref();
    let address = address.map(|id| elastic_ip::ops::by_allocation(tx, cx, id)).transpose()?;
    let id = id::resource(&cx.env.rng, "nat");
    // A gateway's interface is in no group.
    let interface = New {
        kind: InterfaceKind::NatGateway,
        address: request.private_ip,
        description: format!("Interface for NAT Gateway {id}"),
        requester: Some("amazon-nat".to_owned()),
        ..New::in_subnet(&subnet.id, vec![])
    };
    let interface = network_interface::ops::create(tx, cx, &interface, None, None)?;
    let target = Target { interface_id: Some(interface.id.clone()), ..Target::default() };
    let elastic = match address {
        None => None,
        Some(address) => {
            let association = elastic_ip::ops::associate(tx, cx, &address, &target, false)?;
            Some(Elastic {
                allocation_id: request.allocation_id.clone().unwrap_or_default(),
                association_id: association.id,
                public_ip: address.address,
            })
        }
    };
    let gateway = NatGateway {
        account: cx.account.clone(),
        region: cx.region.clone(),
        vpc_id: subnet.vpc_id,
        subnet_id: subnet.id,
        private_ip: interface.primary(),
        interface_id: interface.id,
        elastic,
        state: State::Pending,
        created_at: cx.now,
        ended_at: None,
        client_token,
        id,
    };
    tag::ops::set(tx, cx, &gateway.id, &request.tags)?;
    tx.put(gateway.clone());
    Ok(Arc::new(gateway))
}

/// Once more changes nothing.
pub fn delete(tx: &mut Tx, cx: &Context, id: &str) -> Result<()> {
    let gateway = resource::find::<NatGateway>(tx, cx, id)?;
    match gateway.state {
        State::Pending | State::Available => end(tx, cx, &gateway, State::Deleting),
        State::Failed => end(tx, cx, &gateway, State::Deleted),
        State::Deleting | State::Deleted => {}
    }
    Ok(())
}

fn end(tx: &mut Tx, cx: &Context, gateway: &NatGateway, state: State) {
    tx.put(NatGateway { state, ended_at: Some(cx.now), ..gateway.clone() });
}

/// What is next for a gateway, as things stand.
pub fn next(snapshot: &Snapshot, cx: &Context, gateway: &NatGateway) -> Next {
    let internet = internet_gateway::ops::of_vpc(snapshot, cx, &gateway.vpc_id);
    state::next(gateway, internet.is_some(), cx.now)
}

/// Brings a gateway one state on, if its time has come. One that is over holds no address any more.
pub fn step(tx: &mut Tx, cx: &Context, id: &str) {
    let Some(gateway) = resource::get::<NatGateway>(tx, cx, id) else { return };
    match next(tx, cx, &gateway) {
        Next::Become(State::Available) => {
            tx.put(NatGateway { state: State::Available, ..NatGateway::clone(&gateway) });
        }
        Next::Become(over) => {
            if let Ok(held) = network_interface::ops::by_id(tx, cx, &gateway.interface_id) {
                network_interface::ops::remove(tx, cx, &held);
            }
            end(tx, cx, &gateway, over);
        }
        Next::Forget => resource::delete::<NatGateway>(tx, cx, id),
        Next::At(_) | Next::Never => {}
    }
}

/// Why it failed: a code and a sentence.
pub fn failure(gateway: &NatGateway) -> Option<(String, String)> {
    (gateway.state == State::Failed).then(|| {
        let why = format!("Network {} has no Internet gateway attached", gateway.vpc_id);
        ("Gateway.NotAttached".to_owned(), why)
    })
}

type Found = (Vec<Arc<NatGateway>>, Option<String>);

pub fn describe(
    snapshot: &Snapshot,
    cx: &Context,
    ids: &[String],
    listing: &Listing,
) -> Result<Found> {
    let mut all = resource::all::<NatGateway>(snapshot, cx);
    listing::only(&mut all, ids, |gateway| &gateway.id, Kind::NatGateway)?;
    listing.check(&["nat-gateway-id", "state", "subnet-id", "vpc-id"], true)?;
    listing.check_max_results(5..=1000)?;
    all.retain(|gateway| {
        let tags = || tag::ops::tags_of(snapshot, cx, &gateway.id);
        listing.keeps(tags, |name| match name {
            "nat-gateway-id" => vec![gateway.id.clone()],
            "state" => vec![gateway.state.name().to_owned()],
            "subnet-id" => vec![gateway.subnet_id.clone()],
            "vpc-id" => vec![gateway.vpc_id.clone()],
            _ => vec![],
        })
    });
    listing.page(all, |gateway| gateway.id.clone())
}
