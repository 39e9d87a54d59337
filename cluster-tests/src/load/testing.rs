//! Servers for the tests of the generators.

use std::io::{Read, Write};
use std::net::{SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use super::{Keys, Target, Transport};

/// A server that takes `pause` for each request and answers `replies` of them.
pub(super) fn udp_server(pause: Duration, replies: usize) -> Target {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = v4(socket.local_addr().unwrap());
    thread::spawn(move || {
        let mut buffer = [0; 2048];
        for _ in 0..replies {
            let (_, from) = socket.recv_from(&mut buffer).unwrap();
            thread::sleep(pause);
            let reply = [&buffer[..8], b"VALUE v00008-000000000 0 8\r\nabcdefgh\r\nEND\r\n"].concat();
            socket.send_to(&reply, from).unwrap();
        }
    });
    Target { transport: Transport::Udp, addresses: vec![address], sockets: 1 }
}

/// The reply to a get of these keys.
pub(super) fn reply(keys: Keys, indices: &[usize]) -> Vec<u8> {
    let item = |index: &usize| {
        let line = format!("VALUE {} 0 {}\r\n", keys.key(*index), keys.value_bytes);
        [line.as_bytes(), &keys.value(*index), b"\r\n"].concat()
    };
    [indices.iter().flat_map(item).collect(), b"END\r\n".to_vec()].concat()
}

/// A server over TCP that has all keys; it ends with the test.
pub(super) struct Server {
    address: SocketAddrV4,
    used: Arc<AtomicUsize>,
}

impl Server {
    /// `spoil` may change each reply.
    pub(super) fn start(keys: Keys, spoil: fn(&mut Vec<u8>)) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = v4(listener.local_addr().unwrap());
        let used = Arc::<AtomicUsize>::default();
        let counter = Arc::clone(&used);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                // Replies go out in two pieces.
                stream.set_nodelay(true).unwrap();
                let used = Arc::clone(&counter);
                thread::spawn(move || serve(stream, keys, spoil, &used));
            }
        });
        Self { address, used }
    }

    pub(super) fn target(&self, sockets: usize) -> Target {
        Target { transport: Transport::Tcp, addresses: vec![self.address], sockets }
    }

    /// Connections on which a request came.
    pub(super) fn connections_used(&self) -> usize {
        self.used.load(Ordering::SeqCst)
    }
}

fn serve(mut stream: TcpStream, keys: Keys, spoil: fn(&mut Vec<u8>), used: &AtomicUsize) {
    let (mut unread, mut buffer, mut first) = (Vec::new(), [0; 4096], true);
    while let Ok(len @ 1..) = stream.read(&mut buffer) {
        used.fetch_add(usize::from(std::mem::take(&mut first)), Ordering::SeqCst);
        unread.extend_from_slice(&buffer[..len]);
        while let Some(end) = unread.windows(2).position(|end| end == b"\r\n") {
            let line: Vec<u8> = unread.drain(..end + 2).collect();
            let names = line.trim_ascii_end().split(|byte| *byte == b' ').skip(1);
            let index = |name: &[u8]| std::str::from_utf8(&name[7..]).unwrap().parse().unwrap();
            let mut reply = reply(keys, &names.map(index).collect::<Vec<usize>>());
            spoil(&mut reply);
            let (one, two) = reply.split_at(reply.len() / 2);
            if stream.write_all(one).and_then(|()| stream.write_all(two)).is_err() {
                return;
            }
        }
    }
}

fn v4(address: SocketAddr) -> SocketAddrV4 {
    let SocketAddr::V4(address) = address else { panic!("not IPv4") };
    address
}
