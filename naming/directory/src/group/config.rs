//! How a member behaves.

use naming::NodeId;

use super::error::OpenError;
use super::message::{Incoming, MAX_MESSAGE_LEN};
use crate::Position;

/// What a node had of a group when it gave that up. It had promised all of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retired {
    /// Its term.
    pub term: u64,
    /// The last entry of its log.
    pub last: Position,
}

impl Retired {
    /// Whether a message is of who does not know yet that this node gave the group up, and is to be refused: a vote or an
    /// acknowledgement would count there.
    pub fn precludes(&self, message: &Incoming) -> bool {
        (1..self.term).contains(&message.term())
    }
}

/// A member's settings. Times are in ticks, whose length the shell decides: 50 ms, say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// The member.
    pub id: NodeId,
    /// A random number of this start: it spreads elections, and tells this life's reads from an earlier
    /// one's.
    pub seed: u64,
    /// What it had when it was a member before: until it has that much again, it neither votes nor leads.
    pub retired: Retired,
    /// Silence of the leader after which an election begins: once to twice as long.
    pub election_ticks: u32,
    /// Time between two heartbeats of a leader.
    pub heartbeat_ticks: u32,
    /// After which a leader that was not asked for anything lets the state's time pass, so that leases end.
    pub pass_time_ticks: u32,
    /// After which a read's round that was not answered is sent again.
    pub read_retry_ticks: u32,
    /// After which a read that could not be confirmed fails.
    pub read_timeout_ticks: u32,
    /// Reads under way; more are refused.
    pub max_reads: usize,
    /// Bytes of one proposal; a larger one is refused.
    pub max_proposal_bytes: usize,
    /// Bytes of proposals that are not committed yet; more are refused.
    pub max_uncommitted_bytes: u64,
    /// Bytes of entries in a message, about.
    pub max_append_bytes: u64,
    /// Messages with entries under way to a follower.
    pub max_inflight: usize,
    /// Bytes of committed entries that are handed out at a time, about.
    pub max_committed_bytes: u64,
    /// Entries after which a snapshot is asked for; as many as the state has [names](super::Group::note_names), if those are
    /// more, so that snapshots do not cost more than the entries themselves.
    pub snapshot_entries: u64,
    /// Bytes of log after which a snapshot is asked for.
    pub snapshot_bytes: usize,
    /// Entries before a snapshot that are kept, for followers that are a little behind.
    pub retained_entries: u64,
    /// Bytes of them at most.
    pub retained_bytes: usize,
    /// Bytes of log at which proposals are refused, since a snapshot does not come about.
    pub max_log_bytes: usize,
    /// Entries that a learner may be behind to become a voter.
    pub max_promotion_lag: u64,
}

impl Config {
    /// Settings for a tick of 50 ms and a local network.
    pub fn new(id: NodeId, seed: u64) -> Self {
        Self {
            id,
            seed,
            retired: Retired::default(),
            election_ticks: 6,
            heartbeat_ticks: 1,
            pass_time_ticks: 20,
            read_retry_ticks: 4,
            read_timeout_ticks: 60,
            max_reads: 1 << 16,
            max_proposal_bytes: crate::catalog::capacity::MAX_COMMAND_LEN,
            max_uncommitted_bytes: 16 << 20,
            max_append_bytes: 1 << 20,
            max_inflight: 64,
            max_committed_bytes: 8 << 20,
            snapshot_entries: 100_000,
            snapshot_bytes: 128 << 20,
            retained_entries: 5_000,
            retained_bytes: 32 << 20,
            max_log_bytes: 1 << 30,
            max_promotion_lag: 1_000,
        }
    }

    /// Whether a peer takes the largest message that may come of it; half of it is left for what goes around entries.
    pub(super) fn check(&self) -> Result<(), OpenError> {
        let largest = self.max_uncommitted_bytes + self.max_append_bytes + self.max_proposal_bytes as u64;
        if largest <= MAX_MESSAGE_LEN as u64 / 2 {
            return Ok(());
        }
        let limit = MAX_MESSAGE_LEN / 2;
        let problem =
            format!("bytes uncommitted, of a message and of a proposal are {largest}, more than {limit}");
        Err(OpenError::Settings(problem))
    }

    pub(super) fn to_raft(self, applied: u64) -> raft::Config {
        raft::Config {
            id: self.id.get(),
            election_tick: self.election_ticks as usize,
            heartbeat_tick: self.heartbeat_ticks as usize,
            applied,
            max_size_per_msg: self.max_append_bytes,
            max_inflight_msgs: self.max_inflight,
            check_quorum: true,
            pre_vote: true,
            min_election_tick: self.election_ticks as usize,
            max_election_tick: 2 * self.election_ticks as usize,
            read_only_option: raft::ReadOnlyOption::Safe,
            skip_bcast_commit: false,
            batch_append: true,
            priority: 0,
            max_uncommitted_size: self.max_uncommitted_bytes.max(self.max_append_bytes),
            max_committed_size_per_ready: self.max_committed_bytes,
        }
    }

    /// Silence after which this member begins an election in `term`. A function of the seed and the term:
    /// elections of different members fall apart, and a simulation can be repeated, though `raft` itself
    /// draws at random.
    pub(super) fn election_timeout(&self, term: u64) -> usize {
        let mut mixed = self.seed ^ self.id.get().rotate_left(32) ^ term.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        // The finalizer of SplitMix64.
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        let ticks = u64::from(self.election_ticks);
        (ticks + mixed % ticks) as usize
    }
}
