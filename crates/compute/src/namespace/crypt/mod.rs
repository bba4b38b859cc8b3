//! Encrypted disks: files of the pool whose sectors are ciphertext, under a key that lies sealed in the
//! file's own attributes, and their plain views, which loop devices are made of.
//!
//! ```text
//!  daemon ──key, by a socket──► view process ◄──requests, /dev/fuse── kernel ◄── loop ◄── guest
//!                                   │                                    │
//!                       ciphertext in the pool            STATE/views/KIND.NAME/plain
//! ```
//!
//! A view outlives the daemon. It ends when nobody has it open any more; if it dies before, who has it
//! open gets errors, and nothing else comes of it.

pub mod fuse;
pub mod sealed;
pub mod view;
pub mod views;
