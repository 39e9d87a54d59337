//! How the shards are, for clients and for people.

use naming::NodeId;
use naming_directory::group::Role;
use naming_directory::replica::Replica;
use naming_directory_client::ShardId;
use naming_directory_client::wire;

use super::Driver;
use super::empty::is_empty;

impl Driver {
    pub(super) fn describe(&self) -> Vec<wire::Shard> {
        // Nothing can be said of one that has nothing yet.
        let filled = self.replicas.iter().filter(|(_, replica)| !is_empty(replica));
        let running = filled.map(|(shard, replica)| describe(*shard, replica));
        let failed = self.failed.iter().map(|(shard, failure)| wire::Shard {
            shard: shard.0,
            failure: failure.clone(),
            ..wire::Shard::default()
        });
        running.chain(failed).collect()
    }
}

fn describe(shard: ShardId, replica: &Replica) -> wire::Shard {
    let (status, state) = (replica.group().status(), replica.state());
    let numbers = |nodes: &std::collections::BTreeSet<NodeId>| nodes.iter().map(|node| node.get()).collect();
    let progress = status.progress.iter().map(|progress| wire::Progress {
        node: progress.node.get(),
        matched: progress.matched,
        active: progress.active,
        snapshot: progress.snapshot,
    });
    let fill = |(table, items, capacity): (&str, usize, usize)| wire::Fill {
        table: table.to_owned(),
        items: items as u64,
        capacity: capacity as u64,
    };
    wire::Shard {
        shard: shard.0,
        from: state.range().from().as_bytes().to_vec().into(),
        until: state.range().until().map(|until| until.as_bytes().to_vec().into()),
        voters: numbers(&status.members.voters),
        learners: numbers(&status.members.learners),
        outgoing: numbers(&status.members.outgoing),
        leader: status.leader.map_or(0, NodeId::get),
        term: status.term,
        committed: status.committed,
        applied: state.position().index,
        last: status.last_index,
        log_bytes: status.log_bytes as u64,
        progress: progress.collect(),
        tables: state.tables().map(fill).collect(),
        checksum: state.checksum().to_bytes().iter().map(|byte| format!("{byte:02x}")).collect(),
        leads: status.role == Role::Leader,
        failure: String::new(),
        names: state.names() as u64,
    }
}
