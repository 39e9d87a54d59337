//! What nodes say to one another: messages, calls and streams over one QUIC endpoint, with mutual TLS.
//!
//! A node has one [`Endpoint`], one UDP socket for everything between nodes. Several protocols share it, each on
//! [channels](channel) of its own:
//!
//! | a channel of | carries | when the other end is slow |
//! |---|---|---|
//! | [`Messages`] | one-way messages in order; sending never blocks | they are dropped, and counted |
//! | [`Calls`] | a request and its reply, by a deadline | the peer refuses as busy |
//! | [`Streams`] | chunks, both ways | the sender waits |
//!
//! Connections are made when they are needed, reused by all channels in both directions, and closed when nobody needs
//! them. Each peer's [`NodeId`](naming::NodeId) is what its certificate says, and is checked on every connection.
//!
//! It is a shell: there is no meaning of messages here, no retries of calls, no list of nodes but what its users
//! [set](Endpoint::set_addresses).
//!
//! | module | what it is |
//! |---|---|
//! | `endpoint` | [`Endpoint`] and [`Builder`]: what users see |
//! | [`channel`] | numbers and bounds of channels |
//! | [`config`] | limits and times |
//! | [`identity`] | certificate, key, authorities, and TLS's settings |
//! | [`node_name`] | how a certificate names a node |
//! | [`pki`] | an authority of one's own: makes, renews and shows certificates |
//! | `link` | the state of the link to a peer: which connection, when to dial; no I/O |
//! | [`frame`] | how bytes fall into messages; no I/O |
//! | `shared`, `peer`, `connection` | what the endpoint knows, and how connections come and go |
//! | `dial`, `accept` | making connections, and taking them |
//! | `lane`, `herald`, `inbox` | messages on their way out and in |
//! | `ask`, `serve`, `incoming`, `chunks` | calls and streams, of this node and of peers |
//! | `thread` | [`Thread`]: a runtime for endpoints |
//! | `housekeeping` | closes connections that are unused or whose certificates have ended |
//! | `transport`, `socket` | QUIC's settings, and the UDP socket |
//! | [`counters`], [`status`], [`error`] | what can be observed, and what can go wrong |

mod accept;
mod ask;
pub mod channel;
mod chunks;
pub mod config;
mod connection;
pub mod counters;
mod dial;
mod endpoint;
pub mod error;
pub mod frame;
mod herald;
mod housekeeping;
pub mod identity;
mod inbox;
mod incoming;
mod lane;
mod link;
pub mod node_name;
mod peer;
pub mod pki;
mod serve;
mod shared;
mod socket;
pub mod status;
mod thread;
mod transport;

pub use channel::{Calls, Messages, Streams};
pub use chunks::{ChunkReceiver, ChunkSender};
pub use config::Config;
pub use endpoint::{BindError, BookFull, Builder, Endpoint};
pub use error::{CallError, CallFailure, Refusal, SendError, StreamError, Unreachable};
pub use identity::{Files, Identity, IdentityError};
pub use inbox::{Message, MessageInbox};
pub use incoming::{IncomingCall, IncomingStream};
pub use link::Origin;
pub use shared::MAX_PEERS;
pub use thread::Thread;
pub use transport::SocketBuffers;
