//! One connection, plain or not.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use arrayvec::ArrayVec;
use memcached_bridge::proxy::MAX_PARTS;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsStream;

/// How long a peer may take for the last bytes of a connection.
const CLOSE: Duration = Duration::from_secs(5);

/// A connection over which bytes go as they are or encrypted. Calls on a plain one are those of its socket, no more.
pub(crate) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    pub(crate) fn tcp(&self) -> &TcpStream {
        match self {
            Stream::Plain(tcp) => tcp,
            Stream::Tls(tls) => tls.get_ref().0,
        }
    }

    /// Reads what there is. Of a plain connection, a read that does not fill the buffer clears the readiness: there is no
    /// other one to see that it is empty.
    pub(crate) fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        bytes: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self {
            Stream::Plain(tcp) => Pin::new(tcp).poll_read(context, bytes),
            Stream::Tls(tls) => Pin::new(tls).poll_read(context, bytes),
        }
    }

    /// Waits until there may be something to read.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        match self {
            Stream::Plain(tcp) => tcp.readable().await,
            // Decrypted bytes may be left of the last read.
            Stream::Tls(tls) if !tls.get_ref().1.wants_read() => Ok(()),
            Stream::Tls(tls) => tls.get_ref().0.readable().await,
        }
    }

    /// Reads what there is, without waiting.
    pub(crate) fn try_read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(tcp) => tcp.try_read(into),
            Stream::Tls(tls) => {
                let mut bytes = ReadBuf::new(into);
                at_once(|context| Pin::new(tls).poll_read(context, &mut bytes))?;
                Ok(bytes.filled().len())
            }
        }
    }

    /// Sends what goes at once; more may be taken in, which [`has_unsent`](Self::has_unsent) then tells.
    pub(crate) fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(tcp) => tcp.try_write(bytes),
            Stream::Tls(tls) => at_once(|context| Pin::new(tls).poll_write(context, bytes)),
        }
    }

    /// [`try_write`](Self::try_write) of several parts, one after the other.
    pub(crate) fn try_write_parts(&mut self, parts: &[&[u8]]) -> io::Result<usize> {
        let parts: ArrayVec<IoSlice<'_>, { MAX_PARTS + 1 }> =
            parts.iter().take(MAX_PARTS + 1).map(|part| IoSlice::new(part)).collect();
        match self {
            Stream::Plain(tcp) => tcp.try_write_vectored(&parts),
            Stream::Tls(tls) => at_once(|context| Pin::new(tls).poll_write_vectored(context, &parts)),
        }
    }

    /// Whether bytes that were taken in have not all left.
    pub(crate) fn has_unsent(&self) -> bool {
        match self {
            Stream::Plain(_) => false,
            Stream::Tls(tls) => tls.get_ref().1.wants_write(),
        }
    }

    /// Ready once all that was taken in has left, and more can be sent.
    pub(crate) fn poll_writable(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Stream::Plain(tcp) => tcp.poll_write_ready(context),
            Stream::Tls(tls) => Pin::new(tls).poll_flush(context),
        }
    }

    /// Ends the connection: a TLS peer is told that nothing was cut off, a plain one sees it from the end itself.
    pub(crate) async fn close(self) {
        if let Stream::Tls(mut tls) = self {
            let shutdown = poll_fn(|context| Pin::new(&mut tls).poll_shutdown(context));
            _ = tokio::time::timeout(CLOSE, shutdown).await;
        }
    }
}

/// What `poll` comes to if nobody waits for it. Whoever has to wait polls again with his own waker.
fn at_once<T>(poll: impl FnOnce(&mut Context<'_>) -> Poll<io::Result<T>>) -> io::Result<T> {
    match poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}
