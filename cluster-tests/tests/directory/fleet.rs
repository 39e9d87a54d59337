//! Nodes of a directory, each a process of its own, with an address of its own in one network namespace.
//!
//! The namespace is the test thread's and its children's; it, the processes and the mounts go with the test. All addresses
//! are the loopback interface's. A cut is a routing rule: what one address sends to another has no way.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output};
use std::time::Duration;

use cluster_tests::admin::AdminClient;
use cluster_tests::rack::{Process, find_program, smartswitch_binary};
use cluster_tests::scratch::Scratch;
use cluster_tests::wait;
use fabric_quic::Files;
use naming::NodeId;
use naming_directory_quic::Place;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::Signal;
use serde_json::Value;

/// How long anything may take that is waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);
/// Every node that a test may have.
const NODES: std::ops::RangeInclusive<u64> = 1..=6;
/// The clients' node.
pub(crate) const CLIENT: u64 = 100;

pub(crate) struct Fleet {
    directory: PathBuf,
    /// How the directory spreads: keys of `[directory]`.
    shards: String,
    nodes: BTreeMap<u64, Process>,
    // Dropped after the processes that write there.
    small_disks: Vec<SmallDisk>,
    _scratch: Scratch,
}

/// A file system in memory, mounted here; unmounted when this is dropped.
struct SmallDisk(PathBuf);

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}

/// A node's id as it is written.
pub(crate) fn id(node: u64) -> String {
    NodeId::new(node).unwrap().to_string()
}

fn address(node: u64) -> Ipv4Addr {
    Ipv4Addr::new(10, 64, 0, node as u8)
}

fn admin(node: u64) -> SocketAddrV4 {
    SocketAddrV4::new(address(node), 9311)
}

fn fabric(node: u64) -> SocketAddr {
    SocketAddrV4::new(address(node), 6364).into()
}

