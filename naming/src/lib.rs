//! The nouns of the fabric: what a thing is called, which version of it, which bytes are genuine, and where copies
//! are. No I/O, no clock, no threads.
//!
//! A [`Name`] is a list of components in the order of Named Data Networking (NDN Packet Format 0.3), so that names
//! on the wire are genuine NDN names. It is valid once made: whoever holds a `Name` or a [`NameRef`] need not check
//! it again.
//!
//! | module | what it is |
//! |---|---|
//! | [`name`] | [`Name`], owned, and [`NameRef`], borrowed: comparing, hashing and prefixes without allocation |
//! | [`component`] | one part of a name, with its type |
//! | `uri` | the form people read: `/mc/web/user:42`, `/hdfs/c1/bp/17/v=3/seg=0` |
//! | [`tlv`] | NDN's type-length-value encoding |
//! | [`space`] | the layout of the name space: what is under `/mc`, `/hdfs`, `/stream`, `/node` |
//! | [`digest`] | [`Digest`], BLAKE3 of immutable content |
//! | [`node`] | [`NodeId`], [`Rack`] and [`Location`] |

pub mod component;
pub mod digest;
pub mod error;
pub mod name;
pub mod node;
pub mod space;
pub mod tlv;
mod uri;

pub use component::{Component, ComponentType};
pub use digest::Digest;
pub use error::NameError;
pub use name::{Name, NameRef};
pub use node::{Location, NodeId, Rack};
pub use space::Version;
