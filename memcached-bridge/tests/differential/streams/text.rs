//! Streams of text commands, classic and meta.

use super::filler;
use super::random::Random;

/// Ends a stream: lines that a command cut short may take for its own, and then a command with a reply of its own.
const LAST_COMMANDS: &[u8] = b"\r\n\r\n\r\nmg the-end k Olast\r\n";
/// The last bytes of every reply.
pub const LAST_REPLY: &[u8] = b"EN kthe-end Olast\r\n";

const KEYS: &[&str] = &["a", "b", "counter", "n", "longer+key_with.things", "\u{fc}ml\u{e4}ut"];
const READ_KEYS: &[&str] = &["a", "b", "counter", "n", "longer+key_with.things", "\u{fc}ml\u{e4}ut", "big"];
/// No minus sign is stored: memcached looks for one behind the end of a number of 64 bits, where it may find an older
/// item's.
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
/// What administers the server. Not what has an effect on a real one.
const ADMINISTRATION: &[&str] = &[
    "cache_memlimit",
    "cache_memlimit 1",
    "cache_memlimit x",
    "cache_memlimit 1 noreply",
    "cache_memlimit 2000000000",
    "lru",
    "lru mode flat",
    "lru temp_ttl 5",
    "lru tune 10 20 0.1 2",
    "lru tune 50 60 0.1 2 noreply",
    "lru tune 50 60 0.1 2",
    "lru tune 5 6 0 2",
    "lru_crawler",
    "lru_crawler crawl all",
    "lru_crawler metadump all",
    "lru_crawler sleep 2000000",
    "lru_crawler tocrawl x",
    "lru_crawler tocrawl 0",
    "refresh_certs",
    "shutdown",
    "shutdown graceful",
    "slabs",
    "slabs automove 0",
    "slabs automove 7",
    "slabs automove ratio",
    "slabs automove ratio 0.8",
    "slabs automove x",
    "slabs reassign 1 2",
    "stats cachedump 1 1",
    "stats detail",
    "stats detail dump",
    "stats detail off",
    "stats nonsense",
    "stats reset",
    "stats sizes",
    "verbosity 0",
    "verbosity 0 noreply",
    "verbosity x",
    "watch",
    "watch evictions noreply",
];

/// Makes streams.
pub struct Generator<'a> {
    pub random: &'a mut Random,
    pub unix: u64,
    /// Whether some commands administer the server.
    pub administers: bool,
    /// Whether some mark items stale. Of their readers one wins the right to make them anew, which a node that caches them may
    /// be, and give back: that changes the item's CAS.
    pub invalidates: bool,
}

impl Generator<'_> {
    pub fn stream(&mut self) -> Vec<u8> {
        let mut stream = Vec::new();
        for _ in 0..1 + self.random.below(40) {
            self.command(&mut stream);
        }
        // Nothing follows what closes the connection: what memcached has not read takes its last replies along. And what
        // it has not sent it forgets, unless something makes it send.
        let end: &[u8] = match self.random.below(40) {
            0 => b"quit\r\n",
            1 => b"\r\n\r\n\r\nmn\r\nGET /index.html HTTP/1.1\r\n",
            _ => LAST_COMMANDS,
        };
        stream.extend_from_slice(end);
        stream
    }

    /// Before it counts: memcached does not count in place while an earlier reply with the item waits to be sent. The
    /// no-op makes it leave; a proxy keeps that for itself, and the second command makes it leave under `-R 1`.
    fn settle(&mut self, out: &mut Vec<u8>) {
        self.line(out, "mn");
        self.line(out, "touch settled 0");
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

    /// Appends one command, and what has to precede it.
    pub fn command(&mut self, out: &mut Vec<u8>) {
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
                let junk = if self.administers && self.random.one_in(3) { ADMINISTRATION } else { JUNK };
                let line = self.random.pick(junk);
                self.line(out, line);
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
        let verb = self.random.pick(&["mg", "mg", "mg", "ms", "ms", "md", "ma", "ma", "me"]);
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
            "mg" => &[
                "v", "f", "c", "t", "k", "s", "Oopaque", "q", "h", "l", "u", "P1", "L2", "T0", "T1000",
                "N1000", "R2000",
            ],
            "me" => &["b", "x"],
            "ms" => &[
                "c", "k", "Oabc", "q", "s", "P1", "F5", "T1000", "ME", "MA", "MP", "MR", "MS", "C40", "I",
                "Cx",
            ],
            // Not `T` with `ma`: if the number grows, memcached moves the end of the item that it replaces.
            "md" => &["k", "Oabc", "q", "C40", "I", "T1000"],
            _ => &["v", "t", "c", "k", "Oabc", "q", "N0", "J13", "D5", "MD", "MI", "M-", "C40"],
        };
        let mut chosen = if binary { vec!["b"] } else { vec![] };
        for _ in 0..self.random.below(6) {
            chosen.push(self.random.pick(offered));
        }
        chosen.retain(|flag| self.invalidates || *flag != "I");
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

/// Numbers that differ with the moment of the question; and the slab class, which there is none of.
const UNSTEADY: [(&[u8], std::ops::RangeInclusive<u32>); 5] =
    [(b" t", 800..=1001), (b" l", 0..=200), (b" exp=-", 800..=1001), (b" la=", 0..=200), (b" cls=", 0..=63)];

/// The reply with a `~` for every number that may differ.
pub fn without_unsteady(reply: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(reply.len());
    let mut rest = reply;
    while let Some((&first, tail)) = rest.split_first() {
        out.push(first);
        rest = tail;
        let Some((_, range)) = UNSTEADY.iter().find(|(mark, _)| out.ends_with(mark)) else { continue };
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let number: Option<u32> = std::str::from_utf8(&rest[..digits]).unwrap().parse().ok();
        if number.is_some_and(|number| range.contains(&number)) {
            out.push(b'~');
            rest = &rest[digits..];
        }
    }
    out
}
