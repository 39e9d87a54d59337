use naming::NodeId;
use proptest::prelude::*;

use super::journal::{Journal, JournalError, recover};
use super::*;

fn node(number: u64) -> NodeId {
    NodeId::new(number).unwrap()
}

fn members() -> Members {
    Members::of_voters([1, 2, 3].map(node))
}

fn entry(term: u64, index: u64, data: &[u8]) -> Record {
    let data = Bytes::copy_from_slice(data);
    Record::Entry(Entry { position: Position::new(term, index), kind: EntryKind::Command, data })
}

fn base(term: u64, index: u64) -> Base {
    Base { position: Position::new(term, index), members: members() }
}

fn log_of(records: &[Record]) -> Log {
    let mut log = Log::begin(base(0, 0));
    records.iter().for_each(|record| log.take(record.clone()).unwrap());
    log
}

fn indices(log: &Log) -> Vec<(u64, u64)> {
    log.entries_from(0).map(|entry| (entry.position.term, entry.position.index)).collect()
}

#[test]
fn an_entry_replaces_all_from_its_index_on() {
    let log = log_of(&[entry(1, 1, b"a"), entry(1, 2, b"bb"), entry(1, 3, b"ccc"), entry(2, 2, b"dddd")]);
    assert_eq!((indices(&log), log.bytes(), log.last_index()), (vec![(1, 1), (2, 2)], 5, 2));
    assert_eq!((log.term(0), log.term(2), log.term(3)), (Some(0), Some(2), None));
}

#[test]
fn compaction_keeps_what_is_behind_and_a_reset_nothing() {
    let mut log = log_of(&[entry(1, 1, b"a"), entry(1, 2, b"b"), entry(2, 3, b"c")]);
    log.take(Record::Compact(base(1, 2))).unwrap();
    assert_eq!((indices(&log), log.first_index(), log.bytes(), log.term(2)), (vec![(2, 3)], 3, 1, Some(1)));
    log.take(Record::Reset(base(7, 100))).unwrap();
    assert_eq!((indices(&log), log.last_index(), log.bytes(), log.term(100)), (vec![], 100, 0, Some(7)));
    log.take(entry(7, 101, b"x")).unwrap();
    assert_eq!(log.entries_from(102).count(), 0);
}

#[test]
fn the_last_entries_are_bounded_by_number_and_bytes() {
    let log = log_of(&[entry(1, 1, b"1"), entry(1, 2, b"22"), entry(1, 3, b"333"), entry(1, 4, b"4444")]);
    for (index, entries, bytes, before) in [
        (4, 9, 99, 0),
        (4, 2, 99, 2),
        (4, 0, 99, 4),
        (4, 9, 7, 2),
        (4, 9, 8, 2),
        (4, 9, 9, 1),
        (4, 9, 3, 4),
        (2, 9, 3, 0),
    ] {
        assert_eq!(log.before_last(index, entries, bytes), before, "{index} {entries} {bytes}");
    }
}

#[test]
fn what_does_not_follow_is_refused() {
    let log = log_of(&[entry(2, 1, b"a"), Record::HardState(HardState { term: 2, vote: 1, commit: 1 })]);
    let records = [
        entry(2, 3, b"gap"),
        entry(1, 2, b"an earlier term"),
        entry(2, 0, b"before the base"),
        Record::Compact(base(2, 2)),
        Record::Compact(base(1, 1)),
        Record::Reset(Base::default()),
        Record::HardState(HardState { term: 1, ..HardState::default() }),
    ];
    for record in records {
        let mut copy = log.clone();
        assert!(copy.take(record.clone()).is_err(), "{record}");
        assert_eq!(copy, log);
    }
    let error = log.clone().take(entry(2, 3, b"")).unwrap_err();
    assert_eq!(error.to_string(), "entry 3 of term 2 does not follow a log from 1 to 1");
}

#[test]
fn members_that_cannot_be_are_no_members() {
    let of = |voters: &[u64], learners: &[u64], outgoing: &[u64], next: &[u64]| {
        Members::of_numbers([voters, learners, outgoing, next]).is_some()
    };
    assert!(of(&[1, 2], &[3], &[1, 4], &[4]));
    assert!(!of(&[], &[1], &[], &[]) && !of(&[0], &[], &[], &[]));
    assert!(!of(&[1], &[1], &[], &[]) && !of(&[1], &[2], &[2], &[]) && !of(&[1], &[], &[], &[2]));
}

