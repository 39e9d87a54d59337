//! The node among other nodes: `[fabric]`, how it talks with them, and `[directory]`, its part in the name directory.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use fabric_quic::Files;
use naming::NodeId;
use naming_directory_quic::Place;

use super::problem::Problems;
use super::read::Places;
use super::reader::{Located, Reader};
use super::shards::{self, Shards};
use super::types::{Config, Node};

/// Members of a group at most: each entry goes to all of them.
const MAX_FOUNDERS: usize = 7;

/// `[fabric]`
#[derive(Clone, Debug, PartialEq)]
pub struct Fabric {
    /// Where it listens, its certificate, and where other nodes are until the directory says so.
    pub place: Place,
    /// Where other nodes reach it.
    pub address: SocketAddr,
}

/// `[directory]`
#[derive(Clone, Debug, Default)]
pub struct Directory {
    /// The nodes that a new directory begins with, in ascending order; `None`: this one, if it has no peers.
    pub founders: Option<Vec<NodeId>>,
    /// How it divides itself, and spreads.
    pub shards: Shards,
    /// Whether the node goes on without a directory if its data cannot be used: only if nobody asked for one.
    pub optional: bool,
}

impl Directory {
    /// The nodes with which this one begins a new directory if it has no data yet; `None`: it waits to be added to one.
    pub fn found(&self, node: NodeId, fabric: Option<&Fabric>) -> Option<Vec<NodeId>> {
        match &self.founders {
            Some(founders) => founders.contains(&node).then(|| founders.clone()),
            None => fabric.is_none_or(|fabric| fabric.place.peers.is_empty()).then(|| vec![node]),
        }
    }
}

impl Node {
    /// Where the node keeps what outlives it: what the configuration says, or what systemd gives a service, or the
    /// place for data of its user. `None` if there is none of these.
    pub fn data(&self) -> Option<PathBuf> {
        let place =
            |variable: &str| std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
        let below = |path: PathBuf| path.join("smartswitch");
        let system = || nix::unistd::geteuid().is_root().then(|| PathBuf::from("/var/lib/smartswitch"));
        let home = || place("HOME").map(|home| home.join(".local/share"));
        self.data
            .clone()
            .or_else(|| place("STATE_DIRECTORY"))
            .or_else(|| place("XDG_DATA_HOME").map(below))
            .or_else(system)
            .or_else(|| home().map(below))
    }
}

pub(super) fn fabric(mut table: Reader<'_, '_>, node: NodeId) -> Option<Fabric> {
    let listen = table.parsed::<SocketAddr>("listen", "an address and a port, such as \"10.0.0.254:6364\"");
    let listen = table.required("listen", "\"10.0.0.254:6364\"", listen);
    let address =
        table.parsed::<SocketAddr>("address", "where others reach this node, such as \"10.0.0.254:6364\"");
    let files = [
        ("ca", "\"/etc/smartswitch/pki/ca.crt\""),
        ("certificate", "\"/etc/smartswitch/pki/0000000000000001.crt\""),
        ("key", "\"/etc/smartswitch/pki/0000000000000001.key\""),
    ]
    .map(|(key, example)| {
        let file = table.text(key);
        table.required(key, example, file).map(|file| PathBuf::from(file.value))
    });
    let peers = table.tables("peer", "[[fabric.peer]]");
    let mut known = BTreeMap::new();
    peers.into_iter().for_each(|table| peer(table, node, &mut known));
    if let (Some(listen), None, false) = (&listen, &address, table.has("address"))
        && listen.value.ip().is_unspecified()
    {
        let remedy =
            "add `address = \"HOST:PORT\"`: the one address of them at which other nodes reach this one";
        table.error(&listen.span, format!("others cannot reach {}", listen.value), remedy);
    }
    table.finish();
    let (listen, [Some(ca), Some(certificate), Some(key)]) = (listen?.value, files) else { return None };
    let address = address.map_or(listen, |address| address.value);
    let files = Files { ca, certificate, key };
    Some(Fabric { place: Place { listen, files, peers: known }, address })
}

