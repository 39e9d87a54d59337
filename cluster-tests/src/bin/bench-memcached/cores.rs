//! Who runs on which processor core.

use std::error::Error;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// One core for the middle box, the others for the rest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cores {
    middle_box: CpuSet,
    generator: CpuSet,
    servers: CpuSet,
}

/// The calling thread.
const SELF: Pid = Pid::from_raw(0);

impl Cores {
    /// Of the cores that this process may use, the last is the middle box's and the first the load generator's. Servers
    /// have the others, or the generator's if there are no others.
    ///
    /// # Errors
    /// If there is only one core.
    pub(crate) fn of_this_process() -> Result<Self, Box<dyn Error>> {
        let allowed = sched_getaffinity(SELF)?;
        let cores: Vec<usize> =
            (0..CpuSet::count()).filter(|core| allowed.is_set(*core).unwrap_or(false)).collect();
        let [generator, servers @ .., middle_box] = cores.as_slice() else {
            return Err("one core alone: the middle box needs one, load and servers another".into());
        };
        let generator = std::slice::from_ref(generator);
        let servers = if servers.is_empty() { generator } else { servers };
        let cores = Self {
            middle_box: set(std::slice::from_ref(middle_box))?,
            generator: set(generator)?,
            servers: set(servers)?,
        };
        sched_setaffinity(SELF, &cores.generator)?;
        Ok(cores)
    }

    /// Does `start`; processes that it starts run on the middle box's core.
    pub(crate) fn start_middle_box<T>(&self, start: impl FnOnce() -> T) -> nix::Result<T> {
        self.start_on(&self.middle_box, start)
    }

    /// Does `start`; processes that it starts run on the servers' cores.
    pub(crate) fn start_server<T>(&self, start: impl FnOnce() -> T) -> nix::Result<T> {
        self.start_on(&self.servers, start)
    }

    /// A process inherits the cores of the thread that starts it.
    fn start_on<T>(&self, cores: &CpuSet, start: impl FnOnce() -> T) -> nix::Result<T> {
        sched_setaffinity(SELF, cores)?;
        let started = start();
        sched_setaffinity(SELF, &self.generator)?;
        Ok(started)
    }
}

fn set(cores: &[usize]) -> nix::Result<CpuSet> {
    let mut set = CpuSet::new();
    cores.iter().try_for_each(|core| set.set(*core))?;
    Ok(set)
}
