//! The hot-key cache of a thread: gets answered from it, and the fills that keep it.
//!
//! What makes a hit right is in [`coherence`](crate::coherence): a write begins before it is forwarded, and ends before its
//! reply is. Here it is asked key by key, so that a client's get behind its own write is never answered from before it.

use arrayvec::ArrayVec;
use fabric::time::Nanos;

use super::backend::BackendId;
use super::client::{ClientId, MAX_PARTS, Transmit};
use super::in_flight::{InFlight, Owner, Place, Tag};
use super::pool::CacheLimits;
use super::request::Asked;
use super::route::Home;
use super::{Outcome, PoolPart, Proxy};
use crate::coherence::Stamp;
use crate::hot::{Attempts, Hit, HotTable, Hottest, Inserted, Item, ItemPlace, Sketch, expiry};
use crate::packet::{HOT_WINDOW, SHOWN_HOT_KEYS, WorkerStatus};
use crate::protocol::binary::{Header, MAGIC_RESPONSE};
use crate::protocol::delimit::{Piece, Shape};
use crate::protocol::reply::{MetaGetReply, parse_meta_get_reply};
use crate::protocol::{Class, Dialect, Keys, MAX_KEY_LEN, MetaFlags, Protocol, Verb, render};

/// A key, held inline.
type KeyBytes = ArrayVec<u8, MAX_KEY_LEN>;

/// The longest reply to a fill that is kept, in bytes: the hot table takes no larger ones.
const MAX_FILL: usize = 1 << 20;
/// Keys that one request may make the node ask for.
const MAX_WANTED: usize = 64;

#[derive(Debug)]
pub(super) struct Cache {
    table: HotTable,
    sketch: Sketch,
    attempts: Attempts,
    limits: CacheLimits,
    /// The walk for the keys that are shown.
    hottest: Hottest,
    scratch: Vec<u8>,
}

/// A fill under way.
#[derive(Debug)]
pub(super) struct Fill {
    pub(super) key: KeyBytes,
    pub(super) hash: u64,
    /// The epochs before the fill was sent: it is installed only if they still hold.
    stamp: Stamp,
    sent: Nanos,
    pub(super) reply: Vec<u8>,
}

/// A key that is worth asking for.
#[derive(Debug)]
pub(super) struct Wanted {
    home: Home,
    key: KeyBytes,
    hash: u64,
}

/// Values that are passed on together, straight from the hot table.
#[derive(Debug, Default)]
pub(super) struct Items {
    /// Whose they are.
    pool: u16,
    places: ArrayVec<ItemPlace, MAX_ITEMS>,
    bytes: usize,
}

/// Items that are passed on together, at most; and bytes of them from which on they are.
const MAX_ITEMS: usize = MAX_PARTS - 1;
const MUCH: usize = 1 << 20;

impl Items {
    /// They are to be passed on before there are some of this pool.
    pub(super) fn are_of_another(&self, home: Home) -> bool {
        self.pool != home.pool && !self.places.is_empty()
    }

    /// They are to be passed on before there are more.
    pub(super) fn is_full(&self) -> bool {
        self.places.is_full() || self.bytes >= MUCH
    }
}

/// How a value is told.
#[derive(Clone, Copy, Debug)]
pub(super) enum Form<'a> {
    /// One of several items.
    Item {
        cas: bool,
    },
    /// The whole reply to a text get.
    Reply {
        cas: bool,
    },
    /// To `mg` with these flags, all of which the node can answer.
    Meta(MetaFlags<'a>),
    Binary {
        tag: Tag,
        key: bool,
    },
}

/// What a look into the cache brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Looked {
    Answered,
    /// A get that could have been answered if its key, with this hash, were there.
    Missed(u64),
    NotCacheable,
}

impl Cache {
    pub(super) fn new(limits: &CacheLimits) -> Self {
        Self {
            table: HotTable::new(limits.capacity_bytes),
            sketch: Sketch::new(HOT_WINDOW),
            attempts: Attempts::new(),
            limits: *limits,
            hottest: Hottest::new(SHOWN_HOT_KEYS),
            scratch: Vec::new(),
        }
    }

    pub(super) fn lease(&self) -> std::time::Duration {
        self.limits.lease
    }

