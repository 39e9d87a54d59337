//! What only shows across sections.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use memcached_bridge::packet::REPLY_PACKET_BYTES;

use super::embedded_pool;
use super::problem::{Problems, nearest};
use super::read::Places;
use super::reader::Span;
use super::routes::{DestinationPlaces, RoutePlaces};
use super::types::{Config, Destination, Door, Pool, Route};
use super::{buffers, directory};

/// A lease longer than this holds writes back for longer than clients wait.
const LONG_LEASE: Duration = Duration::from_secs(5);

/// Notes what is wrong with `config` as a whole.
pub(super) fn check(config: &Config, places: &Places, problems: &mut Problems<'_>) {
    what_is_served(config, places, problems);
    packet_path(config, places, problems);
    directory::check(config, places, problems);
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
    for (index, places) in places.routes.iter().enumerate() {
        let (earlier, rest) = config.routes.split_at(index);
        route(config, &rest[0], earlier, places, problems);
    }
    embedded_pool::check(config, places, problems);
}

fn what_is_served(config: &Config, places: &Places, problems: &mut Problems<'_>) {
    let serves_pools = config.pools.iter().any(|pool| pool.tcp.is_some());
    let serves = serves_pools || config.embedded.is_some() || config.directory.is_some();
    if !serves && config.dataplane.is_none() {
        let remedy = "add [embedded] to serve memcached over sockets, [[pool]] to serve servers behind the node, [directory] to keep names, or [dataplane] for the packet path";
        problems.error(&places.document, "the node would serve nothing", remedy);
    }
    let on_path = config.pools.iter().zip(&places.pools).find_map(|(pool, places)| {
        let vip = places.vip.as_ref().filter(|_| pool.vip.is_some())?;
        Some((&places.pool, vip))
    });
    let embedded = places.embedded_pools.first().map(|places| (&places.pool, &places.vip));
    let on_path = on_path.or(embedded);
    if let (None, Some((_, vip))) = (&config.dataplane, on_path) {
        let remedy = "add [dataplane] with its ports, or serve the pool over TCP with `listen`";
        problems.error(vip, "`vip` in [[pool]] needs the packet path", remedy);
    }
    if let (Some(_), Some((pool, _)), None) = (&config.dataplane, on_path, config.node.address) {
        let remedy = "add `address = \"10.0.0.254/24\"` to [node]: the node's own address on the switch";
        problems.error(pool, "[[pool]] needs the node's own address", remedy);
    }
    if let (Some(dataplane), None) = (&config.dataplane, &config.node.address)
        && dataplane.host_interface.is_some()
    {
        let remedy = "add `address` to [node]: the interface gets it";
        problems.error(&places.dataplane, "`host_interface` needs the node's own address", remedy);
    }
    if config.dataplane.is_some() && on_path.is_none() {
        let remedy = "add [[pool]] with `vip`, if it is to know memcached, too";
        problems.warn(&places.dataplane, "[dataplane] without a [[pool]] is a plain switch", remedy);
    }
}

