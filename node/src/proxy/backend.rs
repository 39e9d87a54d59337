//! Connections to servers.

use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

use memcached_bridge::proxy::{BackendId, ServerId};
use tokio::io::ReadBuf;
use tokio::net::TcpStream;
use tokio::task::spawn_local;

use super::sockets::{Connection, Socket};
use super::thread::Shell;
use crate::tls::Stream;

/// Reads of one connection before others have their turn.
const READS: usize = 4;

/// Begins to connect to `server`.
pub(super) fn connect(shell: &Rc<Shell>, id: BackendId, server: ServerId) {
    let pool = &shell.pool(server.pool).config;
    let address = pool.servers[usize::from(server.server)].address.clone().unwrap_or_default();
    let task = spawn_local(serve(Rc::clone(shell), id, server.pool, address)).abort_handle();
    shell.sockets.borrow_mut().backends.insert(id, Connection::new(task, None, None));
}

async fn serve(shell: Rc<Shell>, id: BackendId, pool: u16, address: String) {
    let ended = match reach(&shell, pool, &address).await {
        Ok(stream) => read(&shell, id, stream).await,
        Err(error) => {
            tracing::debug!(address, %error, "a server cannot be reached");
            Ok(())
        }
    };
    if let Err(error) = ended {
        tracing::debug!(address, %error, "a connection to a server is lost");
    }
    shell.proxy.borrow_mut().backend_closed(id, shell.now(), &mut *shell.sockets.borrow_mut());
    shell.schedule_flush();
}

/// A connection to a server, with TLS if the pool has it.
async fn reach(shell: &Shell, pool: u16, address: &str) -> io::Result<Stream> {
    let pool = shell.pool(pool);
    let tcp = TcpStream::connect(address).await?;
    tcp.set_nodelay(true)?;
    let Some(connector) = &pool.connector else { return Ok(Stream::Plain(tcp)) };
    let stream = connector.connect(tcp, address).await;
    if let Err(error) = &stream {
        pool.server_handshakes_failed.fetch_add(1, Ordering::Relaxed);
        shell.warn_of_tls(&pool.config.name, address, error);
    }
    stream
}

async fn read(shell: &Rc<Shell>, id: BackendId, stream: Stream) -> io::Result<()> {
    match shell.sockets.borrow_mut().backends.get_mut(id) {
        Some(connection) => connection.socket = Some(Socket::new(stream)),
        None => return Ok(()),
    }
    shell.proxy.borrow_mut().backend_connected(id, shell.now());
    shell.schedule_flush();
    poll_fn(|context| poll(shell, id, context)).await
}

/// Sends what had to wait, and reads what there is. Ready at the end of the connection.
fn poll(shell: &Shell, id: BackendId, context: &mut Context<'_>) -> Poll<io::Result<()>> {
    let unblocked = match shell.sockets.borrow_mut().backend(id) {
        Some(socket) => socket.poll_unblocked(context),
        None => return Poll::Ready(Ok(())),
    };
    if unblocked {
        shell.send_to_backend(id);
        shell.schedule_flush();
    }
    for _ in 0..READS {
        if !shell.proxy.borrow().backend_wants(id) {
            return Poll::Pending;
        }
        let mut input = shell.input.borrow_mut();
        let mut bytes = ReadBuf::new(&mut input);
        let mut sockets = shell.sockets.borrow_mut();
        let Some(socket) = sockets.backend(id) else { return Poll::Ready(Ok(())) };
        ready!(socket.poll_read(context, &mut bytes))?;
        if bytes.filled().is_empty() {
            return Poll::Ready(Ok(()));
        }
        let mut proxy = shell.proxy.borrow_mut();
        proxy.backend_received(id, bytes.filled(), shell.now(), &mut *sockets);
        shell.schedule_flush();
    }
    context.waker().wake_by_ref();
    Poll::Pending
}