    pub(super) fn tick(&mut self, now: Nanos, status: &WorkerStatus) {
        self.sketch.tick(now);
        status.publish_cache(&self.table, &mut self.hottest);
    }
}

impl PoolPart {
    /// The value of `key` if it is there and current, which counts as an answer to `verb`. Notes the key as `wanted` if its
    /// value will soon run out.
    fn hit(
        &mut self,
        now: Nanos,
        home: Home,
        verb: Verb,
        key: &[u8],
        hash: u64,
        wanted: &mut Vec<Wanted>,
    ) -> Option<(Hit<'_>, ItemPlace, &mut Vec<u8>)> {
        let cache = self.cache.as_mut()?;
        let coherence = self.shared.coherence();
        let (hit, place) = cache.table.find_item(hash, key)?;
        if hit.expires() <= now || !coherence.is_current(&coherence.snapshot(now), hash, hit.stamp()) {
            return None;
        }
        if now + cache.limits.lease / 2 >= hit.expires() && hit.refresh_not_before() <= now {
            want(wanted, home, key, hash);
        }
        self.counters.hits += 1;
        self.view.requests.count(verb, Outcome::Cached);
        Some((hit, place, &mut cache.scratch))
    }
}

impl Proxy {
    /// Answers `asked`, which names one key of `pool`, if its value is there and current.
    pub(super) fn answer_cached(
        &mut self,
        asked: &Asked<'_>,
        home: Home,
        key: &[u8],
        sink: &mut dyn Transmit,
    ) -> Looked {
        let pool = home.index();
        if self.pools[pool].cache.is_none() {
            return Looked::NotCacheable;
        }
        let Some(form) = form(asked) else { return Looked::NotCacheable };
        let hash = self.pools[pool].shared.hash(key);
        let mut wanted = Vec::new();
        if !self.pass_hit(asked.client, None, home, asked.request.verb, key, hash, form, &mut wanted, sink) {
            return Looked::Missed(hash);
        }
        self.fill_wanted(&mut wanted);
        Looked::Answered
    }

    /// Passes the value of `key` on to the client if it is there and current: as the reply at `place`, or as the whole
    /// reply to its next request. Notes the key as `wanted` if its value will soon run out.
    #[expect(clippy::too_many_arguments, reason = "whose key it is, and how its value is told")]
    pub(super) fn pass_hit(
        &mut self,
        id: ClientId,
        place: Option<Place>,
        home: Home,
        verb: Verb,
        key: &[u8],
        hash: u64,
        form: Form<'_>,
        wanted: &mut Vec<Wanted>,
        sink: &mut dyn Transmit,
    ) -> bool {
        let client = &mut self.clients[id];
        let part = &mut self.pools[home.index()];
        let Some((hit, _, scratch)) = part.hit(self.now, home, verb, key, hash, wanted) else { return false };
        let done = !matches!(form, Form::Item { .. });
        let place = place.unwrap_or_else(|| client.ask());
        self.commons.tracer.hits(id, place, 1);
        let bytes = rendered(&hit, form, scratch);
        client.deliver(id, place, &[bytes], done, &mut self.commons, sink);
        true
    }

    /// Notes in `items` where the value of `key` is, if it is there and current, to be passed on with others; `wanted` as for
    /// [`pass_hit`](Self::pass_hit).
    pub(super) fn note_hit(
        &mut self,
        home: Home,
        verb: Verb,
        key: &[u8],
        hash: u64,
        items: &mut Items,
        wanted: &mut Vec<Wanted>,
    ) -> bool {
        let part = &mut self.pools[home.index()];
        let Some((hit, place, _)) = part.hit(self.now, home, verb, key, hash, wanted) else {
            return false;
        };
        items.pool = home.pool;
        items.bytes += hit.get_entry().len();
        items.places.push(place);
        true
    }

    /// Passes the values in `items` on to the client, as parts of the reply at `place`, and the reply's `end` if that is all.
    pub(super) fn pass_items(
        &mut self,
        id: ClientId,
        place: Place,
        items: &mut Items,
        end: Option<&[u8]>,
        sink: &mut dyn Transmit,
    ) {
        let client = &mut self.clients[id];
        let cache = &self.pools[usize::from(items.pool)].cache;
        self.commons.tracer.hits(id, place, items.places.len());
        let values = items.places.iter().filter_map(|place| Some(cache.as_ref()?.table.item(*place)));
        let parts: ArrayVec<&[u8], MAX_PARTS> = values.chain(end).collect();
        client.deliver(id, place, &parts, end.is_some(), &mut self.commons, sink);
        *items = Items::default();
    }

