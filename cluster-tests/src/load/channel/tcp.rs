//! Pipelined requests on a persistent connection.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddrV4, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use super::{UnderWay, unexpected};
use crate::load::reply::{Layout, ReplyReader};

pub(in crate::load) struct Tcp {
    stream: TcpStream,
    /// Requests whose replies are still to come, in order.
    waiting: VecDeque<UnderWay>,
    unsent: Vec<u8>,
    reader: ReplyReader,
}

impl Tcp {
    pub(super) fn open(to: SocketAddrV4) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&to.into(), Duration::from_secs(2))?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Self { stream, waiting: VecDeque::new(), unsent: Vec::new(), reader: ReplyReader::default() })
    }

    pub(super) fn send(&mut self, request: &str, under_way: UnderWay) {
        self.waiting.push_back(under_way);
        self.unsent.extend_from_slice(request.as_bytes());
    }

    pub(super) fn flush(&mut self) -> io::Result<bool> {
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(len) => drop(self.unsent.drain(..len)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    pub(super) fn receive(
        &mut self,
        layout: &Layout,
        buffer: &mut [u8],
        ended: &mut Vec<UnderWay>,
    ) -> io::Result<()> {
        let len = match self.stream.read(buffer) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(len) => len,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        let mut right = true;
        let read = self.reader.read(layout, &buffer[..len], |fingerprint| {
            let request = self.waiting.pop_front();
            right &= request.is_some_and(|request| request.fingerprint == fingerprint);
            ended.extend(request);
        });
        read.map_err(unexpected)?;
        if right { Ok(()) } else { Err(unexpected("a reply has other keys than its request")) }
    }
}

impl AsFd for Tcp {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
