use memcached_bridge::proxy::route::Acks;

use super::*;

const RACK: &str = r#"
[node]
name = "tor-1"
address = "10.0.0.254/24"

[dataplane]
cores = [1, 2]
host_interface = "ss0"

[[dataplane.port]]
name = "sw1"
device = "net_af_xdp0,iface=sw1"

[[dataplane.port]]
name = "sw2"
device = "net_af_xdp1,iface=sw2"

[[pool]]
name = "web"
vip = "10.0.0.100"
hash_tag = "{}"
clients = ["10.0.0.0/24"]

[[pool.server]]
name = "mc1"
mac = "02:00:00:00:00:01"
port = "sw2"

[[pool.server]]
name = "mc2"
mac = "02:00:00:00:00:02"
weight = 3
"#;

const FLEET: &str = r#"
[proxy]
threads = 2

[[pool]]
name = "web"
listen = "127.0.0.1:11211"

[[pool.server]]
name = "10.0.0.11:11211"

[[pool.server]]
name = "mc2"
address = "mc2.rack:11212"
"#;

fn problems(text: &str) -> Vec<String> {
    parse("node.toml", text).problems.iter().map(ToString::to_string).collect()
}

#[test]
fn a_rack_is_read_with_its_defaults() {
    let checked = parse("node.toml", RACK);
    assert_eq!(checked.problems, []);
    let config = checked.config.unwrap();
    assert!(config.embedded.is_none());
    let dataplane = config.dataplane.unwrap();
    assert_eq!((dataplane.cores, dataplane.mtu, dataplane.ports.len()), (vec![1, 2], 1500, 2));
    let pool = &config.pools[0];
    assert_eq!((pool.port, pool.hash_tag, pool.servers[0].port), (11211, Some(*b"{}"), Some(1)));
    assert_eq!((pool.servers[1].port, pool.servers[1].weight), (None, 3));
    assert_eq!(config.node.mac().to_string(), "02:53:0a:00:00:fe");
}

#[test]
fn a_fleet_is_read_with_its_defaults() {
    let checked = parse("node.toml", FLEET);
    assert_eq!(checked.problems, []);
    let config = checked.config.unwrap();
    assert!(config.embedded.is_none() && config.dataplane.is_none());
    assert_eq!(config.proxy.threads, 2);
    let pool = &config.pools[0];
    let tcp = pool.tcp.as_ref().unwrap();
    let listen = tcp.door.as_ref().unwrap().listen.to_string();
    assert_eq!((pool.vip, listen.as_str(), tcp.connections), (None, "127.0.0.1:11211", 1));
    assert_eq!(pool.clients, loopback());
    let addresses: Vec<_> = pool.servers.iter().filter_map(|server| server.address.as_deref()).collect();
    assert_eq!(addresses, ["10.0.0.11:11211", "mc2.rack:11212"]);
}

#[test]
fn what_is_wrong_with_a_fleet_is_said() {
    let cases = [
        (
            "listen = \"127.0.0.1:11211\"",
            "",
            "node.toml:5:1: error: pool `web` has no address for clients\n  remedy: add `listen = \"127.0.0.1:11211\"`",
        ),
        (
            "address = \"mc2.rack:11212\"",
            "",
            "node.toml:12:1: error: `address` is missing in [[pool.server]]\n  remedy: add `address = \"10.0.0.11:11211\"`",
        ),
        ("mc2.rack:11212", "mc2.rack", "node.toml:14:11: error: `mc2.rack` is no address of a server"),
        ("mc2.rack:11212", "mc2.rack:0", "node.toml:14:11: error: `mc2.rack:0` is no address of a server"),
        ("threads = 2", "threads = 0", "node.toml:3:11: error: `threads` in [proxy]: 0 is out of range"),
        (
            "listen = \"127.0.0.1:11211\"",
            "vip = \"10.0.0.1\"\nclients = []",
            "node.toml:7:7: error: `vip` in [[pool]] needs the packet path",
        ),
        (
            "listen = \"127.0.0.1:11211\"",
            "listen = \"127.0.0.1:11211\"\nreply_timeout_ms = 0",
            "node.toml:8:20: error: `reply_timeout_ms` in [[pool]]: 0 is out of range",
        ),
        (
            "[proxy]",
            "[embedded]\n[proxy]",
            "node.toml:8:10: error: [embedded] and pool `web` both listen on 127.0.0.1:11211",
        ),
        (
            "[proxy]",
            "[admin]\nlisten = \"127.0.0.1:11211\"\n[proxy]",
            "node.toml:9:10: error: [admin] and pool `web` both listen on 127.0.0.1:11211",
        ),
    ];
    for (original, replaced, expected) in cases {
        // A server without an address needs one only if its pool is served over TCP.
        let text = FLEET.replacen(original, replaced, 1);
        let text = if replaced.starts_with("vip") {
            text.replace("name = \"mc2\"", "name = \"mc2\"\nmac = \"02:00:00:00:00:02\"")
                .replace("name = \"10.0.0.11:11211\"", "name = \"mc1\"\nmac = \"02:00:00:00:00:01\"")
        } else {
            text
        };
        let found = problems(&text);
        assert!(found.iter().any(|problem| problem.starts_with(expected)), "{expected}\ngot: {found:#?}");
    }
}

