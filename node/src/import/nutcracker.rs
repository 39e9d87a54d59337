//! twemproxy's YAML (`notes/recommendation.md` and `src/nc_conf.c` of twemproxy 0.5.0).

use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};
use std::net::SocketAddr;

use memcached_bridge::hashing::KeyHash;
use serde::Deserialize;
use toml::Value;

use super::Imported;

/// twemproxy's defaults, where they are not a node's.
const SERVER_RETRY_TIMEOUT_MS: u64 = 30_000;
const SERVER_FAILURE_LIMIT: u64 = 2;
/// A node probes at least so often.
const LONGEST_PROBE_INTERVAL_MS: u64 = 60_000;

/// A pool as twemproxy knows it. Keys that it does not know it refuses, and so does this.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Pool {
    listen: String,
    hash: Option<String>,
    hash_tag: Option<String>,
    distribution: Option<String>,
    timeout: Option<u64>,
    #[serde(rename = "backlog")]
    _backlog: Option<u64>,
    client_connections: Option<u64>,
    #[serde(rename = "tcpkeepalive")]
    _tcpkeepalive: Option<bool>,
    #[serde(rename = "preconnect")]
    _preconnect: Option<bool>,
    #[serde(default)]
    redis: bool,
    #[serde(rename = "redis_auth")]
    _redis_auth: Option<String>,
    #[serde(rename = "redis_db")]
    _redis_db: Option<u64>,
    server_connections: Option<u64>,
    auto_eject_hosts: Option<bool>,
    server_retry_timeout: Option<u64>,
    server_failure_limit: Option<u64>,
    #[serde(rename = "reuse_port")]
    _reuse_port: Option<bool>,
    servers: Vec<String>,
}

/// Why a configuration cannot be converted.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ConvertError {
    #[error("{0}")]
    Yaml(String),
    #[error("it has no pools")]
    Empty,
    #[error("pool `{pool}`: {reason}")]
    Pool { pool: String, reason: String },
}

/// Converts the text of a `nutcracker.yml`.
pub(super) fn convert(yaml: &str) -> Result<Imported, ConvertError> {
    let pools: BTreeMap<String, Pool> =
        serde_saphyr::from_str(yaml).map_err(|error| ConvertError::Yaml(error.to_string()))?;
    if pools.is_empty() {
        return Err(ConvertError::Empty);
    }
    let mut imported = Imported { toml: String::new(), notes: Vec::new() };
    imported.toml.push_str("# Converted from a configuration of twemproxy.\n");
    for (name, pool) in &pools {
        let mut writer = Writer { name, imported: &mut imported };
        writer
            .pool(pool)
            .map_err(|reason| ConvertError::Pool { pool: name.clone(), reason: reason.to_string() })?;
    }
    Ok(imported)
}

/// Writes one pool.
struct Writer<'a> {
    name: &'a str,
    imported: &'a mut Imported,
}

impl Writer<'_> {
    fn pool(&mut self, pool: &Pool) -> Result<(), Box<dyn Display>> {
        if pool.redis {
            return Err(Box::new(
                "it is a pool of Redis servers; take it out of the file, a node speaks memcached",
            ));
        }
        let listen = listen(&pool.listen)?;
        self.line("");
        self.line("[[pool]]");
        self.value("name", self.name);
        self.value("listen", listen.to_string());
        if listen.ip().is_loopback() {
            self.value("clients", vec!["127.0.0.0/8", "::1/128"]);
        } else {
            self.note("twemproxy serves everybody, and so do these `clients`: name the networks of yours");
            self.value("clients", vec!["0.0.0.0/0", "::/0"]);
        }
        self.distribution(pool)?;
        if let Some(timeout) = pool.timeout {
            self.value("connect_timeout_ms", integer(timeout)?);
            self.value("reply_timeout_ms", integer(timeout)?);
        } else {
            self.note(
                "twemproxy without a `timeout` waits for a server for ever; this pool waits one second",
            );
        }
        if let Some(connections) = pool.client_connections.filter(|connections| *connections > 0) {
            self.value("max_connections", integer(connections)?);
        }
        if let Some(connections) = pool.server_connections {
            self.value("connections", integer(connections)?);
        }
        self.ejection(pool)?;
        pool.servers.iter().try_for_each(|server| self.server(server))
    }

    fn distribution(&mut self, pool: &Pool) -> Result<(), Box<dyn Display>> {
        match pool.distribution.as_deref() {
            None | Some("ketama") => self.value("distribution", "ketama"),
            Some("modula") => self.value("distribution", "modula"),
            Some("random") => {
                return Err(Box::new(
                    "`distribution: random` sends a key anywhere, so that a value that was set is found by chance; \
                     choose `ketama`",
                ));
            }
            Some(other) => return Err(Box::new(format!("`distribution: {other}` is not known"))),
        }
        let hash = pool.hash.as_deref().unwrap_or("fnv1a_64");
        if KeyHash::ALL.iter().all(|known| known.name() != hash) {
            return Err(Box::new(format!("`hash: {hash}` is not known")));
        }
        self.value("hash", hash);
        if let Some(tag) = &pool.hash_tag {
            self.value("hash_tag", tag.as_str());
        }
        Ok(())
    }

    fn ejection(&mut self, pool: &Pool) -> Result<(), Box<dyn Display>> {
        self.value("auto_eject", pool.auto_eject_hosts.unwrap_or(false));
        let retry = pool.server_retry_timeout.unwrap_or(SERVER_RETRY_TIMEOUT_MS);
        if retry > LONGEST_PROBE_INTERVAL_MS {
            self.note("a server is tried again at least every minute");
        }
        self.value("probe_interval_ms", integer(retry.clamp(1, LONGEST_PROBE_INTERVAL_MS))?);
        let failures = pool.server_failure_limit.unwrap_or(SERVER_FAILURE_LIMIT);
        self.value("probe_failures", integer(failures.max(1))?);
        Ok(())
    }

    /// `host:port:weight [name]`
    fn server(&mut self, server: &str) -> Result<(), Box<dyn Display>> {
        let error = |reason: &str| -> Box<dyn Display> { Box::new(format!("server `{server}`: {reason}")) };
        let (place, name) = match server.split_once(' ') {
            Some((place, name)) => (place, Some(name.trim())),
            None => (server, None),
        };
        if place.starts_with('/') {
            return Err(error(
                "a node reaches its servers by TCP, not by a Unix socket; let it listen on a port",
            ));
        }
        let shape = || error("give `host:port:weight`, and a name if it has one");
        let (address, weight) = place.rsplit_once(':').ok_or_else(shape)?;
        let weight: u64 = weight.parse().map_err(|_| shape())?;
        if address.rsplit_once(':').is_none_or(|(_, port)| port.parse::<u16>().is_err()) {
            return Err(shape());
        }
        self.line("  [[pool.server]]");
        self.value("  name", name.unwrap_or(address));
        self.value("  address", address);
        self.value("  weight", integer(weight)?);
        Ok(())
    }

    fn note(&mut self, note: &str) {
        self.line(&format!("# {note}"));
        self.imported.notes.push(format!("pool `{}`: {note}", self.name));
    }

    fn value(&mut self, key: &str, value: impl Into<Value>) {
        let value: Value = value.into();
        self.line(&format!("{key} = {value}"));
    }

    fn line(&mut self, line: &str) {
        // Writing to a string does not fail.
        let _ = writeln!(self.imported.toml, "{line}");
    }
}

