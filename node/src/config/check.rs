//! What only shows across sections.

use std::time::Duration;

use memcached_bridge::packet::REPLY_PACKET_BYTES;

use super::buffers;
use super::problem::Problems;
use super::read::Places;
use super::types::{Config, Pool};

/// A lease longer than this holds writes back for longer than clients wait.
const LONG_LEASE: Duration = Duration::from_secs(5);

/// Notes what is wrong with `config` as a whole.
pub(super) fn check(config: &Config, places: &Places, problems: &mut Problems<'_>) {
    what_is_served(config, places, problems);
    packet_path(config, places, problems);
    if let Some(embedded) = &config.embedded
        && embedded.listen.port() != 0
        && embedded.listen == config.admin.listen
    {
        let place = places.embedded_listen.clone().or(places.admin_listen.clone());
        let message = format!("[embedded] and [admin] both listen on {}", embedded.listen);
        problems.error(&place.unwrap_or(0..0), message, "give one of them another port");
    }
    for index in 0..config.pools.len() {
        let (earlier, rest) = config.pools.split_at(index);
        pool(config, &rest[0], earlier, places, problems);
    }
}

fn what_is_served(config: &Config, places: &Places, problems: &mut Problems<'_>) {
    if config.embedded.is_none() && config.dataplane.is_none() {
        let remedy = "add [embedded] to serve memcached over sockets, or [dataplane] for the packet path";
        problems.error(&places.document, "the node would serve nothing", remedy);
    }
    if let (None, Some(pool)) = (&config.dataplane, places.pools.first()) {
        problems.error(&pool.pool, "[[pool]] needs the packet path", "add [dataplane] with its ports");
    }
    if config.dataplane.is_some() && !config.pools.is_empty() && config.node.address.is_none() {
        let remedy = "add `address = \"10.0.0.254/24\"` to [node]: the node's own address on the switch";
        problems.error(&places.pools[0].pool, "[[pool]] needs the node's own address", remedy);
    }
    if let (Some(dataplane), None) = (&config.dataplane, &config.node.address)
        && dataplane.host_interface.is_some()
    {
        let remedy = "add `address` to [node]: the interface gets it";
        problems.error(&places.dataplane, "`host_interface` needs the node's own address", remedy);
    }
    if config.dataplane.is_some() && config.pools.is_empty() {
        let remedy = "add [[pool]], if it is to know memcached, too";
        problems.warn(&places.dataplane, "[dataplane] without a [[pool]] is a plain switch", remedy);
    }
}

/// What ports and pools ask of each other.
fn packet_path(config: &Config, places: &Places, problems: &mut Problems<'_>) {
    let Some(dataplane) = &config.dataplane else { return };
    let needed = buffers::needed(dataplane, config.pools.len());
    if let Some(place) = &places.packet_buffers
        && dataplane.packet_buffers < needed
    {
        let given = dataplane.packet_buffers;
        let message =
            format!("{given} packet buffers are fewer than the {needed} that queues and pools may hold");
        let remedy = format!("remove the key, or give {needed}: while none is free, no port receives");
        problems.warn(place, message, remedy);
    }
    if let Some(place) = &places.mtu
        && usize::from(dataplane.mtu) < REPLY_PACKET_BYTES
        && !config.pools.is_empty()
    {
        let mtu = dataplane.mtu;
        let message = format!(
            "over an `mtu` of {mtu}, memcached's full replies come in fragments, \
             each of which closes the pool's cache for a lease"
        );
        let remedy = format!("use at least {REPLY_PACKET_BYTES}, on the servers' links, too");
        problems.warn(place, message, remedy);
    }
}

fn pool(config: &Config, pool: &Pool, earlier: &[Pool], places: &Places, problems: &mut Problems<'_>) {
    let Some(spans) = places.pools.get(earlier.len()) else { return };
    for other in earlier {
        if other.name == pool.name {
            problems.error(
                &spans.name,
                format!("two pools are called `{}`", pool.name),
                "give each its own name",
            );
        }
        if (other.vip, other.vlan) == (pool.vip, pool.vlan) {
            let message = format!("pools `{}` and `{}` both have {}", other.name, pool.name, pool.vip);
            let remedy = "give each its own address: fragments do not name the port";
            problems.error(&spans.vip, message, remedy);
        }
    }
    if let Some(address) = config.node.address {
        if address.addr() == pool.vip {
            let remedy = "give the pool an address of its own";
            problems.error(&spans.vip, format!("{} is the node's own address", pool.vip), remedy);
        } else if !address.contains(&pool.vip) {
            let remedy = "clients reach it only if they have a route to it through this switch";
            problems.warn(&spans.vip, format!("{} is not in the node's network {address}", pool.vip), remedy);
        }
    }
    if pool.cache.is_none() {
        problems.warn(
            &spans.name,
            format!("pool `{}` has no cache", pool.name),
            "remove `cache = 0`, if hot keys are to be answered here",
        );
    }
    if pool.lease > LONG_LEASE {
        let message = format!("a lease of {} ms is long", pool.lease.as_millis());
        problems.warn(
            &spans.name,
            message,
            "use 1000 ms: after a lost reply, a key is not cached for a lease",
        );
    }
    servers(pool, earlier, spans, problems);
}

fn servers(pool: &Pool, earlier: &[Pool], spans: &super::read::PoolPlaces, problems: &mut Problems<'_>) {
    for (index, (server, place)) in pool.servers.iter().zip(&spans.servers).enumerate() {
        let before = &pool.servers[..index];
        if before.iter().any(|other| other.name == server.name) {
            let message = format!("two servers of pool `{}` are called `{}`", pool.name, server.name);
            problems.error(&place.name, message, "give each its own name: the distribution hashes it");
        }
        if let Some(other) = before.iter().find(|other| other.mac == server.mac) {
            let message = format!("servers `{}` and `{}` both have {}", other.name, server.name, server.mac);
            problems.error(&place.mac, message, "give each its own MAC address: it tells them apart");
        }
        let elsewhere =
            earlier.iter().filter(|other| other.vlan == pool.vlan).flat_map(|other| &other.servers);
        if elsewhere.into_iter().any(|other| other.mac == server.mac && other.port != server.port) {
            let message = format!("{} is behind another port in another pool", server.mac);
            problems.error(&place.mac, message, "a station is behind one port");
        }
    }
}
