//! A memcached client over TCP.

use super::command::{Command, Encoding, Outcome, decode, encode};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddrV4, TcpStream};
use std::time::Duration;

/// How long a request may take.
const REPLY_DEADLINE: Duration = Duration::from_secs(2);

/// One connection. A server takes a connection that began in text for text and meta commands only.
#[derive(Debug)]
pub struct TcpClient {
    stream: TcpStream,
}

impl TcpClient {
    /// Connects.
    ///
    /// # Errors
    /// What the kernel says, within two seconds.
    pub fn connect(to: SocketAddrV4) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&to.into(), REPLY_DEADLINE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(REPLY_DEADLINE))?;
        Ok(Self { stream })
    }

    /// Sends a request and reads until `complete` says that its reply is whole.
    ///
    /// # Errors
    /// What the kernel says; the end of the connection and silence are errors too.
    pub fn ask(&mut self, request: &[u8], complete: impl Fn(&[u8]) -> bool) -> io::Result<Vec<u8>> {
        self.stream.write_all(request)?;
        let (mut reply, mut buffer) = (Vec::new(), [0; 65536]);
        while !complete(&reply) {
            let len = self.stream.read(&mut buffer)?;
            if len == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            reply.extend_from_slice(&buffer[..len]);
        }
        Ok(reply)
    }

    /// Runs one command.
    ///
    /// # Errors
    /// As [`ask`](TcpClient::ask).
    pub fn execute(&mut self, encoding: Encoding, key: &[u8], command: &Command) -> io::Result<Outcome> {
        let request = encode(encoding, key, command);
        let reply = self.ask(&request, |reply| decode(encoding, command, reply).is_some())?;
        decode(encoding, command, &reply).ok_or_else(|| ErrorKind::InvalidData.into())
    }
}
