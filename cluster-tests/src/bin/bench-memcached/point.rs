//! What is asked for, and how.

use std::fmt;

use cluster_tests::load::Keys;
use serde::Serialize;

const KEYS_PER_GET: [usize; 3] = [1, 10, 100];
const VALUE_BYTES: [usize; 4] = [32, 1 << 10, 16 << 10, 64 << 10];
const CONNECTIONS: [usize; 3] = [1, 50, MOST_CONNECTIONS];
const DEPTHS: [usize; 2] = [1, 16];

/// Connections of a load, at most.
pub(crate) const MOST_CONNECTIONS: usize = 1000;
/// Keys of each value size. So few that with every load each of them is hot: `hit` is to measure hits.
const KEYS: usize = 256;
/// Of Zipf's law.
pub(crate) const EXPONENT: f64 = 0.99;
/// Replies that are under way at once have this many bytes, at most, or are one. More would measure the machine's
/// memory.
const BYTES_UNDER_WAY: usize = 64 << 20;

/// One kind of load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Point {
    /// Keys in one request.
    pub(crate) keys_per_get: usize,
    /// Bytes of each value.
    pub(crate) value_bytes: usize,
    /// TCP connections of the client.
    pub(crate) connections: usize,
    /// Requests under way on each of them.
    pub(crate) depth: usize,
}

impl Point {
    const fn new(keys_per_get: usize, value_bytes: usize, connections: usize, depth: usize) -> Self {
        Self { keys_per_get, value_bytes, connections, depth }
    }

    /// The keys that are asked for.
    pub(crate) fn keys(self) -> Keys {
        Keys { count: KEYS, value_bytes: self.value_bytes }
    }

    /// Requests under way on all connections together.
    pub(crate) fn outstanding(self) -> usize {
        let reply_bytes = self.keys_per_get * self.value_bytes;
        (self.connections * self.depth).min(BYTES_UNDER_WAY / reply_bytes).max(1)
    }

    fn label(self) -> String {
        let Self { keys_per_get, connections, depth, .. } = self;
        format!("{keys_per_get} x {}, {connections} x {depth}", bytes(self.value_bytes))
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { keys_per_get, connections, depth, .. } = self;
        write!(f, "{keys_per_get} x {}, {connections} conn, depth {depth}", bytes(self.value_bytes))
    }
}

/// A size of values, as in `16 KB`.
pub(crate) fn bytes(bytes: usize) -> String {
    if bytes < 1024 { format!("{bytes} B") } else { format!("{} KB", bytes / 1024) }
}

/// The keys of every value size.
pub(crate) fn key_sets() -> impl Iterator<Item = Keys> {
    VALUE_BYTES.into_iter().map(|value_bytes| Keys { count: KEYS, value_bytes })
}

/// Points that differ in one thing.
#[derive(Debug)]
pub(crate) struct Line {
    /// A short name, for files.
    pub(crate) name: &'static str,
    /// What is the same.
    pub(crate) title: &'static str,
    /// The points, and what is special about each.
    pub(crate) points: Vec<(String, Point)>,
}

/// From the simplest load into every direction, and some corners.
pub(crate) fn lines() -> [Line; 5] {
    let line = |name, title, points: Vec<(String, Point)>| Line { name, title, points };
    let corners = [
        Point::new(10, 1 << 10, 50, 16),
        Point::new(100, 1 << 10, 50, 1),
        Point::new(10, 16 << 10, 1000, 1),
        Point::new(100, 64 << 10, 1, 1),
        Point::new(100, 64 << 10, 1000, 16),
    ];
    [
        line(
            "keys",
            "by keys per get (32 B values, 50 connections, not pipelined)",
            KEYS_PER_GET.map(|keys| (keys.to_string(), Point::new(keys, 32, 50, 1))).into(),
        ),
        line(
            "values",
            "by value size (1 key, 50 connections, not pipelined)",
            VALUE_BYTES.map(|value_bytes| (bytes(value_bytes), Point::new(1, value_bytes, 50, 1))).into(),
        ),
        line(
            "connections",
            "by connections (1 key, 32 B values, not pipelined)",
            CONNECTIONS
                .map(|connections| (connections.to_string(), Point::new(1, 32, connections, 1)))
                .into(),
        ),
        line(
            "pipelined",
            "by connections (1 key, 32 B values, pipelined, 16 deep)",
            CONNECTIONS
                .map(|connections| (connections.to_string(), Point::new(1, 32, connections, 16)))
                .into(),
        ),
        line(
            "corners",
            "at corners (keys x value, connections x depth)",
            corners.map(|point| (point.label(), point)).into(),
        ),
    ]
}

/// The ends and the middle of every dimension.
pub(crate) fn chosen() -> Vec<Point> {
    let mut points: Vec<Point> =
        lines().into_iter().flat_map(|line| line.points).map(|(_, point)| point).collect();
    points.sort_unstable();
    points.dedup();
    points
}

/// Every combination.
pub(crate) fn all() -> Vec<Point> {
    let mut points = Vec::new();
    for keys_per_get in KEYS_PER_GET {
        for value_bytes in VALUE_BYTES {
            for connections in CONNECTIONS {
                points.extend(DEPTHS.map(|depth| Point::new(keys_per_get, value_bytes, connections, depth)));
            }
        }
    }
    points
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_chosen_points_are_some_of_all_and_cover_every_dimension() {
        let (chosen, all) = (chosen(), all());
        assert!(chosen.iter().all(|point| all.contains(point)));
        assert_eq!((chosen.len(), all.len()), (16, 72));
        let values =
            |points: &[Point], of: fn(&Point) -> usize| points.iter().map(of).collect::<BTreeSet<_>>();
        for of in [
            |point: &Point| point.keys_per_get,
            |point: &Point| point.value_bytes,
            |point: &Point| point.connections,
            |point: &Point| point.depth,
        ] {
            assert_eq!(values(&chosen, of), values(&all, of));
        }
    }

    #[test]
    fn what_is_under_way_is_bounded() {
        assert_eq!(Point::new(1, 32, 1000, 16).outstanding(), 16_000);
        assert_eq!(Point::new(100, 64 << 10, 1000, 16).outstanding(), 10);
    }
}
