//! Instances as processes of a host: a `Driver` is told what should run and reports what does.
//! Knows nothing of AWS; ids, images and sizes come in as plain values.

pub mod driver;
pub mod exec;
pub mod fake;
pub mod image;
pub mod namespace;
pub mod oci;
pub mod storage;

pub use driver::{
    BootTimes, Disk, DiskSource, Driver, Error, Exit, Init, Layer, Nic, Observed, Phase, Resolver,
    Result, Spec, Usage,
};
pub use storage::Storage;
