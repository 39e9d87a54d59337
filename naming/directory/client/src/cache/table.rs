//! The table of a cache: takes what watches tell, answers from it. No I/O, no clock.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::{Duration, Instant};

use naming::{Name, NameRef};
use naming_directory::catalog::{Change, Event};
use naming_directory::{Position, ShardId};

use super::known::{Holder, Known, Route, Unknown};
use super::part::{self, Facts, Part, Place, Size};
use crate::client::{Copies, Held, Routed};
use crate::watch::Seen;

/// How much of a listing is taken in before more room is kept for it.
const TURN: usize = if cfg!(test) { 2 } else { 1024 };

/// What a cache did and did not do, since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Names that were resolved.
    pub answered: u64,
    /// Names that were not known well enough.
    pub unanswered: u64,
    /// Copies that were told and not kept, since there was no room for their names.
    pub copies_not_kept: u64,
    /// Records, authorities and nodes that were told and not kept, since there was no room for them.
    pub facts_not_kept: u64,
    /// Holders of a copy that were told and not kept, since as many are known of its name as are recorded of one.
    pub holders_not_kept: u64,
    /// What was told of names that are not those of who told it.
    pub astray: u64,
}

/// What is known of the names of one shard under the prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The first of the names.
    pub from: Name,
    /// The first name behind them; `None`: all that are under the prefix.
    pub until: Option<Name>,
    /// Whose they were when they were last heard of.
    pub shard: ShardId,
    /// Up to which entry of its log nothing is missing.
    pub position: Position,
    /// When something of them was last heard.
    pub heard: Instant,
    /// How much is kept of them.
    pub size: Size,
    /// Whether all that was told of them found room.
    pub is_whole: bool,
}

/// What the prefixes of the prefix say to the names under it.
#[derive(Clone, Debug, Default)]
pub(super) struct Inherited {
    pub(super) authority: Option<Held>,
    pub(super) route: Option<Routed>,
}

/// How long ago something may have been heard, by now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Age {
    pub(super) now: Instant,
    pub(super) max: Duration,
}

/// A listing that is being taken in, beside what it is to replace.
pub(super) struct Coming {
    prefix: Name,
    number: u64,
    from: Name,
    part: Part,
    events: std::vec::IntoIter<Event>,
    counters: Counters,
}

/// Room that is kept for a listing that is being taken in.
#[derive(Debug)]
struct Reserved {
    number: u64,
    from: Name,
    until: Option<Name>,
    /// As much as the listing may have until it is in its place; no less than what it replaces had.
    size: Size,
}

/// Everything under a prefix, shard by shard, each as it was when it was last heard.
#[derive(Debug)]
pub(super) struct Table {
    prefix: Name,
    capacity: Size,
    /// By their first names. They do not overlap.
    parts: BTreeMap<Name, Part>,
    /// For listings that are being taken in. No part has names both of one of them and of others.
    reserved: Vec<Reserved>,
    /// How many listings there were.
    listings: u64,
    /// As it was then. Of the root nothing is inherited.
    inherited: Option<(Inherited, Instant)>,
    counters: Counters,
}

impl Age {
    fn check(self, heard: Instant) -> Result<Instant, Unknown> {
        let age = self.now.saturating_duration_since(heard);
        if age > self.max { Err(Unknown::TooOld(age)) } else { Ok(heard) }
    }
}

impl Reserved {
    fn replaces(&self, first: &Name) -> bool {
        *first >= self.from && self.until.as_ref().is_none_or(|until| first < until)
    }
}

impl Counters {
    fn add(&mut self, other: Counters) {
        let Counters { answered, unanswered, copies_not_kept, facts_not_kept, holders_not_kept, astray } =
            other;
        self.answered += answered;
        self.unanswered += unanswered;
        self.copies_not_kept += copies_not_kept;
        self.facts_not_kept += facts_not_kept;
        self.holders_not_kept += holders_not_kept;
        self.astray += astray;
    }
}

impl Table {
    pub(super) fn new(prefix: Name, capacity: Size) -> Self {
        Self {
            prefix,
            capacity,
            parts: BTreeMap::new(),
            reserved: Vec::new(),
            listings: 0,
            inherited: None,
            counters: Counters::default(),
        }
    }

    /// Takes in what a watch tells.
    #[cfg(test)]
    pub(super) fn take(&mut self, seen: Seen, now: Instant) {
        match seen {
            Seen::Listing { .. } => {
                let Some(mut coming) = self.begin(seen) else { return };
                while coming.take(self.reserve(&coming)) {}
                drop(self.replace(coming));
            }
            Seen::Changes { .. } => self.change(seen, now),
        }
    }

