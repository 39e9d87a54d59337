//! From tables to valid values, section by section.

use std::cell::RefCell;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use fabric::io::HugePages;
use fabric::worker::Idle;
use ipnet::{IpNet, Ipv4Net};
use memcached_bridge::hashing::{Distribution, KeyHash};
use memcached_bridge::proxy::MAX_LANES;
use memcached_bridge::store::MIN_MEMORY_BYTES;
use naming::{NodeId, Rack};

use super::embedded_pool::{self, EmbeddedPoolPlaces};
use super::problem::Problems;
use super::reader::{Located, Reader, Span};
use super::routes::{self, RoutePlaces};
use super::security;
use super::size::ByteSize;
use super::types::{
    Admin, Config, Dataplane, Embedded, Node, Pool, PoolTcp, Port, Proxy, Server, Telemetry, TracedKeys,
    default_threads, loopback,
};
use super::{buffers, directory};

/// The largest item that can be allowed, in bytes: memcached's own bound.
const MAX_ITEM_BYTES: u64 = 1 << 30;
const NAME: &str = "a name of letters, digits, `.`, `_`, `:` and `-`";
pub(super) const NETWORKS: &str = "networks such as \"10.0.0.0/24\", or \"10.0.0.1/32\" for one address";
const DEVICE: &str = "give a PCI address such as \"0000:03:00.0\"; a kernel interface such as eth1 is \
                      \"net_af_xdp0,iface=eth1\"";
const DISTRIBUTIONS: [(&str, Distribution); 6] = [
    ("ketama", Distribution::Ketama),
    ("ketama_libmemcached", Distribution::KetamaLibmemcached),
    ("ketama_libmemcached_unweighted", Distribution::KetamaLibmemcachedUnweighted),
    ("modula", Distribution::Modula),
    ("rendezvous", Distribution::Rendezvous),
    ("jump", Distribution::Jump),
];

/// Where things stand that are compared across sections.
pub(super) struct Places {
    pub(super) document: Span,
    pub(super) admin_listen: Option<Span>,
    pub(super) embedded: Option<Span>,
    pub(super) embedded_listen: Option<Span>,
    pub(super) embedded_max_item: Option<Span>,
    pub(super) fabric: Option<Span>,
    pub(super) founders: Option<Span>,
    pub(super) dataplane: Span,
    pub(super) mtu: Option<Span>,
    pub(super) packet_buffers: Option<Span>,
    pub(super) pools: Vec<PoolPlaces>,
    pub(super) routes: Vec<RoutePlaces>,
    pub(super) embedded_pools: Vec<EmbeddedPoolPlaces>,
}

/// Where the parts of a pool stand.
pub(super) struct PoolPlaces {
    pub(super) pool: Span,
    pub(super) name: Span,
    pub(super) vip: Option<Span>,
    pub(super) listen: Option<Span>,
    /// Clients have an address for it, valid or not.
    pub(super) has_address: bool,
    pub(super) servers: Vec<ServerPlaces>,
}

/// Where the parts of a server stand.
pub(super) struct ServerPlaces {
    pub(super) name: Span,
    pub(super) mac: Option<Span>,
}

