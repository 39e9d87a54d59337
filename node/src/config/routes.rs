//! `[[route]]`: one address for the keys of several pools.

use ipnet::IpNet;
use memcached_bridge::proxy::limits::{MAX_TTL_SECONDS, MaxTtl};
use memcached_bridge::proxy::route::Acks;

use super::read::{NETWORKS, here, name, warn_of_openness};
use super::reader::{Located, Reader, Span};
use super::security;
use super::types::{Destination, Route, loopback};

/// The longest prefix: a key has no more bytes.
const MAX_PREFIX: usize = 250;

const ACKS: [(&str, Acks); 3] = [("all", Acks::All), ("majority", Acks::Majority), ("one", Acks::One)];
/// The share of keys that a shadow gets, unless told.
const SHADOW_SHARE: f64 = 0.01;
/// How long items live in a pool that is failed over to, unless told: nobody deletes them there once the first pool is back.
const FAILOVER_TTL_S: u32 = 60;

/// Where the parts of a route stand.
pub(super) struct RoutePlaces {
    pub(super) name: Span,
    pub(super) listen: Span,
    pub(super) default: DestinationPlaces,
    pub(super) prefixes: Vec<(Span, DestinationPlaces)>,
}

/// Where the parts of a destination stand.
pub(super) struct DestinationPlaces {
    pub(super) pool: Span,
    /// Of the other pools, in the order of [`Destination::pools`].
    pub(super) others: Vec<Span>,
}

pub(super) fn route(mut table: Reader<'_, '_>) -> Option<(Route, RoutePlaces)> {
    let name = name(&mut table);
    let name = table.required("name", "\"front\"", name);
    let door = security::door(&mut table, "route.");
    let door = table.required("listen", "\"127.0.0.1:11211\"", door);
    let clients = table.parsed_list::<IpNet>("clients", NETWORKS);
    let clients = clients.unwrap_or_else(|| here(&table, loopback()));
    warn_of_openness(&table, &clients);
    let default = destination(&mut table);
    let mut prefixes = Vec::new();
    for table in table.tables("prefix", "[[route.prefix]]") {
        prefixes.extend(prefix(table));
    }
    table.finish_with(|_| {
        let (name, door, (default, default_places)) = (name?, door?, default?);
        let (prefixes, places) =
            prefixes.into_iter().map(|(prefix, to, span, places)| ((prefix, to), (span, places))).unzip();
        let clients = clients.value.into_iter().map(|client| client.value).collect();
        let spans =
            RoutePlaces { name: name.span, listen: door.span, default: default_places, prefixes: places };
        Some((Route { name: name.value, door: door.value, clients, default, prefixes }, spans))
    })
}

fn prefix(mut table: Reader<'_, '_>) -> Option<(String, Destination, Span, DestinationPlaces)> {
    let prefix = table.text("prefix");
    let prefix = table.required("prefix", "\"user:\"", prefix);
    let prefix = prefix.filter(|prefix| {
        let fits = (1..=MAX_PREFIX).contains(&prefix.value.len());
        if !fits {
            let message = format!("a `prefix` of {} bytes is the beginning of no key", prefix.value.len());
            table.error(&prefix.span, message, format!("give 1 to {MAX_PREFIX} bytes, such as \"user:\""));
        }
        fits
    });
    let destination = destination(&mut table);
    table.finish_with(|_| {
        let (prefix, (destination, places)) = (prefix?, destination?);
        Some((prefix.value, destination, prefix.span, places))
    })
}

/// Where keys go. Whether the pools are there shows only when all sections are read.
fn destination(table: &mut Reader<'_, '_>) -> Option<(Destination, DestinationPlaces)> {
    let pool = table.text("pool");
    let pool = table.required("pool", "\"web\"", pool);
    let replicas = pools(table, "replicas");
    let acks = table.word("acks", &ACKS);
    if let (Some(acks), true) = (&acks, replicas.is_empty()) {
        let remedy = "add `replicas = [\"copy\"]`, or remove `acks`";
        table.error(&acks.span, "`acks` without `replicas` means nothing", remedy);
    }
    let failover = pools(table, "failover");
    if let (Some(first), false) = (failover.first(), replicas.is_empty()) {
        let remedy = "remove one of them: replicas stand in for each other";
        table.error(&first.span, "`failover` and `replicas` exclude one another", remedy);
    }
    let ttl = table.integer("failover_ttl_s", 0..=MAX_TTL_SECONDS.into());
    let on_miss = table.boolean("failover_on_miss");
    for (key, span) in
        [("failover_ttl_s", ttl.as_ref().map(span)), ("failover_on_miss", on_miss.as_ref().map(span))]
    {
        if let (Some(span), true) = (span, failover.is_empty()) {
            let message = format!("`{key}` without `failover` means nothing");
            table.error(&span, message, format!("add `failover = [\"spare\"]`, or remove `{key}`"));
        }
    }
    let seconds = ttl.map_or(FAILOVER_TTL_S, |ttl| ttl.value as u32);
    let pool = pool?;
    let warm_from = table.text("warm_from");
    if let (Some(warm), false) = (&warm_from, replicas.is_empty() && failover.is_empty()) {
        let message = "`warm_from` goes with neither `replicas` nor `failover`";
        table.error(&warm.span, message, "warm the pool up first, and add the others then");
    }
    let shadow = table.text("shadow");
    let share = shadow_share(table, shadow.is_some());
    let spans = replicas.iter().chain(&failover).chain(&warm_from).chain(&shadow).map(span).collect();
    let names = |pools: Vec<Located<String>>| pools.into_iter().map(|name| name.value).collect();
    let destination = Destination {
        pool: pool.value,
        replicas: names(replicas),
        acks: acks.map_or(Acks::All, |acks| acks.value),
        failover: names(failover),
        warm_from: warm_from.map(|name| name.value),
        shadow: shadow.map(|name| (name.value, share)),
        failover_ttl: Some(MaxTtl { seconds }).filter(|ttl| ttl.seconds > 0),
        failover_on_miss: on_miss.is_some_and(|value| value.value),
    };
    Some((destination, DestinationPlaces { pool: pool.span, others: spans }))
}

/// The share of keys that a shadow gets.
fn shadow_share(table: &mut Reader<'_, '_>, has_shadow: bool) -> f64 {
    let Some(share) = table.float("shadow_share", 0.0) else { return SHADOW_SHARE };
    if !has_shadow {
        let remedy = "add `shadow = \"test\"`, or remove `shadow_share`";
        table.error(&share.span, "`shadow_share` without `shadow` means nothing", remedy);
    } else if share.value > 1.0 {
        let message = format!("a `shadow_share` of {} is more than all keys", share.value);
        table.error(&share.span, message, "give a share from 0 to 1, such as 0.01");
    }
    share.value
}

fn span<T>(located: &Located<T>) -> Span {
    located.span.clone()
}

/// Names of pools.
fn pools(table: &mut Reader<'_, '_>, key: &'static str) -> Vec<Located<String>> {
    table.parsed_list::<String>(key, "names of pools").map(|names| names.value).unwrap_or_default()
}
