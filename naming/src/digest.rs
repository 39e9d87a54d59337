//! What immutable content is checked against.

use std::fmt;
use std::str::FromStr;

/// The BLAKE3 digest of some bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; Digest::LEN]);

/// The text is no digest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no digest: 64 hexadecimal digits")]
pub struct NoDigest(String);

impl Digest {
    /// Bytes of a digest.
    pub const LEN: usize = 32;

    /// The digest of `content`.
    pub fn of(content: &[u8]) -> Self {
        Self(*blake3::hash(content).as_bytes())
    }

    /// The digest with these bytes.
    pub fn from_bytes(bytes: [u8; Digest::LEN]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8; Digest::LEN] {
        &self.0
    }

    /// Whether `content` is what this is the digest of.
    pub fn matches(&self, content: &[u8]) -> bool {
        *self == Self::of(content)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&blake3::Hash::from_bytes(self.0).to_hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = NoDigest;

    fn from_str(text: &str) -> Result<Self, NoDigest> {
        let hash = blake3::Hash::from_hex(text).map_err(|_| NoDigest(text.to_owned()))?;
        Ok(Self(*hash.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blake3_of_nothing() {
        let text = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";
        assert_eq!(Digest::of(b"").to_string(), text);
        assert_eq!(text.parse(), Ok(Digest::of(b"")));
        assert!(Digest::of(b"a").matches(b"a") && !Digest::of(b"a").matches(b"b"));
        assert_eq!(
            "af13".parse::<Digest>().unwrap_err().to_string(),
            "`af13` is no digest: 64 hexadecimal digits"
        );
    }
}
