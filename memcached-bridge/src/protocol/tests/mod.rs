//! Tests across the protocol's files.

mod classes;
mod properties;
mod recorded;
