//! What clients wrote and read, and whether one register per key explains it.
//!
//! Every write of a key has a version of its own, so the question has a quick answer (Gibbons and Korach, "Testing shared
//! memories", 1997): a version's *zone* reaches from the first end of its write and its reads to the last of their
//! beginnings. If it runs forward, the version must have been there all along; two such must not overlap, and no other
//! version may have come and gone within one.

use std::collections::BTreeMap;

/// A time of the history.
pub(super) type Moment = u64;

/// What is known of one version of a key.
#[derive(Clone, Copy, Debug)]
struct Version {
    written: (Moment, Moment),
    first_end: Moment,
    last_begin: Moment,
    reads: u32,
}

#[derive(Debug, Default)]
pub(super) struct History {
    keys: BTreeMap<usize, BTreeMap<u64, Version>>,
    reads: u64,
    refused: u64,
    wrong: Option<String>,
}

impl History {
    /// A write of `version` begins. It has not ended before [`written`](History::written) says so.
    pub(super) fn write(&mut self, key: usize, version: u64, now: Moment) {
        let written = (now, Moment::MAX);
        let known = Version { written, first_end: Moment::MAX, last_begin: now, reads: 0 };
        self.keys.entry(key).or_default().insert(version, known);
    }

    /// The write of `version` has taken place.
    pub(super) fn written(&mut self, key: usize, version: u64, now: Moment) {
        if let Some(known) = self.keys.entry(key).or_default().get_mut(&version) {
            known.written.1 = now;
            known.first_end = known.first_end.min(now);
        }
    }

    /// The write of `version` has not taken place, and never will.
    pub(super) fn unwritten(&mut self, key: usize, version: u64) {
        self.keys.entry(key).or_default().remove(&version);
    }

    /// A read that began at `begin` has brought `version`.
    pub(super) fn read(&mut self, key: usize, version: u64, begin: Moment, now: Moment) {
        self.reads += 1;
        match self.keys.entry(key).or_default().get_mut(&version) {
            Some(known) => {
                known.first_end = known.first_end.min(now);
                known.last_begin = known.last_begin.max(begin);
                known.reads += 1;
            }
            None => self.wrong = Some(format!("version {version} of key {key} was read, and never written")),
        }
    }

    /// A request was answered with an error of the node.
    pub(super) fn refuse(&mut self) {
        self.refused += 1;
    }

    pub(super) fn refused(&self) -> u64 {
        self.refused
    }

    pub(super) fn reads(&self) -> u64 {
        self.reads
    }

    pub(super) fn check(&self) -> Result<(), String> {
        if let Some(wrong) = &self.wrong {
            return Err(wrong.clone());
        }
        self.keys.iter().try_for_each(|(key, versions)| check_key(*key, versions))
    }
}

fn check_key(key: usize, versions: &BTreeMap<u64, Version>) -> Result<(), String> {
    let forward: Vec<(&u64, &Version)> =
        versions.iter().filter(|(_, known)| known.first_end < known.last_begin).collect();
    for (version, known) in versions {
        if known.first_end < known.written.0 {
            return Err(format!("version {version} of key {key} was read before it was written"));
        }
        for (other, lasting) in &forward {
            if *other == version {
                continue;
            }
            let overlaps = known.first_end < known.last_begin
                && known.first_end < lasting.last_begin
                && lasting.first_end < known.last_begin;
            let within = known.first_end >= known.last_begin
                && lasting.first_end < known.last_begin
                && known.first_end < lasting.last_begin;
            if overlaps || within {
                return Err(format!(
                    "key {key}: version {other} was there before and after version {version}\n{lasting:?}\n{known:?}"
                ));
            }
        }
    }
    Ok(())
}

#[test]
fn a_stale_read_is_found() {
    let mut history = History::default();
    history.write(0, 1, 0);
    history.written(0, 1, 10);
    history.write(0, 2, 20);
    history.read(0, 2, 21, 25);
    history.read(0, 1, 22, 28);
    assert_eq!(history.check(), Ok(()), "while the second write is under way both are right, in this order");
    history.read(0, 1, 26, 29);
    assert!(history.check().is_err(), "not after the second version was seen");
    let mut history = History::default();
    history.write(0, 1, 0);
    history.written(0, 1, 10);
    history.write(0, 2, 20);
    history.written(0, 2, 30);
    history.read(0, 1, 29, 40);
    assert_eq!(history.check(), Ok(()));
    history.read(0, 1, 31, 40);
    assert!(history.check().is_err());
}
