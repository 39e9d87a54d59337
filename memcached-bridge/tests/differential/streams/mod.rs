//! Random streams of commands, a client that sends them in odd pieces, and the comparison of what two servers answer.
//! Shared with the test of the node's proxy.

pub mod binary;
pub mod random;
pub mod text;

use std::io::{ErrorKind, Read, Write};
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

/// What a server answered to a stream.
pub struct Reply {
    pub bytes: Vec<u8>,
    /// Whether the connection ended in a reset, as one does that a server closes with input unread. What the server had not
    /// sent by then is lost, so `bytes` are only the beginning, up to the end of a line.
    pub reset: bool,
}

impl Reply {
    pub fn whole(bytes: Vec<u8>) -> Self {
        Self { bytes, reset: false }
    }

    /// With `normalized` bytes.
    pub fn map(self, normalized: impl Fn(&[u8]) -> Vec<u8>) -> Self {
        Self { bytes: normalized(&self.bytes), ..self }
    }

    /// Whether both can be the same reply.
    fn agrees_with(&self, other: &Self) -> bool {
        match (self.reset, other.reset) {
            (false, false) => self.bytes == other.bytes,
            (true, false) => other.bytes.starts_with(&self.bytes),
            (false, true) => self.bytes.starts_with(&other.bytes),
            (true, true) => self.bytes.iter().zip(&other.bytes).all(|(one, other)| one == other),
        }
    }
}

/// The reply to `input`, sent to a server in pieces on a connection of its own: up to `last`, or to the end of the
/// connection.
pub fn converse(server: SocketAddr, input: &[u8], cuts: &[usize], last: &'static [u8]) -> Reply {
    let mut connection = TcpStream::connect(server).unwrap();
    connection.set_nodelay(true).unwrap();
    connection.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut reader = connection.try_clone().unwrap();
    let reading = std::thread::spawn(move || {
        let (mut reply, mut piece) = (Reply::whole(Vec::new()), vec![0; 65536]);
        while !reply.bytes.ends_with(last) {
            match reader.read(&mut piece) {
                Ok(0) => break,
                Ok(len) => reply.bytes.extend_from_slice(&piece[..len]),
                Err(error) => {
                    reply.reset = error.kind() == ErrorKind::ConnectionReset;
                    break;
                }
            }
        }
        if reply.reset {
            let lines = reply.bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |last| last + 1);
            reply.bytes.truncate(lines);
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
pub fn same(input: &[u8], expected: &Reply, reply: &Reply, number: usize) {
    difference(input, expected, reply, number).unwrap_or_else(|difference| panic!("{difference}"));
}

/// Both replies to `input`, the `number`th, if they differ.
pub fn difference(input: &[u8], expected: &Reply, reply: &Reply, number: usize) -> Result<(), String> {
    if reply.agrees_with(expected) {
        return Ok(());
    }
    let (expected, reply) = (&expected.bytes, &reply.bytes);
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
