//! Asking for, answering and ending peerings.

use std::sync::Arc;

use store::{Snapshot, Tx};

use super::model::{Side, State, VpcPeering};
use super::state::{self, Next};
use crate::ec2::listing::{self, Listing};
use crate::ec2::vpc::{self, Vpc};
use crate::ec2::{Error, Kind, Result, tag};
use crate::tag::Tags;
use crate::{Context, id, region};

fn key(cx: &Context, id: &str) -> String {
    format!("{}/{id}", cx.account)
}

/// Those that the region has a side of, in order of their ids.
pub fn peerings(snapshot: &Snapshot, cx: &Context) -> Vec<Arc<VpcPeering>> {
    let prefix = format!("{}/", cx.account);
    snapshot.scan::<VpcPeering>(&prefix).filter(|p| p.has_region(&cx.region)).collect()
}

pub fn peering(snapshot: &Snapshot, cx: &Context, id: &str) -> Result<Arc<VpcPeering>> {
    if !Kind::VpcPeeringConnection.is_id(id) {
        return Err(Error::malformed(Kind::VpcPeeringConnection, id));
    }
    let found = snapshot.get::<VpcPeering>(&key(cx, id)).filter(|p| p.has_region(&cx.region));
    found.ok_or_else(|| Error::not_found(Kind::VpcPeeringConnection, id))
}

/// The peerings that join a VPC to others now.
pub fn active_of_vpc(snapshot: &Snapshot, cx: &Context, vpc_id: &str) -> Vec<Arc<VpcPeering>> {
    let mut all = peerings(snapshot, cx);
    all.retain(|peering| peering.state == State::Active && peering.other(vpc_id).is_some());
    all
}

/// Whether a VPC has a peering, or one that may yet come to be.
pub fn has_some(snapshot: &Snapshot, cx: &Context, vpc_id: &str) -> bool {
    peerings(snapshot, cx).iter().any(|p| !p.state.is_over() && p.other(vpc_id).is_some())
}

/// The VPC asked for, where it is.
#[derive(Clone, Debug, Default)]
pub struct Peer {
    pub vpc_id: Option<String>,
    pub region: Option<String>,
    pub owner: Option<String>,
}

pub fn create(
    tx: &mut Tx,
    cx: &Context,
    vpc_id: &str,
    peer: &Peer,
    tags: &Tags,
) -> Result<VpcPeering> {
    tag::ops::check(tags)?;
    if peer.owner.as_ref().is_some_and(|owner| *owner != cx.account) {
        return Err(Error::unsupported("A peering with another account"));
    }
    let requester = vpc::ops::vpc(tx, cx, vpc_id)?;
    let there =
        Context { region: peer.region.clone().unwrap_or_else(|| cx.region.clone()), ..cx.clone() };
    if region::find(&there.region).is_none() {
        return Err(Error::value(format!(
            "Value ({}) for parameter peerRegion is invalid.",
            there.region
        )));
    }
    let peer_id = peer.vpc_id.as_deref().ok_or(Error::MissingParameter("peerVpcId"))?;
    let accepter = vpc::ops::vpc(tx, &there, peer_id)?;
    let joins = |p: &Arc<VpcPeering>| {
        !p.state.is_over() && p.other(vpc_id).is_some_and(|other| other.vpc_id == peer_id)
    };
    if let Some(present) = peerings(tx, cx).into_iter().find(joins) {
        // As AWS does: the same request again finds the peering.
        return Ok(VpcPeering::clone(&present));
    }
    let overlap = requester.id == accepter.id || overlap(&requester, &accepter);
    let peering = VpcPeering {
        account: cx.account.clone(),
        id: id::resource(&cx.env.rng, "pcx"),
        requester: side(&requester),
        accepter: side(&accepter),
        state: if overlap { State::Failed } else { State::PendingAcceptance },
        since: cx.now,
        expires_at: cx.now.plus(state::LIFE),
    };
    tag::ops::set(tx, cx, &peering.id, tags)?;
    tx.put(peering.clone());
    Ok(peering)
}

fn overlap(a: &Vpc, b: &Vpc) -> bool {
    a.blocks().any(|block| b.blocks().any(|other| other.overlaps(block)))
}

fn side(vpc: &Vpc) -> Side {
    let (region, vpc_id) = (vpc.region.clone(), vpc.id.clone());
    Side { region, vpc_id, blocks: vpc.blocks().collect(), allow_dns: false }
}

/// The peering that joins two VPCs now.
pub fn between(
    snapshot: &Snapshot,
    cx: &Context,
    one: &str,
    other: &str,
) -> Option<Arc<VpcPeering>> {
    peerings(snapshot, cx).into_iter().find(|peering| peering.joins(one, other))
}

/// `AllowDnsResolutionFromRemoteVpc` of each side; `None` leaves it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    pub requester: Option<bool>,
    pub accepter: Option<bool>,
}

pub fn modify_options(tx: &mut Tx, cx: &Context, id: &str, options: Options) -> Result<VpcPeering> {
    let found = peering(tx, cx, id)?;
    if found.state != State::Active {
        return Err(Error::OperationNotPermitted(format!(
            "Peering {id} is not active. Peering options can be added only to active peerings."
        )));
    }
    let mut changed = VpcPeering::clone(&found);
    let sides =
        [(&mut changed.requester, options.requester), (&mut changed.accepter, options.accepter)];
    for (side, allow) in sides {
        let Some(allow) = allow else { continue };
        if side.region != cx.region {
            return Err(Error::OperationNotPermitted(format!(
                "Incorrect region ({}) specified for this request. The peering options of {} can be \
                 modified in region {}",
                cx.region, side.vpc_id, side.region
            )));
        }
        let vpc = vpc::ops::vpc(tx, cx, &side.vpc_id)?;
        if allow && !(vpc.dns_support && vpc.dns_hostnames) {
            return Err(Error::OperationNotPermitted(format!(
                "The VPC {} must have DNS support and DNS hostnames enabled.",
                vpc.id
            )));
        }
        side.allow_dns = allow;
    }
    tx.put(changed.clone());
    Ok(changed)
}

