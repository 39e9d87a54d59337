//! stat: one reply for each row, then an empty one.

use super::Call;
use crate::protocol::binary::{Reply, Status};
use crate::session::stats::groups::Group;
use crate::store::Busy;

impl Call<'_> {
    /// memcached compares some names only as far as they go, and knows no `conns` here.
    pub(super) fn stat(&self, out: &mut Vec<u8>) -> Result<(), Busy> {
        let group = match self.request.value {
            b"" => Some(Group::General),
            name if name.starts_with(b"reset") => {
                self.scene.store().reset_counters_if(self.scene.patience)?;
                self.reply.render(out);
                return Ok(());
            }
            name if name.starts_with(b"settings") => Some(Group::Settings),
            name if name.starts_with(b"detail off") => {
                self.reply.render(out);
                return Ok(());
            }
            name if name.starts_with(b"detail dump") => {
                self.row("detailed", b"END\r\n", out);
                self.reply.render(out);
                return Ok(());
            }
            name => Group::of_store(name),
        };
        let Some(group) = group else {
            self.fail(Status::KeyNotFound, out);
            return Ok(());
        };
        group.rows(self.scene, &mut |name, value| {
            self.row(name, value.to_string().as_bytes(), out);
        })?;
        self.reply.render(out);
        Ok(())
    }

    fn row(&self, name: &str, value: &[u8], out: &mut Vec<u8>) {
        Reply { key: name.as_bytes(), value, ..self.reply }.render(out);
    }
}
