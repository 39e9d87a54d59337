//! Messages of peers: no panic, in a follower, a candidate or a leader.
#![no_main]

use libfuzzer_sys::fuzz_target;
use naming_directory::Position;
use naming_directory::catalog::{Catalog, NameRange};
use naming_directory::group::{Config, Incoming};
use naming_directory::log::{Base, Log, Members};
use naming_directory::replica::Replica;
use std::time::Duration;

fuzz_target!(|data: &[u8]| {
    let Some((&ticks, mut rest)) = data.split_first() else { return };
    let nodes: Vec<_> = [1, 2, 3].into_iter().filter_map(naming_directory::NodeId::new).collect();
    let voters = if ticks % 2 == 0 { &nodes[..1] } else { &nodes[..] };
    let members = Members::of_voters(voters.iter().copied());
    let log = Log::begin(Base { position: Position::FIRST, members });
    let state = Catalog::new(NameRange::all(), Position::FIRST, 1 << 10);
    let mut replica = Replica::open(Config::new(nodes[0], 1), log, state).expect("a group that begins");
    for _ in 0..ticks % 32 {
        replica.tick(Duration::ZERO);
        settle(&mut replica);
    }
    // Several messages, each after its length.
    while let Some((&len, behind)) = rest.split_first() {
        let (bytes, behind) = behind.split_at(usize::from(len).min(behind.len()));
        rest = behind;
        if let Ok(message) = Incoming::decode(bytes) {
            let _ = replica.step(message);
        }
        settle(&mut replica);
    }
});

fn settle(replica: &mut Replica) {
    while let Ok(output) = replica.poll() {
        if output.is_empty() {
            return;
        }
        if let Some(unsynced) = output.persist {
            replica.persisted(unsynced);
        }
    }
}
