//! The proxy over memory: embedded servers behind it, no sockets, no clock.

mod failing;
mod flow;
mod handover;
mod rig;
mod text;
