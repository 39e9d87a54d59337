//! What the store counts, by memcached's names.

fabric::counters! {
    /// Counters of one shard; a store's are the sums.
    pub struct StoreCounters {
        /// Keys asked for by reads.
        cmd_get,
        /// Values received to be stored.
        cmd_set,
        /// Requests to flush.
        cmd_flush,
        /// Keys touched, with or without reading them.
        cmd_touch,
        /// Meta commands.
        cmd_meta,
        /// Keys read and found.
        get_hits,
        /// Keys read and not found.
        get_misses,
        /// Keys asked for whose item had expired.
        get_expired,
        /// Keys asked for whose item had been flushed.
        get_flushed,
        /// Keys to be deleted that were not there.
        delete_misses,
        /// Keys deleted.
        delete_hits,
        /// Keys to be counted up that were not there.
        incr_misses,
        /// Keys counted up.
        incr_hits,
        /// Keys to be counted down that were not there.
        decr_misses,
        /// Keys counted down.
        decr_hits,
        /// Compare-and-swaps of keys that were not there.
        cas_misses,
        /// Compare-and-swaps that swapped.
        cas_hits,
        /// Compare-and-swaps that found another value.
        cas_badval,
        /// Keys touched and found.
        touch_hits,
        /// Keys touched and not found.
        touch_misses,
        /// Values refused for their size.
        store_too_large,
        /// Items stored since the start.
        total_items,
        /// Items removed to make room.
        evictions,
        /// Items removed to make room that nobody had read.
        evicted_unfetched,
        /// Items removed because they had ended and nobody had read them.
        expired_unfetched,
        /// Items removed because they had ended.
        reclaimed,
    }
}

impl StoreCounters {
    /// Adds `other`, counter by counter.
    pub(super) fn add(&mut self, other: &StoreCounters) {
        macro_rules! sum { ($($field:ident)+) => { $(self.$field += other.$field;)+ } }
        sum!(cmd_get cmd_set cmd_flush cmd_touch cmd_meta get_hits get_misses get_expired get_flushed);
        sum!(delete_misses delete_hits incr_misses incr_hits decr_misses decr_hits);
        sum!(cas_misses cas_hits cas_badval touch_hits touch_misses store_too_large);
        sum!(total_items evictions evicted_unfetched expired_unfetched reclaimed);
    }
}

#[cfg(test)]
mod tests {
    use fabric::counters::Counters;

    use super::*;

    #[test]
    fn a_sum_leaves_no_counter_out() {
        let mut one = StoreCounters::default();
        let ones = StoreCounters {
            cmd_get: 1,
            cmd_set: 1,
            cmd_flush: 1,
            cmd_touch: 1,
            cmd_meta: 1,
            get_hits: 1,
            get_misses: 1,
            get_expired: 1,
            get_flushed: 1,
            delete_misses: 1,
            delete_hits: 1,
            incr_misses: 1,
            incr_hits: 1,
            decr_misses: 1,
            decr_hits: 1,
            cas_misses: 1,
            cas_hits: 1,
            cas_badval: 1,
            touch_hits: 1,
            touch_misses: 1,
            store_too_large: 1,
            total_items: 1,
            evictions: 1,
            evicted_unfetched: 1,
            expired_unfetched: 1,
            reclaimed: 1,
        };
        one.add(&ones);
        one.values(|index, value| assert_eq!(value, 1, "{}", StoreCounters::NAMES[index]));
    }
}
