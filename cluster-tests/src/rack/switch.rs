//! The switch under test: SmartSwitch, or something simpler to compare it with.

use super::command;
use super::host::Host;
use super::process::Process;
use crate::RackError;
use crate::config::NodeConfig;
use std::path::PathBuf;
use std::time::Duration;

/// How long a switch may take until it is ready.
const SWITCH_DEADLINE: Duration = Duration::from_secs(20);
/// Memory of testpmd, in MiB.
const TESTPMD_MIB: &str = "256";

/// How DPDK reaches the switch's links.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Driver {
    /// `net_af_xdp`: XDP sockets.
    AfXdp,
    /// `net_af_packet`: packet sockets with rings; the one for jumbo frames. It does not carry IPv4 fragments.
    AfPacket,
}

impl Driver {
    /// Whether IPv4 fragments pass. The af_packet driver has the kernel reassemble them (`PACKET_FANOUT_FLAG_DEFRAG`,
    /// which DPDK 22.11 cannot be told to leave out) and cuts off what is longer than a frame of its ring.
    pub fn carries_fragments(self) -> bool {
        self == Driver::AfXdp
    }

    /// The DPDK device of link `interface`, the `index`th of the switch.
    pub fn device(self, index: usize, interface: &str, mtu: u16) -> String {
        match self {
            Driver::AfXdp => format!("net_af_xdp{index},iface={interface}"),
            Driver::AfPacket if mtu <= 1500 => format!("net_af_packet{index},iface={interface}"),
            // A ring's frame holds a whole packet, and a block a whole number of frames (packet(7)).
            Driver::AfPacket => {
                format!("net_af_packet{index},iface={interface},blocksz=36864,framesz=9216,framecnt=512")
            }
        }
    }
}

/// What runs in the switch's namespace.
#[derive(Clone, Debug)]
pub enum SwitchProgram {
    /// The `smartswitch` program with this configuration.
    SmartSwitch {
        /// The configuration; its ports name the switch's links.
        config: Box<NodeConfig>,
    },
    /// `dpdk-testpmd` in io mode: what comes in by one port leaves by the other. For racks of two hosts.
    Testpmd {
        /// The driver of both ports.
        driver: Driver,
    },
    /// The kernel's bridge: the rack without SmartSwitch. It knows no VIP.
    Bridge,
}

impl SwitchProgram {
    /// Starts the switch in namespace `host` between `ports` and waits until it forwards.
    pub(super) fn start(
        &self,
        host: &Host,
        ports: &[String],
        mtu: u16,
    ) -> Result<Option<Process>, RackError> {
        match self {
            SwitchProgram::SmartSwitch { config } => start_smartswitch(host, config).map(Some),
            SwitchProgram::Testpmd { driver } => start_testpmd(host, ports, *driver, mtu).map(Some),
            SwitchProgram::Bridge => start_bridge(host, ports).map(|()| None),
        }
    }
}

/// Where the smartswitch program is: `SMARTSWITCH_BIN`, or beside the test's own build.
///
/// # Errors
/// [`RackError::NoSwitch`] that says how to build it.
pub fn smartswitch_binary() -> Result<PathBuf, RackError> {
    let named = std::env::var_os("SMARTSWITCH_BIN").map(PathBuf::from);
    let path = named.unwrap_or_else(beside_this_program);
    if path.is_file() { Ok(path) } else { Err(RackError::NoSwitch { path }) }
}

/// Tests run from `target/<profile>/deps`, programs from `target/<profile>`.
fn beside_this_program() -> PathBuf {
    let mut path = std::env::current_exe().unwrap_or_default();
    path.pop();
    if path.ends_with("deps") {
        path.pop();
    }
    path.join("smartswitch")
}

fn start_smartswitch(host: &Host, config: &NodeConfig) -> Result<Process, RackError> {
    let binary = smartswitch_binary()?;
    let file = host.directory.join("smartswitch.toml");
    std::fs::write(&file, config.to_toml()).map_err(RackError::io(format!("write {}", file.display())))?;
    let (binary, file) = (binary.display().to_string(), file.display().to_string());
    let mut command = std::process::Command::new(command::find_program("ip")?);
    command.args(["netns", "exec", &host.namespace, &binary, "run", "--config", &file]);
    let mut process = Process::start("smartswitch", &host.directory, &mut command)?;
    process.wait_line("ready:", SWITCH_DEADLINE)?;
    Ok(process)
}

fn start_testpmd(host: &Host, ports: &[String], driver: Driver, mtu: u16) -> Result<Process, RackError> {
    let devices = ports.iter().enumerate().map(|(index, port)| driver.device(index, port, mtu));
    // Ordinary pages, which every machine has: what is forwarded is to be seen, not how fast.
    let eal = ["-l", "0,1", "--no-pci", "--no-huge", "--no-shconf", "--no-telemetry", "-m", TESTPMD_MIB];
    let mut arguments: Vec<String> = eal.map(String::from).to_vec();
    arguments.extend(devices.map(|device| format!("--vdev={device}")));
    // A period keeps testpmd from waiting for a key, and makes it print.
    let forward = ["--", "--forward-mode=io", "--auto-start", "--total-num-mbufs=16384", "--stats-period=1"];
    arguments.extend(forward.map(String::from));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut process = host.start("dpdk-testpmd", &arguments)?;
    process.wait_ready("its first statistics", SWITCH_DEADLINE, |process| {
        process.output().contains("Port statistics")
    })?;
    Ok(process)
}

fn start_bridge(host: &Host, ports: &[String]) -> Result<(), RackError> {
    let mut lines = vec!["link add br0 type bridge".to_owned(), "link set br0 up".to_owned()];
    lines.extend(ports.iter().map(|port| format!("link set {port} master br0")));
    command::ip_batch(&host.namespace, &lines)?;
    // Where br_netfilter is loaded, a bridge looks into IP packets and drops what is malformed.
    host.run(|| {
        for family in ["iptables", "ip6tables", "arptables"] {
            let _ = std::fs::write(format!("/proc/sys/net/bridge/bridge-nf-call-{family}"), "0");
        }
    });
    Ok(())
}
