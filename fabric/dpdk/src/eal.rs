//! The environment abstraction layer: DPDK's memory, devices and cores, started once per process.

use crate::errno::Errno;
use crate::huge_pages::free_huge_pages_mib;
use crate::spec::{Bus, PortSpec};
use fabric::io::HugePages;
use fabric_dpdk_sys as sys;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use std::ffi::CString;
use std::os::raw::{c_char, c_int};
use std::sync::atomic::{AtomicBool, Ordering};

/// How much DPDK says on standard error and to syslog.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum LogLevel {
    Error,
    #[default]
    Warning,
    Notice,
    Info,
    Debug,
}

impl LogLevel {
    fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Notice => "notice",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }
}

/// How DPDK is started.
#[derive(Clone, Debug)]
pub struct EalOptions {
    /// Where its memory comes from.
    pub huge_pages: HugePages,
    /// How much memory it takes at the start, in MiB. With huge pages it takes more if it needs more.
    /// [`PoolConfig::memory_mib`](crate::PoolConfig::memory_mib) says what a pool needs.
    pub memory_mib: u32,
    /// Ports that will be opened. Of the machine's PCI devices, only those named here are touched.
    pub ports: Vec<PortSpec>,
    /// The cores of DPDK's own threads (interrupts, link states); if empty, those of the calling thread. Keep them apart
    /// from the workers' cores.
    pub control_cores: Vec<usize>,
    /// What is logged.
    pub log_level: LogLevel,
}

impl Default for EalOptions {
    fn default() -> Self {
        Self {
            huge_pages: HugePages::Auto,
            memory_mib: 256,
            ports: Vec::new(),
            control_cores: Vec::new(),
            log_level: LogLevel::Warning,
        }
    }
}

impl EalOptions {
    /// The defaults, for these ports.
    pub fn for_ports(specs: &[PortSpec]) -> Self {
        Self { ports: specs.to_vec(), ..Self::default() }
    }

    /// Whether memory will come from huge pages.
    fn takes_huge_pages(&self, free_mib: u64) -> Result<bool, EalError> {
        let enough = free_mib >= u64::from(self.memory_mib);
        match self.huge_pages {
            HugePages::Never => Ok(false),
            HugePages::Auto => Ok(enough),
            HugePages::Require if enough => Ok(true),
            HugePages::Require => Err(EalError::HugePages { wanted_mib: self.memory_mib, free_mib }),
        }
    }

    /// The command line that `rte_eal_init` parses.
    ///
    /// `--in-memory`, or `--no-shconf` as that is for huge pages only: nothing on disk, no second process; registering
    /// threads needs that. `--no-telemetry`: DPDK's own socket answers to anyone who can open it.
    fn arguments(&self, huge_pages: bool, control_cores: &[usize]) -> Vec<String> {
        let cores = control_cores.iter().map(usize::to_string).collect::<Vec<_>>().join(",");
        let mut arguments: Vec<String> =
            ["fabric", "--no-telemetry", "--log-level", self.log_level.name()].map(str::to_owned).into();
        arguments.extend(["--lcores".into(), format!("0@({cores})")]);
        arguments.extend(["-m".into(), self.memory_mib.to_string()]);
        let memory: &[&str] = if huge_pages { &["--in-memory"] } else { &["--no-huge", "--no-shconf"] };
        arguments.extend(memory.iter().copied().map(str::to_owned));
        let pci: Vec<_> = self.ports.iter().filter(|spec| spec.bus() == Bus::Pci).collect();
        if pci.is_empty() {
            arguments.push("--no-pci".into());
        }
        arguments.extend(pci.into_iter().flat_map(|spec| ["-a".into(), spec.device_string().into()]));
        arguments
    }
}

/// DPDK did not start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EalError {
    /// [`Eal::init`] was called before in this process, with or without success.
    #[error("DPDK can be started once per process, and an earlier call already did or failed to")]
    AlreadyStarted,
    /// [`HugePages::Require`], and too few are free.
    #[error(
        "DPDK was asked to take {wanted_mib} MiB of huge pages, {free_mib} MiB are free: \
         write the number of 2 MiB pages to /proc/sys/vm/nr_hugepages, or allow ordinary pages"
    )]
    HugePages {
        /// MiB asked for.
        wanted_mib: u32,
        /// MiB free.
        free_mib: u64,
    },
    /// The calling thread's cores cannot be read or restored.
    #[error("the cores of the calling thread: {0}")]
    Affinity(nix::Error),
    /// `rte_eal_init` failed.
    #[error(
        "DPDK does not start: {errno} (command line: {command_line}). It says more on standard error; \
         it wants root or access to huge pages and devices"
    )]
    Init {
        /// Its reason.
        errno: Errno,
        /// What it was given.
        command_line: String,
    },
}

