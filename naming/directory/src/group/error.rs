//! Why a member refuses something.

use naming::NodeId;

use crate::Position;

/// Why a member cannot start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum OpenError {
    #[error(
        "the snapshot of the state is of entry {snapshot}, the log has entries {first} to {last}: they are not of one member's \
         directory; restore both from one backup, or remove the member from its group and add it anew with an empty directory"
    )]
    NotTogether { snapshot: Position, first: u64, last: u64 },
    #[error("the settings do not fit together: {0}")]
    Settings(String),
}

/// Why a proposal was not taken. It is certain not to be executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum ProposeError {
    #[error("this member does not lead its group{}", ask(*.leader))]
    NotLeader { leader: Option<NodeId> },
    #[error("leadership is being handed over; try again in a moment")]
    Transferring,
    #[error("a proposal of {len} bytes; the limit is {limit}: divide it")]
    TooLarge { len: usize, limit: usize },
    #[error("too many proposals are waiting to be committed; try again in a moment")]
    Overloaded,
    #[error("the log holds {bytes} bytes and waits for a snapshot; see that the disk is not full")]
    LogFull { bytes: usize },
    #[error("the command asks for nothing that this release knows: upgrade this node")]
    Unknown,
}

/// Why a member does not give up what it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeps {
    /// It is led by this node.
    Led(NodeId),
    /// It has this entry, behind the one by which it is no member.
    Later(u64),
}

/// Why a change of members was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum ChangeError {
    #[error("this member does not lead its group{}", ask(*.leader))]
    NotLeader { leader: Option<NodeId> },
    #[error("another change is under way; try again in a moment")]
    Busy,
    #[error("node {0} leads the group: hand leadership over first")]
    LeaderItself(NodeId),
    #[error("node {0} is no learner of the group: add it as one first, so that it has the log when it votes")]
    NotALearner(NodeId),
    #[error("node {node} is {behind} entries behind: wait until it has caught up")]
    Behind { node: NodeId, behind: u64 },
    #[error("node {0} is in the group already")]
    Present(NodeId),
    #[error("node {0} is not in the group")]
    Absent(NodeId),
    #[error("node {0} is named twice, or nothing is to be changed")]
    Contradiction(NodeId),
    #[error("no voter would be left")]
    NoVoters,
    #[error("too many proposals are waiting to be committed; try again in a moment")]
    Overloaded,
}

/// Why leadership cannot be handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum TransferError {
    #[error("this member does not lead its group{}", ask(*.leader))]
    NotLeader { leader: Option<NodeId> },
    #[error("node {0} is no voter of the group")]
    NotAVoter(NodeId),
}

/// Too many reads are under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{limit} reads are under way; try again in a moment")]
pub struct TooManyReads {
    /// How many may be.
    pub limit: usize,
}

/// Why a message from a peer was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum StepError {
    #[error("a message to node {to} came to node {id}")]
    Misdelivered { to: NodeId, id: NodeId },
    #[error(
        "leader {leader} says that this member acknowledged entries up to {acknowledged}, its log ends at {last}: it lost part \
         of its log, and with it its vote; remove it from the group and add it anew with an empty directory"
    )]
    LostLog { leader: NodeId, acknowledged: u64, last: u64 },
    #[error("node {from} acknowledges entry {index}, the log ends at {last}")]
    BeyondTheLog { from: NodeId, index: u64, last: u64 },
    #[error("{0}")]
    Refused(String),
}

fn ask(leader: Option<NodeId>) -> String {
    leader.map_or_else(
        || ", and knows no leader; try again in a moment".to_owned(),
        |leader| format!("; ask node {leader}"),
    )
}
