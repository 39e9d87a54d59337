//! How many packet buffers a packet path needs: while its pools hold all they may, its ports must still receive.

use fabric::worker::MAX_EMITTED;
use memcached_bridge::packet::HELD_PACKETS;

use super::types::Dataplane;

/// Packets that a worker's queues of one port hold at most: those of `net_af_xdp`, which take the most, 2048 to be filled
/// and about as many on their way out.
const OF_QUEUES: usize = 4096;
/// Packets on their way through a worker at most: emitted ones, and as many in its mailbox and its thread's cache.
const OF_WORKER: usize = 2 * MAX_EMITTED;

/// The packet buffers that `dataplane` with so many pools needs.
pub(super) fn needed(dataplane: &Dataplane, pools: usize) -> u32 {
    let ports = dataplane.ports.len() + usize::from(dataplane.host_interface.is_some());
    let of_each = OF_WORKER + ports * OF_QUEUES + pools * HELD_PACKETS;
    u32::try_from(dataplane.cores.len() * of_each).unwrap_or(u32::MAX)
}
