//! How the directory's messages get from node to node: over QUIC, each kind on a channel of its own.
//!
//! The directory says what it needs of a network ([`Transport`](naming_directory_client::Transport)), `fabric-quic` is one;
//! neither knows the other. This is what lies between, for nodes ([`Link`]) and for programs that only ask ([`Remote`]).

mod link;
mod remote;

pub use link::{Link, LinkError, Place};
pub use remote::Remote;
