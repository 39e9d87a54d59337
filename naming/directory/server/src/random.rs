//! Numbers that nobody else draws.

/// What no other call has, of this process or another one.
pub(crate) fn random() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::hash::RandomState::new().build_hasher().finish()
}
