//! Datagrams that the node makes itself.

use fabric::function::Context;
use fabric::io::PacketBuf;
use fabric::packet::checksum::Sum;
use fabric::packet::ethernet::MacAddr;
use fabric::packet::udp4::{self, IP_AND_UDP, TTL, Udp4Spec};

use super::MemcachedSwitch;
use super::upstream::RequestId;
use crate::hashing::MemberIndex;
use crate::protocol::udp::{FRAME_LEN, Frame};

/// The UDP payload of a full reply datagram: as long as memcached's own, so that clients need no larger buffers.
const DATAGRAM: usize = 1400;
/// memcached bytes of one reply datagram.
pub(super) const BODY: usize = DATAGRAM - FRAME_LEN;
/// The IP packet of a full reply datagram, memcached's or the node's. Over a smaller MTU a server's replies come in
/// fragments, which do not say which write they acknowledge, and the node's own do not pass.
pub const REPLY_PACKET_BYTES: usize = DATAGRAM + IP_AND_UDP;

/// Who asked, and where the answer goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Client {
    pub(super) mac: MacAddr,
    pub(super) ip: u32,
    pub(super) port: u16,
    pub(super) request_id: u16,
}

/// A datagram addressed by `spec`, with `frame` and then `body`, stretch by stretch, `len` bytes in all.
/// `None` if there is no packet buffer, or none so large.
fn datagram<'a, P: PacketBuf>(
    context: &mut dyn Context<P>,
    spec: &Udp4Spec,
    frame: Frame,
    len: usize,
    body: impl Iterator<Item = &'a [u8]>,
) -> Option<P> {
    let mut packet = context.allocate()?;
    let start = spec.headers_len();
    packet.set_len(start + FRAME_LEN + len).ok()?;
    let payload = &mut packet.bytes_mut()[start..];
    payload[..FRAME_LEN].copy_from_slice(&frame.to_bytes());
    let mut at = FRAME_LEN;
    for stretch in body {
        payload[at..at + stretch.len()].copy_from_slice(stretch);
        at += stretch.len();
    }
    let sum = Sum::of(payload);
    udp4::write_headers(packet.bytes_mut(), spec, FRAME_LEN + len, sum);
    Some(packet)
}

/// For whom a reply is sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source {
    pub(super) mac: MacAddr,
    pub(super) vlan: u16,
    pub(super) ip: u32,
    pub(super) port: u16,
}

/// The packet pool is empty, or its packets are too small.
#[derive(Clone, Copy, Debug)]
pub(super) struct NoBuffer;

/// Sends `body` to `client`, in as many datagrams as it takes, and returns how many. The stretches are `len` bytes in
/// all.
pub(super) fn send_reply<'a, P: PacketBuf>(
    from: &Source,
    client: &Client,
    len: usize,
    body: impl Iterator<Item = &'a [u8]>,
    context: &mut dyn Context<P>,
) -> Result<u16, NoBuffer> {
    let spec = Udp4Spec {
        dst_mac: client.mac,
        src_mac: from.mac,
        vlan: from.vlan,
        src: from.ip,
        dst: client.ip,
        src_port: from.port,
        dst_port: client.port,
        ttl: TTL,
        id: 0,
    };
    let total = len.div_ceil(BODY).max(1);
    let mut stretches = Cutter::new(body);
    for sequence in 0..total {
        let size = (len - sequence * BODY).min(BODY);
        let frame = Frame { request_id: client.request_id, sequence: sequence as u16, total: total as u16 };
        let packet = datagram(context, &spec, frame, size, stretches.next_bytes(size)).ok_or(NoBuffer)?;
        context.emit(packet);
    }
    Ok(total as u16)
}

impl<P: PacketBuf> MemcachedSwitch<P> {
    /// Sends `body` to `client` from the virtual address, in as many datagrams as it takes. The stretches are `len`
    /// bytes in all.
    pub(super) fn send_reply<'a>(
        &mut self,
        client: &Client,
        len: usize,
        body: impl Iterator<Item = &'a [u8]>,
        context: &mut dyn Context<P>,
    ) {
        let at = self.state.address();
        let from = Source { mac: self.pool().node.mac, vlan: at.vlan, ip: at.vip, port: at.service_port };
        if send_reply(&from, client, len, body, context).is_err() {
            self.counters.drop_no_buffer += 1;
        }
    }

    /// Sends an error line to `client`.
    pub(super) fn send_error(&mut self, client: &Client, line: &str, context: &mut dyn Context<P>) {
        let stretches = [line.as_bytes(), b"\r\n"];
        self.send_reply(client, line.len() + 2, stretches.into_iter(), context);
    }

    /// Sends a request of the node's own to a server. `false` if there was no packet buffer.
    pub(super) fn send_upstream(
        &mut self,
        server: MemberIndex,
        id: RequestId,
        body: &[&[u8]],
        context: &mut dyn Context<P>,
    ) -> bool {
        let at = self.state.address();
        let spec = Udp4Spec {
            dst_mac: self.state.server_mac(server),
            src_mac: self.pool().node.mac,
            vlan: at.vlan,
            src: at.node,
            dst: at.vip,
            src_port: self.own_port(),
            dst_port: at.service_port,
            ttl: TTL,
            id: 0,
        };
        let len = body.iter().map(|stretch| stretch.len()).sum();
        let Some(packet) = datagram(context, &spec, Frame::single(id.0), len, body.iter().copied()) else {
            self.counters.drop_no_buffer += 1;
            return false;
        };
        context.emit(packet);
        true
    }

    /// This worker's source port toward the servers.
    pub(super) fn own_port(&self) -> u16 {
        self.state.address().upstream_port + self.worker.0
    }
}

/// Cuts a sequence of stretches at new places.
struct Cutter<'a, I> {
    stretches: I,
    rest: &'a [u8],
}

impl<'a, I: Iterator<Item = &'a [u8]>> Cutter<'a, I> {
    fn new(stretches: I) -> Self {
        Self { stretches, rest: &[] }
    }

    /// The next `size` bytes, stretch by stretch; fewer at the end.
    fn next_bytes(&mut self, mut size: usize) -> impl Iterator<Item = &'a [u8]> + '_ {
        std::iter::from_fn(move || {
            if size == 0 {
                return None;
            }
            while self.rest.is_empty() {
                self.rest = self.stretches.next()?;
            }
            let (now, later) = self.rest.split_at(size.min(self.rest.len()));
            self.rest = later;
            size -= now.len();
            Some(now)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_are_cut_where_asked() {
        let mut cutter = Cutter::new([&b"abc"[..], b"", b"defgh"].into_iter());
        let mut next = |size| cutter.next_bytes(size).collect::<Vec<_>>().concat();
        assert_eq!(next(2), b"ab");
        assert_eq!(next(4), b"cdef");
        assert_eq!(next(9), b"gh");
    }
}
