//! Requests and responses, as `proto/client.proto` defines them, and what of them becomes values that are always valid.

mod events;
mod proto {
    #![allow(missing_docs, reason = "the definitions are the documentation")]
    #![allow(clippy::doc_markdown, clippy::large_enum_variant, reason = "generated")]
    include!(concat!(env!("OUT_DIR"), "/smartswitch.directory.client.v1.rs"));
}

pub use events::{digest_of, event_of, event_to, kind_to};
pub use proto::*;

use naming::NodeId;
use naming_directory::{Position, proto as log};

/// A message that says what it must not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the message is no message of the directory: {0}")]
pub struct Malformed(pub &'static str);

impl Failure {
    /// A failure of this kind, said in words.
    pub fn new(kind: FailureKind, text: impl ToString) -> Self {
        Self { kind: kind.into(), text: text.to_string(), leader: 0 }
    }
}

impl Shard {
    /// Who replicates it: voters, learners, and those that vote until a change of members is done. One may come twice.
    pub fn members(&self) -> impl Iterator<Item = NodeId> + '_ {
        let all = [&self.voters, &self.learners, &self.outgoing];
        all.into_iter().flatten().filter_map(|node| NodeId::new(*node))
    }
}

/// A place in a log, from its message; the very first if there is none.
pub fn position_of(message: Option<log::Position>) -> Position {
    message.map_or_else(Position::default, |message| Position::new(message.term, message.index))
}

/// A place in a log as a message.
pub fn position_to(position: Position) -> Option<log::Position> {
    Some(log::Position { term: position.term, index: position.index })
}
