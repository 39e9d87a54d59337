//! Random streams of commands, a client that sends them in odd pieces, and the comparison of what two servers answer.
//! Shared with the test of the node's proxy.

pub mod binary;
pub mod random;
pub mod text;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What makes memcached answer the same every time: its background threads hold items now and then, and an item that is
/// held is not counted in place.
pub const DETERMINISTIC: [&str; 4] = ["-W", "-X", "-o", "no_lru_maintainer,no_lru_crawler,no_slab_reassign"];

/// What repeats the run. Shown if the test fails.
pub fn seed(unix: u64) -> u64 {
    let seed = std::env::var("MEMCACHED_SEED").ok().map_or(unix | 1, |seed| seed.parse().unwrap());
    println!("MEMCACHED_SEED={seed}");
    seed
}

/// Seconds since 1970.
pub fn unix() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// The whole reply to `input`, sent to a server in pieces on a connection of its own: up to `last`, or to the end of the
/// connection.
pub fn converse(server: SocketAddr, input: &[u8], cuts: &[usize], last: &'static [u8]) -> Vec<u8> {
    let mut connection = TcpStream::connect(server).unwrap();
    connection.set_nodelay(true).unwrap();
    connection.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut reader = connection.try_clone().unwrap();
    let reading = std::thread::spawn(move || {
        let (mut reply, mut piece) = (Vec::new(), vec![0; 65536]);
        // A connection that memcached closes with input unread ends in a reset.
        while let Ok(len @ 1..) = reader.read(&mut piece) {
            reply.extend_from_slice(&piece[..len]);
            if reply.ends_with(last) {
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

/// Panics with both replies to `input`, the `number`th, if they differ.
pub fn same(input: &[u8], expected: &[u8], reply: &[u8], number: usize) {
    difference(input, expected, reply, number).unwrap_or_else(|difference| panic!("{difference}"));
}

/// Both replies to `input`, the `number`th, if they differ.
pub fn difference(input: &[u8], expected: &[u8], reply: &[u8], number: usize) -> Result<(), String> {
    if reply == expected {
        return Ok(());
    }
    let at = reply.iter().zip(expected).take_while(|(ours, theirs)| ours == theirs).count();
    let around = |bytes: &[u8]| shown(&bytes[at.saturating_sub(200)..bytes.len().min(at + 200)]);
    Err(format!(
        "number {number}, byte {at} of the reply\n--- commands\n{}\n--- memcached\n{}\n--- ours\n{}",
        shown(input),
        around(expected),
        around(reply),
    ))
}

pub fn pieces<'a>(input: &'a [u8], cuts: &'a [usize]) -> impl Iterator<Item = &'a [u8]> {
    let ends = cuts.iter().copied().chain([input.len()]);
    ends.scan(0, |start, end| {
        let piece = &input[*start..end];
        *start = end;
        Some(piece)
    })
}

/// A value that is read as lines of a bearable length if its command is refused.
fn filler(len: usize) -> Vec<u8> {
    (1..=len).map(|index| if index % 1000 == 0 { b'\n' } else { b'v' }).collect()
}

fn shown(bytes: &[u8]) -> String {
    let mut text = bytes.escape_ascii().to_string().replace("\\r\\n", "\\r\\n\n");
    for magic in ["\\x80", "\\x81"] {
        text = text.replace(magic, &format!("\n{magic}"));
    }
    let lines = text
        .lines()
        .map(|line| if line.len() > 300 { format!("{}...", &line[..300]) } else { line.to_owned() });
    lines.collect::<Vec<_>>().join("\n")
}
