//! The ring against recordings of the proxies and libraries that define it.
//!
//! A fixture begins with `# <distribution> <hash> <hash tag or ->` and one `# <name> <weight> <alive|dead>` per member;
//! then `<key>\t<member>` per line. How each was recorded is in `hashing_fixtures/record_*`.

#![allow(clippy::unwrap_used, reason = "a test that cannot read its fixture has failed")]

use std::path::{Path, PathBuf};

use memcached_bridge::hashing::{Distribution, KeyHash, Member, MemberIndex, Ring};

struct Fixture {
    distribution: Distribution,
    hash: KeyHash,
    hash_tag: Option<[u8; 2]>,
    members: Vec<Member>,
    keys: Vec<(String, String)>,
}

fn read(path: &Path) -> Fixture {
    let text = std::fs::read_to_string(path).unwrap();
    let mut heads = text.lines().map_while(|line| line.strip_prefix("# "));
    let ring: Vec<&str> = heads.next().unwrap().split(' ').collect();
    let members = heads.map(member).collect();
    let keys = text.lines().filter(|line| !line.starts_with("# "));
    let keys = keys.map(|line| line.split_once('\t').unwrap()).map(|(key, owner)| (key.into(), owner.into()));
    Fixture {
        distribution: distribution(ring[0]),
        hash: KeyHash::ALL.into_iter().find(|hash| hash.name() == ring[1]).unwrap(),
        hash_tag: (ring[2] != "-").then(|| ring[2].as_bytes().try_into().unwrap()),
        members,
        keys: keys.collect(),
    }
}

fn member(line: &str) -> Member {
    let fields: Vec<&str> = line.split(' ').collect();
    Member { name: fields[0].to_owned(), weight: fields[1].parse().unwrap(), alive: fields[2] == "alive" }
}

fn distribution(name: &str) -> Distribution {
    match name {
        "ketama" => Distribution::Ketama,
        "ketama_libmemcached" => Distribution::KetamaLibmemcached,
        "ketama_libmemcached_unweighted" => Distribution::KetamaLibmemcachedUnweighted,
        "modula" => Distribution::Modula,
        other => panic!("no distribution is called {other}"),
    }
}

#[test]
fn every_recorded_key_is_located_where_it_was_found() {
    // Cargo runs tests where their package is.
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir("tests/hashing_fixtures").unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.file_name().unwrap() != "keys.txt" && path.extension().unwrap() == "txt");
    assert_eq!(paths.len(), 29, "fixtures are missing");
    let mut wrong = Vec::new();
    for path in &paths {
        let fixture = read(path);
        assert!(fixture.keys.len() > 200, "{} holds too few keys", path.display());
        let ring =
            Ring::build(fixture.distribution, fixture.hash, fixture.hash_tag, &fixture.members).unwrap();
        let misplaced = fixture.keys.iter().filter(|(key, owner)| {
            let MemberIndex(index) = ring.locate(key.as_bytes());
            fixture.members[usize::from(index)].name != *owner
        });
        let misplaced: Vec<&str> = misplaced.map(|(key, _)| key.as_str()).collect();
        if !misplaced.is_empty() {
            wrong.push(format!("{}: {} misplaced: {misplaced:?}", path.display(), misplaced.len()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
