//! Messages of groups between nodes: those of all groups that go to a node at the same time are one message.
//!
//! Each is 8 bytes of the shard's id, 4 of its length, and itself; numbers are big-endian.

use std::collections::BTreeMap;

use naming::NodeId;
use naming_directory::Bytes;
use naming_directory::group::Incoming;
use naming_directory_client::{Channel, ShardId, Transport};

use crate::counters::{Counters, count};

/// Bytes after which a message is sent, and another one begun.
const ENOUGH: usize = 1 << 20;

/// Messages that are to be sent.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    nodes: BTreeMap<NodeId, Vec<u8>>,
}

impl Outbox {
    pub(crate) fn push(
        &mut self,
        to: NodeId,
        shard: ShardId,
        message: &[u8],
        transport: &dyn Transport,
        counters: &Counters,
    ) {
        let bytes = self.nodes.entry(to).or_default();
        bytes.extend(shard.0.to_be_bytes());
        bytes.extend((message.len() as u32).to_be_bytes());
        bytes.extend(message);
        if bytes.len() >= ENOUGH {
            send(to, std::mem::take(bytes), transport, counters);
        }
    }

    pub(crate) fn flush(&mut self, transport: &dyn Transport, counters: &Counters) {
        for (to, bytes) in &mut self.nodes {
            if !bytes.is_empty() {
                send(*to, std::mem::take(bytes), transport, counters);
            }
        }
    }
}

fn send(to: NodeId, bytes: Vec<u8>, transport: &dyn Transport, counters: &Counters) {
    if !transport.send(to, Channel::Raft, bytes.into()) {
        count(&counters.messages_unsent);
    }
}

/// The messages in `bytes`, which `from` sent; `None` if they are none, or somebody else's.
pub(crate) fn decode(from: NodeId, bytes: &Bytes) -> Option<Vec<(ShardId, Incoming)>> {
    let (mut rest, mut messages) = (&bytes[..], Vec::new());
    while !rest.is_empty() {
        let (shard, behind) = rest.split_first_chunk::<8>()?;
        let (len, behind) = behind.split_first_chunk::<4>()?;
        let (message, behind) = behind.split_at_checked(u32::from_be_bytes(*len) as usize)?;
        let message = Incoming::decode(message).ok().filter(|message| message.from() == from)?;
        messages.push((ShardId(u64::from_be_bytes(*shard)), message));
        rest = behind;
    }
    Some(messages)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use naming_directory::Position;
    use naming_directory::group::{Config, Group};
    use naming_directory::log::{Base, Log, Members};

    use super::*;

    #[derive(Default)]
    struct Wire(Mutex<Vec<Bytes>>);

    impl Transport for Wire {
        fn send(&self, _: NodeId, channel: Channel, message: Bytes) -> bool {
            assert!(message.len() <= channel.max_bytes());
            self.0.lock().unwrap().push(message);
            true
        }
    }

    fn node(number: u64) -> NodeId {
        NodeId::new(number).unwrap()
    }

    /// What node 1 says to node 2 when it wants to lead.
    fn message() -> Vec<u8> {
        let base = Base { position: Position::FIRST, members: Members::of_voters([node(1), node(2)]) };
        let mut group = Group::open(Config::new(node(1), 0), Log::begin(base), Position::FIRST).unwrap();
        loop {
            group.tick();
            if let Some(message) = group.ready().send.pop() {
                return message.bytes;
            }
        }
    }

    #[test]
    fn messages_of_several_groups_come_as_one() {
        let (wire, counters, message) = (Arc::new(Wire::default()), Counters::default(), message());
        let mut outbox = Outbox::default();
        for shard in [5, 6] {
            outbox.push(node(2), ShardId(shard), &message, &*wire, &counters);
        }
        outbox.flush(&*wire, &counters);
        outbox.flush(&*wire, &counters);
        let sent = wire.0.lock().unwrap();
        assert_eq!(sent.len(), 1);
        let decoded = decode(node(1), &sent[0]).unwrap();
        assert_eq!(decoded.iter().map(|(shard, _)| shard.0).collect::<Vec<_>>(), [5, 6]);
        // In the name of another node, or not whole.
        assert!(decode(node(3), &sent[0]).is_none());
        assert!((1..sent[0].len()).all(|len| {
            let cut = decode(node(1), &sent[0].slice(..len));
            cut.is_none_or(|messages| messages.len() == 1)
        }));
    }
}
