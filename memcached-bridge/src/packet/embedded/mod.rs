//! A pool without servers behind it: the node itself answers, from the embedded store.
//!
//! Each datagram to the virtual address runs through a [`Session`](crate::session::Session) of its own, the same that
//! serves kernel sockets, and against the same [`Server`](crate::session::Server): all that memcached takes over UDP is
//! taken here. The request becomes its reply where it lies; a longer one follows in datagrams of its own.
//!
//! ```text
//!  burst ─► whose is it? ─┬─ datagram to the virtual address ─► session ─┬► one datagram: in place       (request)
//!                         │                                              ├► several: new packets
//!                         │                                              └► the store is held: later     (waiting)
//!                         ├─ ARP for the virtual address ─► answer
//!                         ├─ TCP, fragments, options to it ─► the host, where the embedded server's sockets are
//!                         └─ a reply from it that the node did not send ─► drop
//! ```
//!
//! **What the store costs a worker.** Its shards have locks, which threads of kernel sockets share. A worker looks at a
//! held one a few times and then puts the request off: to the next burst, or the next tick. Requests that wait are bounded
//! in number and time, and may be overtaken, as datagrams may. A get allocates nothing; a write allocates its item and
//! frees what makes room for it, and when a shard grows, moves its index. [`MAX_ITEM_BYTES`] bounds how long one item can
//! take.
//!
//! A hot table before this store would bring nothing: the store is as near.

mod counters;
mod pool;
mod request;
mod state;
mod waiting;

use std::sync::Arc;

use fabric::counters::Published;
use fabric::function::{Burst, Context, NetworkFunction, Verdict, WorkerId};
use fabric::io::PacketBuf;
use fabric::packet::udp4::Udp4;
use fabric::packet::{Headers, Network, Transport, udp};

pub use counters::EmbeddedCounters;
pub use pool::EmbeddedPool;
pub use state::EmbeddedState;

use super::arp;
use waiting::WaitingRoom;

/// The largest item of a store on the packet path, in bytes as memcached measures it: what one reply can carry, and what a
/// worker may spend its time on.
pub const MAX_ITEM_BYTES: usize = 1 << 20;

/// The network function of one embedded pool on one worker.
pub struct EmbeddedServer<P> {
    state: Arc<EmbeddedState>,
    waiting: WaitingRoom,
    counters: EmbeddedCounters,
    published: Arc<Published>,
    /// Scratch of one request: its reply.
    out: Vec<u8>,
    _packets: std::marker::PhantomData<fn() -> P>,
}

impl<P: PacketBuf> EmbeddedServer<P> {
    /// The function of the pool behind `state` for worker `worker`.
    pub fn new(state: Arc<EmbeddedState>, worker: WorkerId) -> Self {
        Self {
            waiting: WaitingRoom::new(),
            counters: EmbeddedCounters::default(),
            published: state.of_worker(worker),
            out: Vec::with_capacity(request::USUAL_REPLY_BYTES),
            state,
            _packets: std::marker::PhantomData,
        }
    }

    fn pool(&self) -> &EmbeddedPool {
        self.state.pool()
    }

    fn vlan(&self) -> u16 {
        self.pool().vlan.unwrap_or(0)
    }

    /// Whether a frame is for the node, rather than switched past it.
    fn is_for_node(&self, frame: &[u8]) -> bool {
        frame[..6] == self.pool().node.mac.0
    }

    /// A UDP packet that may be the pool's.
    fn datagram(&mut self, slot: usize, udp: &Udp4, burst: &mut Burst<P>, context: &mut dyn Context<P>) {
        let Some(packet) = burst.packet(slot) else { return };
        let (vip, port) = (u32::from(self.pool().vip), self.pool().service_port);
        if udp.dst == vip && udp.dst_port == port && self.is_for_node(packet.bytes()) {
            self.request(slot, udp, burst, context);
        } else if udp.src == vip && udp.src_port == port && !self.is_from_node(packet.bytes()) {
            self.counters.drop_forged_reply += 1;
            burst.decide(slot, Verdict::Drop);
        }
    }

    /// Who else speaks for the virtual address forges: only the host's kernel does, under the node's MAC address, which is
    /// pinned to its port.
    fn is_from_node(&self, frame: &[u8]) -> bool {
        frame[6..12] == self.pool().node.mac.0
    }

    /// ARP, a fragment, TCP, options, IPv6: what is the pool's of these.
    fn odd(&mut self, slot: usize, burst: &mut Burst<P>) {
        let Some(packet) = burst.undecided(slot) else { return };
        let Ok(headers) = Headers::parse(packet.bytes()) else { return };
        if headers.vlan.unwrap_or(0) != self.vlan() {
            return;
        }
        match &headers.network {
            Network::Arp(request) => {
                let (node, vip) = (self.pool().node, self.pool().vip);
                if arp::answer(slot, &headers, request, &node, vip, burst) {
                    self.counters.arp_replies += 1;
                }
            }
            Network::Ipv4(ipv4) if ipv4.dst == self.pool().vip => self.counters.left_to_host += 1,
            Network::Ipv4(ipv4) if ipv4.src == self.pool().vip => {
                let is_reply = match &headers.transport {
                    Transport::Udp(udp) => udp.src_port == self.pool().service_port,
                    Transport::Fragment => ipv4.protocol == udp::PROTOCOL,
                    Transport::Tcp(_) | Transport::Other => false,
                };
                if is_reply && !self.is_from_node(packet.bytes()) {
                    self.counters.drop_forged_reply += 1;
                    burst.decide(slot, Verdict::Drop);
                }
            }
            _ => {}
        }
    }
}

impl<P: PacketBuf> NetworkFunction<P> for EmbeddedServer<P> {
    fn name(&self) -> &'static str {
        "embedded memcached"
    }

    fn process(&mut self, burst: &mut Burst<P>, context: &mut dyn Context<P>) {
        self.resume(context);
        for slot in 0..burst.len() {
            let Some(packet) = burst.undecided(slot) else { continue };
            match Udp4::parse(packet.bytes()) {
                Some(udp) if udp.vlan == self.vlan() => self.datagram(slot, &udp, burst, context),
                Some(_) => {}
                None => self.odd(slot, burst),
            }
        }
    }

    fn tick(&mut self, context: &mut dyn Context<P>) {
        self.resume(context);
    }

    fn publish(&mut self) {
        self.published.publish(&self.counters);
    }
}
