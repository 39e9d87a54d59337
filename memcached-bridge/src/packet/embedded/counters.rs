//! What an embedded pool counts on each worker.

fabric::counters! {
    /// Counters of one embedded pool on one worker. What the requests did is counted by the store. Names that begin with
    /// `drop_` count requests that ended here unanswered, names that begin with `refused_` those that got an error.
    pub struct EmbeddedCounters {
        /// Requests answered by the node from its own store.
        answered,
        /// Datagrams of replies that did not fit into their request's packet.
        reply_datagrams,
        /// Requests carried out that have no reply: quiet ones, and those with `noreply`.
        answered_silently,
        /// Requests put off because another thread held their part of the store.
        store_held,
        /// ARP requests for the virtual address answered.
        arp_replies,
        /// Packets to the virtual address left to the host: TCP, fragments, pings.
        left_to_host,
        /// Requests carried out whose replies are too long for one message.
        refused_too_large,
        /// Requests of addresses off the allowlist that the amplification limit or the allowlist stopped.
        drop_client_not_allowed,
        /// Packets whose checksum is wrong; what they say is not to be trusted.
        drop_bad_checksum,
        /// Datagrams too short for the 8-byte memcached UDP frame, or with a frame that counts no datagrams.
        drop_bad_frame,
        /// Datagrams of requests of several, which memcached does not take either.
        drop_several_datagrams,
        /// Datagrams that hold no whole command.
        drop_truncated_request,
        /// Requests that claim an address and port of the node or the pool as their source.
        drop_forged_request,
        /// Datagrams that claim the pool's address as their source and are not the node's.
        drop_forged_reply,
        /// Requests for a part of the store that other threads held for too long, or for which too many waited.
        drop_store_held,
        /// Requests that ended because the packet pool was empty.
        drop_no_buffer,
    }
}
