//! Which shard.

use std::fmt;
use std::str::FromStr;

use crate::Position;

/// A shard of the directory. Written as 16 hexadecimal digits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(pub u64);

impl ShardId {
    /// The shard that a directory begins with.
    pub const FIRST: ShardId = ShardId(1);

    /// The shard that is split off from this one by this entry of its log: the same at all replicas.
    pub fn split_off(self, entry: Position) -> Self {
        // The finalizer of SplitMix64, so that ids of splits of different shards do not meet.
        let mut mixed = self.0.rotate_left(32) ^ entry.index.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Self((mixed ^ (mixed >> 31)).max(2))
    }
}

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for ShardId {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u64::from_str_radix(text, 16).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn splits_have_ids_of_their_own() {
        let split = |shard: u64, index| ShardId(shard).split_off(Position::new(1, index));
        let ids: BTreeSet<ShardId> =
            (1..50).flat_map(|shard| (1..50).map(move |index| split(shard, index))).collect();
        assert_eq!(ids.len(), 49 * 49);
        assert!(
            "00000000000000ff".parse() == Ok(ShardId(255)) && ShardId(255).to_string() == "00000000000000ff"
        );
    }
}
