//! Locks on keys, striped: who reads and then writes a key holds its lock meanwhile. They order
//! conditional writes among themselves; plain reads do not take them.

use std::sync::Arc;

use tokio::sync::{Mutex, OwnedMutexGuard};

const STRIPES: usize = 512;

pub(crate) struct Locks(Vec<Arc<Mutex<()>>>);

impl Default for Locks {
    fn default() -> Locks {
        Locks((0..STRIPES).map(|_| Arc::default()).collect())
    }
}

/// The locks of some keys, until dropped.
#[must_use]
pub struct Locked {
    _held: Vec<OwnedMutexGuard<()>>,
}

impl Locks {
    /// In the order of the stripes, so that two who want the same keys never wait for each other.
    pub async fn lock<K: AsRef<[u8]>>(&self, keys: impl IntoIterator<Item = K>) -> Locked {
        let mut stripes: Vec<usize> = keys.into_iter().map(|key| stripe(key.as_ref())).collect();
        stripes.sort_unstable();
        stripes.dedup();
        let mut held = Vec::with_capacity(stripes.len());
        for stripe in stripes {
            held.push(Arc::clone(&self.0[stripe]).lock_owned().await);
        }
        Locked { _held: held }
    }

    pub async fn lock_all(&self) -> Locked {
        let mut held = Vec::with_capacity(STRIPES);
        for stripe in &self.0 {
            held.push(Arc::clone(stripe).lock_owned().await);
        }
        Locked { _held: held }
    }

    /// Waits until all who hold a lock now have let go of it.
    pub async fn settle(&self) {
        for stripe in &self.0 {
            drop(stripe.lock().await);
        }
    }
}

/// Keys of one stripe have the same lock. Never changes: it may be stored.
pub(crate) fn stripe(key: &[u8]) -> usize {
    // FNV-1a
    let hash = key.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    (hash % STRIPES as u64) as usize
}
