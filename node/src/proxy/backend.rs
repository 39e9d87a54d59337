//! Connections to servers.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use memcached_bridge::proxy::{BackendId, ServerId};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;
use tokio::task::spawn_local;

use super::sockets::{Connection, Socket};
use super::thread::Shell;

/// Reads of one connection before others have their turn.
const READS: usize = 4;

/// Begins to connect to `server`.
pub(super) fn connect(shell: &Rc<Shell>, id: BackendId, server: ServerId) {
    let pool = &shell.pool(server.pool).config;
    let address = pool.servers[usize::from(server.server)].address.clone().unwrap_or_default();
    let task = spawn_local(serve(Rc::clone(shell), id, address)).abort_handle();
    shell.sockets.borrow_mut().backends.insert(id, Connection::new(task, None));
}

async fn serve(shell: Rc<Shell>, id: BackendId, address: String) {
    let ended = match TcpStream::connect(&address).await {
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

async fn read(shell: &Rc<Shell>, id: BackendId, stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut reader, writer) = stream.into_split();
    match shell.sockets.borrow_mut().backends.get_mut(id) {
        Some(connection) => connection.socket = Some(Socket::new(writer)),
        None => return Ok(()),
    }
    shell.proxy.borrow_mut().backend_connected(id, shell.now());
    shell.schedule_flush();
    poll_fn(|context| poll(shell, id, &mut reader, context)).await
}

/// Sends what had to wait, and reads what there is. Ready at the end of the connection.
fn poll(
    shell: &Shell,
    id: BackendId,
    reader: &mut OwnedReadHalf,
    context: &mut Context<'_>,
) -> Poll<io::Result<()>> {
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
        // A read that does not fill the buffer clears the readiness: there is no other one to see that it is empty.
        ready!(Pin::new(&mut *reader).poll_read(context, &mut bytes))?;
        if bytes.filled().is_empty() {
            return Poll::Ready(Ok(()));
        }
        let (mut proxy, mut sockets) = (shell.proxy.borrow_mut(), shell.sockets.borrow_mut());
        proxy.backend_received(id, bytes.filled(), shell.now(), &mut *sockets);
        shell.schedule_flush();
    }
    context.waker().wake_by_ref();
    Poll::Pending
}