/// Batches of a member's life: terms and indices that follow one another, with truncations.
fn batches() -> impl Strategy<Value = Vec<Vec<Record>>> {
    let step = (0..10_u8, prop::collection::vec(any::<u8>(), 0..20));
    prop::collection::vec(prop::collection::vec(step, 1..4), 1..8).prop_map(|batches| {
        let mut log = Log::default();
        let mut term = 1;
        let mut all = vec![vec![Record::Reset(base(0, 0))]];
        log.take(all[0][0].clone()).unwrap();
        for steps in batches {
            let mut batch = Vec::new();
            for (choice, data) in steps {
                let record = match choice {
                    0 => {
                        term += 1;
                        Record::HardState(HardState { term, vote: 1, commit: log.base().position.index })
                    }
                    1 if log.last_index() > log.base().position.index => {
                        term += 1;
                        entry(term, log.last_index(), &data)
                    }
                    2 if log.last_index() > log.base().position.index => {
                        let index = log.first_index();
                        Record::Compact(base(log.term(index).unwrap(), index))
                    }
                    3 => Record::Reset(base(term, log.last_index() + 10)),
                    _ => entry(term, log.last_index() + 1, &data),
                };
                log.take(record.clone()).unwrap();
                batch.push(record);
            }
            all.push(batch);
        }
        all
    })
}

/// The file after each batch was written and synced, and the log that it holds.
fn journal_of(batches: &[Vec<Record>]) -> (Vec<u8>, Vec<(usize, Log)>) {
    let (mut journal, mut file, mut log) = (Journal::default(), Vec::new(), Log::default());
    let mut ends = Vec::new();
    for batch in batches {
        file.extend(journal.batch(batch));
        journal.synced(file.len() as u64);
        batch.iter().for_each(|record| log.take(record.clone()).unwrap());
        ends.push((file.len(), log.clone()));
    }
    (file, ends)
}

proptest! {
    #[test]
    fn records_come_back(batches in batches()) {
        for record in batches.iter().flatten() {
            let mut bytes = Vec::new();
            record.write(&mut bytes);
            bytes.push(9);
            prop_assert_eq!(Record::read(&bytes), Ok((record.clone(), &[9][..])));
        }
        let (file, ends) = journal_of(&batches);
        let recovered = recover(&file).unwrap();
        prop_assert_eq!((&recovered.log, recovered.torn), (&ends.last().unwrap().1, 0));
        // Written anew, it is the same log.
        let records: Vec<Record> = recovered.log.records().collect();
        prop_assert_eq!(recover(&Journal::default().batch(&records)).unwrap().log, recovered.log);
    }

    #[test]
    fn a_torn_end_is_cut_off(
        batches in batches(), cut: prop::sample::Index, junk in prop::collection::vec(any::<u8>(), 0..40)
    ) {
        let (file, ends) = journal_of(&batches);
        // The last batch was written, and not synced: any part of it may be there, and anything instead of
        // it.
        let synced = ends[ends.len() - 2].0;
        let at = synced + cut.index(file.len() - synced);
        let mut torn = file[..at].to_vec();
        torn.extend(junk);
        let recovered = recover(&torn).unwrap();
        prop_assert!(recovered.journal.len() as usize >= synced);
        // All that was synced is there, and of the last batch all or nothing.
        let written: Vec<Record> = batches.iter().flatten().cloned().collect();
        let least: usize = batches[..batches.len() - 1].iter().map(Vec::len).sum();
        let prefix = |len: usize| {
            let mut log = Log::default();
            written[..len].iter().for_each(|record| log.take(record.clone()).unwrap());
            log
        };
        prop_assert!([least, written.len()].into_iter().any(|len| prefix(len) == recovered.log));
        // It can be gone on with.
        let mut journal = recovered.journal;
        let mut file = torn[..journal.len() as usize].to_vec();
        let next = vec![Record::HardState(HardState { term: 1000, vote: 0, commit: 0 })];
        file.extend(journal.batch(&next));
        prop_assert_eq!(recover(&file).unwrap().log.hard_state().term, 1000);
    }

    #[test]
    fn damage_within_what_was_synced_is_refused(
        batches in batches(), at: prop::sample::Index, bit in 0..8_u8
    ) {
        let (mut file, ends) = journal_of(&batches);
        // Behind it stands the mark of the last batch, whole.
        let synced = ends[ends.len() - 2].0;
        let at = at.index(synced);
        file[at] ^= 1 << bit;
        prop_assert!(matches!(recover(&file), Err(JournalError::Corrupt { .. })), "{:?}", recover(&file));
    }

    #[test]
    fn any_bytes_are_a_journal_or_not(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = recover(&bytes);
        let _ = Record::read(&bytes);
    }
}

#[test]
fn a_later_releases_record_is_refused() {
    let mut file = Vec::new();
    crate::frame::write(&mut file, 77, b"");
    assert!(matches!(recover(&file), Err(JournalError::Unknown { .. })));
}
