//! `stats`, and what a shell has to count for it.
//!
//! The names are memcached's. What this store does not have is left out: there is one class of items, `1`, no
//! histogram of sizes, and no statistics by prefix.
//!
//! | module | what it is |
//! |---|---|
//! | `groups` | the rows of each group of statistics |
//! | `text` | the `stats` command; the binary one is among the binary commands |
//! | [`connections`] | who is connected, for `stats conns` |

pub mod connections;
pub(super) mod groups;
pub(super) mod text;

use std::net::SocketAddr;
use std::sync::OnceLock;
use std::sync::atomic::AtomicU64;

use crate::store::Now;
use connections::Connections;

/// Where a server listens.
#[derive(Clone, Copy, Debug)]
pub struct Listen {
    /// The address and port of its sockets.
    pub address: SocketAddr,
    /// Whether it listens there over UDP, too.
    pub udp: bool,
}

/// What only the shell knows: the process and its sockets.
#[derive(Debug, Default)]
pub struct ServerFacts {
    /// The process id.
    pub pid: u32,
    /// Threads that serve.
    pub threads: usize,
    /// The most connections at a time.
    pub max_connections: usize,
    /// Monotonic nanoseconds at the start.
    pub started: Now,
    /// Where it listens, once it does.
    pub listen: OnceLock<Listen>,
    /// Connections open now, one by one.
    pub connections: Connections,
    /// Connections open now.
    pub curr_connections: AtomicU64,
    /// Connections accepted since the start.
    pub total_connections: AtomicU64,
    /// Connections closed at once because there were too many.
    pub rejected_connections: AtomicU64,
    /// Bytes received.
    pub bytes_read: AtomicU64,
    /// Bytes sent.
    pub bytes_written: AtomicU64,
}
