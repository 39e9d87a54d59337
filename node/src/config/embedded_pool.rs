//! Pools whose server is the node itself: read, and checked against the rest.

use std::net::Ipv4Addr;

use ipnet::IpNet;
use memcached_bridge::packet::REPLY_PACKET_BYTES;
use memcached_bridge::packet::embedded::MAX_ITEM_BYTES;

use super::problem::Problems;
use super::read::{NETWORKS, Places, integer, name, warn_of_openness};
use super::reader::{Reader, Span};
use super::size::ByteSize;
use super::types::{Config, Embedded, EmbeddedPool};

/// Where the parts of such a pool stand.
pub(super) struct EmbeddedPoolPlaces {
    pub(super) pool: Span,
    name: Span,
    pub(super) vip: Span,
    clients: Span,
}

/// Reads a pool whose `store` was read already.
pub(super) fn read(mut table: Reader<'_, '_>) -> Option<(EmbeddedPool, EmbeddedPoolPlaces)> {
    let name = name(&mut table);
    let name = table.required("name", "\"web\"", name);
    let vip = table.parsed::<Ipv4Addr>("vip", "an IPv4 address such as \"10.0.0.100\"");
    let vip = table.required("vip", "\"10.0.0.100\"", vip);
    let clients = table.parsed_list::<IpNet>("clients", NETWORKS);
    let clients = table.required("clients", "[\"10.0.0.0/24\"]", clients);
    let port = integer(&mut table, "port", 1..=65_535, 11_211) as u16;
    let vlan = table.integer("vlan", 1..=4094).map(|vlan| vlan.value as u16);
    let amplification_limit = table.float("amplification_limit", 0.0).map_or(3.0, |limit| limit.value);
    if let Some(listen) = table.text("listen") {
        let remedy = "remove it: over TCP the embedded server listens where `listen` in [embedded] says";
        table.error(&listen.span, "a pool with `store = \"embedded\"` has no `listen` of its own", remedy);
    }
    if let Some(server) = table.tables("server", "[[pool.server]]").into_iter().next() {
        let remedy = "remove `store`, or the servers";
        let message = "a pool with `store = \"embedded\"` has no servers: the node answers for it";
        table.error(&server.span.clone(), message, remedy);
        drop(server);
    }
    table.finish_with(|table| {
        let (name, vip, clients) = (name?, vip?, clients?);
        warn_of_openness(table, &clients);
        let places = EmbeddedPoolPlaces {
            pool: table.span.clone(),
            name: name.span,
            vip: vip.span,
            clients: clients.span,
        };
        let clients = clients.value.into_iter().map(|client| client.value).collect();
        let pool =
            EmbeddedPool { name: name.value, vip: vip.value, port, vlan, clients, amplification_limit };
        Some((pool, places))
    })
}

/// Notes what is wrong with such pools beside the rest of `config`.
pub(super) fn check(config: &Config, places: &Places, problems: &mut Problems<'_>) {
    for (index, (pool, spans)) in config.embedded_pools.iter().zip(&places.embedded_pools).enumerate() {
        addresses(config, pool, &config.embedded_pools[..index], spans, problems);
        match (&config.embedded, &places.embedded) {
            (Some(embedded), Some(span)) => {
                store(embedded, places.embedded_max_item.as_ref().unwrap_or(span), problems);
                secrets(embedded, pool, spans, problems);
                host_path(config, embedded, pool, spans, problems);
            }
            _ => {
                let message = "`store = \"embedded\"` in [[pool]] needs [embedded]";
                let remedy = "add [embedded]: its `memory` and `max_item` are those of the store";
                problems.error(&spans.pool, message, remedy);
            }
        }
    }
    if let (Some((pool, spans)), Some(dataplane)) =
        (config.embedded_pools.iter().zip(&places.embedded_pools).next(), &config.dataplane)
        && usize::from(dataplane.mtu) < REPLY_PACKET_BYTES
    {
        let message =
            format!("full replies of pool `{}` do not pass an `mtu` of {}", pool.name, dataplane.mtu);
        let remedy = format!("use at least {REPLY_PACKET_BYTES} in [dataplane]");
        problems.error(places.mtu.as_ref().unwrap_or(&spans.name), message, remedy);
    }
}