/// Reads the whole document.
pub(super) fn document(mut root: Reader<'_, '_>) -> (Config, Places) {
    let mut places = Places {
        document: root.span.start..root.span.start,
        dataplane: 0..0,
        admin_listen: None,
        embedded: None,
        embedded_listen: None,
        embedded_max_item: None,
        fabric: None,
        founders: None,
        mtu: None,
        packet_buffers: None,
        pools: Vec::new(),
        routes: Vec::new(),
        embedded_pools: Vec::new(),
    };
    let node = root.table("node").map(node).unwrap_or_default();
    let fabric = root.table("fabric").and_then(|table| {
        places.fabric = Some(table.span.clone());
        directory::fabric(table, node.id)
    });
    let directory = root.table("directory").map(|table| directory::directory(table, &mut places));
    let admin = root.table("admin").map(|table| admin(table, &mut places)).unwrap_or_default();
    let telemetry = root.table("telemetry").map(telemetry).unwrap_or_default();
    let embedded = root.table("embedded").map(|table| embedded(table, &mut places));
    let mut dataplane = root.table("dataplane").map(|table| dataplane(table, &mut places));
    let proxy = root.table("proxy").map(proxy).unwrap_or_default();
    let (mut pools, mut embedded_pools) = (Vec::new(), Vec::new());
    for mut table in root.tables("pool", "[[pool]]") {
        if table.word("store", &[("embedded", ())]).is_some() {
            if let Some((pool, spans)) = embedded_pool::read(table) {
                embedded_pools.push(pool);
                places.embedded_pools.push(spans);
            }
        } else if let Some((pool, spans)) = pool(table, dataplane.as_ref()) {
            pools.push(pool);
            places.pools.push(spans);
        }
    }
    let mut routes = Vec::new();
    for table in root.tables("route", "[[route]]") {
        if let Some((route, spans)) = routes::route(table) {
            routes.push(route);
            places.routes.push(spans);
        }
    }
    if let Some(dataplane) = dataplane.as_mut().filter(|_| places.packet_buffers.is_none()) {
        dataplane.packet_buffers =
            buffers::needed(dataplane, pools.iter().filter(|pool| pool.vip.is_some()).count());
    }
    root.finish();
    let config = Config {
        node,
        admin,
        embedded,
        fabric,
        directory,
        dataplane,
        proxy,
        pools,
        embedded_pools,
        routes,
        telemetry,
    };
    (config, places)
}

/// A reader of `text`'s root table.
pub(super) fn root<'a, 't>(text: &'t str, problems: &'a RefCell<Problems<'t>>) -> Reader<'a, 't> {
    let (table, errors) = toml::de::DeTable::parse_recoverable(text);
    for error in errors {
        let span = error.span().unwrap_or(0..0);
        let remedy = "mend the syntax: `key = value`, once for each key; texts stand in quotes, lists in [ ]";
        problems.borrow_mut().error(&span, format!("not TOML: {}", error.message()), remedy);
    }
    let span = table.span();
    Reader::new("the file", span, table.into_inner(), problems)
}

fn node(mut table: Reader<'_, '_>) -> Node {
    let default = Node::default();
    let name = name(&mut table).map_or(default.name, |name| name.value);
    let address =
        table.parsed::<Ipv4Net>("address", "an address with its prefix length, such as \"10.0.0.254/24\"");
    let mac = mac(&mut table).map(|mac| mac.value);
    let id = table.parsed::<NodeId>("id", "up to 16 hexadecimal digits in quotes, such as \"1\"");
    let rack = table.parsed::<Rack>("rack", "the name of a rack, such as \"row1/rack2\"");
    let data = directory::absolute(&mut table, "data");
    table.finish();
    let id = id.map_or(default.id, |id| id.value);
    let rack = rack.map_or(default.rack, |rack| rack.value);
    Node { name, id, rack, data, address: address.map(|address| address.value), mac }
}

fn admin(mut table: Reader<'_, '_>, places: &mut Places) -> Admin {
    let mut admin = Admin::default();
    places.admin_listen = listen(&mut table, &mut admin.listen);
    if let Some(allow) = networks(&mut table, "allow") {
        admin.allow = allow;
    }
    table.finish();
    admin
}

/// Requests over sockets that are traced, unless the config says otherwise: enough to see what a busy node does, too
/// few to slow it.
const SAMPLE: f64 = 0.001;

const TRACED_KEYS: [(&str, TracedKeys); 2] = [("hash", TracedKeys::Hash), ("plain", TracedKeys::Plain)];

fn telemetry(mut table: Reader<'_, '_>) -> Telemetry {
    let otlp = table.text("otlp");
    if let Some(otlp) = &otlp
        && !otlp.value.starts_with("http://")
    {
        let message = format!("`{}` is no address of a collector", otlp.value);
        table.error(&otlp.span, message, "give `http://HOST:4318`: OTLP over HTTP, to a collector nearby");
    }
    let sample = table.float("sample", 0.0);
    if let Some(sample) = sample.as_ref().filter(|sample| sample.value > 1.0) {
        let message = format!("a `sample` of {} is more than all requests", sample.value);
        table.error(&sample.span, message, "give a share from 0 to 1, such as 0.001");
    }
    let keys = table.word("keys", &TRACED_KEYS).map_or(TracedKeys::default(), |word| word.value);
    table.finish();
    let sample = sample.map_or(SAMPLE, |sample| sample.value);
    Telemetry { otlp: otlp.map(|otlp| otlp.value), sample, keys }
}

