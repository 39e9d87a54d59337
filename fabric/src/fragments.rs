//! IPv4 fragments, held until their datagram is whole (RFC 791, section 3.2; RFC 1858; in the spirit of RFC 5722).
//!
//! Who must look into a datagram to know where it goes offers its fragments here, in whatever order they come. Once
//! the datagram is whole, its payload can be copied out to be read, and the frames, still as they came, can be
//! drained in order to be forwarded.
//!
//! A datagram with anything wrong about it is dropped whole, with a named reason: fragments that overlap are an
//! attack, not an accident. All memory is taken at the start; when it is full, the datagram that began first goes.

mod datagram;
mod table;

use std::time::Duration;

use crate::io::PacketBuf;
use crate::packet::{Headers, Network};

pub use table::Fragments;

use datagram::Piece;

/// Fragments of one datagram at most. 64 KiB in Ethernet frames are 45; more serve only to cost.
pub const MAX_PIECES: usize = 64;

/// How much may be held, and how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FragmentLimits {
    /// Datagrams that are not whole yet (at least one). Each takes about 2 KiB, held or not.
    pub datagrams: usize,
    /// Packets of all of them together (at least one): they come out of the ports' pool.
    pub packets: usize,
    /// After how long since its first fragment a datagram is given up. Linux waits 30 s; in a data centre, a
    /// fragment that is late by a second is lost.
    pub timeout: Duration,
}

impl Default for FragmentLimits {
    fn default() -> Self {
        Self { datagrams: 256, packets: 4096, timeout: Duration::from_secs(1) }
    }
}

/// Why a fragment, or all of a datagram's, were dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("fragment dropped: {}", self.name())]
pub enum FragmentError {
    /// The packet is not a fragment of an IPv4 datagram. Nothing else is dropped with it.
    NotAFragment,
    /// The same fragment is held already, byte for byte. Nothing else is dropped with it.
    Duplicate,
    /// It overlaps another one.
    Overlap,
    /// It has no payload.
    Empty,
    /// It is not the last one, and its length is not a multiple of eight.
    BadLength,
    /// The datagram would be longer than 65535 bytes.
    TooLong,
    /// It contradicts where the datagram ends.
    ConflictingEnd,
    /// The datagram has more than [`MAX_PIECES`] fragments.
    TooManyPieces,
    /// The datagram was the oldest when memory was full.
    Evicted,
    /// The datagram did not become whole in time.
    TimedOut,
}

impl FragmentError {
    /// Every reason, in the order of [`index`](FragmentError::index).
    pub const ALL: [FragmentError; 10] = [
        FragmentError::NotAFragment,
        FragmentError::Duplicate,
        FragmentError::Overlap,
        FragmentError::Empty,
        FragmentError::BadLength,
        FragmentError::TooLong,
        FragmentError::ConflictingEnd,
        FragmentError::TooManyPieces,
        FragmentError::Evicted,
        FragmentError::TimedOut,
    ];

    /// The reason as a counter's name.
    pub fn name(self) -> &'static str {
        match self {
            FragmentError::NotAFragment => "fragment_not_a_fragment",
            FragmentError::Duplicate => "fragment_duplicate",
            FragmentError::Overlap => "fragment_overlap",
            FragmentError::Empty => "fragment_empty",
            FragmentError::BadLength => "fragment_bad_length",
            FragmentError::TooLong => "fragment_too_long",
            FragmentError::ConflictingEnd => "fragment_conflicting_end",
            FragmentError::TooManyPieces => "fragment_too_many_pieces",
            FragmentError::Evicted => "fragment_evicted",
            FragmentError::TimedOut => "fragment_timed_out",
        }
    }

    /// The place of the reason in [`ALL`](FragmentError::ALL), for a table of counters.
    pub fn index(self) -> usize {
        self as usize
    }
}

/// What became of an offered packet.
#[derive(Debug)]
pub enum Offer<'a, P: PacketBuf> {
    /// It is held. Other datagrams may have been [dropped](Fragments::dropped) to make room.
    Held,
    /// It was the last one missing.
    Complete(Whole<'a, P>),
    /// It comes back. The rest of its datagram, if the reason condemns it, is among the
    /// [dropped](Fragments::dropped).
    Refused(FragmentError, P),
}

/// A datagram that is whole. Once this is gone, so are the frames that were not [drained](Whole::drain).
#[derive(Debug)]
pub struct Whole<'a, P: PacketBuf> {
    fragments: &'a mut Fragments<P>,
    slot: u32,
}

impl<P: PacketBuf> Whole<'_, P> {
    /// Replaces the contents of `into` with the IP payload: the transport header and what follows. Allocates
    /// nothing if `into` has room for 65515 bytes.
    pub fn copy_payload(&self, into: &mut Vec<u8>) {
        into.clear();
        for held in self.fragments.held(self.slot) {
            into.extend_from_slice(&held.packet.bytes()[held.piece.in_frame()]);
        }
    }

    /// How many frames there are.
    pub fn frames(&self) -> usize {
        self.fragments.held(self.slot).len()
    }

    /// Takes the frames out, as they came, in the order of their offsets.
    pub fn drain(&mut self) -> impl Iterator<Item = P> + '_ {
        self.fragments.drain(self.slot)
    }
}

impl<P: PacketBuf> Drop for Whole<'_, P> {
    fn drop(&mut self) {
        self.fragments.release(self.slot);
    }
}

/// What the fragments of one datagram share (RFC 791), and the VLAN, since address spaces may differ between them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct DatagramKey {
    src: u32,
    dst: u32,
    id: u16,
    vlan: u16,
    protocol: u8,
}

/// Whose fragment this is, and which part.
fn identify(headers: &Headers) -> Result<(DatagramKey, Piece), FragmentError> {
    let Network::Ipv4(ipv4) = &headers.network else { return Err(FragmentError::NotAFragment) };
    if !ipv4.fragment.is_fragment() {
        return Err(FragmentError::NotAFragment);
    }
    let key = DatagramKey {
        src: ipv4.src.into(),
        dst: ipv4.dst.into(),
        id: ipv4.fragment.id as u16,
        vlan: headers.vlan.unwrap_or(0),
        protocol: ipv4.protocol,
    };
    Ok((key, Piece::new(ipv4, headers.l3_offset)))
}

#[cfg(test)]
mod tests;
