//! One thread: its runtime, its connections, and the flush.
//!
//! A reload gives it another generation of pools, with a proxy of its own. Both live side by side while clients move from
//! the one to the other, each between two of its requests; then the old one's tasks and connections end.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::task::{Poll, Waker};
use std::time::Duration;

use fabric::time::Nanos;
use memcached_bridge::members::Change;
use memcached_bridge::proxy::trace::Share;
use memcached_bridge::proxy::{Action, BackendId, ClientId, Proxy};
use slotmap::SecondaryMap;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::{Notify, watch};
use tokio::task::{AbortHandle, spawn_local};
use tokio::time::MissedTickBehavior;

use super::client::Seat;
use super::coalescing::Coalescing;
use super::generation::{APART, Generation, Listener};
use super::sockets::{Connection, Sent, Socket, Sockets};
use super::spans::{Setting, Spans};
use super::{OpenDoor, OpenPool, Serving, backend, client};
use crate::clock::Clock;
use crate::run::GRACE;

/// Bytes read from a server at a time; of what a client sends the proxy says how much it wants.
const READ_BYTES: usize = 256 * 1024;
/// Time between two looks at deadlines.
const TICK: Duration = Duration::from_millis(20);
/// Time between two warnings of servers that TLS fails with: they are tried some times a second.
const TLS_WARNINGS: Duration = Duration::from_secs(10);
/// How late the kernel may wake the thread.
const TIMER_SLACK_NS: u64 = 1000;
/// Tasks that are run before the system is asked what is ready: more than mostly are at once, so that these are
/// answered together.
const TASKS_IN_A_ROW: u32 = 1024;

thread_local! {
    /// Requests that this thread has with servers: the runtime's hooks take no state.
    static IN_FLIGHT: Cell<usize> = const { Cell::new(0) };
    static COALESCING: RefCell<Coalescing> = const { RefCell::new(Coalescing::new(Duration::ZERO)) };
}

/// What a thread keeps through all reloads.
pub(super) struct Fixed {
    /// Its number.
    pub(super) index: u16,
    /// How long it waits, while it is busy, before it looks for more to do.
    pub(super) coalesce: Duration,
    pub(super) clock: Clock,
    /// Where spans of a sample of requests go.
    pub(super) spans: Option<Spans>,
}

/// Serves `first`, and then what comes by `reloads`, until `draining` turns true. Says in `started` whether it can.
pub(super) fn run(
    Fixed { index, coalesce, clock, spans }: Fixed,
    first: Generation,
    reloads: UnboundedReceiver<Generation>,
    draining: watch::Receiver<bool>,
    started: &mpsc::Sender<io::Result<()>>,
) {
    COALESCING.set(Coalescing::new(coalesce));
    // A pause is to last as long as it says, not up to the 50 us longer that the kernel may take to save wake-ups.
    _ = nix::sys::prctl::set_timerslack(TIMER_SLACK_NS);
    let mut builder = Builder::new_current_thread();
    let runtime = builder.enable_io().enable_time().event_interval(TASKS_IN_A_ROW);
    let runtime = runtime.on_thread_park(move || {
        let pause = COALESCING.with_borrow_mut(|coalescing| coalescing.parks(clock.now(), IN_FLIGHT.get()));
        pause.into_iter().for_each(std::thread::sleep);
    });
    let runtime = runtime
        .on_thread_unpark(move || COALESCING.with_borrow_mut(|coalescing| coalescing.wakes(clock.now())));
    let runtime = match runtime.build_local(LocalOptions::default()) {
        Ok(runtime) => runtime,
        Err(error) => {
            _ = started.send(Err(error));
            return;
        }
    };
    runtime.block_on(async {
        let listeners = match open(first.listeners, &[]) {
            Ok(listeners) => listeners,
            Err(error) => {
                _ = started.send(Err(error));
                return;
            }
        };
        _ = started.send(Ok(()));
        let shell = Shell::start(index, first.serving, listeners, clock, spans);
        serve(index, shell, reloads, draining).await;
    });
}

