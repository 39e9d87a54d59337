//! What may be sent in one datagram. Shared with the test of a node without servers.

use memcached_bridge::protocol::{Protocol, Step};

/// Whether these are commands, one or more, and nothing is missing at their end.
pub fn are_whole(commands: &[u8]) -> bool {
    let Some(&first) = commands.first() else { return false };
    let mut rest = commands;
    while !rest.is_empty() {
        match Protocol::detect(first).parse(rest) {
            Step::Complete { consumed, .. } => rest = &rest[consumed..],
            Step::Invalid(invalid)
                if !invalid.is_fatal() && invalid.consumed + invalid.swallow <= rest.len() =>
            {
                rest = &rest[invalid.consumed + invalid.swallow..];
            }
            Step::Invalid(_) | Step::Incomplete => return false,
        }
    }
    true
}
