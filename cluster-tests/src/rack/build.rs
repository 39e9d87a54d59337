//! Building a rack.

use super::command;
use super::host::{Host, LINK};
use super::janitor;
use super::server::Server;
use super::switch::{Driver, SwitchProgram};
use super::turn::Turn;
use super::{NODE_ADDRESS, Rack, VIP};
use crate::RackError;
use crate::config::{Admin, Dataplane, Node, NodeConfig, Pool, PoolServer, Port};
use crate::wire::Mac;
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};
use std::fs::File;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

type Edit = Box<dyn FnOnce(&mut NodeConfig)>;

/// What a rack is to be.
pub struct RackBuilder {
    name: String,
    clients: usize,
    servers: usize,
    others: Vec<String>,
    driver: Driver,
    simple: Option<SwitchProgram>,
    mtu: u16,
    server_threads: u16,
    alone: bool,
    edits: Vec<Edit>,
}

impl RackBuilder {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            clients: 1,
            servers: 1,
            others: Vec::new(),
            driver: Driver::AfXdp,
            simple: None,
            mtu: 1500,
            server_threads: 1,
            alone: true,
            edits: Vec::new(),
        }
    }

    /// How many clients: hosts `c1`, `c2`, ... on switch ports `sw1`, ...
    pub fn clients(mut self, clients: usize) -> Self {
        self.clients = clients;
        self
    }

    /// How many memcached servers: hosts `m1`, `m2`, ... on the ports after the clients'; the pool calls them
    /// `mc1`, `mc2`, ...
    pub fn servers(mut self, servers: usize) -> Self {
        self.servers = servers;
        self
    }

    /// One more host, with nothing on it, on the next port after the servers'.
    pub fn host(mut self, name: &str) -> Self {
        self.others.push(name.to_owned());
        self
    }

    /// How SmartSwitch reaches its ports.
    pub fn driver(mut self, driver: Driver) -> Self {
        self.driver = driver;
        self
    }

    /// Another program than SmartSwitch.
    pub fn switch(mut self, program: SwitchProgram) -> Self {
        self.simple = Some(program);
        self
    }

    /// The MTU of every link.
    pub fn mtu(mut self, mtu: u16) -> Self {
        self.mtu = mtu;
        self
    }

    /// Worker threads of each memcached.
    pub fn server_threads(mut self, threads: u16) -> Self {
        self.server_threads = threads;
        self
    }

    /// Changes SmartSwitch's configuration from what the rack would write.
    pub fn configure(mut self, edit: impl FnOnce(&mut NodeConfig) + 'static) -> Self {
        self.edits.push(Box::new(edit));
        self
    }

    /// Builds without waiting for the racks of other tests to be taken down: for a rack that stays.
    pub fn beside_others(mut self) -> Self {
        self.alone = false;
        self
    }

    /// Builds the rack: namespaces, links, servers, switch, in this order, each waited for.
    ///
    /// # Errors
    /// [`RackError::NotRoot`], [`RackError::Missing`], [`RackError::NoSwitch`], or what failed. Nothing is left
    /// behind.
    pub fn build(self) -> Result<Rack, RackError> {
        if !nix::unistd::geteuid().is_root() {
            return Err(RackError::NotRoot);
        }
        if matches!(self.simple, None | Some(SwitchProgram::SmartSwitch { .. })) {
            super::switch::smartswitch_binary()?;
        }
        let turn = if self.alone { Some(Turn::take()?) } else { None };
        janitor::sweep();
        raise_locked_memory();
        let directory = std::env::temp_dir().join(format!("{}{}-rack", janitor::PREFIX, std::process::id()));
        std::fs::create_dir_all(&directory)
            .map_err(RackError::io(format!("create {}", directory.display())))?;
        self.build_on(Ground { namespaces: Vec::new(), directory, _turn: turn })
    }

    fn build_on(mut self, mut ground: Ground) -> Result<Rack, RackError> {
        let switch = ground.namespace(
            "sw",
            Ipv4Addr::UNSPECIFIED,
            Ipv6Addr::UNSPECIFIED,
            String::new(),
            Mac::default(),
        )?;
        prepare_switch(&switch)?;
        let mut plan = self.plan().into_iter();
        let mut attach = |count: usize| -> Result<Vec<Host>, RackError> {
            plan.by_ref().take(count).map(|planned| self.attach(&mut ground, &switch, planned)).collect()
        };
        let clients = attach(self.clients)?;
        let server_hosts = attach(self.servers)?;
        let others = attach(self.others.len())?;
        let threads = self.server_threads;
        let servers: Vec<Server> = server_hosts
            .into_iter()
            .map(|host| Server::new(host, VIP, super::MEMCACHED_PORT, threads))
            .collect();
        for server in &servers {
            claim_vip(&server.host)?;
            server.start()?;
        }
        let hosts: Vec<&Host> =
            clients.iter().chain(servers.iter().map(|server| &server.host)).chain(&others).collect();
        let ports: Vec<String> = hosts.iter().map(|host| host.port.clone()).collect();
        let program = match self.simple.take() {
            Some(program) => program,
            None => SwitchProgram::SmartSwitch { config: Box::new(self.config(&ports, &servers)) },
        };
        let process = program.start(&switch, &ports, self.mtu)?;
        Ok(Rack {
            name: self.name,
            clients,
            servers,
            others,
            switch,
            program,
            ports,
            mtu: self.mtu,
            process: process.into(),
            ground,
        })
    }

    /// Names and last address bytes of the hosts, in the order of their ports.
    fn plan(&self) -> Vec<(String, u8, String)> {
        let clients = (1..=self.clients).map(|n| (format!("c{n}"), n as u8));
        let servers = (1..=self.servers).map(|n| (format!("m{n}"), 10 + n as u8));
        let others = self.others.iter().enumerate().map(|(n, name)| (name.clone(), 201 + n as u8));
        let hosts = clients.chain(servers).chain(others).enumerate();
        hosts.map(|(index, (name, last))| (name, last, format!("sw{}", index + 1))).collect()
    }

    fn attach(
        &self,
        ground: &mut Ground,
        switch: &Host,
        (name, last, port): (String, u8, String),
    ) -> Result<Host, RackError> {
        let address = Ipv4Addr::new(10, 77, 0, last);
        let address6 = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, u16::from(last));
        let mac = Mac([0x02, 0, 0, 0x77, 0, last]);
        let host = ground.namespace(&name, address, address6, port, mac)?;
        connect(&host, switch, self.mtu)?;
        Ok(host)
    }

    fn config(&mut self, ports: &[String], servers: &[Server]) -> NodeConfig {
        let port = |(index, name): (usize, &String)| Port {
            name: name.clone(),
            device: self.driver.device(index, name, self.mtu),
        };
        let server = |(index, server): (usize, &Server)| PoolServer {
            name: format!("mc{}", index + 1),
            address: Some(format!("{}:{}", server.host.address, super::MEMCACHED_PORT)),
            mac: server.host.mac.to_string(),
            port: server.host.port.clone(),
            weight: 1,
        };
        let mut config = NodeConfig {
            node: Node { name: "tor-1".to_owned(), address: format!("{NODE_ADDRESS}/24") },
            admin: Admin {
                listen: super::ADMIN.to_string(),
                allow: vec!["127.0.0.0/8".to_owned(), "10.77.0.0/24".to_owned()],
            },
            dataplane: Dataplane {
                cores: vec![1],
                huge_pages: "auto",
                memory_mib: 256,
                mtu: self.mtu,
                idle: "backoff",
                host_interface: None,
                port: ports.iter().enumerate().map(port).collect(),
            },
            embedded: None,
            embedded_pool: None,
            pool: vec![Pool {
                name: "web".to_owned(),
                vip: VIP.to_string(),
                port: super::MEMCACHED_PORT,
                listen: None,
                distribution: "ketama".to_owned(),
                hash: "fnv1a_64".to_owned(),
                clients: vec!["10.77.0.0/24".to_owned()],
                amplification_limit: 3.0,
                cache: "16MiB".to_owned(),
                lease_ms: 1000,
                hot_threshold: 8,
                probe_interval_ms: 200,
                probe_failures: 3,
                auto_eject: true,
                server: servers.iter().enumerate().map(server).collect(),
            }],
        };
        for edit in self.edits.drain(..) {
            edit(&mut config);
        }
        config
    }
}

