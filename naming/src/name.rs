//! Names: owned and borrowed.
//!
//! A name is kept as the bytes of its components one after the other, as they stand inside an NDN Name element.
//! That form is unique (numbers have one valid form), and so cheap to work with:
//!
//! - *Canonical order is the order of the bytes.* NDN compares component by component, each by type, then length,
//!   then value; a prefix comes first. Types and lengths in their shortest form compare as their bytes do, so that
//!   one `memcmp` decides.
//! - *A name is a prefix of another exactly if its bytes are.* Both are read from the front in one way only, so a
//!   name that begins with the bytes of another has its component boundaries, too.
//! - *Maps take either form.* [`Name`] borrows as `[u8]`, so a `HashMap<Name, _>` or `BTreeMap<Name, _>` is asked with
//!   [`NameRef::as_bytes`], without allocation; the prefixes of a name are slices of it.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

use crate::component::{Component, ComponentType};
use crate::{NameError, tlv, uri};

/// Bytes that a name takes at most, without the type and length of the Name element. A memcached key has 250.
pub const MAX_LEN: usize = 4096;
/// Components that a name has at most: longest-prefix matching looks at each prefix.
pub const MAX_COMPONENTS: usize = 64;

/// A name of its own.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Box<[u8]>);

/// A name that borrows its bytes.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NameRef<'a>(&'a [u8]);

impl Name {
    /// The name without components, prefix of all others: `/`.
    pub fn root() -> Self {
        Self::default()
    }

    /// The name made of `components`.
    ///
    /// # Errors
    /// If there are more than [`MAX_COMPONENTS`], or more than [`MAX_LEN`] bytes of them.
    pub fn of<'c>(components: impl IntoIterator<Item = Component<'c>>) -> Result<Self, NameError> {
        let (mut bytes, mut count) = (Vec::new(), 0);
        for component in components {
            count += 1;
            check_limits(bytes.len() + component.encoded_len(), count)?;
            component.encode(&mut bytes);
        }
        Ok(Self(bytes.into()))
    }

    /// The name inside the NDN Name element that `bytes` begin with, and the bytes behind it.
    ///
    /// # Errors
    /// If there is no valid name, or it is larger than names may be here.
    pub fn from_tlv(bytes: &[u8]) -> Result<(NameRef<'_>, &[u8]), NameError> {
        let ((kind, value), rest) = tlv::read_element(bytes, 0)?;
        match kind {
            tlv::NAME => Ok((NameRef::from_bytes(value)?, rest)),
            _ => Err(NameError::NotAName(kind)),
        }
    }

    /// The same name, borrowed.
    #[inline]
    pub fn as_name(&self) -> NameRef<'_> {
        NameRef(&self.0)
    }

    /// Its components as NDN encodes them, one after the other.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl<'a> NameRef<'a> {
    /// The name whose components are encoded in the whole of `bytes`. This is where bytes from outside become a name.
    ///
    /// # Errors
    /// If they are no components, or larger than names may be here.
    pub fn from_bytes(bytes: &'a [u8]) -> Result<Self, NameError> {
        let (mut rest, mut count) = (bytes, 0);
        while !rest.is_empty() {
            count += 1;
            check_limits(bytes.len(), count)?;
            (_, rest) = Component::read(rest, bytes.len() - rest.len())?;
        }
        Ok(Self(bytes))
    }

    /// Its components as NDN encodes them, one after the other.
    #[inline]
    pub fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// The components, first to last.
    #[inline]
    pub fn components(self) -> Components<'a> {
        Components { rest: self.0 }
    }

    /// How many components there are.
    pub fn len(self) -> usize {
        self.components().count()
    }

    /// Whether this is the [root](Name::root).
    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// Whether `prefix` is this name or begins it, component by component.
    #[inline]
    pub fn starts_with(self, prefix: NameRef<'_>) -> bool {
        self.0.starts_with(prefix.0)
    }

    /// What follows `prefix`, if this name begins with it.
    pub fn strip_prefix(self, prefix: NameRef<'_>) -> Option<NameRef<'a>> {
        self.0.strip_prefix(prefix.0).map(NameRef)
    }

    /// The first `count` components; the whole name if it has fewer.
    pub fn prefix(self, count: usize) -> NameRef<'a> {
        let mut components = self.components();
        components.by_ref().take(count).for_each(drop);
        NameRef(&self.0[..self.0.len() - components.rest.len()])
    }

    /// All prefixes, the name itself first and the root last: the order of longest-prefix matching.
    pub fn prefixes(self) -> impl Iterator<Item = NameRef<'a>> {
        let mut ends = [0_u16; MAX_COMPONENTS + 1];
        let mut components = self.components();
        let mut count = 0;
        while components.next().is_some() {
            count += 1;
            ends[count] = (self.0.len() - components.rest.len()) as u16;
        }
        (0..=count).rev().map(move |index| NameRef(&self.0[..usize::from(ends[index])]))
    }

    /// All but the last component; `None` of the root.
    pub fn parent(self) -> Option<NameRef<'a>> {
        self.prefixes().nth(1)
    }

    /// This name with one more component.
    ///
    /// # Errors
    /// If it becomes too large.
    pub fn child(self, component: Component<'_>) -> Result<Name, NameError> {
        let len = self.0.len() + component.encoded_len();
        check_limits(len, self.len() + 1)?;
        let mut bytes = Vec::with_capacity(len);
        bytes.extend(self.0);
        component.encode(&mut bytes);
        Ok(Name(bytes.into()))
    }

    /// This name with one more component, which holds a number.
    ///
    /// # Errors
    /// If it becomes too large.
    pub fn numbered(self, kind: ComponentType, number: u64) -> Result<Name, NameError> {
        self.child(Component::typed(kind, &tlv::integer(number))?)
    }

    /// Appends the NDN Name element.
    pub fn write_tlv(self, out: &mut Vec<u8>) {
        tlv::write_number(out, tlv::NAME);
        tlv::write_number(out, self.0.len() as u64);
        out.extend(self.0);
    }

    /// A copy of its own.
    pub fn to_name(self) -> Name {
        Name(self.0.into())
    }
}

// The positions in `NameRef::prefixes`.
const _: () = assert!(MAX_LEN <= u16::MAX as usize);

fn check_limits(len: usize, count: usize) -> Result<(), NameError> {
    match () {
        () if len > MAX_LEN => Err(NameError::TooLong),
        () if count > MAX_COMPONENTS => Err(NameError::TooManyComponents),
        () => Ok(()),
    }
}

/// The components of a name.
#[derive(Clone, Debug)]
pub struct Components<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Components<'a> {
    type Item = Component<'a>;

    #[inline]
    fn next(&mut self) -> Option<Component<'a>> {
        // The bytes of a name are valid, so this ends where they do.
        let (component, rest) = Component::read(self.rest, 0).ok()?;
        self.rest = rest;
        Some(component)
    }
}

impl Borrow<[u8]> for Name {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl<'a> From<&'a Name> for NameRef<'a> {
    fn from(name: &'a Name) -> Self {
        name.as_name()
    }
}

impl From<NameRef<'_>> for Name {
    fn from(name: NameRef<'_>) -> Self {
        name.to_name()
    }
}

impl FromStr for Name {
    type Err = NameError;

    /// Reads the URI form: `/mc/web/user:42`, with or without `ndn:` before it.
    fn from_str(text: &str) -> Result<Self, NameError> {
        uri::parse(text)
    }
}

impl fmt::Display for NameRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        uri::write(f, *self)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_name().fmt(f)
    }
}

impl fmt::Debug for NameRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests;
