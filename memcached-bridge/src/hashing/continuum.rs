//! ketama's continuum: points on a circle of 32 bits; a key belongs to the first point at or after its hash.

use super::MemberIndex;
use super::functions::{KeyHash, md5_words};

/// Points of a member of average weight.
const POINTS: u32 = 160;
/// Points of a member of libmemcached's ring without weights.
const POINTS_UNWEIGHTED: u32 = 100;
/// Points that one MD5 gives.
const POINTS_PER_DIGEST: u32 = 4;
/// The table has at least 2^12 slots: four bytes each, 16 KiB in all, which stays in the first-level cache.
const MIN_TABLE_BITS: u32 = 12;
const MAX_TABLE_BITS: u32 = 20;

/// Points that one look compares, without a branch. Few slots of the table hold as many.
const WINDOW: usize = 4;

/// Points in order, and a table over the top bits of the hash that says where to begin.
#[derive(Clone, Debug)]
pub(super) struct Continuum {
    /// In order, and then a window of the largest value.
    values: Box<[u32]>,
    /// The owner of each value, and then again the first one: the circle closes.
    owners: Box<[MemberIndex]>,
    /// For each slot the first point at or after the slot's start.
    table: Box<[u32]>,
    shift: u32,
}

/// A member as the continuum sees it.
pub(super) struct Site<'a> {
    pub(super) index: MemberIndex,
    pub(super) name: &'a str,
    pub(super) weight: u32,
}

impl Continuum {
    /// twemproxy's and libmemcached's weighted ring: four points per MD5 of `<name>-<n>`.
    pub(super) fn weighted(sites: &[Site<'_>]) -> Self {
        let total: u64 = sites.iter().map(|site| u64::from(site.weight)).sum();
        let mut points = Vec::with_capacity(sites.len() * POINTS as usize);
        for site in sites {
            for n in 0..points_of(site.weight, total, sites.len()) / POINTS_PER_DIGEST {
                let digest = md5_words(format!("{}-{n}", site.name).as_bytes());
                points.extend(digest.map(|value| (value, site.index)));
            }
        }
        Self::new(points)
    }

    /// libmemcached's ring without weights: one point per `hash` of `<name>-<n>`.
    pub(super) fn unweighted(sites: &[Site<'_>], hash: KeyHash) -> Self {
        let points = sites.iter().flat_map(|site| {
            let point = move |n| (hash.hash(format!("{}-{n}", site.name).as_bytes()), site.index);
            (0..POINTS_UNWEIGHTED).map(point)
        });
        Self::new(points.collect())
    }

    pub(super) fn new(mut points: Vec<(u32, MemberIndex)>) -> Self {
        // Stable: of points with one value the member listed first wins, as with glibc's qsort.
        points.sort_by_key(|&(value, _)| value);
        let (mut values, mut owners): (Vec<u32>, Vec<MemberIndex>) = points.into_iter().unzip();
        let bits =
            (values.len() as u32 * 2).next_power_of_two().ilog2().clamp(MIN_TABLE_BITS, MAX_TABLE_BITS);
        let shift = u32::BITS - bits;
        let first_from = |slot: u32| values.partition_point(|&value| value < slot << shift) as u32;
        let table = (0..1 << bits).map(first_from).collect();
        values.extend([u32::MAX; WINDOW]);
        owners.extend(owners.first().copied());
        Self { values: values.into(), owners: owners.into(), table, shift }
    }

    /// Whether there are no points at all: so it is if every member's share is below one digest.
    pub(super) fn is_empty(&self) -> bool {
        self.owners.is_empty()
    }

    /// The owner of `hash`.
    #[inline(always)]
    pub(super) fn locate(&self, hash: u32) -> MemberIndex {
        let from = self.table[(hash >> self.shift) as usize] as usize;
        let before =
            self.values[from..from + WINDOW].iter().map(|&value| usize::from(value < hash)).sum::<usize>();
        if before == WINDOW {
            return self.owners[from + self.values[from..].partition_point(|&value| value < hash)];
        }
        self.owners[from + before]
    }
}

/// How many points a member gets. The arithmetic is in 32-bit floats, whose rounding is part of the result.
pub(super) fn points_of(weight: u32, total: u64, members: usize) -> u32 {
    let share = weight as f32 / total as f32;
    let digests = share * POINTS as f32 / POINTS_PER_DIGEST as f32 * members as f32;
    digests as u32 * POINTS_PER_DIGEST
}
