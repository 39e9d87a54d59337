//! One datagram's fragments.

use std::ops::Range;

use arrayvec::ArrayVec;

use super::{DatagramKey, FragmentError, MAX_PIECES};
use crate::io::PacketBuf;
use crate::packet::ipv4::{self, Ipv4};
use crate::time::Nanos;

/// Which bytes of the datagram's payload a frame carries, and where in the frame they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    start: u32,
    len: u32,
    more: bool,
    header_len: u32,
    frame_offset: u32,
}

impl Piece {
    pub(super) fn new(ipv4: &Ipv4, l3_offset: usize) -> Piece {
        Piece {
            start: ipv4.fragment.offset,
            len: (ipv4.total_len - ipv4.header_len) as u32,
            more: ipv4.fragment.more,
            header_len: ipv4.header_len as u32,
            frame_offset: (l3_offset + ipv4.header_len) as u32,
        }
    }

    pub(super) fn in_frame(&self) -> Range<usize> {
        self.frame_offset as usize..(self.frame_offset + self.len) as usize
    }

    fn end(&self) -> u32 {
        self.start + self.len
    }

    /// Whether it can be right, whatever the others say.
    fn check(&self) -> Result<(), FragmentError> {
        if self.len == 0 {
            return Err(FragmentError::Empty);
        }
        if self.more && !self.len.is_multiple_of(8) {
            return Err(FragmentError::BadLength);
        }
        if (self.header_len + self.end()) as usize > ipv4::MAX_LEN {
            return Err(FragmentError::TooLong);
        }
        Ok(())
    }
}

/// A frame, and what it carries.
#[derive(Debug)]
pub(super) struct Held<P> {
    pub(super) piece: Piece,
    pub(super) packet: P,
}

/// The fragments of one datagram that have come so far; they do not overlap.
#[derive(Debug)]
pub(super) struct Datagram<P> {
    pub(super) key: DatagramKey,
    pub(super) began: Nanos,
    /// In the order of their offsets.
    pub(super) held: ArrayVec<Held<P>, MAX_PIECES>,
    /// Payload bytes held.
    bytes: u32,
    /// Payload bytes of the whole datagram, once its last fragment has come.
    total: Option<u32>,
}

impl<P: PacketBuf> Datagram<P> {
    pub(super) fn empty() -> Self {
        Self { key: DatagramKey::default(), began: Nanos(0), held: ArrayVec::new(), bytes: 0, total: None }
    }

    pub(super) fn begin(&mut self, key: DatagramKey, now: Nanos) {
        self.key = key;
        self.began = now;
        self.held.clear();
        self.bytes = 0;
        self.total = None;
    }

    /// Whether nothing is missing: pieces that do not overlap and add up to the total leave no gap.
    pub(super) fn is_whole(&self) -> bool {
        self.total == Some(self.bytes)
    }

    /// Adds a piece, or gives the packet back.
    pub(super) fn add(&mut self, piece: Piece, packet: P) -> Result<(), (FragmentError, P)> {
        match self.place(&piece, &packet) {
            Err(reason) => Err((reason, packet)),
            Ok(place) => {
                self.bytes += piece.len;
                if !piece.more {
                    self.total = Some(piece.end());
                }
                self.held.insert(place, Held { piece, packet });
                Ok(())
            }
        }
    }

    /// Where among the held ones the piece belongs.
    fn place(&self, piece: &Piece, packet: &P) -> Result<usize, FragmentError> {
        piece.check()?;
        let place = self.held.partition_point(|held| held.piece.start < piece.start);
        if let Some(next) = self.held.get(place) {
            if is_copy(next, piece, packet) {
                return Err(FragmentError::Duplicate);
            }
            if piece.end() > next.piece.start {
                return Err(FragmentError::Overlap);
            }
        }
        if place > 0 && self.held[place - 1].piece.end() > piece.start {
            return Err(FragmentError::Overlap);
        }
        self.check_end(piece)?;
        if self.held.is_full() { Err(FragmentError::TooManyPieces) } else { Ok(place) }
    }

    fn check_end(&self, piece: &Piece) -> Result<(), FragmentError> {
        let beyond = self.total.is_some_and(|total| piece.end() > total);
        let ends_too_soon =
            !piece.more && self.held.last().is_some_and(|last| last.piece.end() > piece.end());
        if beyond || ends_too_soon { Err(FragmentError::ConflictingEnd) } else { Ok(()) }
    }
}

fn is_copy<P: PacketBuf>(held: &Held<P>, piece: &Piece, packet: &P) -> bool {
    let same_place =
        (held.piece.start, held.piece.len, held.piece.more) == (piece.start, piece.len, piece.more);
    same_place && held.packet.bytes()[held.piece.in_frame()] == packet.bytes()[piece.in_frame()]
}
