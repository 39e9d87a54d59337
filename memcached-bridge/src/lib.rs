//! memcached, as a SmartSwitch node understands it: the protocols, where a key lives, what may be cached, and a store.
//!
//! Sans-io throughout: bytes, packets and the time come in, bytes and packets go out. The same code serves DPDK packets,
//! kernel sockets and simulations. It is not a client library, and it opens no connections.
//!
//! | module | what it is |
//! |---|---|
//! | [`protocol`] | ASCII, meta, binary and UDP frames: one request model, and replies |
//! | [`hashing`] | from a key to a server, byte for byte as twemproxy and libmemcached do it |
//! | [`hot`] | on a worker: which keys are hot, and the table they are answered from |
//! | [`coherence`] | across workers: which cached values may still be answered |
//! | [`members`] | which servers of a pool are alive, and the ring over them |
//! | [`proxy`] | clients' TCP connections to pools of servers: route, merge, answer, eject |
//! | [`packet`] | the network function of a pool: redirect, answer, gather, fill, probe; or answer from the embedded store |
//! | [`store`] | the embedded store |
//! | [`session`] | one client's side of the embedded store: bytes in, bytes out |

pub mod coherence;
pub mod hashing;
pub mod hot;
pub mod members;
pub mod packet;
pub mod protocol;
pub mod proxy;
pub mod session;
pub mod store;
