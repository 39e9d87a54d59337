//! What text clients are answered.

use super::rig::Rig;

/// Some keys on each of three servers.
fn filled() -> (Rig, crate::proxy::ClientId) {
    let mut rig = Rig::new(3);
    let client = rig.open();
    for number in 0..30 {
        let set = format!("set k{number} {number} 0 4\r\nv{number:03}\r\n");
        assert_eq!(rig.ask(client, set), "STORED\r\n");
    }
    (rig, client)
}

#[test]
fn each_key_is_at_its_server() {
    let (mut rig, client) = filled();
    let counts: Vec<usize> = rig.servers.iter().map(|server| server.store.usage().curr_items).collect();
    assert_eq!(counts.iter().sum::<usize>(), 30);
    assert!(counts.iter().all(|count| *count > 2), "{counts:?}");
    assert_eq!(rig.ask(client, "get k7\r\n"), "VALUE k7 7 4\r\nv007\r\nEND\r\n");
    assert_eq!(rig.ask(client, "get nothing\r\n"), "END\r\n");
    assert_eq!(rig.connected, [1, 1, 1], "connections are kept");
}

#[test]
fn several_keys_are_gathered_from_their_servers() {
    for step in [1, 7, usize::MAX] {
        let (mut rig, client) = filled();
        rig.step = step;
        let keys: Vec<String> = (0..40).map(|number| format!("k{number}")).collect();
        let reply = rig.ask(client, format!("get {}\r\n", keys.join(" ")));
        let mut lines: Vec<&str> = reply.split_inclusive("\r\n").collect();
        assert_eq!(lines.pop(), Some("END\r\n"), "{reply}");
        let mut items: Vec<String> = lines.chunks(2).map(<[&str]>::concat).collect();
        items.sort();
        let mut expected: Vec<String> =
            (0..30).map(|number| format!("VALUE k{number} {number} 4\r\nv{number:03}\r\n")).collect();
        expected.sort();
        assert_eq!(items, expected, "steps of {step}");
    }
}

/// Requests and replies over three servers; no reply depends on which.
const DIALOGUE: [(&str, &str); 41] = [
    ("set a 5 0 1\r\n1\r\n", "STORED\r\n"),
    ("add a 0 0 1\r\n2\r\n", "NOT_STORED\r\n"),
    ("replace b 0 0 1\r\n2\r\n", "NOT_STORED\r\n"),
    ("append a 0 0 1\r\n0\r\n", "STORED\r\n"),
    ("prepend a 0 0 1\r\n3\r\n", "STORED\r\n"),
    ("incr a 5\r\n", "315\r\n"),
    ("decr a 15\r\n", "300\r\n"),
    ("incr b 1\r\n", "NOT_FOUND\r\n"),
    ("touch a 0\r\n", "TOUCHED\r\n"),
    ("gat 0 a\r\n", "VALUE a 5 3\r\n300\r\nEND\r\n"),
    ("gat 0\r\n", "END\r\n"),
    ("set q 0 0 2 noreply\r\nhi\r\n", ""),
    ("get q\r\n", "VALUE q 0 2\r\nhi\r\nEND\r\n"),
    ("delete q noreply\r\n", ""),
    ("get q\r\n", "END\r\n"),
    ("add a 0 0 1 noreply\r\n2\r\n", ""),
    ("delete q\r\n", "NOT_FOUND\r\n"),
    ("version\r\n", "VERSION 1.6.18\r\n"),
    ("mn\r\n", "MN\r\n"),
    ("ms m 2 T0\r\nxy\r\n", "HD\r\n"),
    ("mg m v f k Oabc\r\n", "VA 2 f0 km Oabc\r\nxy\r\n"),
    ("mg m v q k\r\n", "VA 2 km\r\nxy\r\n"),
    ("mg none v q\r\n", ""),
    ("mg none v\r\n", "EN\r\n"),
    ("ms m 2 q\r\nzz\r\n", ""),
    ("ms m 2 q ME O1\r\nzz\r\n", "NS O1\r\n"),
    ("ms n 1\r\n7\r\n", "HD\r\n"),
    ("ma n v\r\n", "VA 1\r\n8\r\n"),
    ("ma n q\r\n", ""),
    ("ma new q N0 J5 v\r\n", "VA 1\r\n5\r\n"),
    ("ma new q N0 J5 v\r\n", ""),
    ("ma none q\r\n", "NF\r\n"),
    ("md n q\r\n", ""),
    ("md n q\r\n", "NF\r\n"),
    ("mg bTE= v b k\r\n", "EN kbTE= b\r\n"),
    ("verbosity 1\r\n", "OK\r\n"),
    ("verbosity 1 noreply\r\n", ""),
    ("flush_all\r\n", "OK\r\n"),
    ("flush_all noreply\r\n", ""),
    ("get a b m new\r\n", "END\r\n"),
    ("nonsense\r\nset a 0\r\nget\r\n", "ERROR\r\nERROR\r\nERROR\r\n"),
];