/// What ports and pools ask of each other.
fn packet_path(config: &Config, places: &Places, problems: &mut Problems<'_>) {
    let Some(dataplane) = &config.dataplane else { return };
    let needed = buffers::needed(dataplane, config.pools_on_path().count());
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
        && config.pools_on_path().next().is_some()
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
        if let (Some(vip), Some(place)) = (pool.vip, &spans.vip)
            && (other.vip, other.vlan) == (pool.vip, pool.vlan)
        {
            let message = format!("pools `{}` and `{}` both have {vip}", other.name, pool.name);
            let remedy = "give each its own address: fragments do not name the port";
            problems.error(place, message, remedy);
        }
    }
    listens(config, pool, earlier, spans, problems);
    if !spans.has_address && !config.routes.iter().any(|route| route.pools().any(|name| name == pool.name)) {
        let remedy = "add `listen = \"127.0.0.1:11211\"` to serve it over TCP, `vip = \"10.0.0.100\"` for the packet path, or a [[route]] that leads to it";
        problems.error(&spans.pool, format!("pool `{}` has no address for clients", pool.name), remedy);
    }
    if let (Some(vip), Some(place)) = (pool.vip, &spans.vip) {
        own_address(config, vip, place, problems);
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

fn route(
    config: &Config,
    route: &Route,
    earlier: &[Route],
    places: &RoutePlaces,
    problems: &mut Problems<'_>,
) {
    if earlier.iter().any(|other| other.name == route.name) {
        let message = format!("two routes are called `{}`", route.name);
        problems.error(&places.name, message, "give each its own name");
    }
    let who = format!("route `{}`", route.name);
    listens_alone(config, &who, route.door.listen, &places.listen, (&config.pools, earlier), problems);
    destination(config, &route.default, &places.default, problems);
    for (index, ((prefix, to), (span, places))) in route.prefixes.iter().zip(&places.prefixes).enumerate() {
        if route.prefixes[..index].iter().any(|(other, _)| other == prefix) {
            let message = format!("route `{}` has the prefix `{prefix}` twice", route.name);
            problems.error(span, message, "remove one of them");
        }
        destination(config, to, places, problems);
    }
}

fn destination(config: &Config, to: &Destination, places: &DestinationPlaces, problems: &mut Problems<'_>) {
    let spans = std::iter::once(&places.pool).chain(&places.others);
    let names: Vec<&str> = to.pools().collect();
    for (index, (name, place)) in names.iter().zip(spans).enumerate() {
        leads_to(config, name, place, problems);
        if names[..index].contains(name) {
            let message = format!("pool `{name}` is named twice for the same keys");
            problems.error(place, message, "name each pool once");
        }
    }
    let has_no_cache = |pool: &&Pool| pool.name == to.pool && pool.cache.is_none();
    if let (Some(_), Some(pool)) = (&to.warm_from, config.pools.iter().find(has_no_cache)) {
        let message = format!("pool `{}` has `cache = 0` and is to be warmed up", pool.name);
        let remedy = "give it a cache: what it knows of writes keeps deleted items from coming back";
        problems.error(&places.pool, message, remedy);
    }
}

/// A route can lead to the pool.
fn leads_to(config: &Config, name: &str, place: &Span, problems: &mut Problems<'_>) {
    match config.pools.iter().find(|pool| pool.name == name) {
        Some(pool) if pool.tcp.is_some() => {}
        Some(_) => {
            let message = format!("pool `{name}` is on the packet path alone: no route leads there");
            problems.error(place, message, "give the pool a `listen`, and its servers an `address`");
        }
        None if config.embedded_pools.iter().any(|pool| pool.name == name) => {
            let message =
                format!("pool `{name}` is the node's own store on the packet path: no route leads there");
            let remedy = "name a pool whose server has the address of [embedded]";
            problems.error(place, message, remedy);
        }
        None => {
            let names: Vec<&str> = config.pools.iter().map(|pool| pool.name.as_str()).collect();
            let remedy = match nearest(name, &names) {
                Some(nearest) => format!("did you mean `{nearest}`?"),
                None => format!("pools are: {}", names.join(", ")),
            };
            problems.error(place, format!("there is no pool `{name}`"), remedy);
        }
    }
}

/// A virtual address is none of the node's, but in its network.
pub(super) fn own_address(config: &Config, vip: Ipv4Addr, place: &Span, problems: &mut Problems<'_>) {
    let Some(address) = config.node.address else { return };
    if address.addr() == vip {
        let remedy = "give the pool an address of its own";
        problems.error(place, format!("{vip} is the node's own address"), remedy);
    } else if !address.contains(&vip) {
        let remedy = "clients reach it only if they have a route to it through this switch";
        problems.warn(place, format!("{vip} is not in the node's network {address}"), remedy);
    }
}

/// Nobody else of the node listens where the pool does.
fn listens(
    config: &Config,
    pool: &Pool,
    earlier: &[Pool],
    spans: &super::read::PoolPlaces,
    problems: &mut Problems<'_>,
) {
    let (Some(door), Some(place)) = (door_of(pool), &spans.listen) else { return };
    let who = format!("pool `{}`", pool.name);
    listens_alone(config, &who, door.listen, place, (earlier, &[]), problems);
}

fn door_of(pool: &Pool) -> Option<&Door> {
    pool.tcp.as_ref()?.door.as_ref()
}

/// Nobody else listens where `who` does, neither of those before it nor another part of the node.
fn listens_alone(
    config: &Config,
    who: &str,
    listen: SocketAddr,
    place: &Span,
    (pools, routes): (&[Pool], &[Route]),
    problems: &mut Problems<'_>,
) {
    if listen.port() == 0 {
        return;
    }
    let pool = pools.iter().find(|other| door_of(other).is_some_and(|door| door.listen == listen));
    let route = routes.iter().find(|other| other.door.listen == listen);
    let other = if let Some(other) = pool {
        format!("pool `{}`", other.name)
    } else if let Some(other) = route {
        format!("route `{}`", other.name)
    } else if config.embedded.as_ref().is_some_and(|embedded| embedded.listen == listen) {
        "[embedded]".to_owned()
    } else if config.admin.listen == listen {
        "[admin]".to_owned()
    } else {
        return;
    };
    let message = format!("{other} and {who} both listen on {listen}");
    problems.error(place, message, "give one of them another port");
}

fn servers(pool: &Pool, earlier: &[Pool], spans: &super::read::PoolPlaces, problems: &mut Problems<'_>) {
    for (index, (server, place)) in pool.servers.iter().zip(&spans.servers).enumerate() {
        let before = &pool.servers[..index];
        if before.iter().any(|other| other.name == server.name) {
            let message = format!("two servers of pool `{}` are called `{}`", pool.name, server.name);
            problems.error(&place.name, message, "give each its own name: the distribution hashes it");
        }
        let (Some(mac), Some(mac_place)) = (server.mac, &place.mac) else { continue };
        if let Some(other) = before.iter().find(|other| other.mac == server.mac) {
            let message = format!("servers `{}` and `{}` both have {mac}", other.name, server.name);
            problems.error(mac_place, message, "give each its own MAC address: it tells them apart");
        }
        let elsewhere =
            earlier.iter().filter(|other| other.vlan == pool.vlan).flat_map(|other| &other.servers);
        if elsewhere.into_iter().any(|other| other.mac == server.mac && other.port != server.port) {
            let message = format!("{mac} is behind another port in another pool");
            problems.error(mac_place, message, "a station is behind one port");
        }
    }
}
