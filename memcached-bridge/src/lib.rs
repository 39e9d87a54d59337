//! memcached: protocols and key hashing.

pub mod coherence;
pub mod hashing;
pub mod hot;
pub mod packet;
pub mod protocol;
pub mod session;
pub mod store;
