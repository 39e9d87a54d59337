//! What an endpoint counts.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[doc = $help:literal])+ $field:ident,)+) => {
        /// Counters since the endpoint was made. They only grow.
        #[derive(Debug, Default)]
        pub struct Counters { $($(#[doc = $help])+ pub(crate) $field: AtomicU64,)+ }

        impl Counters {
            /// `(name, help, value)` of each.
            pub fn read(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> + '_ {
                [$((stringify!($field), concat!($($help),+).trim_ascii(), &self.$field)),+]
                    .into_iter()
                    .map(|(name, help, cell)| (name, help, cell.load(Ordering::Relaxed)))
            }

            /// The value of the counter `name`.
            pub fn value(&self, name: &str) -> Option<u64> {
                self.read().find(|(known, ..)| *known == name).map(|(.., value)| value)
            }
        }
    };
}

counters! {
    /// Connections that this node made.
    connections_dialed,
    /// Connections that peers made.
    connections_accepted,
    /// Connections that ended otherwise than by this node's will.
    connections_lost,
    /// Connections retired because a newer one with the same peer took their place.
    connections_retired,
    /// Connections closed because nobody used them.
    connections_unused,
    /// Connections closed because a certificate ended, or its authority is not believed any more.
    connections_expired,
    /// Connections refused or not dialed because there were as many as allowed.
    connections_full,
    /// Connections refused after the handshake, because the certificate names no node, or this one.
    connections_misnamed,
    /// Dials of a peer of which no address led to a connection.
    dials_failed,
    /// Handshakes of others that failed: no certificate, one of an authority not believed, an expired one.
    handshakes_failed,
    /// Handshakes of others ignored because their turn did not come within a second.
    handshakes_ignored,
    /// Handshakes of others begun anew, to show that their address is their own.
    handshakes_retried,
    /// Messages handed to the transport.
    messages_sent,
    /// Their bytes.
    messages_sent_bytes,
    /// Messages received.
    messages_received,
    /// Their bytes.
    messages_received_bytes,
    /// Messages dropped because the peer's queue was full.
    messages_dropped_full,
    /// Messages dropped because there was no connection and none could be made.
    messages_dropped_unreachable,
    /// Messages dropped because the connection broke, or the peer refused their channel, while they were written.
    messages_dropped_lost,
    /// Messages dropped because they were larger than their channel allows.
    messages_dropped_too_long,
    /// Messages dropped because nothing is known of the peer.
    messages_dropped_unknown_peer,
    /// Calls made.
    calls_made,
    /// Calls made that failed, for whatever reason.
    calls_failed,
    /// Calls of peers that were taken.
    calls_taken,
    /// Calls of peers refused because as many as allowed were being answered.
    calls_refused_busy,
    /// Streams opened.
    streams_opened,
    /// Streams of peers that were taken.
    streams_taken,
    /// Streams of peers refused because as many as allowed were being served.
    streams_refused_busy,
    /// Streams of peers refused because nobody here serves their channel.
    refused_channel,
    /// Streams of peers refused because their bytes were none of the protocol, or too many.
    refused_malformed,
    /// Streams of peers refused because they stood still within a frame.
    refused_stalled,
}

pub(crate) fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

pub(crate) fn one(counter: &AtomicU64) {
    add(counter, 1);
}
