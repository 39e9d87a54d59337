//! get, get and touch, touch: with the key (`getk`, `gatk`) or without, and quiet.

use super::Call;
use crate::protocol::Verb;
use crate::protocol::binary::{self, Reply, Status};
use crate::store::read::Read;
use crate::store::{Entry, Expiry};

impl Call<'_> {
    /// A hit is told even to a quiet request. A miss of a request for the key has the key for its text.
    pub(super) fn retrieve(&self, mut entry: Entry<'_>, key: &[u8], out: &mut Vec<u8>) {
        let returns_key = binary::command(self.reply.opcode).is_some_and(|command| command.returns_key);
        let key_part: &[u8] = if returns_key { key } else { b"" };
        let touch =
            (self.request.verb != Verb::Get).then(|| Expiry::from_wire(self.request.exptime, self.scene.now));
        let read = Read { touch, ..Read::default() };
        let hit = entry.read(read, |seen| {
            let value = if self.request.verb == Verb::Touch { b"" } else { seen.item.value() };
            let (cas, extras) = (seen.item.cas, &seen.item.flags.to_be_bytes());
            Reply { cas, extras, key: key_part, value, ..self.reply }.render(out);
        });
        if hit.is_some() || self.request.quiet {
            return;
        }
        match returns_key {
            true => Reply { status: Status::KeyNotFound, key: key_part, ..self.reply }.render(out),
            false => self.fail(Status::KeyNotFound, out),
        }
    }
}
