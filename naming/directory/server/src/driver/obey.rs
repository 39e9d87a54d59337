//! What groups want done.

use naming_directory::group::Outgoing;
use naming_directory::replica::{Output, Replica};
use naming_directory_client::ShardId;
use naming_directory_client::wire::FailureKind;

use super::{Driver, MAX_SHARDS};
use crate::counters::count;
use crate::snapshots::Job;

impl Driver {
    /// Asks the groups to which something happened what is to be done, until that is nothing.
    pub(super) fn drive(&mut self) {
        while let Some(shard) = self.dirty.pop_first() {
            let Some(replica) = self.replicas.get_mut(&shard) else { continue };
            match replica.poll() {
                Ok(output) if output.is_empty() => {}
                Ok(output) => {
                    self.dirty.insert(shard);
                    self.obey(shard, output);
                }
                Err(error) => self.fail(shard, &error),
            }
        }
    }

    fn obey(&mut self, shard: ShardId, output: Output) {
        for begin in output.split {
            let child = shard.split_off(begin.state.position());
            self.splits.began(shard, child);
            // After a restart the log is executed again. What this node gave up since must not begin anew.
            let known = self.replicas.contains_key(&child) || self.retired.contains_key(&child);
            if !known && self.creating.insert(child) {
                count(&self.shared.counters.shards_split);
                tracing::info!(%shard, %child, names = %begin.state.range(), "a shard was split off");
                self.snapshots.give(Job::Create { shard: child, begin: Box::new(begin) });
            }
        }
        self.send(shard, output.send);
        if let Some(unsynced) = output.persist {
            self.writer.push(shard, unsynced);
        }
        for (request, reply) in output.replies {
            self.reply(request.0, reply);
        }
        for request in output.abandoned {
            let text = "leadership changed before the command was committed";
            self.fail_request(request.0, FailureKind::Unknown, text);
        }
        for read in output.reads {
            self.serve_read(shard, read.0);
        }
        for read in output.failed_reads {
            self.fail_request(
                read.0,
                FailureKind::Busy,
                "no majority of the shard's members confirmed the read",
            );
        }
        if !output.changes.is_empty() {
            self.tell_watchers(shard);
        }
        if let (Some(writer), Some(replica)) = (output.snapshot, self.replicas.get(&shard)) {
            let position = replica.state().position();
            self.snapshots.give(Job::Take { shard, position, writer: Box::new(writer) });
        }
    }

    pub(super) fn send(&mut self, shard: ShardId, messages: Vec<Outgoing>) {
        for message in messages {
            match message.snapshot {
                Some(position) => {
                    let (to, announcement) = (message.to, message.bytes.into());
                    self.snapshots.give(Job::Send { shard, to, position, announcement });
                }
                None => {
                    let (transport, counters) = (&*self.shared.transport, &self.shared.counters);
                    self.outbox.push(message.to, shard, &message.bytes, transport, counters);
                }
            }
        }
    }

    /// A replica that something happens to.
    pub(super) fn touch(&mut self, shard: ShardId) -> Option<&mut Replica> {
        self.dirty.insert(shard);
        self.replicas.get_mut(&shard)
    }

    /// A replica cannot go on; the others do.
    pub(super) fn fail(&mut self, shard: ShardId, error: &dyn std::error::Error) {
        tracing::error!(%error, %shard, "a replica of the directory stops");
        // Of shards that never were there may be any number; what is forgotten here is found anew.
        if self.failed.len() < MAX_SHARDS {
            self.failed.insert(shard, error.to_string());
        }
        self.give_up(shard);
    }

    /// Forgets a replica, but for what is on the disk.
    pub(super) fn give_up(&mut self, shard: ShardId) {
        self.replicas.remove(&shard);
        self.fail_all_of(shard);
        self.snapshots.give(Job::Cancel { shard });
    }
}
