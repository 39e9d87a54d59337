//! ARP for IPv4 over Ethernet (RFC 826).

use std::net::Ipv4Addr;

use super::ethernet::{self, MacAddr};
use super::{EtherType, Malformed};

/// Bytes of an ARP packet for IPv4 over Ethernet.
pub const LEN: usize = 28;

/// What an ARP packet asks or says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Who has the target's address?
    Request,
    /// The sender has the sender's address.
    Reply,
}

/// A valid ARP packet for IPv4 over Ethernet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arp {
    /// Request or reply.
    pub operation: Operation,
    /// The MAC of who speaks.
    pub sender_mac: MacAddr,
    /// The address of who speaks.
    pub sender: Ipv4Addr,
    /// In a reply, the MAC of who asked.
    pub target_mac: MacAddr,
    /// The address asked for.
    pub target: Ipv4Addr,
}

/// Hardware type Ethernet, protocol type IPv4, lengths 6 and 4.
const KIND: [u8; 6] = [0, 1, 8, 0, 6, 4];

impl Arp {
    /// Reads an ARP packet; `None` if it is for other hardware, another protocol or another operation.
    ///
    /// # Errors
    /// [`Malformed::ArpTruncated`] if `bytes` end early.
    pub fn parse(bytes: &[u8]) -> Result<Option<Arp>, Malformed> {
        let packet = bytes.first_chunk::<LEN>().ok_or(Malformed::ArpTruncated)?;
        let operation = match packet[6..8] {
            [0, 1] => Operation::Request,
            [0, 2] => Operation::Reply,
            _ => return Ok(None),
        };
        if packet[..6] != KIND {
            return Ok(None);
        }
        let mac = |at: usize| MacAddr(std::array::from_fn(|byte| packet[at + byte]));
        let address = |at: usize| Ipv4Addr::from(std::array::from_fn::<u8, 4, _>(|byte| packet[at + byte]));
        Ok(Some(Arp {
            operation,
            sender_mac: mac(8),
            sender: address(14),
            target_mac: mac(18),
            target: address(24),
        }))
    }

    /// Writes the packet.
    ///
    /// # Panics
    /// If `bytes` are fewer than [`LEN`].
    pub fn write(&self, bytes: &mut [u8]) {
        bytes[..6].copy_from_slice(&KIND);
        bytes[6..8].copy_from_slice(match self.operation {
            Operation::Request => &[0, 1],
            Operation::Reply => &[0, 2],
        });
        bytes[8..14].copy_from_slice(&self.sender_mac.0);
        bytes[14..18].copy_from_slice(&self.sender.octets());
        bytes[18..24].copy_from_slice(&self.target_mac.0);
        bytes[24..28].copy_from_slice(&self.target.octets());
    }

    /// What `mac` answers to this request for its address.
    #[must_use]
    pub fn answer(&self, mac: MacAddr) -> Arp {
        Arp {
            operation: Operation::Reply,
            sender_mac: mac,
            sender: self.target,
            target_mac: self.sender_mac,
            target: self.sender,
        }
    }
}

/// Turns the frame of `request` into its answer by `mac`, tags kept.
///
/// # Panics
/// If `frame` is not the frame that `request` was read from, at `l3_offset`.
pub fn reply_in_place(frame: &mut [u8], l3_offset: usize, request: &Arp, mac: MacAddr) {
    ethernet::set_destination(frame, request.sender_mac);
    ethernet::set_source(frame, mac);
    debug_assert_eq!(frame[l3_offset - 2..l3_offset], EtherType::ARP.0.to_be_bytes());
    request.answer(mac).write(&mut frame[l3_offset..]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{Headers, Network};

    const REQUEST: [u8; 42] = [
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02, 0, 0, 0, 0, 0x0a, 0x08, 0x06, // Ethernet
        0, 1, 8, 0, 6, 4, 0, 1, // ARP request
        0x02, 0, 0, 0, 0, 0x0a, 10, 0, 0, 1, // sender
        0, 0, 0, 0, 0, 0, 10, 0, 0, 2, // target
    ];

    #[test]
    fn a_request_becomes_its_reply() {
        let mut frame = REQUEST;
        let headers = Headers::parse(&frame).unwrap();
        let Network::Arp(request) = headers.network else { panic!("{headers:?}") };
        assert_eq!(request.operation, Operation::Request);
        assert_eq!((request.sender, request.target), ([10, 0, 0, 1].into(), [10, 0, 0, 2].into()));

        let ours = MacAddr([2, 0, 0, 0, 0, 0x0b]);
        reply_in_place(&mut frame, headers.l3_offset, &request, ours);
        assert_eq!(ethernet::destination(&frame), Some(MacAddr([2, 0, 0, 0, 0, 0x0a])));
        assert_eq!(ethernet::source(&frame), Some(ours));
        let reply = Arp::parse(&frame[14..]).unwrap().unwrap();
        assert_eq!(reply, request.answer(ours));
        assert_eq!((reply.operation, reply.sender), (Operation::Reply, [10, 0, 0, 2].into()));
    }

    #[test]
    fn other_kinds_are_not_ours() {
        for at in 0..8 {
            let mut frame = REQUEST;
            frame[14 + at] = 9;
            assert_eq!(Headers::parse(&frame).unwrap().network, Network::Other);
        }
        assert_eq!(Headers::parse(&REQUEST[..41]), Err(Malformed::ArpTruncated));
    }
}