/// The pool's name and virtual address are nobody else's.
fn addresses(
    config: &Config,
    pool: &EmbeddedPool,
    earlier: &[EmbeddedPool],
    spans: &EmbeddedPoolPlaces,
    problems: &mut Problems<'_>,
) {
    let of_servers = config.pools.iter().map(|other| (&other.name, other.vip, other.vlan));
    let embedded = earlier.iter().map(|other| (&other.name, Some(other.vip), other.vlan));
    for (name, vip, vlan) in of_servers.chain(embedded) {
        if *name == pool.name {
            problems.error(&spans.name, format!("two pools are called `{name}`"), "give each its own name");
        }
        if (vip, vlan) == (Some(pool.vip), pool.vlan) {
            let message = format!("pools `{name}` and `{}` both have {}", pool.name, pool.vip);
            let remedy = "give each its own address: fragments do not name the port";
            problems.error(&spans.vip, message, remedy);
        }
    }
    if let Some(other) = earlier.first() {
        let message = format!("pools `{}` and `{}` have the same items", other.name, pool.name);
        problems.warn(&spans.name, message, "a node has one store; two pools are two addresses of it");
    }
    super::check::own_address(config, pool.vip, &spans.vip, problems);
}

/// A worker answers between two bursts.
fn store(embedded: &Embedded, place: &Span, problems: &mut Problems<'_>) {
    if embedded.max_item.0 > MAX_ITEM_BYTES as u64 {
        let most = ByteSize(MAX_ITEM_BYTES as u64);
        let message =
            format!("a `max_item` of {} is more than one reply over UDP carries", embedded.max_item);
        let remedy = format!("give at most {most} while a pool has `store = \"embedded\"`");
        problems.error(place, message, remedy);
    }
}

/// What is to be kept over TCP must not be open on the packet path.
fn secrets(
    embedded: &Embedded,
    pool: &EmbeddedPool,
    spans: &EmbeddedPoolPlaces,
    problems: &mut Problems<'_>,
) {
    for (key, is_there) in
        [("password_file", embedded.password_file.is_some()), ("tls", embedded.tls.is_some())]
    {
        if is_there {
            let message = format!(
                "pool `{}` and `{key}` in [embedded] exclude one another: over UDP everybody would be served without",
                pool.name
            );
            problems.error(&spans.vip, message, "remove one of them");
        }
    }
}

