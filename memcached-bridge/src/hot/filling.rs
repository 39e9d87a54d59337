//! When a value may be asked for, and how long it may be answered.

use std::time::Duration;

use fabric::time::Nanos;

/// Keys for which a fill was tried of late. Direct-mapped: a collision only allows a fill too many.
#[derive(Debug)]
pub(crate) struct Attempts {
    cells: Box<[(u64, Nanos)]>,
}

impl Attempts {
    const CELLS: usize = 1024;

    pub(crate) fn new() -> Self {
        Self { cells: vec![(0, Nanos(0)); Self::CELLS].into_boxed_slice() }
    }

    /// Whether no fill for the key is under way or known to be futile.
    pub(crate) fn allowed(&self, hash: u64, now: Nanos) -> bool {
        let (noted, until) = self.cells[hash as usize % Self::CELLS];
        noted != hash || until <= now
    }

    pub(crate) fn note(&mut self, hash: u64, until: Nanos) {
        self.cells[hash as usize % Self::CELLS] = (hash, until);
    }
}

/// Until when a value may be answered that was asked for at `sent` and has `ttl` seconds to live (`None`: for ever).
/// The server counts whole seconds and may drop the item up to one second before the count runs out.
pub(crate) fn expiry(sent: Nanos, ttl: Option<u32>, lease: Duration) -> Option<Nanos> {
    let leased = sent + lease;
    match ttl {
        None => Some(leased),
        Some(0 | 1) => None,
        Some(seconds) => Some(leased.min(sent + Duration::from_secs(u64::from(seconds) - 1))),
    }
}
