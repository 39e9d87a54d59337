//! Tests of the hashing module that need no recording; those are in `tests/hashing_fixtures.rs`.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::continuum::{Continuum, points_of};
use super::*;

const DISTRIBUTIONS: [Distribution; 6] = [
    Distribution::Ketama,
    Distribution::KetamaLibmemcached,
    Distribution::KetamaLibmemcachedUnweighted,
    Distribution::Modula,
    Distribution::Rendezvous,
    Distribution::Jump,
];

fn members(shares: &[(u32, bool)]) -> Vec<Member> {
    let member = |(index, &(weight, alive))| Member { name: format!("10.0.0.{index}:11212"), weight, alive };
    shares.iter().enumerate().map(member).collect()
}

fn even(count: usize) -> Vec<Member> {
    members(&vec![(1, true); count])
}

fn keys() -> impl Iterator<Item = Vec<u8>> {
    (0..500).map(|n| format!("key:{n}").into_bytes())
}

/// The keys that move when member `gone` dies, by the member they were with.
fn moved(distribution: Distribution, hash: KeyHash, mut members: Vec<Member>, gone: usize) -> Vec<usize> {
    let before = Ring::build(distribution, hash, None, &members).unwrap();
    members[gone].alive = false;
    let after = Ring::build(distribution, hash, None, &members).unwrap();
    let moved = keys().filter(|key| before.locate(key) != after.locate(key));
    moved.map(|key| usize::from(before.locate(&key).0)).collect()
}

/// Rounding gives rings of some sizes one digest less per member.
fn points_stay(members: usize) -> bool {
    points_of(1, members as u64, members) == points_of(1, members as u64 - 1, members - 1)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_key_belongs_to_a_live_member(
        distribution in select(DISTRIBUTIONS.to_vec()),
        hash in select(KeyHash::ALL.to_vec()),
        shares in vec((1u32..50, any::<bool>()), 1..12),
        keys in vec(vec(any::<u8>(), 0..40), 1..50),
        tag in select(vec![None, Some(*b"{}"), Some(*b"::")]),
    ) {
        let members = members(&shares);
        match Ring::build(distribution, hash, tag, &members) {
            Ok(ring) => prop_assert!(keys.iter().all(|key| members[usize::from(ring.locate(key).0)].alive)),
            Err(error) => {
                prop_assert_eq!(error, RingError::NoMembers);
                prop_assert!(members.iter().all(|member| !member.alive));
            }
        }
    }

    #[test]
    fn four_keys_at_once_are_four_keys(
        hash in select(KeyHash::ALL.to_vec()), len in 0usize..40, odd in 0usize..40, bytes in vec(any::<u8>(), 160),
    ) {
        let mut keys = [0, 1, 2, 3].map(|lane: usize| &bytes[lane * 40..][..len]);
        prop_assert_eq!(hash.hash_four(keys), keys.map(|key| hash.hash(key)));
        keys[2] = &bytes[80..][..odd];
        prop_assert_eq!(hash.hash_four(keys), keys.map(|key| hash.hash(key)));
    }

    #[test]
    fn only_the_keys_of_a_dead_member_move(
        hash in select(KeyHash::ALL.to_vec()), count in 2usize..20, gone in any::<prop::sample::Index>(),
    ) {
        let gone = gone.index(count);
        for distribution in [Distribution::KetamaLibmemcachedUnweighted, Distribution::Rendezvous] {
            prop_assert!(moved(distribution, hash, even(count), gone).iter().all(|&owner| owner == gone));
        }
        for distribution in [Distribution::Ketama, Distribution::KetamaLibmemcached] {
            let stays = !points_stay(count) || moved(distribution, hash, even(count), gone).iter().all(|&owner| owner == gone);
            prop_assert!(stays);
        }
        prop_assert!(moved(Distribution::Jump, hash, even(count), count - 1).iter().all(|&owner| owner == count - 1));
    }

    #[test]
    fn weights_do_not_make_rendezvous_move_more(
        weights in vec(1u32..1000, 3..10), gone in any::<prop::sample::Index>(),
    ) {
        let shares: Vec<(u32, bool)> = weights.iter().map(|&weight| (weight, true)).collect();
        let gone = gone.index(shares.len());
        let moved = moved(Distribution::Rendezvous, KeyHash::Fnv1a64, members(&shares), gone);
        prop_assert!(moved.iter().all(|&owner| owner == gone));
    }

    #[test]
    fn the_table_finds_what_a_search_finds(
        points in vec((any::<u32>(), 0u16..9), 1..400), crowd in vec((0u32..9, 0u16..9), 0..50), hashes in vec(any::<u32>(), 50),
    ) {
        let points: Vec<_> = points.into_iter().chain(crowd).map(|(value, owner)| (value, MemberIndex(owner))).collect();
        let continuum = Continuum::new(points.clone());
        let edges = points.iter().flat_map(|&(value, _)| [value, value.wrapping_add(1), value.wrapping_sub(1)]);
        let mut sorted = points.clone();
        sorted.sort_by_key(|&(value, _)| value);
        for hash in edges.chain(hashes).chain([0, u32::MAX]) {
            let expected = sorted.iter().find(|&&(value, _)| value >= hash).unwrap_or(&sorted[0]);
            prop_assert_eq!(continuum.locate(hash), expected.1);
        }
    }
}

