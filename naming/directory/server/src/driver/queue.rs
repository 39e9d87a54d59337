//! What waits for the driver. What comes from outside is bounded; what the server's own threads have done is bounded by what
//! they are given to do, and always gets through.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use super::event::{Done, Event};

/// Where events go in.
#[derive(Clone)]
pub(crate) struct Queue {
    sender: Sender<Event>,
    outside: Arc<AtomicUsize>,
    max: usize,
}

/// Where they come out.
pub(crate) struct Events {
    receiver: Receiver<Event>,
    outside: Arc<AtomicUsize>,
}

/// A queue for at most `max` events from outside.
pub(crate) fn queue(max: usize) -> (Queue, Events) {
    let (sender, receiver) = channel();
    let outside = Arc::new(AtomicUsize::new(0));
    (Queue { sender, outside: Arc::clone(&outside), max }, Events { receiver, outside })
}

impl Queue {
    /// Whether it was taken: it is not if too many wait.
    pub(crate) fn push(&self, event: Event) -> bool {
        if self.outside.fetch_add(1, Ordering::Relaxed) >= self.max {
            self.outside.fetch_sub(1, Ordering::Relaxed);
            return false;
        }
        self.sender.send(event).is_ok()
    }

    /// Ends the driver, after all that waits.
    pub(crate) fn stop(&self) {
        self.outside.fetch_add(1, Ordering::Relaxed);
        // It may have ended already.
        let _ = self.sender.send(Event::Stop);
    }

    /// Of a thread of the server. Nobody is there to hear it after the end.
    pub(crate) fn done(&self, life: u64, done: Done) {
        let _ = self.sender.send(Event::Done { life, done });
    }
}

impl Events {
    /// The next event; `None` if there is none until `wait` is over.
    pub(crate) fn next(&self, wait: Duration) -> Option<Event> {
        let event = match self.receiver.recv_timeout(wait) {
            Ok(event) => event,
            Err(RecvTimeoutError::Timeout) => return None,
            Err(RecvTimeoutError::Disconnected) => return Some(Event::Stop),
        };
        if !matches!(event, Event::Done { .. }) {
            self.outside.fetch_sub(1, Ordering::Relaxed);
        }
        Some(event)
    }

    /// An event that is there already.
    pub(crate) fn more(&self) -> Option<Event> {
        let event = self.receiver.try_recv().ok()?;
        if !matches!(event, Event::Done { .. }) {
            self.outside.fetch_sub(1, Ordering::Relaxed);
        }
        Some(event)
    }
}
