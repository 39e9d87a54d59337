//! Replies to the node's own requests, and requests that got none.

use fabric::function::{Burst, Context, WorkerId};
use fabric::io::PacketBuf;
use fabric::packet::udp4::Udp4;
use fabric::time::Nanos;

use super::MemcachedSwitch;
use super::gather::{Arrived, Gather, GatherError, GatherId};
use super::reply::may_acknowledge;
use super::upstream::{Purpose, RequestId, SLOTS};
use crate::coherence::{PoolView, WriteId};
use crate::protocol::reply::{MetaGetReply, parse_meta_get_reply};
use crate::protocol::udp::{FRAME_LEN, Frame};

/// Slots of the node's own requests looked at in one tick: all of them in sixteen.
const EXPIRY_BUDGET: usize = SLOTS / 16;
/// Whether a reply that begins so can be the one to a `get` of `key`: its value, no value, or an error.
fn answers(body: &[u8], key: &[u8]) -> bool {
    match body.strip_prefix(b"VALUE ") {
        Some(rest) => rest.strip_prefix(key).is_some_and(|rest| rest.starts_with(b" ")),
        None => true,
    }
}

/// Slots of gathered requests looked at in one tick.
const GATHER_BUDGET: usize = 16;

impl<P: PacketBuf> MemcachedSwitch<P> {
    pub(super) fn answer(
        &mut self,
        slot: usize,
        udp: Udp4,
        worker: WorkerId,
        burst: &mut Burst<P>,
        view: &PoolView,
        context: &mut dyn Context<P>,
    ) {
        let Some(packet) = burst.take(slot) else { return };
        if worker != self.worker {
            self.counters.handed_over += 1;
            return context.hand_over(worker, packet);
        }
        let bytes = packet.bytes();
        if !self.is_from_server(bytes) {
            return self.counters.drop_forged_reply += 1;
        }
        if !udp.checksums_ok(bytes) {
            return self.counters.drop_bad_checksum += 1;
        }
        let Some((frame, body)) = Frame::parse(&bytes[udp.payload..udp.end]) else {
            return self.counters.drop_bad_frame += 1;
        };
        let id = RequestId(frame.request_id);
        let under_way = self.upstream.under_way(id);
        if let Some((server, _)) = under_way
            && self.state.server_mac(server).0 != bytes[6..12]
        {
            return self.late(frame, body);
        }
        match under_way.map(|(_, purpose)| purpose) {
            Some(Purpose::Part { key: Some(key), .. }) if frame.sequence == 0 && !answers(body, key) => {
                self.late(frame, body);
            }
            Some(Purpose::Part { gather, part, write, .. }) => {
                let (gather, part, write) = (*gather, *part, *write);
                self.part_arrived(id, gather, part, write, frame, packet, &udp, context);
            }
            Some(Purpose::Fill(_)) => {
                let Purpose::Fill(fill) = self.upstream.close(id) else { return };
                match parse_meta_get_reply(body) {
                    _ if frame.total != 1 => self.note_unfit(&fill, context.now()),
                    MetaGetReply::Error => self.note_unfit(&fill, context.now()),
                    reply => {
                        self.install(&fill, reply, view, context.now());
                        self.give_token_back(&fill, reply, context);
                    }
                }
            }
            Some(Purpose::Token) => _ = self.upstream.close(id),
            Some(Purpose::Probe { server }) => {
                let server = *server;
                self.upstream.close(id);
                self.probe_answered(server);
            }
            Some(Purpose::Free) | None => self.late(frame, body),
        }
    }

    /// A reply whose request was given up. It may acknowledge a part that wrote.
    fn late(&mut self, frame: Frame, body: &[u8]) {
        self.counters.drop_reply_unexpected += 1;
        if self.cache.is_some() && frame.sequence == 0 && may_acknowledge(body) {
            self.void_unknown();
        }
    }

    #[expect(clippy::too_many_arguments, reason = "what the packet is and where it goes; each is used once")]
    fn part_arrived(
        &mut self,
        id: RequestId,
        gather: GatherId,
        part: u16,
        write: Option<WriteId>,
        frame: Frame,
        packet: P,
        udp: &Udp4,
        context: &mut dyn Context<P>,
    ) {
        let range = (udp.payload + FRAME_LEN, udp.end);
        match self.gathers.arrive(gather, part, (frame.sequence, frame.total), packet, range) {
            Arrived::Waiting => {}
            Arrived::Unknown => self.counters.drop_reply_unexpected += 1,
            Arrived::PartWhole => self.part_whole(id, write),
            Arrived::Whole => {
                self.part_whole(id, write);
                self.finish_gather(gather, context);
            }
            Arrived::TooLarge => {
                self.part_whole(id, write);
                self.fail_gather(gather, GatherError::TooLarge, context);
            }
        }
    }

    fn part_whole(&mut self, id: RequestId, write: Option<WriteId>) {
        self.upstream.close(id);
        if let Some(write) = write {
            self.end_write(write);
        }
    }

    /// Answers a gathered request whose parts are all there.
    pub(super) fn finish_gather(&mut self, id: GatherId, context: &mut dyn Context<P>) {
        let Some(mut gather) = self.take_gather(id) else { return };
        let client = gather.client;
        match gather.seal() {
            // A quiet command: nobody waits for a reply.
            Ok(0) => {}
            Ok(len) => {
                self.counters.gathered += 1;
                self.send_reply(&client, len, gather.reply(), context);
            }
            Err(error) => self.refuse_gather(&gather, error, context),
        }
        self.gathers.recycle(id, gather);
    }

    fn fail_gather(&mut self, id: GatherId, error: GatherError, context: &mut dyn Context<P>) {
        let Some(gather) = self.take_gather(id) else { return };
        self.refuse_gather(&gather, error, context);
        self.gathers.recycle(id, gather);
    }

    fn refuse_gather(&mut self, gather: &Gather<P>, error: GatherError, context: &mut dyn Context<P>) {
        self.counters.refused_gather += 1;
        let line = match error {
            GatherError::TooLarge => "SERVER_ERROR reply too large for one UDP request",
            GatherError::Refused => "SERVER_ERROR a server of the pool refused its part",
        };
        self.send_error(&gather.client, line, context);
    }

    /// Takes a gathered request out; the write it stands for, if any, is done.
    fn take_gather(&mut self, id: GatherId) -> Option<Gather<P>> {
        let gather = self.gathers.take(id)?;
        if let Some(write) = gather.write {
            self.end_write(write);
        }
        Some(gather)
    }

    /// Gives a gathered request up without an answer. A write it stands for stays in flight until its time is over.
    pub(super) fn abandon(&mut self, id: GatherId) {
        if let Some(gather) = self.gathers.take(id) {
            self.gathers.recycle(id, gather);
        }
    }

    pub(super) fn expire_upstream(&mut self, now: Nanos) {
        let mut budget = EXPIRY_BUDGET;
        while let Some(purpose) = self.upstream.expire(now, &mut budget) {
            match purpose {
                Purpose::Fill(_) => self.counters.fills_lost += 1,
                Purpose::Probe { server } => self.probe_lost(server),
                // The gathered request has a deadline of its own.
                Purpose::Part { .. } | Purpose::Token | Purpose::Free => {}
            }
        }
    }

    pub(super) fn expire_gathers(&mut self, now: Nanos) {
        let mut budget = GATHER_BUDGET;
        while let Some(id) = self.gathers.expired(now, &mut budget) {
            self.counters.drop_gather_timeout += 1;
            self.abandon(id);
        }
    }
}
