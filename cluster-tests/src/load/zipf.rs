//! Zipf-distributed ranks.

use crate::random::Random;

/// Ranks from 0 whose probability falls with `1 / (rank + 1)^exponent`, drawn exactly, by inversion.
#[derive(Clone, Debug)]
pub struct Zipf {
    /// `cumulative[r]`: the probability of a rank up to `r`, times the sum of all weights.
    cumulative: Vec<f64>,
}

impl Zipf {
    /// `ranks` ranks; an exponent of 0 makes all equally likely.
    ///
    /// # Panics
    /// If there are no ranks.
    pub fn new(ranks: usize, exponent: f64) -> Self {
        assert!(ranks > 0, "a distribution over nothing");
        let weights = (1..=ranks).map(|rank| (rank as f64).powf(-exponent));
        let sums = weights.scan(0.0, |sum, weight| {
            *sum += weight;
            Some(*sum)
        });
        Self { cumulative: sums.collect() }
    }

    /// One rank.
    pub fn draw(&self, random: &mut Random) -> usize {
        let last = self.cumulative.len() - 1;
        let point = (random.next() >> 11) as f64 / (1_u64 << 53) as f64 * self.cumulative[last];
        self.cumulative.partition_point(|sum| *sum <= point).min(last)
    }
}

#[cfg(test)]
mod tests {
    use super::Zipf;
    use crate::random::Random;

    fn shares(ranks: usize, exponent: f64) -> Vec<f64> {
        let (zipf, mut random) = (Zipf::new(ranks, exponent), Random::new(1));
        let mut counts = vec![0; ranks];
        (0..200_000).for_each(|_| counts[zipf.draw(&mut random)] += 1);
        counts.into_iter().map(|count| f64::from(count) / 200_000.0).collect()
    }

    #[test]
    fn the_second_rank_is_half_as_likely_as_the_first() {
        let shares = shares(100, 1.0);
        let harmonic: f64 = (1..=100).map(|rank| 1.0 / f64::from(rank)).sum();
        assert!((shares[0] - 1.0 / harmonic).abs() < 0.005, "{shares:?}");
        assert!((shares[1] - 0.5 / harmonic).abs() < 0.005, "{shares:?}");
        assert!(shares[99] > 0.0);
    }

    #[test]
    fn without_exponent_all_are_equal() {
        assert!(shares(4, 0.0).iter().all(|share| (share - 0.25).abs() < 0.01));
    }
}
