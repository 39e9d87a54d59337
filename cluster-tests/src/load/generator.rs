//! The two loops.

use super::channel::{Channel, Ticket};
use super::keys::Order;
use super::measured::Measured;
use super::{Target, Transport};
use crate::random::Random;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use std::io;
use std::time::{Duration, Instant};

/// After this long a request counts as lost.
const PATIENCE: Duration = Duration::from_millis(250);
/// Requests that can be under way at once; the rest of the ticket tells a slot's uses apart.
const SLOTS: usize = 1 << 10;
/// A request that leaves this much after its time counts as late.
const LATE: Duration = Duration::from_millis(1);

/// A closed loop.
#[derive(Clone, Copy, Debug)]
pub struct Closed {
    /// Requests under way at any time, 1024 at most.
    pub outstanding: usize,
    /// Time before measuring starts.
    pub warm_up: Duration,
    /// Time measured.
    pub measure: Duration,
}

/// An open loop.
#[derive(Clone, Copy, Debug)]
pub struct Open {
    /// Requests each second on average.
    pub rate: f64,
    /// Exponential gaps (a Poisson process), or equal ones.
    pub poisson: bool,
    /// The generator polls for this long before each request's time, so that waking up is not part of what is
    /// measured.
    pub spin: Duration,
    /// Time before measuring starts.
    pub warm_up: Duration,
    /// Time measured.
    pub measure: Duration,
    /// The seed of the gaps.
    pub seed: u64,
}

/// Keeps `run.outstanding` requests under way.
///
/// # Errors
/// What the kernel says, or that a reply is not the key's value.
pub fn closed(target: &Target, order: &Order, run: &Closed) -> io::Result<Measured> {
    let mut generator = Generator::open(target, order)?;
    let start = Instant::now();
    let (from, until) = (start + run.warm_up, start + run.warm_up + run.measure);
    let mut now = start;
    for _ in 0..run.outstanding.min(SLOTS) {
        generator.send(now, now)?;
    }
    generator.flush()?;
    while now < until {
        generator.wait(Some(PATIENCE / 10))?;
        now = Instant::now();
        // The whole run counts: what began before it replaces what ends after it.
        let ended = generator.collect(now, from, true)?;
        (0..ended).try_for_each(|_| generator.send(now, now))?;
        generator.flush()?;
    }
    generator.measured.elapsed = now.saturating_duration_since(from);
    Ok(generator.measured)
}

/// Sends requests at their times. Latency counts from the time a request was to leave.
///
/// # Errors
/// What the kernel says, or that a reply is not the key's value.
pub fn open(target: &Target, order: &Order, run: &Open) -> io::Result<Measured> {
    let mut generator = Generator::open(target, order)?;
    // The default slack of 50 us would be part of every latency.
    nix::sys::prctl::set_timerslack(1)?;
    let mut random = Random::new(run.seed);
    let mut gap = || {
        let uniform = ((random.next() >> 11) as f64 + 1.0) / (1_u64 << 53) as f64;
        Duration::from_secs_f64(if run.poisson { -uniform.ln() } else { 1.0 } / run.rate)
    };
    let start = Instant::now();
    let (from, until) = (start + run.warm_up, start + run.warm_up + run.measure);
    let mut next = start + gap();
    while next < until {
        let now = Instant::now();
        if now < next {
            let left = next - now;
            generator.wait(Some(left.saturating_sub(run.spin)))?;
        }
        generator.collect(Instant::now(), from, false)?;
        let now = Instant::now();
        while next <= now && next < until {
            generator.measured.late += u64::from(next >= from && now - next > LATE);
            generator.send(next, now)?;
            next += gap();
        }
        generator.flush()?;
    }
    let deadline = Instant::now() + PATIENCE;
    while generator.under_way() > 0 && Instant::now() < deadline {
        generator.wait(Some(Duration::from_millis(1)))?;
        generator.collect(Instant::now(), from, false)?;
    }
    generator.measured.lost += generator.under_way() as u64;
    generator.measured.elapsed = run.measure;
    Ok(generator.measured)
}

/// A request under way.
#[derive(Clone, Copy)]
struct Pending {
    ticket: Ticket,
    /// When it was to leave.
    due: Instant,
    sent: Instant,
}

struct Generator<'a> {
    order: &'a Order,
    channels: Vec<Channel>,
    addresses: usize,
    transport: Transport,
    /// How many requests were sent.
    sent: u64,
    pending: Vec<Option<Pending>>,
    free: Vec<u16>,
    next_check: Instant,
    done: Vec<Ticket>,
    measured: Measured,
}

impl<'a> Generator<'a> {
    fn open(target: &Target, order: &'a Order) -> io::Result<Self> {
        let reply_bytes = order.keys().reply_bytes();
        // Socket s of address a is channel s * addresses + a.
        let addresses = std::iter::repeat_n(&target.addresses, target.sockets).flatten();
        let channels = addresses.map(|address| Channel::open(target.transport, *address, reply_bytes));
        Ok(Self {
            order,
            channels: channels.collect::<Result<_, _>>()?,
            addresses: target.addresses.len(),
            transport: target.transport,
            sent: 0,
            pending: vec![None; SLOTS],
            free: (0..SLOTS as u16).rev().collect(),
            next_check: Instant::now() + PATIENCE,
            done: Vec::with_capacity(SLOTS),
            measured: Measured::new(),
        })
    }

