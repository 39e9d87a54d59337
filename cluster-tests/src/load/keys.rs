//! Which keys there are, what they hold, and the order in which they are asked for.

use super::zipf::Zipf;
use crate::random::Random;

/// A set of keys with values of one size. Keys of sets with different value sizes differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keys {
    /// How many.
    pub count: usize,
    /// Bytes of each value.
    pub value_bytes: usize,
}

impl Keys {
    /// Bytes of every key.
    pub const KEY_BYTES: usize = 16;

    /// Key `index`: 16 bytes.
    pub fn key(&self, index: usize) -> String {
        format!("v{:05}-{index:09}", self.value_bytes)
    }

    /// The value of every key.
    pub fn value(&self) -> Vec<u8> {
        (0..self.value_bytes).map(|at| b'a' + (at % 26) as u8).collect()
    }

    /// Bytes of the whole reply to a `get` of one key that is there.
    pub fn reply_bytes(&self) -> usize {
        let head = format!("VALUE {} 0 {}\r\n", self.key(0), self.value_bytes);
        head.len() + self.value_bytes + "\r\nEND\r\n".len()
    }
}

/// An order of requests, drawn beforehand so that drawing costs nothing while measuring. It repeats.
#[derive(Clone, Debug)]
pub struct Order {
    keys: Keys,
    requests: Vec<String>,
    indices: Vec<u32>,
}

/// Requests before the order repeats.
const LENGTH: usize = 1 << 16;

impl Order {
    /// Keys by Zipf's law with that exponent, key 0 the most popular.
    pub fn zipf(keys: Keys, exponent: f64, seed: u64) -> Self {
        let (zipf, mut random) = (Zipf::new(keys.count, exponent), Random::new(seed));
        let indices = (0..LENGTH).map(|_| zipf.draw(&mut random) as u32).collect();
        let requests = (0..keys.count).map(|index| format!("get {}\r\n", keys.key(index))).collect();
        Self { keys, requests, indices }
    }

    /// The keys it asks for.
    pub fn keys(&self) -> Keys {
        self.keys
    }

    /// The index of the key of request `number`, and the request.
    pub(super) fn request(&self, number: u64) -> (usize, &str) {
        let index = self.indices[number as usize % LENGTH] as usize;
        (index, &self.requests[index])
    }
}

#[cfg(test)]
mod tests {
    use super::{Keys, Order};

    #[test]
    fn keys_have_their_length() {
        let keys = Keys { count: 10, value_bytes: 11 * 1024 };
        assert_eq!(keys.key(9).len(), Keys::KEY_BYTES);
        assert_eq!(
            Keys { count: 1, value_bytes: 2 }.reply_bytes(),
            "VALUE v00002-000000000 0 2\r\nab\r\nEND\r\n".len()
        );
    }

    #[test]
    fn the_order_repeats() {
        let order = Order::zipf(Keys { count: 100, value_bytes: 32 }, 0.99, 7);
        assert_eq!(order.request(5), order.request(5 + (1 << 16)));
        assert!(order.request(3).1.starts_with("get v00032-"));
    }
}
