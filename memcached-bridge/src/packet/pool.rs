//! What a pool on the packet path is: its virtual address, its servers, its limits.

use std::net::Ipv4Addr;
use std::time::Duration;

use fabric::io::PortId;
use fabric::packet::ethernet::MacAddr;
use ipnet::Ipv4Net;

use crate::hashing::{Distribution, KeyHash, Member, Ring, RingError};
use crate::members::MemberPool;

/// One memcached server of a pool. Several servers share the pool's virtual address; the MAC tells them apart.
#[derive(Clone, Debug)]
pub struct Server {
    /// The name the key distribution hashes (`host:port` or an alias, as twemproxy has it).
    pub name: String,
    /// Where requests for its keys are sent.
    pub mac: MacAddr,
    /// The switch port it is attached to, if the operator pinned it there.
    pub port: Option<PortId>,
    /// Its share of the keys, relative to the others'.
    pub weight: u32,
}

/// The node's own address on the pool's network, from which it asks servers itself.
#[derive(Clone, Copy, Debug)]
pub struct NodeAddress {
    /// Source MAC of what the node sends; also the answer to ARP requests for the virtual address.
    pub mac: MacAddr,
    /// Source address of what the node sends.
    pub ip: Ipv4Addr,
    /// Whether the host kernel owns [`ip`](NodeAddress::ip) and answers ARP for it.
    pub kernel_answers_arp: bool,
}

/// The hot-key cache of a pool.
#[derive(Clone, Copy, Debug)]
pub struct CacheLimits {
    /// Bytes of each worker's hot table, index included.
    pub capacity_bytes: usize,
    /// How long a value is answered after the request that fetched it was sent.
    pub lease: Duration,
    /// Requests for one key within [`HOT_WINDOW`](super::HOT_WINDOW) that make it hot.
    pub hot_threshold: u16,
}

/// How servers are watched.
#[derive(Clone, Copy, Debug)]
pub struct Probing {
    /// Time between two probes of a server; a probe not answered by the next one counts as a failure.
    pub interval: Duration,
    /// Failures in a row after which a server is taken for dead.
    pub failures: u32,
    /// Whether the keys of a dead server go to the others until it answers again.
    pub auto_eject: bool,
}

/// A pool on the packet path. Every field is valid: the node's config has checked it.
#[derive(Clone, Debug)]
pub struct Pool {
    /// Its name in counters and on the admin page.
    pub name: String,
    /// The address clients send to; every server has it on its loopback interface.
    pub vip: Ipv4Addr,
    /// The UDP port of the servers.
    pub service_port: u16,
    /// The 802.1Q VLAN of the pool; `None` for untagged frames.
    pub vlan: Option<u16>,
    /// At least one server.
    pub servers: Vec<Server>,
    /// How hashed keys are spread over servers.
    pub distribution: Distribution,
    /// How keys are hashed for the distribution.
    pub key_hash: KeyHash,
    /// If set, only what stands between the two bytes is hashed.
    pub hash_tag: Option<[u8; 2]>,
    /// Who may use the pool. Others get only cached answers within the amplification limit.
    pub clients: Vec<Ipv4Net>,
    /// Bytes sent per byte received, at most, toward addresses off the allowlist.
    pub amplification_limit: f64,
    /// Whether the node serves the pool over TCP, too, and notes there what its own connections to servers write.
    pub tracks_tcp: bool,
    /// The hot-key cache; `None` switches it off, and with it all tracking of writes.
    pub cache: Option<CacheLimits>,
    /// How servers are watched.
    pub probing: Probing,
    /// The node on this pool's network.
    pub node: NodeAddress,
    /// The node's source port toward the servers on worker 0; worker `w` uses the `w`-th after it.
    pub upstream_port: u16,
}

impl MemberPool for Pool {
    fn servers(&self) -> usize {
        self.servers.len()
    }

    fn ring(&self, alive: &[bool]) -> Result<Ring, RingError> {
        let member = |(server, alive): (&Server, &bool)| Member {
            name: server.name.clone(),
            weight: server.weight,
            alive: *alive,
        };
        let members: Vec<Member> = self.servers.iter().zip(alive).map(member).collect();
        Ring::build(self.distribution, self.key_hash, self.hash_tag, &members)
    }

    fn auto_eject(&self) -> bool {
        self.probing.auto_eject
    }

    fn lease(&self) -> Option<Duration> {
        self.cache.map(|cache| cache.lease)
    }
}
