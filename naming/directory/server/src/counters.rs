//! What happened since the server started, by name.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// What happened since the server started.
        #[derive(Debug, Default)]
        pub struct Counters {
            $($(#[doc = $doc])+ pub $name: AtomicU64,)+
        }

        impl Counters {
            /// Each counter's name, its explanation and its value.
            pub fn all(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
                [$((stringify!($name), concat!($($doc),+).trim_ascii(), self.$name.load(Ordering::Relaxed)),)+].into_iter()
            }
        }
    };
}

counters! {
    /// Requests of clients that were taken.
    requests,
    /// Requests that were refused since too many were under way.
    requests_refused,
    /// Messages of peers and clients that were dropped since the driver has too much to do.
    messages_dropped,
    /// Messages that were no messages.
    messages_malformed,
    /// Messages that a member did not take.
    messages_refused,
    /// Messages that the transport did not take.
    messages_unsent,
    /// Batches that were written.
    batches_written,
    /// Records that were written.
    records_written,
    /// Bytes that were written.
    bytes_written,
    /// Batches that were synced.
    syncs,
    /// Times that the store was opened anew since it could not be written.
    lives_failed,
    /// Replicas that no leader filled.
    replicas_forgotten,
    /// Shards that were split off from those that this node replicates.
    shards_split,
    /// Splits that were not proposed: of names that cannot be divided, or for want of room.
    splits_skipped,
    /// Snapshots that were taken.
    snapshots_taken,
    /// Snapshots that were sent.
    snapshots_sent,
    /// Snapshots that were received.
    snapshots_received,
    /// Snapshots that were not sent since a newer one had taken their place.
    snapshots_outdated,
    /// Snapshots that did not get through.
    snapshots_failed,
    /// Snapshots that clients began to fetch.
    snapshots_lent,
    /// Snapshots that clients did not fetch to the end, and did not release.
    snapshots_abandoned,
    /// Snapshots that clients were refused since too many are fetched.
    snapshots_refused,
    /// Bytes of snapshots that were sent.
    snapshot_bytes_sent,
    /// Watches that were refused since there are too many.
    watches_refused,
}

/// Counts one more.
pub(crate) fn count(counter: &AtomicU64) {
    add(counter, 1);
}

/// Counts `more`.
pub(crate) fn add(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Ordering::Relaxed);
}
