//! What the packet path counts for each pool and worker.

fabric::counters! {
    /// Counters of one pool on one worker. Names that begin with `drop_` count requests that ended here unanswered,
    /// names that begin with `refused_` those the node answered with an error itself.
    pub struct PoolCounters {
        /// Requests for one key answered from the hot table, in place.
        hits,
        /// Requests sent on to a server by rewriting the destination MAC.
        redirected,
        /// Requests for several keys that the node put together from its cache and several servers.
        gathered,
        /// Write-class commands seen on their way to a server.
        writes,
        /// Replies that ended a write the node was waiting for.
        writes_acknowledged,
        /// Replies that may acknowledge a write nobody waits for any more; each voids the pool's cache.
        acknowledgements_unknown,
        /// Commands for the whole pool (flush_all), sent to every server.
        broadcasts,
        /// Frames straight to or from a server, past the virtual address; each voids the pool's cache.
        direct_frames,
        /// ARP requests for the virtual address answered.
        arp_replies,
        /// Fills sent to servers for keys that turned hot or stay hot.
        fills_sent,
        /// Fills that entered the hot table.
        fills_installed,
        /// Fills whose key the server does not have.
        fills_missed,
        /// Fills not installed because a write came between.
        fills_overtaken,
        /// Fills not installed because the value or its remaining life is unfit for the hot table.
        fills_unfit,
        /// Fills that no server answered in time.
        fills_lost,
        /// Recache tokens of stale items that a fill won, and the node gave back.
        tokens_given_back,
        /// Probes sent to servers.
        probes_sent,
        /// Probes not answered in time.
        probes_lost,
        /// IPv4 fragments held until their datagram was whole.
        fragments_held,
        /// Datagrams of multi-datagram requests held until the request was whole.
        datagrams_held,
        /// Packets that belonged to another worker and were handed over.
        handed_over,
        /// Invalid commands, answered with memcached's own error.
        refused_invalid,
        /// Datagrams with commands for more than one server, or with too many commands.
        refused_mixed,
        /// Requests for more keys than the node gathers.
        refused_too_many_keys,
        /// Gathered replies that were too large, or refused by a server.
        refused_gather,
        /// Requests of addresses off the allowlist that the amplification limit or the allowlist stopped.
        drop_client_not_allowed,
        /// Packets whose checksum is wrong; what they say is not to be trusted.
        drop_bad_checksum,
        /// Datagrams too short for the 8-byte memcached UDP frame, or with a frame that counts no datagrams.
        drop_bad_frame,
        /// Datagrams that end in the middle of a command.
        drop_truncated_request,
        /// Requests that claim an address and port of the node or the pool as their source.
        drop_forged_request,
        /// Datagrams that claim the pool's address as their source but come from no server of it.
        drop_forged_reply,
        /// Fragments that overlap.
        drop_fragment_overlap,
        /// Fragments that are malformed in another way, or too many.
        drop_fragment_malformed,
        /// Fragments of datagrams whose UDP checksum is wrong once they are whole.
        drop_fragment_bad_checksum,
        /// Fragments of datagrams that never became whole, or made room for newer ones.
        drop_fragment_expired,
        /// Datagrams of requests that contradict each other.
        drop_datagram_malformed,
        /// Datagrams of requests that never became whole, or made room for newer ones.
        drop_datagram_expired,
        /// Requests for the whole pool or several servers when all slots for such were taken.
        drop_gather_full,
        /// Gathered requests that some server did not answer in time.
        drop_gather_timeout,
        /// Writes when the table of writes in flight was full.
        drop_writes_in_flight_full,
        /// Replies to the node's own requests that came too late or match none.
        drop_reply_unexpected,
        /// Requests that ended because the packet pool was empty.
        drop_no_buffer,
    }
}
