//! Launch templates: named launches in numbered versions.
//!
//! ```text
//!  template lt-… ─┬─ version 1   ◄── $Default (set by ModifyLaunchTemplate; 1 at first)
//!                 ├─ version 2
//!                 └─ version 3   ◄── $Latest (the highest there is)
//! ```
//!
//! A version's data is an `instance::launch::Launch`; what of RequestLaunchTemplateData has no place
//! there could have no effect at launch, and is refused when the version is made. Numbers are never
//! used twice.

pub mod describe;
pub mod handlers;
pub mod model;
pub mod ops;

pub use model::{LaunchTemplate, Version};
