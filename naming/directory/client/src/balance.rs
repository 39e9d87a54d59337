//! Sees to it that shards are replicated and led as they should be: asks how they are, has
//! [the core](naming_directory::balance) decide, does what it says, one step at a time.
//!
//! Whoever leads the first shard does so, by [`Balancer::round`] again and again. If two nodes believe they do, no harm comes
//! of it: each change names the voters that it is meant for, and is refused if they are others by then.
//!
//! A voter is dead if for long neither this node nor any leader has heard of it, and its lease in the directory has ended.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use naming_directory::balance::{self, Action, Goals, Learner, Reason, View};

use crate::wire::member_change::Kind;
use crate::{Client, Error, ShardId};

mod observe;
mod survey;

use observe::Observer;

/// Between two looks, if a step was taken or a replica catches up, and if nothing was to be done.
const BUSY: Duration = Duration::from_millis(500);
const IDLE: Duration = Duration::from_secs(5);

/// How a balancer behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Voters of a shard.
    pub replicas: usize,
    /// After which a silent voter is replaced; `None`: never.
    pub replace_after: Option<Duration>,
}

/// A step that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// In which shard.
    pub shard: ShardId,
    /// What was done.
    pub action: Action,
    /// What for.
    pub reason: Reason,
}

/// Steps that were taken since the node started.
#[derive(Debug, Default)]
#[allow(missing_docs, reason = "the texts of `all` say it")]
pub struct Counters {
    pub leaders_moved: AtomicU64,
    pub replicas_added: AtomicU64,
    pub replicas_promoted: AtomicU64,
    pub replicas_dropped: AtomicU64,
    pub replicas_retired: AtomicU64,
    pub steps_failed: AtomicU64,
}

impl Counters {
    /// Each counter's name, its explanation and its value.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        [
            (
                "leaders_moved",
                "Leaders that this node moved to even out their numbers, or to let a voter go.",
                &self.leaders_moved,
            ),
            ("replicas_added", "Replicas that this node began to move or add.", &self.replicas_added),
            (
                "replicas_promoted",
                "Replicas that this node let vote, in the place of others or beside them.",
                &self.replicas_promoted,
            ),
            ("replicas_dropped", "Replicas that this node let go before they voted.", &self.replicas_dropped),
            (
                "replicas_retired",
                "Replicas that this node had given up after they were moved.",
                &self.replicas_retired,
            ),
            (
                "balance_steps_failed",
                "Rounds of moving replicas and leaders that failed.",
                &self.steps_failed,
            ),
        ]
        .map(|(name, help, value)| (name, help, value.load(Ordering::Relaxed)))
        .into_iter()
    }

    fn of(&self, action: Action) -> &AtomicU64 {
        match action {
            Action::Lead(_) => &self.leaders_moved,
            Action::Add(_) => &self.replicas_added,
            Action::Promote { .. } => &self.replicas_promoted,
            Action::Drop(_) => &self.replicas_dropped,
            Action::Retire(_) => &self.replicas_retired,
        }
    }
}

/// Moves replicas and leaders.
pub struct Balancer {
    client: Client,
    goals: Goals,
    observer: Observer,
    counters: Arc<Counters>,
    began: Instant,
    /// Whether something is under way.
    busy: bool,
}

impl Balancer {
    /// One that has seen nothing yet.
    pub fn new(client: Client, settings: Settings, counters: Arc<Counters>) -> Self {
        let goals = Goals { replicas: settings.replicas };
        let observer = Observer::new(settings.replace_after);
        Self { client, goals, observer, counters, began: Instant::now(), busy: false }
    }

    /// Looks, and takes a step if one is good for anything.
    ///
    /// # Errors
    /// If the directory does not answer, or refuses the step: how things are has changed since it was asked.
    pub async fn round(&mut self) -> Result<Option<Step>, Error> {
        let round = self.try_round().await;
        if round.is_err() {
            self.busy = false;
            self.counters.steps_failed.fetch_add(1, Ordering::Relaxed);
        }
        round
    }

    /// How long to wait before the next round.
    pub fn pause(&self) -> Duration {
        if self.busy { BUSY } else { IDLE }
    }

    async fn try_round(&mut self) -> Result<Option<Step>, Error> {
        let survey = survey::survey(&self.client).await?;
        let view = self.observer.view(&survey, self.began.elapsed());
        let step = balance::next_step(&view, &self.goals);
        let coming =
            |shard: &balance::Shard| shard.learners.values().any(|learner| *learner != Learner::Foreign);
        self.busy = step.is_some() || view.shards.values().any(coming);
        let Some(balance::Step { shard, action, reason }) = step else { return Ok(None) };
        self.take(&view, shard, action).await?;
        self.observer.note(shard, action, self.began.elapsed());
        self.counters.of(action).fetch_add(1, Ordering::Relaxed);
        Ok(Some(Step { shard, action, reason }))
    }

    async fn take(&self, view: &View, id: ShardId, action: Action) -> Result<(), Error> {
        let members = self.client.members(id);
        let shard = view.shards.get(&id);
        let none = BTreeSet::new();
        let voters = shard.map_or(&none, |shard| &shard.voters);
        match action {
            Action::Lead(node) => members.transfer_leader(node).await,
            Action::Add(node) => members.change_if(voters, &[(Kind::AddLearner, node)]).await,
            Action::Promote { node, instead_of: None } => {
                members.change_if(voters, &[(Kind::AddVoter, node)]).await
            }
            Action::Promote { node, instead_of: Some(old) } => {
                members.change_if(voters, &[(Kind::AddVoter, node), (Kind::Remove, old)]).await
            }
            Action::Drop(node) => members.change_if(voters, &[(Kind::Remove, node)]).await,
            Action::Retire(node) => members.retire(node, self.observer.applied(id)).await,
        }
    }
}