fn embedded(mut table: Reader<'_, '_>, places: &mut Places) -> Embedded {
    let mut embedded = Embedded::default();
    places.embedded_listen = listen(&mut table, &mut embedded.listen);
    let least = MIN_MEMORY_BYTES as u64;
    let memory = size(&mut table, "memory", least..=u64::MAX);
    let max_item = size(&mut table, "max_item", 1024..=MAX_ITEM_BYTES);
    embedded.memory = memory.as_ref().map_or(embedded.memory, |size| size.value);
    embedded.max_item = max_item.as_ref().map_or(embedded.max_item, |size| size.value);
    places.embedded = Some(table.span.clone());
    places.embedded_max_item = max_item.as_ref().map(|size| size.span.clone());
    if embedded.max_item.0 > embedded.memory.0 / 2 {
        let place = max_item.or(memory).map(|size| size.span).unwrap_or(table.span.clone());
        let message = format!(
            "an item of `max_item` = {} takes more than half of `memory` = {}",
            embedded.max_item, embedded.memory
        );
        table.error(&place, message, "raise `memory` or lower `max_item`");
    }
    if let Some(clients) = networks(&mut table, "clients") {
        embedded.clients = clients;
    }
    security::embedded(&mut table, &mut embedded);
    if let Some(connections) = table.integer("max_connections", 1..=1_000_000) {
        embedded.max_connections = connections.value as usize;
    }
    table.finish();
    embedded
}

fn proxy(mut table: Reader<'_, '_>) -> Proxy {
    let threads = integer(&mut table, "threads", 1..=64, default_threads() as u64) as usize;
    let coalesce = Duration::from_micros(integer(&mut table, "coalesce_us", 0..=1000, Proxy::COALESCE_US));
    table.finish();
    Proxy { threads, coalesce }
}

fn dataplane(mut table: Reader<'_, '_>, places: &mut Places) -> Dataplane {
    let cores = table.integer_list("cores", 0..=1023);
    let cores =
        table.required("cores", "[1]", cores).map(|cores| distinct_cores(&table, cores)).unwrap_or_default();
    let pages = [("auto", HugePages::Auto), ("require", HugePages::Require), ("never", HugePages::Never)];
    let huge_pages = table.word("huge_pages", &pages).map_or(HugePages::Auto, |word| word.value);
    let backs_off = table.word("idle", &[("backoff", true), ("poll", false)]).is_none_or(|word| word.value);
    let max = Duration::from_micros(integer(&mut table, "idle_max_us", 1..=1_000_000, 100));
    let idle = if backs_off { Idle::Backoff { max } } else { Idle::Poll };
    let packet_buffers = table.integer("packet_buffers", 1024..=1 << 22);
    let mtu = table.integer("mtu", 576..=9000);
    let mut dataplane = Dataplane {
        cores,
        huge_pages,
        memory_mib: integer(&mut table, "memory_mib", 32..=1 << 20, 256) as u32,
        // Without the key, what the pools, which are read later, make necessary.
        packet_buffers: packet_buffers.as_ref().map_or(0, |count| count.value as u32),
        mtu: mtu.as_ref().map_or(1500, |mtu| mtu.value as u16),
        idle,
        stations: integer(&mut table, "stations", 16..=1 << 24, 16_384) as usize,
        station_age: Duration::from_secs(integer(&mut table, "station_age_s", 1..=86_400, 300)),
        host_interface: interface(&mut table),
        ports: Vec::new(),
    };
    for port in table.tables("port", "[[dataplane.port]]") {
        dataplane.ports.extend(self::port(port, &dataplane.ports));
    }
    places.dataplane = table.span.clone();
    places.packet_buffers = packet_buffers.map(|count| count.span);
    places.mtu = mtu.map(|mtu| mtu.span);
    if dataplane.ports.is_empty() {
        table.error(
            &table.span.clone(),
            "[dataplane] has no port",
            "add [[dataplane.port]] with `name` and `device`",
        );
    }
    table.finish();
    dataplane
}

