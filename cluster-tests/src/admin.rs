//! What the node's admin server says, asked from inside a host of the rack or from here.

use crate::rack::Host;
use crate::{RackError, wait};
use std::net::SocketAddrV4;
use std::time::Duration;

/// A client of one admin server.
#[derive(Clone, Debug)]
pub struct AdminClient {
    host: Option<Host>,
    address: SocketAddrV4,
}

impl AdminClient {
    /// A client that asks `address` from inside `host`.
    pub fn new(host: Host, address: SocketAddrV4) -> Self {
        Self { host: Some(host), address }
    }

    /// A client that asks `address` from the namespace of the caller.
    pub fn here(address: SocketAddrV4) -> Self {
        Self { host: None, address }
    }

    /// The body at `path`.
    ///
    /// # Errors
    /// [`RackError::Admin`] if the server does not answer with a success.
    pub fn get(&self, path: &str) -> Result<String, RackError> {
        let url = format!("http://{}{path}", self.address);
        let fetch = || {
            let config = ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(5))).build();
            ureq::Agent::new_with_config(config).get(&url).call()?.body_mut().read_to_string()
        };
        let body = self.host.as_ref().map_or_else(fetch, |host| host.run(fetch));
        body.map_err(|error| RackError::Admin { path: path.to_owned(), reason: error.to_string() })
    }

    /// `/api/status`.
    ///
    /// # Errors
    /// As [`get`](AdminClient::get), or if it is not JSON.
    pub fn status(&self) -> Result<serde_json::Value, RackError> {
        let path = "/api/status";
        serde_json::from_str(&self.get(path)?)
            .map_err(|error| RackError::Admin { path: path.to_owned(), reason: error.to_string() })
    }

    /// `/metrics`.
    ///
    /// # Errors
    /// As [`get`](AdminClient::get).
    pub fn metrics(&self) -> Result<Metrics, RackError> {
        Ok(Metrics::parse(&self.get("/metrics")?))
    }

    /// Waits until `condition` holds for the metrics (they are published every few milliseconds).
    ///
    /// # Errors
    /// [`RackError::Timeout`] naming `what`.
    pub fn wait_metrics(
        &self,
        what: &str,
        within: Duration,
        mut condition: impl FnMut(&Metrics) -> bool,
    ) -> Result<Metrics, RackError> {
        wait::until(what, within, || self.metrics().ok().filter(|metrics| condition(metrics)))
    }
}

/// One scrape in the Prometheus text format.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    samples: Vec<(String, String, f64)>,
}

impl Metrics {
    /// Reads the text format; comments and lines that are not samples are skipped.
    pub fn parse(text: &str) -> Self {
        let sample = |line: &str| {
            let (series, value) = line.rsplit_once(' ')?;
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            Some((name.to_owned(), labels.trim_end_matches('}').to_owned(), value.parse().ok()?))
        };
        Self { samples: text.lines().filter(|line| !line.starts_with('#')).filter_map(sample).collect() }
    }

    /// The sum over all series of the counter: a series counts if its name without `_total` is `counter` or ends
    /// with `_<counter>`, or if one of its labels has the value `counter`.
    pub fn sum(&self, counter: &str) -> f64 {
        let (suffix, label) = (format!("_{counter}"), format!("=\"{counter}\""));
        let counts = |(name, labels, _): &&(String, String, f64)| {
            let name = name.strip_suffix("_total").unwrap_or(name);
            name == counter || name.ends_with(&suffix) || labels.contains(&label)
        };
        self.samples.iter().filter(counts).map(|sample| sample.2).sum()
    }

    /// Whether there is any series of the counter, in the sense of [`sum`](Metrics::sum).
    pub fn has(&self, counter: &str) -> bool {
        let (suffix, label) = (format!("_{counter}"), format!("=\"{counter}\""));
        self.samples.iter().any(|(name, labels, _)| {
            let name = name.strip_suffix("_total").unwrap_or(name);
            name == counter || name.ends_with(&suffix) || labels.contains(&label)
        })
    }

    /// The counters that grew since `earlier`, with by how much: for messages.
    pub fn grown_since(&self, earlier: &Metrics) -> Vec<(String, f64)> {
        let before = |name: &str, labels: &str| {
            earlier.samples.iter().find(|old| old.0 == name && old.1 == labels).map_or(0.0, |old| old.2)
        };
        let grown = self
            .samples
            .iter()
            .map(|(name, labels, value)| (format!("{name}{{{labels}}}"), value - before(name, labels)));
        grown.filter(|(_, growth)| *growth > 0.0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Metrics;

    const TEXT: &str = "# HELP smartswitch_hits_total hits\n# TYPE smartswitch_hits_total counter\n\
        smartswitch_hits_total{worker=\"0\"} 3\nsmartswitch_hits_total{worker=\"1\"} 4\n\
        smartswitch_drops_total{reason=\"bad_key\"} 2\nup 1\n";

    #[test]
    fn sums_a_counter_over_its_series() {
        let metrics = Metrics::parse(TEXT);
        assert_eq!(metrics.sum("hits"), 7.0);
        assert_eq!(metrics.sum("bad_key"), 2.0);
        assert_eq!(metrics.sum("up"), 1.0);
        assert!(!metrics.has("its"));
    }

    #[test]
    fn says_what_grew() {
        let later = Metrics::parse("up 1\nsmartswitch_hits_total{worker=\"0\"} 5\n");
        let grown = later.grown_since(&Metrics::parse(TEXT));
        assert_eq!(grown, [("smartswitch_hits_total{worker=\"0\"}".to_owned(), 2.0)]);
    }
}
