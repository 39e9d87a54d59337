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
        /// Writes that not all copies got, since some were down.
        copies_missing,
    }
}