fn distinct_cores(table: &Reader<'_, '_>, cores: Located<Vec<Located<u64>>>) -> Vec<usize> {
    if cores.value.is_empty() {
        table.error(&cores.span, "`cores` in [dataplane] is empty", "name at least one core, such as [1]");
    }
    let mut distinct = Vec::new();
    for core in cores.value {
        if distinct.contains(&(core.value as usize)) {
            table.error(&core.span, format!("core {} is named twice", core.value), "name each core once");
            continue;
        }
        distinct.push(core.value as usize);
    }
    distinct
}

/// Linux interface names have at most 15 bytes (`IFNAMSIZ`).
fn interface(table: &mut Reader<'_, '_>) -> Option<String> {
    let name = table.text("host_interface")?;
    let fits = (1..=15).contains(&name.value.len())
        && name.value.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'/' | b':' | b','));
    if !fits {
        let message = format!("`{}` is no name for an interface", name.value);
        table.error(&name.span, message, "give 1 to 15 letters or digits, such as \"ss0\"");
        return None;
    }
    Some(name.value)
}

fn port(mut table: Reader<'_, '_>, others: &[Port]) -> Option<Port> {
    let name = name(&mut table);
    let name = table.required("name", "\"sw1\"", name);
    let device = table.text("device");
    let device = table.required("device", "\"net_af_xdp0,iface=sw1\"", device);
    if let Some(device) = &device {
        check_device(&table, device);
    }
    table.finish_with(|table| {
        let (name, device) = (name?, device?);
        for other in others {
            if other.name == name.value {
                table.error(
                    &name.span,
                    format!("two ports are called `{}`", name.value),
                    "give each its own name",
                );
            }
            if other.device == device.value {
                let message = format!("port `{}` already has the device `{}`", other.name, device.value);
                table.error(&device.span, message, "give each port its own device");
            }
        }
        Some(Port { name: name.value, device: device.value })
    })
}

#[cfg(feature = "dpdk")]
fn check_device(table: &Reader<'_, '_>, device: &Located<String>) {
    if let Err(error) = device.value.parse::<fabric_dpdk::PortSpec>() {
        table.error(&device.span, format!("`device` in [[dataplane.port]]: {}", error.reason), DEVICE);
    }
}

#[cfg(not(feature = "dpdk"))]
fn check_device(table: &Reader<'_, '_>, device: &Located<String>) {
    if device.value.trim().is_empty() {
        table.error(&device.span, "`device` in [[dataplane.port]]: the name is missing", DEVICE);
    }
}

fn pool(mut table: Reader<'_, '_>, dataplane: Option<&Dataplane>) -> Option<(Pool, PoolPlaces)> {
    let name = name(&mut table);
    let name = table.required("name", "\"web\"", name);
    let vip = table.parsed::<Ipv4Addr>("vip", "an IPv4 address such as \"10.0.0.100\"");
    let (tcp, listen) = pool_tcp(&mut table);
    security::is_nowhere_open(&table, vip.as_ref(), tcp.as_ref());
    security::says_nothing_without_door(&table);
    let has_address = table.has("vip") || table.has("listen");
    let clients = table.parsed_list::<IpNet>("clients", NETWORKS);
    let clients = match vip {
        Some(_) => table.required("clients", "[\"10.0.0.0/24\"]", clients),
        None => clients.or_else(|| Some(here(&table, loopback()))),
    };
    let hashes = KeyHash::ALL.map(|hash| (hash.name(), hash));
    let cache = size(&mut table, "cache", 0..=u64::MAX).map_or(16 << 20, |size| size.value.0);
    let hash_tag = hash_tag(&mut table);
    let mut pool = Pool {
        name: String::new(),
        vip: vip.as_ref().map(|vip| vip.value),
        port: integer(&mut table, "port", 1..=65_535, 11_211) as u16,
        tcp,
        vlan: table.integer("vlan", 1..=4094).map(|vlan| vlan.value as u16),
        distribution: table
            .word("distribution", &DISTRIBUTIONS)
            .map_or(Distribution::Ketama, |word| word.value),
        hash: table.word("hash", &hashes).map_or(KeyHash::Fnv1a64, |word| word.value),
        hash_tag,
        clients: Vec::new(),
        amplification_limit: table.float("amplification_limit", 0.0).map_or(3.0, |limit| limit.value),
        cache: Some(ByteSize(cache)).filter(|size| size.0 > 0),
        lease: Duration::from_millis(integer(&mut table, "lease_ms", 1..=60_000, 1000)),
        hot_threshold: integer(&mut table, "hot_threshold", 1..=65_535, 8) as u16,
        probe_interval: Duration::from_millis(integer(&mut table, "probe_interval_ms", 1..=60_000, 200)),
        probe_failures: integer(&mut table, "probe_failures", 1..=1000, 3) as u32,
        auto_eject: table.boolean("auto_eject").is_none_or(|value| value.value),
        servers: Vec::new(),
    };
    let mut servers = Vec::new();
    for server in table.tables("server", "[[pool.server]]") {
        if let Some((server, spans)) = self::server(server, dataplane, &pool) {
            pool.servers.push(server);
            servers.push(spans);
        }
    }
    table.finish_with(|table| {
        let (name, clients) = (name?, clients?);
        if pool.servers.is_empty() {
            let remedy = match &pool.vip {
                Some(_) => "add [[pool.server]] with `name` and `mac`",
                None => "add [[pool.server]] with `name` and `address`",
            };
            table.error(&name.span, format!("pool `{}` has no server", name.value), remedy);
        }
        warn_of_openness(table, &clients);
        let (pool_place, vip) = (table.span.clone(), vip.map(|vip| vip.span));
        let places = PoolPlaces { pool: pool_place, name: name.span, vip, listen, has_address, servers };
        pool.name = name.value;
        pool.clients = clients.value.into_iter().map(|client| client.value).collect();
        Some((pool, places))
    })
}

