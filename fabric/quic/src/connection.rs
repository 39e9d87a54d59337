//! A connection to a peer that has shown who it is.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime};

use naming::NodeId;
use quinn::{ConnectionError, SendStream};
use rustls::pki_types::CertificateDer;

use crate::channel::CONTROL;
use crate::error::Farewell;
use crate::frame::Encoder;
use crate::link::Origin;

/// What ends say about a connection, each on a stream of its own of channel 0: one frame, its first byte one of these.
/// What follows is for later versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Control {
    /// From who accepted: the dialer is believed, and may use the connection.
    Welcome = 1,
    /// Use another one; this will be closed.
    Retired = 2,
}

/// Bytes of a control frame at most.
pub(crate) const MAX_CONTROL_BYTES: usize = 1024;

impl Control {
    pub(crate) fn of(frame: &[u8]) -> Option<Self> {
        match frame.first()? {
            1 => Some(Control::Welcome),
            2 => Some(Control::Retired),
            _ => None,
        }
    }
}

/// One connection, and whose it is.
#[derive(Debug)]
pub(crate) struct Connection {
    /// Its number in this endpoint.
    pub(crate) id: u64,
    pub(crate) peer: NodeId,
    pub(crate) quic: quinn::Connection,
    pub(crate) origin: Origin,
    pub(crate) since: Instant,
    pub(crate) chain: Vec<CertificateDer<'static>>,
    /// When its certificates end.
    pub(crate) expires: SystemTime,
    use_seen: AtomicU64,
    used_at_ms: AtomicU64,
}

impl Connection {
    pub(crate) fn new(
        id: u64,
        peer: NodeId,
        quic: quinn::Connection,
        origin: Origin,
        chain: Vec<CertificateDer<'static>>,
        expires: SystemTime,
    ) -> Self {
        let (use_seen, used_at_ms) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { id, peer, quic, origin, since: Instant::now(), chain, expires, use_seen, used_at_ms }
    }

    /// For how many milliseconds no stream has said anything, as far as earlier calls have seen.
    pub(crate) fn unused_ms(&self, now: Instant) -> u64 {
        let stats = self.quic.stats();
        let used = stats.frame_tx.stream + stats.frame_rx.stream;
        let age = u64::try_from(now.saturating_duration_since(self.since).as_millis()).unwrap_or(u64::MAX);
        if self.use_seen.swap(used, Ordering::Relaxed) != used {
            self.used_at_ms.store(age, Ordering::Relaxed);
        }
        age.saturating_sub(self.used_at_ms.load(Ordering::Relaxed))
    }

    /// Tells the peer something about the connection.
    pub(crate) async fn tell(&self, control: Control) -> Result<(), ConnectionError> {
        tell(&self.quic, control).await
    }

    pub(crate) fn close(&self, farewell: Farewell) {
        farewell.say(&self.quic);
    }
}

/// Tells who is at the other end something about the connection.
pub(crate) async fn tell(quic: &quinn::Connection, control: Control) -> Result<(), ConnectionError> {
    let mut stream: SendStream = quic.open_uni().await?;
    let mut encoder = Encoder::default();
    encoder.channel(CONTROL);
    encoder.frame(vec![control as u8].into());
    // Before anything else; if it fails, so does the connection.
    let _ = stream.set_priority(i32::MAX);
    if stream.write_all_chunks(&mut encoder.finish()).await.is_ok() {
        let _ = stream.finish();
    }
    Ok(())
}
