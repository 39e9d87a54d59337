//! What is compared.

use std::fmt;
use std::net::SocketAddrV4;

use cluster_tests::RackError;
use cluster_tests::load::{Target, Transport};
use cluster_tests::rack::{MEMCACHED_PORT, Rack, SwitchProgram};
use serde::{Serialize, Serializer};

use super::twemproxy;

/// One way from the client to the servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Arm {
    /// The client chooses the server, over UDP.
    DirectUdp,
    /// The client chooses the server, over TCP.
    DirectTcp,
    /// twemproxy, over TCP.
    Twemproxy,
    /// The switch without its cache, over UDP.
    Switch,
    /// The switch with its cache, over UDP.
    SwitchCached,
    /// As [`Switch`](Arm::Switch), with a worker that polls all the time.
    SwitchPoll,
    /// As [`SwitchCached`](Arm::SwitchCached), with a worker that polls all the time.
    SwitchCachedPoll,
}

impl Arm {
    /// Where requests go.
    pub(crate) fn target(self, rack: &Rack) -> Target {
        let direct =
            || rack.servers().iter().map(|server| SocketAddrV4::new(server.host.address, MEMCACHED_PORT));
        let (transport, addresses, sockets) = match self {
            Arm::DirectUdp => (Transport::Udp, direct().collect(), 2),
            Arm::DirectTcp => (Transport::Tcp, direct().collect(), 4),
            Arm::Twemproxy => (Transport::Tcp, vec![twemproxy::address(rack)], 8),
            Arm::Switch | Arm::SwitchCached | Arm::SwitchPoll | Arm::SwitchCachedPoll => {
                (Transport::Udp, vec![rack.vip()], 4)
            }
        };
        Target { transport, addresses, sockets }
    }

    /// Whether it is measured under load: a worker that polls takes one core of few from the rest of the rack.
    pub(crate) fn is_under_load(self) -> bool {
        !matches!(self, Arm::SwitchPoll | Arm::SwitchCachedPoll)
    }

    /// The direct way over the same transport.
    pub(crate) fn direct(self) -> Arm {
        match self {
            Arm::DirectTcp | Arm::Twemproxy => Arm::DirectTcp,
            _ => Arm::DirectUdp,
        }
    }

    /// The paper's latency at light load, relative to [`direct`](Arm::direct) (its Table 1).
    pub(crate) fn paper_latency(self) -> Option<f64> {
        match self {
            Arm::DirectUdp | Arm::DirectTcp => Some(1.0),
            Arm::Twemproxy => Some(2.39),
            Arm::SwitchPoll => Some(1.19),
            Arm::SwitchCachedPoll => Some(0.11),
            Arm::Switch | Arm::SwitchCached => None,
        }
    }

    /// The paper's throughput in requests each second, with clients, proxy and servers on machines of their own.
    pub(crate) fn paper_rate(self) -> Option<f64> {
        match self {
            Arm::Twemproxy => Some(90_000.0),
            Arm::Switch => Some(720_000.0),
            _ => None,
        }
    }
}

impl fmt::Display for Arm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Arm::DirectUdp => "direct UDP",
            Arm::DirectTcp => "direct TCP",
            Arm::Twemproxy => "twemproxy (TCP)",
            Arm::Switch => "switch (UDP)",
            Arm::SwitchCached => "switch, cached (UDP)",
            Arm::SwitchPoll => "switch, polling (UDP)",
            Arm::SwitchCachedPoll => "switch, cached, polling (UDP)",
        })
    }
}

impl Serialize for Arm {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What stands between client and servers. Several arms can share one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ground {
    /// The kernel's bridge.
    Bridge,
    /// The switch, over XDP sockets.
    Switch {
        /// Whether hot keys are cached.
        cached: bool,
        /// Whether the worker polls all the time, or backs off when nothing comes.
        polling: bool,
    },
}

impl Ground {
    /// All, in the order in which they are measured.
    pub(crate) const ALL: [Ground; 5] = [
        Ground::Bridge,
        Ground::Switch { cached: false, polling: false },
        Ground::Switch { cached: true, polling: false },
        Ground::Switch { cached: false, polling: true },
        Ground::Switch { cached: true, polling: true },
    ];

    /// The arms that are measured on it.
    pub(crate) fn arms(self) -> &'static [Arm] {
        match self {
            Ground::Bridge => &[Arm::DirectUdp, Arm::DirectTcp, Arm::Twemproxy],
            Ground::Switch { cached: false, polling: false } => &[Arm::Switch],
            Ground::Switch { cached: true, polling: false } => &[Arm::SwitchCached],
            Ground::Switch { cached: false, polling: true } => &[Arm::SwitchPoll],
            Ground::Switch { cached: true, polling: true } => &[Arm::SwitchCachedPoll],
        }
    }

    /// Builds the rack.
    ///
    /// # Errors
    /// As the rack's builder.
    pub(crate) fn build(self) -> Result<Rack, RackError> {
        let builder = Rack::builder("bench").clients(1).servers(2).host(twemproxy::HOST);
        match self {
            Ground::Bridge => builder.switch(SwitchProgram::Bridge).build(),
            Ground::Switch { cached, polling } => builder
                .configure(move |config| {
                    config.dataplane.idle = if polling { "poll" } else { "backoff" };
                    if !cached {
                        config.pool.iter_mut().for_each(|pool| pool.cache = "0".to_owned());
                    }
                })
                .build(),
        }
    }
}

impl fmt::Display for Ground {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ground::Bridge => f.write_str("bridge"),
            Ground::Switch { cached, polling } => {
                let (cached, polling) =
                    (["", ", cached"][usize::from(*cached)], ["", ", polling"][usize::from(*polling)]);
                write!(f, "switch{cached}{polling}")
            }
        }
    }
}
