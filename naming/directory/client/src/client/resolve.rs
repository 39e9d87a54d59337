//! Who answers for names, where copies are, and what is under a prefix.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use naming::{Digest, Name, NameRef, NodeId};
use naming_directory::Position;
use naming_directory::catalog::{Event, Record};
use tokio::time::Instant;

use super::{Client, Target, Whom, bytes_of, unexpected};
use crate::wire::{
    self, Cursor, FailureKind, Freshness, Malformed, digest_of, event_of, position_of, request, response,
};
use crate::{Error, ShardId};

/// Names in one request at most.
const MAX_NAMES: usize = 4096;
/// Events of a listing's page.
pub(crate) const PAGE: u32 = 4096;

/// What is known of a name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolution {
    /// Of an immutable name: where copies are.
    pub copies: Option<Copies>,
    /// Who answers for it: of the longest prefix that has an authority.
    pub authority: Option<Held>,
    /// The route of the longest prefix that has one.
    pub route: Option<Routed>,
}

/// Copies of an immutable name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copies {
    /// Of the content.
    pub digest: Digest,
    /// Bytes of the content.
    pub length: u64,
    /// Who holds copies.
    pub holders: Vec<NodeId>,
}

/// The authority of a prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The prefix.
    pub prefix: Name,
    /// The holder; nobody, if it was given back.
    pub node: Option<NodeId>,
    /// The holder's life.
    pub epoch: u64,
    /// Rises with each change of the holder.
    pub term: u64,
    /// What is left of its lease, by the directory's time.
    pub remaining: Duration,
}

/// The route of a prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Routed {
    /// The prefix.
    pub prefix: Name,
    /// What it says.
    pub record: Record,
}

