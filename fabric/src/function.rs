//! The seam between the switch and the functions that understand packets.
//!
//! A function sees each burst once and gives verdicts on the packets that are its own. What it leaves at
//! [`Verdict::Pass`] goes to the next function and at last to the learning switch, unharmed.

use arrayvec::ArrayVec;

use crate::io::{BURST, PacketBuf, Packets};
use crate::time::Nanos;

/// What becomes of one packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verdict {
    /// Not mine: the next function, and at last the learning switch, decides.
    #[default]
    Pass,
    /// Mine, and done: deliver it to the station its destination MAC names.
    Deliver,
    /// Mine, and turned into its own answer: send it out of the port it came in by.
    Reply,
    /// Mine, and ended here; the function has counted why.
    Drop,
}

/// Received packets and the verdicts on them. A slot is empty once its packet was [taken](Burst::take).
#[derive(Debug)]
pub struct Burst<P> {
    packets: ArrayVec<Option<P>, BURST>,
    /// One for each packet, then leftovers.
    verdicts: [Verdict; BURST],
}

impl<P: PacketBuf> Burst<P> {
    /// An empty burst with room for [`BURST`] packets.
    pub fn new() -> Self {
        Self { packets: ArrayVec::new(), verdicts: [Verdict::Pass; BURST] }
    }

    /// Replaces the contents with `packets`, all at [`Verdict::Pass`].
    pub fn refill(&mut self, packets: &mut Packets<P>) {
        self.packets.clear();
        self.packets.extend(packets.drain(..).map(Some));
        self.verdicts = [Verdict::Pass; BURST];
    }

    /// How many slots there are, empty ones included.
    pub fn len(&self) -> usize {
        self.packets.len()
    }

    /// Whether there are no slots.
    pub fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    /// The packet in slot `index` if it is there and still undecided.
    pub fn undecided(&mut self, index: usize) -> Option<&mut P> {
        self.packets[index].as_mut().filter(|_| self.verdicts[index] == Verdict::Pass)
    }

    /// The packet in slot `index` if it is there, decided or not.
    pub fn packet(&self, index: usize) -> Option<&P> {
        self.packets[index].as_ref()
    }

    /// Gives the verdict on slot `index`.
    pub fn decide(&mut self, index: usize, verdict: Verdict) {
        self.verdicts[index] = verdict;
    }

    /// Takes the packet out of slot `index`: the function owns it now.
    pub fn take(&mut self, index: usize) -> Option<P> {
        self.packets[index].take()
    }

    /// Empties the burst, packet by packet.
    pub fn drain(&mut self) -> impl Iterator<Item = (P, Verdict)> + '_ {
        let decided = self.packets.drain(..).zip(&self.verdicts);
        decided.filter_map(|(packet, verdict)| packet.map(|packet| (packet, *verdict)))
    }
}

impl<P: PacketBuf> Default for Burst<P> {
    fn default() -> Self {
        Self::new()
    }
}

/// Which worker: an index into the node's list of workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WorkerId(pub u16);

/// What a function may ask of its worker.
pub trait Context<P: PacketBuf> {
    /// The time at which the burst was received (or the tick began).
    fn now(&self) -> Nanos;
    /// The worker that calls.
    fn worker(&self) -> WorkerId;
    /// A new packet of length 0, or `None` if the pool is empty.
    fn allocate(&mut self) -> Option<P>;
    /// Sends `packet` to the station its destination MAC names (flooded if unknown, never out of its ingress port
    /// unless [`emit_reply`](Context::emit_reply) says so), after the burst's own packets.
    fn emit(&mut self, packet: P);
    /// Sends `packet` out of the port it counts as having come in by.
    fn emit_reply(&mut self, packet: P);
    /// Hands `packet` to another worker's functions, as if it had received it. Bounded: a full mailbox drops it and
    /// counts `mailbox_full`.
    fn hand_over(&mut self, to: WorkerId, packet: P);
}

/// A plug-in of the packet path. One instance per worker; it owns its state, and never blocks, locks or
/// allocates in the steady state.
pub trait NetworkFunction<P: PacketBuf>: Send {
    /// A short name for counters and messages.
    fn name(&self) -> &'static str;
    /// Decides about the undecided packets of `burst`.
    fn process(&mut self, burst: &mut Burst<P>, context: &mut dyn Context<P>);
    /// Timers: called about every millisecond, also when nothing arrives.
    fn tick(&mut self, context: &mut dyn Context<P>);
    /// Copies the function's counters to where they are read. Called about every ten milliseconds.
    fn publish(&mut self) {}
}
