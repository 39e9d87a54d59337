//! The same commands over UDP. memcached sends one message for every reply, a session one for the whole datagram, so
//! payloads are compared.

use std::net::{SocketAddrV4, UdpSocket};
use std::time::{Duration, Instant};

use memcached_bridge::protocol::udp::{FRAME_LEN, Frame};
use memcached_bridge::session::Server;
use memcached_bridge::session::datagram::answer_datagram;
use memcached_bridge::store::Now;

use crate::whole::are_whole;

/// The longest commands that are sent, in bytes.
const MAX_COMMANDS_LEN: usize = 8000;
/// Asked for behind every datagram, to tell the end of its reply.
const MARKER_ID: u16 = 0xffff;
const MARKER: &[u8] = b"\xff\xff\0\0\0\x01\0\0mn\r\n";

/// A client of the real one.
pub struct Client(UdpSocket);

impl Client {
    pub fn new(server: SocketAddrV4) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(server).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        // memcached listens over UDP a moment after TCP.
        let deadline = Instant::now() + Duration::from_secs(10);
        while socket.send(MARKER).and_then(|_| socket.recv(&mut [0; 64])).is_err() {
            assert!(Instant::now() < deadline, "memcached does not answer on UDP at {server}");
        }
        Self(socket)
    }

    /// The payloads of all datagrams with which memcached answers.
    pub fn converse(&self, commands: &[u8]) -> Vec<u8> {
        self.0.send(&datagram(commands)).unwrap();
        self.0.send(MARKER).unwrap();
        let (mut reply, mut buffer) = (Vec::new(), vec![0; 65_536]);
        loop {
            let len = self.0.recv(&mut buffer).unwrap();
            let (frame, payload) = Frame::parse(&buffer[..len]).unwrap();
            if frame.request_id == MARKER_ID {
                return reply;
            }
            reply.extend_from_slice(payload);
        }
    }
}

/// The payloads of all datagrams with which a session answers.
pub fn converse(server: &Server, now: Now, commands: &[u8]) -> Vec<u8> {
    let (mut out, mut sent, mut whole) = (Vec::new(), Vec::new(), Vec::new());
    if let Ok(reply) = answer_datagram(&datagram(commands), server, now, usize::MAX, &mut out) {
        for sequence in 0..reply.datagrams() {
            reply.write(sequence, &mut sent);
            whole.extend_from_slice(&sent[FRAME_LEN..]);
        }
    }
    whole
}

fn datagram(commands: &[u8]) -> Vec<u8> {
    [&Frame::single(1).to_bytes(), commands].concat()
}

/// Whether these are commands that memcached reads from one datagram: what is missing at its end it would read from the
/// next one.
pub fn fits(commands: &[u8]) -> bool {
    commands.len() <= MAX_COMMANDS_LEN && are_whole(commands)
}
