//! What is compared.

use std::fmt;

use clap::ValueEnum;
use serde::{Serialize, Serializer};

/// One directory of three members.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Arm {
    /// etcd as it comes, without TLS.
    Etcd,
    /// etcd with election times like SmartSwitch's: measured where a leader fails, and nowhere else.
    EtcdBrisk,
    /// SmartSwitch's directory, over QUIC with mutual TLS.
    Smartswitch,
}

impl Arm {
    /// All, in the order in which they are measured.
    pub(crate) const ALL: [Arm; 3] = [Arm::Etcd, Arm::EtcdBrisk, Arm::Smartswitch];

    /// Whether it is another one as long as its leader lives.
    pub(crate) fn differs_while_all_is_well(self) -> bool {
        self != Arm::EtcdBrisk
    }
}

impl fmt::Display for Arm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Arm::Etcd => "etcd",
            Arm::EtcdBrisk => "etcd, brisk elections",
            Arm::Smartswitch => "SmartSwitch",
        })
    }
}

impl Serialize for Arm {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
