//! Replies of servers to clients, on their way past.
//!
//! They are looked at and switched on as they are. The reply to a write ends the write, before it goes on.

use fabric::function::Burst;
use fabric::io::PacketBuf;
use fabric::packet::udp4::Udp4;

use super::MemcachedSwitch;
use crate::coherence::{Ended, WriteId};
use crate::protocol::udp::Frame;
use crate::protocol::{Class, Dialect, Request, binary};

impl<P: PacketBuf> MemcachedSwitch<P> {
    pub(super) fn reply(&mut self, slot: usize, udp: Udp4, burst: &mut Burst<P>) {
        let Some(packet) = burst.undecided(slot) else { return };
        let bytes = packet.bytes();
        if !self.is_from_server(bytes) {
            self.counters.drop_forged_reply += 1;
            return Self::drop_slot(burst, slot);
        }
        if self.cache.is_none() {
            return;
        }
        let Some((frame, body)) = Frame::parse(&bytes[udp.payload..udp.end]) else { return };
        if frame.sequence == 0 {
            let id = self.state.write_id(udp.dst, udp.dst_port, frame.request_id);
            match may_acknowledge(body) {
                true => self.end_write(id),
                false if self.state.coherence().may_end_write(id) == Ended::Matched => {
                    self.counters.writes_acknowledged += 1;
                }
                false => {}
            }
        }
    }

    /// Whether `frame` comes from a server of the pool. Who else speaks for the virtual address forges.
    pub(super) fn is_from_server(&self, frame: &[u8]) -> bool {
        frame[6..].first_chunk().is_some_and(|mac| self.state.is_server(mac))
    }

    /// Ends write `id`, whose reply has come. If nobody waits for it, it was given up before: nothing cached can be
    /// trusted.
    pub(super) fn end_write(&mut self, id: WriteId) {
        match self.state.coherence().end_write(id) {
            Ended::Matched => self.counters.writes_acknowledged += 1,
            Ended::Unknown => self.void_unknown(),
        }
    }

    /// A write may have been acknowledged that nobody waits for.
    pub(super) fn void_unknown(&mut self) {
        self.state.coherence().bump_pool();
        self.counters.acknowledgements_unknown += 1;
    }
}

/// Whether a reply that begins so may be the answer to a write. When in doubt, it may.
pub(super) fn may_acknowledge(body: &[u8]) -> bool {
    const READS: [&[u8]; 8] =
        [b"VALUE ", b"END\r\n", b"VA ", b"EN\r\n", b"MN\r\n", b"ME ", b"STAT ", b"VERSION "];
    match body.first() {
        None => false,
        Some(&binary::MAGIC_RESPONSE) => body.get(1).is_none_or(|opcode| binary_writes(*opcode)),
        Some(_) => !READS.iter().any(|read| body.starts_with(read)),
    }
}

fn binary_writes(opcode: u8) -> bool {
    binary::command(opcode).is_none_or(|command| {
        let request = Request::new(command.verb, Dialect::Binary { opcode, opaque: 0 });
        matches!(request.class(), Class::Write | Class::WriteAll)
    })
}

#[cfg(test)]
mod tests {
    use super::may_acknowledge;

    #[test]
    fn replies_to_writes_are_told_from_replies_to_reads() {
        for read in
            ["VALUE k 0 1\r\nx\r\nEND\r\n", "END\r\n", "VA 1 f0\r\nx\r\n", "EN\r\n", "STAT pid 1\r\n", ""]
        {
            assert!(!may_acknowledge(read.as_bytes()), "{read:?}");
        }
        for write in
            ["STORED\r\n", "EXISTS\r\n", "HD\r\n", "7\r\n", "OK\r\n", "SERVER_ERROR x\r\n", "TOUCHED\r\n"]
        {
            assert!(may_acknowledge(write.as_bytes()), "{write:?}");
        }
    }
}