/// Networks that nobody wrote down.
pub(super) fn here(table: &Reader<'_, '_>, networks: Vec<IpNet>) -> Located<Vec<Located<IpNet>>> {
    let span = table.span.clone();
    let value = networks.into_iter().map(|value| Located { value, span: span.clone() }).collect();
    Located { value, span: span.clone() }
}

/// How a pool is served over TCP, and where its door stands: on the packet path alone, not at all.
fn pool_tcp(table: &mut Reader<'_, '_>) -> (Option<PoolTcp>, Option<Span>) {
    let millis = |table: &mut Reader<'_, '_>, key, default| {
        Duration::from_millis(integer(table, key, 1..=600_000, default))
    };
    let (door, listen) = security::door(table, "pool.").map(|door| (door.value, door.span)).unzip();
    let tcp = PoolTcp {
        door,
        connections: integer(table, "connections", 1..=MAX_LANES.into(), 1) as u8,
        connect_timeout: millis(table, "connect_timeout_ms", 500),
        reply_timeout: millis(table, "reply_timeout_ms", 1000),
        server_tls: security::server_tls(table),
    };
    let is_served = tcp.door.is_some() || !table.has("vip");
    (is_served.then_some(tcp), listen)
}

pub(super) fn warn_of_openness(table: &Reader<'_, '_>, clients: &Located<Vec<Located<IpNet>>>) {
    for client in clients.value.iter().filter(|client| client.value.prefix_len() == 0) {
        table.warn(&client.span, "`clients` is open to all addresses", "name the networks of the clients");
    }
    if clients.value.is_empty() {
        let remedy =
            "name the networks of the clients, or leave it so to serve only within the amplification limit";
        table.warn(&clients.span, "`clients` is empty: nobody is served without limits", remedy);
    }
}

fn server(
    mut table: Reader<'_, '_>,
    dataplane: Option<&Dataplane>,
    pool: &Pool,
) -> Option<(Server, ServerPlaces)> {
    let name = name(&mut table);
    let name = table.required("name", "\"mc1\"", name);
    let mut mac = mac(&mut table);
    if pool.vip.is_some() {
        mac = Some(table.required("mac", "\"02:00:00:00:00:01\"", mac)?);
    }
    let address = server_address(&mut table, pool, name.as_ref());
    let port = table.text("port").and_then(|port| {
        let ports = dataplane.map_or(&[][..], |dataplane| &dataplane.ports);
        let index = ports.iter().position(|other| other.name == port.value);
        if index.is_none() && dataplane.is_some() {
            let names: Vec<&str> = ports.iter().map(|port| port.name.as_str()).collect();
            let message = format!("`{}` is no port of [dataplane]", port.value);
            table.error(&port.span, message, format!("ports are: {}", names.join(", ")));
        }
        index
    });
    let weight = integer(&mut table, "weight", 1..=1_000_000, 1) as u32;
    table.finish_with(|_| {
        let name = name?;
        let (mac, mac_place) = (mac.as_ref().map(|mac| mac.value), mac.map(|mac| mac.span));
        let places = ServerPlaces { name: name.span, mac: mac_place };
        Some((Server { name: name.value, mac, address, port, weight }, places))
    })
}

