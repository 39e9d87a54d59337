//! The directory as lines of text.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::cli::say;
use crate::directory::view::{Entry, Node, Overview, Resolved, Role, Shard, Told, What};

/// A node, and what it is in which shards.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct MemberOfShards {
    id: String,
    /// Whether it answers, if it is a member or a peer.
    silent: bool,
    /// If it is registered.
    node: Option<Node>,
    leads: Vec<String>,
    votes: Vec<String>,
    learns: Vec<String>,
}

pub(super) fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

pub(super) fn status(overview: &Overview) {
    for shard in &overview.shards {
        let until =
            shard.until.as_ref().map_or_else(|| "the end".to_owned(), |until| format!("before {until}"));
        let leader =
            shard.leader.as_ref().map_or_else(|| "no leader".to_owned(), |leader| format!("led by {leader}"));
        let Shard { id, from, term, committed, .. } = shard;
        let moving = if shard.moving { ", members change" } else { "" };
        let names = count(shard.names as usize, "name");
        say(format_args!(
            "shard {id}  {from} to {until}  {names}  {leader}  term {term}, entry {committed}{moving}"
        ));
        for member in &shard.members {
            let state =
                member.applied.map_or_else(|| "no answer".to_owned(), |applied| format!("entry {applied}"));
            say(format_args!("  node {}  {:<8} {state}", member.node, role(member.role)));
        }
        let items = shard.items.iter().filter(|(_, items)| **items > 0);
        let items: Vec<String> = items.map(|(table, items)| format!("{table} {items}")).collect();
        say(format_args!(
            "  knows {}",
            if items.is_empty() { "nothing".to_owned() } else { items.join(", ") }
        ));
    }
}

pub(super) fn members_of(overview: &Overview) -> Vec<MemberOfShards> {
    let mut members: BTreeMap<&str, MemberOfShards> = BTreeMap::new();
    for shard in &overview.shards {
        for member in &shard.members {
            let known = members.entry(&member.node).or_default();
            match member.role {
                Role::Leader => known.leads.push(shard.id.clone()),
                Role::Voter | Role::Leaving => known.votes.push(shard.id.clone()),
                Role::Learner => known.learns.push(shard.id.clone()),
            }
        }
    }
    for node in &overview.nodes {
        members.entry(&node.id).or_default().node = Some(node.clone());
    }
    for node in &overview.silent {
        members.entry(node).or_default().silent = true;
    }
    let named = |(id, member): (&str, MemberOfShards)| MemberOfShards { id: id.to_owned(), ..member };
    members.into_iter().map(named).collect()
}

pub(super) fn members(members: &[MemberOfShards]) {
    for member in members {
        let part =
            [("leads", &member.leads), ("votes in", &member.votes), ("catches up with", &member.learns)];
        let part = part.iter().filter(|(_, shards)| !shards.is_empty());
        let part: Vec<String> =
            part.map(|(verb, shards)| format!("{verb} {}", count(shards.len(), "shard"))).collect();
        let part = if part.is_empty() { "no member".to_owned() } else { part.join(", ") };
        let place = member.node.as_ref().map_or_else(
            || "not registered".to_owned(),
            |node| format!("rack {}  {}", node.rack, addresses(node)),
        );
        let silent = if member.silent { "  no answer" } else { "" };
        say(format_args!("node {}  {part}  {place}{silent}", member.id));
    }
}

pub(super) fn resolved(resolved: &Resolved) {
    say(format_args!("{}", resolved.name));
    match &resolved.copies {
        Some(copies) => {
            say(format_args!("  content    {} bytes, BLAKE3 {}", copies.length, copies.digest));
            say(format_args!("  copies     {}", copies.holders.join(", ")));
        }
        None => say(format_args!("  copies     none")),
    }
    match &resolved.authority {
        Some(held) => {
            let node = held.node.as_deref().unwrap_or("nobody");
            let left = match held.remaining_ms {
                0 => "its lease has ended".to_owned(),
                left => format!("{left} ms of its lease are left"),
            };
            say(format_args!("  authority  {node} for {}, term {}, {left}", held.prefix, held.term));
        }
        None => say(format_args!("  authority  none")),
    }
    match &resolved.route {
        Some(route) => say(format_args!("  route      of {}: {}", route.prefix, route.value)),
        None => say(format_args!("  route      none")),
    }
}

/// One line, with `mark` before it.
pub(super) fn entry(mark: &str, entry: &Entry) {
    let what = match &entry.what {
        What::Node(node) => format!("node, rack {}, {}, epoch {}", node.rack, addresses(node), node.epoch),
        What::NodeDown { epoch, .. } => format!("node down, epoch {epoch}"),
        What::Record { record, revision, value } => format!("{record}, revision {revision}: {value}"),
        What::RecordGone { record } => format!("no {record} any more"),
        What::Authority { node: Some(node), term } => format!("authority {node}, term {term}"),
        What::Authority { node: None, term } => format!("nobody's authority, term {term}"),
        What::Copy { node, digest, length } => format!("copy at {node}, {length} bytes, BLAKE3 {digest}"),
        What::CopyGone { node } => format!("no copy any more at {node}"),
        What::HolderRetired { node } => format!("no copies at all any more at {node}"),
        What::Split => "these names and those behind are another shard's now".to_owned(),
    };
    say(format_args!("{mark}{}  {what}", entry.name));
}

pub(super) fn told(told: &Told) {
    match told {
        Told::Listing { entries, .. } => entries.iter().for_each(|listed| entry("  ", listed)),
        Told::Changes(entries) => entries.iter().for_each(|changed| entry("~ ", changed)),
    }
}

fn addresses(node: &Node) -> String {
    if node.addresses.is_empty() { "alone".to_owned() } else { node.addresses.join(" ") }
}

fn role(role: Role) -> &'static str {
    match role {
        Role::Leader => "leader",
        Role::Voter => "voter",
        Role::Learner => "learner",
        Role::Leaving => "leaving",
    }
}
