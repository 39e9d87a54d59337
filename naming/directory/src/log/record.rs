//! A record's bytes: a [frame](crate::frame) around a message.

use prost::Message;
use prost::bytes::Bytes;

use super::{Base, Entry, EntryKind, HardState, Members, Record};
use crate::frame::{self, Frame, FrameError};
use crate::{Position, proto};

const ENTRY: u8 = 1;
const HARD_STATE: u8 = 2;
const RESET: u8 = 3;
const COMPACT: u8 = 4;
/// Of the [journal](super::journal).
pub(super) const SYNCED: u8 = 5;

/// Why bytes are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// They are damaged, or some are missing.
    #[error("the record is damaged: {0}")]
    Frame(#[from] FrameError),
    /// Only a later release writes this kind.
    #[error("a record of kind {0} is unknown to this release: upgrade this node")]
    Unknown(u8),
    /// Its message is not valid, though its checksum matches.
    #[error("a record of kind {0} is not valid")]
    Invalid(u8),
}

impl Record {
    /// Appends its bytes to `out`.
    pub fn write(&self, out: &mut Vec<u8>) {
        let (kind, payload) = match self {
            Self::Entry(entry) => (ENTRY, entry.to_proto().encode_to_vec()),
            Self::HardState(HardState { term, vote, commit }) => (
                HARD_STATE,
                proto::log::HardState { term: *term, vote: *vote, commit: *commit }.encode_to_vec(),
            ),
            Self::Reset(base) => (RESET, base.to_proto().encode_to_vec()),
            Self::Compact(base) => (COMPACT, base.to_proto().encode_to_vec()),
        };
        frame::write(out, kind, &payload);
    }

    /// The record that `bytes` begin with, and the bytes behind it.
    ///
    /// # Errors
    /// If they begin with none.
    pub fn read(bytes: &[u8]) -> Result<(Self, &[u8]), RecordError> {
        let (frame, rest) = frame::read(bytes)?;
        Ok((Self::of_frame(frame)?, rest))
    }

    pub(super) fn of_frame(Frame { kind, payload }: Frame<'_>) -> Result<Self, RecordError> {
        let payload = || Bytes::copy_from_slice(payload);
        let record = match kind {
            ENTRY => proto::log::Entry::decode(payload()).ok().and_then(Entry::of_proto).map(Self::Entry),
            HARD_STATE => proto::log::HardState::decode(payload()).ok().map(|message| {
                let proto::log::HardState { term, vote, commit } = message;
                Self::HardState(HardState { term, vote, commit })
            }),
            RESET => proto::log::Base::decode(payload()).ok().and_then(Base::of_proto).map(Self::Reset),
            COMPACT => proto::log::Base::decode(payload()).ok().and_then(Base::of_proto).map(Self::Compact),
            unknown => return Err(RecordError::Unknown(unknown)),
        };
        record.ok_or(RecordError::Invalid(kind))
    }
}

impl Entry {
    fn to_proto(&self) -> proto::log::Entry {
        let kind = match self.kind {
            EntryKind::Command => proto::log::EntryKind::Command,
            EntryKind::Members => proto::log::EntryKind::Members,
        };
        let Position { term, index } = self.position;
        proto::log::Entry { term, index, kind: kind.into(), data: self.data.clone() }
    }

    fn of_proto(message: proto::log::Entry) -> Option<Self> {
        let kind = match message.kind() {
            proto::log::EntryKind::Unspecified => return None,
            proto::log::EntryKind::Command => EntryKind::Command,
            proto::log::EntryKind::Members => EntryKind::Members,
        };
        Some(Self { position: Position::new(message.term, message.index), kind, data: message.data })
    }
}

impl Base {
    fn to_proto(&self) -> proto::log::Base {
        let Position { term, index } = self.position;
        proto::log::Base { term, index, members: Some(self.members.to_proto()) }
    }

    fn of_proto(message: proto::log::Base) -> Option<Self> {
        let members = Members::of_proto(message.members.as_ref()?)?;
        Some(Self { position: Position::new(message.term, message.index), members })
    }
}
