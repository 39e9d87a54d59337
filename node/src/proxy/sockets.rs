//! The open connections of a thread.

use std::io::{self, IoSlice};
use std::task::{Context, Waker};

use memcached_bridge::proxy::{BackendId, ClientId, Transmit};
use slotmap::SecondaryMap;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::task::AbortHandle;

/// A connection: the task that makes and reads it, and once it is made its sending half. Closed when it is dropped.
pub(super) struct Connection {
    task: AbortHandle,
    pub(super) socket: Option<Socket>,
}

impl Connection {
    pub(super) fn new(task: AbortHandle, socket: Option<Socket>) -> Self {
        Self { task, socket }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The sending half of a connection.
pub(super) struct Socket {
    writer: OwnedWriteHalf,
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
    pub(super) fn new(writer: OwnedWriteHalf) -> Self {
        Self { writer, blocked: false, waker: None }
    }

    /// Sends what goes at once.
    pub(super) fn send(&mut self, bytes: &[u8]) -> Sent {
        if self.blocked {
            return Sent::Some(0);
        }
        match self.writer.try_write(bytes) {
            Ok(len) if len == bytes.len() => Sent::Some(len),
            Ok(len) => {
                self.block();
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
        if !self.blocked || self.writer.as_ref().poll_write_ready(context).is_pending() {
            return false;
        }
        self.blocked = false;
        true
    }

    fn send_parts(&mut self, parts: [&[u8]; 2]) -> usize {
        let sent = match parts {
            _ if self.blocked => return 0,
            [[], bytes] => self.writer.try_write(bytes),
            [old, new] => self.writer.try_write_vectored(&[IoSlice::new(old), IoSlice::new(new)]),
        };
        // Whoever sends the rest finds out what is wrong.
        sent.unwrap_or(0)
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
    fn transmit(&mut self, client: ClientId, parts: [&[u8]; 2]) -> usize {
        self.client(client).map_or(0, |socket| socket.send_parts(parts))
    }
}
