//! The frame before every memcached datagram (`doc/protocol.txt`, "UDP protocol").

/// Bytes of a frame.
pub const FRAME_LEN: usize = 8;

/// Which datagram of which request this is. The reserved last two bytes are ignored, and written as zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Frame {
    /// Chosen by the client; every datagram of the reply repeats it.
    pub request_id: u16,
    /// The datagram's number in its message, from 0.
    pub sequence: u16,
    /// How many datagrams the message has. memcached refuses requests of more than one.
    pub total: u16,
}

impl Frame {
    /// The frame of a message of one datagram.
    pub fn single(request_id: u16) -> Self {
        Self { request_id, sequence: 0, total: 1 }
    }

    /// Splits a datagram into its frame and what follows; `None` if it is shorter than a frame.
    pub fn parse(datagram: &[u8]) -> Option<(Frame, &[u8])> {
        let (&[a, b, c, d, e, f, _, _], payload) = datagram.split_first_chunk::<FRAME_LEN>()?;
        let frame = Frame {
            request_id: u16::from_be_bytes([a, b]),
            sequence: u16::from_be_bytes([c, d]),
            total: u16::from_be_bytes([e, f]),
        };
        Some((frame, payload))
    }

    /// The frame on the wire.
    pub fn to_bytes(self) -> [u8; FRAME_LEN] {
        let [a, b] = self.request_id.to_be_bytes();
        let [c, d] = self.sequence.to_be_bytes();
        let [e, f] = self.total.to_be_bytes();
        [a, b, c, d, e, f, 0, 0]
    }

    /// Whether a request in this frame is one that memcached takes: the only datagram of its message.
    pub fn is_single(self) -> bool {
        self.sequence == 0 && self.total == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_round_trip_and_the_reserved_bytes_do_not_matter() {
        let frame = Frame { request_id: 0x0102, sequence: 3, total: 0xff04 };
        let mut datagram = frame.to_bytes().to_vec();
        assert_eq!(datagram, [1, 2, 0, 3, 0xff, 4, 0, 0]);
        datagram[7] = 9;
        datagram.extend(b"END\r\n");
        assert_eq!(Frame::parse(&datagram), Some((frame, &b"END\r\n"[..])));
        assert_eq!(Frame::parse(&datagram[..7]), None);
        assert_eq!(Frame::parse(&datagram[..8]), Some((frame, &b""[..])));
    }
}
