//! Authorities: who may answer for the mutable names under a prefix, and let writes through.
//!
//! One holder at a time, by a lease in replicated time. The *term* rises whenever the authority goes to
//! another holder, another life of the same node included; what carries an older term is void.

use naming::{Name, NodeId};
use prost::Message;
use prost::bytes::Bytes;

use super::ReplicatedTime;
use super::changes::{Change, Event};
use super::command::Claim;
use super::refusal::{self, Reason};
use super::table::{Table, Value};
use crate::proto;
use crate::proto::reply::Outcome;
use crate::proto::state;

/// Who answers for a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Authority {
    /// The holder, unless it gave the authority back.
    pub node: Option<NodeId>,
    /// The holder's life.
    pub epoch: u64,
    /// Rises with each change of the holder.
    pub term: u64,
    /// When the lease ends unless it is renewed.
    pub expires: ReplicatedTime,
}

impl Value for Authority {
    fn to_bytes(&self) -> Vec<u8> {
        let node = self.node.map_or(0, NodeId::get);
        let (epoch, term, expires_ms) = (self.epoch, self.term, self.expires.0);
        state::Authority { node, epoch, term, expires_ms }.encode_to_vec()
    }

    fn from_bytes(bytes: Bytes) -> Option<Self> {
        let message = state::Authority::decode(bytes).ok()?;
        let (epoch, term, expires) = (message.epoch, message.term, ReplicatedTime(message.expires_ms));
        Some(Self { node: NodeId::new(message.node), epoch, term, expires })
    }
}

pub(super) fn acquire(
    table: &mut Table<Name, Authority>,
    prefix: Name,
    claim: Claim,
    lease_ms: u64,
    now: ReplicatedTime,
    events: &mut Vec<Event>,
) -> Result<Outcome, Reason> {
    table.admit(&prefix)?;
    let old = table.get(&prefix).copied();
    if let Some(old) = old.filter(|old| old.node == Some(claim.node) && old.epoch > claim.epoch) {
        return Err(refusal::stale_epoch(old.epoch));
    }
    let renewed = old.filter(|old| old.node == Some(claim.node) && old.epoch == claim.epoch);
    let taken = old.filter(|old| old.node.is_some_and(|node| node != claim.node) && old.expires > now);
    if let Some((old, node)) = taken.and_then(|old| Some((old, old.node?))) {
        return Err(Reason::Held(proto::Held {
            node: node.get(),
            epoch: old.epoch,
            term: old.term,
            remaining_ms: old.expires.0 - now.0,
        }));
    }
    let term = renewed.map_or_else(|| old.map_or(0, |old| old.term) + 1, |renewed| renewed.term);
    // A renewal never shortens a lease that was granted.
    let expires = now.after(lease_ms).max(renewed.map_or(now, |renewed| renewed.expires));
    if renewed.is_none() {
        events.push(Event::new(&prefix, Change::Authority { node: Some(claim.node), term }));
    }
    table.put(prefix, Authority { node: Some(claim.node), epoch: claim.epoch, term, expires });
    Ok(Outcome::Granted(proto::Granted { term, expires_ms: expires.0 }))
}

pub(super) fn release(
    table: &mut Table<Name, Authority>,
    prefix: Name,
    claim: Claim,
    events: &mut Vec<Event>,
) -> Result<Outcome, Reason> {
    let held = table.get(&prefix).copied();
    let held = held.filter(|held| held.node == Some(claim.node) && held.epoch == claim.epoch);
    let held = held.ok_or_else(refusal::not_found)?;
    events.push(Event::new(&prefix, Change::Authority { node: None, term: held.term }));
    table.put(prefix, Authority { node: None, ..held });
    Ok(Outcome::Done(proto::Done {}))
}
