//! Requests byte by byte, as clients of other releases might make them.

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use naming::NodeId;
use naming_directory::Bytes;
use naming_directory::proto::{Command, Reply, Session, command::Action};
use naming_directory_client::transport::Network;
use naming_directory_client::wire::{Request, Response, request, response::Body};
use naming_directory_client::{Channel, Receive, ShardId};
use prost::Message;

use super::PATIENCE;

/// A client that knows one server, and says to it what it is told.
pub struct Raw {
    network: Network,
    own: NodeId,
    server: NodeId,
    answers: Receiver<Bytes>,
}

struct Answers(Mutex<Sender<Bytes>>);

impl Receive for Answers {
    fn receive(&self, _: NodeId, _: Channel, message: Bytes) {
        // Who asked may have gone.
        drop(self.0.lock().unwrap().send(message));
    }
}

impl Raw {
    pub fn new(network: &Network, own: NodeId, server: NodeId) -> Self {
        let (sender, answers) = channel();
        network.attach(own, std::sync::Arc::new(Answers(Mutex::new(sender))));
        Self { network: network.clone(), own, server, answers }
    }

    /// What is answered to these bytes.
    pub fn ask(&self, message: Vec<u8>) -> Body {
        assert!(self.network.transport(self.own).send(self.server, Channel::Request, message.into()));
        let answer = self.answers.recv_timeout(PATIENCE).unwrap();
        Response::decode(answer).unwrap().body.unwrap()
    }

    /// What becomes of a command, once somebody leads the shard.
    pub fn execute(&self, shard: ShardId, session: Option<Session>, action: Action) -> Reply {
        let command = Command { session, action: Some(action), ..Default::default() };
        let body = Some(request::Body::Command(command));
        let request = Request { id: 1, shard: shard.0, body }.encode_to_vec();
        for _ in 0..PATIENCE.as_millis() {
            match self.ask(request.clone()) {
                Body::Reply(reply) => return reply,
                Body::Failure(_) => std::thread::sleep(Duration::from_millis(1)),
                other => panic!("{other:?}"),
            }
        }
        panic!("nobody leads shard {shard}")
    }
}