#[test]
fn shares_follow_the_weights() {
    let ring = |distribution| {
        let members = members(&[(1, true), (2, true), (5, true)]);
        Ring::build(distribution, KeyHash::Murmur, None, &members).unwrap()
    };
    for distribution in
        [Distribution::Ketama, Distribution::Modula, Distribution::Rendezvous, Distribution::Jump]
    {
        let ring = ring(distribution);
        let mut counts = [0f64; 3];
        (0..80_000).for_each(|n| counts[usize::from(ring.locate(format!("k{n}").as_bytes()).0)] += 1.0);
        // A ring of 160 points a member is that uneven; the others are not.
        let tolerance = if distribution == Distribution::Ketama { 0.25 } else { 0.04 };
        for (count, expected) in counts.into_iter().zip([10_000.0, 20_000.0, 50_000.0]) {
            assert!((count / expected - 1.0f64).abs() < tolerance, "{distribution:?} {counts:?}");
        }
    }
}

/// From the tests of other implementations of the paper.
#[test]
fn jump_is_the_papers() {
    for (key, buckets, expected) in
        [(1, 1, 0), (42, 57, 43), (0xdead_10cc, 1, 0), (0xdead_10cc, 666, 361), (256, 1024, 520)]
    {
        assert_eq!(jump::bucket(key, buckets), expected, "{key} {buckets}");
    }
}

#[test]
fn a_ring_that_cannot_be_is_refused() {
    let build = |distribution, members: &[Member]| {
        Ring::build(distribution, KeyHash::Fnv1a64, None, members).map(|_| ()).unwrap_err()
    };
    assert_eq!(build(Distribution::Ketama, &[]), RingError::NoMembers);
    assert_eq!(build(Distribution::Jump, &members(&[(1, false)])), RingError::NoMembers);
    assert_eq!(
        build(Distribution::Modula, &members(&[(0, true)])),
        RingError::ZeroWeight("10.0.0.0:11212".into())
    );
    let heavy = members(&[(u32::MAX, true), (1, true)]);
    assert_eq!(build(Distribution::Modula, &heavy), RingError::TooMuchWeight);
    assert_eq!(build(Distribution::Jump, &heavy), RingError::TooMuchWeight);
    let twins = [even(1), even(1)].concat();
    assert_eq!(build(Distribution::Rendezvous, &twins), RingError::SameName("10.0.0.0:11212".into()));
    let mut long = even(2);
    long[1].name = "n".repeat(80);
    assert_eq!(build(Distribution::Ketama, &long), RingError::NameTooLong("n".repeat(80)));
    assert_eq!(build(Distribution::Ketama, &even(70_000)), RingError::TooManyMembers(70_000));
}

#[test]
fn names_in_configuration_files_are_the_ones_displayed() {
    for hash in KeyHash::ALL {
        let deserializer = serde::de::value::StrDeserializer::<serde::de::value::Error>::new(hash.name());
        assert_eq!(<KeyHash as serde::Deserialize>::deserialize(deserializer), Ok(hash));
    }
}
