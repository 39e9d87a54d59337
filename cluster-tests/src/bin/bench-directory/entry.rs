//! What is published: copies of chunks of HDFS blocks.

use naming::space::hdfs_chunk;
use naming::{Component, Digest, Name, Version};

/// Chunks of a block.
const CHUNKS: u64 = 64;
/// Bytes of a chunk, as published.
pub(crate) const CHUNK_BYTES: u64 = 2 << 20;
/// Who holds all copies.
pub(crate) const HOLDER: u64 = 7;
/// Where HDFS begins to count blocks and generation stamps.
const FIRST_BLOCK: u64 = 1 << 30;
const FIRST_GENERATION: u64 = 1001;

/// The HDFS cluster that loads publish and resolve names of.
pub(crate) const CLUSTER: &str = "c1";

/// A name and what stands for its content.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// The name, as in `/hdfs/c1/BP-1/1073741824/v=1001/seg=0`.
    pub(crate) name: Name,
    /// Of the content.
    pub(crate) digest: Digest,
}

impl Entry {
    /// The `index`-th name of a cluster: chunk after chunk, block after block.
    pub(crate) fn of(cluster: &str, index: u64) -> Self {
        let (block, chunk) = (index / CHUNKS, index % CHUNKS);
        let generation = Version(FIRST_GENERATION + block);
        let name = hdfs_chunk(cluster, "BP-1", FIRST_BLOCK + block, generation, chunk);
        Self { name: name.expect("a short name"), digest: Digest::of(&index.to_le_bytes()) }
    }

    /// Several of them, from `first` on.
    pub(crate) fn several(cluster: &str, first: u64, count: usize) -> Vec<Self> {
        (first..first + count as u64).map(|index| Self::of(cluster, index)).collect()
    }
}

/// What all names of a cluster begin with.
pub(crate) fn prefix(cluster: &str) -> Name {
    let parts = ["hdfs", cluster].map(|part| Component::generic(part.as_bytes()));
    Name::of(parts).expect("a short name")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_differ_and_are_under_their_prefix() {
        let entries = Entry::several("c7", 60, 10);
        assert_eq!(entries[0].name.to_string(), "/hdfs/c7/BP-1/1073741824/v=1001/seg=60");
        assert_eq!(entries[9].name.to_string(), "/hdfs/c7/BP-1/1073741825/v=1002/seg=5");
        assert!(entries.is_sorted_by(|one, next| one.name < next.name && one.digest != next.digest));
        assert!(entries.iter().all(|entry| entry.name.as_name().starts_with(prefix("c7").as_name())));
    }
}
