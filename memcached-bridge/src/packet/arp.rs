//! ARP for the addresses that the node answers to.

use fabric::function::{Burst, Verdict};
use fabric::io::PacketBuf;
use fabric::packet::Headers;
use fabric::packet::arp::{self, Arp, Operation};

use super::MemcachedSwitch;

impl<P: PacketBuf> MemcachedSwitch<P> {
    /// Answers a request for the virtual address, or for the node's own if the host kernel does not.
    pub(super) fn arp(&mut self, slot: usize, headers: &Headers, request: &Arp, burst: &mut Burst<P>) {
        let node = self.pool().node;
        let ours =
            request.target == self.pool().vip || (request.target == node.ip && !node.kernel_answers_arp);
        let asked = request.operation == Operation::Request && request.sender != request.target;
        if !ours || !asked || headers.vlan.unwrap_or(0) != self.state.address().vlan {
            return;
        }
        let Some(packet) = burst.undecided(slot) else { return };
        arp::reply_in_place(packet.bytes_mut(), headers.l3_offset, request, node.mac);
        burst.decide(slot, Verdict::Reply);
        self.counters.arp_replies += 1;
    }
}
