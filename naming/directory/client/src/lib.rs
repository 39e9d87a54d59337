//! Asks the name directory: what a node, a bridge or a command uses of it.
//!
//! What it is not: the directory. Servers are in `naming-directory-server`; nothing here touches a disk, and a client
//! works the same whether the server is in its process or three racks away.
//!
//! | module | what it is |
//! |---|---|
//! | [`transport`] | how messages get from node to node, for servers and clients; an in-process one |
//! | [`wire`] | requests and responses |
//! | [`client`] | [`Client`]: resolve, list, publish, withdraw, records, authorities, leases, snapshots |
//! | [`watch`] | [`Watch`]: everything under a prefix, and every change of it, without loss |
//! | [`cache`] | [`Cache`]: everything under a prefix, kept here: names are resolved without asking anybody |
//! | [`members`] | [`Members`]: who replicates a shard, who leads it |
//! | [`balance`] | [`Balancer`]: moves replicas and leaders to where they should be |
//!
//! # Retries are safe
//! A command runs in a *session*, which numbers it, and a retry carries the same number: however often it arrives, it is
//! executed once. Only a session that expired in between (ten minutes) makes an outcome unknown, and the error says so.

pub mod balance;
pub mod cache;
pub mod client;
mod error;
pub mod members;
mod shards;
pub mod transport;
pub mod watch;
pub mod wire;

pub use balance::Balancer;
pub use cache::Cache;
pub use client::{Client, Resolution, Settings};
pub use error::Error;
pub use members::Members;
pub use naming_directory::ShardId;
pub use transport::{Channel, Receive, Transport};
pub use watch::Watch;
