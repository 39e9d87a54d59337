//! The embedded server against memcached itself: the same random streams of commands, cut in odd places, must bring
//! the same bytes.
//!
//! `MEMCACHED_SEED` repeats a run. Needs `/usr/bin/memcached` (1.6.18).
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use memcached_bridge::session::stats::ServerFacts;
use memcached_bridge::session::{Needs, Server, Session};
use memcached_bridge::store::{Limits, Now, Store};

const MEMCACHED: &str = "/usr/bin/memcached";
const STREAMS: usize = 400;
/// Ends every stream: lines that a command cut short may take for its own, and then a command with a reply of its own.
const LAST_COMMANDS: &[u8] = b"\r\n\r\n\r\nmg the-end k Olast\r\n";
const LAST_REPLY: &[u8] = b"EN kthe-end Olast\r\n";

struct Memcached {
    process: Child,
    port: u16,
}

impl Memcached {
    fn start() -> Self {
        assert!(
            std::path::Path::new(MEMCACHED).exists(),
            "{MEMCACHED} is missing: apt-get install memcached"
        );
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let process = Command::new(MEMCACHED)
            // Its background threads hold items now and then, and an item that is held is not counted in place.
            .args(["-o", "no_lru_maintainer,no_lru_crawler"])
            .args(["-u", "nobody", "-l", "127.0.0.1", "-U", "0", "-t", "1", "-p", &port.to_string()])
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let server = Self { process, port };
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(std::time::Instant::now() < deadline, "memcached does not listen on port {port}");
            std::thread::yield_now();
        }
        server
    }

    /// The whole reply to `input`, sent in pieces on a connection of its own.
    fn converse(&self, input: &[u8], cuts: &[usize]) -> Vec<u8> {
        let mut connection = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        connection.set_nodelay(true).unwrap();
        connection.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut reader = connection.try_clone().unwrap();
        let reading = std::thread::spawn(move || {
            let (mut reply, mut piece) = (Vec::new(), vec![0; 65536]);
            // A connection that memcached closes with input unread ends in a reset.
            while let Ok(len @ 1..) = reader.read(&mut piece) {
                reply.extend_from_slice(&piece[..len]);
                if reply.ends_with(LAST_REPLY) {
                    break;
                }
            }
            reply
        });
        for piece in pieces(input, cuts) {
            if connection.write_all(piece).is_err() {
                break;
            }
        }
        reading.join().unwrap()
    }
}

impl Drop for Memcached {
    fn drop(&mut self) {
        _ = self.process.kill();
        _ = self.process.wait();
    }
}

fn pieces<'a>(input: &'a [u8], cuts: &'a [usize]) -> impl Iterator<Item = &'a [u8]> {
    let ends = cuts.iter().copied().chain([input.len()]);
    ends.scan(0, |start, end| {
        let piece = &input[*start..end];
        *start = end;
        Some(piece)
    })
}

fn converse(server: &Server, now: Now, input: &[u8], cuts: &[usize]) -> Vec<u8> {
    let mut session = Session::new();
    let (mut held, mut reply) = (Vec::new(), Vec::new());
    for piece in pieces(input, cuts) {
        held.extend_from_slice(piece);
        loop {
            let mut out = Vec::new();
            let progress = session.receive(&held, server, now, &mut out);
            held.drain(..progress.consumed);
            reply.extend(out);
            match progress.needs {
                Needs::Input => break,
                Needs::Output => {}
                Needs::Close => return reply,
            }
        }
    }
    reply
}

/// xorshift64* (Vigna 2016).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    fn cuts(&mut self, len: usize) -> Vec<usize> {
        let mut cuts: Vec<usize> = (0..self.below(12)).map(|_| self.below(len + 1)).collect();
        cuts.sort_unstable();
        cuts
    }
}

const KEYS: &[&str] = &["a", "b", "counter", "n", "longer-key_with.things", "\u{fc}ml\u{e4}ut"];
const READ_KEYS: &[&str] = &["a", "b", "counter", "n", "longer-key_with.things", "\u{fc}ml\u{e4}ut", "big"];
const VALUES: &[&str] = &[
    "",
    "0",
    "1",
    "9",
    "10",
    "99",
    "18446744073709551615",
    "12 ",
    " 7",
    "+5",
    "-1",
    "x",
    "hello",
    "\r\nx",
    "get a\r\n",
];
const NUMBERS: &[&str] =
    &["0", "1", "5", "100", "18446744073709551615", "18446744073709551616", "-1", "x", "1x", ""];
