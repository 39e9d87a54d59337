//! Records and journals from bytes: no panic, and what is read is written the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use naming_directory::frame;
use naming_directory::log::Record;
use naming_directory::log::journal::{Journal, recover};

fuzz_target!(|data: &[u8]| {
    check(data);
    // Payloads with their checksums put right, each after its kind and its length.
    let (mut rest, mut bytes) = (data, Vec::new());
    while let [kind, len, behind @ ..] = rest {
        let (payload, behind) = behind.split_at(usize::from(*len).min(behind.len()));
        rest = behind;
        frame::write(&mut bytes, kind % 8, payload);
    }
    check(&bytes);
});

fn check(bytes: &[u8]) {
    if let Ok((record, _)) = Record::read(bytes) {
        let mut again = Vec::new();
        record.write(&mut again);
        assert_eq!(Record::read(&again).expect("a record that was read").0, record);
    }
    if let Ok(recovered) = recover(bytes) {
        let records: Vec<Record> = recovered.log.records().collect();
        // A log that never had a group has no base that could be written.
        if recovered.log.base().members.is_valid() {
            let again = recover(&Journal::default().batch(&records)).expect("a journal that was recovered");
            assert_eq!(again.log, recovered.log);
        }
    }
}
