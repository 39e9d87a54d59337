//! The packet path of a SmartSwitch node, without I/O: what a frame says, which function owns it, and where it
//! goes next.
//!
//! Nothing here opens a device, reads a clock or starts a thread. A shell (DPDK, or memory in tests) implements
//! [`io::PacketIo`]; one [`worker::Worker`] per core drives it; [`function::NetworkFunction`]s decide.
//!
//! | module | what it is |
//! |---|---|
//! | [`packet`] | header views and checksums: Ethernet, 802.1Q, ARP, IPv4, IPv6, UDP, TCP |
//! | [`fragments`] | IPv4 fragments held until their datagram is whole |
//! | [`io`] | the seam to the shell: owned packets, ports, bursts |
//! | [`function`] | the seam to the functions: verdicts and what a function may do |
//! | [`stations`] | the learning switch's table of stations, shared by the workers |
//! | [`worker`] | receive, decide, deliver, transmit; idle back-off |
//! | [`mod@counters`] | plain per-worker counters, published for scraping |
//! | [`memory`] | packets and ports in memory, for tests and instruction counts |
//! | [`time`] | the monotonic time that shells pass in |

pub mod counters;
pub mod fragments;
pub mod function;
pub mod io;
pub mod memory;
pub mod packet;
pub mod stations;
pub mod time;
pub mod worker;
