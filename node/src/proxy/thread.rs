//! One thread: its runtime, its connections, and the flush.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use fabric::time::Nanos;
use memcached_bridge::members::Change;
use memcached_bridge::proxy::{Action, BackendId, ClientId, Proxy};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{Notify, watch};
use tokio::task::spawn_local;
use tokio::time::MissedTickBehavior;

use super::sockets::{Sent, Sockets};
use super::{OpenPool, backend, client};
use crate::run::GRACE;

/// Bytes read from a server at a time; of what a client sends the proxy says how much it wants.
const READ_BYTES: usize = 256 * 1024;
/// Time between two looks at deadlines.
const TICK: Duration = Duration::from_millis(20);
/// Tasks that are run before the system is asked what is ready: more than mostly are at once, so that these are
/// answered together.
const TASKS_IN_A_ROW: u32 = 1024;

/// Serves `pools` on their `listeners` until `draining` turns true. Says in `started` whether it can.
pub(super) fn run(
    index: u16,
    pools: &Arc<[OpenPool]>,
    listeners: Vec<std::net::TcpListener>,
    clock: Instant,
    draining: watch::Receiver<bool>,
    started: &mpsc::Sender<io::Result<()>>,
) {
    let mut builder = Builder::new_current_thread();
    let runtime = builder.enable_io().enable_time().event_interval(TASKS_IN_A_ROW);
    let runtime = match runtime.build_local(LocalOptions::default()) {
        Ok(runtime) => runtime,
        Err(error) => {
            _ = started.send(Err(error));
            return;
        }
    };
    runtime.block_on(async {
        let listeners: io::Result<Vec<_>> = listeners.into_iter().map(TcpListener::from_std).collect();
        let listeners = match listeners {
            Ok(listeners) => listeners,
            Err(error) => {
                _ = started.send(Err(error));
                return;
            }
        };
        _ = started.send(Ok(()));
        Shell::new(index, Arc::clone(pools), clock).serve(listeners, draining).await;
    });
}

/// What the tasks of a thread share. No borrow lasts over an await.
pub(super) struct Shell {
    pub(super) pools: Arc<[OpenPool]>,
    clock: Instant,
    pub(super) proxy: RefCell<Proxy>,
    pub(super) sockets: RefCell<Sockets>,
    /// What is read goes through here.
    pub(super) input: RefCell<Box<[u8]>>,
    flusher: RefCell<Option<Waker>>,
    /// The flush is woken.
    flushing: Cell<bool>,
    /// Told when a connection of a client has ended.
    ended: Notify,
}

impl Shell {
    fn new(index: u16, pools: Arc<[OpenPool]>, clock: Instant) -> Rc<Self> {
        let shared = pools.iter().map(|pool| Arc::clone(&pool.shared)).collect();
        let seed = RandomState::new().hash_one(index);
        Rc::new(Self {
            pools,
            clock,
            proxy: RefCell::new(Proxy::new(shared, index, seed)),
            sockets: RefCell::default(),
            input: RefCell::new(vec![0; READ_BYTES].into_boxed_slice()),
            flusher: RefCell::new(None),
            flushing: Cell::new(false),
            ended: Notify::new(),
        })
    }

    async fn serve(self: Rc<Self>, listeners: Vec<TcpListener>, mut draining: watch::Receiver<bool>) {
        spawn_local(flush(Rc::clone(&self)));
        spawn_local(tick(Rc::clone(&self)));
        let accepting: Vec<_> = (0u16..)
            .zip(listeners)
            .map(|(pool, listener)| spawn_local(client::accept(Rc::clone(&self), pool, listener)))
            .collect();
        _ = draining.wait_for(|draining| *draining).await;
        accepting.iter().for_each(|task| task.abort());
        self.proxy.borrow_mut().drain(self.now());
        self.schedule_flush();
        let all_ended = async {
            while !self.sockets.borrow().clients.is_empty() {
                self.ended.notified().await;
            }
        };
        if tokio::time::timeout(GRACE, all_ended).await.is_err() {
            tracing::warn!(grace = ?GRACE, "some clients of pools did not end in time and were cut");
        }
    }

    pub(super) fn now(&self) -> Nanos {
        Nanos(u64::try_from(self.clock.elapsed().as_nanos()).unwrap_or(u64::MAX))
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
                None => return,
                Some(Action::SendToClient(id)) => self.send_to_client(id),
                Some(Action::SendToBackend(id)) => self.send_to_backend(id),
                Some(Action::ReadClient(id)) => {
                    self.sockets.borrow_mut().client(id).inspect(|socket| socket.wake());
                }
                Some(Action::ReadBackend(id)) => {
                    self.sockets.borrow_mut().backend(id).inspect(|socket| socket.wake());
                }
                Some(Action::CloseClient(id)) => self.forget_client(id),
                Some(Action::CloseBackend(id)) => {
                    self.sockets.borrow_mut().backends.remove(id);
                }
                Some(Action::Connect(id, server)) => backend::connect(self, id, server),
                Some(Action::Changed { pool, change }) => self.log(pool, &change),
            }
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

    /// The client's connection is closed.
    pub(super) fn forget_client(&self, id: ClientId) {
        if self.sockets.borrow_mut().clients.remove(id).is_some() {
            self.ended.notify_one();
        }
    }

    fn log(&self, pool: u16, change: &Change) {
        let pool = &self.pools[usize::from(pool)].config;
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
