//! The directory's part of the node's status and metrics.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use naming_directory_client::ShardId;
use naming_directory_client::wire;

use super::{Directory, view};
use crate::status::{DirectoryStatus, Metrics, ReplicaStatus, Source, Status};

/// Between two looks at the replicas.
const LOOK: Duration = Duration::from_millis(500);

/// The replicas as they were half a second ago: whoever asks for the status does not wait for the server.
#[derive(Default)]
pub(super) struct Published(Mutex<Vec<wire::Shard>>);

impl Published {
    /// This node's replica of a shard.
    pub(super) fn shard(&self, id: ShardId) -> Option<wire::Shard> {
        self.read().into_iter().find(|shard| shard.shard == id.0)
    }

    fn read(&self) -> Vec<wire::Shard> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

pub(super) async fn publish(directory: Arc<Directory>) {
    loop {
        let server = Arc::clone(&directory.server);
        if let Ok(shards) = tokio::task::spawn_blocking(move || server.look()).await {
            *directory.published.0.lock().unwrap_or_else(PoisonError::into_inner) = shards;
        }
        tokio::time::sleep(LOOK).await;
    }
}

impl Source for Directory {
    fn describe(&self, status: &mut Status) {
        let counters = self.counters().map(|(name, _, value)| (name.to_owned(), value));
        status.directory = Some(DirectoryStatus {
            node: self.node.to_string(),
            listen: self.listen().map(|listen| listen.to_string()),
            waits: self.waits(),
            replicas: self.published.read().iter().map(replica).collect(),
            counters: counters.collect(),
        });
    }

    fn collect(&self, metrics: &mut Metrics) {
        for (name, help, value) in self.counters() {
            metrics.counter(&format!("smartswitch_directory_{name}_total"), help, &[], value);
        }
        for (name, help, value) in self.link.endpoint().iter().flat_map(|endpoint| endpoint.counters().read())
        {
            metrics.counter(&format!("smartswitch_fabric_{name}_total"), help, &[], value);
        }
        let (waits, help) = (self.waits().is_some(), "1 while the node has no part in a directory yet.");
        metrics.gauge("smartswitch_directory_waits", help, &[], f64::from(u8::from(waits)));
        self.published.read().iter().for_each(|shard| collect(shard, metrics));
    }
}

impl Directory {
    /// Of the server, and of what was moved from here.
    fn counters(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        self.server.counters().all().chain(self.balanced.all())
    }
}

fn replica(shard: &wire::Shard) -> ReplicaStatus {
    ReplicaStatus {
        shard: ShardId(shard.shard).to_string(),
        from: view::name(&shard.from),
        until: shard.until.as_ref().map(|until| view::name(until)),
        leads: shard.leads,
        leader: (shard.leader != 0).then(|| view::id(shard.leader)),
        term: shard.term,
        committed: shard.committed,
        applied: shard.applied,
        items: shard.tables.iter().map(|fill| (fill.table.clone(), fill.items)).collect::<BTreeMap<_, _>>(),
    }
}

fn collect(shard: &wire::Shard, metrics: &mut Metrics) {
    let id = ShardId(shard.shard).to_string();
    let labels = [("shard", id.as_str())];
    let mut gauge = |name: &str, help: &str, value: u64| {
        metrics.gauge(&format!("smartswitch_directory_{name}"), help, &labels, value as f64);
    };
    gauge("leads", "1 if this node leads the shard.", shard.leads.into());
    gauge(
        "has_leader",
        "1 if the shard has a leader, as far as this node knows.",
        (shard.leader != 0).into(),
    );
    gauge("term", "The term of the shard's leader.", shard.term);
    gauge("committed_entry", "The last entry of the shard's log that is committed.", shard.committed);
    gauge("applied_entry", "The last entry of the shard's log that this replica executed.", shard.applied);
    gauge("log_bytes", "Bytes of the shard's log since its last compaction.", shard.log_bytes);
    gauge("names", "Names of which the shard knows something, one for each kind of that.", shard.names);
    gauge("voters", "Members of the shard that vote.", shard.voters.len() as u64);
    gauge("learners", "Members of the shard that catch up.", shard.learners.len() as u64);
    for fill in &shard.tables {
        let labels = [("shard", id.as_str()), ("table", fill.table.as_str())];
        let (items, capacity) = (fill.items as f64, fill.capacity as f64);
        metrics.gauge("smartswitch_directory_items", "What the shard knows.", &labels, items);
        metrics.gauge("smartswitch_directory_items_capacity", "What the shard may know.", &labels, capacity);
    }
    for progress in &shard.progress {
        let node = view::id(progress.node);
        let behind = shard.last.saturating_sub(progress.matched) as f64;
        let labels = [("shard", id.as_str()), ("node", node.as_str())];
        let help = "Entries that a follower of this leader does not have yet.";
        metrics.gauge("smartswitch_directory_behind_entries", help, &labels, behind);
    }
}