/// What a rack stands on; taken away when dropped, so also when building fails half-way.
#[derive(Debug)]
pub(super) struct Ground {
    namespaces: Vec<String>,
    pub(super) directory: PathBuf,
    // Given back after the rest is gone: the next rack of this process has the same names.
    _turn: Option<Turn>,
}

impl Ground {
    fn namespace(
        &mut self,
        name: &str,
        address: Ipv4Addr,
        address6: Ipv6Addr,
        port: String,
        mac: Mac,
    ) -> Result<Host, RackError> {
        let namespace = format!("{}{}-{name}", janitor::PREFIX, std::process::id());
        command::run("ip", &["netns", "add", &namespace])?;
        self.namespaces.push(namespace.clone());
        let path = Path::new("/run/netns").join(&namespace);
        let handle = File::open(&path).map_err(RackError::io(format!("open {}", path.display())))?;
        command::ip_batch(&namespace, &["link set lo up".to_owned()])?;
        let directory = self.directory.clone();
        let handle = Arc::new(handle);
        Ok(Host { name: name.to_owned(), namespace, port, address, address6, mac, directory, handle })
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        for namespace in &self.namespaces {
            janitor::remove_namespace(namespace);
        }
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// The switch's kernel must stay silent: no IPv6 of its own on the links.
fn prepare_switch(switch: &Host) -> Result<(), RackError> {
    set(switch, &[("ipv6/conf/all/disable_ipv6", "1"), ("ipv6/conf/default/disable_ipv6", "1")])
}

/// Wires `host` to the switch and gives it its addresses.
fn connect(host: &Host, switch: &Host, mtu: u16) -> Result<(), RackError> {
    set(
        host,
        &[
            ("ipv4/conf/all/rp_filter", "0"),
            ("ipv4/conf/default/rp_filter", "0"),
            ("ipv6/conf/default/accept_dad", "0"),
            ("ipv6/conf/default/router_solicitations", "0"),
        ],
    )?;
    let (port, namespace, mac) = (&host.port, &host.namespace, host.mac);
    command::ip_batch(
        &switch.namespace,
        &[
            format!(
                "link add {port} mtu {mtu} type veth peer name {LINK} address {mac} mtu {mtu} netns {namespace}"
            ),
            format!("link set {port} promisc on up"),
        ],
    )?;
    // Frames must be on the wire as they are in memory: whole, checksummed, not merged.
    for (place, link) in [(switch, port.as_str()), (host, LINK)] {
        let off = ["-K", link, "tx", "off", "rx", "off", "gro", "off", "tso", "off", "gso", "off"];
        place.exec("ethtool", &off)?;
    }
    command::ip_batch(
        namespace,
        &[
            format!("link set {LINK} up"),
            format!("addr add {}/24 dev {LINK}", host.address),
            format!("addr add {}/64 dev {LINK} nodad", host.address6),
        ],
    )
}

/// Direct server return: the server accepts packets to the VIP but never says that it has it.
fn claim_vip(host: &Host) -> Result<(), RackError> {
    set(host, &[("ipv4/conf/all/arp_ignore", "1"), ("ipv4/conf/all/arp_announce", "2")])?;
    command::ip_batch(&host.namespace, &[format!("addr add {VIP}/32 dev lo")])
}

/// Writes settings below `/proc/sys/net`, which are those of the namespace of the thread that writes.
fn set(host: &Host, settings: &[(&str, &str)]) -> Result<(), RackError> {
    host.run(|| {
        settings.iter().try_for_each(|(name, value)| {
            let path = format!("/proc/sys/net/{name}");
            std::fs::write(&path, value).map_err(RackError::io(format!("write {path}")))
        })
    })
}

/// XDP sockets lock their memory, and children inherit the limit. Where it may not be raised it is left: a process
/// with CAP_IPC_LOCK does not feel it, and one without fails with a message of its own.
fn raise_locked_memory() {
    let resource = Resource::RLIMIT_MEMLOCK;
    if setrlimit(resource, RLIM_INFINITY, RLIM_INFINITY).is_ok() {
        return;
    }
    if let Ok((_, hard)) = getrlimit(resource) {
        let _ = setrlimit(resource, hard, hard);
    }
}
