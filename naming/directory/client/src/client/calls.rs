//! Requests under way, by their ids. An answer counts from a server that was asked, and from no other.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use naming::NodeId;
use prost::Message;
use prost::bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use crate::wire::{Response, response::Body};

/// Answers that wait for whoever reads a stream of them; what comes then is dropped, and its reader notices.
const STREAM_LEN: usize = 256;

enum Sink {
    One(NodeId, oneshot::Sender<Body>),
    Many(BTreeSet<NodeId>, mpsc::Sender<Body>),
}

pub(crate) struct Calls {
    next: AtomicU64,
    sinks: Mutex<HashMap<u64, Sink>>,
}

/// Answers to one request. No longer awaited once this is dropped.
pub(crate) struct Stream<'a> {
    pub(crate) id: u64,
    answers: mpsc::Receiver<Body>,
    calls: &'a Calls,
}

/// One answer. No longer awaited once this is dropped.
pub(crate) struct Call<'a> {
    pub(crate) id: u64,
    answer: oneshot::Receiver<Body>,
    calls: &'a Calls,
}

impl Calls {
    pub(crate) fn new() -> Self {
        // Answers to an earlier life of this node are nobody's.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { next: AtomicU64::new(now.as_micros() as u64), sinks: Mutex::default() }
    }

    /// One answer, of this server.
    pub(crate) fn one(&self, asked: NodeId) -> Call<'_> {
        let (sink, answer) = oneshot::channel();
        Call { id: self.enter(Sink::One(asked, sink)), answer, calls: self }
    }

    /// Any number of answers, of these servers.
    pub(crate) fn many(&self, asked: impl IntoIterator<Item = NodeId>) -> Stream<'_> {
        let (sink, answers) = mpsc::channel(STREAM_LEN);
        Stream { id: self.enter(Sink::Many(asked.into_iter().collect(), sink)), answers, calls: self }
    }

    /// Takes a response; whether somebody waited for it, of this server.
    pub(crate) fn answer(&self, from: NodeId, message: Bytes) -> bool {
        let Ok(Response { id, body: Some(body) }) = Response::decode(message) else { return false };
        let one = {
            let mut sinks = self.sinks();
            match sinks.get(&id) {
                Some(Sink::Many(asked, sink)) => {
                    return asked.contains(&from) && sink.try_send(body).is_ok();
                }
                Some(Sink::One(asked, _)) if *asked == from => sinks.remove(&id),
                Some(Sink::One(..)) | None => None,
            }
        };
        match one {
            Some(Sink::One(_, sink)) => sink.send(body).is_ok(),
            _ => false,
        }
    }

    /// A number that this node gives nothing else.
    pub(crate) fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    fn enter(&self, sink: Sink) -> u64 {
        let id = self.number();
        self.sinks().insert(id, sink);
        id
    }

    fn sinks(&self) -> MutexGuard<'_, HashMap<u64, Sink>> {
        self.sinks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Call<'_> {
    pub(crate) async fn answer(mut self) -> Option<Body> {
        (&mut self.answer).await.ok()
    }
}

impl Stream<'_> {
    pub(crate) async fn next(&mut self) -> Option<Body> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Done;

    fn node(number: u64) -> NodeId {
        NodeId::new(number).unwrap()
    }

    fn response(id: u64) -> Bytes {
        Response { id, body: Some(Body::Done(Done {})) }.encode_to_vec().into()
    }

    #[tokio::test]
    async fn an_answer_counts_from_whom_was_asked() {
        let calls = Calls::new();
        let call = calls.one(node(1));
        assert!(!calls.answer(node(2), response(call.id)), "somebody else's");
        assert!(calls.answer(node(1), response(call.id)), "whatever others said before");
        assert!(!calls.answer(node(1), response(call.id)), "once");
        assert_eq!(call.answer().await, Some(Body::Done(Done {})));
        let mut stream = calls.many([node(1), node(3)]);
        assert!(!calls.answer(node(2), response(stream.id)));
        assert!(calls.answer(node(3), response(stream.id)) && calls.answer(node(1), response(stream.id)));
        assert!(stream.next().await.is_some() && stream.next().await.is_some());
        let id = stream.id;
        drop(stream);
        assert!(!calls.answer(node(1), response(id)), "nobody waits any more");
    }
}
