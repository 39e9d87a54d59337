//! The processes: two memcached servers, and every middle box in front of them.

use std::collections::BTreeMap;
use std::error::Error;
use std::net::SocketAddrV4;
use std::path::Path;

use cluster_tests::RackError;
use cluster_tests::bench::twemproxy;
use cluster_tests::load::{Target, Transport, prefill};
use cluster_tests::loopback::{Service, free_address};
use cluster_tests::proxied;
use cluster_tests::rack::{find_program, smartswitch_binary};
use cluster_tests::scratch::Scratch;

use crate::arms::Arm;
use crate::cores::Cores;
use crate::point;

const SERVERS: usize = 2;

/// All processes of a round.
pub(crate) struct Ground {
    servers: Vec<Service>,
    middle_boxes: BTreeMap<Arm, Service>,
    /// Dropped after the processes that write to it.
    _scratch: Scratch,
}

/// One arm, ready to be measured.
pub(crate) struct Subject<'a> {
    /// Where clients connect to.
    addresses: Vec<SocketAddrV4>,
    /// The middle box, if there is one.
    pub(crate) middle_box: Option<&'a Service>,
    /// The servers behind it.
    pub(crate) servers: &'a [Service],
}

impl Ground {
    /// Starts the servers, fills both with all keys, and starts what `arms` need; middle boxes that do not start are
    /// told to `failed` and left out.
    ///
    /// # Errors
    /// That there are no servers.
    pub(crate) fn build(
        arms: &[Arm],
        cores: &Cores,
        mut failed: impl FnMut(Arm, Box<dyn Error>),
    ) -> Result<Self, Box<dyn Error>> {
        let scratch = Scratch::new("bench-memcached")?;
        let start = |number| Service::memcached(&format!("mc{number}"), scratch.path());
        let servers = cores.start_server(|| (1..=SERVERS).map(start).collect::<Result<Vec<_>, _>>())??;
        for server in &servers {
            point::key_sets().try_for_each(|keys| prefill(server.address(), keys))?;
        }
        let addresses: Vec<SocketAddrV4> = servers.iter().map(Service::address).collect();
        let mut middle_boxes = BTreeMap::new();
        for arm in arms {
            match cores.start_middle_box(|| start_middle_box(*arm, scratch.path(), &addresses))? {
                Ok(Some(service)) => drop(middle_boxes.insert(*arm, service)),
                Ok(None) => {}
                Err(error) => failed(*arm, error.into()),
            }
        }
        Ok(Self { servers, middle_boxes, _scratch: scratch })
    }

    /// The parts of an arm; `None` if its middle box did not start.
    pub(crate) fn subject(&self, arm: Arm) -> Option<Subject<'_>> {
        let middle_box = self.middle_boxes.get(&arm);
        let addresses = match (arm, middle_box) {
            (Arm::Direct, _) => self.servers.iter().map(Service::address).collect(),
            (_, Some(middle_box)) => vec![middle_box.address()],
            (_, None) => return None,
        };
        Some(Subject { addresses, middle_box, servers: &self.servers })
    }
}

impl Subject<'_> {
    /// Where so many connections go.
    pub(crate) fn target(&self, connections: usize) -> Target {
        let addresses = self.addresses[..self.addresses.len().min(connections)].to_vec();
        Target { transport: Transport::Tcp, sockets: connections / addresses.len(), addresses }
    }
}

/// The middle box of `arm`, if it has one, in front of `servers`.
fn start_middle_box(
    arm: Arm,
    directory: &Path,
    servers: &[SocketAddrV4],
) -> Result<Option<Service>, RackError> {
    let (listen, side) = (free_address()?, free_address()?);
    let (name, program, config) = match arm {
        Arm::Direct => return Ok(None),
        Arm::Bare => {
            let program = std::env::current_exe().map_err(RackError::io("find this program".to_owned()))?;
            let arguments = ["--serve-bare", &listen.to_string()];
            return Service::start("bare", directory, listen, &program, &arguments).map(Some);
        }
        Arm::Twemproxy => {
            ("twemproxy", find_program("nutcracker")?, twemproxy::config(listen, servers.iter().copied()))
        }
        Arm::Miss | Arm::Hit => {
            let name = if arm == Arm::Hit { "hit" } else { "miss" };
            let pool = pool(arm == Arm::Hit);
            let config = proxied::config(listen, side, None, pool, servers.iter().copied());
            (name, smartswitch_binary()?, config)
        }
    };
    let file = directory.join(format!("{name}.conf"));
    std::fs::write(&file, config).map_err(RackError::io(format!("write {}", file.display())))?;
    let (file, port) = (file.display().to_string(), side.port().to_string());
    let arguments: &[&str] = match arm {
        // It would show its statistics at a fixed port.
        Arm::Twemproxy => &["-c", &file, "-a", "127.0.0.1", "-s", &port],
        _ => &["run", "--config", &file],
    };
    Service::start(name, directory, listen, &program, arguments).map(Some)
}

/// The node's pool: keys are hashed as twemproxy hashes them, which is its default. With a cache every key turns hot at its
/// second request.
fn pool(cached: bool) -> proxied::Pool {
    let mut pool = proxied::Pool::default();
    (pool.cache, pool.hot_threshold) = match cached {
        true => (Some("256MiB"), Some(2)),
        false => (Some("0"), None),
    };
    pool
}
