//! Sockets, and what is under way on them: what both loops share.

use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::time::TimeSpec;

use super::channel::{Channel, UnderWay};
use super::order::Order;
use super::reply::Layout;
use super::{Target, Transport};

/// After this long a request over UDP counts as lost.
const PATIENCE: Duration = Duration::from_millis(250);
/// So often what is lost is looked for.
pub(super) const LOOK_MS: u8 = 25;
/// After this long without a reply a connection has stalled.
const TCP_PATIENCE: Duration = Duration::from_secs(5);
/// Sockets that one look at all of them finds ready, at most.
const EVENTS: usize = 256;
/// What is read at once: more than the largest datagram, and several large replies.
const BUFFER_BYTES: usize = 1 << 18;

/// One thread's sockets, numbered from 0.
pub(super) struct Generator<'a> {
    order: &'a Order,
    layout: Layout,
    transport: Transport,
    channels: Vec<Channel>,
    epoll: Epoll,
    events: Vec<EpollEvent>,
    buffer: Box<[u8]>,
    /// How many requests were sent.
    sent: u64,
    /// How many of them have no reply yet.
    under_way: usize,
    next_check: Instant,
}

impl<'a> Generator<'a> {
    pub(super) fn open(target: &Target, order: &'a Order) -> io::Result<Self> {
        if target.transport == Transport::Udp && order.keys_per_get() != 1 {
            // memcached answers with datagrams whose numbers do not tell where such a reply ends.
            return Err(io::Error::other("gets of several keys need TCP"));
        }
        // Neighbours have different addresses.
        let addresses = std::iter::repeat_n(&target.addresses, target.sockets).flatten();
        let channels = addresses.map(|address| Channel::open(target.transport, *address));
        let channels: Vec<Channel> = channels.collect::<Result<_, _>>()?;
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        for (number, channel) in channels.iter().enumerate() {
            epoll.add(channel, EpollEvent::new(EpollFlags::EPOLLIN, number as u64))?;
        }
        Ok(Self {
            order,
            layout: Layout::of(order),
            transport: target.transport,
            channels,
            epoll,
            events: Vec::with_capacity(EVENTS),
            buffer: vec![0; BUFFER_BYTES].into(),
            sent: 0,
            under_way: 0,
            next_check: Instant::now() + PATIENCE,
        })
    }

    pub(super) fn channels(&self) -> usize {
        self.channels.len()
    }

    pub(super) fn under_way(&self) -> usize {
        self.under_way
    }

    /// How long a reply may take.
    pub(super) fn patience(&self) -> Duration {
        match self.transport {
            Transport::Udp => PATIENCE,
            Transport::Tcp => TCP_PATIENCE,
        }
    }

    /// Sends the next request of the order, over TCP at the next flush. False if too many are under way there: then
    /// it is skipped.
    pub(super) fn send(&mut self, channel: usize, due: Instant, now: Instant) -> io::Result<bool> {
        let request = self.order.request(self.sent);
        self.sent += 1;
        let sent = self.channels[channel].send(request, due, now)?;
        self.under_way += usize::from(sent);
        Ok(sent)
    }

    /// Writes what waits for it, now or when the kernel takes it.
    pub(super) fn flush(&mut self, channel: usize) -> io::Result<()> {
        if self.channels[channel].flush()? {
            return Ok(());
        }
        self.watch(channel, EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT)
    }

    /// Waits for a reply, at most so long, to the nanosecond.
    pub(super) fn sleep(&self, at_most: Duration) -> io::Result<()> {
        let mut fds = [PollFd::new(self.epoll.0.as_fd(), PollFlags::POLLIN)];
        match ppoll(&mut fds, Some(TimeSpec::from_duration(at_most)), None) {
            Err(nix::Error::EINTR) => Ok(()),
            polled => Ok(polled.map(drop)?),
        }
    }

    /// Finds out which sockets are ready, and waits for one at most so many milliseconds.
    /// [`next_ready`](Generator::next_ready) tells them one by one.
    pub(super) fn look(&mut self, at_most_ms: u8) -> io::Result<()> {
        self.events.resize(EVENTS, EpollEvent::empty());
        let ready = match self.epoll.wait(&mut self.events, at_most_ms) {
            Err(nix::Error::EINTR) => 0,
            waited => waited?,
        };
        self.events.truncate(ready);
        Ok(())
    }

    /// The next socket that is ready. What waited to be written is written, and requests whose replies are complete
    /// are added to `ended`.
    pub(super) fn next_ready(&mut self, ended: &mut Vec<UnderWay>) -> io::Result<Option<usize>> {
        let Some(event) = self.events.pop() else { return Ok(None) };
        let (number, before) = (event.data() as usize, ended.len());
        let channel = &mut self.channels[number];
        if event.events().contains(EpollFlags::EPOLLOUT) && channel.flush()? {
            self.watch(number, EpollFlags::EPOLLIN)?;
        }
        self.channels[number].receive(&self.layout, &mut self.buffer, ended)?;
        self.under_way -= ended.len() - before;
        Ok(Some(number))
    }

    /// Forgets what has been under way for too long, and tells `lost` its socket.
    pub(super) fn give_up(&mut self, now: Instant, mut lost: impl FnMut(usize)) {
        if self.transport != Transport::Udp || now < self.next_check {
            return;
        }
        self.next_check = now + Duration::from_millis(LOOK_MS.into());
        for (number, channel) in self.channels.iter_mut().enumerate() {
            let given_up = channel.give_up(now, PATIENCE);
            self.under_way -= given_up;
            (0..given_up).for_each(|_| lost(number));
        }
    }

    fn watch(&self, channel: usize, flags: EpollFlags) -> io::Result<()> {
        Ok(self.epoll.modify(&self.channels[channel], &mut EpollEvent::new(flags, channel as u64))?)
    }
}
