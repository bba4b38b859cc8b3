//! Disks of this host. None can be had yet.

use crate::driver::{BoxFuture, Error, Layer, Result};
use crate::storage::{Storage, Stored};

use super::NamespaceDriver;

fn refused<T>() -> Result<T> {
    Err(Error::Spec("this host keeps no volumes".into()))
}

fn later<'a, T: Send + 'a>() -> BoxFuture<'a, Result<T>> {
    Box::pin(async { refused() })
}

impl Storage for NamespaceDriver {
    fn create_volume<'a>(
        &'a self,
        _: &'a str,
        _: u64,
        _: Option<&'a str>,
    ) -> BoxFuture<'a, Result<()>> {
        later()
    }

    fn grow_volume<'a>(&'a self, _: &'a str, _: u64) -> BoxFuture<'a, Result<()>> {
        later()
    }

    fn delete_volume<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(async { Ok(()) })
    }

    fn create_snapshot<'a>(&'a self, _: &'a str, _: &'a str) -> BoxFuture<'a, Result<()>> {
        later()
    }

    fn begin_snapshot<'a>(
        &'a self,
        _: &'a str,
        _: u64,
        _: Option<&'a str>,
    ) -> BoxFuture<'a, Result<()>> {
        later()
    }

    fn complete_snapshot<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<()>> {
        later()
    }

    fn delete_snapshot<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(async { Ok(()) })
    }

    fn read(&self, _: &str, _: u64, _: usize) -> Result<Vec<u8>> {
        refused()
    }

    fn write(&self, _: &str, _: u64, _: &[u8]) -> Result<()> {
        refused()
    }

    fn blocks(&self, _: &str, _: u64) -> Result<Vec<u64>> {
        refused()
    }

    fn changed_blocks(&self, _: &str, _: &str, _: u64) -> Result<Vec<u64>> {
        refused()
    }

    fn stored(&self) -> Result<Vec<Stored>> {
        Ok(vec![])
    }

    fn freeze_root<'a>(&'a self, _: &'a str, _: &'a str) -> BoxFuture<'a, Result<Layer>> {
        later()
    }
}