    /// Begins to take in a listing. What it is to replace is in parts of its own from now on, and answers until then. Watches have
    /// names of their own, and so have listings that are taken in at the same time. If they had not, the last one that is
    /// put in its place would be what is known.
    pub(super) fn begin(&mut self, seen: Seen) -> Option<Coming> {
        let Seen::Listing { from, until, shard, position, asked, events } = seen else { return None };
        self.cut(&from);
        until.iter().for_each(|until| self.cut(until));
        self.listings += 1;
        let mut reserved =
            Reserved { number: self.listings, from, until: until.clone(), size: Size::default() };
        let old = self.parts.iter().filter(|(first, _)| reserved.replaces(first));
        reserved.size = old.map(|(_, part)| part.size()).sum();
        let coming = Coming {
            prefix: self.prefix.clone(),
            number: reserved.number,
            from: reserved.from.clone(),
            part: Part::new(until, Place { shard, position, heard: asked }),
            events: events.into_iter(),
            counters: Counters::default(),
        };
        self.reserved.push(reserved);
        Some(coming)
    }

    /// Keeps room for what a listing takes in next, as far as there is some: how much it may have in all.
    pub(super) fn reserve(&mut self, coming: &Coming) -> Size {
        let is_own = |reserved: &Reserved| reserved.number == coming.number;
        let others = self.reserved.iter().filter(|reserved| !is_own(reserved));
        let room = self.room_beside(None) - others.map(|reserved| reserved.size).sum();
        let Some(own) = self.reserved.iter_mut().find(|reserved| is_own(reserved)) else { return room };
        own.size = own.size.max(coming.wants()).min(room);
        own.size
    }

    /// Puts a listing in place of what was known of its names, which may take long to drop.
    pub(super) fn replace(&mut self, coming: Coming) -> Vec<Part> {
        let Coming { from, mut part, counters, number, .. } = coming;
        self.counters.add(counters);
        self.reserved.retain(|reserved| reserved.number != number);
        let behind = self.parts.range(from.clone()..).map(|(first, _)| first);
        let old: Vec<Name> = behind.take_while(|first| part.contains(first.as_name())).cloned().collect();
        let old: Vec<Part> = old.iter().filter_map(|first| self.parts.remove(first)).collect();
        for old in &old {
            old.former.iter().chain([&old.place.shard]).for_each(|shard| part.was_of(*shard));
        }
        self.parts.insert(from, part);
        let bounds = self.reserved.iter().flat_map(|other| [Some(&other.from), other.until.as_ref()]);
        let bounds: Vec<Name> = bounds.flatten().cloned().collect();
        bounds.iter().for_each(|at| self.cut(at));
        old
    }

    /// What the parts leave that no listing is to replace, but for one of them. What is reserved is not taken off.
    fn room_beside(&self, but: Option<&Name>) -> Size {
        let stays = |first: &Name| !self.reserved.iter().any(|reserved| reserved.replaces(first));
        let parts = self.parts.iter().filter(|(first, _)| Some(*first) != but && stays(first));
        self.capacity - parts.map(|(_, part)| part.size()).sum()
    }

    /// Takes in changes.
    pub(super) fn change(&mut self, seen: Seen, now: Instant) {
        let Seen::Changes { from, shard, position, current, events } = seen else { return };
        let mut room =
            self.room_beside(Some(&from)) - self.reserved.iter().map(|reserved| reserved.size).sum();
        let Some(mut part) = self.parts.remove(&from) else {
            self.counters.astray += events.len() as u64;
            return;
        };
        let heard = if current { now } else { part.place.heard };
        let position = [position, part.place.position].into_iter().max_by_key(|position| position.index);
        part.place = Place { shard, position: position.unwrap_or_default(), heard };
        for event in events {
            if event.change == Change::Split {
                if event.name <= from {
                    // None of these names is the shard's any more: what follows is of others.
                    break;
                }
                if is_of(&self.prefix, &from, &part, &event) {
                    // They stay as they are until whoever has them lists them.
                    let right = part.split_off(&event.name);
                    room = room - right.size();
                    self.parts.insert(event.name, right);
                }
            } else if is_of(&self.prefix, &from, &part, &event) {
                part.take(event, room, &mut self.counters);
            } else {
                self.counters.astray += 1;
            }
        }
        part.purge();
        self.parts.insert(from, part);
    }

    /// Takes what the prefixes of the prefix were found to say when that was asked.
    pub(super) fn inherit(&mut self, inherited: Inherited, asked: Instant) {
        self.inherited = Some((inherited, asked));
    }

