//! One request and its reply.

use std::ops::Range;

use fabric::function::{Burst, Context, Verdict};
use fabric::io::PacketBuf;
use fabric::packet::checksum::Sum;
use fabric::packet::udp4::{self, IP_AND_UDP, Udp4};
use fabric::worker::MAX_EMITTED;

use super::EmbeddedServer;
use super::waiting::Waiting;
use crate::packet::request::client;
use crate::packet::wire::{self, BODY, Client, Source};
use crate::protocol::udp::{FRAME_LEN, Frame};
use crate::protocol::{binary, single_get};
use crate::session::datagram::{Exchange, NoReply, Proceeded};
use crate::session::{OUTPUT_BYTES, Session};

/// Bytes that most replies do not exceed: many small values, or the larger part of a large one.
pub(super) const USUAL_REPLY_BYTES: usize = 2 * OUTPUT_BYTES;
/// The longest reply in bytes on the wire: as many datagrams as a worker can have waiting to be sent.
const MAX_REPLY_BYTES: usize = MAX_EMITTED * (BODY + FRAME_LEN);

/// A request that may be carried out.
struct Asked {
    client: Client,
    /// Where its commands are in the frame.
    commands: Range<usize>,
    /// Bytes of its reply on the wire, at most.
    limit: usize,
}

impl<P: PacketBuf> EmbeddedServer<P> {
    /// A datagram to the virtual address, in one packet.
    pub(super) fn request(
        &mut self,
        slot: usize,
        udp: &Udp4,
        burst: &mut Burst<P>,
        context: &mut dyn Context<P>,
    ) {
        let Some(packet) = burst.undecided(slot) else { return };
        let Some(Asked { client, commands, limit }) = self.admit(packet.bytes(), udp) else {
            return burst.decide(slot, Verdict::Drop);
        };
        let now = self.state.time(context.now());
        let mut exchange = Exchange::new(Session::impatient());
        let mut out = std::mem::take(&mut self.out);
        out.clear();
        let proceeded =
            exchange.proceed(&packet.bytes()[commands.clone()], self.state.server(), now, limit, &mut out);
        let mut verdict = Verdict::Drop;
        match proceeded {
            Ok(Proceeded::Replied)
                if out.len() <= BODY && answer_in_place(packet, udp, client.request_id, &out) =>
            {
                self.counters.answered += 1;
                verdict = Verdict::Reply;
            }
            Ok(Proceeded::Replied) => self.reply(&client, &out, context),
            Ok(Proceeded::Busy) => {
                self.counters.store_held += 1;
                let request = &packet.bytes()[commands];
                let entered = self.waiting.enter(client, limit, exchange, request, &out, context.now());
                self.counters.drop_store_held += u64::from(!entered);
            }
            Err(reason) => self.end_unanswered(reason, &client, &packet.bytes()[commands], context),
        }
        burst.decide(slot, verdict);
        self.out = out;
    }

    /// Goes on with requests that wait for the store, up to the first that still has to.
    pub(super) fn resume(&mut self, context: &mut dyn Context<P>) {
        let at = context.now();
        while let Some(mut waiting) = self.waiting.first() {
            let expired = waiting.has_waited_too_long(at);
            let Waiting { client, limit, exchange, commands, out, .. } = &mut waiting;
            let proceeded = exchange.proceed(commands, self.state.server(), self.state.time(at), *limit, out);
            match proceeded {
                Ok(Proceeded::Busy) if expired => self.counters.drop_store_held += 1,
                Ok(Proceeded::Busy) => return self.waiting.again(waiting),
                Ok(Proceeded::Replied) => self.reply(client, out, context),
                Err(reason) => self.end_unanswered(reason, client, commands, context),
            }
            self.waiting.leave(waiting);
        }
    }

