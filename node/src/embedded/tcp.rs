//! TCP: one task for each connection.
//!
//! An idle connection owns no buffers: input is read into a buffer of the thread, and only what a command still waits
//! for is kept. Replies are written as they come; while a client does not take them, nothing more is read from it.
//!
//! **Bounds.** `max_connections` connections: one more reads `ERROR Too many open connections` and is closed, as
//! memcached does. [`HELD_INPUT_BYTES`] of unfinished commands over all connections: the one that asks for more is told
//! that there is no memory for it and closed. A client that takes nothing for `stall_timeout_s`, or leaves a command
//! unfinished for as long, is cut; of a large one [`ENOUGH_BYTES`](memcached_bridge::proxy::limits::ENOUGH_BYTES) in that time are enough.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use memcached_bridge::proxy::limits::Progress;
use memcached_bridge::session::stats::connections::Listed;
use memcached_bridge::session::{Needs, Session};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;

use super::Shared;
use super::counters::{add, read};
use crate::limits::Share;
use crate::tls::Stream;
use crate::{config, telemetry};

/// Bytes read at a time.
const READ_BYTES: usize = 64 * 1024;
/// Bytes of unfinished commands that are held for all connections together.
const HELD_INPUT_BYTES: usize = 256 << 20;
/// What a connection may hold without asking: any command line but a long multiget.
const FREE_INPUT_BYTES: usize = 4096;
/// How long accepting rests when the process has run out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// Accepts until `draining` turns true. Returns the connections that are still open.
pub(super) async fn accept(
    listener: TcpListener,
    shared: &Arc<Shared>,
    mut draining: watch::Receiver<bool>,
) -> JoinSet<()> {
    let budget = Arc::new(Semaphore::new(HELD_INPUT_BYTES));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = draining.wait_for(|draining| *draining) => return connections,
            Some(_) = connections.join_next() => continue,
        };
        match accepted {
            Ok((tcp, client)) => match admit(client, shared) {
                Ok(seat) => _ = connections.spawn(serve(tcp, seat, Arc::clone(&budget), draining.clone())),
                Err(Refused::Full) => reject(tcp, shared),
                Err(Refused::Stranger) => {}
            },
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// A place among the connections, until it is dropped.
struct Seat {
    client: SocketAddr,
    shared: Arc<Shared>,
    _share: Share,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.shared.server.facts.curr_connections.fetch_sub(1, std::sync::atomic::Ordering::Relaxed);
    }
}

/// Why a client is not served.
enum Refused {
    /// It is off the allowlist.
    Stranger,
    /// There are too many connections, its own or all.
    Full,
}

fn admit(client: SocketAddr, shared: &Arc<Shared>) -> Result<Seat, Refused> {
    let facts = &shared.server.facts;
    if !config::is_allowed(&shared.config.clients, client.ip()) {
        add(&shared.counters.refused_clients, 1);
        return Err(Refused::Stranger);
    }
    if read(&facts.curr_connections) >= shared.config.max_connections as u64 {
        add(&facts.rejected_connections, 1);
        return Err(Refused::Full);
    }
    let Some(share) = shared.clients.admit(client.ip(), shared.clock.now().at) else {
        add(&shared.counters.crowded_clients, 1);
        return Err(Refused::Full);
    };
    add(&facts.curr_connections, 1);
    add(&facts.total_connections, 1);
    Ok(Seat { client, shared: Arc::clone(shared), _share: share })
}

/// Tells the client why, if that can be done at once, and closes.
fn reject(tcp: TcpStream, shared: &Shared) {
    if shared.acceptor.is_none()
        && let Ok(mut stream) = tcp.into_std()
    {
        _ = io::Write::write(&mut stream, b"ERROR Too many open connections\r\n");
    }
}

