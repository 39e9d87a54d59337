//! Everything under a prefix, and every change of it.
//!
//! A watch begins with a listing and goes on with changes; each says how something *is*, so that seeing one twice is
//! harmless. When servers come and go it asks another one to go on after the last change it saw. If none remembers that
//! far back (or a shard was split), it lists again: its reader forgets what it knew, and takes the listing for it. So
//! nothing is lost, however long the gap.

use std::time::Duration;

use naming::{Name, NodeId};
use naming_directory::Position;
use naming_directory::catalog::{Change, Event};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::client::{ListedShard, Target, bytes_of};
use crate::wire::{
    self, FailureKind, Freshness, Request, event_of, position_of, position_to, request, response,
};
use crate::{Client, Error, ShardId};

/// A server tells a watcher at least this often that it is still there; after three times as long another one is asked.
pub const PROGRESS: Duration = Duration::from_secs(1);
/// From one beginning of a watch to the next one, at least.
const PAUSE: Duration = Duration::from_millis(100);

/// What a watch tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// How everything under the prefix is, of names from `from` on: what was known of them before is void.
    Listing {
        /// The first name that it is of.
        from: Name,
        /// The first name that it is not of; `None`: all from `from` on.
        until: Option<Name>,
        /// Whose names they are.
        shard: ShardId,
        /// Nothing up to this entry of the shard's log is missing. Some things may be of a later one, and be told again.
        position: Position,
        /// When it was asked for: nothing that was acknowledged before is missing.
        asked: std::time::Instant,
        /// How things are.
        events: Vec<Event>,
    },
    /// What changed: nothing, at times, so that whoever does not want to know any more can say so.
    Changes {
        /// The first name of the listing that they go on from.
        from: Name,
        /// As the listing said.
        shard: ShardId,
        /// Nothing up to this entry of the shard's log is missing any more.
        position: Position,
        /// Whether that is all that the replica knows of which tells, and it has a leader: then this is as new as what it
        /// hears from that one.
        current: bool,
        /// How things are now, in the order in which they came to be so.
        events: Vec<Event>,
    },
}

/// Watches the names under a prefix that are of one shard; [`Client::watch`] begins one.
pub struct Watch {
    client: Client,
    prefix: Name,
    /// The first of the names.
    from: Name,
    /// The first name that another watch has, if there is one.
    until: Option<Name>,
    /// Which shard, and after which change to go on; none: to be listed.
    at: Option<(ShardId, Position)>,
    /// Whom to ask next.
    turn: usize,
}

/// Why a server's stream of changes ended.
enum Ended {
    /// Another one may go on.
    Lost,
    /// It has to be listed anew.
    Gap,
}

impl Client {
    /// Watches what is under `prefix`. Tells of it by `seen` until that returns `false`. A prefix whose names are of several
    /// shards is watched shard by shard, each in order, in a task of its own with its own clone of `seen`.
    ///
    /// # Errors
    /// If the directory does not answer to the first listing. Later it is asked for as long as it takes.
    pub async fn watch(
        &self,
        prefix: Name,
        seen: impl FnMut(Seen) -> bool + Send + Clone + 'static,
    ) -> Result<(), Error> {
        let mut seen = seen;
        let mut watch = Watch::new(self.clone(), prefix.clone(), prefix, None);
        if watch.list(&mut seen).await? {
            watch.spawn(seen);
        }
        Ok(())
    }
}

impl Watch {
    fn new(client: Client, prefix: Name, from: Name, until: Option<Name>) -> Self {
        let turn = client.0.id.get() as usize;
        Self { client, prefix, from, until, at: None, turn }
    }

    fn spawn(self, seen: impl FnMut(Seen) -> bool + Send + Clone + 'static) {
        tokio::spawn(self.run(seen));
    }

    async fn run(mut self, mut seen: impl FnMut(Seen) -> bool + Send + Clone + 'static) {
        loop {
            let Some((shard, after)) = self.at else {
                match self.list(&mut seen).await {
                    Ok(true) => continue,
                    Ok(false) => return,
                    Err(error) => {
                        tracing::warn!(%error, prefix = %self.prefix, "a watch waits for the directory");
                        // Not at once again: what makes no sense comes without delay.
                        sleep(PROGRESS).await;
                        continue;
                    }
                }
            };
            let earliest = Instant::now() + PAUSE;
            match self.follow(shard, after, &mut seen).await {
                Some(Ended::Lost) => {
                    self.turn = self.turn.wrapping_add(1);
                    self.client.look_around();
                }
                Some(Ended::Gap) => self.at = None,
                None => return,
            }
            // What ended as soon as it began may do so again, wherever it is asked for.
            sleep_until(earliest).await;
        }
    }

