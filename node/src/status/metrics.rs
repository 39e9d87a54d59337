//! The Prometheus text format, version 0.0.4.

use std::collections::BTreeMap;
use std::fmt::Write;

/// What a metric does over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It grows, and begins at 0 with the process.
    Counter,
    /// It goes up and down.
    Gauge,
    /// Counters by size.
    Histogram,
}

#[derive(Clone, Debug)]
struct Family {
    kind: Kind,
    help: String,
    /// What is behind the name, such as `_sum`; labels as they are written; the value.
    samples: Vec<(&'static str, String, f64)>,
}

/// Metrics by name.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    families: BTreeMap<String, Family>,
}

impl Metrics {
    /// Adds a sample of a counter. `name` ends in `_total`; the first `help` for a name stays.
    pub fn counter(&mut self, name: &str, help: &str, labels: &[(&str, &str)], value: u64) {
        self.add(Kind::Counter, name, help, labels, value as f64);
    }

    /// Adds a sample of a gauge.
    pub fn gauge(&mut self, name: &str, help: &str, labels: &[(&str, &str)], value: f64) {
        self.add(Kind::Gauge, name, help, labels, value);
    }

    /// Adds a histogram: `counts` of what was at most as large as each of `ends` and larger than the one before, then of
    /// what was larger than all, and the `sum` of all.
    pub fn histogram(
        &mut self,
        name: &str,
        help: &str,
        labels: &[(&str, &str)],
        ends: &[f64],
        counts: &[u64],
        sum: f64,
    ) {
        let ends = ends.iter().map(f64::to_string).chain(["+Inf".to_owned()]);
        let mut total = 0;
        for (end, count) in ends.zip(counts) {
            total += count;
            let labels: Vec<(&str, &str)> = labels.iter().copied().chain([("le", end.as_str())]).collect();
            self.add_sample(Kind::Histogram, name, help, ("_bucket", &labels), total as f64);
        }
        self.add_sample(Kind::Histogram, name, help, ("_sum", labels), sum);
        self.add_sample(Kind::Histogram, name, help, ("_count", labels), total as f64);
    }

    /// All of them as text.
    pub fn render(&self) -> String {
        let mut text = String::new();
        for (name, family) in &self.families {
            let kind = match family.kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
                Kind::Histogram => "histogram",
            };
            _ = writeln!(text, "# HELP {name} {}\n# TYPE {name} {kind}", escape(&family.help, false));
            for (suffix, labels, value) in &family.samples {
                _ = writeln!(text, "{name}{suffix}{labels} {value}");
            }
        }
        text
    }

    fn add(&mut self, kind: Kind, name: &str, help: &str, labels: &[(&str, &str)], value: f64) {
        self.add_sample(kind, name, help, ("", labels), value);
    }

    fn add_sample(
        &mut self,
        kind: Kind,
        name: &str,
        help: &str,
        (suffix, labels): (&'static str, &[(&str, &str)]),
        value: f64,
    ) {
        debug_assert!(is_name(name), "{name} is no name of a metric");
        debug_assert!(
            kind != Kind::Counter || name.ends_with("_total"),
            "{name} is a counter without _total"
        );
        let new = || Family { kind, help: help.trim().to_owned(), samples: Vec::new() };
        let family = self.families.entry(name.to_owned()).or_insert_with(new);
        debug_assert_eq!(family.kind, kind, "{name} has two types");
        family.samples.push((suffix, render_labels(labels), value));
    }
}

fn is_name(name: &str) -> bool {
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':';
    name.bytes().all(valid) && name.bytes().next().is_some_and(|first| !first.is_ascii_digit())
}

fn render_labels(labels: &[(&str, &str)]) -> String {
    if labels.is_empty() {
        return String::new();
    }
    let label = |(name, value): &(&str, &str)| format!("{name}=\"{}\"", escape(value, true));
    format!("{{{}}}", labels.iter().map(label).collect::<Vec<_>>().join(","))
}

fn escape(text: &str, quotes: bool) -> String {
    let text = text.replace('\\', "\\\\").replace('\n', "\\n");
    if quotes { text.replace('"', "\\\"") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_has_one_head_for_each_name_and_escapes_labels() {
        let mut metrics = Metrics::default();
        metrics.counter("hits_total", " Keys found. ", &[("pool", "a\"b\\c\nd")], 3);
        metrics.gauge("bytes", "In use.", &[], 1.5);
        metrics.counter("hits_total", "ignored", &[("pool", "e"), ("worker", "1")], 4);
        let expected = "# HELP bytes In use.\n# TYPE bytes gauge\nbytes 1.5\n\
            # HELP hits_total Keys found.\n# TYPE hits_total counter\n\
            hits_total{pool=\"a\\\"b\\\\c\\nd\"} 3\nhits_total{pool=\"e\",worker=\"1\"} 4\n";
        assert_eq!(metrics.render(), expected);
    }

    #[test]
    fn a_histogram_adds_up() {
        let mut metrics = Metrics::default();
        metrics.histogram("took_seconds", "How long.", &[("pool", "a")], &[0.5, 1.0], &[3, 0, 2], 4.25);
        let expected = "# HELP took_seconds How long.\n# TYPE took_seconds histogram\n\
            took_seconds_bucket{pool=\"a\",le=\"0.5\"} 3\ntook_seconds_bucket{pool=\"a\",le=\"1\"} 3\n\
            took_seconds_bucket{pool=\"a\",le=\"+Inf\"} 5\ntook_seconds_sum{pool=\"a\"} 4.25\n\
            took_seconds_count{pool=\"a\"} 5\n";
        assert_eq!(metrics.render(), expected);
    }
}