async fn serve(
    index: u16,
    mut shell: Rc<Shell>,
    mut reloads: UnboundedReceiver<Generation>,
    mut draining: watch::Receiver<bool>,
) {
    let mut retired: Vec<Rc<Shell>> = Vec::new();
    loop {
        let next = tokio::select! {
            _ = draining.wait_for(|draining| *draining) => break,
            next = reloads.recv() => next,
        };
        // Whoever reloads is gone: so is the node, soon.
        let Some(next) = next else { break };
        let listeners = match open(next.listeners, &shell.listeners) {
            Ok(listeners) => listeners,
            Err(error) => {
                tracing::error!(%error, "a thread cannot listen for the pools as they are now; it serves those of before");
                continue;
            }
        };
        let successor = Shell::start(index, next.serving, listeners, shell.clock, shell.spans.clone());
        shell.retire(Succession { shell: Rc::clone(&successor), doors: next.successors });
        spawn_local(Rc::clone(&shell).end());
        retired.retain(|old| !old.sockets.borrow().clients.is_empty());
        retired.push(std::mem::replace(&mut shell, successor));
    }
    retired.push(shell);
    retired.iter().for_each(|shell| shell.drain());
    let all_ended = async {
        for shell in &retired {
            shell.clients_gone().await;
        }
    };
    if tokio::time::timeout(GRACE, all_ended).await.is_err() {
        tracing::warn!(grace = ?GRACE, "some clients of pools did not end in time and were cut");
    }
}

/// Where clients are accepted: new listeners, or those of the generation before.
fn open(listeners: Vec<Listener>, before: &[Rc<TcpListener>]) -> io::Result<Vec<Rc<TcpListener>>> {
    let open = |listener| match listener {
        Listener::New(listener) => TcpListener::from_std(listener).map(Rc::new),
        Listener::Kept(index) => Ok(Rc::clone(&before[index])),
    };
    listeners.into_iter().map(open).collect()
}

/// Who takes a generation's clients over.
struct Succession {
    shell: Rc<Shell>,
    /// By door: the successor's index of it.
    doors: Vec<Option<u16>>,
}

/// Where a client goes on.
pub(super) struct Moved {
    pub(super) shell: Rc<Shell>,
    pub(super) id: ClientId,
}

/// What the tasks of a generation share. No borrow lasts over an await.
pub(super) struct Shell {
    serving: Arc<Serving>,
    /// By door.
    listeners: Vec<Rc<TcpListener>>,
    clock: Clock,
    spans: Option<Spans>,
    pub(super) proxy: RefCell<Proxy>,
    pub(super) sockets: RefCell<Sockets>,
    /// What is read goes through here.
    pub(super) input: RefCell<Box<[u8]>>,
    flusher: RefCell<Option<Waker>>,
    /// The flush is woken.
    flushing: Cell<bool>,
    /// Told when a connection of a client has ended.
    ended: Notify,
    /// The tasks that accept clients, and the others that are no connection's.
    accepting: RefCell<Vec<AbortHandle>>,
    background: RefCell<Vec<AbortHandle>>,
    succession: RefCell<Option<Succession>>,
    /// Clients whose task has not seen yet that they moved.
    moved: RefCell<SecondaryMap<ClientId, Moved>>,
    /// Connections of clients that are told of their end.
    closing: Cell<usize>,
    draining: Cell<bool>,
    /// When the log last told of a server that TLS failed with.
    warned_of_tls: Cell<Option<Nanos>>,
}

