//! delete, flush, and their quiet forms.

use super::Call;
use crate::protocol::binary::Status;
use crate::session::key_of;
use crate::store::remove::{Delete, Deleted};

impl Call<'_> {
    pub(super) fn delete(&self, out: &mut Vec<u8>) {
        let key = &key_of(&self.request);
        let delete = Delete { key, cas: self.request.cas, invalidate: false, touch: None };
        match self.server.store.delete(delete, self.now) {
            Deleted::Deleted => self.done(0, out),
            Deleted::NotFound => self.fail(Status::KeyNotFound, out),
            Deleted::Exists => self.fail(Status::KeyExists, out),
        }
    }

    /// At once, or when the delay in the extras is over.
    pub(super) fn flush(&self, out: &mut Vec<u8>) {
        self.server.store.flush_all(self.request.exptime, self.now);
        self.done(0, out);
    }
}
