//! Threads that DPDK knows. Only those have a cache of free packets in each pool.

use crate::eal::Eal;
use crate::errno::Errno;
use fabric_dpdk_sys as sys;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use std::io;
use std::marker::PhantomData;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

/// A thread did not become a worker.
#[derive(Debug, thiserror::Error)]
pub enum LcoreError {
    /// The operating system starts no thread.
    #[error("cannot start the thread {name}: {source}")]
    Spawn {
        /// The thread's name.
        name: String,
        /// Why not.
        source: io::Error,
    },
    /// The thread may not run on that core, or there is none.
    #[error("cannot run on core {core} only: {errno}. `taskset -p` shows the cores that are allowed")]
    Pin {
        /// The core.
        core: usize,
        /// Why not.
        errno: nix::Error,
    },
    /// DPDK has no lcore left, or the thread is one already.
    #[error("DPDK does not take the thread as an lcore: {0}")]
    Register(Errno),
}

/// The calling thread is one of DPDK's lcores until this is dropped.
#[derive(Debug)]
pub struct Lcore {
    id: u32,
    /// It belongs to its thread.
    _not_send: PhantomData<*const ()>,
}

impl Lcore {
    /// Makes the calling thread an lcore, on `core` only if it is given.
    ///
    /// # Errors
    /// [`LcoreError`]
    pub fn register(_eal: Eal, core: Option<usize>) -> Result<Self, LcoreError> {
        if let Some(core) = core {
            // Before DPDK looks at which cores the thread runs on.
            pin(core).map_err(|errno| LcoreError::Pin { core, errno })?;
        }
        if lcore_id().is_some() {
            return Err(LcoreError::Register(Errno(nix::Error::EEXIST as i32)));
        }
        // SAFETY: the EAL runs.
        let returned = unsafe { sys::rte_thread_register() };
        if returned < 0 {
            return Err(LcoreError::Register(Errno::last()));
        }
        let id = lcore_id().ok_or(LcoreError::Register(Errno(nix::Error::ENOMEM as i32)))?;
        Ok(Self { id, _not_send: PhantomData })
    }

    /// DPDK's number of the thread.
    pub fn id(&self) -> u32 {
        self.id
    }
}

impl Drop for Lcore {
    fn drop(&mut self) {
        // SAFETY: the thread registered itself, and has not unregistered since.
        unsafe { sys::rte_thread_unregister() }
    }
}

/// A running thread that is an lcore.
#[derive(Debug)]
pub struct LcoreThread<T>(JoinHandle<Option<T>>);

impl<T> LcoreThread<T> {
    /// Waits for the thread to end, and returns what it returned, or its panic.
    ///
    /// # Errors
    /// As [`JoinHandle::join`].
    pub fn join(self) -> thread::Result<T> {
        self.0.join().map(|result| result.expect("a thread that registered runs its body"))
    }

    /// Whether the thread has ended.
    pub fn is_finished(&self) -> bool {
        self.0.is_finished()
    }
}

/// Runs `body` in a new thread that is an lcore, on `core` only if it is given. Returns when the thread is one.
///
/// # Errors
/// [`LcoreError`]; `body` was then dropped without being run.
pub fn spawn<T: Send + 'static>(
    eal: Eal,
    name: &str,
    core: Option<usize>,
    body: impl FnOnce() -> T + Send + 'static,
) -> Result<LcoreThread<T>, LcoreError> {
    let (report, registered) = mpsc::sync_channel(1);
    let main = move || {
        let (lcore, outcome) = match Lcore::register(eal, core) {
            Ok(lcore) => (Some(lcore), Ok(())),
            Err(error) => (None, Err(error)),
        };
        // `spawn` waits for it; the channel has room, so this does not.
        let _ = report.send(outcome);
        // The lcore outlives what the body owns: packets go back to this thread's cache.
        lcore.map(|_lcore| body())
    };
    let spawned = thread::Builder::new().name(name.to_owned()).spawn(main);
    let thread = spawned.map_err(|source| LcoreError::Spawn { name: name.to_owned(), source })?;
    let outcome = registered.recv().expect("the thread reports before it does anything else");
    if let Err(error) = outcome {
        let _ = thread.join();
        return Err(error);
    }
    Ok(LcoreThread(thread))
}

fn pin(core: usize) -> nix::Result<()> {
    let mut only = CpuSet::new();
    only.set(core)?;
    sched_setaffinity(Pid::from_raw(0), &only)
}

fn lcore_id() -> Option<u32> {
    // SAFETY: reads a thread-local integer.
    let id = unsafe { sys::fabric_lcore_id() };
    (id != u32::MAX).then_some(id)
}
