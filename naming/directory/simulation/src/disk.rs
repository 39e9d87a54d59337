//! A disk: one journal, and snapshots. What was written but not synced may be lost, torn or garbled by a
//! crash.

use std::collections::BTreeMap;

use cluster_tests::random::Random;
use naming_directory::Position;
use naming_directory::log::Record;
use naming_directory::log::journal::{Journal, JournalError, Recovered, recover};

/// A journal above this many bytes is written anew when everything in it is synced.
const REWRITE_LEN: usize = 64 << 10;

#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    file: Vec<u8>,
    synced: usize,
    journal: Journal,
    /// Chunks of the snapshots, all of them durable.
    snapshots: BTreeMap<u64, (Position, Vec<Vec<u8>>)>,
}

impl Disk {
    /// Writes records; the length of the file by then.
    pub(crate) fn write(&mut self, records: &[Record]) -> usize {
        if !records.is_empty() {
            self.file.extend(self.journal.batch(records));
        }
        self.file.len()
    }

    pub(crate) fn sync(&mut self, len: usize) {
        self.synced = self.synced.max(len);
        self.journal.synced(self.synced as u64);
    }

    /// Writes the journal anew, if it is large and all of it is synced; atomically, as a rename does it.
    pub(crate) fn rewrite(&mut self, records: impl Iterator<Item = Record>) {
        if self.file.len() < REWRITE_LEN || self.synced < self.file.len() {
            return;
        }
        let records: Vec<Record> = records.collect();
        self.journal = Journal::default();
        self.file = self.journal.batch(&records);
        self.synced = 0;
        self.sync(self.file.len());
    }

    pub(crate) fn keep_snapshot(&mut self, position: Position, chunks: Vec<Vec<u8>>) {
        self.snapshots.insert(position.index, (position, chunks));
    }

    /// Drops the snapshots before this one.
    pub(crate) fn drop_snapshots_before(&mut self, index: u64) {
        self.snapshots.retain(|at, _| *at >= index);
    }

    pub(crate) fn snapshot(&self, position: Position) -> Option<&Vec<Vec<u8>>> {
        self.snapshots.get(&position.index).filter(|(at, _)| *at == position).map(|(_, chunks)| chunks)
    }

    /// What a crash leaves of the bytes that were not synced.
    pub(crate) fn crash(&mut self, random: &mut Random) {
        let unsynced = self.file.len() - self.synced;
        if unsynced == 0 {
            return;
        }
        let kept = self.synced + random.below(unsynced + 1);
        match random.below(4) {
            // Lost from some byte on.
            0 | 1 => self.file.truncate(kept),
            // The file grew, and its end never got its data.
            2 => self.file[kept..].fill(0),
            // Some of it is garbled.
            _ => {
                let at = self.synced + random.below(unsynced);
                let garbled = (self.file.len() - at).min(1 + random.below(40));
                let bytes = random.bytes(garbled);
                self.file[at..at + garbled].copy_from_slice(&bytes);
            }
        }
    }

    /// What a start finds, and makes durable before it goes on.
    pub(crate) fn recover(&mut self) -> Result<Recovered, JournalError> {
        let recovered = recover(&self.file)?;
        self.journal = recovered.journal;
        self.file.truncate(self.journal.len() as usize);
        self.synced = 0;
        self.sync(self.file.len());
        Ok(recovered)
    }

    /// The newest snapshot that a log goes on from.
    pub(crate) fn snapshot_for(&self, log: &naming_directory::log::Log) -> Option<&Vec<Vec<u8>>> {
        let usable =
            |(position, _): &&(Position, Vec<Vec<u8>>)| log.term(position.index) == Some(position.term);
        self.snapshots.values().rev().find(usable).map(|(_, chunks)| chunks)
    }
}
