//! What an embedded pool is: a virtual address and who may use it.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use crate::packet::pool::NodeAddress;

/// A pool on the packet path whose store is the node's own. Every field is valid: the node's config has checked it.
#[derive(Clone, Debug)]
pub struct EmbeddedPool {
    /// Its name in counters and on the admin page.
    pub name: String,
    /// The address clients send to.
    pub vip: Ipv4Addr,
    /// The UDP port they send to.
    pub service_port: u16,
    /// The 802.1Q VLAN of the pool; `None` for untagged frames.
    pub vlan: Option<u16>,
    /// Who may use the pool. Others may get one key at a time, within the amplification limit.
    pub clients: Vec<Ipv4Net>,
    /// Bytes sent per byte received, at most, toward addresses off the allowlist.
    pub amplification_limit: f64,
    /// The node on this pool's network.
    pub node: NodeAddress,
}
