//! What clients ask, and who waits for which answer.

use std::collections::HashMap;
use std::time::Instant;

use naming::NodeId;
use naming_directory::group::{ChangeError, Keeps, MemberChange, ProposeError, ReadId, TransferError};
use naming_directory::proto;
use naming_directory::replica::{Replica, RequestId};
use naming_directory_client::ShardId;
use naming_directory_client::wire::member_change::Kind;
use naming_directory_client::wire::{self, Failure, FailureKind, Freshness, Request, request, response};

use super::{Driver, queries};
use crate::counters::count;
use crate::snapshots::{Job, Loan};

/// A request under way.
struct Asked {
    from: NodeId,
    id: u64,
    shard: ShardId,
    /// To be answered from the state once that may be served.
    query: Option<request::Body>,
}

/// Requests under way.
pub(super) struct Requests {
    all: HashMap<u64, Asked>,
    next: u64,
    max: usize,
}

impl Requests {
    pub(super) fn new(max: usize) -> Self {
        Self { all: HashMap::new(), next: 0, max }
    }

    fn enter(&mut self, asked: Asked) -> u64 {
        self.next += 1;
        self.all.insert(self.next, asked);
        self.next
    }
}

impl Driver {
    pub(super) fn request(&mut self, from: NodeId, request: Request) {
        let (id, shard) = (request.id, ShardId(request.shard));
        count(&self.shared.counters.requests);
        match request.body {
            Some(request::Body::Describe(asked)) => {
                let elsewhere = self.shared.hearsay.get().map(|hearsay| hearsay(&asked)).unwrap_or_default();
                let accepts = self.shared.settings.accepts;
                let (shards, beginning) = (self.describe(), Some(self.describe_beginning()));
                let description = wire::Description { shards, elsewhere, accepts, beginning };
                self.shared.respond(from, id, response::Body::Description(description));
            }
            Some(request::Body::Unwatch(unwatch)) => self.watches.end(from, unwatch.watch),
            Some(request::Body::Retire(retire)) => self.retire(from, id, shard, retire.through),
            Some(request::Body::Fetch(fetch)) => {
                let loan = Loan { to: from, shard, snapshot: fetch.snapshot };
                self.snapshots.give(Job::Fetch { loan, id, number: fetch.number });
            }
            Some(request::Body::Release(release)) => {
                self.snapshots.give(Job::Release(Loan { to: from, shard, snapshot: release.snapshot }));
            }
            Some(body) => self.request_of_shard(from, id, shard, body),
            None => {
                let text = "this release does not know the request: upgrade this node";
                self.refuse(from, id, Failure::new(FailureKind::Unsupported, text));
            }
        }
    }

    fn request_of_shard(&mut self, from: NodeId, id: u64, shard: ShardId, body: request::Body) {
        let Some(replica) = self.replicas.get_mut(&shard) else {
            let why = self.failed.get(&shard).map_or("", String::as_str);
            let text = format!("node {} has no replica of shard {shard} {why}", self.shared.settings.node);
            return self.refuse(from, id, Failure::new(FailureKind::NoReplica, text.trim_end()));
        };
        if self.requests.all.len() >= self.requests.max {
            count(&self.shared.counters.requests_refused);
            return self.refuse(from, id, Failure::new(FailureKind::Busy, "too many requests are under way"));
        }
        let asked = |query| Asked { from, id, shard, query };
        self.dirty.insert(shard);
        let done = match body {
            request::Body::Command(command) => {
                let request = self.requests.enter(asked(None));
                let clock = Instant::now().duration_since(self.shared.began);
                let proposed = replica.propose(RequestId(request), command, clock);
                return self.entered(request, proposed.map_err(propose_failure));
            }
            request::Body::Resolve(_) | request::Body::List(_) if is_local(&body) => {
                let answer = queries::answer(replica.state(), &body);
                return self.shared.respond(from, id, answer);
            }
            request::Body::Resolve(_) | request::Body::List(_) | request::Body::Snapshot(_) => {
                let request = self.requests.enter(asked(Some(body)));
                let read = replica.read(ReadId(request));
                return self.entered(request, read.map_err(|error| Failure::new(FailureKind::Busy, error)));
            }
            request::Body::Watch(watch) => return self.watch(from, id, shard, &watch),
            request::Body::ChangeMembers(change) => match changes_of(&change) {
                Some(_) if !votes_exactly(replica, &change.voters) => {
                    Err(Failure::new(FailureKind::Refused, "the voters are others by now"))
                }
                Some(changes) => replica.change_members(&changes).map(drop).map_err(change_failure),
                None => Err(Failure::new(FailureKind::Refused, "a change of members is none")),
            },
            request::Body::TransferLeader(transfer) => match NodeId::new(transfer.to) {
                Some(to) => replica.transfer_leader(to).map_err(transfer_failure),
                None => Err(Failure::new(FailureKind::Refused, "leadership is handed to nobody")),
            },
            request::Body::Describe(_)
            | request::Body::Unwatch(_)
            | request::Body::Retire(_)
            | request::Body::Fetch(_)
            | request::Body::Release(_) => Ok(()),
        };
        match done {
            Ok(()) => self.shared.respond(from, id, response::Body::Done(wire::Done {})),
            Err(failure) => self.refuse(from, id, failure),
        }
    }

