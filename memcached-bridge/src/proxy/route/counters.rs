//! What a thread counts for each route.

fabric::counters! {
    /// Counters of one route in one thread.
    pub struct RouteCounters {
        /// Requests asked of another pool since a server failed or was known to be down.
        failed_over,
        /// Reads asked of another pool since one did not have the key.
        missed_over,
        /// Requests that no pool was left for.
        out_of_pools,
        /// Deletes and touches sent to pools besides the one that answers.
        spread,
        /// Misses for which the older pool had the item.
        warm_hits,
        /// Misses for which the older pool had nothing, either.
        warm_misses,
        /// Items of the older pool that were not kept, since their key was written meanwhile.
        warm_overtaken,
        /// Misses for which the older pool was not asked: its server is down, the key is being written, or too many are under way.
        warm_skipped,
        /// Misses for which the older pool did not answer, or the newer one did not take what it had.
        warm_lost,
        /// Requests that were sent to a shadow, too.
        shadowed,
        /// Requests that were not sent to a shadow since that would have taken waiting, or its server is down.
        shadow_dropped,
        /// Writes that not all copies got, since some were down.
        copies_missing,
    }
}
