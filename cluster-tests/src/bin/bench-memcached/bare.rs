//! What sockets cost: a server that answers `get` from a table, and does nothing else. A proxy in its place that has every
//! value at hand can come near it, not beat it: what it takes is the kernel's.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io::{self, IoSlice, Read, Write};
use std::net::{SocketAddrV4, TcpListener, TcpStream};

use cluster_tests::load::Keys;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

/// Items from this length on are sent from where they are; others are copied, which costs less.
const LONG: usize = 8 * 1024;
/// Long items that are sent together.
const MANY: usize = 32;
/// Number of the listener among the sockets.
const LISTENER: u64 = u64::MAX;

/// By key: `VALUE <key> 0 <bytes>\r\n<data>\r\n`.
type Items = HashMap<Vec<u8>, Vec<u8>>;

struct Client {
    socket: TcpStream,
    /// The beginning of a request.
    input: Vec<u8>,
    /// What did not go at once.
    unsent: Vec<u8>,
}

/// Serves on `listen`, until it is killed.
///
/// # Errors
/// Those of the listener. Clients that fail are closed.
pub(crate) fn serve(listen: SocketAddrV4, keys: impl Iterator<Item = Keys>) -> io::Result<Infallible> {
    let item = |keys: Keys, index| {
        let (key, value) = (keys.key(index).into_bytes(), keys.value(index));
        let item =
            [b"VALUE ", &key[..], format!(" 0 {}\r\n", value.len()).as_bytes(), &value, b"\r\n"].concat();
        (key, item)
    };
    let items: Items = keys.flat_map(|keys| (0..keys.count).map(move |index| item(keys, index))).collect();
    let listener = TcpListener::bind(listen)?;
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    epoll.add(&listener, EpollEvent::new(EpollFlags::EPOLLIN, LISTENER))?;
    let (mut clients, mut buffer) = (Vec::new(), vec![0; 64 * 1024]);
    let mut events = vec![EpollEvent::empty(); 1024];
    loop {
        let ready = epoll.wait(&mut events, EpollTimeout::NONE)?;
        for event in &events[..ready] {
            if event.data() == LISTENER {
                let (socket, _) = listener.accept()?;
                socket.set_nonblocking(true)?;
                socket.set_nodelay(true)?;
                let both = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLET;
                epoll.add(&socket, EpollEvent::new(both, clients.len() as u64))?;
                clients.push(Some(Client { socket, input: Vec::new(), unsent: Vec::new() }));
            } else if let Some(slot) = clients.get_mut(event.data() as usize)
                && let Some(client) = slot
                && client.turn(&items, &mut buffer).is_err()
            {
                *slot = None;
            }
        }
    }
}

impl Client {
    /// Sends what waits, reads once, and answers that. A read that fills the buffer is followed by another.
    fn turn(&mut self, items: &Items, buffer: &mut [u8]) -> io::Result<()> {
        let waiting = std::mem::take(&mut self.unsent);
        self.send(&[&waiting])?;
        loop {
            let len = match self.socket.read(buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(len) => len,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            self.input.extend_from_slice(&buffer[..len]);
            self.answer(items)?;
            if len < buffer.len() {
                return Ok(());
            }
        }
    }

    /// Answers all requests that have come whole.
    fn answer(&mut self, items: &Items) -> io::Result<()> {
        let input = std::mem::take(&mut self.input);
        let (mut copied, mut rest) = (Vec::new(), &input[..]);
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let keys = rest[..end].trim_ascii_end().split(|byte| *byte == b' ').skip(1);
            let found = keys.filter_map(|key| items.get(key).map(Vec::as_slice));
            let parts: Vec<&[u8]> = found.chain([&b"END\r\n"[..]]).collect();
            if parts.iter().any(|part| part.len() >= LONG) {
                self.send(&[&copied])?;
                copied.clear();
                parts.chunks(MANY).try_for_each(|parts| self.send(parts))?;
            } else {
                parts.iter().for_each(|part| copied.extend_from_slice(part));
            }
            rest = &rest[end + 1..];
        }
        self.send(&[&copied])?;
        self.input = rest.to_vec();
        Ok(())
    }

    fn send(&mut self, parts: &[&[u8]]) -> io::Result<()> {
        let slices: Vec<IoSlice<'_>> =
            parts.iter().filter(|part| !part.is_empty()).map(|part| IoSlice::new(part)).collect();
        let mut sent = 0;
        if self.unsent.is_empty() && !slices.is_empty() {
            sent = match self.socket.write_vectored(&slices) {
                Ok(sent) => sent,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                Err(error) => return Err(error),
            };
        }
        for part in parts {
            let gone = sent.min(part.len());
            sent -= gone;
            self.unsent.extend_from_slice(&part[gone..]);
        }
        Ok(())
    }
}
