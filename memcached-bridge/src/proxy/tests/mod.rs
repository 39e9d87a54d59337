//! The proxy over memory: embedded servers behind it, no sockets, no clock.

mod cached;
mod copies;
mod failing;
mod failover;
mod flow;
mod handover;
mod limits;
pub(super) mod rig;
mod routes;
mod sasl;
mod shadow;
mod text;
mod traces;
mod warming;
