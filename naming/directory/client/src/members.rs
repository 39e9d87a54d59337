//! Who replicates a shard, and who leads it.
//!
//! Each step may be taken again: what is done already is no error. So whoever was interrupted begins anew.

use std::collections::BTreeSet;
use std::time::Duration;

use naming::{NameRef, NodeId};
use tokio::time::{Instant, sleep};

use crate::client::{Target, Whom, unexpected};
use crate::wire::member_change::Kind;
use crate::wire::{self, request, response};
use crate::{Client, Error, ShardId};

/// Between two looks at how a change goes on.
const LOOK: Duration = Duration::from_millis(50);

/// Changes the members of a shard.
pub struct Members<'a> {
    client: &'a Client,
    shard: ShardId,
}

impl Client {
    /// The members of the shard that has `name`.
    ///
    /// # Errors
    /// If no server tells of one.
    pub async fn members_of(&self, name: NameRef<'_>) -> Result<Members<'_>, Error> {
        let deadline = Instant::now() + self.0.settings.timeout;
        Ok(Members { client: self, shard: self.shard(Target::Name(name), deadline).await?.id })
    }

    /// The members of a shard.
    pub fn members(&self, shard: ShardId) -> Members<'_> {
        Members { client: self, shard }
    }

    /// How a server's replicas are.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn describe(&self, server: NodeId) -> Result<Vec<wire::Shard>, Error> {
        Ok(self.description(server).await?.shards)
    }

    /// The same, and what else a server tells of itself.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn description(&self, server: NodeId) -> Result<wire::Description, Error> {
        let waited = self.0.settings.try_timeout;
        let body = request::Body::Describe(wire::Describe::default());
        match self.call(server, ShardId(0), body).await {
            Some(response::Body::Description(description)) => Ok(description),
            Some(_) => Err(unexpected()),
            None => Err(Error::NoServer { name: naming::Name::root(), asked: vec![server], waited }),
        }
    }
}

