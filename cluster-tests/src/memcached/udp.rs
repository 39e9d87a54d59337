//! A memcached client over UDP.

use super::command::{Command, Encoding, Outcome, decode, encode};
use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::net::{SocketAddrV4, UdpSocket};
use std::time::{Duration, Instant};

/// Request id, sequence number, datagram count, reserved: each 16 bits.
const FRAME: usize = 8;
/// How long a request may take unless told otherwise.
const REPLY_DEADLINE: Duration = Duration::from_secs(1);

/// The id in the frame header that ties replies to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RequestId(pub u16);

/// A datagram: the frame header and `payload`.
pub fn frame(id: RequestId, sequence: u16, count: u16, payload: &[u8]) -> Vec<u8> {
    let head = [id.0.to_be_bytes(), sequence.to_be_bytes(), count.to_be_bytes(), [0; 2]];
    [&head.concat(), payload].concat()
}

/// What has come of a reply. Datagrams of one numbered group (0 of n to n-1 of n) may come in any order; groups
/// follow one another, because memcached 1.6 numbers each `VALUE` of a multi-get by itself.
#[derive(Debug, Default)]
struct Assembly {
    whole: Vec<u8>,
    group: Vec<Option<Vec<u8>>>,
}

impl Assembly {
    fn add(&mut self, sequence: u16, count: u16, payload: &[u8]) {
        if count <= 1 {
            self.whole.extend(payload);
            return;
        }
        self.group.resize(count.into(), None);
        if let Some(place) = self.group.get_mut(usize::from(sequence)) {
            *place = Some(payload.to_vec());
        }
        if self.group.iter().all(Option::is_some) {
            self.whole.extend(self.group.drain(..).flatten().flatten());
        }
    }
}

/// A UDP socket toward one server or VIP. Belongs to the host whose thread opened it.
#[derive(Debug)]
pub struct UdpClient {
    socket: UdpSocket,
    next_id: u16,
    deadline: Duration,
    replies: HashMap<RequestId, Assembly>,
}

impl UdpClient {
    /// Opens a socket on a port of its own.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn connect(to: SocketAddrV4) -> io::Result<Self> {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        socket.connect(to)?;
        let next_id = socket.local_addr()?.port();
        Ok(Self { socket, next_id, deadline: REPLY_DEADLINE, replies: HashMap::new() })
    }

    /// Changes how long [`execute`](UdpClient::execute) and [`ask`](UdpClient::ask) wait.
    pub fn set_deadline(&mut self, deadline: Duration) {
        self.deadline = deadline;
    }

    /// The port the socket has.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn local_port(&self) -> io::Result<u16> {
        Ok(self.socket.local_addr()?.port())
    }

    /// Sends a request in one datagram, in IP fragments if it must, and forgets replies to earlier requests with
    /// the same id.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn send(&mut self, payload: &[u8]) -> io::Result<RequestId> {
        let id = RequestId(self.next_id);
        self.next_id = self.next_id.wrapping_add(1);
        self.replies.remove(&id);
        let datagram = frame(id, 0, 1, payload);
        // A connected socket reports the ICMP error of an earlier datagram once, in place of sending.
        match self.socket.send(&datagram) {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => self.socket.send(&datagram)?,
            sent => sent?,
        };
        Ok(id)
    }

    /// Waits for one more datagram of any reply: its request and all of that reply so far. `None` if none came
    /// before `until`.
    ///
    /// # Errors
    /// What the kernel says, except that the port is closed: that is silence.
    pub fn receive(&mut self, until: Instant) -> io::Result<Option<(RequestId, &[u8])>> {
        let mut buffer = [0; 65536];
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            self.socket.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
            let len = match self.socket.recv(&mut buffer) {
                Ok(len) => len,
                Err(error) if is_silence(&error) => continue,
                Err(error) => return Err(error),
            };
            let Some((head, payload)) = buffer[..len].split_at_checked(FRAME) else { continue };
            let field = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
            let id = RequestId(field(0));
            let reply = self.replies.entry(id).or_default();
            reply.add(field(2), field(4), payload);
            return Ok(Some((id, &reply.whole)));
        }
    }

    /// Sends a request and waits until `complete` says that its reply is whole. `None` if it is not in time.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn ask(&mut self, payload: &[u8], complete: impl Fn(&[u8]) -> bool) -> io::Result<Option<Vec<u8>>> {
        let until = Instant::now() + self.deadline;
        let asked = self.send(payload)?;
        while let Some((id, reply)) = self.receive(until)? {
            if id == asked && complete(reply) {
                return Ok(Some(reply.to_vec()));
            }
        }
        Ok(None)
    }

    /// Runs one command. `None` if no complete reply came in time.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn execute(
        &mut self,
        encoding: Encoding,
        key: &[u8],
        command: &Command,
    ) -> io::Result<Option<Outcome>> {
        let request = encode(encoding, key, command);
        let reply = self.ask(&request, |reply| decode(encoding, command, reply).is_some())?;
        Ok(reply.and_then(|reply| decode(encoding, command, &reply)))
    }
}

fn is_silence(error: &io::Error) -> bool {
    use ErrorKind::{ConnectionRefused, HostUnreachable, Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), ConnectionRefused | HostUnreachable | Interrupted | TimedOut | WouldBlock)
}

#[cfg(test)]
mod tests {
    use super::Assembly;

    #[test]
    fn a_group_comes_in_any_order_and_groups_follow_one_another() {
        let mut reply = Assembly::default();
        reply.add(0, 1, b"a");
        reply.add(2, 3, b"d");
        reply.add(0, 3, b"b");
        assert_eq!(reply.whole, b"a");
        reply.add(1, 3, b"c");
        reply.add(0, 1, b"END");
        assert_eq!(reply.whole, b"abcdEND");
    }

    #[test]
    fn datagrams_twice_or_out_of_range_do_no_harm() {
        let mut reply = Assembly::default();
        reply.add(7, 2, b"x");
        reply.add(0, 2, b"a");
        reply.add(0, 2, b"a");
        reply.add(1, 2, b"b");
        assert_eq!(reply.whole, b"ab");
    }
}
