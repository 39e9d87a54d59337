//! Rendezvous hashing (highest random weight): Thaler and Ravishankar, "Using Name-Based Mappings to Increase Hit
//! Rates" (1998). With weights as in Schindelhauer and Schomaker (2005): each member draws an exponentially
//! distributed number at the rate of its weight, and the smallest wins.

use super::MemberIndex;

/// The members and what their draws depend on.
#[derive(Clone, Debug)]
pub(super) struct Rendezvous {
    members: Box<[Contender]>,
    equal_weights: bool,
}

#[derive(Clone, Debug)]
struct Contender {
    index: MemberIndex,
    seed: u64,
    rate: f64,
}

impl Rendezvous {
    /// Members as `(index, name, weight)`; at least one.
    pub(super) fn new<'a>(members: impl Iterator<Item = (MemberIndex, &'a str, u32)>) -> Self {
        let contender = |(index, name, weight): (_, &str, _)| Contender {
            index,
            seed: name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| mix(hash ^ u64::from(byte))),
            rate: f64::from(weight),
        };
        let members: Box<[Contender]> = members.map(contender).collect();
        let equal_weights = members.iter().all(|member| member.rate == members[0].rate);
        Self { members, equal_weights }
    }

    /// The winner for `hash`. One draw per member.
    pub(super) fn locate(&self, hash: u32) -> MemberIndex {
        let winner = if self.equal_weights {
            self.members.iter().max_by_key(|member| member.draw(hash))
        } else {
            self.members.iter().min_by(|a, b| a.arrival(hash).total_cmp(&b.arrival(hash)))
        };
        winner.expect("a ring has a member").index
    }
}

impl Contender {
    fn draw(&self, hash: u32) -> u64 {
        mix(self.seed ^ u64::from(hash))
    }

    fn arrival(&self, hash: u32) -> f64 {
        minus_ln(self.draw(hash)) / self.rate
    }
}

/// splitmix64's finalizer.
fn mix(mut word: u64) -> u64 {
    word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ word >> 31
}

/// `-ln(u)` for the uniform `u` in (0, 1] that `draw` stands for. Made of additions, multiplications and divisions
/// only, so that nodes with different C libraries agree to the last bit.
fn minus_ln(draw: u64) -> f64 {
    let draw = draw | 1;
    let exponent = draw.leading_zeros();
    // The mantissa in [1, 2), and ln of it as 2 artanh((m - 1) / (m + 1)).
    let mantissa = ((draw << exponent) >> 11) as f64 / (1u64 << 52) as f64;
    let s = (mantissa - 1.0) / (mantissa + 1.0);
    let square = s * s;
    let series = (0..12).rev().fold(0.0, |sum, term| sum * square + 1.0 / f64::from(2 * term + 1));
    f64::from(exponent + 1) * std::f64::consts::LN_2 - 2.0 * s * series
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_logarithm_is_one() {
        for draw in [1, 2, 3, 12_345, u64::MAX / 3, u64::MAX / 2, u64::MAX / 2 + 1, u64::MAX - 1, u64::MAX] {
            let expected = -((draw | 1) as f64 / 2f64.powi(64)).ln();
            assert!((minus_ln(draw) - expected).abs() < 1e-9, "{draw}: {} {expected}", minus_ln(draw));
        }
    }
}
