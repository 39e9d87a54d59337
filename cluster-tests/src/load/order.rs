//! The order in which keys are asked for.

use super::{Keys, Zipf};
use crate::random::Random;

/// An order of requests, drawn beforehand so that drawing costs nothing while measuring. It repeats.
#[derive(Clone, Debug)]
pub struct Order {
    keys: Keys,
    keys_per_get: usize,
    requests: Vec<Request>,
    indices: Vec<u32>,
}

/// A `get`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) text: String,
    /// The [`fingerprint`]s of its keys, added up: what those of a right reply add up to, in any order.
    pub(super) fingerprint: u64,
}

/// Keys asked for before the order repeats.
const LENGTH: usize = 1 << 16;

impl Order {
    /// One key a request, drawn by Zipf's law with that exponent; key 0 is the most popular.
    ///
    /// # Panics
    /// If there are no keys.
    pub fn zipf(keys: Keys, exponent: f64, seed: u64) -> Self {
        let (zipf, mut random) = (Zipf::new(keys.count, exponent), Random::new(seed));
        let indices = (0..LENGTH).map(|_| zipf.draw(&mut random) as u32).collect();
        let requests = (0..keys.count).map(|index| Request::new(&keys, &[index])).collect();
        Self { keys, keys_per_get: 1, requests, indices }
    }

    /// As [`zipf`](Order::zipf), with that many different keys a request.
    ///
    /// # Panics
    /// If there are fewer keys.
    pub fn zipf_of_several(keys: Keys, keys_per_get: usize, exponent: f64, seed: u64) -> Self {
        assert!(keys_per_get <= keys.count, "{keys_per_get} different keys of {}", keys.count);
        let (zipf, mut random) = (Zipf::new(keys.count, exponent), Random::new(seed));
        let mut draw = || {
            let mut drawn = Vec::with_capacity(keys_per_get);
            while drawn.len() < keys_per_get {
                let index = zipf.draw(&mut random);
                if !drawn.contains(&index) {
                    drawn.push(index);
                }
            }
            Request::new(&keys, &drawn)
        };
        let requests: Vec<_> = (0..LENGTH.div_ceil(keys_per_get.max(1))).map(|_| draw()).collect();
        let indices = (0..requests.len() as u32).collect();
        Self { keys, keys_per_get, requests, indices }
    }

    /// The keys it asks for.
    pub fn keys(&self) -> Keys {
        self.keys
    }

    /// How many keys each request asks for.
    pub fn keys_per_get(&self) -> usize {
        self.keys_per_get
    }

    /// Request `number`.
    pub(super) fn request(&self, number: u64) -> &Request {
        let at = (number % self.indices.len() as u64) as usize;
        &self.requests[self.indices[at] as usize]
    }
}

impl Request {
    fn new(keys: &Keys, indices: &[usize]) -> Self {
        let names: Vec<String> = indices.iter().map(|index| keys.key(*index)).collect();
        let fingerprints = indices.iter().map(|index| fingerprint(*index as u64));
        Self {
            text: format!("get {}\r\n", names.join(" ")),
            fingerprint: fingerprints.fold(0, u64::wrapping_add),
        }
    }
}

/// A number by which key `index` is told from others, also in sums.
pub(super) fn fingerprint(index: u64) -> u64 {
    Random::new(index).next()
}

#[cfg(test)]
mod tests {
    use super::{Keys, Order};

    const KEYS: Keys = Keys { count: 100, value_bytes: 32 };

    #[test]
    fn the_order_repeats() {
        let order = Order::zipf(KEYS, 0.99, 7);
        assert_eq!(order.request(5), order.request(5 + (1 << 16)));
        assert!(order.request(3).text.starts_with("get v00032-"));
    }

    #[test]
    fn keys_of_one_request_differ() {
        for keys_per_get in [1, 10, 100] {
            let order = Order::zipf_of_several(KEYS, keys_per_get, 0.99, 7);
            for number in 0..100 {
                let mut names: Vec<&str> = order.request(number).text.trim_end().split(' ').skip(1).collect();
                names.sort_unstable();
                names.dedup();
                assert_eq!(names.len(), keys_per_get);
            }
        }
    }

    #[test]
    fn the_fingerprint_is_that_of_the_keys_in_any_order() {
        let order = Order::zipf_of_several(KEYS, 100, 0.99, 7);
        let all = (0..100).map(super::fingerprint).fold(0, u64::wrapping_add);
        assert!((0..10).all(|number| order.request(number).fingerprint == all));
    }
}
