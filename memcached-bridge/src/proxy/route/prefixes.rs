//! The longest prefix of a key, in one binary search.
//!
//! In the order of bytes, the longest prefix of a key is the last entry that is not greater than the key, or a prefix of
//! that entry: whatever stands between a prefix and the key begins with the prefix, too.

/// Prefixes, by which a key finds the longest it begins with.
#[derive(Debug, Default)]
pub(super) struct Prefixes {
    /// In the order of their bytes.
    sorted: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    prefix: Vec<u8>,
    /// Its place in the order in which they were given.
    index: usize,
    /// The longest other entry that it begins with.
    parent: Option<usize>,
}

impl Prefixes {
    pub(super) fn new(prefixes: Vec<Vec<u8>>) -> Self {
        let mut sorted: Vec<Entry> = prefixes
            .into_iter()
            .enumerate()
            .map(|(index, prefix)| Entry { prefix, index, parent: None })
            .collect();
        sorted.sort_by(|one, other| one.prefix.cmp(&other.prefix));
        for at in 1..sorted.len() {
            let mut parent = Some(at - 1);
            while let Some(above) =
                parent.filter(|above| !sorted[at].prefix.starts_with(&sorted[*above].prefix))
            {
                parent = sorted[above].parent;
            }
            sorted[at].parent = parent;
        }
        Self { sorted }
    }

    /// The place of the longest prefix that `key` begins with, in the order in which they were given.
    pub(super) fn longest_of(&self, key: &[u8]) -> Option<usize> {
        let mut at = self.sorted.partition_point(|entry| entry.prefix.as_slice() <= key).checked_sub(1)?;
        while !key.starts_with(&self.sorted[at].prefix) {
            at = self.sorted[at].parent?;
        }
        Some(self.sorted[at].index)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_longest_counts() {
        let prefixes = ["user:", "u", "user:vip:", "video:", "user:vip:x"];
        let table = Prefixes::new(prefixes.map(|prefix| prefix.as_bytes().to_vec()).to_vec());
        for (key, expected) in [
            ("user:1", Some("user:")),
            ("user:vip:1", Some("user:vip:")),
            ("user:vip:zz", Some("user:vip:")),
            ("user:vip:", Some("user:vip:")),
            ("user", Some("u")),
            ("uv", Some("u")),
            ("t", None),
            ("v", None),
            ("videotape", None),
            ("video:1", Some("video:")),
        ] {
            let found = table.longest_of(key.as_bytes()).map(|index| prefixes[index]);
            assert_eq!(found, expected, "{key}");
        }
        assert_eq!(Prefixes::default().longest_of(b"a"), None);
    }

    proptest! {
        #[test]
        fn it_is_what_a_look_at_each_finds(
            prefixes in proptest::collection::btree_set("[ab]{1,4}", 0..12),
            key in "[abc]{1,6}",
        ) {
            let prefixes: Vec<Vec<u8>> = prefixes.into_iter().rev().map(String::into_bytes).collect();
            let begins = |index: &usize| key.as_bytes().starts_with(&prefixes[*index]);
            let longest = (0..prefixes.len()).filter(begins).max_by_key(|index| prefixes[*index].len());
            prop_assert_eq!(Prefixes::new(prefixes.clone()).longest_of(key.as_bytes()), longest);
        }
    }
}
