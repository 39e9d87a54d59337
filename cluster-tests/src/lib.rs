//! Racks in network namespaces: real clients, real memcached servers, a real switch between them, real faults.
//!
//! A [`rack::Rack`] is one switch namespace and one namespace per host, wired with `veth` pairs. Tests run code
//! inside a host, break servers and links, capture and inject frames, and check what came out. Everything a rack
//! starts is a child process of the test, and everything it makes is gone when it is dropped.
//!
//! This crate is not a simulator: time, loss and scheduling are the kernel's. The deterministic tests live beside
//! the sans-io cores they test.
//!
//! | module | what it is |
//! |---|---|
//! | [`rack`] | the rack: hosts, servers, the switch under test, faults |
//! | `bench` | what benchmarks have in common (feature `bench`) |
//! | [`config`] | the configuration file of the `smartswitch` program |
//! | [`admin`] | what the node's admin server says: health, status, metrics |
//! | [`memcached`] | commands in all three encodings, a UDP client, a TCP client |
//! | [`wire`] | frames made by hand, injected and captured |
//! | [`linearizability`] | histories of concurrent commands and the check that one register per key explains them |
//! | [`load`] | load generators: open and closed loop, UDP and TCP |
//! | [`loopback`] | programs that serve on the loopback interface |
//! | [`open_files`] | how many files this process and its children may open |
//! | [`proxied`] | memcached servers and a node that serves them over TCP, on the loopback interface |
//! | [`random`] | a small seeded generator |
//! | [`routed`] | the same with several pools and a route over them |
//! | [`scratch`] | a directory that goes when it is no longer needed |
//! | [`wait`] | waiting for a condition, with a deadline |

pub mod admin;
#[cfg(feature = "bench")]
pub mod bench;
pub mod config;
pub mod error;
mod free_address;
pub mod linearizability;
pub mod load;
pub mod loopback;
pub mod memcached;
pub mod open_files;
pub mod proxied;
pub mod rack;
pub mod random;
pub mod routed;
pub mod scratch;
pub mod wait;
pub mod wire;

pub use error::RackError;
