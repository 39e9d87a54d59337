//! From the configuration to a running packet path.
//!
//! A build without the feature `dpdk` has none, and says so.

use std::collections::HashMap;
use std::sync::Arc;

use memcached_bridge::coherence::Tracking;
use memcached_bridge::session::Server;

use crate::clock::Clock;
use crate::config::Config;
use crate::status::Registry;

/// Why the packet path does not start.
#[derive(Debug, thiserror::Error)]
pub enum DataplaneError {
    /// This build has none.
    #[error(
        "[dataplane] needs a build with the feature `dpdk`, this one is without; build it with the feature, or remove [dataplane]"
    )]
    NotBuilt,
    /// It does not start.
    #[cfg(feature = "dpdk")]
    #[error("the packet path does not start: {0}")]
    Start(#[from] crate::packet_path::StartError),
}

/// A running packet path; dropping it stops the workers.
pub struct Running {
    /// How many ports it switches, for the line that says that the node is ready.
    pub ports: usize,
    /// The time that its workers go by.
    pub clock: Clock,
    /// By name of the pool, what others on the node that touch it must share.
    pub tracking: HashMap<String, Tracking>,
    #[cfg(feature = "dpdk")]
    _path: crate::packet_path::PacketPath,
}

/// Starts the packet path that `config` asks for, if it asks for one, and registers what it counts. `server` is the embedded
/// one, for pools whose store is the node's own.
///
/// # Errors
/// [`DataplaneError`], with whatever was started stopped again.
#[cfg(feature = "dpdk")]
pub fn start(
    config: &Config,
    server: Option<&Arc<Server>>,
    registry: &Arc<Registry>,
) -> Result<Option<Running>, DataplaneError> {
    use crate::packet_path::{PacketPath, Settings};
    let Some(settings) = Settings::of(config)? else { return Ok(None) };
    let path = PacketPath::start(settings, server)?;
    registry.register(Arc::new(path.view()));
    let (clock, tracking) = (Clock::Dpdk(path.clock()), path.tracking());
    Ok(Some(Running { ports: path.ports(), clock, tracking, _path: path }))
}

/// Says that this build has no packet path, if `config` asks for one.
///
/// # Errors
/// [`DataplaneError::NotBuilt`]
#[cfg(not(feature = "dpdk"))]
pub fn start(
    config: &Config,
    _server: Option<&Arc<Server>>,
    _registry: &Arc<Registry>,
) -> Result<Option<Running>, DataplaneError> {
    if config.dataplane.is_some() { Err(DataplaneError::NotBuilt) } else { Ok(None) }
}