    fn under_way(&self) -> usize {
        SLOTS - self.free.len()
    }

    /// Sends the next request of the order. If too many are under way it counts as lost at once.
    fn send(&mut self, due: Instant, now: Instant) -> io::Result<()> {
        let number = self.sent;
        self.sent += 1;
        let Some(slot) = self.free.pop() else {
            self.measured.lost += 1;
            return Ok(());
        };
        let generation = (number % (1 << 6)) as u16;
        let ticket = generation << 10 | slot;
        self.pending[usize::from(slot)] = Some(Pending { ticket, due, sent: now });
        let (key, request) = self.order.request(number);
        let sockets = self.channels.len() / self.addresses;
        let channel = number as usize % sockets * self.addresses + key % self.addresses;
        self.channels[channel].send(ticket, request)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.channels.iter_mut().try_for_each(Channel::flush)
    }

    /// Waits until a reply is there, at most so long.
    fn wait(&self, at_most: Option<Duration>) -> io::Result<()> {
        let poll = |channel| PollFd::new(Channel::fd(channel), PollFlags::POLLIN);
        let mut fds: Vec<PollFd> = self.channels.iter().map(poll).collect();
        match ppoll(&mut fds, at_most.map(TimeSpec::from_duration), None) {
            Err(nix::Error::EINTR) => Ok(()),
            polled => Ok(polled.map(drop)?),
        }
    }

    /// Takes in what has come, and gives up what was too long under way. Returns how many requests ended. Those due
    /// (or, if `by_end`, ended) from `from` on are recorded.
    fn collect(&mut self, now: Instant, from: Instant, by_end: bool) -> io::Result<usize> {
        let mut done = std::mem::take(&mut self.done);
        for channel in &mut self.channels {
            channel.receive(&mut done)?;
        }
        let mut ended = 0;
        for ticket in done.drain(..) {
            let slot = usize::from(ticket) % SLOTS;
            let Some(pending) = self.pending[slot].take_if(|pending| pending.ticket == ticket) else {
                continue;
            };
            self.free.push(slot as u16);
            ended += 1;
            if (if by_end { now } else { pending.due }) >= from {
                self.measured.record(now.saturating_duration_since(pending.due));
            }
        }
        self.done = done;
        if now >= self.next_check && self.transport == Transport::Udp {
            self.next_check = now + PATIENCE / 10;
            ended += self.give_up(now, from);
        }
        Ok(ended)
    }

    fn give_up(&mut self, now: Instant, from: Instant) -> usize {
        let mut ended = 0;
        for (slot, pending) in self.pending.iter_mut().enumerate() {
            if pending.take_if(|pending| now.saturating_duration_since(pending.sent) > PATIENCE).is_some() {
                self.free.push(slot as u16);
                ended += 1;
                self.measured.lost += u64::from(now >= from);
            }
        }
        ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::Keys;
    use std::net::{SocketAddr, SocketAddrV4, UdpSocket};
    use std::thread;

    const KEYS: Keys = Keys { count: 16, value_bytes: 8 };

    /// A server of `replies` requests that takes `pause` for each.
    fn serve(pause: Duration, replies: usize) -> SocketAddrV4 {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let SocketAddr::V4(address) = socket.local_addr().unwrap() else { panic!("not IPv4") };
        thread::spawn(move || {
            let mut buffer = [0; 2048];
            for _ in 0..replies {
                let (_, from) = socket.recv_from(&mut buffer).unwrap();
                thread::sleep(pause);
                let reply = [&buffer[..8], b"VALUE v00008-000000000 0 8\r\nabcdefgh\r\nEND\r\n"].concat();
                socket.send_to(&reply, from).unwrap();
            }
        });
        address
    }

    fn target(address: SocketAddrV4) -> Target {
        Target { transport: Transport::Udp, addresses: vec![address], sockets: 1 }
    }

    #[test]
    fn a_closed_loop_counts_replies_and_losses() {
        let run = Closed { outstanding: 2, warm_up: Duration::ZERO, measure: Duration::from_millis(600) };
        let target = target(serve(Duration::ZERO, 10));
        let measured = closed(&target, &Order::zipf(KEYS, 0.99, 1), &run).unwrap();
        assert_eq!(measured.replies, 10);
        assert!(measured.lost >= 2, "{measured:?}");
    }

    #[test]
    fn a_stall_is_felt_by_every_request_that_came_due_in_it() {
        let run = Open {
            rate: 1000.0,
            poisson: false,
            spin: Duration::ZERO,
            warm_up: Duration::ZERO,
            measure: Duration::from_millis(50),
            seed: 1,
        };
        // 3 ms for each of 49 requests that come every millisecond: the queue grows.
        let target = target(serve(Duration::from_millis(3), 100));
        let measured = open(&target, &Order::zipf(KEYS, 0.99, 1), &run).unwrap();
        assert!(measured.replies >= 49, "{measured:?}");
        assert!(measured.latency_us(0.99) > 80_000.0, "{}", measured.latency_us(0.99));
        assert!(measured.latency_us(0.01) < 10_000.0);
    }
}
