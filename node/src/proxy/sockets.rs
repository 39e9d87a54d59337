//! The open connections of a thread.

use std::io;
use std::task::{Context, Poll, Waker};

use memcached_bridge::proxy::{BackendId, ClientId, Transmit};
use slotmap::SecondaryMap;
use tokio::io::ReadBuf;
use tokio::task::AbortHandle;

use super::client::Seat;
use crate::tls::Stream;

/// A connection: the task that makes and reads it, and once it is made its socket. Closed when it is dropped.
pub(super) struct Connection {
    task: AbortHandle,
    pub(super) socket: Option<Socket>,
    /// A client's place.
    pub(super) seat: Option<Seat>,
}

impl Connection {
    pub(super) fn new(task: AbortHandle, socket: Option<Socket>, seat: Option<Seat>) -> Self {
        Self { task, socket, seat }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The socket of a connection.
pub(super) struct Socket {
    stream: Stream,
    /// It took no more: its task waits until it does.
    blocked: bool,
    /// Wakes the task.
    waker: Option<Waker>,
}

/// What an attempt to send came to.
pub(super) enum Sent {
    /// So many bytes; if not all, the rest goes later.
    Some(usize),
    /// The connection is gone.
    Lost,
}

impl Socket {
    pub(super) fn new(stream: Stream) -> Self {
        Self { stream, blocked: false, waker: None }
    }

    /// Reads what there is.
    pub(super) fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        bytes: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.stream.poll_read(context, bytes)
    }

    /// Sends what goes at once.
    pub(super) fn send(&mut self, bytes: &[u8]) -> Sent {
        if self.blocked {
            return Sent::Some(0);
        }
        match self.stream.try_write(bytes) {
            Ok(len) => {
                if len < bytes.len() || self.stream.has_unsent() {
                    self.block();
                }
                Sent::Some(len)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.block();
                Sent::Some(0)
            }
            Err(_) => Sent::Lost,
        }
    }

    fn block(&mut self) {
        self.blocked = true;
        self.wake();
    }

    /// Has the task look at the connection again.
    pub(super) fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }

    /// Remembers how to wake the task. Whether there is something to send that can be sent again.
    pub(super) fn poll_unblocked(&mut self, context: &mut Context<'_>) -> bool {
        if self.waker.as_ref().is_none_or(|waker| !waker.will_wake(context.waker())) {
            self.waker = Some(context.waker().clone());
        }
        if !self.blocked || self.stream.poll_writable(context).is_pending() {
            return false;
        }
        self.blocked = false;
        true
    }

    fn send_parts(&mut self, parts: &[&[u8]]) -> usize {
        let sent = match parts {
            _ if self.blocked => return 0,
            [bytes] => self.stream.try_write(bytes),
            parts => self.stream.try_write_parts(parts),
        };
        if self.stream.has_unsent() {
            self.block();
        }
        // Whoever sends the rest finds out what is wrong.
        sent.unwrap_or(0)
    }

    /// The stream, if its end takes more than closing the socket.
    pub(super) fn into_farewell(self) -> Option<Stream> {
        match self.stream {
            Stream::Plain(_) => None,
            tls @ Stream::Tls(_) => Some(tls),
        }
    }
}

/// The connections of a thread.
#[derive(Default)]
pub(super) struct Sockets {
    pub(super) clients: SecondaryMap<ClientId, Connection>,
    pub(super) backends: SecondaryMap<BackendId, Connection>,
}

impl Sockets {
    pub(super) fn client(&mut self, id: ClientId) -> Option<&mut Socket> {
        self.clients.get_mut(id)?.socket.as_mut()
    }

    pub(super) fn backend(&mut self, id: BackendId) -> Option<&mut Socket> {
        self.backends.get_mut(id)?.socket.as_mut()
    }
}

impl Transmit for Sockets {
    fn transmit(&mut self, client: ClientId, parts: &[&[u8]]) -> usize {
        self.client(client).map_or(0, |socket| socket.send_parts(parts))
    }
}