    /// What of a request has to be known before it is carried out. `None`, and counted, if it is not to be.
    fn admit(&mut self, frame: &[u8], udp: &Udp4) -> Option<Asked> {
        if !udp.checksums_ok(frame) {
            self.counters.drop_bad_checksum += 1;
            return None;
        }
        // The reply would come back as a request.
        if udp.src == u32::from(self.pool().vip) {
            self.counters.drop_forged_request += 1;
            return None;
        }
        let Some((header, commands)) = Frame::parse(&frame[udp.payload..udp.end]) else {
            self.counters.drop_bad_frame += 1;
            return None;
        };
        if !header.is_single() {
            *(if header.total > 1 {
                &mut self.counters.drop_several_datagrams
            } else {
                &mut self.counters.drop_bad_frame
            }) += 1;
            return None;
        }
        let limit = match self.state.allows(udp.src) {
            true => MAX_REPLY_BYTES,
            // A stranger may read one key; it must not change anything, nor be sent more than the limit allows.
            false if single_get(commands).is_some() => self.limit_of_stranger(udp),
            false => {
                self.counters.drop_client_not_allowed += 1;
                return None;
            }
        };
        let client = Client { request_id: header.request_id, ..client(frame, udp.src, udp.src_port) };
        Some(Asked { client, commands: udp.payload + FRAME_LEN..udp.end, limit })
    }

    /// Bytes of UDP payload that an address off the allowlist is sent at most, IP headers counted: one datagram or less.
    fn limit_of_stranger(&self, request: &Udp4) -> usize {
        let received = (request.end - request.l3) as f64;
        let limit = (self.pool().amplification_limit * received) as usize;
        limit.saturating_sub(IP_AND_UDP).min(BODY + FRAME_LEN)
    }

    /// Sends `body` in as many datagrams as it takes.
    fn reply(&mut self, client: &Client, body: &[u8], context: &mut dyn Context<P>) {
        let pool = self.state.pool();
        let from = Source {
            mac: pool.node.mac,
            vlan: pool.vlan.unwrap_or(0),
            ip: pool.vip.into(),
            port: pool.service_port,
        };
        match wire::send_reply(&from, client, body.len(), std::iter::once(body), context) {
            Ok(datagrams) => {
                self.counters.answered += 1;
                self.counters.reply_datagrams += u64::from(datagrams);
            }
            Err(wire::NoBuffer) => self.counters.drop_no_buffer += 1,
        }
    }

    fn end_unanswered(
        &mut self,
        reason: NoReply,
        client: &Client,
        commands: &[u8],
        context: &mut dyn Context<P>,
    ) {
        match reason {
            NoReply::Quiet => self.counters.answered_silently += 1,
            NoReply::Incomplete => self.counters.drop_truncated_request += 1,
            // Those two were sorted out before.
            NoReply::NoFrame | NoReply::NotSingle => self.counters.drop_bad_frame += 1,
            NoReply::TooLong if !self.state.allows(client.ip) => self.counters.drop_client_not_allowed += 1,
            NoReply::TooLong => {
                self.counters.refused_too_large += 1;
                // A binary client could not read the line.
                if commands.first() != Some(&binary::MAGIC_REQUEST) {
                    self.reply(client, b"SERVER_ERROR reply too large for one UDP request\r\n", context);
                }
            }
        }
    }
}

/// Turns a request into its reply. `false`, and the packet as it was, if it has no room for it.
fn answer_in_place<P: PacketBuf>(packet: &mut P, udp: &Udp4, request_id: u16, body: &[u8]) -> bool {
    let start = udp.payload + FRAME_LEN;
    if packet.set_len(start + body.len()).is_err() {
        return false;
    }
    let frame = packet.bytes_mut();
    frame[udp.payload..start].copy_from_slice(&Frame::single(request_id).to_bytes());
    frame[start..].copy_from_slice(body);
    let sum = Sum::of(&frame[udp.payload..]);
    udp4::turn_around(frame, udp, FRAME_LEN + body.len(), sum);
    true
}
