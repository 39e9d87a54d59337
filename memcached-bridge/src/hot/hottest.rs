//! The keys with the most hits, gathered in steps.

use arrayvec::ArrayVec;

/// One key and how often it was hit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HotKey {
    /// The key.
    pub key: ArrayVec<u8, 250>,
    /// Hits since it was first installed.
    pub hits: u32,
    /// Bytes of its value.
    pub value_len: u32,
}

/// The hottest keys found so far on a walk through a table; see
/// [`HotTable::hottest`](super::HotTable::hottest). Allocates only when made.
#[derive(Clone, Debug)]
pub struct Hottest {
    keys: Vec<HotKey>,
    wanted: usize,
    pub(super) next_bucket: usize,
}

impl Hottest {
    /// Room for `wanted` keys, at a few hundred bytes each.
    pub fn new(wanted: usize) -> Self {
        Self { keys: Vec::with_capacity(wanted), wanted, next_bucket: 0 }
    }

    /// Begins another walk.
    pub fn restart(&mut self) {
        self.keys.clear();
        self.next_bucket = 0;
    }

    /// What the walk has found so far, the hottest first. A key that moved during the walk may be in it twice.
    pub fn sorted(&mut self) -> &[HotKey] {
        self.keys.sort_unstable_by(|a, b| b.hits.cmp(&a.hits).then_with(|| a.key.cmp(&b.key)));
        &self.keys
    }

    pub(super) fn offer(&mut self, hits: u32, value_len: u32, key: &[u8]) {
        let Ok(key) = ArrayVec::try_from(key) else { return };
        let offered = HotKey { key, hits, value_len };
        if self.keys.len() < self.wanted {
            self.keys.push(offered);
            return;
        }
        let least = self.keys.iter_mut().min_by_key(|key| key.hits);
        if let Some(least) = least.filter(|least| least.hits < hits) {
            *least = offered;
        }
    }
}
