//! States come back as they were; anything else is refused.

use proptest::prelude::*;
use prost::Message;

use super::*;
use crate::catalog::tests::{Shard, acquire, bytes, name, publish, put, register, retire, split};
use crate::catalog::{Catalog, NameRange, RecordKind, VERSION};
use crate::frame;
use crate::proto::command::Action;
use crate::proto::{self, state};

fn chunks_of(state: &Catalog) -> Vec<Vec<u8>> {
    SnapshotWriter::new(state).collect()
}

fn restore(chunks: &[Vec<u8>]) -> Result<Catalog, SnapshotError> {
    let mut restore = Restore::new(1 << 20);
    chunks.iter().try_for_each(|chunk| restore.push(chunk))?;
    restore.finish()
}

/// What shows of chunks that are passed on.
fn pass(chunks: &[Vec<u8>]) -> Result<NameRange, SnapshotError> {
    let mut sequence = Sequence::default();
    chunks.iter().try_for_each(|chunk| sequence.push(chunk))?;
    sequence.finish()
}

/// Whether a snapshot that is not whole is refused, by whoever restores it and by whoever passes it on.
fn is_refused(chunks: &[Vec<u8>]) -> bool {
    restore(chunks).is_err() && pass(chunks).is_err()
}

/// Something of everything, with a purge under way.
fn full_shard() -> Shard {
    let mut shard = Shard::new();
    let many: Vec<String> = (0..3000).map(|number| format!("/x/{number:05}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    shard.run(Action::OpenSession(proto::OpenSession {}));
    let session = Some(proto::Session { client: 1, sequence: 1 });
    shard.apply(&proto::Command { session, time_ms: 5, action: Some(put("/a", "1", None)) });
    shard.run(register(1, 1));
    shard.run(acquire("/mc/web", 1, 1));
    for node in 1..4 {
        shard.run(publish(node, 1, &many));
    }
    shard.run(put("/", "root", None));
    shard.run(retire(2, 1));
    shard
}

#[test]
fn a_state_comes_back() {
    let mut shard = full_shard();
    let chunks = chunks_of(&shard.state);
    let mut restored = Shard::of(restore(&chunks).unwrap());
    assert_eq!(restored.state.checksum(), shard.state.checksum());
    assert_eq!(chunks_of(&restored.state), chunks);
    // It goes on as the other does, purge and sessions included.
    for shard in [&mut shard, &mut restored] {
        shard.run(publish(2, 2, &["/x/00001", "/y"]));
        let session = Some(proto::Session { client: 1, sequence: 1 });
        let again = shard.apply(&proto::Command { session, time_ms: 9, action: Some(put("/a", "2", None)) });
        assert_eq!(again.reply.position.unwrap().index, 2);
        for _ in 0..40 {
            shard.pass(100);
        }
    }
    assert_eq!(restored.state.checksum(), shard.state.checksum());
    assert_eq!(restored.events, shard.events[shard.events.len() - restored.events.len()..]);
    assert_eq!(restored.state.tables().collect::<Vec<_>>(), shard.state.tables().collect::<Vec<_>>());
}

#[test]
fn the_state_changes_while_a_snapshot_is_written() {
    let mut shard = full_shard();
    let expected = chunks_of(&shard.state);
    let mut writer = SnapshotWriter::new(&shard.state);
    let mut chunks: Vec<Vec<u8>> = writer.by_ref().take(2).collect();
    shard.run(publish(9, 1, &["/x/00002", "/zzz"]));
    shard.run(put("/a", "changed", None));
    chunks.extend(writer);
    assert_eq!(chunks, expected);
}

#[test]
fn one_half_of_a_split_comes_back() {
    let mut shard = full_shard();
    let command = proto::Command { action: Some(split("/x/01500")), ..Default::default() };
    let right = shard.apply(&command).split.unwrap();
    for half in [&shard.state, &*right] {
        let restored = restore(&chunks_of(half)).unwrap();
        assert_eq!((restored.checksum(), restored.range()), (half.checksum(), half.range()));
        assert_eq!(pass(&chunks_of(half)).as_ref(), Ok(half.range()));
    }
    assert!(right.record(RecordKind::Route, name("/a").as_name()).is_none());
}

#[test]
fn newer_ones_are_refused() {
    let state = Shard::new().state;
    let header = |change: fn(&mut state::SnapshotHeader)| {
        let mut header = state::SnapshotHeader::decode(&state.header_bytes()[..]).unwrap();
        change(&mut header);
        let mut chunk = Vec::new();
        frame::write(&mut chunk, 1, &header.encode_to_vec());
        Restore::new(0).push(&chunk).unwrap_err()
    };
    assert_eq!(header(|header| header.format = FORMAT + 1), SnapshotError::NewerFormat(FORMAT + 1));
    let newer = header(|header| header.version = VERSION + 1);
    assert_eq!(newer, SnapshotError::NewerVersion(VERSION + 1));
    assert_eq!(
        newer.to_string(),
        "the snapshot is of version 2 of the directory, this release knows up to 1: upgrade this node"
    );
    let empty = header(|header| (header.from, header.until) = (bytes("/b"), Some(bytes("/a"))));
    assert_eq!(empty, SnapshotError::BadItem { chunk: 0, table: "header" });
}

#[test]
fn what_is_missing_doubled_or_swapped_is_noticed() {
    let chunks = chunks_of(&full_shard().state);
    assert!(chunks.len() > 5);
    assert_eq!(restore(&chunks[..3]).unwrap_err(), SnapshotError::Incomplete(3));
    assert_eq!(pass(&chunks[..3]), Err(SnapshotError::Incomplete(3)));
    for at in 0..chunks.len() - 1 {
        let mut missing = chunks.clone();
        missing.remove(at);
        assert!(is_refused(&missing), "chunk {at} is missing");
        let mut doubled = chunks.clone();
        doubled.insert(at, chunks[at].clone());
        assert!(is_refused(&doubled), "chunk {at} comes twice");
        let mut swapped = chunks.clone();
        swapped.swap(at, at + 1);
        assert!(is_refused(&swapped), "chunks {at} and the next are swapped");
    }
    let mut behind = chunks.clone();
    behind.push(chunks[1].clone());
    assert!(matches!(restore(&behind), Err(SnapshotError::Misplaced { .. })));
    assert!(matches!(pass(&behind), Err(SnapshotError::Misplaced { .. })));
}

/// A chunk whose checksum is right, by whoever wrote nonsense.
fn forged(kind: u8, key: &[u8], value: &[u8]) -> Vec<u8> {
    let mut payload = vec![0];
    for part in [key, value] {
        prost::encoding::encode_varint(part.len() as u64, &mut payload);
        payload.extend(part);
    }
    let mut chunk = Vec::new();
    frame::write(&mut chunk, kind, &payload);
    chunk
}

#[test]
fn items_are_checked_one_by_one() {
    let header = chunks_of(&Shard::new().state).remove(0);
    let node = state::Node {
        node: 1,
        rack: "r".to_owned(),
        addresses: vec!["1.1.1.1:1".to_owned()],
        ..Default::default()
    };
    let (here, elsewhere) = (bytes("/node/0000000000000001"), bytes("/node/0000000000000002"));
    let cases = [
        (2, elsewhere.to_vec(), node.encode_to_vec()),
        (2, here.to_vec(), state::Node { rack: String::new(), ..node.clone() }.encode_to_vec()),
        (
            2,
            here.to_vec(),
            state::Node { addresses: vec!["1.1.1.1:1".to_owned(); 9], ..node.clone() }.encode_to_vec(),
        ),
        (3, b"\x01".to_vec(), Vec::new()),
        (9, 5_u64.to_be_bytes().to_vec(), Vec::new()),
        (10, bytes("/x").to_vec(), vec![0; 31]),
        // Without holders.
        (10, bytes("/x").to_vec(), vec![0; 34]),
        // Two holders, not ascending.
        (10, bytes("/x").to_vec(), [&[0; 33][..], &[2, 5, 5]].concat()),
        // A slot that would need as many counters.
        (10, bytes("/x").to_vec(), [&[0; 33][..], &[1, 0xff, 0xff, 0xff, 0xff, 0x0f]].concat()),
        (11, vec![1, 2], Vec::new()),
    ];
    for (kind, key, value) in cases {
        let mut restore = Restore::new(0);
        restore.push(&header).unwrap();
        let error = restore.push(&forged(kind, &key, &value)).unwrap_err();
        assert!(matches!(error, SnapshotError::BadItem { chunk: 1, .. }), "table {kind}: {error}");
    }
    // A holder that no slot stands for.
    let mut restore = Restore::new(0);
    restore.push(&header).unwrap();
    restore.push(&forged(10, &bytes("/x"), &[&[0; 33][..], &[1, 5]].concat())).unwrap();
    assert!(matches!(restore.finish(), Err(SnapshotError::Incomplete(2))));
}

proptest! {
    #[test]
    fn a_flipped_bit_is_noticed(chunk: prop::sample::Index, at: prop::sample::Index, bit in 0..8_u8) {
        let mut chunks = chunks_of(&{
            let mut shard = Shard::new();
            shard.run(put("/a", "1", None));
            shard.run(publish(1, 1, &["/x/1", "/x/2"]));
            shard.state
        });
        let chunk = chunk.index(chunks.len());
        let at = at.index(chunks[chunk].len());
        chunks[chunk][at] ^= 1 << bit;
        prop_assert!(is_refused(&chunks));
    }

    #[test]
    fn any_payload_is_refused_or_restored(
        payloads in prop::collection::vec((2..12_u8, prop::collection::vec(any::<u8>(), 0..60)), 0..4)
    ) {
        let (mut restore, mut sequence) = (Restore::new(0), Sequence::default());
        let header = &chunks_of(&Shard::new().state)[0];
        restore.push(header).unwrap();
        sequence.push(header).unwrap();
        for (kind, payload) in payloads {
            let mut chunk = Vec::new();
            frame::write(&mut chunk, kind, &payload);
            let passed = sequence.push(&chunk);
            prop_assert!(restore.push(&chunk).is_err() || passed.is_ok());
        }
        prop_assert!(restore.finish().is_err());
    }
}
