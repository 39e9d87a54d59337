//! The embedded server, without sockets.

use memcached_bridge::session::{Needs, Server, Session};
use memcached_bridge::store::Now;

use super::streams::pieces;

/// The whole reply to `input`, handed over in pieces.
pub fn converse(server: &Server, now: Now, input: &[u8], cuts: &[usize]) -> Vec<u8> {
    let mut session = Session::new();
    let (mut held, mut reply) = (Vec::new(), Vec::new());
    for piece in pieces(input, cuts) {
        held.extend_from_slice(piece);
        loop {
            let mut out = Vec::new();
            let progress = session.receive(&held, server, now, &mut out);
            held.drain(..progress.consumed);
            reply.extend(out);
            match progress.needs {
                Needs::Input => break,
                Needs::Output => {}
                Needs::Store => panic!("a patient session was turned away"),
                Needs::Close => return reply,
            }
        }
    }
    reply
}
