//! The names a shard answers for.

use std::fmt;

use naming::{Name, NameRef};

/// The names from one on and before another, in canonical order. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameRange {
    from: Name,
    until: Option<Name>,
}

impl NameRange {
    /// All names.
    pub fn all() -> Self {
        Self { from: Name::root(), until: None }
    }

    /// The names from `from` on and before `until`; to the last one if that is `None`. `None` if there are no
    /// such names.
    pub fn new(from: Name, until: Option<Name>) -> Option<Self> {
        let empty = until.as_ref().is_some_and(|until| *until <= from);
        (!empty).then_some(Self { from, until })
    }

    /// The first name.
    pub fn from(&self) -> NameRef<'_> {
        self.from.as_name()
    }

    /// The first name behind it, if there is one.
    pub fn until(&self) -> Option<NameRef<'_>> {
        self.until.as_ref().map(Name::as_name)
    }

    /// Whether `name` is in it.
    pub fn contains(&self, name: NameRef<'_>) -> bool {
        self.from() <= name && self.until().is_none_or(|until| name < until)
    }

    /// The names before `at`, and those from it on, if there are names in both.
    pub(super) fn split(&self, at: NameRef<'_>) -> Option<(Self, Self)> {
        let left = Self::new(self.from.clone(), Some(at.to_name()))?;
        let right = Self::new(at.to_name(), self.until.clone())?;
        Some((left, right))
    }
}

impl fmt::Display for NameRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.until {
            None => write!(f, "[{}, end)", self.from),
            Some(until) => write!(f, "[{}, {until})", self.from),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    #[test]
    fn from_is_in_and_until_is_not() {
        let range = NameRange::new(name("/b"), Some(name("/c"))).unwrap();
        for (text, inside) in
            [("/a/z", false), ("/b", true), ("/b/x/y", true), ("/c", false), ("/c/a", false)]
        {
            assert_eq!(range.contains(name(text).as_name()), inside, "{text}");
        }
        assert!(NameRange::all().contains(NameRef::default()));
        assert_eq!(NameRange::new(name("/b"), Some(name("/b"))), None);
        assert_eq!(range.to_string(), "[/b, /c)");
    }

    #[test]
    fn both_halves_have_names() {
        let range = NameRange::new(name("/b"), Some(name("/d"))).unwrap();
        let (left, right) = range.split(name("/c").as_name()).unwrap();
        assert_eq!((left.to_string(), right.to_string()), ("[/b, /c)".to_owned(), "[/c, /d)".to_owned()));
        for outside in ["/a", "/b", "/d", "/e"] {
            assert_eq!(range.split(name(outside).as_name()), None, "{outside}");
        }
    }
}
