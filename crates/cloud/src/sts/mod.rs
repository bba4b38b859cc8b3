//! Security Token Service: who is calling. Roles and temporary credentials come with IAM.

pub mod handlers;
