//! TLS, passwords, and what clients may do.

use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use memcached_bridge::proxy::MAX_STALL;
use memcached_bridge::proxy::limits::{MAX_PER_SECOND, MAX_TTL_SECONDS, MaxTtl, Rate};
use tokio_rustls::rustls::pki_types::ServerName;

use super::read::{integer, size};
use super::reader::{Located, Reader};
use super::types::{Door, Embedded, PoolTcp, ServerTls, Tls};
use crate::limits::PerClient;

/// memcached's bound.
const MAX_VALUE_BYTES: u64 = 1 << 30;
const CONNECTIONS: RangeInclusive<u64> = 1..=1_000_000;
const STALL_SECONDS: RangeInclusive<u64> = 1..=86_400;
/// The keys of a pool that the packet path has no use for, and whose meaning there would be a hole.
const NOT_ON_PATH: [&str; 2] = ["password_file", "tls"];

/// Where clients of `owner` (`pool` or `route`) come in. `None` without a `listen`.
pub(super) fn door(table: &mut Reader<'_, '_>, owner: &'static str) -> Option<Located<Door>> {
    let listen = table.parsed::<SocketAddr>("listen", "an address and a port, such as \"127.0.0.1:11211\"");
    let max_connections = integer(table, "max_connections", CONNECTIONS, 10_000) as usize;
    let connections = table.integer("max_connections_per_client", CONNECTIONS);
    let per_client = PerClient {
        connections: connections.map(|connections| connections.value as usize),
        rate: rate(table, "client_requests_per_s", "client_burst"),
    };
    let rate = rate(table, "requests_per_s", "burst");
    let max_value = size(table, "max_value", 1..=MAX_VALUE_BYTES).map(|size| size.value);
    let max_ttl = table.integer("max_ttl_s", 1..=MAX_TTL_SECONDS.into());
    let max_ttl = max_ttl.map(|ttl| MaxTtl { seconds: ttl.value as u32 });
    let stall_timeout = stall_timeout(table);
    let password_file = password_file(table);
    let tls = table.table_in(owner, "tls").and_then(tls);
    listen.map(|Located { value: listen, span }| Located {
        value: Door {
            listen,
            max_connections,
            per_client,
            rate,
            max_value,
            max_ttl,
            stall_timeout,
            password_file,
            tls,
        },
        span,
    })
}

/// What is to be kept over TCP must not be open on the packet path.
pub(super) fn is_nowhere_open(
    table: &Reader<'_, '_>,
    vip: Option<&Located<Ipv4Addr>>,
    tcp: Option<&PoolTcp>,
) {
    for key in NOT_ON_PATH.iter().filter(|key| table.has(key)) {
        if let Some(vip) = vip {
            let message =
                format!("`vip` and `{key}` exclude one another: over UDP everybody would be served without");
            table.error(&vip.span, message, "serve the pool over TCP alone, or remove the other");
        }
    }
    let listens = table.has("listen");
    let needs = |key: &&&str| match **key {
        "server_tls" => tcp.is_none() && !listens,
        _ => !listens,
    };
    let lacks = NOT_ON_PATH.iter().chain(&["server_tls"]).filter(|key| table.has(key)).find(needs);
    if let Some(key) = lacks {
        let message = format!("`{key}` in [[pool]] is for pools over TCP");
        table.error(&table.span, message, "add `listen = \"127.0.0.1:11211\"`");
    }
}

/// The keys of a door that mean nothing without one.
const OF_A_DOOR: [&str; 10] = [
    "clients",
    "max_connections",
    "max_connections_per_client",
    "client_requests_per_s",
    "client_burst",
    "requests_per_s",
    "burst",
    "max_value",
    "max_ttl_s",
    "stall_timeout_s",
];

/// What clients may do is said where they come in.
pub(super) fn says_nothing_without_door(table: &Reader<'_, '_>) {
    if table.has("listen") || table.has("vip") {
        return;
    }
    for key in OF_A_DOOR.iter().filter(|key| table.has(key)) {
        let message = format!("`{key}` in [[pool]] is for clients of an address of its own");
        let remedy =
            "write it in the [[route]] that leads to the pool, or add `listen = \"127.0.0.1:11211\"`";
        table.error(&table.span, message, remedy);
    }
}

