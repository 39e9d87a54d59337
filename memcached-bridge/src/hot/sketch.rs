//! Which keys are hot.

use std::time::Duration;

use fabric::time::Nanos;

/// Bits of a hash that choose a line, and lines.
const LINE_BITS: u32 = 10;
const LINES: usize = 1 << LINE_BITS;
/// Rows of a line, counters of a row, and bits of a hash that choose one.
const ROWS: usize = 2;
const ROW: usize = 15;
const ROW_BITS: u32 = 11;

/// One cache line: two rows of fifteen counters, and the epoch they were last halved in.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Line {
    counters: [u16; ROWS * ROW],
    epoch: u16,
}

/// Estimates how often a key was asked for of late: a count-min sketch (Cormode and Muthukrishnan 2005) with conservative
/// update (Estan and Varghese 2002), blocked so that a key's four counters are in two cache lines. 64 KiB.
///
/// Every window all counters are halved, so an estimate weighs the present window once, the last one half, the one
/// before a quarter. A line is halved when it is next touched: no window ends with a pause.
///
/// An estimate is never below the weight observed in the present window (up to the ceiling of a counter, 65,535). It
/// exceeds the decayed weight where other keys share all four counters: by less than a thousandth of the window's
/// total weight, mostly by much less.
#[derive(Debug)]
pub struct Sketch {
    lines: Box<[Line]>,
    epoch: u16,
    window: Duration,
    next: Option<Nanos>,
}

impl Sketch {
    /// An empty sketch that decays every `window`.
    pub fn new(window: Duration) -> Self {
        let line = Line { counters: [0; ROWS * ROW], epoch: 0 };
        Self { lines: vec![line; LINES].into_boxed_slice(), epoch: 0, window, next: None }
    }

    /// Bytes allocated.
    pub fn memory_bytes(&self) -> usize {
        size_of_val(&*self.lines)
    }

    /// Counts `weight` more requests for a key and returns the estimate of their number, these included.
    #[inline]
    pub fn observe(&mut self, hash: u64, weight: u16) -> u16 {
        let places = places_of(hash);
        let mut least = u16::MAX;
        for (line, counters) in places {
            self.lines[line].age(self.epoch);
            least = least.min(self.lines[line].least(counters));
        }
        let estimate = least.saturating_add(weight);
        for (line, counters) in places {
            self.lines[line].raise(counters, estimate);
        }
        estimate
    }

    /// The estimate for a key, without counting.
    pub fn estimate(&self, hash: u64) -> u16 {
        places_of(hash).into_iter().fold(u16::MAX, |least, (line, counters)| {
            let mut line = self.lines[line];
            line.age(self.epoch);
            least.min(line.least(counters))
        })
    }

    /// Lets the windows that have ended by `now` decay.
    pub fn tick(&mut self, now: Nanos) {
        let Some(next) = self.next else {
            self.next = Some(now + self.window);
            return;
        };
        if now < next {
            return;
        }
        let window = self.window.as_nanos().max(1);
        let ended = 1 + now.since(next).as_nanos() / window;
        // After 16 halvings all is 0.
        for _ in 0..ended.min(16) {
            self.decay();
        }
        self.next = Some(now + self.window);
    }

    /// Halves all counts.
    pub fn decay(&mut self) {
        self.epoch = self.epoch.wrapping_add(1);
    }
}

impl Line {
    #[inline]
    fn age(&mut self, epoch: u16) {
        // A line untouched for exactly 65,536 windows is not halved: its estimates are then too high, not too low.
        let windows = epoch.wrapping_sub(self.epoch);
        if windows == 0 {
            return;
        }
        let halvings = u32::from(windows);
        self.counters = self.counters.map(|counter| counter.checked_shr(halvings).unwrap_or(0));
        self.epoch = epoch;
    }

    #[inline]
    fn least(&self, counters: [usize; ROWS]) -> u16 {
        counters.iter().fold(u16::MAX, |least, counter| least.min(self.counters[*counter]))
    }

    /// Conservative: no counter grows beyond the estimate.
    #[inline]
    fn raise(&mut self, counters: [usize; ROWS], estimate: u16) {
        for counter in counters {
            self.counters[counter] = self.counters[counter].max(estimate);
        }
    }
}

/// A key's two lines, and its counters in each. All from different bits of the hash: two keys that share one choice
/// are no likelier to share another.
#[inline]
fn places_of(hash: u64) -> [(usize, [usize; ROWS]); 2] {
    let line = |at: u32| (hash >> at) as usize % LINES;
    let counters = |at: u32| {
        std::array::from_fn(|row| {
            let bits = (hash >> (at + ROW_BITS * row as u32)) % (1 << ROW_BITS);
            row * ROW + ((bits * ROW as u64) >> ROW_BITS) as usize
        })
    };
    [(line(54), counters(0)), (line(44), counters(2 * ROW_BITS))]
}
