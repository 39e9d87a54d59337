//! What waits for the driver. What comes from outside is bounded; what the server's own threads have done is bounded by what
//! they are given to do, and always gets through.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::event::{Done, Event};

/// Where events go in.
#[derive(Clone)]
pub(crate) struct Queue {
    sender: UnboundedSender<(Event, usize)>,
    outside: Arc<Outside>,
    max: Limit,
}

/// Where they come out.
pub(crate) struct Events {
    receiver: UnboundedReceiver<(Event, usize)>,
    outside: Arc<Outside>,
    /// Those that came together and were not taken yet, the first one last.
    here: Vec<(Event, usize)>,
}

/// What may wait, of what comes from outside.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limit {
    pub(crate) events: usize,
    /// Of the messages that they were.
    pub(crate) bytes: usize,
}

/// What waits that came from outside.
#[derive(Default)]
struct Outside {
    events: AtomicUsize,
    bytes: AtomicUsize,
}

impl Outside {
    fn add(&self, bytes: usize) -> Limit {
        let events = self.events.fetch_add(1, Ordering::Relaxed) + 1;
        Limit { events, bytes: self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes }
    }

    fn remove(&self, bytes: usize) {
        self.events.fetch_sub(1, Ordering::Relaxed);
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// A queue for as much as `max` from outside.
pub(crate) fn queue(max: Limit) -> (Queue, Events) {
    let (sender, receiver) = unbounded_channel();
    let outside = Arc::new(Outside::default());
    (Queue { sender, outside: Arc::clone(&outside), max }, Events { receiver, outside, here: Vec::new() })
}

impl Queue {
    /// Whether an event was taken that came in so many bytes: it is not if too much waits.
    pub(crate) fn push(&self, event: Event, bytes: usize) -> bool {
        let waiting = self.outside.add(bytes);
        if waiting.events > self.max.events || waiting.bytes > self.max.bytes {
            self.outside.remove(bytes);
            return false;
        }
        self.sender.send((event, bytes)).is_ok()
    }

    /// Ends the driver, after all that waits.
    pub(crate) fn stop(&self) {
        self.outside.add(0);
        // It may have ended already.
        let _ = self.sender.send((Event::Stop, 0));
    }

    /// Of a thread of the server. Nobody is there to hear it after the end.
    pub(crate) fn done(&self, life: u64, done: Done) {
        let _ = self.sender.send((Event::Done { life, done }, 0));
    }
}

impl Events {
    /// Waits until something is there, and takes up to `max` of it out together. To be waited for in vain is harmless.
    pub(crate) async fn come(&mut self, max: usize) {
        if self.here.is_empty() {
            if self.receiver.recv_many(&mut self.here, max).await == 0 {
                self.here.push((Event::Stop, 0));
            }
            self.here.reverse();
        }
    }

    /// The next one of those that came.
    pub(crate) fn next(&mut self) -> Option<Event> {
        self.here.pop().map(|taken| self.taken(taken))
    }

    fn taken(&self, (event, bytes): (Event, usize)) -> Event {
        if !matches!(event, Event::Done { .. }) {
            self.outside.remove(bytes);
        }
        event
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    async fn next(events: &mut Events) -> Option<Event> {
        tokio::time::timeout(Duration::ZERO, events.come(1)).await.ok()?;
        events.next()
    }

    #[tokio::test]
    async fn what_comes_from_outside_is_bounded_by_number_and_bytes() {
        let (queue, mut events) = queue(Limit { events: 2, bytes: 100 });
        assert!(queue.push(Event::Drain, 60) && !queue.push(Event::Drain, 60));
        assert!(queue.push(Event::Drain, 40) && !queue.push(Event::Drain, 0));
        // The server's own gets through.
        queue.stop();
        for _ in 0..2 {
            assert!(matches!(next(&mut events).await, Some(Event::Drain)));
        }
        assert!(queue.push(Event::Drain, 100));
        assert!(
            matches!(next(&mut events).await, Some(Event::Stop))
                && matches!(next(&mut events).await, Some(Event::Drain))
        );
        assert!(next(&mut events).await.is_none());
    }
}
