//! Wakes lanes for other threads.
//!
//! A task that another thread wakes costs a system call, whether its runtime sleeps or not. A server that answers a hundred
//! peers at once pays for one: it wakes one task, which wakes their lanes.

use std::sync::{Arc, Mutex};

use tokio::runtime::Handle;
use tokio::sync::Notify;

use crate::lane::Lane;
use crate::shared::{Shared, guard};

/// Lanes that messages wait in, and nobody has told.
#[derive(Debug, Default)]
pub(crate) struct Herald {
    filled: Mutex<Vec<Arc<Lane>>>,
    any: Notify,
}

impl Herald {
    /// Has a lane woken whose task runs on `runtime`: at once by who runs there, too.
    pub(crate) fn wake(&self, lane: Arc<Lane>, runtime: &Handle) {
        if Handle::try_current().is_ok_and(|here| here.id() == runtime.id()) {
            return lane.wake();
        }
        let mut filled = guard(&self.filled);
        filled.push(lane);
        let first = filled.len() == 1;
        drop(filled);
        if first {
            self.any.notify_one();
        }
    }

    /// The endpoint is closed.
    pub(crate) fn close(&self) {
        self.any.notify_one();
    }
}

/// Wakes lanes until the endpoint is closed.
pub(crate) async fn run(shared: Arc<Shared>) {
    let herald = &shared.herald;
    while !shared.is_closed() {
        herald.any.notified().await;
        std::mem::take(&mut *guard(&herald.filled)).iter().for_each(|lane| lane.wake());
    }
}
