//! One part of a name.

use std::fmt;

use crate::NameError;
use crate::tlv;

/// Bytes of a digest component.
pub(crate) const DIGEST_LEN: usize = 32;

/// What kind of component: a TLV type between 1 and 65535 (NDN Packet Format 0.3 and the NDN Name Component Types
/// registry).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ComponentType(u16);

impl ComponentType {
    /// The SHA-256 digest of a whole Data packet: 32 bytes, never written by its producer.
    pub const IMPLICIT_DIGEST: ComponentType = ComponentType(1);
    /// The SHA-256 digest of an Interest's parameters: 32 bytes.
    pub const PARAMETERS_DIGEST: ComponentType = ComponentType(2);
    /// Any bytes: the ordinary component.
    pub const GENERIC: ComponentType = ComponentType(8);
    /// A word with a meaning of its own.
    pub const KEYWORD: ComponentType = ComponentType(32);
    /// A segment's number.
    pub const SEGMENT: ComponentType = ComponentType(50);
    /// Where a segment begins.
    pub const BYTE_OFFSET: ComponentType = ComponentType(52);
    /// A version.
    pub const VERSION: ComponentType = ComponentType(54);
    /// Microseconds since 1970.
    pub const TIMESTAMP: ComponentType = ComponentType(56);
    /// A number in a sequence.
    pub const SEQUENCE: ComponentType = ComponentType(58);

    /// The type of this number.
    ///
    /// # Errors
    /// If it is not between 1 and 65535.
    pub fn new(number: u64) -> Result<Self, NameError> {
        match u16::try_from(number) {
            Ok(number) if number > 0 => Ok(Self(number)),
            _ => Err(NameError::BadType(number)),
        }
    }

    /// Its number.
    pub fn number(self) -> u16 {
        self.0
    }

    pub(crate) fn is_digest(self) -> bool {
        matches!(self, Self::IMPLICIT_DIGEST | Self::PARAMETERS_DIGEST)
    }
}

impl fmt::Display for ComponentType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A component: its type and its bytes. Ordered as NDN orders them: by type, then by length, then by bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Component<'a> {
    kind: ComponentType,
    value: &'a [u8],
}

impl<'a> Component<'a> {
    /// A component of any bytes.
    pub fn generic(value: &'a [u8]) -> Self {
        Self { kind: ComponentType::GENERIC, value }
    }

    /// A component of a given type.
    ///
    /// # Errors
    /// If a digest does not have 32 bytes.
    pub fn typed(kind: ComponentType, value: &'a [u8]) -> Result<Self, NameError> {
        if kind.is_digest() && value.len() != DIGEST_LEN {
            return Err(NameError::BadDigestLength { kind, len: value.len() });
        }
        Ok(Self { kind, value })
    }

    /// Its type.
    pub fn kind(self) -> ComponentType {
        self.kind
    }

    /// Its bytes.
    pub fn value(self) -> &'a [u8] {
        self.value
    }

    /// The number it holds, if it has this type and holds one.
    pub fn number(self, kind: ComponentType) -> Option<u64> {
        (self.kind == kind).then(|| tlv::read_integer(self.value)).flatten()
    }

    /// Bytes it takes in a name.
    pub(crate) fn encoded_len(self) -> usize {
        tlv::number_len(self.kind.0.into()) + tlv::number_len(self.value.len() as u64) + self.value.len()
    }

    pub(crate) fn encode(self, out: &mut Vec<u8>) {
        tlv::write_number(out, self.kind.0.into());
        tlv::write_number(out, self.value.len() as u64);
        out.extend(self.value);
    }

    /// The component at the front of `bytes`, which begin `at` bytes into the name, and the bytes behind it.
    pub(crate) fn read(bytes: &'a [u8], at: usize) -> tlv::Read<'a, Self> {
        let ((kind, value), rest) = tlv::read_element(bytes, at)?;
        Ok((Self::typed(ComponentType::new(kind)?, value)?, rest))
    }
}

impl Ord for Component<'_> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let key = |component: &Self| (component.kind, component.value.len());
        key(self).cmp(&key(other)).then_with(|| self.value.cmp(other.value))
    }
}

impl PartialOrd for Component<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