fn run(program: &Path, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(
        output.status.success(),
        "{program:?} {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn ip(arguments: &str) {
    run(&find_program("ip").unwrap(), &arguments.split(' ').collect::<Vec<_>>());
}

impl Fleet {
    /// These nodes found a directory.
    pub(crate) fn found(name: &str, founders: &[u64]) -> Self {
        let mut fleet = Self::prepare(name, founders);
        founders.iter().for_each(|founder| fleet.start(*founder));
        fleet
    }

    /// The same, before any of them is started. Members stay as they are.
    pub(crate) fn prepare(name: &str, founders: &[u64]) -> Self {
        Self::prepare_with(name, founders, "rebalance = false")
    }

    /// The same, with these keys of `[directory]`.
    pub(crate) fn prepare_with(name: &str, founders: &[u64], shards: &str) -> Self {
        assert!(nix::unistd::geteuid().is_root(), "network namespaces need root");
        unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).unwrap();
        let none = None::<&str>;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
        ip("link set lo up");
        for node in NODES.chain([CLIENT]) {
            ip(&format!("address add {}/32 dev lo", address(node)));
        }
        // The kernel's rule for its own addresses comes first; cuts have to come before it.
        ip("rule add pref 100 lookup local");
        ip("rule del pref 0 lookup local");

        let scratch = Scratch::new(name).unwrap();
        let directory = scratch.path().to_owned();
        let (program, pki) = (smartswitch_binary().unwrap(), directory.join("pki"));
        let pki = pki.to_str().unwrap();
        run(&program, &["pki", "init", pki]);
        for node in NODES.chain([CLIENT]) {
            run(&program, &["pki", "node", pki, "--id", &id(node)]);
        }
        let shards = shards.to_owned();
        let fleet =
            Self { directory, shards, nodes: BTreeMap::new(), small_disks: Vec::new(), _scratch: scratch };
        for founder in founders {
            fleet.configure(
                *founder,
                founders,
                &format!("founders = {:?}", founders.iter().map(|node| id(*node)).collect::<Vec<_>>()),
            );
        }
        fleet
    }

    /// Starts a node that waits to be added, and knows these.
    pub(crate) fn join(&mut self, node: u64, peers: &[u64]) {
        self.configure(node, peers, "");
        self.start(node);
    }

    /// Starts a node that has a directory of its own, and listens for nobody.
    pub(crate) fn start_alone(&mut self, node: u64) {
        std::fs::write(self.configuration(node), self.alone(node)).unwrap();
        self.start(node);
    }

    /// Tells it to talk with others from now on, while it runs.
    pub(crate) fn connect(&self, node: u64) {
        self.configure(node, &[], "");
        let admin = admin(node).to_string();
        let reload = ["reload", "--admin", &admin];
        let output = Command::new(smartswitch_binary().unwrap()).args(reload).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && said.contains("took effect: 4"),
            "{said}{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    fn configure(&self, node: u64, peers: &[u64], directory: &str) {
        let Files { ca, certificate, key } = self.files(node);
        let mut text = self.alone(node);
        text += &format!(
            "{directory}\n[fabric]\nlisten = \"{}\"\nca = {ca:?}\ncertificate = {certificate:?}\nkey = {key:?}\n",
            fabric(node),
        );
        for peer in peers.iter().filter(|peer| **peer != node) {
            text += &format!("[[fabric.peer]]\nid = \"{}\"\naddress = \"{}\"\n", id(*peer), fabric(*peer));
        }
        std::fs::write(self.configuration(node), text).unwrap();
    }

    fn alone(&self, node: u64) -> String {
        format!(
            "[node]\nid = \"{}\"\nrack = \"r{node}\"\ndata = {:?}\n[admin]\nlisten = \"{}\"\nallow = [\"10.64.0.0/24\"]\n\
             [directory]\n{}\n",
            id(node),
            self.data(node),
            admin(node),
            self.shards,
        )
    }

    fn configuration(&self, node: u64) -> PathBuf {
        self.directory.join(format!("{node}.toml"))
    }

    /// Where a node keeps its data.
    pub(crate) fn data(&self, node: u64) -> PathBuf {
        self.directory.join(format!("data-{node}"))
    }

    fn files(&self, node: u64) -> Files {
        let file = |name: &str| self.directory.join("pki").join(name);
        let id = id(node);
        Files { ca: file("ca.crt"), certificate: file(&format!("{id}.crt")), key: file(&format!("{id}.key")) }
    }

    /// Where clients are.
    pub(crate) fn client(&self) -> Place {
        let peers = NODES.map(|node| (NodeId::new(node).unwrap(), fabric(node))).collect();
        let listen = SocketAddrV4::new(address(CLIENT), 0).into();
        Place { listen, files: self.files(CLIENT), peers }
    }

    /// Starts a node, on the data it has, and waits until it is ready: it may wait for others then.
    pub(crate) fn start(&mut self, node: u64) {
        let mut process = self.spawn(node);
        process.wait_line("ready:", PATIENCE).unwrap();
        self.nodes.insert(node, process);
    }

    /// Starts a node that has to end by itself, with an error; what it says.
    pub(crate) fn start_refused(&mut self, node: u64) -> String {
        let mut process = self.spawn(node);
        let status = process.wait_end(PATIENCE).unwrap();
        assert_eq!(status.code(), Some(1), "{}", process.log_tail());
        process.log_tail()
    }

    /// The line by which a node said that it is ready.
    pub(crate) fn ready(&self, node: u64) -> String {
        self.nodes[&node].output()
    }

    fn spawn(&self, node: u64) -> Process {
        let mut command = Command::new(find_program("setpriv").unwrap());
        command.args(["--pdeathsig", "KILL", "--"]).arg(smartswitch_binary().unwrap());
        command.args(["run", "--config"]).arg(self.configuration(node));
        Process::start(&format!("node-{node}"), &self.directory, &mut command).unwrap()
    }

    /// Kills it (SIGKILL).
    pub(crate) fn kill(&mut self, node: u64) {
        self.nodes.remove(&node).unwrap().kill();
    }

    /// Takes away what a node that does not run had on its disk.
    pub(crate) fn lose_disk(&self, node: u64) {
        std::fs::remove_dir_all(self.data(node)).unwrap();
    }

    /// Tells it to stop, and waits until it has.
    pub(crate) fn stop(&mut self, node: u64, signal: Signal) -> ExitStatus {
        let mut process = self.nodes.remove(&node).unwrap();
        process.signal(signal);
        process.wait_end(PATIENCE).unwrap()
    }

    pub(crate) fn running(&self) -> Vec<u64> {
        self.nodes.keys().copied().collect()
    }

    /// Nothing gets from one to the other any more, either way.
    pub(crate) fn cut(&self, one: u64, other: u64) {
        self.cut_one_way(one, other);
        self.cut_one_way(other, one);
    }

    pub(crate) fn cut_one_way(&self, from: u64, to: u64) {
        ip(&format!("rule add pref 10 from {} to {} blackhole", address(from), address(to)));
    }

    /// Everything gets everywhere again.
    pub(crate) fn heal(&self) {
        let flush = || {
            let arguments = ["rule", "del", "pref", "10"];
            Command::new(find_program("ip").unwrap()).args(arguments).output().unwrap().status.success()
        };
        while flush() {}
    }

    /// Gives a node's data a file system of its own with so many bytes.
    pub(crate) fn small_disk(&mut self, node: u64, bytes: u64) {
        let data = self.data(node);
        std::fs::create_dir_all(&data).unwrap();
        let options = format!("size={bytes}");
        mount(Some("tmpfs"), &data, Some("tmpfs"), MsFlags::empty(), Some(options.as_str())).unwrap();
        self.small_disks.push(SmallDisk(data));
    }

    /// Leaves no byte free there.
    pub(crate) fn fill_disk(&self, node: u64) {
        let mut file = File::create(self.filler(node)).unwrap();
        while file.write_all(&[0; 4096]).is_ok() {}
    }

    pub(crate) fn clear_disk(&self, node: u64) {
        std::fs::remove_file(self.filler(node)).unwrap();
    }

    fn filler(&self, node: u64) -> PathBuf {
        self.data(node).join("filler")
    }

    /// `smartswitch directory`, asked of a node.
    pub(crate) fn directory(&self, node: u64, arguments: &[&str]) -> Output {
        self.asking(node, arguments).output().unwrap()
    }

    /// The same, before it is begun.
    pub(crate) fn asking(&self, node: u64, arguments: &[&str]) -> Command {
        let admin = admin(node).to_string();
        let mut command = Command::new(smartswitch_binary().unwrap());
        command.args(["directory", "--admin", &admin]).args(arguments);
        command
    }

    /// Where a backup may be written.
    pub(crate) fn backup_file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Starts a node that has a directory of its own, which begins with a backup. What data it had is gone.
    pub(crate) fn start_restored(&mut self, node: u64, backup: &Path) {
        drop(self.nodes.remove(&node));
        let data = self.data(node);
        if data.exists() {
            std::fs::remove_dir_all(&data).unwrap();
        }
        std::fs::write(self.configuration(node), self.alone(node)).unwrap();
        let configuration = self.configuration(node);
        let restore =
            ["directory", "restore", backup.to_str().unwrap(), "--config", configuration.to_str().unwrap()];
        run(&smartswitch_binary().unwrap(), &restore);
        self.start(node);
    }

    /// What it prints, which has to end well.
    pub(crate) fn said(&self, node: u64, arguments: &[&str]) -> String {
        let output = self.directory(node, arguments);
        let log = || self.nodes.get(&node).map(Process::log_tail).unwrap_or_default();
        assert!(
            output.status.success(),
            "{arguments:?}: {}\n{}",
            String::from_utf8_lossy(&output.stderr),
            log()
        );
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) fn status(&self, node: u64) -> Value {
        serde_json::from_slice(&self.directory(node, &["status", "--json"]).stdout).unwrap_or_default()
    }

    pub(crate) fn metric(&self, node: u64, name: &str) -> f64 {
        let metrics = AdminClient::here(admin(node)).metrics();
        metrics.map(|metrics| metrics.sum(name)).unwrap_or_default()
    }

    /// Who leads, once somebody does.
    pub(crate) fn leader(&self) -> u64 {
        self.wait("a leader", |fleet| {
            let asked = fleet.running().into_iter().map(|node| fleet.status(node));
            let leads = |status: Value| {
                let leader = status["shards"][0]["leader"].as_str()?;
                u64::from_str_radix(leader, 16).ok()
            };
            asked.into_iter().find_map(leads)
        })
    }

    /// A running member that does not lead.
    pub(crate) fn follower(&self) -> u64 {
        let leader = self.leader();
        self.running().into_iter().find(|node| *node != leader).unwrap()
    }

    /// The members that vote, as a node tells.
    pub(crate) fn voters(&self, node: u64) -> Vec<u64> {
        let status = self.status(node);
        let members = status["shards"][0]["members"].as_array().cloned().unwrap_or_default();
        let votes = |member: &Value| member["role"] == "leader" || member["role"] == "voter";
        let voters = members.iter().filter(|member| votes(member));
        voters.map(|member| u64::from_str_radix(member["node"].as_str().unwrap(), 16).unwrap()).collect()
    }

    /// Waits until `node` is registered, as `asked` sees it.
    pub(crate) fn registered(&self, asked: u64, node: u64) {
        self.wait("a registration", |fleet| {
            let listed = String::from_utf8(fleet.directory(asked, &["ls", "/node"]).stdout).unwrap();
            listed.contains(&id(node)).then_some(())
        });
    }

    /// Waits until all members have what is committed now.
    pub(crate) fn catch_up(&self) {
        let shards = |fleet: &Self| fleet.status(fleet.running()[0])["shards"].as_array().cloned();
        let committed: BTreeMap<String, u64> = self.wait("leaders of all shards", |fleet| {
            let shards = shards(fleet).filter(|shards| !shards.is_empty())?;
            let led = |shard: &Value| {
                let led = shard["leader"].is_string().then(|| shard["committed"].as_u64())??;
                Some((shard["id"].as_str()?.to_owned(), led))
            };
            shards.iter().map(led).collect()
        });
        self.wait("all members at what was committed", |fleet| {
            let shards = shards(fleet)?;
            let are_there = |(id, committed): (&String, &u64)| {
                let members = shards.iter().find(|shard| shard["id"] == **id)?["members"].as_array()?;
                let has = |member: &Value| member["applied"].as_u64().is_some_and(|at| at >= *committed);
                Some(members.iter().all(has))
            };
            committed.iter().all(|shard| are_there(shard) == Some(true)).then_some(())
        });
    }

    /// Waits until all members of each shard are at the same entry with the same state: once nobody writes.
    pub(crate) fn agree(&self) {
        self.wait("all members at the same entry with the same state", |fleet| {
            let status = fleet.status(fleet.running()[0]);
            let shards = status["shards"].as_array().filter(|shards| !shards.is_empty())?;
            shards.iter().all(agrees).then_some(())
        });
    }

    /// Waits for something.
    pub(crate) fn wait<T>(&self, what: &str, mut ask: impl FnMut(&Self) -> Option<T>) -> T {
        wait::until(what, PATIENCE, || ask(self)).unwrap_or_else(|error| {
            let logs =
                self.nodes.iter().map(|(node, process)| format!("node {node}:\n{}", process.log_tail()));
            panic!("{error}\n{}", logs.collect::<Vec<_>>().join("\n"))
        })
    }
}

fn agrees(shard: &Value) -> bool {
    let state = |member: &Value| (member["applied"].clone(), member["checksum"].clone());
    let Some(members) = shard["members"].as_array() else { return false };
    let first = members.first().map(state);
    shard["leader"].is_string()
        && first.as_ref().is_some_and(|(applied, _)| applied.is_number())
        && members.iter().all(|member| Some(state(member)) == first)
}
