//! Traffic through a balancer in this process, on loopback.

mod relay;
mod world;