impl Shell {
    /// Serves what is to be served on its `listeners` from now on.
    fn start(
        index: u16,
        serving: Arc<Serving>,
        listeners: Vec<Rc<TcpListener>>,
        clock: Clock,
        spans: Option<Spans>,
    ) -> Rc<Self> {
        let pools = serving.pools.iter().map(|pool| Arc::clone(&pool.shared)).collect();
        let routes = serving.routes.iter().map(|route| Arc::clone(&route.shared)).collect();
        let seed = RandomState::new().hash_one(index);
        let mut proxy = Proxy::new(pools, index, seed).with_routes(routes);
        if let Some(spans) = &spans {
            proxy.trace(spans.period(), seed);
        }
        let shell = Rc::new(Self {
            serving,
            listeners,
            clock,
            spans,
            proxy: RefCell::new(proxy),
            sockets: RefCell::default(),
            input: RefCell::new(vec![0; READ_BYTES].into_boxed_slice()),
            flusher: RefCell::new(None),
            flushing: Cell::new(false),
            ended: Notify::new(),
            accepting: RefCell::default(),
            background: RefCell::default(),
            succession: RefCell::default(),
            moved: RefCell::default(),
            closing: Cell::new(0),
            draining: Cell::new(false),
            warned_of_tls: Cell::new(None),
        });
        let background = [
            spawn_local(flush(Rc::clone(&shell))).abort_handle(),
            spawn_local(tick(Rc::clone(&shell))).abort_handle(),
        ];
        shell.background.borrow_mut().extend(background);
        let accepting = (0u16..).zip(&shell.listeners).map(|(door, listener)| {
            spawn_local(client::accept(Rc::clone(&shell), door, Rc::clone(listener))).abort_handle()
        });
        let accepting: Vec<_> = accepting.collect();
        *shell.accepting.borrow_mut() = accepting;
        shell
    }

    pub(super) fn pool(&self, index: u16) -> &Arc<OpenPool> {
        &self.serving.pools[usize::from(index)]
    }

    pub(super) fn door(&self, index: u16) -> &Arc<OpenDoor> {
        &self.serving.doors[usize::from(index)]
    }

    /// Takes no more clients, and leaves those there are to a successor.
    fn retire(&self, succession: Succession) {
        self.stop_accepting();
        *self.succession.borrow_mut() = Some(succession);
        self.proxy.borrow_mut().retire(self.now());
        self.schedule_flush();
    }

    /// Takes no more clients, and closes those there are when what they have begun is done.
    fn drain(&self) {
        self.stop_accepting();
        self.draining.set(true);
        self.proxy.borrow_mut().drain(self.now());
        self.schedule_flush();
    }

    fn stop_accepting(&self) {
        self.accepting.borrow_mut().drain(..).for_each(|task| task.abort());
    }

    async fn clients_gone(&self) {
        while !self.sockets.borrow().clients.is_empty() || self.closing.get() > 0 {
            self.ended.notified().await;
        }
    }

    /// Ends a retired generation when its clients have moved, or have had their time. Its connections to servers stay for
    /// a while: replies to writes may still come.
    async fn end(self: Rc<Self>) {
        if tokio::time::timeout(APART, self.clients_gone()).await.is_err() {
            let left = self.sockets.borrow().clients.len();
            tracing::warn!(
                clients = left,
                "clients that did not finish their requests were cut after a reload"
            );
        }
        tokio::time::sleep(GRACE).await;
        self.background.borrow_mut().drain(..).for_each(|task| task.abort());
        *self.sockets.borrow_mut() = Sockets::default();
        *self.succession.borrow_mut() = None;
    }

    /// The generation that serves now, and its index of what was the door at `index` here. `None` if that is gone.
    pub(super) fn latest(self: &Rc<Self>, mut index: u16) -> Option<(Rc<Self>, u16)> {
        let mut latest = Rc::clone(self);
        loop {
            let next = match &*latest.succession.borrow() {
                Some(succession) => {
                    index = succession.doors[usize::from(index)]?;
                    Rc::clone(&succession.shell)
                }
                None => break,
            };
            latest = next;
        }
        Some((latest, index))
    }

