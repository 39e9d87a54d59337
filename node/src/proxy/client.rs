//! Connections of clients: accepted, admitted, read.

use std::future::poll_fn;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use memcached_bridge::proxy::ClientId;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::tcp::OwnedReadHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::spawn_local;

use super::OpenPool;
use super::sockets::{Connection, Socket};
use super::thread::{Moved, Shell};
use crate::config;

/// Reads of one client before others have their turn.
const READS: usize = 4;
/// How long accepting rests when the process has run out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// Accepts clients of the pool at index `pool`, for ever.
pub(super) async fn accept(shell: Rc<Shell>, pool: u16, listener: Rc<TcpListener>) {
    loop {
        match listener.accept().await {
            Ok((stream, client)) => admit(&shell, pool, stream, client),
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn admit(shell: &Rc<Shell>, index: u16, stream: TcpStream, client: SocketAddr) {
    let pool = shell.pool(index);
    if !config::is_allowed(&pool.config.clients, client.ip()) {
        pool.counters.refused_clients.fetch_add(1, Ordering::Relaxed);
        return;
    }
    let Some(seat) = Seat::take(pool) else {
        pool.counters.rejected_connections.fetch_add(1, Ordering::Relaxed);
        // Told if that can be done at once.
        if let Ok(mut stream) = stream.into_std() {
            _ = stream.write(b"ERROR Too many open connections\r\n");
        }
        return;
    };
    // What is sent is sent whole, so there is nothing to wait for.
    _ = stream.set_nodelay(true);
    let id = shell.proxy.borrow_mut().client_opened(index, shell.now());
    let (reader, writer) = stream.into_split();
    let task = spawn_local(read(Rc::clone(shell), id, reader, seat)).abort_handle();
    let connection = Connection::new(task, Some(Socket::new(writer)));
    shell.sockets.borrow_mut().clients.insert(id, connection);
}

/// One of a pool's `max_connections`.
struct Seat(Arc<OpenPool>);

impl Seat {
    fn take(pool: &Arc<OpenPool>) -> Option<Self> {
        let most = pool.tcp.max_connections;
        let free = |taken: usize| (taken < most).then_some(taken + 1);
        pool.connections.try_update(Ordering::Relaxed, Ordering::Relaxed, free).ok()?;
        Some(Self(Arc::clone(pool)))
    }

    /// A client that is connected keeps its place when its pool changes, whatever the limit is now.
    fn keep(pool: &Arc<OpenPool>) -> Self {
        pool.connections.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(pool))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Reads from a client until its connection ends, in whatever generation of pools it is.
async fn read(mut shell: Rc<Shell>, mut id: ClientId, mut reader: OwnedReadHalf, mut seat: Seat) {
    let mut ended = false;
    loop {
        match poll_fn(|context| poll(&shell, id, &mut reader, &mut ended, context)).await {
            Ok(None) => return,
            Ok(Some(moved)) => {
                seat = Seat::keep(moved.shell.pool(moved.pool));
                (shell, id) = (moved.shell, moved.id);
            }
            Err(_) => {
                shell.proxy.borrow_mut().client_closed(id, shell.now());
                shell.schedule_flush();
                shell.forget_client(id);
                return drop(seat);
            }
        }
    }
}

/// Sends what had to wait, and reads what there is. Ready when the connection is closed or lost, or goes on elsewhere.
fn poll(
    shell: &Shell,
    id: ClientId,
    reader: &mut OwnedReadHalf,
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
        // A read that does not fill the buffer clears the readiness: there is no other one to see that it is empty.
        ready!(Pin::new(&mut *reader).poll_read(context, &mut bytes))?;
        let mut proxy = shell.proxy.borrow_mut();
        if bytes.filled().is_empty() {
            *ended = true;
            proxy.client_ended(id, shell.now());
        } else {
            proxy.client_received(id, bytes.filled(), shell.now(), &mut *shell.sockets.borrow_mut());
        }
        shell.schedule_flush();
    }
    context.waker().wake_by_ref();
    Poll::Pending
}
