use super::*;
use crate::session::stats::Listen;

fn ask(server: &Server, command: &str) -> String {
    String::from_utf8(converse(server, format!("{command}\r\n").as_bytes(), &[]).0).unwrap()
}

#[test]
fn every_group_ends_and_has_memcacheds_names() {
    let server = server();
    ask(&server, "set k 0 0 1\r\nv");
    ask(&server, "get k -");
    for (command, row) in [
        ("stats", "STAT get_hits 1\r\n"),
        ("stats", "STAT limit_maxbytes 67108864\r\n"),
        ("stats", "STAT auth_cmds 0\r\n"),
        ("stats settings", "STAT item_size_max 1048576\r\n"),
        ("stats settings", "STAT auth_enabled_sasl no\r\n"),
        ("stats items", "STAT items:1:number 1\r\n"),
        ("stats slabs", "STAT 1:get_hits 1\r\n"),
        ("stats slabs", "STAT active_slabs 1\r\n"),
        ("stats sizes", "STAT sizes_status disabled\r\n"),
        ("stats conns", ""),
        ("stats detail dump", ""),
    ] {
        let reply = ask(&server, command);
        assert!(reply.contains(row) && reply.ends_with("END\r\n"), "{command}: {reply}");
    }
    for (command, expected) in [
        ("stats reset", "RESET\r\n"),
        ("stats detail", "CLIENT_ERROR usage: stats detail on|off|dump\r\n"),
        ("stats detail off", "OK\r\n"),
        ("stats detail on", "SERVER_ERROR statistics by prefix are not kept\r\n"),
        ("stats cachedump 1 0", "CLIENT_ERROR stats cachedump not allowed\r\n"),
        ("stats nonsense", "ERROR\r\n"),
    ] {
        assert_eq!(ask(&server, command), expected, "{command}");
    }
    assert!(ask(&server, "stats").contains("STAT get_hits 0\r\n"));
    ask(&server, "flush_all\r\nget k");
    assert_eq!(ask(&server, "stats items"), "END\r\n");
    assert_eq!(ask(&server, "stats slabs").lines().next(), Some("STAT active_slabs 0"));
}

#[test]
fn open_connections_are_listed_until_they_close() {
    let server = server();
    let at = |seconds: u64| Now { at: fabric::time::Nanos(seconds * 1_000_000_000), unix: seconds };
    server.facts.listen.set(Listen { address: ([127, 0, 0, 1], 11211).into(), udp: false }).unwrap();
    let first = server.facts.connections.enter(([10, 0, 0, 1], 4000).into(), at(1));
    let second = server.facts.connections.enter(([10, 0, 0, 2], 4000).into(), at(1));
    second.is_active(at(4));
    drop(first);
    let mut out = Vec::new();
    Session::new().receive(b"stats conns\r\n", &server, at(9), &mut out);
    let expected = "STAT 2:addr tcp:10.0.0.2:4000\r\nSTAT 2:listen_addr tcp:127.0.0.1:11211\r\n\
        STAT 2:state conn_read\r\nSTAT 2:secs_since_last_cmd 5\r\nEND\r\n";
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

#[test]
fn commands_without_a_meaning_here_have_a_reply() {
    let server = server();
    assert_eq!(ask(&server, "shutdown"), "ERROR: shutdown not enabled\r\n");
    assert_eq!(ask(&server, "cache_memlimit 64 noreply\r\nmn"), "MN\r\n");
    assert_eq!(converse(&server, b"GET / HTTP/1.1\r\nset a 0 0 1\r\n1\r\n", &[]), (Vec::new(), Needs::Close));
}
