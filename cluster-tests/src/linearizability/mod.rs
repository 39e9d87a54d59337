//! Whether a history of concurrent commands can be explained by one register per key.
//!
//! A history is *linearizable* (Herlihy and Wing, "Linearizability: a correctness condition for concurrent
//! objects", 1990) if every command can be given one instant between its call and its return such that executing
//! the commands in the order of these instants gives exactly the outcomes that the clients saw. Linearizability is
//! local: a history is linearizable if its part for each key is, so each key is [checked](check) by itself.
//!
//! | module | what it is |
//! |---|---|
//! | `checker` | the search, for any model |
//! | `register` | the model: one memcached key |
//! | `history` | calls and returns, recorded |
//! | `workload` | clients that run random commands from a seed and record them |

mod checker;
mod history;
mod register;
mod workload;

pub use checker::{Interval, Model, Verdict, search};
pub use history::{CallId, History, Recorder, check};
pub use register::{Action, Register, State, Step, Stored};
pub use workload::{Route, Workload, WorkloadReport};
