//! Copies of immutable names: who holds them. In batches, since a node that caches ten thousand blocks should cost the
//! directory a few entries of its log.

use naming::{Digest, Name, NodeId};
use naming_directory::catalog::capacity::{MAX_BATCH, MAX_COMMAND_LEN};
use naming_directory::proto::command::Action;
use naming_directory::proto::reply::Outcome;
use naming_directory::proto::{self, CopyRefusal};
use tokio::time::Instant;

use super::{Client, Target, bytes_of, unexpected};
use crate::{Error, ShardId};

/// Bytes of a batch at most: half of a command, the rest for what goes around it.
const MAX_BATCH_LEN: usize = MAX_COMMAND_LEN / 2;
/// Bytes of a copy beside its name.
const COPY_LEN: usize = 64;

/// A copy of immutable content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copy {
    /// What it is of. Carries a version.
    pub name: Name,
    /// Of the content.
    pub digest: Digest,
    /// Bytes of the content.
    pub length: u64,
}

/// What became of copies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Published {
    /// Copies that were not known before.
    pub added: u64,
    /// Copies that were refused.
    pub refused: u64,
    /// Which, and why: the first ones of each batch.
    pub refusals: Vec<RefusedCopy>,
}

/// A copy that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedCopy {
    /// The name.
    pub name: Name,
    /// Why.
    pub reason: CopyRefusal,
}

impl Client {
    /// Makes known that `node`, in its life `epoch`, holds these copies.
    ///
    /// # Errors
    /// If the directory refuses, or does not answer. What came before in the order of names is known by then; to do it all
    /// again is harmless.
    pub async fn publish(&self, node: NodeId, epoch: u64, mut copies: Vec<Copy>) -> Result<Published, Error> {
        copies.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        copies.dedup_by(|one, other| one.name == other.name);
        let mut published = Published::default();
        let mut rest = &copies[..];
        let mut deadline = Instant::now() + self.0.settings.timeout;
        while let Some(first) = rest.first() {
            let batch = self.batch(rest, |copy| &copy.name, COPY_LEN).await?;
            let wire = batch.iter().map(|copy| proto::Copy {
                name: bytes_of(copy.name.as_name()),
                digest: copy.digest.as_bytes().to_vec().into(),
                length: copy.length,
            });
            let action = Action::Publish(proto::Publish { node: node.get(), epoch, copies: wire.collect() });
            match self.execute_within(Target::Name(first.name.as_name()), &action, deadline).await? {
                Some(Outcome::Published(outcome)) => published.add(batch, &outcome),
                Some(_) => return Err(unexpected()),
                None => continue,
            }
            rest = &rest[batch.len()..];
            deadline = Instant::now() + self.0.settings.timeout;
        }
        Ok(published)
    }

    /// Makes known that `node` holds copies of these names no more; how many were known.
    ///
    /// # Errors
    /// As of [`Self::publish`].
    pub async fn withdraw(&self, node: NodeId, mut names: Vec<Name>) -> Result<u64, Error> {
        names.sort_unstable();
        names.dedup();
        let (mut removed, mut rest) = (0, &names[..]);
        let mut deadline = Instant::now() + self.0.settings.timeout;
        while let Some(first) = rest.first() {
            let batch = self.batch(rest, |name| name, 0).await?;
            let wire = batch.iter().map(|name| bytes_of(name.as_name())).collect();
            let action = Action::Withdraw(proto::Withdraw { node: node.get(), names: wire });
            match self.execute_within(Target::Name(first.as_name()), &action, deadline).await? {
                Some(Outcome::Withdrawn(withdrawn)) => removed += u64::from(withdrawn.removed),
                Some(_) => return Err(unexpected()),
                None => continue,
            }
            rest = &rest[batch.len()..];
            deadline = Instant::now() + self.0.settings.timeout;
        }
        Ok(removed)
    }

    /// Makes known that `node` holds none of what it held up to its life `epoch`: in every shard.
    ///
    /// # Errors
    /// As of [`Self::publish`].
    pub async fn retire_holder(&self, node: NodeId, epoch: u64) -> Result<(), Error> {
        let mut from = Some(Name::root());
        while let Some(name) = from {
            let retire = proto::RetireHolder { node: node.get(), epoch };
            self.execute(Target::Name(name.as_name()), Action::RetireHolder(retire)).await?;
            from = self.shards().find(name.as_name()).and_then(|shard| shard.until.clone());
        }
        Ok(())
    }

    /// As many of the items' front as are of one shard and fit a command.
    async fn batch<'a, T>(
        &self,
        items: &'a [T],
        name: impl Fn(&T) -> &Name,
        extra: usize,
    ) -> Result<&'a [T], Error> {
        let deadline = Instant::now() + self.0.settings.timeout;
        let Some(first) = items.first() else { return Ok(items) };
        let shard: ShardId = self.shard(Target::Name(name(first).as_name()), deadline).await?.id;
        let shards = self.shards();
        let mut len = 0;
        let fits = |item: &&T| {
            len += name(item).as_bytes().len() + extra;
            let same = shards.find(name(item).as_name()).is_some_and(|found| found.id == shard);
            same && len <= MAX_BATCH_LEN
        };
        let count = items.iter().take(MAX_BATCH).take_while(fits).count();
        Ok(&items[..count.max(1)])
    }
}

impl Published {
    fn add(&mut self, batch: &[Copy], outcome: &proto::Published) {
        self.added += u64::from(outcome.added);
        self.refused += u64::from(outcome.refused);
        self.refusals.extend(outcome.refusals.iter().filter_map(|refusal| {
            let copy = batch.get(refusal.place as usize)?;
            Some(RefusedCopy { name: copy.name.clone(), reason: refusal.reason() })
        }));
    }
}