#[test]
fn two_pools_must_not_listen_on_one_address() {
    let second = FLEET[FLEET.find("[[pool]]").unwrap()..].replace("\"web\"", "\"other\"");
    let found = problems(&format!("{FLEET}{second}"));
    let expected = "error: pool `web` and pool `other` both listen on 127.0.0.1:11211";
    assert!(found.iter().any(|problem| problem.contains(expected)), "{found:#?}");
}

#[test]
fn an_embedded_section_is_enough() {
    let config = parse("f", "[embedded]\nmemory = \"1GiB\"\nclients = []\n").config.unwrap();
    let embedded = config.embedded.unwrap();
    assert_eq!((embedded.memory, embedded.listen.port()), (ByteSize(1 << 30), 11211));
    assert!(config.dataplane.is_none());
}

/// Bad configs: what is changed in the rack's, and the beginning of the message.
#[test]
fn what_is_wrong_is_said_with_its_place_and_remedy() {
    let cases = [
        (
            "clients = [\"10",
            "client = [\"10",
            "node.toml:22:1: error: unknown key `client` in [[pool]]\n  remedy: did you mean `clients`?",
        ),
        (
            "[node]",
            "[nod]",
            "node.toml:2:2: error: unknown key `nod` in the file\n  remedy: did you mean `node`?",
        ),
        ("cores = [1, 2]", "cores = [1, 1]", "node.toml:7:13: error: core 1 is named twice"),
        ("cores = [1, 2]", "cores = []", "node.toml:7:9: error: `cores` in [dataplane] is empty"),
        (
            "cores = [1, 2]",
            "",
            "node.toml:6:1: error: `cores` is missing in [dataplane]\n  remedy: add `cores = [1]`",
        ),
        ("cores = [1, 2]", "cores = \"1\"", "node.toml:7:9: error: `cores` in [dataplane]: it is no list"),
        (
            "cores = [1, 2]",
            "cores = [1, 2]\nmtu = 90000",
            "node.toml:8:7: error: `mtu` in [dataplane]: 90000 is out of range",
        ),
        (
            "cores = [1, 2]",
            "cores = [1, 2]\nmtu = 1427",
            "node.toml:8:7: warning: over an `mtu` of 1427, memcached's full replies come in fragments, each of \
             which closes the pool's cache for a lease\n  remedy: use at least 1428",
        ),
        (
            "cores = [1, 2]",
            "cores = [1, 2]\npacket_buffers = 16384",
            "node.toml:8:18: warning: 16384 packet buffers are fewer than the 45056 that queues and pools may \
             hold\n  remedy: remove the key, or give 45056",
        ),
        (
            "cores = [1, 2]",
            "cores = [1, 2]\nidle = \"pol\"",
            "node.toml:8:8: error: `idle` in [dataplane]: `pol` is not known; did you mean `poll`?",
        ),
        (
            "\"10.0.0.100\"",
            "\"10.0.0\"",
            "node.toml:20:7: error: `vip` in [[pool]]: invalid IPv4 address syntax\n  remedy: give an IPv4 address",
        ),
        ("\"10.0.0.100\"", "\"10.0.0.254\"", "node.toml:20:7: error: 10.0.0.254 is the node's own address"),
        ("\"10.0.0.100\"", "\"10.9.0.1\"", "node.toml:20:7: warning: 10.9.0.1 is not in the node's network"),
        ("address = \"10.0.0.254/24\"", "", "node.toml:18:1: error: [[pool]] needs the node's own address"),
        (
            "\"02:00:00:00:00:02\"",
            "\"02:00:00:00:00:01\"",
            "node.toml:31:7: error: servers `mc1` and `mc2` both have 02:00:00:00:00:01",
        ),
        (
            "\"02:00:00:00:00:02\"",
            "\"01:00:00:00:00:02\"",
            "node.toml:31:7: error: 01:00:00:00:00:02 is the address of no single station",
        ),
        ("\"02:00:00:00:00:02\"", "\"02-00\"", "node.toml:31:7: error: `mac` in [[pool.server]]: "),
        (
            "name = \"mc2\"",
            "name = \"mc1\"",
            "node.toml:30:8: error: two servers of pool `web` are called `mc1`",
        ),
        (
            "port = \"sw2\"",
            "port = \"sw3\"",
            "node.toml:27:8: error: `sw3` is no port of [dataplane]\n  remedy: ports are: sw1, sw2",
        ),
        (
            "weight = 3",
            "weight = 0",
            "node.toml:32:10: error: `weight` in [[pool.server]]: 0 is out of range",
        ),
        (
            "[\"10.0.0.0/24\"]",
            "[\"0.0.0.0/0\"]",
            "node.toml:22:12: warning: `clients` is open to all addresses",
        ),
        ("hash_tag", "cache = 0\nhash_tag", "node.toml:19:8: warning: pool `web` has no cache"),
        ("hash_tag", "lease_ms = 30000\nhash_tag", "node.toml:19:8: warning: a lease of 30000 ms is long"),
        (
            "hash_tag",
            "distribution = \"ketma\"\nhash_tag",
            "node.toml:21:16: error: `distribution` in [[pool]]: `ketma` is not known; did you mean `ketama`?",
        ),
        ("hash_tag = \"{}\"", "hash_tag = \"{\"", "node.toml:21:12: error: `{` is no pair of characters"),
        ("name = \"sw2\"", "name = \"sw1\"", "node.toml:15:8: error: two ports are called `sw1`"),
        (
            "net_af_xdp1,iface=sw2",
            "net_af_xdp0,iface=sw1",
            "node.toml:16:10: error: port `sw1` already has the device",
        ),
        ("name = \"tor-1\"", "name = \"tor 1\"", "node.toml:3:8: error: `tor 1` is no name"),
        (
            "\"ss0\"",
            "\"a-name-that-is-too-long\"",
            "node.toml:8:18: error: `a-name-that-is-too-long` is no name for an interface",
        ),
        (
            "[node]",
            "[embedded]\nmemory = \"64KB\"\n[node]",
            "node.toml:3:10: error: `memory` = 64000B is out of range\n  remedy: give at least 64KiB",
        ),
        (
            "[node]",
            "[embedded]\nmax_item = \"900MiB\"\n[node]",
            "node.toml:3:12: error: an item of `max_item` = 900MiB takes more than half of",
        ),
        (
            "[node]",
            "[embedded]\nlisten = \"127.0.0.1:9311\"\n[node]",
            "node.toml:3:10: error: [embedded] and [admin] both listen on 127.0.0.1:9311",
        ),
        ("[node]", "[admin]\nlisten = \"localhost\"\n[node]", "node.toml:3:10: error: `listen` in [admin]: "),
        (
            "[node]",
            "[embedded]\nlisten = \"11211\"\n[node]",
            "node.toml:3:10: error: `listen` in [embedded]: invalid socket address syntax\n  \
             remedy: give an address and a port, such as \"127.0.0.1:11211\"",
        ),
        (
            "[\"10.0.0.0/24\"]",
            "[\"10.0.0.7\"]",
            "node.toml:22:12: error: `clients` in [[pool]]: invalid IP address syntax\n  \
             remedy: give networks such as \"10.0.0.0/24\", or \"10.0.0.1/32\" for one address",
        ),
        (
            "address = \"10.0.0.254/24\"",
            "",
            "node.toml:6:1: error: `host_interface` needs the node's own address",
        ),
        ("name = \"tor-1\"", "name = tor-1", "node.toml:3:8: error: not TOML: "),
    ];
    let mut missed = Vec::new();
    for (original, replaced, expected) in cases {
        let found = problems(&RACK.replacen(original, replaced, 1));
        if !found.iter().any(|problem| problem.starts_with(expected)) {
            missed.push(format!("{replaced}\nexpected: {expected}\ngot: {found:#?}"));
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n\n"));
}

#[test]
fn passwords_and_datagrams_exclude_one_another() {
    let read = |text: &str| parse("f", &format!("[embedded]\npassword_file = \"users\"\n{text}"));
    let embedded = read("").config.unwrap().embedded.unwrap();
    assert_eq!((embedded.password_file, embedded.udp), (Some("users".into()), false));
    assert_eq!(read("udp = false\n").problems, []);
    let problems = read("udp = true\n").problems;
    let message = "f:3:7: error: `udp` and `password_file` exclude one another";
    assert!(problems.len() == 1 && problems[0].to_string().starts_with(message), "{problems:#?}");
}

const TCP_POOL: &str = r#"
[[pool]]
name = "web"
listen = "127.0.0.1:11211"
client_requests_per_s = 1000
requests_per_s = 50000
burst = 100000
max_connections_per_client = 64
max_value = "1MiB"
max_ttl_s = 86400
stall_timeout_s = 30
password_file = "users"

[pool.tls]
certificate = "node.crt"
key = "node.key"
client_ca = "clients.crt"

[pool.server_tls]
ca = "servers.crt"
server_name = "mc.example"

[[pool.server]]
name = "10.0.0.11:11211"
"#;

#[test]
fn a_pool_is_read_with_its_doors_and_limits() {
    let checked = parse("f", TCP_POOL);
    assert_eq!(checked.problems, []);
    let tcp = checked.config.unwrap().pools.remove(0).tcp.unwrap();
    let pool = tcp.door.unwrap();
    let rates = (pool.per_client.rate.unwrap(), pool.rate.unwrap());
    assert_eq!((rates.0.per_second, rates.0.burst), (1000, 1000), "a second's worth at once");
    assert_eq!((rates.1.per_second, rates.1.burst), (50_000, 100_000));
    assert_eq!((pool.per_client.connections, pool.stall_timeout.as_secs()), (Some(64), 30));
    assert_eq!(pool.tls.unwrap().client_ca, Some("clients.crt".into()));
    assert!(tcp.server_tls.unwrap().identity.is_none());
}

/// What is changed in the pool, and the beginning of what is said.
#[test]
fn doors_and_limits_that_do_not_fit_are_named_with_a_remedy() {
    for (original, replaced, expected) in [
        (
            "key = \"node.key\"",
            "",
            "f:14:1: error: `key` is missing in [pool.tls]\n  remedy: add `key = \"/etc/smartswitch/tls.key\"`",
        ),
        (
            "client_ca",
            "clients_ca",
            "f:17:1: error: unknown key `clients_ca` in [pool.tls]\n  remedy: did you mean `client_ca`?",
        ),
        (
            "ca = \"servers.crt\"",
            "ca = \"servers.crt\"\nkey = \"x\"",
            "f:21:7: error: `certificate` and `key` in [pool.server_tls] belong together\n  remedy: give both, or neither",
        ),
        ("mc.example", "mc example", "f:21:15: error: `mc example` is no name of a server"),
        ("requests_per_s = 50000", "", "f:7:9: error: `burst` without `requests_per_s` limits nothing"),
        (
            "max_ttl_s = 86400",
            "max_ttl_s = 2592001",
            "f:10:13: error: `max_ttl_s` in [[pool]]: 2592001 is out of range",
        ),
        (
            "listen = \"127.0.0.1:11211\"",
            "",
            "f:2:1: error: `password_file` in [[pool]] is for pools over TCP",
        ),
        (
            "listen = ",
            "clients = [\"10.0.0.0/8\"]\nvip = \"10.0.0.100\"\nlisten = ",
            "f:5:7: error: `vip` and `password_file` exclude one another: over UDP everybody would be served without",
        ),
    ] {
        let found = parse("f", &TCP_POOL.replacen(original, replaced, 1)).problems;
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert!(
            found.iter().any(|problem| problem.starts_with(expected)),
            "{replaced}\n{expected}\n{found:#?}"
        );
    }
    let found = problems("[embedded]\nudp = true\n[embedded.tls]\ncertificate = \"a\"\nkey = \"b\"\n");
    assert!(
        found[0].starts_with("node.toml:2:7: error: `udp` and [embedded.tls] exclude one another"),
        "{found:#?}"
    );
}

#[test]
fn a_misspelled_key_is_not_reported_as_missing_too() {
    assert_eq!(problems(&RACK.replace("clients =", "client =")).len(), 1);
}

#[test]
fn all_problems_are_found_at_once() {
    let text =
        RACK.replace("mtu", "").replace("cores = [1, 2]", "cores = 1").replace("weight = 3", "wieght = 3");
    assert_eq!(problems(&text).len(), 2, "{:#?}", problems(&text));
}

#[test]
fn two_pools_must_not_share_an_address() {
    let second = RACK[RACK.find("[[pool]]").unwrap()..].replace("\"web\"", "\"other\"\nport = 11212");
    let found = problems(&format!("{RACK}{second}"));
    assert!(
        found.iter().any(|problem| problem.contains("pools `web` and `other` both have 10.0.0.100\n")),
        "{found:#?}"
    );
}

#[test]
fn packet_buffers_and_mtu_that_suffice_are_no_problem() {
    let enough = RACK.replace("cores = [1, 2]", "cores = [1, 2]\nmtu = 1428\npacket_buffers = 45056");
    assert_eq!(problems(&enough), Vec::<String>::new());
    let buffers = |text: &str| parse("f", text).config.unwrap().dataplane.unwrap().packet_buffers;
    assert_eq!(buffers(RACK), 45056, "two workers, three ports, one pool");
    let pools_start = RACK.find("[[pool]]").unwrap();
    assert_eq!(buffers(&RACK[..pools_start]), 45056 - 2 * 8192);
}

#[test]
fn a_plain_switch_is_told_so_where_it_is_asked_for() {
    let start = RACK.find("[dataplane]").unwrap();
    let switch = RACK[start..RACK.find("[[pool]]").unwrap()].replace("host_interface = \"ss0\"\n", "");
    let text = format!("[admin]\n\n{switch}");
    assert_eq!(problems(&text).len(), 1);
    assert!(
        problems(&text)[0]
            .starts_with("node.toml:3:1: warning: [dataplane] without a [[pool]] is a plain switch")
    );
}

#[cfg(feature = "dpdk")]
#[test]
fn an_interfaces_name_alone_is_no_device() {
    let found = problems(&RACK.replace("net_af_xdp1,iface=sw2", "eth0"));
    let expected = "node.toml:16:10: error: `device` in [[dataplane.port]]: \"eth0\" is neither a PCI address nor the \
                    name of a virtual network device, which begins with \"net_\"\n  remedy: give a PCI address such as \
                    \"0000:03:00.0\"; a kernel interface such as eth1 is \"net_af_xdp0,iface=eth1\"";
    assert_eq!(found, [expected]);
}

#[test]
fn a_file_that_serves_nothing_is_an_error() {
    assert!(problems("")[0].contains("the node would serve nothing"));
    assert!(
        problems("[node]\nname = \"x\"\n")[0]
            .starts_with("node.toml:1:1: error: the node would serve nothing")
    );
}

const ROUTED: &str = r#"
[[pool]]
name = "web"
[[pool.server]]
name = "10.0.0.11:11211"

[[pool]]
name = "users"
[[pool.server]]
name = "10.0.0.12:11211"

[[route]]
name = "front"
listen = "127.0.0.1:11211"
pool = "web"

[[route.prefix]]
prefix = "user:"
pool = "users"
"#;

#[test]
fn a_route_is_read_with_its_defaults() {
    let checked = parse("node.toml", ROUTED);
    assert_eq!(checked.problems, []);
    let config = checked.config.unwrap();
    assert!(config.pools.iter().all(|pool| pool.tcp.as_ref().unwrap().door.is_none()));
    let route = &config.routes[0];
    assert_eq!((route.name.as_str(), route.door.listen.port()), ("front", 11211));
    assert_eq!((route.door.max_connections, &route.clients), (10_000, &loopback()));
    assert_eq!(route.pools().collect::<Vec<_>>(), ["web", "users"]);
    assert_eq!(route.prefixes[0].0, "user:");
}

#[test]
fn what_is_wrong_with_routes_is_told() {
    for (what, with, expected) in [
        (
            "pool = \"users\"",
            "pool = \"user\"",
            "f:19:8: error: there is no pool `user`\n  remedy: did you mean `users`?",
        ),
        (
            "pool = \"users\"",
            "pool = \"elsewhere\"",
            "f:19:8: error: there is no pool `elsewhere`\n  remedy: pools are: web, users",
        ),
        (
            "pool = \"users\"",
            "",
            "f:17:1: error: `pool` is missing in [[route.prefix]]\n  remedy: add `pool = \"web\"`",
        ),
        (
            "pool = \"users\"",
            "pool = \"web\"",
            "f:7:1: error: pool `users` has no address for clients\n  remedy: add `listen = \"127.0.0.1:11211\"` to serve it over TCP, `vip = \"10.0.0.100\"` for the packet path, or a [[route]] that leads to it",
        ),
        (
            "prefix = \"user:\"",
            "prefix = \"\"",
            "f:18:10: error: a `prefix` of 0 bytes is the beginning of no key\n  remedy: give 1 to 250 bytes, such as \"user:\"",
        ),
        (
            "name = \"users\"",
            "name = \"users\"\nmax_value = \"1KiB\"",
            "f:7:1: error: `max_value` in [[pool]] is for clients of an address of its own\n  remedy: write it in the [[route]] that leads to the pool, or add `listen = \"127.0.0.1:11211\"`",
        ),
        (
            "listen = \"127.0.0.1:11211\"",
            "",
            "f:12:1: error: `listen` is missing in [[route]]\n  remedy: add `listen = \"127.0.0.1:11211\"`",
        ),
        (
            "listen = \"127.0.0.1:11211\"",
            "listen = \"127.0.0.1:9311\"",
            "f:14:10: error: [admin] and route `front` both listen on 127.0.0.1:9311\n  remedy: give one of them another port",
        ),
        (
            "[[route.prefix]]",
            "[[route.prefix]]\nprefix = \"user:\"\npool = \"web\"\n[[route.prefix]]",
            "f:21:10: error: route `front` has the prefix `user:` twice\n  remedy: remove one of them",
        ),
    ] {
        let found: Vec<String> =
            parse("f", &ROUTED.replace(what, with)).problems.iter().map(ToString::to_string).collect();
        assert!(found.iter().any(|problem| problem == expected), "{with}: {found:#?}");
    }
}

#[test]
fn pools_to_fail_over_to_are_read_and_checked() {
    let with = |keys: &str| ROUTED.replace("prefix = \"user:\"", &format!("prefix = \"user:\"\n{keys}"));
    let read = |keys: &str| parse("f", &with(keys)).config.unwrap().routes.remove(0).prefixes.remove(0).1;
    let to = read("failover = [\"web\"]");
    assert_eq!((to.failover_ttl.unwrap().seconds, to.failover_on_miss), (60, false));
    let to = read("failover = [\"web\"]\nfailover_ttl_s = 0\nfailover_on_miss = true");
    assert_eq!((to.failover, to.failover_ttl, to.failover_on_miss), (vec!["web".to_owned()], None, true));
    for (keys, expected) in [
        (
            "failover_ttl_s = 5",
            "f:19:18: error: `failover_ttl_s` without `failover` means nothing\n  remedy: add `failover = [\"spare\"]`, or remove `failover_ttl_s`",
        ),
        (
            "failover = [\"users\"]",
            "f:19:13: error: pool `users` is named twice for the same keys\n  remedy: name each pool once",
        ),
        (
            "failover = [\"web\", \"webb\"]",
            "f:19:20: error: there is no pool `webb`\n  remedy: did you mean `web`?",
        ),
    ] {
        let found: Vec<String> = parse("f", &with(keys)).problems.iter().map(ToString::to_string).collect();
        assert!(found.iter().any(|problem| problem == expected), "{keys}: {found:#?}");
    }
}

#[test]
fn replicas_are_read_and_checked() {
    let with = |keys: &str| ROUTED.replace("prefix = \"user:\"", &format!("prefix = \"user:\"\n{keys}"));
    let read = |keys: &str| parse("f", &with(keys)).config.unwrap().routes.remove(0).prefixes.remove(0).1;
    let to = read("replicas = [\"web\"]");
    assert_eq!((to.replicas, to.acks), (vec!["web".to_owned()], Acks::All));
    assert_eq!(read("replicas = [\"web\"]\nacks = \"majority\"").acks, Acks::Majority);
    for (keys, expected) in [
        (
            "acks = \"one\"",
            "f:19:8: error: `acks` without `replicas` means nothing\n  remedy: add `replicas = [\"copy\"]`, or remove `acks`",
        ),
        (
            "replicas = [\"web\"]\nfailover = [\"web\"]",
            "f:20:13: error: `failover` and `replicas` exclude one another\n  remedy: remove one of them: replicas stand in for each other",
        ),
        (
            "replicas = [\"web\"]\nacks = \"most\"",
            "f:20:8: error: `acks` in [[route.prefix]]: `most` is not known\n  remedy: give one of `all`, `majority`, `one`",
        ),
    ] {
        let found: Vec<String> = parse("f", &with(keys)).problems.iter().map(ToString::to_string).collect();
        assert!(found.iter().any(|problem| problem == expected), "{keys}: {found:#?}");
    }
}

#[test]
fn a_pool_to_warm_up_from_is_read_and_checked() {
    let with = |keys: &str| ROUTED.replace("prefix = \"user:\"", &format!("prefix = \"user:\"\n{keys}"));
    let warm = with("warm_from = \"web\"");
    let route = parse("f", &warm).config.unwrap().routes.remove(0);
    assert_eq!(route.prefixes[0].1.warm_from.as_deref(), Some("web"));
    for (text, expected) in [
        (
            warm.replace("name = \"users\"", "name = \"users\"\ncache = 0"),
            "f:21:8: error: pool `users` has `cache = 0` and is to be warmed up\n  remedy: give it a cache: what it knows of writes keeps deleted items from coming back",
        ),
        (
            with("warm_from = \"web\"\nreplicas = [\"web\"]"),
            "f:19:13: error: `warm_from` goes with neither `replicas` nor `failover`\n  remedy: warm the pool up first, and add the others then",
        ),
    ] {
        let found: Vec<String> = parse("f", &text).problems.iter().map(ToString::to_string).collect();
        assert!(found.iter().any(|problem| problem == expected), "{found:#?}");
    }
}

#[test]
fn a_shadow_is_read_and_checked() {
    let with = |keys: &str| ROUTED.replace("prefix = \"user:\"", &format!("prefix = \"user:\"\n{keys}"));
    let read = |keys: &str| parse("f", &with(keys)).config.unwrap().routes.remove(0).prefixes.remove(0).1;
    assert_eq!(read("shadow = \"web\"").shadow, Some(("web".to_owned(), 0.01)));
    assert_eq!(read("shadow = \"web\"\nshadow_share = 0.5").shadow, Some(("web".to_owned(), 0.5)));
    for (keys, expected) in [
        (
            "shadow = \"web\"\nshadow_share = 1.5",
            "f:20:16: error: a `shadow_share` of 1.5 is more than all keys\n  remedy: give a share from 0 to 1, such as 0.01",
        ),
        (
            "shadow_share = 0.5",
            "f:19:16: error: `shadow_share` without `shadow` means nothing\n  remedy: add `shadow = \"test\"`, or remove `shadow_share`",
        ),
        ("shadow = \"wep\"", "f:19:10: error: there is no pool `wep`\n  remedy: did you mean `web`?"),
    ] {
        let found: Vec<String> = parse("f", &with(keys)).problems.iter().map(ToString::to_string).collect();
        assert!(found.iter().any(|problem| problem == expected), "{keys}: {found:#?}");
    }
}

const MEMBER: &str = r#"
[node]
id = "2a"
rack = "row1/rack1"
data = "/var/lib/smartswitch"

[fabric]
listen = "0.0.0.0:6364"
address = "10.0.1.254:6364"
ca = "ca.crt"
certificate = "2a.crt"
key = "2a.key"

[[fabric.peer]]
id = "2"
address = "10.0.2.254:6364"

[[fabric.peer]]
id = "3"
address = "10.0.3.254:6364"

[directory]
founders = ["3", "2a", "2"]
"#;

#[test]
fn a_member_of_the_directory_is_read() {
    let checked = parse("f", MEMBER);
    assert_eq!(checked.problems, []);
    let config = checked.config.unwrap();
    let (node, fabric, directory) = (config.node, config.fabric.unwrap(), config.directory.unwrap());
    assert_eq!((node.id.get(), node.rack.as_str()), (0x2a, "row1/rack1"));
    assert_eq!(node.data(), Some("/var/lib/smartswitch".into()));
    assert_eq!((fabric.address.to_string().as_str(), fabric.place.peers.len()), ("10.0.1.254:6364", 2));
    let ids = |ids: Vec<naming::NodeId>| ids.iter().map(|id| id.get()).collect::<Vec<_>>();
    assert_eq!(
        directory.found(node.id, Some(&fabric)).map(ids),
        Some(vec![2, 3, 0x2a]),
        "the same at all founders"
    );
    let stranger = naming::NodeId::new(9).unwrap();
    assert_eq!(directory.found(stranger, Some(&fabric)), None);

    let unsaid = Directory { founders: None, ..directory };
    assert_eq!(unsaid.found(node.id, Some(&fabric)), None, "a node with peers waits to be added");
    assert_eq!(unsaid.found(node.id, None).map(ids), Some(vec![0x2a]));
    let default = Config::default();
    assert!(default.directory.is_some_and(|directory| directory.optional) && default.fabric.is_none());
    assert!(parse("f", "[embedded]\n").config.unwrap().directory.is_none());
    assert!(parse("f", "[directory]\n").config.is_some_and(|config| !config.directory.unwrap().optional));
}

#[test]
fn how_the_directory_spreads_is_read() {
    let shards = |text: &str| {
        let checked = parse("f", &format!("[directory]\n{text}"));
        assert_eq!(checked.problems, []);
        checked.config.unwrap().directory.unwrap().shards
    };
    let default = shards("");
    assert_eq!((default, default.replicas, default.rebalance), (Shards::default(), 3, true));
    let text =
        "split_names = 0\naccept_shards = false\nrebalance = false\nreplicas = 5\nreplace_after_s = 0\n";
    let (replicas, replace_after) = (5, None);
    let expected = Shards { split_names: 0, accept: false, rebalance: false, replicas, replace_after };
    assert_eq!(shards(text), expected);
    assert_eq!(shards("replace_after_s = 60").replace_after, Some(std::time::Duration::from_secs(60)));
}

/// What is changed in the member, and the beginning of what is said.
#[test]
fn what_is_wrong_with_a_member_is_said() {
    for (original, replaced, expected) in [
        ("id = \"2a\"", "id = \"0\"", "f:3:6: error: `id` in [node]: `0` is no node id"),
        ("/var/lib/smartswitch", "data", "f:5:8: error: `data` depends on where the node is started"),
        (
            "address = \"10.0.1.254:6364\"",
            "",
            "f:8:10: error: others cannot reach 0.0.0.0:6364\n  remedy: add `address",
        ),
        ("key = \"2a.key\"", "", "f:7:1: error: `key` is missing in [fabric]"),
        ("id = \"3\"\n", "id = \"2\"\n", "f:19:6: error: node 0000000000000002 is there twice"),
        ("id = \"3\"\n", "id = \"2a\"\n", "f:19:6: error: node 000000000000002a is this node"),
        ("\"2\"]", "\"2\", \"7\"]", "f:23:12: warning: 4 founders bear no more losses than 3"),
        ("\"2\"]", "\"7\"]", "f:23:12: error: it is not said where founder 0000000000000007 is"),
        ("\"2\"]", "\"3\"]", "f:23:24: error: node 0000000000000003 is there twice"),
        ("\"2\"]", "\"2\"]\nreplicas = 4", "f:24:12: error: 4 replicas bear no more losses than 3"),
    ] {
        let found = parse("f", &MEMBER.replacen(original, replaced, 1)).problems;
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        let said = found.iter().any(|problem| problem.starts_with(expected));
        assert!(said, "{replaced}\n{expected}\n{found:#?}");
    }
    let fabric = "[fabric]\nlisten = \"10.0.0.1:1\"\nca = \"a\"\ncertificate = \"b\"\nkey = \"c\"\n";
    for (other, expected) in [
        ("[embedded]\n", "f:1:1: warning: [fabric] connects nothing"),
        ("[directory]\n", "f:1:1: warning: without [[fabric.peer]] this node asks nobody"),
    ] {
        let found = parse("f", &format!("{fabric}{other}")).problems;
        assert!(found.len() == 1 && found[0].to_string().starts_with(expected), "{found:?}");
    }
}
