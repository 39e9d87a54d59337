//! The seam between the worker and whatever moves its packets.

use arrayvec::ArrayVec;

/// Packets moved by one call at most.
pub const BURST: usize = 64;

/// A port of the switch: an index into the node's list of ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortId(pub u16);

impl PortId {
    /// No port: a packet that was made here, not received.
    pub const NONE: PortId = PortId(u16::MAX);
}

/// The packet has no room at its tail for what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the packet buffer holds at most {capacity} bytes, {asked} were asked for")]
pub struct NoRoom {
    /// Bytes asked for.
    pub asked: usize,
    /// Bytes that the buffer can hold.
    pub capacity: usize,
}

/// One owned frame, from the destination MAC on, contiguous in memory, without its FCS.
pub trait PacketBuf: Send {
    /// The whole frame.
    fn bytes(&self) -> &[u8];
    /// The whole frame.
    fn bytes_mut(&mut self) -> &mut [u8];
    /// Cuts the frame, or lengthens it at its tail (the new bytes hold anything).
    ///
    /// # Errors
    /// [`NoRoom`] if the buffer is too small; the packet is then as it was.
    fn set_len(&mut self, len: usize) -> Result<(), NoRoom>;
    /// The port it came in by; [`PortId::NONE`] for a packet made here.
    fn ingress(&self) -> PortId;
    /// Says by which port it is to count as having come in.
    fn set_ingress(&mut self, port: PortId);
    /// Hints the processor to load the first bytes of the frame.
    fn prefetch(&self) {}
}

/// Where the memory of packets comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HugePages {
    /// Huge pages if enough of them are free, else ordinary pages.
    #[default]
    Auto,
    /// Huge pages, or the shell does not start.
    Require,
    /// Ordinary pages: slower, and of no use to most network cards.
    Never,
}

/// Packets out of one receive or toward one transmit.
pub type Packets<P> = ArrayVec<P, BURST>;

/// One worker's way to its queues of all ports. Never blocks.
pub trait PacketIo {
    /// The packets of this shell.
    type Packet: PacketBuf;

    /// How many ports there are; their ids are `0..ports`.
    fn ports(&self) -> u16;

    /// Appends packets that have arrived at this worker's queue of `port`, as many as `into` has room for.
    fn receive(&mut self, port: PortId, into: &mut Packets<Self::Packet>);

    /// Sends `packets` out of `port`, in order, and empties the vector. Returns how many the port did not take;
    /// those are freed.
    fn transmit(&mut self, port: PortId, packets: &mut Packets<Self::Packet>) -> usize;

    /// A new packet of length 0, or `None` if the pool is empty.
    fn allocate(&mut self) -> Option<Self::Packet>;

    /// A copy of `packet`, ingress included, or `None` if the pool is empty.
    fn duplicate(&mut self, packet: &Self::Packet) -> Option<Self::Packet> {
        let mut copy = self.allocate()?;
        copy.set_len(packet.bytes().len()).ok()?;
        copy.bytes_mut().copy_from_slice(packet.bytes());
        copy.set_ingress(packet.ingress());
        Some(copy)
    }
}