    /// Whether to go on.
    async fn list(
        &mut self,
        seen: &mut (impl FnMut(Seen) -> bool + Send + Clone + 'static),
    ) -> Result<bool, Error> {
        let (prefix, from) = (self.prefix.as_name(), self.from.as_name());
        let asked = Instant::now().into_std();
        let ListedShard { shard, position, until, mut events } =
            self.client.list_shard(prefix, from, Freshness::Linearizable).await?;
        self.at = Some((shard, position));
        let until = until.filter(|until| until.as_name().starts_with(prefix));
        let ends = until.filter(|until| self.until.as_ref().is_none_or(|known| until < known));
        let (rest, until) = (ends.clone(), ends.or_else(|| self.until.clone()));
        // Of the others another watch tells.
        events.retain(|event| until.as_ref().is_none_or(|until| event.name < *until));
        let listing = Seen::Listing { from: self.from.clone(), until, shard, position, asked, events };
        let go_on = seen(listing);
        if let Some(rest) = rest.filter(|_| go_on) {
            // The other names are another shard's.
            let until = self.until.replace(rest.clone());
            Self::new(self.client.clone(), self.prefix.clone(), rest, until).spawn(seen.clone());
        }
        Ok(go_on)
    }

    /// Takes the changes of one server, for as long as it tells them; `None`: nobody wants to know them any more.
    async fn follow(
        &mut self,
        shard: ShardId,
        mut after: Position,
        seen: &mut impl FnMut(Seen) -> bool,
    ) -> Option<Ended> {
        let deadline = Instant::now() + self.client.0.settings.timeout;
        let Ok(known) = self.client.shard(Target::This(shard), deadline).await else {
            return Some(Ended::Gap);
        };
        let node = self.pick(&known.members);
        let calls = std::sync::Arc::clone(&self.client.0);
        let mut answers = calls.calls.many([node]);
        let request = |body| Request { id: answers.id, shard: shard.0, body: Some(body) };
        let prefix = bytes_of(self.prefix.as_name());
        let watch = wire::Watch { prefix, after: position_to(after) };
        self.client.send(node, request(request::Body::Watch(watch)));
        let unwatch = request(request::Body::Unwatch(wire::Unwatch { watch: answers.id }));
        let ended = loop {
            let Ok(Some(body)) = timeout(3 * PROGRESS, answers.next()).await else {
                break Some(Ended::Lost);
            };
            match body {
                response::Body::Changed(changed) => match self.take(&mut after, shard, changed, seen) {
                    Ok(true) => {}
                    Ok(false) => break None,
                    Err(ended) => break Some(ended),
                },
                response::Body::Failure(failure) if failure.kind() == FailureKind::Gap => {
                    break Some(Ended::Gap);
                }
                _ => {
                    // It has no replica, or too many watchers.
                    sleep(PAUSE).await;
                    self.client.refresh(Target::This(ShardId(0)), Instant::now() + PROGRESS).await;
                    break Some(Ended::Lost);
                }
            }
        };
        self.client.send(node, unwatch);
        ended
    }

    fn take(
        &mut self,
        after: &mut Position,
        shard: ShardId,
        changed: wire::Changed,
        seen: &mut impl FnMut(Seen) -> bool,
    ) -> Result<bool, Ended> {
        if position_of(changed.after).index > after.index {
            // A message before this one was lost.
            return Err(Ended::Lost);
        }
        let events: Result<Vec<Event>, _> = changed.events.into_iter().map(event_of).collect();
        let events = events.map_err(|_| Ended::Gap)?;
        let split = events.iter().any(|event| event.change == Change::Split);
        let current = changed.current;
        *after = position_of(changed.position);
        self.at = Some((shard, *after));
        let go_on = seen(Seen::Changes { from: self.from.clone(), shard, position: *after, current, events });
        if split && go_on {
            // Some of the names are another shard's now.
            self.client.shards().forget(shard);
            return Err(Ended::Gap);
        }
        Ok(go_on)
    }

    /// This node itself if it can tell; else one after the other.
    fn pick(&self, members: &[NodeId]) -> NodeId {
        let own = self.client.0.id;
        let first = self.turn == own.get() as usize && members.contains(&own);
        let turn = members.get(self.turn % members.len().max(1)).copied();
        if first { own } else { turn.unwrap_or(own) }
    }
}
