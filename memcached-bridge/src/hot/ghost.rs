//! Fingerprints of keys that lately left the small ring unused: if one comes back it goes to the main ring.
//! Sets of eight, each a little FIFO.

const WAYS: usize = 8;

#[derive(Debug)]
pub(super) struct Ghost {
    sets: Box<[[u32; WAYS]]>,
}

impl Ghost {
    pub(super) fn new(sets: usize) -> Self {
        Self { sets: vec![[0; WAYS]; sets].into_boxed_slice() }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        size_of_val(&*self.sets)
    }

    /// Remembers a key; the oldest of its set is forgotten.
    pub(super) fn insert(&mut self, hash: u64) {
        if let Some(set) = self.set(hash) {
            set.copy_within(..WAYS - 1, 1);
            set[0] = fingerprint(hash);
        }
    }

    /// Whether a key was remembered; it no longer is.
    pub(super) fn take(&mut self, hash: u64) -> bool {
        let Some(set) = self.set(hash) else { return false };
        let Some(way) = set.iter().position(|other| *other == fingerprint(hash)) else { return false };
        set.copy_within(way + 1.., way);
        set[WAYS - 1] = 0;
        true
    }

    pub(super) fn clear(&mut self) {
        self.sets.fill([0; WAYS]);
    }

    fn set(&mut self, hash: u64) -> Option<&mut [u32; WAYS]> {
        let index = ((hash & 0xffff_ffff) * self.sets.len() as u64) >> 32;
        self.sets.get_mut(index as usize)
    }
}

/// 0 is no fingerprint.
fn fingerprint(hash: u64) -> u32 {
    ((hash >> 32) as u32).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_a_fifo_and_taking_forgets() {
        let mut ghost = Ghost::new(1);
        let hash = |key: u64| key << 32;
        (1..=9).for_each(|key| ghost.insert(hash(key)));
        assert!(!ghost.take(hash(1)));
        assert!(ghost.take(hash(5)));
        assert!(!ghost.take(hash(5)));
        for key in [2, 3, 4, 6, 7, 8, 9] {
            assert!(ghost.take(hash(key)), "{key}");
        }
    }

    #[test]
    fn without_room_nothing_is_remembered() {
        let mut ghost = Ghost::new(0);
        ghost.insert(1);
        assert!(!ghost.take(1));
    }
}
