//! What the packet path is made to do.

use clap::{Args, ValueEnum};
use std::fmt;

/// Which path of the function requests take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// Gets, with the cache off: all go on to servers.
    Redirect,
    /// Gets, with the cache on and no key hot enough: all are counted and go on to servers.
    Cold,
    /// Gets of hot keys: all are answered in place, and the entries refreshed.
    Hit,
    /// Datagrams to a station that is no server: the function lets them pass.
    Pass,
    /// The same without the function: what worker and learning switch cost alone.
    Bare,
}

impl Mode {
    /// The threshold above which a key is hot; `None` switches the cache off.
    pub(super) fn hot_threshold(self) -> Option<u16> {
        match self {
            Mode::Redirect | Mode::Bare => None,
            // A key of the capacity traffic is asked for some ten thousand times a second.
            Mode::Cold => Some(u16::MAX),
            Mode::Hit | Mode::Pass => Some(8),
        }
    }

    /// Whether the traffic is requests.
    pub(crate) fn is_get(self) -> bool {
        matches!(self, Mode::Redirect | Mode::Cold | Mode::Hit)
    }
}

/// What is measured without a rack.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Scenario {
    /// Which path packets take.
    #[arg(long)]
    pub(crate) mode: Mode,
    /// Servers of the pool.
    #[arg(long, default_value_t = 4)]
    pub(crate) servers: u16,
    /// Bytes of each value.
    #[arg(long, default_value_t = 32)]
    pub(crate) value_bytes: usize,
}

impl Scenario {
    /// With four servers and values of 32 bytes.
    pub(crate) fn of(mode: Mode) -> Self {
        Self { mode, servers: 4, value_bytes: 32 }
    }

    /// The arguments that make another process of this program measure the same.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let mode = self.mode.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
        let (servers, value_bytes) = (self.servers.to_string(), self.value_bytes.to_string());
        vec!["--mode".into(), mode, "--servers".into(), servers, "--value-bytes".into(), value_bytes]
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.mode {
            Mode::Redirect => write!(f, "redirect, cache off, {} servers", self.servers),
            Mode::Cold => write!(f, "redirect, cache on, no hot key, {} servers", self.servers),
            Mode::Hit => write!(f, "hit in place, {} B values", self.value_bytes),
            Mode::Pass => write!(f, "not for the pool: passed on"),
            Mode::Bare => write!(f, "learning switch alone"),
        }
    }
}
