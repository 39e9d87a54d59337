//! Builds what the configuration asks for, spawns it, and drains it when the node is told to stop.

use std::collections::HashMap;
use std::error::Error;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use memcached_bridge::session::Server;
use naming_directory_server::Ended;
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::cli::RunOptions;
use crate::clock::Clock;
use crate::config::{self, Config, Embedded};
use crate::directory::http::Access;
use crate::directory::{Directory, OpenError};
use crate::embedded::{self, ListenError, Opened};
use crate::proxy::{Proxies, Shared, Spans};
use crate::reload::Reloader;
use crate::status::{Registry, Source};
use crate::telemetry::{Sampling, Telemetry};
use crate::{admin, dataplane};

/// How long requests in flight may take once the node is told to stop.
pub(crate) const GRACE: Duration = Duration::from_secs(5);

/// Runs a node until it is told to stop.
///
/// # Errors
/// Whatever keeps it from starting; the message says what to do.
pub fn run(options: &RunOptions, mut telemetry: Telemetry) -> Result<(), Box<dyn Error>> {
    let (config, text) = configure(options)?;
    let tracer = telemetry.export(&config.telemetry, &config.node.name)?;
    let spans = tracer.map(|tracer| Spans::new(tracer, &config.telemetry));
    let registry = Registry::new(config.node.name.clone());
    let threads = config::default_threads();
    let server = config.embedded.as_ref().map(|embedded| embedded::server(embedded, threads)).transpose()?;
    // Its threads and memory come first, so that the runtime's threads are not pinned with them.
    let dataplane = dataplane::start(&config, server.as_ref(), &registry)?;
    let runtime = Builder::new_multi_thread().worker_threads(threads).enable_all().build()?;
    let file = options.config.clone().map(|path| (path, text));
    let served = runtime.block_on(serve(config, file, registry, dataplane.as_ref(), server, spans));
    runtime.shutdown_timeout(Duration::from_millis(100));
    served
}

/// The configuration: the file's or the default, with the options over it. And what the file says.
fn configure(options: &RunOptions) -> Result<(Config, String), Box<dyn Error>> {
    let (mut config, text) = match &options.config {
        Some(path) => load(path)?,
        None => (Config::default(), String::new()),
    };
    if options.listen.is_some() || options.memory.is_some() {
        let embedded = config.embedded.get_or_insert_with(Embedded::default);
        embedded.listen = options.listen.unwrap_or(embedded.listen);
        embedded.memory = options.memory.unwrap_or(embedded.memory);
        embedded.max_item.0 = embedded.max_item.0.min(embedded.memory.0 / 2);
    }
    config.node.data = options.data.clone().map(std::path::absolute).transpose()?.or(config.node.data);
    config.admin.listen = options.admin.unwrap_or(config.admin.listen);
    Ok((config, text))
}

fn load(path: &Path) -> Result<(Config, String), Box<dyn Error>> {
    let checked = config::load(path)?;
    let problems: Vec<String> = checked.problems.iter().map(ToString::to_string).collect();
    match checked.config {
        Some(config) => {
            problems.iter().for_each(|problem| tracing::warn!("{problem}"));
            Ok((config, checked.text))
        }
        None => Err(format!("the configuration has errors\n{}", problems.join("\n")).into()),
    }
}

