//! Which requests are counted when there are too many to count each.

/// Picks one of every eight on average, at random distances: traffic that repeats itself would keep some keys out of
/// the sight of a fixed rhythm for ever.
#[derive(Debug)]
pub struct Sampler {
    /// xorshift64 (Marsaglia 2003); never 0.
    state: u64,
    left: u32,
}

impl Sampler {
    /// How many requests each picked one stands for.
    pub const WEIGHT: u16 = 8;

    /// A sampler whose picks depend on `seed`.
    pub fn new(seed: u64) -> Self {
        Self { state: seed | 1, left: 1 }
    }

    /// Whether the next request is picked.
    #[inline]
    pub fn picks(&mut self) -> bool {
        self.left -= 1;
        if self.left > 0 {
            return false;
        }
        self.left = self.distance();
        true
    }

    /// 1 to 15, each as likely as the others.
    fn distance(&mut self) -> u32 {
        const CHOICES: u64 = 2 * Sampler::WEIGHT as u64 - 1;
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        1 + (((self.state >> 32) * CHOICES) >> 32) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_eight_is_picked_at_every_place_of_a_rhythm() {
        for seed in [0, 1, 0x5eed, u64::MAX] {
            let mut sampler = Sampler::new(seed);
            let mut picked = [0_u32; 64];
            for place in (0..64).cycle().take(64 * 1000) {
                picked[place] += u32::from(sampler.picks());
            }
            let total: u32 = picked.iter().sum();
            assert!((7_600..8_400).contains(&total), "seed {seed}: {total} of 64,000");
            assert!(picked.iter().all(|times| (70..190).contains(times)), "seed {seed}: {picked:?}");
        }
    }
}
