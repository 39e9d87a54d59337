//! Servers that say anything to a client: no panic, whatever is asked ends, and events are told again as they came.
#![no_main]

#[path = "../../client/tests/support/strange.rs"]
mod strange;

use libfuzzer_sys::fuzz_target;
use naming_directory_client::wire::Response;
use prost::Message;
use strange::{Said, survive};

/// Answers in one run: they are said again and again.
const MAX_SAID: usize = 16;

fuzz_target!(|data: &[u8]| {
    // Several answers, each after its length; of none: what belongs to the request.
    let (mut rest, mut said) = (data, Vec::new());
    while let Some((&len, behind)) = rest.split_first()
        && said.len() < MAX_SAID
    {
        let (bytes, behind) = behind.split_at(usize::from(len).min(behind.len()));
        rest = behind;
        said.push(match Response::decode(bytes) {
            _ if bytes.is_empty() => Said::Proper,
            Ok(Response { body: Some(body), .. }) => Said::Body(Box::new(body)),
            _ if bytes == [0] => Said::Nothing,
            _ => Said::Bytes(bytes.to_vec()),
        });
    }
    survive(said);
});
