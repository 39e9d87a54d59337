//! Counters that cost a worker one addition.
//!
//! A worker counts in plain integers that it alone owns. Every few milliseconds it copies them into a
//! [`Published`] block of atomics, which the admin server reads whenever it likes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A struct of plain counters; made by [`counters!`](macro@crate::counters).
pub trait Counters: Default + Send {
    /// The counters' names, in the order of [`values`](Counters::values).
    const NAMES: &'static [&'static str];
    /// One line for each name that says what it counts.
    const HELP: &'static [&'static str];
    /// Hands each value to `each`, in the order of [`NAMES`](Counters::NAMES).
    fn values(&self, each: impl FnMut(usize, u64));
}

/// The published copy of one worker's counters.
#[derive(Debug)]
pub struct Published {
    names: &'static [&'static str],
    help: &'static [&'static str],
    cells: Box<[AtomicU64]>,
}

impl Published {
    /// A zeroed copy for counters of type `C`.
    pub fn new<C: Counters>() -> Arc<Self> {
        let cells = C::NAMES.iter().map(|_| AtomicU64::new(0)).collect();
        Arc::new(Self { names: C::NAMES, help: C::HELP, cells })
    }

    /// Copies `counters` in. Allocates nothing, locks nothing.
    pub fn publish<C: Counters>(&self, counters: &C) {
        counters.values(|index, value| self.cells[index].store(value, Ordering::Relaxed));
    }

    /// `(name, help, value)` of each counter.
    pub fn read(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> + '_ {
        let cells = self.cells.iter().map(|cell| cell.load(Ordering::Relaxed));
        self.names.iter().zip(self.help).zip(cells).map(|((name, help), value)| (*name, *help, value))
    }
}

/// Declares a struct of `u64` counters and its [`Counters`] implementation. The doc line of a field becomes its
/// help text.
#[macro_export]
macro_rules! counters {
    ($(#[$meta:meta])* $vis:vis struct $name:ident { $(#[doc = $help:literal] $field:ident,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Default)]
        $vis struct $name { $(#[doc = $help] pub $field: u64,)+ }

        impl $crate::counters::Counters for $name {
            const NAMES: &'static [&'static str] = &[$(stringify!($field)),+];
            const HELP: &'static [&'static str] = &[$($help),+];
            fn values(&self, mut each: impl FnMut(usize, u64)) {
                let mut index = 0;
                $(each(index, self.$field); index += 1;)+
                let _ = index;
            }
        }
    };
}
