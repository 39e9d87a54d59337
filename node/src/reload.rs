//! A new configuration for a running node.
//!
//! The file that the node was started with is read again. What changed in routes, and in pools that are served over TCP,
//! takes effect at once, and no request is lost: clients stay connected and go on with the new pools between two requests.
//! A `[fabric]` takes effect if there was none. Everything else waits for a restart, and is said to. A file with errors
//! changes nothing.

pub mod ask;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use naming_directory_quic::LinkError;
use serde::{Deserialize, Serialize};

use crate::config::difference::{self, Change, TakesEffect};
use crate::config::{self, Config, Pool, Problem, Severity};
use crate::directory::Directory;
use crate::proxy::{Proxies, StartError};

/// What a reload did, or with `dry_run` would do.
#[derive(Debug, Deserialize, Serialize)]
pub struct Report {
    /// Whether the new configuration is in force as far as a reload can bring it.
    pub applied: bool,
    /// What is different: from what is in force, or for what needs a restart from what the node was started with.
    pub changes: Vec<Change>,
    /// What is wrong with the file, or worth a warning.
    pub problems: Vec<Problem>,
}

impl Report {
    /// Whether the file has no errors.
    pub fn is_good(&self) -> bool {
        self.problems.iter().all(|problem| problem.severity != Severity::Error)
    }
}

/// Why nothing was reloaded.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum ReloadError {
    #[error(
        "the node runs without a configuration; start it with `smartswitch run --config FILE` to reload it"
    )]
    NoFile,
    #[error("cannot read {path}: {source}; check the path and its permissions")]
    Unreadable { path: String, source: std::io::Error },
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Fabric(#[from] LinkError),
}

/// Reloads the configuration of a running node.
pub struct Reloader {
    path: Option<PathBuf>,
    proxies: Option<Arc<Proxies>>,
    directory: Option<Arc<Directory>>,
    files: Mutex<Files>,
}

/// What the file said.
struct Files {
    /// When the node was started.
    started: String,
    /// When its pools were last replaced.
    applied: String,
    config: Config,
}

impl Reloader {
    /// For a node that runs `config`, which stood in `file` as this text, serves `proxies` and takes part in `directory`.
    pub fn new(
        file: Option<(PathBuf, String)>,
        config: Config,
        proxies: Option<Arc<Proxies>>,
        directory: Option<Arc<Directory>>,
    ) -> Self {
        let (path, text) = file.unzip();
        let text = text.unwrap_or_default();
        let files = Files { started: text.clone(), applied: text, config };
        Self { path, proxies, directory, files: Mutex::new(files) }
    }

    /// Reads the file again and, but for a `dry_run`, takes on what can be taken on. Blocks while it opens listeners. Has to be
    /// called on a tokio runtime.
    ///
    /// # Errors
    /// [`ReloadError`]; everything stays as it was then, but for a `[fabric]` that was taken on before.
    pub fn reload(&self, dry_run: bool) -> Result<Report, ReloadError> {
        let path = self.path.as_ref().ok_or(ReloadError::NoFile)?;
        let file = path.display().to_string();
        let unreadable = |source| ReloadError::Unreadable { path: file.clone(), source };
        let text = std::fs::read_to_string(path).map_err(unreadable)?;
        let checked = config::parse(&file, &text);
        // One reload at a time.
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(config) = checked.config else {
            return Ok(Report { applied: false, changes: Vec::new(), problems: checked.problems });
        };
        let changes = self.changes(&files, &config, &text);
        if !dry_run {
            if let (Some(directory), Some(fabric), true) =
                (&self.directory, &config.fabric, self.takes(&files, &config))
            {
                directory.connect(fabric)?;
                files.config.fabric = config.fabric.clone();
            }
            if let Some(proxies) = &self.proxies {
                proxies.reload(&merged(&files.config, &config))?;
            }
            files.applied = text;
            files.config.pools = config.pools;
            files.config.routes = config.routes;
            log(&changes);
        }
        Ok(Report { applied: !dry_run, changes, problems: checked.problems })
    }

    /// Whether the configuration's `[fabric]` is in force after a reload: it is the one that was, or there was none.
    fn takes(&self, files: &Files, config: &Config) -> bool {
        let running = &files.config.fabric;
        self.directory.is_some()
            && config.fabric.is_some()
            && (running.is_none() || *running == config.fabric)
    }

    fn changes(&self, files: &Files, config: &Config, text: &str) -> Vec<Change> {
        let fixed: Vec<&str> = files
            .config
            .pools
            .iter()
            .chain(&config.pools)
            .filter(|pool| pool.vip.is_some())
            .map(name)
            .chain(
                files
                    .config
                    .embedded_pools
                    .iter()
                    .chain(&config.embedded_pools)
                    .map(|pool| pool.name.as_str()),
            )
            .collect();
        let effect = |path: &str| {
            let fabric = path.starts_with("fabric.") && self.takes(files, config);
            if fabric || self.proxies.is_some() && path.starts_with("route.") {
                return TakesEffect::Reload;
            }
            let pool = path.strip_prefix("pool.").map(difference::first_key);
            match pool {
                Some(pool) if self.proxies.is_some() && !fixed.contains(&pool.as_str()) => {
                    TakesEffect::Reload
                }
                _ => TakesEffect::Restart,
            }
        };
        let since = |before: &str, wanted: TakesEffect| {
            // Both texts were read as configurations: they are TOML.
            let mut changes = difference::between(before, text, effect).unwrap_or_default();
            changes.retain(|change| change.takes_effect == wanted);
            changes
        };
        let mut changes = since(&files.applied, TakesEffect::Reload);
        changes.extend(since(&files.started, TakesEffect::Restart));
        changes
    }
}

fn name(pool: &Pool) -> &str {
    &pool.name
}

/// `new`, but with the pools of the packet path as they run: workers keep theirs until a restart.
fn merged(running: &Config, new: &Config) -> Config {
    let on_path = |pool: &&Pool| pool.vip.is_some();
    let kept = running.pools.iter().filter(on_path);
    let is_kept = |pool: &Pool| running.pools.iter().filter(on_path).any(|old| old.name == pool.name);
    let others = new.pools.iter().filter(|pool| pool.vip.is_none() && !is_kept(pool));
    Config { pools: kept.chain(others).cloned().collect(), ..new.clone() }
}

fn log(changes: &[Change]) {
    for change in changes {
        tracing::info!("{change}");
    }
    tracing::info!(changes = changes.len(), "the configuration is reloaded");
}