const FLAGS: &[&str] = &["0", "1", "7", "4294967295", "4294967296", "-1", "f"];
const JUNK: &[&str] = &[
    "",
    " ",
    "get",
    "gat 10",
    "set a",
    "set a 0 0",
    "nonsense",
    "mx a",
    "m",
    "incr a",
    "delete",
    "delete a 1",
    "touch a",
    "verbosity",
    "flush_all x",
    "ms a",
    "ms a S3",
    "md",
    "mg",
    "GET a",
    "set a 0 0 -1",
    "set a b c d",
    "cas a 0 0 1",
    "delete a 0 0",
    "ma a Mx",
    "mg a v v",
    "mg a !",
    "md a Cx",
    "decr a b c d",
];

struct Generator {
    random: Random,
    unix: u64,
}

impl Generator {
    fn stream(&mut self) -> Vec<u8> {
        let mut stream = Vec::new();
        for _ in 0..1 + self.random.below(40) {
            self.command(&mut stream);
        }
        if self.random.one_in(20) {
            stream.extend_from_slice(b"quit\r\nversion\r\n");
        }
        stream.extend_from_slice(LAST_COMMANDS);
        stream
    }

    /// Before it counts: memcached does not count in place while an earlier reply with the item waits to be sent.
    fn settle(&mut self, out: &mut Vec<u8>) {
        self.line(out, "mn");
    }

    fn key(&mut self) -> String {
        if self.random.one_in(40) {
            "k".repeat(249 + self.random.below(3))
        } else {
            self.random.pick(KEYS).to_owned()
        }
    }

    fn expiry(&mut self) -> String {
        match self.random.below(8) {
            0 => "-1".to_owned(),
            1 => "1000".to_owned(),
            2 => (self.unix + 1000).to_string(),
            3 => "3000000".to_owned(),
            _ => "0".to_owned(),
        }
    }

    fn noreply(&mut self) -> &'static str {
        if self.random.one_in(6) { " noreply" } else { "" }
    }

    fn line(&mut self, out: &mut Vec<u8>, line: &str) {
        out.extend_from_slice(line.as_bytes());
        out.extend_from_slice(if self.random.one_in(15) { b"\n" } else { b"\r\n" });
    }

    fn value(&mut self) -> Vec<u8> {
        match self.random.below(40) {
            0 => filler(70_000),
            1..7 => filler(self.random.below(4000)),
            _ => self.random.pick(VALUES).as_bytes().to_vec(),
        }
    }

    fn block(&mut self, out: &mut Vec<u8>, value: &[u8]) {
        out.extend_from_slice(value);
        let end = if self.random.one_in(40) { self.random.pick(&["xx", "x\r\n", "\n", ""]) } else { "\r\n" };
        out.extend_from_slice(end.as_bytes());
    }

    fn command(&mut self, out: &mut Vec<u8>) {
        match self.random.below(20) {
            0..5 => self.store(out),
            5..9 => self.retrieve(out),
            9 | 10 => {
                self.settle(out);
                let verb = self.random.pick(&["incr", "decr"]);
                let line = format!("{verb} {} {}{}", self.key(), self.random.pick(NUMBERS), self.noreply());
                self.line(out, &line);
            }
            11 => {
                let line = format!("touch {} {}{}", self.key(), self.expiry(), self.noreply());
                self.line(out, &line);
            }
            12 => {
                let zero = self.random.pick(&["", "", "", " 0"]);
                let line = format!("delete {}{zero}{}", self.key(), self.noreply());
                self.line(out, &line);
            }
            13 => {
                let flush = self.random.one_in(4);
                let line = if flush {
                    self.random.pick(&["flush_all", "flush_all 0", "flush_all -1 noreply"])
                } else {
                    "mn"
                };
                self.line(out, line);
            }
            14 => {
                let junk = self.random.pick(JUNK);
                self.line(out, junk);
            }
            15 => self.line(out, "version"),
            _ => self.meta(out),
        }
    }

    fn store(&mut self, out: &mut Vec<u8>) {
        let verb = self.random.pick(&["set", "set", "set", "add", "replace", "append", "prepend", "cas"]);
        // memcached does not count in items that it keeps in several chunks, so those have a key of their own.
        let big = self.random.one_in(40);
        let key = if big { "big".to_owned() } else { self.key() };
        let value = if big { filler(1_048_400 + self.random.below(200)) } else { self.value() };
        let flags = if self.random.one_in(4) { self.random.pick(FLAGS) } else { "0" };
        let unique = if verb == "cas" { format!(" {}", self.random.below(300)) } else { String::new() };
        let line =
            format!("{verb} {key} {flags} {} {}{unique}{}", self.expiry(), value.len(), self.noreply());
        self.line(out, &line);
        self.block(out, &value);
    }

    fn retrieve(&mut self, out: &mut Vec<u8>) {
        let verb = self.random.pick(&["get", "get", "gets", "gat", "gats"]);
        let mut line = verb.to_owned();
        if verb.starts_with("gat") {
            line += &format!(" {}", self.expiry());
        }
        let keys =
            if !verb.starts_with("gat") && self.random.one_in(30) { 700 } else { 1 + self.random.below(4) };
        if keys > 4 {
            // A command cut short must not take the verb, since nothing else may have so long a line.
            self.settle(out);
        }
        for _ in 0..keys {
            // A long list only of what is short, since a 1 MiB value times 700 is not what this is about.
            // And memcached drops the replies to earlier commands together with that to a get of too long a key.
            let key = if keys > 4 { "missing".to_owned() } else { self.random.pick(READ_KEYS).to_owned() };
            line += &format!(" {key}");
        }
        self.line(out, &line);
    }

    fn meta(&mut self, out: &mut Vec<u8>) {
        let verb = self.random.pick(&["mg", "mg", "mg", "ms", "ms", "md", "ma", "ma"]);
        let binary = self.random.one_in(8);
        let key = if binary { self.random.pick(&["YQ==", "Zm9v", "!!!!"]).to_owned() } else { self.key() };
        let value = self.value();
        if verb == "ma" {
            self.settle(out);
        }
        let mut line = format!("{verb} {key}");
        if verb == "ms" {
            line += &format!(" {}", value.len());
        }
        let offered: &[&str] = match verb {
            "mg" => {
                &["v", "f", "c", "t", "k", "s", "Oopaque", "q", "h", "u", "T0", "T1000", "N1000", "R2000"]
            }
            "ms" => &["c", "k", "Oabc", "q", "F5", "T1000", "ME", "MA", "MP", "MR", "MS", "C40", "I", "Cx"],
            // Not `T` with `ma`: if the number grows, memcached moves the end of the item that it replaces.
            "md" => &["k", "Oabc", "q", "C40", "I", "T1000"],
            _ => &["v", "t", "c", "k", "Oabc", "q", "N0", "J13", "D5", "MD", "MI", "M-", "C40"],
        };
        let mut chosen = if binary { vec!["b"] } else { vec![] };
        for _ in 0..self.random.below(6) {
            chosen.push(self.random.pick(offered));
        }
        // Which of two expiries of one `mg` wins depends on their order; clients send one.
        let ends = |flag: &str| flag.starts_with(['T', 'N', 'R']) && verb == "mg";
        let mut ended = false;
        chosen.retain(|flag| !ends(flag) || !std::mem::replace(&mut ended, true));
        for flag in chosen {
            line += &format!(" {flag}");
        }
        self.line(out, &line);
        if verb == "ms" {
            self.block(out, &value);
        }
    }
}

