//! Commands: bytes become what the state machine may execute, or a refusal. Past this point nothing is
//! checked again but what depends on the state.

use std::net::SocketAddr;

use naming::{Digest, NameRef, NodeId, Rack};
use prost::Message;
use prost::bytes::Bytes;

use super::capacity::{MAX_ADDRESSES, MAX_BATCH, MAX_COMMAND_LEN, MAX_LEASE_MS, MAX_RECORD_LEN};
use super::refusal::{self, Reason};
use super::{RecordKind, ReplicatedTime};
use crate::proto;
use crate::proto::command::Action as Wire;

/// A command whose form is right, or why it is not.
pub(super) struct Command<'a> {
    pub(super) time: ReplicatedTime,
    pub(super) session: Option<Session>,
    pub(super) action: Result<Action<'a>, Reason>,
}

/// Which command of which client.
#[derive(Clone, Copy, Debug)]
pub(super) struct Session {
    pub(super) client: u64,
    pub(super) sequence: u64,
}

pub(super) enum Action<'a> {
    OpenSession,
    CloseSession,
    RegisterNode(RegisterNode),
    RenewNodes { nodes: Vec<(NodeId, u64)>, lease_ms: u64 },
    RemoveNode(NodeId),
    PutRecord { kind: RecordKind, name: NameRef<'a>, value: Bytes, expected: Option<u64> },
    RemoveRecord { kind: RecordKind, name: NameRef<'a>, expected: Option<u64> },
    AcquireAuthority { prefix: NameRef<'a>, claim: Claim, lease_ms: u64 },
    ReleaseAuthority { prefix: NameRef<'a>, claim: Claim },
    Publish { holder: Claim, copies: Vec<Copy<'a>> },
    Withdraw { node: NodeId, names: Vec<NameRef<'a>> },
    RetireHolder(Claim),
    Split(NameRef<'a>),
    RaiseVersion(u32),
    PassTime,
}

pub(super) struct RegisterNode {
    pub(super) node: NodeId,
    pub(super) rack: Rack,
    pub(super) addresses: Vec<SocketAddr>,
    pub(super) incarnation: u64,
    pub(super) lease_ms: u64,
}

/// A node in one of its lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) node: NodeId,
    pub(super) epoch: u64,
}

/// A copy of immutable content.
pub(super) struct Copy<'a> {
    pub(super) name: NameRef<'a>,
    pub(super) digest: Digest,
    pub(super) length: u64,
}

/// The message in `data`, if it is one.
pub(super) fn decode(data: Bytes) -> Result<proto::Command, Reason> {
    if data.len() > MAX_COMMAND_LEN {
        return Err(refusal::malformed(format!("a command has {MAX_COMMAND_LEN} bytes at most")));
    }
    proto::Command::decode(data).map_err(|_| refusal::malformed("the bytes are no command"))
}

/// What `message` says. `version` is the state's: what later versions added is not supported yet.
pub(super) fn parse(message: &proto::Command, version: u32) -> Command<'_> {
    let session =
        message.session.map(|session| Session { client: session.client, sequence: session.sequence });
    Command { time: ReplicatedTime(message.time_ms), session, action: parse_action(message, version) }
}

fn parse_action(message: &proto::Command, version: u32) -> Result<Action<'_>, Reason> {
    let unsupported = || Reason::Unsupported(proto::Unsupported { version });
    Ok(match message.action.as_ref().ok_or_else(unsupported)? {
        Wire::OpenSession(_) if message.session.is_some() => {
            return Err(refusal::malformed("opening a session is no session's command"));
        }
        Wire::CloseSession(_) if message.session.is_none() => {
            return Err(refusal::malformed("closing a session is that session's command"));
        }
        Wire::OpenSession(_) => Action::OpenSession,
        Wire::CloseSession(_) => Action::CloseSession,
        Wire::RegisterNode(wire) => Action::RegisterNode(register_node(wire)?),
        Wire::RenewNodes(wire) => renew_nodes(wire)?,
        Wire::RemoveNode(wire) => Action::RemoveNode(node(wire.node)?),
        Wire::PutRecord(wire) if wire.value.len() > MAX_RECORD_LEN => {
            return Err(refusal::malformed(format!("a record has {MAX_RECORD_LEN} bytes at most")));
        }
        Wire::PutRecord(wire) => Action::PutRecord {
            kind: RecordKind::of_wire(wire.kind()).ok_or_else(unsupported)?,
            name: name(&wire.name)?,
            value: wire.value.clone(),
            expected: wire.expected_revision,
        },
        Wire::RemoveRecord(wire) => Action::RemoveRecord {
            kind: RecordKind::of_wire(wire.kind()).ok_or_else(unsupported)?,
            name: name(&wire.name)?,
            expected: wire.expected_revision,
        },
        Wire::AcquireAuthority(wire) => Action::AcquireAuthority {
            prefix: name(&wire.prefix)?,
            claim: claim(wire.node, wire.epoch)?,
            lease_ms: lease(wire.lease_ms)?,
        },
        Wire::ReleaseAuthority(wire) => {
            Action::ReleaseAuthority { prefix: name(&wire.prefix)?, claim: claim(wire.node, wire.epoch)? }
        }
        Wire::Publish(wire) => publish(wire)?,
        Wire::Withdraw(wire) => withdraw(wire)?,
        Wire::RetireHolder(wire) => Action::RetireHolder(claim(wire.node, wire.epoch)?),
        Wire::Split(wire) => Action::Split(name(&wire.at)?),
        Wire::RaiseVersion(wire) => Action::RaiseVersion(wire.version),
        Wire::PassTime(_) => Action::PassTime,
    })
}

fn register_node(wire: &proto::RegisterNode) -> Result<RegisterNode, Reason> {
    let addresses: Vec<SocketAddr> = wire
        .addresses
        .iter()
        .map(|text| text.parse().map_err(|_| refusal::malformed("an address is not `address:port`")))
        .collect::<Result<_, _>>()?;
    // None: a node that is alone.
    if addresses.len() > MAX_ADDRESSES {
        return Err(refusal::malformed(format!("a node has up to {MAX_ADDRESSES} addresses")));
    }
    Ok(RegisterNode {
        node: node(wire.node)?,
        rack: wire.rack.parse().map_err(|error| refusal::malformed(format!("{error}")))?,
        addresses,
        incarnation: wire.incarnation,
        lease_ms: lease(wire.lease_ms)?,
    })
}

fn renew_nodes(wire: &proto::RenewNodes) -> Result<Action<'_>, Reason> {
    check_batch(wire.nodes.len())?;
    let nodes =
        wire.nodes.iter().map(|entry| Ok((node(entry.node)?, entry.epoch))).collect::<Result<_, _>>()?;
    Ok(Action::RenewNodes { nodes, lease_ms: lease(wire.lease_ms)? })
}

fn publish(wire: &proto::Publish) -> Result<Action<'_>, Reason> {
    check_batch(wire.copies.len())?;
    let copies: Vec<Copy<'_>> = wire
        .copies
        .iter()
        .map(|copy| {
            let digest = <[u8; Digest::LEN]>::try_from(&copy.digest[..]);
            let digest = digest.map_err(|_| refusal::malformed("a digest has 32 bytes"))?;
            Ok(Copy { name: name(&copy.name)?, digest: Digest::from_bytes(digest), length: copy.length })
        })
        .collect::<Result<_, _>>()?;
    check_order(copies.iter().map(|copy| copy.name))?;
    Ok(Action::Publish { holder: claim(wire.node, wire.epoch)?, copies })
}

