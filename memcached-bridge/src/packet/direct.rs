//! Traffic straight to or from a server, past the virtual address.
//!
//! TCP connections and datagrams to a server's own address are none of the pool's business and are switched on
//! unharmed. But they may write, and their commands are not read here; so each of their frames voids what the pool
//! has cached and closes its cache for a lease. A frame toward the server closes it before the write can be done, a
//! frame from the server before its acknowledgement goes on.
//!
//! Except the node's own TCP connections, if it serves the pool over TCP as well: the proxy that uses them notes each write
//! in the same epochs.

use fabric::io::PacketBuf;
use fabric::time::Nanos;

use super::MemcachedSwitch;

impl<P: PacketBuf> MemcachedSwitch<P> {
    /// Whether `frame` goes between a server and somebody else, by the service port.
    #[inline]
    pub(super) fn is_direct(&self, frame: &[u8], src_port: u16, dst_port: u16) -> bool {
        let service = self.state.address().service_port;
        if self.cache.is_none() || (src_port != service && dst_port != service) {
            return false;
        }
        self.touches_server(frame)
    }

    /// Whether `frame` comes from a server's MAC address, or goes to one, or to all by a group address.
    pub(super) fn touches_server(&self, frame: &[u8]) -> bool {
        let Some((dst, rest)) = frame.split_first_chunk::<6>() else { return false };
        let Some(src) = rest.first_chunk::<6>() else { return false };
        dst[0] & 1 == 1 || self.state.is_server(dst) || self.state.is_server(src)
    }

    pub(super) fn direct(&mut self, now: Nanos) {
        let Some(cache) = &self.cache else { return };
        self.counters.direct_frames += 1;
        self.state.coherence().bump_pool();
        self.state.coherence().close(now, now + cache.lease);
    }
}