    /// Where a client goes on that is none of this generation any more.
    pub(super) fn moved(&self, id: ClientId) -> Option<Moved> {
        self.moved.borrow_mut().remove(id)
    }

    /// Moves a client of which nothing is under way to the successor. One whose door is gone, or would not let it in so, is
    /// closed.
    fn hand_over(self: &Rc<Self>, id: ClientId) {
        let succession = self.succession.borrow();
        let Some(Succession { shell: next, doors }) = &*succession else { return };
        let Some(handover) = self.proxy.borrow_mut().hand_over(id, self.now()) else { return };
        let Some(mut connection) = self.sockets.borrow_mut().clients.remove(id) else { return };
        let successor = self.serving.door(handover.door()).and_then(|old| {
            let door = next.door(doors[usize::from(old)]?);
            let seat = connection.seat.take()?.keep(door, next.now())?;
            Some((door.id, seat))
        });
        let Some((door, seat)) = successor else { return self.close(connection) };
        {
            let (mut proxy, mut sockets) = (next.proxy.borrow_mut(), next.sockets.borrow_mut());
            let new = proxy.take_over(door, handover, next.now(), &mut *sockets);
            proxy.limit_client(new, seat.bucket());
            connection.seat = Some(seat);
            // Its task looks for it here, and finds that it moved.
            connection.socket.iter().for_each(|socket| socket.wake());
            sockets.clients.insert(new, connection);
            self.moved.borrow_mut().insert(id, Moved { shell: Rc::clone(next), id: new });
        }
        next.schedule_flush();
        self.ended.notify_one();
    }

    pub(super) fn now(&self) -> Nanos {
        self.clock.now()
    }

    /// Wakes the flush, behind all tasks that are woken already.
    pub(super) fn schedule_flush(&self) {
        if !self.flushing.replace(true)
            && let Some(flusher) = &*self.flusher.borrow()
        {
            flusher.wake_by_ref();
        }
    }

    /// Does what the proxy wants done.
    fn flush(self: &Rc<Self>) {
        loop {
            let action = self.proxy.borrow_mut().next_action();
            match action {
                None => return self.send_spans(),
                Some(Action::SendToClient(id)) => self.send_to_client(id),
                Some(Action::SendToBackend(id)) => self.send_to_backend(id),
                Some(Action::ReadClient(id)) => {
                    self.sockets.borrow_mut().client(id).inspect(|socket| socket.wake());
                }
                Some(Action::ReadBackend(id)) => {
                    self.sockets.borrow_mut().backend(id).inspect(|socket| socket.wake());
                }
                Some(Action::CloseClient(id)) => {
                    // While it is known whose they are.
                    self.send_spans();
                    self.close_client(id);
                }
                Some(Action::HandOver(id)) => self.hand_over(id),
                Some(Action::CloseBackend(id)) => {
                    self.sockets.borrow_mut().backends.remove(id);
                }
                Some(Action::Connect(id, server)) => backend::connect(self, id, server),
                Some(Action::Changed { pool, change }) => self.log(pool, &change),
            }
        }
    }

    /// Tells the collector of the requests that were traced.
    fn send_spans(&self) {
        let Some(spans) = &self.spans else { return };
        while let Some(trace) = self.proxy.borrow_mut().next_trace() {
            let sockets = self.sockets.borrow();
            let seat = sockets.clients.get(trace.client).and_then(|client| client.seat.as_ref());
            let server_of = |share: &Share| {
                let pool = &self.pool(share.server.pool).config;
                pool.servers.get(usize::from(share.server.server))
            };
            let pool = &self.pool(trace.pool).config;
            let client = seat.map(Seat::client);
            spans.send(&trace, &Setting { pool, server_of: &server_of, client, now: self.now() });
        }
    }

