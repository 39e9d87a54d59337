//! A connection to a peer that has shown who it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime};

use naming::NodeId;
use quinn::{ConnectionError, RecvStream, SendStream};
use rustls::pki_types::CertificateDer;
use tokio::sync::OwnedSemaphorePermit;

use crate::channel::CONTROL;
use crate::chunks::Hold;
use crate::error::{Farewell, Refusal};
use crate::frame::{Decoder, Encoder};
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
const MAX_CONTROL_BYTES: usize = 1024;

impl Control {
    fn of(frame: &[u8]) -> Option<Self> {
        match frame.first()? {
            1 => Some(Control::Welcome),
            2 => Some(Control::Retired),
            _ => None,
        }
    }
}

/// Someone has a stream of the connection, even if nothing is said on it for long.
#[derive(Clone, Debug, Default)]
pub(crate) struct Use(Arc<()>);

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
    uses: Use,
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
        let (since, uses) = (Instant::now(), Use::default());
        Self { id, peer, quic, origin, since, chain, expires, uses, use_seen, used_at_ms }
    }

    /// For a stream of it, and its place among those that are served.
    pub(crate) fn hold(&self, place: Option<OwnedSemaphorePermit>) -> Hold {
        Arc::new((self.uses.clone(), place))
    }

    /// For how many milliseconds nobody had a stream on which something is to be answered, and none said anything, as
    /// far as earlier calls have seen.
    pub(crate) fn unused_ms(&self, now: Instant) -> u64 {
        let stats = self.quic.stats();
        let used = stats.frame_tx.stream + stats.frame_rx.stream;
        let age = u64::try_from(now.saturating_duration_since(self.since).as_millis()).unwrap_or(u64::MAX);
        let held = Arc::strong_count(&self.uses.0) > 1;
        if self.use_seen.swap(used, Ordering::Relaxed) != used || held {
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

/// What is said on a stream that [`tell`] wrote; none if it is nothing that is known.
pub(crate) async fn heard(stream: &mut RecvStream) -> Option<Control> {
    let mut number = [0];
    stream.read_exact(&mut number).await.ok()?;
    if number != [CONTROL] {
        return None;
    }
    said(stream).await.ok().flatten()
}

/// The same, once the number of the channel has been read.
pub(crate) async fn said(stream: &mut RecvStream) -> Result<Option<Control>, Refusal> {
    let mut decoder = Decoder::new(MAX_CONTROL_BYTES);
    loop {
        if let Some(frame) = decoder.next_frame().map_err(|_| Refusal::Malformed)? {
            return Ok(Control::of(&frame));
        }
        match stream.read_chunk(usize::MAX, true).await {
            Ok(Some(chunk)) => decoder.push(chunk.bytes),
            Ok(None) => return Err(Refusal::Malformed),
            Err(_) => return Err(Refusal::Cancelled),
        }
    }
}
