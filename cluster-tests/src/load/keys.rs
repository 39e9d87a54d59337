//! Which keys there are, and what they hold.

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

    /// The value of key `index`: the key, so that values can be told apart, and letters; or as much of that as fits.
    pub fn value(&self, index: usize) -> Vec<u8> {
        let letters = (0..self.value_bytes).map(|at| b'a' + (at % 26) as u8);
        self.key(index).bytes().chain(letters).take(self.value_bytes).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Keys;

    #[test]
    fn keys_and_values_have_their_length() {
        let keys = Keys { count: 10, value_bytes: 11 * 1024 };
        assert_eq!(keys.key(9).len(), Keys::KEY_BYTES);
        assert_eq!(keys.value(9).len(), 11 * 1024);
        assert!(keys.value(9).starts_with(b"v11264-000000009abc"));
        assert_eq!(Keys { count: 1, value_bytes: 2 }.value(0), b"v0");
    }
}
