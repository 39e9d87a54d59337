use std::time::Duration;

use super::rig::*;
use crate::protocol::udp::Frame;

#[test]
fn a_get_of_keys_on_two_servers_is_answered_completely_and_in_order() {
    let mut rig = Rig::new(2, false);
    let (a, b, c) = (rig.key_of(1, 0), rig.key_of(0, 0), rig.key_of(1, 1));
    rig.ask(9, &format!("gets {a} {b} {c}\r\n"));
    let parts: Vec<_> = [1, 0].map(|server| rig.sent(server_port(server))).into_iter().flatten().collect();
    assert_eq!(parts.len(), 3);
    for part in parts.iter().rev() {
        let key = part.text().strip_prefix("gets ").unwrap().trim_end().to_string();
        let server = rig.home(&key);
        let reply =
            if key == b { "END\r\n".into() } else { format!("VALUE {key} 0 5 3\r\nEND\r\n\r\nEND\r\n") };
        assert!(rig.got().is_empty());
        rig.reply(server, part, &reply);
    }
    let expected = format!("VALUE {a} 0 5 3\r\nEND\r\n\r\nVALUE {c} 0 5 3\r\nEND\r\n\r\nEND\r\n");
    assert_eq!(rig.got(), [(9, expected)]);
}

#[test]
fn a_get_of_keys_on_one_server_is_redirected_as_it_is() {
    let mut rig = Rig::new(2, true);
    let body = format!("get {} {}\r\n", rig.key_of(1, 0), rig.key_of(1, 1));
    rig.ask(9, &body);
    let sent = rig.sent(server_port(1));
    assert_eq!((sent.len(), sent[0].text()), (1, body.as_str()));
}

#[test]
fn hits_and_server_answers_mix_in_order() {
    let mut rig = Rig::new(2, true);
    let (hot, cold) = (rig.key_of(1, 0), rig.key_of(1, 1));
    rig.heat(&hot, "cached", 4, -1);
    rig.sent(CLIENTS);
    rig.ask(5, &format!("get {cold} {hot}\r\n"));
    let part = rig.sent(server_port(1)).pop().expect("the part");
    assert_eq!(part.text(), format!("get {cold}\r\n"));
    rig.reply(1, &part, &format!("VALUE {cold} 0 1\r\nx\r\nEND\r\n"));
    let expected = format!("VALUE {cold} 0 1\r\nx\r\nVALUE {hot} 5 6\r\ncached\r\nEND\r\n");
    assert_eq!(rig.got(), [(5, expected)]);
    rig.ask(6, &format!("gets {hot} {hot}\r\n"));
    let expected = format!("VALUE {hot} 5 6 4\r\ncached\r\nVALUE {hot} 5 6 4\r\ncached\r\nEND\r\n");
    assert_eq!(rig.got(), [(6, expected)], "all hits: answered at once");
}

#[test]
fn large_parts_in_several_datagrams_out_of_order_are_merged_and_cut_anew() {
    let mut rig = Rig::new(2, false);
    let (a, b) = (rig.key_of(0, 0), rig.key_of(1, 0));
    rig.ask(9, &format!("get {a} {b}\r\n"));
    let value = "v".repeat(3000);
    let reply = format!("VALUE {a} 0 3000\r\n{value}\r\nEND\r\n");
    let part = rig.sent(server_port(0)).pop().unwrap();
    // The end of the reply is cut in two.
    let cuts = [0, 1392, reply.len() - 2, reply.len()];
    for sequence in [2, 0, 1] {
        let frame = Frame { request_id: part.frame.request_id, sequence: sequence as u16, total: 3 };
        rig.reply_frame(0, &part, frame, &reply.as_bytes()[cuts[sequence]..cuts[sequence + 1]]);
    }
    let other = rig.sent(server_port(1)).pop().unwrap();
    rig.reply(1, &other, &format!("VALUE {b} 0 1\r\nx\r\nEND\r\n"));
    let mut sent = rig.sent(CLIENTS);
    sent.sort_by_key(|datagram| datagram.frame.sequence);
    assert!(sent.iter().all(|datagram| usize::from(datagram.frame.total) == sent.len()));
    let whole: Vec<u8> = sent.into_iter().flat_map(|datagram| datagram.body).collect();
    let expected = format!("VALUE {a} 0 3000\r\n{value}\r\nVALUE {b} 0 1\r\nx\r\nEND\r\n");
    assert_eq!(whole, expected.as_bytes());
}

#[test]
fn a_server_that_does_not_answer_ends_the_request_and_leaks_nothing() {
    let mut rig = Rig::new(2, false);
    rig.ask(9, &format!("get {} {}\r\n", rig.key_of(0, 0), rig.key_of(1, 0)));
    let part = rig.sent(server_port(0)).pop().unwrap();
    rig.reply(0, &part, "END\r\n");
    rig.pass(Duration::from_secs(1));
    assert_eq!(rig.counter("drop_gather_timeout"), 1);
    rig.sent(server_port(1));
    assert!(rig.got().is_empty());
    assert_eq!(rig.worker.io().pool().in_use(), 0);
}

#[test]
fn a_part_that_is_refused_refuses_the_request() {
    let mut rig = Rig::new(2, false);
    rig.ask(9, &format!("get {} {}\r\n", rig.key_of(0, 0), rig.key_of(1, 0)));
    for server in 0..2 {
        let part = rig.sent(server_port(server)).pop().unwrap();
        rig.reply(server, &part, "SERVER_ERROR out of memory\r\n");
    }
    assert_eq!(rig.got(), [(9, "SERVER_ERROR a server of the pool refused its part\r\n".to_string())]);
}

#[test]
fn gat_of_keys_on_two_servers_is_a_write_of_each() {
    let mut rig = Rig::new(2, true);
    let (a, b) = (rig.key_of(0, 0), rig.key_of(1, 0));
    rig.ask(9, &format!("gat 100 {a} {b}\r\n"));
    assert_eq!(rig.counter("writes"), 2);
    for (server, key) in [(0, &a), (1, &b)] {
        let part = rig.sent(server_port(server)).pop().unwrap();
        assert_eq!(part.text(), format!("gat 100 {key}\r\n"));
        rig.reply(server, &part, "END\r\n");
    }
    assert_eq!(rig.got(), [(9, "END\r\n".to_string())]);
    assert_eq!(rig.counter("writes_acknowledged"), 2);
}

#[test]
fn without_a_cache_no_part_ends_a_write() {
    let mut rig = Rig::new(2, false);
    let keys = [0, 1].map(|server| rig.key_of(server, 0));
    rig.ask(9, &format!("gat 100 {} {}\r\n", keys[0], keys[1]));
    for server in [0, 1] {
        let part = rig.sent(server_port(server)).pop().unwrap();
        rig.reply(server, &part, "END\r\n");
    }
    assert_eq!(rig.got(), [(9, "END\r\n".to_string())]);
    assert_eq!((rig.counter("writes"), rig.counter("acknowledgements_unknown")), (2, 0));
}

#[test]
fn more_keys_than_are_gathered_are_refused() {
    let mut rig = Rig::new(2, false);
    let keys: Vec<String> = (0..300).map(|n| format!("k{n}")).collect();
    let body = format!("get {}\r\n", keys.join(" "));
    rig.ask(9, &body);
    assert_eq!(rig.got(), [(9, "SERVER_ERROR too many keys for one datagram\r\n".to_string())]);
}
