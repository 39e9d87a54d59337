//! Nodes, and where they are.

use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::str::FromStr;

/// One node of the fabric, for as long as its data directory lives. Written as 16 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(NonZeroU64);

/// The text is no node id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no node id: up to 16 hexadecimal digits, not all of them 0")]
pub struct NoNodeId(String);

impl NodeId {
    /// Who is alone.
    pub const FIRST: NodeId = NodeId(NonZeroU64::MIN);

    /// The node with this number; `None` for 0, which is nobody's.
    pub fn new(number: u64) -> Option<Self> {
        NonZeroU64::new(number).map(Self)
    }

    /// Its number.
    pub fn get(self) -> u64 {
        self.0.get()
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for NodeId {
    type Err = NoNodeId;

    fn from_str(text: &str) -> Result<Self, NoNodeId> {
        let digits = text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = digits.then(|| u64::from_str_radix(text, 16).ok()).flatten();
        number.and_then(Self::new).ok_or_else(|| NoNodeId(text.to_owned()))
    }
}

/// What fails together: nodes of one rack share a switch and a power feed, and are near one another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rack(String);

/// Bytes of a rack's name at most.
pub const MAX_RACK_LEN: usize = 64;

/// The text is no rack.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no rack: 1 to {MAX_RACK_LEN} letters, digits, `-`, `_`, `.` or `/`")]
pub struct NoRack(String);

impl Default for Rack {
    /// `default`: of nodes of which nobody said more.
    fn default() -> Self {
        Self("default".to_owned())
    }
}

impl Rack {
    /// Its name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Rack {
    type Err = NoRack;

    fn from_str(text: &str) -> Result<Self, NoRack> {
        let fits = (1..=MAX_RACK_LEN).contains(&text.len());
        // `/` as in Hadoop's `/row1/rack2`.
        let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte));
        if fits && plain { Ok(Self(text.to_owned())) } else { Err(NoRack(text.to_owned())) }
    }
}

impl fmt::Display for Rack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where a copy is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// The node that holds it.
    pub node: NodeId,
    /// The node's rack.
    pub rack: Rack,
    /// Where other nodes reach it, the best address first.
    pub addresses: Vec<SocketAddr>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_ids_read_back() {
        let node = NodeId::new(0xbeef).unwrap();
        assert_eq!(node.to_string(), "000000000000beef");
        assert_eq!("000000000000beef".parse(), Ok(node));
        assert_eq!("beef".parse(), Ok(node));
        for text in ["", "0", "+1", "x", "12345678901234567"] {
            assert_eq!(text.parse::<NodeId>(), Err(NoNodeId(text.to_owned())));
        }
        assert_eq!(NodeId::new(0), None);
    }

    #[test]
    fn racks_are_plain() {
        assert_eq!("/row1/rack-2".parse::<Rack>().unwrap().as_str(), "/row1/rack-2");
        for text in ["", "a b", "ä", &"r".repeat(65)] {
            assert!(text.parse::<Rack>().is_err(), "{text}");
        }
    }
}
