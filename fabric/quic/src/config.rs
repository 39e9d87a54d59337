//! What an endpoint may use, and how long it waits.

use std::time::Duration;

/// Limits and times of an endpoint. [`Config::default`] suits nodes of a data center.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Connections at most, of all peers together. A peer needs one. Further ones are refused, and those asked for here
    /// fail.
    pub max_connections: usize,
    /// Handshakes of others at a time; four times as many wait up to a second for their turn, and more are dropped, to be
    /// tried again. From half of it on, who begins one has to show first that its address is its own.
    pub max_handshakes: usize,
    /// Dials at a time; further ones wait for their turn.
    pub max_dials: usize,
    /// Streams at a time that one peer may have open toward this node, of each direction.
    pub max_streams_per_peer: u32,
    /// How long one address of a peer has for a handshake.
    pub dial_ms: u64,
    /// Pause after a first failed dial. It doubles with each further one.
    pub backoff_min_ms: u64,
    /// Pause at most.
    pub backoff_max_ms: u64,
    /// A connection is lost when nothing came for so long.
    pub idle_timeout_ms: u64,
    /// A packet is sent when there was none for so long, to keep a connection and to notice its loss. Below a third of
    /// `idle_timeout_ms`, so that two may be lost.
    pub keep_alive_ms: u64,
    /// A connection that nobody used for so long is closed; the next use makes it anew.
    pub unused_ms: u64,
    /// Bytes in flight of one stream: the bandwidth of a stream is this over the round-trip time.
    pub stream_window_bytes: u32,
    /// Bytes of a UDP payload that are tried at most; the path says how many pass. See [`MAX_UDP_PAYLOAD_BYTES`].
    pub max_udp_payload_bytes: u16,
    /// Buffers that the socket asks of the kernel, each way.
    pub socket_buffer_bytes: usize,
}

/// Larger payloads would be refused by the kernel: ten of them, which are sent at once, exceed 64 KiB.
pub const MAX_UDP_PAYLOAD_BYTES: u16 = 6500;
/// What every path of QUIC carries.
pub const MIN_UDP_PAYLOAD_BYTES: u16 = 1200;

impl Default for Config {
    fn default() -> Self {
        Self {
            max_connections: 4096,
            max_handshakes: 256,
            max_dials: 64,
            max_streams_per_peer: 1024,
            dial_ms: 2000,
            backoff_min_ms: 50,
            backoff_max_ms: 3000,
            idle_timeout_ms: 6000,
            keep_alive_ms: 1500,
            unused_ms: 300_000,
            stream_window_bytes: 4 << 20,
            max_udp_payload_bytes: MAX_UDP_PAYLOAD_BYTES,
            socket_buffer_bytes: 16 << 20,
        }
    }
}

/// The configuration contradicts itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key} = {value} does not do: {remedy}")]
pub struct ConfigError {
    key: &'static str,
    value: u64,
    remedy: &'static str,
}

impl Config {
    /// Checks it.
    ///
    /// # Errors
    /// The first key that does not do.
    pub fn check(&self) -> Result<(), ConfigError> {
        let fail = |key, value, remedy| Err(ConfigError { key, value, remedy });
        let positive = [
            ("max_connections", self.max_connections as u64),
            ("max_handshakes", self.max_handshakes as u64),
            ("max_dials", self.max_dials as u64),
            ("max_streams_per_peer", self.max_streams_per_peer.into()),
            ("dial_ms", self.dial_ms),
            ("backoff_min_ms", self.backoff_min_ms),
            ("keep_alive_ms", self.keep_alive_ms),
            ("unused_ms", self.unused_ms),
            ("stream_window_bytes", self.stream_window_bytes.into()),
        ];
        if let Some((key, value)) = positive.into_iter().find(|(_, value)| *value == 0) {
            return fail(key, value, "give at least 1");
        }
        let payload = self.max_udp_payload_bytes;
        if !(MIN_UDP_PAYLOAD_BYTES..=MAX_UDP_PAYLOAD_BYTES).contains(&payload) {
            return fail("max_udp_payload_bytes", payload.into(), "give 1200 to 6500");
        }
        if self.backoff_max_ms < self.backoff_min_ms {
            return fail("backoff_max_ms", self.backoff_max_ms, "give at least backoff_min_ms");
        }
        if self.keep_alive_ms.saturating_mul(3) > self.idle_timeout_ms {
            return fail("keep_alive_ms", self.keep_alive_ms, "give at most a third of idle_timeout_ms");
        }
        // A QUIC number has 62 bits; an hour is more than any of these times needs.
        if self.idle_timeout_ms > 3_600_000 {
            return fail("idle_timeout_ms", self.idle_timeout_ms, "give at most an hour");
        }
        if self.max_streams_per_peer > 1 << 20 {
            return fail("max_streams_per_peer", self.max_streams_per_peer.into(), "give at most 1048576");
        }
        Ok(())
    }

    pub(crate) fn dial(&self) -> Duration {
        Duration::from_millis(self.dial_ms)
    }

    pub(crate) fn unused(&self) -> Duration {
        Duration::from_millis(self.unused_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contradictions_are_refused_by_name() {
        assert_eq!(Config::default().check(), Ok(()));
        let refused = |config: Config| config.check().unwrap_err().to_string();
        let jumbo = refused(Config { max_udp_payload_bytes: 9000, ..Config::default() });
        assert_eq!(jumbo, "max_udp_payload_bytes = 9000 does not do: give 1200 to 6500");
        let silent = refused(Config { keep_alive_ms: 3000, ..Config::default() });
        assert!(silent.starts_with("keep_alive_ms = 3000"), "{silent}");
        let idle = refused(Config { max_dials: 0, ..Config::default() });
        assert!(idle.starts_with("max_dials = 0"), "{idle}");
    }
}
