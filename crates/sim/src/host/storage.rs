//! The disks of the host.

use compute::driver::{BoxFuture, Result};
use compute::storage::Stored;
use compute::{Layer, Storage};

use super::Host;

/// Calls are interrupted before and after they act.
macro_rules! interrupted {
    ($self:ident, $call:expr) => {
        Box::pin(async move {
            $self.faults.interruption().await;
            let answer = $call.await;
            $self.faults.interruption().await;
            answer
        })
    };
}

impl Storage for Host {
    fn can_encrypt(&self) -> Result<()> {
        self.book.can_encrypt()
    }

    fn is_impaired(&self, name: &str) -> bool {
        self.book.is_impaired(name)
    }

    fn create_volume<'a>(
        &'a self,
        volume: &'a str,
        bytes: u64,
        from_snapshot: Option<&'a str>,
        encrypted: bool,
    ) -> BoxFuture<'a, Result<()>> {
        interrupted!(self, self.book.create_volume(volume, bytes, from_snapshot, encrypted))
    }

    fn grow_volume<'a>(&'a self, volume: &'a str, bytes: u64) -> BoxFuture<'a, Result<()>> {
        interrupted!(self, self.book.grow_volume(volume, bytes))
    }

    fn delete_volume<'a>(&'a self, volume: &'a str) -> BoxFuture<'a, Result<()>> {
        interrupted!(self, self.book.delete_volume(volume))
    }

    fn create_snapshot<'a>(
        &'a self,
        snapshot: &'a str,
        volume: &'a str,
    ) -> BoxFuture<'a, Result<()>> {
        interrupted!(self, self.book.create_snapshot(snapshot, volume))
    }

    fn begin_snapshot<'a>(
        &'a self,
        snapshot: &'a str,
        bytes: u64,
        parent: Option<&'a str>,
        encrypted: bool,
    ) -> BoxFuture<'a, Result<()>> {
        interrupted!(self, self.book.begin_snapshot(snapshot, bytes, parent, encrypted))
    }

    fn complete_snapshot<'a>(&'a self, snapshot: &'a str) -> BoxFuture<'a, Result<()>> {
        interrupted!(self, self.book.complete_snapshot(snapshot))
    }

    fn delete_snapshot<'a>(&'a self, snapshot: &'a str) -> BoxFuture<'a, Result<()>> {
        interrupted!(self, self.book.delete_snapshot(snapshot))
    }

    fn read(&self, snapshot: &str, offset: u64, bytes: usize) -> Result<Vec<u8>> {
        self.book.read(snapshot, offset, bytes)
    }

    fn write(&self, snapshot: &str, offset: u64, data: &[u8]) -> Result<()> {
        self.book.write(snapshot, offset, data)
    }

    fn blocks(&self, snapshot: &str, block: u64) -> Result<Vec<u64>> {
        self.book.blocks(snapshot, block)
    }

    fn changed_blocks(&self, first: &str, second: &str, block: u64) -> Result<Vec<u64>> {
        self.book.changed_blocks(first, second, block)
    }

    fn stored(&self) -> Result<Vec<Stored>> {
        self.book.stored()
    }

    fn freeze_root<'a>(
        &'a self,
        instance: &'a str,
        snapshot: &'a str,
    ) -> BoxFuture<'a, Result<Layer>> {
        interrupted!(self, self.book.freeze_root(instance, snapshot))
    }

    fn encrypt_root<'a>(
        &'a self,
        root: &'a str,
        copy: &'a str,
    ) -> BoxFuture<'a, Result<Option<Layer>>> {
        interrupted!(self, self.book.encrypt_root(root, copy))
    }
}
