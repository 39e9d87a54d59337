//! What the packet path is started with. The config has checked all of it.

use std::net::Ipv4Addr;

use fabric::io::PortId;
use fabric::packet::MacAddr;
use fabric_dpdk::PortSpec;
use ipnet::{IpNet, Ipv4Net};
use memcached_bridge::packet::embedded::EmbeddedPool;
use memcached_bridge::packet::pool::{CacheLimits, NodeAddress, Pool, Probing, Server};

use super::StartError;
use crate::config::{self, Config, Dataplane};

/// The node's first source port toward servers: one for each pool and worker. Below the range from which the host
/// kernel chooses its own.
const UPSTREAM_PORT: u16 = 20_000;

/// A port of the switch.
#[derive(Clone, Debug)]
pub struct PortSettings {
    /// Its name in the config, in counters and on the page.
    pub name: String,
    /// The device behind it.
    pub device: PortSpec,
}

/// The way to the host kernel: a TAP interface that is a port of the switch.
#[derive(Clone, Debug)]
pub struct Host {
    /// The interface's name.
    pub interface: String,
    /// The node's address and its network, given to the interface.
    pub address: Ipv4Net,
    /// The virtual addresses that the kernel answers to, too: those of pools that the node answers for.
    pub virtual_addresses: Vec<Ipv4Addr>,
    /// The switch port behind it.
    pub port: PortSettings,
}

/// Everything the packet path needs to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What the config says of the packet path.
    pub dataplane: Dataplane,
    /// The node's MAC address.
    pub mac: MacAddr,
    /// The ports, in the order of their ids.
    pub ports: Vec<PortSettings>,
    /// The way to the host kernel, if there is one.
    pub host: Option<Host>,
    /// The pools of servers.
    pub pools: Vec<Pool>,
    /// The pools that the node answers for itself.
    pub embedded_pools: Vec<EmbeddedPool>,
}

impl Settings {
    /// What `config` asks for; `None` if it asks for no packet path.
    ///
    /// # Errors
    /// [`StartError`] if a device cannot be named to DPDK.
    pub fn of(config: &Config) -> Result<Option<Self>, StartError> {
        let Some(dataplane) = &config.dataplane else { return Ok(None) };
        // Who has pools or a host interface has an address; a plain switch needs none.
        let address = config.node.address;
        let mac = config.node.mac();
        let port =
            |port: &config::Port| Ok(PortSettings { name: port.name.clone(), device: port.device.parse()? });
        let ports = dataplane.ports.iter().map(port).collect::<Result<Vec<_>, StartError>>()?;
        let interface = dataplane.host_interface.as_ref().zip(address);
        let vips = || config.embedded_pools.iter().map(|pool| pool.vip).collect();
        let host = interface.map(|(interface, address)| host(interface, address, vips(), mac)).transpose()?;
        let kernel_answers_arp = host.is_some();
        let node = address.map(|address| NodeAddress { mac, ip: address.addr(), kernel_answers_arp });
        let workers = dataplane.cores.len() as u16;
        let upstream_ports = (UPSTREAM_PORT..).step_by(usize::from(workers));
        let pools = config.pools_on_path().zip(upstream_ports);
        let pools =
            pools.filter_map(|((config, vip), first)| Some(pool(config, vip, node?, first))).collect();
        let embedded_pools = config.embedded_pools.iter();
        let embedded_pools = embedded_pools.filter_map(|pool| Some(embedded_pool(pool, node?))).collect();
        Ok(Some(Self { dataplane: dataplane.clone(), mac, ports, host, pools, embedded_pools }))
    }

    /// All ports, the host's last.
    pub fn all_ports(&self) -> impl Iterator<Item = &PortSettings> {
        self.ports.iter().chain(self.host.as_ref().map(|host| &host.port))
    }

    /// The devices of all ports, in the order of their ids.
    pub fn specs(&self) -> Vec<PortSpec> {
        self.all_ports().map(|port| port.device.clone()).collect()
    }

    /// The id of the host's port.
    pub fn host_port(&self) -> Option<PortId> {
        self.host.as_ref().map(|_| PortId(self.ports.len() as u16))
    }
}

/// The TAP interface as a port, with the node's MAC address at the kernel's end.
fn host(
    interface: &str,
    address: Ipv4Net,
    virtual_addresses: Vec<Ipv4Addr>,
    mac: MacAddr,
) -> Result<Host, StartError> {
    let device = format!("net_tap0,iface={interface},mac={mac}").parse()?;
    let port = PortSettings { name: interface.to_owned(), device };
    Ok(Host { interface: interface.to_owned(), address, virtual_addresses, port })
}

fn on_path(clients: &[IpNet]) -> Vec<Ipv4Net> {
    let on_path = |client: &IpNet| match client {
        IpNet::V4(network) => Some(*network),
        IpNet::V6(_) => None,
    };
    clients.iter().filter_map(on_path).collect()
}

fn embedded_pool(config: &config::EmbeddedPool, node: NodeAddress) -> EmbeddedPool {
    EmbeddedPool {
        name: config.name.clone(),
        vip: config.vip,
        service_port: config.port,
        vlan: config.vlan,
        clients: on_path(&config.clients),
        amplification_limit: config.amplification_limit,
        node,
    }
}

fn pool(config: &config::Pool, vip: Ipv4Addr, node: NodeAddress, upstream_port: u16) -> Pool {
    let server = |server: &config::Server| {
        Some(Server {
            name: server.name.clone(),
            mac: server.mac?,
            port: server.port.map(|index| PortId(index as u16)),
            weight: server.weight,
        })
    };
    Pool {
        name: config.name.clone(),
        vip,
        service_port: config.port,
        vlan: config.vlan,
        servers: config.servers.iter().filter_map(server).collect(),
        distribution: config.distribution,
        key_hash: config.hash,
        hash_tag: config.hash_tag,
        clients: on_path(&config.clients),
        tracks_tcp: config.tcp.is_some(),
        amplification_limit: config.amplification_limit,
        cache: config.cache.map(|capacity| CacheLimits {
            capacity_bytes: capacity.0 as usize,
            lease: config.lease,
            hot_threshold: config.hot_threshold,
        }),
        probing: Probing {
            interval: config.probe_interval,
            failures: config.probe_failures,
            auto_eject: config.auto_eject,
        },
        node,
        upstream_port,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_switch_needs_no_address() {
        let text = "[dataplane]\ncores = [1]\n[[dataplane.port]]\nname = \"a\"\ndevice = \"net_ring0\"\n";
        let config = config::parse("f", text).config.unwrap();
        let settings = Settings::of(&config).unwrap().unwrap();
        assert_eq!((settings.ports.len(), settings.pools.len(), settings.host_port()), (1, 0, None));
    }
}