fn withdraw(wire: &proto::Withdraw) -> Result<Action<'_>, Reason> {
    check_batch(wire.names.len())?;
    let names: Vec<NameRef<'_>> = wire.names.iter().map(|bytes| name(bytes)).collect::<Result<_, _>>()?;
    check_order(names.iter().copied())?;
    Ok(Action::Withdraw { node: node(wire.node)?, names })
}

fn check_batch(len: usize) -> Result<(), Reason> {
    match len {
        1..=MAX_BATCH => Ok(()),
        _ => Err(refusal::malformed(format!("a batch has 1 to {MAX_BATCH} items"))),
    }
}

fn check_order<'a>(names: impl Iterator<Item = NameRef<'a>>) -> Result<(), Reason> {
    if names.is_sorted_by(|one, next| one < next) {
        Ok(())
    } else {
        Err(refusal::malformed("the names of a batch ascend in canonical order"))
    }
}

fn name(bytes: &[u8]) -> Result<NameRef<'_>, Reason> {
    NameRef::from_bytes(bytes).map_err(|error| refusal::malformed(format!("a name is not valid: {error}")))
}

fn node(number: u64) -> Result<NodeId, Reason> {
    NodeId::new(number).ok_or_else(|| refusal::malformed("0 is no node"))
}

fn claim(number: u64, epoch: u64) -> Result<Claim, Reason> {
    Ok(Claim { node: node(number)?, epoch })
}

fn lease(lease_ms: u64) -> Result<u64, Reason> {
    match lease_ms {
        1..=MAX_LEASE_MS => Ok(lease_ms),
        _ => Err(refusal::malformed(format!("a lease has 1 to {MAX_LEASE_MS} ms"))),
    }
}
