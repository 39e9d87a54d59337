//! What a replica refused and forgot.

/// Since the replica started. Not part of the replicated state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Commands that were executed.
    pub executed: u64,
    /// Commands that arrived again and were answered with their first reply.
    pub repeated: u64,
    /// Commands that are no commands.
    pub malformed: u64,
    /// Commands with an action that is not supported, or not yet.
    pub unsupported: u64,
    /// Commands with names of other shards.
    pub wrong_shard: u64,
    /// Commands of sessions that expired, or never were.
    pub session_unknown: u64,
    /// Commands that came after a later one of their session.
    pub sequence_passed: u64,
    /// Commands that a full table refused.
    pub table_full: u64,
    /// Commands that were refused for what the state holds: a conflict, a lease, a stale epoch.
    pub refused: u64,
    /// Copies that were refused.
    pub copies_refused: u64,
    /// Sessions that expired.
    pub sessions_expired: u64,
}