    /// Sends what the client is to get, as far as it goes.
    pub(super) fn send_to_client(&self, id: ClientId) {
        loop {
            let (mut proxy, mut sockets) = (self.proxy.borrow_mut(), self.sockets.borrow_mut());
            let bytes = proxy.client_output(id);
            let Some(socket) = sockets.client(id).filter(|_| !bytes.is_empty()) else { return };
            match socket.send(bytes) {
                Sent::Some(0) => return,
                Sent::Some(len) => proxy.client_sent(id, len, self.now(), &mut *sockets),
                Sent::Lost => {
                    proxy.client_closed(id, self.now());
                    drop((proxy, sockets));
                    return self.forget_client(id);
                }
            }
        }
    }

    /// Sends what the server is to get, as far as it goes.
    pub(super) fn send_to_backend(&self, id: BackendId) {
        loop {
            let (mut proxy, mut sockets) = (self.proxy.borrow_mut(), self.sockets.borrow_mut());
            let bytes = proxy.backend_output(id);
            let Some(socket) = sockets.backend(id).filter(|_| !bytes.is_empty()) else { return };
            match socket.send(bytes) {
                Sent::Some(0) => return,
                Sent::Some(len) => proxy.backend_sent(id, len, self.now(), &mut *sockets),
                // Replies may be there to be read still: the reader finds the end.
                Sent::Lost => return socket.wake(),
            }
        }
    }

    /// Closes the client's connection; over TLS the client is told.
    fn close_client(self: &Rc<Self>, id: ClientId) {
        let closed = self.sockets.borrow_mut().clients.remove(id);
        if let Some(connection) = closed {
            self.close(connection);
        }
    }

    fn close(self: &Rc<Self>, mut connection: Connection) {
        let Some(stream) = connection.socket.take().and_then(Socket::into_farewell) else {
            return self.ended.notify_one();
        };
        let (shell, seat) = (Rc::clone(self), connection.seat.take());
        self.closing.update(|closing| closing + 1);
        spawn_local(async move {
            stream.close().await;
            drop(seat);
            shell.closing.update(|closing| closing - 1);
            shell.ended.notify_one();
        });
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining.get()
    }

    /// Tells the log why a server cannot be used, now and then.
    pub(super) fn warn_of_tls(&self, pool: &str, address: &str, error: &io::Error) {
        let now = self.now();
        if self.warned_of_tls.get().is_none_or(|warned| now.since(warned) >= TLS_WARNINGS) {
            self.warned_of_tls.set(Some(now));
            tracing::warn!(pool, address, %error, "no TLS with a server; see [pool.server_tls]");
        }
    }

    /// The client's connection is closed.
    pub(super) fn forget_client(&self, id: ClientId) {
        if self.sockets.borrow_mut().clients.remove(id).is_some() {
            self.ended.notify_one();
        }
    }

    fn log(&self, pool: u16, change: &Change) {
        let pool = &self.pool(pool).config;
        let name = |index: usize| pool.servers[index].name.as_str();
        match *change {
            Change::Ejected(index) => {
                tracing::warn!(pool = pool.name, server = name(index), "ejected: it fails");
            }
            Change::Returned(index) => {
                tracing::info!(pool = pool.name, server = name(index), "back: it answers");
            }
        }
    }
}

/// Runs when something is to be sent or done: after all tasks that were woken before it.
async fn flush(shell: Rc<Shell>) {
    poll_fn(|context| {
        let mut flusher = shell.flusher.borrow_mut();
        if flusher.is_none() {
            *flusher = Some(context.waker().clone());
        }
        drop(flusher);
        shell.flushing.set(false);
        shell.flush();
        IN_FLIGHT.set(shell.proxy.borrow().in_flight());
        Poll::<()>::Pending
    })
    .await;
}

async fn tick(shell: Rc<Shell>) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        shell.proxy.borrow_mut().tick(shell.now(), &mut *shell.sockets.borrow_mut());
        shell.schedule_flush();
    }
}
