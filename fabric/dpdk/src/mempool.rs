//! Packet memory: a fixed number of equal buffers, shared by all ports and workers.

use crate::eal::Eal;
use crate::errno::Errno;
use crate::mbuf::Mbuf;
use fabric_dpdk_sys as sys;
use std::ffi::CString;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

/// Buffers that each registered thread keeps to itself, so that it seldom meets the others at the pool's ring.
const CACHE: u32 = 256;

/// What a buffer costs besides its data room: mbuf, headroom, the pool's header and its padding, rounded up.
const BUFFER_OVERHEAD_BYTES: u64 = 128 + sys::RTE_PKTMBUF_HEADROOM as u64 + 64 + 4 * 64;

/// The size of a pool.
#[derive(Clone, Copy, Debug)]
pub struct PoolConfig {
    /// How many packets there can be at once: in receive and transmit rings, in workers' hands, in per-thread caches
    /// (up to 384 for each).
    pub packets: u32,
    /// The longest frame a buffer holds, in bytes, without its FCS. For jumbo frames choose it to hold the MTU: a frame in
    /// several buffers is dropped.
    pub data_room_bytes: u16,
}

impl Default for PoolConfig {
    /// 16384 packets of 2048 bytes.
    fn default() -> Self {
        Self { packets: 16 * 1024, data_room_bytes: 2048 }
    }
}

impl PoolConfig {
    /// About how much of [`EalOptions::memory_mib`](crate::EalOptions::memory_mib) a pool takes.
    pub fn memory_mib(&self) -> u32 {
        let buffer = u64::from(self.data_room_bytes).next_multiple_of(64) + BUFFER_OVERHEAD_BYTES;
        let ring = u64::from(self.packets).next_power_of_two() * 8;
        // The caches are reserved for every lcore that there could be.
        let caches = 2 << 20;
        let bytes = u64::from(self.packets) * buffer + ring + caches;
        u32::try_from(bytes.div_ceil(1 << 20)).unwrap_or(u32::MAX)
    }

    /// DPDK wants one and a half times the cache in the pool.
    fn cache(&self) -> u32 {
        CACHE.min(self.packets / 2)
    }
}

/// A pool was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    /// [`PoolConfig::data_room_bytes`] is too large for an mbuf's 16-bit length.
    #[error("a packet buffer holds at most {most} bytes, {asked} were asked for")]
    DataRoom {
        /// Bytes asked for.
        asked: u16,
        /// The limit.
        most: u16,
    },
    /// DPDK has no memory, or no more room for pools.
    #[error("a pool of {packets} packets of {data_room_bytes} bytes (about {mib} MiB): {errno}")]
    Create {
        /// Packets asked for.
        packets: u32,
        /// Bytes for each.
        data_room_bytes: u16,
        /// What they take.
        mib: u32,
        /// DPDK's reason.
        errno: Errno,
    },
}

/// A pool of packets. It lives as long as the process, as the packets out of it may.
#[derive(Clone, Copy, Debug)]
pub struct Mempool {
    raw: NonNull<sys::rte_mempool>,
    config: PoolConfig,
}

// SAFETY: the pool's ring is for many producers and consumers, and its caches are indexed by the calling thread's lcore id.
unsafe impl Send for Mempool {}
// SAFETY: as above; no method needs exclusive access.
unsafe impl Sync for Mempool {}

/// Numbers pools, also those that could not be made.
static NAMES: AtomicU32 = AtomicU32::new(0);
static POOLS: AtomicU32 = AtomicU32::new(0);

impl Mempool {
    /// Makes a pool.
    ///
    /// # Errors
    /// [`PoolError`]
    pub fn create(_eal: Eal, config: &PoolConfig) -> Result<Self, PoolError> {
        let most = u16::MAX - sys::RTE_PKTMBUF_HEADROOM as u16;
        let PoolConfig { packets, data_room_bytes } = *config;
        if data_room_bytes > most {
            return Err(PoolError::DataRoom { asked: data_room_bytes, most });
        }
        let number = NAMES.fetch_add(1, Ordering::Relaxed);
        let name = CString::new(format!("packets{number}")).expect("no NUL in it");
        let buffer = data_room_bytes + sys::RTE_PKTMBUF_HEADROOM as u16;
        // SAFETY: the EAL runs, and DPDK copies the name. -1: memory of any NUMA node.
        let raw =
            unsafe { sys::rte_pktmbuf_pool_create(name.as_ptr(), packets, config.cache(), 0, buffer, -1) };
        let raw = NonNull::new(raw).ok_or_else(|| {
            let mib = config.memory_mib();
            PoolError::Create { packets, data_room_bytes, mib, errno: Errno::last() }
        })?;
        POOLS.fetch_add(1, Ordering::SeqCst);
        Ok(Self { raw, config: *config })
    }

    /// What it was made as.
    pub fn config(&self) -> PoolConfig {
        self.config
    }

    /// How many packets are free, those in threads' caches included. Walks all caches: not for each packet.
    pub fn available(&self) -> u32 {
        // SAFETY: pools are never freed.
        unsafe { sys::rte_mempool_avail_count(self.raw.as_ptr()) }
    }

    /// A packet of length 0 that came in by no port, or `None` if all are in use.
    #[inline]
    pub fn allocate(&self) -> Option<Mbuf> {
        // SAFETY: pools are never freed.
        let raw = unsafe { sys::fabric_mbuf_alloc(self.raw.as_ptr()) };
        // SAFETY: a new mbuf has one segment and one reference, which is ours.
        NonNull::new(raw).map(|raw| unsafe { Mbuf::from_raw(raw) })
    }

    pub(crate) fn as_ptr(&self) -> *mut sys::rte_mempool {
        self.raw.as_ptr()
    }

    /// Whether every [`Mbuf`] of this process is from one pool. A thread that holds an mbuf of a second one knows of
    /// that pool: the mbuf reached it after the pool was counted.
    #[inline]
    pub(crate) fn is_only_one() -> bool {
        POOLS.load(Ordering::Relaxed) <= 1
    }
}