/// Proof that DPDK runs in this process. It runs until the process ends.
#[derive(Clone, Copy, Debug)]
pub struct Eal(());

static STARTED: AtomicBool = AtomicBool::new(false);

impl Eal {
    /// Starts DPDK. The calling thread keeps its cores, though `rte_eal_init` moves it.
    ///
    /// # Errors
    /// [`EalError`]. Too few huge pages is found before anything is started, so other options can be tried; after any other
    /// error DPDK cannot be started in this process any more.
    pub fn init(options: &EalOptions) -> Result<Self, EalError> {
        let huge_pages = options.takes_huge_pages(free_huge_pages_mib())?;
        let this_thread = Pid::from_raw(0);
        let affinity = sched_getaffinity(this_thread).map_err(EalError::Affinity)?;
        let control_cores = if options.control_cores.is_empty() {
            cores_of(&affinity)
        } else {
            options.control_cores.clone()
        };
        let arguments = options.arguments(huge_pages, &control_cores);
        if STARTED.swap(true, Ordering::SeqCst) {
            return Err(EalError::AlreadyStarted);
        }
        let started = start(&arguments);
        sched_setaffinity(this_thread, &affinity).map_err(EalError::Affinity)?;
        started.map_err(|errno| EalError::Init { errno, command_line: arguments.join(" ") })?;
        Ok(Self(()))
    }
}

fn cores_of(set: &CpuSet) -> Vec<usize> {
    (0..CpuSet::count()).filter(|&core| set.is_set(core).unwrap_or(false)).collect()
}

fn start(arguments: &[String]) -> Result<(), Errno> {
    let strings = arguments.iter().map(|argument| CString::new(argument.as_str()));
    let strings = strings.collect::<Result<Vec<_>, _>>().map_err(|_| Errno(nix::Error::EINVAL as i32))?;
    let mut pointers: Vec<*mut c_char> = strings.into_iter().map(CString::into_raw).collect();
    let count = pointers.len() as c_int;
    pointers.push(std::ptr::null_mut());
    // The EAL may keep what it was given and permute the array, so both stay for the process's life.
    let pointers = pointers.leak();
    // SAFETY: `count` valid, writable C strings and a final null, never freed; `STARTED` lets one call through.
    let parsed = unsafe { sys::rte_eal_init(count, pointers.as_mut_ptr()) };
    if parsed < 0 { Err(Errno::last()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_name_only_the_pci_devices_of_the_ports() {
        let specs = ["0000:03:00.0,mprq_en=1", "net_null0"].map(|text| text.parse().unwrap());
        let arguments = EalOptions::for_ports(&specs).arguments(true, &[0, 3]).join(" ");
        assert_eq!(
            arguments,
            "fabric --no-telemetry --log-level warning --lcores 0@(0,3) -m 256 --in-memory -a 0000:03:00.0,mprq_en=1"
        );
        let arguments = EalOptions::for_ports(&specs[1..]).arguments(false, &[0]).join(" ");
        assert!(arguments.ends_with("--lcores 0@(0) -m 256 --no-huge --no-shconf --no-pci"), "{arguments}");
    }

    #[test]
    fn huge_pages_are_taken_if_enough_are_free() {
        let with = |huge_pages| EalOptions { huge_pages, memory_mib: 100, ..EalOptions::default() };
        assert_eq!(with(HugePages::Auto).takes_huge_pages(100), Ok(true));
        assert_eq!(with(HugePages::Auto).takes_huge_pages(99), Ok(false));
        assert_eq!(with(HugePages::Never).takes_huge_pages(1000), Ok(false));
        assert_eq!(with(HugePages::Require).takes_huge_pages(100), Ok(true));
        let refused = with(HugePages::Require).takes_huge_pages(99).unwrap_err();
        assert_eq!(refused, EalError::HugePages { wanted_mib: 100, free_mib: 99 });
        assert!(refused.to_string().contains("/proc/sys/vm/nr_hugepages"));
    }
}
