//! How much fits. What does not is refused, and counted. All replicas must agree on these numbers, so a
//! change of one needs a new [version](super::VERSION).

/// Bytes of an encoded command at most.
pub const MAX_COMMAND_LEN: usize = 4 << 20;
/// Names or nodes in one command at most.
pub const MAX_BATCH: usize = 4096;
/// Refused copies that a reply lists; it counts all of them.
pub const MAX_REFUSALS_LISTED: usize = 64;
/// Bytes of a record's value at most.
pub const MAX_RECORD_LEN: usize = 64 << 10;
/// Addresses of a node at most.
pub const MAX_ADDRESSES: usize = 8;
/// The longest lease, in milliseconds: a day.
pub const MAX_LEASE_MS: u64 = 24 * 3600 * 1000;

/// Nodes of a shard.
pub const NODES: usize = 1 << 16;
/// Authorities of a shard.
pub const AUTHORITIES: usize = 1 << 18;
/// Pools of a shard.
pub const POOLS: usize = 1 << 12;
/// Routes of a shard.
pub const ROUTES: usize = 1 << 18;
/// Stream programs of a shard.
pub const PROGRAMS: usize = 1 << 12;
/// Tenants' limits of a shard.
pub const LIMITS: usize = 1 << 16;
/// Nodes that hold copies, or whose copies were retired.
pub const HOLDERS: usize = 1 << 20;
/// Names with copies of a shard: about 4 GB of memory.
pub const NAMES: usize = 1 << 26;
/// Copies that are recorded of a name.
pub const COPIES_OF_A_NAME: usize = 64;
/// Clients' sessions of a shard.
pub const SESSIONS: usize = 1 << 16;

/// A session that was silent for so many milliseconds expires: ten minutes.
pub const SESSION_MS: u64 = 600_000;
/// Sessions that expire with one command at most.
pub const EXPIRED_AT_ONCE: usize = 64;
/// Names that one command looks through for copies of retired holders.
pub const PURGED_AT_ONCE: usize = 256;
