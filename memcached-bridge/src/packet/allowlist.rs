//! Who may use a pool without limits.

use ipnet::Ipv4Net;

/// Networks, as masks and addresses.
#[derive(Clone, Debug)]
pub(super) struct Allowlist(Vec<(u32, u32)>);

impl Allowlist {
    pub(super) fn new(networks: &[Ipv4Net]) -> Self {
        Self(networks.iter().map(|net| (u32::from(net.netmask()), u32::from(net.network()))).collect())
    }

    #[inline]
    pub(super) fn allows(&self, client: u32) -> bool {
        self.0.iter().any(|(mask, network)| client & mask == *network)
    }
}