/// A value that is read as lines of a bearable length if its command is refused.
fn filler(len: usize) -> Vec<u8> {
    (1..=len).map(|index| if index % 1000 == 0 { b'\n' } else { b'v' }).collect()
}

/// Remaining seconds differ with the moment of the question.
fn without_seconds(reply: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(reply.len());
    let mut rest = reply;
    while let Some((&first, tail)) = rest.split_first() {
        out.push(first);
        rest = tail;
        if out.ends_with(b" t") {
            let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
            let seconds: Option<u32> = std::str::from_utf8(&rest[..digits]).unwrap().parse().ok();
            if seconds.is_some_and(|seconds| (800..=1001).contains(&seconds)) {
                out.push(b'~');
                rest = &rest[digits..];
            }
        }
    }
    out
}

fn shown(bytes: &[u8]) -> String {
    let text = bytes.escape_ascii().to_string().replace("\\r\\n", "\\r\\n\n");
    let lines = text
        .lines()
        .map(|line| if line.len() > 300 { format!("{}...", &line[..300]) } else { line.to_owned() });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn random_streams_get_the_same_bytes_as_from_memcached() {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let seed = std::env::var("MEMCACHED_SEED").ok().map_or(unix | 1, |seed| seed.parse().unwrap());
    println!("MEMCACHED_SEED={seed}");
    let memcached = Memcached::start();
    let server =
        Server { store: Store::new(Limits::default()), facts: ServerFacts::default(), credentials: None };
    let now = Now { unix, ..Now::default() };
    let mut generator = Generator { random: Random(seed), unix };
    let mut bytes = 0;
    for number in 0..STREAMS {
        let input = generator.stream();
        let (theirs, ours) = (generator.random.cuts(input.len()), generator.random.cuts(input.len()));
        let expected = without_seconds(&memcached.converse(&input, &theirs));
        let reply = without_seconds(&converse(&server, now, &input, &ours));
        bytes += reply.len();
        if reply != expected {
            let at = reply.iter().zip(&expected).take_while(|(ours, theirs)| ours == theirs).count();
            let from = at.saturating_sub(200);
            panic!(
                "seed {seed}, stream {number}, byte {at} of the reply\n--- commands\n{}\n--- memcached\n{}\n--- ours\n{}",
                shown(&input),
                shown(&expected[from..expected.len().min(at + 200)]),
                shown(&reply[from..reply.len().min(at + 200)]),
            );
        }
    }
    println!("{STREAMS} streams, {bytes} bytes of replies");
}
