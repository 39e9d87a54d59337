//! A node's replicas of the name directory: the shell around `naming-directory`, which decides everything. This gives it a
//! disk, a clock, a network and threads.
//!
//! | module | what it is |
//! |---|---|
//! | [`server`] | [`Server`]: start, stop, drain, look |
//! | [`settings`] | how a server behaves |
//! | [`beginning`] | when a node with a new store may take part, and that one which lost its disk may not |
//! | [`backup`] | the state in a file, and a directory from one |
//! | [`store`] | the disk: one RocksDB for all groups of the node |
//! | `driver` | the task that drives all groups, and the thread that writes |
//! | `snapshots` | the thread that takes, sends and receives snapshots |
//! | `threads` | why a server ends by itself: what a panic in one of them comes to |
//! | `counters` | what happened, by name |
//!
//! # Tasks and threads
//!
//! ```text
//!  messages, requests ─► driver ─► records of all groups ─► writer: one batch, one sync ─┐
//!                        ▲    │                                                          │
//!                        │    ├─► messages that promise nothing: at once                 │
//!                        │    └─► snapshots to take or to send ─► snapshots              │
//!                        └───────────── done: promises go out, entries are applied ◄─────┘
//! ```
//! The driver is a task of whatever runtime it is given: best of the one that the network runs on, so that a message is received,
//! taken and answered on one thread. Writer and snapshots have threads of their own.
//!
//! The driver never waits for the disk: while one batch is synced, what comes in is put together for the next. So the cost of
//! a sync is shared by all groups and clients that wait (group commit), a leader's followers write while it writes, and
//! reads do not wait for writes.
//!
//! # Failing
//! A write that fails ends a *life* of the server: what is in memory may be ahead of the disk. It opens its store again,
//! as after a crash, and tries that every second until it works (the disk is not full any more). Other nodes go on.
//!
//! A panic in any of them ends the server, for good: [`Server::ended`] tells.

pub mod backup;
pub mod beginning;
mod counters;
mod driver;
mod random;
pub mod server;
pub mod settings;
mod snapshots;
pub mod store;
mod threads;

pub use beginning::{Refused, Waiting};
pub use counters::Counters;
pub use driver::Hearsay;
pub use server::{Server, StartError};
pub use settings::{Begin, Settings};
pub use threads::{Ended, Panicked};
