//! One stored item.

use super::clock::Expiry;

/// What memcached adds to key and value when it measures an item against its size limit: header, CAS, the key's
/// terminator and the value's `\r\n`. So a value of exactly the limit is too large here, too.
const HEADER_BYTES: usize = 48 + 8 + 1 + 2;
/// Stored client flags, if they are not 0.
const FLAGS_BYTES: usize = 4;

/// A key, its value, and what memcached keeps next to them.
#[derive(Clone, Debug)]
pub struct Item {
    /// The key, then the value.
    bytes: Box<[u8]>,
    key_len: u16,
    /// The client's own flags.
    pub flags: u32,
    /// The unique id of this state of the item.
    pub cas: u64,
    /// When it ends.
    pub expiry: Expiry,
    /// The second it was stored or last read.
    pub(super) accessed: u32,
    /// It was read since it was stored.
    pub fetched: bool,
    /// It was invalidated, but may still be served (`md ... I`).
    pub stale: bool,
    /// One client was told to refill it.
    pub token_sent: bool,
    /// Its key came in base64 and goes out so.
    pub binary_key: bool,
}

impl Item {
    /// An item that nobody has read. Its CAS is given when it is linked.
    pub(super) fn new(key: &[u8], value: [&[u8]; 2], flags: u32, expiry: Expiry) -> Self {
        let bytes = [key, value[0], value[1]].concat().into_boxed_slice();
        let key_len = key.len() as u16;
        let (cas, accessed) = (0, 0);
        let (fetched, stale, token_sent, binary_key) = (false, false, false, false);
        Self { bytes, key_len, flags, cas, expiry, accessed, fetched, stale, token_sent, binary_key }
    }

    /// The key.
    pub fn key(&self) -> &[u8] {
        &self.bytes[..usize::from(self.key_len)]
    }

    /// The value.
    pub fn value(&self) -> &[u8] {
        &self.bytes[usize::from(self.key_len)..]
    }

    /// Its size as memcached measures it, in bytes.
    pub fn measured(&self) -> usize {
        measured(self.key(), self.value().len(), self.flags)
    }

    pub(super) fn value_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[usize::from(self.key_len)..]
    }

    /// Bytes that the allocation of key and value takes: rounded up as the usual allocators do.
    pub(super) fn allocated(&self) -> usize {
        allocated(self.bytes.len())
    }
}

/// Bytes taken by an allocation of `len` bytes: with a header of 8, in steps of 16, at least 32.
pub(super) fn allocated(len: usize) -> usize {
    (len + 8).next_multiple_of(16).max(32)
}

/// The size that is measured against the item size limit, in bytes.
pub(super) fn measured(key: &[u8], value_len: usize, flags: u32) -> usize {
    HEADER_BYTES + key.len() + value_len + if flags == 0 { 0 } else { FLAGS_BYTES }
}
