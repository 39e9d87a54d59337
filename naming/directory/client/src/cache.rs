//! A client's own copy of everything under a prefix, fed by [watches](crate::watch): names are resolved from it without asking
//! anybody.
//!
//! ```text
//!  watch of a shard ──► listing, changes ──► Table: a part a shard, as it was when last heard ──► resolve, list
//!  the prefix's own prefixes, asked for every second ──► what its names inherit ──────────▲
//! ```
//!
//! # What it knows, and how well
//! - *Nothing is lost*, as nothing is of a watch: what changed while nobody told is told later, or listed anew. Meanwhile
//!   names are answered as they were last heard, if that will do: each answer says when that was, and one that may not be
//!   older than so long is none once it is.
//! - *Heard is not known.* What is heard now may have been on its way for a while. The replica that told it may be behind its
//!   leader: usually by no more than it takes to notice that the leader is gone, a fraction of a second; just after a start by
//!   what it missed. Whatever a replica without a leader tells makes nothing newer. What has to be in an answer is waited for
//!   by its [place in the log](Cache::reach).
//! - *Leases are not told*, neither renewals nor ends: an authority here is whoever got it last ([`Holder`]).
//! - *What is under a prefix says nothing of what is above it.* Authorities and routes of the prefix's own prefixes are asked
//!   for every [`PROGRESS`], and are as old as that.
//! - *What did not fit is not known*: an answer that might lack something is [`Unknown::NotKept`], never "there is none".
//!   Names that go make room for others; those that found none stay unknown until their shard is listed anew.
//!
//! | module | what it is |
//! |---|---|
//! | `table` | the parts, and answers from them: no I/O, no clock |
//! | `lost` | which names found no room |
//! | `part` | what is known of one shard's names; copies in the form in which replicas have them |
//! | `known` | answers, and why there is none |

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak};
use std::time::Duration;

use naming::{Name, NameRef};
use naming_directory::Position;
use naming_directory::catalog::Event;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::client::Resolution;
use crate::watch::{PROGRESS, Seen};
use crate::wire::Freshness;
use crate::{Client, Error, ShardId};

mod known;
mod lost;
mod part;
mod table;
#[cfg(test)]
mod tests;

pub use known::{Holder, Known, Route, Unknown};
pub use part::Size;
use table::{Age, Inherited, Table};
pub use table::{Counters, Listed};

/// Everything under a prefix, as it was last heard; [`Client::cache`] begins one. Clones are the same one. With the last of
/// them the watches end, each when it is told something for the next time.
#[derive(Clone)]
pub struct Cache(Arc<Shared>);

struct Shared {
    client: Client,
    table: RwLock<Table>,
    /// Told when something was taken in.
    taken: watch::Sender<()>,
    answered: AtomicU64,
    unanswered: AtomicU64,
}

impl Client {
    /// Begins to keep what is under `prefix`, as much of it as `capacity` says.
    ///
    /// The capacity is of what is kept, not of what is on its way. A shard's listing is there whole before it is taken in, however
    /// large: an event for each copy of each name and for each other thing known of one, each with a name of its own. That
    /// is a few times as much as is kept of it, for every shard that is being listed. What a listing replaces stays until all
    /// of it was taken in.
    ///
    /// # Errors
    /// If the directory does not answer to the first questions. Later it is asked for as long as it takes.
    pub async fn cache(&self, prefix: Name, capacity: Size) -> Result<Cache, Error> {
        let shared = Arc::new(Shared {
            client: self.clone(),
            table: RwLock::new(Table::new(prefix.clone(), capacity)),
            taken: watch::Sender::default(),
            answered: AtomicU64::new(0),
            unanswered: AtomicU64::new(0),
        });
        if let Some(above) = prefix.as_name().parent() {
            shared.inherit(ask_above(self, above).await?);
            tokio::spawn(keep_inherited(Arc::downgrade(&shared), self.clone(), above.to_name()));
        }
        let feed = Arc::downgrade(&shared);
        let seen = move |seen| feed.upgrade().is_some_and(|shared| shared.take(seen));
        self.watch(prefix, seen).await?;
        Ok(Cache(shared))
    }
}