    fn entered(&mut self, request: u64, entered: Result<(), Failure>) {
        if let Err(failure) = entered
            && let Some(asked) = self.requests.all.remove(&request)
        {
            self.refuse(asked.from, asked.id, failure);
        }
    }

    /// This node was told that it is no member any more.
    fn retire(&mut self, from: NodeId, id: u64, shard: ShardId, through: u64) {
        match self.replicas.get(&shard).map(|replica| replica.group().give_up(through)) {
            Some(Ok(retired)) => drop(self.retired.insert(shard, retired)),
            Some(Err(keeps)) => {
                let text = match keeps {
                    Keeps::Led(leader) => {
                        format!(
                            "node {leader} leads this node's shard {shard}; remove it from the group first"
                        )
                    }
                    Keeps::Later(last) => {
                        format!("this node has shard {shard} up to entry {last}, which is behind {through}")
                    }
                };
                return self.refuse(from, id, Failure::new(FailureKind::Refused, text));
            }
            None if self.failed.contains_key(&shard) => drop(self.retired.entry(shard).or_default()),
            None => {}
        }
        let retired = self.retired.get(&shard).copied();
        self.give_up(shard);
        self.failed.remove(&shard);
        self.writer.forget(shard, retired, Some((from, id)));
    }

    pub(super) fn reply(&mut self, request: u64, reply: proto::Reply) {
        if let Some(asked) = self.requests.all.remove(&request) {
            self.shared.respond(asked.from, asked.id, response::Body::Reply(reply));
        }
    }

    pub(super) fn serve_read(&mut self, shard: ShardId, request: u64) {
        let Some(asked) = self.requests.all.remove(&request) else { return };
        let (Some(replica), Some(query)) = (self.replicas.get(&shard), &asked.query) else { return };
        let answer = match query {
            request::Body::Snapshot(begin) => self.lend(asked.from, shard, begin),
            query => queries::answer(replica.state(), query),
        };
        self.shared.respond(asked.from, asked.id, answer);
    }

    pub(super) fn fail_request(&mut self, request: u64, kind: FailureKind, text: &str) {
        if let Some(asked) = self.requests.all.remove(&request) {
            self.refuse(asked.from, asked.id, Failure::new(kind, text));
        }
    }

    pub(super) fn fail_all_of(&mut self, shard: ShardId) {
        let all: Vec<u64> =
            self.requests.all.iter().filter(|(_, asked)| asked.shard == shard).map(|(id, _)| *id).collect();
        for request in all {
            self.fail_request(request, FailureKind::Unknown, "the node's replica of the shard stopped");
        }
        for (from, id) in self.watches.end_all_of(shard) {
            self.refuse(
                from,
                id,
                Failure::new(FailureKind::NoReplica, "the node's replica of the shard stopped"),
            );
        }
    }

    pub(super) fn refuse(&self, to: NodeId, id: u64, failure: Failure) {
        self.shared.respond(to, id, response::Body::Failure(failure));
    }
}

fn is_local(body: &request::Body) -> bool {
    match body {
        request::Body::Resolve(resolve) => resolve.freshness() == Freshness::Local,
        request::Body::List(list) => list.freshness() == Freshness::Local,
        _ => false,
    }
}

/// Whether these are the group's voters, if any are named.
fn votes_exactly(replica: &Replica, voters: &[u64]) -> bool {
    let members = replica.group().members();
    voters.is_empty() || members.voters.iter().map(|voter| voter.get()).eq(voters.iter().copied())
}

fn changes_of(change: &wire::ChangeMembers) -> Option<Vec<MemberChange>> {
    let changes = change.changes.iter().map(|change| {
        let node = NodeId::new(change.node)?;
        match change.kind() {
            Kind::Unspecified => None,
            Kind::AddLearner => Some(MemberChange::AddLearner(node)),
            Kind::AddVoter => Some(MemberChange::AddVoter(node)),
            Kind::Remove => Some(MemberChange::Remove(node)),
        }
    });
    changes.collect()
}

fn not_leader(leader: Option<NodeId>, error: impl ToString) -> Failure {
    Failure { leader: leader.map_or(0, NodeId::get), ..Failure::new(FailureKind::NotLeader, error) }
}

fn propose_failure(error: ProposeError) -> Failure {
    match error {
        ProposeError::NotLeader { leader } => not_leader(leader, error),
        ProposeError::TooLarge { .. } => Failure::new(FailureKind::Refused, error),
        ProposeError::Unknown => Failure::new(FailureKind::Unsupported, error),
        ProposeError::Transferring | ProposeError::Overloaded | ProposeError::LogFull { .. } => {
            Failure::new(FailureKind::Busy, error)
        }
    }
}

fn change_failure(error: ChangeError) -> Failure {
    match error {
        ChangeError::NotLeader { leader } => not_leader(leader, error),
        ChangeError::Busy | ChangeError::Overloaded => Failure::new(FailureKind::Busy, error),
        _ => Failure::new(FailureKind::Refused, error),
    }
}

fn transfer_failure(error: TransferError) -> Failure {
    match error {
        TransferError::NotLeader { leader } => not_leader(leader, error),
        TransferError::NotAVoter(_) => Failure::new(FailureKind::Refused, error),
    }
}
