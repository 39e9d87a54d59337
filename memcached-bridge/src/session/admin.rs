//! Text commands that tune what memcached has and this store has not: slab classes, segmented LRU, crawler, watchers.
//!
//! The replies are those of `memcached -W -X -o no_slab_reassign,no_lru_crawler,no_lru_maintainer`: what cannot be done
//! is refused in memcached's words, and a setting without effect is taken as it is there. But the memory limit is the
//! operator's, not a client's, and a crawler that does not exist cannot be started.

use crate::protocol::ascii::u32_of;

/// memcached reads no more tokens of a line.
const MAX_TOKENS: usize = 23;
/// The largest memory limit in MiB that memcached takes for one.
const MAX_MEMORY_MIB: u32 = 1_000_000_000;
const MIN_MEMORY_MIB: u32 = 8;
const MAX_CRAWLER_SLEEP_US: u32 = 1_000_000;

const ERROR: &str = "ERROR";
const OK: &str = "OK";
const BAD_FORMAT: &str = "CLIENT_ERROR bad command line format";

/// What to do about a line that is no command of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Reply so, with `\r\n` behind it.
    Line(&'static str),
    /// It was carried out, or refused, and the client wants no reply.
    Silent,
    /// A browser or a proxy speaks HTTP here: close, before its body is read as commands.
    Close,
    /// It is no administrative command either.
    Unknown,
}

/// Whether a browser or a proxy speaks HTTP in `line`, which is no command of the protocol: nothing behind it may be read
/// as one.
pub(crate) fn is_http(line: &[u8]) -> bool {
    answer(line) == Answer::Close
}

/// The answer to `line`, which comes without its end.
pub(super) fn answer(line: &[u8]) -> Answer {
    let tokens: Vec<&[u8]> =
        line.split(|&byte| byte == b' ').filter(|token| !token.is_empty()).take(MAX_TOKENS).collect();
    let Some((&verb, arguments)) = tokens.split_first() else { return Answer::Unknown };
    match verb {
        b"cache_memlimit" if matches!(arguments.len(), 1 | 2) => {
            quietly(arguments, memory_limit(arguments[0]))
        }
        b"slabs" => slabs(arguments),
        b"lru" if !arguments.is_empty() => quietly(arguments, lru(arguments)),
        b"lru_crawler" => Answer::Line(lru_crawler(arguments)),
        b"watch" => quietly(arguments, "CLIENT_ERROR watch commands not allowed"),
        b"shutdown" => Answer::Line("ERROR: shutdown not enabled"),
        b"refresh_certs" => Answer::Line("Error TLS not enabled"),
        _ if speaks_http(verb, &tokens) => Answer::Close,
        _ => Answer::Unknown,
    }
}

fn quietly(arguments: &[&[u8]], reply: &'static str) -> Answer {
    match arguments.last() {
        Some(&b"noreply") => Answer::Silent,
        _ => Answer::Line(reply),
    }
}

fn memory_limit(mebibytes: &[u8]) -> &'static str {
    match u32_of(mebibytes) {
        None => ERROR,
        Some(..MIN_MEMORY_MIB) => "MEMLIMIT_TOO_SMALL cannot set maxbytes to less than 8m",
        Some(MIN_MEMORY_MIB..=MAX_MEMORY_MIB) => "MEMLIMIT_ADJUST_FAILED out of bounds or unable to adjust",
        Some(_) => "MEMLIMIT_ADJUST_FAILED input value is megabytes not bytes",
    }
}

fn slabs(arguments: &[&[u8]]) -> Answer {
    match *arguments {
        [b"reassign", _, _] => Answer::Line("CLIENT_ERROR slab reassignment disabled"),
        [b"automove", b"ratio", ratio, ..] if float(ratio).is_some() => quietly(arguments, OK),
        [b"automove", b"ratio", ..] => quietly(arguments, ERROR),
        [b"automove", level, ..] => {
            let reply = match u32_of(level) {
                Some(0..=2) => OK,
                Some(_) => ERROR,
                None => BAD_FORMAT,
            };
            quietly(arguments, reply)
        }
        _ => Answer::Line(ERROR),
    }
}

fn lru(arguments: &[&[u8]]) -> &'static str {
    let [b"tune", hot_percent, warm_percent, hot_factor, warm_factor, ..] = arguments else { return ERROR };
    let percents = (u32_of(hot_percent), u32_of(warm_percent));
    let ((Some(hot), Some(warm)), Some(hot_factor), Some(warm_factor)) =
        (percents, float(hot_factor), float(warm_factor))
    else {
        return ERROR;
    };
    if hot.wrapping_add(warm) > 80 {
        return "ERROR hot and warm pcts must not exceed 80";
    }
    if hot_factor <= 0.0 || warm_factor <= 0.0 {
        return "ERROR hot/warm age factors must be greater than 0";
    }
    OK
}