/// Serves one connection, after its handshake if it needs one.
async fn serve(tcp: TcpStream, seat: Seat, budget: Arc<Semaphore>, mut draining: watch::Receiver<bool>) {
    // Replies are written whole, so there is nothing to wait for.
    _ = tcp.set_nodelay(true);
    let shared = &seat.shared;
    let stream = match &shared.acceptor {
        None => Stream::Plain(tcp),
        Some(acceptor) => tokio::select! {
            stream = acceptor.accept(tcp) => match stream {
                Ok(stream) => {
                    add(&shared.counters.handshakes, 1);
                    add(&shared.counters.handshakes_resumed, stream.is_resumed().into());
                    stream
                }
                Err(error) => {
                    tracing::debug!(client = %seat.client, %error, "no TLS with a client");
                    return add(&shared.counters.handshakes_failed, 1);
                }
            },
            _ = draining.wait_for(|draining| *draining) => return,
        },
    };
    Connection::new(stream, seat, budget).run(draining).await;
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch { input: vec![0; READ_BYTES], out: Vec::new() });
}

/// Buffers that the connections of a thread take turns with.
struct Scratch {
    input: Vec<u8>,
    out: Vec<u8>,
}

struct Connection {
    stream: Stream,
    listed: Listed,
    shared: Arc<Shared>,
    session: Session,
    /// Input that is not consumed yet.
    held: Vec<u8>,
    /// When the client last got on with what it has begun to send.
    progress: Progress,
    /// Replies that the client has not taken yet.
    unsent: Vec<u8>,
    /// Nothing more is read: the client or the session ended the connection.
    ended: bool,
    budget: Arc<Semaphore>,
    /// The share of the budget for `held`.
    permit: Option<OwnedSemaphorePermit>,
    _seat: Seat,
}

impl Connection {
    fn new(stream: Stream, seat: Seat, budget: Arc<Semaphore>) -> Self {
        let shared = Arc::clone(&seat.shared);
        let now = shared.clock.now();
        Self {
            stream,
            listed: shared.server.facts.connections.enter(seat.client, now),
            shared,
            session: Session::new(),
            held: Vec::new(),
            progress: Progress::new(now.at),
            unsent: Vec::new(),
            ended: false,
            budget,
            permit: None,
            _seat: seat,
        }
    }

    async fn run(mut self, draining: watch::Receiver<bool>) {
        if self.answer_requests(draining).await.is_ok() {
            self.stream.close().await;
        }
    }

    /// Until the connection ends in order, or is lost.
    async fn answer_requests(&mut self, mut draining: watch::Receiver<bool>) -> io::Result<()> {
        loop {
            if !self.unsent.is_empty() || self.stream.has_unsent() {
                self.send_rest().await?;
                self.answer_held()?;
                continue;
            }
            if self.ended {
                return Ok(());
            }
            let left = if self.is_idle() { self.shared.config.stall_timeout } else { self.time_left() };
            tokio::select! {
                biased;
                readable = self.stream.readable() => {
                    readable?;
                    self.read()?;
                }
                _ = draining.wait_for(|draining| *draining), if self.is_idle() => return Ok(()),
                () = tokio::time::sleep(left), if !self.is_idle() => {
                    if self.time_left().is_zero() {
                        add(&self.shared.counters.stalled_clients, 1);
                        return Err(io::ErrorKind::TimedOut.into());
                    }
                }
            }
        }
    }

    /// How long the client may leave what it has begun to send.
    fn time_left(&self) -> Duration {
        let now = self.shared.clock.now().at;
        self.shared.config.stall_timeout.saturating_sub(self.progress.age(now))
    }

    /// Whether nothing of the client's is in flight.
    fn is_idle(&self) -> bool {
        self.held.is_empty() && self.session.is_between_requests()
    }

