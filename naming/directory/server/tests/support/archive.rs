//! What the archives of stores have, whatever their format. `tests/format.rs` makes them and opens them in its process,
//! `cluster-tests` in processes of their own.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use naming::{Digest, Name, NodeId};
use naming_directory::catalog::{Change, RecordKind};
use naming_directory_client::Client;
use naming_directory_client::client::Copy;
use naming_directory_client::wire::Freshness;

/// The owner of the store.
pub const OWNER: u64 = 1;
/// Longer than any test takes: time stands still in a store that is not open.
pub const LEASE: Duration = Duration::from_secs(24 * 3600);
pub const NAMES: u32 = 200;

/// The archive of a format, below the server's package.
pub fn archive(package: &Path, format: u32) -> PathBuf {
    package.join(format!("tests/data/format-{format}.tar.gz"))
}

pub fn tar(arguments: &[&str], directory: &Path) {
    let status = Command::new("tar").args(arguments).current_dir(directory).status().unwrap();
    assert!(status.success(), "tar {arguments:?}");
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

pub fn chunk(number: u32) -> Name {
    name(&format!("/hdfs/c1/b/{number:03}/v=1"))
}

pub fn copy(number: u32) -> Copy {
    Copy { name: chunk(number), digest: Digest::of(&number.to_be_bytes()), length: number.into() }
}

/// All is there that was acknowledged, and nothing is there that was acknowledged to be gone.
pub async fn check(client: &Client) {
    let chunks: Vec<Name> = (0..NAMES).map(chunk).collect();
    let refs: Vec<_> = chunks.iter().map(Name::as_name).collect();
    let resolved = client.resolve(&refs, Freshness::Linearizable).await.unwrap();
    for (number, resolution) in (0..NAMES).zip(resolved) {
        let copies = resolution.copies.unwrap();
        let holders: Vec<u64> = copies.holders.into_iter().map(NodeId::get).collect();
        let expected = if (1..NAMES / 2).contains(&number) { &[7, 8][..] } else { &[7] };
        assert_eq!(holders, expected, "copies of chunk {number}");
        assert_eq!((copies.digest, copies.length), (copy(number).digest, number.into()));
    }
    let nodes = client.nodes().await.unwrap();
    let seventh =
        |change: &Change| matches!(change, Change::NodeUp { location, .. } if location.node.get() == 7);
    assert!(nodes.iter().any(|event| seventh(&event.change)), "{nodes:?}");
    let web = client.resolve(&[name("/mc/web").as_name()], Freshness::Linearizable).await.unwrap();
    let held = web[0].authority.as_ref().unwrap();
    assert_eq!((held.node, held.term > 0), (NodeId::new(7), true));
    assert!(held.remaining > LEASE / 2, "{:?}", held.remaining);
    let (records, shards) = client.list(name("/mc/web").as_name(), Freshness::Linearizable).await.unwrap();
    // One of each kind, and the authority.
    assert_eq!((records.len(), shards.len()), (RecordKind::ALL.len() + 1, 1), "{records:?}");
    assert!(records.iter().filter(|event| format!("{:?}", event.change).contains("second")).count() == 4);
    let (all, shards) = client.list(name("/").as_name(), Freshness::Linearizable).await.unwrap();
    assert!(shards.len() == 2 && !all.iter().any(|event| event.name == name("/gone")));
}
