//! Names from bytes and from text: no panic, and what is read is written the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use naming::{Name, NameRef};

fuzz_target!(|data: &[u8]| {
    if let Ok(name) = NameRef::from_bytes(data) {
        assert_eq!(name.to_string().parse::<Name>().as_ref().map(Name::as_bytes), Ok(data));
        assert!(name.prefixes().all(|prefix| name.starts_with(prefix)));
    }
    if let Ok((name, rest)) = Name::from_tlv(data) {
        let mut again = Vec::new();
        name.write_tlv(&mut again);
        assert_eq!([&again, rest].concat(), data);
    }
    if let Ok(name) = String::from_utf8_lossy(data).parse::<Name>() {
        assert_eq!(name.to_string().parse(), Ok(name));
    }
});
