//! Nodes that talk over real sockets on the loopback interface.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod bounds;
mod faults;
#[path = "../../../../cluster-tests/src/free_address.rs"]
mod free_address;
mod relay;
mod stranger;
mod support;
mod talk;
mod trust;