pub(super) fn embedded(table: &mut Reader<'_, '_>, embedded: &mut Embedded) {
    let udp = table.boolean("udp");
    embedded.password_file = password_file(table);
    embedded.tls = table.table_in("embedded.", "tls").and_then(tls);
    let connections = table.integer("max_connections_per_client", CONNECTIONS);
    embedded.max_connections_per_client = connections.map(|connections| connections.value as usize);
    embedded.stall_timeout = stall_timeout(table);
    if let Some(Located { value: true, span }) = &udp {
        if embedded.password_file.is_some() {
            let message =
                "`udp` and `password_file` exclude one another: a datagram cannot authenticate its sender";
            table.error(span, message, "remove one of them");
        }
        if table.has("tls") {
            let message = "`udp` and [embedded.tls] exclude one another: datagrams are not encrypted";
            table.error(span, message, "remove one of them");
        }
    }
    embedded.udp = udp.map_or(embedded.password_file.is_none() && embedded.tls.is_none(), |udp| udp.value);
}

fn password_file(table: &mut Reader<'_, '_>) -> Option<PathBuf> {
    table.text("password_file").map(|path| path.value.into())
}

fn stall_timeout(table: &mut Reader<'_, '_>) -> Duration {
    Duration::from_secs(integer(table, "stall_timeout_s", STALL_SECONDS, MAX_STALL.as_secs()))
}

/// So many requests per second; at once those of one second, unless told.
fn rate(table: &mut Reader<'_, '_>, key: &'static str, burst_key: &'static str) -> Option<Rate> {
    let per_second = table.integer(key, 1..=MAX_PER_SECOND.into());
    let burst = table.integer(burst_key, 1..=MAX_PER_SECOND.into());
    if let (Some(burst), false) = (&burst, table.has(key)) {
        let message = format!("`{burst_key}` without `{key}` limits nothing");
        table.error(&burst.span, message, format!("add `{key} = 10000`, or remove `{burst_key}`"));
    }
    let per_second = per_second?.value as u32;
    Some(Rate { per_second, burst: burst.map_or(per_second, |burst| burst.value as u32) })
}

fn tls(mut table: Reader<'_, '_>) -> Option<Tls> {
    let certificate = path(&mut table, "certificate", "\"/etc/smartswitch/tls.crt\"");
    let key = path(&mut table, "key", "\"/etc/smartswitch/tls.key\"");
    let client_ca = table.text("client_ca").map(|path| path.value.into());
    table.finish_with(|_| Some(Tls { certificate: certificate?, key: key?, client_ca }))
}

/// `[pool.server_tls]`
pub(super) fn server_tls(table: &mut Reader<'_, '_>) -> Option<ServerTls> {
    table.table_in("pool.", "server_tls").and_then(server_identity)
}

fn server_identity(mut table: Reader<'_, '_>) -> Option<ServerTls> {
    let ca = path(&mut table, "ca", "\"/etc/smartswitch/ca.crt\"");
    let certificate = table.text("certificate");
    let key = table.text("key");
    if let (Some(alone), None) | (None, Some(alone)) = (&certificate, &key) {
        let message = "`certificate` and `key` in [pool.server_tls] belong together";
        table.error(&alone.span, message, "give both, or neither");
    }
    let identity =
        certificate.zip(key).map(|(certificate, key)| (certificate.value.into(), key.value.into()));
    let server_name = table.text("server_name").and_then(|name| {
        let parsed = ServerName::try_from(name.value.clone()).ok();
        if parsed.is_none() {
            let message = format!("`{}` is no name of a server", name.value);
            table.error(&name.span, message, "give a DNS name such as \"mc.example\", or an IP address");
        }
        parsed
    });
    table.finish_with(|_| Some(ServerTls { ca: ca?, identity, server_name }))
}

fn path(table: &mut Reader<'_, '_>, key: &'static str, example: &str) -> Option<PathBuf> {
    let path = table.text(key);
    table.required(key, example, path).map(|path| path.value.into())
}