    /// Counts a get that a server answers. Notes its key as `wanted` if it is hot now.
    pub(super) fn observe(&mut self, home: Home, key: &[u8], hash: u64, wanted: &mut Vec<Wanted>) {
        let Some(cache) = &mut self.pools[home.index()].cache else { return };
        if cache.sketch.observe(hash, 1) >= cache.limits.hot_threshold {
            want(wanted, home, key, hash);
        }
    }

    /// Asks the servers of these keys for their values, with all that it takes to answer for them.
    pub(super) fn fill_wanted(&mut self, wanted: &mut Vec<Wanted>) {
        for Wanted { home, key, hash } in wanted.drain(..) {
            self.fill(home, key, hash);
        }
    }

    fn fill(&mut self, home: Home, key: KeyBytes, hash: u64) {
        let (now, pool) = (self.now, home.index());
        let part = &mut self.pools[pool];
        let Some(cache) = &mut part.cache else { return };
        if !cache.attempts.allowed(hash, now) {
            return;
        }
        let coherence = part.shared.coherence();
        let Some(stamp) = coherence.may_fill(&coherence.snapshot(now), hash) else { return };
        // A server that is slow is not asked again before the value could have been used.
        let until = now + cache.limits.lease / 8;
        cache.attempts.note(hash, until);
        cache.table.note_refresh(hash, &key, until);
        let server = part.ring.locate(&key);
        let Ok(backend) = self.lane(home, server, Protocol::Text) else { return };
        let Some(to) = self.backends.get_mut(backend) else { return };
        render::meta_get(to.outgoing.tail(), &key);
        to.fills.push_back(Fill { key, hash, stamp, sent: now, reply: self.commons.spares.take() });
        self.post(backend, InFlight::new(Owner::Fill, Verb::MetaGet, Shape::Meta, now));
        self.pools[pool].counters.fills_sent += 1;
    }

    /// A piece of the reply to a fill.
    pub(super) fn fill_arrived(&mut self, id: BackendId, piece: &Piece, bytes: &[u8]) {
        let Some(from) = self.backends.get_mut(id) else { return };
        let Some(fill) = from.fills.front_mut() else { return };
        if fill.reply.len() + bytes.len() <= MAX_FILL {
            fill.reply.extend_from_slice(bytes);
        } else {
            // Without its beginning it is no reply: it will not be taken for one.
            fill.reply.clear();
        }
        if !piece.last {
            return;
        }
        let Some(fill) = from.fills.pop_front() else { return };
        let pool = usize::from(from.server.pool);
        self.install(pool, &fill);
        self.give_token_back(id, &fill);
        self.commons.spares.put(fill.reply);
    }

    fn install(&mut self, pool: usize, fill: &Fill) {
        let now = self.now;
        let part = &mut self.pools[pool];
        let (Some(cache), counters) = (&mut part.cache, &mut part.counters) else { return };
        let coherence = part.shared.coherence();
        let lease = cache.limits.lease;
        let (value, flags, cas, ttl) = match parse_meta_get_reply(&fill.reply) {
            MetaGetReply::Hit { value, flags, cas, ttl, stale: false, .. } => (value, flags, cas, ttl),
            MetaGetReply::Error => {
                counters.fills_unfit += 1;
                return cache.attempts.note(fill.hash, now + lease);
            }
            MetaGetReply::Hit { .. } | MetaGetReply::Miss => {
                counters.fills_missed += 1;
                return cache.attempts.note(fill.hash, now + lease);
            }
        };
        if !coherence.is_current(&coherence.snapshot(now), fill.hash, fill.stamp) {
            counters.fills_overtaken += 1;
            return cache.attempts.note(fill.hash, now);
        }
        let (key, stamp, installed) = (&fill.key[..], fill.stamp, fill.sent);
        let expires = expiry(fill.sent, ttl, lease).filter(|expires| *expires > now);
        let inserted = expires.map(|expires| {
            cache.table.insert(fill.hash, Item { key, flags, cas, value, installed, expires, stamp })
        });
        match inserted {
            Some(Inserted::New | Inserted::Replaced) => {
                counters.fills_installed += 1;
                cache.attempts.note(fill.hash, now);
            }
            None | Some(Inserted::TooLarge) => {
                counters.fills_unfit += 1;
                cache.attempts.note(fill.hash, now + lease);
            }
        }
    }
}

