//! Ethernet II with up to two VLAN tags (IEEE 802.3, 802.1Q).

use std::fmt;
use std::str::FromStr;

use super::Malformed;

/// Bytes of a header without tags.
pub const HEADER_LEN: usize = 14;
/// Bytes of one VLAN tag.
pub const TAG_LEN: usize = 4;

/// A MAC address, in the order of the wire.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MacAddr(pub [u8; 6]);

impl MacAddr {
    /// The address of all stations.
    pub const BROADCAST: MacAddr = MacAddr([0xff; 6]);

    /// Whether it names a group of stations; broadcast is one.
    pub fn is_multicast(self) -> bool {
        self.0[0] & 1 == 1
    }

    /// Whether it is one of 01:80:c2:00:00:00 to 0f, which a bridge does not forward (802.1Q, table 8-1).
    pub fn is_link_local_group(self) -> bool {
        self.to_u64() & !0xf == 0x0180_c200_0000
    }

    /// The address as a number below 2^48, first byte highest.
    pub fn to_u64(self) -> u64 {
        let [a, b, c, d, e, f] = self.0;
        u64::from_be_bytes([0, 0, a, b, c, d, e, f])
    }

    /// The address that the low 48 bits of `number` are.
    pub fn from_u64(number: u64) -> MacAddr {
        let [_, _, mac @ ..] = number.to_be_bytes();
        MacAddr(mac)
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, f] = self.0;
        write!(out, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
    }
}

impl fmt::Debug for MacAddr {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

/// The text is not a MAC address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a MAC address; write six bytes in hex with colons, like 02:00:00:00:00:01")]
pub struct NotAMac(String);

impl FromStr for MacAddr {
    type Err = NotAMac;

    fn from_str(text: &str) -> Result<Self, NotAMac> {
        let wrong = || NotAMac(text.to_owned());
        let mut mac = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut mac {
            let part = parts.next().filter(|part| (1..=2).contains(&part.len())).ok_or_else(wrong)?;
            if part.starts_with('+') {
                return Err(wrong());
            }
            *byte = u8::from_str_radix(part, 16).map_err(|_| wrong())?;
        }
        if parts.next().is_some() { Err(wrong()) } else { Ok(MacAddr(mac)) }
    }
}

/// What follows an Ethernet header, by its IEEE number. Below 0x0600 it is the length of an 802.2 frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EtherType(pub u16);

impl EtherType {
    /// IPv4.
    pub const IPV4: EtherType = EtherType(0x0800);
    /// ARP.
    pub const ARP: EtherType = EtherType(0x0806);
    /// An 802.1Q customer tag.
    pub const VLAN: EtherType = EtherType(0x8100);
    /// An 802.1ad service tag.
    pub const SERVICE_VLAN: EtherType = EtherType(0x88a8);
    /// IPv6.
    pub const IPV6: EtherType = EtherType(0x86dd);

    /// Whether a VLAN tag follows.
    pub fn is_tag(self) -> bool {
        matches!(self, EtherType::VLAN | EtherType::SERVICE_VLAN)
    }
}

/// The destination MAC, if the frame has one.
pub fn destination(frame: &[u8]) -> Option<MacAddr> {
    frame.first_chunk().map(|mac| MacAddr(*mac))
}

/// The source MAC, if the frame has one.
pub fn source(frame: &[u8]) -> Option<MacAddr> {
    frame.first_chunk::<12>()?.last_chunk().map(|mac| MacAddr(*mac))
}

/// Writes the destination MAC.
///
/// # Panics
/// If the frame is shorter than 6 bytes.
pub fn set_destination(frame: &mut [u8], mac: MacAddr) {
    frame[..6].copy_from_slice(&mac.0);
}

/// Writes the source MAC.
///
/// # Panics
/// If the frame is shorter than 12 bytes.
pub fn set_source(frame: &mut [u8], mac: MacAddr) {
    frame[6..12].copy_from_slice(&mac.0);
}

/// A valid Ethernet header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ethernet {
    /// Whom it is for.
    pub dst: MacAddr,
    /// Whom it is from.
    pub src: MacAddr,
    /// The VLAN id of the outermost tag, 0 for a tag that carries priority only.
    pub vlan: Option<u16>,
    /// What follows, after the tags.
    pub ethertype: EtherType,
    /// Where that begins: 14, 18 or 22.
    pub l3_offset: usize,
}