fn lru_crawler(arguments: &[&[u8]]) -> &'static str {
    match *arguments {
        [b"crawl" | b"metadump", _] => "CLIENT_ERROR lru crawler disabled",
        [b"tocrawl", items] if u32_of(items).is_some() => OK,
        [b"sleep", microseconds] => match u32_of(microseconds) {
            Some(0..=MAX_CRAWLER_SLEEP_US) => OK,
            Some(_) => "CLIENT_ERROR sleep must be one second or less",
            None => BAD_FORMAT,
        },
        [b"tocrawl", _] => BAD_FORMAT,
        [b"enable"] => "ERROR failed to start lru crawler thread",
        [b"disable"] => OK,
        _ => ERROR,
    }
}

fn float(token: &[u8]) -> Option<f64> {
    std::str::from_utf8(token).ok()?.parse().ok()
}

/// Whether memcached takes the line for a request of HTTP: its last token says so, and its first letter is that of no
/// command.
fn speaks_http(verb: &[u8], tokens: &[&[u8]]) -> bool {
    let may_be_command =
        verb.len() < 2 || verb.starts_with(b"m") && verb.len() == 2 || b"gsacidt".contains(&verb[0]);
    let known: [&[u8]; 8] =
        [b"replace", b"prepend", b"bget", b"flush_all", b"version", b"quit", b"verbosity", b"lru"];
    !may_be_command && !known.contains(&verb) && tokens.last().is_some_and(|last| last.starts_with(b"HTTP/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `memcached -W -X -o no_slab_reassign,no_lru_crawler,no_lru_maintainer` (1.6.18) answers, but for the
    /// differences in this module's documentation.
    #[test]
    fn each_command_is_answered() {
        for (line, expected) in [
            ("cache_memlimit", None),
            ("cache_memlimit 4", Some("MEMLIMIT_TOO_SMALL cannot set maxbytes to less than 8m")),
            ("cache_memlimit 64", Some("MEMLIMIT_ADJUST_FAILED out of bounds or unable to adjust")),
            ("cache_memlimit 2000000000", Some("MEMLIMIT_ADJUST_FAILED input value is megabytes not bytes")),
            ("cache_memlimit x", Some("ERROR")),
            ("slabs", Some("ERROR")),
            ("slabs reassign 1 2", Some("CLIENT_ERROR slab reassignment disabled")),
            ("slabs automove 1", Some("OK")),
            ("slabs automove 3", Some("ERROR")),
            ("slabs automove x", Some("CLIENT_ERROR bad command line format")),
            ("slabs automove ratio 0.5", Some("OK")),
            ("slabs automove ratio", Some("ERROR")),
            ("lru", None),
            ("lru mode flat", Some("ERROR")),
            ("lru tune 10 20 0.1 2.0", Some("OK")),
            ("lru tune 50 50 0.1 2.0", Some("ERROR hot and warm pcts must not exceed 80")),
            ("lru tune 10 20 0 2.0", Some("ERROR hot/warm age factors must be greater than 0")),
            ("lru_crawler", Some("ERROR")),
            ("lru_crawler crawl all", Some("CLIENT_ERROR lru crawler disabled")),
            ("lru_crawler metadump all", Some("CLIENT_ERROR lru crawler disabled")),
            ("lru_crawler tocrawl 5", Some("OK")),
            ("lru_crawler tocrawl x", Some("CLIENT_ERROR bad command line format")),
            ("lru_crawler sleep 5000000", Some("CLIENT_ERROR sleep must be one second or less")),
            ("lru_crawler enable", Some("ERROR failed to start lru crawler thread")),
            ("watch", Some("CLIENT_ERROR watch commands not allowed")),
            ("shutdown graceful", Some("ERROR: shutdown not enabled")),
            ("refresh_certs", Some("Error TLS not enabled")),
            ("nonsense", None),
            ("get HTTP/1.1", None),
            ("X HTTP/1.1", None),
            ("version HTTP/1.1", None),
        ] {
            assert_eq!(answer(line.as_bytes()), expected.map_or(Answer::Unknown, Answer::Line), "{line}");
        }
        assert_eq!(answer(b"cache_memlimit 64 noreply"), Answer::Silent);
        assert_eq!(answer(b"watch evictions noreply"), Answer::Silent);
        assert_eq!(answer(b"GET / HTTP/1.1"), Answer::Close);
        assert_eq!(answer(b"POST /x HTTP/1.0"), Answer::Close);
        assert_eq!(answer(b""), Answer::Unknown);
    }
}
