//! ARP for the addresses that the node answers to.

use std::net::Ipv4Addr;

use fabric::function::{Burst, Verdict};
use fabric::io::PacketBuf;
use fabric::packet::Headers;
use fabric::packet::arp::{self, Arp, Operation};

use super::MemcachedSwitch;
use super::pool::NodeAddress;

/// Answers a request for `vip`, or for the address of `node` if the host kernel does not, on the pool's VLAN. Whether it
/// was one.
pub(super) fn answer<P: PacketBuf>(
    slot: usize,
    headers: &Headers,
    request: &Arp,
    node: &NodeAddress,
    vip: Ipv4Addr,
    burst: &mut Burst<P>,
) -> bool {
    let ours = request.target == vip || (request.target == node.ip && !node.kernel_answers_arp);
    let asked = request.operation == Operation::Request && request.sender != request.target;
    if !ours || !asked {
        return false;
    }
    let Some(packet) = burst.undecided(slot) else { return false };
    arp::reply_in_place(packet.bytes_mut(), headers.l3_offset, request, node.mac);
    burst.decide(slot, Verdict::Reply);
    true
}

impl<P: PacketBuf> MemcachedSwitch<P> {
    pub(super) fn arp(&mut self, slot: usize, headers: &Headers, request: &Arp, burst: &mut Burst<P>) {
        if headers.vlan.unwrap_or(0) != self.state.address().vlan {
            return;
        }
        let (node, vip) = (self.pool().node, self.pool().vip);
        if answer(slot, headers, request, &node, vip, burst) {
            self.counters.arp_replies += 1;
        }
    }
}