/// Whether what is no UDP in one packet finds somebody.
fn host_path(
    config: &Config,
    embedded: &Embedded,
    pool: &EmbeddedPool,
    spans: &EmbeddedPoolPlaces,
    problems: &mut Problems<'_>,
) {
    let Some(dataplane) = &config.dataplane else { return };
    let (name, vip, port) = (&pool.name, pool.vip, pool.port);
    let found = format!("{vip}:{port}");
    if dataplane.host_interface.is_none() || pool.vlan.is_some() {
        let message = format!("pool `{name}` answers datagrams in one packet, not TCP nor fragments");
        let remedy = match pool.vlan {
            Some(_) => "those go to `host_interface`, which is on no VLAN".to_owned(),
            None => format!(
                "for those, add `host_interface = \"ss0\"` to [dataplane] and `listen = \"{found}\"` to [embedded]"
            ),
        };
        return problems.warn(&spans.vip, message, remedy);
    }
    let listen = embedded.listen;
    if listen.port() != port || (listen.ip() != vip && !listen.ip().is_unspecified()) {
        let message = format!("nobody listens on {found} over TCP: [embedded] listens on {listen}");
        problems.warn(&spans.vip, message, format!("use `listen = \"{found}\"` in [embedded]"));
    }
    let is_let_in = |client: &IpNet| embedded.clients.iter().any(|network| network.contains(client));
    if let Some(client) = pool.clients.iter().find(|client| !is_let_in(client)) {
        let message = format!("pool `{name}` serves {client} over UDP, [embedded] does not over TCP");
        problems.warn(&spans.clients, message, "add it to `clients` in [embedded], too");
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Checked, parse};

    const NODE: &str = r#"
[node]
address = "10.0.0.254/24"

[dataplane]
cores = [1]
host_interface = "ss0"

[[dataplane.port]]
name = "sw1"
device = "net_af_xdp0,iface=sw1"

[embedded]
listen = "10.0.0.100:11211"
clients = ["10.0.0.0/24"]

[[pool]]
name = "web"
vip = "10.0.0.100"
store = "embedded"
clients = ["10.0.0.0/24"]
"#;

    fn read(text: &str) -> Checked {
        parse("node.toml", text)
    }

    #[test]
    fn a_node_that_is_a_memcached_is_read() {
        let checked = read(NODE);
        assert_eq!(checked.problems, []);
        let config = checked.config.unwrap();
        let pool = &config.embedded_pools[0];
        assert_eq!((pool.name.as_str(), pool.port, pool.vlan), ("web", 11211, None));
        assert_eq!(pool.amplification_limit, 3.0);
        assert!(config.pools.is_empty());
    }

    #[test]
    fn what_does_not_fit_is_said_with_a_remedy() {
        let pool = &NODE[NODE.find("[[pool]]").unwrap()..];
        for (original, replaced, expected) in [
            ("\"embedded\"\n", "\"embeded\"\n", "`embeded` is not known; did you mean `embedded`?"),
            ("vip = \"10.0.0.100\"\n", "", "error: `vip` is missing in [[pool]]"),
            ("store =", "cache = 0\nstore =", "error: unknown key `cache` in [[pool]]"),
            (
                "store =",
                "listen = \"1.2.3.4:1\"\nstore =",
                "error: a pool with `store = \"embedded\"` has no `listen`",
            ),
            (
                "store =",
                "server = [{ name = \"a\" }]\nstore =",
                "has no servers: the node answers for it\n  remedy: remove `store`",
            ),
            ("vip = \"10.0.0.100\"", "vip = \"10.0.0.254\"", "error: 10.0.0.254 is the node's own address"),
            ("vip = \"10.0.0.100\"", "vip = \"10.9.0.1\"", "warning: 10.9.0.1 is not in the node's network"),
            (
                "[embedded]\nlisten = \"10.0.0.100:11211\"\nclients = [\"10.0.0.0/24\"]\n",
                "",
                "error: `store = \"embedded\"` in [[pool]] needs [embedded]",
            ),
            (
                "[embedded]\n",
                "[embedded]\nmax_item = \"2MiB\"\n",
                "14:12: error: a `max_item` of 2MiB is more",
            ),
            (
                "[embedded]\n",
                "[embedded]\npassword_file = \"users\"\n",
                "error: pool `web` and `password_file` in [embedded] exclude",
            ),
            (
                "[embedded]\n",
                "[embedded]\ntls = { certificate = \"c\", key = \"k\" }\n",
                "error: pool `web` and `tls` in [embedded] exclude",
            ),
            (
                "cores = [1]",
                "cores = [1]\nmtu = 1400",
                "error: full replies of pool `web` do not pass an `mtu` of 1400",
            ),
            (
                "host_interface = \"ss0\"\n",
                "",
                "warning: pool `web` answers datagrams in one packet, not TCP",
            ),
            ("store =", "vlan = 7\nstore =", "remedy: those go to `host_interface`, which is on no VLAN"),
            ("10.0.0.100:11211", "127.0.0.1:11211", "warning: nobody listens on 10.0.0.100:11211 over TCP"),
            (
                "listen = \"10.0.0.100:11211\"\nclients = [\"10.0.0.0/24\"]",
                "listen = \"0.0.0.0:11211\"",
                "warning: pool `web` serves 10.0.0.0/24 over UDP, [embedded] does not",
            ),
            ("[[pool]]", &format!("{pool}[[pool]]"), "error: two pools are called `web`"),
            ("[[pool]]", &format!("{pool}[[pool]]"), "error: pools `web` and `web` both have 10.0.0.100"),
            ("[[pool]]", &format!("{pool}[[pool]]"), "warning: pools `web` and `web` have the same items"),
        ] {
            let text = NODE.replacen(original, replaced, 1);
            assert_ne!(text, NODE, "{original}");
            let found: Vec<String> = read(&text).problems.iter().map(ToString::to_string).collect();
            assert!(found.iter().any(|problem| problem.contains(expected)), "{expected}\ngot: {found:#?}");
        }
    }

    #[test]
    fn it_needs_the_packet_path_and_the_nodes_address() {
        let start = NODE.find("[dataplane]").unwrap();
        let end = NODE.find("[embedded]").unwrap();
        let without = format!("{}{}", &NODE[..start], &NODE[end..]);
        let found = read(&without).problems[0].to_string();
        assert!(found.contains("error: `vip` in [[pool]] needs the packet path"), "{found}");
        let found = read(&NODE.replace("address = \"10.0.0.254/24\"\n", "")).problems;
        assert!(found.iter().any(|problem| problem.to_string().contains("needs the node's own address")));
    }
}
