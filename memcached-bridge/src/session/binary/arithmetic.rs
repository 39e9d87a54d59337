//! increment, decrement, and their quiet forms.

use super::Call;
use crate::protocol::Verb;
use crate::protocol::binary::{Reply, Status};
use crate::store::arithmetic::{Count, NotCounted};
use crate::store::{Entry, Expiry};

impl Call<'_> {
    /// Replies with the number in eight bytes.
    pub(super) fn count(&self, mut entry: Entry<'_>, out: &mut Vec<u8>) {
        let expiry = Expiry::from_wire(self.request.exptime, self.scene.now);
        let count = Count {
            up: self.request.verb == Verb::Incr,
            delta: self.request.delta,
            cas: self.request.cas.unwrap_or(0),
            vivify: self.request.initial.map(|initial| (initial, expiry)),
            touch: None,
        };
        let counted = entry.count(count, |counted| (counted.number, counted.item.cas));
        match counted {
            Ok(_) if self.request.quiet => {}
            Ok((number, cas)) => Reply { cas, value: &number.to_be_bytes(), ..self.reply }.render(out),
            Err(NotCounted::NotFound) => self.fail(Status::KeyNotFound, out),
            Err(NotCounted::NonNumeric) => self.fail(Status::NonNumeric, out),
            Err(NotCounted::Exists) => self.fail(Status::KeyExists, out),
        }
    }
}
