//! Requests under way, by their ids.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use naming::NodeId;
use prost::Message;
use prost::bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use crate::wire::{Response, response::Body};

/// Who answered, and what.
pub(crate) type Answer = (NodeId, Body);

/// Answers that wait for whoever reads a stream of them; what comes then is dropped, and its reader notices.
const STREAM_LEN: usize = 256;

enum Sink {
    One(oneshot::Sender<Answer>),
    Many(mpsc::Sender<Answer>),
}

pub(crate) struct Calls {
    next: AtomicU64,
    sinks: Mutex<HashMap<u64, Sink>>,
}

/// Answers to one request. No longer awaited once this is dropped.
pub(crate) struct Stream<'a> {
    pub(crate) id: u64,
    answers: mpsc::Receiver<Answer>,
    calls: &'a Calls,
}

/// One answer. No longer awaited once this is dropped.
pub(crate) struct Call<'a> {
    pub(crate) id: u64,
    answer: oneshot::Receiver<Answer>,
    calls: &'a Calls,
}

impl Calls {
    pub(crate) fn new() -> Self {
        // Answers to an earlier life of this node are nobody's.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { next: AtomicU64::new(now.as_micros() as u64), sinks: Mutex::default() }
    }

    pub(crate) fn one(&self) -> Call<'_> {
        let (sink, answer) = oneshot::channel();
        Call { id: self.enter(Sink::One(sink)), answer, calls: self }
    }

    pub(crate) fn many(&self) -> Stream<'_> {
        let (sink, answers) = mpsc::channel(STREAM_LEN);
        Stream { id: self.enter(Sink::Many(sink)), answers, calls: self }
    }

    /// Takes a response; whether somebody waited for it.
    pub(crate) fn answer(&self, from: NodeId, message: Bytes) -> bool {
        let Ok(Response { id, body: Some(body) }) = Response::decode(message) else { return false };
        let one = {
            let mut sinks = self.sinks();
            match sinks.get(&id) {
                Some(Sink::Many(sink)) => return sink.try_send((from, body)).is_ok(),
                Some(Sink::One(_)) => sinks.remove(&id),
                None => None,
            }
        };
        match one {
            Some(Sink::One(sink)) => sink.send((from, body)).is_ok(),
            _ => false,
        }
    }

    fn enter(&self, sink: Sink) -> u64 {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        self.sinks().insert(id, sink);
        id
    }

    fn sinks(&self) -> MutexGuard<'_, HashMap<u64, Sink>> {
        self.sinks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Call<'_> {
    pub(crate) async fn answer(mut self) -> Option<Answer> {
        (&mut self.answer).await.ok()
    }
}

impl Stream<'_> {
    pub(crate) async fn next(&mut self) -> Option<Answer> {
        self.answers.recv().await
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        self.calls.sinks().remove(&self.id);
    }
}

impl Drop for Stream<'_> {
    fn drop(&mut self) {
        self.calls.sinks().remove(&self.id);
    }
}
