//! A client of SmartSwitch's directory.

use std::sync::Arc;

use naming::{Digest, Name, NodeId};
use naming_directory_client::client::Copy;
use naming_directory_client::watch::Seen;
use naming_directory_client::wire;
use naming_directory_quic::Remote;

use crate::Failure;
use crate::client::Freshness;
use crate::entry::{CHUNK_BYTES, Entry, HOLDER};
use crate::watch::FanOut;

/// The holder's only life.
const EPOCH: u64 = 1;

/// Clones share a connection.
#[derive(Clone)]
pub(crate) struct Client(Arc<Remote>);

impl Client {
    pub(crate) fn new(remote: Remote) -> Self {
        Self(Arc::new(remote))
    }

    /// One command for every 4096 names.
    pub(crate) async fn publish(&self, entries: &[Entry]) -> Result<(), Failure> {
        let copy =
            |entry: &Entry| Copy { name: entry.name.clone(), digest: entry.digest, length: CHUNK_BYTES };
        let holder = NodeId::new(HOLDER).ok_or("node 0 is none")?;
        let published = self.0.client().publish(holder, EPOCH, entries.iter().map(copy).collect()).await?;
        match published.refused {
            0 => Ok(()),
            refused => Err(format!("{refused} of {} names were refused", entries.len()).into()),
        }
    }

    pub(crate) async fn resolve(&self, name: &Name, freshness: Freshness) -> Result<Option<Digest>, Failure> {
        let freshness = match freshness {
            Freshness::Linearizable => wire::Freshness::Linearizable,
            Freshness::Local => wire::Freshness::Local,
        };
        let resolved = self.0.client().resolve(&[name.as_name()], freshness).await?;
        Ok(resolved.first().and_then(|known| Some(known.copies.as_ref()?.digest)))
    }

    /// A watch begins with a listing, and may be given another one in place of changes: names only ever come, so whatever
    /// one has more than was known is news.
    pub(crate) async fn watch(&self, prefix: &Name, fan_out: &Arc<FanOut>) -> Result<(), Failure> {
        let (fan_out, mut known) = (Arc::clone(fan_out), 0);
        let seen = move |seen: Seen| {
            let before = known;
            match seen {
                Seen::Listing { events, .. } => known = known.max(events.len()),
                Seen::Changes { events, .. } => known += events.len(),
            }
            fan_out.seen(known - before)
        };
        Ok(self.0.client().watch(prefix.clone(), seen).await?)
    }
}
