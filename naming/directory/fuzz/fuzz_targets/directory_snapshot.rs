//! Chunks of snapshots: as they come, and with their checksums put right, as if whoever sent them meant it.
//! No panic, and whoever passes chunks on takes what can be restored.
#![no_main]

use libfuzzer_sys::fuzz_target;
use naming_directory::catalog::snapshot::{Restore, Sequence, SnapshotWriter};
use naming_directory::catalog::{Catalog, NameRange};
use naming_directory::{Position, frame};

fuzz_target!(|data: &[u8]| {
    let _ = Restore::new(0).push(data);
    let empty = Catalog::new(NameRange::all(), Position::FIRST, 0);
    let (mut restore, mut sequence) = (Restore::new(0), Sequence::default());
    if data.first().is_some_and(|first| first % 2 == 0) {
        let header = SnapshotWriter::new(&empty).next().expect("a snapshot has a header");
        restore.push(&header).expect("a header");
        sequence.push(&header).expect("a header");
    }
    // Several payloads, each after its kind and its length.
    let mut rest = data.get(1..).unwrap_or_default();
    while let [kind, len, behind @ ..] = rest {
        let (payload, behind) = behind.split_at(usize::from(*len).min(behind.len()));
        rest = behind;
        let mut chunk = Vec::new();
        frame::write(&mut chunk, *kind, payload);
        let passed = sequence.push(&chunk);
        assert!(restore.push(&chunk).is_err() || passed.is_ok());
    }
    assert_eq!(sequence.is_complete(), restore.is_complete());
    let passed = sequence.finish();
    assert!(restore.finish().is_err() || passed.is_ok());
});
