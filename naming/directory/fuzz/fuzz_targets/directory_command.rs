//! Commands from bytes: no panic, a reply to each, and a state that a snapshot of it brings back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use naming_directory::catalog::snapshot::{Restore, SnapshotWriter};
use naming_directory::catalog::{Catalog, NameRange};
use naming_directory::{Bytes, Position};

const HISTORY_BYTES: usize = 1 << 16;

fuzz_target!(|data: &[u8]| {
    let mut state = Catalog::new(NameRange::all(), Position::FIRST, HISTORY_BYTES);
    // Several commands, each after its length.
    let mut rest = data;
    while let Some((&len, behind)) = rest.split_first() {
        let (command, behind) = behind.split_at(usize::from(len).min(behind.len()));
        rest = behind;
        let position = Position::new(1, state.position().index + 1);
        match state.apply(position, Bytes::copy_from_slice(command)) {
            Ok(applied) => assert!(applied.reply.outcome.is_some()),
            // A version that does not exist yet.
            Err(_) => return,
        }
    }
    let mut restore = Restore::new(HISTORY_BYTES);
    SnapshotWriter::new(&state).for_each(|chunk| restore.push(&chunk).expect("a chunk of a snapshot"));
    let restored = restore.finish().expect("a whole snapshot");
    assert_eq!(restored.checksum(), state.checksum());
});