fn listen(text: &str) -> Result<SocketAddr, Box<dyn Display>> {
    if text.starts_with('/') {
        return Err(Box::new(
            "it listens on a Unix socket; a node listens on an address, such as 127.0.0.1:11211",
        ));
    }
    let text = text.strip_prefix("localhost:").map_or(text.to_owned(), |port| format!("127.0.0.1:{port}"));
    text.parse().map_err(|_| -> Box<dyn Display> {
        Box::new(format!("`listen: {text}` is no address and port, such as 0.0.0.0:11211"))
    })
}

fn integer(number: u64) -> Result<i64, Box<dyn Display>> {
    number.try_into().map_err(|_| -> Box<dyn Display> { Box::new(format!("{number} is too large")) })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALPHA: &str = r#"
alpha:
  listen: 127.0.0.1:22121
  hash: fnv1a_64
  hash_tag: "{}"
  distribution: ketama
  timeout: 400
  auto_eject_hosts: true
  server_retry_timeout: 2000
  server_failure_limit: 1
  servers:
   - 127.0.0.1:11212:1
   - 10.0.0.2:11211:3 second
"#;

    #[test]
    fn a_pool_becomes_a_pool() {
        let imported = convert(ALPHA).unwrap();
        assert_eq!(imported.notes, Vec::<String>::new());
        let expected = r#"# Converted from a configuration of twemproxy.

[[pool]]
name = "alpha"
listen = "127.0.0.1:22121"
clients = ["127.0.0.0/8", "::1/128"]
distribution = "ketama"
hash = "fnv1a_64"
hash_tag = "{}"
connect_timeout_ms = 400
reply_timeout_ms = 400
auto_eject = true
probe_interval_ms = 2000
probe_failures = 1
  [[pool.server]]
  name = "127.0.0.1:11212"
  address = "127.0.0.1:11212"
  weight = 1
  [[pool.server]]
  name = "second"
  address = "10.0.0.2:11211"
  weight = 3
"#;
        assert_eq!(imported.toml, expected);
    }

    #[test]
    fn what_is_not_the_same_is_noted() {
        let yaml = "beta:\n  listen: 0.0.0.0:11211\n  servers:\n    - mc1.example:11211:1\n";
        let imported = convert(yaml).unwrap();
        assert_eq!(imported.notes.len(), 2, "{:?}", imported.notes);
        assert!(imported.notes[0].starts_with("pool `beta`: twemproxy serves everybody"));
        assert!(imported.toml.contains("clients = [\"0.0.0.0/0\", \"::/0\"]\n"), "{}", imported.toml);
        assert!(
            imported.toml.contains("auto_eject = false\nprobe_interval_ms = 30000\nprobe_failures = 2\n")
        );
    }

    #[test]
    fn what_a_node_cannot_do_is_refused() {
        let with = |from: &str, to: &str| convert(&ALPHA.replace(from, to)).unwrap_err().to_string();
        for (from, to, message) in [
            ("distribution: ketama", "distribution: random", "choose `ketama`"),
            ("distribution: ketama", "distribution: best", "`distribution: best` is not known"),
            ("hash: fnv1a_64", "hash: sha", "`hash: sha` is not known"),
            ("timeout: 400", "redis: true", "Redis"),
            ("timeout: 400", "time_out: 400", "time_out"),
            ("127.0.0.1:22121", "/tmp/mc.sock 0666", "Unix socket"),
            ("127.0.0.1:22121", "nowhere", "no address and port"),
            ("127.0.0.1:11212:1", "127.0.0.1:11212", "give `host:port:weight`"),
            ("127.0.0.1:11212:1", "/tmp/mc.sock:1", "Unix socket"),
        ] {
            let error = with(from, to);
            assert!(error.contains(message), "{to}: {error}");
        }
        assert_eq!(convert("{}"), Err(ConvertError::Empty));
        assert!(convert("alpha: [").is_err());
    }
}
