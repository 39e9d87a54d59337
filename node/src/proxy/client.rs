//! Connections of clients: accepted, admitted, read.

use std::future::poll_fn;
use std::io::{self, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use fabric::time::Nanos;
use memcached_bridge::proxy::ClientId;
use memcached_bridge::proxy::limits::TokenBucket;
use tokio::io::ReadBuf;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::spawn_local;

use super::OpenDoor;
use super::sockets::{Connection, Socket};
use super::thread::{Moved, Shell};
use crate::config;
use crate::limits::Share;
use crate::tls::Stream;

/// Reads of one client before others have their turn.
const READS: usize = 4;
/// How long accepting rests when the process has run out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// Accepts clients of the door at index `door`, for ever.
pub(super) async fn accept(shell: Rc<Shell>, door: u16, listener: Rc<TcpListener>) {
    loop {
        match listener.accept().await {
            Ok((stream, client)) => admit(&shell, door, stream, client),
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn admit(shell: &Rc<Shell>, index: u16, tcp: TcpStream, client: SocketAddr) {
    let door = shell.door(index);
    if !config::is_allowed(&door.allowed, client.ip()) {
        door.counters.refused_clients.fetch_add(1, Ordering::Relaxed);
        return;
    }
    let Some(share) = door.clients.admit(client.ip(), shell.now()) else {
        door.counters.crowded_clients.fetch_add(1, Ordering::Relaxed);
        return reject(tcp, door);
    };
    let Some(seat) = Seat::take(door, client.ip(), share) else {
        door.counters.rejected_connections.fetch_add(1, Ordering::Relaxed);
        return reject(tcp, door);
    };
    // What is sent is sent whole, so there is nothing to wait for.
    _ = tcp.set_nodelay(true);
    if door.acceptor.is_some() {
        spawn_local(secure(Rc::clone(shell), index, tcp, seat));
    } else {
        enter(shell, index, Stream::Plain(tcp), seat);
    }
}

/// Tells the client why, if that can be done at once.
fn reject(tcp: TcpStream, door: &OpenDoor) {
    if door.acceptor.is_none()
        && let Ok(mut stream) = tcp.into_std()
    {
        _ = stream.write(b"ERROR Too many open connections\r\n");
    }
}

/// Does the handshake of TLS first.
async fn secure(shell: Rc<Shell>, index: u16, tcp: TcpStream, seat: Seat) {
    let door = Arc::clone(&seat.door);
    let Some(acceptor) = &door.acceptor else { return };
    let stream = match acceptor.accept(tcp).await {
        Ok(stream) => stream,
        Err(error) => {
            tracing::debug!(client = %seat.client, %error, "no TLS with a client");
            door.counters.handshakes_failed.fetch_add(1, Ordering::Relaxed);
            return;
        }
    };
    door.counters.handshakes.fetch_add(1, Ordering::Relaxed);
    door.counters.handshakes_resumed.fetch_add(stream.is_resumed().into(), Ordering::Relaxed);
    // The pools may have been reloaded meanwhile.
    let Some((shell, index)) = shell.latest(index).filter(|(latest, _)| !latest.is_draining()) else {
        return;
    };
    let is_same = Arc::ptr_eq(shell.door(index), &seat.door);
    let seat = if is_same { Some(seat) } else { seat.keep(shell.door(index), shell.now()) };
    if let Some(seat) = seat {
        enter(&shell, index, stream, seat);
    }
}

/// The client can be served.
fn enter(shell: &Rc<Shell>, index: u16, stream: Stream, seat: Seat) {
    let mut proxy = shell.proxy.borrow_mut();
    let id = proxy.client_opened(shell.door(index).id, shell.now());
    proxy.limit_client(id, seat.bucket());
    let task = spawn_local(read(Rc::clone(shell), id)).abort_handle();
    let connection = Connection::new(task, Some(Socket::new(stream)), Some(seat));
    shell.sockets.borrow_mut().clients.insert(id, connection);
}

/// One of a door's `max_connections`, and of those that the client may have.
pub(super) struct Seat {
    door: Arc<OpenDoor>,
    client: IpAddr,
    share: Share,
}

impl Seat {
    fn take(door: &Arc<OpenDoor>, client: IpAddr, share: Share) -> Option<Self> {
        let most = door.config.max_connections;
        let free = |taken: usize| (taken < most).then_some(taken + 1);
        door.connections.try_update(Ordering::Relaxed, Ordering::Relaxed, free).ok()?;
        Some(Self { door: Arc::clone(door), client, share })
    }

    /// A client that is connected keeps its place when its door changes, whatever the limits are now. `None` if it would
    /// not have come in so.
    pub(super) fn keep(self, door: &Arc<OpenDoor>, now: Nanos) -> Option<Self> {
        let (old, new) = (&self.door.config, &door.config);
        let is_kept = old.tls == new.tls
            && old.password_file == new.password_file
            && config::is_allowed(&door.allowed, self.client);
        is_kept.then(|| {
            door.connections.fetch_add(1, Ordering::Relaxed);
            let share = door.clients.keep(self.client, now);
            Self { door: Arc::clone(door), client: self.client, share }
        })
    }

    /// Whose it is.
    pub(super) fn client(&self) -> IpAddr {
        self.client
    }

    /// What limits the client's requests, if something does.
    pub(super) fn bucket(&self) -> Option<Arc<TokenBucket>> {
        self.share.bucket()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.door.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Reads from a client until its connection ends, in whatever generation of pools it is.
async fn read(mut shell: Rc<Shell>, mut id: ClientId) {
    let mut ended = false;
    loop {
        match poll_fn(|context| poll(&shell, id, &mut ended, context)).await {
            Ok(None) => return,
            Ok(Some(moved)) => (shell, id) = (moved.shell, moved.id),
            Err(_) => {
                shell.proxy.borrow_mut().client_closed(id, shell.now());
                shell.schedule_flush();
                return shell.forget_client(id);
            }
        }
    }
}

/// Sends what had to wait, and reads what there is. Ready when the connection is closed or lost, or goes on elsewhere.
fn poll(
    shell: &Shell,
    id: ClientId,
    ended: &mut bool,
    context: &mut Context<'_>,
) -> Poll<io::Result<Option<Moved>>> {
    let unblocked = shell.sockets.borrow_mut().client(id).map(|socket| socket.poll_unblocked(context));
    let Some(unblocked) = unblocked else { return Poll::Ready(Ok(shell.moved(id))) };
    if unblocked {
        shell.send_to_client(id);
        shell.schedule_flush();
    }
    for _ in 0..READS {
        let wants = shell.proxy.borrow().client_wants(id);
        if wants == 0 || *ended {
            return Poll::Pending;
        }
        let mut input = shell.input.borrow_mut();
        let mut bytes = ReadBuf::new(&mut input[..wants]);
        let mut sockets = shell.sockets.borrow_mut();
        let Some(socket) = sockets.client(id) else { return Poll::Ready(Ok(None)) };
        ready!(socket.poll_read(context, &mut bytes))?;
        let mut proxy = shell.proxy.borrow_mut();
        if bytes.filled().is_empty() {
            *ended = true;
            proxy.client_ended(id, shell.now());
        } else {
            proxy.client_received(id, bytes.filled(), shell.now(), &mut *sockets);
        }
        shell.schedule_flush();
    }
    context.waker().wake_by_ref();
    Poll::Pending
}
