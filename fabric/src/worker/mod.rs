//! One core's loop over the packets: receive, decide, deliver, transmit.
//!
//! A [`Worker`] owns its queues of all ports, its functions and its counters, and shares only the table of
//! stations and the mailboxes. Its shell is a loop around [`Worker::step`]:
//!
//! ```text
//! loop { match backoff.after(worker.step(clock.now()).found_any()) { rest } }
//! ```
//!
//! One step is one round over all ports and the mailbox. A burst is learned from, shown to the functions in their
//! order, and delivered; then come the packets that functions emitted meanwhile. What goes out of a port leaves in
//! one transmit at the end of the round, or earlier when a burst of it is full.

mod counts;
mod idle;
mod mailbox;
mod switch;

use std::sync::Arc;
use std::time::Duration;

use crate::counters::Published;
use crate::function::{Burst, NetworkFunction, Verdict, WorkerId};
use crate::io::{BURST, PacketBuf, PacketIo, Packets, PortId};
use crate::stations::Stations;
use crate::time::Nanos;

pub use counts::WorkerCounters;
pub use idle::{Backoff, Idle, Rest};
pub use mailbox::{Mailboxes, NotHandedOver};
pub use switch::MAX_EMITTED;

use switch::Switch;

/// How often functions are [ticked](NetworkFunction::tick).
pub const TICK: Duration = Duration::from_millis(1);
/// How often counters are published.
pub const PUBLISH: Duration = Duration::from_millis(10);

/// What one round did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Frames received from ports.
    pub received: usize,
    /// Packets taken over from other workers.
    pub taken_over: usize,
    /// Frames that ports took for sending.
    pub transmitted: usize,
}

impl Work {
    /// Whether there was anything to do.
    pub fn found_any(self) -> bool {
        self != Work::default()
    }
}

/// One core's packet path. See the [module](self).
pub struct Worker<I: PacketIo> {
    switch: Switch<I>,
    functions: Vec<Box<dyn NetworkFunction<I::Packet>>>,
    received: Packets<I::Packet>,
    burst: Burst<I::Packet>,
    published: Arc<Published>,
    next_tick: Nanos,
    next_publish: Nanos,
}

impl<I: PacketIo> Worker<I> {
    /// A worker that will tick and publish at its first step. Its mailbox is the one of `id` in `mailboxes`.
    pub fn new(
        id: WorkerId,
        io: I,
        stations: Arc<Stations>,
        mailboxes: Mailboxes<I::Packet>,
        functions: Vec<Box<dyn NetworkFunction<I::Packet>>>,
    ) -> Self {
        Self {
            switch: Switch::new(id, io, stations, mailboxes),
            functions,
            received: Packets::new(),
            burst: Burst::new(),
            published: Published::new::<WorkerCounters>(),
            next_tick: Nanos(0),
            next_publish: Nanos(0),
        }
    }

    /// One round over all ports and the mailbox. `now` must not go back.
    pub fn step(&mut self, now: Nanos) -> Work {
        self.switch.begin(now);
        let mut work = Work::default();
        for port in 0..self.switch.ports() {
            work.received += self.serve_port(PortId(port));
        }
        work.taken_over = self.serve_mailbox();
        if now >= self.next_tick {
            self.next_tick = now + TICK;
            self.tick();
        }
        work.transmitted = self.switch.transmit_all();
        if now >= self.next_publish {
            self.next_publish = now + PUBLISH;
            self.publish();
        }
        work
    }

    /// The counters as they were published last, for whoever shows them.
    pub fn published(&self) -> Arc<Published> {
        Arc::clone(&self.published)
    }

    /// The counters as they are.
    pub fn counters(&self) -> &WorkerCounters {
        &self.switch.counters
    }

    /// The ports.
    pub fn io(&mut self) -> &mut I {
        &mut self.switch.io
    }

    /// Copies the counters of the worker and its functions to where they are read.
    pub fn publish(&mut self) {
        self.published.publish(&self.switch.counters);
        for function in &mut self.functions {
            function.publish();
        }
    }

    fn serve_port(&mut self, port: PortId) -> usize {
        self.switch.io.receive(port, &mut self.received);
        let received = self.received.len();
        if received == 0 {
            return 0;
        }
        self.switch.counters.received += received as u64;
        self.admit(port);
        self.serve_burst();
        received
    }

    /// Learns from the received packets, and drops those that must not come in.
    fn admit(&mut self, port: PortId) {
        self.received.iter().for_each(PacketBuf::prefetch);
        let mut refused = false;
        let mut admitted = [true; BURST];
        for (packet, admitted) in self.received.iter().zip(&mut admitted) {
            *admitted = self.switch.admit(port, packet);
            refused |= !*admitted;
        }
        if refused {
            let mut admitted = admitted.iter();
            self.received.retain(|_| admitted.next().is_none_or(|admitted| *admitted));
        }
    }

    fn serve_mailbox(&mut self) -> usize {
        while !self.received.is_full()
            && let Some(packet) = self.switch.take_over()
        {
            self.received.push(packet);
        }
        let taken = self.received.len();
        if taken > 0 {
            self.serve_burst();
        }
        taken
    }

    fn serve_burst(&mut self) {
        self.burst.refill(&mut self.received);
        for function in &mut self.functions {
            function.process(&mut self.burst, &mut self.switch);
        }
        for (packet, verdict) in self.burst.drain() {
            match verdict {
                Verdict::Reply => self.switch.reply(packet),
                Verdict::Pass | Verdict::Deliver => self.switch.deliver(packet),
                Verdict::Drop => self.switch.counters.ended_by_function += 1,
            }
        }
        self.switch.deliver_emitted();
    }

    fn tick(&mut self) {
        for function in &mut self.functions {
            function.tick(&mut self.switch);
        }
        self.switch.deliver_emitted();
    }
}
