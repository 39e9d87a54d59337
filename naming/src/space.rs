//! The layout of the name space.
//!
//! ```text
//! /mc/<pool>/<key>                                          mutable: who may answer holds a lease
//! /hdfs/<cluster>/<block pool>/<block>/v=<generation>/seg=<n>   chunk n of a finalized block, immutable
//! /stream/<topic>/<producer>/seq=<n>                        a sealed segment, immutable
//! /node/<node id>/...                                       what a node itself answers
//! ```

use crate::component::{Component, ComponentType};
use crate::{Name, NameError, NameRef, NodeId};

/// Which version of a thing: an HDFS generation stamp, say. What has one never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u64);

fn generic<const N: usize>(parts: [&[u8]; N]) -> Result<Name, NameError> {
    Name::of(parts.map(Component::generic))
}

/// A memcached key of a pool.
///
/// # Errors
/// If the parts are longer than a name may be; a memcached key never is.
pub fn memcached(pool: &str, key: &[u8]) -> Result<Name, NameError> {
    generic([b"mc", pool.as_bytes(), key])
}

/// A chunk of a finalized HDFS block.
///
/// # Errors
/// If the parts are longer than a name may be.
pub fn hdfs_chunk(
    cluster: &str,
    block_pool: &str,
    block: u64,
    generation: Version,
    chunk: u64,
) -> Result<Name, NameError> {
    let block = block.to_string();
    let name = generic([b"hdfs", cluster.as_bytes(), block_pool.as_bytes(), block.as_bytes()])?;
    let name = name.as_name().numbered(ComponentType::VERSION, generation.0)?;
    name.as_name().numbered(ComponentType::SEGMENT, chunk)
}

/// A sealed segment of a stream.
///
/// # Errors
/// If the parts are longer than a name may be.
pub fn stream_segment(topic: &str, producer: &str, sequence: u64) -> Result<Name, NameError> {
    let name = generic([b"stream", topic.as_bytes(), producer.as_bytes()])?;
    name.as_name().numbered(ComponentType::SEQUENCE, sequence)
}

/// What a node itself answers for.
///
/// # Errors
/// Never: a node id is short.
pub fn node(id: NodeId) -> Result<Name, NameError> {
    generic([b"node", id.to_string().as_bytes()])
}

/// The version in a name: of immutable content there is one.
pub fn version_of(name: NameRef<'_>) -> Option<Version> {
    name.components().find_map(|component| component.number(ComponentType::VERSION)).map(Version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout() {
        assert_eq!(memcached("web", b"user:42").unwrap().to_string(), "/mc/web/user:42");
        let chunk = hdfs_chunk("c1", "BP-1", 17, Version(1001), 3).unwrap();
        assert_eq!(chunk.to_string(), "/hdfs/c1/BP-1/17/v=1001/seg=3");
        assert_eq!(version_of(chunk.as_name()), Some(Version(1001)));
        assert_eq!(stream_segment("clicks", "p1", 9).unwrap().to_string(), "/stream/clicks/p1/seq=9");
        let id = NodeId::new(1).unwrap();
        assert_eq!(node(id).unwrap().to_string(), "/node/0000000000000001");
        assert_eq!(version_of(node(id).unwrap().as_name()), None);
    }
}
