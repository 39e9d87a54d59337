//! set, add, replace, append, prepend, and their quiet forms.

use super::Call;
use crate::protocol::Verb;
use crate::protocol::binary::Status;
use crate::store::write::{Mode, Stored, Write};
use crate::store::{Entry, Expiry};

impl Call<'_> {
    /// A CAS makes a compare-and-swap of set, add and replace alike, as in memcached.
    pub(super) fn store(&self, mut entry: Entry<'_>, out: &mut Vec<u8>) {
        let request = &self.request;
        let mode = match (request.verb, request.cas) {
            (Verb::Append, _) => Mode::Append,
            (Verb::Prepend, _) => Mode::Prepend,
            (_, Some(_)) => Mode::Cas,
            (Verb::Add, None) => Mode::Add,
            (Verb::Replace, None) => Mode::Replace,
            _ => Mode::Set,
        };
        let write = Write {
            mode,
            value: request.value,
            flags: request.flags,
            expiry: Expiry::from_wire(request.exptime, self.scene.now),
            cas: request.cas.unwrap_or(0),
            accept_stale: false,
            binary_key: false,
        };
        match (entry.write(write), mode) {
            (Stored::Stored(cas), _) => self.done(cas, out),
            (Stored::Exists, _) | (Stored::NotStored, Mode::Add) => self.fail(Status::KeyExists, out),
            (Stored::NotFound, _) | (Stored::NotStored, Mode::Replace) => self.fail(Status::KeyNotFound, out),
            (Stored::NotStored, _) => self.fail(Status::NotStored, out),
        }
    }
}