/// By the side that was asked, in its region.
pub fn accept(tx: &mut Tx, cx: &Context, id: &str) -> Result<VpcPeering> {
    answer(tx, cx, id, State::Active, "accepted")
}

pub fn reject(tx: &mut Tx, cx: &Context, id: &str) -> Result<VpcPeering> {
    answer(tx, cx, id, State::Rejected, "rejected")
}

fn answer(
    tx: &mut Tx,
    cx: &Context,
    id: &str,
    next: State,
    participle: &str,
) -> Result<VpcPeering> {
    let found = peering(tx, cx, id)?;
    let region = &found.accepter.region;
    if *region != cx.region {
        return Err(Error::OperationNotPermitted(format!(
            "Incorrect region ({}) specified for this request. VPC peering connection {id} must be \
             {participle} in region {region}",
            cx.region
        )));
    }
    transition(tx, cx, &found, next)
}

pub fn delete(tx: &mut Tx, cx: &Context, id: &str) -> Result<()> {
    let found = peering(tx, cx, id)?;
    transition(tx, cx, &found, State::Deleted).map(drop)
}

fn transition(tx: &mut Tx, cx: &Context, found: &VpcPeering, next: State) -> Result<VpcPeering> {
    if !found.state.may_become(next) {
        return Err(Error::InvalidStateTransition(format!(
            "Invalid state transition for {}, attempted to transition from {} to {}",
            found.id,
            found.state.code(),
            if next == State::Deleted { "deleting" } else { next.code() }
        )));
    }
    let peering = VpcPeering { state: next, since: cx.now, ..found.clone() };
    tx.put(peering.clone());
    Ok(peering)
}

/// What time made of a peering.
pub fn pass_time(tx: &mut Tx, cx: &Context, id: &str) {
    let Some(found) = tx.get::<VpcPeering>(&key(cx, id)) else { return };
    match state::next(&found, cx.now) {
        Next::Expire => {
            let expired =
                VpcPeering { state: State::Expired, since: cx.now, ..VpcPeering::clone(&found) };
            tx.put(expired);
        }
        Next::Forget => {
            for side in [&found.requester, &found.accepter] {
                let there = Context { region: side.region.clone(), ..cx.clone() };
                tag::ops::forget(tx, &there, id);
            }
            tx.delete::<VpcPeering>(&key(cx, id));
        }
        Next::At(_) | Next::Never => {}
    }
}

const FILTERS: &[&str] = &[
    "accepter-vpc-info.cidr-block",
    "accepter-vpc-info.owner-id",
    "accepter-vpc-info.vpc-id",
    "expiration-time",
    "requester-vpc-info.cidr-block",
    "requester-vpc-info.owner-id",
    "requester-vpc-info.vpc-id",
    "status-code",
    "status-message",
    "vpc-peering-connection-id",
];

pub fn message(peering: &VpcPeering) -> String {
    let owner = &peering.account;
    match peering.state {
        State::PendingAcceptance => format!("Pending Acceptance by {owner}"),
        State::Active => "Active".to_owned(),
        State::Rejected => format!("Rejected by {owner}"),
        State::Deleted => format!("Deleted by {owner}"),
        State::Expired => "Expired".to_owned(),
        State::Failed => {
            "Failed due to incorrect VPC-ID, Account ID, or overlapping CIDR range".to_owned()
        }
    }
}

type Found = (Vec<Arc<VpcPeering>>, Option<String>);

pub fn describe(
    snapshot: &Snapshot,
    cx: &Context,
    ids: &[String],
    listing: &Listing,
) -> Result<Found> {
    let mut all = peerings(snapshot, cx);
    listing::only(&mut all, ids, |peering| &peering.id, Kind::VpcPeeringConnection)?;
    listing.check(FILTERS, true)?;
    listing.check_max_results(5..=1000)?;
    all.retain(|peering| {
        let tags = || tag::ops::tags_of(snapshot, cx, &peering.id);
        listing.keeps(tags, |name| values(peering, name))
    });
    listing.page(all, |peering| peering.id.clone())
}

fn values(peering: &VpcPeering, name: &str) -> Vec<String> {
    let of = |side: &Side, name: &str| match name {
        "cidr-block" => side.blocks.iter().map(|block| block.to_string()).collect(),
        "owner-id" => vec![peering.account.clone()],
        "vpc-id" => vec![side.vpc_id.clone()],
        _ => vec![],
    };
    if let Some(name) = name.strip_prefix("accepter-vpc-info.") {
        return of(&peering.accepter, name);
    }
    if let Some(name) = name.strip_prefix("requester-vpc-info.") {
        return of(&peering.requester, name);
    }
    match name {
        "expiration-time" => vec![peering.expires_at.iso8601()],
        "status-code" => vec![peering.state.code().to_owned()],
        "status-message" => vec![message(peering)],
        "vpc-peering-connection-id" => vec![peering.id.clone()],
        _ => vec![],
    }
}
