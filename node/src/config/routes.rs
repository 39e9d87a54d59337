//! `[[route]]`: one address for the keys of several pools.

use ipnet::IpNet;

use super::read::{NETWORKS, here, name, warn_of_openness};
use super::reader::{Reader, Span};
use super::security;
use super::types::{Destination, Route, loopback};

/// The longest prefix: a key has no more bytes.
const MAX_PREFIX: usize = 250;

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
    let pool = table.required("pool", "\"web\"", pool)?;
    Some((Destination { pool: pool.value }, DestinationPlaces { pool: pool.span }))
}
