//! The closed loop.

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use super::Target;
use super::generator::{Generator, LOOK_MS};
use super::measured::Measured;
use super::order::Order;

/// A fixed number of requests is always under way, while it runs. Connections stay open from one run to the next.
///
/// ```no_run
/// # use cluster_tests::load::{Closed, Keys, Order, Target, Transport};
/// # use std::time::Duration;
/// # let address = "127.0.0.1:11211".parse().unwrap();
/// let order = Order::zipf(Keys { count: 1000, value_bytes: 32 }, 0.99, 1);
/// let target = Target { transport: Transport::Tcp, addresses: vec![address], sockets: 10 };
/// let mut load = Closed::open(&target, &order, 50)?;
/// load.run(Duration::from_millis(100))?;
/// let measured = load.run(Duration::from_secs(1))?;
/// let without_reply = load.finish()?;
/// # std::io::Result::Ok(())
/// ```
pub struct Closed<'a> {
    generator: Generator<'a>,
    outstanding: usize,
    /// Sockets that a request may use, those that have waited longest first; each as often as it has room.
    places: VecDeque<usize>,
    unflushed: Vec<usize>,
}

impl<'a> Closed<'a> {
    /// Opens the sockets. `outstanding` requests (over UDP at most 1024 a socket) will share them as evenly as can be;
    /// if there are more sockets than that, they take turns.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn open(target: &Target, order: &'a Order, outstanding: usize) -> io::Result<Self> {
        let generator = Generator::open(target, order)?;
        let sockets = generator.channels();
        let depth = outstanding.div_ceil(sockets.max(1));
        let places = (0..sockets * depth).map(|place| place % sockets).collect();
        Ok(Self { generator, outstanding, places, unflushed: Vec::new() })
    }

    /// Measures for `length`: the replies that come in that time.
    ///
    /// # Errors
    /// What the kernel says, or that a reply is not the one to its request.
    pub fn run(&mut self, length: Duration) -> io::Result<Measured> {
        let mut measured = Measured::new();
        let (start, mut ended) = (Instant::now(), Vec::new());
        let (until, mut now) = (start + length, start);
        self.top_up(now)?;
        while now < until {
            self.generator.look(LOOK_MS)?;
            while let Some(socket) = self.generator.next_ready(&mut ended)? {
                now = Instant::now();
                for request in ended.drain(..) {
                    measured.record(now.saturating_duration_since(request.sent));
                    self.places.push_back(socket);
                }
                self.top_up(now)?;
            }
            now = Instant::now();
            self.generator.give_up(now, |socket| {
                measured.lost += 1;
                self.places.push_back(socket);
            });
            self.top_up(now)?;
        }
        measured.elapsed = now - start;
        Ok(measured)
    }

    /// Waits for the replies that are still to come, a quarter of a second over UDP and five seconds over TCP, and says
    /// how many requests have none.
    ///
    /// # Errors
    /// As [`run`](Closed::run).
    pub fn finish(mut self) -> io::Result<usize> {
        let (deadline, mut ended) = (Instant::now() + self.generator.patience(), Vec::new());
        while self.generator.under_way() > 0 && Instant::now() < deadline {
            self.generator.look(LOOK_MS)?;
            while self.generator.next_ready(&mut ended)?.is_some() {}
        }
        Ok(self.generator.under_way())
    }

    /// Sends as many requests as are missing; those of one socket leave together.
    fn top_up(&mut self, now: Instant) -> io::Result<()> {
        while self.generator.under_way() < self.outstanding {
            let Some(socket) = self.places.pop_front() else { break };
            if self.generator.send(socket, now, now)? {
                self.unflushed.push(socket);
            }
        }
        self.unflushed.drain(..).try_for_each(|socket| self.generator.flush(socket))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::testing::{self, Server, udp_server};
    use crate::load::{Keys, Transport};
    use crate::wait;

    const KEYS: Keys = Keys { count: 16, value_bytes: 8 };

    #[test]
    fn replies_and_losses_are_counted_over_udp() {
        let (target, order) = (udp_server(Duration::ZERO, 10), Order::zipf(KEYS, 0.99, 1));
        let mut load = Closed::open(&target, &order, 2).unwrap();
        let measured = load.run(Duration::from_millis(600)).unwrap();
        assert_eq!(measured.replies, 10);
        assert!(measured.lost >= 2, "{measured:?}");
    }

    #[test]
    fn connections_share_the_requests() {
        for (keys_per_get, sockets, outstanding) in [(1, 1, 1), (1, 3, 48), (16, 4, 64), (3, 8, 2)] {
            let order = Order::zipf_of_several(KEYS, keys_per_get, 0.99, 1);
            let server = Server::start(KEYS, |_| {});
            let mut load = Closed::open(&server.target(sockets), &order, outstanding).unwrap();
            let mut replies = 0;
            wait::until_true("a reply on every connection", Duration::from_secs(20), || {
                let measured = load.run(Duration::from_millis(20)).unwrap();
                replies += measured.replies;
                assert_eq!(measured.lost, 0);
                server.connections_used() == sockets && replies > 100
            })
            .unwrap();
            assert_eq!(load.finish().unwrap(), 0);
        }
    }

    #[test]
    fn a_wrong_reply_ends_it() {
        type Spoil = fn(&mut Vec<u8>);
        let wrong: [(&str, Spoil); 4] = [
            ("value", |reply| reply[35] ^= 1),
            ("miss", |reply| *reply = b"END\r\n".to_vec()),
            ("error", |reply| *reply = b"SERVER_ERROR Host is down\r\n".to_vec()),
            ("other key", |reply| *reply = testing::reply(KEYS, &[15])),
        ];
        let order = Order::zipf(KEYS, 9.0, 1);
        for (what, spoil) in wrong {
            let server = Server::start(KEYS, spoil);
            let mut load = Closed::open(&server.target(2), &order, 4).unwrap();
            let error = load.run(Duration::from_secs(20)).expect_err(what);
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{what}: {error}");
        }
    }

    #[test]
    fn several_keys_need_tcp() {
        let order = Order::zipf_of_several(KEYS, 2, 0.99, 1);
        let target = Target { transport: Transport::Udp, ..Server::start(KEYS, |_| {}).target(1) };
        assert!(Closed::open(&target, &order, 1).is_err());
    }
}
