//! Keys: a shard, and what of it.

use naming_directory_client::ShardId;

/// A key of any column family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    bytes: [u8; Key::MAX_LEN],
    len: usize,
}

/// The kind of frame that says what a node had of a shard when it gave it up: three numbers.
pub(super) const RETIRED: u8 = 1;

/// What `meta` says of a shard. Numbers are for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meta {
    Base,
    HardState,
    Snapshot(u64),
    Retired,
}

impl Key {
    const MAX_LEN: usize = 20;

    /// The first key that a shard has in any family, or would have.
    pub(super) fn first(shard: ShardId) -> Self {
        Self::of(&[&shard.0.to_be_bytes()])
    }

    pub(super) fn entry(shard: ShardId, index: u64) -> Self {
        Self::of(&[&shard.0.to_be_bytes(), &index.to_be_bytes()])
    }

    pub(super) fn chunk(shard: ShardId, generation: u64, number: u32) -> Self {
        Self::of(&[&shard.0.to_be_bytes(), &generation.to_be_bytes(), &number.to_be_bytes()])
    }

    pub(super) fn meta(shard: ShardId, meta: Meta) -> Self {
        let shard = shard.0.to_be_bytes();
        match meta {
            Meta::Base => Self::of(&[&shard, &[1]]),
            Meta::HardState => Self::of(&[&shard, &[2]]),
            Meta::Snapshot(generation) => Self::of(&[&shard, &[3], &generation.to_be_bytes()]),
            Meta::Retired => Self::of(&[&shard, &[4]]),
        }
    }

    /// The shard and the rest of a key.
    pub(super) fn split(key: &[u8]) -> Option<(ShardId, &[u8])> {
        let (shard, rest) = key.split_first_chunk::<8>()?;
        Some((ShardId(u64::from_be_bytes(*shard)), rest))
    }

    /// What a key of `meta` is about.
    pub(super) fn split_meta(key: &[u8]) -> Option<(ShardId, Meta)> {
        let (shard, rest) = Self::split(key)?;
        let meta = match rest {
            [1] => Meta::Base,
            [2] => Meta::HardState,
            [4] => Meta::Retired,
            [3, generation @ ..] => Meta::Snapshot(u64::from_be_bytes(generation.try_into().ok()?)),
            _ => return None,
        };
        Some((shard, meta))
    }

    fn of(parts: &[&[u8]]) -> Self {
        let (mut bytes, mut len) = ([0; Self::MAX_LEN], 0);
        for part in parts {
            bytes[len..len + part.len()].copy_from_slice(part);
            len += part.len();
        }
        Self { bytes, len }
    }
}

impl AsRef<[u8]> for Key {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_in_the_order_of_what_they_are_of() {
        let shard = ShardId;
        let keys = [
            Key::first(shard(1)),
            Key::entry(shard(1), 0),
            Key::entry(shard(1), 255),
            Key::entry(shard(1), 256),
            Key::chunk(shard(1), 257, 1),
            Key::first(shard(2)),
        ];
        assert!(keys.is_sorted_by(|one, other| one.as_ref() < other.as_ref()));
        for meta in [Meta::Base, Meta::HardState, Meta::Snapshot(7), Meta::Retired] {
            assert_eq!(Key::split_meta(Key::meta(shard(9), meta).as_ref()), Some((shard(9), meta)));
        }
        assert_eq!(Key::split_meta(b"short"), None);
    }
}
