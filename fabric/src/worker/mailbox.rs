//! How workers hand packets to one another.

use std::sync::Arc;

use crossbeam_queue::ArrayQueue;

use crate::function::WorkerId;

/// One bounded mailbox for each worker. Clones are the same mailboxes.
#[derive(Debug)]
pub struct Mailboxes<P>(Arc<[ArrayQueue<P>]>);

/// Why a packet was not handed over. The packet comes back.
#[derive(Debug)]
pub enum NotHandedOver<P> {
    /// The mailbox is full.
    Full(P),
    /// There is no such worker.
    Unknown(P),
}

impl<P> Mailboxes<P> {
    /// Mailboxes for workers `0..workers`, each for `capacity` packets (at least one).
    pub fn new(workers: u16, capacity: usize) -> Self {
        Self((0..workers).map(|_| ArrayQueue::new(capacity.max(1))).collect())
    }

    /// Puts `packet` into the mailbox of `to`. Never waits.
    ///
    /// # Errors
    /// [`NotHandedOver`], with the packet.
    pub fn put(&self, to: WorkerId, packet: P) -> Result<(), NotHandedOver<P>> {
        match self.0.get(usize::from(to.0)) {
            Some(mailbox) => mailbox.push(packet).map_err(NotHandedOver::Full),
            None => Err(NotHandedOver::Unknown(packet)),
        }
    }

    /// Takes the oldest packet out of the mailbox of `of`.
    pub fn take(&self, of: WorkerId) -> Option<P> {
        // An empty queue's `pop` costs a fence, `is_empty` two loads.
        self.0.get(usize::from(of.0)).filter(|mailbox| !mailbox.is_empty())?.pop()
    }
}

impl<P> Clone for Mailboxes<P> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}
