//! Hot keys on a worker: which keys are hot ([`Sketch`]), and the table their values are answered from
//! ([`HotTable`]). Neither decides whether a value is current: that is [`coherence`](crate::coherence)'s.

mod filling;
mod ghost;
mod hasher;
mod hottest;
mod index;
#[cfg(test)]
pub(crate) mod random;
mod record;
mod ring;
mod sampler;
mod sketch;
mod table;

#[cfg(test)]
mod tests;

pub(crate) use filling::{Attempts, expiry};
pub use hasher::KeyHasher;
pub use hottest::{HotKey, Hottest};
pub use record::{Hit, Item};
pub use sampler::Sampler;
pub use sketch::Sketch;
pub use table::{Guess, HotTable, Inserted, ItemPlace, TableStatistics};
