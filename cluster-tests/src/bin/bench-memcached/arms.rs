//! What is compared.

use std::fmt;

use clap::ValueEnum;
use serde::{Serialize, Serializer};

/// One way from the client to the servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Arm {
    /// Straight to the servers, half of the connections to each.
    Direct,
    /// To a server in the middle box's place that does nothing but answer from a table: what sockets cost.
    Bare,
    /// Through twemproxy.
    Twemproxy,
    /// Through SmartSwitch without its cache.
    Miss,
    /// Through SmartSwitch with its cache; every key is hot.
    Hit,
}

impl Arm {
    /// All, in the order in which they are measured.
    pub(crate) const ALL: [Arm; 5] = [Arm::Direct, Arm::Bare, Arm::Twemproxy, Arm::Miss, Arm::Hit];
}

impl fmt::Display for Arm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Arm::Direct => "direct",
            Arm::Bare => "bare sockets",
            Arm::Twemproxy => "twemproxy",
            Arm::Miss => "SmartSwitch, miss",
            Arm::Hit => "SmartSwitch, hit",
        })
    }
}

impl Serialize for Arm {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
