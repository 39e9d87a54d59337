//! Messages between members: bytes outside, valid messages inside.
//!
//! `raft` panics on what a correct peer never sends. So whatever is decoded here is checked for it: kinds,
//! entries without gaps, terms that rise, ids and numbers in bounds. What depends on the member's own log is
//! checked when it is [stepped](super::Group::step).

use naming::NodeId;
use prost_raft::Message as _;
use raft::eraftpb::{self, ConfChangeV2, EntryType, MessageType};

use super::store::members_of;
use crate::Position;

/// Bytes of a message at most. What a leader has proposed and not sent yet may be in one message.
pub const MAX_MESSAGE_LEN: usize = 64 << 20;
/// Terms and indices stay below, so that sums of them fit.
const MAX_NUMBER: u64 = 1 << 62;

/// A message to a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// To whom.
    pub to: NodeId,
    /// What [`Incoming::decode`] reads there.
    pub bytes: Vec<u8>,
    /// If it announces a snapshot: of which entry. Its chunks go first; whether that succeeded is
    /// [reported](super::Group::report_snapshot).
    pub snapshot: Option<Position>,
}

/// A message from a peer, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Incoming {
    pub(super) message: eraftpb::Message,
    from: NodeId,
    to: NodeId,
}

/// Why bytes are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the bytes are no message of a directory group: {0}")]
pub struct MessageError(&'static str);

impl Outgoing {
    pub(super) fn of(message: &eraftpb::Message) -> Option<Self> {
        let snapshot = message.snapshot.as_ref().and_then(|snapshot| snapshot.metadata.as_ref());
        Some(Self {
            to: NodeId::new(message.to)?,
            bytes: message.encode_to_vec(),
            snapshot: snapshot.map(|metadata| Position::new(metadata.term, metadata.index)),
        })
    }
}

impl Incoming {
    /// The message in `bytes`.
    ///
    /// # Errors
    /// If there is none that a correct peer would send.
    pub fn decode(bytes: &[u8]) -> Result<Self, MessageError> {
        if bytes.len() > MAX_MESSAGE_LEN {
            return Err(MessageError("they are too many"));
        }
        let message = eraftpb::Message::decode(bytes).map_err(|_| MessageError("their form is wrong"))?;
        let from = NodeId::new(message.from).ok_or(MessageError("it is from nobody"))?;
        let to = NodeId::new(message.to).ok_or(MessageError("it is to nobody"))?;
        check(&message)?;
        Ok(Self { message, from, to })
    }

    /// Who sent it.
    pub fn from(&self) -> NodeId {
        self.from
    }

    /// To whom it was sent.
    pub fn to(&self) -> NodeId {
        self.to
    }

    /// The sender's term; 0 if it asks to read.
    pub(super) fn term(&self) -> u64 {
        self.message.term
    }

    /// If it announces a snapshot: of which entry. The snapshot has to be here, complete and durable, before
    /// this is stepped.
    pub fn snapshot(&self) -> Option<Position> {
        let metadata = self.message.snapshot.as_ref()?.metadata.as_ref()?;
        Some(Position::new(metadata.term, metadata.index))
    }

    /// Whether it asks for a vote, or whether one would be given.
    pub fn wants_vote(&self) -> bool {
        matches!(self.kind(), MessageType::MsgRequestVote | MessageType::MsgRequestPreVote)
    }

    pub(super) fn kind(&self) -> MessageType {
        // It was checked when it was decoded.
        MessageType::from_i32(self.message.msg_type).unwrap_or_default()
    }
}

fn check(message: &eraftpb::Message) -> Result<(), MessageError> {
    let kind = MessageType::from_i32(message.msg_type).ok_or(MessageError("its kind is unknown"))?;
    let numbers = [message.term, message.log_term, message.index, message.commit, message.commit_term];
    let more = [message.request_snapshot, message.reject_hint];
    if numbers.into_iter().chain(more).any(|number| number >= MAX_NUMBER) {
        return Err(MessageError("a number is too large"));
    }
    // A follower passes a read on to the leader it knows, which may be the one that asked.
    if message.from == message.to && kind != MessageType::MsgReadIndex {
        return Err(MessageError("it is from whom it is to"));
    }
    if (message.term == 0) != (kind == MessageType::MsgReadIndex) {
        return Err(MessageError("its term is missing"));
    }
    if message.snapshot.is_some() != (kind == MessageType::MsgSnapshot) {
        return Err(MessageError("it has a snapshot and is of another kind, or the other way round"));
    }
    match kind {
        MessageType::MsgAppend => check_entries(message),
        MessageType::MsgSnapshot => check_snapshot(message),
        MessageType::MsgReadIndex | MessageType::MsgReadIndexResp if message.entries.len() != 1 => {
            Err(MessageError("a read has one context"))
        }
        MessageType::MsgReadIndex
        | MessageType::MsgReadIndexResp
        | MessageType::MsgAppendResponse
        | MessageType::MsgRequestVote
        | MessageType::MsgRequestVoteResponse
        | MessageType::MsgHeartbeat
        | MessageType::MsgHeartbeatResponse
        | MessageType::MsgTimeoutNow
        | MessageType::MsgRequestPreVote
        | MessageType::MsgRequestPreVoteResponse => Ok(()),
        // Proposals and transfers of leadership are made at the leader; the others are a member's own.
        MessageType::MsgHup
        | MessageType::MsgBeat
        | MessageType::MsgPropose
        | MessageType::MsgUnreachable
        | MessageType::MsgSnapStatus
        | MessageType::MsgCheckQuorum
        | MessageType::MsgTransferLeader => Err(MessageError("its kind is not for peers")),
    }
}

fn check_entries(message: &eraftpb::Message) -> Result<(), MessageError> {
    let mut before = Position::new(message.log_term, message.index);
    // Of a place it does not have, too, `raft` says that its term is 0.
    if (before.term == 0) != (before.index == 0) {
        return Err(MessageError("it appends to an entry without a term"));
    }
    for entry in &message.entries {
        let follows = entry.index == before.index + 1 && (before.term..=message.term).contains(&entry.term);
        if !follows || entry.term == 0 {
            return Err(MessageError("an entry does not follow from the one before it"));
        }
        match EntryType::from_i32(entry.entry_type) {
            Some(EntryType::EntryNormal) => {}
            Some(EntryType::EntryConfChangeV2) => {
                decode_change(&entry.data)?;
            }
            Some(EntryType::EntryConfChange) | None => {
                return Err(MessageError("an entry's kind is unknown"));
            }
        }
        before = Position::new(entry.term, entry.index);
    }
    if before.term > message.term {
        return Err(MessageError("it appends to a later term"));
    }
    Ok(())
}

fn check_snapshot(message: &eraftpb::Message) -> Result<(), MessageError> {
    let metadata = message.snapshot.as_ref().and_then(|snapshot| snapshot.metadata.as_ref());
    let metadata = metadata.ok_or(MessageError("its snapshot does not say what it is of"))?;
    let position = (1..=message.term).contains(&metadata.term) && (1..MAX_NUMBER).contains(&metadata.index);
    let state = metadata.conf_state.as_ref();
    let members = state.is_some_and(|state| !state.auto_leave && members_of(state).is_some());
    if position && members { Ok(()) } else { Err(MessageError("its snapshot is of a group that cannot be")) }
}

/// The change of members in an entry's data.
pub(super) fn decode_change(data: &[u8]) -> Result<ConfChangeV2, MessageError> {
    let change = ConfChangeV2::decode(data).map_err(|_| MessageError("a change of members is garbled"))?;
    let kinds = change.changes.iter().all(|change| {
        let kind = eraftpb::ConfChangeType::from_i32(change.change_type);
        kind.is_some() && NodeId::new(change.node_id).is_some()
    });
    let transition = eraftpb::ConfChangeTransition::from_i32(change.transition);
    if kinds && transition.is_some() {
        Ok(change)
    } else {
        Err(MessageError("a change of members is garbled"))
    }
}
