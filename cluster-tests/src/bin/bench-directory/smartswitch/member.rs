//! What a member's process does: it serves the directory, and nothing else.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fabric_quic::{Files, Thread};
use naming::NodeId;
use naming_directory_client::transport::Both;
use naming_directory_client::{Client, client};
use naming_directory_quic::{Link, Place};
use naming_directory_server::backup::Backup;
use naming_directory_server::{Begin, Server, Settings as ServerSettings};
use serde::{Deserialize, Serialize};
use tokio::signal::unix::{SignalKind, signal};

use crate::Failure;

/// What a member is told, in a file.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Settings {
    /// Its node.
    pub(super) node: u64,
    /// Where it keeps its data.
    pub(super) data: PathBuf,
    /// Who begins the directory.
    pub(super) founders: Vec<u64>,
    /// Whether it waits to be taken in, and is none of them.
    pub(super) joins: bool,
    /// Where members are, itself among them.
    pub(super) addresses: BTreeMap<u64, SocketAddr>,
    /// Its certificate, key, and whom it believes.
    pub(super) ca: PathBuf,
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
}

/// Serves as the file says, until it is killed.
///
/// # Errors
/// If it cannot begin.
pub(crate) fn serve(file: &Path) -> Result<Infallible, Failure> {
    let settings: Settings = serde_json::from_slice(&std::fs::read(file)?)?;
    let node = id(settings.node)?;
    let founders = settings.founders.iter().copied().map(id).collect::<Result<Vec<_>, _>>()?;
    let addresses = settings.addresses.iter().map(|(node, address)| Ok((id(*node)?, *address)));
    let addresses = addresses.collect::<Result<BTreeMap<_, _>, Failure>>()?;
    let listen = *addresses.get(&node).ok_or("it has no address itself")?;
    let files = Files { ca: settings.ca, certificate: settings.certificate, key: settings.key };
    let begin = if settings.joins { Begin::Join } else { Begin::Found(founders) };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    // As in the product.
    let thread = Thread::spawn()?;
    let link = {
        let _on = thread.enter();
        Link::open(node, Some(&Place { listen, files, peers: addresses }))?
    };
    runtime.block_on(async {
        let mut asked = signal(SignalKind::user_defined1())?;
        // All names in one group, as the others have them.
        let server = ServerSettings { split_names: 0, ..ServerSettings::new(node, &settings.data, begin) };
        let server = Arc::new(Server::start_on(thread.runtime(), server, link.transport())?);
        // It asks itself only.
        let client = Client::new(node, link.transport(), client::Settings::new([node]));
        let both = Arc::new(Both { server, client: Arc::new(client.clone()) });
        link.deliver_to(&both);
        loop {
            asked.recv().await;
            write_snapshot(client.clone(), &snapshot_file(&settings.data)).await?;
        }
    })
}

/// Where a member with this data writes a snapshot when it gets SIGUSR1. It is whole once it is there.
pub(super) fn snapshot_file(data: &Path) -> PathBuf {
    data.with_extension("snapshot")
}

async fn write_snapshot(client: Client, file: &Path) -> Result<(), Failure> {
    let part = file.with_extension("part");
    let mut out = BufWriter::new(File::create(&part)?);
    let mut backup = Backup::begin(client).await?;
    while let Some(part) = backup.next().await {
        out.write_all(&part?)?;
    }
    out.into_inner()?.sync_all()?;
    Ok(std::fs::rename(part, file)?)
}

fn id(number: u64) -> Result<NodeId, Failure> {
    NodeId::new(number).ok_or_else(|| "node 0 is none".into())
}
