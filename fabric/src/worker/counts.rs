//! What a worker counts.

crate::counters! {
    /// What one worker received, sent, and dropped, and why.
    pub struct WorkerCounters {
        /// Frames received from ports.
        received,
        /// Bytes received from ports.
        received_bytes,
        /// Frames that ports took for sending.
        transmitted,
        /// Packets taken over from other workers.
        taken_over,
        /// Packets handed over to other workers.
        handed_over,
        /// Packets that functions made or kept and then emitted.
        emitted,
        /// Answers sent out of the port their request came in by.
        replied,
        /// Packets that were sent to the one port where their station is.
        switched,
        /// Packets to a group, or to a station not known, that were sent to all other ports.
        flooded,
        /// Stations learned.
        stations_learned,
        /// Stations that were found at another port than before.
        stations_moved,
        /// Stations forgotten since their bucket of the table was full.
        stations_evicted,
        /// Packets ended by a function, which counts why.
        ended_by_function,
        /// Dropped: fewer than the 14 bytes of an Ethernet header.
        runt,
        /// Dropped: its source address is pinned to another port.
        spoofed_station,
        /// Dropped: its destination is one of the addresses that a bridge does not forward.
        link_local_group,
        /// Dropped: its destination is at the port it came in by.
        same_port,
        /// Dropped: it is for the node itself, and no function claimed it.
        unclaimed,
        /// Dropped: to be flooded, and there is no other port.
        no_other_port,
        /// Not sent to one more port: there was no packet left to copy a flooded one into.
        flood_no_packet,
        /// Dropped: an answer to a packet that came in by no port.
        no_ingress,
        /// Dropped: the port took no more.
        port_refused,
        /// Dropped: the other worker's mailbox was full.
        mailbox_full,
        /// Dropped: there is no such worker.
        mailbox_unknown,
    }
}