/// Where a server is reached: what the file says, or its name if that is an address.
fn server_address(table: &mut Reader<'_, '_>, pool: &Pool, name: Option<&Located<String>>) -> Option<String> {
    let expected = "a host and a port, such as \"10.0.0.11:11211\"";
    let is_address = |text: &str| {
        let (host, port) = text.rsplit_once(':')?;
        (!host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0)).then(|| text.to_owned())
    };
    let given = table.text("address");
    let address = match &given {
        Some(given) => {
            let address = is_address(&given.value);
            if address.is_none() {
                let message = format!("`{}` is no address of a server", given.value);
                table.error(&given.span, message, format!("give {expected}"));
            }
            return address;
        }
        None => name.and_then(|name| is_address(&name.value)),
    };
    if pool.tcp.is_some() {
        return table.required("address", "\"10.0.0.11:11211\"", address);
    }
    address
}

pub(super) fn name(table: &mut Reader<'_, '_>) -> Option<Located<String>> {
    let name = table.text("name")?;
    let fits = (1..=64).contains(&name.value.len())
        && name.value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte));
    if !fits {
        table.error(&name.span, format!("`{}` is no name", name.value), format!("give {NAME}, at most 64"));
        return None;
    }
    Some(name)
}

fn mac(table: &mut Reader<'_, '_>) -> Option<Located<fabric::packet::MacAddr>> {
    let mac =
        table.parsed::<fabric::packet::MacAddr>("mac", "a MAC address such as \"02:00:00:00:00:01\"")?;
    if mac.value.is_multicast() || mac.value.0 == [0; 6] {
        let message = format!("{} is the address of no single station", mac.value);
        table.error(&mac.span, message, "give a station's own address; its first byte is even");
        return None;
    }
    Some(mac)
}

fn hash_tag(table: &mut Reader<'_, '_>) -> Option<[u8; 2]> {
    let tag = table.text("hash_tag")?;
    let pair = <[u8; 2]>::try_from(tag.value.as_bytes()).ok().filter(|pair| pair.is_ascii());
    if pair.is_none() {
        table.error(
            &tag.span,
            format!("`{}` is no pair of characters", tag.value),
            "give two, such as \"{}\"",
        );
    }
    pair
}

pub(super) fn integer(
    table: &mut Reader<'_, '_>,
    key: &'static str,
    range: std::ops::RangeInclusive<u64>,
    default: u64,
) -> u64 {
    table.integer(key, range).map_or(default, |number| number.value)
}

pub(super) fn size(
    table: &mut Reader<'_, '_>,
    key: &'static str,
    range: std::ops::RangeInclusive<u64>,
) -> Option<Located<ByteSize>> {
    let size = table.size(key)?;
    if range.contains(&size.value.0) {
        return Some(size);
    }
    let least = ByteSize(*range.start());
    let remedy = match *range.end() {
        u64::MAX => format!("give at least {least}"),
        most => format!("give {least} to {}", ByteSize(most)),
    };
    table.error(&size.span, format!("`{key}` = {} is out of range", size.value), remedy);
    None
}

fn listen(table: &mut Reader<'_, '_>, into: &mut SocketAddr) -> Option<Span> {
    let listen =
        table.parsed::<SocketAddr>("listen", &format!("an address and a port, such as \"{into}\""))?;
    *into = listen.value;
    Some(listen.span)
}

fn networks(table: &mut Reader<'_, '_>, key: &'static str) -> Option<Vec<IpNet>> {
    let networks = table.parsed_list::<IpNet>(key, NETWORKS)?;
    for network in networks.value.iter().filter(|network| network.value.prefix_len() == 0) {
        table.warn(
            &network.span,
            format!("`{key}` is open to all addresses"),
            "name the networks that may connect",
        );
    }
    if networks.value.is_empty() {
        table.warn(
            &networks.span,
            format!("`{key}` is empty: nobody is let in"),
            "name the networks that may connect",
        );
    }
    Some(networks.value.into_iter().map(|network| network.value).collect())
}
