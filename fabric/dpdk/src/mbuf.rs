//! One owned packet.

use fabric::io::{NoRoom, PacketBuf, PortId};
use fabric_dpdk_sys as sys;
use std::fmt;
use std::ptr::NonNull;

/// A packet in a buffer of a [`Mempool`](crate::Mempool), to which it returns when dropped.
///
/// Invariant: one segment, one reference, and this is its only owner. The size of a pointer, also as `Option<Mbuf>`; an array
/// of `Mbuf` is DPDK's array of `struct rte_mbuf *`.
#[repr(transparent)]
pub struct Mbuf(NonNull<sys::rte_mbuf>);

// SAFETY: an mbuf belongs to no thread, and pools take buffers back from any.
unsafe impl Send for Mbuf {}

impl Mbuf {
    /// # Safety
    /// `raw` has one segment and one reference, which is handed over, and is of a pool that is never freed.
    #[inline]
    pub(crate) unsafe fn from_raw(raw: NonNull<sys::rte_mbuf>) -> Self {
        Self(raw)
    }

    /// # Safety
    /// `offset` is that of a field of type `T` in `struct rte_mbuf`.
    #[inline]
    unsafe fn field<T>(&self, offset: usize) -> *mut T {
        // SAFETY: the field is within the mbuf.
        unsafe { self.0.as_ptr().byte_add(offset).cast() }
    }

    #[inline]
    fn len(&self) -> usize {
        // SAFETY: the shim asserts the width; the mbuf is ours and initialized.
        usize::from(unsafe { *self.field::<u16>(sys::FABRIC_MBUF_DATA_LEN) })
    }

    #[inline]
    fn data_offset(&self) -> usize {
        // SAFETY: the shim asserts the width; the mbuf is ours and initialized.
        usize::from(unsafe { *self.field::<u16>(sys::FABRIC_MBUF_DATA_OFF) })
    }

    #[inline]
    fn data(&self) -> *mut u8 {
        // SAFETY: the shim asserts the width of a pointer; the data begin within the buffer.
        unsafe { (*self.field::<*mut u8>(sys::FABRIC_MBUF_BUF_ADDR)).add(self.data_offset()) }
    }

    /// The most that [`set_len`](PacketBuf::set_len) grants.
    #[inline]
    fn capacity(&self) -> usize {
        // SAFETY: the shim asserts the width; the mbuf is ours and initialized.
        let buffer = usize::from(unsafe { *self.field::<u16>(sys::FABRIC_MBUF_BUF_LEN) });
        buffer.saturating_sub(self.data_offset())
    }
}

impl PacketBuf for Mbuf {
    #[inline]
    fn bytes(&self) -> &[u8] {
        // SAFETY: `data` to `data + len` lies in the buffer, which we own alone. Its bytes were
        // mapped by the kernel and written by devices and C code, so each has some value.
        unsafe { std::slice::from_raw_parts(self.data(), self.len()) }
    }

    #[inline]
    fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`, and `&mut self` makes it exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.data(), self.len()) }
    }

    #[inline]
    fn set_len(&mut self, len: usize) -> Result<(), NoRoom> {
        let capacity = self.capacity();
        if len > capacity {
            return Err(NoRoom { asked: len, capacity });
        }
        // SAFETY: the shim asserts the widths; `len` fits in both as the buffer's length is 16 bits wide. Packet and segment have
        // the same length because there is one segment.
        unsafe {
            *self.field::<u16>(sys::FABRIC_MBUF_DATA_LEN) = len as u16;
            *self.field::<u32>(sys::FABRIC_MBUF_PKT_LEN) = len as u32;
        }
        Ok(())
    }

    #[inline]
    fn ingress(&self) -> PortId {
        // SAFETY: the shim asserts the width; the mbuf is ours and initialized.
        PortId(unsafe { *self.field::<u16>(sys::FABRIC_MBUF_PORT) })
    }

    #[inline]
    fn set_ingress(&mut self, port: PortId) {
        // SAFETY: the shim asserts the width; the mbuf is ours.
        unsafe { *self.field::<u16>(sys::FABRIC_MBUF_PORT) = port.0 }
    }

    #[inline]
    fn prefetch(&self) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a hint, which reads nothing; SSE is part of x86-64.
        unsafe {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            _mm_prefetch::<_MM_HINT_T0>(self.data().cast());
        }
    }
}

impl Drop for Mbuf {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: we own the only reference, and the pool is never freed.
        unsafe { sys::fabric_mbuf_free(self.0.as_ptr()) }
    }
}

impl fmt::Debug for Mbuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mbuf")
            .field("len", &self.len())
            .field("ingress", &self.ingress())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Eal, EalOptions, HugePages, Mempool, PoolConfig};

    fn filled(pool: Mempool, len: usize, byte: u8) -> Mbuf {
        let mut packet = pool.allocate().unwrap();
        packet.set_len(len).unwrap();
        packet.bytes_mut().fill(byte);
        packet
    }

    /// Puts `tail` behind `head` as a driver does, and makes them one segment as `receive` does.
    fn joined(head: Mbuf, tail: Mbuf) -> Option<Mbuf> {
        let mut raw = head.0.as_ptr();
        // SAFETY: both are ours and one segment each.
        let chained = unsafe { sys::fabric_mbuf_chain(raw, tail.0.as_ptr()) };
        assert_eq!(chained, 0);
        std::mem::forget((head, tail));
        // SAFETY: the chain is ours, and given up.
        let fits = unsafe { sys::fabric_mbuf_linearize(&mut raw) };
        assert_eq!(fits, !raw.is_null());
        // SAFETY: it is one segment now, and nobody else has it.
        NonNull::new(raw).map(|raw| unsafe { Mbuf::from_raw(raw) })
    }

    #[test]
    fn segments_become_one_if_they_fit() {
        let options = EalOptions { huge_pages: HugePages::Never, memory_mib: 64, ..EalOptions::default() };
        let eal = Eal::init(&options).unwrap();
        let pool = Mempool::create(eal, &PoolConfig { packets: 63, data_room_bytes: 1024 }).unwrap();
        let packet = joined(filled(pool, 1000, 1), filled(pool, 24, 2)).unwrap();
        assert_eq!(packet.bytes(), [[1; 1000].as_slice(), &[2; 24]].concat());
        assert_eq!(pool.available(), 62);
        drop(packet);
        assert!(joined(filled(pool, 1000, 1), filled(pool, 25, 2)).is_none());
        assert_eq!(pool.available(), 63);
    }
}