    /// What is known of a name.
    pub(super) fn resolve<'n>(&self, name: NameRef<'n>, age: Age) -> Result<Known<'n>, Unknown> {
        let (mut first, mut part) = self.part_of(name)?;
        let mut heard = age.check(part.place.heard)?;
        let copies = part.copies(name)?;
        let (mut authority, mut route) = (None, None);
        for prefix in name.prefixes().take_while(|prefix| prefix.starts_with(self.prefix.as_name())) {
            if prefix < first {
                (first, part) = self.part_of(prefix)?;
                heard = heard.min(age.check(part.place.heard)?);
            }
            let Some(facts) = part.facts(prefix)? else { continue };
            authority = authority.or_else(|| holder_of(prefix, facts));
            route = route.or_else(|| Some(Route { prefix, record: facts.route()?.clone() }));
            if authority.is_some() && route.is_some() {
                break;
            }
        }
        if (authority.is_none() || route.is_none()) && !self.prefix.as_name().is_empty() {
            let (inherited, asked) = self.inherited.as_ref().ok_or(Unknown::Unlisted)?;
            heard = heard.min(age.check(*asked)?);
            authority = authority.or_else(|| Holder::of(name, inherited.authority.as_ref()?));
            route = route.or_else(|| Route::of(name, inherited.route.as_ref()?));
        }
        let copies = copies.map(|copies| Copies {
            digest: copies.digest,
            length: copies.length,
            holders: copies.holders,
        });
        Ok(Known { copies, authority, route, heard })
    }

    /// Everything under `prefix`, as events that say how it is.
    pub(super) fn list(&self, prefix: NameRef<'_>, age: Age) -> Result<Vec<Event>, Unknown> {
        let parts = self.parts_under(prefix)?;
        for part in &parts {
            age.check(part.place.heard)?;
            if !part.is_whole() {
                return Err(Unknown::NotKept);
            }
        }
        let mut events = Vec::new();
        parts.iter().for_each(|part| part.each(prefix, |event| events.push(event)));
        Ok(events)
    }

    /// Whether everything was listed.
    pub(super) fn is_complete(&self) -> bool {
        self.parts_under(self.prefix.as_name()).is_ok()
    }

    /// Whose a name was when it was last heard of, if it was listed.
    pub(super) fn shard_of(&self, name: NameRef<'_>) -> Option<ShardId> {
        self.part_of(name).ok().map(|(_, part)| part.place.shard)
    }

    /// Whether everything up to that entry of that shard's log is known of a name.
    pub(super) fn is_at(&self, name: NameRef<'_>, shard: ShardId, position: Position) -> bool {
        self.part_of(name).is_ok_and(|(_, part)| {
            let at = part.place;
            // A shard that was split off begins with all that the one before it had of its names.
            part.former.contains(&shard) || (at.shard == shard && at.position.index >= position.index)
        })
    }

    pub(super) fn listed(&self) -> Vec<Listed> {
        let listed = self.parts.iter().map(|(from, part)| Listed {
            from: from.clone(),
            until: part.until.clone(),
            shard: part.place.shard,
            position: part.place.position,
            heard: part.place.heard,
            size: part.size(),
            is_whole: part.is_whole(),
        });
        listed.collect()
    }

    pub(super) fn counters(&self) -> Counters {
        self.counters
    }

    /// What is known of the shard of a name, and the first name of that.
    fn part_of(&self, name: NameRef<'_>) -> Result<(NameRef<'_>, &Part), Unknown> {
        if !name.starts_with(self.prefix.as_name()) {
            return Err(Unknown::Elsewhere);
        }
        let upto = (Bound::Unbounded, Bound::Included(name.as_bytes()));
        let before = self.parts.range::<[u8], _>(upto).next_back();
        let (first, part) = before.filter(|(_, part)| part.contains(name)).ok_or(Unknown::Unlisted)?;
        Ok((first.as_name(), part))
    }

    /// All that have names under `prefix`, in order, without a gap.
    fn parts_under(&self, prefix: NameRef<'_>) -> Result<Vec<&Part>, Unknown> {
        let (mut parts, mut next) = (Vec::new(), Some(prefix));
        while let Some(name) = next {
            let (_, part) = self.part_of(name)?;
            parts.push(part);
            next = part.until.as_ref().map(Name::as_name).filter(|until| until.starts_with(prefix));
        }
        Ok(parts)
    }

    fn cut(&mut self, at: &Name) {
        let before = (Bound::Unbounded, Bound::Excluded(at.as_bytes()));
        let part = self.parts.range_mut::<[u8], _>(before).next_back();
        if let Some((_, part)) = part.filter(|(_, part)| part.contains(at.as_name())) {
            let right = part.split_off(at);
            self.parts.insert(at.clone(), right);
        }
    }
}

impl Coming {
    /// At most what there is of it after the next turn.
    fn wants(&self) -> Size {
        self.next().iter().map(part::most_of).sum::<Size>() + self.part.size()
    }

    fn next(&self) -> &[Event] {
        let events = self.events.as_slice();
        &events[..events.len().min(TURN)]
    }

    /// Takes in some more of it, if there is more. That may take a while.
    pub(super) fn take(&mut self, room: Size) -> bool {
        let turn = self.next().len();
        for event in self.events.by_ref().take(turn) {
            if is_of(&self.prefix, &self.from, &self.part, &event) {
                self.part.take(event, room, &mut self.counters);
            } else {
                self.counters.astray += 1;
            }
        }
        turn > 0
    }
}

/// Whether a watch tells of its own names.
fn is_of(prefix: &Name, from: &Name, part: &Part, event: &Event) -> bool {
    let name = event.name.as_name();
    let is_own = event.name >= *from && part.contains(name) && name.starts_with(prefix.as_name());
    // A holder is gone from all of the shard's names.
    is_own || matches!(event.change, Change::HolderRetired { .. })
}

fn holder_of<'n>(prefix: NameRef<'n>, facts: &Facts) -> Option<Holder<'n>> {
    facts.authority.map(|(node, term)| Holder { prefix, node, term })
}
