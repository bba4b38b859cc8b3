//! Traffic through a balancer in this process, on loopback.

mod faults;
mod process;
mod relay;
mod routing;
mod smuggling;
mod world;
