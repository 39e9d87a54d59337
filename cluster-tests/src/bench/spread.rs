//! Repeated measurements of one thing.

use serde::Serialize;

/// The middle and the extremes of some rounds.
#[derive(Clone, Debug, Serialize)]
pub struct Spread {
    /// The median.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
    /// All, in the order of the rounds.
    pub rounds: Vec<f64>,
}

impl Spread {
    /// Of at least one round; `None` of none.
    pub fn of(rounds: impl IntoIterator<Item = f64>) -> Option<Self> {
        let rounds: Vec<f64> = rounds.into_iter().collect();
        let mut sorted = rounds.clone();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let upper = sorted.len() / 2;
        let lower = (sorted.len() - 1) / 2;
        Some(Self { median: f64::midpoint(sorted[lower], sorted[upper]), min, max, rounds })
    }

    /// Of the quotients of rounds taken together.
    pub fn of_ratios(above: &[f64], below: &[f64]) -> Option<Self> {
        Self::of(
            above.iter().zip(below).filter(|(_, below)| **below > 0.0).map(|(above, below)| above / below),
        )
    }

    /// `median (min..max)` with so many digits after the point.
    pub fn show(&self, digits: usize) -> String {
        format!("{:.*} ({:.*}..{:.*})", digits, self.median, digits, self.min, digits, self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::Spread;

    #[test]
    fn the_median_of_an_even_number_is_between_the_middle_two() {
        let spread = Spread::of([4.0, 1.0, 3.0, 2.0]).unwrap();
        assert_eq!((spread.median, spread.min, spread.max), (2.5, 1.0, 4.0));
        assert_eq!(Spread::of([5.0]).unwrap().median, 5.0);
        assert!(Spread::of([]).is_none());
    }

    #[test]
    fn ratios_are_taken_round_by_round() {
        let spread = Spread::of_ratios(&[1.0, 4.0], &[2.0, 4.0]).unwrap();
        assert_eq!(spread.rounds, [0.5, 1.0]);
    }
}