async fn serve(
    config: Config,
    file: Option<(PathBuf, String)>,
    registry: Arc<Registry>,
    dataplane: Option<&dataplane::Running>,
    server: Option<Arc<Server>>,
    spans: Option<Spans>,
) -> Result<(), Box<dyn Error>> {
    let (drain, draining) = watch::channel(false);
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;

    let failed = |source| ListenError::new("the admin server", config.admin.listen, "tcp", "--admin", source);
    let admin_listener = TcpListener::bind(config.admin.listen).await.map_err(failed)?;
    let admin_address = admin_listener.local_addr().map_err(failed)?;
    let sampling = Sampling::of(&config.telemetry);
    let none = HashMap::new();
    let shared = match dataplane {
        Some(dataplane) => Shared { clock: dataplane.clock, tracking: &dataplane.tracking },
        None => Shared { clock: Clock::kernel(), tracking: &none },
    };
    let clock = shared.clock;
    let proxies = Proxies::start(&config, shared, spans.as_ref(), &draining)?.map(Arc::new);
    let embedded = match config.embedded.clone().zip(server) {
        Some((embedded, server)) => Some(Opened::open(embedded, server, clock, sampling).await?),
        None => None,
    };
    // Last of what may fail: its threads have to be stopped in order once they run.
    let directory = directory(&config).await?;
    let reloader = Reloader::new(file, config.clone(), proxies.clone(), directory.directory().cloned());
    let reloader = Arc::new(reloader);

    let mut ready = String::from("ready: ");
    let mut tasks = JoinSet::new();
    if let Some(embedded) = embedded {
        let protocols = if embedded.udp() { "tcp, udp" } else { "tcp" };
        write!(ready, "memcached {} ({protocols}), ", embedded.listen())?;
        registry.register(embedded.source());
        tasks.spawn(embedded.serve(draining.clone(), GRACE));
    }
    if let Some(proxies) = proxies {
        for (door, address) in proxies.listens() {
            write!(ready, "{door} {address}, ")?;
        }
        registry.register(proxies.source());
        tasks.spawn_blocking(move || proxies.join());
    }
    if let Access::Open(directory) = &directory {
        let listen = directory.listen().map(|listen| format!("{listen} ")).unwrap_or_default();
        let waits = directory.waits().map(|waits| format!(": {waits}")).unwrap_or_default();
        write!(ready, "directory {listen}(node {}{waits}), ", directory.node())?;
        registry.register(Arc::clone(directory) as Arc<dyn Source>);
        tasks.spawn(Arc::clone(directory).serve(draining.clone(), GRACE));
    }
    if let Some(dataplane) = dataplane {
        write!(ready, "dataplane {} ports, ", dataplane.ports)?;
    }
    write!(ready, "admin http://{admin_address}/")?;
    let access = directory.clone();
    let parts = admin::Parts { registry, reloader: Arc::clone(&reloader), directory };
    let admin = admin::run(admin_listener, parts, config.admin.allow, draining);
    let admin = tokio::spawn(admin);
    announce(&ready)?;

    let failed = loop {
        tokio::select! {
            _ = terminate.recv() => break None,
            _ = interrupt.recv() => break None,
            _ = hangup.recv() => reload(&reloader).await,
            ended = ended(&access) => break Some(ended),
        }
    };
    match &failed {
        None => tracing::info!("told to stop: requests in flight are finished"),
        Some(_) => tracing::error!("the node stops without its directory: requests in flight are finished"),
    }
    drain.send_replace(true);
    if tokio::time::timeout(GRACE + Duration::from_secs(1), tasks.join_all()).await.is_err() {
        tracing::warn!("clients did not drain in time");
    }
    // A scraper may keep its connection open; it is not waited for long.
    _ = tokio::time::timeout(Duration::from_millis(500), admin).await;
    tracing::info!("stopped");
    failed.map_or(Ok(()), |ended| Err(ended.into()))
}

/// Waits until the node's part in the directory ends by itself. A node without it would be a member that is not there, and look
/// well: it ends. After a panic whoever supervises it starts it again; if it must not take part, people have to see that.
async fn ended(directory: &Access) -> Ended {
    match directory.directory() {
        Some(directory) => directory.ended().await,
        None => std::future::pending().await,
    }
}

/// The node's part in the directory. One that nobody asked for is done without, if its data cannot be used.
async fn directory(config: &Config) -> Result<Access, OpenError> {
    let optional = config.directory.as_ref().is_some_and(|directory| directory.optional);
    match Directory::open(config).await {
        Ok(Some(directory)) => Ok(Access::Open(directory)),
        Ok(None) => Ok(Access::Absent(
            "this node has no part in a directory: add [directory] to its configuration".into(),
        )),
        Err(error) if optional => {
            tracing::warn!(%error, "the node goes on without a directory");
            Ok(Access::Absent(format!("this node has no part in a directory: {error}").into()))
        }
        Err(error) => Err(error),
    }
}

/// What SIGHUP asks for. The log says what came of it.
async fn reload(reloader: &Arc<Reloader>) {
    let reloader = Arc::clone(reloader);
    let reloaded = tokio::task::spawn_blocking(move || reloader.reload(false)).await;
    match reloaded {
        Ok(Ok(report)) => {
            report.problems.iter().for_each(|problem| tracing::warn!("{problem}"));
            if !report.applied {
                tracing::error!("the configuration has errors; the node goes on with the one it has");
            }
        }
        Ok(Err(error)) => tracing::error!(%error, "the configuration is not reloaded"),
        Err(_) => tracing::error!("the reload ended in a panic"),
    }
}

/// The one line on standard output, for scripts that wait for it.
fn announce(ready: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{ready}")?;
    out.flush()
}
