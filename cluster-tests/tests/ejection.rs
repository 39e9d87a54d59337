//! Servers that die: their keys go to the others, and come home when they are back.

#![allow(clippy::unwrap_used, reason = "what goes wrong in a test fails it")]

mod support;

use cluster_tests::memcached::{Command, Encoding, Item, Outcome, UdpClient};
use cluster_tests::rack::{Driver, Rack};
use cluster_tests::wait;
use std::time::Duration;
use support::{get, pool_client, set, smart};

const KEYS: usize = 60;
/// Three lost probes, 200 ms apart, and time for a new ring; many times over.
const NOTICED: Duration = Duration::from_secs(10);

/// What tells them apart comes first: FNV-1a hardly mixes the last bytes of a key.
fn names() -> Vec<String> {
    (0..KEYS).map(|number| format!("{number}-moving")).collect()
}

fn held(rack: &Rack, server: usize) -> Vec<String> {
    let names = names();
    rack.server(server).held(&names).unwrap().into_iter().map(str::to_owned).collect()
}

/// Whether `key` can be stored now.
fn stores(udp: &mut UdpClient, key: &str) -> bool {
    udp.set_deadline(Duration::from_millis(100));
    let item = Item::new(0, "moved");
    let stored = udp.execute(Encoding::Text, key.as_bytes(), &Command::Set(item)).unwrap();
    udp.set_deadline(Duration::from_secs(1));
    stored == Some(Outcome::Done)
}

fn ejects(break_it: impl Fn(&Rack) + Sync, mend_it: impl Fn(&Rack) + Sync) {
    let rack = smart(Driver::AfXdp, 3).build().unwrap();
    rack.client(0).run(|| {
        let mut udp = pool_client(&rack);
        names().iter().for_each(|key| set(&mut udp, key, b"first"));
        let before: Vec<Vec<String>> = (0..3).map(|server| held(&rack, server)).collect();
        assert!(before.iter().all(|keys| !keys.is_empty()));
        let lost = &before[0];

        break_it(&rack);
        wait::until_true("the keys of the dead server to go to others", NOTICED, || {
            stores(&mut udp, &lost[0])
        })
        .unwrap();
        lost.iter().for_each(|key| assert!(stores(&mut udp, key), "{key}"));
        for key in lost {
            assert_eq!(get(&mut udp, key).as_deref(), Some(&b"moved"[..]), "{key}");
        }
        for key in before[1].iter().chain(&before[2]) {
            assert_eq!(get(&mut udp, key).as_deref(), Some(&b"first"[..]), "{key} was not the dead server's");
        }
        for server in [1, 2] {
            let now = held(&rack, server);
            assert!(before[server].iter().all(|key| now.contains(key)));
        }

        mend_it(&rack);
        wait::until_true("the server to get its keys back", NOTICED, || {
            // Absent there after a restart, old there after a cut: only a new value says that it is home.
            stores(&mut udp, &lost[0])
                && rack.server(0).ask(&format!("get {}\r\n", lost[0])).unwrap().contains("moved")
        })
        .unwrap();
        lost.iter().for_each(|key| set(&mut udp, key, b"home"));
        assert_eq!(&held(&rack, 0), lost);
        for key in lost {
            assert_eq!(get(&mut udp, key).as_deref(), Some(&b"home"[..]), "{key}");
        }
    });
}

#[test]
fn a_killed_server() {
    ejects(|rack| rack.server(0).kill(), |rack| rack.server(0).start().unwrap());
}

#[test]
fn a_server_whose_link_is_cut() {
    let set_link = |up: bool| move |rack: &Rack| rack.server(0).host.set_link(up).unwrap();
    ejects(set_link(false), set_link(true));
}
