//! Resources by their ids, and those that are there without being created: a region's default VPC with
//! all that is in it, and the main route table, network ACL and group `default` of every VPC.
//!
//! ```text
//!   untouched (computed, the same id always) ──change──► a record of the same id stands for it
//!                                            ──delete──► `Deleted` says that it is no more
//! ```

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use store::{Record, Snapshot, Tx};

use super::{Error, Kind, Result};
use crate::Context;

/// A record whose key is `Context::key` of its id.
pub trait Resource: Record + Clone {
    const KIND: Kind;

    fn id(&self) -> &str;

    /// Those of the region that are there without being created, as they are until they are changed.
    fn untouched(_: &Snapshot, _: &Context) -> Vec<Self> {
        vec![]
    }
}

/// Stands for a resource that was there without being created.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deleted {
    pub account: String,
    pub region: String,
    pub id: String,
}

impl Record for Deleted {
    const TABLE: &'static str = "ec2_deleted_defaults";
    fn key(&self) -> String {
        format!("{}/{}/{}", self.account, self.region, self.id)
    }
}

/// All of the region, in order of their ids.
pub fn all<R: Resource>(snapshot: &Snapshot, cx: &Context) -> Vec<Arc<R>> {
    let mut all: Vec<Arc<R>> = snapshot.scan(&cx.prefix()).collect();
    let stands = |resource: &R| {
        let key = cx.key(resource.id());
        snapshot.get::<R>(&key).is_none() && snapshot.get::<Deleted>(&key).is_none()
    };
    all.extend(R::untouched(snapshot, cx).into_iter().filter(stands).map(Arc::new));
    all.sort_by(|a, b| a.id().cmp(b.id()));
    all
}

pub fn get<R: Resource>(snapshot: &Snapshot, cx: &Context, id: &str) -> Option<Arc<R>> {
    let key = cx.key(id);
    snapshot.get(&key).or_else(|| {
        let found = R::untouched(snapshot, cx).into_iter().find(|resource| resource.id() == id)?;
        snapshot.get::<Deleted>(&key).is_none().then(|| Arc::new(found))
    })
}

/// As `get`, with the error for an id that is none, or names nothing.
pub fn find<R: Resource>(snapshot: &Snapshot, cx: &Context, id: &str) -> Result<Arc<R>> {
    if !R::KIND.is_id(id) {
        return Err(Error::malformed(R::KIND, id));
    }
    get(snapshot, cx, id).ok_or_else(|| Error::not_found(R::KIND, id))
}

pub fn delete<R: Resource>(tx: &mut Tx, cx: &Context, id: &str) {
    super::tag::ops::forget(tx, cx, id);
    tx.delete::<R>(&cx.key(id));
    if R::untouched(tx, cx).iter().any(|resource| resource.id() == id) {
        tx.put(Deleted {
            account: cx.account.clone(),
            region: cx.region.clone(),
            id: id.to_owned(),
        });
    }
}

/// Removes every trace of what goes with the VPC it belongs to.
pub fn forget<R: Resource>(tx: &mut Tx, cx: &Context, id: &str) {
    super::tag::ops::forget(tx, cx, id);
    tx.delete::<R>(&cx.key(id));
    tx.delete::<Deleted>(&cx.key(id));
}
