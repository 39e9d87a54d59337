//! How a server behaves.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use naming::NodeId;
use naming_directory::group::Config;

/// Settings of a node's server.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The node.
    pub node: NodeId,
    /// The store's directory; nobody else's.
    pub path: PathBuf,
    /// What to do if it is new.
    pub begin: Begin,
    /// How long a tick is.
    pub tick: Duration,
    /// How each of its groups behaves; `id` and `seed` are set when a group is opened.
    pub group: Config,
    /// Bytes of changes that a state remembers for watchers.
    pub history_bytes: usize,
    /// Names of a shard beyond which its leader splits it; 0: never.
    pub split_names: u64,
    /// Whether replicas may be placed here by who evens out their numbers.
    pub accepts: bool,
    /// After which a replica goes that has nothing, and hears of nobody.
    pub forget_empty_after: Duration,
    /// Bytes per second that snapshots are sent with, to all nodes together.
    pub snapshot_bytes_per_second: u64,
    /// Messages and requests that wait for the driver; more are dropped, or refused.
    pub max_events: usize,
    /// Bytes of them.
    pub max_event_bytes: usize,
    /// Requests under way; more are refused.
    pub max_requests: usize,
    /// Watches; more are refused.
    pub max_watches: usize,
}

/// How a node with a new store begins. One that was used and is empty, since the node was removed from its groups, waits to be
/// added, whatever this says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begin {
    /// A new directory at once, replicated by these nodes: each of them begins so, with the same nodes. Whoever says so answers
    /// for it that the nodes' disks are new because there was none before, and not because they were lost.
    Found(Vec<NodeId>),
    /// It waits to be added to a directory. Whoever says so answers for it that the node was no member before.
    Join,
    /// It asks others first, since its store may be new because its disk was lost: see [`beginning`](crate::beginning). Whoever
    /// starts the server carries the questions, by [`Server::told`](crate::Server::told).
    Ask {
        /// The nodes that found a directory together, this one among them; none, if it waits to be added to one.
        founders: BTreeSet<NodeId>,
        /// Who else may know of it.
        peers: BTreeSet<NodeId>,
    },
}

impl Settings {
    /// For a network within a building: followers notice within 200 to 400 ms that their leader is gone. Ticks are short so that
    /// two of them seldom do in the same one.
    pub fn new(node: NodeId, path: impl Into<PathBuf>, begin: Begin) -> Self {
        let group = Config {
            election_ticks: 20,
            heartbeat_ticks: 5,
            pass_time_ticks: 50,
            read_retry_ticks: 20,
            read_timeout_ticks: 300,
            // What a leader has not sent yet may go as one message.
            max_uncommitted_bytes: 8 << 20,
            ..Config::new(node, 0)
        };
        Self {
            node,
            path: path.into(),
            begin,
            tick: Duration::from_millis(10),
            group,
            history_bytes: 16 << 20,
            split_names: 1_000_000,
            accepts: true,
            forget_empty_after: Duration::from_secs(60),
            snapshot_bytes_per_second: 64 << 20,
            max_events: 1 << 14,
            max_event_bytes: 128 << 20,
            max_requests: 1 << 16,
            max_watches: 1 << 12,
        }
    }
}
