//! memcached's protocols from the client's side: one set of commands, three encodings, two transports.
//!
//! Written from the protocol documents (`protocol.txt`, `BinaryProtocolRevamped`) alone and shared with no crate
//! under test, so that a mistake there is not repeated here.

mod binary;
mod command;
mod tcp;
mod text;
mod udp;

pub use command::{Command, Encoding, Item, Outcome, decode, encode};
pub use tcp::TcpClient;
pub use text::{Values, values};
pub use udp::{RequestId, UdpClient, frame};
