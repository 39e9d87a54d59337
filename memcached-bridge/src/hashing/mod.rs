//! Which member of a pool a key belongs to, as clients and proxies of memcached compute it.
//!
//! [`Ring::build`] takes the members and makes whatever table its distribution needs; [`Ring::locate`] answers
//! without allocation. Every answer of the distributions that others define equals theirs: the fixtures in
//! `tests/hashing_fixtures` were recorded from twemproxy 0.5.0 and libmemcached 1.1.4.
//!
//! | distribution | as in | weights | when a member leaves |
//! |---|---|---|---|
//! | [`Ketama`](Distribution::Ketama) | twemproxy | points | its keys move, and a few more if weights differ |
//! | [`KetamaLibmemcached`](Distribution::KetamaLibmemcached) | libmemcached | points | the same |
//! | [`KetamaLibmemcachedUnweighted`](Distribution::KetamaLibmemcachedUnweighted) | libmemcached | none | its keys move |
//! | [`Modula`](Distribution::Modula) | twemproxy | repeated entries | nearly all keys move |
//! | [`Rendezvous`](Distribution::Rendezvous) | Thaler & Ravishankar 1998 | exact | its keys move |
//! | [`Jump`](Distribution::Jump) | Lamping & Veach 2014 | repeated buckets | its keys move if it is the last |
//!
//! | module | what it is |
//! |---|---|
//! | `functions` | the hash functions |
//! | `ring` | members, distributions, the ring |
//! | `continuum` | ketama's points and the table that finds them |
//! | `jump`, `rendezvous` | the other two |

mod continuum;
mod functions;
mod jump;
mod rendezvous;
mod ring;
#[cfg(test)]
mod tests;

pub use functions::KeyHash;
pub use ring::{Distribution, MAX_SHARES, Member, MemberIndex, Ring, RingError};