#[test]
fn every_command_is_answered() {
    for step in [1, 3, usize::MAX] {
        let mut rig = Rig::new(3);
        rig.step = step;
        let client = rig.open();
        for (request, reply) in DIALOGUE {
            assert_eq!(rig.ask(client, request), reply, "{request:?} in steps of {step}");
        }
    }
}

#[test]
fn replies_to_a_pipeline_come_in_order() {
    let requests: String = DIALOGUE.iter().map(|(request, _)| *request).collect();
    let replies: String = DIALOGUE.iter().map(|(_, reply)| *reply).collect();
    for step in [1, 5, 64, usize::MAX] {
        let mut rig = Rig::new(3);
        rig.step = step;
        let client = rig.open();
        assert_eq!(rig.ask(client, &requests), replies, "in steps of {step}");
    }
}

#[test]
fn what_is_no_request_is_refused_as_memcached_refuses_it() {
    let mut rig = Rig::new(2);
    let client = rig.open();
    let long = "k".repeat(251);
    let bad = format!("get {long}\r\nset {long} 0 0 1\r\n");
    let refused = "CLIENT_ERROR bad command line format\r\n";
    assert_eq!(rig.ask(client, bad), refused.repeat(2));
    assert_eq!(
        rig.ask(client, "x\r\nset a 0 0 2\r\nabcd\r\nget a\r\n"),
        "ERROR\r\nCLIENT_ERROR bad data chunk\r\nERROR\r\nEND\r\n"
    );
    assert_eq!(
        rig.ask(client, "mg a Z\r\nms a 2 Z\r\nhi\r\nversion\r\n"),
        "CLIENT_ERROR invalid flag\r\nCLIENT_ERROR invalid flag\r\nVERSION 1.6.18\r\n"
    );
    assert_eq!(rig.ask(client, "y".repeat(3000)), "");
    assert_eq!(rig.closed, [client]);
}

#[test]
fn what_speaks_http_is_not_read_on() {
    let mut rig = Rig::new(2);
    let client = rig.open();
    assert_eq!(rig.ask(client, "mn\r\nPOST / HTTP/1.1\r\nflush_all\r\n"), "MN\r\n");
    assert_eq!(rig.closed, [client]);
}

#[test]
fn an_unknown_opcode_is_told_in_memcacheds_words() {
    let mut rig = Rig::new(1);
    let client = rig.open();
    let mut header = [0; 24];
    (header[0], header[1]) = (0x80, 0x42);
    let reply = rig.ask(client, header);
    assert!(reply.ends_with("Unknown command"), "{reply:?}");
}

#[test]
fn quit_and_the_end_of_the_stream_close_when_all_is_answered() {
    let mut rig = Rig::new(2);
    let (one, other) = (rig.open(), rig.open());
    assert_eq!(
        rig.ask(one, "set a 0 0 1\r\n1\r\nget a\r\nquit\r\nget a\r\n"),
        "STORED\r\nVALUE a 0 1\r\n1\r\nEND\r\n"
    );
    assert_eq!(rig.closed, [one]);
    rig.send(other, b"get a\r\nget b\r\nget ");
    rig.proxy.client_ended(other, rig.now);
    rig.run();
    assert_eq!(rig.take(other), "VALUE a 0 1\r\n1\r\nEND\r\nEND\r\n");
    assert_eq!(rig.closed, [one, other]);
}

#[test]
fn statistics_are_added_up() {
    let (mut rig, client) = filled();
    let reply = rig.ask(client, "stats\r\nstats settings\r\nstats reset\r\nversion\r\n");
    let items = "STAT curr_items 30\r\n";
    assert!(reply.contains(items) && reply.ends_with("END\r\nRESET\r\nVERSION 1.6.18\r\n"), "{reply}");
    assert!(reply.contains(&format!("STAT item_size_max {}\r\n", 64 << 20)), "{reply}");
}
