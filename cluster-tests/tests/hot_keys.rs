//! Hot keys: answered by the node, and never with an old value.

#![allow(clippy::unwrap_used, reason = "what goes wrong in a test fails it")]

mod support;

use cluster_tests::memcached::{Command, Encoding, Item, Outcome, UdpClient, encode, values};
use cluster_tests::rack::{Driver, Rack, VIP};
use cluster_tests::wait;
use cluster_tests::wire::{Capture, Direction, UdpView};
use std::time::{Duration, Instant};
use support::{IN_TIME, get, heat, holder, pool_client, set, smart, text};

fn rack_with_lease(driver: Driver, lease: Duration) -> Rack {
    let lease_ms = lease.as_millis() as u64;
    smart(driver, 2)
        .configure(move |config| {
            config.pool[0].lease_ms = lease_ms;
            // A paused server stays in the ring.
            config.pool[0].auto_eject = false;
        })
        .build()
        .unwrap()
}

#[test]
fn the_node_answers_hot_keys_itself() {
    for driver in [Driver::AfXdp, Driver::AfPacket] {
        let rack = rack_with_lease(driver, Duration::from_secs(1));
        rack.client(0).run(|| {
            let mut udp = pool_client(&rack);
            set(&mut udp, "hot", b"value");
            heat(&rack, &mut udp, "hot");
            comes_from_the_node(&rack, &mut udp);
            cas_is_the_servers(&rack, &mut udp);
            hits_and_server_answers_in_one_reply(&rack, &mut udp);
        });
    }
}

fn comes_from_the_node(rack: &Rack, udp: &mut UdpClient) {
    let replies = Capture::open(rack.client(0), Direction::In, "udp src port 11211").unwrap();
    let node = rack.client(0).neighbour(VIP).unwrap();
    assert!(rack.servers().iter().all(|server| server.host.mac != node));
    wait::until_true("a reply with the node's MAC address", IN_TIME, || {
        assert_eq!(get(udp, "hot"), Some(b"value".to_vec()));
        replies.frames().iter().any(|frame| UdpView::parse(frame).is_some_and(|view| view.mac_from == node))
    })
    .unwrap();
}

fn cas_is_the_servers(rack: &Rack, udp: &mut UdpClient) {
    let truth = rack.server(holder(rack, "hot")).ask("gets hot\r\n").unwrap();
    heat(rack, udp, "hot");
    for _ in 0..20 {
        assert_eq!(text(udp, "gets hot\r\n"), truth);
        assert!(
            !text(udp, "get hot\r\n").contains(truth.split(' ').next_back().unwrap()),
            "get tells no CAS unique"
        );
    }
}

fn hits_and_server_answers_in_one_reply(rack: &Rack, udp: &mut UdpClient) {
    let keys: Vec<String> = (0..20).map(|number| format!("cold-{number}")).collect();
    keys.iter().for_each(|key| set(udp, key, key.as_bytes()));
    set(udp, "hot", b"value");
    heat(rack, udp, "hot");
    let before = rack.admin().metrics().unwrap().sum("hits");
    let request = format!("get {} hot {} absent\r\n", keys[..10].join(" "), keys[10..].join(" "));
    let reply = udp.ask(request.as_bytes(), |reply| values(reply).is_some()).unwrap().expect("a reply");
    let got = values(&reply).unwrap().unwrap();
    let expected: Vec<&str> = keys[..10]
        .iter()
        .map(String::as_str)
        .chain(["hot"])
        .chain(keys[10..].iter().map(String::as_str))
        .collect();
    assert_eq!(got.order, expected);
    assert!(
        got.items
            .iter()
            .all(|(key, item)| item.value == if key == "hot" { &b"value"[..] } else { key.as_bytes() })
    );
    rack.admin()
        .wait_metrics("the hit to be counted", IN_TIME, |metrics| metrics.sum("hits") > before)
        .unwrap();
}

/// The node goes on to answer while the lease lasts, and not a moment longer.
#[test]
fn a_lease_ends() {
    let lease = Duration::from_secs(1);
    let rack = rack_with_lease(Driver::AfXdp, lease);
    rack.client(0).run(|| {
        let mut udp = pool_client(&rack);
        set(&mut udp, "leased", b"value");
        let server = rack.server(holder(&rack, "leased"));
        heat(&rack, &mut udp, "leased");
        server.pause().unwrap();
        // What is cached was asked for before this.
        let paused = Instant::now();
        udp.set_deadline(Duration::from_millis(50));
        let mut answered = 0;
        while paused.elapsed() < lease {
            answered += usize::from(udp.execute(Encoding::Text, b"leased", &Command::Get).unwrap().is_some());
        }
        assert!(answered > 0, "answered without the server");
        for _ in 0..10 {
            assert_eq!(
                udp.execute(Encoding::Text, b"leased", &Command::Get).unwrap(),
                None,
                "the lease is over"
            );
        }
        server.resume();
        wait::until_true("the server to answer", IN_TIME, || {
            udp.execute(Encoding::Text, b"leased", &Command::Get).unwrap().is_some()
        })
        .unwrap();
    });
}