    async fn send_rest(&mut self) -> io::Result<()> {
        let writable = poll_fn(|context| self.stream.poll_writable(context));
        let Ok(writable) = tokio::time::timeout(self.shared.config.stall_timeout, writable).await else {
            add(&self.shared.counters.stalled_clients, 1);
            return Err(io::ErrorKind::TimedOut.into());
        };
        writable?;
        if self.unsent.is_empty() {
            return Ok(());
        }
        let sent = match self.stream.try_write(&self.unsent) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            sent => sent?,
        };
        add(&self.shared.server.facts.bytes_written, sent as u64);
        self.unsent.drain(..sent);
        if self.unsent.is_empty() {
            self.unsent = Vec::new();
        }
        Ok(())
    }

    /// Reads what there is and answers it.
    fn read(&mut self) -> io::Result<()> {
        SCRATCH.with_borrow_mut(|Scratch { input, out }| {
            let len = match self.stream.try_read(input) {
                Ok(0) => {
                    self.ended = true;
                    return Ok(());
                }
                Ok(len) => len,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            add(&self.shared.server.facts.bytes_read, len as u64);
            let _span = self.shared.sampling.picks().then(|| self.span(len));
            let is_new = self.is_idle();
            if !is_new {
                self.progress.moved(len, self.shared.clock.now().at);
            }
            if !self.held.is_empty() {
                self.held.extend_from_slice(&input[..len]);
                return self.answer_all_held(out);
            }
            let consumed = self.answer(&input[..len], out)?;
            self.held.extend_from_slice(&input[consumed..len]);
            if is_new && !self.is_idle() {
                self.progress = Progress::new(self.shared.clock.now().at);
            }
            self.account(out)
        })
    }

    /// The span of what is answered now: the commands that came in one read.
    fn span(&self, len: usize) -> tracing::span::EnteredSpan {
        let client = self.stream.tcp().peer_addr().map_or(String::new(), |client| client.to_string());
        let read = u64::try_from(len).unwrap_or(u64::MAX);
        tracing::info_span!(
            target: telemetry::TRACE,
            "memcached",
            otel.kind = "server",
            network.transport = "tcp",
            client.address = client,
            memcached.bytes_read = read
        )
        .entered()
    }

    fn answer_held(&mut self) -> io::Result<()> {
        if self.held.is_empty() || !self.unsent.is_empty() || self.ended {
            return Ok(());
        }
        SCRATCH.with_borrow_mut(|scratch| self.answer_all_held(&mut scratch.out))
    }

    fn answer_all_held(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        let held = std::mem::take(&mut self.held);
        let consumed = self.answer(&held, out)?;
        self.held = held;
        self.held.drain(..consumed);
        if self.held.is_empty() {
            self.held = Vec::new();
        }
        self.account(out)
    }

    /// Carries out the requests in `input` and sends the replies, until more input is needed or the client does not
    /// take more. Returns how much of the input is done with.
    fn answer(&mut self, input: &[u8], out: &mut Vec<u8>) -> io::Result<usize> {
        let mut consumed = 0;
        loop {
            out.clear();
            let now = self.shared.clock.now();
            self.listed.is_active(now);
            let progress = self.session.receive(&input[consumed..], &self.shared.server, now, out);
            consumed += progress.consumed;
            if progress.consumed > 0 && self.session.is_between_requests() {
                self.progress = Progress::new(now.at);
            }
            self.ended |= progress.needs == Needs::Close;
            self.send(out)?;
            if progress.needs != Needs::Output || !self.unsent.is_empty() {
                return Ok(consumed);
            }
        }
    }

    /// Sends `out` as far as it goes at once; the rest waits in `unsent`.
    fn send(&mut self, out: &[u8]) -> io::Result<()> {
        let mut sent = 0;
        while sent < out.len() {
            match self.stream.try_write(&out[sent..]) {
                Ok(len) => sent += len,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        add(&self.shared.server.facts.bytes_written, sent as u64);
        self.unsent.extend_from_slice(&out[sent..]);
        Ok(())
    }

    /// Keeps the share of the budget in step with what is held.
    fn account(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        let wanted = self.held.len().max(self.session.awaited_input());
        let has = self.permit.as_ref().map_or(FREE_INPUT_BYTES, OwnedSemaphorePermit::num_permits);
        if self.held.is_empty() {
            self.permit = None;
            return Ok(());
        }
        if wanted <= has || self.ended {
            return Ok(());
        }
        let more = u32::try_from(
            wanted.next_power_of_two() - self.permit.as_ref().map_or(0, |permit| permit.num_permits()),
        );
        let permit = more.ok().and_then(|more| Arc::clone(&self.budget).try_acquire_many_owned(more).ok());
        let Some(permit) = permit else {
            add(&self.shared.counters.input_full, 1);
            self.ended = true;
            out.clear();
            self.session.out_of_memory(&self.held, out);
            return self.send(out);
        };
        match &mut self.permit {
            Some(held) => held.merge(permit),
            None => self.permit = Some(permit),
        }
        Ok(())
    }
}
