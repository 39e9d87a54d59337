//! delete, flush, and their quiet forms.

use super::Call;
use crate::protocol::binary::Status;
use crate::store::Entry;
use crate::store::remove::{Delete, Deleted};

impl Call<'_> {
    pub(super) fn delete(&self, mut entry: Entry<'_>, out: &mut Vec<u8>) {
        match entry.delete(Delete { cas: self.request.cas, ..Delete::default() }) {
            Deleted::Deleted => self.done(0, out),
            Deleted::NotFound => self.fail(Status::KeyNotFound, out),
            Deleted::Exists => self.fail(Status::KeyExists, out),
        }
    }

    /// At once, or when the delay in the extras is over.
    pub(super) fn flush(&self, out: &mut Vec<u8>) {
        self.scene.store().flush_all(self.request.exptime, self.scene.now);
        self.done(0, out);
    }
}