fn peer(mut table: Reader<'_, '_>, own: NodeId, known: &mut BTreeMap<NodeId, SocketAddr>) {
    let id = table.parsed::<NodeId>("id", "a node's id, such as \"2\"");
    let id = table.required("id", "\"2\"", id);
    let address =
        table.parsed::<SocketAddr>("address", "where the node is reached, such as \"10.0.2.254:6364\"");
    let address = table.required("address", "\"10.0.2.254:6364\"", address);
    if let Some(id) = &id {
        let problem = match id.value {
            id if id == own => Some((format!("node {id} is this node"), "name other nodes only")),
            id if known.contains_key(&id) => {
                Some((format!("node {id} is there twice"), "remove one of them"))
            }
            _ => None,
        };
        if let Some((message, remedy)) = problem {
            table.error(&id.span, message, remedy);
        }
    }
    table.finish();
    known.extend(id.zip(address).map(|(id, address)| (id.value, address.value)));
}

pub(super) fn directory(mut table: Reader<'_, '_>, places: &mut Places) -> Directory {
    let founders = table.parsed_list::<NodeId>("founders", "ids of nodes, such as \"1\"");
    if let Some(founders) = &founders {
        places.founders = Some(founders.span.clone());
        check_founders(&table, founders);
    }
    let shards = shards::shards(&mut table);
    table.finish();
    let ids = |founders: Located<Vec<Located<NodeId>>>| {
        let mut ids: Vec<NodeId> = founders.value.into_iter().map(|founder| founder.value).collect();
        ids.sort_unstable();
        ids
    };
    Directory { founders: founders.map(ids), shards, optional: false }
}

fn check_founders(table: &Reader<'_, '_>, founders: &Located<Vec<Located<NodeId>>>) {
    let count = founders.value.len();
    if !(1..=MAX_FOUNDERS).contains(&count) {
        let message = format!("a directory does not begin with {count} nodes");
        table.error(
            &founders.span,
            message,
            format!("name 1 to {MAX_FOUNDERS}: three or five, in different racks"),
        );
    } else if count.is_multiple_of(2) {
        let message = format!("{count} founders bear no more losses than {}", count - 1);
        table.warn(&founders.span, message, "name three or five");
    }
    for (place, founder) in founders.value.iter().enumerate() {
        if founders.value[..place].iter().any(|other| other.value == founder.value) {
            table.error(
                &founder.span,
                format!("node {} is there twice", founder.value),
                "remove one of them",
            );
        }
    }
}

/// Notes what does not fit between `[node]`, `[fabric]` and `[directory]`.
pub(super) fn check(config: &Config, places: &Places, problems: &mut Problems<'_>) {
    let (own, fabric) = (config.node.id, config.fabric.as_ref());
    if let (Some(_), None) = (fabric, &config.directory) {
        let place = places.fabric.clone().unwrap_or_default();
        problems.warn(&place, "[fabric] connects nothing without [directory]", "add [directory]");
    } else if fabric.is_some_and(|fabric| fabric.place.peers.is_empty()) {
        let place = places.fabric.clone().unwrap_or_default();
        let message =
            "without [[fabric.peer]] this node asks nobody whether it was a member, if its disk is lost";
        problems.warn(&place, message, "add the other nodes once there are some");
    }
    let founders = config.directory.as_ref().and_then(|directory| directory.founders.as_ref());
    let unknown =
        |id: &&NodeId| **id != own && fabric.is_none_or(|fabric| !fabric.place.peers.contains_key(id));
    if let (Some(founders), Some(place)) = (founders, &places.founders)
        && let Some(id) = founders.iter().find(unknown)
    {
        let remedy = "add [fabric], and [[fabric.peer]] with its `id` and `address`";
        problems.error(place, format!("it is not said where founder {id} is"), remedy);
    }
}

/// A path of the configuration, which has to be absolute: it is not to depend on where the node is started.
pub(super) fn absolute(table: &mut Reader<'_, '_>, key: &'static str) -> Option<PathBuf> {
    let path = table.text(key)?;
    if !Path::new(&path.value).is_absolute() {
        let remedy = "give a path that begins with `/`";
        table.error(&path.span, format!("`{}` depends on where the node is started", path.value), remedy);
        return None;
    }
    Some(path.value.into())
}
