//! The server's task and threads, and why a server ends by itself. It does if one of them panics, whichever that was, and if it
//! [must not begin](crate::beginning).
//!
//! A write that fails is the disk's fault, and the store is opened again until it works. A panic is the program's: memory may be
//! wrong, and a log that is executed again comes to the same place. So nothing is tried again. The store is closed as it is, the
//! node is told, and goes down with an error that its supervisor and its operator see. Whoever starts it again begins with what
//! is on the disk, which has all that was promised.

use std::any::Any;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::thread::JoinHandle;

use tokio::sync::watch;

use crate::beginning::Refused;
use crate::driver::Shared;

/// A thread of the server panicked, and the server ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the thread `{thread}` of the name directory panicked: {message}; what was acknowledged is on the disk: start the node again, \
     and if it ends so every time, remove it from its groups and add another node in its place"
)]
pub struct Panicked {
    /// Its name.
    pub thread: &'static str,
    /// What it said.
    pub message: String,
}

/// Why a server ended by itself. Its store is closed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Ended {
    /// One of its threads panicked.
    #[error(transparent)]
    Panicked(#[from] Panicked),
    /// It must not take part in the directory.
    #[error(transparent)]
    Refused(#[from] Refused),
}

/// Whether the server ended by itself, and why: the first reason.
#[derive(Debug, Default)]
pub(crate) struct Fate(watch::Sender<Option<Ended>>);

impl Fate {
    pub(crate) fn is_sealed(&self) -> bool {
        self.0.borrow().is_some()
    }

    /// Waits for that; for ever, if it does not.
    pub(crate) async fn sealed(&self) -> Ended {
        let mut fate = self.0.subscribe();
        match fate.wait_for(Option::is_some).await.map(|ended| ended.clone()) {
            Ok(Some(ended)) => ended,
            Ok(None) | Err(_) => std::future::pending().await,
        }
    }

    pub(crate) fn seal(&self, ended: Ended) {
        self.0.send_if_modified(|fate| fate.is_none() && fate.replace(ended).is_none());
    }
}

impl Shared {
    /// A thread of the server. If it panics, all of it has been dropped by the time that this is told.
    pub(crate) fn spawn(
        self: &Arc<Self>,
        thread: &'static str,
        body: impl FnOnce() + Send + 'static,
    ) -> std::io::Result<JoinHandle<()>> {
        let shared = Arc::clone(self);
        std::thread::Builder::new().name(thread.to_owned()).spawn(move || {
            // What the thread had is gone with it, and what it shared with others goes with them.
            if let Err(panic) = catch_unwind(AssertUnwindSafe(body)) {
                shared.end(thread, &*panic);
            }
        })
    }

    /// A task of the server. If it panics, all of it has been dropped by the time that this is told.
    pub(crate) async fn watch(self: Arc<Self>, task: &'static str, body: impl Future<Output = ()>) {
        let outcome = {
            let mut body = pin!(body);
            // As of a thread: nobody sees what it was at.
            poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| body.as_mut().poll(context))) {
                Ok(poll) => poll.map(Ok),
                Err(panic) => Poll::Ready(Err(panic)),
            })
            .await
        };
        if let Err(panic) = outcome {
            self.end(task, &*panic);
        }
    }

    fn end(&self, thread: &'static str, panic: &(dyn Any + Send)) {
        let message = message(panic);
        tracing::error!(thread, panic = message, "a thread of the directory panicked: the directory ends");
        self.fate.seal(Panicked { thread, message }.into());
        self.queue.stop();
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("it did not say why").to_owned()
}
