//! The directory, simulated: the real core of several nodes in one thread, on fake clocks, a fake network and
//! fake disks, all by one seed. The same seed is the same run, event for event.
//!
//! What is real: [`Replica`](naming_directory::replica::Replica) with everything in it (consensus, log, state
//! machine, snapshots), the bytes of its messages, its journal and its snapshots. What is fake is what a
//! shell has to do.
//!
//! | module | what it is |
//! |---|---|
//! | [`world`] | one run: the queue of events, and what each does |
//! | `host` | a node: its replicas, its clock, its disks; a model of the shell |
//! | `disk` | a disk that loses, tears and garbles what was not synced |
//! | `network` | a network that loses, doubles, delays, reorders and cuts, one way or both |
//! | `faults` | what goes wrong, and when |
//! | `balancer` | moves replicas and leaders by what it saw a moment ago |
//! | `clients` | clients that retry, in sessions |
//! | `history` | what clients saw, and whether a sequential directory explains it |
//! | `invariants` | what holds at every step |
//! | [`broken`] | rules to be broken on purpose, each of which a run has to notice |

mod balancer;
pub mod broken;
mod clients;
mod disk;
mod faults;
mod history;
mod host;
mod invariants;
mod many;
mod network;
pub mod world;

pub use broken::Broken;
pub use many::many;
pub use world::{Failure, Report, run, run_traced};
