//! Why a frame was not understood.

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $variant:ident => $name:literal,)+) => {
        /// Why a frame contradicts the protocol it claims to speak. Each reason is the name of a counter.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
        #[error("malformed frame: {}", self.name())]
        pub enum Malformed { $($(#[doc = $doc])+ $variant,)+ }

        impl Malformed {
            /// Every reason, in the order of [`index`](Malformed::index).
            pub const ALL: &'static [Malformed] = &[$(Malformed::$variant),+];

            /// The reason as a counter's name.
            pub fn name(self) -> &'static str {
                match self { $(Malformed::$variant => $name,)+ }
            }
        }
    };
}

reasons! {
    /// Fewer than the 14 bytes of an Ethernet header.
    Runt => "runt",
    /// The frame ends inside an 802.1Q tag.
    VlanTagTruncated => "vlan_tag_truncated",
    /// The frame ends inside an ARP packet for IPv4 over Ethernet.
    ArpTruncated => "arp_truncated",
    /// The frame ends inside the IPv4 header.
    Ipv4Truncated => "ipv4_truncated",
    /// EtherType IPv4, but the version field is not 4.
    Ipv4Version => "ipv4_version",
    /// The IPv4 header length is less than 20 bytes or more than the datagram.
    Ipv4HeaderLength => "ipv4_header_length",
    /// The IPv4 total length is less than the header or more than the frame.
    Ipv4TotalLength => "ipv4_total_length",
    /// The frame ends inside the IPv6 header.
    Ipv6Truncated => "ipv6_truncated",
    /// EtherType IPv6, but the version field is not 6.
    Ipv6Version => "ipv6_version",
    /// The IPv6 payload length is more than the frame.
    Ipv6PayloadLength => "ipv6_payload_length",
    /// The datagram ends inside an IPv6 extension header.
    Ipv6ExtensionTruncated => "ipv6_extension_truncated",
    /// More IPv6 extension headers than anyone sends in earnest.
    Ipv6ExtensionCount => "ipv6_extension_count",
    /// The datagram ends inside the UDP header.
    UdpTruncated => "udp_truncated",
    /// The UDP length is less than 8 or more than the datagram.
    UdpLength => "udp_length",
    /// The datagram ends inside the TCP header.
    TcpTruncated => "tcp_truncated",
    /// The TCP data offset is less than 20 bytes or more than the datagram.
    TcpDataOffset => "tcp_data_offset",
}

impl Malformed {
    /// The place of the reason in [`ALL`](Malformed::ALL), for a table of counters.
    pub fn index(self) -> usize {
        self as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_name_and_place() {
        let names: std::collections::HashSet<_> = Malformed::ALL.iter().map(|reason| reason.name()).collect();
        assert_eq!(names.len(), Malformed::ALL.len());
        for (place, reason) in Malformed::ALL.iter().enumerate() {
            assert_eq!(reason.index(), place);
        }
    }
}