impl Members<'_> {
    /// Which shard it is.
    pub fn shard(&self) -> ShardId {
        self.shard
    }

    /// How the shard is, as its leader sees it.
    ///
    /// # Errors
    /// If there is no leader.
    pub async fn look(&self) -> Result<wire::Shard, Error> {
        let deadline = Instant::now() + self.client.0.settings.timeout;
        loop {
            let known = self.client.shard(Target::This(self.shard), deadline).await?;
            for node in known.leader.into_iter().chain(known.members.iter().copied()) {
                let shards = self.client.describe(node).await.unwrap_or_default();
                if let Some(shard) =
                    shards.into_iter().find(|shard| shard.shard == self.shard.0 && shard.leads)
                {
                    self.client.shards().learn(&shard);
                    return Ok(shard);
                }
            }
            if Instant::now() > deadline {
                let (members, waited) = (known.members.clone(), self.client.0.settings.timeout);
                let last = "none of them leads".to_owned();
                return Err(Error::NoQuorum { shard: self.shard, members, waited, last });
            }
            sleep(LOOK).await;
        }
    }

    /// Makes a node a member that has the log and votes: a learner first, until it has caught up within `patience`.
    ///
    /// # Errors
    /// If it does not catch up, or the directory refuses or does not answer.
    pub async fn add(&self, node: NodeId, patience: Duration) -> Result<(), Error> {
        self.replace(None, node, patience).await
    }

    /// Makes `new` a member in place of `old`, in one step once it has caught up: at no time do fewer decide.
    ///
    /// # Errors
    /// As of [`Self::add`].
    pub async fn replace(&self, old: Option<NodeId>, new: NodeId, patience: Duration) -> Result<(), Error> {
        let deadline = Instant::now() + patience;
        loop {
            let shard = self.look().await?;
            let votes = |node: NodeId| shard.voters.contains(&node.get());
            let gone = |node: NodeId| !votes(node) && !shard.learners.contains(&node.get());
            if shard.outgoing.is_empty() && votes(new) && old.is_none_or(gone) {
                self.retire_removed(old).await;
                return Ok(());
            }
            let learns = shard.learners.contains(&new.get());
            if !votes(new) && !learns {
                self.check_stranger(&shard, new).await?;
            }
            let tried = match old.filter(|old| !gone(*old)) {
                // One does not remove itself.
                Some(old) if shard.leader == old.get() => self.hand_over(&shard, old).await,
                _ if !shard.outgoing.is_empty() => Ok(()),
                _ if !votes(new) && !learns => self.change(&[(Kind::AddLearner, new)]).await,
                Some(old) if votes(new) => self.change(&[(Kind::Remove, old)]).await,
                Some(old) => self.change(&[(Kind::AddVoter, new), (Kind::Remove, old)]).await,
                None => self.change(&[(Kind::AddVoter, new)]).await,
            };
            // It may be behind, or another change be under way: looked at again until the patience ends.
            if let (Err(error), true) = (tried, Instant::now() > deadline) {
                return Err(error);
            }
            if Instant::now() > deadline {
                return Err(Error::Rejected(format!(
                    "node {new} has not become a member of shard {}",
                    self.shard
                )));
            }
            sleep(LOOK).await;
        }
    }

    /// A node with a directory of its own has a log that is another one: the two would not get on as one group.
    async fn check_stranger(&self, shard: &wire::Shard, new: NodeId) -> Result<(), Error> {
        // If it is not there, it cannot become a member either.
        let theirs = self.client.describe(new).await.unwrap_or_default();
        let known = |node: &u64| shard.voters.contains(node) || shard.learners.contains(node);
        let other = |theirs: &wire::Shard| {
            theirs.shard == shard.shard && !theirs.voters.is_empty() && !theirs.voters.iter().any(known)
        };
        if theirs.iter().any(other) {
            return Err(Error::Rejected(format!(
                "node {new} has a directory of its own: stop it, empty its place for the directory, and start it so that it waits \
                 to be added (with [[fabric.peer]], and not among the founders)"
            )));
        }
        Ok(())
    }

    /// Removes a member. It gives up what it has of the shard, if it can be reached.
    ///
    /// # Errors
    /// If the directory refuses, or does not answer.
    pub async fn remove(&self, node: NodeId, patience: Duration) -> Result<(), Error> {
        let deadline = Instant::now() + patience;
        loop {
            let shard = self.look().await?;
            if !shard.members().any(|member| member == node) {
                self.retire_removed(Some(node)).await;
                return Ok(());
            }
            let tried = match () {
                () if shard.leader == node.get() => self.hand_over(&shard, node).await,
                () if !shard.outgoing.is_empty() => Ok(()),
                () => self.change(&[(Kind::Remove, node)]).await,
            };
            if Instant::now() > deadline {
                let text = format!("node {node} is still a member of shard {}", self.shard);
                return Err(tried.err().unwrap_or(Error::Rejected(text)));
            }
            sleep(LOOK).await;
        }
    }

    /// Hands leadership to a voter.
    ///
    /// # Errors
    /// If it is none, or the directory does not answer.
    pub async fn transfer_leader(&self, to: NodeId) -> Result<(), Error> {
        self.ask(request::Body::TransferLeader(wire::TransferLeader { to: to.get() })).await
    }

    /// To whichever other voter has the most of the log.
    async fn hand_over(&self, shard: &wire::Shard, from: NodeId) -> Result<(), Error> {
        let voters = shard.progress.iter().filter(|progress| shard.voters.contains(&progress.node));
        let best = voters.filter(|progress| progress.active).max_by_key(|progress| progress.matched);
        match best.and_then(|progress| NodeId::new(progress.node)) {
            Some(best) => self.transfer_leader(best).await,
            None => Err(Error::Rejected(format!(
                "node {from} leads shard {}, and no other voter is there to take over: add one first",
                self.shard
            ))),
        }
    }

    async fn change(&self, changes: &[(Kind, NodeId)]) -> Result<(), Error> {
        self.change_if(&BTreeSet::new(), changes).await
    }

    /// Changes members in one step, if exactly these vote; whoever votes, if none are named.
    pub(crate) async fn change_if(
        &self,
        voters: &BTreeSet<NodeId>,
        changes: &[(Kind, NodeId)],
    ) -> Result<(), Error> {
        let changes = changes
            .iter()
            .map(|(kind, node)| wire::MemberChange { kind: (*kind).into(), node: node.get() })
            .collect::<Vec<_>>();
        let voters = voters.iter().map(|voter| voter.get()).collect();
        self.ask(request::Body::ChangeMembers(wire::ChangeMembers { changes, voters })).await
    }

    async fn ask(&self, body: request::Body) -> Result<(), Error> {
        let asked = self.client.ask(Target::This(self.shard), Whom::Leader, || body.clone()).await?;
        match asked.body {
            response::Body::Done(_) => Ok(()),
            response::Body::Failure(failure) => Err(Error::Rejected(failure.text)),
            _ => Err(unexpected()),
        }
    }

    /// Tells a node that it is no member any more, by this entry if it is not 0. It need not be there to hear it.
    ///
    /// # Errors
    /// If it refuses: it is a member, as far as it knows, or knows more.
    pub(crate) async fn retire(&self, node: NodeId, through: u64) -> Result<(), Error> {
        match self.client.call(node, self.shard, request::Body::Retire(wire::Retire { through })).await {
            Some(response::Body::Failure(failure)) => Err(Error::Rejected(failure.text)),
            _ => Ok(()),
        }
    }

    /// The same for a node that was removed a moment ago: if it does not know that yet, it keeps what it has.
    async fn retire_removed(&self, node: Option<NodeId>) {
        if let Some(node) = node {
            // What it keeps does no harm.
            let _ = self.retire(node, 0).await;
        }
    }
}
