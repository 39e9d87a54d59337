//! Events: how something under a name is. Listings and watches both consist of them.

use std::net::SocketAddr;

use naming::{Digest, Location, NameRef, NodeId};
use naming_directory::catalog::{Change, Event, Record, RecordKind};
use naming_directory::proto as log;

use super::Malformed;
use super::proto as wire;
use super::proto::event::Change as Wire;

/// An event as a message.
pub fn event_to(event: &Event) -> wire::Event {
    let number = |node: Option<NodeId>| node.map_or(0, NodeId::get);
    let change = match &event.change {
        Change::NodeUp { location, epoch } => Wire::NodeUp(wire::NodeUp {
            node: location.node.get(),
            rack: location.rack.as_str().to_owned(),
            addresses: location.addresses.iter().map(SocketAddr::to_string).collect(),
            epoch: *epoch,
        }),
        Change::NodeDown { node, epoch } => {
            Wire::NodeDown(wire::NodeDown { node: node.get(), epoch: *epoch })
        }
        Change::Record { kind, record } => Wire::Record(wire::Record {
            kind: kind_to(*kind).into(),
            document: record
                .as_ref()
                .map(|record| wire::Document { revision: record.revision, value: record.value.clone() }),
        }),
        Change::Authority { node, term } => {
            Wire::Authority(wire::Holder { node: number(*node), term: *term })
        }
        Change::Copy { node, digest, length } => Wire::Copy(wire::Copy {
            node: node.get(),
            digest: digest.as_bytes().to_vec().into(),
            length: *length,
        }),
        Change::CopyGone { node } => Wire::CopyGone(wire::CopyGone { node: node.get() }),
        Change::HolderRetired { node } => Wire::HolderRetired(wire::HolderRetired { node: node.get() }),
        Change::Split => Wire::Split(wire::Split {}),
    };
    wire::Event { name: event.name.as_bytes().to_vec().into(), change: Some(change) }
}

/// The event of a message.
///
/// # Errors
/// If it has a part that cannot be.
pub fn event_of(message: wire::Event) -> Result<Event, Malformed> {
    let node = |number| NodeId::new(number).ok_or(Malformed("an event names nobody"));
    let name = NameRef::from_bytes(&message.name).map_err(|_| Malformed("an event has no name"))?.to_name();
    let change = match message.change.ok_or(Malformed("an event of an unknown kind"))? {
        Wire::NodeUp(up) => Change::NodeUp { epoch: up.epoch, location: location_of(up)? },
        Wire::NodeDown(down) => Change::NodeDown { node: node(down.node)?, epoch: down.epoch },
        Wire::Record(record) => Change::Record {
            kind: kind_of(record.kind())?,
            record: record
                .document
                .map(|document| Record { revision: document.revision, value: document.value }),
        },
        Wire::Authority(held) => Change::Authority { node: NodeId::new(held.node), term: held.term },
        Wire::Copy(copy) => {
            Change::Copy { node: node(copy.node)?, digest: digest_of(&copy.digest)?, length: copy.length }
        }
        Wire::CopyGone(gone) => Change::CopyGone { node: node(gone.node)? },
        Wire::HolderRetired(retired) => Change::HolderRetired { node: node(retired.node)? },
        Wire::Split(wire::Split {}) => Change::Split,
    };
    Ok(Event { name, change })
}

/// A digest from its bytes.
///
/// # Errors
/// If they are not as many as a digest has.
pub fn digest_of(bytes: &[u8]) -> Result<Digest, Malformed> {
    let bytes = bytes.try_into().map_err(|_| Malformed("a digest has 32 bytes"))?;
    Ok(Digest::from_bytes(bytes))
}

fn location_of(up: wire::NodeUp) -> Result<Location, Malformed> {
    let node = NodeId::new(up.node).ok_or(Malformed("a node without an id"))?;
    let rack = up.rack.parse().map_err(|_| Malformed("a node's rack is none"))?;
    let addresses: Result<_, _> = up.addresses.iter().map(|text| text.parse()).collect();
    Ok(Location { node, rack, addresses: addresses.map_err(|_| Malformed("a node's address is none"))? })
}

/// A kind of records as commands say it.
pub fn kind_to(kind: RecordKind) -> log::RecordKind {
    match kind {
        RecordKind::Pool => log::RecordKind::Pool,
        RecordKind::Route => log::RecordKind::Route,
        RecordKind::Program => log::RecordKind::Program,
        RecordKind::Limits => log::RecordKind::Limits,
    }
}

fn kind_of(kind: log::RecordKind) -> Result<RecordKind, Malformed> {
    match kind {
        log::RecordKind::Unspecified => Err(Malformed("a record of an unknown kind")),
        log::RecordKind::Pool => Ok(RecordKind::Pool),
        log::RecordKind::Route => Ok(RecordKind::Route),
        log::RecordKind::Program => Ok(RecordKind::Program),
        log::RecordKind::Limits => Ok(RecordKind::Limits),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use prost::Message;

    fn node() -> impl Strategy<Value = NodeId> {
        (1..u64::MAX).prop_map(|number| NodeId::new(number).unwrap())
    }

    fn change() -> impl Strategy<Value = Change> {
        let location = (node(), prop::collection::vec(any::<std::net::Ipv4Addr>(), 0..3)).prop_map(
            |(node, addresses)| {
                let addresses = addresses.into_iter().map(|address| (address, 6363).into()).collect();
                Location { node, rack: "/row1/r2".parse().unwrap(), addresses }
            },
        );
        let record = prop::option::of((any::<u64>(), prop::collection::vec(any::<u8>(), 0..9)))
            .prop_map(|record| record.map(|(revision, value)| Record { revision, value: value.into() }));
        prop_oneof![
            (location, any::<u64>()).prop_map(|(location, epoch)| Change::NodeUp { location, epoch }),
            (node(), any::<u64>()).prop_map(|(node, epoch)| Change::NodeDown { node, epoch }),
            (prop::sample::select(RecordKind::ALL.to_vec()), record)
                .prop_map(|(kind, record)| Change::Record { kind, record }),
            (prop::option::of(node()), any::<u64>())
                .prop_map(|(node, term)| Change::Authority { node, term }),
            (node(), any::<[u8; 32]>(), any::<u64>()).prop_map(|(node, digest, length)| Change::Copy {
                node,
                digest: Digest::from_bytes(digest),
                length
            }),
            node().prop_map(|node| Change::CopyGone { node }),
            node().prop_map(|node| Change::HolderRetired { node }),
            Just(Change::Split),
        ]
    }

    proptest! {
        #[test]
        fn events_come_back(change in change()) {
            let event = Event { name: "/a/b".parse().unwrap(), change };
            let bytes = event_to(&event).encode_to_vec();
            prop_assert_eq!(event_of(wire::Event::decode(&bytes[..]).unwrap()), Ok(event));
        }

        #[test]
        fn any_bytes_are_an_event_or_not(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            if let Ok(message) = wire::Event::decode(&bytes[..]) {
                let _ = event_of(message);
            }
        }
    }
}