/// The write commands of all encodings, each with the value it needs to find.
fn writes() -> Vec<(&'static str, Vec<u8>)> {
    let meta_and_binary = [Encoding::Meta, Encoding::Binary].into_iter().flat_map(|encoding| {
        let commands = [
            ("1", Command::Set(Item::new(3, "9"))),
            ("1", Command::Replace(Item::new(3, "9"))),
            ("1", Command::Append(b"9".to_vec())),
            ("1", Command::Prepend(b"9".to_vec())),
            ("1", Command::Increment(1)),
            ("5", Command::Decrement(1)),
            ("1", Command::Delete),
            ("1", Command::Gat),
            ("1", Command::Touch),
        ];
        commands.map(|(before, command)| (before, encode(encoding, b"KEY", &command)))
    });
    let text = [
        ("1", "set KEY 3 0 1\r\n9\r\n"),
        ("1", "add KEY 3 0 1\r\n9\r\n"),
        ("1", "replace KEY 3 0 1\r\n9\r\n"),
        ("1", "append KEY 0 0 1\r\n9\r\n"),
        ("1", "prepend KEY 0 0 1\r\n9\r\n"),
        ("1", "incr KEY 1\r\n"),
        ("5", "decr KEY 1\r\n"),
        ("1", "delete KEY\r\n"),
        ("1", "touch KEY 0\r\n"),
        ("1", "touch KEY -1\r\n"),
        ("1", "gat 0 KEY\r\n"),
        ("1", "gats -1 KEY\r\n"),
        ("1", "ms KEY 1 T0 MS\r\n9\r\n"),
        ("1", "md KEY q\r\nmn\r\n"),
        ("1", "md KEY I T30\r\n"),
        ("1", "ma KEY D3\r\n"),
        ("1", "mg KEY T-1\r\n"),
        ("1", "flush_all\r\n"),
    ];
    text.into_iter()
        .map(|(before, request)| (before, request.as_bytes().to_vec()))
        .chain(meta_and_binary)
        .collect()
}

fn naming(request: &[u8], key: &str) -> Vec<u8> {
    let at = request.windows(3).position(|window| window == b"KEY");
    // The key in a test has the three bytes of the placeholder.
    assert_eq!(key.len(), 3);
    at.map_or(request.to_vec(), |at| [&request[..at], key.as_bytes(), &request[at + 3..]].concat())
}

/// Whatever a write did, the next get sees exactly what the server holds.
#[test]
fn a_get_after_any_acknowledged_write_sees_it() {
    let rack = rack_with_lease(Driver::AfXdp, Duration::from_secs(2));
    rack.client(0).run(|| {
        let mut udp = pool_client(&rack);
        for (number, (before, request)) in writes().into_iter().enumerate() {
            let key = format!("w{number:02}");
            let request = naming(&request, &key);
            let shown = String::from_utf8_lossy(&request).into_owned();
            set(&mut udp, &key, before.as_bytes());
            let server = rack.server(holder(&rack, &key));
            heat(&rack, &mut udp, &key);
            let reply = udp.ask(&request, |reply| !reply.is_empty()).unwrap();
            assert!(reply.is_some(), "no acknowledgement of {shown}; {:?}", support::losses(&rack));
            let seen = text(&mut udp, &format!("get {key}\r\n"));
            assert_eq!(seen, server.ask(&format!("get {key}\r\n")).unwrap(), "after {shown}");
        }
    });
}

#[test]
fn a_cas_of_a_cached_unique_succeeds_once() {
    let rack = rack_with_lease(Driver::AfXdp, Duration::from_secs(2));
    rack.client(0).run(|| {
        let mut udp = pool_client(&rack);
        set(&mut udp, "swapped", b"old");
        heat(&rack, &mut udp, "swapped");
        for encoding in [Encoding::Text, Encoding::Meta, Encoding::Binary] {
            let seen = udp.execute(Encoding::Text, b"swapped", &Command::Gets).unwrap();
            let Some(Outcome::Value { cas: Some(unique), .. }) = seen else { panic!("{seen:?}") };
            let value = format!("{encoding:?}");
            let swap = Command::Cas(Item::new(0, value.clone()), unique);
            assert_eq!(udp.execute(encoding, b"swapped", &swap).unwrap(), Some(Outcome::Done));
            assert_eq!(get(&mut udp, "swapped"), Some(value.into_bytes()));
            assert_eq!(udp.execute(encoding, b"swapped", &swap).unwrap(), Some(Outcome::Exists));
            heat(&rack, &mut udp, "swapped");
        }
    });
}

/// Writes that nobody acknowledges are not ordered with what their sender does next, as datagrams are not; but once
/// the server has executed one, no get may show what was before.
#[test]
fn a_get_after_an_executed_noreply_write_sees_it() {
    let rack = rack_with_lease(Driver::AfXdp, Duration::from_secs(2));
    rack.client(0).run(|| {
        let mut udp = pool_client(&rack);
        let writes = [
            "set KEY 0 0 1 noreply\r\n9\r\n",
            "incr KEY 4 noreply\r\n",
            "delete KEY noreply\r\n",
            "flush_all noreply\r\n",
        ];
        for (number, request) in writes.into_iter().enumerate() {
            let key = format!("n{number:02}");
            let get = format!("get {key}\r\n");
            set(&mut udp, &key, b"1");
            let server = rack.server(holder(&rack, &key));
            heat(&rack, &mut udp, &key);
            let before = server.ask(&get).unwrap();
            udp.send(&naming(request.as_bytes(), &key)).unwrap();
            wait::until_true(request, IN_TIME, || server.ask(&get).unwrap() != before).unwrap();
            assert_eq!(text(&mut udp, &get), server.ask(&get).unwrap(), "after {request}");
        }
    });
}
