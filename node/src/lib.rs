//! The `smartswitch` program: configuration, wiring, sockets, the admin server and the command line.
//!
//! What is decided here is only what runs and where. Protocols and switching are in `memcached-bridge` and `fabric`,
//! which know no sockets; this crate gives them some.
//!
//! | module | what it is |
//! |---|---|
//! | [`cli`] | the command line |
//! | [`config`] | the configuration file |
//! | [`run`] | build, spawn, drain |
//! | [`embedded`] | memcached over kernel sockets |
//! | [`proxy`] | pools of memcached servers over TCP |
//! | [`tls`] | TLS to clients and servers |
//! | [`passwords`] | who may authenticate |
//! | [`limits`] | what one client may have |
//! | [`directory`] | the node's part in the name directory |
//! | [`dataplane`] | the packet path: the way from the configuration to it |
//! | [`clock`] | the time that its parts share |
//! | [`status`] | what a node says of itself |
//! | [`admin`] | health, metrics, status and a page over HTTP |
//! | [`reload`] | a new configuration for a running node |
//! | [`import`] | the configuration of another proxy, turned into a node's |
//! | [`pki`] | a small certificate authority for nodes |
//! | [`telemetry`] | the log, and traces |
//! | [`top`] | the live view in a terminal |

pub mod admin;
pub mod cli;
pub mod clock;
pub mod config;
pub mod dataplane;
pub mod directory;
pub mod embedded;
pub mod import;
pub mod limits;
#[cfg(feature = "dpdk")]
pub mod packet_path;
pub mod passwords;
pub mod pki;
pub mod proxy;
pub mod reload;
pub mod run;
pub mod status;
pub mod telemetry;
pub mod tls;
pub mod top;
