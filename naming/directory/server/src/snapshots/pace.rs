//! So many bytes a second, and no more than a burst of them at once.

use std::time::{Duration, Instant};

/// A token bucket. It may go into debt by one piece, so that pieces larger than the burst pass, too.
#[derive(Debug)]
pub(super) struct Pace {
    bytes_per_second: f64,
    /// Bytes that may be sent now.
    credit: f64,
    at: Instant,
}

/// What may be sent at once after a pause.
const BURST: Duration = Duration::from_millis(50);

impl Pace {
    pub(super) fn new(bytes_per_second: u64, now: Instant) -> Self {
        Self { bytes_per_second: bytes_per_second.max(1) as f64, credit: 0.0, at: now }
    }

    /// How long to wait before the next piece.
    pub(super) fn wait(&mut self, now: Instant) -> Duration {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        let most = self.bytes_per_second * BURST.as_secs_f64();
        self.credit = (self.credit + passed * self.bytes_per_second).min(most);
        self.at = now;
        Duration::from_secs_f64((-self.credit / self.bytes_per_second).max(0.0))
    }

    /// Notes that a piece was sent.
    pub(super) fn sent(&mut self, bytes: usize) {
        self.credit -= bytes as f64;
    }
}

/// For whom a chunk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Peers,
    Clients,
}

/// Which side may use the pace first: not the one that was first when something was last sent to it, so that neither keeps it
/// from the other by being fast.
#[derive(Debug)]
pub(super) struct Turn {
    first: Side,
}

impl Turn {
    pub(super) fn new() -> Self {
        Self { first: Side::Peers }
    }

    /// Both, in the order of their turns.
    pub(super) fn order(&self) -> [Side; 2] {
        match self.first {
            Side::Peers => [Side::Peers, Side::Clients],
            Side::Clients => [Side::Clients, Side::Peers],
        }
    }

    /// Something was sent to the first side.
    pub(super) fn pass(&mut self) {
        self.first = self.order()[1];
    }
}

/// Of one side's `all` some were sent a chunk, the last of them is in this place: next time the one behind it is first. Whether any
/// was.
pub(super) fn rotate<T>(all: &mut [T], last: Option<usize>) -> bool {
    last.is_some_and(|last| {
        all.rotate_left(last + 1);
        true
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who gets how many of `chunks` if each wants one all the time, and the pace allows so many a round.
    fn shares(peers: usize, clients: usize, at_once: usize, chunks: usize) -> Vec<usize> {
        let (mut turn, mut shares, mut sent) = (Turn::new(), vec![0; peers + clients], 0);
        let (mut peers, mut clients) =
            ((0..peers).collect::<Vec<_>>(), (peers..peers + clients).collect::<Vec<_>>());
        while sent < chunks {
            let mut left = at_once;
            for (place, side) in turn.order().into_iter().enumerate() {
                let all = if side == Side::Peers { &mut peers } else { &mut clients };
                let served = all.len().min(left);
                all[..served].iter().for_each(|one| shares[*one] += 1);
                (left, sent) = (left - served, sent + served);
                if rotate(all, served.checked_sub(1)) && place == 0 {
                    turn.pass();
                }
            }
        }
        shares
    }

    #[test]
    fn nobody_waits_for_ever() {
        assert_eq!(shares(1, 1, 1, 100), [50, 50]);
        assert_eq!(shares(1, 16, 1, 320), [[160].as_slice(), &[10; 16]].concat());
        assert_eq!(shares(2, 2, 1, 100), [25; 4]);
        assert_eq!(shares(0, 3, 1, 90), [30; 3]);
        for at_once in 2..8 {
            let shares = shares(3, 4, at_once, 7_000);
            assert!(shares.iter().all(|share| *share > 500), "{at_once} at once: {shares:?}");
        }
    }

    #[test]
    fn pieces_of_any_size_go_at_the_rate() {
        let start = Instant::now();
        for piece in [10, 1_000, 250_000] {
            let (mut pace, mut now, mut bytes) = (Pace::new(1_000_000, start), start, 0);
            while bytes < 5_000_000 {
                now += pace.wait(now);
                pace.sent(piece);
                bytes += piece;
            }
            let took = now.duration_since(start).as_secs_f64();
            assert!((4.7..5.05).contains(&took), "{piece}: {took}");
        }
    }
}