fn want(wanted: &mut Vec<Wanted>, home: Home, key: &[u8], hash: u64) {
    if wanted.len() < MAX_WANTED
        && let Ok(key) = KeyBytes::try_from(key)
    {
        wanted.push(Wanted { home, key, hash });
    }
}

/// The bytes that tell the value of `hit`.
fn rendered<'b>(hit: &Hit<'b>, form: Form<'_>, scratch: &'b mut Vec<u8>) -> &'b [u8] {
    scratch.clear();
    match form {
        Form::Item { cas: false } => return hit.get_entry(),
        Form::Reply { cas: false } => return hit.get_reply(),
        Form::Item { cas: true } => {
            render::value(scratch, hit.key(), hit.flags(), hit.value(), Some(hit.cas()));
        }
        Form::Reply { cas: true } => {
            render::value(scratch, hit.key(), hit.flags(), hit.value(), Some(hit.cas()));
            render::end(scratch);
        }
        Form::Meta(flags) => push_meta(scratch, hit, flags),
        Form::Binary { tag, key } => push_binary(scratch, hit, tag, key),
    }
    scratch
}

fn push_meta(out: &mut Vec<u8>, hit: &Hit<'_>, flags: MetaFlags<'_>) {
    let with_value = flags.has(b'v');
    out.extend_from_slice(if with_value { b"VA" } else { b"HD" });
    if with_value {
        out.push(b' ');
        render::decimal(out, hit.value().len() as u64);
    }
    for (flag, argument) in flags.iter().filter(|(flag, _)| b"fcskO".contains(flag)) {
        out.extend_from_slice(&[b' ', flag]);
        match flag {
            b'f' => render::decimal(out, hit.flags().into()),
            b'c' => render::decimal(out, hit.cas()),
            b's' => render::decimal(out, hit.value().len() as u64),
            b'k' => out.extend_from_slice(hit.key()),
            _ => out.extend_from_slice(argument),
        }
    }
    out.extend_from_slice(b"\r\n");
    if with_value {
        out.extend_from_slice(hit.value());
        out.extend_from_slice(b"\r\n");
    }
}

fn push_binary(out: &mut Vec<u8>, hit: &Hit<'_>, tag: Tag, with_key: bool) {
    let key = if with_key { hit.key() } else { b"" };
    let flags = hit.flags().to_be_bytes();
    let header = Header {
        magic: MAGIC_RESPONSE,
        opcode: tag.opcode,
        key_len: key.len() as u16,
        extras_len: flags.len() as u8,
        data_type: 0,
        status: 0,
        body_len: (flags.len() + key.len() + hit.value().len()) as u32,
        opaque: tag.opaque,
        cas: hit.cas(),
    };
    [&header.to_bytes()[..], &flags, key, hit.value()].iter().for_each(|part| out.extend_from_slice(part));
}

/// How `asked` is answered from the cache, if it can be.
fn form<'a>(asked: &Asked<'a>) -> Option<Form<'a>> {
    let request = &asked.request;
    if request.class() != Class::Read {
        return None;
    }
    match request.dialect {
        Dialect::Ascii => Some(Form::Reply { cas: request.verb == Verb::Gets }),
        Dialect::Meta(flags) if request.verb == Verb::MetaGet => {
            let plain = !matches!(request.keys, Keys::Base64(_));
            let known = flags.iter().all(|(flag, _)| b"vfcskOq".contains(&flag));
            (plain && known).then_some(Form::Meta(flags))
        }
        Dialect::Binary { opcode, .. } if request.verb == Verb::Get => {
            let key = crate::protocol::binary::command(opcode).is_some_and(|command| command.returns_key);
            asked.tag().map(|tag| Form::Binary { tag, key })
        }
        _ => None,
    }
}
