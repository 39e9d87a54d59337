//! A thread for endpoints.
//!
//! Most of what an endpoint does is short: a datagram comes, a message leaves. On a runtime of several threads each step
//! may wake another of them, which costs more than the step. One thread is enough for gigabits a second.

use std::io;

use tokio::runtime::{Builder, EnterGuard, Handle};
use tokio::sync::oneshot;

/// A tokio runtime of one thread. Endpoints that are [bound](crate::Builder::bind) where it was entered run on it; they
/// end with it, when this is dropped.
#[derive(Debug)]
pub struct Thread {
    runtime: Handle,
    _until: oneshot::Sender<()>,
}

impl Thread {
    /// Starts it.
    ///
    /// # Errors
    /// If the system has no thread or no descriptors for it.
    pub fn spawn() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (until, dropped) = oneshot::channel::<()>();
        std::thread::Builder::new().name("fabric".to_owned()).spawn(move || {
            // An error is what says that the other end was dropped.
            let _ = runtime.block_on(dropped);
        })?;
        Ok(Self { runtime: handle, _until: until })
    }

    /// Its runtime, for what works hand in hand with an endpoint: it shares the thread, and must never wait.
    pub fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// What is spawned and bound while the guard is there is so on this thread.
    pub fn enter(&self) -> EnterGuard<'_> {
        self.runtime.enter()
    }
}
