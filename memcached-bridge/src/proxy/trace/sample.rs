//! Which requests are traced.

/// Picks one of `period` requests on average, at random distances: a fixed rhythm would show always the same requests of
/// clients that repeat themselves.
#[derive(Debug, Default)]
pub(super) struct Sample {
    period: u32,
    left: u32,
    /// xorshift64 (Marsaglia 2003).
    state: u64,
}

impl Sample {
    /// None are picked if `period` is 0.
    pub(super) fn new(period: u32, seed: u64) -> Self {
        let mut sample = Self { period, left: 0, state: seed | 1 };
        sample.left = sample.distance();
        sample
    }

    /// Whether the next request is picked.
    #[inline]
    pub(super) fn picks(&mut self) -> bool {
        // Where none are picked this comes round some time.
        self.left = self.left.wrapping_sub(1);
        if self.left > 0 {
            return false;
        }
        self.left = self.distance();
        self.period > 0
    }

    /// 1 to `2 * period - 1`, each as likely as the others.
    fn distance(&mut self) -> u32 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        let choices = (2 * u64::from(self.period)).saturating_sub(1).min(u32::MAX.into());
        (1 + (((self.state >> 32) * choices) >> 32)) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_a_period_is_picked_at_every_place_of_a_rhythm() {
        for (period, expected) in [(0, 0..=0_u32), (1, 64_000..=64_000), (8, 7_500..=8_500)] {
            let mut sample = Sample::new(period, 0x5eed);
            let mut picked = [0_u32; 64];
            for place in (0..64).cycle().take(64_000) {
                picked[place] += u32::from(sample.picks());
            }
            assert!(expected.contains(&picked.iter().sum::<u32>()), "one of {period}: {picked:?}");
            assert!(period == 0 || picked.iter().all(|times| *times > 60), "one of {period}: {picked:?}");
        }
    }

    #[test]
    fn the_longest_period_does_not_overflow() {
        let mut sample = Sample::new(u32::MAX, 7);
        assert!((0..1000).all(|_| !sample.picks() || sample.left > 0));
    }
}
