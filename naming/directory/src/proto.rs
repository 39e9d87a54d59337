//! The messages, as `proto/` defines them.

#![allow(missing_docs, reason = "the definitions are the documentation")]
#![allow(clippy::doc_markdown, clippy::large_enum_variant, reason = "generated")]

include!(concat!(env!("OUT_DIR"), "/smartswitch.directory.v1.rs"));

/// What a snapshot holds.
pub(crate) mod state {
    #![allow(unreachable_pub, reason = "generated")]
    include!(concat!(env!("OUT_DIR"), "/smartswitch.directory.state.v1.rs"));
}

/// What a member of a group keeps on disk.
pub(crate) mod log {
    #![allow(unreachable_pub, reason = "generated")]
    include!(concat!(env!("OUT_DIR"), "/smartswitch.directory.log.v1.rs"));
}
