//! The function under a worker over memory: frames in, frames out.

mod embedded;
mod gathering;
mod hits;
mod pieces;
mod redirects;
mod rig;
mod writes;
