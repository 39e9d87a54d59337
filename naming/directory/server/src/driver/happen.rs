//! What happens: from outside, and in the server's other threads.

use naming_directory::group::{Incoming, StepError, Unsynced};
use naming_directory::log::Log;
use naming_directory_client::ShardId;
use naming_directory_client::wire::{self, response};

use super::{Done, Driver, Event, MAX_SHARDS};
use crate::counters::{add, count};
use crate::snapshots::Job;
use crate::store::StoreError;

impl Driver {
    /// What comes from outside.
    pub(super) fn take(&mut self, event: Event) {
        match event {
            Event::Messages(messages) => {
                messages.into_iter().for_each(|(shard, message)| self.step(shard, message))
            }
            Event::Transfer { from, .. } if !self.hears(from) => {
                count(&self.shared.counters.messages_refused)
            }
            Event::Transfer { from, message } => self.snapshots.give(Job::Message { from, message }),
            Event::Request { from, request } => self.request(from, request),
            // Whoever asked may have gone.
            Event::Look(reply) => drop(reply.send(self.describe())),
            Event::Drain => self.drain(),
            // An earlier life's, or handled before.
            Event::Done { .. } | Event::Told { .. } | Event::Stop => {}
        }
    }

    fn step(&mut self, shard: ShardId, message: Incoming) {
        if self.creating.contains(&shard) || self.failed.contains_key(&shard) {
            return;
        }
        if !self.hears(message.from()) || (self.beginning.is_some() && message.wants_vote()) {
            return count(&self.shared.counters.messages_refused);
        }
        if self.retired.get(&shard).is_some_and(|retired| retired.precludes(&message)) {
            return count(&self.shared.counters.messages_refused);
        }
        if !self.replicas.contains_key(&shard) {
            let full = self.replicas.len() >= MAX_SHARDS;
            if full || !self.start_empty(shard) {
                return count(&self.shared.counters.messages_refused);
            }
        }
        self.heard(shard);
        let Some(replica) = self.replicas.get_mut(&shard) else { return };
        let stepped = replica.step(message);
        self.stepped(shard, stepped);
    }

    fn stepped(&mut self, shard: ShardId, stepped: Result<(), StepError>) {
        self.dirty.insert(shard);
        match stepped {
            Ok(()) => {}
            Err(error @ StepError::LostLog { .. }) => self.fail(shard, &error),
            Err(error) => {
                count(&self.shared.counters.messages_refused);
                tracing::debug!(%error, %shard, "a message was refused");
            }
        }
    }

    /// What another thread has done.
    pub(super) fn done(&mut self, done: Done) -> Result<(), StoreError> {
        match done {
            Done::Written { result, batch, forgotten } => {
                self.writer.done();
                let (written, counters) = (result?, &self.shared.counters);
                count(&counters.batches_written);
                add(&counters.records_written, written.records);
                add(&counters.bytes_written, written.bytes);
                add(&counters.syncs, written.synced.into());
                batch.into_iter().for_each(|(shard, unsynced)| self.persisted(shard, unsynced));
                for (from, id) in forgotten.into_iter().flatten() {
                    self.shared.respond(from, id, response::Body::Done(wire::Done {}));
                }
            }
            Done::Taken { shard, position } => {
                count(&self.shared.counters.snapshots_taken);
                if let Some(replica) = self.touch(shard) {
                    replica.snapshot_taken(position);
                }
            }
            Done::Failed(error) => return Err(error),
            Done::Created { shard, begin } => {
                self.creating.remove(&shard);
                self.start(shard, begin.log, Some(begin.state))?;
            }
            Done::Sent { shard, to, delivered } => {
                if let Some(replica) = self.touch(shard) {
                    replica.report_snapshot(to, delivered);
                }
            }
            Done::Released(loan) => _ = self.lent.remove(&loan),
            Done::Received { shard, announcement, state } => {
                count(&self.shared.counters.snapshots_received);
                self.joined()?;
                if !self.replicas.contains_key(&shard) && !self.failed.contains_key(&shard) {
                    self.start(shard, Log::default(), None)?;
                }
                if let Some(replica) = self.touch(shard) {
                    let stepped = replica.step_snapshot(*announcement, *state);
                    self.stepped(shard, stepped);
                }
            }
        }
        Ok(())
    }

    pub(super) fn persisted(&mut self, shard: ShardId, unsynced: Unsynced) {
        let Some(replica) = self.touch(shard) else { return };
        let before = replica.state().position();
        let promised = replica.persisted(unsynced);
        let installed = replica.state().position() != before;
        self.send(shard, promised);
        if installed {
            // Watchers are told of the gap with the next progress.
            if let Some(replica) = self.replicas.get(&shard) {
                self.snapshots.give(Job::Outdated { shard, before: replica.state().position() });
            }
        }
    }

    fn drain(&mut self) {
        for (shard, replica) in &mut self.replicas {
            let status = replica.group().status();
            let voters =
                status.progress.iter().filter(|progress| status.members.voters.contains(&progress.node));
            let best = voters.filter(|progress| progress.active).max_by_key(|progress| progress.matched);
            if let Some(best) = best
                && let Err(error) = replica.transfer_leader(best.node)
            {
                tracing::warn!(%error, %shard, "leadership is not handed over");
            }
            self.dirty.insert(*shard);
        }
    }
}