impl Client {
    /// What is known of each of these names, in their order. Of a name whose shard knows no authority or route for it, shards
    /// that have prefixes of it are asked, too.
    ///
    /// # Errors
    /// If the directory does not answer.
    pub async fn resolve(
        &self,
        names: &[NameRef<'_>],
        freshness: Freshness,
    ) -> Result<Vec<Resolution>, Error> {
        let deadline = Instant::now() + self.0.settings.timeout;
        let own = self.resolve_own(names, freshness, deadline).await?;
        let before = |name: NameRef<'_>, own: &Own| Some(prefix_before(name, own)?.to_name());
        let sought = names.iter().zip(&own).enumerate();
        let mut sought: Vec<(usize, Name)> =
            sought.filter_map(|(place, (name, own))| Some((place, before(*name, own)?))).collect();
        let mut all: Vec<Resolution> = own.into_iter().map(|own| own.resolution).collect();
        while !sought.is_empty() {
            let prefixes: BTreeSet<Name> = sought.iter().map(|(_, prefix)| prefix.clone()).collect();
            let prefixes: Vec<NameRef<'_>> = prefixes.iter().map(Name::as_name).collect();
            let found = self.resolve_own(&prefixes, freshness, deadline).await?;
            let mut further = Vec::new();
            for (place, prefix) in sought {
                let Ok(at) = prefixes.binary_search(&prefix.as_name()) else { continue };
                let (known, inherited) = (&mut all[place], &found[at]);
                known.authority = known.authority.take().or_else(|| inherited.resolution.authority.clone());
                known.route = known.route.take().or_else(|| inherited.resolution.route.clone());
                if !is_complete(known) {
                    further.extend(before(prefix.as_name(), inherited).map(|prefix| (place, prefix)));
                }
            }
            sought = further;
        }
        Ok(all)
    }

    /// What the shards of these names know.
    async fn resolve_own(
        &self,
        names: &[NameRef<'_>],
        freshness: Freshness,
        deadline: Instant,
    ) -> Result<Vec<Own>, Error> {
        let mut all = vec![Own::default(); names.len()];
        let mut left: Vec<usize> = (0..names.len()).collect();
        while let Some(first) = left.first() {
            let places = self.of_one_shard(names, &left, names[*first], deadline).await?;
            let resolved = self.resolve_at(names, &places, freshness, deadline).await?;
            if let Some((from, resolved)) = resolved {
                for (place, resolution) in places.iter().zip(resolved) {
                    let resolution = resolution_of(names[*place], resolution)?;
                    all[*place] = Own { resolution, from: from.clone() };
                }
                left.retain(|place| places.binary_search(place).is_err());
            }
        }
        Ok(all)
    }

    /// Those of the names at `left` that are of the same shard as `first`, as many as a request takes.
    async fn of_one_shard(
        &self,
        names: &[NameRef<'_>],
        left: &[usize],
        first: NameRef<'_>,
        deadline: Instant,
    ) -> Result<Vec<usize>, Error> {
        let shard = self.shard(Target::Name(first), deadline).await?.id;
        let shards = self.shards();
        let same = |place: &&usize| shards.find(names[**place]).is_some_and(|other| other.id == shard);
        Ok(left.iter().filter(same).take(MAX_NAMES).copied().collect())
    }

    /// With the first name of the shard. `None` if it was split meanwhile.
    async fn resolve_at(
        &self,
        names: &[NameRef<'_>],
        places: &[usize],
        freshness: Freshness,
        deadline: Instant,
    ) -> Result<Option<(Name, Vec<wire::Resolution>)>, Error> {
        let resolve = wire::Resolve {
            names: places.iter().map(|place| bytes_of(names[*place])).collect(),
            freshness: freshness.into(),
        };
        let Some(first) = places.first() else { return Ok(None) };
        let body = || request::Body::Resolve(resolve.clone());
        let asked = self.ask(Target::Name(names[*first]), Whom::Any, body).await?;
        match asked.body {
            response::Body::Resolved(resolved) if resolved.resolutions.len() == places.len() => {
                // A shard begins with the same name for as long as it lives.
                let from = self.shard(Target::This(asked.shard), deadline).await?.from.clone();
                Ok(Some((from, resolved.resolutions)))
            }
            response::Body::Failure(failure)
                if failure.kind() == FailureKind::WrongShard && Instant::now() < deadline =>
            {
                Ok(None)
            }
            response::Body::Failure(failure) => Err(Error::Rejected(failure.text)),
            _ => Err(unexpected()),
        }
    }

    /// Everything under `prefix`, as events that say how it is, and the place in the log of each shard that they are of:
    /// everything later is a change after that.
    ///
    /// # Errors
    /// If the directory does not answer.
    pub async fn list(
        &self,
        prefix: NameRef<'_>,
        freshness: Freshness,
    ) -> Result<(Vec<Event>, BTreeMap<ShardId, Position>), Error> {
        let (mut events, mut places) = (Vec::new(), BTreeMap::new());
        let mut from = Some(prefix.to_name());
        while let Some(name) = from {
            let listed = self.list_shard(prefix, name.as_name(), freshness).await?;
            events.extend(listed.events);
            places.insert(listed.shard, listed.position);
            from = listed.until.filter(|until| until.as_name().starts_with(prefix));
        }
        Ok((events, places))
    }

    /// What the shard that has `name` knows under `prefix`, and up to which name.
    pub(crate) async fn list_shard(
        &self,
        prefix: NameRef<'_>,
        name: NameRef<'_>,
        freshness: Freshness,
    ) -> Result<ListedShard, Error> {
        let deadline = Instant::now() + self.0.settings.timeout;
        'anew: loop {
            let mut listed: Option<ListedShard> = None;
            let mut cursor = None::<Cursor>;
            loop {
                let (shard, listing) = self.page(prefix, name, freshness, cursor.clone()).await?;
                let until = listing.until.as_ref().map(|until| name_of(until)).transpose()?;
                let covers = name_of(&listing.from)?.as_name() <= name
                    && until.as_ref().is_none_or(|until| name < until.as_name());
                let same = listed.as_ref().is_none_or(|listed| listed.shard == shard);
                if !(covers && same) {
                    // It was split.
                    self.shards().forget(shard);
                    if Instant::now() < deadline {
                        continue 'anew;
                    }
                    return Err(Malformed("a listing is of another shard's names").into());
                }
                // Pages are of different moments; what changed in between comes with the changes after the first one.
                let position = position_of(listing.position);
                let listed = listed.get_or_insert_with(|| ListedShard {
                    shard,
                    position,
                    until: None,
                    events: Vec::new(),
                });
                for event in listing.events {
                    listed.events.push(event_of(event)?);
                }
                listed.until = until;
                let Some(next) = listing.next else {
                    listed.cut();
                    return Ok(std::mem::take(listed));
                };
                if cursor.as_ref().is_some_and(|before| !is_behind(&next, before)) {
                    return Err(Malformed("a listing does not go on").into());
                }
                cursor = Some(next);
            }
        }
    }

    async fn page(
        &self,
        prefix: NameRef<'_>,
        name: NameRef<'_>,
        freshness: Freshness,
        cursor: Option<Cursor>,
    ) -> Result<(ShardId, wire::Listing), Error> {
        let list = wire::List { prefix: bytes_of(prefix), freshness: freshness.into(), cursor, limit: PAGE };
        let asked = self.ask(Target::Name(name), Whom::Any, || request::Body::List(list.clone())).await?;
        match asked.body {
            response::Body::Listing(listing) => Ok((asked.shard, listing)),
            response::Body::Failure(failure) => Err(Error::Rejected(failure.text)),
            _ => Err(unexpected()),
        }
    }
}

/// What the shard of a name knows of it, and the first name of that shard.
#[derive(Clone, Debug, Default)]
struct Own {
    resolution: Resolution,
    from: Name,
}

fn is_complete(resolution: &Resolution) -> bool {
    resolution.authority.is_some() && resolution.route.is_some()
}

/// The longest prefix of a name that is another shard's, if one is to be asked.
fn prefix_before<'a>(name: NameRef<'a>, own: &Own) -> Option<NameRef<'a>> {
    // Most directories are of one shard, which begins with the root.
    if own.from.as_name().is_empty() || is_complete(&own.resolution) {
        return None;
    }
    name.prefixes().find(|prefix| *prefix < own.from.as_name())
}

/// What a shard knows under a prefix.
#[derive(Clone, Debug, Default)]
pub(crate) struct ListedShard {
    pub(crate) shard: ShardId,
    /// The place in its log that the first page is of.
    pub(crate) position: Position,
    /// Behind its last name.
    pub(crate) until: Option<Name>,
    pub(crate) events: Vec<Event>,
}

impl ListedShard {
    /// Earlier pages may have what was split off before the last one.
    fn cut(&mut self) {
        if let Some(until) = &self.until {
            self.events.retain(|event| event.name < *until);
        }
    }
}

/// Whether a page ends behind the one before: else there would be pages for ever.
fn is_behind(cursor: &Cursor, before: &Cursor) -> bool {
    let place = |cursor: &Cursor| Some((cursor.table, name_of(&cursor.name).ok()?));
    place(cursor).is_some_and(|place_of| Some(place_of) > place(before))
}

fn name_of(bytes: &[u8]) -> Result<Name, Error> {
    let name = NameRef::from_bytes(bytes).map_err(|_| Malformed("a shard's name is none"))?;
    Ok(name.to_name())
}

fn resolution_of(name: NameRef<'_>, message: wire::Resolution) -> Result<Resolution, Error> {
    let prefix = |len: u32| name.prefix(len as usize).to_name();
    let copies = message.copies.map(|copies| {
        let holders = copies.holders.iter().filter_map(|node| NodeId::new(*node)).collect();
        digest_of(&copies.digest).map(|digest| Copies { digest, length: copies.length, holders })
    });
    Ok(Resolution {
        copies: copies.transpose()?,
        authority: message.authority.map(|held| Held {
            prefix: prefix(held.prefix_len),
            node: NodeId::new(held.node),
            epoch: held.epoch,
            term: held.term,
            remaining: Duration::from_millis(held.remaining_ms),
        }),
        route: message.route.map(|route| Routed {
            prefix: prefix(route.prefix_len),
            record: Record { revision: route.revision, value: route.value },
        }),
    })
}