impl Ethernet {
    /// Reads the header and up to two tags. A third tag is left as an EtherType that no one here understands.
    ///
    /// # Errors
    /// [`Malformed`] if the frame ends before the header does.
    pub fn parse(frame: &[u8]) -> Result<Ethernet, Malformed> {
        let header = frame.first_chunk::<HEADER_LEN>().ok_or(Malformed::Runt)?;
        let [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, t0, t1] = *header;
        let mut ethernet = Ethernet {
            dst: MacAddr([d0, d1, d2, d3, d4, d5]),
            src: MacAddr([s0, s1, s2, s3, s4, s5]),
            vlan: None,
            ethertype: EtherType(u16::from_be_bytes([t0, t1])),
            l3_offset: HEADER_LEN,
        };
        while ethernet.ethertype.is_tag() && ethernet.l3_offset < HEADER_LEN + 2 * TAG_LEN {
            let rest = &frame[ethernet.l3_offset..];
            let [c0, c1, t0, t1] = *rest.first_chunk::<TAG_LEN>().ok_or(Malformed::VlanTagTruncated)?;
            ethernet.vlan.get_or_insert(u16::from_be_bytes([c0, c1]) & 0x0fff);
            ethernet.ethertype = EtherType(u16::from_be_bytes([t0, t1]));
            ethernet.l3_offset += TAG_LEN;
        }
        Ok(ethernet)
    }

    /// Writes the header with an 802.1Q tag if there is a VLAN, and returns where the next header begins.
    ///
    /// # Panics
    /// If `frame` is too short: 14 bytes, or 18 with a VLAN.
    pub fn write(&self, frame: &mut [u8]) -> usize {
        set_destination(frame, self.dst);
        set_source(frame, self.src);
        let Some(vlan) = self.vlan else {
            frame[12..14].copy_from_slice(&self.ethertype.0.to_be_bytes());
            return HEADER_LEN;
        };
        frame[12..14].copy_from_slice(&EtherType::VLAN.0.to_be_bytes());
        frame[14..16].copy_from_slice(&(vlan & 0x0fff).to_be_bytes());
        frame[16..18].copy_from_slice(&self.ethertype.0.to_be_bytes());
        HEADER_LEN + TAG_LEN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mac_text() {
        let mac: MacAddr = "02:00:5e:10:00:ff".parse().unwrap();
        assert_eq!(mac, MacAddr([2, 0, 0x5e, 0x10, 0, 0xff]));
        assert_eq!(mac.to_string(), "02:00:5e:10:00:ff");
        assert_eq!(MacAddr::from_u64(mac.to_u64()), mac);
        for wrong in [
            "",
            "02",
            "02:00:5e:10:00",
            "02:00:5e:10:00:ff:00",
            "02:00:5e:10:00:1ff",
            "g:0:0:0:0:0",
            "+1:0:0:0:0:0",
        ] {
            assert!(wrong.parse::<MacAddr>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn kinds_of_mac() {
        assert!(MacAddr::BROADCAST.is_multicast());
        assert!(!MacAddr([2, 0, 0, 0, 0, 1]).is_multicast());
        assert!(MacAddr([1, 0x80, 0xc2, 0, 0, 0x0e]).is_link_local_group());
        assert!(!MacAddr([1, 0x80, 0xc2, 0, 0, 0x10]).is_link_local_group());
    }

    #[test]
    fn tags() {
        let mut frame = [0_u8; 26];
        frame[12..14].copy_from_slice(&[0x88, 0xa8]);
        frame[14..16].copy_from_slice(&[0xe0, 0x05]);
        frame[16..18].copy_from_slice(&[0x81, 0x00]);
        frame[18..20].copy_from_slice(&[0x00, 0x07]);
        frame[20..22].copy_from_slice(&[0x08, 0x00]);
        let ethernet = Ethernet::parse(&frame).unwrap();
        assert_eq!((ethernet.vlan, ethernet.ethertype, ethernet.l3_offset), (Some(5), EtherType::IPV4, 22));

        frame[20..22].copy_from_slice(&[0x81, 0x00]);
        let ethernet = Ethernet::parse(&frame).unwrap();
        assert_eq!((ethernet.ethertype, ethernet.l3_offset), (EtherType::VLAN, 22));

        assert_eq!(Ethernet::parse(&frame[..13]), Err(Malformed::Runt));
        assert_eq!(Ethernet::parse(&frame[..17]), Err(Malformed::VlanTagTruncated));
        assert_eq!(Ethernet::parse(&frame[..21]), Err(Malformed::VlanTagTruncated));
    }

    #[test]
    fn written_is_read() {
        for vlan in [None, Some(0), Some(4095)] {
            let l3_offset = if vlan.is_some() { 18 } else { 14 };
            let ethernet = Ethernet {
                dst: MacAddr([2, 0, 0, 0, 0, 1]),
                src: MacAddr([2, 0, 0, 0, 0, 2]),
                vlan,
                ethertype: EtherType::IPV6,
                l3_offset,
            };
            let mut frame = [0; 18];
            assert_eq!(ethernet.write(&mut frame), l3_offset);
            assert_eq!(Ethernet::parse(&frame), Ok(ethernet));
            assert_eq!(destination(&frame), Some(ethernet.dst));
            assert_eq!(source(&frame), Some(ethernet.src));
        }
    }
}
