//! Replies of servers. What is read back must be what is there.
#![no_main]

use libfuzzer_sys::fuzz_target;
use memcached_bridge::protocol::render;
use memcached_bridge::protocol::reply::{MetaGetReply, Values, parse_meta_get_reply};

fuzz_target!(|data: &[u8]| {
    if let MetaGetReply::Hit { value, .. } = parse_meta_get_reply(data) {
        assert!(data.ends_with(&[value, b"\r\n"].concat()));
    }
    for value in Values::new(data) {
        let mut bytes = Vec::new();
        render::value(&mut bytes, value.key, value.flags, value.data, value.cas);
        let again = Values::new(&bytes).next();
        assert_eq!(
            again.map(|again| (again.key, again.flags, again.data, again.cas)),
            Some((value.key, value.flags, value.data, value.cas))
        );
    }
});