impl Cache {
    /// What is known of a name, if nothing of that was heard longer than `max_age` ago. Of a quiet shard a watch hears every
    /// [`PROGRESS`], so less than twice as long is often too little. [`Duration::MAX`]: however old.
    ///
    /// # Errors
    /// If it is not known here: [`Client::resolve`] knows.
    pub fn resolve<'n>(&self, name: NameRef<'n>, max_age: Duration) -> Result<Known<'n>, Unknown> {
        let known = self.0.table().resolve(name, age(max_age));
        let count = if known.is_ok() { &self.0.answered } else { &self.0.unanswered };
        count.fetch_add(1, Ordering::Relaxed);
        known
    }

    /// What is known of each of these names, in their order: here, or else by the directory, which is asked for all others at once.
    ///
    /// # Errors
    /// If the directory has to be asked and does not answer.
    pub async fn resolve_or_ask<'n>(
        &self,
        names: &[NameRef<'n>],
        max_age: Duration,
    ) -> Result<Vec<Known<'n>>, Error> {
        let known: Vec<_> = names.iter().map(|name| self.resolve(*name, max_age)).collect();
        let unknown = names.iter().zip(&known).filter(|(_, known)| known.is_err());
        let unknown: Vec<NameRef<'n>> = unknown.map(|(name, _)| *name).collect();
        let asked = Instant::now().into_std();
        let resolved = match &unknown[..] {
            [] => Vec::new(),
            unknown => self.0.client.resolve(unknown, Freshness::Linearizable).await?,
        };
        let mut resolved = unknown.into_iter().zip(resolved);
        let told = |(name, resolution): (_, Resolution)| Known::of(name, resolution, asked);
        Ok(known.into_iter().filter_map(|known| known.ok().or_else(|| resolved.next().map(told))).collect())
    }

    /// Everything under `prefix`, as events that say how it is, if it is all known here, and was heard `max_age` ago at most.
    ///
    /// # Errors
    /// If it is not known here: [`Client::list`] knows.
    pub fn list(&self, prefix: NameRef<'_>, max_age: Duration) -> Result<Vec<Event>, Unknown> {
        self.0.table().list(prefix, age(max_age))
    }

    /// Waits until all that the log of a shard has up to an entry is known of `name`: of what was acknowledged before
    /// [`Client::position`] was asked, nothing is missing then. As long as nobody tells it waits; whoever does not want to ends it.
    ///
    /// If the name is another shard's here, the directory is asked for its position now: the shard may have been split before
    /// this began, so that nothing is ever heard of its log.
    ///
    /// # Errors
    /// If the directory has to be asked and does not answer.
    pub async fn reach(&self, name: NameRef<'_>, shard: ShardId, position: Position) -> Result<(), Error> {
        self.until(|table| table.shard_of(name).is_some()).await;
        let is_anothers = {
            let table = self.0.table();
            !table.is_at(name, shard, position) && table.shard_of(name) != Some(shard)
        };
        let (shard, position) =
            if is_anothers { self.0.client.position(name).await? } else { (shard, position) };
        self.until(|table| table.is_at(name, shard, position)).await;
        Ok(())
    }

    /// Waits until everything was listed.
    pub async fn complete(&self) {
        self.until(Table::is_complete).await;
    }

    /// Whether everything was listed.
    pub fn is_complete(&self) -> bool {
        self.0.table().is_complete()
    }

    /// What is known of each shard, and when it was last heard, in the order of names.
    pub fn listed(&self) -> Vec<Listed> {
        self.0.table().listed()
    }

    /// How much is kept.
    pub fn size(&self) -> Size {
        self.listed().iter().map(|listed| listed.size).sum()
    }

    /// What it did and did not do, since it began.
    pub fn counters(&self) -> Counters {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (answered, unanswered) = (count(&self.0.answered), count(&self.0.unanswered));
        Counters { answered, unanswered, ..self.0.table().counters() }
    }

    async fn until(&self, holds: impl Fn(&Table) -> bool) {
        let mut taken = self.0.taken.subscribe();
        // The sender is here for as long as this is.
        drop(taken.wait_for(|()| holds(&self.0.table())).await);
    }
}

impl Shared {
    /// Takes in what a watch tells. Nobody waits for a listing that is taken in: neither answers nor what other watches tell.
    fn take(&self, seen: Seen) -> bool {
        // It was heard now, however long it takes until the table may be changed.
        let now = Instant::now().into_std();
        match seen {
            Seen::Listing { .. } => self.take_listing(seen),
            Seen::Changes { .. } => self.table_mut().change(seen, now),
        }
        self.taken.send_replace(());
        true
    }

    fn take_listing(&self, listing: Seen) {
        let coming = self.table_mut().begin(listing);
        let Some(mut coming) = coming else { return };
        loop {
            let room = self.table_mut().reserve(&coming);
            if !coming.take(room) {
                break;
            }
        }
        let old = self.table_mut().replace(coming);
        drop(old);
    }

    fn inherit(&self, (inherited, asked): (Inherited, std::time::Instant)) {
        self.table_mut().inherit(inherited, asked);
    }

    fn table(&self) -> RwLockReadGuard<'_, Table> {
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn table_mut(&self) -> RwLockWriteGuard<'_, Table> {
        self.table.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn age(max: Duration) -> Age {
    Age { now: Instant::now().into_std(), max }
}

/// Asks again and again what a cache's names inherit from above its prefix, until there is no such cache any more.
async fn keep_inherited(cache: Weak<Shared>, client: Client, above: Name) {
    loop {
        sleep(PROGRESS).await;
        if cache.strong_count() == 0 {
            return;
        }
        let found = ask_above(&client, above.as_name()).await;
        let Some(cache) = cache.upgrade() else { return };
        match found {
            Ok(found) => cache.inherit(found),
            Err(error) => {
                tracing::warn!(%error, %above, "what a cache's names inherit is not known any more")
            }
        }
    }
}

async fn ask_above(client: &Client, above: NameRef<'_>) -> Result<(Inherited, std::time::Instant), Error> {
    let asked = Instant::now().into_std();
    let found = client.resolve(&[above], Freshness::Linearizable).await?.pop().unwrap_or_default();
    Ok((Inherited { authority: found.authority, route: found.route }, asked))
}
